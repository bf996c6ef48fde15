//! Paths at which there is no file of tensors: pipes and devices, folders that are around models, names that are no
//! paths, and models that can be compressed but not run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::data::gguf::{self, Gguf};
use crate::data::plain::{PlainFile, small_mixture};

struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
        command.args(args).current_dir(self.folder.path());
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn succeeds(&self, args: &[&str]) {
        let output = self.output(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// It fails with a message that has all of `words`, and writes nothing.
    fn is_refused(&self, args: &[&str], words: &[&str]) {
        let before = self.names();
        let output = self.output(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{args:?}: {stderr} has no {word:?}");
        }
        assert_eq!(self.names(), before, "{args:?} left something");
    }

    /// All that there is, with what it is.
    fn names(&self) -> Vec<(PathBuf, bool)> {
        fn collect(folder: &Path, names: &mut Vec<(PathBuf, bool)>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let meta = fs::symlink_metadata(&path).unwrap();
                names.push((path.clone(), meta.is_file()));
                if meta.is_dir() {
                    collect(&path, names);
                }
            }
        }
        let mut names = Vec::new();
        collect(self.folder.path(), &mut names);
        names.sort();
        names
    }
}

#[cfg(unix)]
mod pipes {
    use std::io::{Read, Write};
    use std::os::unix::fs::FileTypeExt;
    use std::thread::{JoinHandle, spawn};

    use super::*;

