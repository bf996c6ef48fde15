//! Tests that kill a process that writes a folder, before each change that it makes to the disk, in turn.
//!
//! The next run must finish. Whenever a command would read the output, it must find the old one or the new
//! one. These tests do not simulate power loss: only `sync_all` ensures that data reaches the disk.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use proptest::prelude::*;
use tempfile::TempDir;

use super::disk::steps::hooked;
use super::output_folder::{is_own, refuse_unfinished};
use super::{ArchiveError, Options, Report, compress};

/// A folder's entries at all depths, by name; each folder comes before its entries.
type Tree = Vec<(PathBuf, Entry)>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Folder,
    File(Vec<u8>),
    Link(PathBuf),
}

/// A limit that no run's number of changes reaches.
const ENDLESS: usize = 1000;

/// A file of a model that other models in the same folder may not share.
const TOKENIZER: &str = "tokenizer.json";

/// Two models, their compressed forms, and an output.
struct Room {
    folder: TempDir,
    new: Model,
    other: Model,
}

struct Model {
    path: PathBuf,
    plain: Tree,
    packed: Tree,
}

impl Room {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name| folder.path().join(name);
        // Shard names, with a shard index or not, with a tokenizer or not.
        let new = Model::make(&at("new"), "model", &["model-1-of-2", "model-2-of-2"], false);
        let other = Model::make(&at("other"), "a-list", &["unusual", "x"], true);
        Self { folder, new, other }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn beside(&self) -> PathBuf {
        self.folder.path().join(".out.bantam-partial")
    }

    fn clear(&self) {
        for path in [self.out(), self.beside()] {
            let _ = fs::remove_dir_all(path);
        }
    }

    /// Compresses a model to the output.
    fn write(&self, model: &Model, overwrite: bool) -> Result<Report, ArchiveError> {
        write(&model.path, &self.out(), overwrite)
    }

    /// Begins `model` and is killed after its first shard is finished.
    fn begin(&self, model: &Model, overwrite: bool) {
        for after in 0.. {
            assert!(
                killed(after, || self.write(model, overwrite)),
                "no moment at which one shard is finished"
            );
            if self.vouched().len() == 1 {
                return;
            }
        }
    }

    /// The finished shards that a record vouches for.
    fn vouched(&self) -> Vec<String> {
        let mut vouched = Vec::new();
        for unfinished in [self.beside(), self.out().join(".bantam-partial")] {
            let Ok(json) = fs::read(unfinished.join(".bantam-record.json")) else { continue };
            let record: serde_json::Value = serde_json::from_slice(&json).unwrap();
            let names = record["sources"].as_object().unwrap().keys();
            vouched.extend(names.filter(|name| unfinished.join(name).is_file()).cloned());
        }
        vouched
    }

    /// What a reader finds in the output; `None` if the reader is told that the output is unfinished.
    fn readable(&self) -> Option<Tree> {
        refuse_unfinished(&self.out()).ok().map(|()| tree(&self.out(), true))
    }

    /// Checks that no run has changed its input, and that a reader is refused or finds one of `possible`.
    fn check(&self, possible: &[&Tree], when: &str) {
        for model in [&self.new, &self.other] {
            assert_eq!(tree(&model.path, false), model.plain, "an input has changed: {when}");
        }
        if let Some(found) = self.readable() {
            assert!(possible.contains(&&found), "neither old nor new: {when}: {:?}", names(&found));
        }
    }

    /// Finishes `model` in another run, which must not rewrite any shard that the record vouched for.
    fn finish(&self, model: &Model, overwrite: bool, expected: &Tree, when: &str) {
        let vouched = self.vouched().len();
        // Once the new model is complete, the run only moves it into place, without replacing it again.
        let overwrite = overwrite && self.readable().is_some_and(|found| found != *expected);
        match self.write(model, overwrite) {
            Ok(report) => assert_eq!(report.finished, vouched, "{when}"),
            Err(ArchiveError::Exists { .. }) if !overwrite => {}
            Err(error) => panic!("{when}: {error}"),
        }
        let found = self.readable().expect(when);
        assert!(found == *expected, "{when}: {:?}, not {:?}", names(&found), names(expected));
    }
}

