//! One text that is being written.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::lock::Mutex;
use futures::stream::{BoxStream, Stream, StreamExt, TryStreamExt};

use super::error::RuntimeError;
use super::text_model::TextModel;
use crate::gpu::CacheType;
use crate::model::{ModelConfig, Session, USUAL_CONTEXT};
use crate::text::{Limits, Message, Piece, Sampler, SamplingOptions, complete};

/// What a session has room for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// Tokens of the text, generated ones included. By default 1024, or as many as the model was made for:
    /// what models leave room for, where nothing else is said.
    pub context: Option<usize>,
    /// The numbers that keys and values are kept in.
    pub cache: CacheType,
}

impl SessionOptions {
    pub(super) fn context_of(&self, config: &ModelConfig) -> usize {
        self.context.unwrap_or(config.max_positions.min(USUAL_CONTEXT))
    }
}

/// How text is generated. By default the likeliest token is taken until the text ends.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationOptions {
    /// How the next token is chosen.
    pub sampling: SamplingOptions,
    /// The most tokens to generate. There are never more than the session has room for.
    pub most: usize,
    /// Strings that end the text in front of them; see [`Limits::stop`].
    pub stop: Vec<String>,
}

impl Default for GenerationOptions {
    fn default() -> Self {
        Self { sampling: SamplingOptions::default(), most: usize::MAX, stop: Vec::new() }
    }
}

/// A text that a model writes, or goes on with. Its device memory is there from the beginning, and is given
/// back when it and its stream are dropped.
///
/// What it is given each time is the whole text or conversation. What is new in it is computed,
/// and what was computed before is kept, so that nothing has to be said about what an earlier stream
/// that was dropped had come to.
#[derive(Debug)]
pub struct TextSession {
    session: Arc<Mutex<Session>>,
    // After the session: the device is last to go.
    model: TextModel,
}

impl TextSession {
    pub(super) fn new(model: TextModel, session: Session) -> Self {
        Self { session: Arc::new(Mutex::new(session)), model }
    }

    /// Goes on from `text`.
    pub fn complete(&self, text: &str, options: GenerationOptions) -> Result<Generation, RuntimeError> {
        self.generate(&self.model.tokenizer().encode(text, true)?, options)
    }

    /// Answers the last of `messages`.
    pub fn answer(
        &self,
        messages: &[Message],
        options: GenerationOptions,
    ) -> Result<Generation, RuntimeError> {
        self.generate(&self.model.conversation(messages)?, options)
    }

    /// Goes on from `tokens`: the whole text so far. Where the session has no room for it, the stream ends with
    /// [`ModelError::ContextFull`](crate::model::ModelError::ContextFull); the last piece of any other says
    /// how the text ended.
    pub fn generate(&self, tokens: &[u32], options: GenerationOptions) -> Result<Generation, RuntimeError> {
        let sampler = Sampler::new(options.sampling)?;
        let session = self.session.try_lock_owned().ok_or(RuntimeError::SessionBusy)?;
        let limits = Limits { most: options.most, stop: options.stop };
        let pieces = complete(session, self.model.tokenizer(), tokens, sampler, limits);
        Ok(Generation { pieces: pieces.map_err(RuntimeError::from).boxed(), _model: self.model.clone() })
    }

    /// The model that writes.
    pub fn model(&self) -> &TextModel {
        &self.model
    }
}

/// Text as it is generated: a stream that any executor can poll, and that never blocks. Nothing is computed
/// unless it is polled. Dropping it stops generation, in the middle of a token too, and the session can
/// go on with another. After an error it ends.
pub struct Generation {
    pieces: BoxStream<'static, Result<Piece, RuntimeError>>,
    // After the session that the stream has: the device is last to go.
    _model: TextModel,
}

impl Generation {
    /// The same pieces, each waited for on this thread.
    pub fn blocking(mut self) -> impl Iterator<Item = Result<Piece, RuntimeError>> {
        std::iter::from_fn(move || pollster::block_on(self.pieces.next()))
    }
}

impl Stream for Generation {
    type Item = Result<Piece, RuntimeError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.pieces.as_mut().poll_next(context)
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation").finish_non_exhaustive()
    }
}
