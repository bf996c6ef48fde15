//! The same models in candle, an independent implementation, on the CPU in F32.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{llama, mistral, qwen2, qwen3};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// One of candle's models.
pub enum Candle {
    Llama(llama::Llama, llama::Config),
    Mistral(mistral::Model),
    Qwen2(qwen2::ModelForCausalLM),
    Qwen3(qwen3::ModelForCausalLM),
}

impl Candle {
    pub fn open(folder: &Path) -> Self {
        let mut config: Value =
            serde_json::from_str(&std::fs::read_to_string(folder.join("config.json")).unwrap()).unwrap();
        let weights = std::fs::read(folder.join("model.safetensors")).unwrap();
        let vars = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu).unwrap();
        let architecture = config["architectures"][0].as_str().unwrap().to_string();
        match architecture.as_str() {
            "LlamaForCausalLM" => {
                let config = parse::<llama::LlamaConfig>(config).into_config(false);
                Self::Llama(llama::Llama::load(vars, &config).unwrap(), config)
            }
            "MistralForCausalLM" => {
                // A query sees one position more here than in transformers, which the executor
                // follows: `sliding_window` before its own instead of `sliding_window` in all.
                if let Some(window) = config["sliding_window"].as_u64() {
                    config["sliding_window"] = json!(window - 1);
                }
                Self::Mistral(mistral::Model::new(&parse(config), vars).unwrap())
            }
            "Qwen2ForCausalLM" => {
                // Fields that must be there though they say that there is no window; one is used
                // even so.
                let positions = config["max_position_embeddings"].clone();
                set(
                    &mut config,
                    json!({"sliding_window": positions, "max_window_layers": 0, "use_sliding_window": false}),
                );
                Self::Qwen2(qwen2::ModelForCausalLM::new(&parse(config), vars).unwrap())
            }
            "Qwen3ForCausalLM" => {
                set(
                    &mut config,
                    json!({"attention_bias": false, "max_window_layers": 0, "use_sliding_window": false}),
                );
                Self::Qwen3(qwen3::ModelForCausalLM::new(&parse(config), vars).unwrap())
            }
            other => panic!("{other}"),
        }
    }

    /// Logits of the last of `tokens`, computed at once.
    pub fn last_logits(&mut self, tokens: &[u32]) -> Vec<f32> {
        let input = input(tokens);
        let logits = match self {
            Self::Llama(model, config) => model.forward(&input, 0, &mut cache(config)),
            Self::Mistral(model) => {
                model.clear_kv_cache();
                model.forward(&input, 0)
            }
            Self::Qwen2(model) => {
                model.clear_kv_cache();
                model.forward(&input, 0)
            }
            Self::Qwen3(model) => {
                model.clear_kv_cache();
                model.forward(&input, 0)
            }
        };
        flat(logits)
    }

    /// Logits of each of `tokens`, computed one after the other.
    pub fn all_logits(&self, tokens: &[u32]) -> Vec<f32> {
        let Self::Llama(model, config) = self else { panic!("only Llama is computed stepwise") };
        let mut cache = cache(config);
        let step = |(i, &token)| flat(model.forward(&input(&[token]), i, &mut cache));
        tokens.iter().enumerate().flat_map(step).collect()
    }
}

fn parse<T: DeserializeOwned>(config: Value) -> T {
    serde_json::from_value(config).unwrap()
}

fn set(config: &mut Value, fields: Value) {
    config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
}

fn cache(config: &llama::Config) -> llama::Cache {
    llama::Cache::new(true, DType::F32, config, &Device::Cpu).unwrap()
}

fn input(tokens: &[u32]) -> Tensor {
    Tensor::new(tokens, &Device::Cpu).unwrap().unsqueeze(0).unwrap()
}

fn flat(logits: candle_core::Result<Tensor>) -> Vec<f32> {
    logits.unwrap().flatten_all().unwrap().to_vec1().unwrap()
}
