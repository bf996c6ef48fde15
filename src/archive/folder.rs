//! Whole model folders, and the choice between a file and a folder.
//!
//! A compressed model folder is a model folder: `a.safetensors` becomes `a.bantam.safetensors`, `a.gguf`
//! becomes `a.gguf.bantam.safetensors`, and every other file is copied as it is, in sub-folders too (see
//! `model_folder`). The copies include `model.safetensors.index.json`, whose `weight_map` still names the
//! original files, so that restoring gives the same folder back. [`names::find_shard`] finds a file that it
//! names in either form. The next run continues an interrupted one, and an existing output is replaced as a
//! whole; see `output_folder`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::model_folder::{ModelFolder, TensorFile, refuse_dangling};
use super::output::{OutputFile, refuse_same};
use super::output_folder::{Contents, OutputFolder, Plan, Stamp};
use super::progress::{check, reported};
use super::restore::decompress_begun;
use super::writer::{compress_begun, refuse_too_many};
use super::{
    Archive, ArchiveError, FileReport, Options, Progress, Report, disk, names, require_there, shard_index,
};
use crate::tensor::SourceFile;

/// Compresses a file or a model folder to `dst`, or by default next to it (see [`names`]).
pub fn compress(
    src: &Path,
    dst: Option<&Path>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report, ArchiveError> {
    require_there(src)?;
    let dst = dst.map(Path::to_path_buf).or_else(|| names::default_compressed(src));
    let dst = dst.ok_or_else(|| names::no_compressed(src))?;
    if !src.is_dir() {
        let files = vec![super::compress_file(src, &dst, options, progress)?];
        return Ok(Report { output: dst, files, ..Report::default() });
    }
    let folder = whole(src, &dst)?;
    if let Some(file) = folder.tensor_files.iter().find(|file| names::is_compressed(&file.name)) {
        return Err(ArchiveError::AlreadyCompressed { file: src.join(file.path()) });
    }
    let files = open(&folder, names::compressed_name, |path| Ok(SourceFile::open(path)?))?;
    files.iter().try_for_each(|(_, file)| refuse_too_many(file, options))?;
    // This writes inside an unfinished folder, so replacing is safe.
    let replace = options.clone().with_overwrite(true);
    let work = Work {
        name: "compressing",
        how: how(options),
        bytes: &|file: &SourceFile| file.bytes().len() as u64,
        stamp: &|file| Stamp::of(file.path(), file.outside()),
        write: &|file, dst| compress_begun(file, dst, &replace, progress),
        read: &|file, dst| {
            let archive = Archive::open(dst).ok().filter(|a| has_outside(a, file))?;
            Some(FileReport { source: file.path().into(), ..archive.report().ok()? })
        },
    };
    rewrite(&folder, &dst, options, progress, &files, &work)
}

/// Restores a file or a model folder to `dst`, or by default next to it (see [`names`]).
pub fn decompress(
    src: &Path,
    dst: Option<&Path>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report, ArchiveError> {
    let named = dst.is_some();
    require_there(src)?;
    let dst = dst.map(Path::to_path_buf).or_else(|| names::default_original(src));
    if !src.is_dir() {
        // Report a file that is not compressed before any fault of its name.
        let archive = Archive::open(src)?;
        let dst = dst.filter(|dst| named || names::suits(dst, archive.form()));
        let dst = dst.ok_or_else(|| names::no_original(src))?;
        options.limit.check(src, std::iter::once(&archive), options.base.as_ref())?;
        let total = archive.original_len();
        let work = || decompress_begun(&archive, &dst, options, progress);
        let files = vec![reported(progress, total, "decompressing", work)?];
        return Ok(Report { output: dst, files, ..Report::default() });
    }
    let dst = dst.ok_or_else(|| names::no_original(src))?;
    let mut folder = whole(src, &dst)?;
    let is_compressed = |file: &TensorFile| names::is_compressed(&file.name);
    let (compressed, plain): (Vec<_>, Vec<_>) = folder.tensor_files.into_iter().partition(is_compressed);
    if compressed.is_empty() {
        return Err(ArchiveError::NotCompressed { file: src.into() });
    }
    folder.tensor_files = compressed;
    folder.others.extend(plain.iter().map(TensorFile::path));
    let files = open(&folder, names::original_name, Archive::open)?;
    options.limit.check(src, files.iter().map(|(_, archive)| archive), options.base.as_ref())?;
    for (restored, archive) in &files {
        if !names::suits(restored, archive.form()) {
            return Err(no_default(archive.path()));
        }
    }
    let replace = options.clone().with_overwrite(true);
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
    rewrite(&folder, &dst, options, progress, &files, &work)
}

/// Copies the files of the folder `src` to `dst`, which then has all of them or none.
#[cfg(feature = "runtime")]
pub(crate) fn publish_folder(src: &Path, dst: &Path, options: &Options) -> Result<(), ArchiveError> {
    let mut folder = ModelFolder::read(src, Some(dst))?;
    let files = std::mem::take(&mut folder.tensor_files);
    folder.others.extend(files.iter().map(TensorFile::path));
    let work: Work<SourceFile> = Work {
        name: "copying",
        how: String::new(),
        bytes: &|_| 0,
        stamp: &|file| Stamp::of(file.path(), file.outside()),
        write: &|file, dst| compress_begun(file, dst, options, &()),
        read: &|_, _| None,
    };
    rewrite(&folder, dst, options, &(), &[], &work)?;
    Ok(())
}

/// The settings that compressed files depend on.
fn how(options: &Options) -> String {
    let mut how = format!("{:?}", options.preset);
    if let Some(lossy) = options.lossy {
        how += &format!(", {lossy}");
    }
    if let Some(base) = &options.base {
        how += ", differences to";
        for source in base.sources() {
            // Length and time tell whether it is still the one with which an interrupted run began.
            let state = fs::metadata(source.path()).map(|data| (data.len(), data.modified().ok()));
            how += &format!(" {} {:?}", source.path().display(), state.ok());
        }
    }
    how
}

/// How the tensor files of a folder are processed.
struct Work<'a, T> {
    name: &'static str,
    /// Other settings that the written files depend on.
    how: String,
    /// Bytes of the plain file.
    bytes: &'a dyn Fn(&T) -> u64,
    stamp: &'a dyn Fn(&T) -> Result<Stamp, ArchiveError>,
    /// Writes the file in its other form.
    write: &'a dyn Fn(&T, &Path) -> Result<FileReport, ArchiveError>,
    /// The report on an existing file in the other form, if it is valid.
    read: &'a dyn Fn(&T, &Path) -> Option<FileReport>,
}

/// Whether the bytes outside tensors in `file` are those that `archive` keeps.
fn has_outside(archive: &Archive, file: &SourceFile) -> bool {
    archive.outside().is_ok_and(|outside| *outside.bytes() == *file.outside())
}

fn no_default(src: &Path) -> ArchiveError {
    ArchiveError::NoDefaultName { path: src.into() }
}

/// Reads the folder `src`, which will become `dst`; an error if it is not exactly one complete model.
fn whole(src: &Path, dst: &Path) -> Result<ModelFolder, ArchiveError> {
    let folder = ModelFolder::read(src, Some(dst))?;
    folder.require_tensors()?;
    folder.refuse_several_sets()?;
    folder.require_shards()?;
    Ok(folder)
}

/// Opens every tensor file and pairs it with its new name, so that an invalid one is found before anything is
/// written.
fn open<T>(
    folder: &ModelFolder,
    rename: impl Fn(&str) -> Option<String>,
    open: impl Fn(&Path) -> Result<T, ArchiveError>,
) -> Result<Vec<(PathBuf, T)>, ArchiveError> {
    let open = |file: &TensorFile| {
        let path = folder.path.join(file.path());
        refuse_dangling(&path)?;
        let name = rename(&file.name).ok_or_else(|| no_default(&path))?;
        Ok((file.folder.join(name), open(&path)?))
    };
    folder.tensor_files.iter().map(open).collect()
}

/// The contents of the other form of `folder`; an error if two files would get the same name.
fn contents<T>(folder: &ModelFolder, files: &[(PathBuf, T)]) -> Result<Contents, ArchiveError> {
    let names = files.iter().map(|(name, _)| name).chain(&folder.others);
    let mut contents = Contents { files: BTreeSet::new(), folders: folder.folders.iter().cloned().collect() };
    for name in names.chain(folder.links.iter().map(|(name, _)| name)) {
        if !contents.files.insert(name.clone()) {
            let name = name.display().to_string();
            return Err(shard_index::several(
                &folder.path,
                &name,
                &format!("another file that becomes {name}"),
            ));
        }
    }
    Ok(contents)
}

/// Returns an error if `src` is `dst`, or is inside a `dst` that would be replaced.
fn refuse_input(src: &Path, dst: &Path, options: &Options) -> Result<(), ArchiveError> {
    refuse_same(src, dst)?;
    match (src.canonicalize(), dst.canonicalize()) {
        (Ok(input), Ok(output)) if options.overwrite && input.starts_with(&output) => {
            Err(ArchiveError::InputInOutput { input: src.into(), output: dst.into() })
        }
        _ => Ok(()),
    }
}

/// Writes the other form of `folder` to `dst`: converts `files` by `work`, and copies the others. Files that
/// an earlier run has finished are kept.
fn rewrite<T>(
    folder: &ModelFolder,
    dst: &Path,
    options: &Options,
    progress: &dyn Progress,
    files: &[(PathBuf, T)],
    work: &Work<T>,
) -> Result<Report, ArchiveError> {
    refuse_input(&folder.path, dst, options)?;
    let shards = files.iter().map(|(name, file)| Ok((name.clone(), (work.stamp)(file)?)));
    let plan = Plan {
        source: &folder.path,
        work: format!("{} {}", work.name, work.how),
        shards: shards.collect::<Result<_, ArchiveError>>()?,
        contents: contents(folder, files)?,
    };
    let output = OutputFolder::begin(dst, options, plan)?;
    let reports: Vec<Option<FileReport>> = files
        .iter()
        .map(|(name, file)| match output.is_finished(name) {
            true => (work.read)(file, &output.file(name)),
            false => None,
        })
        .collect();
    let finished = reports.iter().flatten().count();
    if finished > 0 {
        let dst = dst.display();
        log::warn!(
            "{dst}: continuing after an interruption; {finished} of {} files are finished",
            files.len()
        );
    }
    let left = files.iter().zip(&reports).filter(|(_, report)| report.is_none());
    let total = left.map(|((_, file), _)| (work.bytes)(file)).chain(others_bytes(folder));
    let total = total.fold(0, u64::saturating_add);
    let left_out = folder.left_out.clone();
    let mut report = Report { output: dst.into(), left_out, finished, ..Report::default() };
    reported(progress, total, work.name, || {
        copy_others(folder, &output, progress, &mut report)?;
        for ((name, file), there) in files.iter().zip(reports) {
            let mut written = match there {
                Some(there) => there,
                None => (work.write)(file, &output.file(name))?,
            };
            written.output = dst.join(name);
            report.files.push(written);
        }
        check(progress)
    })?;
    output.publish()?;
    Ok(report)
}

/// Bytes of each file that is copied. If a length cannot be read, the copy will report the error.
fn others_bytes(folder: &ModelFolder) -> impl Iterator<Item = u64> {
    folder.others.iter().map(|name| fs::metadata(folder.path.join(name)).map_or(0, |file| file.len()))
}

fn copy_others(
    folder: &ModelFolder,
    output: &OutputFolder,
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<(), ArchiveError> {
    for name in &folder.others {
        let (from, to) = (folder.path.join(name), output.file(name));
        let options = Options::REPLACE;
        let mut copy = OutputFile::create(&to, &options, Some(&from))?;
        copy.copy_from(&from, progress)?;
        copy.publish()?;
        report.copied.push(name.clone());
    }
    for (name, to) in &folder.links {
        let link = output.file(name);
        disk::link_to(to, &link).map_err(ArchiveError::io("make the link", &link))?;
    }
    Ok(())
}

/// The safetensors and GGUF files of `path`, compressed or not: the file itself, or all in the folder and its
/// sub-folders, by name.
pub fn tensor_files_in(path: &Path) -> Result<Vec<PathBuf>, ArchiveError> {
    require_there(path)?;
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let folder = ModelFolder::read(path, None)?;
    folder.require_tensors()?;
    Ok(folder.tensor_files.iter().map(|file| path.join(file.path())).collect())
}
