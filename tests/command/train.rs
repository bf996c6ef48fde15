//! Training by the command: what it writes, and that it goes on from any checkpoint.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::patience;
use crate::program::{json, on, on_demo, refusal, stderr, stdout};

/// A folder with data, and a place for outputs.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let line = |i: usize| format!("{{\"text\": \"the rooster {i} went out to look for corn\"}}\n");
        let lines = |from: usize, to: usize| (from..to).map(line).collect::<String>();
        std::fs::write(folder.path().join("train.jsonl"), lines(0, 60)).unwrap();
        std::fs::write(folder.path().join("valid.jsonl"), lines(60, 66)).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Trains the demo model for so many steps.
    fn train(&self, out: &str, steps: &str, more: &[&str]) -> Output {
        self.training(out, steps, more).output().unwrap()
    }

    fn training(&self, out: &str, steps: &str, more: &[&str]) -> std::process::Command {
        let (data, out) = (self.0.path().display().to_string(), self.path(out).display().to_string());
        let args = ["--data", &data, "-o", &out, "--steps", steps, "--json"];
        on_demo("train", &[&args[..], more].concat())
    }
}

/// Options of runs that are begun. Resumed ones have them from the checkpoint.
const NEW: [&str; 8] = ["--length", "24", "--batch", "2", "--lr", "2e-3", "--valid-every", "2"];

fn file(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap()
}

/// All that a later step depends on.
fn same_checkpoint(a: &Path, b: &Path) {
    for name in ["log.jsonl", "trainer.json", "model.bantam.safetensors", "config.json"] {
        assert!(file(a, name) == file(b, name), "{name}");
    }
    // SGD keeps nothing.
    let moments = |folder: &Path| std::fs::read(folder.join("trainer.moments")).ok();
    assert!(moments(a) == moments(b));
}

/// A model has one loss, of the same sequences, however many are looked at together.
#[test]
fn the_loss_of_validation_data_does_not_depend_on_batches() {
    let place = Place::new();
    let line = |i: usize| format!("{{\"text\": \"{} {i}\"}}\n", "corn ".repeat(1 + i % 7));
    std::fs::write(place.path("valid.jsonl"), (0..300).map(line).collect::<String>()).unwrap();
    let loss = |batch: &str| {
        let more = ["--length", "16", "--no-packing", "--lr", "0", "--layout", "raw", "--batch", batch];
        let said = json(&place.train(&format!("of-{batch}"), "1", &more));
        said["valid_loss"].as_f64().unwrap()
    };
    let [one, three] = ["1", "3"].map(loss);
    assert!((one - three).abs() < 1e-5, "{one} {three}");
}

#[test]
fn a_trained_model_runs_and_a_run_goes_on_bit_for_bit_in_any_layout() {
    let place = Place::new();
    let whole = json(&place.train("whole", "4", &[&NEW[..], &["--layout", "raw"]].concat()));
    let losses = whole["losses"].as_array().unwrap();
    assert!(whole["steps"] == 4 && losses.len() == 4);
    assert!(losses[3].as_f64() < losses[0].as_f64() && whole["valid_loss"].is_f64(), "{whole}");
    assert!(whole["tokens_per_second"].as_f64() > Some(0.0));

    let begun = place.train("parts", "1", &[&NEW[..], &["--layout", "fast"]].concat());
    assert!(stderr(&begun).contains("step 1: loss"), "{}", stderr(&begun));
    let first = json(&begun);
    assert!(first["losses"][0] == losses[0] && first["weights_blake3"] != whole["weights_blake3"]);
    for (steps, layout) in [("3", "tiered"), ("4", "fast")] {
        json(&place.train("parts", steps, &["--resume", "--layout", layout, "--valid-every", "2"]));
    }
    same_checkpoint(&place.path("parts"), &place.path("whole"));
    let log = String::from_utf8(file(&place.path("whole"), "log.jsonl")).unwrap();
    let entries: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let noted: Vec<bool> = entries.iter().map(|entry| entry["valid_loss"].is_f64()).collect();
    assert_eq!(noted, [false, true, false, true]);
    assert!(file(&place.path("whole"), "loss.svg").starts_with(b"<svg"));

    let text = stdout(&on("run", &place.path("whole"), &["-p", "the rooster", "-n", "4"]).output().unwrap());
    assert!(text.starts_with("the rooster"), "{text}");
    stdout(&on("verify", &place.path("whole"), &[]).output().unwrap());
}

