//! Names of compressed files and folders.
//!
//! The name tells the original's name: `a.safetensors` becomes `a.bantam.safetensors`, and `a.gguf`
//! keeps its extension and becomes `a.gguf.bantam.safetensors`, so that both can be in one folder.
//! `a.sft` and `a.SAFETENSORS` keep their extensions too. Names that would make this ambiguous, such as
//! `a.gguf.safetensors`, have no compressed form.

use std::path::{Path, PathBuf};

use super::{ArchiveError, Form, hub_cache};

/// Extension of a plain safetensors file.
pub const PLAIN: &str = ".safetensors";
/// Extension of a GGUF file.
pub const GGUF: &str = ".gguf";
/// Short extension of a safetensors file.
const SHORT: &str = ".sft";
/// Extension of a compressed file, which is still a valid safetensors file.
pub const COMPRESSED: &str = ".bantam.safetensors";
/// Suffix of a compressed folder's name.
const FOLDER: &str = "-bantam";
/// The index of a sharded model. It is copied unchanged, so it still names the original files.
pub const SHARD_INDEX: &str = "model.safetensors.index.json";

/// Whether `name` belongs to a tensor file: safetensors or GGUF, compressed or not, in any case of letters.
pub fn is_tensor_file(name: &str) -> bool {
    [PLAIN, SHORT, GGUF].iter().any(|end| stem(name, end).is_some())
}

/// Whether `name` belongs to a GGUF file, compressed or not.
pub fn is_gguf(name: &str) -> bool {
    stem(stem(name, COMPRESSED).unwrap_or(name), GGUF).is_some()
}

/// Whether `name` belongs to a compressed file.
pub fn is_compressed(name: &str) -> bool {
    stem(name, COMPRESSED).is_some()
}

/// `a.safetensors` is compressed to `a.bantam.safetensors`, `a.gguf` to `a.gguf.bantam.safetensors`;
/// `None` for other names.
pub fn compressed_name(name: &str) -> Option<String> {
    if is_compressed(name) {
        return None;
    }
    if keeps_its_end(name) {
        return Some(format!("{name}{COMPRESSED}"));
    }
    let stem = name.strip_suffix(PLAIN)?;
    (!keeps_its_end(stem)).then(|| format!("{stem}{COMPRESSED}"))
}

/// `a.bantam.safetensors` is restored to `a.safetensors`, `a.gguf.bantam.safetensors` to `a.gguf`;
/// `None` for other names.
pub fn original_name(name: &str) -> Option<String> {
    let stem = stem(name, COMPRESSED)?;
    Some(if keeps_its_end(stem) { stem.into() } else { format!("{stem}{PLAIN}") })
}

/// Whether the compressed form of a file called `name` keeps its full name, extension included.
fn keeps_its_end(name: &str) -> bool {
    is_tensor_file(name) && !name.ends_with(PLAIN)
}

/// `name` without the suffix `end`, whose letters may be in either case.
fn stem<'a>(name: &'a str, end: &str) -> Option<&'a str> {
    let (stem, found) = name.split_at_checked(name.len().checked_sub(end.len())?)?;
    found.eq_ignore_ascii_case(end).then_some(stem)
}

/// Whether `original`, a name made by [`original_name`], suits a file of this form. It does not if the
/// compressed file was renamed.
pub fn suits(original: &Path, form: Form) -> bool {
    stem(&original.to_string_lossy(), GGUF).is_some() == (form == Form::Gguf)
}

/// The path in `folder` of the file that a model's index or its original calls `name`: under that name,
/// or compressed. It finds broken links too; opening one is an error.
pub fn find_shard(folder: &Path, name: &str) -> Option<PathBuf> {
    let candidates = [Some(name.to_string()), compressed_name(name)];
    candidates
        .into_iter()
        .flatten()
        .map(|name| folder.join(name))
        .find(|path| std::fs::symlink_metadata(path).is_ok() && !path.is_dir())
}

