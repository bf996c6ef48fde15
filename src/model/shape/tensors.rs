//! Names and shapes of a model's tensors.

use std::ops::Range;

use crate::model::config::model_config::ModelConfig;

/// The embedding's name.
pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";

/// The name of the norm after the last layer.
pub(crate) const LAST_NORM: &str = "model.norm.weight";

/// The output matrix's name, if it is not the embedding.
pub(crate) const OUTPUT: &str = "lm_head.weight";

/// The name of a part of layer `layer`.
pub(crate) fn layer_name(layer: usize, part: &str) -> String {
    format!("model.layers.{layer}.{part}")
}

/// A product of a layer, as its weights are stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProductShape {
    /// The prefix of its tensors' names, within the layer.
    pub name: &'static str,
    pub rows: usize,
    pub cols: usize,
    pub bias: bool,
}

/// The products of every layer: queries, keys, values, attention's output, gate, up, down.
pub(crate) fn products(config: &ModelConfig) -> [ProductShape; 7] {
    let (hidden, intermediate) = (config.hidden, config.intermediate);
    let (q_len, kv_len) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
    let product = |name, rows, cols, bias| ProductShape { name, rows, cols, bias };
    [
        product("self_attn.q_proj", q_len, hidden, config.qkv_bias),
        product("self_attn.k_proj", kv_len, hidden, config.qkv_bias),
        product("self_attn.v_proj", kv_len, hidden, config.qkv_bias),
        product("self_attn.o_proj", hidden, q_len, config.o_bias),
        product("mlp.gate_proj", intermediate, hidden, config.mlp_bias),
        product("mlp.up_proj", intermediate, hidden, config.mlp_bias),
        product("mlp.down_proj", hidden, intermediate, config.mlp_bias),
    ]
}

/// The ranges of [`products`] that are joined if possible: queries, keys and values; gate and up.
pub(crate) const JOINED: [Range<usize>; 2] = [0..3, 4..6];

/// Names and lengths of the norms before attention and before the MLP.
pub(crate) fn norms(config: &ModelConfig) -> [(&'static str, usize); 2] {
    [("input_layernorm.weight", config.hidden), ("post_attention_layernorm.weight", config.hidden)]
}

/// Names and lengths of the norms of query and key heads; `None` if the model has none.
pub(crate) fn head_norms(config: &ModelConfig) -> Option<[(&'static str, usize); 2]> {
    let norm = |name| (name, config.head_dim);
    config.head_norms.then(|| [norm("self_attn.q_norm.weight"), norm("self_attn.k_norm.weight")])
}

/// Names and shapes of all tensors of a model, in the order in which they are used.
pub(crate) fn tensor_shapes(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let mut all = vec![(EMBEDDING.to_string(), vec![config.vocab, config.hidden])];
    for layer in 0..config.layers {
        let vectors = norms(config).into_iter().chain(head_norms(config).into_iter().flatten());
        all.extend(vectors.map(|(name, len)| (layer_name(layer, name), vec![len])));
        for ProductShape { name, rows, cols, bias } in products(config) {
            all.push((layer_name(layer, &format!("{name}.weight")), vec![rows, cols]));
            all.extend(bias.then(|| (layer_name(layer, &format!("{name}.bias")), vec![rows])));
        }
    }
    all.push((LAST_NORM.into(), vec![config.hidden]));
    all.extend((!config.tied).then(|| (OUTPUT.into(), vec![config.vocab, config.hidden])));
    all
}
