//! Opens a device and a model as the arguments ask.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam::archive::ModelFiles;
use bantam::codec::Precision;
use bantam::gpu::Gpu;
use bantam::model::{
    Adapter, CacheType, Layout, LoadOptions, Model, ModelConfig, Outputs, Precisions, Session,
    require_runnable,
};
use bantam::text::Tokenizer;

use super::Result;
use super::device::DeviceArgs;
use super::kernel::KernelArgs;
use super::progress::Bar;
use super::sizes::parse_bytes;

#[derive(clap::Args)]
pub struct ModelArgs {
    /// Model folder or safetensors file, compressed or not; or STORE#NAME, a model of a store
    pub model: PathBuf,
    /// Run from uncompressed weights
    #[arg(long, conflicts_with = "layout")]
    pub raw: bool,
    /// Layout of compressed weights in device memory
    #[arg(long, value_enum, default_value_t)]
    pub layout: LayoutArg,
    /// Precision at which compressed weights are loaded
    #[arg(long, value_enum, default_value_t, conflicts_with = "raw")]
    pub precision: PrecisionArg,
    /// Add an adapter (LoRA), as PEFT and `bantam finetune` write it: its folder
    #[arg(long, value_name = "FOLDER")]
    pub adapter: Option<PathBuf>,
    /// KV-cache element type
    #[arg(long, value_enum, default_value_t, value_name = "TYPE")]
    pub kv_cache: CacheArg,
    #[command(flatten)]
    pub kernel: KernelArgs,
    /// Maximum device memory, such as 2GiB, 500MB, or a number of bytes; weights that do not fit are streamed
    /// from the file
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub max_memory: Option<u64>,
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// `--precision`
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub enum PrecisionArg {
    /// All bits
    #[default]
    Lossless,
    /// 5 mantissa bits
    K5,
    /// 3 mantissa bits
    K3,
    /// 2 mantissa bits, or the fewest that bit planes allow: 3 for BF16
    K2,
    /// As many bits of each weight as fit --max-memory without streaming
    Auto,
}

impl From<PrecisionArg> for Precisions {
    fn from(arg: PrecisionArg) -> Self {
        match arg {
            PrecisionArg::Lossless => Precision::Lossless.into(),
            PrecisionArg::K5 => Precision::Mantissa(5).into(),
            PrecisionArg::K3 => Precision::Mantissa(3).into(),
            PrecisionArg::K2 => Precision::Mantissa(2).into(),
            PrecisionArg::Auto => Self::Auto,
        }
    }
}

/// `--layout`
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub enum LayoutArg {
    /// Uncompressed, as with --raw
    Raw,
    /// As in the file: the smallest
    Dense,
    /// An eighth larger, and the fastest to compute from
    Fast,
    /// Slightly larger than dense, and faster to compute from
    Tiered,
    /// Fast if it is faster and fits, else tiered if that fits, else dense
    #[default]
    Auto,
}

impl From<LayoutArg> for Layout {
    fn from(arg: LayoutArg) -> Self {
        match arg {
            // Nothing is compressed then.
            LayoutArg::Raw | LayoutArg::Dense => Self::Dense,
            LayoutArg::Fast => Self::Fast,
            LayoutArg::Tiered => Self::Tiered,
            LayoutArg::Auto => Self::Auto,
        }
    }
}

/// `--kv-cache`
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub enum CacheArg {
    /// As computed
    #[default]
    F32,
    /// Rounded: half the memory
    F16,
}

impl From<CacheArg> for CacheType {
    fn from(arg: CacheArg) -> Self {
        match arg {
            CacheArg::F32 => Self::F32,
            CacheArg::F16 => Self::F16,
        }
    }
}

impl ModelArgs {
    /// Whether weights are to be uncompressed.
    pub fn is_raw(&self) -> bool {
        self.raw || matches!(self.layout, LayoutArg::Raw)
    }

    /// Opens the files, without loading the weights.
    pub fn open(&self) -> Result<(ModelFiles, Tokenizer)> {
        open(&self.model)
    }

    /// Loads the weights onto the device and leaves memory for a session. Fails before loading if the device
    /// does not support the context.
    pub fn load(
        &self,
        files: &ModelFiles,
        config: &ModelConfig,
        context: usize,
        outputs: Outputs,
    ) -> Result<Arc<Model>> {
        let gpu = self.device.open_within(self.max_memory)?;
        Session::check_context(&gpu, config, context, self.kv_cache.into())?;
        let gpu = self.kernel.choose(gpu, &self.device)?;
        load(&gpu, files, &self.options(config, Session::device_bytes(config, context, outputs))?)
    }

    /// The load options for these arguments, with `working_set` bytes left to sessions.
    pub fn options(&self, config: &ModelConfig, working_set: u64) -> Result<LoadOptions> {
        if self.is_raw() && !matches!(self.precision, PrecisionArg::Lossless) {
            return Err(
                "--precision is about compressed weights, and --layout raw asks for uncompressed ones".into(),
            );
        }
        let adapter = self.adapter.as_ref().map(|folder| Adapter::open(folder, config)).transpose()?;
        Ok(LoadOptions::default()
            .with_adapter(adapter.map(Arc::new))
            .with_raw(self.is_raw())
            .with_layout(self.layout.into())
            .with_precision(self.precision.into())
            .with_budget(self.max_memory)
            .with_working_set(Some(working_set)))
    }
}

/// Opens the files of the model at `path`.
pub fn open(path: &Path) -> Result<(ModelFiles, Tokenizer)> {
    let files = ModelFiles::open(path)?;
    require_runnable(&files)?;
    let tokenizer = Tokenizer::open(files.folder())?;
    Ok((files, tokenizer))
}

/// Loads the weights of `files` onto `gpu`. Rates of tokens do not count compile time.
pub fn load(gpu: &Gpu, files: &ModelFiles, options: &LoadOptions) -> Result<Arc<Model>> {
    let model = pollster::block_on(Model::load(&gpu.with_warm_up(), files, options, &Bar::default()))?;
    Ok(Arc::new(model))
}
