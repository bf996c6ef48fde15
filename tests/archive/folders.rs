//! Model folders as people have them: what is replaced is replaced, what cannot be read is an error, and what is
//! interrupted or changed meanwhile is never taken for something whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use bantam::archive::{
    ArchiveError, ModelFiles, Options, Preset, Progress, compress, compress_file, decompress, verify,
};
use tempfile::TempDir;

use crate::data::plain::{PlainFile, small_mixture};

fn keep() -> Options {
    Preset::Small.into()
}

fn replace() -> Options {
    Options::REPLACE
}

/// Folders of a test, in a folder that is removed with it.
struct Room(TempDir);

impl Room {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A model of so many shards, with an index if there is more than one, and weights of this seed.
    fn model(&self, name: &str, shards: usize, seed: u64) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("config.json"), format!("{{\"seed\":{seed}}}")).unwrap();
        let files = match shards {
            1 => vec!["model.safetensors".to_string()],
            _ => (1..=shards).map(|i| format!("model-{i:05}-of-{shards:05}.safetensors")).collect(),
        };
        let mut map = Vec::new();
        for (i, file) in files.iter().enumerate() {
            PlainFile::default()
                .weights(&format!("w{i}"), &[64, 96], seed + i as u64)
                .write(&path.join(file));
            map.push(format!("\"w{i}\":\"{file}\""));
        }
        if shards > 1 {
            let json = format!("{{\"weight_map\":{{{}}}}}", map.join(","));
            fs::write(path.join("model.safetensors.index.json"), json).unwrap();
        }
        path
    }
}

