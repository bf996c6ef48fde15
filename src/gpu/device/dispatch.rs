//! Compiling a kernel, and recording its dispatches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use naga::{AddressSpace, ImageClass, StorageAccess, StorageFormat, TypeInner};

use super::gpu::Gpu;
use super::memory::Buffer;
use super::work::Work;
use crate::gpu::kernel::shader::ShaderError;
use crate::gpu::weights::Words;
use crate::gpu::weights::words::Texture;
use crate::gpu::{GpuError, Variant};

/// What is bound: of a buffer all from byte `from` on, a multiple of 256; of a uniform, as much of it as
/// the device can bind.
#[derive(Debug, Clone, Copy)]
pub enum Bound<'a> {
    /// A buffer.
    Buffer {
        /// The buffer.
        buffer: &'a Buffer,
        /// The byte.
        from: u64,
    },
    /// A texture, all of it.
    Texture(&'a Texture),
}

impl<'a> From<&'a Buffer> for Bound<'a> {
    fn from(buffer: &'a Buffer) -> Self {
        Self::Buffer { buffer, from: 0 }
    }
}

impl<'a> From<&'a Words> for Bound<'a> {
    fn from(words: &'a Words) -> Self {
        match words {
            Words::Buffer(buffer) => buffer.into(),
            Words::Texture(texture) => Self::Texture(texture),
            Words::InSlot(texture) => Self::Texture(texture),
        }
    }
}

/// A compiled kernel. Its bind group layout is read off the shader, so that the WGSL is the only
/// place that says what is bound where.
#[derive(Debug)]
pub struct Kernel {
    label: String,
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    /// The bindings that are uniforms.
    uniforms: Vec<u32>,
}

impl Kernel {
    pub(in crate::gpu) fn compile(gpu: &Gpu, variant: &Variant) -> Result<Self, GpuError> {
        let label = variant.label();
        let source = variant.source()?;
        let module = naga::front::wgsl::parse_str(&source).map_err(|error| {
            log::error!("{label}: {}", error.emit_to_string(&source));
            ShaderError { file: variant.kernel.into(), line: 0, what: "naga rejects this WGSL; see the log" }
        })?;
        let entries = layout_entries(&module);
        let uniforms = entries.iter().filter(|entry| is_uniform(entry)).map(|entry| entry.binding).collect();
        let device = gpu.device();
        gpu.checked(&label, 0, || {
            let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(&label),
                entries: &entries,
            });
            let shader = device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(&label),
                source: wgpu::ShaderSource::Naga(std::borrow::Cow::Owned(module)),
            });
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(&label),
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&label),
                layout: Some(&pipeline_layout),
                module: &shader,
                entry_point: Some("main"),
                // Kernels write all workgroup memory before they read it.
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: false,
                    ..Default::default()
                },
                cache: gpu.pipeline_cache(),
            });
            Self { label: label.clone(), pipeline, layout, uniforms }
        })
    }

    /// The kernel with its buffers: binding numbers are those of the WGSL. `params` becomes the
    /// uniform at binding 1.
    pub fn bind<'a, P: bytemuck::Pod>(
        self: &Arc<Self>,
        gpu: &Gpu,
        params: &P,
        buffers: &[(u32, impl Into<Bound<'a>> + Copy)],
        workgroups: [Workgroups; 2],
    ) -> Result<Dispatch, GpuError> {
        self.bind_each(gpu, std::slice::from_ref(params), buffers, workgroups)
    }

    /// The same where the uniform is an array of parameters.
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
        let (kernel, work) = (self.clone(), Work::Little);
        let is_warm = AtomicBool::new(false);
        Ok(Dispatch { kernel, bind_group, workgroups, stage: None, work, is_warm, _params: params })
    }
}

fn is_uniform(entry: &wgpu::BindGroupLayoutEntry) -> bool {
    matches!(entry.ty, wgpu::BindingType::Buffer { ty: wgpu::BufferBindingType::Uniform, .. })
}

/// The bindings that `module` declares in group 0.
fn layout_entries(module: &naga::Module) -> Vec<wgpu::BindGroupLayoutEntry> {
    let mut entries: Vec<_> = module
        .global_variables
        .iter()
        .filter_map(|(_, variable)| {
            let binding = variable.binding.as_ref()?.binding;
            let buffer =
                |ty| wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None };
            let ty = match (variable.space, &module.types[variable.ty].inner) {
                (AddressSpace::Storage { access }, _) => {
                    let read_only = !access.contains(StorageAccess::STORE);
                    buffer(wgpu::BufferBindingType::Storage { read_only })
                }
                (_, &TypeInner::Image { class: ImageClass::Storage { format, access }, .. }) => {
                    texture_binding(format, access)
                }
                _ => buffer(wgpu::BufferBindingType::Uniform),
            };
            let visibility = wgpu::ShaderStages::COMPUTE;
            Some(wgpu::BindGroupLayoutEntry { binding, visibility, ty, count: None })
        })
        .collect();
    entries.sort_by_key(|e| e.binding);
    entries
}