    fn pipe(files: &Files, name: &str) -> PathBuf {
        let path = files.path(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    /// Writes `bytes` to the pipe once somebody reads it.
    fn feed(pipe: &Path, bytes: Vec<u8>) -> JoinHandle<()> {
        let pipe = pipe.to_path_buf();
        spawn(move || fs::File::options().write(true).open(pipe).unwrap().write_all(&bytes).unwrap())
    }

    fn drain(pipe: &Path) -> JoinHandle<Vec<u8>> {
        let pipe = pipe.to_path_buf();
        spawn(move || {
            let mut bytes = Vec::new();
            fs::File::open(pipe).unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        })
    }

    #[test]
    fn a_pipe_with_a_name_is_read_as_a_file_is() {
        let files = Files::new();
        let plain = small_mixture().bytes();
        files.write("a.safetensors", &plain);
        files.succeeds(&["compress", "a.safetensors"]);
        let packed = fs::read(files.path("a.bantam.safetensors")).unwrap();

        let source = pipe(&files, "pipe");
        let feeding = feed(&source, plain.clone());
        files.succeeds(&["compress", "pipe", "-o", "b.bantam.safetensors"]);
        feeding.join().unwrap();
        assert!(fs::read(files.path("b.bantam.safetensors")).unwrap() == packed);
        let feeding = feed(&source, packed.clone());
        files.succeeds(&["decompress", "pipe", "-o", "b.safetensors"]);
        feeding.join().unwrap();
        assert!(fs::read(files.path("b.safetensors")).unwrap() == plain);
        let archive = bantam::archive::Archive::from_bytes(packed.clone()).unwrap();
        let name = archive.tensors()[0].name.clone();
        let feeding = feed(&source, packed);
        files.succeeds(&["extract", "pipe", &name, "-o", "tensor"]);
        feeding.join().unwrap();
        assert!(fs::read(files.path("tensor")).unwrap() == archive.read_tensor(&name).unwrap());

        // Nobody writes to it: what cannot read a pipe, or lacks a name for the output, does not wait.
        files.is_refused(&["compress", "pipe"], &["no name for the output", "-o"]);
        for command in ["inspect", "verify", "plan"] {
            files.is_refused(
                &[command, "pipe"],
                &["pipe is a pipe, not a regular file; copy its contents to a file"],
            );
        }
        assert!(fs::symlink_metadata(&source).unwrap().file_type().is_fifo());
    }

    #[test]
    fn outputs_go_through_pipes_and_devices_and_never_replace_them() {
        let files = Files::new();
        let plain = small_mixture().bytes();
        files.write("a.safetensors", &plain);
        files.succeeds(&["compress", "a.safetensors"]);
        let packed = fs::read(files.path("a.bantam.safetensors")).unwrap();
        let to = pipe(&files, "to");
        for force in [&[][..], &["--force"]] {
            let drained = drain(&to);
            files.succeeds(&[&["compress", "a.safetensors", "-o", "to"], force].concat());
            assert!(drained.join().unwrap() == packed);
            let drained = drain(&to);
            files.succeeds(&[&["decompress", "a.bantam.safetensors", "-o", "to"], force].concat());
            assert!(drained.join().unwrap() == plain);
            // By a link, as names in /dev are.
            std::os::unix::fs::symlink("/dev/null", files.path("null")).unwrap();
            files.succeeds(&[&["compress", "a.safetensors", "-o", "null"], force].concat());
            assert!(fs::symlink_metadata(files.path("null")).unwrap().is_symlink());
            fs::remove_file(files.path("null")).unwrap();
        }
        assert!(fs::symlink_metadata(&to).unwrap().file_type().is_fifo());
        // Other names of standard output are not replaced by a file either, and get the data alone.
        for name in ["-", "/dev/stdout", "/dev/fd/1"] {
            let output = files.output(&["decompress", "a.bantam.safetensors", "-o", name, "--force"]);
            assert!(output.status.success() && output.stdout == plain, "{name}");
            let file = fs::File::create(files.path("stdout")).unwrap();
            let status =
                files.command(&["decompress", "a.bantam.safetensors", "-o", name]).stdout(file).status();
            assert!(status.unwrap().success() && fs::read(files.path("stdout")).unwrap() == plain, "{name}");
        }
        // The library has no pipes to write to, and refuses them before the work.
        let replace = bantam::archive::Options::REPLACE;
        let error =
            bantam::archive::compress(&files.path("a.safetensors"), Some(&to), &replace, &()).unwrap_err();
        assert!(error.to_string().contains("to is a pipe, which bantam does not replace"), "{error}");
        fs::create_dir(files.path("folder")).unwrap();
        files.is_refused(&["compress", "a.safetensors", "-o", "folder", "--force"], &["folder is a folder"]);
        files.is_refused(&["compress", "folder", "-o", "to"], &["folder is a folder, and only a file"]);
        let _socket = std::os::unix::net::UnixListener::bind(files.path("socket")).unwrap();
        files.is_refused(&["compress", "a.safetensors", "-o", "socket", "--force"], &["socket is a socket"]);
        files.is_refused(&["compress", "socket", "-o", "x"], &["socket is a socket, not a regular file"]);
        files.is_refused(
            &["compress", "/dev/zero", "-o", "x"],
            &["/dev/zero is a device, not a regular file"],
        );
    }
}

/// Waits that nobody else ends, and one signal for each.
#[cfg(target_os = "linux")]
#[test]
fn one_signal_ends_any_wait() {
    use std::io::Read;
    use std::process::Stdio;

    use crate::patience;

    let files = Files::new();
    files.write("a.safetensors", small_mixture().weights("large", &[900, 1000], 9).bytes());
    for name in ["source", "target"] {
        assert!(Command::new("mkfifo").arg(files.path(name)).status().unwrap().success());
    }
    for (args, signal, reads) in [
        // Nobody writes: to standard input, which stays open, and to a pipe.
        (&["compress", "-", "-o", "b"][..], "INT", false),
        (&["decompress", "source", "-o", "b"], "INT", false),
        (&["extract", "-", "a", "-o", "b"], "TERM", false),
        // Nobody reads: from a pipe, and from standard output, which has room for less; or only the first byte.
        (&["compress", "a.safetensors", "-o", "target"], "INT", false),
        (&["compress", "a.safetensors", "-o", "-"], "INT", false),
        (&["compress", "a.safetensors", "-o", "-"], "INT", true),
        (&["compress", "a.safetensors", "-o", "-"], "TERM", true),
    ] {
        let before = files.names();
        let mut command = files.command(args);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (stdin, id) = (child.stdin.take(), child.id().to_string());
        while !listens(&id) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        if reads {
            child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
            // Until standard output is full, and locked by the thread that writes to it.
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
        let code = patience::patiently(move || child.wait().unwrap().code());
        assert!(matches!(code, Some(130 | 143)), "{args:?}: {code:?}");
        assert_eq!(files.names(), before, "{args:?} left something");
        drop(stdin);
    }
}

/// Whether the process has something done when SIGINT comes.
#[cfg(target_os = "linux")]
fn listens(id: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & 1 << 1 != 0
}

#[test]
fn a_path_at_which_there_is_nothing_is_said_to_be_so() {
    let files = Files::new();
    for args in [&["compress"][..], &["decompress"], &["inspect"], &["verify"], &["plan"], &["extract"]] {
        let args = |src| match args[0] {
            "extract" => vec!["extract", src, "tensor"],
            command => vec![command, src],
        };
        files.is_refused(
            &args("meta-llama/Llama-3.2-1B"),
            &["no file or folder meta-llama/Llama-3.2-1B", "name of a model on a hub", "hf download"],
        );
        files.is_refused(&args("https://example.com/a.safetensors"), &["it is an address"]);
        files.is_refused(&args("a.safetensors"), &["there is no file or folder a.safetensors"]);
    }
    files.is_refused(&["compress", "a/b", "-o", "-"], &["no file or folder a/b; it looks like the name"]);
    // Where there is such a folder, it is a path that was meant.
    fs::create_dir(files.path("a")).unwrap();
    assert!(!String::from_utf8(files.output(&["compress", "a/b"]).stderr).unwrap().contains("hub"));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("gone", files.path("link.safetensors")).unwrap();
        files.is_refused(&["compress", "link.safetensors"], &["a broken link to gone"]);
    }
}

const REVISION: &str = "hub/models--org--tiny/snapshots/0123abc";

/// A hub's cache with one model.
fn hub() -> Files {
    let files = Files::new();
    files.write(&format!("{REVISION}/model.safetensors"), small_mixture().bytes());
    files.write(&format!("{REVISION}/config.json"), "{}");
    files.write("hub/models--org--tiny/refs/main", "0123abc");
    fs::create_dir_all(files.path("hub/models--org--tiny/snapshots/0000000")).unwrap();
    files
}

#[test]
fn folders_around_models_in_a_hubs_cache_name_the_model() {
    let files = hub();
    for command in ["compress", "inspect", "plan", "verify"] {
        for folder in ["hub/models--org--tiny", "hub/models--org--tiny/snapshots", "hub", "."] {
            files.is_refused(&[command, folder], &["a hub's cache", "snapshots/0123abc"]);
        }
    }
    fs::create_dir_all(files.path("empty/models--org--other/snapshots")).unwrap();
    files.is_refused(&["compress", "empty/models--org--other"], &["without any revision"]);
    files.is_refused(&["compress", "empty/models--org--other/snapshots"], &["and there is none"]);
}

#[test]
fn no_output_lies_in_a_hubs_cache_unless_it_is_named() {
    let files = hub();
    files.is_refused(&["compress", REVISION], &["is in a hub's cache", "-o tiny-bantam"]);
    let file = format!("{REVISION}/model.safetensors");
    files.is_refused(&["compress", &file], &["is in a hub's cache", "-o model.bantam.safetensors"]);
    let inside = files.path(REVISION);
    let output = files.command(&["compress", "."]).current_dir(&inside).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("is in a hub's cache"));
    let output = files.command(&["compress", "model.safetensors"]).current_dir(&inside).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("is in a hub's cache"));
    files.succeeds(&["compress", REVISION, "-o", "tiny-bantam"]);
    files.succeeds(&["decompress", "tiny-bantam"]);
    assert!(fs::read(files.path("tiny/model.safetensors")).unwrap() == fs::read(files.path(&file)).unwrap());
    // What somebody has put there is not restored there.
    let packed = format!("{REVISION}/model.bantam.safetensors");
    fs::copy(files.path("tiny-bantam/model.bantam.safetensors"), files.path(&packed)).unwrap();
    files.is_refused(&["decompress", &packed], &["is in a hub's cache", "-o model.safetensors"]);
}