/// Whatever the optimizer keeps comes back from a checkpoint, also in another layout.
#[test]
fn what_every_optimizer_keeps_comes_back() {
    let place = Place::new();
    for (name, optimizer) in [
        ("sgd", &["--optimizer", "sgd", "--clip", "0.5"][..]),
        ("bf16", &["--moments", "bf16"]),
        ("adalomo", &["--optimizer", "adalomo"]),
    ] {
        let (whole, parts) = (format!("{name}-whole"), format!("{name}-parts"));
        json(&place.train(&whole, "3", &[&NEW[..], optimizer, &["--layout", "raw"]].concat()));
        json(&place.train(&parts, "1", &[&NEW[..], optimizer, &["--layout", "tiered"]].concat()));
        json(&place.train(&parts, "2", &["--resume", "--layout", "raw", "--valid-every", "2"]));
        json(&place.train(&parts, "3", &["--resume", "--layout", "fast", "--valid-every", "2"]));
        same_checkpoint(&place.path(&parts), &place.path(&whole));
    }
    let said = refusal(&place.train("new", "1", &["--optimizer", "adalomo", "--clip", "1"]), 1);
    assert!(said.contains("AdaLomo limits"), "{said}");
    let said = refusal(&place.train("new", "1", &["--clip", "0"]), 2);
    assert!(said.contains("above 0"), "{said}");
}

#[test]
fn what_is_there_is_not_replaced_and_what_is_wrong_is_said() {
    let place = Place::new();
    std::fs::create_dir(place.path("there")).unwrap();
    std::fs::write(place.path("there/mine.txt"), "mine").unwrap();
    let said = refusal(&place.train("there", "1", &NEW), 1);
    assert!(said.contains("exists; --resume goes on from it, and --force replaces it"), "{said}");
    let said = refusal(&place.train("there", "1", &["--resume"]), 1);
    assert!(
        said.contains("trainer.json") && said.contains("only a folder that `bantam train` wrote"),
        "{said}"
    );
    assert_eq!(std::fs::read_dir(place.path("there")).unwrap().count(), 1);

    let said = refusal(&place.train("new", "1", &[&NEW[..], &["--max-memory", "1MiB"]].concat()), 1);
    assert!(said.contains("1048576 are left; shorter sequences"), "{said}");
    let said = refusal(&place.train("new", "1", &["--lr", "nan"]), 2);
    assert!(said.contains("finite number"), "{said}");
    let huge = [&NEW[..4], &["--lr", "1e30", "--optimizer", "sgd"]].concat();
    let said = refusal(&place.train("new", "3", &huge), 1);
    assert!(said.contains("finite") && said.contains("learning rate"), "{said}");
    std::fs::write(place.path("train.jsonl"), "{\"text\": \"fine\"}\n{\"txt\": \"not\"}\n").unwrap();
    let said = refusal(&place.train("new", "1", &NEW), 1);
    assert!(said.contains("train.jsonl") && said.contains("line 2"), "{said}");
    assert!(!place.path("new").exists());
}

#[test]
fn new_weights_are_those_of_the_seed() {
    let place = Place::new();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/config.json");
    let config = config.to_str().unwrap();
    let trained = |out, seed| {
        let init = ["--init", config, "--seed", seed, "--length", "16"];
        json(&place.train(out, "1", &init))
    };
    let (one, same, other) = (trained("one", "1"), trained("same", "1"), trained("other", "2"));
    assert!(one["weights_blake3"] == same["weights_blake3"]);
    assert!(one["weights_blake3"] != other["weights_blake3"]);
    // Nothing is known yet: every token is as likely as any other.
    let uniform = f64::ln(1024.0);
    assert!((one["losses"][0].as_f64().unwrap() - uniform).abs() < 0.1, "{one}");
    stdout(&on("run", &place.path("one"), &["-p", "a", "-n", "1"]).output().unwrap());
}

