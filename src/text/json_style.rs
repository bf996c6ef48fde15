//! JSON as Python's `json.dumps` writes it: `{"a": 1, "b": [2, 3]}`. Chat templates print tools and arguments
//! this way, and models were trained with exactly these spaces.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// The arguments of `json.dumps`.
#[derive(Debug, Clone, Default)]
pub(super) struct Style {
    /// Spaces for each level, with each item on its own line; `None` writes a single line.
    pub indent: Option<usize>,
    /// The separator between two items, and the one between a key and its value.
    pub separators: Option<(String, String)>,
    /// Whether keys are in alphabetical order.
    pub sort_keys: bool,
}

/// Writes JSON with the separators of a style.
struct Python<'a> {
    style: &'a Style,
    /// The number of open arrays and objects.
    depth: usize,
    /// Whether the innermost of them has an item yet.
    has_items: bool,
}

impl Python<'_> {
    fn begin<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.has_items = false;
        writer.write_all(bracket)
    }

    fn end<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.has_items {
            self.new_line(writer)?;
        }
        // The closed array or object is an item of the one around it.
        self.has_items = true;
        writer.write_all(bracket)
    }

    fn item<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            let usual = if self.style.indent.is_some() { "," } else { ", " };
            let separator = self.style.separators.as_ref().map_or(usual, |(item, _)| item);
            writer.write_all(separator.as_bytes())?;
        }
        self.has_items = true;
        self.new_line(writer)
    }

    fn new_line<W: ?Sized + Write>(&self, writer: &mut W) -> io::Result<()> {
        let Some(indent) = self.style.indent else { return Ok(()) };
        writer.write_all(b"\n")?;
        (0..indent * self.depth).try_for_each(|_| writer.write_all(b" "))
    }
}

impl Formatter for Python<'_> {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin(writer, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.item(writer, first)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin(writer, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.item(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let separator = self.style.separators.as_ref().map_or(": ", |(_, key)| key);
        writer.write_all(separator.as_bytes())
    }
}

/// `value` in this style.
pub(super) fn to_json(value: &impl Serialize, style: &Style) -> serde_json::Result<String> {
    let mut text = Vec::new();
    let formatter = Python { style, depth: 0, has_items: false };
    let mut serializer = Serializer::with_formatter(&mut text, formatter);
    if style.sort_keys {
        let mut value = serde_json::to_value(value)?;
        value.sort_all_objects();
        value.serialize(&mut serializer)?;
    } else {
        value.serialize(&mut serializer)?;
    }
    // The serializer writes UTF-8 only.
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_are_those_of_python() {
        let value = serde_json::json!({"b": [1, 2.5, "<é'&>"], "a": {}, "c": [], "d": null});
        let plain = Style::default();
        assert_eq!(
            to_json(&value, &plain).unwrap(),
            r#"{"b": [1, 2.5, "<é'&>"], "a": {}, "c": [], "d": null}"#
        );
        let lines = Style { indent: Some(2), ..Style::default() };
        assert_eq!(to_json(&serde_json::json!({"a": [1]}), &lines).unwrap(), "{\n  \"a\": [\n    1\n  ]\n}");
        let nested = serde_json::json!([[], [{}, 1], 2]);
        let expected = "[\n  [],\n  [\n    {},\n    1\n  ],\n  2\n]";
        assert_eq!(to_json(&nested, &lines).unwrap(), expected);
    }

    #[test]
    fn keys_are_sorted_and_separators_changed_where_that_is_asked_for() {
        let value = serde_json::json!({"b": {"d": 1, "c": [2, 3]}, "a": 4});
        let sorted = Style { sort_keys: true, ..Style::default() };
        assert_eq!(to_json(&value, &sorted).unwrap(), r#"{"a": 4, "b": {"c": [2, 3], "d": 1}}"#);
        let narrow = Style { separators: Some((",".into(), ":".into())), ..sorted };
        assert_eq!(to_json(&value, &narrow).unwrap(), r#"{"a":4,"b":{"c":[2,3],"d":1}}"#);
        let lines = Style { indent: Some(1), ..narrow };
        assert_eq!(
            to_json(&serde_json::json!({"a": [1, 2]}), &lines).unwrap(),
            "{\n \"a\":[\n  1,\n  2\n ]\n}"
        );
    }
}
