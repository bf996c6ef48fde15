//! Which tokens begin and end a text, gathered from the four files that may say so.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::TextError;

/// One id or several; a model may end its text in more than one way.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Ids {
    One(i64),
    Many(Vec<i64>),
}

impl Ids {
    /// The ids that can be tokens: some configurations write -1 for "none".
    fn valid(self) -> Vec<u32> {
        let ids = match self {
            Self::One(id) => vec![id],
            Self::Many(ids) => ids,
        };
        ids.into_iter().filter_map(|id| u32::try_from(id).ok()).collect()
    }
}

/// What `config.json` and `generation_config.json` say.
#[derive(Debug, Default, Deserialize)]
struct Config {
    bos_token_id: Option<Ids>,
    eos_token_id: Option<Ids>,
}

/// A token by its text, alone or with the flags of an added token around it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum TokenText {
    Plain(String),
    Added { content: String },
}

impl TokenText {
    fn into_string(self) -> String {
        match self {
            Self::Plain(text) | Self::Added { content: text } => text,
        }
    }
}

/// A chat template, or several by name.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Templates {
    /// The only one.
    One(String),
    /// One for each purpose.
    Named(Vec<NamedTemplate>),
}

/// A chat template for one purpose.
#[derive(Debug, Deserialize)]
pub(super) struct NamedTemplate {
    /// `default`, `tool_use`, `rag`.
    pub(super) name: String,
    /// The template's source.
    pub(super) template: String,
}

/// What `special_tokens_map.json` says.
#[derive(Debug, Default, Deserialize)]
struct TokenTexts {
    bos_token: Option<TokenText>,
    eos_token: Option<TokenText>,
    unk_token: Option<TokenText>,
    pad_token: Option<TokenText>,
}

impl TokenTexts {
    /// These, and of `other` those that are not among them.
    fn or(self, other: Self) -> Self {
        Self {
            bos_token: self.bos_token.or(other.bos_token),
            eos_token: self.eos_token.or(other.eos_token),
            unk_token: self.unk_token.or(other.unk_token),
            pad_token: self.pad_token.or(other.pad_token),
        }
    }
}

/// What `tokenizer_config.json` says, as far as it is needed here.
#[derive(Debug, Default, Deserialize)]
pub(super) struct TokenizerConfig {
    #[serde(flatten)]
    tokens: TokenTexts,
    /// Whether the token that begins a text is to be put there.
    pub(super) add_bos_token: Option<bool>,
    /// The chat template, where it is not a file of its own.
    pub(super) chat_template: Option<Templates>,
}

impl TokenizerConfig {
    /// The special tokens that are set, under the names that chat templates use.
    pub(super) fn token_texts(&self) -> BTreeMap<&'static str, String> {
        let tokens = [
            ("bos_token", &self.tokens.bos_token),
            ("eos_token", &self.tokens.eos_token),
            ("unk_token", &self.tokens.unk_token),
            ("pad_token", &self.tokens.pad_token),
        ];
        tokens.into_iter().filter_map(|(name, t)| Some((name, t.clone()?.into_string()))).collect()
    }
}

/// The ids that begin and end a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SpecialTokens {
    pub(super) bos: Option<u32>,
    /// Without repetition, in the order found.
    pub(super) eos: Vec<u32>,
    /// Whether `bos` is to be put before every text, whatever the tokenizer itself puts there.
    pub(super) adds_bos: bool,
}

impl SpecialTokens {
    /// Reads them from `folder`; `id_of` looks a token's text up in the vocabulary.
    ///
    /// Any token that one of the files calls an end is an end. The files often disagree: a chat
    /// model ends a turn with a token that only one of them names.
    pub(super) fn read(folder: &Path, id_of: impl Fn(&str) -> Option<u32>) -> Result<Self, TextError> {
        let mut found = Self::default();
        for name in ["generation_config.json", "config.json"] {
            let config: Config = read_json(&folder.join(name))?.unwrap_or_default();
            let bos = config.bos_token_id.map(Ids::valid).unwrap_or_default();
            found.bos = found.bos.or(bos.first().copied());
            found.add_eos(config.eos_token_id.map(Ids::valid).unwrap_or_default());
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

/// The file `tokenizer_config.json`, or an empty one where there is none. Tokens that it does not name are those of
/// `special_tokens_map.json`.
pub(super) fn read_tokenizer_config(folder: &Path) -> Result<TokenizerConfig, TextError> {
    let config: TokenizerConfig = read_json(&folder.join("tokenizer_config.json"))?.unwrap_or_default();
    let map: TokenTexts = read_json(&folder.join("special_tokens_map.json"))?.unwrap_or_default();
    Ok(TokenizerConfig { tokens: config.tokens.or(map), ..config })
}

/// The file's text; `None` where there is no such file.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, TextError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TextError::Io { path: path.into(), source }),
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, TextError> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| TextError::bad_file(path, error))
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
            ("config.json", r#"{"bos_token_id": 1, "eos_token_id": 2, "hidden_size": 64}"#),
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
        // The configuration goes before.
        let config = ("tokenizer_config.json", r#"{"bos_token": "<other>", "add_bos_token": true}"#);
        let found = read(&[map, config]).unwrap();
        assert_eq!(found, SpecialTokens { bos: None, eos: vec![7], adds_bos: true });
    }

    #[test]
    fn what_is_absent_null_or_negative_is_no_token() {
        assert_eq!(read(&[]).unwrap(), SpecialTokens::default());
        let files = [
            ("config.json", r#"{"bos_token_id": -1, "eos_token_id": null}"#),
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
    }
}
