//! Restoring a model from a store.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use rayon::prelude::*;

use super::error::StoreError;
use super::faults::strike;
use super::manifest::{ManifestFile, PieceId};
use super::name::VersionName;
use super::objects::sync_folder;
use super::piece::TOGETHER;
use super::store::Store;
use super::versions::Version;
use crate::archive::{Options, Progress, compress, reported};

/// What restoring a model did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    /// The version.
    pub version: Version,
    /// Bytes of its files.
    pub original_bytes: u64,
    /// Bytes of the payloads that were read for it, those of bases included.
    pub stored_bytes: u64,
}

impl Store {
    /// Writes a model's files to the new folder `to`, byte for byte, or, if `compressed`, as a compressed
    /// folder. The folder appears once all files are there and have the hashes that they were added with.
    pub fn get(
        &self,
        name: &VersionName,
        to: &Path,
        compressed: bool,
        progress: &dyn Progress,
    ) -> Result<Got, StoreError> {
        let version = self.version(name)?;
        let manifest = self.manifest(&version)?;
        let has = |piece: &PieceId| piece.hash().is_ok_and(|hash| self.index.place(&hash).is_some());
        // It may have been added after the index was read.
        let again = if manifest.pieces().all(has) { None } else { Some(self.again()?) };
        let store = again.as_ref().unwrap_or(self);
        if fs::symlink_metadata(to).is_ok() {
            return Err(StoreError::Exists { path: to.into() });
        }
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(StoreError::io("create the folder", parent))?;
        let beside = tempfile::Builder::new().prefix(".bantam-partial-").tempdir_in(parent);
        let beside = beside.map_err(StoreError::io("create a folder in", parent))?;
        let plain = beside.path().join("model");
        fs::create_dir(&plain).map_err(StoreError::io("create the folder", plain.clone()))?;
        reported(progress, manifest.bytes(), "restoring", || {
            manifest.files.iter().try_for_each(|file| store.write_file(file, &plain, progress))
        })?;
        match compressed {
            true => drop(compress(&plain, Some(to), &Options::DEFAULT, progress)?),
            false => {
                // An empty folder would be replaced on some systems; that there is none was seen above.
                strike().and_then(|()| fs::rename(&plain, to)).map_err(StoreError::io("create", to))?;
                sync_folder(parent)?;
            }
        }
        let stored_bytes = store.payload_bytes(manifest.pieces().map(PieceId::hash))?;
        Ok(Got { version, original_bytes: manifest.bytes(), stored_bytes })
    }

    /// Writes a file of a model to `folder`, and compares its hash.
    fn write_file(
        &self,
        file: &ManifestFile,
        folder: &Path,
        progress: &dyn Progress,
    ) -> Result<(), StoreError> {
        let path = folder.join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(StoreError::io("create the folder", parent))?;
        }
        let out = strike()
            .and_then(|()| File::create_new(&path))
            .map_err(StoreError::io("create", path.clone()))?;
        let mut out = Output { path: &path, file: out, hasher: blake3::Hasher::new(), at: 0, progress };
        let mut outside = Vec::new();
        for piece in &file.outside {
            // A file without tensors is written as it comes; a header is small.
            match file.tensors.is_empty() {
                true => out.write(&self.read_piece(piece)?)?,
                false => outside.extend(self.read_piece(piece)?),
            }
        }
        let bad = |what: &str| StoreError::Object { path: path.clone(), what: what.into() };
        let mut rest = &outside[..];
        let pieces = file.tensors.iter().flat_map(|tensor| &tensor.pieces).collect();
        let mut decoded = Ahead { store: self, pieces, ready: Vec::new().into_iter() };
        for tensor in &file.tensors {
            let gap = tensor.start.checked_sub(out.at).and_then(|gap| usize::try_from(gap).ok());
            let gap = gap
                .and_then(|gap| rest.split_off(..gap))
                .ok_or_else(|| bad("the manifest's tensors do not fit it"))?;
            out.write(gap)?;
            for _ in &tensor.pieces {
                out.write(&decoded.next()?)?;
            }
        }
        out.write(rest)?;
        strike().and_then(|()| out.file.sync_all()).map_err(StoreError::io("write", path.clone()))?;
        match out.at == file.bytes && out.hasher.finalize().to_hex().as_str() == file.blake3 {
            true => Ok(()),
            false => Err(bad("the file does not come out as it was added: its BLAKE3 differs")),
        }
    }

    /// Bytes of the payloads of these pieces and of their bases, each counted once.
    pub(super) fn payload_bytes(
        &self,
        pieces: impl Iterator<Item = Result<blake3::Hash, StoreError>>,
    ) -> Result<u64, StoreError> {
        let mut counted = HashSet::new();
        let mut bytes = 0;
        for hash in pieces {
            let mut next = Some(hash?);
            while let Some(hash) = next.take().filter(|hash| counted.insert(*hash)) {
                if let Some(place) = self.index.place(&hash) {
                    bytes = u64::saturating_add(bytes, place.length);
                    next = place.base;
                }
            }
        }
        Ok(bytes)
    }
}

/// Pieces that are decoded some at a time, side by side.
struct Ahead<'a> {
    store: &'a Store,
    /// Those that are not decoded yet.
    pieces: VecDeque<&'a PieceId>,
    ready: std::vec::IntoIter<Vec<u8>>,
}

impl Ahead<'_> {
    /// The bytes of the next piece. There must be one.
    fn next(&mut self) -> Result<Vec<u8>, StoreError> {
        if let Some(bytes) = self.ready.next() {
            return Ok(bytes);
        }
        let mut bytes = 0;
        let is_taken = |piece: &&&PieceId| {
            let before = bytes;
            bytes = u64::saturating_add(bytes, piece.bytes);
            before == 0 || bytes <= TOGETHER as u64
        };
        let count = self.pieces.iter().take_while(is_taken).count();
        let taken: Vec<&PieceId> = self.pieces.drain(..count).collect();
        let decoded: Vec<Vec<u8>> =
            taken.par_iter().map(|piece| self.store.read_piece(piece)).collect::<Result<_, _>>()?;
        self.ready = decoded.into_iter();
        Ok(self.ready.next().expect("a piece that was taken"))
    }
}

/// A file that is written and hashed.
struct Output<'a> {
    path: &'a Path,
    file: File,
    hasher: blake3::Hasher,
    at: u64,
    progress: &'a dyn Progress,
}

impl Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if self.progress.cancelled() {
            return Err(StoreError::Cancelled);
        }
        strike().and_then(|()| self.file.write_all(bytes)).map_err(StoreError::io("write", self.path))?;
        self.hasher.update_rayon(bytes);
        self.at += bytes.len() as u64;
        self.progress.advance(bytes.len() as u64);
        Ok(())
    }
}
