//! Loads the parts of a model from its folder.

use std::path::Path;
use std::sync::Arc;

use super::error::RuntimeError;
use super::work::Stop;
use crate::archive::{ModelFiles, Progress};
use crate::gpu::Gpu;
use crate::model::{LoadOptions, Model, require_runnable};
use crate::text::{ChatTemplate, Tokenizer};

/// The loaded parts of a model folder.
#[derive(Debug)]
pub(super) struct Parts {
    pub files: ModelFiles,
    pub model: Arc<Model>,
    pub tokenizer: Tokenizer,
    pub template: Option<Arc<ChatTemplate>>,
}

impl Parts {
    /// Loads the weights last, so that any other error is found sooner.
    pub async fn load(
        gpu: &Gpu,
        folder: &Path,
        options: &LoadOptions,
        progress: &Watched<'_>,
    ) -> Result<Self, RuntimeError> {
        let files = ModelFiles::open(folder)?;
        require_runnable(&files)?;
        progress.check()?;
        let tokenizer = Tokenizer::open(files.folder())?;
        let template = ChatTemplate::open(files.folder())?.map(Arc::new);
        progress.check()?;
        let model = Arc::new(Model::load(gpu, &files, options, progress).await?);
        Ok(Self { files, model, tokenizer, template })
    }
}

/// The caller's progress. It also cancels the operation if nobody waits for it any more.
pub(super) struct Watched<'a> {
    pub progress: &'a dyn Progress,
    pub stop: Option<&'a Stop>,
}

impl Watched<'_> {
    fn check(&self) -> Result<(), RuntimeError> {
        if self.cancelled() { Err(RuntimeError::Cancelled) } else { Ok(()) }
    }
}

impl Progress for Watched<'_> {
    fn begin(&self, total_bytes: u64, what: &str) {
        self.progress.begin(total_bytes, what);
    }

    fn begin_count(&self, total: u64, what: &str) {
        self.progress.begin_count(total, what);
    }

    fn advance(&self, more: u64) {
        self.progress.advance(more);
    }

    fn finish(&self) {
        self.progress.finish();
    }

    fn cancelled(&self) -> bool {
        self.progress.cancelled() || self.stop.is_some_and(Stop::is_asked)
    }
}
