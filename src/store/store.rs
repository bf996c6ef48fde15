//! A store: made, opened, and what is in it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::folder::Folder;
use super::index::Index;
use super::manifest::{Manifest, PieceId};
use super::name::VersionName;
use super::piece::decode_piece;
use super::sealed;

/// The store's format.
const FORMAT: u64 = 1;

const CONFIG: &str = "config";

/// What the store's own object says.
#[derive(Debug, Serialize, Deserialize)]
struct Config {
    bantam_store: u64,
}

/// What an object of `models` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ModelEntry {
    /// The version's manifest; `None` if the model was removed.
    pub manifest: Option<String>,
}

/// A version of a model in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The model's name.
    pub model: String,
    /// The version's number, from 1.
    pub number: u32,
    /// The name of its manifest, which is the BLAKE3 of that, in hexadecimal.
    pub manifest: String,
}

/// A folder with many models.
#[derive(Debug)]
pub struct Store {
    pub(super) folder: Folder,
    pub(super) index: Index,
}

impl Store {
    /// Makes a store of a folder that is empty or not there.
    pub fn init(path: &Path) -> Result<Self, StoreError> {
        if let Ok(mut entries) = std::fs::read_dir(path)
            && entries.next().is_some()
        {
            return Err(StoreError::NotEmpty { path: path.into() });
        }
        let folder = Folder::new(path);
        folder.create(CONFIG, &sealed::seal(&Config { bantam_store: FORMAT }))?;
        Self::open(path)
    }

