//! Opening a device and a model, as the arguments say.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam::archive::ModelFiles;
use bantam::gpu::{Gpu, GpuOptions};
use bantam::model::{LoadOptions, Model};
use bantam::text::Tokenizer;

use super::Result;
use super::progress::Bar;

#[derive(clap::Args)]
pub struct DeviceArgs {
    /// Adapter to use: its index in `bantam devices`, or a part of its name
    #[arg(long, env = "BANTAM_DEVICE", value_name = "NAME")]
    pub device: Option<String>,
}

impl DeviceArgs {
    pub fn open(&self) -> Result<Gpu> {
        let options = GpuOptions { device: self.device.clone(), ..GpuOptions::default() };
        Ok(pollster::block_on(Gpu::open(&options))?)
    }
}

#[derive(clap::Args)]
pub struct ModelArgs {
    /// Model folder or safetensors file, compressed or not
    pub model: PathBuf,
    /// Run from uncompressed weights
    #[arg(long)]
    pub raw: bool,
    #[command(flatten)]
    pub device: DeviceArgs,
}

impl ModelArgs {
    /// Opens the files, without loading the weights.
    pub fn open(&self) -> Result<(ModelFiles, Tokenizer)> {
        open(&self.model)
    }

    /// Loads the weights onto the device.
    pub fn load(&self, files: &ModelFiles) -> Result<Arc<Model>> {
        load(&self.device.open()?, files, self.raw)
    }
}

/// Opens the files of the model at `path`.
pub fn open(path: &Path) -> Result<(ModelFiles, Tokenizer)> {
    let files = ModelFiles::open(path)?;
    let tokenizer = Tokenizer::open(files.folder())?;
    Ok((files, tokenizer))
}

/// Loads the weights of `files` onto `gpu`.
pub fn load(gpu: &Gpu, files: &ModelFiles, raw: bool) -> Result<Arc<Model>> {
    let model = pollster::block_on(Model::load(gpu, files, &LoadOptions { raw }, &Bar::default()))?;
    Ok(Arc::new(model))
}
