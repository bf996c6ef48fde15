//! Generates text: turns a prompt into a stream of tokens.

use std::fmt;
use std::ops::DerefMut;

use futures::stream::{self, Stream};

use super::stop::StopStrings;
use super::{Sampler, TextDecoder, TextError, Tokenizer};
use crate::model::{ModelError, Outputs, Session};

/// Why generation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerationError {
    /// The executor failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tokenizer or the sampler failed.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// A piece of generated text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Piece {
    /// The generated token; `None` if the last piece has only withheld text, or no text.
    pub token: Option<u32>,
    /// The text that this token completes. Empty in the middle of a character, and while the text may be the
    /// beginning of a stop string.
    pub text: String,
    /// How the text ended; only the last piece has it.
    pub end: Option<End>,
}

/// How a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct End {
    /// Why generation stopped.
    pub reason: StopReason,
    /// Tokens before the generated ones: the prompt's, and those already in the session.
    pub prompt_tokens: usize,
    /// Those of `prompt_tokens` whose keys and values were already in the session's KV cache, so that they
    /// were not computed again.
    pub reused_tokens: usize,
    /// Generated tokens, without an end-of-text token.
    pub generated_tokens: usize,
}

/// Why generation stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// The model has ended its text.
    Eos,
    /// The text reached a stop string.
    Stop,
    /// The maximum number of tokens was reached.
    Length,
    /// The session's context is full.
    Context,
}

impl StopReason {
    /// The reason's name: `eos`, `stop`, `length` or `context`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eos => "eos",
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Context => "context",
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Limits of generation, besides the model's end of the text and the session's context.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Maximum tokens to generate.
    pub max_tokens: usize,
    /// Stop strings: the text ends before the first of them. The name of a special token stands for that
    /// token. Empty strings are ignored.
    pub stop: Vec<String>,
}

impl Default for Limits {
    /// No limit.
    fn default() -> Self {
        Self { max_tokens: usize::MAX, stop: Vec::new() }
    }
}

setters! {
    Limits {
        max_tokens: usize => with_max_tokens,
        stop: Vec<String> => with_stop,
    }
}

impl From<usize> for Limits {
    /// At most this many tokens.
    fn from(max_tokens: usize) -> Self {
        Self { max_tokens, ..Self::default() }
    }
}

struct State<S> {
    session: S,
    tokenizer: Tokenizer,
    sampler: Sampler,
    decoder: TextDecoder,
    stop: StopStrings,
    /// Special tokens that end the text, as stop strings do.
    stop_ids: Vec<u32>,
    /// Tokens that the executor has not computed yet.
    pending: Vec<u32>,
    prompt_tokens: usize,
    reused_tokens: usize,
    generated: usize,
    max_tokens: usize,
    ended: bool,
}

/// Appends `prompt` to the session and generates tokens until the model ends its text, a limit is reached, or
/// the session's context is full: the last piece says which. The stream computes only while it is polled.
/// Dropping it stops generation; the session can then continue. A prompt that does not fit the session's
/// context is an error.
///
/// `session` is a `&mut Session`, or a guard of one, which the stream then keeps. `limits` can be a number:
/// the maximum tokens to generate.
#[must_use = "a text is written only while its stream is polled"]
pub fn generate<S: DerefMut<Target = Session>, L: Into<Limits>>(
    session: S,
    tokenizer: &Tokenizer,
    prompt: &[u32],
    sampler: Sampler,
    limits: L,
) -> impl Stream<Item = Result<Piece, GenerationError>> + use<S, L> {
    State::new(session, tokenizer, prompt, sampler, limits.into()).stream()
}

/// Like [`generate`], but `text` is the whole text before the generated tokens, not an addition to the
/// session. The session keeps what it has already computed of `text` and forgets the rest. For a growing
/// conversation, it computes only the new tokens.
#[must_use = "a text is written only while its stream is polled"]
pub fn complete<S: DerefMut<Target = Session>, L: Into<Limits>>(
    mut session: S,
    tokenizer: &Tokenizer,
    text: &[u32],
    sampler: Sampler,
    limits: L,
) -> impl Stream<Item = Result<Piece, GenerationError>> + use<S, L> {
    let kept = session.reusable(text);
    session.rewind(kept);
    let mut state = State::new(session, tokenizer, text, sampler, limits.into());
    state.prompt_tokens = text.len();
    state.pending.drain(..kept);
    state.stream()
}

