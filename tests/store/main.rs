//! A store: what goes in comes out, once, whatever happens meanwhile.
#![cfg(feature = "cli")]

mod bucket;
mod command;
mod damage;
mod gc;
mod interrupted;
mod models;
mod optimize;
mod protocol;

#[path = "../fixtures/data/mod.rs"]
mod data;
#[path = "../fixtures/left_out/mod.rs"]
mod left_out;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bantam::store::{AddOptions, Added, Store, VersionName};
use tempfile::TempDir;

use crate::data::plain::PlainFile;
use crate::data::{Random, bf16_bytes};

/// A folder with a store in it, and room for models.
pub struct Place {
    pub folder: TempDir,
}

impl Place {
    pub fn with_store() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Store::init(&folder.path().join("store")).unwrap();
        Self { folder }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn open(&self) -> Store {
        Store::open(&self.at("store")).unwrap()
    }

    pub fn add(&self, model: &str) -> Added {
        self.open().add(&self.at(model), &AddOptions::default(), &()).unwrap()
    }

    /// Restores a model to a new folder, and gives its files.
    pub fn get(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let out = self.folder.path().join(format!("out-{}", name.replace(['/', '@'], "-")));
        let _ = fs::remove_dir_all(&out);
        self.open().get(&VersionName::parse(name).unwrap(), &out, false, &()).unwrap();
        files(&out)
    }
}

/// All files of a folder, by their paths in it.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut unread = vec![folder.to_path_buf()];
    while let Some(here) = unread.pop() {
        for entry in fs::read_dir(here).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => unread.push(path),
                false => {
                    let name = path.strip_prefix(folder).unwrap().to_str().unwrap().replace('\\', "/");
                    all.insert(name, fs::read(&path).unwrap());
                }
            }
        }
    }
    all
}

/// Makes a model folder: `seed` makes its weights, and `moves` how far each was moved from there.
pub fn model(folder: &Path, seed: u64, moves: u64, rows: usize) {
    fs::create_dir_all(folder.join("sub")).unwrap();
    let mut steps = Random::new(moves);
    let mut weights = |tensor: u64, count: usize| {
        let weights = Random::new(10 * seed + tensor).gaussian_f32(count);
        let mut step = || if moves == 0 { 0.0 } else { steps.gaussian() * 0.01 };
        let moved: Vec<u16> = weights.iter().map(|w| half::bf16::from_f32(w + step()).to_bits()).collect();
        bf16_bytes(&moved)
    };
    let (embed, up, norm) = (weights(1, rows * 64), weights(2, 96 * 128), weights(3, 64));
    PlainFile::default()
        .tensor("embed", "BF16", &[rows, 64], &embed)
        .tensor("up", "BF16", &[96, 128], &up)
        .tensor("norm", "BF16", &[64], &norm)
        .tensor("nothing", "F32", &[0, 3], &[])
        .write(&folder.join("model.safetensors"));
    fs::write(folder.join("config.json"), format!("{{\"seed\": {seed}, \"moves\": {moves}}}")).unwrap();
    fs::write(folder.join("sub/empty"), b"").unwrap();
    fs::write(folder.join("tokenizer.json"), b"[\"the same in all models\"]".repeat(50)).unwrap();
}
