//! `config.json` of a Hugging Face model folder, checked.

use std::path::Path;

use serde::Deserialize;

use super::error::ModelError;

/// The architectures that can be run.
pub const SUPPORTED: [&str; 4] =
    ["LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"];

/// The limits within which the kernels' 32-bit indices cannot overflow.
const MAX_DIM: usize = 1 << 20;
const MAX_HEAD_DIM: usize = 256;

/// What the executor needs to know about a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// One of [`SUPPORTED`].
    pub architecture: String,
    /// Elements of the residual stream.
    pub hidden: usize,
    /// Elements between the halves of the MLP.
    pub intermediate: usize,
    /// Number of layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads (GQA where fewer than `heads`).
    pub kv_heads: usize,
    /// Elements of a head; not always `hidden / heads`.
    pub head_dim: usize,
    /// Size of the vocabulary.
    pub vocab: usize,
    /// Longest sequence the model was made for.
    pub max_positions: usize,
    /// What the norms add to the mean square.
    pub norm_epsilon: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How the rotary frequencies are stretched.
    pub rope_scaling: RopeScaling,
    /// Whether the embedding is the output matrix too.
    pub tied: bool,
    /// Whether query and key heads are normalised (Qwen3).
    pub head_norms: bool,
    /// Whether queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// Whether the attention's output has a bias.
    pub o_bias: bool,
    /// Whether the three products of the MLP have a bias.
    pub mlp_bias: bool,
    /// How many positions back each layer sees, itself included; `None` for all.
    pub windows: Vec<Option<usize>>,
}

/// How rotary frequencies are changed for sequences longer than those of the first training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// As in Llama 3.1: low frequencies are divided, high ones kept, those between are blended.
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// Wavelengths above `original / low` are divided.
        low: f64,
        /// Wavelengths below `original / high` are kept.
        high: f64,
        /// Context of the first training.
        original: f64,
    },
}

/// The file as it is written. Newer files keep the rotary settings in `rope_parameters`.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    architectures: Vec<String>,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    #[serde(default = "default_positions")]
    max_position_embeddings: usize,
    #[serde(default = "default_epsilon")]
    rms_norm_eps: f32,
    rope_theta: Option<f64>,
    rope_scaling: Option<Rope>,
    rope_parameters: Option<Rope>,
    #[serde(default)]
    tie_word_embeddings: bool,
    hidden_act: Option<String>,
    /// Hugging Face has 4096 where the field is missing, and no window where it is null.
    #[serde(default = "default_window")]
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    /// Newer files say of each layer whether it has a window.
    layer_types: Option<Vec<String>>,
    partial_rotary_factor: Option<f64>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
}

#[derive(Deserialize)]
struct Rope {
    rope_type: Option<String>,
    /// The older spelling; files that were saved again have both.
    r#type: Option<String>,
    partial_rotary_factor: Option<f64>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

fn default_positions() -> usize {
    2048
}

fn default_window() -> Option<usize> {
    Some(4096)
}

fn default_epsilon() -> f32 {
    1e-6
}

impl ModelConfig {
    /// Reads `config.json` in `folder`.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join("config.json");
        let text = std::fs::read_to_string(&path)
            .map_err(|e| ModelError::Config { path: path.clone(), what: e.to_string() })?;
        Self::parse(&text, &path)
    }

    /// Reads a configuration from JSON; `path` is for error messages.
    pub fn parse(json: &str, path: &Path) -> Result<Self, ModelError> {
        let bad = |what: String| ModelError::Config { path: path.into(), what };
        // The architecture first: of one that is not known, other fields may be missing too.
        let value: serde_json::Value = serde_json::from_str(json).map_err(|e| bad(e.to_string()))?;
        let architecture = value["architectures"][0].as_str().unwrap_or("(none named)").to_string();
        if !SUPPORTED.contains(&architecture.as_str()) {
            return Err(ModelError::UnsupportedArchitecture { path: path.into(), name: architecture });
        }
        let file: File = serde_json::from_value(value).map_err(|e| bad(e.to_string()))?;
        debug_assert_eq!(file.architectures.first(), Some(&architecture));
        let config = Self::from_file(architecture, &file).map_err(&bad)?;
        config.check().map_err(bad)?;
        Ok(config)
    }

