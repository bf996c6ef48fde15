//! Hints for a path without usable files: what is there, and what to do.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::hub_cache::hub_folder;
use super::{ArchiveError, names};

/// Extensions of weights stored as pickles.
const PICKLES: [&str; 6] = ["bin", "pt", "pth", "ckpt", "pkl", "t7"];
/// Extensions of weights in other formats.
const FOREIGN: [&str; 9] = ["onnx", "h5", "keras", "msgpack", "ot", "npz", "tflite", "nemo", "mlmodel"];
/// Extensions of unfinished downloads.
const UNFINISHED: [&str; 5] = ["incomplete", "part", "aria2", "crdownload", "download"];

/// Returns an error if there is nothing at `path`, or if it is a folder of a hub's cache that contains
/// models, but is not a model itself.
pub fn require_there(path: &Path) -> Result<(), ArchiveError> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => match hub_folder(path) {
            Some(what) => Err(ArchiveError::Model { path: path.into(), what }),
            None => Ok(()),
        },
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(ArchiveError::NotThere { path: path.into(), hint: absent(path) })
        }
        // Other problems are reported when the path is opened.
        _ => Ok(()),
    }
}

/// Describes a path at which nothing exists.
fn absent(path: &Path) -> String {
    const DOWNLOAD: &str = "bantam reads files and downloads nothing: download the model first \
                            (`hf download NAME --local-dir FOLDER`), and name that folder";
    if let Ok(to) = fs::read_link(path) {
        return format!("; it is a broken link to {}", to.display());
    }
    let text = path.to_string_lossy();
    if text.contains("://") || text.starts_with("https:/") || text.starts_with("http:/") {
        return format!("; it is an address, and {DOWNLOAD}");
    }
    match looks_like_hub_id(path) {
        true => format!("; it looks like the name of a model on a hub, and {DOWNLOAD}"),
        false => String::new(),
    }
}

/// Whether the path looks like `organisation/model`, and there is no folder `organisation`.
fn looks_like_hub_id(path: &Path) -> bool {
    let is_name = |part: &&str| {
        !part.starts_with('.') && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let Some((organisation, model)) = path.to_str().and_then(|text| text.split_once('/')) else {
        return false;
    };
    [organisation, model].iter().all(|part| !part.is_empty() && is_name(part))
        && !names::is_tensor_file(model)
        && !Path::new(organisation).is_dir()
}

/// The error that a folder has no weights of the kind that `wanted` names.
pub(super) fn nothing_in(folder: &Path, wanted: &str) -> ArchiveError {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    files.sort();
    let with = |ends: &[&str]| {
        let matches = |name: &&String| {
            Path::new(name).extension().is_some_and(|end| ends.iter().any(|e| end.eq_ignore_ascii_case(e)))
        };
        files.iter().find(matches)
    };
    let found = if let Some(name) = with(&UNFINISHED) {
        format!("; {name} is a download that was not finished")
    } else if let Some(name) = with(&["gguf"]) {
        format!("; {name} is a GGUF file, which bantam compresses and restores but does not run")
    } else if let Some(name) = with(&PICKLES) {
        format!(
            "; {name} is a PyTorch file (a pickle), which bantam does not read: get the model's safetensors \
             files, or convert it (save_pretrained with safe_serialization=True)"
        )
    } else if let Some(name) = with(&FOREIGN) {
        format!(
            "; {name} has weights in a format that bantam does not read: get the model's safetensors files"
        )
    } else {
        String::new()
    };
    ArchiveError::Model { path: folder.into(), what: format!("no {wanted} in this folder{found}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models_on_a_hub_are_told_from_paths() {
        for id in ["meta-llama/Llama-3.2-1B", "Qwen/Qwen2.5-0.5B", "a/b_c"] {
            assert!(looks_like_hub_id(Path::new(id)), "{id}");
        }
        for path in
            ["a", "./a/b", "/a/b", "a/b/c", "a/", "~/models", "a/b.safetensors", "src/nothing", "a/b c"]
        {
            assert!(!looks_like_hub_id(Path::new(path)), "{path}");
        }
    }
}