/// All files and links in a folder and its folders, with their bytes, or what they lead to.
fn tree(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut unread = vec![path.to_path_buf()];
    while let Some(folder) = unread.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let at = entry.unwrap().path();
            let name = at.strip_prefix(path).unwrap().to_path_buf();
            if let Ok(to) = fs::read_link(&at) {
                found.push((name, to.into_os_string().into_encoded_bytes()));
            } else if at.is_dir() {
                found.push((name, b"a folder".to_vec()));
                unread.push(at);
            } else {
                found.push((name, fs::read(&at).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn names(path: &Path) -> Vec<String> {
    tree(path).into_iter().map(|(name, _)| name.to_str().unwrap().into()).collect()
}

fn weights_of(path: &Path) -> Vec<(String, Vec<u8>)> {
    let files = ModelFiles::open(path).unwrap();
    files.weights().map(|w| (w.name.to_string(), w.bytes().unwrap().into_owned())).collect()
}

fn bantam<'a>(args: impl IntoIterator<Item = &'a str>, folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bantam")).args(args).current_dir(folder).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_replaced_folder_has_the_weights_of_the_new_model_and_no_others() {
    let room = Room::new();
    for (old_shards, new_shards) in [(1, 1), (1, 2), (2, 1), (3, 2), (2, 3)] {
        for old_is_plain in [true, false] {
            let new = room.model("new", new_shards, 100);
            let mut old = room.model("old", old_shards, 1);
            fs::write(old.join("tokenizer.json"), "of the old model").unwrap();
            fs::write(old.join("notes.txt"), "somebody's").unwrap();
            if !old_is_plain {
                old = compress(&old, None, &keep(), &()).unwrap().output;
            }
            assert!(matches!(compress(&new, Some(&old), &keep(), &()), Err(ArchiveError::Exists { .. })));
            compress(&new, Some(&old), &replace(), &()).unwrap();
            assert_eq!(weights_of(&old), weights_of(&new), "{old_shards} {new_shards}");
            assert!(verify(&old, &()).unwrap().failures.is_empty());
            assert_eq!(fs::read_to_string(old.join("notes.txt")).unwrap(), "somebody's");
            let restored = room.at("restored");
            decompress(&old, Some(&restored), &keep(), &()).unwrap();
            fs::remove_file(restored.join("notes.txt")).unwrap();
            assert_eq!(tree(&restored), tree(&new));
            for folder in ["new", "old", "old-bantam", "restored"] {
                let _ = fs::remove_dir_all(room.at(folder));
            }
        }
    }
}

#[test]
fn weights_that_may_be_somebody_elses_are_never_removed() {
    let room = Room::new();
    let new = room.model("new", 2, 100);
    for other in ["lora.safetensors", "collection.gguf", "other.bantam.safetensors"] {
        let old = room.model("old", 1, 1);
        fs::write(old.join(other), "precious").unwrap();
        let before = tree(&old);
        let error = compress(&new, Some(&old), &replace(), &()).unwrap_err().to_string();
        assert!(error.contains(other) && error.contains("choose another output"), "{error}");
        assert_eq!(tree(&old), before);
        fs::remove_dir_all(&old).unwrap();
    }
    // Models in folders of a folder are not those of the folder.
    let shelf = room.at("shelf");
    fs::rename(room.model("old", 1, 1), room.at("kept")).unwrap();
    fs::create_dir(&shelf).unwrap();
    fs::rename(room.at("kept"), shelf.join("kept")).unwrap();
    let kept = tree(&shelf.join("kept"));
    compress(&new, Some(&shelf), &replace(), &()).unwrap();
    assert_eq!(tree(&shelf.join("kept")), kept);
    // Nor is the input ever a part of what is replaced.
    let inner = shelf.join("kept");
    let error = compress(&inner, Some(&shelf), &replace(), &()).unwrap_err();
    assert!(matches!(error, ArchiveError::InputInOutput { .. }), "{error}");
    assert_eq!(tree(&inner), kept);
}

#[test]
fn a_folder_with_two_sets_of_weights_is_refused_by_every_command() {
    let room = Room::new();
    let refused = |make: &dyn Fn(&Path), both: [&str; 2]| {
        let plain = room.model("m", 2, 1);
        let packed = compress(&plain, None, &keep(), &()).unwrap().output;
        make(&packed);
        let is_both = |error: &str| {
            assert!(both.iter().all(|one| error.contains(one)), "{error}");
            assert!(error.contains("more than one set of weights"), "{error}");
        };
        is_both(&ModelFiles::open(&packed).unwrap_err().to_string());
        is_both(&verify(&packed, &()).unwrap_err().to_string());
        is_both(&decompress(&packed, Some(&room.at("x")), &keep(), &()).unwrap_err().to_string());
        is_both(&compress(&packed, Some(&room.at("x")), &keep(), &()).unwrap_err().to_string());
        for args in [
            &["run", "-p", "a", "m-bantam"][..],
            &["verify", "m-bantam"],
            &["decompress", "m-bantam", "-o", "x"],
        ] {
            let output = bantam(args.iter().copied(), room.0.path());
            assert_eq!(output.status.code(), Some(1), "{args:?}");
            is_both(&text(&output));
        }
        assert!(!room.at("x").exists());
        fs::remove_dir_all(&plain).unwrap();
        fs::remove_dir_all(&packed).unwrap();
    };
    let shard = "model-00001-of-00002.safetensors";
    let packed_shard = "model-00001-of-00002.bantam.safetensors";
    let other = small_mixture();
    refused(&|m| drop(other.write(&m.join(shard))), [shard, packed_shard]);
    refused(&|m| drop(other.write(&m.join("model.safetensors"))), ["model.safetensors", "the files that"]);
    let left = "model-00003-of-00003.bantam.safetensors";
    refused(
        &|m| assert!(fs::copy(m.join(packed_shard), m.join(left)).unwrap() > 0),
        [left, "model.safetensors.index.json"],
    );
}

#[test]
#[cfg(unix)]
fn a_link_that_leads_nowhere_is_an_error_for_weights_and_named_for_anything_else() {
    use std::os::unix::fs::symlink;
    let room = Room::new();
    let model = room.model("m", 2, 1);
    let packed = compress(&model, None, &keep(), &()).unwrap().output;
    for (folder, shard) in
        [(&model, "model-00002-of-00002.safetensors"), (&packed, "model-00002-of-00002.bantam.safetensors")]
    {
        let (path, aside) = (folder.join(shard), room.at("aside"));
        fs::rename(&path, &aside).unwrap();
        symlink("../blobs/gone", &path).unwrap();
        let out = room.at("out");
        let error = match folder == &model {
            true => compress(folder, Some(&out), &keep(), &()).unwrap_err(),
            false => decompress(folder, Some(&out), &keep(), &()).unwrap_err(),
        };
        let names_it =
            |error: String| assert!(error.contains(shard) && error.contains("blobs/gone"), "{error}");
        names_it(error.to_string());
        names_it(ModelFiles::open(folder).unwrap_err().to_string());
        if folder == &packed {
            names_it(verify(folder, &()).unwrap().failures[0].error.to_string());
        }
        assert!(!out.exists());
        fs::remove_file(&path).unwrap();
        // Without any link, the index tells.
        let error = match folder == &model {
            true => compress(folder, Some(&out), &keep(), &()).unwrap_err(),
            false => decompress(folder, Some(&out), &keep(), &()).unwrap_err(),
        };
        assert!(
            error.to_string().contains("names model-00002-of-00002.safetensors, which is not in"),
            "{error}"
        );
        assert!(!out.exists());
        fs::rename(&aside, &path).unwrap();
    }
    symlink("nowhere", model.join("README.md")).unwrap();
    symlink(room.0.path(), model.join("elsewhere")).unwrap();
    let report = compress(&model, Some(&room.at("a")), &keep(), &()).unwrap();
    assert_eq!(report.left_out, [PathBuf::from("README.md"), "elsewhere".into()]);
    let output = bantam(["compress", "m", "-o", "b"], room.0.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("README.md") && text(&output).contains("elsewhere"), "{}", text(&output));
    let output = bantam(["compress", "m", "-o", "c", "--skip-unreadable"], room.0.path());
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(tree(&room.at("b")), tree(&room.at("c")));
    assert_eq!(tree(&room.at("b")), tree(&packed));
}

#[test]
#[cfg(unix)]
fn folders_in_the_folder_are_compressed_and_restored_with_it() {
    use std::os::unix::fs::symlink;
    let room = Room::new();
    let model = room.model("m", 1, 1);
    for folder in ["unet/deep", "vae", "1_Pooling", "empty", ".git/objects"] {
        fs::create_dir_all(model.join(folder)).unwrap();
    }
    small_mixture().write(&model.join("unet/diffusion_pytorch_model.safetensors"));
    small_mixture().write(&model.join("unet/deep/A.SAFETENSORS"));
    small_mixture().write(&model.join("vae/short.sft"));
    fs::write(model.join("1_Pooling/config.json"), "{}").unwrap();
    fs::write(model.join(".git/objects/x"), "history").unwrap();
    symlink("unet", model.join("same")).unwrap();
    let packed = compress(&model, None, &keep(), &()).unwrap();
    assert_eq!((packed.files.len(), packed.left_out.len()), (4, 0));
    let expected = [
        "1_Pooling",
        "1_Pooling/config.json",
        "config.json",
        "empty",
        "model.bantam.safetensors",
        "same",
        "unet",
        "unet/deep",
        "unet/deep/A.SAFETENSORS.bantam.safetensors",
        "unet/diffusion_pytorch_model.bantam.safetensors",
        "vae",
        "vae/short.sft.bantam.safetensors",
    ];
    assert_eq!(names(&packed.output), expected);
    assert_eq!(verify(&packed.output, &()).unwrap().tensors, 1 + 3 * 5);
    let restored = decompress(&packed.output, Some(&room.at("restored")), &keep(), &()).unwrap();
    fs::remove_dir_all(model.join(".git")).unwrap();
    assert_eq!(tree(&restored.output), tree(&model));
    // An output in the input is no part of it, the second time neither.
    for options in [keep(), replace()] {
        compress(&model, Some(&model.join("packed")), &options, &()).unwrap();
        assert_eq!(names(&model.join("packed")), expected);
    }
    // Damage in there is found.
    let inner = packed.output.join("vae/short.sft.bantam.safetensors");
    let bytes = fs::read(&inner).unwrap();
    fs::write(&inner, &bytes[..bytes.len() - 256]).unwrap();
    assert_eq!(verify(&packed.output, &()).unwrap().failures[0].file, inner);
}

#[test]
#[cfg(target_os = "linux")]
fn names_that_are_not_utf8_are_kept_or_named() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let room = Room::new();
    let odd = OsStr::from_bytes(b"caf\xe9");
    let model = room.0.path().join(odd);
    fs::rename(room.model("m", 2, 1), &model).unwrap();
    fs::create_dir(model.join(odd)).unwrap();
    fs::write(model.join(odd).join(OsStr::from_bytes(b"\xff.txt")), "text").unwrap();
    small_mixture().write(&model.join(odd).join("a.safetensors"));
    let out = room.at("out");
    // The record of an interrupted run has these paths, and the next goes on.
    let last = fs::metadata(model.join("model-00002-of-00002.safetensors")).unwrap().len();
    let total: u64 = tree(&model).iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let cancel = At::new(total - last - 8, || ());
    assert!(matches!(compress(&model, Some(&out), &keep(), &cancel), Err(ArchiveError::Cancelled)));
    assert!(compress(&model, Some(&out), &keep(), &()).unwrap().finished > 0);
    let restored = room.at("restored");
    decompress(&out, Some(&restored), &keep(), &()).unwrap();
    assert_eq!(tree(&restored), tree(&model));
    fs::rename(model.join(odd).join("a.safetensors"), model.join(OsStr::from_bytes(b"\xff.safetensors")))
        .unwrap();
    let error = compress(&model, Some(&room.at("x")), &keep(), &()).unwrap_err().to_string();
    assert!(error.contains("not UTF-8"), "{error}");
}

/// Does something once when so many bytes have been handled, and asks to stop from then on if that was all.
struct At<F> {
    after: u64,
    handled: std::sync::atomic::AtomicU64,
    done: AtomicBool,
    cancel: bool,
    what: F,
}

impl<F: Fn()> At<F> {
    fn new(after: u64, what: F) -> Self {
        Self { after, handled: 0.into(), done: false.into(), cancel: true, what }
    }

    fn going_on(after: u64, what: F) -> Self {
        Self { cancel: false, ..Self::new(after, what) }
    }
}

impl<F: Fn() + Sync> Progress for At<F> {
    fn begin(&self, _: u64, _: &str) {}
    fn advance(&self, bytes: u64) {
        let handled = self.handled.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if handled >= self.after && !self.done.swap(true, Ordering::Relaxed) {
            (self.what)();
        }
    }
    fn finish(&self) {}
    fn cancelled(&self) -> bool {
        self.cancel && self.done.load(Ordering::Relaxed)
    }
}

/// Changes the last byte of a file; its times stay.
fn change_unseen(path: &Path) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    // In place: whoever has it open sees it.
    let mut file = fs::File::options().write(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, &bytes).unwrap();
    file.set_modified(modified).unwrap();
}

#[test]
fn a_source_that_changes_while_it_is_compressed_is_an_error() {
    let room = Room::new();
    let model = room.model("m", 2, 1);
    let (shard, out) = (model.join("model-00001-of-00002.safetensors"), room.at("out.safetensors"));
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    let touch = |path: &Path, time| {
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    };
    let is_changed = |result: Result<(), ArchiveError>, name: &str| {
        let error = result.expect_err("a change went unseen");
        assert!(matches!(&error, ArchiveError::Changed { file } if file.ends_with(name)), "{error}");
    };
    // An old file is written to; a new one is written to without another time to show it.
    touch(&shard, old);
    let write = At::going_on(1, || {
        change_unseen(&shard);
        touch(&shard, std::time::SystemTime::now());
    });
    is_changed(compress_file(&shard, &out, &keep(), &write).map(drop), "model-00001-of-00002.safetensors");
    let unseen = At::going_on(1, || change_unseen(&shard));
    is_changed(compress_file(&shard, &out, &keep(), &unseen).map(drop), "model-00001-of-00002.safetensors");
    assert!(!out.exists());
    // One of a folder, changed after it was opened and before its turn; and one that is copied.
    let last = model.join("model-00002-of-00002.safetensors");
    touch(&last, old);
    let early = At::going_on(1, || touch(&last, std::time::SystemTime::now()));
    let into = |progress: &dyn Progress| compress(&model, Some(&room.at("out")), &keep(), progress).map(drop);
    is_changed(into(&early), "model-00002-of-00002.safetensors");
    let config = model.join("config.json");
    let grown = At::going_on(1, || fs::write(&config, "{\"a\": \"longer than it was\"}").unwrap());
    is_changed(into(&grown), "config.json");
    assert!(!room.at("out").exists());
    into(&()).unwrap();
}

#[test]
#[cfg(unix)]
fn a_shard_that_changed_and_kept_its_length_header_and_time_is_not_taken_from_before() {
    let room = Room::new();
    let model = room.model("m", 2, 1);
    let out = room.at("out");
    let of = |name: &str| fs::metadata(model.join(name)).unwrap().len();
    let first = "model-00001-of-00002.safetensors";
    let handled = of("config.json") + of("model.safetensors.index.json") + of(first);
    let interrupt = || {
        let cancelled = compress(&model, Some(&out), &keep(), &At::new(handled + 1, || ()));
        assert!(matches!(cancelled, Err(ArchiveError::Cancelled)));
    };
    interrupt();
    change_unseen(&model.join(first));
    assert_eq!(compress(&model, Some(&out), &keep(), &()).unwrap().finished, 0);
    assert_eq!(weights_of(&out), weights_of(&model));
    // Without a change it is.
    fs::remove_dir_all(&out).unwrap();
    interrupt();
    assert_eq!(compress(&model, Some(&out), &keep(), &()).unwrap().finished, 1);
}

#[test]
#[cfg(unix)]
fn permissions_go_with_files_and_folders() {
    use std::os::unix::fs::PermissionsExt;
    let mode_of = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let room = Room::new();
    let model = room.model("m", 1, 1);
    fs::create_dir(model.join("inner")).unwrap();
    fs::write(model.join("inner/run.sh"), "#!/bin/sh\n").unwrap();
    let modes = [("", 0o700), ("inner", 0o750), ("inner/run.sh", 0o755), ("config.json", 0o640)];
    modes.iter().for_each(|(name, mode)| set(&model.join(name), *mode));
    set(&model.join("model.safetensors"), 0o600);
    let (packed, restored) = (room.at("m-bantam"), room.at("restored"));
    // What is not finished is not open to others either.
    let unfinished = room.at(".m-bantam.bantam-partial");
    let looked = At::going_on(1, || {
        assert_eq!(mode_of(&unfinished), 0o700);
        assert_eq!(mode_of(&unfinished.join("inner")), 0o750);
    });
    compress(&model, None, &keep(), &looked).unwrap();
    assert!(looked.done.load(Ordering::Relaxed));
    assert_eq!(mode_of(&packed.join("model.bantam.safetensors")), 0o600);
    decompress(&packed, Some(&restored), &keep(), &()).unwrap();
    for (folder, weights) in [(&packed, "model.bantam.safetensors"), (&restored, "model.safetensors")] {
        modes.iter().for_each(|(name, mode)| assert_eq!(mode_of(&folder.join(name)), *mode, "{name}"));
        assert_eq!(mode_of(&folder.join(weights)), 0o600);
    }
    // A file alone, while it is written and afterwards, and one that is replaced.
    let (src, dst) = (model.join("model.safetensors"), room.at("alone.safetensors"));
    for mode in [0o600, 0o400, 0o444, 0o664] {
        set(&src, mode);
        let looked = At::going_on(1, || {
            let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
            let all = fs::read_dir(room.0.path()).unwrap().map(|entry| name(entry.unwrap()));
            let unfinished: Vec<_> = all.filter(|name| name.starts_with(".alone")).collect();
            assert_eq!(unfinished.len(), 1);
            assert_eq!(mode_of(&room.at(&unfinished[0])) & !mode, 0, "{mode:o}");
        });
        compress_file(&src, &dst, &replace(), &looked).unwrap();
        assert!(looked.done.load(Ordering::Relaxed));
        assert_eq!(mode_of(&dst), mode);
    }
}

#[test]
fn an_output_that_is_there_already_is_filled_or_refused_at_once() {
    let room = Room::new();
    let model = room.model("m", 2, 1);
    let expected = compress(&model, None, &keep(), &()).unwrap().output;
    // The current folder.
    fs::create_dir(room.at("here")).unwrap();
    let output = bantam(["compress", "../m", "-o", "."], &room.at("here"));
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(tree(&room.at("here")), tree(&expected));
    // A folder that is empty, through a link too.
    fs::create_dir(room.at("empty")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("empty", room.at("link")).unwrap();
    let name = if cfg!(unix) { "link" } else { "empty" };
    compress(&model, Some(&room.at(name)), &keep(), &()).unwrap();
    assert_eq!(tree(&room.at("empty")), tree(&expected));
    // A file or a link that leads nowhere, where nothing can be done in the end: not even begun.
    fs::write(room.at("file"), "precious").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("nothing", room.at("dangling")).unwrap();
    let begun = At::going_on(0, || ());
    for name in if cfg!(unix) { vec!["file", "dangling"] } else { vec!["file"] } {
        let refused = |options| compress(&model, Some(&room.at(name)), &options, &begun).unwrap_err();
        assert!(matches!(refused(keep()), ArchiveError::Exists { .. }));
        assert!(matches!(refused(replace()), ArchiveError::InTheWay { .. }));
    }
    // A folder in the place of a file.
    fs::remove_dir_all(room.at("empty")).unwrap();
    fs::create_dir_all(room.at("empty/config.json")).unwrap();
    let error = compress(&model, Some(&room.at("empty")), &replace(), &begun).unwrap_err();
    assert!(matches!(&error, ArchiveError::InTheWay { path } if path.ends_with("config.json")), "{error}");
    assert!(!begun.done.load(Ordering::Relaxed));
    assert_eq!(names(&room.at("empty")), ["config.json"]);
}

#[test]
fn a_folder_whose_replacement_was_interrupted_is_refused_until_it_is_brought_about() {
    let room = Room::new();
    let new = room.model("new", 2, 100);
    let packed = compress(&new, None, &keep(), &()).unwrap().output;
    for (state, moved) in [("Removing", 0), ("Moving", 0), ("Moving", 2), ("Moving", 4)] {
        // What a process leaves that is killed then.
        let out = room.model("out", if state == "Removing" { 3 } else { 1 }, 1);
        if state == "Moving" {
            fs::remove_dir_all(&out).unwrap();
            fs::create_dir(&out).unwrap();
        }
        let unfinished = out.join(".bantam-partial");
        fs::create_dir(&unfinished).unwrap();
        for (i, name) in names(&packed).iter().enumerate() {
            let folder = if i < moved { &out } else { &unfinished };
            fs::copy(packed.join(name), folder.join(name)).unwrap();
        }
        let record = format!("{{\"work\":\"x\",\"sources\":{{}},\"state\":\"{state}\"}}");
        fs::write(unfinished.join(".bantam-record.json"), record).unwrap();
        fs::write(unfinished.join(".bantam-lock"), "").unwrap();
        let is_refused = |error: ArchiveError| {
            assert!(matches!(error, ArchiveError::Unfinished { .. }), "{error}");
        };
        is_refused(ModelFiles::open(&out).unwrap_err());
        is_refused(verify(&out, &()).unwrap_err());
        is_refused(decompress(&out, Some(&room.at("x")), &keep(), &()).unwrap_err());
        is_refused(compress(&out, Some(&room.at("x")), &keep(), &()).unwrap_err());
        // The same command again, which needs nothing of the source any more.
        assert!(matches!(compress(&new, Some(&out), &keep(), &()), Err(ArchiveError::Exists { .. })));
        assert_eq!(tree(&out), tree(&packed), "{state} {moved}");
        fs::remove_dir_all(&out).unwrap();
    }
}

#[test]
fn many_who_write_one_folder_at_once_get_it_whole_or_are_told() {
    let room = Room::new();
    let model = room.model("m", 2, 1);
    let expected = compress(&model, Some(&room.at("expected")), &keep(), &()).unwrap().output;
    for round in 0..6 {
        let out = room.at("out");
        let options = if round % 2 == 0 { keep() } else { replace() };
        let results: Vec<_> = std::thread::scope(|scope| {
            let one = || scope.spawn(|| compress(&model, Some(&out), &options, &()));
            let all: Vec<_> = (0..4).map(|_| one()).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(results.iter().any(Result::is_ok), "{results:?}");
        for error in results.into_iter().filter_map(Result::err) {
            assert!(matches!(error, ArchiveError::Busy { .. } | ArchiveError::Exists { .. }), "{error:?}");
        }
        assert_eq!(tree(&out), tree(&expected));
        assert_eq!(fs::read_dir(room.0.path()).unwrap().count(), 3, "something was left");
        fs::remove_dir_all(&out).unwrap();
    }
}

#[test]
fn what_was_begun_for_an_absent_folder_is_gone_on_with_in_one_that_has_come_to_be() {
    let room = Room::new();
    let model = room.model("m", 2, 1);
    let (out, whole) = (room.at("out"), room.at("whole"));
    compress(&model, Some(&whole), &keep(), &()).unwrap();
    let of = |name: &str| fs::metadata(model.join(name)).unwrap().len();
    let handled =
        of("config.json") + of("model.safetensors.index.json") + of("model-00001-of-00002.safetensors");
    assert!(compress(&model, Some(&out), &keep(), &At::new(handled + 1, || ())).is_err());
    fs::create_dir(&out).unwrap();
    assert_eq!(compress(&model, Some(&out), &keep(), &()).unwrap().finished, 1);
    assert_eq!(tree(&out), tree(&whole));
    assert!(!room.at(".out.bantam-partial").exists());
    // It may come to be while the other is filled, empty or not.
    fs::remove_dir_all(&out).unwrap();
    compress(&model, Some(&out), &keep(), &At::going_on(1, || fs::create_dir(&out).unwrap())).unwrap();
    assert_eq!(tree(&out), tree(&whole));
    fs::remove_dir_all(&out).unwrap();
    let filled = At::going_on(1, || {
        fs::create_dir(&out).unwrap();
        fs::write(out.join("mine"), "precious").unwrap();
    });
    assert!(matches!(compress(&model, Some(&out), &keep(), &filled), Err(ArchiveError::Exists { .. })));
    assert_eq!(names(&out), ["mine"]);
    // What was finished is kept, and has its place once there is one.
    fs::remove_dir_all(&out).unwrap();
    assert_eq!(compress(&model, Some(&out), &keep(), &()).unwrap().finished, 2);
    assert_eq!(tree(&out), tree(&whole));
}

#[test]
fn verify_looks_at_plain_shards_and_at_what_the_index_says_of_all() {
    let room = Room::new();
    let model = room.model("m", 2, 1);
    let packed = compress(&model, None, &keep(), &()).unwrap().output;
    let [first, second] = ["model-00001-of-00002", "model-00002-of-00002"];
    // One shard as it was before it was compressed.
    fs::remove_file(packed.join(format!("{second}.bantam.safetensors"))).unwrap();
    let plain = packed.join(format!("{second}.safetensors"));
    let bytes = fs::read(model.join(format!("{second}.safetensors"))).unwrap();
    fs::write(&plain, &bytes).unwrap();
    let found = verify(&packed, &()).unwrap();
    assert_eq!((found.tensors, found.plain, found.failures.len()), (1, 1, 0));
    let output = bantam(["verify", "m-bantam"], room.0.path());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 more are not compressed"), "{said}");
    fs::write(&plain, &bytes[..bytes.len() - 10]).unwrap();
    let found = verify(&packed, &()).unwrap();
    assert_eq!((found.failures.len(), &found.failures[0].file), (1, &plain));
    assert_eq!(bantam(["verify", "m-bantam"], room.0.path()).status.code(), Some(1));
    fs::write(&plain, &bytes).unwrap();
    // An index that has the tensors elsewhere.
    let wrong = [
        (format!(r#""w0":"{second}.safetensors","w1":"{first}.safetensors""#), 2),
        (format!(r#""w0":"{first}.safetensors","w1":"{second}.safetensors","w2":"{first}.safetensors""#), 1),
    ];
    for (map, failures) in wrong {
        let index = packed.join("model.safetensors.index.json");
        fs::write(index, format!("{{\"weight_map\":{{{map}}}}}")).unwrap();
        let found = verify(&packed, &()).unwrap();
        assert_eq!(found.failures.len(), failures, "{found:?}");
        assert!(found.failures[0].error.to_string().contains("which it does not"), "{found:?}");
    }
}

#[test]
#[cfg(unix)]
fn pipes_in_the_place_of_a_list_or_a_record_are_not_waited_for() {
    let room = Room::new();
    let fifo = |path: &Path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    let model = room.model("m", 1, 1);
    fs::create_dir(model.join(".bantam-partial")).unwrap();
    fifo(&model.join(".bantam-partial/.bantam-record.json"));
    assert_eq!(weights_of(&model).len(), 1);
    fifo(&model.join("model.safetensors.index.json"));
    for error in [
        ModelFiles::open(&model).unwrap_err(),
        compress(&model, None, &keep(), &()).unwrap_err(),
        verify(&model, &()).unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(error.contains("index.json") && error.contains("not a regular file"), "{error}");
    }
    // What is no weights is named, and left out.
    fs::remove_file(model.join("model.safetensors.index.json")).unwrap();
    fifo(&model.join("README.md"));
    let report = compress(&model, None, &keep(), &()).unwrap();
    assert_eq!(report.left_out, [PathBuf::from("README.md")]);
}

#[test]
fn whoever_opens_a_folder_while_it_is_replaced_gets_one_model_or_an_error() {
    let room = Room::new();
    let models = [room.model("a", 3, 1), room.model("b", 2, 100)];
    let packed = models.each_ref().map(|model| compress(model, None, &keep(), &()).unwrap().output);
    let either = packed.each_ref().map(|model| weights_of(model));
    let out = compress(&models[0], Some(&room.at("out")), &keep(), &()).unwrap().output;
    let (done, whole) = (AtomicBool::new(false), std::sync::atomic::AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..60 {
                compress(&models[1 - round % 2], Some(&out), &replace(), &()).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            let Ok(files) = ModelFiles::open(&out) else { continue };
            let found: Vec<_> =
                files.weights().map(|w| (w.name.to_string(), w.bytes().unwrap().into_owned())).collect();
            assert!(either.contains(&found), "weights of two models");
            whole.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert!(whole.into_inner() > 0);
}
