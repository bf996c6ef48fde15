//! Turns text into tokens and back.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::AddedToken;

use super::error::TextError;
use super::rendered::{Rendered, unused_char};
use super::special_names::{Special, SpecialNames};
use super::special_tokens::SpecialTokens;
use crate::archive::python_json;
use crate::stream::panics;

/// A model's tokenizer. Cloning it is cheap: clones share the vocabulary.
#[derive(Clone)]
pub struct Tokenizer(Arc<Inner>);

struct Inner {
    path: PathBuf,
    vocabulary: tokenizers::Tokenizer,
    special: SpecialTokens,
    names: SpecialNames,
    /// The token to put before a text, in addition to those that the vocabulary adds.
    first: Option<u32>,
    /// The token for text that has no other.
    unknown: Option<u32>,
}

impl Tokenizer {
    /// Reads `tokenizer.json` in a model folder, and the ids that begin and end a text from
    /// `generation_config.json`, `config.json`, `tokenizer_config.json` and `special_tokens_map.json`, if
    /// they exist.
    ///
    /// The file's truncation and padding settings are ignored: they are for training batches, and would
    /// silently shorten a prompt.
    pub fn open(folder: &Path) -> Result<Self, TextError> {
        let path = folder.join("tokenizer.json");
        let Some(text) = super::special_tokens::read_text(&path)? else {
            return Err(TextError::NoTokenizer { path });
        };
        let (mut vocabulary, unknown) = parse(&text).map_err(|reason| TextError::bad_file(&path, reason))?;
        vocabulary.with_padding(None);
        vocabulary.with_truncation(None).map_err(|error| TextError::bad_file(&path, error))?;
        let special = SpecialTokens::read(folder, |text| vocabulary.token_to_id(text))?;
        log::debug!(
            "{}: {} tokens, begins with {:?}, ends with {:?}",
            path.display(),
            vocabulary.get_vocab_size(true),
            special.bos,
            special.eos
        );
        for id in special.eos.iter().filter(|&&id| vocabulary.id_to_token(id).is_none()) {
            log::warn!(
                "{}: there is no token {id}, which the model's files name as an end of text",
                path.display()
            );
        }
        let names = SpecialNames::of(vocabulary.get_added_vocabulary());
        let put =
            caught(|| vocabulary.encode_fast("", true)).map_err(|error| TextError::bad_file(&path, error))?;
        let first = special.bos.filter(|bos| special.adds_bos && !put.get_ids().contains(bos));
        Ok(Self(Arc::new(Inner { path, vocabulary, special, names, first, unknown })))
    }

    /// The tokens of `text`. Names of special tokens in it, such as `</s>`, become those tokens.
    ///
    /// With `add_special`, the tokenizer also adds its special tokens around the text, usually a
    /// beginning-of-text token. A rendered chat template already has them: use [`ChatTemplate::encode`],
    /// which tells a special token from its name in a message.
    ///
    /// [`ChatTemplate::encode`]: super::ChatTemplate::encode
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, TextError> {
        log::trace!("tokenising {} bytes", text.len());
        let mut ids =
            self.ask(|vocabulary| Ok(vocabulary.encode_fast(text, add_special)?.get_ids().to_vec()))?;
        if let Some(bos) = self.0.first.filter(|_| add_special) {
            ids.insert(0, bos);
        }
        Ok(ids)
    }

    /// The tokens of a rendered conversation, in which only names that the template wrote become special
    /// tokens.
    pub(super) fn encode_rendered(&self, rendered: &Rendered) -> Result<Vec<u32>, TextError> {
        let mut own = rendered.own(&self.0.names);
        own.retain(|(_, special)| Some(special.id) != self.0.unknown);
        let ids = self.encode(&rendered.text, false)?;
        let specials = ids.iter().filter(|&&id| self.is_control(id));
        if specials.eq(own.iter().map(|(_, special)| &special.id)) {
            return Ok(ids);
        }
        self.encode_only(&rendered.text, &own)
    }

