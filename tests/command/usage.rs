//! Prompts, limits, errors, and what the command says beside its result.

use std::path::PathBuf;

use serde_json::Value;

use crate::models::{self, demo};
use crate::program::{PROMPT, command, endless, fed, json, on, on_demo, refusal, stderr, stdout};

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
