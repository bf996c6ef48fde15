//! Sessions: who is writing to a store, and how it ended.
//!
//! A writer begins with `sessions/ID`. It commits with `sessions/ID.end`, which can be created once: whoever finds that
//! the session has been silent for too long creates the same object, saying that it expired, and then the writer, if it
//! should still live, cannot commit any more. An end that says *expired* stays for ever. Collectors have sessions too
//! while they write packs.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::name::VersionName;
use super::objects::Objects;
use super::versions::{self, ModelEntry};
use super::{name, sealed};

/// The folder of the objects.
pub(super) const SESSIONS: &str = "sessions";

/// What ends a session's name if the object tells how it ended.
const END: &str = ".end";

/// What a session adds to the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Commit {
    /// The name of the model.
    pub model: String,
    /// The version's manifest.
    pub manifest: String,
}

/// How a session ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum End {
    /// With a version.
    Committed(Commit),
    /// What was written is in the index, and needs no version.
    Kept,
    /// It was ended by somebody else.
    Expired,
}

/// A writer's session.
#[derive(Debug)]
pub(super) struct Session<'a> {
    objects: &'a Objects,
    id: String,
    is_open: bool,
}

impl<'a> Session<'a> {
    /// Begins a session. What is condemned must be read after that.
    pub fn begin(objects: &'a Objects) -> Result<Self, StoreError> {
        let id = name::random();
        objects.create(&name_of(&id), b"")?;
        // Of a record and a session, one is seen by whoever made the other.
        objects.wait_for_lists();
        Ok(Self { objects, id, is_open: true })
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Commits: from here on the version is in the store, whatever becomes of this process. All that it consists of
    /// must be durable.
    pub fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        self.end(&End::Committed(commit.clone()))
    }

    /// Says that what was written is in the index, and needs no version of its own.
    pub fn keep(&self) -> Result<(), StoreError> {
        self.end(&End::Kept)
    }

    fn end(&self, end: &End) -> Result<(), StoreError> {
        match self.objects.create(&end_of(&self.id), &sealed::seal(end))? {
            true => Ok(()),
            false => Err(StoreError::Expired { session: self.id.clone() }),
        }
    }

    /// Cleans up after the end: after a commit, once the version has its number.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.is_open = false;
        forget(self.objects, &self.id)
    }
}

impl Drop for Session<'_> {
    /// Where there was an error nobody will commit. After a commit whoever comes next must find it.
    fn drop(&mut self) {
        let is_ended = || self.objects.exists(&end_of(&self.id)).unwrap_or(true);
        if self.is_open && !is_ended() {
            let _ = self.objects.remove(&name_of(&self.id));
        }
    }
}

fn name_of(id: &str) -> String {
    format!("{SESSIONS}/{id}")
}

fn end_of(id: &str) -> String {
    name_of(id) + END
}

/// The number of the version that a session committed; a new one if it has none yet.
pub(super) fn give_version(objects: &Objects, id: &str, commit: &Commit) -> Result<u32, StoreError> {
    if let Some(number) = versions::of_session(objects, &commit.model, id)? {
        return Ok(number);
    }
    // Others may have added the same meanwhile.
    let newest = versions::find(objects, &VersionName { model: commit.model.clone(), version: None }).ok();
    if let Some(version) = newest.filter(|version| version.manifest == commit.manifest) {
        return Ok(version.number);
    }
    let entry = ModelEntry { manifest: Some(commit.manifest.clone()), session: Some(id.into()) };
    versions::append(objects, &commit.model, &entry)
}

/// Takes away a committed session: first itself, so that nobody takes it for one that is open.
pub(super) fn forget(objects: &Objects, id: &str) -> Result<(), StoreError> {
    objects.remove(&name_of(id))?;
    objects.remove(&end_of(id))
}

/// The sessions of a store.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// The names of those that have not ended.
    pub open: Vec<String>,
    /// Those that were committed, with their names.
    pub committed: Vec<(String, Commit)>,
    /// The names of those whose writers needed no version, and did not live to take them away.
    kept: Vec<String>,
}

impl Sessions {
    /// Reads them. An end that is gone when it is read had its version numbered before that.
    pub fn read(objects: &Objects) -> Result<Self, StoreError> {
        let names = objects.list(SESSIONS)?;
        let mut sessions = Self::default();
        let id = |name: &String| name.strip_prefix("sessions/").map(str::to_string);
        for id in names.iter().filter_map(id) {
            match id.strip_suffix(END) {
                Some(id) => match sealed::read(objects, &end_of(id))? {
                    Some(End::Committed(commit)) => {
                        name::check(&commit.model)?;
                        sessions.committed.push((id.into(), commit));
                    }
                    Some(End::Kept) => sessions.kept.push(id.into()),
                    Some(End::Expired) | None => {}
                },
                None if names.binary_search(&end_of(&id)).is_err() => sessions.open.push(id),
                None => {}
            }
        }
        Ok(sessions)
    }
}

/// When a session began, by the store's clock; `None` if it is gone.
pub(super) fn began(objects: &Objects, id: &str) -> Result<Option<SystemTime>, StoreError> {
    objects.modified(&name_of(id))
}

/// How long ago that was.
pub(super) fn age(objects: &Objects, id: &str, now: SystemTime) -> Result<Option<Duration>, StoreError> {
    Ok(began(objects, id)?.map(|began| now.duration_since(began).unwrap_or_default()))
}

/// Takes away sessions whose writers did not live to do it, and gives versions to their commits. A writer that does
/// meanwhile finds its version.
pub(super) fn settle(objects: &Objects) -> Result<(), StoreError> {
    let Sessions { committed, kept, .. } = Sessions::read(objects)?;
    if !committed.is_empty() {
        // Versions that were given before are listed then.
        objects.wait_for_lists();
    }
    for (id, commit) in &committed {
        give_version(objects, id, commit)?;
        forget(objects, id)?;
    }
    kept.iter().try_for_each(|id| forget(objects, id))
}

/// Ends a session that has been silent for too long. It may have ended otherwise meanwhile.
pub(super) fn expire(objects: &Objects, id: &str) -> Result<(), StoreError> {
    objects.create(&end_of(id), &sealed::seal(&End::Expired)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit() -> Commit {
        Commit { model: "model".into(), manifest: "manifest".into() }
    }

    #[test]
    fn a_session_ends_once() {
        let root = tempfile::tempdir().unwrap();
        let objects = Objects::new(root.path().into());
        let read = || Sessions::read(&objects).unwrap();
        // One that was given up is gone.
        drop(Session::begin(&objects).unwrap());
        assert!(read().open.is_empty());
        let [one, other] = [0, 1].map(|_| Session::begin(&objects).unwrap());
        let ids = [one.id().to_string(), other.id().to_string()];
        assert_eq!(read().open.len(), 2);
        expire(&objects, other.id()).unwrap();
        assert!(matches!(other.commit(&commit()), Err(StoreError::Expired { .. })));
        drop(other);
        one.commit(&commit()).unwrap();
        expire(&objects, one.id()).unwrap();
        assert_eq!(read().committed, [(ids[0].clone(), commit())]);
        assert!(read().open.is_empty());
        // A writer that dies here leaves its commit to others.
        drop(one);
        assert_eq!(read().committed.len(), 1);
        forget(&objects, &ids[0]).unwrap();
        assert!(read().committed.is_empty() && read().open.is_empty());
        assert!(objects.exists(&end_of(&ids[1])).unwrap());
    }
}
