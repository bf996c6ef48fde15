//! The commands, and what they print.

use std::process::Command;

use serde_json::Value;

use crate::{Place, files, model};

fn bantam(args: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_bantam")).arg("store").args(args).output().unwrap()
}

fn json(args: &[&str]) -> Value {
    let output = bantam(&[args, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_first_hour_with_a_store() {
    let place = Place::with_store();
    let at = |name: &str| place.at(name).display().to_string();
    let [store, base, tuned, out] = ["other", "base", "tuned", "out"].map(at);
    model(&place.at("base"), 1, 0, 100);
    model(&place.at("tuned"), 1, 1, 100);
    assert!(bantam(&["init", &store]).status.success());
    let said = json(&["add", &store, &base]);
    assert!(
        said["original_bytes"].as_u64() > said["stored_bytes"].as_u64() && said["seconds"].is_number(),
        "{said}"
    );
    // What will be done is said before: the tokenizer is there, and weights are compared to what they were.
    let planned = json(&["plan", &store, &tuned]);
    assert_eq!(planned["base"], "base@1", "{planned}");
    assert!(planned["there_bytes"].as_u64() > Some(0), "{planned}");
    assert_eq!(json(&["list", &store])["models"].as_array().unwrap().len(), 1);
    let said = json(&["add", &store, &tuned, "--name", "org/tuned", "--base", "base@1"]);
    assert_eq!(planned["original_bytes"], said["original_bytes"]);
    let [predicted, written] = [&planned, &said].map(|said| said["stored_bytes"].as_f64().unwrap());
    assert!((predicted - written).abs() < 0.02 * written, "{predicted} {written}");
    assert_eq!(json(&["plan", &store, &tuned])["stored_bytes"], 0);
    assert_eq!((&said["name"], &said["version"]), (&"org/tuned".into(), &1.into()));
    let said = json(&["list", &store]);
    assert_eq!(said["models"].as_array().unwrap().len(), 2);
    let said = json(&["show", &store, "org/tuned"]);
    assert_eq!(said["files"].as_array().unwrap().len(), 4, "{said}");
    let said = json(&["stats", &store]);
    for key in ["dedup", "deltas", "coding"] {
        assert!(said["saved_by"][key].as_u64() > Some(0), "{said}");
    }
    assert_eq!(said["families"][0]["models"].as_array().unwrap().len(), 2, "{said}");
    let picture = place.at("picture.svg").display().to_string();
    json(&["stats", &store, "--picture", &picture]);
    let drawn = std::fs::read_to_string(&picture).unwrap();
    assert!(
        drawn.starts_with("<svg") && drawn.contains("base@1") && drawn.contains("org/tuned@1"),
        "{drawn}"
    );
    for part in ["1/2", "2/2"] {
        assert_eq!(json(&["check", &store, "--read", part])["ok"], true);
    }
    let said = json(&["check", &store, "--full"]);
    assert_eq!((&said["ok"], said["failures"].as_array().unwrap().len()), (&true.into(), 0));
    let said = json(&["get", &store, "org/tuned", "-o", &out]);
    assert!(said["stored_bytes"].as_u64() > Some(0), "{said}");
    assert!(files(&place.at("out")) == files(&place.at("tuned")));
    for words in [&["list", &store][..], &["show", &store, "base"], &["stats", &store], &["check", &store]] {
        let output = bantam(words);
        assert!(output.status.success() && !output.stdout.is_empty(), "{words:?}");
    }
    let said = json(&["optimize", &store]);
    assert_eq!(
        (&said["families"], &said["changed_families"], &said["recoded_pieces"]),
        (&1.into(), &0.into(), &0.into())
    );
    assert!(said["before_bytes"] == said["after_bytes"] && said["collected"]["deleted_packs"] == 0, "{said}");
    let output = bantam(&["optimize", &store]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 families, better bases for 0"));
    assert!(bantam(&["rm", &store, "base"]).status.success());
    // The tuned one is a difference to it.
    let said = json(&["gc", &store, "--expire", "0.5"]);
    for key in ["deleted_packs", "deleted_bytes", "kept_bytes", "waiting_packs"] {
        assert_eq!(said[key], 0, "{said}");
    }
    assert!(said["open_sessions"].is_array() && said["expired_sessions"].is_array());
    std::fs::write(place.at("other/sessions/0123"), b"").unwrap();
    let output = bantam(&["gc", &store, "--expire", "0"]);
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && lines.contains("session 0123: ended") && lines.contains("0 packs deleted"),
        "{lines}"
    );
    assert_eq!(bantam(&["gc", &store, "--expire", "soon"]).status.code(), Some(2));
    // Errors name what they are about.
    for (args, words) in [
        (&["get", &store, "base", "-o", "/nowhere/x"][..], "there is no model base"),
        (&["get", &store, "org/tuned", "-o", &out], "exists already"),
        (&["list", &base], "is not a store"),
        (&["plan", &store, "/nowhere"], "/nowhere"),
        (&["stats", &store, "--picture", "/nowhere/x.svg"], "/nowhere/x.svg"),
        (&["add", &store, "/nowhere"], "/nowhere"),
    ] {
        let output = bantam(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(words), "{args:?}: {said}");
    }
    // A folder of models, one of which cannot be added.
    std::fs::create_dir_all(place.at("many/good")).unwrap();
    std::fs::copy(place.at("base/model.safetensors"), place.at("many/good/model.safetensors")).unwrap();
    std::fs::create_dir_all(place.at("many/a name")).unwrap();
    std::fs::copy(place.at("base/model.safetensors"), place.at("many/a name/model.safetensors")).unwrap();
    let output = bantam(&["ingest", &store, &at("many"), "--part", "1/1"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("is no name for a model"), "{said}");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(lines.contains("good@1: ") && lines.contains("1 models are there, 1 failed"), "{lines}");
    assert_eq!(bantam(&["ingest", &store, &at("many"), "--part", "0/4"]).status.code(), Some(2));
    // Damaged packs make the check fail.
    for pack in files(&place.at("other")).into_keys().filter(|name| name.starts_with("packs")) {
        let path = place.at("other").join(pack);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.iter_mut().skip(300).step_by(900).for_each(|byte| *byte ^= 1);
        std::fs::write(&path, bytes).unwrap();
    }
    let output = bantam(&["check", &store, "--full", "--json"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &said["ok"]), (Some(1), &false.into()), "{said}");
    assert!(said["failures"][0]["object"].is_string() && said["failures"][0]["error"].is_string());
}

/// As the folder that was added runs. What it is restored to is gone when the command ends, whatever becomes of it.
#[test]
fn a_model_of_a_store_runs() {
    let place = Place::with_store();
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo");
    let store = place.at("store").display().to_string();
    assert!(bantam(&["add", &store, demo, "--name", "org/demo"]).status.success());
    let tmp = place.at("tmp");
    std::fs::create_dir(&tmp).unwrap();
    let run = |model: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
        command.args(["run", model, "--prompt", "The little rooster", "--tokens", "8", "--temperature", "0"]);
        let output = command.env("TMPDIR", &tmp).output().unwrap();
        assert!(std::fs::read_dir(&tmp).unwrap().next().is_none(), "a folder is left");
        output
    };
    let of_store = run(&format!("{store}#org/demo"));
    assert!(of_store.status.success(), "{}", String::from_utf8_lossy(&of_store.stderr));
    assert!(!of_store.stdout.is_empty() && of_store.stdout == run(demo).stdout);
    let none = run(&format!("{store}#org/other"));
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&none.stderr).contains("there is no model org/other"));
}
