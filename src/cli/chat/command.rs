//! Parses a line of a conversation.

use std::path::PathBuf;

/// A parsed line.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// A message for the model.
    Say(String),
    Help,
    ShowSystem,
    /// Sets the system message; `None` removes it.
    System(Option<String>),
    Reset,
    Save(PathBuf),
    Exit,
}

pub const HELP: &str = "\
/system TEXT  set the system message; /system off removes it, /system alone shows it
/reset        start the conversation over; the system message stays
/save FILE    write the conversation to FILE, as JSON
/exit         end the conversation, as Ctrl-D does
//TEXT        send the message /TEXT, which starts with one /
A line that ends with \\ continues on the next one. Ctrl-C stops a reply.";

impl Command {
    /// Parses a line; `None` if the line is empty. An error says what is wrong with the line.
    pub fn parse(line: &str) -> Result<Option<Self>, String> {
        let trimmed = line.trim();
        if trimmed.is_empty() {
            return Ok(None);
        }
        let Some(command) = trimmed.strip_prefix('/') else { return Ok(Some(Self::Say(trimmed.into()))) };
        if command.starts_with('/') {
            return Ok(Some(Self::Say(command.into())));
        }
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim();
        let command = match (name, rest) {
            ("system", "") => Self::ShowSystem,
            ("system", "off") => Self::System(None),
            ("system", text) => Self::System(Some(text.into())),
            ("save", "") => return Err("/save needs a file name".into()),
            ("save", path) => Self::Save(path.into()),
            ("help" | "?", "") => Self::Help,
            ("reset" | "clear", "") => Self::Reset,
            ("exit" | "quit" | "bye", "") => Self::Exit,
            ("help" | "?" | "reset" | "clear" | "exit" | "quit" | "bye", _) => {
                return Err(format!("/{name} takes no argument"));
            }
            _ => {
                return Err(format!(
                    "there is no command /{name}; /help lists all, // starts a message with /"
                ));
            }
        };
        Ok(Some(command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_or_commands() {
        let say = |text: &str| Command::Say(text.into());
        for (line, command) in [
            (" Tell me a story. \n", say("Tell me a story.")),
            ("//etc is a folder", say("/etc is a folder")),
            ("/system  Be brief. ", Command::System(Some("Be brief.".into()))),
            ("/system off", Command::System(None)),
            ("/system", Command::ShowSystem),
            ("/save my talk.json", Command::Save("my talk.json".into())),
            ("/reset", Command::Reset),
            ("/bye", Command::Exit),
            ("/?", Command::Help),
        ] {
            assert_eq!(Command::parse(line), Ok(Some(command)), "{line}");
        }
        assert_eq!(Command::parse("  \n"), Ok(None));
        for line in ["/nonsense", "/save", "/exit now", "/"] {
            assert!(Command::parse(line).is_err(), "{line}");
        }
    }
}
