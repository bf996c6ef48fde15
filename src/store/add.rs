//! Adding a model to a store.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;

use rayon::prelude::*;

use super::bases::Bases;
use super::condemned::Condemned;
use super::error::StoreError;
use super::index::Index;
use super::kin;
use super::manifest::{Manifest, ManifestFile, PieceId};
use super::name::{self, VersionName};
use super::pack::PacksWriter;
use super::piece::{Coded, TOGETHER, parts};
use super::session::{Commit, Session, give_version, settle};
use super::sketch::Sketch;
use super::source::{
    BLOB, ModelFile, Opened, OpenedTensor, bytes_of_files, default_name, files_of, looks_of, read_blob,
};
use super::store::Store;
use super::versions::Version;
use crate::archive::{Progress, Weight, reported};
use crate::tensor::Dtype;

/// Models that look alike among which one is looked for that is still there.
const MOST_KIN: usize = 16;

/// How a model is added.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct AddOptions {
    /// Its name in the store; by default that of its folder or file.
    pub name: Option<String>,
    /// The model that it was made from. By default one that looks alike is looked for.
    pub base: Option<VersionName>,
}

setters! {
    AddOptions {
        name: Option<String> => with_name,
        base: Option<VersionName> => with_base,
    }
}

/// What adding a model did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The version.
    pub version: Version,
    /// Whether it was there before: then nothing was added.
    pub was_there: bool,
    /// Bytes of its files.
    pub original_bytes: u64,
    /// Bytes of payloads that were written for it.
    pub stored_bytes: u64,
    /// The model to which tensors were compared: its manifest.
    pub base: Option<String>,
}

impl Store {
    /// Adds a model folder, or a file, compressed or not. Of compressed files, the originals are what is
    /// added. Tensors that the store has are not written again; others are stored as the difference to their
    /// base where that is smaller. The version is there, durable, once this returns; if it is interrupted
    /// before, the model is as it was.
    pub fn add(
        &mut self,
        source: &Path,
        options: &AddOptions,
        progress: &dyn Progress,
    ) -> Result<Added, StoreError> {
        let name = match &options.name {
            Some(name) => name.clone(),
            None => default_name(source)?,
        };
        name::check(&name)?;
        let files = files_of(source)?;
        reported(progress, bytes_of_files(&files), "adding", || {
            self.add_files(&name, &files, options, progress)
        })
    }

    fn add_files(
        &mut self,
        name: &str,
        files: &[ModelFile],
        options: &AddOptions,
        progress: &dyn Progress,
    ) -> Result<Added, StoreError> {
        let opened = files.iter().map(Opened::open).collect::<Result<Vec<_>, _>>()?;
        let objects = self.objects.clone();
        settle(&objects)?;
        let session = Session::begin(&objects)?;
        // What is condemned after this will not go before the session has ended.
        let condemned = Condemned::packs(&Condemned::read(&objects)?);
        self.index = Index::read(&objects, &condemned)?;
        let base = self.base_of(&opened, options)?;
        let (base, bases) = match base {
            Some((name, manifest)) => (Some(name), Bases::of(&manifest)),
            None => (None, Bases::default()),
        };
        let mut adding = Adding {
            store: self,
            bases,
            progress,
            jobs: Vec::new(),
            job_bytes: 0,
            written: HashSet::new(),
            packs: PacksWriter::default(),
            stored_bytes: 0,
        };
        let mut manifest = Vec::new();
        for file in &opened {
            manifest.push(adding.file(file)?);
        }
        adding.encode()?;
        let Adding { packs, stored_bytes, .. } = adding;
        let finished = packs.finish(&objects)?;
        self.index.add(&objects, &finished)?;
        let manifest = Manifest::new(manifest);
        let hash = manifest.write(&objects)?;
        kin::record(&objects, &kin::bands(manifest.looks()), &hash)?;
        let newest = self.version(&VersionName { model: name.into(), version: None }).ok();
        let newest = newest.filter(|version| version.manifest == hash);
        let was_there = newest.is_some();
        let version = match newest {
            Some(version) => {
                // Something of it may have been lost, and been written again.
                session.keep()?;
                session.close()?;
                version
            }
            None => {
                let commit = Commit { model: name.into(), manifest: hash.clone() };
                session.commit(&commit)?;
                let number = give_version(&objects, session.id(), &commit)?;
                session.close()?;
                Version { model: name.into(), number, manifest: hash }
            }
        };
        Ok(Added { version, was_there, original_bytes: manifest.bytes(), stored_bytes, base })
    }

