//! The families of models: what each one has, and its defaults for missing fields.

/// The features of an architecture, and its defaults for missing fields of the configuration.
#[derive(Debug)]
pub(super) struct Family {
    pub architecture: &'static str,
    pub model_type: &'static str,
    /// Default number of key and value heads; `None` for as many as query heads.
    pub kv_heads: Option<usize>,
    /// Default elements of a head; `None` for an equal share of the residual stream.
    pub head_dim: Option<usize>,
    pub max_positions: usize,
    pub head_norms: bool,
    /// Whether queries, keys and values always have a bias.
    pub qkv_bias: bool,
    /// Whether `attention_bias` has an effect.
    pub bias_by_flag: bool,
    /// Whether `mlp_bias` has an effect.
    pub mlp_bias_by_flag: bool,
    pub window: Window,
}

/// Whether `sliding_window` has an effect.
#[derive(Debug, Clone, Copy)]
pub(super) enum Window {
    Never,
    Always,
    /// Only if `use_sliding_window` is true.
    Switched,
}

const LLAMA: Family = Family {
    architecture: "LlamaForCausalLM",
    model_type: "llama",
    kv_heads: None,
    head_dim: None,
    max_positions: 2048,
    head_norms: false,
    qkv_bias: false,
    bias_by_flag: true,
    mlp_bias_by_flag: true,
    window: Window::Never,
};

pub(super) const FAMILIES: [Family; 4] = [
    LLAMA,
    Family {
        architecture: "MistralForCausalLM",
        model_type: "mistral",
        kv_heads: Some(8),
        max_positions: 4096 * 32,
        bias_by_flag: false,
        mlp_bias_by_flag: false,
        window: Window::Always,
        ..LLAMA
    },
    Family {
        architecture: "Qwen2ForCausalLM",
        model_type: "qwen2",
        kv_heads: Some(32),
        max_positions: 32_768,
        qkv_bias: true,
        bias_by_flag: false,
        mlp_bias_by_flag: false,
        window: Window::Switched,
        ..LLAMA
    },
    Family {
        architecture: "Qwen3ForCausalLM",
        model_type: "qwen3",
        kv_heads: Some(32),
        head_dim: Some(128),
        max_positions: 32_768,
        head_norms: true,
        mlp_bias_by_flag: false,
        window: Window::Switched,
        ..LLAMA
    },
];

/// The architectures that bantam runs.
pub const SUPPORTED: [&str; 4] =
    [FAMILIES[0].architecture, FAMILIES[1].architecture, FAMILIES[2].architecture, FAMILIES[3].architecture];
