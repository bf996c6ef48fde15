//! The tokens of a record, and which of them a model should learn to predict.

use super::error::DataError;
use super::record::Record;
use super::records::Records;
use crate::text::{ChatTemplate, Message, TextError, Tokenizer};

/// The tokens of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Example {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// For each token, whether its likelihood after those before it counts towards the loss. The first one's never
    /// does.
    pub counts: Vec<bool>,
}

/// Makes tokens of records, with a model's tokenizer and chat template.
#[derive(Debug)]
pub struct RecordEncoder {
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    completions_only: bool,
}

/// Why a record has no tokens.
enum Failure {
    Text(TextError),
    Reason(String),
}

impl From<TextError> for Failure {
    fn from(error: TextError) -> Self {
        Self::Text(error)
    }
}

impl RecordEncoder {
    /// An encoder with a model's tokenizer and chat template, if it has one. With `completions_only`, only completions
    /// and the messages of the assistant count towards the loss; otherwise everything does.
    pub fn new(tokenizer: Tokenizer, template: Option<ChatTemplate>, completions_only: bool) -> Self {
        Self { tokenizer, template, completions_only }
    }

    /// Reads record `i` and makes an example of it. Panics as [`Records::read`] does.
    ///
    /// - A text gets the model's beginning-of-text token, if it has one, and ends with the first of its
    ///   [end-of-text tokens](Tokenizer::eos_ids).
    /// - A piece of plain text gets neither.
    /// - A prompt with its completion is a conversation of two messages if the model has a chat template, and one text
    ///   otherwise.
    /// - A conversation is written by the model's chat template.
    pub fn encode(&self, records: &Records, i: usize) -> Result<Example, DataError> {
        let record = records.read(i)?;
        self.example(&record).map_err(|failure| {
            let (path, line) = (records.path().to_path_buf(), records.line(i));
            match failure {
                Failure::Text(source) => DataError::Text { path, line, source },
                Failure::Reason(reason) => DataError::Line { path, line, reason },
            }
        })
    }

    fn example(&self, record: &Record) -> Result<Example, Failure> {
        let example = match record {
            Record::Piece(text) => all_of(self.tokenizer.encode(text, false)?),
            Record::Text(text) => all_of(self.whole(text)?),
            Record::Completion { prompt, completion } => match &self.template {
                Some(template) => {
                    let messages = [Message::user(prompt.as_str()), Message::assistant(completion.as_str())];
                    self.conversation(template, &messages)?
                }
                None => self.completion(prompt, completion)?,
            },
            Record::Messages(messages) => match &self.template {
                Some(template) => self.conversation(template, messages)?,
                None => {
                    return Err(Failure::Reason("has messages, but the model has no chat template".into()));
                }
            },
        };
        Ok(example)
    }

    /// A text from its beginning to its end.
    fn whole(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let mut tokens = self.tokenizer.encode(text, true)?;
        let is_ended = tokens.last().is_some_and(|&last| self.tokenizer.is_eos(last));
        tokens.extend(self.tokenizer.eos_ids().first().filter(|_| !is_ended));
        Ok(tokens)
    }

    fn completion(&self, prompt: &str, completion: &str) -> Result<Example, TextError> {
        let tokens = self.whole(&format!("{prompt}{completion}"))?;
        let mut example = all_of(tokens);
        if self.completions_only {
            // A token that has the end of the prompt with the beginning of the completion is of the completion.
            let before = self.tokenizer.encode(prompt, true)?;
            let common = before.iter().zip(&example.tokens).take_while(|(a, b)| a == b).count();
            example.counts[..common].fill(false);
        }
        Ok(example)
    }

    fn conversation(&self, template: &ChatTemplate, messages: &[Message]) -> Result<Example, Failure> {
        let encode =
            |count: usize, begins_answer| template.encode(&self.tokenizer, &messages[..count], begins_answer);
        let mut example = all_of(encode(messages.len(), false)?);
        if !self.completions_only {
            return Ok(example);
        }
        example.counts.fill(false);
        for (i, message) in messages.iter().enumerate() {
            if message.role != "assistant" {
                continue;
            }
            let [before, after] = [encode(i, true)?, encode(i + 1, false)?];
            if !(after.starts_with(&before) && example.tokens.starts_with(&after)) {
                return Err(Failure::Reason(format!(
                    "message {}: the chat template writes it otherwise once others follow, so its tokens cannot be \
                     told apart; leave out the messages after it, or count all tokens towards the loss",
                    i + 1
                )));
            }
            example.counts[before.len().max(1)..after.len()].fill(true);
        }
        Ok(example)
    }
}

/// All tokens count but the first, which nothing comes before.
fn all_of(tokens: Vec<u32>) -> Example {
    let counts = (0..tokens.len()).map(|i| i > 0).collect();
    Example { tokens, counts }
}