/// How a texture is bound: there are those of words and those of vectors.
fn texture_binding(format: StorageFormat, access: StorageAccess) -> wgpu::BindingType {
    wgpu::BindingType::StorageTexture {
        access: match access.contains(StorageAccess::STORE) {
            true => wgpu::StorageTextureAccess::WriteOnly,
            false => wgpu::StorageTextureAccess::ReadOnly,
        },
        format: match format {
            StorageFormat::R32Uint => wgpu::TextureFormat::R32Uint,
            _ => wgpu::TextureFormat::Rgba32Uint,
        },
        view_dimension: wgpu::TextureViewDimension::D2,
    }
}

/// Workgroups that every device allows along a dimension.
pub(in crate::gpu) const MAX_WORKGROUPS: u32 = 65_535;

/// Workgroups along one dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workgroups {
    /// Always as many.
    Fixed(u32),
    /// One for so many tokens of the batch.
    PerTokens(u32),
    /// One where the batch has more than so many tokens.
    Beyond(u32),
    /// One for each token whose logits are wanted.
    PerOutput,
}

impl Workgroups {
    fn count(self, batch: Batch) -> u32 {
        match self {
            Self::Fixed(count) => count,
            Self::PerTokens(each) => batch.tokens.div_ceil(each),
            Self::Beyond(tokens) => u32::from(batch.tokens > tokens),
            Self::PerOutput => batch.outputs,
        }
    }
}

/// How much one submission handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Tokens.
    pub tokens: u32,
    /// Tokens of these whose logits are wanted, counted from the last.
    pub outputs: u32,
}

/// A kernel with its buffers, ready to be recorded any number of times.
#[derive(Debug)]
pub struct Dispatch {
    kernel: Arc<Kernel>,
    bind_group: wgpu::BindGroup,
    _params: Buffer,
    workgroups: [Workgroups; 2],
    stage: Option<usize>,
    work: Work,
    /// Whether the driver has compiled what this dispatches, for such things as are bound.
    is_warm: AtomicBool,
}

impl Dispatch {
    /// The same, of weights that are in the slot of the streamed stage `stage` when it runs.
    pub(in crate::gpu) fn at_stage(self, stage: Option<usize>) -> Self {
        Self { stage, ..self }
    }

    /// The same, of which so much is counted.
    pub(in crate::gpu) fn with_work(self, work: Work) -> Self {
        Self { work, ..self }
    }

    /// Multiply-adds that it has for `batch`, whose last token sees so many positions, its own among them.
    pub fn work(&self, batch: Batch, positions: u32) -> u64 {
        let [x, y] = self.workgroups.map(|w| u64::from(w.count(batch)));
        self.work.of(x * y, positions)
    }

    /// The streamed stage that must be in its slot when this runs, if it reads one.
    pub fn stage(&self) -> Option<usize> {
        self.stage
    }

    /// The kernel's name, with its flags and constants.
    pub fn label(&self) -> &str {
        &self.kernel.label
    }

    /// Records the dispatch for `batch`.
    pub fn record(&self, pass: &mut wgpu::ComputePass, batch: Batch) {
        let [x, y] = self.workgroups.map(|w| w.count(batch));
        if x == 0 || y == 0 {
            return;
        }
        pass.set_pipeline(&self.kernel.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(x, y, 1);
    }

    /// Whether it was never recorded without workgroups, and has some for `batch`.
    pub(in crate::gpu) fn is_cold(&self, batch: Batch) -> bool {
        !self.is_warm.load(Ordering::Relaxed) && self.workgroups.iter().all(|w| w.count(batch) > 0)
    }

    /// Records the dispatch without workgroups: it is compiled, and nothing is computed.
    pub(in crate::gpu) fn record_nothing(&self, pass: &mut wgpu::ComputePass) {
        pass.set_pipeline(&self.kernel.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(0, 1, 1);
    }

    /// Takes note that it has been.
    pub(in crate::gpu) fn set_warm(&self) {
        self.is_warm.store(true, Ordering::Relaxed);
    }
}