    /// The model to which tensors are compared, its manifest's name and the manifest: the one that was named, or the
    /// first that looks alike and is still there.
    pub(super) fn base_of(
        &self,
        opened: &[Opened],
        options: &AddOptions,
    ) -> Result<Option<(String, Manifest)>, StoreError> {
        if let Some(base) = &options.base {
            let name = self.version(base)?.manifest;
            let manifest = Manifest::read(&self.objects, &name)?;
            return Ok(Some((name, manifest)));
        }
        let looks = looks_of(opened)?;
        let looks = looks.iter().map(|(size, name, sketch)| (*size, &name[..], sketch)).collect();
        for name in kin::find(&self.objects, &kin::bands(looks))?.into_iter().take(MOST_KIN) {
            match Manifest::read(&self.objects, &name) {
                Ok(manifest) if self.has_some(&manifest) => return Ok(Some((name, manifest))),
                Ok(_) => {}
                Err(error) => log::warn!("not taken as a base: {error}"),
            }
        }
        Ok(None)
    }

    /// Whether anything of a model's tensors is there: it may have been collected.
    fn has_some(&self, manifest: &Manifest) -> bool {
        let pieces = manifest.tensors().filter(|tensor| tensor.sketch.is_some()).flat_map(|t| &t.pieces);
        pieces.filter_map(|piece| piece.hash().ok()).any(|hash| self.index.place(&hash).is_some())
    }
}

/// The bytes of a tensor. A rounded one is no original, but all that its file has of it.
fn bytes_of(weight: &Weight) -> Result<Vec<u8>, StoreError> {
    if weight.lossy().is_some() {
        let (file, name) = (weight.source().path().display(), weight.name);
        log::warn!("{file}: tensor {name} was rounded, and is stored as it is decoded");
    }
    Ok(weight.reader()?.read_all()?)
}

/// A piece that is to be stored.
struct Job {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
    hash: blake3::Hash,
    /// The piece to which it is compared.
    base: Option<PieceId>,
}

/// What is needed while files are added.
struct Adding<'a> {
    store: &'a Store,
    bases: Bases,
    progress: &'a dyn Progress,
    jobs: Vec<Job>,
    job_bytes: usize,
    /// Pieces that this model has had already.
    written: HashSet<blake3::Hash>,
    packs: PacksWriter,
    stored_bytes: u64,
}

