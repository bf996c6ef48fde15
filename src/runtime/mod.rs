//! The interface for applications that run models in their own process.
//!
//! * [`Runtime`] is a device, bantam's own or the application's, with one memory budget for all models on it.
//! * [`TextModel`] is a loaded model folder: weights, tokenizer, chat template.
//! * [`TextSession`] is one text that the model writes, and [`Generation`] is the stream of its pieces.
//!
//! This module computes nothing itself: it combines [`gpu`](crate::gpu), [`model`](crate::model) and
//! [`text`](crate::text), which can also be used alone. It adds that the caller never blocks. Long work on
//! the CPU (reading and checking files, compiling kernels) runs on worker threads. Any executor can poll the
//! futures and streams, also between two frames. Dropping one stops its work.

mod error;
mod loading;
mod opening;
mod session;
mod start;
mod text_model;
mod work;

pub use error::RuntimeError;
pub use session::{Generation, GenerationOptions, SessionOptions, TextSession};
pub use start::{Runtime, RuntimeOptions};
pub use text_model::TextModel;
pub use work::Working;

pub use crate::gpu::{required_features, required_limits};
