//! The program, run as people run it, and what it prints.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::models::demo;

pub const PROMPT: &str = "The little rooster";

/// The command, which keeps nothing and runs on the device that `BANTAM_DEVICE` names.
pub fn command(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
    // A layer of Mesa's complains on standard error where there is no display.
    command.env("BANTAM_CACHE", "").env("NODEVICE_SELECT", "1").env_remove("RUST_LOG").arg(name).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A command that has the demo model.
pub fn on_demo(name: &str, args: &[&str]) -> Command {
    on(name, &demo(), args)
}

pub fn on(name: &str, model: &Path, args: &[&str]) -> Command {
    let mut command = command(name, &[]);
    command.arg(model).args(args);
    command
}

/// What a command prints that reads `input`.
pub fn fed(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // It may end before it has read everything.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
pub fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
pub fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap()
}

/// What is said of a command that fails with this exit code.
#[track_caller]
pub fn refusal(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    stderr(output)
}

/// The demo model with an end of text that it never chooses, so that it goes on and on.
pub fn endless() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(demo()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        if !name.ends_with(".json") {
            std::fs::copy(&path, folder.path().join(name)).unwrap();
            continue;
        }
        let mut json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        match name.as_str() {
            "config.json" => {
                json["eos_token_id"] = Value::Null;
                json["max_position_embeddings"] = 16384.into();
            }
            "tokenizer_config.json" => {
                json["eos_token"] = "<pad>".into();
            }
            _ => {}
        }
        std::fs::write(folder.path().join(name), json.to_string()).unwrap();
    }
    folder
}
