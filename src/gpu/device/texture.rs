//! Textures that shaders read words from. They count against the budget.

use std::sync::Arc;

use super::buffer::Buffer;
use super::memory::Reservation;
use crate::gpu::{Choice, Variant};

/// Bytes of a row of a texture.
pub(in crate::gpu) const ROW: u64 = 8 << 10;

/// Minimum height of a texture: lower ones would divide matrices into too many parts.
const LEAST_ROWS: u32 = 8192;

/// Textures that a kernel binds at the most: one that it reads, and two that it writes.
const MOST_BOUND: u32 = 3;

/// The type of a texel, the unit in which shaders read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Texel {
    /// A word.
    Word,
    /// Four words.
    Vector,
}

impl Texel {
    /// Bytes of a texel.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Word => 4,
            Self::Vector => 16,
        }
    }

    fn format(self) -> wgpu::TextureFormat {
        match self {
            Self::Word => wgpu::TextureFormat::R32Uint,
            Self::Vector => wgpu::TextureFormat::Rgba32Uint,
        }
    }
}

/// `variant` for words in a texture of these texels.
pub(in crate::gpu) fn texture_variant(variant: Variant, texel: Texel) -> Variant {
    variant.choose(Choice::Texture((ROW / texel.bytes()).ilog2()))
}

/// `variant` that writes a texture of vectors.
pub(in crate::gpu) fn written_texture_variant(variant: Variant) -> Variant {
    variant.choose(Choice::ToTexture((ROW / Texel::Vector.bytes()).ilog2()))
}

/// A texture whose memory is counted until it is dropped.
#[derive(Debug)]
pub struct Texture {
    raw: wgpu::Texture,
    view: wgpu::TextureView,
    texel: Texel,
    bytes: u64,
    _reservation: Reservation,
}

/// A copy of the beginning of a buffer, which a dispatch wrote, to the beginning of a texture, which dispatches
/// after it read.
#[derive(Debug)]
pub(in crate::gpu) struct TextureCopy {
    /// What is copied.
    pub from: Arc<Buffer>,
    /// Where it is copied to.
    pub to: Arc<Texture>,
    /// Bytes; a multiple of a texel.
    pub len: u64,
}

impl TextureCopy {
    pub(super) fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        self.to.record_copy(encoder, self.from.raw(), 0, self.len);
    }
}

/// A part of a texture, and the offset of its bytes in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rectangle {
    from: u64,
    /// In texels.
    x: u64,
    y: u64,
    width: u64,
    height: u64,
}

impl Texture {
    /// Creates a texture of `bytes` bytes, as [`Self::bytes_of`] returns them.
    pub(super) fn create(device: &wgpu::Device, label: &str, bytes: u64, texel: Texel) -> wgpu::Texture {
        let (rows, row) = (bytes.div_ceil(ROW), bytes.min(ROW));
        device.create_texture(&wgpu::TextureDescriptor {
            label: Some(label),
            size: wgpu::Extent3d {
                width: (row / texel.bytes()) as u32,
                height: rows as u32,
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: texel.format(),
            usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        })
    }

    pub(super) fn new(
        raw: wgpu::Texture,
        view: wgpu::TextureView,
        texel: Texel,
        bytes: u64,
        reservation: Reservation,
    ) -> Self {
        reservation.taken();
        Self { raw, view, texel, bytes, _reservation: reservation }
    }

    /// The type of its texels.
    pub fn texel(&self) -> Texel {
        self.texel
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.bytes
    }

    /// Bytes of device memory for a texture of `len` bytes.
    pub(in crate::gpu) fn bytes_of(len: u64) -> u64 {
        if len <= ROW { len.max(16).next_multiple_of(16) } else { len.next_multiple_of(ROW) }
    }

    /// Maximum bytes of a texture on `device`; `None` if textures do not pay off there.
    pub(in crate::gpu) fn most_bytes(device: &wgpu::Device) -> Option<u64> {
        let limits = device.limits();
        let rows = limits.max_texture_dimension_2d;
        (rows >= LEAST_ROWS && limits.max_storage_textures_per_shader_stage >= MOST_BOUND)
            .then_some(u64::from(rows) * ROW)
    }

    /// The binding for a shader.
    pub(in crate::gpu) fn binding(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::TextureView(&self.view)
    }

    /// Records a copy of the first `len` bytes of `source` to byte `at`. Both must be multiples of a texel.
    pub fn record_copy(&self, encoder: &mut wgpu::CommandEncoder, source: &wgpu::Buffer, at: u64, len: u64) {
        for Rectangle { from, x, y, width, height } in rectangles(at, len, self.texel) {
            let layout = wgpu::TexelCopyBufferLayout {
                offset: from,
                bytes_per_row: (height > 1).then_some(ROW as u32),
                rows_per_image: None,
            };
            let origin = wgpu::Origin3d { x: x as u32, y: y as u32, z: 0 };
            encoder.copy_buffer_to_texture(
                wgpu::TexelCopyBufferInfo { buffer: source, layout },
                wgpu::TexelCopyTextureInfo { origin, ..self.raw.as_image_copy() },
                wgpu::Extent3d { width: width as u32, height: height as u32, depth_or_array_layers: 1 },
            );
        }
    }
}

impl Drop for Texture {
    fn drop(&mut self) {
        // For the same reason as in buffers.
        self.raw.destroy();
    }
}

/// The rectangles for `len` bytes at byte `at`: the rest of a row, whole rows, and the start of a row.
fn rectangles(at: u64, len: u64, texel: Texel) -> Vec<Rectangle> {
    let (mut all, mut done) = (Vec::new(), 0);
    while done < len {
        let (row, col) = ((at + done) / ROW, (at + done) % ROW);
        let left = len - done;
        let (bytes, height) = match col {
            0 if left >= ROW => (ROW, left / ROW),
            _ => (left.min(ROW - col), 1),
        };
        let (x, width) = (col / texel.bytes(), bytes / texel.bytes());
        all.push(Rectangle { from: done, x, y: row, width, height });
        done += bytes * height;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_hold_what_is_copied_in_order() {
        for texel in [Texel::Word, Texel::Vector] {
            for (at, len) in [(0, 16), (0, ROW), (16, ROW), (ROW - 16, 32), (48, 5 * ROW), (0, 3 * ROW + 32)]
            {
                let mut bytes = Vec::new();
                for Rectangle { from, x, y, width, height } in rectangles(at, len, texel) {
                    for row in 0..height {
                        let to = (y + row) * ROW + x * texel.bytes();
                        bytes.extend((0..width * texel.bytes()).map(|i| (from + row * ROW + i, to + i)));
                    }
                }
                assert!(bytes.into_iter().eq((0..len).map(|i| (i, at + i))), "{texel:?} {at} {len}");
            }
        }
        assert_eq!(rectangles(48, 5 * ROW, Texel::Vector).len(), 3);
    }

    #[test]
    fn rows_are_whole_where_there_are_several() {
        assert_eq!([0, 20, 8192, 8196, 20_000].map(Texture::bytes_of), [16, 32, 8192, 16_384, 24_576]);
    }
}
