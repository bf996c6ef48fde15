//! Reads and checks `config.json` of a Hugging Face model folder.

use std::path::Path;

use serde_json::{Map, Value};

use crate::archive::python_json;
use crate::model::config::fields::Fields;
use crate::model::config::rope_settings::{RopeScaling, RopeSettings};
use crate::model::error::ModelError;
use crate::model::family::{Family, Window};

/// Maximum sizes with which the kernels' 32-bit indices cannot overflow.
const MAX_DIM: usize = 1 << 20;
const MAX_HEAD_DIM: usize = 256;

/// The configuration of a model, as far as the executor needs it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ModelConfig {
    /// One of [`SUPPORTED`](crate::model::SUPPORTED).
    pub architecture: String,
    /// Elements of the residual stream.
    pub hidden: usize,
    /// Intermediate elements of the MLP.
    pub intermediate: usize,
    /// Number of layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; fewer than `heads` with GQA.
    pub kv_heads: usize,
    /// Elements of a head; not always `hidden / heads`.
    pub head_dim: usize,
    /// Size of the vocabulary.
    pub vocab: usize,
    /// Maximum length of a sequence that the model was made for.
    pub max_positions: usize,
    /// Epsilon of the norms, added to the mean square.
    pub norm_epsilon: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How the rotary frequencies are scaled.
    pub rope_scaling: RopeScaling,
    /// Whether the embedding is also the output matrix.
    pub tied: bool,
    /// Whether query and key heads are normalised (Qwen3).
    pub head_norms: bool,
    /// Whether queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// Whether the attention's output has a bias.
    pub o_bias: bool,
    /// Whether the three products of the MLP have a bias.
    pub mlp_bias: bool,
    /// How many positions back each layer attends, including the current one; `None` for all.
    pub windows: Vec<Option<usize>>,
}

impl ModelConfig {
    /// Reads `config.json` in `folder`.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        Ok(Self::read(folder)?.0)
    }

    /// Like [`ModelConfig::open`], with a remark to log when the model is loaded.
    pub(crate) fn read(folder: &Path) -> Result<(Self, Option<String>), ModelError> {
        let path = folder.join("config.json");
        let text = std::fs::read_to_string(&path)
            .map_err(|e| ModelError::Config { path: path.clone(), what: e.to_string() })?;
        Self::parse_with_remark(&text, &path)
    }

    /// Reads a configuration from JSON; `path` is for error messages.
    ///
    /// It reads fields as Hugging Face transformers does, with the same defaults for each architecture.
    pub fn parse(json: &str, path: &Path) -> Result<Self, ModelError> {
        Ok(Self::parse_with_remark(json, path)?.0)
    }

    fn parse_with_remark(json: &str, path: &Path) -> Result<(Self, Option<String>), ModelError> {
        let bad = |what: String| ModelError::Config { path: path.into(), what };
        let object: Map<String, Value> = python_json::read(json).map_err(|e| bad(e.to_string()))?;
        let fields = Fields::new(&object);
        // The architecture comes first: an unknown one may also lack other fields.
        let (family, remark) = match Family::named(fields).map_err(bad)? {
            Ok(named) => named,
            Err(name) => return Err(ModelError::UnsupportedArchitecture { path: path.into(), name }),
        };
        let config = Self::from_fields(family, fields).map_err(bad)?;
        config.check().map_err(bad)?;
        Ok((config, remark))
    }

    fn from_fields(family: &Family, fields: Fields<'_>) -> Result<Self, String> {
        if let Some(act) = fields.text("hidden_act")?
            && !["silu", "swish"].contains(&act)
        {
            return Err(format!("hidden_act {act:?} is not supported, only \"silu\""));
        }
        let heads = fields.required_count("num_attention_heads")?;
        let hidden = fields.required_count("hidden_size")?;
        let layers = fields.required_count("num_hidden_layers")?;
        if heads == 0 {
            return Err("num_attention_heads is 0".into());
        }
        // Check before allocating a list with an entry for each layer.
        if layers > MAX_DIM {
            return Err(format!("num_hidden_layers is {layers}; it must be from 1 to {MAX_DIM}"));
        }
        let max_positions = fields.count("max_position_embeddings")?.unwrap_or(family.max_positions);
        let windows = windows(family, fields, layers)?;
        let types = ["full_attention", "sliding_attention"];
        let has = [windows.iter().any(Option::is_none), windows.iter().any(Option::is_some)];
        let types: Vec<&str> =
            types.into_iter().zip(has).filter_map(|(name, has)| has.then_some(name)).collect();
        let rope = RopeSettings::read(fields, &types, max_positions)?;
        Ok(Self {
            architecture: family.architecture.into(),
            hidden,
            intermediate: fields.required_count("intermediate_size")?,
            layers,
            heads,
            kv_heads: fields.count_or("num_key_value_heads", family.kv_heads)?.unwrap_or(heads),
            head_dim: match fields.count_or("head_dim", family.head_dim)? {
                Some(dim) => dim,
                None if hidden.is_multiple_of(heads) => hidden / heads,
                None => {
                    return Err(format!(
                        "head_dim is missing, and hidden_size {hidden} is not a multiple of num_attention_heads {heads}"
                    ));
                }
            },
            vocab: fields.required_count("vocab_size")?,
            max_positions,
            norm_epsilon: fields.number("rms_norm_eps")?.unwrap_or(1e-6) as f32,
            rope_theta: rope.theta,
            rope_scaling: rope.scaling,
            tied: fields.flag("tie_word_embeddings")?,
            head_norms: family.head_norms,
            qkv_bias: family.qkv_bias || (family.bias_by_flag && fields.flag("attention_bias")?),
            o_bias: family.bias_by_flag && fields.flag("attention_bias")?,
            mlp_bias: family.mlp_bias_by_flag && fields.flag("mlp_bias")?,
            windows,
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
                "head_dim is {}; it must be a multiple of 4, at most {MAX_HEAD_DIM}",
                self.head_dim
            ));
        }
        if self.heads * self.head_dim > MAX_DIM {
            return Err(format!(
                "num_attention_heads {} times head_dim {} is too large",
                self.heads, self.head_dim
            ));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 0.0 && self.norm_epsilon.is_finite()) {
            return Err(format!(
                "rope_theta is {} and rms_norm_eps {}: they must be finite numbers, rope_theta above 0",
                self.rope_theta, self.norm_epsilon
            ));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(format!(
                "num_attention_heads {} cannot share num_key_value_heads {} evenly",
                self.heads, self.kv_heads
            ));
        }
        Ok(())
    }
}

