//! Reads the prompt.

use std::fs::File;
use std::io::{IsTerminal, Read, stdin};
use std::path::{Path, PathBuf};

use super::Result;
use super::standard::is_stdin;

#[derive(clap::Args)]
pub struct PromptArgs {
    /// Text for the model to continue or, with --chat, to answer; - is standard input. Without -p and -f, the
    /// prompt is read from standard input; if that is a terminal, a chat starts
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// File with the prompt, in UTF-8, without the line break at its end; - is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "prompt")]
    file: Option<PathBuf>,
}

/// The longest prompt to read, in bytes: more than any model has room for.
const MOST: u64 = 64 << 20;

impl PromptArgs {
    /// Whether the arguments give a prompt, so that none is read from standard input.
    pub fn is_given(&self) -> bool {
        self.prompt.is_some() || self.file.is_some() || !stdin().is_terminal()
    }

    /// The prompt.
    pub fn read(&self) -> Result<String> {
        match (&self.prompt, &self.file) {
            (Some(text), _) if text != "-" => Ok(text.clone()),
            (_, Some(path)) if !is_stdin(path) => {
                let file = File::open(path).map_err(|e| format!("cannot open {}: {e}", path.display()))?;
                read(file, path)
            }
            _ => {
                let text = read(stdin().lock(), Path::new("standard input"))?;
                match text.is_empty() {
                    true => Err("standard input has no prompt; give one with -p TEXT or -f FILE".into()),
                    false => Ok(text),
                }
            }
        }
    }
}

/// Reads a text as editors and `echo` write it: without the byte order mark at its beginning and the line
/// break at its end.
fn read(source: impl Read, name: &Path) -> Result<String> {
    let name = name.display();
    let mut bytes = Vec::new();
    let read = source.take(MOST + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("cannot read {name}: {error}"))?;
    if bytes.len() as u64 > MOST {
        return Err(format!("{name}: a prompt may have at most {MOST} bytes").into());
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("{name} is not UTF-8: byte {at} does not start a character; convert it first")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_what_its_writer_means() {
        let of = |bytes: &[u8]| read(bytes, Path::new("it")).map_err(|error| error.to_string());
        for (bytes, text) in [
            ("one\n", "one"),
            ("one\r\n", "one"),
            ("one\n\n", "one\n"),
            ("\u{feff}- one \n two", "- one \n two"),
            ("", ""),
        ] {
            assert_eq!(of(bytes.as_bytes()).unwrap(), text);
        }
        let error = of(b"ab\xff").unwrap_err();
        assert!(error.starts_with("it is not UTF-8: byte 2 "), "{error}");
        let error = read(std::io::repeat(b'a'), Path::new("it")).unwrap_err().to_string();
        assert!(error.contains("at most"), "{error}");
    }
}
