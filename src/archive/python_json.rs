//! JSON as Python reads and writes it, because Python programs write models' configurations.
//!
//! Python writes non-finite numbers as `NaN`, `Infinity` and `-Infinity`, which JSON does not allow. Editors
//! on Windows put a byte order mark in front, which a reader may ignore (RFC 8259, section 8.1).

use std::borrow::Cow;

use serde::de::DeserializeOwned;

/// The byte order mark.
const MARK: char = '\u{feff}';

/// Parses `text`. Non-finite numbers become strings, so that none is used as a number: a field that needs a
/// number is refused with its value, and other fields do no harm.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    serde_json::from_str(&quoted(without_mark(text)))
}

/// `text` without a byte order mark.
pub(crate) fn without_mark(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// `text` with its non-finite numbers as strings.
fn quoted(text: &str) -> Cow<'_, str> {
    const WORDS: [&str; 3] = ["NaN", "-Infinity", "Infinity"];
    if !WORDS.iter().any(|word| text.contains(word)) {
        return Cow::Borrowed(text);
    }
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    loop {
        // Up to the next string, which is copied unchanged, or the next word.
        let next = rest.find(['"', 'N', 'I', '-']).unwrap_or(rest.len());
        out += &rest[..next];
        rest = &rest[next..];
        if rest.is_empty() {
            return Cow::Owned(out);
        }
        let (taken, quote) = match WORDS.iter().find(|word| rest.starts_with(**word)) {
            Some(word) => (word.len(), "\""),
            None if rest.starts_with('"') => (text_len(rest), ""),
            None => (1, ""),
        };
        out.extend([quote, &rest[..taken], quote]);
        rest = &rest[taken..];
    }
}

/// Length of the string that `rest` begins with, quotes included; all of `rest` if the string does not end.
fn text_len(rest: &str) -> usize {
    let mut is_escaped = false;
    let end = rest.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(rest.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_mark_is_passed_over_and_numbers_that_are_not_finite_are_text() {
        let text = "\u{feff}{\"a\": [0.0, Infinity], \"NaN \\\" NaN\": NaN, \"b\": -Infinity, \"c\": -1, \"d\": \"é\\\\\"}";
        let wanted =
            json!({ "a": [0.0, "Infinity"], "NaN \" NaN": "NaN", "b": "-Infinity", "c": -1, "d": "é\\" });
        assert_eq!(read::<Value>(text).unwrap(), wanted);
    }

    #[test]
    fn what_is_no_json_of_python_either_is_an_error() {
        for text in
            ["", "\u{feff}", "NaN, ", "{\"a\": nan}", "\"NaN", "\"\\", "[Infinity", "{\"a\": --Infinity}"]
        {
            assert!(read::<Value>(text).is_err(), "{text}");
        }
        // A mark is ignored only at the start.
        assert!(read::<Value>("\u{feff}\u{feff}1").is_err());
    }
}
