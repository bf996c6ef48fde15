//! Reads and checks `config.json` of a Hugging Face model folder.

pub(crate) mod fields;
pub(crate) mod model_config;
pub(crate) mod named_family;
pub(crate) mod rope_settings;
