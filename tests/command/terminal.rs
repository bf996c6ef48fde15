//! Conversations on a terminal.

use std::path::Path;
use std::process::Command;

use rexpect::reader::Options;
use rexpect::session::{PtySession, spawn_with_options};
use serde_json::Value;

use crate::models::demo;
use crate::program::endless;

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
