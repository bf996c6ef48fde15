//! `generation_config.json`: the sampling options that the authors of a model recommend.

use std::path::Path;

use serde::Deserialize;

use super::error::TextError;
use super::sampling::SamplingOptions;
use super::special_tokens::read_json;

/// The fields that concern the choice of tokens. `null` means that the field is missing.
#[derive(Debug, Default, Deserialize)]
struct File {
    do_sample: Option<bool>,
    temperature: Option<f32>,
    /// A number, because some files write `50.0`.
    top_k: Option<f64>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
}

impl SamplingOptions {
    /// The options that `generation_config.json` in a model folder recommends; greedy if there is no such
    /// file, or if it says `"do_sample": false`. The seed is 0.
    pub fn of_model(folder: &Path) -> Result<Self, TextError> {
        let path = folder.join("generation_config.json");
        let file: File = read_json(&path)?.unwrap_or_default();
        let options = file.options();
        options.check().map_err(|error| TextError::bad_file(&path, error))?;
        Ok(options)
    }
}

impl File {
    fn options(&self) -> SamplingOptions {
        let usual = SamplingOptions::default();
        // A temperature without `do_sample` turns sampling on here; transformers would ignore it.
        let samples = self.do_sample.unwrap_or(self.temperature.is_some());
        let temperature = if samples { self.temperature.unwrap_or(1.0) } else { 0.0 };
        SamplingOptions {
            temperature,
            // As everywhere, a value below 1 means all tokens.
            top_k: self.top_k.map_or(usual.top_k, |k| k as usize),
            top_p: self.top_p.unwrap_or(usual.top_p),
            min_p: self.min_p.unwrap_or(usual.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(usual.repetition_penalty),
            seed: usual.seed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SamplingOptions, TextError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("generation_config.json"), text).unwrap();
        SamplingOptions::of_model(folder.path())
    }

    #[test]
    fn what_the_file_says_is_taken_and_the_rest_changes_nothing() {
        let usual = SamplingOptions::default();
        let text = r#"{"do_sample": true, "temperature": 0.6, "top_k": 20.0, "top_p": 0.95, "min_p": null,
                       "repetition_penalty": 1.05, "eos_token_id": [1, 2], "transformers_version": "4"}"#;
        let options =
            SamplingOptions { temperature: 0.6, top_k: 20, top_p: 0.95, repetition_penalty: 1.05, ..usual };
        assert_eq!(read(text).unwrap(), options);
        assert_eq!(read(r#"{"do_sample": true}"#).unwrap(), SamplingOptions { temperature: 1.0, ..usual });
        assert_eq!(read(r#"{"temperature": 0.3}"#).unwrap(), SamplingOptions { temperature: 0.3, ..usual });
        assert_eq!(read(r#"{"do_sample": false, "temperature": 0.3}"#).unwrap(), usual);
        assert_eq!(read("{}").unwrap(), usual);
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(SamplingOptions::of_model(folder.path()).unwrap(), usual);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (text, why) in [
            (r#"{"temperature": -1.0}"#, "temperature is -1"),
            (r#"{"do_sample": true, "top_p": 7}"#, "top-p is 7"),
            (r#"{"temperature": "hot"}"#, "invalid type"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("generation_config.json") && error.contains(why), "{error}");
        }
    }
}
