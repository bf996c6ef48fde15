//! Finds the names of special tokens in a text.

use std::collections::HashMap;

use tokenizers::AddedVocabulary;

/// The special tokens of a tokenizer, by name.
pub(super) struct SpecialNames {
    /// By the first byte of their names; the longest names first.
    by_first: HashMap<u8, Vec<Special>>,
}

/// A special token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Special {
    pub name: String,
    pub id: u32,
}

impl SpecialNames {
    /// The special tokens of a vocabulary.
    pub fn of(added: &AddedVocabulary) -> Self {
        let mut by_first: HashMap<u8, Vec<Special>> = HashMap::new();
        for (&id, token) in added.get_added_tokens_decoder() {
            if let Some(&first) = token.content.as_bytes().first().filter(|_| token.special) {
                by_first.entry(first).or_default().push(Special { name: token.content.clone(), id });
            }
        }
        for specials in by_first.values_mut() {
            specials.sort_by(|a, b| b.name.len().cmp(&a.name.len()).then_with(|| a.name.cmp(&b.name)));
        }
        Self { by_first }
    }

    /// The special tokens whose names start at byte `at` of `text`, the longest first.
    pub fn at<'n>(&'n self, text: &str, at: usize) -> impl Iterator<Item = &'n Special> {
        let rest = text.as_bytes().get(at..).unwrap_or_default();
        let specials = rest.first().and_then(|first| self.by_first.get(first));
        specials.into_iter().flatten().filter(move |special| rest.starts_with(special.name.as_bytes()))
    }

    /// The first name that occurs in `text`.
    pub fn first_in(&self, text: &str) -> Option<&str> {
        (0..text.len()).find_map(|at| self.at(text, at).next()).map(|special| special.name.as_str())
    }
}
