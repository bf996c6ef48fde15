//! Text in and out of a language model: tokens, chat templates, and the choice of the next token.
//!
//! All of this is read from the files of a Hugging Face model folder. bantam does not trust these files: for
//! any error in them, it returns a [`TextError`] that names the file.

mod chat;
mod decoder;
mod error;
mod exp;
mod generation;
mod generation_config;
mod json_style;
mod message;
mod rendered;
mod sampling;
mod special_names;
mod special_tokens;
mod stop;
mod strftime;
mod tokenizer;

pub use chat::ChatTemplate;
pub use decoder::TextDecoder;
pub use error::TextError;
pub use generation::{End, GenerationError, Limits, Piece, StopReason, complete, generate};
pub use message::Message;
pub use sampling::{Sampler, SamplingOptions};
pub use tokenizer::Tokenizer;
