//! New weights for a model that was never trained.

use std::path::Path;

use half::bf16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::error::TrainError;
use super::plain_model::{TensorShape, TensorWriter};
use crate::model::{ModelConfig, tensor_shapes};
use crate::tensor::Dtype;

/// The deviation of new weights, as `initializer_range` of most configurations has it.
const DEVIATION: f32 = 0.02;

/// Writes `model.safetensors` with random weights for the configuration in a folder: norms are 1, biases 0, and matrices
/// are normally distributed. What is added to the residual stream is smaller in deep models (Radford and others,
/// "Language models are unsupervised multitask learners", 2019). The same seed gives the same weights.
pub fn write_initial_weights(folder: &Path, seed: u64) -> Result<(), TrainError> {
    let config = ModelConfig::open(folder)?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let path = folder.join("model.safetensors");
    let tensors: Vec<TensorShape> = tensor_shapes(&config)
        .into_iter()
        .map(|(name, shape)| TensorShape { name, dtype: Dtype::BF16, shape })
        .collect();
    let mut file = TensorWriter::create(&path, &tensors)?;
    for TensorShape { name, shape, .. } in &tensors {
        let adds = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
        let deviation = if adds { DEVIATION / (2.0 * config.layers as f32).sqrt() } else { DEVIATION };
        let value = |_| match shape.len() {
            2 => deviation * normal(&mut random),
            _ if name.ends_with("norm.weight") => 1.0,
            _ => 0.0,
        };
        let values = (0..shape.iter().product::<usize>()).map(value);
        file.write(&values.flat_map(|value| bf16::from_f32(value).to_le_bytes()).collect::<Vec<u8>>())?;
    }
    file.finish()
}

/// A normally distributed number, from two that are evenly distributed (Box and Muller, 1958).
fn normal(random: &mut impl Rng) -> f32 {
    let (radius, angle): (f64, f64) = (random.random(), random.random());
    let radius = (-2.0 * (1.0 - radius).ln()).sqrt();
    (radius * (std::f64::consts::TAU * angle).cos()) as f32
}
