//! Generated text, with counts and times.

use std::time::Duration;

use bantam::model::Session;
use bantam::text::{End, Limits, Sampler, StopReason, Tokenizer, complete};
use futures::StreamExt;

use super::clock::{Clock, compile_words};
use super::{Result, failure, interrupt};

/// A prompt with the text that was generated from it.
#[derive(Debug, Default)]
pub struct Generated {
    pub text: String,
    pub prompt_tokens: usize,
    /// Tokens of the prompt that the session did not have to compute again.
    pub reused_tokens: usize,
    pub generated_tokens: usize,
    /// Time to the first token: that of computing the prompt. No time here includes compiling kernels.
    pub prefill: Duration,
    /// Time of the tokens after the first.
    pub decode: Duration,
    pub ended: Ended,
}

/// Why generation stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ended {
    /// The stream has ended.
    Because(StopReason),
    /// The user wants to stop.
    #[default]
    Interrupted,
    /// The reader of the text is gone.
    Unread,
}

impl Ended {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Because(reason) => reason.name(),
            Self::Interrupted => "interrupted",
            Self::Unread => "unread",
        }
    }
}

impl Generated {
    /// Copies the reason and the counts that the library reports.
    fn end(&mut self, end: End) {
        self.ended = Ended::Because(end.reason);
        self.prompt_tokens = end.prompt_tokens;
        self.reused_tokens = end.reused_tokens;
        self.generated_tokens = end.generated_tokens;
    }

    pub fn elapsed(&self) -> Duration {
        self.prefill + self.decode
    }

    pub fn prefill_rate(&self) -> f64 {
        (self.prompt_tokens - self.reused_tokens) as f64 / self.prefill.as_secs_f64().max(1e-9)
    }

    /// Tokens a second after the first one; 0 if there are none.
    pub fn rate(&self) -> f64 {
        match self.generated_tokens {
            0 | 1 => 0.0,
            n => (n - 1) as f64 / self.decode.as_secs_f64().max(1e-9),
        }
    }

    /// The counts and rates in a line, without the device's part. `compiling` is the time to compile kernels.
    pub fn words(&self, compiling: Duration) -> String {
        let reused = match self.reused_tokens {
            0 => String::new(),
            reused => format!(" ({reused} already computed)"),
        };
        let why = match self.ended {
            Ended::Because(StopReason::Eos) => "the model ended the text",
            Ended::Because(StopReason::Stop) => "a stop string ended the text",
            Ended::Because(StopReason::Length) => "maximum tokens reached",
            Ended::Because(StopReason::Context) => "the context is full",
            Ended::Because(other) => other.name(),
            Ended::Interrupted => "interrupted",
            Ended::Unread => "the reader closed the output",
        };
        let prompt = match self.generated_tokens {
            // The prompt was not finished, so its rate means nothing.
            0 if self.ended == Ended::Interrupted => String::new(),
            _ => format!(" at {:.1} tokens/s", self.prefill_rate()),
        };
        format!(
            "{} prompt tokens{reused}{prompt}, {} generated at {:.2} tokens/s{} ({why})",
            self.prompt_tokens,
            self.generated_tokens,
            self.rate(),
            compile_words(compiling),
        )
    }
}

/// Continues `tokens`, which replace the session's text, and passes text on as it is generated. An
/// interruption is no error: the result then has everything up to that point.
pub fn generate_text(
    session: &mut Session,
    tokenizer: &Tokenizer,
    tokens: &[u32],
    sampler: Sampler,
    limits: Limits,
    show: impl Fn(&str) -> Result<()>,
) -> Result<Generated> {
    // These counts hold if the stream ends without its own, because generation was interrupted.
    let mut result = Generated {
        prompt_tokens: tokens.len(),
        reused_tokens: session.reusable(tokens),
        ..Generated::default()
    };
    let mut clock = Clock::start(session.model().gpu());
    let mut stream = std::pin::pin!(complete(&mut *session, tokenizer, tokens, sampler, limits));
    let mut is_first = true;
    pollster::block_on(async {
        while let Ok(Some(piece)) = interrupt::unless_interrupted(stream.next()).await {
            let piece = piece?;
            result.generated_tokens += usize::from(piece.token.is_some());
            if std::mem::take(&mut is_first) {
                result.prefill = clock.lap();
            }
            result.text += &piece.text;
            match show(&piece.text) {
                Err(error) if failure::is_closed_pipe(&*error) => {
                    result.ended = Ended::Unread;
                    return Ok(());
                }
                other => other?,
            }
            if let Some(end) = piece.end {
                result.end(end);
            }
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    })?;
    match is_first {
        true => result.prefill = clock.elapsed(),
        false => result.decode = clock.elapsed(),
    }
    Ok(result)
}
