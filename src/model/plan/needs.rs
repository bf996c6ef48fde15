//! Computes how much device memory a model needs, before anything is uploaded.

use std::collections::HashMap;
use std::ops::Range;

use crate::archive::{ArchiveError, ModelFiles, TensorReader};
use crate::codec::code::TABLE_LEN;
use crate::codec::grid::Grid;
use crate::gpu::kernels::most_bytes_beside;
use crate::gpu::weights::layouts::Transcoded;
use crate::gpu::weights::{Tiles, transcoded_fit_together};
use crate::gpu::{Gpu, GpuError, MatrixBytes, SlotKind, Uploader, WideRoom};
use crate::model::config::model_config::ModelConfig;
use crate::model::error::ModelError;
use crate::model::files::require::require;
use crate::model::plan::precisions::Precisions;
use crate::model::plan::taken::Taken;
use crate::model::shape::outputs::BATCH;
use crate::model::shape::tensors::{
    EMBEDDING, JOINED, OUTPUT, ProductShape, head_norms, layer_name, norms, products,
};
use crate::stream::{Needs, StageOf};
use crate::tensor::Matrix;

/// The heads of a model's matrices, which are read once. Everything computed from them is arithmetic.
pub(crate) struct Census {
    embedding: TensorCensus,
    /// `None` if the embedding is also the output matrix.
    output: Option<TensorCensus>,
    layers: Vec<LayerCensus>,
    last_norm: u64,
}

/// A matrix for products or look-ups.
pub(crate) struct TensorCensus {
    pub name: String,
    pub matrix: Matrix,
    pub reader: TensorReader,
}

struct LayerCensus {
    products: Vec<TensorCensus>,
    /// Bytes of norms and biases on the device.
    vectors: u64,
}

/// How weights are stored on the device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keeping<'a> {
    /// The precision at which each weight is read.
    pub precisions: &'a Precisions,
    /// Whether weights are decompressed first.
    pub raw: bool,
    /// The layout that resident weights are transcoded to, if they can be.
    pub transcoded: Option<Transcoded>,
    /// The form of weights in slots.
    pub slot_kind: SlotKind,
    /// Whether uncompressed weights count as if they were compressed: as streamable, with their own size,
    /// which is more than the compressed one.
    pub as_if_compressed: bool,
}

impl Keeping<'_> {
    /// The layout that these tiles are transcoded to, if any.
    pub fn transcoded_from(&self, tiles: &Tiles<'_>) -> Option<Transcoded> {
        self.transcoded.filter(|&layout| tiles.transcoded_row_block_bytes(layout).is_some())
    }
}

/// How a model is split into stages.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    /// The stage of each layer's matrices, by name.
    pub stage_of: HashMap<String, usize>,
    /// The row blocks of each part of the output matrix, and its stage.
    pub output: Vec<(usize, Range<usize>)>,
}

impl Census {
    /// Reads the heads of the matrices that `config` asks for.
    pub fn read(files: &ModelFiles, config: &ModelConfig) -> Result<Self, ModelError> {
        let readers = Self::openings(files, config)?.into_iter().map(|open| open());
        Self::of(files, config, readers.collect::<Result<_, _>>()?)
    }

    /// Functions that read these heads on any thread, in the order that [`Census::of`] expects.
    pub fn openings(files: &ModelFiles, config: &ModelConfig) -> Result<Vec<Opening>, ModelError> {
        let layers = (0..config.layers).flat_map(|layer| layer_matrices(config, layer));
        let all = ends(config).into_iter().chain(layers);
        let opening = |(name, size): (String, Matrix)| {
            Ok(Box::new(require(files, &name, &[size.rows, size.cols])?.opening()) as Opening)
        };
        all.map(opening).collect()
    }

    /// The census of the matrices that `openings` have read.
    pub fn of(
        files: &ModelFiles,
        config: &ModelConfig,
        readers: Vec<TensorReader>,
    ) -> Result<Self, ModelError> {
        let mut readers = readers.into_iter();
        let mut next = |(name, matrix): (String, Matrix)| {
            let weight = require(files, &name, &[matrix.rows, matrix.cols])?;
            let reader = match readers.next() {
                Some(reader) => weight.opened(reader)?,
                None => weight.reader()?,
            };
            Ok::<_, ModelError>(TensorCensus { name, matrix, reader })
        };
        let mut ends = ends(config).into_iter().map(&mut next).collect::<Result<Vec<_>, _>>()?;
        let output = (ends.len() > 1).then(|| ends.pop()).flatten();
        let Some(embedding) = ends.pop() else { unreachable!("there is an embedding") };
        let layer = |layer| {
            let products = layer_matrices(config, layer).into_iter().map(&mut next);
            Ok(LayerCensus { products: products.collect::<Result<_, _>>()?, vectors: layer_vectors(config) })
        };
        let layers = (0..config.layers).map(layer).collect::<Result<_, ModelError>>()?;
        Ok(Self { embedding, output, layers, last_norm: vector(config.hidden) })
    }

