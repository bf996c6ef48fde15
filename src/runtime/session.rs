//! One text that a model writes.

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::TryFutureExt;
use futures::lock::Mutex;
use futures::stream::{BoxStream, Stream, StreamExt, TryStreamExt};

use super::error::RuntimeError;
use super::text_model::TextModel;
use super::work::Working;
use crate::gpu::CacheType;
use crate::model::{ModelConfig, Session, USUAL_CONTEXT};
use crate::text::{End, Limits, Message, Piece, Sampler, SamplingOptions, complete};

/// The context length and KV-cache element type of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionOptions {
    /// Maximum tokens of the text, including generated ones. The default is 1024, or the model's maximum if
    /// that is less. Loading a model leaves memory for the default.
    pub context: Option<usize>,
    /// KV-cache element type.
    pub cache: CacheType,
}

setters! {
    SessionOptions {
        context: Option<usize> => with_context,
        cache: CacheType => with_cache,
    }
}

impl SessionOptions {
    pub(super) fn context_of(&self, config: &ModelConfig) -> usize {
        self.context.unwrap_or(config.max_positions.min(USUAL_CONTEXT))
    }
}

/// Options for generating text. By default, the likeliest token is taken until the text ends.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct GenerationOptions {
    /// Options for choosing the next token.
    pub sampling: SamplingOptions,
    /// Maximum tokens to generate. The session's context is a limit too.
    pub max_tokens: usize,
    /// Stop strings: the text ends before the first of them; see [`Limits::stop`].
    pub stop: Vec<String>,
}

impl Default for GenerationOptions {
    fn default() -> Self {
        Self { sampling: SamplingOptions::default(), max_tokens: usize::MAX, stop: Vec::new() }
    }
}

setters! {
    GenerationOptions {
        sampling: SamplingOptions => with_sampling,
        max_tokens: usize => with_max_tokens,
        stop: Vec<String> => with_stop,
    }
}

/// A text that a model writes or continues. Opening it allocates all of its device memory; dropping it and
/// its stream frees that.
///
/// Pass the whole text or conversation each time. The session computes only what is new and keeps what it has
/// computed before, so you need not know how far an earlier stream came before you dropped it.
#[derive(Debug)]
pub struct TextSession {
    session: Arc<Mutex<Session>>,
    // Drop after the session: the device must go last.
    model: TextModel,
}

impl TextSession {
    pub(super) fn new(model: TextModel, session: Session) -> Self {
        Self { session: Arc::new(Mutex::new(session)), model }
    }

    /// Continues `text`. A worker thread starts to tokenise it at once. If that fails, the stream returns the
    /// error and ends.
    pub fn complete(&self, text: &str, options: &GenerationOptions) -> Result<Generation, RuntimeError> {
        let (tokenizer, text) = (self.model.tokenizer().clone(), text.to_string());
        self.write(options, || self.work(move || Ok(tokenizer.encode(&text, true)?)))
    }

    /// Answers the last of `messages`. A worker thread at once starts to render the chat template and to
    /// tokenise the result. If that fails, the stream returns the error and ends.
    pub fn answer(
        &self,
        messages: &[Message],
        options: &GenerationOptions,
    ) -> Result<Generation, RuntimeError> {
        // The work keeps no handle to the model: a worker must not be the one that drops the last handle.
        let (template, tokenizer) = (self.model.require_template()?.clone(), self.model.tokenizer().clone());
        let messages = messages.to_vec();
        self.write(options, || self.work(move || Ok(template.encode(&tokenizer, &messages, true)?)))
    }

    /// Continues `tokens`, the whole text so far. If it does not fit the session's context, the stream ends
    /// with [`ModelError::ContextFull`](crate::model::ModelError::ContextFull); otherwise, its last piece
    /// says how the text ended.
    pub fn complete_tokens(
        &self,
        tokens: &[u32],
        options: &GenerationOptions,
    ) -> Result<Generation, RuntimeError> {
        let tokens = tokens.to_vec();
        self.write(options, || ready(Ok(tokens)))
    }

    /// Starts work on a worker thread.
    fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, RuntimeError> + Send + 'static,
    ) -> Working<T> {
        self.model.runtime().workers.begin(move |_| work())
    }

    /// Continues the text whose tokens `tokens` returns.
    fn write<T: Future<Output = Result<Vec<u32>, RuntimeError>> + Send + 'static>(
        &self,
        options: &GenerationOptions,
        tokens: impl FnOnce() -> T,
    ) -> Result<Generation, RuntimeError> {
        let sampler = Sampler::new(&options.sampling)?;
        let session = self.session.try_lock_owned().ok_or(RuntimeError::SessionBusy)?;
        let limits = Limits::default().with_max_tokens(options.max_tokens).with_stop(options.stop.clone());
        let (tokens, tokenizer) = (tokens(), self.model.tokenizer().clone());
        let pieces = async move {
            let tokens = tokens.await?;
            let pieces = complete(session, &tokenizer, &tokens, sampler, limits);
            Ok::<_, RuntimeError>(pieces.map_err(RuntimeError::from))
        };
        let pieces = pieces.try_flatten_stream().boxed();
        Ok(Generation { end: None, pieces, _model: self.model.clone() })
    }

    /// The model of this session.
    pub fn model(&self) -> &TextModel {
        &self.model
    }
}

/// Generated text, as a stream that any executor can poll and that never blocks. A worker thread tokenises
/// the text to continue. After that, the stream computes only while it is polled. Dropping the stream stops
/// generation, even in the middle of a token; the session can then start another stream. The stream ends
/// after an error.
///
/// The last piece says why the text ended and counts its tokens. From then on, [`Generation::end`] returns
/// the same.
#[must_use = "a text is written only while its stream is polled"]
pub struct Generation {
    end: Option<End>,
    pieces: BoxStream<'static, Result<Piece, RuntimeError>>,
    // Drop after the session, which the stream has: the device must go last.
    _model: TextModel,
}

impl Generation {
    /// How the text ended, with its token counts. `None` until the last piece was taken, or if the stream
    /// ended with an error.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// The same pieces as an iterator, which blocks this thread.
    pub fn blocking(mut self) -> impl Iterator<Item = Result<Piece, RuntimeError>> {
        std::iter::from_fn(move || pollster::block_on(self.next()))
    }
}

impl Stream for Generation {
    type Item = Result<Piece, RuntimeError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.pieces.as_mut().poll_next(context);
        if let Poll::Ready(Some(Ok(piece))) = &next {
            self.end = piece.end;
        }
        next
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation").field("end", &self.end).finish_non_exhaustive()
    }
}
