//! A model that answers conversations.
//!
//! This is the file that speaks to bantam.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam::archive::{ArchiveError, ModelFiles, Progress, WeightSource};
use bantam::codec::Precision;
use bantam::gpu::Gpu;
use bantam::model::{Adapter, LoadOptions, Model, ModelConfig, ModelError, Outputs, Session};
use bantam::text::{
    ChatTemplate, GenerationError, Message, Sampler, SamplingOptions, TextError, Tokenizer, complete,
};
use futures::StreamExt;

/// Positions of a conversation, where the model was made for as many.
const CONTEXT: usize = 1024;

/// Most tokens of a reply.
const MOST_TOKENS: usize = 512;

/// A little freedom: small models repeat themselves without any.
fn sampling() -> SamplingOptions {
    SamplingOptions::default().with_temperature(0.2).with_top_k(40).with_top_p(0.9).with_seed(1)
}

/// Why a model could not be opened, or not answer.
#[derive(Debug, thiserror::Error)]
pub enum SpeakerError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Generation(#[from] GenerationError),
}

impl SpeakerError {
    /// Whether it only says that the work was to stop.
    pub fn is_stop(&self) -> bool {
        use SpeakerError::{Archive, Model};
        matches!(self, Archive(ArchiveError::Cancelled) | Model(ModelError::Archive(ArchiveError::Cancelled)))
    }

    /// The error with its causes, in one line, as far as it does not name them itself.
    pub fn in_words(&self) -> String {
        let mut words = self.to_string();
        for cause in std::iter::successors(std::error::Error::source(self), |error| error.source()) {
            let cause = cause.to_string();
            if !words.contains(&cause) {
                words = format!("{words}: {cause}");
            }
        }
        words
    }
}

/// Which model is wanted, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub folder: PathBuf,
    /// Folder of an adapter (LoRA), whose products are added to the model's.
    pub adapter: Option<PathBuf>,
    pub precision: Precision,
    /// Most bytes of device memory; layers that do not fit are streamed.
    pub budget: Option<u64>,
}

/// What there is to know of a model that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    pub name: String,
    pub layers: usize,
    /// Layers that do not stay on the device.
    pub streamed: usize,
    /// Positions of a conversation.
    pub context: usize,
    /// Whether the model answers; if not, it goes on with what was written.
    pub chats: bool,
    /// Whether its files are compressed.
    pub compressed: bool,
    /// Bytes of the weights as they were made.
    pub original_bytes: u64,
    /// Bytes of the files that they are in.
    pub file_bytes: u64,
    /// Bytes that they take on the device.
    pub device_bytes: u64,
}

/// A model with a session.
pub struct Speaker {
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    session: Session,
}

impl Speaker {
    /// Loads the model that is wanted onto `gpu`, with a session.
    pub async fn open(
        gpu: &Gpu,
        wanted: &Wanted,
        progress: &dyn Progress,
    ) -> Result<(Self, About), SpeakerError> {
        let files = ModelFiles::open(&wanted.folder)?;
        let tokenizer = Tokenizer::open(files.folder())?;
        let template = ChatTemplate::open(files.folder())?;
        let config = ModelConfig::open(files.folder())?;
        let context = config.max_positions.min(CONTEXT);
        let adapter = wanted.adapter.as_ref().map(|folder| Adapter::open(folder, &config)).transpose()?;
        let options = LoadOptions::default()
            .with_adapter(adapter.map(Arc::new))
            .with_precision(wanted.precision.into())
            .with_budget(wanted.budget)
            .with_working_set(Some(Session::device_bytes(&config, context, Outputs::Last)));
        let model = Arc::new(Model::load(gpu, &files, &options, progress).await?);
        let session = Session::new(&model, context, Outputs::Last)?;
        let about = about(&files, &model, context, template.is_some());
        Ok((Self { tokenizer, template, session }, about))
    }

    /// Answers the last of `messages`. Hands over text as it comes, with the number of tokens so far and
    /// the time since the first of them. What was computed before is not computed again, as far as the
    /// conversation begins with it.
    pub async fn reply(
        &mut self,
        messages: &[Message],
        piece: impl Fn(String, usize, Duration),
    ) -> Result<(), SpeakerError> {
        let tokens = self.recent(messages)?;
        let sampler = Sampler::new(&sampling())?;
        let mut pieces = pin!(complete(&mut self.session, &self.tokenizer, &tokens, sampler, MOST_TOKENS));
        let mut first = None;
        let mut count = 0;
        while let Some(next) = pieces.next().await {
            let next = next?;
            let first = *first.get_or_insert_with(Instant::now);
            count += usize::from(next.token.is_some());
            piece(next.text, count, first.elapsed());
        }
        Ok(())
    }

    /// As much of the end of a conversation as leaves room for an answer: what is older is forgotten, a
    /// message with its answer at a time.
    fn recent(&self, messages: &[Message]) -> Result<Vec<u32>, SpeakerError> {
        let most = self.session.context() - (self.session.context() / 4).min(MOST_TOKENS);
        let mut from = 0;
        loop {
            let tokens = self.tokens(&messages[from..])?;
            // The last message is never left out: that it is too long is for the session to say.
            if tokens.len() <= most || from + 2 >= messages.len() {
                return Ok(tokens);
            }
            from += 2;
        }
    }

    /// The conversation as the model reads it. A model without a template reads what was written, one
    /// behind the other.
    fn tokens(&self, messages: &[Message]) -> Result<Vec<u32>, SpeakerError> {
        Ok(match &self.template {
            Some(template) => template.encode(&self.tokenizer, messages, true)?,
            None => {
                let text: String = messages.iter().map(|message| message.content.as_str()).collect();
                self.tokenizer.encode(&text, true)?
            }
        })
    }
}

fn about(files: &ModelFiles, model: &Model, context: usize, chats: bool) -> About {
    // A path such as `.` has no name of its own.
    let whole = std::fs::canonicalize(files.path()).unwrap_or_default();
    let name = files.path().file_name().or(whole.file_name()).unwrap_or_default().to_string_lossy().into();
    let length = |source: &WeightSource| std::fs::metadata(source.path()).map_or(0, |data| data.len());
    About {
        name,
        layers: model.config().layers,
        streamed: model.residency().map_or(0, |plan| plan.streamed.len()),
        context,
        chats,
        compressed: files.sources().iter().any(|source| matches!(source, WeightSource::Compressed(_))),
        original_bytes: files.weights().map(|weight| weight.original_len as u64).sum(),
        file_bytes: files.sources().iter().map(length).sum(),
        device_bytes: model.weight_bytes(),
    }
}