    fn from_file(architecture: String, file: &File) -> Result<Self, String> {
        if file.num_attention_heads == 0 {
            return Err("there are no attention heads".into());
        }
        if file.hidden_act.as_deref().is_some_and(|act| act != "silu") {
            return Err(format!("activation {:?} is not supported, only \"silu\"", file.hidden_act));
        }
        let partial = file.rope_parameters.as_ref().and_then(|r| r.partial_rotary_factor);
        if partial.or(file.partial_rotary_factor).is_some_and(|factor| factor != 1.0) {
            return Err("partial_rotary_factor is not supported, except 1".into());
        }
        let theta = file.rope_parameters.as_ref().and_then(|r| r.rope_theta).or(file.rope_theta);
        Ok(Self {
            hidden: file.hidden_size,
            intermediate: file.intermediate_size,
            layers: file.num_hidden_layers,
            heads: file.num_attention_heads,
            kv_heads: file.num_key_value_heads.unwrap_or(file.num_attention_heads),
            head_dim: file.head_dim.unwrap_or(file.hidden_size / file.num_attention_heads),
            vocab: file.vocab_size,
            max_positions: file.max_position_embeddings,
            norm_epsilon: file.rms_norm_eps,
            rope_theta: theta.unwrap_or(10_000.0),
            rope_scaling: match file.rope_parameters.as_ref().or(file.rope_scaling.as_ref()) {
                Some(rope) => rope.scaling(file.max_position_embeddings)?,
                None => RopeScaling::None,
            },
            tied: file.tie_word_embeddings,
            head_norms: architecture == "Qwen3ForCausalLM",
            qkv_bias: file.attention_bias || architecture == "Qwen2ForCausalLM",
            o_bias: file.attention_bias && architecture != "Qwen2ForCausalLM",
            mlp_bias: file.mlp_bias,
            windows: windows(&architecture, file)?,
            architecture,
        })
    }

    fn check(&self) -> Result<(), String> {
        let sizes = [
            ("hidden_size", self.hidden),
            ("intermediate_size", self.intermediate),
            ("num_hidden_layers", self.layers),
            ("num_key_value_heads", self.kv_heads),
            ("vocab_size", self.vocab),
            ("max_position_embeddings", self.max_positions),
            ("num_attention_heads", self.heads),
        ];
        for (name, size) in sizes {
            let most = if name == "max_position_embeddings" { 1 << 30 } else { MAX_DIM };
            if size == 0 || size > most {
                return Err(format!("{name} is {size}; it must be from 1 to {most}"));
            }
        }
        if self.head_dim == 0 || !self.head_dim.is_multiple_of(4) || self.head_dim > MAX_HEAD_DIM {
            return Err(format!(
                "a head of {} elements is not supported: it must be a multiple of 4, at most {MAX_HEAD_DIM}",
                self.head_dim
            ));
        }
        if self.heads * self.head_dim > MAX_DIM {
            return Err(format!("{} heads of {} elements are too many", self.heads, self.head_dim));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 0.0 && self.norm_epsilon.is_finite()) {
            return Err("rope_theta and rms_norm_eps must be finite numbers, rope_theta above 0".into());
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(format!(
                "{} heads cannot share {} key-value heads evenly",
                self.heads, self.kv_heads
            ));
        }
        Ok(())
    }
}

/// Mistral's window is for all layers; Qwen's, where it is switched on, for those from
/// `max_window_layers` on (28 is what Hugging Face takes where that is not said). `layer_types`
/// goes before both.
fn windows(architecture: &str, file: &File) -> Result<Vec<Option<usize>>, String> {
    let qwen = architecture.starts_with("Qwen");
    let window = file.sliding_window.filter(|&w| w > 0);
    let window = window.filter(|_| architecture != "LlamaForCausalLM");
    let window = window.filter(|_| !qwen || file.use_sliding_window == Some(true));
    let layers = 0..file.num_hidden_layers.min(MAX_DIM);
    let Some(types) = &file.layer_types else {
        let first = if qwen { file.max_window_layers.unwrap_or(28) } else { 0 };
        return Ok(layers.map(|layer| window.filter(|_| layer >= first)).collect());
    };
    if types.len() != layers.len() {
        return Err(format!("{} layer_types for {} layers", types.len(), layers.len()));
    }
    let of_type = |name: &String| match name.as_str() {
        "full_attention" => Ok(None),
        "sliding_attention" => window.map(Some).ok_or("sliding_attention without a sliding_window".into()),
        other => Err(format!("layer type {other:?} is not supported")),
    };
    types.iter().map(of_type).collect()
}