    /// Opens a store, and reads its index.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let folder = Self::folder(path)?;
        Ok(Self { index: Index::read(&folder, Err)?, folder })
    }

    /// The folder of the store at `path`.
    pub(super) fn folder(path: &Path) -> Result<Folder, StoreError> {
        let folder = Folder::new(path);
        let config = sealed::read::<Config>(&folder, CONFIG)?
            .ok_or_else(|| StoreError::NoStore { path: path.into() })?;
        match config.bantam_store {
            FORMAT => Ok(folder),
            format => Err(StoreError::UnknownFormat { path: path.into(), format }),
        }
    }

    /// The store's folder.
    pub fn path(&self) -> &Path {
        self.folder.root()
    }

    /// All versions of all models that were not removed, sorted by name and number.
    pub fn list(&self) -> Result<Vec<Version>, StoreError> {
        let mut all: Vec<Version> = Vec::new();
        for name in self.folder.list("models")? {
            let parsed = name.strip_prefix("models/").and_then(|rest| rest.rsplit_once('/'));
            let Some((model, number)) = parsed.and_then(|(model, n)| Some((model, n.parse::<u32>().ok()?)))
            else {
                let what = "this is no version of a model".into();
                return Err(StoreError::Object { path: self.folder.path(&name), what });
            };
            self.take_version(&mut all, model, number, &name)?;
        }
        Ok(all)
    }

    /// The versions of a model that were not removed, by number. Other models are not looked at.
    fn versions_of(&self, model: &str) -> Result<Vec<Version>, StoreError> {
        let mut versions = Vec::new();
        for (number, name) in self.entries_of(model)? {
            self.take_version(&mut versions, model, number, &name)?;
        }
        Ok(versions)
    }

    /// The numbers of all entries of a model, ascending, with the names of their objects.
    fn entries_of(&self, model: &str) -> Result<Vec<(u32, String)>, StoreError> {
        let prefix = format!("models/{model}/");
        let names = self.folder.list(prefix.trim_end_matches('/'))?;
        // What has more parts belongs to a model whose name is longer.
        let number = |name: &String| name.strip_prefix(&prefix)?.parse().ok();
        Ok(names.into_iter().filter_map(|name| Some((number(&name)?, name))).collect())
    }

    /// Adds the version of an entry to those before, or takes them away where it says that the model was removed.
    fn take_version(
        &self,
        versions: &mut Vec<Version>,
        model: &str,
        number: u32,
        name: &str,
    ) -> Result<(), StoreError> {
        let entry = sealed::read::<ModelEntry>(&self.folder, name)?;
        match entry.and_then(|entry| entry.manifest) {
            Some(manifest) => versions.push(Version { model: model.into(), number, manifest }),
            // Numbers are as long as each other, so later ones come later.
            None => versions.retain(|version| version.model != model),
        }
        Ok(())
    }

    /// The version of this name.
    pub fn version(&self, name: &VersionName) -> Result<Version, StoreError> {
        let versions = self.versions_of(&name.model)?.into_iter();
        let found = match name.version {
            Some(number) => versions.into_iter().find(|version| version.number == number),
            None => versions.into_iter().max_by_key(|version| version.number),
        };
        found.ok_or_else(|| StoreError::NoSuchModel { path: self.path().into(), name: name.to_string() })
    }

    /// What a version consists of.
    pub fn manifest(&self, version: &Version) -> Result<Manifest, StoreError> {
        Manifest::read(&self.folder, &version.manifest)
    }

    /// Removes a model, all versions of it. Their bytes stay in the store.
    pub fn remove(&self, model: &str) -> Result<(), StoreError> {
        let name = VersionName::parse(model)?;
        if name.version.is_some() {
            let why = "a model is removed with all its versions";
            return Err(StoreError::BadName { name: model.into(), why });
        }
        self.version(&name)?;
        self.append(&name.model, &ModelEntry { manifest: None }).map(drop)
    }

    /// Adds an entry to a model, with the next number that is free.
    pub(super) fn append(&self, model: &str, entry: &ModelEntry) -> Result<u32, StoreError> {
        let mut number = self.entries_of(model)?.last().map_or(0, |&(number, _)| number);
        loop {
            // Another writer may have taken it meanwhile.
            number += 1;
            if self.folder.create(&format!("models/{model}/{number:08}"), &sealed::seal(entry))? {
                return Ok(number);
            }
        }
    }

    /// The bytes of a piece, decoded, and compared with its hash.
    pub(super) fn read_piece(&self, piece: &PieceId) -> Result<Vec<u8>, StoreError> {
        self.read_hash(&piece.hash()?, piece.bytes, true)
    }

    /// The payload of a piece that decodes to the bytes with this hash.
    pub(super) fn read_payload(&self, hash: &blake3::Hash, bytes: u64) -> Result<Vec<u8>, StoreError> {
        self.read_hash(hash, bytes, true)?;
        let missing = || StoreError::Piece {
            blake3: hash.to_hex().to_string(),
            what: "the store does not have it".into(),
        };
        let place = self.index.place(hash).ok_or_else(missing)?;
        self.folder.read_part(&place.pack, place.start, place.length as usize)
    }

    /// The bytes of the piece with this hash. A base may be no difference itself.
    fn read_hash(&self, hash: &blake3::Hash, bytes: u64, may_be_delta: bool) -> Result<Vec<u8>, StoreError> {
        let blake3 = || hash.to_hex().to_string();
        let bad = |what: String| StoreError::Piece { blake3: blake3(), what };
        let place = self.index.place(hash).ok_or_else(|| bad("the store does not have it".into()))?;
        if place.bytes != bytes {
            return Err(bad(format!("it has {} bytes, but {bytes} are expected", place.bytes)));
        }
        let base = match place.base {
            Some(_) if !may_be_delta => return Err(bad("it is a base, but is itself a difference".into())),
            Some(base) => {
                let len = self.index.place(&base).map_or(0, |place| place.bytes);
                Some(self.read_hash(&base, len, false)?)
            }
            None => None,
        };
        let payload = self.folder.read_part(&place.pack, place.start, place.length as usize)?;
        let path = || self.folder.path(&place.pack);
        let decoded = decode_piece(&payload, base.as_deref()).map_err(|source| StoreError::Payload {
            path: path(),
            blake3: blake3(),
            source,
        })?;
        match blake3::hash(&decoded) == *hash {
            true => Ok(decoded),
            false => Err(bad(format!("{}: it decodes to other bytes", path().display()))),
        }
    }
}
