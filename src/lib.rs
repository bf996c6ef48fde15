//! bantam keeps the weights of neural networks losslessly compressed on disk, in host memory and in
//! GPU memory, and computes from the compressed form on any device that Vulkan, Metal or DirectX 12
//! reaches.
//!
//! BF16 weights shrink to two thirds. What is restored is the original, byte for byte, and a model that runs
//! from compressed weights gives bit for bit the results of the original weights on the same device.
//!
//! # Compress bytes
//!
//! ```
//! use bantam::archive::{Preset, compress_bytes, decompress_bytes};
//!
//! # fn main() -> Result<(), bantam::archive::ArchiveError> {
//! let plain = std::fs::read("assets/demo/model.safetensors").expect("a safetensors or GGUF file");
//! let compressed = compress_bytes(plain.clone(), Preset::Small, &())?;
//! assert!(compressed.len() < plain.len());
//! assert!(decompress_bytes(compressed, &())? == plain);
//! # Ok(())
//! # }
//! ```
//!
//! [`archive`] does the same with files, pipes and model folders, in memory that does not grow with them.
#![cfg_attr(
    feature = "runtime",
    doc = r##"
# Run a model

```no_run
use bantam::model::LoadOptions;
use bantam::runtime::{GenerationOptions, Runtime, RuntimeError, RuntimeOptions, SessionOptions};

fn tell() -> Result<(), RuntimeError> {
    let runtime = Runtime::new_blocking(&RuntimeOptions::default())?;
    // A folder in the layout of Hugging Face, compressed or not.
    let model = runtime.load_blocking("models/smollm2-bantam", &LoadOptions::default(), &())?;
    let session = model.open_blocking(&SessionOptions::default())?;
    for piece in session.complete("Once upon a time", &GenerationOptions::default())?.blocking() {
        print!("{}", piece?.text);
    }
    Ok(())
}
```

Everything that is `_blocking` here is asynchronous without it: other threads read files and compile kernels, and any
executor polls what is returned.

# Embed it on a device of yours

```no_run
use bantam::gpu::{required_features, required_limits};
use bantam::runtime::{Runtime, RuntimeOptions};
use bantam::wgpu;

async fn embed(adapter: &wgpu::Adapter) -> Result<Runtime, Box<dyn std::error::Error>> {
    let descriptor = wgpu::DeviceDescriptor {
        required_features: required_features(adapter),
        required_limits: wgpu::Limits::default().or_better_values_from(&required_limits(adapter)),
        ..Default::default()
    };
    let (device, queue) = adapter.request_device(&descriptor).await?;
    // Draw with `device` as before. Its settings and its error handler stay yours.
    Ok(Runtime::from_device(device, queue, &RuntimeOptions::default())?)
}
```
"##
)]
//!
//! # Modules and features
//!
//! | feature | module | what it does |
//! |---|---|---|
//! | (none) | `tensor` | reads element types, shapes, safetensors and GGUF files |
//! | (none) | `codec` | encodes and decodes the tiles of one tensor on the CPU |
//! | (none) | `archive` | compressed files and model folders: writes, reads, restores and verifies them |
//! | `gpu` | `gpu` | a device: counted buffers, kernels and their dispatch |
//! | `gpu` | `stream` | a memory budget: which weights stay on the device, and what streams the others |
//! | `gpu` | `model` | a model's layers, its KV cache, logits |
//! | `runtime` | `text` | tokenizer, chat template, sampling |
//! | `runtime` | `runtime` | the API for applications: one device, model folders, sessions, streams of text |
//! | `runtime` | `bench` | measures a device, and finds its fastest kernels |
//! | `runtime` | `train` | training data, as sequences of tokens; the trainer is not there yet |
//!
//! `vulkan`, `metal`, `dx12` and `gles` choose what wgpu reaches devices through; the default feature, `cli`,
//! has all four, and the command. An application that brings its own device needs none of them.
#![deny(unsafe_code)]
#![warn(missing_docs)]

// Lengths and bit positions of large tensors need 64 bits; they are checked as `usize`.
#[cfg(not(target_pointer_width = "64"))]
compile_error!("bantam needs a 64-bit target");

// First, because a macro is seen only by what follows it.
#[macro_use]
mod setters;

pub mod archive;
#[cfg(feature = "runtime")]
pub mod bench;
pub mod codec;
#[cfg(feature = "gpu")]
pub mod gpu;
#[cfg(feature = "gpu")]
pub mod model;
#[cfg(feature = "runtime")]
pub mod runtime;
pub mod store;
#[cfg(feature = "gpu")]
pub mod stream;
pub mod tensor;
#[cfg(feature = "runtime")]
pub mod text;
#[cfg(feature = "runtime")]
pub mod train;

/// The version of wgpu whose devices, adapters and limits this library takes and returns.
#[cfg(feature = "gpu")]
pub use wgpu;

/// The examples of the README, compiled.
#[cfg(all(doctest, feature = "runtime"))]
#[doc = include_str!("../README.md")]
struct Readme;
