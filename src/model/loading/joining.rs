//! Loads matrices that one dispatch will multiply with.

use crate::archive::{TensorReader, Weight};
use crate::gpu::SlotPlace;
use crate::gpu::weights::layouts::Transcoded;
use crate::gpu::weights::{DeviceMatrix, Join, Tiles, TilesKey, transcoded_fit_together};
use crate::model::error::ModelError;
use crate::model::loading::loader::Loader;
use crate::model::shape::tensors::ProductShape;
use crate::tensor::{Dtype, Matrix};

/// A matrix to load.
struct Source<'a> {
    weight: Weight<'a>,
    reader: TensorReader,
    matrix: Matrix,
    /// Where the results of this matrix begin among a token's results.
    first_row: usize,
    /// Its streamed stage, as an index among the streamed stages.
    streamed: Option<usize>,
}

/// The properties that matrices must share to be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Raw(Dtype),
    /// Transcoded to this layout. The transcoded matrices must be alike too.
    Transcoded(Transcoded),
    Dense(TilesKey),
    Streamed(usize, TilesKey),
    /// Decoded on the way into the slot of this stage.
    Decoded(usize, Dtype),
}

impl<'a> Loader<'a> {
    /// Loads the matrices of products with the same activations, and joins those that are stored alike.
    /// `products` has the names of the tensors.
    pub async fn joined(
        &mut self,
        products: &[(String, &ProductShape)],
        join: Join,
    ) -> Result<Vec<DeviceMatrix>, ModelError> {
        let sources = self.sources(products, join).await?;
        let tiles: Vec<Option<Tiles<'_>>> = sources.iter().map(|source| self.tiles(&source.reader)).collect();
        let keys: Vec<Option<Key>> =
            sources.iter().zip(&tiles).map(|(source, tiles)| self.key(source, tiles.as_ref())).collect();
        let mut all = Vec::new();
        for group in join.groups(&keys) {
            let members: Vec<_> = group.iter().map(|&i| (&sources[i], tiles[i].as_ref())).collect();
            match keys[group[0]].filter(|_| members.len() > 1) {
                Some(key) => all.extend(self.group(&members, key, join).await?),
                None => all.extend(self.apart(&members).await?),
            }
        }
        sources.iter().for_each(|source| self.progress.advance(source.weight.original_len as u64));
        Ok(all)
    }

