//! Compares the tensors in a model's files with those that its configuration needs.
//!
//! A tensor that is in the files but not used makes the results wrong, or belongs to something else. Either
//! is reported.

use std::collections::HashSet;

use crate::archive::{ModelFiles, Weight};
use crate::model::config::model_config::ModelConfig;
use crate::model::error::ModelError;
use crate::model::shape::tensors::{EMBEDDING, OUTPUT, tensor_shapes};

/// Rows to compare at a time.
const ROWS: usize = 64;

/// Maximum names that a warning quotes.
const QUOTED: usize = 5;

impl ModelConfig {
    /// The configuration of `files`. Checks that every tensor that the configuration needs exists, and
    /// returns an error if a layer's tensor would be ignored.
    ///
    /// An output matrix that differs from the embedding is used, even if the configuration says that they are
    /// the same.
    pub(crate) fn of_files(files: &ModelFiles) -> Result<Self, ModelError> {
        let (mut config, remark) = Self::read(files.folder())?;
        // Log here: a configuration is read several times, but a model is loaded once.
        if let Some(remark) = remark {
            log::warn!("{remark}");
        }
        if config.tied
            && let Some(output) = files.weight(OUTPUT)
            && !is_same(&output, &files.require(EMBEDDING)?)?
        {
            log::warn!(
                "{}: tie_word_embeddings is true, but {OUTPUT} differs from {EMBEDDING}; both are used, as in \
                 Hugging Face transformers",
                files.path().display()
            );
            config.tied = false;
        }
        check_unread(files, &config)?;
        Ok(config)
    }
}

/// Whether two tensors have the same elements.
fn is_same(a: &Weight<'_>, b: &Weight<'_>) -> Result<bool, ModelError> {
    if (a.dtype, a.shape) != (b.dtype, b.shape) {
        return Ok(false);
    }
    if let (Some(a), Some(b)) = (a.blake3(), b.blake3()) {
        return Ok(a == b);
    }
    let (a, b) = (a.reader()?, b.reader()?);
    for first in (0..a.rows()).step_by(ROWS) {
        let rows = first..(first + ROWS).min(a.rows());
        if a.read_matrix_rows(rows.clone())? != b.read_matrix_rows(rows)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn check_unread(files: &ModelFiles, config: &ModelConfig) -> Result<(), ModelError> {
    let mut read = HashSet::new();
    for (name, _) in tensor_shapes(config) {
        files.require(&name)?;
        read.insert(name);
    }
    if config.tied {
        // It was compared with the embedding.
        read.insert(OUTPUT.into());
    }
    // Precomputed tables of rotations, which older files contain.
    let is_table = |name: &str| name.ends_with("rotary_emb.inv_freq");
    let unread = files.weights().map(|weight| weight.name);
    let mut unread: Vec<&str> = unread.filter(|name| !read.contains(*name) && !is_table(name)).collect();
    unread.sort_unstable();
    // Other implementations compute with tensors of these names.
    let takes_part = |name: &&&str| {
        (name.starts_with("model.") || name.starts_with("lm_head.")) && !name.contains("rotary_emb.")
    };
    let mut parts = unread.iter().filter(takes_part);
    if let Some(tensor) = parts.next() {
        return Err(ModelError::UnreadTensor {
            tensor: tensor.to_string(),
            others: parts.count(),
            architecture: config.architecture.clone(),
            hint: hint(tensor, config),
        });
    }
    if !unread.is_empty() {
        let more = unread.len().saturating_sub(QUOTED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        log::warn!(
            "{}: not used, because {} has no such tensors: {}{more}",
            files.path().display(),
            config.architecture,
            unread[..unread.len().min(QUOTED)].join(", "),
        );
    }
    Ok(())
}

/// A hint about the possible cause, for a tensor that is not used.
fn hint(tensor: &str, config: &ModelConfig) -> String {
    let layer =
        tensor.strip_prefix("model.layers.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
    let named = |parts: &[&str]| parts.iter().any(|part| tensor.contains(part));
    match layer {
        Some(layer) if layer >= config.layers => format!("num_hidden_layers is {}", config.layers),
        Some(_) if tensor.ends_with(".bias") && named(&["self_attn."]) => {
            "a Llama or Qwen3 model uses it if \"attention_bias\" is true".into()
        }
        Some(_) if tensor.ends_with(".bias") && named(&["mlp."]) => {
            "a Llama model uses it if \"mlp_bias\" is true".into()
        }
        Some(_) if named(&["q_norm", "k_norm"]) => "Qwen3ForCausalLM models use it".into(),
        _ => "another architecture or a quantised model may use it".into(),
    }
}
