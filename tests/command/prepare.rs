//! `scripts/prepare.sh`, with a program that finds what it is told to, and a package manager that does what it is told to.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use crate::program::stderr;

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
