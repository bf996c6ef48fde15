//! From text to tokens and back.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::decoder::TextDecoder;
use super::error::TextError;
use super::special_tokens::SpecialTokens;

/// A model's tokenizer. Cloning it is cheap: clones share the vocabulary.
#[derive(Clone)]
pub struct Tokenizer(Arc<Inner>);

struct Inner {
    path: PathBuf,
    vocabulary: tokenizers::Tokenizer,
    special: SpecialTokens,
}

impl Tokenizer {
    /// Reads `tokenizer.json` in a model folder, and the ids that begin and end a text from
    /// `generation_config.json`, `config.json` and `tokenizer_config.json`, as far as they exist.
    ///
    /// Truncation and padding that the file may ask for are left out: they belong to training
    /// batches, and would silently shorten a prompt.
    pub fn open(folder: &Path) -> Result<Self, TextError> {
        let path = folder.join("tokenizer.json");
        let Some(text) = super::special_tokens::read_text(&path)? else {
            return Err(TextError::NoTokenizer { path });
        };
        let mut vocabulary = parse(&text).map_err(|reason| TextError::bad_file(&path, reason))?;
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
        Ok(Self(Arc::new(Inner { path, vocabulary, special })))
    }

    /// The tokens of `text`. Names of special tokens in it, such as `</s>`, become those tokens.
    ///
    /// With `add_special`, also what the tokenizer puts around a text, usually a token that begins
    /// it. A rendered chat template already has these: encode it without.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, TextError> {
        self.ask(|vocabulary| Ok(vocabulary.encode_fast(text, add_special)?.get_ids().to_vec()))
    }

    /// The text of `ids`, special tokens left out. Ids outside the vocabulary have no text.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TextError> {
        self.ask(|vocabulary| vocabulary.decode(ids, true))
    }

    /// The text of `ids`, special tokens by their names.
    pub fn decode_with_special(&self, ids: &[u32]) -> Result<String, TextError> {
        self.ask(|vocabulary| vocabulary.decode(ids, false))
    }

    /// A decoder for tokens that arrive one at a time and begin a text of their own: an answer.
    pub fn decoder(&self) -> TextDecoder {
        TextDecoder::new(self.clone(), &[])
    }

    /// A decoder for tokens that continue the text of `prompt`, so that the space between them,
    /// which many tokenizers keep in the first token of the continuation, is not lost.
    pub fn decoder_after(&self, prompt: &[u32]) -> TextDecoder {
        TextDecoder::new(self.clone(), prompt)
    }

    /// The token that begins a text, where the model has one.
    pub fn bos_id(&self) -> Option<u32> {
        self.0.special.bos
    }

    /// The tokens that end a text: every one that any of the folder's files calls so.
    pub fn eos_ids(&self) -> &[u32] {
        &self.0.special.eos
    }

    /// Whether generation stops at `id`.
    pub fn is_eos(&self, id: u32) -> bool {
        self.eos_ids().contains(&id)
    }

    /// Whether `id` is a special token, which has a name but stands for no text.
    pub fn is_special(&self, id: u32) -> bool {
        let added = self.0.vocabulary.get_added_vocabulary();
        added.simple_id_to_token(id).is_some_and(|name| added.is_special_token(&name))
    }

    /// Number of tokens, added ones included. A model may have more logits: padding.
    pub fn vocab_size(&self) -> usize {
        self.0.vocabulary.get_vocab_size(true)
    }

    /// The name of a token as the vocabulary has it, e.g. `Ġhouse`.
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

/// Text that is no JSON at all is the commonest fault and found out first. Encoding nothing shows whether the
/// special tokens to be put around a text are there.
fn parse(text: &str) -> Result<tokenizers::Tokenizer, String> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| error.to_string())?;
    caught(|| {
        let parsed: tokenizers::Tokenizer = text.parse()?;
        parsed.encode_fast("", true)?;
        Ok(parsed)
    })
}

/// What `call` gives. The crate that knows vocabularies panics at some faults of a file, some of them only when
/// a text is encoded or decoded. A vocabulary does not change by that, but for a cache of words.
fn caught<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("a part of it is missing or not what it should be".into()),
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the vocabulary: it would print a hundred thousand lines.
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
        // The special token of its template is not defined: found when opened, not when used.
        let mut json = demo_json();
        json["post_processor"]["special_tokens"] = serde_json::json!({});
        std::fs::write(&path, json.to_string()).unwrap();
        assert!(matches!(Tokenizer::open(folder.path()), Err(TextError::BadFile { .. })));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(Tokenizer::open(folder.path()), Err(TextError::Io { .. })));
    }

    /// The demo's tokenizer.json, to be changed.
    fn demo_json() -> serde_json::Value {
        let text = std::fs::read_to_string(Path::new(DEMO).join("tokenizer.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn faults_that_show_when_text_is_decoded_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let mut json = demo_json();
        // More than a token has.
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
