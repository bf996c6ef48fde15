//! Reading an adapter, and checking it against the model that it is for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::target::AdapterTarget;
use crate::archive::{ArchiveError, WeightSource};
use crate::codec::Precision;
use crate::codec::grid::LANES;
use crate::gpu::weights::WIDE_CHUNK;
use crate::model::ModelConfig;
use crate::model::error::ModelError;
use crate::model::shape::outputs::BATCH;
use crate::model::shape::tensors::{layer_name, products};
use crate::tensor::Dtype;

/// The name of an adapter's configuration.
pub(crate) const CONFIG: &str = "adapter_config.json";

/// The name of its file of weights.
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";

/// The largest rank that is read.
const MAX_RANK: usize = 1 << 12;

/// What PEFT has of other kinds of adapters, and of parts beside them. Only what is empty or false can be left out.
const OTHERS: [&str; 11] = [
    "use_dora",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "fan_in_fan_out",
    "lora_bias",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "megatron_config",
    "eva_config",
];

/// The name of factor `factor` (`A` or `B`) of the product `target` of a layer.
pub(crate) fn tensor_name(layer: usize, product: &str, factor: char) -> String {
    format!("base_model.model.{}.lora_{factor}.weight", layer_name(layer, product))
}

/// The two factors of an adapter of one product: `y = W x + scale · B (A x)`.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterPair {
    /// A, `[rank, columns of W]`.
    pub a: Vec<f32>,
    /// B, `[rows of W, rank]`.
    pub b: Vec<f32>,
}

/// An adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// Its folder.
    pub path: PathBuf,
    /// Rows of A, and columns of B.
    pub rank: usize,
    /// What products with B are multiplied by.
    pub scale: f32,
    /// The factors, by layer and target.
    pub pairs: BTreeMap<(usize, AdapterTarget), AdapterPair>,
}

impl Adapter {
    /// Reads the adapter in a folder, for a model with this configuration.
    pub fn open(folder: &Path, config: &ModelConfig) -> Result<Self, ModelError> {
        let (rank, scale) = read_config(&folder.join(CONFIG))?;
        let path = folder.join(WEIGHTS);
        let source = WeightSource::open(&path)?;
        let mut pairs = BTreeMap::new();
        let mut read = 0;
        for layer in 0..config.layers {
            for (target, product) in AdapterTarget::ALL.into_iter().zip(products(config)) {
                let factor = |factor, shape: [usize; 2]| {
                    read_factor(&source, &tensor_name(layer, product.name, factor), shape)
                };
                match (factor('A', [rank, product.cols])?, factor('B', [product.rows, rank])?) {
                    (Some(a), Some(b)) => {
                        pairs.insert((layer, target), AdapterPair { a, b });
                        read += 2;
                    }
                    (None, None) => {}
                    _ => {
                        let what =
                            format!("{} has one factor and not the other", layer_name(layer, product.name));
                        return Err(ModelError::Adapter { path, what });
                    }
                }
            }
        }
        if read != source.len() || pairs.is_empty() {
            let known = |name: &str| {
                pairs.keys().any(|&(layer, target)| {
                    let product = products(config)[target as usize].name;
                    ['A', 'B'].iter().any(|&factor| tensor_name(layer, product, factor) == name)
                })
            };
            let unread = source.weights().map(|weight| weight.name).find(|name| !known(name));
            let what = match unread {
                Some(name) => {
                    format!("tensor {name} belongs to no layer of the model; the adapter is for another one")
                }
                None => "has no adapter of any layer".into(),
            };
            return Err(ModelError::Adapter { path, what });
        }
        Ok(Self { path: folder.into(), rank, scale, pairs })
    }

    /// Elements from one token's products with A to the next one's.
    pub(crate) fn stride(&self) -> usize {
        self.rank.next_multiple_of(WIDE_CHUNK)
    }

