//! What an application sees that runs models in its own process.
//!
//! * [`Runtime`] is a device, ours or the application's, with one memory budget for all models on it.
//! * [`TextModel`] is a model folder that was loaded: weights, tokenizer, chat template.
//! * [`TextSession`] is one text that is being written with it, and [`Generation`] the stream of its pieces.
//!
//! Nothing here computes: the parts are those of [`gpu`](crate::gpu), [`model`](crate::model) and
//! [`text`](crate::text), which can be used by themselves. What is added is that nobody has to wait. Whatever is long
//! work on the CPU (reading and checking files, compiling kernels) is done on a thread of its own, so
//! that futures and streams can be polled anywhere, between two frames too, by any executor. Dropping one
//! ends its work.

mod error;
mod loading;
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
