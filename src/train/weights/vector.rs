//! A vector of weights that is trained: the weight of a norm, or a bias.

use half::{bf16, f16};

use super::moments::OptimizerState;

use crate::archive::Weight;
use crate::gpu::weights::WEIGHTS;
use crate::gpu::{Buffer, Gpu, GpuError, download};
use crate::tensor::Dtype;
use crate::train::TrainError;

/// A vector of BF16, which the device has as F32; or a factor of an adapter, which is F32.
#[derive(Debug)]
pub(crate) struct TrainedVector {
    pub name: String,
    /// Its number, on which stochastic rounding depends.
    pub tensor: u32,
    pub len: usize,
    pub shape: Vec<usize>,
    pub weights: Buffer,
    /// What the optimizer keeps of it, if anything: pairs of moments, or means of squares.
    pub state: Option<Buffer>,
    /// Gradients that add up over batches, if they do.
    pub grads: Option<Buffer>,
}

impl TrainedVector {
    /// Brings a vector to the device.
    pub fn load(
        gpu: &Gpu,
        name: &str,
        tensor: u32,
        bits: &[u16],
        state: OptimizerState,
    ) -> Result<Self, GpuError> {
        let len = bits.len();
        let values: Vec<u32> = bits.iter().map(|&bits| u32::from(bits) << 16).collect();
        let weights = gpu.buffer_with(name, bytemuck::cast_slice(&values), WEIGHTS)?;
        let state = OptimizerState::numbers(gpu, state.of_vector(len))?;
        Ok(Self { name: name.into(), tensor, len, shape: vec![len], weights, state, grads: None })
    }

    /// The bits of the weights.
    pub async fn read(&self, gpu: &Gpu) -> Result<Vec<u16>, GpuError> {
        let bytes = download(gpu, &self.weights, 4 * self.len as u64).await?;
        let upper = |bytes: &[u8; 4]| (u32::from_ne_bytes(*bytes) >> 16) as u16;
        Ok(bytes.as_chunks().0.iter().map(upper).collect())
    }
}

/// An error unless the tensor has this shape and a type that can be trained.
pub(super) fn require(weight: &Weight<'_>, shape: &[usize]) -> Result<(), TrainError> {
    let is_float = matches!(weight.dtype, Dtype::BF16 | Dtype::F16 | Dtype::F32);
    if weight.shape != shape || !is_float || weight.quantized.is_some() {
        return Err(TrainError::WrongTensor {
            tensor: weight.name.into(),
            found: format!("{} {:?}", weight.dtype, weight.shape),
            expected: format!("BF16, F16 or F32 {shape:?}"),
        });
    }
    Ok(())
}

/// The elements of a tensor as BF16: F16 and F32 are rounded to the nearest, ties to even.
pub(super) fn bits_of(dtype: Dtype, bytes: &[u8]) -> Vec<u16> {
    match dtype {
        Dtype::F32 => {
            bytes.as_chunks().0.iter().map(|&b| bf16::from_f32(f32::from_le_bytes(b)).to_bits()).collect()
        }
        Dtype::F16 => {
            let wide = |&b| bf16::from_f32(f16::from_le_bytes(b).to_f32()).to_bits();
            bytes.as_chunks().0.iter().map(wide).collect()
        }
        _ => bytes.as_chunks().0.iter().map(|&b| u16::from_le_bytes(b)).collect(),
    }
}
