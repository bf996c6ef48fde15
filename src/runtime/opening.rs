//! Loads models and opens sessions.

use std::path::PathBuf;
use std::sync::Arc;

use super::error::RuntimeError;
use super::loading::{Parts, Watched};
use super::session::{SessionOptions, TextSession};
use super::start::Runtime;
use super::text_model::TextModel;
use super::work::Working;
use crate::archive::{ArchiveError, Progress};
use crate::model::{LoadOptions, Model, Outputs, Session};

impl Runtime {
    /// Loads a model folder, compressed or not: its files, tokenizer, chat template and weights.
    /// `options.budget` can limit this model further; the runtime's budget always applies.
    ///
    /// A worker thread starts the work at once; the returned future resolves when it is done. The worker
    /// reports original bytes to `progress`. To cancel, let [`Progress::cancelled`] return true or drop the
    /// future: the work stops within some megabytes or one kernel, and frees all its memory. An [`Arc`] of a
    /// [`Progress`] is a [`Progress`] too; `()` ignores progress.
    pub fn load(
        &self,
        folder: impl Into<PathBuf>,
        options: &LoadOptions,
        progress: impl Progress + Send + 'static,
    ) -> Working<TextModel> {
        let (gpu, folder, runtime, options) =
            (self.gpu().clone(), folder.into(), self.clone(), options.clone());
        let loading = self.workers.begin(move |stop| {
            let watched = Watched { progress: &progress, stop: Some(stop) };
            pollster::block_on(Parts::load(&gpu, &folder, &options, &watched))
        });
        loading.then(move |parts| TextModel::new(runtime, parts))
    }

    /// [`Runtime::load`] on this thread.
    pub fn load_blocking(
        &self,
        folder: impl Into<PathBuf>,
        options: &LoadOptions,
        progress: &dyn Progress,
    ) -> Result<TextModel, RuntimeError> {
        let watched = Watched { progress, stop: None };
        let parts = pollster::block_on(Parts::load(self.gpu(), &folder.into(), options, &watched))?;
        Ok(TextModel::new(self.clone(), parts))
    }
}

impl TextModel {
    /// Opens a session and allocates all device memory that it will ever use. A worker thread starts the work
    /// at once and compiles the kernels that no earlier session needed. Dropping the future stops the work
    /// within one kernel or buffer, and frees what it has allocated.
    pub fn open(&self, options: &SessionOptions) -> Working<TextSession> {
        let (model, this, options) = (self.model().clone(), self.clone(), *options);
        let opening =
            self.runtime().workers.begin(move |stop| make_session(&model, &options, &|| stop.check()));
        opening.then(move |session| TextSession::new(this, session))
    }

    /// [`TextModel::open`] on this thread.
    pub fn open_blocking(&self, options: &SessionOptions) -> Result<TextSession, RuntimeError> {
        Ok(TextSession::new(self.clone(), make_session(self.model(), options, &|| Ok(()))?))
    }
}

fn make_session(
    model: &Arc<Model>,
    options: &SessionOptions,
    go_on: &dyn Fn() -> Result<(), ArchiveError>,
) -> Result<Session, RuntimeError> {
    let context = options.context_of(model.config());
    Ok(Session::open_while(model, context, Outputs::Last, options.cache, go_on)?)
}