    async fn sources(
        &self,
        products: &[(String, &ProductShape)],
        join: Join,
    ) -> Result<Vec<Source<'a>>, ModelError> {
        let (mut rows, mut all) = (0, Vec::new());
        for (name, shape) in products {
            let matrix = Matrix { rows: shape.rows, cols: shape.cols };
            let weight = self.require(name, &[shape.rows, shape.cols])?;
            let reader = self.open_checked(&weight).await?;
            let streamed = self.streamed_stage(name);
            let first_row = if join == Join::Stacked { rows } else { 0 };
            rows += shape.rows;
            all.push(Source { weight, reader, matrix, first_row, streamed });
        }
        Ok(all)
    }

    /// The properties of a matrix; `None` if it is never joined.
    fn key(&self, source: &Source<'_>, tiles: Option<&Tiles<'_>>) -> Option<Key> {
        let choices = self.gpu.choices();
        if !choices.joins {
            return None;
        }
        let Some(tiles) = tiles else { return Some(Key::Raw(source.weight.dtype)) };
        let to = self.planned.transcoded.filter(|&to| tiles.transcoded_row_block_bytes(to).is_some());
        match (source.streamed, to) {
            (Some(stage), _) if self.planned.decodes() => Some(Key::Decoded(stage, source.weight.dtype)),
            (None, Some(to)) => Some(Key::Transcoded(to)),
            _ if !choices.joins_tiles => None,
            (Some(stage), _) => Some(Key::Streamed(stage, TilesKey::of(self.gpu, tiles))),
            (None, None) => Some(Key::Dense(TilesKey::of(self.gpu, tiles))),
        }
    }

    /// Loads matrices one by one.
    async fn apart(&mut self, members: &[Member<'_, '_>]) -> Result<Vec<DeviceMatrix>, ModelError> {
        let mut all = Vec::new();
        for (source, tiles) in members {
            let Source { weight, reader, streamed, first_row, .. } = source;
            let matrix = match tiles {
                Some(tiles) => self.tiled(weight, reader, tiles, *streamed).await?,
                None => self.raw(weight, reader).await?,
            };
            all.push(matrix.at_row(*first_row));
        }
        Ok(all)
    }

    /// Loads matrices that share `key`; one by one if they do not fit together.
    async fn group(
        &mut self,
        members: &[Member<'_, '_>],
        key: Key,
        join: Join,
    ) -> Result<Vec<DeviceMatrix>, ModelError> {
        let joined = match key {
            Key::Raw(dtype) => self.raw_joined(members, dtype, join).await?,
            Key::Transcoded(to) => return self.transcoded_joined(members, join, to).await,
            Key::Dense(_) => self.dense_joined(members, join).await?,
            Key::Streamed(stage, _) => self.streamed_joined(members, stage, join)?,
            Key::Decoded(stage, dtype) => self.decoded_joined(members, stage, dtype, join),
        };
        match joined {
            Some(joined) => Ok(vec![joined]),
            None => self.apart(members).await,
        }
    }

    async fn raw_joined(
        &mut self,
        members: &[Member<'_, '_>],
        dtype: Dtype,
        join: Join,
    ) -> Result<Option<DeviceMatrix>, ModelError> {
        let matrices = matrices_of(members);
        let Some(joined) = DeviceMatrix::raw_joined(self.gpu, label(members), dtype, &matrices, join)? else {
            return Ok(None);
        };
        let mut row_block = 0;
        for (source, _) in members {
            row_block += self.write_rows(&joined, row_block, source.matrix.rows, &source.reader).await?;
        }
        Ok(Some(joined))
    }

    async fn dense_joined(
        &mut self,
        members: &[Member<'_, '_>],
        join: Join,
    ) -> Result<Option<DeviceMatrix>, ModelError> {
        let joined = DeviceMatrix::dense_joined(self.gpu, label(members), &tiles_of(members), join, None)?;
        let Some((joined, pieces)) = joined else { return Ok(None) };
        for ((source, _), pieces) in members.iter().zip(pieces) {
            for part in &joined.parts {
                self.write_pieces(&source.reader, &part.payload, &pieces).await?;
            }
            source.reader.require_unchanged()?;
        }
        Ok(Some(joined))
    }

    fn streamed_joined(
        &mut self,
        members: &[Member<'_, '_>],
        stage: usize,
        join: Join,
    ) -> Result<Option<DeviceMatrix>, ModelError> {
        let Some(streaming) = self.streaming.get_mut(stage) else { return Ok(None) };
        let place = SlotPlace { slot: &streaming.slot, at: streaming.taken, stage };
        let (tiles, label) = (tiles_of(members), label(members));
        let joined = DeviceMatrix::dense_joined(self.gpu, label, &tiles, join, Some(place))?;
        let Some((joined, pieces)) = joined else { return Ok(None) };
        for ((source, _), pieces) in members.iter().zip(&pieces) {
            streaming.add(&source.reader, pieces);
        }
        Ok(Some(joined))
    }

    fn decoded_joined(
        &mut self,
        members: &[Member<'_, '_>],
        stage: usize,
        dtype: Dtype,
        join: Join,
    ) -> Option<DeviceMatrix> {
        let streaming = self.streaming.get_mut(stage)?;
        let place = SlotPlace { slot: &streaming.slot, at: streaming.taken, stage };
        let matrices = matrices_of(members);
        let (joined, pieces) = DeviceMatrix::decoded_joined(self.gpu, dtype, &matrices, join, place)?;
        for ((source, _), rows) in members.iter().zip(pieces) {
            let precision = self.planned.precisions.of(source.weight.name);
            streaming.add_decoded(&source.reader, precision, &[rows]);
        }
        Some(joined)
    }

    /// All of them must be on the device as dense tiles before the first one is transcoded.
    async fn transcoded_joined(
        &mut self,
        members: &[Member<'_, '_>],
        join: Join,
        to: Transcoded,
    ) -> Result<Vec<DeviceMatrix>, ModelError> {
        let tiles: Vec<_> = members.iter().filter_map(|(_, tiles)| *tiles).collect();
        if !transcoded_fit_together(self.gpu, &tiles, to) {
            return self.apart(members).await;
        }
        let mut dense = Vec::new();
        for ((source, _), tiles) in members.iter().zip(tiles) {
            let least_block = tiles.transcoded_row_block_bytes(to).unwrap_or(0);
            let matrix = self.dense(&source.weight, &source.reader, tiles, least_block).await?;
            dense.push((matrix, source.first_row));
        }
        let (gpu, uploader) = (self.gpu, &mut self.uploader);
        Ok(DeviceMatrix::into_transcoded_joined(gpu, uploader, label(members), dense, join, to).await?)
    }
}

/// A matrix, and its tiles if it has any.
type Member<'m, 's> = (&'m Source<'s>, Option<&'m Tiles<'m>>);

/// The label of the buffers.
fn label<'m>(members: &[Member<'m, '_>]) -> &'m str {
    members.first().map_or("", |(source, _)| source.weight.name)
}

/// For each matrix, its size and where its results begin among a token's results.
fn matrices_of(members: &[Member<'_, '_>]) -> Vec<(Matrix, usize)> {
    members.iter().map(|(source, _)| (source.matrix, source.first_row)).collect()
}

/// For each matrix, its tiles and where its results begin among a token's results.
fn tiles_of<'m>(members: &[Member<'m, '_>]) -> Vec<(Tiles<'m>, usize)> {
    members.iter().filter_map(|(source, tiles)| Some(((*tiles)?.clone(), source.first_row))).collect()
}
