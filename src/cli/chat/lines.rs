//! Reads lines that a user types, or lines of a file.

use std::io::{IsTerminal, stdin, stdout};

use rustyline::DefaultEditor;
use rustyline::config::Config;
use rustyline::error::ReadlineError;

use crate::cli::Result;

/// The source of the lines of a conversation.
pub struct Lines {
    /// `None` if standard input or output is not a terminal.
    editor: Option<DefaultEditor>,
    count: usize,
}

/// The next input.
pub enum Line {
    Text(String),
    /// Ctrl-C: the text typed so far is discarded.
    Cleared,
    End,
}

const PROMPT: &str = "> ";
const MORE: &str = ". ";

impl Lines {
    pub fn open() -> Result<Self> {
        let editor = match stdin().is_terminal() && stdout().is_terminal() {
            true => {
                restore_terminal_at_end();
                let config = Config::builder().auto_add_history(true).bracketed_paste(true).build();
                Some(DefaultEditor::with_config(config)?)
            }
            false => None,
        };
        Ok(Self { editor, count: 0 })
    }

    /// Whether a user types the lines.
    pub fn is_terminal(&self) -> bool {
        self.editor.is_some()
    }

    /// The next line, joined with the lines that continue it.
    pub fn next(&mut self) -> Result<Line> {
        let mut text = String::new();
        loop {
            match self.one(if text.is_empty() { PROMPT } else { MORE })? {
                Line::Text(line) => match line.strip_suffix('\\') {
                    Some(line) => text = text + line + "\n",
                    None => return Ok(Line::Text(text + &line)),
                },
                // The end of the file also ends its last line.
                Line::End if !text.is_empty() => return Ok(Line::Text(text)),
                other => return Ok(other),
            }
        }
    }

    fn one(&mut self, prompt: &str) -> Result<Line> {
        self.count += 1;
        let Some(editor) = &mut self.editor else { return self.piped() };
        match editor.readline(prompt) {
            Ok(line) => Ok(Line::Text(line)),
            Err(ReadlineError::Interrupted) => Ok(Line::Cleared),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(error) => Err(error.into()),
        }
    }

    fn piped(&self) -> Result<Line> {
        let mut line = String::new();
        let read = stdin().read_line(&mut line);
        let cannot = |error: std::io::Error| format!("standard input, line {}: {error}", self.count);
        Ok(match read.map_err(cannot)? {
            0 => Line::End,
            _ => Line::Text(line.trim_end_matches(['\n', '\r']).into()),
        })
    }
}

/// While the user types, the terminal sends every key at once. If a signal ends the process, restore its
/// settings.
fn restore_terminal_at_end() {
    #[cfg(unix)]
    {
        use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
        if let Ok(before) = tcgetattr(stdin()) {
            crate::cli::interrupt::at_end(move || {
                let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
            });
        }
    }
}