    /// Number of layers.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// All matrices.
    pub fn matrices(&self) -> impl Iterator<Item = &TensorCensus> {
        let layers = self.layers.iter().flat_map(|layer| &layer.products);
        [&self.embedding].into_iter().chain(&self.output).chain(layers)
    }

    /// The memory that the model needs with `working_set` bytes left to sessions, and how it is split if
    /// stages are about 1/`pieces` of a layer. Layers are split between matrices, the output matrix between
    /// row blocks.
    pub fn needs(
        &self,
        gpu: &Gpu,
        keeping: Keeping<'_>,
        pieces: u64,
        working_set: u64,
    ) -> Result<(Needs, Cut), ModelError> {
        let (mut cut, mut stages) = (Cut::default(), Vec::new());
        let layers =
            self.layers.iter().map(|layer| layer.takes(gpu, keeping)).collect::<Result<Vec<_>, _>>()?;
        let in_slot =
            |products: &Vec<Taken>| products.iter().map(|taken| taken.in_slot).fold(0, u64::saturating_add);
        let largest = layers.iter().map(in_slot).max().unwrap_or(0);
        let limit = largest.div_ceil(pieces).min(keeping.slot_kind.most_bytes(gpu));
        let mut transcoding = 0;
        let mut push = |taken: &Taken, of| {
            transcoding = taken.transcoding.max(transcoding);
            stages.push(taken.stage(gpu, keeping.slot_kind, of));
            stages.len() - 1
        };
        for (i, (layer, products)) in self.layers.iter().zip(&layers).enumerate() {
            let mut vectors = Taken::fixed(layer.vectors);
            let mut rest = layer.products.iter().zip(products);
            for count in runs(products, limit) {
                let mut sum = std::mem::take(&mut vectors);
                let run: Vec<_> = rest.by_ref().take(count).collect();
                run.iter().for_each(|(_, taken)| sum.add(taken));
                let stage = push(&sum, StageOf::Layer(i));
                cut.stage_of.extend(run.into_iter().map(|(tensor, _)| (tensor.name.clone(), stage)));
            }
        }
        let output = self.output.as_ref().unwrap_or(&self.embedding);
        for (row_blocks, taken) in output.parts(gpu, keeping, limit)? {
            cut.output.push((push(&taken, StageOf::Output), row_blocks));
        }
        let whole = output.takes(gpu, keeping)?;
        let apart = match &self.output {
            Some(_) => self.embedding.takes(gpu, keeping)?,
            None => Taken::default(),
        };
        let needs = Needs {
            fixed: self.last_norm,
            embedding: apart.pinned,
            rows: Uploader::LEAST,
            output: whole.pinned,
            wide_room: self.wide_room(gpu, keeping),
            working_set,
            loading: Uploader::LEAST + transcoding,
            loading_whole: whole.transcoding.max(apart.transcoding),
            beside_slots: keeping.slot_kind.beside(gpu),
            transcoded: keeping.transcoded,
            slot_kind: keeping.slot_kind,
            stages,
        };
        Ok((needs, cut))
    }

    /// Bytes of the buffer in which weights are widened for batches.
    fn wide_room(&self, gpu: &Gpu, keeping: Keeping<'_>) -> u64 {
        self.layers.iter().map(|layer| layer.wide_room(gpu, keeping)).max().unwrap_or(0)
    }
}

/// The number of products in each of a layer's stages: as many as fit `limit` together, at least one.
fn runs(products: &[Taken], limit: u64) -> Vec<usize> {
    let (mut runs, mut sum) = (Vec::<usize>::new(), 0u64);
    for product in products {
        match runs.last_mut() {
            Some(count) if product.in_slot.saturating_add(sum) <= limit => *count += 1,
            _ => {
                runs.push(1);
                sum = 0;
            }
        }
        sum = sum.saturating_add(product.in_slot);
    }
    runs
}

