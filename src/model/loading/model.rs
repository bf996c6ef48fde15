//! Loads a whole model.

use std::sync::{Arc, Mutex};

use crate::codec::Precision;
use crate::gpu::weights::DeviceMatrix;
use crate::gpu::{MatrixBytes, Sweep, WideRoom};
use crate::model::adapter::Adapter;
use crate::model::config::model_config::ModelConfig;
use crate::model::error::ModelError;
use crate::model::files::require::wrong_type;
use crate::model::loading::loader::Loader;
use crate::model::loading::streaming::Streaming;
use crate::model::shape::outputs::BATCH;
use crate::model::shape::strides::Strides;
use crate::model::shape::tensors::{EMBEDDING, LAST_NORM, OUTPUT};
use crate::model::weights::layer_weights::LayerWeights;
use crate::model::weights::model::{Embedding, Model};
use crate::stream::{Passes, Ring, StreamedStage, TokenRows};
use crate::tensor::Matrix;

impl Loader<'_> {
    /// Loads the whole model.
    pub async fn model(&mut self, config: ModelConfig) -> Result<Model, ModelError> {
        let mut ring = self.ring()?;
        let (embedding, output) = match &self.planned.plan {
            Some(plan) if plan.embedding_on_host => self.output_in_parts(&config).await?,
            _ => self.output_in_one(&config).await?,
        };
        let norm = self.vector(LAST_NORM, config.hidden).await?;
        // Layers come last: transcoding the largest matrices uses the memory that layers will take.
        let mut layers = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            layers.push(LayerWeights::load(self, &config, layer).await?);
        }
        if let Some(ring) = &mut ring {
            ring.set_stages(self.streaming.drain(..).map(|streaming| streaming.stage).collect());
        }
        let wide_room = self.wide_room(&layers)?;
        let (plan, precisions) = (self.planned.plan.clone(), self.planned.precisions.clone());
        let (gpu, sweep) = (self.gpu.clone(), Sweep::new(self.gpu));
        let is_shared = ring.is_some() || matches!(embedding, Embedding::OnHost(_));
        let passes = if is_shared { Some(Passes::new()?) } else { None };
        Ok(Model {
            gpu,
            config,
            embedding,
            layers,
            norm,
            output,
            plan,
            precisions,
            wide_room,
            adapter_stride: self.adapter.map_or(0, Adapter::stride),
            rotations: Mutex::default(),
            passes,
            ring: ring.map(Arc::new),
            _sweep: sweep,
        })
    }

    /// The buffer in which layers' matrices are widened for batches, if any are and the plan includes it.
    fn wide_room(&self, layers: &[LayerWeights]) -> Result<Option<WideRoom>, ModelError> {
        let most = self.planned.plan.as_ref().map_or(u64::MAX, |plan| plan.wide_room);
        let wanted = WideRoom::wanted(self.gpu, BATCH, layers.iter().flat_map(LayerWeights::matrices));
        let bytes = wanted.min(most);
        Ok(if bytes > 0 { Some(WideRoom::new(self.gpu, bytes)?) } else { None })
    }

    /// The ring for streamed stages, and each stage's place in it.
    fn ring(&mut self) -> Result<Option<Ring>, ModelError> {
        let Some(plan) = self.planned.plan.as_ref().filter(|plan| !plan.is_resident()) else {
            return Ok(None);
        };
        let ring = Ring::new(self.gpu, plan.slot_kind, plan.slots, plan.slot_bytes)?;
        let place =
            |k| Streaming { slot: ring.slot_of(k).clone(), taken: 0, stage: StreamedStage::default() };
        self.streaming = (0..plan.streamed.len()).map(place).collect();
        Ok(Some(ring))
    }

    /// Loads embedding and output matrix onto the device.
    async fn output_in_one(
        &mut self,
        config: &ModelConfig,
    ) -> Result<(Embedding, Vec<DeviceMatrix>), ModelError> {
        let embedding = self.matrix(EMBEDDING, config.vocab, config.hidden).await?;
        if config.tied {
            return Ok((Embedding::InOutput, vec![embedding]));
        }
        let output = self.matrix(OUTPUT, config.vocab, config.hidden).await?;
        Ok((Embedding::Apart(Box::new(embedding)), vec![output]))
    }

    /// Leaves the embedding in its file, and loads the output matrix in parts that are stages.
    async fn output_in_parts(
        &mut self,
        config: &ModelConfig,
    ) -> Result<(Embedding, Vec<DeviceMatrix>), ModelError> {
        let rows = self.token_rows(config).await?;
        let name = if config.tied { EMBEDDING } else { OUTPUT };
        let weight = self.require(name, &[config.vocab, config.hidden])?;
        let reader = self.open(&weight).await?;
        if !config.tied {
            self.check(&reader, self.planned.precisions.of(name)).await?;
        }
        let mut output = Vec::new();
        match self.tiles(&reader) {
            Some(tiles) => {
                for (stage, row_blocks) in &self.planned.cut.output {
                    let tiles = tiles.of_row_blocks(row_blocks.clone());
                    output.push(self.tiled(&weight, &reader, &tiles, self.place_of(*stage)).await?);
                }
            }
            None => output.push(self.raw(&weight, &reader).await?),
        }
        self.progress.advance(weight.original_len as u64);
        Ok((Embedding::OnHost(Arc::new(rows)), output))
    }

    /// A checked reader for rows of the embedding.
    async fn token_rows(&self, config: &ModelConfig) -> Result<TokenRows, ModelError> {
        let weight = self.require(EMBEDDING, &[config.vocab, config.hidden])?;
        let matrix = Matrix { rows: config.vocab, cols: config.hidden };
        if MatrixBytes::raw(self.gpu, weight.name, weight.dtype, matrix)?.is_none() {
            return Err(wrong_type(&weight));
        }
        let reader = self.open(&weight).await?;
        self.check(&reader, Precision::Lossless).await?;
        if !config.tied {
            self.progress.advance(weight.original_len as u64);
        }
        let precision = if self.raw { Precision::Lossless } else { self.planned.precisions.of(EMBEDDING) };
        Ok(TokenRows::new(self.gpu, reader, precision, Strides::new(config).hidden)?)
    }
}
