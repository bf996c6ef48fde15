//! The layout of a hub's cache: a folder for each model, with a folder for each revision.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::ArchiveError;

/// Prefix of a model folder's name in a hub's cache.
const HUB_MODEL: &str = "models--";

/// The sub-folder of a model folder that holds the files of each revision.
const SNAPSHOTS: &str = "snapshots";

/// Describes a folder of a hub's cache that contains models but is not one itself.
pub(super) fn hub_folder(path: &Path) -> Option<String> {
    let resolved = path.canonicalize().ok()?;
    let own = resolved.file_name()?.to_string_lossy().into_owned();
    let in_model = |path: &Path| path.file_name().is_some_and(|name| is_hub_model(&name.to_string_lossy()));
    if is_hub_model(&own) && path.join(SNAPSHOTS).is_dir() {
        return Some(match a_snapshot(path) {
            Some(snapshot) => format!(
                "a model's folder in a hub's cache; name the folder of a revision in it, such as {}",
                snapshot.display()
            ),
            None => "a model's folder in a hub's cache, without any revision of it; download it again".into(),
        });
    }
    if own == SNAPSHOTS && resolved.parent().is_some_and(in_model) {
        return Some(
            match a_snapshot(&path.join("..")).and_then(|found| Some(path.join(found.file_name()?))) {
                Some(snapshot) => format!(
                    "the revisions of a model in a hub's cache; name one of them, such as {}",
                    snapshot.display()
                ),
                None => {
                    "a folder for revisions of a model in a hub's cache, and there is none; download it again"
                        .into()
                }
            },
        );
    }
    [path.to_path_buf(), path.join("hub")].iter().find_map(|cache| {
        let models = folders_in(cache, is_hub_model);
        let example = models.iter().find_map(|model| a_snapshot(model)).or(models.first().cloned())?;
        Some(format!(
            "a hub's cache of {} models; name the folder of one, such as {}",
            models.len(),
            example.display()
        ))
    })
}

fn is_hub_model(name: &str) -> bool {
    name.starts_with(HUB_MODEL)
}

/// Sub-folders of `path` whose names satisfy `wanted`, sorted.
fn folders_in(path: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| wanted(&entry.file_name().to_string_lossy()))
        .map(|entry| path.join(entry.file_name()))
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}

/// The revision that `main` names for a model in a hub's cache, or any other.
fn a_snapshot(model: &Path) -> Option<PathBuf> {
    let snapshots = model.join(SNAPSHOTS);
    let main = fs::read_to_string(model.join("refs/main")).ok().map(|name| snapshots.join(name.trim()));
    let mut all = folders_in(&snapshots, |_| true);
    main.filter(|main| main.parent() == Some(&snapshots) && main.is_dir()).or_else(|| all.pop())
}

/// The error that no name can be derived for the output of `src`.
pub(super) fn no_default(src: &Path, suggestion: Option<PathBuf>) -> ArchiveError {
    match suggestion.filter(|_| snapshot_model(src).is_some()) {
        Some(suggestion) => ArchiveError::InHubCache { path: src.into(), suggestion },
        None => ArchiveError::NoDefaultName { path: src.into() },
    }
}

/// The name that a hub has for the model of which `folder` is a revision in the hub's cache, such as `org/name`. The path
/// has no links.
pub(crate) fn hub_model(folder: &Path) -> Option<String> {
    let snapshots =
        folder.parent().filter(|parent| parent.file_name().is_some_and(|name| name == SNAPSHOTS))?;
    let name = snapshots.parent()?.file_name()?.to_str()?.strip_prefix(HUB_MODEL)?;
    Some(name.replace("--", "/"))
}

/// The model in a hub's cache among whose revisions, or files of a revision, `output` would lie.
pub(super) fn snapshot_model(output: &Path) -> Option<String> {
    let parent = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = parent.canonicalize().ok()?;
    let parts: Vec<String> = parent
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    let pair = parts.windows(2).find(|pair| is_hub_model(&pair[0]) && pair[1] == SNAPSHOTS)?;
    Some(pair[0].rsplit("--").next().unwrap_or_default().into())
}