    /// The tokens of `text`, in which only those of `own` are special; each comes with the byte where its
    /// name begins.
    ///
    /// Encodes with a copy of the vocabulary that recognises aliases of these tokens, but no other special
    /// tokens. The text stays in one piece, and is split, normalised and encoded as usual.
    fn encode_only(&self, text: &str, own: &[(usize, &Special)]) -> Result<Vec<u32>, TextError> {
        let wrong = |reason: &str| TextError::Tokenizer { path: self.0.path.clone(), reason: reason.into() };
        let mark =
            unused_char([text].into_iter()).ok_or_else(|| wrong("no character is left to mark with"))?;
        let (mut marked, mut done) = (String::with_capacity(text.len() + 4 * own.len()), 0);
        for (at, _) in own {
            marked += &text[done..*at];
            marked.push(mark);
            done = *at;
        }
        marked += &text[done..];
        let (ids, aliases) = self.ask(|vocabulary| {
            let mut copy = vocabulary.clone();
            copy.set_encode_special_tokens(true);
            let mut aliases = HashMap::new();
            for (_, special) in own {
                let alias = format!("{mark}{}", special.name);
                let known = vocabulary.get_added_vocabulary().get_added_tokens_decoder().get(&special.id);
                if let Some(token) = known.filter(|_| copy.token_to_id(&alias).is_none()) {
                    let token = AddedToken { content: alias.clone(), special: false, ..token.clone() };
                    copy.add_tokens([token])?;
                    aliases.extend(copy.token_to_id(&alias).map(|id| (id, special.id)));
                }
            }
            Ok((copy.encode_fast(marked.as_str(), false)?.get_ids().to_vec(), aliases))
        })?;
        let control = ids.iter().find(|id| self.is_control(**id) && !aliases.contains_key(id));
        if let Some(name) = control.and_then(|&id| self.token(id)) {
            return Err(TextError::ControlText { path: self.0.path.clone(), name });
        }
        if ids.iter().filter(|id| aliases.contains_key(id)).count() != own.len() {
            return Err(wrong("it does not find the special tokens of the chat template"));
        }
        Ok(ids.into_iter().map(|id| aliases.get(&id).copied().unwrap_or(id)).collect())
    }

    /// Whether `id` is a special token other than the one for unknown text.
    fn is_control(&self, id: u32) -> bool {
        Some(id) != self.0.unknown && self.is_special(id)
    }

    pub(super) fn special_names(&self) -> &SpecialNames {
        &self.0.names
    }

    /// The text of `ids`, special tokens left out. Ids outside the vocabulary have no text.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TextError> {
        self.ask(|vocabulary| vocabulary.decode(ids, true))
    }

    /// The text of `ids`, special tokens by their names.
    pub fn decode_with_special(&self, ids: &[u32]) -> Result<String, TextError> {
        self.ask(|vocabulary| vocabulary.decode(ids, false))
    }

    /// The beginning-of-text token, if the model has one.
    pub fn bos_id(&self) -> Option<u32> {
        self.0.special.bos
    }

    /// The end-of-text tokens: all that any file of the folder names.
    pub fn eos_ids(&self) -> &[u32] {
        &self.0.special.eos
    }

    /// Whether `id` is an end-of-text token, at which generation stops.
    pub fn is_eos(&self, id: u32) -> bool {
        self.eos_ids().contains(&id)
    }

    /// Whether `id` is a special token: it has a name, but no text.
    pub fn is_special(&self, id: u32) -> bool {
        let added = self.0.vocabulary.get_added_vocabulary().get_added_tokens_decoder();
        added.get(&id).is_some_and(|token| token.special)
    }

    /// Number of tokens, added ones included. A model may have more logits, as padding.
    pub fn vocab_size(&self) -> usize {
        self.0.vocabulary.get_vocab_size(true)
    }

    /// The name of a token in the vocabulary, such as `Ġhouse`.
    pub fn token(&self, id: u32) -> Option<String> {
        self.0.vocabulary.id_to_token(id)
    }

    /// The id of a token by its name.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.0.vocabulary.token_to_id(token)
    }

    fn ask<T>(
        &self,
        question: impl FnOnce(&tokenizers::Tokenizer) -> tokenizers::Result<T>,
    ) -> Result<T, TextError> {
        let failed = |reason| TextError::Tokenizer { path: self.0.path.clone(), reason };
        caught(|| question(&self.0.vocabulary)).map_err(failed)
    }
}

/// The field for text that has no token.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    model: FileModel,
}

#[derive(Default, Deserialize)]
struct FileModel {
    #[serde(default)]
    unk_token: Value,
    #[serde(default)]
    unk_id: Value,
}

impl FileModel {
    fn unknown(&self, vocabulary: &tokenizers::Tokenizer) -> Option<u32> {
        let by_id = self.unk_id.as_u64().and_then(|id| u32::try_from(id).ok());
        by_id.or_else(|| vocabulary.token_to_id(self.unk_token.as_str()?))
    }
}

/// Parses a vocabulary, and finds its token for text that has no other.
///
/// The most common error is text that is not JSON, so this is checked first. Encoding an empty text shows
/// whether the special tokens to put around a text exist.
fn parse(text: &str) -> Result<(tokenizers::Tokenizer, Option<u32>), String> {
    let text = python_json::without_mark(text);
    let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
    caught(|| {
        let parsed: tokenizers::Tokenizer = text.parse()?;
        parsed.encode_fast("", true)?;
        let unknown = file.model.unknown(&parsed);
        Ok((parsed, unknown))
    })
}

