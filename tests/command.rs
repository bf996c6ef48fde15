//! The command as people use it: prompts, limits, signals, pipes, and what it says.
#![cfg(feature = "cli")]
#![cfg(feature = "cli")]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

mod models;
#[cfg(unix)]
mod patience;
use models::demo;

const PROMPT: &str = "The little rooster";

/// The command, which keeps nothing and runs on the device that `BANTAM_DEVICE` names.
fn command(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
    // A layer of Mesa's complains on standard error where there is no display.
    command.env("BANTAM_CACHE", "").env("NODEVICE_SELECT", "1").env_remove("RUST_LOG").arg(name).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A command that has the demo model.
fn on_demo(name: &str, args: &[&str]) -> Command {
    on(name, &demo(), args)
}

fn on(name: &str, model: &Path, args: &[&str]) -> Command {
    let mut command = command(name, &[]);
    command.arg(model).args(args);
    command
}

/// What a command prints that reads `input`.
fn fed(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // It may end before it has read everything.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap()
}

/// What is said of a command that fails with this exit code.
#[track_caller]
fn refusal(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    stderr(output)
}

/// The demo model with an end of text that it never chooses, so that it goes on and on.
fn endless() -> tempfile::TempDir {
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

#[test]
fn run_says_how_its_text_ended() {
    for (args, reason, generated) in [
        (&["-n", "5"][..], "length", Some(5)),
        (&["-n", "300"], "eos", None),
        (&["--stop", "and he lived"], "stop", None),
        (&["--context", "10", "-n", "300"], "context", None),
    ] {
        let result = json(&on_demo("run", &[&["-p", PROMPT, "--json"], args].concat()).output().unwrap());
        assert_eq!(result["stop_reason"], reason, "{result}");
        let tokens = result["generated_tokens"].as_u64().unwrap();
        assert!(tokens > 0 && generated.is_none_or(|generated| generated == tokens), "{result}");
        match reason {
            "stop" => assert_eq!(result["text"], " was called Bantam, "),
            "context" => assert_eq!(result["prompt_tokens"].as_u64().unwrap() + tokens, 11, "{result}"),
            _ => assert!(result["seed"].is_null()),
        }
    }
}

#[test]
fn compiling_is_told_apart_and_is_in_no_rate() {
    let number = |result: &Value, name: &str| match result[name].as_f64() {
        Some(number) => number,
        None => panic!("{name} is not in {result}"),
    };
    let start = std::time::Instant::now();
    let result = json(&on_demo("run", &["-p", PROMPT, "-n", "9", "--json"]).output().unwrap());
    let whole = start.elapsed().as_secs_f64();
    let (compiling, tokens) = (number(&result, "compile_seconds"), number(&result, "generated_tokens"));
    let prompt = number(&result, "prompt_tokens") / number(&result, "prefill_tokens_per_second");
    let reply = (tokens - 1.0) / number(&result, "tokens_per_second");
    assert!(compiling > 0.0 && tokens == 9.0, "{result}");
    // What is counted in both would make the parts more than the whole.
    assert!(prompt + reply + compiling <= whole, "{prompt} + {reply} + {compiling} > {whole}: {result}");

    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.txt");
    std::fs::write(&text, "The little rooster was called Bantam, and he lived by the sea.").unwrap();
    let start = std::time::Instant::now();
    let result = json(&on_demo("score", &[text.to_str().unwrap(), "--json"]).output().unwrap());
    let whole = start.elapsed().as_secs_f64();
    let scoring = number(&result, "tokens") / number(&result, "tokens_per_second");
    let compiling = number(&result, "compile_seconds");
    assert!(compiling > 0.0 && scoring + compiling <= whole, "{scoring} + {compiling} > {whole}: {result}");
}

#[test]
fn a_context_that_the_device_cannot_have_is_refused_before_anything_is_loaded() {
    let model = endless();
    let path = model.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    // More than can be counted, on any device.
    config["max_position_embeddings"] = 20_000_000.into();
    std::fs::write(&path, config.to_string()).unwrap();
    let long = ["--context", "20000000"];
    let run = [&["-p", PROMPT, "-n", "20000000"], &long[..]].concat();
    for output in [
        on("run", model.path(), &run).output().unwrap(),
        fed(on("chat", model.path(), &long), b"Hello\n"),
        on("plan", model.path(), &long).output().unwrap(),
    ] {
        let why = refusal(&output, 1);
        assert!(why.contains("a context of 20000000 positions is too long"), "{why}");
        assert!(why.contains("on this device a session of this model has at most "), "{why}");
    }
    assert!(
        stdout(&on("run", model.path(), &["-p", PROMPT, "-n", "2"]).output().unwrap()).starts_with(PROMPT)
    );
}

#[test]
fn a_prompt_that_there_is_no_room_for_is_refused_with_numbers() {
    let long = "The little rooster went to the market. ".repeat(300);
    let why = refusal(&on_demo("run", &["-p", &long, "--json"]).output().unwrap(), 1);
    assert!(why.starts_with("error: the prompt is ") && why.contains("made for 512"), "{why}");
    let why = refusal(&on_demo("run", &["-p", PROMPT, "--context", "2"]).output().unwrap(), 1);
    assert!(why.contains("--context is 2"), "{why}");
    let why = refusal(&on_demo("run", &["-p", PROMPT, "--chat", "--context", "2"]).output().unwrap(), 1);
    assert!(why.contains("--context is 2"), "{why}");
    // A megabyte is more than an argument may be.
    let megabyte = "A little goat. ".repeat(70_000);
    let why = refusal(&fed(on_demo("run", &["-n", "1"]), megabyte.as_bytes()), 1);
    assert!(why.starts_with("error: the prompt is ") && why.contains("shorten it"), "{why}");
    let said = on_demo("run", &["-p", PROMPT, "-n", "1", "--context", "600"]).output().unwrap();
    assert!(stderr(&said).contains("warning: the model was made for 512 positions"), "{}", stderr(&said));
}

#[test]
fn prompts_come_as_people_pass_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prompt.txt");
    let list = "- a list item";
    std::fs::write(&path, format!("{list}\n")).unwrap();
    let path = path.to_str().unwrap();
    let run = |args: &[&str]| on_demo("run", &[args, &["-n", "2"]].concat());
    let input = format!("{list}\r\n");
    let input = input.as_bytes();
    let wanted = stdout(&run(&["-p", list]).output().unwrap());
    assert!(wanted.starts_with(list) && wanted.ends_with('\n'), "{wanted}");
    for output in [
        run(&["-p", list]).output().unwrap(),
        run(&["--prompt=- a list item"]).output().unwrap(),
        run(&["-f", path]).output().unwrap(),
        fed(run(&["-p", "-"]), input),
        fed(run(&["-f", "-"]), input),
        fed(run(&[]), input),
        // Standard input is not asked for what is there already.
        fed(run(&["-p", list]), b"something else"),
    ] {
        assert_eq!(stdout(&output), wanted);
    }
    let why = refusal(&run(&[]).output().unwrap(), 1);
    assert!(why.contains("standard input has no prompt"), "{why}");
    let why = refusal(&fed(run(&["-p", "-"]), b"no\xffne"), 1);
    assert!(why.contains("standard input is not UTF-8: byte 2"), "{why}");
    let why = refusal(&run(&["-f", "no-such-file"]).output().unwrap(), 1);
    assert!(why.contains("cannot open no-such-file"), "{why}");
    refusal(&run(&["-p", list, "-f", path]).output().unwrap(), 2);
    let why = refusal(&run(&["-p", list, "--system", "Be brief."]).output().unwrap(), 1);
    assert!(why.contains("add --chat"), "{why}");
}

#[test]
fn a_random_choice_can_be_repeated_by_its_seed() {
    let run = |args: &[&str]| {
        let args = [&["-p", PROMPT, "-n", "12", "--temperature", "1.5"], args].concat();
        on_demo("run", &args).output().unwrap()
    };
    let first = json(&run(&["--json"]));
    let seed = first["seed"].as_u64().unwrap().to_string();
    let second = run(&["--seed", &seed]);
    // Chance may choose control characters, which a screen is spared: JSON has them as they are.
    let repeated = json(&run(&["--seed", &seed, "--json"]));
    assert_eq!((&repeated["text"], &repeated["seed"]), (&first["text"], &first["seed"]));
    assert!(stdout(&second).starts_with(PROMPT), "{}", stdout(&second));
    assert!(stderr(&second).contains(&format!("seed {seed};")), "{}", stderr(&second));
    assert_ne!(json(&run(&["--json"]))["seed"], first["seed"]);
    let in_vain = on_demo("run", &["-p", PROMPT, "-n", "1", "--top-p", "0.5"]).output().unwrap();
    assert!(stderr(&in_vain).contains("--top-p has no effect"), "{}", stderr(&in_vain));
    for (args, why) in [
        (["--min-p", "2"], "min-p is 2"),
        (["--repetition-penalty", "0"], "repetition penalty is 0"),
        (["--temperature", "-1"], "temperature is -1"),
    ] {
        let output = on_demo("run", &["-p", PROMPT]).args(args).output().unwrap();
        assert!(!output.status.success() && stderr(&output).contains(why), "{}", stderr(&output));
    }
    refusal(&on_demo("run", &["-p", PROMPT, "--stop", ""]).output().unwrap(), 2);
}

#[cfg(unix)]
mod signals {
    use super::*;

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
}

#[test]
fn a_configuration_is_warned_about_once() {
    let model = endless();
    let path = model.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["model_type"] = "of_my_own".into();
    std::fs::write(&path, config.to_string()).unwrap();
    for output in [
        on("run", model.path(), &["-p", PROMPT, "-n", "1"]).output().unwrap(),
        on("plan", model.path(), &[]).output().unwrap(),
        fed(on("chat", model.path(), &["-n", "1"]), b"Hello\n"),
    ] {
        stdout(&output);
        assert_eq!(stderr(&output).matches("model_type is of_my_own").count(), 1, "{}", stderr(&output));
    }
}

#[test]
fn an_error_begins_a_line_of_its_own() {
    let model = endless();
    // The tokenizer has a token that the model has not: found out in the middle of a text.
    let path = model.path().join("tokenizer.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let mut token = json["added_tokens"][0].clone();
    token["id"] = 5000.into();
    token["content"] = "<beyond>".into();
    json["added_tokens"].as_array_mut().unwrap().push(token);
    std::fs::write(&path, json.to_string()).unwrap();
    let output = on("run", model.path(), &["-p", "A goat<beyond>"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(output.stdout, b"A goat<beyond>\n");
    assert!(stderr(&output).starts_with("error: token "), "{}", stderr(&output));
}

#[test]
fn a_conversation_is_read_line_by_line_where_nobody_types() {
    let lines = "Tell me a story about a goat.\n\n/nonsense\n";
    let output = fed(on_demo("chat", &["-n", "6", "--stats"]), lines.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("error: there is no command /nonsense"), "{}", stderr(&output));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("talk.json");
    let lines = format!("Tell me a story \\\nabout a goat.\nAnd then?\n/save {}\n", path.display());
    let output = fed(on_demo("chat", &["-n", "6", "--stats", "--temperature", "0"]), lines.as_bytes());
    let replies = stdout(&output);
    let replies: Vec<&str> = replies.lines().collect();
    assert_eq!(replies.len(), 2, "{replies:?}");
    // Of the second, what came before is there already.
    assert!(stderr(&output).contains("already computed)"), "{}", stderr(&output));
    let saved: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let said = |i: usize| (saved["messages"][i]["role"].clone(), saved["messages"][i]["content"].clone());
    assert_eq!(said(0), ("user".into(), "Tell me a story \nabout a goat.".into()));
    assert_eq!(said(1), ("assistant".into(), replies[0].into()));
    assert_eq!(said(2), ("user".into(), "And then?".into()));
    assert_eq!(said(3), ("assistant".into(), replies[1].into()));

    let long = "a goat and ".repeat(400) + "\n";
    let output = fed(on_demo("chat", &[]), long.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("the context holds 512"), "{}", stderr(&output));
}

#[test]
fn a_conversation_has_what_the_models_makers_recommend_and_what_is_asked_for() {
    let model = endless();
    let config = model.path().join("generation_config.json");
    std::fs::write(&config, r#"{"do_sample": true, "temperature": 1.0, "top_k": 1}"#).unwrap();
    let template = serde_json::json!({
        "chat_template": "{% if shout %}LOUD {% endif %}{% for m in messages %}{{ m.content }}{% endfor %}"
    });
    let path = model.path().join("tokenizer_config.json");
    std::fs::write(path, template.to_string()).unwrap();
    // Of one candidate, chance chooses what is likeliest.
    let line = PROMPT.to_string() + "\n";
    let chat = |args: &[&str]| {
        let output = fed(on("chat", model.path(), &[&["-n", "8"], args].concat()), line.as_bytes());
        (stdout(&output), stderr(&output))
    };
    let run = stdout(&on("run", model.path(), &["-p", PROMPT, "-n", "8"]).output().unwrap());
    let (reply, said) = chat(&[]);
    // The template does not write what a text begins with, but the words are the same.
    assert!(!reply.trim().is_empty() && !run.is_empty() && said.contains("see -n"), "{reply} {said}");
    assert_eq!(chat(&["--temperature", "0"]).0, reply);
    assert_ne!(chat(&["--top-k", "0", "--temperature", "9", "--seed", "3"]).0, reply);
    let (loud, said) = chat(&["--template-arg", "shout=true", "--temperature", "0"]);
    assert!(loud != reply && !said.contains("no effect"), "{said}");
    let (_, said) = chat(&["--template-arg", "shot=true"]);
    assert!(said.contains("no variable shot"), "{said}");
    std::fs::write(&config, r#"{"temperature": -1}"#).unwrap();
    let why = refusal(&fed(on("chat", model.path(), &[]), b"Hello\n"), 1);
    assert!(why.contains("generation_config.json"), "{why}");
    let why = stderr(&fed(on_demo("chat", &["-n", "1", "--system", "Be brief."]), b"Hello\n"));
    assert!(why.contains("ignores the system message"), "{why}");
}

#[cfg(unix)]
mod terminal {
    use rexpect::reader::Options;
    use rexpect::session::{PtySession, spawn_with_options};

    use super::*;

    /// Runs a command on a terminal of its own.
    fn on_terminal(name: &str, model: &Path, args: &[&str]) -> PtySession {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
        command.env("BANTAM_CACHE", "").env("TERM", "xterm").arg(name).arg(model).args(args);
        let options = Options::new().timeout_ms(Some(60_000)).strip_ansi_escape_codes(true);
        spawn_with_options(command, options).unwrap()
    }

    /// Types a line and Enter.
    fn enter(session: &mut PtySession, line: &str) {
        session.send(line).unwrap();
        session.send("\r").unwrap();
        session.flush().unwrap();
    }

    fn press_control(session: &mut PtySession, key: char) {
        session.send_control(key).unwrap();
        session.flush().unwrap();
    }

    #[track_caller]
    fn ends_well(mut session: PtySession) {
        session.exp_eof().unwrap();
        let status = session.process().wait().unwrap();
        assert!(matches!(status, rexpect::process::WaitStatus::Exited(_, 0)), "{status:?}");
    }

    #[test]
    fn a_conversation_on_a_terminal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("talk.json");
        // `run` without a prompt is the same.
        let mut session = on_terminal("run", &demo(), &["-n", "6", "--stats"]);
        session.exp_string("/help lists the commands").unwrap();
        enter(&mut session, "Tell me a story about a goat.");
        session.exp_string("6 generated").unwrap();
        enter(&mut session, "/nonsense");
        session.exp_string("error: there is no command /nonsense").unwrap();
        // The program goes on, and so does the conversation.
        enter(&mut session, "And then?");
        session.exp_string("already computed").unwrap();
        session.send("half a line").unwrap();
        press_control(&mut session, 'c');
        session.exp_string("ends the conversation").unwrap();
        enter(&mut session, "/system Be brief.");
        session.exp_string("ignores the system message").unwrap();
        enter(&mut session, &format!("/save {}", path.display()));
        session.exp_string("Saved in").unwrap();
        enter(&mut session, "/reset");
        session.exp_string("starts over").unwrap();
        enter(&mut session, "/exit");
        ends_well(session);
        let saved: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let roles: Vec<_> = saved["messages"].as_array().unwrap().iter().map(|m| m["role"].clone()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "user", "assistant"]);
    }

    #[test]
    fn ctrl_c_stops_a_reply_and_not_the_program() {
        let model = endless();
        let mut session = on_terminal("chat", model.path(), &["--temperature", "0"]);
        for _ in 0..2 {
            session.exp_string("> ").unwrap();
            enter(&mut session, "Tell me a story about a goat.");
            // The reply itself: before it begins, Ctrl-C would still be a key of the line that is written.
            session.exp_regex(r"goat\.[\r\n]+[A-Za-z]+ [a-z]+ [a-z]+").unwrap();
            press_control(&mut session, 'c');
            session.exp_string("(stopped)").unwrap();
        }
        session.exp_string("> ").unwrap();
        press_control(&mut session, 'd');
        ends_well(session);
    }
}

#[test]
fn score_plan_devices_and_demo_as_people_use_them() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.txt");
    std::fs::write(&text, "The little rooster was called Bantam, and he lived by the sea.").unwrap();
    let score = json(&on_demo("score", &[text.to_str().unwrap(), "--json"]).output().unwrap());
    assert_eq!(score["interrupted"], false);
    assert!(score["nll"].as_f64().unwrap() > 0.0 && score["tokens"].as_u64().unwrap() > 5, "{score}");
    let words = stdout(&on_demo("score", &[text.to_str().unwrap()]).output().unwrap());
    assert!(words.contains("nats a token"), "{words}");
    refusal(&on_demo("score", &["no-such-file"]).output().unwrap(), 1);

    let plan = json(&on_demo("plan", &["--json"]).output().unwrap());
    let (total, least) = (plan["total"].as_u64().unwrap(), plan["minimum"].as_u64().unwrap());
    assert!(total >= least && least > 0 && plan["layers"] == 5, "{plan}");
    assert!(stdout(&on_demo("plan", &[]).output().unwrap()).contains("of device memory"));

    let devices = json(&command("devices", &["--json"]).output().unwrap());
    let count = devices["devices"].as_array().unwrap().len();
    assert!(count > 0);
    for device in devices["devices"].as_array().unwrap() {
        let backend = device["backend"].as_str().unwrap();
        assert!(["Vulkan", "Metal", "Dx12", "Gl"].contains(&backend), "{device}");
    }
    let words = stdout(&command("devices", &[]).output().unwrap());
    assert_eq!(words.lines().filter(|line| !line.starts_with(' ')).count(), count, "{words}");

    let shown = json(&command("demo", &["-n", "8", "--json"]).output().unwrap());
    assert_eq!((&shown["ok"], &shown["stop_reason"]), (&true.into(), &"length".into()), "{shown}");
    let words = stdout(&command("demo", &["-n", "8", "-p", "- One goat"]).output().unwrap());
    assert!(words.contains("\n- One goat") && words.contains("identical in every bit"), "{words}");
    // What it is about comes first: memory, and then speed.
    let at = |what: &str| words.find(what).unwrap_or_else(|| panic!("{what} is not in {words}"));
    assert!(at("Weights on the device: ") < at("Speed: "), "{words}");
    for form in ["raw", "compressed"] {
        assert!(shown[form]["weight_bytes"].as_u64() > Some(0), "{shown}");
    }
    assert!(shown["compile_seconds"].as_f64() > Some(0.0), "{shown}");
}

/// `scripts/prepare.sh`, with a program that finds what it is told to, and a package manager that does what it is told to.
#[cfg(unix)]
mod prepare {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// What `need_adapter` says and how it ends, where the program finds `before`, and `after` when the package manager
    /// was called, which ends with `code`; and whether it was.
    fn need_adapter(before: &str, after: &str, code: i32) -> (Output, bool) {
        let folder = tempfile::tempdir().unwrap();
        let script = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let called = folder.path().join("called");
        let shown = called.display();
        let devices = |backend: &str| match backend {
            "" => r#"{"devices":[]}"#.to_string(),
            backend => format!(r#"{{"devices":[{{"index":0,"backend":"{backend}"}}]}}"#),
        };
        let (before, after) = (devices(before), devices(after));
        let program =
            script("program", format!("if [ -e '{shown}' ]; then echo '{after}'; else echo '{before}'; fi"));
        script("apt-get", format!("touch '{shown}'; exit {code}"));
        script("id", "echo 0".into());
        script("uname", "echo Linux".into());
        let path = std::env::join_paths(
            std::iter::once(folder.path().to_path_buf())
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let mut shell = Command::new("sh");
        shell.args(["-euc", ". scripts/prepare.sh; need_adapter \"$1\"", "sh"]).arg(program);
        shell.current_dir(env!("CARGO_MANIFEST_DIR")).env("PATH", path.unwrap()).env_remove("WGPU_BACKEND");
        let output = shell.output().unwrap();
        (output, called.exists())
    }

    #[test]
    fn a_vulkan_driver_is_installed_where_there_is_none() {
        for (before, after, code, ends_well, asks) in [
            ("Vulkan", "Vulkan", 0, true, false),
            ("Metal", "Metal", 0, true, false),
            // OpenGL alone will do, but is slower.
            ("Gl", "Vulkan", 0, true, true),
            ("Gl", "Gl", 100, true, true),
            ("", "Vulkan", 0, true, true),
            ("", "", 0, false, true),
            ("", "", 100, false, true),
        ] {
            let (output, is_called) = need_adapter(before, after, code);
            let why = format!("{before} {after} {code}: {output:?}");
            assert_eq!((output.status.success(), is_called), (ends_well, asks), "{why}");
            let goes_on = stderr(&output).contains("continuing with OpenGL");
            assert_eq!(goes_on, before == "Gl" && after == "Gl", "{why}");
        }
    }
}

#[test]
fn a_budget_that_only_compressed_weights_fit_says_so() {
    let (_temporary, packed) = models::compressed(&demo());
    let plan = json(&on("plan", &packed, &["--json", "--context", "16"]).output().unwrap());
    let whole = json(&on("plan", &demo(), &["--json", "--context", "16"]).output().unwrap());
    let budget = (plan["minimum"].as_u64().unwrap() + 3 * whole["minimum"].as_u64().unwrap()) / 4;
    let budget = budget.to_string();
    let args = ["-p", PROMPT, "-n", "5", "--max-memory", &budget];
    let why = refusal(&on("run", &demo(), &args).output().unwrap(), 1);
    assert!(why.contains("from compressed weights") && why.contains("within this budget"), "{why}");
    assert!(stdout(&on("run", &packed, &args).output().unwrap()).starts_with(PROMPT));
}

#[test]
fn every_command_explains_itself_and_prints_json_to_standard_output() {
    let help = stdout(&command("help", &[]).output().unwrap());
    for code in ["0 ", "1 ", "2 ", "130", "141", "143"] {
        assert!(help.contains(&format!("\n  {code}")), "{code} is not in {help}");
    }
    let names: Vec<&str> = help.lines().skip_while(|line| *line != "Commands:").skip(1).collect();
    let names = names.iter().take_while(|line| !line.is_empty()).filter_map(|line| line.split(' ').nth(2));
    let names: Vec<&str> = names.filter(|name| !name.is_empty() && *name != "help").collect();
    assert!(names.contains(&"chat") && names.len() >= 14, "{names:?}");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = stdout(&command("completions", &[shell]).output().unwrap());
        assert!(names.iter().all(|name| script.contains(name)), "{shell}");
    }
    let page = stdout(&command("man", &[]).output().unwrap());
    assert!(page.contains(".TH bantam 1") && page.contains("Exit codes"), "{page}");
    for name in names {
        let help = stdout(&command(name, &["--help"]).output().unwrap());
        // Where there is JSON, no file is named for it.
        let json = help.lines().filter(|line| line.contains("--json"));
        assert!(json.clone().all(|line| !line.contains("--json <")), "{name}: {help}");
        assert!(stdout(&command("man", &[name]).output().unwrap()).contains("SYNOPSIS"), "{name}");
    }
    refusal(&command("man", &["nonsense"]).output().unwrap(), 1);
}

#[test]
fn what_is_said_beside_the_result_is_as_loud_as_is_asked_for() {
    let args = ["-p", PROMPT, "-n", "2"];
    let run = |more: &[&str]| on_demo("run", &[&args[..], more].concat()).output().unwrap();
    let [usual, quiet, loud] = [&[][..], &["-q"], &["-vv"]].map(run);
    assert_eq!((stdout(&quiet), stdout(&loud)), (stdout(&usual), stdout(&usual)));
    assert!(stderr(&usual).contains("prompt tokens"), "{}", stderr(&usual));
    assert_eq!(stderr(&quiet), "");
    assert!(stderr(&loud).contains("debug bantam"), "{}", stderr(&loud));
    refusal(&run(&["-q", "-v"]), 2);
    let missing = |more: &[&str]| {
        let output =
            on("run", &PathBuf::from("no-such-model"), &[&args[..], more].concat()).output().unwrap();
        refusal(&output, 1)
    };
    assert!(missing(&["-q"]).starts_with("error: "));
    assert!(missing(&["--color", "always"]).starts_with('\u{1b}'));
    assert!(missing(&["--color=never"]).starts_with("error: "));
}