/// Default output of compressing `src`; `None` if its name gives none, or if the output would be among the
/// revisions of a model in a hub's cache, where other programs would mistake it for one of the model's files.
pub fn default_compressed(src: &Path) -> Option<PathBuf> {
    beside(src, &own_compressed(src)?)
}

/// Default output of restoring `src`; `None` in the same cases as [`default_compressed`].
pub fn default_original(src: &Path) -> Option<PathBuf> {
    beside(src, &own_original(src)?)
}

/// The name of the compressed form of `src`.
fn own_compressed(src: &Path) -> Option<String> {
    let name = file_name(src)?;
    if src.is_dir() { Some(format!("{name}{FOLDER}")) } else { compressed_name(&name) }
}

/// The name of the original of `src`.
fn own_original(src: &Path) -> Option<String> {
    let name = file_name(src)?;
    match src.is_dir() {
        true => name.strip_suffix(FOLDER).filter(|name| !name.is_empty()).map(String::from),
        false => original_name(&name),
    }
}

/// The error that the compressed form of `src` has no default name.
pub(super) fn no_compressed(src: &Path) -> ArchiveError {
    let named = |name: String| match hub_cache::snapshot_model(src) {
        // A revision's folder is named by a hash.
        Some(model) if src.is_dir() => format!("{model}{FOLDER}"),
        _ => name,
    };
    hub_cache::no_default(src, own_compressed(src).map(named).map(PathBuf::from))
}

/// The error that the original of `src` has no default name.
pub(super) fn no_original(src: &Path) -> ArchiveError {
    hub_cache::no_default(src, own_original(src).map(PathBuf::from))
}

/// The last component of `path`; resolves paths such as `.` or `models/..` first.
fn file_name(path: &Path) -> Option<String> {
    let name = match path.file_name() {
        Some(name) => name.to_os_string(),
        None => path.canonicalize().ok()?.file_name()?.to_os_string(),
    };
    name.into_string().ok()
}

fn beside(path: &Path, name: &str) -> Option<PathBuf> {
    let beside = match path.file_name() {
        Some(_) => path.with_file_name(name),
        None => path.join("..").join(name),
    };
    hub_cache::snapshot_model(&beside).is_none().then_some(beside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        assert_eq!(compressed_name("a.safetensors").unwrap(), "a.bantam.safetensors");
        assert_eq!(compressed_name("a.bantam.safetensors"), None);
        assert_eq!(compressed_name("a.bin"), None);
        assert_eq!(original_name("a.b.bantam.safetensors").unwrap(), "a.b.safetensors");
        assert_eq!(original_name("a.safetensors"), None);
        assert_eq!(compressed_name("a.gguf").unwrap(), "a.gguf.bantam.safetensors");
        assert_eq!(original_name("a.gguf.bantam.safetensors").unwrap(), "a.gguf");
        assert_eq!(compressed_name("a.gguf.safetensors"), None);
        for name in ["a.sft", "a.SAFETENSORS", "A.GGUF", "a.SafeTensors"] {
            let compressed = compressed_name(name).unwrap();
            assert_eq!(compressed, format!("{name}.bantam.safetensors"));
            assert_eq!((original_name(&compressed).unwrap(), is_tensor_file(name)), (name.into(), true));
            assert_eq!(compressed_name(&format!("{name}.safetensors")), None, "{name}");
        }
        assert!(
            is_compressed("a.Bantam.SAFETENSORS") && !is_compressed("é") && !is_tensor_file("a.safetensorsé")
        );
        assert!(is_gguf("a.gguf.bantam.safetensors") && !is_gguf("a.bantam.safetensors"));
        assert!(suits(Path::new("a.gguf"), Form::Gguf) && !suits(Path::new("a.gguf"), Form::Safetensors));
    }

    #[test]
    fn outputs_lie_beside_their_inputs() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("m-bantam");
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(default_compressed(&folder), Some(root.path().join("m-bantam-bantam")));
        assert_eq!(default_original(&folder), Some(root.path().join("m")));
        let file = Path::new("x/y.safetensors");
        assert_eq!(default_compressed(file), Some("x/y.bantam.safetensors".into()));
        assert_eq!(default_original(file), None);
    }
}
