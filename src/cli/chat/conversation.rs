//! The messages and replies of a conversation.

use std::io::Write;
use std::path::Path;

use bantam::text::Message;
use serde_json::json;

use crate::cli::Result;

/// A system message, then messages and replies in turn.
#[derive(Debug, Default)]
pub struct Conversation {
    system: Option<String>,
    turns: Vec<Message>,
}

impl Conversation {
    pub fn new(system: Option<String>) -> Self {
        Self { system, turns: Vec::new() }
    }

    pub fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }

    pub fn set_system(&mut self, text: Option<String>) {
        self.system = text;
    }

    pub fn ask(&mut self, text: String) {
        self.turns.push(Message::user(text));
    }

    pub fn answered(&mut self, text: String) {
        self.turns.push(Message::assistant(text));
    }

    /// Forgets the last message.
    pub fn take_back(&mut self) {
        self.turns.pop();
    }

    /// Forgets everything but the system message.
    pub fn reset(&mut self) {
        self.turns.clear();
    }

    /// All messages, in order.
    pub fn messages(&self) -> Vec<Message> {
        let system = self.system.as_deref().map(Message::system);
        system.into_iter().chain(self.turns.iter().cloned()).collect()
    }

    /// Writes the messages to a file, in the JSON that model servers take. The file is written completely or
    /// not at all, and no existing file is replaced.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&json!({ "messages": self.messages() }))? + "\n";
        let cannot = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(cannot)?;
        file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(cannot)?;
        file.persist_noclobber(path).map_err(|error| cannot(error.error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_kept_in_order_and_can_be_taken_back() {
        let mut conversation = Conversation::new(Some("Be brief.".into()));
        conversation.ask("Hello".into());
        conversation.answered("Hi".into());
        conversation.ask("And?".into());
        conversation.take_back();
        let said = [Message::system("Be brief."), Message::user("Hello"), Message::assistant("Hi")];
        assert_eq!(conversation.messages(), said);
        conversation.reset();
        assert_eq!(conversation.messages(), said[..1]);
        conversation.set_system(None);
        assert!(conversation.messages().is_empty());
    }

    #[test]
    fn it_is_saved_whole_and_nothing_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("talk.json");
        let mut conversation = Conversation::new(None);
        conversation.ask("Hello".into());
        conversation.save(&path).unwrap();
        let saved = std::fs::read_to_string(&path).unwrap();
        let json: serde_json::Value = serde_json::from_str(&saved).unwrap();
        assert_eq!(json, json!({ "messages": [{ "role": "user", "content": "Hello" }] }));
        conversation.answered("Hi".into());
        let error = conversation.save(&path).unwrap_err().to_string();
        assert!(error.contains("talk.json"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), saved);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    }
}
