//! Memory that encoding has done with, for what is encoded next.
//!
//! New memory comes from the system page by page, and each page costs as much time as coding it.

use std::sync::{Mutex, PoisonError};

use super::encode_group::Group;

/// A group with more memory is not kept: rows of millions of columns are rare.
const MOST_BYTES: usize = 8 << 20;

/// So many groups are kept.
pub(super) const KEPT_GROUPS: usize = 16;

/// Groups whose contents have been put.
#[derive(Debug, Default)]
pub(super) struct Spare {
    groups: Mutex<Vec<Group>>,
}

impl Spare {
    /// A group with whatever is in it.
    pub fn take(&self) -> Group {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Keeps the memory of `group`.
    pub fn give(&self, group: Group) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if groups.len() < KEPT_GROUPS && group.capacity() <= MOST_BYTES {
            groups.push(group);
        }
    }
}
