//! Signals, and readers that close a pipe.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use serde_json::Value;

#[cfg(target_os = "linux")]
use crate::left_out;
use crate::models::demo;
use crate::patience;
use crate::program::{PROMPT, command, endless, on, on_demo, stderr};

fn signal(child: &std::process::Child, name: &str) {
    let kill = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
}

/// Starts a command and waits for the first that it prints.
fn begun(mut command: Command) -> std::process::Child {
    let mut child = command.spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    child
}

#[test]
fn one_signal_ends_a_text_with_its_code_and_its_statistics() {
    let model = endless();
    for (name, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let child = begun(on("run", model.path(), &["-p", PROMPT, "-n", "16000"]));
        signal(&child, name);
        let output = patience::patiently(move || child.wait_with_output().unwrap());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let said = stderr(&output);
        assert!(said.contains("prompt tokens") && said.contains("(interrupted)"), "{said}");
        assert!(!said.contains("error") && !said.contains("not written"), "{said}");
        assert!(output.stdout.ends_with(b"\n"), "{output:?}");
    }
}

#[test]
fn a_signal_ends_a_prompt_and_a_wait_for_one() {
    // Thousands of tokens, in many batches.
    let model = endless();
    let long = "The little rooster went to the market. ".repeat(1200);
    let mut slow = on("run", model.path(), &["-p", "-", "-n", "1"]);
    let mut child = slow.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(long.as_bytes()).unwrap();
    drop(stdin);
    // What is gone on from is shown when the model is there.
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let mut rest = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || rest.read_to_end(&mut Vec::new()).unwrap());
    signal(&child, "-INT");
    let output = patience::patiently(move || child.wait_with_output().unwrap());
    reader.join().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let said = stderr(&output);
    assert!(said.contains(" 0 generated") && said.contains("(interrupted)"), "{said}");

    // Nothing ever comes.
    let mut command = on_demo("run", &["-p", "-"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take();
    // It listens before it reads: until then, a signal ends it in the usual way.
    std::thread::sleep(std::time::Duration::from_millis(300));
    signal(&child, "-INT");
    let output = patience::patiently(move || child.wait_with_output().unwrap());
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    drop(stdin);
}

/// Whether the process's first thread waits in a system call that writes to standard output; `None` where the system
/// does not tell.
#[cfg(target_os = "linux")]
fn is_writing(child: &std::process::Child) -> Option<bool> {
    let call = std::fs::read_to_string(format!("/proc/{}/syscall", child.id())).ok()?;
    let write = if cfg!(target_arch = "x86_64") { "1" } else { "64" };
    Some(call.starts_with(&format!("{write} 0x1 ")))
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_ends_a_text_that_nobody_reads() {
    // The pipe has room for some words more.
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[b'.'; 65_500]).unwrap();
    let model = endless();
    let mut command = on("run", model.path(), &["-p", PROMPT, "-n", "16000"]);
    let mut child = command.stdout(writer).spawn().unwrap();
    loop {
        let Some(is_writing) = is_writing(&child) else {
            left_out::report(
                "ending a text that nobody reads",
                "the system does not say what a process waits for",
            );
            child.kill().unwrap();
            child.wait().unwrap();
            return;
        };
        if is_writing {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    signal(&child, "-INT");
    let output = patience::patiently(move || child.wait_with_output().unwrap());
    assert_eq!((output.status.code(), output.stderr.is_empty()), (Some(130), true), "{output:?}");
    drop(reader);
}

#[test]
fn a_score_that_is_interrupted_says_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.txt");
    std::fs::write(&text, "The little rooster went to the market. ".repeat(20_000)).unwrap();
    // How long it takes until the first tokens are scored is the device's affair.
    for tries in 0..8 {
        let args = [text.to_str().unwrap(), "--context", "64", "--json"];
        let child = on_demo("score", &args).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(500 << tries));
        signal(&child, "-INT");
        let output = patience::patiently(move || child.wait_with_output().unwrap());
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        assert!(!stderr(&output).contains("error"), "{output:?}");
        if !output.stdout.is_empty() {
            let score: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(score["interrupted"], true, "{score}");
            assert!(score["nll"].as_f64() > Some(0.0) && score["tokens"].as_u64() > Some(0), "{score}");
            return;
        }
    }
    panic!("nothing was scored");
}

#[test]
fn a_reader_that_has_enough_ends_a_text_quietly() {
    let model = endless();
    let mut child = begun(on("run", model.path(), &["-p", PROMPT, "-n", "16000"]));
    drop(child.stdout.take());
    let output = patience::patiently(move || child.wait_with_output().unwrap());
    assert_eq!(output.status.code(), Some(141), "{output:?}");
    let said = stderr(&output);
    assert!(said.contains("(the reader closed the output)") && !said.contains("error"), "{said}");
    // And one that has enough of data.
    let weights = demo().join("model.safetensors");
    let mut compress = command("compress", &[weights.to_str().unwrap(), "-o", "-"]);
    let mut child = compress.spawn().unwrap();
    drop(child.stdout.take());
    let output = patience::patiently(move || child.wait_with_output().unwrap());
    assert_eq!((output.status.code(), output.stderr.is_empty()), (Some(141), true), "{output:?}");
}
