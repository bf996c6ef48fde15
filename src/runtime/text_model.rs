//! A loaded model with its tokenizer and chat template.

use std::sync::Arc;

use super::error::RuntimeError;
use super::loading::Parts;
use super::start::Runtime;
use crate::archive::ModelFiles;
use crate::model::Model;
use crate::text::{ChatTemplate, Message, Tokenizer};

/// A loaded model folder. Clones share it. Dropping the last clone and the last session frees its memory.
#[derive(Debug, Clone)]
pub struct TextModel {
    parts: Arc<Parts>,
    // Drop after the model: the device must go last.
    runtime: Runtime,
}

impl TextModel {
    pub(super) fn new(runtime: Runtime, parts: Parts) -> Self {
        Self { parts: Arc::new(parts), runtime }
    }

    /// The tokens of a conversation, up to the point where the model answers. This computes on the calling
    /// thread, which takes long for a long conversation; [`TextSession::answer`](super::TextSession::answer)
    /// uses a worker thread.
    pub fn conversation(&self, messages: &[Message]) -> Result<Vec<u32>, RuntimeError> {
        Ok(self.require_template()?.encode(self.tokenizer(), messages, true)?)
    }

    /// The chat template, or an error if the model has none.
    pub(super) fn require_template(&self) -> Result<&Arc<ChatTemplate>, RuntimeError> {
        let no_template = || RuntimeError::NoChatTemplate { folder: self.parts.files.folder().into() };
        self.parts.template.as_ref().ok_or_else(no_template)
    }

    /// The weights. Their [`Model::gpu`] counts the memory of this model and its sessions.
    pub fn model(&self) -> &Arc<Model> {
        &self.parts.model
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.parts.tokenizer
    }

    /// The chat template; `None` if the model is not made for chatting.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.parts.template.as_deref()
    }

    /// The files that the model was loaded from.
    pub fn files(&self) -> &ModelFiles {
        &self.parts.files
    }

    /// The runtime that loaded the model.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }
}
