//! The state of an output, as read from the disk. The table in the room's first lines says what each means.

use std::path::Path;

use super::places::{beside, is_folder, within};
use super::record::{Record, Stage};
use crate::archive::ArchiveError;

/// What is on disk for an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is no folder, and none is begun.
    Absent,
    /// There is a folder, and nothing is begun in it: a model, somebody's files, or none.
    Present,
    /// An unfinished folder is where it belongs, and nothing else has changed. It may be claimed, filling or whole.
    Begun,
    /// A folder was filled beside the output, which has come to be since.
    Stranded,
    /// Files of the old model are being removed.
    Removing,
    /// The old model is gone, and files of the new one are being moved.
    Moving,
}

impl State {
    /// The state of the output `path`, in which links have been followed.
    pub fn of(path: &Path) -> Self {
        let is_beside = beside(path).is_ok_and(|beside| is_folder(&beside));
        if !is_folder(path) {
            return if is_beside { Self::Begun } else { Self::Absent };
        }
        let within = within(path);
        match Record::read(&within).stage {
            Stage::Removing => Self::Removing,
            Stage::Moving => Self::Moving,
            Stage::Filling if is_folder(&within) => Self::Begun,
            Stage::Filling if is_beside => Self::Stranded,
            Stage::Filling => Self::Present,
        }
    }

    /// Whether the output is neither the old one nor the new one.
    pub fn is_replacing(self) -> bool {
        matches!(self, Self::Removing | Self::Moving)
    }
}

/// An error where `folder` was being replaced when that was interrupted, so that it is neither of two models.
pub fn refuse_unfinished(folder: &Path) -> Result<(), ArchiveError> {
    // A link to a folder is one to a reader.
    match Record::read(&within(folder)).stage {
        Stage::Filling => Ok(()),
        Stage::Removing | Stage::Moving => Err(ArchiveError::Unfinished { path: folder.into() }),
    }
}