impl LayerCensus {
    fn takes(&self, gpu: &Gpu, keeping: Keeping<'_>) -> Result<Vec<Taken>, GpuError> {
        let taken = self.products.iter().map(|product| product.takes(gpu, keeping));
        let mut taken = taken.collect::<Result<Vec<_>, _>>()?;
        for together in JOINED {
            // All of them are on the device as dense tiles before the first one is transcoded.
            if gpu.choices().joins && self.fit_transcoded(gpu, keeping, together.clone()) {
                let sum = taken[together.clone()].iter().map(|taken| taken.transcoding).sum();
                taken[together].iter_mut().for_each(|taken| taken.transcoding = sum);
            }
        }
        Ok(taken)
    }

    /// An upper bound, because joined matrices may be widened together. A matrix that should be transcoded but
    /// stays dense is not counted, and may find no space.
    fn wide_room(&self, gpu: &Gpu, keeping: Keeping<'_>) -> u64 {
        let row_blocks = |product: &TensorCensus| {
            product.tiles(keeping).map_or(0, |tiles| tiles.row_blocks().len() as u64)
        };
        let of = |together: Range<usize>| {
            let products = &self.products[together];
            let row_blocks = products.iter().map(row_blocks).sum();
            let wanted = |product: &TensorCensus| {
                let Some(tiles) = product.tiles(keeping) else { return 0 };
                let transcoded = keeping.transcoded_from(&tiles);
                let (dtype, cols) = (product.reader.dtype(), product.matrix.cols);
                WideRoom::wanted_for(gpu, BATCH, transcoded, dtype, cols, row_blocks)
            };
            products.iter().map(wanted).max().unwrap_or(0)
        };
        let alone = (0..self.products.len()).map(|i| i..i + 1);
        alone.chain(JOINED).map(of).max().unwrap_or(0)
    }

    /// Whether those of these products that are transcoded fit one binding together.
    fn fit_transcoded(&self, gpu: &Gpu, keeping: Keeping<'_>, together: Range<usize>) -> bool {
        let Some(layout) = keeping.transcoded else { return false };
        let tiles = self.products[together].iter().filter_map(|product| product.tiles(keeping));
        let transcoded: Vec<_> = tiles.filter(|tiles| keeping.transcoded_from(tiles).is_some()).collect();
        transcoded_fit_together(gpu, &transcoded.iter().collect::<Vec<_>>(), layout)
    }
}

impl TensorCensus {
    /// The memory of the whole matrix.
    pub fn takes(&self, gpu: &Gpu, keeping: Keeping<'_>) -> Result<Taken, GpuError> {
        match self.tiles(keeping) {
            Some(tiles) => self.takes_in(gpu, keeping, &tiles),
            None => self.raw(gpu, keeping),
        }
    }

    /// Whether it could be compressed, but is not.
    pub fn is_plain(&self) -> bool {
        self.reader.head().is_none()
    }

