//! Binding a kernel to the buffers and textures that it reads and writes.

use std::sync::Arc;

use super::buffer::Buffer;
use super::dispatch::{Dispatch, Workgroups};
use super::gpu::Gpu;
use super::texture::Texture;
use crate::gpu::{GpuError, Kernel};

/// A resource to bind: a buffer from byte `from` on, a multiple of 256 (for a uniform, as much as the device
/// can bind), or a texture.
#[derive(Debug, Clone, Copy)]
pub enum Bound<'a> {
    /// A buffer.
    Buffer {
        /// The buffer.
        buffer: &'a Buffer,
        /// Offset of the first byte.
        from: u64,
    },
    /// A whole texture.
    Texture(&'a Texture),
}

impl<'a> From<&'a Buffer> for Bound<'a> {
    fn from(buffer: &'a Buffer) -> Self {
        Self::Buffer { buffer, from: 0 }
    }
}

impl Kernel {
    /// The kernel with its buffers. The binding numbers are those of the WGSL. `params` becomes the uniform
    /// at binding 1.
    pub fn bind<'a, P: bytemuck::Pod>(
        self: &Arc<Self>,
        gpu: &Gpu,
        params: &P,
        buffers: &[(u32, impl Into<Bound<'a>> + Copy)],
        workgroups: [Workgroups; 2],
    ) -> Result<Dispatch, GpuError> {
        self.bind_each(gpu, std::slice::from_ref(params), buffers, workgroups)
    }

    /// Like `bind`, with an array of parameters as the uniform.
    pub fn bind_each<'a, P: bytemuck::Pod>(
        self: &Arc<Self>,
        gpu: &Gpu,
        params: &[P],
        buffers: &[(u32, impl Into<Bound<'a>> + Copy)],
        workgroups: [Workgroups; 2],
    ) -> Result<Dispatch, GpuError> {
        let params =
            gpu.buffer_with(&self.label, bytemuck::cast_slice(params), wgpu::BufferUsages::UNIFORM)?;
        let most_uniform = gpu.device().limits().max_uniform_buffer_binding_size;
        let entries: Vec<_> = std::iter::once((1, Bound::from(&params)))
            .chain(buffers.iter().map(|&(binding, buffer)| (binding, buffer.into())))
            .map(|(binding, bound)| {
                let is_uniform = self.uniforms.contains(&binding);
                let most = if is_uniform { most_uniform } else { u64::MAX };
                let resource = match bound {
                    Bound::Buffer { buffer, from } => buffer.binding(from, most),
                    Bound::Texture(texture) => texture.binding(),
                };
                wgpu::BindGroupEntry { binding, resource }
            })
            .collect();
        let descriptor =
            wgpu::BindGroupDescriptor { label: Some(&self.label), layout: &self.layout, entries: &entries };
        let bind_group = gpu.checked(&self.label, 0, || gpu.device().create_bind_group(&descriptor))?;
        Ok(Dispatch::new(self.clone(), bind_group, params, workgroups))
    }
}
