//! A store: made, opened, and what is in it.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::index::{Index, Place};
use super::manifest::{Manifest, PieceId};
use super::name::VersionName;
use super::objects::{Location, Objects};
use super::piece::{Coded, decode_piece, encode_piece};
use super::sealed;
use super::session;
use super::versions::{self, ModelEntry, Version};
use crate::tensor::Dtype;

/// The store's format.
const FORMAT: u64 = 1;

const CONFIG: &str = "config";

/// Most milliseconds for which lists may be wrong.
const LATEST: u64 = 60 * 60 * 1000;

/// What the store's own object says.
#[derive(Debug, Serialize, Deserialize)]
struct Config {
    bantam_store: u64,
    /// For how long lists may be wrong, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    late_lists_ms: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// An error if everybody would wait for ever.
fn require_bounded(objects: &Objects, late_lists_ms: u64) -> Result<(), StoreError> {
    let what = "lists cannot be late by more than an hour";
    match late_lists_ms <= LATEST {
        true => Ok(()),
        false => Err(StoreError::Object { path: objects.path(CONFIG), what: what.into() }),
    }
}

/// Many models, in a folder or in a bucket.
#[derive(Debug)]
pub struct Store {
    pub(super) objects: Objects,
    pub(super) index: Index,
}

impl Store {
    /// Makes a store of a folder that is empty or not there, or of a place in a bucket where nothing is.
    pub fn init(at: impl Into<Location>) -> Result<Self, StoreError> {
        Self::init_with_late_lists(at, Duration::ZERO)
    }

    /// Makes a store where, for as long as `late`, what was created may be missing from the server's lists, and what
    /// was deleted may be in them. Adding and collecting wait so long, some times each. Lists of folders, and of Amazon's,
    /// Google's and Azure's servers, are never late. An hour is the most.
    pub fn init_with_late_lists(at: impl Into<Location>, late: Duration) -> Result<Self, StoreError> {
        let objects = Objects::new(at.into());
        if !objects.is_empty()? {
            return Err(StoreError::NotEmpty { path: objects.root().into() });
        }
        let late_lists_ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
        require_bounded(&objects, late_lists_ms)?;
        let config = Config { bantam_store: FORMAT, late_lists_ms };
        if !objects.create(CONFIG, &sealed::seal(&config))? {
            return Err(StoreError::NotEmpty { path: objects.root().into() });
        }
        Self::read(objects.with_late_lists(late))
    }

    /// Opens a store, and reads its index.
    pub fn open(at: impl Into<Location>) -> Result<Self, StoreError> {
        Self::read(Self::objects(at)?)
    }

    pub(super) fn read(objects: Objects) -> Result<Self, StoreError> {
        Ok(Self { index: Index::read(&objects, &HashSet::new())?, objects })
    }

    /// The store as it is now.
    pub(super) fn again(&self) -> Result<Self, StoreError> {
        self.objects.wait_for_lists();
        Self::read(self.objects.clone())
    }

    /// The objects of the store at a location.
    pub(super) fn objects(at: impl Into<Location>) -> Result<Objects, StoreError> {
        let objects = Objects::new(at.into());
        let path = || objects.root().to_path_buf();
        let config =
            sealed::read::<Config>(&objects, CONFIG)?.ok_or_else(|| StoreError::NoStore { path: path() })?;
        if config.bantam_store != FORMAT {
            return Err(StoreError::UnknownFormat { path: path(), format: config.bantam_store });
        }
        require_bounded(&objects, config.late_lists_ms)?;
        Ok(objects.with_late_lists(Duration::from_millis(config.late_lists_ms)))
    }

    /// The store's folder, or its URL.
    pub fn path(&self) -> &Path {
        self.objects.root()
    }

    /// All versions of all models that were not removed, sorted by name and number.
    pub fn list(&self) -> Result<Vec<Version>, StoreError> {
        versions::list(&self.objects)
    }

    /// The version of this name.
    pub fn version(&self, name: &VersionName) -> Result<Version, StoreError> {
        versions::find(&self.objects, name)
    }

    /// What a version consists of.
    pub fn manifest(&self, version: &Version) -> Result<Manifest, StoreError> {
        Manifest::read(&self.objects, &version.manifest)
    }

