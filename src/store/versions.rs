//! Versions of models.

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::name::VersionName;
use super::objects::Objects;
use super::sealed;

const MODELS: &str = "models";

/// What an object of `models` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ModelEntry {
    /// The version's manifest; `None` if the model was removed.
    pub manifest: Option<String>,
    /// The session that committed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
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

/// All versions of all models that were not removed, sorted by name and number.
pub(super) fn list(objects: &Objects) -> Result<Vec<Version>, StoreError> {
    let mut all: Vec<Version> = Vec::new();
    for name in objects.list(MODELS)? {
        let parsed = name.strip_prefix("models/").and_then(|rest| rest.rsplit_once('/'));
        let parsed = parsed.and_then(|(model, number)| Some((model, number.parse::<u32>().ok()?)));
        let Some((model, number)) = parsed else {
            let what = "this is no version of a model".into();
            return Err(StoreError::Object { path: objects.path(&name), what });
        };
        take(objects, &mut all, model, number, &name)?;
    }
    Ok(all)
}

/// The versions of a model that were not removed, by number. Other models are not looked at.
fn of_model(objects: &Objects, model: &str) -> Result<Vec<Version>, StoreError> {
    let mut versions = Vec::new();
    for (number, name) in entries(objects, model)? {
        take(objects, &mut versions, model, number, &name)?;
    }
    Ok(versions)
}

/// The numbers of all entries of a model, ascending, with the names of their objects.
fn entries(objects: &Objects, model: &str) -> Result<Vec<(u32, String)>, StoreError> {
    let prefix = format!("{MODELS}/{model}/");
    let names = objects.list(prefix.trim_end_matches('/'))?;
    // What has more parts belongs to a model whose name is longer.
    let number = |name: &String| name.strip_prefix(&prefix)?.parse().ok();
    Ok(names.into_iter().filter_map(|name| Some((number(&name)?, name))).collect())
}

/// Adds the version of an entry to those before, or takes them away where it says that the model was removed.
fn take(
    objects: &Objects,
    versions: &mut Vec<Version>,
    model: &str,
    number: u32,
    name: &str,
) -> Result<(), StoreError> {
    let entry = sealed::read::<ModelEntry>(objects, name)?;
    match entry.and_then(|entry| entry.manifest) {
        Some(manifest) => versions.push(Version { model: model.into(), number, manifest }),
        // Numbers are as long as each other, so later ones come later.
        None => versions.retain(|version| version.model != model),
    }
    Ok(())
}

/// The version of this name.
pub(super) fn find(objects: &Objects, name: &VersionName) -> Result<Version, StoreError> {
    let versions = of_model(objects, &name.model)?.into_iter();
    let found = match name.version {
        Some(number) => versions.into_iter().find(|version| version.number == number),
        None => versions.into_iter().max_by_key(|version| version.number),
    };
    found.ok_or_else(|| StoreError::NoSuchModel { path: objects.root().into(), name: name.to_string() })
}

/// Adds an entry to a model, with the next number that is free.
pub(super) fn append(objects: &Objects, model: &str, entry: &ModelEntry) -> Result<u32, StoreError> {
    let mut number = entries(objects, model)?.last().map_or(0, |&(number, _)| number);
    loop {
        // Another writer may have taken it meanwhile.
        number += 1;
        if objects.create(&format!("{MODELS}/{model}/{number:08}"), &sealed::seal(entry))? {
            return Ok(number);
        }
    }
}

/// The number that a session's version has, if it has one.
pub(super) fn of_session(objects: &Objects, model: &str, session: &str) -> Result<Option<u32>, StoreError> {
    for (number, name) in entries(objects, model)? {
        let entry = sealed::read::<ModelEntry>(objects, &name)?;
        if entry.is_some_and(|entry| entry.session.as_deref() == Some(session)) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}
