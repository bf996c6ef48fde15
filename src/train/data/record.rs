//! One record of training data, as it is written.

use serde_json::{Map, Value};

use crate::text::Message;

/// One record of training data.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// A whole text: `{"text": …}`.
    Text(String),
    /// A part of a plain text file, which neither begins nor ends a text.
    Piece(String),
    /// A text and what follows it: `{"prompt": …, "completion": …}`.
    Completion {
        /// What is given.
        prompt: String,
        /// What the model should write then.
        completion: String,
    },
    /// A conversation: `{"messages": [{"role": …, "content": …}, …]}`.
    Messages(Vec<Message>),
}

impl Record {
    /// The record in a line of JSON, or what is wrong with it. Fields of other names are for others, unless they are
    /// in a message.
    pub(super) fn of_json(line: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(line).map_err(|error| {
            // A line has one line.
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            format!("not JSON: {message} at byte {}", error.column())
        })?;
        let Value::Object(fields) = value else { return Err("not a JSON object".into()) };
        let has = |name| fields.contains_key(name);
        match [has("messages"), has("prompt") || has("completion"), has("text")] {
            [true, false, false] => messages(&fields).map(Self::Messages),
            [false, true, false] => Ok(Self::Completion {
                prompt: text(&fields, "prompt")?,
                completion: text(&fields, "completion")?,
            }),
            [false, false, true] => text(&fields, "text").map(Self::Text),
            [false, false, false] => Err("has no field messages, prompt with completion, or text".into()),
            _ => Err("has more than one of messages, prompt with completion, and text".into()),
        }
    }
}

fn text(fields: &Map<String, Value>, name: &str) -> Result<String, String> {
    match fields.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("{name} is not a string")),
        None => Err(format!("has no {name}")),
    }
}

fn messages(fields: &Map<String, Value>) -> Result<Vec<Message>, String> {
    let Some(Value::Array(all)) = fields.get("messages") else { return Err("messages is not a list".into()) };
    if all.is_empty() {
        return Err("messages is empty".into());
    }
    let message = |(i, value): (usize, &Value)| {
        let of_this = |reason: String| format!("message {}: {reason}", i + 1);
        let Value::Object(fields) = value else { return Err(of_this("not an object".into())) };
        // Whatever else is said in a message would be left out of what the model learns.
        if let Some(name) = fields.keys().find(|name| !["role", "content"].contains(&name.as_str())) {
            return Err(of_this(format!("has {name}, which is not read; messages have role and content")));
        }
        let [role, content] = ["role", "content"].map(|name| text(fields, name).map_err(of_this));
        Ok(Message::new(role?, content?))
    };
    all.iter().enumerate().map(message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let read = |line| Record::of_json(line).unwrap();
        assert_eq!(read(r#"{"text": "a\nb", "id": 7}"#), Record::Text("a\nb".into()));
        let completion = Record::Completion { prompt: "a".into(), completion: "b".into() };
        assert_eq!(read(r#" {"prompt": "a", "completion": "b"}"#), completion);
        let messages = Record::Messages(vec![Message::user("hello"), Message::assistant("")]);
        let line =
            r#"{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": ""}]}"#;
        assert_eq!(read(line), messages);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_reason() {
        for (line, reason) in [
            (r#"{"text": "a""#, "not JSON"),
            ("[1]", "not a JSON object"),
            (r#"{"txt": "a"}"#, "has no field"),
            (r#"{"text": 7}"#, "text is not a string"),
            (r#"{"prompt": "a"}"#, "has no completion"),
            (r#"{"text": "a", "prompt": "a", "completion": "b"}"#, "more than one"),
            (r#"{"messages": []}"#, "empty"),
            (r#"{"messages": {"role": "user"}}"#, "not a list"),
            (r#"{"messages": [{"role": "user", "content": null}]}"#, "message 1: content is not a string"),
            (r#"{"messages": [{"role": "user", "content": "", "tool_calls": []}]}"#, "has tool_calls"),
        ] {
            let error = Record::of_json(line).unwrap_err();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }
}
