//! Turns tokens that arrive one at a time into text.
//!
//! A token alone does not determine the text that it adds. It may be part of a character, and the token
//! before it may decide whether it begins with a space. So the decoder decodes a short window of tokens
//! twice, without and with the new ones. The difference is the new text.

use super::error::TextError;
use super::tokenizer::Tokenizer;

/// The character that the tokenizer's decoder writes for bytes that are not (yet) a character.
const REPLACEMENT: char = '\u{fffd}';

/// Tokens of a prompt to keep for context. One would be enough if each character were a single token.
const CONTEXT: usize = 16;

/// Maximum pending tokens. No character takes that many, so a longer sequence stays incomplete forever.
/// Without this bound, a model that generates garbage would be decoded in quadratic time.
const MAX_PENDING: usize = 16;

/// Decodes tokens as they arrive. Special tokens have no text.
///
/// The pieces of text, joined, are the text of all tokens together. If a model generates bytes that are
/// not valid UTF-8, the number of U+FFFD may differ.
#[derive(Debug, Clone)]
pub struct TextDecoder {
    tokenizer: Tokenizer,
    /// Tokens whose text was returned, then pending tokens.
    window: Vec<u32>,
    given_out: usize,
}

impl TextDecoder {
    pub(super) fn new(tokenizer: Tokenizer, prompt: &[u32]) -> Self {
        let mut window: Vec<u32> =
            prompt.iter().rev().copied().filter(|&id| !tokenizer.is_special(id)).take(CONTEXT).collect();
        window.reverse();
        let given_out = window.len();
        Self { tokenizer, window, given_out }
    }

    /// Takes the next token and returns the text that is now complete: often the text of this token, and
    /// nothing in the middle of a character.
    pub fn push(&mut self, id: u32) -> Result<String, TextError> {
        if self.tokenizer.is_special(id) {
            return Ok(String::new());
        }
        self.window.push(id);
        self.advance(self.window.len() - self.given_out >= MAX_PENDING)
    }

    /// Returns the rest after the last token: U+FFFD for an incomplete character.
    pub fn finish(&mut self) -> Result<String, TextError> {
        self.advance(true)
    }

    fn advance(&mut self, even_if_incomplete: bool) -> Result<String, TextError> {
        let before = self.tokenizer.decode(&self.window[..self.given_out])?;
        let after = self.tokenizer.decode(&self.window)?;
        if after.ends_with(REPLACEMENT) && !even_if_incomplete {
            return Ok(String::new());
        }
        let new = match after.strip_prefix(&before) {
            // A token without text stays pending: it may change the text of the next one.
            Some("") if !even_if_incomplete => return Ok(String::new()),
            Some(new) => new.to_string(),
            // The new tokens changed text that was already returned.
            None => self.tokenizer.decode(&self.window[self.given_out..])?,
        };
        self.window.drain(..self.given_out);
        self.given_out = self.window.len();
        Ok(new)
    }
}

impl Tokenizer {
    /// A decoder for tokens that arrive one at a time and start a new text, such as an answer.
    pub fn decoder(&self) -> TextDecoder {
        TextDecoder::new(self.clone(), &[])
    }

