//! Adding an adapter to the weights that it is for.

use std::path::Path;

use half::{bf16, f16};

use super::error::TrainError;
use super::log::damaged;
use super::plain_model::{TensorShape, TensorWriter, copy_description, folder_beside};
use crate::archive::{self, ModelFiles, Options, Progress, Report, Weight};
use crate::model::{Adapter, AdapterPair, AdapterTarget, ModelConfig, layer_name, products};
use crate::tensor::Dtype;

/// Rows that are added to at a time.
const ROWS: usize = 64;

/// Writes to `out`, compressed, a model whose weights have the adapter's products in them: `W + scale · B A`, rounded to the
/// type of W. The model is not quite that with the adapter beside it, because of this rounding.
pub fn fuse(
    files: &ModelFiles,
    adapter: &Adapter,
    out: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report, TrainError> {
    let config = ModelConfig::of_files(files)?;
    let folder = folder_beside(out)?;
    copy_description(files.folder(), folder.path())?;
    let path = folder.path().join("model.safetensors");
    let mut weights: Vec<Weight<'_>> = files.weights().collect();
    weights.sort_by_key(|weight| weight.name);
    if let Some(weight) = weights.iter().find(|weight| weight.quantized.is_some()) {
        return Err(damaged(
            files.path(),
            format!("tensor {} is quantised, which cannot be added to", weight.name),
        ));
    }
    let shape = |weight: &Weight<'_>| {
        let (name, dtype) = (weight.name.to_string(), weight.dtype);
        TensorShape { name, dtype, shape: weight.shape.to_vec() }
    };
    let mut file = TensorWriter::create(&path, &weights.iter().map(shape).collect::<Vec<_>>())?;
    let targets = targets(&config);
    for weight in &weights {
        let pair = targets.iter().find(|(name, ..)| name == weight.name);
        let pair = pair.and_then(|&(_, layer, target)| adapter.pair(layer, target));
        match pair {
            None => file.write(&weight.bytes()?)?,
            Some(pair) => write_fused(&mut file, weight, pair, adapter)?,
        }
    }
    file.finish()?;
    Ok(archive::compress(folder.path(), Some(out), options, progress)?)
}

/// The names of all tensors that an adapter may be for.
fn targets(config: &ModelConfig) -> Vec<(String, usize, AdapterTarget)> {
    let of_layer = |layer: usize| {
        let products = products(config).into_iter().zip(AdapterTarget::ALL);
        products.map(move |(product, target)| (layer_name(layer, product.name) + ".weight", layer, target))
    };
    (0..config.layers).flat_map(of_layer).collect()
}

fn write_fused(
    file: &mut TensorWriter,
    weight: &Weight<'_>,
    pair: &AdapterPair,
    adapter: &Adapter,
) -> Result<(), TrainError> {
    let reader = weight.reader()?;
    let (rows, cols, rank) = (reader.rows(), reader.cols(), adapter.rank);
    for first in (0..rows).step_by(ROWS) {
        let some = first..(first + ROWS).min(rows);
        let bytes = reader.read_matrix_rows(some.clone())?;
        let values: Vec<f32> = reader.values(&bytes, crate::codec::Precision::Lossless).collect();
        let mut fused = Vec::with_capacity(bytes.len());
        for (row, values) in some.zip(values.chunks(cols)) {
            let mut change = vec![0f64; cols];
            for (k, b) in pair.b[row * rank..][..rank].iter().enumerate() {
                let a = &pair.a[k * cols..][..cols];
                change.iter_mut().zip(a).for_each(|(sum, a)| *sum += f64::from(*b) * f64::from(*a));
            }
            for (value, change) in values.iter().zip(change) {
                let sum = f64::from(*value) + f64::from(adapter.scale) * change;
                let element = element(reader.dtype(), sum as f32).ok_or_else(|| {
                    let what = format!("tensor {}: a weight would be too large for its type", weight.name);
                    damaged(&adapter.path, what)
                })?;
                fused.extend_from_slice(&element);
            }
        }
        file.write(&fused)?;
    }
    Ok(())
}

/// The bytes of a number, rounded to a type; `None` if that makes it infinite.
fn element(dtype: Dtype, value: f32) -> Option<Vec<u8>> {
    let (bytes, rounded) = match dtype {
        Dtype::F32 => (value.to_le_bytes().to_vec(), value),
        Dtype::F16 => (f16::from_f32(value).to_le_bytes().to_vec(), f16::from_f32(value).to_f32()),
        _ => (bf16::from_f32(value).to_le_bytes().to_vec(), bf16::from_f32(value).to_f32()),
    };
    rounded.is_finite().then_some(bytes)
}