    /// Removes a model, all versions of it. Their bytes stay in the store until [`Store::gc`].
    pub fn remove(&self, model: &str) -> Result<(), StoreError> {
        let name = VersionName::parse(model)?;
        if name.version.is_some() {
            let why = "a model is removed with all its versions";
            return Err(StoreError::BadName { name: model.into(), why });
        }
        // What was committed before is removed, too.
        session::settle(&self.objects)?;
        self.version(&name)?;
        let entry = ModelEntry { manifest: None, session: None };
        versions::append(&self.objects, &name.model, &entry).map(drop)
    }

    /// The bytes of a piece, decoded, and compared with its hash.
    pub(super) fn read_piece(&self, piece: &PieceId) -> Result<Vec<u8>, StoreError> {
        let (hash, bytes) = (piece.hash()?, piece.bytes);
        if self.index.place(&hash).is_none() {
            // It may have been added after the index was read.
            return self.again()?.read_hash(&hash, bytes, true);
        }
        match self.read_hash(&hash, bytes, true) {
            // Its pack was collected after the index was read, and what is needed of it is elsewhere.
            Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                self.again()?.read_hash(&hash, bytes, true)
            }
            read => read,
        }
    }

    /// The bytes of a base that is stored alone: of this piece, or of the one to which it is a difference. `None` if it is
    /// not there.
    pub(super) fn alone(&self, piece: &PieceId) -> Result<Option<(Vec<u8>, blake3::Hash)>, StoreError> {
        let mut hash = piece.hash()?;
        if let Some(Place { base: Some(base), .. }) = self.index.place(&hash) {
            hash = *base;
        }
        let Some(place) = self.index.place(&hash) else { return Ok(None) };
        let id = PieceId { blake3: hash.to_hex().to_string(), bytes: place.bytes };
        Ok(Some((self.read_piece(&id)?, hash)))
    }

    /// The payload of a piece with this hash, alone or as the difference to `base`, whichever is smaller.
    pub(super) fn encode(
        &self,
        (dtype, shape): (Dtype, &[usize]),
        hash: &blake3::Hash,
        data: &[u8],
        base: Option<(&[u8], blake3::Hash)>,
    ) -> Result<Coded, StoreError> {
        encode_piece(dtype, shape, data, base).map_err(|source| StoreError::Payload {
            path: self.path().into(),
            blake3: hash.to_hex().to_string(),
            source,
        })
    }

    /// The payload at `place`, which decodes to the bytes with this hash.
    pub(super) fn read_payload(&self, hash: &blake3::Hash, place: &Place) -> Result<Vec<u8>, StoreError> {
        self.decode(hash, place, true).map(|(payload, _)| payload)
    }

    /// The bytes of the piece with this hash. A base may be no difference itself.
    fn read_hash(&self, hash: &blake3::Hash, bytes: u64, may_be_delta: bool) -> Result<Vec<u8>, StoreError> {
        let bad = |what: String| StoreError::Piece { blake3: hash.to_hex().to_string(), what };
        let place = self.index.place(hash).ok_or_else(|| bad(self.index.why_missing()))?;
        match place.bytes == bytes {
            true => self.decode(hash, place, may_be_delta).map(|(_, decoded)| decoded),
            false => Err(bad(format!("it has {} bytes, but {bytes} are expected", place.bytes))),
        }
    }

    /// The payload at `place`, and what it decodes to: the bytes with this hash.
    fn decode(
        &self,
        hash: &blake3::Hash,
        place: &Place,
        may_be_delta: bool,
    ) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
        let blake3 = || hash.to_hex().to_string();
        let bad = |what: String| StoreError::Piece { blake3: blake3(), what };
        let base = match place.base {
            Some(_) if !may_be_delta => return Err(bad("it is a base, but is itself a difference".into())),
            Some(base) => {
                let len = self.index.place(&base).map_or(0, |place| place.bytes);
                Some(self.read_hash(&base, len, false)?)
            }
            None => None,
        };
        let payload = self.objects.read_part(&place.pack, place.start, place.length as usize)?;
        let path = || self.objects.path(&place.pack);
        let decoded = decode_piece(&payload, base.as_deref()).map_err(|source| StoreError::Payload {
            path: path(),
            blake3: blake3(),
            source,
        })?;
        match blake3::hash(&decoded) == *hash {
            true => Ok((payload, decoded)),
            false => Err(bad(format!("{}: it decodes to other bytes", path().display()))),
        }
    }
}