/// The result of `call`. The tokenizer crate panics on some errors of a file, some of them only when it
/// encodes or decodes text. A panic leaves the vocabulary unchanged, except for a cache of words.
fn caught<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match panics::caught(call) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(message) => Err(format!("a part of it is missing or invalid ({message})")),
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the vocabulary, which would print a hundred thousand lines.
        f.debug_struct("Tokenizer")
            .field("path", &self.0.path)
            .field("vocab_size", &self.vocab_size())
            .field("special", &self.0.special)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo");

    fn demo() -> Tokenizer {
        Tokenizer::open(Path::new(DEMO)).unwrap()
    }

    #[test]
    fn text_comes_back() {
        let tokenizer = demo();
        for text in ["", " ", "Once upon a time, there was a goat.", "héllo 你好 🦀\n\ttabs  two", "e\u{301}"]
        {
            let ids = tokenizer.encode(text, false).unwrap();
            assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        }
    }

    #[test]
    fn special_tokens_are_added_parsed_and_left_out() {
        let tokenizer = demo();
        assert_eq!((tokenizer.bos_id(), tokenizer.eos_ids()), (Some(0), &[1][..]));
        let plain = tokenizer.encode("A goat", false).unwrap();
        let whole = tokenizer.encode("A goat", true).unwrap();
        assert_eq!(whole, [&[0], &plain[..]].concat());
        assert_eq!(tokenizer.encode("<s>A goat", false).unwrap(), whole);
        assert_eq!(tokenizer.decode(&whole).unwrap(), "A goat");
        assert_eq!(tokenizer.decode_with_special(&whole).unwrap(), "<s>A goat");
        assert!(tokenizer.is_eos(1) && tokenizer.is_special(0) && !tokenizer.is_special(plain[0]));
    }

    #[test]
    fn a_beginning_that_only_the_configuration_asks_for_is_put_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut json = demo_json();
        json["post_processor"] = serde_json::Value::Null;
        std::fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
        let encode = |config: &str| {
            std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
            Tokenizer::open(folder.path()).unwrap().encode("A goat", true).unwrap()
        };
        let whole = demo().encode("A goat", true).unwrap();
        assert_eq!(encode(r#"{"bos_token": "<s>", "add_bos_token": true}"#), whole);
        assert_eq!(encode(r#"{"bos_token": "<s>"}"#), whole[1..]);
        assert_eq!(encode(r#"{"bos_token": "<s>", "add_bos_token": false}"#), whole[1..]);
    }

    #[test]
    fn ids_and_names_belong_together_and_unknown_ids_are_nothing() {
        let tokenizer = demo();
        for id in 0..tokenizer.vocab_size() as u32 {
            assert_eq!(tokenizer.id(&tokenizer.token(id).unwrap()), Some(id));
        }
        assert_eq!(tokenizer.token(u32::MAX), None);
        assert_eq!(tokenizer.id("no such token"), None);
        assert_eq!(tokenizer.decode(&[u32::MAX, tokenizer.vocab_size() as u32]).unwrap(), "");
        assert!(!tokenizer.is_special(u32::MAX));
    }

    #[test]
    fn a_folder_without_a_tokenizer_and_a_damaged_one_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = Tokenizer::open(folder.path()).unwrap_err();
        assert!(matches!(error, TextError::NoTokenizer { .. }), "{error}");
        let path = folder.path().join("tokenizer.json");
        for text in ["", "{}", "[1]", r#"{"model": {"type": "BPE", "vocab": {}, "merges": ["a b"]}}"#] {
            std::fs::write(&path, text).unwrap();
            let error = Tokenizer::open(folder.path()).unwrap_err();
            assert!(error.to_string().contains("tokenizer.json"), "{error}");
        }
        // The special token of its template is undefined. Opening finds that, not first use.
        let mut json = demo_json();
        json["post_processor"]["special_tokens"] = serde_json::json!({});
        std::fs::write(&path, json.to_string()).unwrap();
        assert!(matches!(Tokenizer::open(folder.path()), Err(TextError::BadFile { .. })));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(Tokenizer::open(folder.path()), Err(TextError::Io { .. })));
    }

    /// The demo's tokenizer.json, for tests that change it.
    fn demo_json() -> serde_json::Value {
        let text = std::fs::read_to_string(Path::new(DEMO).join("tokenizer.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn faults_that_show_when_text_is_decoded_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let mut json = demo_json();
        // More characters than a token has.
        json["decoder"] = serde_json::json!({"type": "Strip", "content": "e", "start": 0, "stop": 99});
        std::fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
        let changed = Tokenizer::open(folder.path()).unwrap();
        let ids = changed.encode("e e e", false).unwrap();
        let error = changed.decode(&ids).unwrap_err();
        assert!(matches!(error, TextError::Tokenizer { .. }), "{error}");
        assert_eq!(changed.encode("e e e", false).unwrap(), ids);
    }

    #[test]
    fn truncation_and_padding_of_the_file_are_not_applied() {
        let folder = tempfile::tempdir().unwrap();
        let mut json = demo_json();
        json["truncation"] = serde_json::json!(
            {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
        );
        json["padding"] = serde_json::json!(
            {"strategy": {"Fixed": 99}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 2,
             "pad_type_id": 0, "pad_token": "<pad>"}
        );
        std::fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
        let changed = Tokenizer::open(folder.path()).unwrap();
        let text = "The little rooster went to the market.";
        assert_eq!(changed.encode(text, true).unwrap(), demo().encode(text, true).unwrap());
    }
}
