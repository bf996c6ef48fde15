//! Configurations and weights that disagree, as people have them: what is computed is what the file means, or
//! nothing.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use bantam::archive::ModelFiles;
use bantam::gpu::Gpu;
use bantam::model::{LoadOptions, Model, ModelError};
use bantam::tensor::Dtype;
use serde_json::{Value, json};

use crate::data;
use crate::device;
use crate::models::{self, all_logits, assert_same_bits, compressed};
use crate::oracle;
use crate::random_model::{self, Tensors, change, config};

const TOKENS: [u32; 9] = [1, 17, 4, 250, 4, 0, 99, 299, 7];

/// A random model in a folder.
fn random(config: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    random_model::write(folder.path(), config, Dtype::BF16);
    folder
}

fn write_config(folder: &Path, config: &Value) {
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

fn try_load(gpu: &Gpu, folder: &Path) -> Result<Arc<Model>, ModelError> {
    let files = ModelFiles::open(folder)?;
    pollster::block_on(Model::load(gpu, &files, &LoadOptions::default(), &())).map(Arc::new)
}

fn logits(gpu: &Gpu, folder: &Path) -> Vec<f32> {
    all_logits(&try_load(gpu, folder).unwrap(), &TOKENS)
}

/// A BF16 tensor of random elements.
fn tensor(seed: u64, shape: &[usize]) -> (Dtype, Vec<usize>, Vec<u8>) {
    let values = data::Random::new(seed).gaussian_f32(shape.iter().product());
    let bytes = values.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect();
    (Dtype::BF16, shape.to_vec(), bytes)
}

#[test]
fn rotations_are_those_of_the_oracle_wherever_they_are_said() {
    let gpu = device::shared();
    let plain = config(
        "LlamaForCausalLM",
        json!({"rope_theta": 700.0, "rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
    );
    let folder = random(&plain);
    let wanted = logits(&gpu, folder.path());
    let oracle = oracle::Oracle::open(folder.path()).logits(&TOKENS);
    let most = oracle.iter().zip(&wanted).map(|(a, &b)| (a - f64::from(b)).abs()).fold(0.0, f64::max);
    assert!(most < 1e-3, "{most}");
    let spelled = |changes: Value| {
        let mut config = plain.clone();
        let fields = config.as_object_mut().unwrap();
        fields.remove("rope_theta");
        fields.remove("rope_scaling");
        fields.extend(changes.as_object().unwrap().clone());
        config
    };
    let both = json!({"rope_type": "linear", "factor": 4, "rope_theta": 700});
    for changes in [
        json!({"rope_scaling": both}),
        json!({"rope_parameters": both}),
        json!({"rope_parameters": {"full_attention": both, "sliding_attention": {"rope_theta": 3.0}}}),
        json!({"rope_parameters": both, "rope_scaling": {"type": "linear", "factor": 4.0}, "rope_theta": 700.0}),
    ] {
        write_config(folder.path(), &spelled(changes.clone()));
        assert_same_bits(&wanted, &logits(&gpu, folder.path()), &changes.to_string());
    }
    // What transformers would leave out without a word.
    let changes = json!({"rope_parameters": both, "rope_scaling": {"type": "linear", "factor": 8.0}});
    write_config(folder.path(), &spelled(changes));
    let error = try_load(&gpu, folder.path()).unwrap_err().to_string();
    assert!(error.contains("rope_scaling (theta 10000, linear by 8) and rope_parameters"), "{error}");
}

#[test]
fn an_output_matrix_that_differs_from_the_embedding_is_used() {
    let gpu = device::shared();
    let untied = config("LlamaForCausalLM", json!({}));
    let tied = config("LlamaForCausalLM", json!({"tie_word_embeddings": true}));
    let folder = random(&untied);
    let wanted = logits(&gpu, folder.path());
    write_config(folder.path(), &tied);
    assert_same_bits(&wanted, &logits(&gpu, folder.path()), "plain");
    let (_temporary, small) = compressed(folder.path());
    assert_same_bits(&wanted, &logits(&gpu, &small), "compressed");
    // Within a budget, from the file.
    let files = ModelFiles::open(&small).unwrap();
    let options = LoadOptions::default().with_budget(Some(64 << 20));
    let model = pollster::block_on(Model::load(&gpu, &files, &options, &())).unwrap();
    assert_same_bits(&wanted, &all_logits(&Arc::new(model), &TOKENS), "within a budget");

    // One that is the same is not kept twice.
    let same = random(&tied);
    let wanted = logits(&gpu, same.path());
    change(same.path(), |tensors| {
        let embedding = tensors["model.embed_tokens.weight"].clone();
        tensors.insert("lm_head.weight".into(), embedding);
    });
    assert_same_bits(&wanted, &logits(&gpu, same.path()), "the same, plain");
    let (_temporary, small) = compressed(same.path());
    assert_same_bits(&wanted, &logits(&gpu, &small), "the same, compressed");
    assert!(try_load(&gpu, same.path()).unwrap().config().tied);
}

#[test]
fn a_tensor_that_would_not_be_read_is_refused_by_name() {
    let gpu = device::shared();
    let plain = config("LlamaForCausalLM", json!({}));
    let refused = |name: &str, shape: &[usize], hint: &str| {
        let folder = random(&plain);
        change(folder.path(), |tensors| {
            tensors.insert(name.into(), tensor(1, shape));
        });
        let (_temporary, small) = compressed(folder.path());
        for folder in [folder.path(), &small] {
            let error = try_load(&gpu, folder).unwrap_err();
            assert!(matches!(error, ModelError::UnreadTensor { .. }), "{error}");
            let text = error.to_string();
            assert!(
                text.starts_with(&format!("tensor {name} is in the file")) && text.contains(hint),
                "{text}"
            );
            let files = ModelFiles::open(folder).unwrap();
            let planned = Model::plan(&gpu, &files, &LoadOptions::default());
            assert_eq!(planned.unwrap_err().to_string(), text);
        }
    };
    refused("model.layers.1.self_attn.q_proj.bias", &[80], "\"attention_bias\" is true");
    refused("model.layers.0.mlp.down_proj.bias", &[80], "\"mlp_bias\" is true");
    refused("model.layers.2.self_attn.q_norm.weight", &[8], "Qwen3ForCausalLM");
    refused("model.layers.3.input_layernorm.weight", &[80], "num_hidden_layers is 3");
    refused("model.norm.bias", &[80], "another architecture");
    refused("lm_head.bias", &[300], "another architecture");
    refused("model.layers.0.mlp.gate_proj.weight_scale", &[1], "quantised");
    refused("model.layers.0.pre_feedforward_layernorm.weight", &[80], "another architecture");

    // Announced, they are used.
    let announced = config("LlamaForCausalLM", json!({"attention_bias": true, "mlp_bias": true}));
    let folder = random(&announced);
    let wanted = logits(&gpu, folder.path());
    write_config(folder.path(), &plain);
    let error = try_load(&gpu, folder.path()).unwrap_err().to_string();
    assert!(error.contains("model.layers.0.mlp.down_proj.bias (and 20 more) is in the file"), "{error}");
    write_config(folder.path(), &announced);
    assert_same_bits(&wanted, &logits(&gpu, folder.path()), "with biases");
    // What is asked for and not there is named too, before anything is uploaded.
    change(folder.path(), |tensors| {
        tensors.remove("model.layers.2.mlp.up_proj.bias");
    });
    let error = try_load(&gpu, folder.path()).unwrap_err().to_string();
    assert!(error.contains("model.layers.2.mlp.up_proj.bias"), "{error}");
}

/// `bantam run` of a few tokens, with the demo's tokenizer.
fn run(folder: &Path) -> Output {
    let tokenizer = models::demo().join("tokenizer.json");
    std::fs::copy(tokenizer, folder.join("tokenizer.json")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
    command.arg("run").arg(folder).args(["-p", "The goat", "-n", "2", "--json"]).output().unwrap()
}

#[track_caller]
fn said_by_run(folder: &Path) -> String {
    let output = run(folder);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn what_is_not_used_or_not_as_it_is_said_is_told() {
    let folder = random(&config("LlamaForCausalLM", json!({"vocab_size": 1024})));
    let add = |names: &[&str]| {
        change(folder.path(), |tensors: &mut Tensors| {
            tensors.extend(names.iter().map(|name| (name.to_string(), tensor(2, &[4]))));
        });
    };
    // Tables of rotations, of older files, are computed anew.
    add(&["model.layers.0.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq"]);
    let said = said_by_run(folder.path());
    assert!(!said.contains("warning"), "{said}");
    add(&["score.weight", "visual.patch_embed.weight", "model.layers.0.self_attn.rotary_emb.cos_cached"]);
    let said = said_by_run(folder.path());
    let names = "model.layers.0.self_attn.rotary_emb.cos_cached, score.weight, visual.patch_embed.weight";
    assert!(said.contains("warning: ") && said.contains("not used") && said.contains(names), "{said}");
    let many: Vec<String> = (0..9).map(|i| format!("vision.{i}")).collect();
    add(&many.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said_by_run(folder.path()).contains(" and 7 more"));

    let tied = config("LlamaForCausalLM", json!({"vocab_size": 1024, "tie_word_embeddings": true}));
    write_config(folder.path(), &tied);
    let said = said_by_run(folder.path());
    assert!(
        said.contains("warning: ") && said.contains("lm_head.weight differs from model.embed_tokens.weight"),
        "{said}"
    );
}

#[test]
fn a_sparse_configuration_gives_the_same_model() {
    let gpu = device::shared();
    let full = config("LlamaForCausalLM", json!({"num_key_value_heads": 10, "rms_norm_eps": 1e-6}));
    let folder = random(&full);
    let wanted = logits(&gpu, folder.path());
    let sparse = json!({
        "model_type": "llama", "hidden_size": 80.0, "intermediate_size": 172, "num_hidden_layers": 3,
        "num_attention_heads": 10, "vocab_size": 300.0, "attention_bias": null, "sliding_window": false,
        "rope_scaling": null, "head_dim": null, "max_position_embeddings": 256,
    });
    write_config(folder.path(), &sparse);
    assert_same_bits(&wanted, &logits(&gpu, folder.path()), "sparse");
}
