//! What tests leave out because something is not there. It would count as passed in silence: so it is written down
//! where `scripts/test` finds it, which says it at the end.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::Write;

/// Says that `what` was left out, and why.
pub fn report(what: &str, why: &str) {
    let line = format!("left out: {what}: {why}\n");
    print!("{line}");
    if let Some(path) = std::env::var_os("BANTAM_LEFT_OUT") {
        let file = std::fs::File::options().append(true).create(true).open(path);
        // In one piece, since other tests write there too.
        file.unwrap().write_all(line.as_bytes()).unwrap();
    }
}