    /// The tiles that products read; `None` if they read the matrix uncompressed.
    fn tiles(&self, keeping: Keeping<'_>) -> Option<Tiles<'_>> {
        let head = self.reader.head().filter(|_| !keeping.raw)?;
        Tiles::for_products(head, keeping.precisions.of(&self.name))
    }

    fn raw(&self, gpu: &Gpu, keeping: Keeping<'_>) -> Result<Taken, GpuError> {
        let bytes = MatrixBytes::raw(gpu, &self.name, self.reader.dtype(), self.matrix)?.unwrap_or(0);
        Ok(match keeping.as_if_compressed {
            true => Taken {
                beside_slot: Gpu::buffer_bytes(4 * TABLE_LEN as u64),
                in_slot: bytes,
                read: bytes,
                ..Taken::fixed(bytes)
            },
            false => Taken::fixed(bytes),
        })
    }

    /// The parts of the matrix if it counts as compressed.
    fn parts_as_if_compressed(&self, taken: &Taken, limit: u64) -> Vec<(Range<usize>, Taken)> {
        let row_blocks = Grid::for_matrix(self.matrix).row_blocks;
        let count = taken.in_slot.div_ceil(limit.max(1)).clamp(1, row_blocks.max(1) as u64);
        // Plus one row block, because parts end between row blocks.
        let share = |bytes: u64| (bytes / count).saturating_add(bytes / row_blocks.max(1) as u64);
        let part = Taken {
            pinned: share(taken.pinned),
            in_slot: share(taken.in_slot),
            read: share(taken.read),
            ..*taken
        };
        let at = |part: u64| (row_blocks as u64 * part / count) as usize;
        (0..count).map(|i| (at(i)..at(i + 1), part)).collect()
    }

    fn takes_in(&self, gpu: &Gpu, keeping: Keeping<'_>, tiles: &Tiles<'_>) -> Result<Taken, GpuError> {
        let bytes = MatrixBytes::of(gpu, &self.name, tiles, keeping.transcoded)?;
        let transcoded = bytes.transcoded;
        let Matrix { rows, cols } = self.matrix;
        let (beside_slot, in_slot, read) = match keeping.slot_kind.is_decoded() {
            true => {
                let precision = keeping.precisions.of(&self.name);
                let read = self.reader.row_blocks_len(tiles.row_blocks(), precision);
                (0, bytes.decoded.unwrap_or(u64::MAX), read)
            }
            false => (bytes.beside_slot, bytes.in_slot, bytes.in_slot),
        };
        Ok(Taken {
            pinned: transcoded.unwrap_or(bytes.dense),
            beside_slot,
            in_slot,
            read,
            transcoding: transcoded.map_or(0, |_| bytes.dense + most_bytes_beside(rows, cols)),
        })
    }

    /// The matrix in parts of whole row blocks and similar size. Each takes not much more than `limit` in a
    /// slot, and not more than the largest possible slot. One part if the matrix cannot be streamed.
    fn parts(
        &self,
        gpu: &Gpu,
        keeping: Keeping<'_>,
        limit: u64,
    ) -> Result<Vec<(Range<usize>, Taken)>, GpuError> {
        let Some(tiles) = self.tiles(keeping) else {
            let taken = self.raw(gpu, keeping)?;
            return Ok(match keeping.as_if_compressed {
                true => self.parts_as_if_compressed(&taken, limit),
                false => vec![(0..0, taken)],
            });
        };
        let all = tiles.row_blocks();
        let whole = self.takes_in(gpu, keeping, &tiles)?.in_slot;
        let most = all.len().max(1);
        let mut count = whole.div_ceil(limit.max(1)).clamp(1, most as u64) as usize;
        let fits = |taken: &Taken| keeping.slot_kind.slot_bytes(gpu, taken.in_slot).is_some();
        loop {
            let at = |part: usize| all.start + all.len() * part / count;
            let part = |part: usize| {
                let row_blocks = at(part)..at(part + 1);
                let taken = self.takes_in(gpu, keeping, &tiles.of_row_blocks(row_blocks.clone()))?;
                Ok((row_blocks, taken))
            };
            let parts: Vec<_> = (0..count).map(part).collect::<Result<_, GpuError>>()?;
            if count == most || parts.iter().all(|(_, taken)| fits(taken)) {
                return Ok(parts);
            }
            count = (count + count.div_ceil(8)).min(most);
        }
    }
}

/// Reads a tensor's head.
pub(crate) type Opening = Box<dyn FnOnce() -> Result<TensorReader, ArchiveError> + Send>;

/// The embedding, and the output matrix if it is another one.
fn ends(config: &ModelConfig) -> Vec<(String, Matrix)> {
    let size = Matrix { rows: config.vocab, cols: config.hidden };
    let names = if config.tied { &[EMBEDDING][..] } else { &[EMBEDDING, OUTPUT] };
    names.iter().map(|&name| (name.to_string(), size)).collect()
}

/// The matrices of a layer.
fn layer_matrices(config: &ModelConfig, layer: usize) -> Vec<(String, Matrix)> {
    let matrix =
        |ProductShape { name, rows, cols, .. }| (layer_name(layer, name) + ".weight", Matrix { rows, cols });
    products(config).into_iter().map(matrix).collect()
}

/// Bytes of a layer's norms and biases on the device.
fn layer_vectors(config: &ModelConfig) -> u64 {
    let norms = norms(config).into_iter().chain(head_norms(config).into_iter().flatten());
    let biases = products(config).into_iter().filter(|product| product.bias).map(|product| product.rows);
    norms.map(|(_, len)| len).chain(biases).map(vector).sum()
}

/// Bytes of a vector of `len` elements, widened to F32.
fn vector(len: usize) -> u64 {
    Gpu::buffer_bytes(4 * len as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_joined_up_to_the_limit() {
        let sizes = [40, 10, 10, 40, 100, 100, 100].map(|in_slot| Taken { in_slot, ..Taken::default() });
        assert_eq!(runs(&sizes, 400), [7]);
        assert_eq!(runs(&sizes, 200), [5, 2]);
        assert_eq!(runs(&sizes, 100), [4, 1, 1, 1]);
        assert_eq!(runs(&sizes, 1), [1; 7]);
    }
}