    /// A decoder for tokens that continue the text of `prompt`. It keeps the space between them, which many
    /// tokenizers put into the first token of the continuation.
    pub fn decoder_after(&self, prompt: &[u32]) -> TextDecoder {
        TextDecoder::new(self.clone(), prompt)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn demo() -> Tokenizer {
        Tokenizer::open(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo"))).unwrap()
    }

    /// A SentencePiece-like tokenizer: `▁` for a space, bytes as `<0x..>`, the first space stripped.
    fn byte_fallback() -> Tokenizer {
        let mut vocab = serde_json::json!({"<unk>": 0, "<s>": 1});
        for byte in 0..256 {
            vocab[format!("<0x{byte:02X}>")] = (2 + byte).into();
        }
        for (i, token) in ["▁", "▁hello", "▁there", "a"].iter().enumerate() {
            vocab[token] = (258 + i).into();
        }
        let json = serde_json::json!({
            "version": "1.0",
            "added_tokens": [{"id": 1, "content": "<s>", "single_word": false, "lstrip": false,
                              "rstrip": false, "normalized": false, "special": true}],
            "normalizer": null, "pre_tokenizer": null, "post_processor": null,
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
                {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
            "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
                      "vocab": vocab, "merges": []},
        });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
        Tokenizer::open(folder.path()).unwrap()
    }

    fn pieces(mut decoder: TextDecoder, ids: &[u32]) -> Vec<String> {
        let mut pieces: Vec<String> = ids.iter().map(|&id| decoder.push(id).unwrap()).collect();
        pieces.push(decoder.finish().unwrap());
        pieces
    }

    #[test]
    fn pieces_make_up_the_text() {
        let tokenizer = demo();
        for text in
            ["Once upon a time, a goat.", "  two spaces\n\n", "你好, 🦀🦀 and e\u{301}!", "x\u{fffd}y", "🦀"]
        {
            let ids = tokenizer.encode(text, true).unwrap();
            let pieces = pieces(tokenizer.decoder(), &ids);
            assert_eq!(pieces.concat(), text);
            assert_eq!(pieces.last().unwrap(), "");
        }
    }

    #[test]
    fn a_character_is_given_out_whole() {
        let tokenizer = byte_fallback();
        let crab: Vec<u32> = "🦀é".bytes().map(|b| u32::from(b) + 2).collect();
        assert_eq!(pieces(tokenizer.decoder(), &crab), ["", "", "", "🦀", "", "é", ""]);
    }

    #[test]
    fn spaces_between_words_are_kept_and_only_the_first_is_stripped() {
        let tokenizer = byte_fallback();
        let [hello, there, special] = [259, 260, 1];
        assert_eq!(pieces(tokenizer.decoder(), &[hello, there]), ["hello", " there", ""]);
        // A special token between two words does not make the next word the first one.
        assert_eq!(pieces(tokenizer.decoder(), &[hello, special, there]), ["hello", "", " there", ""]);
        // Nor does the end of the prompt.
        assert_eq!(pieces(tokenizer.decoder_after(&[special, hello, special]), &[there]), [" there", ""]);
        assert_eq!(pieces(tokenizer.decoder_after(&[special]), &[there]), ["there", ""]);
        // A single space waits: it may be the first of the text.
        assert_eq!(pieces(tokenizer.decoder(), &[258, hello, 258, 261]).concat(), " hello a");
    }

    #[test]
    fn incomplete_and_invalid_bytes_become_replacements() {
        let tokenizer = byte_fallback();
        let byte = |b: u32| b + 2;
        // An incomplete character.
        assert_eq!(pieces(tokenizer.decoder(), &[261, byte(0xf0), byte(0x9f)]).concat(), "a\u{fffd}\u{fffd}");
        // Valid, then invalid: the decoder would take back the first character.
        let ids = [byte(0xc3), byte(0xa9), byte(0xff), 261];
        assert_eq!(pieces(tokenizer.decoder(), &ids), ["", "é", "", "\u{fffd}a", ""]);
    }

    #[test]
    fn garbage_is_given_out_before_the_end() {
        let tokenizer = byte_fallback();
        let mut decoder = tokenizer.decoder();
        let given_out: String = (0..1000).map(|_| decoder.push(2 + 0xff).unwrap()).collect();
        assert!(given_out.chars().count() > 900 && given_out.chars().all(|c| c == REPLACEMENT));
        assert!(decoder.window.len() <= 2 * MAX_PENDING);
        // Tokens outside the vocabulary have no text and do not pile up either.
        let mut decoder = tokenizer.decoder();
        assert!((0..1000).all(|_| decoder.push(u32::MAX).unwrap().is_empty()));
        assert!(decoder.window.len() <= 2 * MAX_PENDING);
    }
}
