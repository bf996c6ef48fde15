//! A store with an object of somebody else's making, its checksum or name made right: whatever is asked of the store ends,
//! without a panic, and nothing outside of it is touched.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bantam::codec::checksum;
use bantam::store::{AddOptions, GcOptions, Share, Store};
use bantam_fuzz::one_thread;
use libfuzzer_sys::fuzz_target;

/// What is done to an object's JSON.
#[derive(Debug, Arbitrary)]
struct Input {
    object: u8,
    edits: Vec<Edit>,
}

#[derive(Debug, Arbitrary)]
enum Edit {
    /// Bytes are replaced by others.
    Bytes { at: u16, removed: u8, by: Vec<u8> },
    /// A number is replaced by another.
    Number { which: u8, by: u64 },
    /// A text is replaced by another of the same object.
    Text { which: u8, by: u8 },
    /// A text is replaced by one that leads elsewhere.
    Path { which: u8, by: u8 },
}

const PATHS: [&str; 6] = ["../precious", "/tmp", "packs/../../precious", "", "a/../..", "\\\\x"];

/// A small store: a model, one that was made from it, one that was removed, and what writers and collectors leave.
static STORE: LazyLock<BTreeMap<PathBuf, Vec<u8>>> = LazyLock::new(|| {
    let place = tempfile::tempdir().expect("a folder");
    let at = |name: &str| place.path().join(name);
    let mut store = Store::init(&at("store")).expect("a store");
    for (name, step) in [("base", 0), ("tuned", 1), ("gone", 2)] {
        let bytes: Vec<u8> = (0..8192u32)
            .flat_map(|i| {
                let weight = (i.wrapping_mul(0x9e37_79b9) >> 16 & 0x83ff) as u16 | 0x3c00;
                (weight ^ (i % 3 * step) as u16).to_le_bytes()
            })
            .collect();
        let header =
            format!(r#"{{"w":{{"dtype":"BF16","shape":[64,128],"data_offsets":[0,{}]}}}}"#, bytes.len());
        let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &bytes].concat();
        fs::create_dir(at(name)).expect("a folder");
        fs::write(at(name).join("model.safetensors"), file).expect("a file");
        store.add(&at(name), &AddOptions::default(), &()).expect("a model");
    }
    store.remove("gone").expect("a model");
    let objects = read_all(&at("store"));
    let pack = objects.keys().find(|name| name.starts_with("packs")).expect("a pack");
    let manifest = objects.keys().find(|name| name.starts_with("manifests")).expect("a manifest");
    let hash = manifest.file_name().and_then(|name| name.to_str()).expect("a hash");
    let mut objects = objects.clone();
    let end = format!(r#"{{"committed":{{"model":"late","manifest":"{hash}"}}}}"#);
    objects.insert("sessions/01.end".into(), seal(end.as_bytes()));
    objects.insert("sessions/01".into(), Vec::new());
    objects.insert("sessions/02".into(), Vec::new());
    let record = format!(r#"{{"packs":["{}"]}}"#, pack.display());
    objects.insert("condemned/03".into(), seal(record.as_bytes()));
    objects.insert("condemned/03.sessions".into(), seal(br#"["02"]"#));
    objects
});

fn read_all(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut all, mut unread) = (BTreeMap::new(), vec![root.to_path_buf()]);
    while let Some(folder) = unread.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                unread.push(path);
            } else {
                let bytes = fs::read(&path).expect("a file");
                all.insert(path.strip_prefix(root).expect("a path in it").into(), bytes);
            }
        }
    }
    all
}

fn seal(json: &[u8]) -> Vec<u8> {
    [format!("{:016x}\n", checksum(json)).as_bytes(), json].concat()
}

fuzz_target!(|data: &[u8]| {
    if let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(data)) {
        one_thread(|| run(&input));
    }
});