impl<S: DerefMut<Target = Session>> State<S> {
    /// Nothing of `text` is computed yet.
    fn new(session: S, tokenizer: &Tokenizer, text: &[u32], sampler: Sampler, limits: Limits) -> Self {
        let special = |name: &String| tokenizer.id(name).filter(|&id| tokenizer.is_special(id));
        Self {
            prompt_tokens: session.position() + text.len(),
            reused_tokens: session.position(),
            session,
            tokenizer: tokenizer.clone(),
            sampler,
            decoder: tokenizer.decoder_after(text),
            stop_ids: limits.stop.iter().filter_map(special).collect(),
            stop: StopStrings::new(limits.stop),
            pending: text.to_vec(),
            generated: 0,
            max_tokens: limits.max_tokens,
            ended: false,
        }
    }

    fn stream(self) -> impl Stream<Item = Result<Piece, GenerationError>> + use<S> {
        stream::try_unfold(
            self,
            |mut state| async move { Ok(state.next().await?.map(|piece| (piece, state))) },
        )
    }

    async fn next(&mut self) -> Result<Option<Piece>, GenerationError> {
        if self.ended {
            return Ok(None);
        }
        if self.generated >= self.max_tokens {
            return self.end(StopReason::Length);
        }
        // A prompt that is too long is an error; a reply that fills the session just ends.
        if self.generated > 0 && self.session.position() == self.session.context() {
            return self.end(StopReason::Context);
        }
        let id = self.choose().await?;
        if self.tokenizer.is_eos(id) {
            return self.end(StopReason::Eos);
        }
        if self.stop_ids.contains(&id) {
            return self.end(StopReason::Stop);
        }
        self.pending = vec![id];
        self.generated += 1;
        let (text, found) = self.stop.push(&self.decoder.push(id)?);
        if found {
            self.ended = true;
        }
        Ok(Some(Piece { token: Some(id), text, end: found.then(|| self.how(StopReason::Stop)) }))
    }

    async fn choose(&mut self) -> Result<u32, GenerationError> {
        if self.sampler.penalizes() {
            let mut logits = self.session.forward(&self.pending, Outputs::Last).await?;
            self.sampler.penalize(&mut logits, self.session.tokens());
            return Ok(self.sampler.sample(&logits)?);
        }
        if self.sampler.is_greedy() {
            return Ok(self.session.likeliest(&self.pending).await?);
        }
        let Some(k) = self.sampler.top_k() else {
            let logits = self.session.forward(&self.pending, Outputs::Last).await?;
            return Ok(self.sampler.sample(&logits)?);
        };
        if let Some(top) = self.session.top(&self.pending, k).await? {
            let some = top.placed.iter().map(|placed| (placed.place, placed.number));
            if let Some(id) = self.sampler.sample_of(some, top.bound) {
                return Ok(id);
            }
        }
        // Equal logits, or more candidates than the device can return.
        let logits = self.session.last_logits().await?;
        Ok(self.sampler.sample(&logits)?)
    }

    /// The text that the decoder and the stop strings withheld, and how the text ended.
    fn end(&mut self, reason: StopReason) -> Result<Option<Piece>, GenerationError> {
        self.ended = true;
        let (mut text, found) = self.stop.push(&self.decoder.finish()?);
        text += &self.stop.finish();
        let reason = if found { StopReason::Stop } else { reason };
        Ok(Some(Piece { token: None, text, end: Some(self.how(reason)) }))
    }

    fn how(&self, reason: StopReason) -> End {
        End {
            reason,
            prompt_tokens: self.prompt_tokens,
            reused_tokens: self.reused_tokens,
            generated_tokens: self.generated,
        }
    }
}
