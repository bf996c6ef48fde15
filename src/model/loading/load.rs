//! Loads a model, and plans how to load one.

use crate::archive::{ModelFiles, Progress};
use crate::gpu::{Gpu, Uploader};
use crate::model::config::model_config::ModelConfig;
use crate::model::error::ModelError;
use crate::model::files::reading::Reading;
use crate::model::files::runnable::require_runnable;
use crate::model::loading::loader::Loader;
use crate::model::plan::options::LoadOptions;
use crate::model::plan::planned::Planned;
use crate::model::plan::precisions::Precisions;
use crate::model::weights::model::Model;
use crate::stream::Plan;

impl Model {
    /// Uploads the weights of `files` and verifies all checksums; compressed weights stay compressed.
    /// `progress` counts original bytes.
    ///
    /// A separate thread reads and checks the files, and waiting for the device is asynchronous. In between,
    /// the future lays out a tensor or compiles kernels for transcoding: poll it on an executor whose tasks
    /// may compute.
    pub async fn load(
        gpu: &Gpu,
        files: &ModelFiles,
        options: &LoadOptions,
        progress: &dyn Progress,
    ) -> Result<Self, ModelError> {
        let reading = &Reading::new(progress)?;
        let theirs = files.clone();
        let config = reading.run(move |_| runnable_config(&theirs)).await??;
        let gpu = &gpu.with_share(options.budget);
        let planned = Planned::promised(gpu, files, &config, options, reading).await?;
        gpu.settle().await?;
        let uploader = Uploader::within(gpu, planned.staging)?;
        let mut loader = Loader::new(gpu, files, options, &planned, reading, uploader, progress);
        let total = files.weights().map(|w| w.original_len as u64).fold(0, u64::saturating_add);
        progress.begin(total, "loading");
        let model = loader.model(config).await;
        progress.finish();
        model
    }

    /// The plan for keeping a model in device memory, without loading it; `None` if memory is [not
    /// limited](LoadOptions::budget). If memory is too small, returns an error that names the minimum.
    pub fn plan(gpu: &Gpu, files: &ModelFiles, options: &LoadOptions) -> Result<Option<Plan>, ModelError> {
        Ok(Self::plan_with_precisions(gpu, files, options)?.0)
    }

    /// Like [`Model::plan`], with the precision at which each weight would be read. For [`Precisions::Auto`],
    /// these are the chosen ones.
    pub fn plan_with_precisions(
        gpu: &Gpu,
        files: &ModelFiles,
        options: &LoadOptions,
    ) -> Result<(Option<Plan>, Precisions), ModelError> {
        let config = runnable_config(files)?;
        let planned = Planned::new(&gpu.with_share(options.budget), files, &config, options)?;
        Ok((planned.plan, planned.precisions))
    }
}

/// The configuration of `files`; an error if bantam cannot run them.
fn runnable_config(files: &ModelFiles) -> Result<ModelConfig, ModelError> {
    require_runnable(files)?;
    ModelConfig::of_files(files)
}
