//! Adapters that are trained: two factors of F32 for each product that has one.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::moments::OptimizerState;
use super::vector::TrainedVector;
use crate::gpu::weights::WEIGHTS;
use crate::gpu::{Buffer, Gpu, GpuError};
use crate::model::{Adapter, AdapterTarget, ModelConfig, adapter_tensor_name, products};
use crate::train::lora::LoraOptions;
use crate::train::options::TrainOptions;

/// The factors of one product.
#[derive(Debug)]
pub(crate) struct TrainedPair {
    /// `[rank, columns]`.
    pub a: TrainedVector,
    /// `[rows, rank]`.
    pub b: TrainedVector,
}

/// The adapters of a model.
#[derive(Debug)]
pub(crate) struct TrainedAdapters {
    pub rank: usize,
    /// What products with B are multiplied by.
    pub scale: f32,
    /// By layer, and by product.
    pub layers: Vec<[Option<TrainedPair>; 7]>,
}

impl TrainedAdapters {
    /// Adapters as `lora` says: those of `from` if there are any, and otherwise new ones. A is random then, and B is
    /// zero, so that the model is the same as without them.
    pub fn new(
        gpu: &Gpu,
        config: &ModelConfig,
        options: &TrainOptions,
        lora: &LoraOptions,
        from: Option<&Adapter>,
    ) -> Result<Self, GpuError> {
        let mut random = ChaCha8Rng::seed_from_u64(options.update.seed.into());
        let (state, accumulates) = (OptimizerState::of(&options.update), options.accumulate > 1);
        let rank = lora.rank;
        let mut number = 0;
        let mut factor = |name: String, shape: [usize; 2], values: Vec<f32>| {
            number += 1;
            factor(gpu, name, number - 1, shape, &values, (state, accumulates))
        };
        let mut layers = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            let mut pairs: [Option<TrainedPair>; 7] = Default::default();
            for (i, (product, target)) in products(config).into_iter().zip(AdapterTarget::ALL).enumerate() {
                if !lora.targets.contains(&target) {
                    continue;
                }
                // As PEFT begins: evenly distributed, with the deviation of 1 / sqrt(3 columns).
                let bound = 1.0 / (product.cols as f32).sqrt();
                let new_a: Vec<f32> =
                    (0..rank * product.cols).map(|_| random.random_range(-bound..=bound)).collect();
                let there = from.and_then(|adapter| adapter.pair(layer, target));
                let a = there.map_or(new_a, |pair| pair.a.clone());
                let b = there.map_or_else(|| vec![0.0; product.rows * rank], |pair| pair.b.clone());
                let name = |factor| adapter_tensor_name(layer, product.name, factor);
                pairs[i] = Some(TrainedPair {
                    a: factor(name('A'), [rank, product.cols], a)?,
                    b: factor(name('B'), [product.rows, rank], b)?,
                });
            }
            layers.push(pairs);
        }
        Ok(Self { rank, scale: lora.scale(), layers })
    }

    /// The factors whose gradients add up over batches, and where they do.
    pub fn accumulated(&self) -> impl Iterator<Item = (&TrainedVector, &Buffer)> {
        self.factors().filter_map(|factor| Some((factor, factor.grads.as_ref()?)))
    }

    /// All factors, in the order of layers and products.
    pub fn factors(&self) -> impl Iterator<Item = &TrainedVector> {
        self.layers.iter().flatten().flatten().flat_map(|pair| [&pair.a, &pair.b])
    }
}

fn factor(
    gpu: &Gpu,
    name: String,
    tensor: u32,
    shape: [usize; 2],
    values: &[f32],
    (state, accumulates): (OptimizerState, bool),
) -> Result<TrainedVector, GpuError> {
    let weights = gpu.buffer_with(&name, bytemuck::cast_slice(values), WEIGHTS)?;
    let state = OptimizerState::numbers(gpu, state.of_vector(values.len()))?;
    let grads = match accumulates {
        true => Some(gpu.buffer(&name, weights.size(), WEIGHTS)?),
        false => None,
    };
    Ok(TrainedVector { name, tensor, len: values.len(), shape: shape.into(), weights, state, grads })
}