    /// An upper bound of the device memory that it takes, sessions' part included.
    pub(crate) fn device_bytes(&self, config: &ModelConfig) -> u64 {
        let factor = |rows: usize, cols: usize| {
            let rows = rows.next_multiple_of(LANES) as u64;
            // In textures, rows are padded once more.
            4 * rows * cols.next_multiple_of(WIDE_CHUNK) as u64 + (16 << 10)
        };
        let pair = |&(_, target): &(usize, AdapterTarget)| {
            let product = products(config)[target as usize];
            let dispatches = 2 * 4 * 256;
            factor(self.rank, product.cols) + factor(product.rows, self.rank) + dispatches * BATCH as u64 / 4
        };
        self.pairs.keys().map(pair).sum::<u64>() + (4 * BATCH * self.stride()) as u64
    }

    /// The factors of a product.
    pub fn pair(&self, layer: usize, target: AdapterTarget) -> Option<&AdapterPair> {
        self.pairs.get(&(layer, target))
    }
}

/// The rank, and what products are multiplied by.
fn read_config(path: &Path) -> Result<(usize, f32), ModelError> {
    let bad = |what: String| ModelError::Adapter { path: path.into(), what };
    let text = std::fs::read_to_string(path).map_err(ArchiveError::io("read", path))?;
    let fields: Map<String, Value> = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    match fields.get("peft_type").and_then(Value::as_str) {
        Some("LORA") => {}
        other => return Err(bad(format!("peft_type is {other:?}; only \"LORA\" is supported"))),
    }
    for name in OTHERS {
        let is_empty = match fields.get(name) {
            None | Some(Value::Null | Value::Bool(false)) => true,
            Some(Value::Array(all)) => all.is_empty(),
            Some(Value::Object(all)) => all.is_empty(),
            Some(_) => false,
        };
        if !is_empty {
            return Err(bad(format!("{name} is set, which is not supported")));
        }
    }
    if let Some(bias) = fields.get("bias").filter(|bias| bias.as_str() != Some("none")) {
        return Err(bad(format!("bias is {bias}; only \"none\" is supported")));
    }
    let rank = fields.get("r").and_then(Value::as_u64).and_then(|rank| usize::try_from(rank).ok());
    let rank = rank.filter(|rank| (1..=MAX_RANK).contains(rank));
    let rank = rank.ok_or_else(|| bad(format!("r must be a whole number from 1 to {MAX_RANK}")))?;
    let alpha = fields.get("lora_alpha").and_then(Value::as_f64).filter(|alpha| alpha.is_finite());
    let alpha = alpha.ok_or_else(|| bad("lora_alpha must be a number".into()))?;
    let uses_root = fields.get("use_rslora").and_then(Value::as_bool).unwrap_or(false);
    let divisor = if uses_root { (rank as f64).sqrt() } else { rank as f64 };
    Ok((rank, (alpha / divisor) as f32))
}

/// The elements of a factor; `None` if there is no such tensor.
fn read_factor(source: &WeightSource, name: &str, shape: [usize; 2]) -> Result<Option<Vec<f32>>, ModelError> {
    let Ok(weight) = source.require(name) else { return Ok(None) };
    let wrong =
        |found: String, expected: String| ModelError::WrongTensor { tensor: name.into(), found, expected };
    if weight.shape != shape {
        return Err(wrong(format!("{:?}", weight.shape), format!("{shape:?}")));
    }
    let is_float =
        matches!(weight.dtype, Dtype::BF16 | Dtype::F16 | Dtype::F32) && weight.quantized.is_none();
    if !is_float {
        return Err(wrong(weight.dtype.to_string(), "BF16, F16 or F32".into()));
    }
    let reader = weight.reader()?;
    let bytes = reader.read_all()?;
    let values: Vec<f32> = reader.values(&bytes, Precision::Lossless).collect();
    if values.iter().any(|value| !value.is_finite()) {
        return Err(wrong("a number that is not finite".into(), "finite numbers".into()));
    }
    Ok(Some(values))
}
