//! The contents of a streamed stage, and loading it into a slot.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::error::StreamError;
use super::pool;
use crate::archive::{ArchiveError, RowBlock, TensorReader};
use crate::codec::Precision;
use crate::gpu::weights::layouts::raw;
use crate::gpu::weights::{Piece, RowBlocks};
use crate::gpu::{Room, Writing};
use crate::tensor::FileReader;

/// Bytes that are read at a time, so few that they stay in a processor's cache.
const PIECE: usize = 256 << 10;

/// The result of filling a slot.
pub(super) type Filled = Result<(), StreamError>;

/// A byte range of a file, and its destination in a slot.
#[derive(Debug)]
struct Read {
    file: FileReader,
    /// Byte offset in the file.
    offset: u64,
    /// Bytes, a multiple of four.
    len: usize,
    /// Byte offset in the slot, a multiple of four.
    at: u64,
}

/// Row blocks of a tensor that are decoded, and their destination in a slot.
#[derive(Debug)]
struct Decode {
    tensor: TensorReader,
    precision: Precision,
    rows: RowBlocks,
}

/// The sources of a streamed stage's bytes.
#[derive(Debug, Default)]
pub struct StreamedStage {
    reads: Vec<Read>,
    decodes: Vec<Decode>,
    bytes: u64,
    end: u64,
}

/// Temporary memory for loading stages. It grows only with the largest decoded row block, of which there is
/// one per decoding thread.
#[derive(Debug, Default)]
pub(super) struct Passage {
    piece: Vec<u8>,
    row_blocks: Mutex<Vec<RowBlock>>,
}

impl Passage {
    /// Runs `work` with memory for a row block that no other thread uses meanwhile.
    fn with_row_block<T>(&self, work: impl FnOnce(&mut RowBlock) -> T) -> T {
        let spare = || self.row_blocks.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let taken = spare().pop();
        let mut row_block = taken.unwrap_or_default();
        let done = work(&mut row_block);
        spare().push(row_block);
        done
    }
}

impl StreamedStage {
    /// Adds pieces of the payload that begins at byte `payload_at` of `file`. Pieces that are adjacent in
    /// both file and slot are read together.
    pub fn add(&mut self, file: &FileReader, payload_at: u64, pieces: &[Piece]) {
        let mut follows = false;
        for Piece { payload, at } in pieces.iter().filter(|piece| !piece.payload.is_empty()) {
            let offset = payload_at + payload.start as u64;
            self.bytes += payload.len() as u64;
            self.end = self.end.max(at + payload.len() as u64);
            match self.reads.last_mut() {
                Some(last)
                    if follows
                        && last.offset + last.len as u64 == offset
                        && last.at + last.len as u64 == *at =>
                {
                    last.len += payload.len();
                }
                _ => self.reads.push(Read { file: file.clone(), offset, len: payload.len(), at: *at }),
            }
            follows = true;
        }
    }

    /// Adds row blocks of a tensor, to be decoded in `precision` while they are loaded. The bytes that this
    /// reads must have been [checked](TensorReader::check).
    pub fn add_decoded(&mut self, tensor: &TensorReader, precision: Precision, pieces: &[RowBlocks]) {
        for rows in pieces {
            self.bytes += tensor.row_blocks_len(rows.row_blocks.clone(), precision);
            self.end = self.end.max(rows.end());
            self.decodes.push(Decode { tensor: tensor.clone(), precision, rows: rows.clone() });
        }
    }

    /// Bytes that are read from files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Length of the stage in the slot.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Writes the whole stage to a slot.
    pub fn bring(&self, writing: &mut Writing) -> Result<(), StreamError> {
        self.fill(writing, &mut Passage::default(), &AtomicBool::new(false))
    }

    /// Writes the whole stage to a slot, unless `stopped` is set.
    pub(super) fn fill(&self, writing: &mut Writing, passage: &mut Passage, stopped: &AtomicBool) -> Filled {
        let go_on = || match stopped.load(Ordering::Relaxed) {
            true => Err(StreamError::Stopped),
            false => Ok(()),
        };
        for read in &self.reads {
            read.copy(writing, &mut passage.piece, go_on)?;
        }
        let (room, passage) = (writing.room(), &*passage);
        let row_blocks = |decode| Decode::row_blocks(decode).map(move |row_block| (decode, row_block));
        // Uses all threads: if computing a stage takes less time than loading the next one, the device is
        // idle.
        let decode = || {
            self.decodes.par_iter().flat_map(row_blocks).try_for_each(|(decode, row_block)| {
                go_on()?;
                passage.with_row_block(|memory| decode.run(room, row_block, memory))
            })
        };
        if !self.decodes.is_empty() {
            pool::decoding()?.install(decode)?;
        }
        // Checked after reading: data that was read before a change is still correct.
        let files = self.reads.iter().map(|read| &read.file);
        let mut files = files.chain(self.decodes.iter().map(|decode| decode.tensor.file()));
        match files.find(|file| !file.is_unchanged()) {
            Some(file) => Err(ArchiveError::Changed { file: file.path().into() }.into()),
            None => Ok(()),
        }
    }
}

impl Read {
    fn copy(&self, writing: &mut Writing, piece: &mut Vec<u8>, go_on: impl Fn() -> Filled) -> Filled {
        piece.resize(PIECE, 0);
        for start in (0..self.len).step_by(PIECE) {
            go_on()?;
            let piece = &mut piece[..(self.len - start).min(PIECE)];
            let bytes = self.file.read_exact_at(piece, self.offset + start as u64);
            bytes.map_err(ArchiveError::read_again(self.file.path()))?;
            writing.write(self.at + start as u64, piece)?;
        }
        Ok(())
    }
}

impl Decode {
    /// The tensor's row blocks that are decoded.
    fn row_blocks(&self) -> impl ParallelIterator<Item = usize> {
        self.rows.row_blocks.clone().into_par_iter()
    }

    fn run(&self, room: Room<'_>, row_block: usize, memory: &mut RowBlock) -> Filled {
        let RowBlocks { row_blocks, at, each } = &self.rows;
        let rows = self.tensor.read_row_block(row_block, self.precision, memory)?;
        let start = at + (row_block - row_blocks.start) as u64 * each;
        let mut view = room.view(start..start + each)?;
        raw::interleave(rows, self.tensor.dtype(), self.tensor.cols(), |at, run| {
            view.slice(at..at + run.len()).copy_from_slice(run);
        });
        Ok(())
    }
}
