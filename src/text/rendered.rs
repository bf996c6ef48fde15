//! Finds out which characters of a rendered conversation come from its messages and which from the template.
//!
//! A template is a program: it trims contents, splits them and leaves parts out. So contents are marked
//! before they are rendered, with a character that occurs nowhere else, and the marks are removed from the
//! result. If the result equals that for unmarked contents, the marks did not disturb the template, and they
//! tell where each character comes from.

use std::collections::HashSet;
use std::ops::Range;

use serde_json::Value;

use super::message::Message;
use super::special_names::{Special, SpecialNames};

/// Where a string is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marks {
    /// After each character that is not white space, so that the text can still be trimmed.
    Everywhere,
    /// After the first character of each special token's name, so that the template finds everything else
    /// that it looks for.
    InNames,
}

impl Marks {
    fn put(self, mark: char, names: &SpecialNames, text: &str) -> String {
        let mut marked = String::with_capacity(text.len());
        for (at, c) in text.char_indices() {
            marked.push(c);
            let is_marked = match self {
                Self::Everywhere => !c.is_whitespace(),
                Self::InNames => names.at(text, at).next().is_some(),
            };
            if is_marked {
                marked.push(mark);
            }
        }
        marked
    }
}

/// Where messages are marked. That depends on what a template looks for in them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marking {
    /// Messages of the model.
    answers: Marks,
    /// All other messages.
    others: Marks,
}

impl Marking {
    /// The most informative marking first. The last one disturbs only templates that look for special tokens:
    /// they then find none in contents.
    pub const ALL: [Self; 3] = [
        Self { answers: Marks::Everywhere, others: Marks::Everywhere },
        // Most templates that inspect contents do so to remove the model's thoughts.
        Self { answers: Marks::InNames, others: Marks::Everywhere },
        Self { answers: Marks::InNames, others: Marks::InNames },
    ];

    /// Copies of messages, with marks in their contents.
    pub fn messages(self, mark: char, names: &SpecialNames, messages: &[Message]) -> Vec<Message> {
        let marked = |message: &Message| {
            let marks = if message.role == "assistant" { self.answers } else { self.others };
            Message { role: message.role.clone(), content: marks.put(mark, names, &message.content) }
        };
        messages.iter().map(marked).collect()
    }
}

/// A copy of `value`, with marks in the names of special tokens in all its strings.
pub(super) fn marked_names(mark: char, names: &SpecialNames, value: &Value) -> Value {
    let marked = |text: &String| Marks::InNames.put(mark, names, text);
    match value {
        Value::String(text) => Value::String(marked(text)),
        Value::Array(values) => values.iter().map(|value| marked_names(mark, names, value)).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (marked(key), marked_names(mark, names, value)));
            Value::Object(fields.collect())
        }
        other => other.clone(),
    }
}

/// A private-use character that occurs in none of `texts`; `None` if all occur.
pub(super) fn unused_char<'a>(texts: impl Iterator<Item = &'a str>) -> Option<char> {
    let private = '\u{f0000}'..='\u{ffffd}';
    let used: HashSet<char> = texts.flat_map(str::chars).filter(|c| private.contains(c)).collect();
    private.into_iter().find(|c| !used.contains(c))
}

/// A rendered conversation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rendered {
    pub text: String,
    /// Byte ranges that come from messages, if they were marked.
    brought: Vec<Range<usize>>,
}

impl Rendered {
    /// Parses text with marks. Each mark follows a character that comes from a message.
    pub fn from_marked(marked: &str, mark: char) -> Self {
        let (mut text, mut brought) = (String::with_capacity(marked.len()), Vec::<Range<usize>>::new());
        let mut last = None;
        for c in marked.chars() {
            if c != mark {
                last = Some(text.len());
                text.push(c);
                continue;
            }
            let Some(start) = last.take() else { continue };
            match brought.last_mut() {
                Some(range) if range.end == start => range.end = text.len(),
                _ => brought.push(start..text.len()),
            }
        }
        Self { text, brought }
    }

    /// The special tokens that the template wrote, each with the byte where its name begins.
    pub fn own<'n>(&self, names: &'n SpecialNames) -> Vec<(usize, &'n Special)> {
        let (mut own, mut at) = (Vec::new(), 0);
        while at < self.text.len() {
            let is_own = |special: &&Special| !self.is_brought(at..at + special.name.len());
            match names.at(&self.text, at).find(is_own) {
                Some(special) => {
                    own.push((at, special));
                    at += special.name.len();
                }
                None => at += 1,
            }
        }
        own
    }

    /// Whether any of these bytes comes from a message.
    fn is_brought(&self, bytes: Range<usize>) -> bool {
        let next = self.brought.partition_point(|brought| brought.end <= bytes.start);
        self.brought.get(next).is_some_and(|brought| brought.start < bytes.end)
    }
}