#[test]
fn folders_of_other_weights_are_said_to_be_so() {
    for (name, words) in [
        ("pytorch_model.bin", ["a PyTorch file (a pickle)", "get the model's safetensors files"]),
        ("consolidated.00.pth", ["a PyTorch file (a pickle)", "safe_serialization=True"]),
        ("model.onnx", ["weights in a format that bantam does not read", "model.onnx"]),
        (
            "model.safetensors.incomplete",
            ["a download that was not finished", "model.safetensors.incomplete"],
        ),
        ("README.md", ["no safetensors", "in this folder"]),
    ] {
        let files = Files::new();
        files.write(&format!("m/{name}"), "anything");
        files.write("m/config.json", "{}");
        for command in ["compress", "inspect", "plan", "verify"] {
            files.is_refused(&[command, "m"], &words);
        }
    }
}

#[test]
fn a_folder_with_both_forms_of_a_file_names_both() {
    let files = Files::new();
    files.write("m/model.safetensors", small_mixture().bytes());
    files.succeeds(&["compress", "m/model.safetensors"]);
    let words = ["more than one set of weights", "model.safetensors", "model.bantam.safetensors", "move one"];
    files.is_refused(&["compress", "m"], &words);
    files.is_refused(&["decompress", "m", "-o", "out"], &words);
}

