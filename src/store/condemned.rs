//! Records of packs that are to be deleted.
//!
//! A writer begins its session before it reads the records, and a collector creates a record before it lists the
//! sessions. So a session that the collector does not see as open knows the record, and leaves its packs alone.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::objects::Objects;
use super::session::Sessions;
use super::{name, pack, sealed};

/// The folder of the objects.
pub(super) const CONDEMNED: &str = "condemned";

/// What ends a record's name if the object lists the sessions that may use its packs.
const SESSIONS: &str = ".sessions";

/// What a record says.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    packs: Vec<String>,
}

/// Packs that are to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condemned {
    /// The record's name.
    pub id: String,
    pub packs: Vec<String>,
}

impl Condemned {
    /// Makes a record.
    pub fn create(objects: &Objects, packs: Vec<String>) -> Result<Self, StoreError> {
        let id = name::random();
        objects.create(&format!("{CONDEMNED}/{id}"), &sealed::seal(&Record { packs: packs.clone() }))?;
        Ok(Self { id, packs })
    }

    /// Reads all records.
    pub fn read(objects: &Objects) -> Result<Vec<Self>, StoreError> {
        let mut all = Vec::new();
        for name in objects.list(CONDEMNED)? {
            let id = name.rsplit_once('/').map_or(&name[..], |(_, id)| id);
            // A record that is gone when it is read has no packs any more.
            if !id.ends_with(SESSIONS)
                && let Some(Record { packs }) = sealed::read(objects, &name)?
            {
                if let Some(pack) = packs.iter().find(|pack| !pack::is_name(pack)) {
                    let what = format!("{pack:?} is no name of a pack");
                    return Err(StoreError::Object { path: objects.path(&name), what });
                }
                all.push(Self { id: id.into(), packs });
            }
        }
        Ok(all)
    }

    /// The packs of all records.
    pub fn packs(all: &[Self]) -> HashSet<String> {
        all.iter().flat_map(|record| record.packs.iter().cloned()).collect()
    }

    /// Sessions that may use its packs and are still open. Those that may were listed once, after the record was there.
    pub fn open_sessions(&self, objects: &Objects) -> Result<Vec<String>, StoreError> {
        let name = format!("{CONDEMNED}/{}{SESSIONS}", self.id);
        // As a writer does between its session and the records.
        objects.wait_for_lists();
        let open = Sessions::read(objects)?.open;
        let listed: Vec<String> = match sealed::read(objects, &name)? {
            Some(listed) => listed,
            None => {
                objects.create(&name, &sealed::seal(&open))?;
                return Ok(open);
            }
        };
        Ok(listed.into_iter().filter(|id| open.contains(id)).collect())
    }

    /// Deletes lists of sessions whose record is gone. Of several collectors of one record, one may take it away, and
    /// another make the list anew after that, and die.
    pub fn clean(objects: &Objects) -> Result<(), StoreError> {
        for name in objects.list(CONDEMNED)? {
            // The record is made before the list.
            if let Some(record) = name.strip_suffix(SESSIONS)
                && !objects.exists(record)?
            {
                objects.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Takes the record away. Its packs must be gone.
    pub fn forget(&self, objects: &Objects) -> Result<(), StoreError> {
        objects.remove(&format!("{CONDEMNED}/{}{SESSIONS}", self.id))?;
        objects.remove(&format!("{CONDEMNED}/{}", self.id))
    }
}

#[cfg(test)]
mod tests {
    use super::super::session::Session;
    use super::*;

    fn pack() -> String {
        format!("packs/ab/{}", "ab".repeat(16))
    }

    #[test]
    fn records_of_what_is_no_pack_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let objects = Objects::new(root.path().into());
        Condemned::create(&objects, vec![pack(), "../precious".into()]).unwrap();
        assert!(Condemned::read(&objects).unwrap_err().to_string().contains("no name of a pack"));
    }

    #[test]
    fn a_record_waits_for_the_sessions_before_it() {
        let root = tempfile::tempdir().unwrap();
        let objects = Objects::new(root.path().into());
        let before = Session::begin(&objects).unwrap();
        let record = Condemned::create(&objects, vec![pack()]).unwrap();
        let waits_for = || record.open_sessions(&objects).unwrap();
        assert_eq!(waits_for(), [before.id()]);
        let _after = Session::begin(&objects).unwrap();
        assert_eq!(waits_for(), [before.id()]);
        drop(before);
        assert!(waits_for().is_empty());
        let all = Condemned::read(&objects).unwrap();
        assert!(all == [record.clone()]);
        assert!(Condemned::packs(&all).contains(&pack()));
        record.forget(&objects).unwrap();
        assert!(Condemned::read(&objects).unwrap().is_empty());
    }
}