impl Adding<'_> {
    fn file(&mut self, opened: &Opened) -> Result<ManifestFile, StoreError> {
        let path = opened.path();
        let Some(source) = &opened.tensors else { return self.blob(path, &opened.file.path) };
        let outside = opened.outside()?;
        let mut whole = blake3::Hasher::new();
        let (mut at, mut used) = (0, 0);
        let mut tensors = Vec::new();
        for (tensor, weight) in opened.tensors().zip(source.weights()) {
            let gap = tensor.start.checked_sub(at).and_then(|gap| outside.get(used..used + gap));
            let damaged = || StoreError::Object {
                path: opened.file.path.clone(),
                what: format!("tensor {} is not where the header says", tensor.name),
            };
            let gap = gap.ok_or_else(damaged)?;
            whole.update(gap);
            let data = bytes_of(&weight)?;
            whole.update_rayon(&data);
            (at, used) = (tensor.start + data.len(), used + gap.len());
            let sketch = Sketch::of(tensor.dtype, &data);
            let pieces = self.tensor(&tensor, data, sketch.as_ref())?;
            tensors.push(tensor.described(sketch, pieces));
        }
        whole.update(&outside[used..]);
        let bytes = (at + outside.len() - used) as u64;
        let outside = self.bytes(&outside)?;
        Ok(ManifestFile { path, bytes, blake3: whole.finalize().to_hex().to_string(), outside, tensors })
    }

    /// A file without tensors.
    fn blob(&mut self, path: String, from: &Path) -> Result<ManifestFile, StoreError> {
        let (mut whole, mut outside, mut bytes) = (blake3::Hasher::new(), Vec::new(), 0);
        read_blob(from, |piece| {
            whole.update(piece);
            bytes += piece.len() as u64;
            outside.extend(self.bytes(piece)?);
            Ok(())
        })?;
        Ok(ManifestFile {
            path,
            bytes,
            blake3: whole.finalize().to_hex().to_string(),
            outside,
            tensors: Vec::new(),
        })
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<Vec<PieceId>, StoreError> {
        let mut ids = Vec::new();
        for piece in bytes.chunks(BLOB) {
            ids.push(self.piece(Dtype::U8, vec![piece.len()], piece.into(), None)?);
        }
        Ok(ids)
    }

    fn tensor(
        &mut self,
        tensor: &OpenedTensor,
        mut data: Vec<u8>,
        sketch: Option<&Sketch>,
    ) -> Result<Vec<PieceId>, StoreError> {
        let base = self.bases.of_tensor(tensor.name, tensor.dtype, tensor.shape, sketch);
        let base = base.map(<[_]>::to_vec).unwrap_or_default();
        let mut ids = Vec::new();
        for (i, part) in parts(tensor.dtype, tensor.shape, data.len()).into_iter().enumerate() {
            // All of a tensor need not be copied.
            let is_all = part.bytes.len() == data.len();
            let data = if is_all { std::mem::take(&mut data).into() } else { data[part.bytes].into() };
            ids.push(self.piece(tensor.dtype, part.shape, data, base.get(i).cloned())?);
        }
        Ok(ids)
    }

    /// Takes a piece to be stored, unless the store has it.
    fn piece(
        &mut self,
        dtype: Dtype,
        shape: Vec<usize>,
        data: Cow<[u8]>,
        base: Option<PieceId>,
    ) -> Result<PieceId, StoreError> {
        if self.progress.cancelled() {
            return Err(StoreError::Cancelled);
        }
        let (hash, bytes) = (blake3::Hasher::new().update_rayon(&data).finalize(), data.len() as u64);
        if self.store.index.place(&hash).is_none() && self.written.insert(hash) {
            self.job_bytes += data.len();
            self.jobs.push(Job { dtype, shape, data: data.into_owned(), hash, base });
            if self.job_bytes >= TOGETHER {
                self.encode()?;
            }
        }
        self.progress.advance(bytes);
        Ok(PieceId { blake3: hash.to_hex().to_string(), bytes })
    }

    /// Encodes all pieces that wait, and appends them to a pack.
    fn encode(&mut self) -> Result<(), StoreError> {
        let jobs = std::mem::take(&mut self.jobs);
        self.job_bytes = 0;
        let coded: Vec<Coded> =
            jobs.par_iter().map(|job| self.encode_one(job)).collect::<Result<_, StoreError>>()?;
        for (job, coded) in jobs.iter().zip(coded) {
            self.packs.add(&self.store.objects, job.hash, job.data.len(), &coded.payload, coded.base)?;
            self.stored_bytes += coded.payload.len() as u64;
        }
        Ok(())
    }

    fn encode_one(&self, job: &Job) -> Result<Coded, StoreError> {
        let base = match &job.base {
            Some(base) => self.store.alone(base)?,
            None => None,
        };
        let base = base.as_ref().map(|(bytes, hash)| (&bytes[..], *hash));
        self.store.encode((job.dtype, &job.shape), &job.hash, &job.data, base)
    }
}
