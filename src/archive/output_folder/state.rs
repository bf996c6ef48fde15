//! The state of an output, as read from the disk. The table at the top of `output_folder` defines the states.

use std::path::Path;

use super::places::{beside, is_folder, within};
use super::record::{Record, Stage};
use crate::archive::ArchiveError;

/// An output's state on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is neither the output nor an unfinished folder.
    Absent,
    /// The output is a folder without an unfinished one in it: a model, other files, or empty.
    Present,
    /// There is an unfinished folder in its place, and nothing else has changed: claimed, filling or whole.
    Begun,
    /// A folder was filled beside the output, which was created since.
    Stranded,
    /// Files of the old model are being removed.
    Removing,
    /// The old model is gone, and files of the new one are being moved.
    Moving,
}

impl State {
    /// The state of the output `path`, whose links are resolved.
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

    /// Whether the output is neither the old model nor the new one.
    pub fn is_replacing(self) -> bool {
        matches!(self, Self::Removing | Self::Moving)
    }
}

/// Returns an error if replacing `folder` was interrupted, so that it is neither the old model nor the new
/// one.
pub fn refuse_unfinished(folder: &Path) -> Result<(), ArchiveError> {
    // Readers follow a link to a folder.
    match Record::read(&within(folder)).stage {
        Stage::Filling => Ok(()),
        Stage::Removing | Stage::Moving => Err(ArchiveError::Unfinished { path: folder.into() }),
    }
}