#[test]
fn what_cannot_be_run_is_said_to_be_what_it_is() {
    let files = Files::new();
    files.write("text", "Once upon a time");
    let run = |path: &str, words: &[&str]| {
        for command in [&["run", path, "-p", "a"][..], &["plan", path], &["score", path, "text"]] {
            files.is_refused(command, words);
        }
    };
    files.write("m.gguf", Gguf::default().noise("a", gguf::F32, &[2, 32], 256).bytes());
    run("m.gguf", &["m.gguf: a GGUF file, which bantam compresses and restores but does not run"]);
    files.succeeds(&["compress", "m.gguf"]);
    run("m.gguf.bantam.safetensors", &["a GGUF file, which bantam compresses and restores but does not run"]);
    files.write("g/m.gguf", fs::read(files.path("m.gguf")).unwrap());
    run("g", &["no safetensors file", "m.gguf is a GGUF file, which bantam compresses and restores"]);

    let tensors = PlainFile::default().weights("a", &[8, 64], 1).bytes();
    files.write("lora/adapter_model.safetensors", &tensors);
    files.write("lora/adapter_config.json", r#"{"peft_type":"LORA","base_model_name_or_path":"org/base"}"#);
    let words = ["an adapter (LORA) of the model org/base, not a model; merge it"];
    run("lora", &words);
    run("lora/adapter_model.safetensors", &words);
    files.succeeds(&["compress", "lora"]);
    run("lora-bantam", &words);
    files.succeeds(&["decompress", "lora-bantam", "-o", "restored"]);

    files.write("q/model.safetensors", &tensors);
    for (config, words) in [
        (
            r#"{"quantization_config":{"quant_method":"gptq","bits":4}}"#,
            "quantised (gptq, 4 bits), as quantization",
        ),
        (
            r#"{"quantization_config":{"quant_method":"fp8"}}"#,
            "the model is quantised (fp8), as quantization_config",
        ),
        (r#"{"quantization":{"group_size":64,"bits":4}}"#, "quantised (4 bits), as quantization says"),
        (r#"{"compression_config":{}}"#, "the model is quantised, as compression_config says"),
    ] {
        files.write("q/config.json", config);
        run("q", &["config.json", words, "runs only models of BF16, F16 and F32"]);
    }
    files.succeeds(&["compress", "q"]);
    // Nothing is quantised where nothing is said of it.
    files.write("q/config.json", r#"{"quantization_config":null}"#);
    let error = String::from_utf8(files.output(&["plan", "q"]).stderr).unwrap();
    assert!(error.contains("config.json") && !error.contains("quantised"), "{error}");
}
