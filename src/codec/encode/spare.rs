//! Memory that encoding has done with, for what is encoded next.
//!
//! New memory comes from the system page by page, and each page costs as much time as coding it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::group::{Group, Planes};

/// Memory of more bytes is not kept: rows of millions of columns are rare.
const MOST_BYTES: usize = 8 << 20;

/// So many pieces of memory of each kind are kept.
pub(crate) const KEPT_GROUPS: usize = 16;

/// Memory of groups whose contents have been put. What was given last is taken first: it may still be in a
/// cache. The coded plane's and the raw planes' go apart, because the one is often put before the others.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    coded: Mutex<Vec<Group>>,
    planes: Mutex<Vec<Planes>>,
}

impl Spare {
    /// A group with whatever is in it.
    pub fn take(&self) -> Group {
        let coded = lock(&self.coded).pop().unwrap_or_default();
        Group { planes: lock(&self.planes).pop().unwrap_or_default(), ..coded }
    }

    /// Keeps the memory of `group`.
    pub fn give(&self, mut group: Group) {
        self.give_planes(std::mem::take(&mut group.planes));
        let mut kept = lock(&self.coded);
        if kept.len() < KEPT_GROUPS && group.coded.capacity() <= MOST_BYTES {
            kept.push(group);
        }
    }

    /// Keeps the memory of raw planes.
    pub fn give_planes(&self, planes: Planes) {
        let bytes: usize = planes.iter().map(|plane| 4 * plane.capacity()).sum();
        let mut kept = lock(&self.planes);
        if kept.len() < KEPT_GROUPS && (1..=MOST_BYTES).contains(&bytes) {
            kept.push(planes);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