impl Model {
    fn make(path: &Path, list: &str, shards: &[&str], has_tokenizer: bool) -> Self {
        fs::create_dir_all(path.join("inner")).unwrap();
        fs::write(path.join("config.json"), list).unwrap();
        fs::write(path.join("inner/config.json"), list).unwrap();
        if has_tokenizer {
            fs::write(path.join(TOKENIZER), list).unwrap();
        }
        let mut map = Vec::new();
        for (i, shard) in shards.iter().enumerate() {
            let bytes: Vec<u8> = (0..512).map(|byte| (byte * (7 + 2 * i) + list.len()) as u8).collect();
            let header = format!(r#"{{"w{i}":{{"dtype":"U8","shape":[8,64],"data_offsets":[0,512]}}}}"#);
            let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &bytes].concat();
            fs::write(path.join(format!("{shard}.safetensors")), file).unwrap();
            map.push(format!(r#""w{i}":"{shard}.safetensors""#));
        }
        let json = format!(r#"{{"weight_map":{{{}}}}}"#, map.join(","));
        fs::write(path.join(format!("{list}.safetensors.index.json")), json).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("inner", path.join("link")).unwrap();
        let packed = path.with_extension("packed");
        write(path, &packed, false).unwrap();
        Self { path: path.into(), plain: tree(path, false), packed: tree(&packed, false) }
    }
}

fn write(model: &Path, out: &Path, overwrite: bool) -> Result<Report, ArchiveError> {
    compress(model, Some(out), &Options::DEFAULT.with_overwrite(overwrite), &())
}

/// The contents of a folder, with or without bantam's own files. Empty if there is no folder.
fn tree(path: &Path, without_own: bool) -> Tree {
    let (mut found, mut unread) = (Tree::new(), vec![path.to_path_buf()]);
    while let Some(folder) = unread.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let entry = entry.unwrap();
            if without_own && is_own(&entry.file_name()) {
                continue;
            }
            let (at, kind) = (entry.path(), entry.file_type().unwrap());
            let what = match () {
                () if kind.is_dir() => Entry::Folder,
                () if kind.is_file() => Entry::File(fs::read(&at).unwrap()),
                () => Entry::Link(fs::read_link(&at).unwrap()),
            };
            found.push((at.strip_prefix(path).unwrap().into(), what));
            if kind.is_dir() {
                unread.push(at);
            }
        }
    }
    found.sort();
    found
}

/// Creates a folder with the contents of `tree`.
fn plant(path: &Path, tree: &Tree) {
    fs::create_dir(path).unwrap();
    for (name, what) in tree {
        let at = path.join(name);
        match what {
            Entry::Folder => fs::create_dir(at).unwrap(),
            Entry::File(bytes) => fs::write(at, bytes).unwrap(),
            #[cfg(unix)]
            Entry::Link(to) => std::os::unix::fs::symlink(to, at).unwrap(),
            #[cfg(not(unix))]
            Entry::Link(_) => unreachable!("no test makes links here"),
        }
    }
}

fn names(tree: &Tree) -> Vec<&PathBuf> {
    tree.iter().map(|(name, _)| name).collect()
}

/// Runs `work` and kills it after this many changes. False if it ended earlier.
fn killed<T>(after: usize, work: impl FnOnce() -> T) -> bool {
    interrupted(move |change| change >= after, work)
}

/// Runs `work` and makes one of its changes fail. False if it ended earlier.
fn refused<T>(one: usize, work: impl FnOnce() -> T) -> bool {
    interrupted(move |change| change == one, work)
}

fn interrupted<T>(fails: impl Fn(usize) -> bool + 'static, work: impl FnOnce() -> T) -> bool {
    let failed = Rc::new(Cell::new(false));
    let (mut change, seen) = (0, failed.clone());
    let hook = move || {
        let fails = fails(change);
        change += 1;
        seen.set(seen.get() || fails);
        if fails { Err(io::Error::other("a test interrupts this")) } else { Ok(()) }
    };
    hooked(Box::new(hook), work);
    failed.get()
}

/// Writes the new model over what `prepare` leaves, and interrupts the run at each change in turn.
fn interrupt_everywhere(room: &Room, overwrite: bool, before: &Tree, after: &Tree, prepare: impl Fn()) {
    room.clear();
    prepare();
    let paths = [room.out(), room.beside()];
    let prepared = paths.each_ref().map(|path| path.exists().then(|| tree(path, false)));
    for is_killed in [true, false] {
        let mut changes = 0;
        loop {
            room.clear();
            for (path, tree) in paths.iter().zip(&prepared) {
                tree.iter().for_each(|tree| plant(path, tree));
            }
            let vouched = room.vouched();
            let write = || room.write(&room.new, overwrite);
            let was = if is_killed { killed(changes, write) } else { refused(changes, write) };
            let when = format!("change {changes}, killed: {is_killed}");
            room.check(&[before, after], &when);
            let still = room.vouched();
            let is_published = room.readable().as_ref() == Some(after);
            let is_kept = vouched.iter().all(|shard| still.contains(shard));
            assert!(is_kept || is_published || room.readable().is_none(), "a finished shard is lost: {when}");
            room.finish(&room.new, overwrite, after, &when);
            // A file that the system did not move stays where it is.
            assert!(!is_killed || !room.beside().exists(), "something is left: {when}");
            if !was {
                break;
            }
            changes += 1;
            assert!(changes < ENDLESS);
        }
        assert!(changes > 20, "{changes} changes only");
    }
}

/// `packed`, with those files in `kept` that belong to no model.
fn beside_others(packed: &Tree, kept: &[(&str, &[u8])]) -> Tree {
    let mut tree = packed.clone();
    tree.extend(kept.iter().map(|(name, bytes)| (PathBuf::from(name), Entry::File(bytes.to_vec()))));
    tree.sort();
    tree
}

#[test]
fn a_new_output_is_absent_or_whole() {
    let room = Room::new();
    interrupt_everywhere(&room, false, &Tree::new(), &room.new.packed, || ());
    interrupt_everywhere(&room, true, &Tree::new(), &room.new.packed, || fs::create_dir(room.out()).unwrap());
}

#[test]
fn a_resumed_output_is_absent_or_whole_and_keeps_its_finished_shards() {
    let room = Room::new();
    interrupt_everywhere(&room, false, &Tree::new(), &room.new.packed, || room.begin(&room.new, false));
    // The output was created after the first run began.
    interrupt_everywhere(&room, false, &Tree::new(), &room.new.packed, || {
        room.begin(&room.new, false);
        fs::create_dir(room.out()).unwrap();
    });
}

#[test]
fn what_cannot_be_moved_into_the_output_is_left_aside() {
    let room = Room::new();
    room.begin(&room.new, false);
    let begun = tree(&room.beside(), false);
    // One of the first changes is the move, which no system can make between two disks.
    let is_left = |change| {
        room.clear();
        plant(&room.beside(), &begun);
        fs::create_dir(room.out()).unwrap();
        refused(change, || room.write(&room.new, false));
        room.beside().exists() && room.readable().as_ref() == Some(&room.new.packed)
    };
    assert!((0..4).any(is_left));
}

#[test]
fn a_replaced_output_is_old_or_new_and_never_both() {
    let room = Room::new();
    let notes: &[(&str, &[u8])] = &[("notes.txt", b"mine")];
    let after = beside_others(&room.new.packed, notes);
    // The shards of one old model are known only from its index; the other is a single file. Both have a
    // tokenizer.
    let before = beside_others(&room.other.packed, notes);
    let of_other = || {
        plant(&room.out(), &room.other.packed);
        fs::write(room.out().join("notes.txt"), "mine").unwrap();
    };
    interrupt_everywhere(&room, true, &before, &after, of_other);
    interrupt_everywhere(&room, true, &before, &after, || {
        of_other();
        room.begin(&room.new, true);
    });
    let single: &[(&str, &[u8])] =
        &[("model.safetensors", b"weights"), ("notes.txt", b"mine"), (TOKENIZER, b"its own")];
    let before = beside_others(&Tree::new(), single);
    interrupt_everywhere(&room, true, &before, &after, || plant(&room.out(), &before));
    // A description without weights does not belong to an old model.
    let alone: &[(&str, &[u8])] = &[(TOKENIZER, b"somebody's")];
    let (before, after) = (beside_others(&Tree::new(), alone), beside_others(&room.new.packed, alone));
    interrupt_everywhere(&room, true, &before, &after, || plant(&room.out(), &before));
}

#[test]
fn what_another_run_had_begun_for_the_same_output_is_never_mixed_in() {
    let room = Room::new();
    room.begin(&room.other, false);
    let begun = tree(&room.beside(), false);
    for changes in 0.. {
        room.clear();
        plant(&room.beside(), &begun);
        let was = killed(changes, || room.write(&room.new, false));
        let when = format!("killed at change {changes}");
        room.check(&[&Tree::new(), &room.new.packed], &when);
        match room.write(&room.new, false) {
            Ok(_) | Err(ArchiveError::Exists { .. }) => {}
            Err(error) => panic!("{when}: {error}"),
        }
        assert_eq!(room.readable().as_ref(), Some(&room.new.packed), "{when}");
        if !was {
            return;
        }
    }
}

/// The unfinished folders of the output that have contents, and of these the ones without a lock.
fn without_lock(folders: &[PathBuf]) -> Vec<&PathBuf> {
    let has_contents = |folder: &&PathBuf| fs::read_dir(folder).is_ok_and(|mut all| all.next().is_some());
    folders.iter().filter(has_contents).filter(|folder| !folder.join(".bantam-lock").exists()).collect()
}

/// Removing a file at a time takes long enough for another process to begin in the same folder.
#[test]
fn the_lock_is_the_first_file_of_an_unfinished_folder_and_the_last() {
    let room = Room::new();
    let folders = [room.beside(), room.out().join(".bantam-partial")];
    for overwrite in [false, true] {
        for at in 0.. {
            room.clear();
            if overwrite {
                plant(&room.out(), &room.other.packed);
            }
            let looked_at = folders.clone();
            let fails = move |change| {
                assert_eq!(without_lock(&looked_at), Vec::<&PathBuf>::new(), "change {change} after {at}");
                change == at
            };
            if !interrupted(fails, || room.write(&room.new, overwrite)) {
                break;
            }
            assert_eq!(without_lock(&folders), Vec::<&PathBuf>::new(), "after change {at} was refused");
        }
    }
}

#[test]
fn a_written_output_has_no_files_of_the_run_that_wrote_it() {
    let room = Room::new();
    let own = || {
        let entries = fs::read_dir(room.out()).unwrap().map(|entry| entry.unwrap().file_name());
        entries.filter(|name| is_own(name)).collect::<Vec<_>>()
    };
    room.write(&room.new, false).unwrap();
    assert_eq!(own(), Vec::<std::ffi::OsString>::new(), "a new one");
    room.write(&room.other, true).unwrap();
    assert_eq!(own(), Vec::<std::ffi::OsString>::new(), "one that was replaced");
    room.clear();
    fs::create_dir(room.out()).unwrap();
    room.write(&room.new, false).unwrap();
    assert_eq!(own(), Vec::<std::ffi::OsString>::new(), "in an empty folder");
    // Killed once the folder has its final name, the next run removes what was left.
    let mut left = 0;
    for at in 0.. {
        room.clear();
        if !killed(at, || room.write(&room.new, false)) {
            break;
        }
        if room.out().exists() {
            left += own().len();
            room.write(&room.other, true).unwrap();
            assert_eq!(own(), Vec::<std::ffi::OsString>::new(), "after a death at change {at}");
        }
    }
    assert!(left > 0, "no death left a file in the output");
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_locks_place_is_refused() {
    let room = Room::new();
    fs::create_dir(room.beside()).unwrap();
    let lock = room.beside().join(".bantam-lock");
    assert!(std::process::Command::new("mkfifo").arg(&lock).status().unwrap().success());
    // Opening it for writing would wait for a reader.
    let (told, result) = std::sync::mpsc::channel();
    let (new, out) = (room.new.path.clone(), room.out());
    std::thread::spawn(move || told.send(write(&new, &out, false)));
    let result = result.recv_timeout(std::time::Duration::from_secs(60)).expect("it waits for the pipe");
    assert!(matches!(&result, Err(ArchiveError::SpecialOutput { path, .. }) if *path == lock), "{result:?}");
    assert!(!room.out().exists());
}

/// Writes the new model, and runs `what` at change number `at`.
fn while_writing(room: &Room, overwrite: bool, at: usize, what: impl Fn() + 'static) -> Option<bool> {
    let reached = Rc::new(Cell::new(false));
    let (mut change, seen) = (0, reached.clone());
    let hook = move || {
        if change == at {
            seen.set(true);
            what();
        }
        change += 1;
        Ok(())
    };
    let result = hooked(Box::new(hook), || room.write(&room.new, overwrite));
    match &result {
        Ok(_) | Err(ArchiveError::Exists { .. } | ArchiveError::Busy { .. }) => {}
        Err(error) => panic!("change {at}: {error}"),
    }
    reached.get().then_some(result.is_ok())
}

#[test]
fn two_processes_at_one_output_leave_one_model() {
    let room = Room::new();
    for overwrite in [false, true] {
        for at in 0.. {
            room.clear();
            if overwrite {
                plant(&room.out(), &room.other.packed);
            }
            let (other, out) = (room.other.path.clone(), room.out());
            let its = Rc::new(Cell::new(false));
            let is_written = its.clone();
            let own = while_writing(&room, overwrite, at, move || {
                let result = write(&other, &out, overwrite);
                assert!(
                    matches!(result, Ok(_) | Err(ArchiveError::Busy { .. } | ArchiveError::Exists { .. })),
                    "{result:?}"
                );
                is_written.set(result.is_ok());
            });
            let Some(own) = own else { break };
            room.check(&[&room.new.packed, &room.other.packed], &format!("change {at}"));
            assert!(own || its.get(), "change {at}: nobody has written the output");
            let last = if own && (overwrite || !its.get()) { &room.new } else { &room.other };
            if !(own && its.get()) {
                assert_eq!(room.readable().as_ref(), Some(&last.packed), "change {at}");
            }
        }
    }
}

#[test]
fn a_process_that_waited_for_one_that_was_killed_while_it_replaced_finishes_that_first() {
    let room = Room::new();
    let notes: &[(&str, &[u8])] = &[("notes.txt", b"mine")];
    let after = beside_others(&room.new.packed, notes);
    let among = beside_others(&room.other.packed, notes);
    let old: &[(&str, &[u8])] = &[("model.safetensors", b"old"), ("notes.txt", b"mine"), (TOKENIZER, b"old")];
    let before = beside_others(&Tree::new(), old);
    // The new model's run has read the state. Then the other run is killed at each of its changes.
    for (at, its) in (0..3).flat_map(|at| (0..60).map(move |its| (at, its))) {
        room.clear();
        plant(&room.out(), &before);
        let (other, out) = (room.other.path.clone(), room.out());
        let kill_other = move || {
            let _ = killed(its, || write(&other, &out, true));
        };
        assert_eq!(while_writing(&room, true, at, kill_other), Some(true));
        room.check(&[&before, &among, &after], &format!("{at} {its}"));
        assert_eq!(room.readable().as_ref(), Some(&after), "{at} {its}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_sequence_of_deaths_loses_a_finished_shard(
        overwrite: bool,
        deaths in proptest::collection::vec(prop_oneof![0usize..10, 0usize..70], 1..6),
    ) {
        let room = Room::new();
        if overwrite {
            plant(&room.out(), &room.other.packed);
        }
        let before = tree(&room.out(), true);
        for after in &deaths {
            let vouched = room.vouched();
            let lived = !killed(*after, || room.write(&room.new, overwrite));
            room.check(&[&before, &room.new.packed], &format!("{deaths:?}"));
            let still = room.vouched();
            let is_kept = vouched.iter().all(|shard| still.contains(shard));
            let is_over = lived || room.readable().is_none_or(|found| found == room.new.packed);
            prop_assert!(is_kept || is_over, "{vouched:?} {still:?} {deaths:?}");
        }
        room.finish(&room.new, overwrite, &room.new.packed, &format!("{deaths:?}"));
    }
}
