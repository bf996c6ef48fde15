//! Generating text: a prompt goes in, a stream of tokens comes out.

use std::ops::DerefMut;

use futures::stream::{self, Stream};

use super::{Sampler, TextDecoder, TextError, Tokenizer};
use crate::model::{ModelError, Outputs, Session};

/// Why generation stopped early.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// The executor failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tokenizer or the sampler failed.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// What generation gives, piece by piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The token that was generated; `None` for text that was held back until the end.
    pub token: Option<u32>,
    /// The text that became complete; empty in the middle of a character.
    pub text: String,
}

struct State<S> {
    session: S,
    tokenizer: Tokenizer,
    sampler: Sampler,
    decoder: TextDecoder,
    /// What the executor has not seen yet.
    pending: Vec<u32>,
    left: usize,
    /// Whether `pending` is a generated token, and no longer the prompt.
    generated: bool,
}

/// Appends `prompt` to the session and generates up to `most` tokens. The stream ends before an
/// end-of-text token, or when the session is full. Nothing is computed unless it is polled, and
/// dropping it stops generation; the session can then go on.
///
/// `session` is a `&mut Session`, or a guard of one, which the stream then keeps.
pub fn generate<S: DerefMut<Target = Session>>(
    session: S,
    tokenizer: &Tokenizer,
    prompt: &[u32],
    sampler: Sampler,
    most: usize,
) -> impl Stream<Item = Result<Piece, GenerationError>> + use<S> {
    State::new(session, tokenizer, prompt, sampler, most).stream()
}

/// As [`generate`], where `text` is all that there is to be before what is generated, and not what is
/// appended. What the session has computed of it is kept, and anything else is forgotten: of
/// a conversation that grows, only what is new is computed.
pub fn complete<S: DerefMut<Target = Session>>(
    mut session: S,
    tokenizer: &Tokenizer,
    text: &[u32],
    sampler: Sampler,
    most: usize,
) -> impl Stream<Item = Result<Piece, GenerationError>> + use<S> {
    let same = session.tokens().iter().zip(text).take_while(|(a, b)| a == b).count();
    // The last token is computed again if need be: what follows it was not kept.
    let kept = same.min(text.len().saturating_sub(1));
    session.rewind(kept);
    let mut state = State::new(session, tokenizer, text, sampler, most);
    state.pending.drain(..kept);
    state.stream()
}

impl<S: DerefMut<Target = Session>> State<S> {
    /// Before anything is computed of `text`.
    fn new(session: S, tokenizer: &Tokenizer, text: &[u32], sampler: Sampler, most: usize) -> Self {
        Self {
            session,
            tokenizer: tokenizer.clone(),
            sampler,
            decoder: tokenizer.decoder_after(text),
            pending: text.to_vec(),
            left: most,
            generated: false,
        }
    }

    fn stream(self) -> impl Stream<Item = Result<Piece, GenerationError>> + use<S> {
        stream::try_unfold(
            self,
            |mut state| async move { Ok(state.next().await?.map(|piece| (piece, state))) },
        )
    }

    async fn next(&mut self) -> Result<Option<Piece>, GenerationError> {
        // A prompt that is too long is an error; a reply that fills the session just ends.
        let is_reply = self.generated;
        if self.left == 0 || (is_reply && self.session.position() == self.session.context()) {
            return self.rest();
        }
        self.left -= 1;
        let id = self.choose().await?;
        if self.tokenizer.is_eos(id) {
            self.left = 0;
            return self.rest();
        }
        self.pending = vec![id];
        self.generated = true;
        Ok(Some(Piece { token: Some(id), text: self.decoder.push(id)? }))
    }

    async fn choose(&mut self) -> Result<u32, GenerationError> {
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
        // Equal logits, or more tokens than the device looks for.
        let logits = self.session.last_logits().await?;
        Ok(self.sampler.sample(&logits)?)
    }

    /// What the decoder still held back, and then the end.
    fn rest(&mut self) -> Result<Option<Piece>, GenerationError> {
        self.left = 0;
        let text = self.decoder.finish()?;
        Ok(Some(Piece { token: None, text }).filter(|piece| !piece.text.is_empty()))
    }
}
