//! Explains why bantam cannot run a model folder, in one sentence for each cause.

use std::path::Path;

use serde_json::Value;

use crate::archive::{Form, ModelFiles, WeightSource, python_json};
use crate::model::error::ModelError;
use crate::tensor::SourceFile;

/// The fields in which newer programs, older programs and Apple's MLX describe quantised weights.
const QUANTIZED: [&str; 3] = ["quantization_config", "compression_config", "quantization"];

/// Returns an error if bantam can compress and restore `files`, but not run them: GGUF files, adapters and
/// quantised models. The error says what they are and what to do.
pub fn require_runnable(files: &ModelFiles) -> Result<(), ModelError> {
    if let Some(source) = files.sources().iter().find(|source| is_gguf(source)) {
        return Err(not_runnable(
            source.path(),
            "a GGUF file, which bantam compresses and restores but does not run; name the folder of the \
             model's safetensors files"
                .into(),
        ));
    }
    let folder = files.folder();
    let config = json(&folder.join("config.json"));
    let adapter = json(&folder.join("adapter_config.json"));
    let is_adapter =
        files.sources().iter().any(|source| source.path().file_name().is_some_and(is_adapter_name));
    if let Some(adapter) = adapter.filter(|_| is_adapter || config.is_none()) {
        return Err(not_runnable(files.path(), adapter_words(&adapter)));
    }
    let quantized = config
        .as_ref()
        .and_then(|config| QUANTIZED.iter().find_map(|&key| Some((key, non_null(config, key)?))));
    match quantized {
        Some((key, value)) => Err(not_runnable(&folder.join("config.json"), quantized_words(key, value))),
        None => Ok(()),
    }
}

fn not_runnable(path: &Path, what: String) -> ModelError {
    ModelError::NotRunnable { path: path.into(), what }
}

fn is_gguf(source: &WeightSource) -> bool {
    match source {
        WeightSource::Plain(file) => matches!(file, SourceFile::Gguf(_)),
        WeightSource::Compressed(archive) => archive.form() == Form::Gguf,
    }
}

fn is_adapter_name(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with("adapter_model.")
}

/// The JSON at `path`; `None` if it is not JSON. Later code reports that.
fn json(path: &Path) -> Option<Value> {
    python_json::read(&std::fs::read_to_string(path).ok()?).ok()
}

fn non_null<'a>(object: &'a Value, key: &str) -> Option<&'a Value> {
    object.get(key).filter(|value| !value.is_null())
}

fn adapter_words(adapter: &Value) -> String {
    let kind = adapter.get("peft_type").and_then(Value::as_str).unwrap_or("LORA");
    let base = adapter.get("base_model_name_or_path").and_then(Value::as_str).filter(|base| !base.is_empty());
    let base = base.map_or("a model".into(), |base| format!("the model {base}"));
    format!(
        "an adapter ({kind}) of {base}, not a model; merge it into that model (peft's merge_and_unload) and name the \
         folder of the result, or compress and restore its files as they are"
    )
}

fn quantized_words(key: &str, value: &Value) -> String {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(String::from);
    let method = text("quant_method").or_else(|| text("quant_algo"));
    let bits = ["bits", "w_bit"].iter().find_map(|key| value.get(key)?.as_u64());
    let words: Vec<String> = method.into_iter().chain(bits.map(|bits| format!("{bits} bits"))).collect();
    let how = if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) };
    format!(
        "the model is quantised{how}, as {key} says; bantam compresses and restores its files, but runs only models \
         of BF16, F16 and F32"
    )
}