impl Rope {
    fn scaling(&self, max_positions: usize) -> Result<RopeScaling, String> {
        let number = |value: Option<f64>, name| match value {
            Some(v) if v.is_finite() && v > 0.0 => Ok(v),
            _ => Err(format!("rope scaling needs {name}, a number above 0")),
        };
        match self.rope_type.as_deref().or(self.r#type.as_deref()) {
            None | Some("default") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear { factor: number(self.factor, "factor")? }),
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor: number(self.factor, "factor")?,
                low: number(self.low_freq_factor, "low_freq_factor")?,
                high: number(self.high_freq_factor, "high_freq_factor")?,
                original: self.original_max_position_embeddings.unwrap_or(max_positions as f64),
            }),
            Some(other) => {
                Err(format!("rope scaling {other:?} is not supported, only \"linear\" and \"llama3\""))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LLAMA: &str = r#""architectures": ["LlamaForCausalLM"], "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "vocab_size": 49152"#;

    fn parse(fields: &str) -> Result<ModelConfig, String> {
        ModelConfig::parse(&format!("{{{fields}}}"), Path::new("config.json")).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_not_said_has_its_usual_value() {
        let config = parse(LLAMA).unwrap();
        assert_eq!((config.kv_heads, config.head_dim, config.tied), (9, 64, false));
        assert_eq!((config.rope_theta, config.rope_scaling), (10_000.0, RopeScaling::None));
        assert_eq!(config.windows, vec![None; 30]);
    }

    #[test]
    fn an_unknown_architecture_is_refused_by_name() {
        let error = parse(r#""architectures": ["MambaForCausalLM"]"#).unwrap_err();
        assert!(
            error.contains("MambaForCausalLM is not supported; supported are LlamaForCausalLM"),
            "{error}"
        );
        assert!(parse("").unwrap_err().contains("(none named)"));
    }

    #[test]
    fn rope_scaling_of_both_spellings_is_read() {
        let old = parse(&format!(
            r#"{LLAMA}, "rope_theta": 5e5, "rope_scaling": {{"type": "linear", "factor": 4.0}}"#
        ));
        assert_eq!(old.unwrap().rope_scaling, RopeScaling::Linear { factor: 4.0 });
        let new = parse(&format!(
            r#"{LLAMA}, "rope_parameters": {{"rope_type": "llama3", "rope_theta": 5e5, "factor": 32.0,
            "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}}"#
        ))
        .unwrap();
        assert_eq!(new.rope_theta, 5e5);
        assert_eq!(
            new.rope_scaling,
            RopeScaling::Llama3 { factor: 32.0, low: 1.0, high: 4.0, original: 8192.0 }
        );
        let both = r#""rope_scaling": {"type": "linear", "rope_type": "linear", "factor": 2.0}"#;
        assert_eq!(
            parse(&format!("{LLAMA}, {both}")).unwrap().rope_scaling,
            RopeScaling::Linear { factor: 2.0 }
        );
        assert!(parse(&format!("{LLAMA}, \"partial_rotary_factor\": 0.5")).unwrap_err().contains("partial"));
        let yarn = parse(&format!(r#"{LLAMA}, "rope_scaling": {{"rope_type": "yarn", "factor": 4.0}}"#));
        assert!(yarn.unwrap_err().contains("yarn"));
    }

    #[test]
    fn windows_follow_the_family() {
        let with = |architecture: &str, more: &str| {
            parse(&format!("{}, {more}", LLAMA.replace("LlamaForCausalLM", architecture))).unwrap().windows
        };
        assert_eq!(with("MistralForCausalLM", r#""sliding_window": 8"#), vec![Some(8); 30]);
        assert_eq!(with("MistralForCausalLM", r#""sliding_window": null"#), vec![None; 30]);
        assert_eq!(
            with("Qwen2ForCausalLM", r#""sliding_window": 8, "use_sliding_window": false"#),
            vec![None; 30]
        );
        let some = with(
            "Qwen3ForCausalLM",
            r#""sliding_window": 8, "use_sliding_window": true, "max_window_layers": 29"#,
        );
        assert_eq!((some[28], some[29]), (None, Some(8)));
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for (field, value) in [
            ("num_attention_heads", "0"),
            ("num_key_value_heads", "2"),
            ("head_dim", "6"),
            ("head_dim", "260"),
            ("vocab_size", "0"),
            ("hidden_size", "99999999999"),
        ] {
            let json = format!("{LLAMA}, \"{field}\": {value}").replace(
                "\"num_attention_heads\": 9, ",
                if field == "num_attention_heads" { "" } else { "\"num_attention_heads\": 9, " },
            );
            assert!(parse(&json).is_err(), "{field} {value}");
        }
    }
}
