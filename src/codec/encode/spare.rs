//! Memory that encoding has finished with, kept for the next pieces.
//!
//! The system provides new memory page by page, and each page costs as much time as coding it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::group::{Group, Planes};

/// Larger memory is not kept, because rows of millions of columns are rare.
const MOST_BYTES: usize = 8 << 20;

/// How many pieces of memory of each kind are kept.
pub(crate) const KEPT_GROUPS: usize = 16;

/// Memory of groups whose contents have been written. The last one returned is reused first, because it may
/// still be in a cache. Coded planes and raw planes are kept separately, because one is often written before
/// the other.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    coded: Mutex<Vec<Group>>,
    planes: Mutex<Vec<Planes>>,
}

impl Spare {
    /// A group, with arbitrary old contents.
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
