//! Decoding dense tiles to the original type on the device. The twin is [`crate::codec::decode`].

use crate::codec::Payload;
use crate::codec::grid::{Grid, LANES};
use crate::gpu::device::dispatch::MAX_WORKGROUPS;
use crate::gpu::weights::layouts::{DenseFormat, Format};
use crate::gpu::weights::tiles::dense_format;
use crate::gpu::weights::{DeviceMatrix, Tiles};
use crate::gpu::{
    Batch, Bound, Buffer, Dispatch, Gpu, GpuError, Invocations, Uploader, Variant, Workgroups, download,
};

/// The kernel for dense weights in `format`.
pub fn variant(format: DenseFormat) -> Variant {
    let bits = unit_bits(format) as u32;
    let variant = Format::Dense(format).apply(Variant::new("decode"), Invocations::ONE_ROW_EACH);
    variant.flag(format!("UNIT_{bits}")).constant("UNIT_BITS", bits)
}

fn unit_bits(format: DenseFormat) -> usize {
    format.unit_bits()
}

/// Uploads a payload, decodes it on the device and returns the original bytes. Device memory is bounded by
/// the payload and one part's decoded words.
///
/// `None` if the payload is not tiled, so that there is nothing to decode, or if 64 of its rows exceed the
/// device's bindings.
pub async fn decode(gpu: &Gpu, payload: &Payload<'_>) -> Result<Option<Vec<u8>>, GpuError> {
    let Some(resident) = Resident::upload(gpu, payload).await? else { return Ok(None) };
    let mut out = Vec::with_capacity(payload.head().original_len);
    for stretch in resident.stretches(gpu) {
        let (dispatch, decoded) = resident.bind(gpu, &stretch)?;
        gpu.submit("decode", |encoder| {
            Dispatch::record_all(encoder, [&dispatch], Batch { tokens: 1, outputs: 1 });
        })?;
        let bytes = download(gpu, &decoded, resident.decoded_len(&stretch)).await?;
        resident.append(&stretch, bytemuck::cast_slice(&bytes), &mut out);
    }
    Ok(Some(out))
}

/// A payload on a device, ready to be decoded there.
#[derive(Debug)]
pub struct Resident {
    weights: DeviceMatrix,
    format: DenseFormat,
}

/// Row blocks of one part that one dispatch decodes.
struct Stretch {
    part: usize,
    first: u32,
    count: u32,
}

impl Resident {
    /// Uploads a payload; `None` as for [`decode`].
    pub async fn upload(gpu: &Gpu, payload: &Payload<'_>) -> Result<Option<Self>, GpuError> {
        let Some(tiles) = Tiles::of(payload.head(), payload.precision()) else { return Ok(None) };
        let tiled = tiles.tiled;
        let (format, _) = dense_format(gpu, &tiles);
        let block = tiled.grid.row_block_bytes(unit_bits(format)) as u64;
        if block > gpu.max_binding() || tiled.grid.col_tiles as u64 > u64::from(MAX_WORKGROUPS) {
            return Ok(None);
        }
        let mut uploader = Uploader::new(gpu)?;
        match DeviceMatrix::upload_units(gpu, &mut uploader, "decode", payload.bytes(), &tiles, 0).await {
            Err(GpuError::BindingTooLarge { .. }) => Ok(None),
            weights => Ok(Some(Self { weights: weights?, format })),
        }
    }

    /// The dispatches that decode everything, each with the buffer that it fills.
    pub fn dispatches(&self, gpu: &Gpu) -> Result<Vec<(Dispatch, Buffer)>, GpuError> {
        self.stretches(gpu).map(|stretch| self.bind(gpu, &stretch)).collect()
    }

    /// Divides row blocks into stretches whose decoded bytes fit a binding: a part may fit only while it is
    /// compressed.
    fn stretches(&self, gpu: &Gpu) -> impl Iterator<Item = Stretch> {
        let at_once = (gpu.max_binding() / self.block() as u64).clamp(1, u64::from(MAX_WORKGROUPS)) as u32;
        self.weights.parts.iter().enumerate().flat_map(move |(part, of)| {
            let all = of.params.row_blocks();
            let stretch = move |first| Stretch { part, first, count: at_once.min(all - first) };
            (0..all).step_by(at_once as usize).map(stretch)
        })
    }

    fn bind(&self, gpu: &Gpu, stretch: &Stretch) -> Result<(Dispatch, Buffer), GpuError> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let decoded = gpu.buffer("decoded", self.decoded_len(stretch), usage)?;
        let part = &self.weights.parts[stretch.part];
        let params = part.params.skip_row_blocks(stretch.first, self.weights.format);
        let mut buffers: Vec<(u32, Bound<'_>)> = vec![(2, (&part.payload).into()), (4, (&decoded).into())];
        buffers.extend(self.weights.table(part).map(|table| (3, table)));
        let groups = [Workgroups::Fixed(self.weights.col_tiles()), Workgroups::Fixed(stretch.count)];
        let dispatch = gpu
            .kernel(self.weights.apply_words(variant(self.format)))?
            .bind(gpu, &params, &buffers, groups)?;
        Ok((dispatch, decoded))
    }

    /// Appends a decoded stretch, in the order of the original.
    fn append(&self, stretch: &Stretch, words: &[u32], out: &mut Vec<u8>) {
        let (grid, width) = (&self.weights.grid, unit_bits(self.format));
        let of = self.weights.parts[stretch.part].params.skip_row_blocks(stretch.first, self.weights.format);
        let rows = (of.rows as usize).min(stretch.count as usize * LANES);
        let (start, row_bytes) = (out.len(), width / 8 * grid.matrix.cols);
        out.resize(start + rows * row_bytes, 0);
        let blocks = words.chunks(self.block() / 4);
        for (words, rows) in blocks.zip(out[start..].chunks_mut(LANES * row_bytes)) {
            deinterleave(words, grid, width, rows);
        }
    }

    /// Bytes of a decoded row block, padding included.
    fn block(&self) -> usize {
        self.weights.grid.row_block_bytes(unit_bits(self.format))
    }

    fn decoded_len(&self, stretch: &Stretch) -> u64 {
        u64::from(stretch.count) * self.block() as u64
    }
}

/// Converts one row block from the kernel's layout: word `w` of lane `l` at `64 w + l`, units of `width` (8,
/// 16 or 32) bits from the low end. The length of `rows` determines how many rows it writes.
fn deinterleave(words: &[u32], grid: &Grid, width: usize, rows: &mut [u8]) {
    for (lane, row) in rows.chunks_exact_mut(grid.matrix.cols * width / 8).enumerate() {
        for (i, bytes) in row.chunks_mut(4).enumerate() {
            bytes.copy_from_slice(&words[i * LANES + lane].to_le_bytes()[..bytes.len()]);
        }
    }
}
