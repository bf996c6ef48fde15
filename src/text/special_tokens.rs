//! Finds the tokens that begin and end a text, in the four files that may name them.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::TextError;
use crate::archive::python_json;

/// The fields of `config.json` and `generation_config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    bos_token_id: Value,
    eos_token_id: Value,
}

/// The ids of a field: one, or several, because a model may end its text in more than one way. Ids that
/// cannot be tokens are left out: some configurations write -1 for "none".
fn ids(name: &str, value: &Value) -> Result<Vec<u32>, String> {
    let wrong = || format!("{name} is {value}, but must be a token id, or a list of token ids");
    let id = |value: &Value| value.as_f64().filter(|id| id.fract() == 0.0).ok_or_else(wrong);
    let all = match value {
        Value::Null | Value::Bool(false) => return Ok(Vec::new()),
        Value::Array(values) => values.iter().map(id).collect::<Result<_, _>>()?,
        one => vec![id(one)?],
    };
    let valid = all.into_iter().filter(|id| (0.0..=f64::from(u32::MAX)).contains(id));
    Ok(valid.map(|id| id as u32).collect())
}

/// A token's text, given alone or in an object with the flags of an added token.
fn token_text(name: &str, value: &Value) -> Result<Option<String>, String> {
    match value {
        Value::Null | Value::Bool(false) => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        other => match &other["content"] {
            Value::String(text) => Ok(Some(text.clone())),
            _ => Err(format!(
                "{name} is {value}, but must be the text of a token, or an object with its content"
            )),
        },
    }
}

/// One chat template, or several with names.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Templates {
    /// A single template.
    One(String),
    /// One for each purpose.
    Named(Vec<NamedTemplate>),
}

/// A chat template for one purpose.
#[derive(Debug, Deserialize)]
pub(super) struct NamedTemplate {
    /// Its name: `default`, `tool_use` or `rag`.
    pub(super) name: String,
    /// The template's source.
    pub(super) template: String,
}

/// The fields of `tokenizer_config.json` and `special_tokens_map.json` that bantam needs.
#[derive(Debug, Default, Deserialize)]
pub(super) struct TokenizerConfig {
    /// Whether to put the beginning-of-text token before a text.
    add_bos_token: Option<bool>,
    /// The chat template, if it has no file of its own.
    pub(super) chat_template: Option<Templates>,
    /// All other fields, including special tokens.
    #[serde(flatten)]
    others: serde_json::Map<String, Value>,
    /// The special tokens that are set, under the names that chat templates use.
    #[serde(skip)]
    tokens: BTreeMap<&'static str, String>,
}

/// The special tokens that chat templates know.
const NAMES: [&str; 4] = ["bos_token", "eos_token", "unk_token", "pad_token"];

impl TokenizerConfig {
    /// Reads the file at `path`; an empty configuration if there is no file.
    fn read(path: &Path) -> Result<Self, TextError> {
        let mut config: Self = read_json(path)?.unwrap_or_default();
        let others = std::mem::take(&mut config.others);
        for name in NAMES {
            let text = token_text(name, others.get(name).unwrap_or(&Value::Null));
            let text = text.map_err(|reason| TextError::bad_file(path, reason))?;
            config.tokens.extend(text.map(|text| (name, text)));
        }
        Ok(config)
    }

    /// The special tokens that are set, under the names that chat templates use.
    pub(super) fn token_texts(&self) -> &BTreeMap<&'static str, String> {
        &self.tokens
    }
}

/// The ids that begin and end a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SpecialTokens {
    pub(super) bos: Option<u32>,
    /// Without duplicates, in the order found.
    pub(super) eos: Vec<u32>,
    /// Whether to put `bos` before every text, regardless of what the tokenizer itself adds.
    pub(super) adds_bos: bool,
}

impl SpecialTokens {
    /// Reads the ids from `folder`; `id_of` looks up a token's text in the vocabulary.
    ///
    /// Every token that one of the files calls an end is an end. The files often disagree: a chat model ends
    /// a turn with a token that only one of them names.
    pub(super) fn read(folder: &Path, id_of: impl Fn(&str) -> Option<u32>) -> Result<Self, TextError> {
        let mut found = Self::default();
        for name in ["generation_config.json", "config.json"] {
            let path = folder.join(name);
            let config: Config = read_json(&path)?.unwrap_or_default();
            let ids = |name, value| ids(name, value).map_err(|reason| TextError::bad_file(&path, reason));
            found.bos = found.bos.or(ids("bos_token_id", &config.bos_token_id)?.first().copied());
            found.add_eos(ids("eos_token_id", &config.eos_token_id)?);
        }
        let config = read_tokenizer_config(folder)?;
        let texts = config.token_texts();
        let id = |name| texts.get(name).and_then(|text: &String| id_of(text));
        found.bos = found.bos.or(id("bos_token"));
        found.add_eos(id("eos_token"));
        found.adds_bos = config.add_bos_token == Some(true);
        Ok(found)
    }