/// Mistral's window applies to all layers. Qwen's, if switched on, applies to layers from `max_window_layers`
/// on, by default 28 as in Hugging Face transformers. `layer_types` takes precedence over both. If the field
/// for the window is missing, transformers uses 4096; if it is null, there is no window.
fn windows(family: &Family, fields: Fields<'_>, layers: usize) -> Result<Vec<Option<usize>>, String> {
    let window = match family.window {
        Window::Never => None,
        Window::Always => fields.count_or("sliding_window", Some(4096))?,
        Window::Switched if fields.flag("use_sliding_window")? => {
            fields.count_or("sliding_window", Some(4096))?
        }
        Window::Switched => None,
    };
    let window = window.filter(|&w| w > 0);
    let Some(types) = fields.texts("layer_types")? else {
        let first = match family.window {
            Window::Switched => fields.count("max_window_layers")?.unwrap_or(28),
            _ => 0,
        };
        return Ok((0..layers).map(|layer| window.filter(|_| layer >= first)).collect());
    };
    if types.len() != layers {
        return Err(format!("layer_types has {} entries for {layers} layers", types.len()));
    }
    let of_type = |name: &&str| match *name {
        "full_attention" => Ok(None),
        "sliding_attention" => {
            window.map(Some).ok_or("layer_types has sliding_attention, but there is no sliding_window".into())
        }
        other => Err(format!("layer_types has {other:?}, which is not supported")),
    };
    types.iter().map(of_type).collect()
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
    fn rotations_are_the_same_wherever_they_are_said() {
        let said = |fields: &str| parse(&format!("{LLAMA}, {fields}"));
        let linear = RopeScaling::Linear { factor: 4.0 };
        for (fields, theta, scaling) in [
            (r#""rope_theta": 5e5"#, 5e5, RopeScaling::None),
            (r#""rope_theta": 500000, "rope_scaling": null, "rope_parameters": {}"#, 5e5, RopeScaling::None),
            (r#""rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}"#, 5e5, RopeScaling::None),
            (r#""rope_scaling": {"rope_theta": 5e5, "type": "linear", "factor": 4}"#, 5e5, linear),
            // The base beside the scaling takes precedence over one outside.
            (r#""rope_theta": 1e4, "rope_parameters": {"rope_theta": 5e5}"#, 5e5, RopeScaling::None),
            (
                r#""rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4.0},
                "rope_parameters": {"rope_type": "linear", "factor": 4, "rope_theta": 500000.0}"#,
                5e5,
                linear,
            ),
            (
                r#""rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 4, "rope_theta": 5e5},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}"#,
                5e5,
                linear,
            ),
            (
                r#""rope_scaling": false, "rope_parameters": null, "partial_rotary_factor": 1"#,
                1e4,
                RopeScaling::None,
            ),
        ] {
            let config = said(fields).unwrap();
            assert_eq!((config.rope_theta, config.rope_scaling), (theta, scaling), "{fields}");
        }
        for (fields, wrong) in [
            (
                r#""rope_scaling": {"type": "linear", "factor": 4.0}, "rope_parameters": {"rope_theta": 5e5}"#,
                "rope_scaling (theta 10000, linear by 4) and rope_parameters (theta 500000, not scaled) disagree",
            ),
            (
                r#""rope_parameters": {"sliding_attention": {"rope_theta": 5e5}}"#,
                "rope_parameters has no settings for",
            ),
            (
                r#""rope_parameters": {"rope_theta": 5e5, "full_attention": {"rope_theta": 5e5}}"#,
                "for all layers and for types of layers",
            ),
            (r#""rope_scaling": {"factor": 4.0}"#, "rope_scaling.rope_type is null, but must be named"),
            (
                r#""rope_scaling": {"type": "linear"}"#,
                "rope_scaling.factor is null, but must be a number above 0",
            ),
            (r#""rope_scaling": {"type": "linear", "factor": "4"}"#, "rope_scaling.factor is \"4\""),
            (r#""rope_scaling": 4"#, "rope_scaling is 4, but must be an object"),
            (r#""rope_parameters": {"partial_rotary_factor": 0.5}"#, "partial_rotary_factor is 0.5"),
            (
                r#""rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4}"#,
                "low_freq_factor (4) below high_freq_factor (4)",
            ),
        ] {
            let error = said(fields).unwrap_err();
            assert!(error.contains(wrong), "{fields}: {error}");
        }
        // The model has both types of layers, with different settings.
        let both = LLAMA.replace("LlamaForCausalLM", "Qwen3ForCausalLM");
        let both = format!(
            r#"{both}, "num_key_value_heads": 9, "use_sliding_window": true, "max_window_layers": 29, "rope_parameters":
            {{"full_attention": {{"rope_theta": 5e5}}, "sliding_attention": {{"rope_theta": 1e4}}}}"#
        );
        assert!(parse(&both).unwrap_err().contains("differs by the type of layer"));
        assert_eq!(parse(&both.replace("1e4", "5e5")).unwrap().rope_theta, 5e5);
    }

    #[test]
    fn fields_are_read_as_python_reads_them() {
        let usual = parse(LLAMA).unwrap();
        for same in [
            r#""attention_bias": null, "mlp_bias": null, "tie_word_embeddings": null, "head_dim": null"#,
            r#""attention_bias": 0, "mlp_bias": false, "tie_word_embeddings": false, "head_dim": 64.0"#,
            r#""num_key_value_heads": null, "max_position_embeddings": 2048.0, "rms_norm_eps": null"#,
            r#""num_key_value_heads": 9.0, "rope_theta": 10000, "rope_scaling": null, "hidden_act": null"#,
            r#""sliding_window": false, "use_sliding_window": null, "layer_types": null, "hidden_act": "swish""#,
            r#""model_type": "llama""#,
        ] {
            assert_eq!(parse(&format!("{LLAMA}, {same}")).unwrap(), usual, "{same}");
        }
        let floats = LLAMA.replace("576", "576.0").replace("30", "3e1").replace(": 9,", ": 9.0,");
        assert_eq!(parse(&floats).unwrap(), usual);
        assert!(parse(&format!("{LLAMA}, \"attention_bias\": 1")).unwrap().qkv_bias);
        for (field, value, wrong) in [
            ("hidden_size", "\"576\"", "hidden_size is \"576\", but must be a whole number"),
            ("hidden_size", "576.5", "hidden_size is 576.5, but must be a whole number"),
            ("hidden_size", "null", "hidden_size is missing"),
            ("hidden_size", "-576", "hidden_size is -576"),
            ("hidden_size", "1e300", "hidden_size is 1e+300"),
            ("vocab_size", "false", "vocab_size is missing"),
            ("num_hidden_layers", "[30]", "num_hidden_layers is [30]"),
            ("num_hidden_layers", "1000000000", "num_hidden_layers is 1000000000; it must be from 1 to"),
            ("num_attention_heads", "0", "num_attention_heads is 0"),
            ("rms_norm_eps", "\"1e-6\"", "rms_norm_eps is \"1e-6\", but must be a number"),
            ("attention_bias", "\"yes\"", "attention_bias is \"yes\", but must be true or false"),
            ("tie_word_embeddings", "2", "tie_word_embeddings is 2"),
            ("num_key_value_heads", "true", "num_key_value_heads is true"),
            ("layer_types", "[1]", "layer_types is [1], but must be a list of strings"),
            ("hidden_act", "\"gelu\"", "hidden_act \"gelu\" is not supported"),
            ("head_dim", "6", "head_dim is 6"),
        ] {
            let mut json: serde_json::Value = serde_json::from_str(&format!("{{{LLAMA}}}")).unwrap();
            json[field] = serde_json::from_str(value).unwrap();
            let error =
                ModelConfig::parse(&json.to_string(), Path::new("config.json")).unwrap_err().to_string();
            assert!(error.starts_with("config.json: ") && error.contains(wrong), "{field} {value}: {error}");
        }
        // As Python writes the file, and as an editor saves it.
        let limits = "\"time_step_limit\": [0.0, Infinity]";
        let saved = format!("\u{feff}{{{LLAMA}, {limits}}}");
        assert_eq!(ModelConfig::parse(&saved, Path::new("config.json")).unwrap(), usual);
        for (field, wrong) in [
            ("\"rope_theta\": NaN", "rope_theta is \"NaN\", but must be a number"),
            (
                "\"max_position_embeddings\": Infinity",
                "max_position_embeddings is \"Infinity\", but must be a whole number",
            ),
        ] {
            let error = parse(&format!("{LLAMA}, {field}")).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
        for field in
            ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"]
        {
            let mut json: serde_json::Value = serde_json::from_str(&format!("{{{LLAMA}}}")).unwrap();
            json.as_object_mut().unwrap().remove(field);
            let error =
                ModelConfig::parse(&json.to_string(), Path::new("config.json")).unwrap_err().to_string();
            assert!(error.contains(&format!("{field} is missing")), "{error}");
        }
        let uneven = LLAMA.replace("576", "580");
        assert!(parse(&uneven).unwrap_err().contains("head_dim is missing"));
    }

    #[test]
    fn what_a_family_leaves_out_has_that_familys_value() {
        let sizes = LLAMA.split_once("],").unwrap().1.replace(": 9,", ": 64,").replace("576", "1024");
        let of = |model_type: &str| parse(&format!(r#""model_type": "{model_type}", {sizes}"#)).unwrap();
        for (model_type, architecture, kv_heads, head_dim, positions, qkv_bias) in [
            ("llama", "LlamaForCausalLM", 64, 16, 2048, false),
            ("mistral", "MistralForCausalLM", 8, 16, 131_072, false),
            ("qwen2", "Qwen2ForCausalLM", 32, 16, 32_768, true),
            ("qwen3", "Qwen3ForCausalLM", 32, 128, 32_768, false),
        ] {
            let config = of(model_type);
            assert_eq!(
                (
                    &config.architecture[..],
                    config.kv_heads,
                    config.head_dim,
                    config.max_positions,
                    config.qkv_bias
                ),
                (architecture, kv_heads, head_dim, positions, qkv_bias)
            );
            assert_eq!(config.head_norms, model_type == "qwen3");
            assert_eq!(config.windows, vec![(model_type == "mistral").then_some(4096); 30]);
            // Null means all heads, in every family.
            let null =
                parse(&format!(r#""model_type": "{model_type}", "num_key_value_heads": null, {sizes}"#));
            assert_eq!(null.unwrap().kv_heads, 64);
        }
        // Only Llama and Qwen3 read `attention_bias`, and only Llama reads `mlp_bias`.
        for (model_type, biases) in [
            ("llama", [true, true, true]),
            ("mistral", [false; 3]),
            ("qwen2", [true, false, false]),
            ("qwen3", [true, true, false]),
        ] {
            let flags = r#""attention_bias": true, "mlp_bias": true"#;
            let config = parse(&format!(r#""model_type": "{model_type}", {flags}, {sizes}"#)).unwrap();
            assert_eq!([config.qkv_bias, config.o_bias, config.mlp_bias], biases, "{model_type}");
        }
        for architectures in ["null", "[]"] {
            let named = format!(r#""architectures": {architectures}, "model_type": "llama", {sizes}"#);
            assert_eq!(parse(&named).unwrap(), of("llama"));
        }
        let text = format!(r#""architectures": "LlamaForCausalLM", {sizes}"#);
        assert_eq!(parse(&text).unwrap(), of("llama"));
        let unknown = parse(&format!(r#""model_type": "gpt2", {sizes}"#)).unwrap_err();
        assert!(unknown.contains("(none named, model_type gpt2) is not supported"), "{unknown}");
        let both = parse(&format!(r#"{LLAMA}, "model_type": "mistral""#)).unwrap_err();
        assert!(both.contains("architectures says LlamaForCausalLM, but model_type says mistral"), "{both}");
    }

    #[test]
    fn windows_follow_the_family() {
        let with = |architecture: &str, more: &str| {
            let named = LLAMA.replace("LlamaForCausalLM", architecture);
            parse(&format!(r#"{named}, "num_key_value_heads": 9, {more}"#)).unwrap().windows
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