/// Whenever a process is killed, the next one goes on from the last checkpoint to the very same result.
#[cfg(unix)]
#[test]
fn a_killed_run_goes_on_from_its_last_checkpoint() {
    let place = Place::new();
    let options = [&NEW[..], &["--save-every", "1"]].concat();
    for millis in [0, 40, 150] {
        let out = format!("killed-{millis}");
        let mut child = place.training(&out, "1000", &options).spawn().unwrap();
        let state = place.path(&out).join("trainer.json");
        let there = move || state.exists();
        patience::patiently(move || {
            while !there() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        std::thread::sleep(std::time::Duration::from_millis(millis));
        child.kill().unwrap();
        child.wait().unwrap();
        let state: Value = serde_json::from_slice(&file(&place.path(&out), "trainer.json")).unwrap();
        // If it was killed while it replaced the checkpoint, the next run may begin a step later.
        let steps = (state["step"].as_u64().unwrap() + 3).to_string();
        json(&place.train(&out, &steps, &["--resume", "--save-every", "1", "--valid-every", "2"]));
        let whole = format!("whole-{millis}");
        json(&place.train(&whole, &steps, &NEW));
        same_checkpoint(&place.path(&out), &place.path(&whole));
    }
}

/// Where there is no place for the next checkpoint, the last one stays as it is, and nothing else.
#[cfg(unix)]
#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_last_one() {
    let place = Place::new();
    json(&place.train("out", "1", &NEW));
    let before: Vec<_> = files(&place.path("out"));
    let beside = std::fs::read_dir(place.0.path()).unwrap().count();
    let run = place.training("out", "2", &["--resume"]);
    // Files may have half a MiB, or a MiB where the shell counts otherwise; the weights have two.
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1000; exec \"$0\" \"$@\""]).arg(run.get_program());
    limited.args(run.get_args());
    limited.envs(run.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let said = refusal(&limited.output().unwrap(), 1);
    assert!(said.contains("cannot write") && said.contains("model.safetensors"), "{said}");
    assert!(files(&place.path("out")) == before);
    assert_eq!(std::fs::read_dir(place.0.path()).unwrap().count(), beside);
    json(&place.train("out", "2", &["--resume"]));
}

/// All files of a folder.
#[cfg(unix)]
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    all.sort();
    all
}

/// Each checkpoint is a version in a store, and comes back as it was.
#[test]
fn checkpoints_are_kept_in_a_store() {
    let place = Place::new();
    let store = place.path("store").display().to_string();
    let in_store = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bantam"));
        command.arg("store").args(args).output().unwrap()
    };
    let args = [&NEW[..], &["--save-every", "1", "--store", &store]].concat();
    assert!(refusal(&place.train("out", "2", &args), 1).contains("is not a store"));
    assert!(refusal(&place.train("no name", "2", &args), 1).contains("other characters"));
    stdout(&in_store(&["init", &store]));
    json(&place.train("out", "2", &args));
    let named = format!("{store}#org/run");
    json(&place.train("out", "3", &["--resume", "--store", &named]));
    let listed = json(&in_store(&["list", &store, "--json"]));
    let names: Vec<String> =
        listed["models"].as_array().unwrap().iter().map(|v| v["name"].to_string()).collect();
    assert_eq!(names, ["\"org/run\"", "\"out\"", "\"out\""]);
    let stats = json(&in_store(&["stats", &store, "--json"]));
    assert!(stats["saved_by"]["deltas"].as_u64() > Some(0), "{stats}");
    let back = place.path("back");
    stdout(&in_store(&["get", &store, "out@2", "--compressed", "-o", back.to_str().unwrap()]));
    let again = place.path("again");
    json(&place.train("again", "2", &NEW));
    for name in ["trainer.json", "config.json", "model.bantam.safetensors", "trainer.moments"] {
        assert!(file(&back, name) == file(&again, name), "{name}");
    }
}