fn run(input: &Input) {
    let mut objects = STORE.clone();
    let names: Vec<PathBuf> =
        objects.iter().filter(|(_, bytes)| !bytes.is_empty()).map(|(n, _)| n.clone()).collect();
    let name = &names[usize::from(input.object) % names.len()];
    change(&mut objects, name, &input.edits);
    let place = tempfile::tempdir().expect("a folder");
    let at = |name: &str| place.path().join(name);
    for (name, bytes) in &objects {
        let path = at("store").join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
    fs::write(at("precious"), b"not the store's").expect("a file");
    let store = at("store");
    if let Ok(opened) = Store::open(&store) {
        let _ = opened.stats();
        for version in opened.list().unwrap_or_default() {
            let name =
                bantam::store::VersionName { model: version.model.clone(), version: Some(version.number) };
            let _ = opened.manifest(&version);
            let _ = opened.get(&name, &at("out/model"), false, &());
            let _ = fs::remove_dir_all(at("out"));
        }
    }
    let _ = Store::check(&store, Some(Share::ALL), &());
    let _ = Store::gc(&store, &GcOptions::default(), &());
    let _ = Store::gc(&store, &GcOptions::default().with_expire(Duration::ZERO), &());
    let _ = Store::repair(&store);
    let left: Vec<_> = fs::read_dir(place.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert!(
        left.len() == 2 && fs::read(at("precious")).is_ok_and(|bytes| bytes == b"not the store's"),
        "{left:?}"
    );
}

/// Changes an object's JSON, and makes what vouches for it fit.
fn change(objects: &mut BTreeMap<PathBuf, Vec<u8>>, name: &Path, edits: &[Edit]) {
    let bytes = objects.remove(name).expect("it is there");
    if name.starts_with("packs") {
        let len = bytes.len();
        let json_len =
            u64::from_le_bytes(bytes[len - 24..len - 16].try_into().expect("eight bytes")) as usize;
        let (payloads, json) = (&bytes[..len - 24 - json_len], &bytes[len - 24 - json_len..len - 24]);
        let json = edited(json, edits);
        let numbers = [(json.len() as u64).to_le_bytes(), checksum(&json).to_le_bytes()].concat();
        objects.insert(name.into(), [payloads, &json, &numbers, b"BTPKEND\0"].concat());
    } else if name.starts_with("manifests") {
        let json = edited(&bytes, edits);
        let (old, new) =
            (name.file_name().expect("a hash").to_owned(), blake3::hash(&json).to_hex().to_string());
        objects.insert(Path::new("manifests").join(&new), json);
        // Versions name the new one.
        let old = old.to_str().expect("a hash").as_bytes().to_vec();
        for (_, entry) in objects.iter_mut().filter(|(name, _)| name.starts_with("models")) {
            if let Some(at) = entry.windows(old.len()).position(|part| part == old) {
                entry[at..at + old.len()].copy_from_slice(new.as_bytes());
                *entry = seal(&entry[17..]);
            }
        }
    } else {
        objects.insert(name.into(), seal(&edited(&bytes[17..], edits)));
    }
}

fn edited(json: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut json = json.to_vec();
    for edit in edits.iter().take(8) {
        let (range, by) = match edit {
            Edit::Bytes { at, removed, by } => {
                let start = usize::from(*at) % (json.len() + 1);
                (start..(start + usize::from(*removed)).min(json.len()), by.clone())
            }
            Edit::Number { which, by } => {
                let Some(range) = nth(&json, *which, |byte| byte.is_ascii_digit()) else { continue };
                (range, by.to_string().into_bytes())
            }
            Edit::Text { which, by } => {
                let is_text = |byte: u8| byte != b'"';
                let (Some(range), Some(other)) = (nth(&json, *which, is_text), nth(&json, *by, is_text))
                else {
                    continue;
                };
                (range, json[other].to_vec())
            }
            Edit::Path { which, by } => {
                let Some(range) = nth(&json, *which, |byte| byte != b'"') else { continue };
                (range, PATHS[usize::from(*by) % PATHS.len()].as_bytes().to_vec())
            }
        };
        json.splice(range, by);
    }
    json
}

/// One of the runs of bytes that `is_part` says, counted modulo their number.
fn nth(json: &[u8], which: u8, is_part: impl Fn(u8) -> bool) -> Option<std::ops::Range<usize>> {
    let runs: Vec<_> = json.chunk_by(|a, b| is_part(*a) == is_part(*b)).collect();
    let mut at = 0;
    let mut parts = Vec::new();
    for run in runs {
        if is_part(run[0]) {
            parts.push(at..at + run.len());
        }
        at += run.len();
    }
    if parts.is_empty() { None } else { Some(parts.swap_remove(usize::from(which) % parts.len())) }
}
