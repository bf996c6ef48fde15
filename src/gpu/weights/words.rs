//! The words of a weight matrix, which shaders read from a buffer or a texture.

use std::sync::Arc;

use crate::gpu::device::texture::{ROW, texture_variant, written_texture_variant};
use crate::gpu::{Bound, Buffer, Gpu, GpuError, Texel, Texture, Variant};

/// The usages of a buffer of weights.
pub(crate) const WEIGHTS: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_DST).union(wgpu::BufferUsages::COPY_SRC);

/// The words of a part of a matrix.
#[derive(Debug)]
pub enum Words {
    /// In a buffer.
    Buffer(Buffer),
    /// In a texture: a software driver loads a texel for all lanes at once, but loads from a buffer lane by
    /// lane.
    Texture(Texture),
    /// In a texture that is counted elsewhere: that of a [slot](super::slot::Slot), or of a
    /// [`WideRoom`](super::WideRoom).
    Shared(Arc<Texture>),
}

impl Words {
    /// Allocates `len` bytes to be written and read as `texel`s: a texture if `gpu` uses textures for
    /// weights.
    pub fn new(gpu: &Gpu, label: &str, len: u64, texel: Texel) -> Result<Self, GpuError> {
        match gpu.has_textures() {
            true => gpu.texture(label, len, texel).map(Self::Texture),
            false => gpu.buffer(label, len, WEIGHTS).map(Self::Buffer),
        }
    }

    /// Bytes of device memory for `len` bytes.
    pub(in crate::gpu) fn bytes_of(gpu: &Gpu, len: u64) -> u64 {
        if gpu.has_textures() { Texture::bytes_of(len) } else { Gpu::buffer_bytes(len) }
    }

    /// Maximum bytes of one allocation.
    pub(in crate::gpu) fn most_bytes(gpu: &Gpu) -> u64 {
        match Texture::most_bytes(gpu.device()) {
            Some(most) if gpu.has_textures() => gpu.max_binding().min(most).max(ROW) / ROW * ROW,
            _ => gpu.max_binding(),
        }
    }

    /// Maximum bytes that an allocation adds to the requested length.
    pub(in crate::gpu) fn slack(gpu: &Gpu) -> u64 {
        if gpu.has_textures() { ROW } else { 16 }
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Buffer(buffer) => buffer.size(),
            Self::Texture(texture) => texture.size(),
            Self::Shared(texture) => texture.size(),
        }
    }

    /// Bytes that are counted for it: none for a part of another buffer or a shared texture.
    pub fn own_bytes(&self) -> u64 {
        match self {
            Self::Buffer(buffer) => buffer.own_bytes(),
            Self::Texture(texture) => texture.size(),
            Self::Shared(_) => 0,
        }
    }

    /// Sets in a kernel that reads it in a [`Format`](super::layouts::Format) where the words are.
    pub(in crate::gpu) fn apply(&self, variant: Variant) -> Variant {
        match self {
            Self::Buffer(_) => variant,
            Self::Texture(texture) => texture_variant(variant, texture.texel()),
            Self::Shared(texture) => texture_variant(variant, texture.texel()),
        }
    }

    /// Sets in a kernel that writes it, vector by vector, where the words are.
    pub(in crate::gpu) fn apply_written(&self, variant: Variant) -> Variant {
        match self {
            Self::Buffer(_) => variant,
            Self::Texture(_) | Self::Shared(_) => written_texture_variant(variant),
        }
    }
}

impl<'a> From<&'a Words> for Bound<'a> {
    fn from(words: &'a Words) -> Self {
        match words {
            Words::Buffer(buffer) => buffer.into(),
            Words::Texture(texture) => Self::Texture(texture),
            Words::Shared(texture) => Self::Texture(texture),
        }
    }
}
