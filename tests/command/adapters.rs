//! Adapters: trained, run, scored, fused, and refused.

use std::path::Path;

use serde_json::Value;

use crate::models::demo;
use crate::program::{json, on_demo, refusal, stdout};

/// A folder with a text that the demo model does not expect, and the adapter that was trained on it.
fn trained(more: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = "Zebras zip zigzag through the zoo. ".repeat(60);
    std::fs::write(folder.path().join("train.txt"), &text).unwrap();
    std::fs::write(folder.path().join("held-out.txt"), &text[..400]).unwrap();
    let (data, out) = (folder.path().join("train.txt"), folder.path().join("adapter"));
    let at = |path: &Path| path.display().to_string();
    let (data, out) = (at(&data), at(&out));
    let args = ["--data", &data, "-o", &out, "--steps", "6", "--length", "32", "--lr", "2e-2", "--json"];
    let said = json(&on_demo("finetune", &[&args[..], more].concat()).output().unwrap());
    assert_eq!(said["steps"], 6);
    folder
}

#[test]
fn an_adapter_lowers_the_loss_of_text_of_its_kind_and_can_be_fused() {
    let folder = trained(&[]);
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (adapter, text, fused) = (at("adapter"), at("held-out.txt"), at("fused"));
    let nll = |args: &[&str]| {
        let said = json(&on_demo("score", &[&[&text[..]], args, &["--json"]].concat()).output().unwrap());
        said["nll"].as_f64().unwrap()
    };
    let (without, with) = (nll(&[]), nll(&["--adapter", &adapter]));
    assert!(with < without - 1.0, "{without} {with}");
    for layout in [&["--raw"][..], &["--layout", "fast"], &["--layout", "tiered"]] {
        let again = nll(&[&["--adapter", &adapter], layout].concat());
        assert_eq!(again.to_bits(), with.to_bits(), "{layout:?}");
    }
    let said = stdout(&on_demo("fuse", &[&adapter, "-o", &fused]).output().unwrap());
    assert!(said.contains("35 products of rank 8") && said.contains("rounded"), "{said}");
    let of_fused = crate::program::on("score", Path::new(&fused), &[&text, "--json"]);
    let of_fused = json(&{ of_fused }.output().unwrap())["nll"].as_f64().unwrap();
    assert!((of_fused - with).abs() < 0.05, "{of_fused} {with}");
    let said = stdout(&on_demo("run", &["-p", "Zebras", "-n", "3", "--adapter", &adapter]).output().unwrap());
    assert!(said.starts_with("Zebras"), "{said}");
}

#[test]
fn adapters_that_do_not_fit_are_refused_by_name() {
    let folder = trained(&["--targets", "q_proj,down_proj", "--rank", "4"]);
    let adapter = folder.path().join("adapter");
    let (config, weights) = (adapter.join("adapter_config.json"), adapter.join("adapter_model.safetensors"));
    let (good_config, good_weights) = (std::fs::read(&config).unwrap(), std::fs::read(&weights).unwrap());
    let run =
        || on_demo("run", &["-p", "a", "-n", "1", "--adapter", adapter.to_str().unwrap()]).output().unwrap();
    stdout(&run());
    let changed = |key: &str, value: Value| {
        let mut json: Value = serde_json::from_slice(&good_config).unwrap();
        json[key] = value;
        std::fs::write(&config, json.to_string()).unwrap();
        let said = refusal(&run(), 1);
        std::fs::write(&config, &good_config).unwrap();
        said
    };
    for (key, value, said) in [
        ("peft_type", "IA3".into(), "only \"LORA\" is supported"),
        ("r", 5.into(), "but the configuration asks for"),
        ("r", (-1).into(), "whole number"),
        ("r", 1e9.into(), "whole number"),
        ("lora_alpha", "x".into(), "must be a number"),
        ("use_dora", true.into(), "use_dora is set"),
        ("bias", "all".into(), "only \"none\""),
        ("modules_to_save", vec!["lm_head"].into(), "modules_to_save is set"),
    ] {
        let got = changed(key, value);
        assert!(got.contains(said), "{key}: {got}");
    }
    // A number that is none, a file that is cut, one that is no file, and none.
    let mut strange = good_weights.clone();
    let end = strange.len();
    strange[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    for (bytes, said) in [
        (Some(strange), "not finite"),
        (Some(good_weights[..end - 10].to_vec()), "adapter_model.safetensors"),
        (Some(b"no".to_vec()), "adapter_model.safetensors"),
        (None, "adapter_model.safetensors"),
    ] {
        match bytes {
            Some(bytes) => std::fs::write(&weights, bytes).unwrap(),
            None => std::fs::remove_file(&weights).unwrap(),
        }
        let got = refusal(&run(), 1);
        assert!(got.contains(said), "{got}");
    }
    let nowhere = on_demo("fuse", &[demo().to_str().unwrap(), "-o", "nowhere"]).output().unwrap();
    assert!(refusal(&nowhere, 1).contains("adapter_config.json"));
}

/// An adapter is gone on with beside the weights that it was begun with, and beside no others.
#[test]
fn another_model_is_noticed_when_an_adapter_is_gone_on_with() {
    let folder = trained(&[]);
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (data, adapter, other) = (at("train.txt"), at("adapter"), at("other"));
    let args = ["--data", &data, "--steps", "1", "--length", "16", "-o", &other];
    stdout(&on_demo("train", &args).output().unwrap());
    let args = ["--data", &data, "--steps", "7", "--resume", "-o", &adapter];
    let said = refusal(&crate::program::on("finetune", Path::new(&other), &args).output().unwrap(), 1);
    assert!(said.contains("trained for another model"), "{said}");
    let said = stdout(&on_demo("finetune", &args).output().unwrap());
    assert!(said.contains("7 steps"), "{said}");
}
