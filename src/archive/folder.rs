//! Whole model folders, and the choice between a file and a folder.
//!
//! A compressed model folder is a model folder: `a.safetensors` becomes `a.bantam.safetensors`,
//! `a.gguf` becomes `a.gguf.bantam.safetensors`, every other file is copied as it is. That includes
//! `model.safetensors.index.json`, whose `weight_map` goes on naming the original files, so that
//! restoring gives the same folder back; [`names::find_shard`] finds a file it names in either form.
//! Folders inside the folder are left out, and the report says so. An interrupted run is gone on with; see `output_folder`.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::output::{OutputFile, refuse_same};
use super::output_folder::{self, OutputFolder, Stamp};
use super::progress::{check, reported};
use super::restore::decompress_begun;
use super::writer::{compress_begun, refuse_too_many};
use super::{Archive, ArchiveError, FileReport, Options, Progress, Report, names};
use crate::tensor::SourceFile;

/// Compresses a file or a model folder, to `dst` or to the default beside it (see [`names`]).
pub fn compress(
    src: &Path,
    dst: Option<&Path>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report, ArchiveError> {
    let dst = dst.map(Path::to_path_buf).or_else(|| names::default_compressed(src));
    let dst = dst.ok_or_else(|| no_default(src))?;
    if !src.is_dir() {
        let files = vec![super::compress_file(src, &dst, options, progress)?];
        return Ok(Report { output: dst, files, ..Report::default() });
    }
    let folder = Folder::read(src)?;
    if folder.tensor_files.iter().any(|name| name.ends_with(names::COMPRESSED)) {
        return Err(ArchiveError::AlreadyCompressed { file: src.into() });
    }
    let rename = |name: &str| names::compressed_name(name);
    let files = folder.open(rename, |path| Ok(SourceFile::open(path)?))?;
    files.iter().try_for_each(|(_, file)| refuse_too_many(file, options))?;
    // Within an unfinished folder.
    let replace = Options { overwrite: true, ..*options };
    let work = Work {
        name: "compressing",
        how: match options.lossy {
            None => format!("{:?}", options.preset),
            Some(lossy) => format!("{:?}, {lossy}", options.preset),
        },
        bytes: &|file: &SourceFile| file.bytes().len() as u64,
        stamp: &|file| Stamp::of(file.path(), &file.outside()),
        write: &|file, dst| compress_begun(file, dst, &replace, progress),
        read: &|file, dst| {
            let archive = Archive::open(dst).ok().filter(|a| has_outside(a, file))?;
            Some(FileReport { source: file.path().into(), ..archive.report().ok()? })
        },
    };
    folder.rewrite(&dst, options, progress, &files, &work)
}

/// Restores a file or a model folder, to `dst` or to the default beside it (see [`names`]).
pub fn decompress(
    src: &Path,
    dst: Option<&Path>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report, ArchiveError> {
    let named = dst.is_some();
    let dst = dst.map(Path::to_path_buf).or_else(|| names::default_original(src));
    if !src.is_dir() {
        // A file that is not compressed is said to be so, before its name is found fault with.
        let archive = Archive::open(src)?;
        let dst = dst.filter(|dst| named || names::suits(dst, archive.form()));
        let dst = dst.ok_or_else(|| no_default(src))?;
        options.limit.check(src, std::iter::once(&archive))?;
        let total = archive.original_len();
        let work = || decompress_begun(&archive, &dst, options, progress);
        let files = vec![reported(progress, total, "decompressing", work)?];
        return Ok(Report { output: dst, files, ..Report::default() });
    }
    let dst = dst.ok_or_else(|| no_default(src))?;
    let mut folder = Folder::read(src)?;
    let is_compressed = |name: &String| name.ends_with(names::COMPRESSED);
    let (compressed, plain): (Vec<_>, Vec<_>) = folder.tensor_files.into_iter().partition(is_compressed);
    if compressed.is_empty() {
        return Err(ArchiveError::NotCompressed { file: src.into() });
    }
    folder.tensor_files = compressed;
    folder.others.extend(plain.into_iter().map(PathBuf::from));
    let files = folder.open(names::original_name, Archive::open)?;
    options.limit.check(src, files.iter().map(|(_, archive)| archive))?;
    for (restored, archive) in &files {
        if !names::suits(Path::new(restored), archive.form()) {
            return Err(no_default(archive.path()));
        }
        if folder.others.iter().any(|other| other == Path::new(restored)) {
            return Err(ArchiveError::Exists { path: src.join(restored) });
        }
    }
    let replace = Options { overwrite: true, ..*options };
    let work = Work {
        name: "decompressing",
        how: String::new(),
        bytes: &Archive::original_len,
        stamp: &|archive| Stamp::of(archive.path(), archive.container_header()),
        write: &|archive, dst| decompress_begun(archive, dst, &replace, progress),
        read: &|archive, dst| {
            let file = SourceFile::open(dst).ok()?;
            archive.report().ok().filter(|_| has_outside(archive, &file))
        },
    };
    folder.rewrite(&dst, options, progress, &files, &work)
}

/// What is done with each file of tensors in a folder.
struct Work<'a, T> {
    name: &'static str,
    /// What else the files that are written depend on.
    how: String,
    /// Bytes of the plain file.
    bytes: &'a dyn Fn(&T) -> u64,
    stamp: &'a dyn Fn(&T) -> Result<Stamp, ArchiveError>,
    /// Writes the other form.
    write: &'a dyn Fn(&T, &Path) -> Result<FileReport, ArchiveError>,
    /// The report of the other form that is there already, if it is one.
    read: &'a dyn Fn(&T, &Path) -> Option<FileReport>,
}

/// Whether `file` has those bytes outside of its tensors that `archive` keeps.
fn has_outside(archive: &Archive, file: &SourceFile) -> bool {
    archive.outside().is_ok_and(|outside| *outside.bytes() == *file.outside())
}

fn no_default(src: &Path) -> ArchiveError {
    ArchiveError::NoDefaultName { path: src.into() }
}

/// What is in a folder, sorted by name.
struct Folder {
    path: PathBuf,
    tensor_files: Vec<String>,
    others: Vec<PathBuf>,
    left_out: Vec<PathBuf>,
}

impl Folder {
    fn read(path: &Path) -> Result<Self, ArchiveError> {
        let mut folder =
            Self { path: path.into(), tensor_files: Vec::new(), others: Vec::new(), left_out: Vec::new() };
        for entry in fs::read_dir(path).map_err(ArchiveError::io("read the folder", path))? {
            let name = entry.map_err(ArchiveError::io("read the folder", path))?.file_name();
            // Links are followed: the folders of a hub's cache are made of them.
            let is_file = fs::metadata(path.join(&name)).is_ok_and(|meta| meta.is_file());
            match name.into_string() {
                // Of an interrupted run, if somebody has given its folder another name.
                Ok(name) if output_folder::is_own(&name) => folder.left_out.push(name.into()),
                Ok(name) if is_file && names::is_tensor_file(&name) => folder.tensor_files.push(name),
                Ok(name) if is_file => folder.others.push(name.into()),
                Ok(name) => folder.left_out.push(name.into()),
                Err(name) if is_file => folder.others.push(name.into()),
                Err(name) => folder.left_out.push(name.into()),
            }
        }
        folder.tensor_files.sort();
        folder.others.sort();
        folder.left_out.sort();
        if folder.tensor_files.is_empty() {
            return Err(ArchiveError::Model {
                path: path.into(),
                what: "no safetensors or GGUF file in this folder".into(),
            });
        }
        Ok(folder)
    }

    /// Opens every file of tensors, so that a bad one is noticed before anything is written, and
    /// pairs it with its new name.
    fn open<T>(
        &self,
        rename: impl Fn(&str) -> Option<String>,
        open: impl Fn(&Path) -> Result<T, ArchiveError>,
    ) -> Result<Vec<(String, T)>, ArchiveError> {
        let open = |name: &String| {
            let path = self.path.join(name);
            Ok((rename(name).ok_or_else(|| no_default(&path))?, open(&path)?))
        };
        self.tensor_files.iter().map(open).collect()
    }

    /// Writes the folder's other form to `dst`: `files` by `work`, the others copied. What an earlier
    /// run has finished is left as it is.
    fn rewrite<T>(
        &self,
        dst: &Path,
        options: &Options,
        progress: &dyn Progress,
        files: &[(String, T)],
        work: &Work<T>,
    ) -> Result<Report, ArchiveError> {
        refuse_same(&self.path, dst)?;
        let stamps = files.iter().map(|(name, file)| Ok((name.clone(), (work.stamp)(file)?)));
        let stamps = stamps.collect::<Result<_, ArchiveError>>()?;
        let output = OutputFolder::begin(dst, options, &format!("{} {}", work.name, work.how), stamps)?;
        let reports: Vec<Option<FileReport>> = files
            .iter()
            .map(|(name, file)| match output.is_finished(name) {
                true => (work.read)(file, &output.file(name.as_ref())),
                false => None,
            })
            .collect();
        let finished = reports.iter().flatten().count();
        if finished > 0 {
            let dst = dst.display();
            log::warn!(
                "{dst}: going on after an interruption; {finished} of {} files are there",
                files.len()
            );
        }
        let left = files.iter().zip(&reports).filter(|(_, report)| report.is_none());
        let total = left.map(|((_, file), _)| (work.bytes)(file)).chain(self.others_bytes());
        let total = total.fold(0, u64::saturating_add);
        let mut report =
            Report { output: dst.into(), left_out: self.left_out.clone(), finished, ..Report::default() };
        reported(progress, total, work.name, || {
            self.copy_others(&output, progress, &mut report)?;
            for ((name, file), there) in files.iter().zip(reports) {
                let mut written = match there {
                    Some(there) => there,
                    None => (work.write)(file, &output.file(Path::new(name)))?,
                };
                written.output = dst.join(name);
                report.files.push(written);
            }
            check(progress)
        })?;
        output.publish()?;
        Ok(report)
    }

    /// Bytes of each file that is copied. One whose length cannot be found out will say so when it is.
    fn others_bytes(&self) -> impl Iterator<Item = u64> {
        self.others.iter().map(|name| std::fs::metadata(self.path.join(name)).map_or(0, |file| file.len()))
    }

    fn copy_others(
        &self,
        output: &OutputFolder,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<(), ArchiveError> {
        for name in &self.left_out {
            log::warn!("{}: not copied, because it is not a file", self.path.join(name).display());
        }
        for name in &self.others {
            let mut copy =
                OutputFile::create(&output.file(name), &Options { overwrite: true, ..Options::default() })?;
            copy.copy_from(&self.path.join(name), progress)?;
            copy.publish()?;
            report.copied.push(name.clone());
        }
        Ok(())
    }
}

/// The safetensors and GGUF files of `path`, compressed or not: itself, or those in the folder by name.
pub fn tensor_files_in(path: &Path) -> Result<Vec<PathBuf>, ArchiveError> {
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    Ok(Folder::read(path)?.tensor_files.iter().map(|name| path.join(name)).collect())
}

/// The compressed files of `path`: itself, or those in the folder by name.
pub(super) fn compressed_in(path: &Path) -> Result<Vec<PathBuf>, ArchiveError> {
    let mut files = tensor_files_in(path)?;
    if path.is_dir() {
        files.retain(|file| file.to_string_lossy().ends_with(names::COMPRESSED));
    }
    if files.is_empty() { Err(ArchiveError::NotCompressed { file: path.into() }) } else { Ok(files) }
}

/// A model's own list of its files.
#[derive(Deserialize)]
struct ShardIndex {
    weight_map: HashMap<String, String>,
}

/// Which file each tensor is in, as the shard index of `folder` says; `None` where there is no index.
/// Names that would lead out of the folder are refused.
pub(super) fn shard_index(folder: &Path) -> Result<Option<HashMap<String, String>>, ArchiveError> {
    let path = folder.join(names::SHARD_INDEX);
    if !path.is_file() {
        return Ok(None);
    }
    let json = fs::read(&path).map_err(ArchiveError::io("read", &path))?;
    let wrong = |what: String| ArchiveError::Model { path: path.clone(), what };
    let index: ShardIndex =
        serde_json::from_slice(&json).map_err(|e| wrong(format!("not a usable shard index: {e}")))?;
    let leads_out =
        |name: &&String| Path::new(name).file_name() != Some(name.as_ref()) || name.contains('\\');
    match index.weight_map.values().find(leads_out) {
        Some(name) => Err(wrong(format!("{name:?} is not the name of a file in this folder"))),
        None => Ok(Some(index.weight_map)),
    }
}

/// The files that the shard index of `folder` names, each once and sorted.
pub(super) fn shards(folder: &Path) -> Result<Option<Vec<String>>, ArchiveError> {
    let files = |index: HashMap<String, String>| index.into_values().collect::<BTreeSet<_>>();
    Ok(shard_index(folder)?.map(|index| files(index).into_iter().collect()))
}

/// Files that the shard index of `path` names and that are in neither form there.
pub(super) fn missing_shards(path: &Path) -> Result<Vec<(PathBuf, ArchiveError)>, ArchiveError> {
    let shards = if path.is_dir() { shards(path)? } else { None };
    let missing =
        shards.unwrap_or_default().into_iter().filter(|name| names::find_shard(path, name).is_none());
    Ok(missing.map(|name| (path.join(&name), missing_shard(path, &name))).collect())
}

/// The error that the shard index names a file that is not there.
pub(super) fn missing_shard(folder: &Path, name: &str) -> ArchiveError {
    let what = format!("names {name}, which is not in the folder, neither plain nor compressed");
    ArchiveError::Model { path: folder.join(names::SHARD_INDEX), what }
}
