//! JSON as Python's `json.dumps` writes it: `{"a": 1, "b": [2, 3]}`. Chat templates print tools
//! and arguments with it, and models were trained on just these spaces.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// `value` in one line, or on several with `indent` spaces for each level.
pub(super) fn to_json(value: &impl Serialize, indent: Option<usize>) -> serde_json::Result<String> {
    let mut text = Vec::new();
    match indent {
        None => value.serialize(&mut Serializer::with_formatter(&mut text, Spaced))?,
        Some(width) => {
            let indent = " ".repeat(width);
            let formatter = PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut Serializer::with_formatter(&mut text, formatter))?;
        }
    }
    // The serializer writes UTF-8 only.
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::to_json;

    #[test]
    fn spaces_are_those_of_python() {
        let value = serde_json::json!({"b": [1, 2.5, "<é'&>"], "a": {}, "c": [], "d": null});
        assert_eq!(
            to_json(&value, None).unwrap(),
            r#"{"b": [1, 2.5, "<é'&>"], "a": {}, "c": [], "d": null}"#
        );
        let value = serde_json::json!({"a": [1]});
        assert_eq!(to_json(&value, Some(2)).unwrap(), "{\n  \"a\": [\n    1\n  ]\n}");
    }
}