    fn add_eos(&mut self, ids: impl IntoIterator<Item = u32>) {
        for id in ids {
            if !self.eos.contains(&id) {
                self.eos.push(id);
            }
        }
    }
}

/// Reads `tokenizer_config.json`; an empty configuration if there is no file. Tokens that it does not name
/// come from `special_tokens_map.json`.
pub(super) fn read_tokenizer_config(folder: &Path) -> Result<TokenizerConfig, TextError> {
    let mut config = TokenizerConfig::read(&folder.join("tokenizer_config.json"))?;
    let map = TokenizerConfig::read(&folder.join("special_tokens_map.json"))?;
    for (name, text) in map.tokens {
        config.tokens.entry(name).or_insert(text);
    }
    Ok(config)
}

/// The file's text; `None` if there is no file.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, TextError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TextError::Io { path: path.into(), source }),
    }
}

/// The contents of a JSON file; `None` if there is no file.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, TextError> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    python_json::read(&text).map(Some).map_err(|error| TextError::bad_file(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<SpecialTokens, TextError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        SpecialTokens::read(folder.path(), |text| (text == "<end>").then_some(7))
    }

    #[test]
    fn ends_are_gathered_from_all_files_once() {
        let found = read(&[
            ("config.json", r#"{"bos_token_id": 1.0, "eos_token_id": 2, "hidden_size": 64}"#),
            ("generation_config.json", r#"{"eos_token_id": [5, 2], "bos_token_id": null}"#),
            ("tokenizer_config.json", r#"{"eos_token": {"content": "<end>", "lstrip": false}}"#),
        ]);
        assert_eq!(found.unwrap(), SpecialTokens { bos: Some(1), eos: vec![5, 2, 7], adds_bos: false });
    }

    #[test]
    fn what_only_the_map_of_special_tokens_names_is_found() {
        let map = ("special_tokens_map.json", r#"{"bos_token": {"content": "<end>"}, "eos_token": "<end>"}"#);
        let found = SpecialTokens { bos: Some(7), eos: vec![7], adds_bos: false };
        assert_eq!(read(&[map]).unwrap(), found);
        // `tokenizer_config.json` takes precedence.
        let config = ("tokenizer_config.json", r#"{"bos_token": "<other>", "add_bos_token": true}"#);
        let found = read(&[map, config]).unwrap();
        assert_eq!(found, SpecialTokens { bos: None, eos: vec![7], adds_bos: true });
    }

    #[test]
    fn what_is_absent_null_or_negative_is_no_token() {
        assert_eq!(read(&[]).unwrap(), SpecialTokens::default());
        let files = [
            ("config.json", r#"{"bos_token_id": -1, "eos_token_id": null}"#),
            ("generation_config.json", r#"{"bos_token_id": false, "eos_token_id": [-1]}"#),
            ("tokenizer_config.json", r#"{"bos_token": null, "eos_token": "<unknown to the vocabulary>"}"#),
        ];
        assert_eq!(read(&files).unwrap(), SpecialTokens::default());
    }

    #[test]
    fn a_damaged_file_is_named() {
        for file in
            ["config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json"]
        {
            let error = read(&[(file, "{")]).unwrap_err();
            assert!(error.to_string().contains(file), "{error}");
        }
        let error = read(&[("config.json", r#"{"eos_token_id": "</s>"}"#)]).unwrap_err();
        assert!(matches!(error, TextError::BadFile { .. }));
        for (file, text, wrong) in [
            ("config.json", r#"{"eos_token_id": "</s>"}"#, "eos_token_id is \"</s>\""),
            ("generation_config.json", r#"{"bos_token_id": 1.5}"#, "bos_token_id is 1.5"),
            ("tokenizer_config.json", r#"{"bos_token": 7}"#, "bos_token is 7"),
            ("special_tokens_map.json", r#"{"eos_token": {"id": 7}}"#, "eos_token is {\"id\":7}"),
        ] {
            let error = read(&[(file, text)]).unwrap_err().to_string();
            assert!(error.contains(file) && error.contains(wrong), "{error}");
        }
    }
}
