//! All tensors of an archive, decoded window by window.
//!
//! A window is some tens of megabytes of consecutive tensors of the original. While all threads decode one
//! window piece by piece, the previous one is hashed and handed on. So the memory needed does not grow with
//! the file or its tensors, and hashes get their bytes in order.

use std::ops::Range;
use std::sync::Arc;

use blake3::Hasher;
use rayon::prelude::*;

use super::coded::Coded;
use super::progress::check;
use super::reader::ArchivedTensor;
use super::sink::Sink;
use super::{Archive, ArchiveError, ModelFiles, Progress};

/// Original bytes of a window, approximately. Two windows are in memory at a time. They are small enough that
/// decoded bytes are hashed and written while they are in the processor's cache.
fn window_bytes() -> usize {
    rayon::current_num_threads().clamp(2, 16) * (4 << 20)
}

/// Maximum number of tensors in a window, so that a million empty tensors do not form a single one.
const WINDOW_PARTS: usize = 4096;

/// Original bytes that a thread decodes at a time, approximately.
const PIECE_BYTES: usize = 512 << 10;

/// A larger row block is decoded in several pieces.
const LARGEST_PIECE: usize = 8 << 20;

/// Fewer bytes are hashed by a single thread.
const SPREAD_HASH: usize = 512 << 10;

/// Handles a faulty tensor; an error ends the work.
pub(super) type OnFailure<'a> = dyn FnMut(&ArchivedTensor, ArchiveError) -> Result<(), ArchiveError> + 'a;

/// Decodes every tensor of `archive`, which may hold differences to `base`, compares all checksums and
/// hashes, and writes the tensors to `sink` at their offsets in the original. Faults are reported in file
/// order, once for each tensor.
pub(super) fn decode_all(
    archive: &Archive,
    base: Option<&ModelFiles>,
    sink: Option<Sink>,
    progress: &dyn Progress,
    on_failure: &mut OnFailure,
) -> Result<(), ArchiveError> {
    let mut ahead = Ahead { archive, base, tensor: 0, at: 0, coded: None };
    let mut hasher = None;
    let mut decoded: Option<Window> = None;
    let mut spare = Vec::new();
    loop {
        check(progress)?;
        let mut next = ahead.window(std::mem::take(&mut spare));
        let (_, handed_on) = rayon::join(
            || next.iter_mut().for_each(|window| window.decode(progress)),
            || decoded.as_mut().map(|window| window.hand_on(sink, hasher.take())),
        );
        if let (Some(window), Some(handed_on)) = (decoded.take(), handed_on) {
            let failures;
            (failures, hasher) = handed_on?;
            for (tensor, error) in failures {
                on_failure(tensor, error)?;
            }
            spare = window.buffer;
        }
        decoded = next;
        if decoded.is_none() {
            return Ok(());
        }
    }
}

/// Runs `work` on pieces of `out`, which will hold the bytes `range` of a tensor of which `band` bytes are
/// best decoded together. Pieces are whole row blocks if `range` begins with one and the row blocks are not
/// too large.
pub(super) fn in_pieces<E: Send>(
    band: usize,
    range: &Range<usize>,
    out: &mut [u8],
    work: impl Fn(Range<usize>, &mut [u8]) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let piece = piece_bytes(band);
    let work = |(i, out): (usize, &mut [u8])| {
        let start = range.start + i * piece;
        work(start..start + out.len(), out)
    };
    // All pieces are processed, so that the first fault in the file is reported, and not the first that a
    // thread happened to find.
    let results: Vec<_> = out.par_chunks_mut(piece).enumerate().map(work).collect();
    results.into_iter().collect()
}

fn piece_bytes(band: usize) -> usize {
    (PIECE_BYTES / band * band).max(band).min(LARGEST_PIECE)
}

/// The position of the next window.
struct Ahead<'a> {
    archive: &'a Archive,
    base: Option<&'a ModelFiles>,
    tensor: usize,
    /// Bytes of the tensor that earlier windows contain.
    at: usize,
    /// The tensor's decoder, if earlier windows contain part of it.
    coded: Option<Arc<Coded>>,
}

impl<'a> Ahead<'a> {
    /// The next window, which will be decoded into `buffer`; `None` after the last.
    fn window(&mut self, buffer: Vec<u8>) -> Option<Window<'a>> {
        let mut window = Window { archive: self.archive, parts: Vec::new(), buffer };
        let most = window_bytes();
        let mut len = 0;
        while len < most && window.parts.len() < WINDOW_PARTS {
            let Some(part) = self.part(most - len) else { break };
            len += part.range.len();
            window.parts.push(part);
        }
        window.buffer.resize(len, 0);
        (!window.parts.is_empty()).then_some(window)
    }

    /// The next part, of `room` bytes and at most a piece more.
    fn part(&mut self, room: usize) -> Option<Part<'a>> {
        let tensor = self.archive.tensors().get(self.tensor)?;
        let coded = match self.coded.take() {
            Some(coded) => coded,
            None => match Coded::of(self.archive, tensor, self.base) {
                Ok(coded) => Arc::new(coded),
                Err(error) => {
                    self.tensor += 1;
                    return Some(Part { tensor, coded: None, range: 0..0, decoded: Err(error) });
                }
            },
        };
        let most = room.next_multiple_of(piece_bytes(coded.band_bytes()));
        let range = self.at..tensor.original_len.min(self.at.saturating_add(most));
        if range.end < tensor.original_len {
            self.at = range.end;
            self.coded = Some(coded.clone());
        } else {
            self.at = 0;
            self.tensor += 1;
        }
        Some(Part { tensor, coded: Some(coded), range, decoded: Ok(()) })
    }
}

/// Parts that are consecutive in the original file, and their bytes end to end.
struct Window<'a> {
    archive: &'a Archive,
    parts: Vec<Part<'a>>,
    buffer: Vec<u8>,
}

/// Faults in a window, and the hasher of a tensor that continues in the next window, if it has no fault so
/// far.
type HandedOn<'a> = (Vec<(&'a ArchivedTensor, ArchiveError)>, Option<Hasher>);

impl<'a> Window<'a> {
    /// Stretches of the buffer that are contiguous in the original, and their offsets there.
    fn runs(&self) -> Vec<(usize, Range<usize>)> {
        let mut runs: Vec<(usize, Range<usize>)> = Vec::new();
        let mut at = 0;
        for part in &self.parts {
            let (start, end) = (part.tensor.start + part.range.start, at + part.range.len());
            match runs.last_mut() {
                Some((first, run)) if *first + run.len() == start => run.end = end,
                _ => runs.push((start, at..end)),
            }
            at = end;
        }
        runs
    }

    fn decode(&mut self, progress: &dyn Progress) {
        let mut left = &mut self.buffer[..];
        let mut parts = Vec::new();
        for part in &mut self.parts {
            let (here, rest) = left.split_at_mut(part.range.len());
            parts.push((part, here));
            left = rest;
        }
        parts.into_par_iter().for_each(|(part, out)| part.decode(out, progress));
    }

    /// Hashes the window's bytes, continuing `hasher` if its first part began in an earlier window, and
    /// writes them to `sink`.
    fn hand_on(&mut self, sink: Option<Sink>, hasher: Option<Hasher>) -> Result<HandedOn<'a>, ArchiveError> {
        let runs = self.runs();
        let mut left = &self.buffer[..];
        let mut parts = Vec::new();
        for part in &mut self.parts {
            let (here, rest) = left.split_at(part.range.len());
            let hasher = if part.range.start == 0 { Some(Hasher::new()) } else { hasher.clone() };
            parts.push((part, here, hasher));
            left = rest;
        }
        let hash = |(part, bytes, hasher): (&mut Part<'a>, _, _)| part.hash(self.archive, bytes, hasher);
        let write = |sink: Sink| {
            runs.par_iter().try_for_each(|(start, range)| {
                let pieces = self.buffer[range.clone()].par_chunks(LARGEST_PIECE).enumerate();
                pieces.try_for_each(|(i, piece)| sink.put((start + i * LARGEST_PIECE) as u64, piece))
            })
        };
        let (written, hashed) = rayon::join(
            || sink.map_or(Ok(()), write),
            || parts.into_par_iter().map(hash).collect::<Vec<Result<Option<Hasher>, ArchiveError>>>(),
        );
        written?;
        let mut handed_on = (Vec::new(), None);
        for (part, hashed) in self.parts.iter().zip(hashed) {
            match hashed {
                Ok(hasher) => handed_on.1 = hasher,
                Err(ArchiveError::Cancelled) => return Err(ArchiveError::Cancelled),
                Err(error) => handed_on.0.push((part.tensor, error)),
            }
        }
        Ok(handed_on)
    }
}

/// Some or all bytes of a tensor.
struct Part<'a> {
    tensor: &'a ArchivedTensor,
    /// `None` if the head is damaged.
    coded: Option<Arc<Coded>>,
    range: Range<usize>,
    decoded: Result<(), ArchiveError>,
}

impl Part<'_> {
    fn decode(&mut self, out: &mut [u8], progress: &dyn Progress) {
        let Some(coded) = &self.coded else {
            progress.advance(self.tensor.original_len as u64);
            return;
        };
        // A row block is checked with the part that it begins in, which usually contains all of it.
        let first = self.range.start.next_multiple_of(coded.band_bytes()).min(self.range.end);
        let (checked, decoded) = rayon::join(
            || coded.check_bytes(first..self.range.end),
            || {
                in_pieces(coded.band_bytes(), &self.range, out, |range, out| {
                    check(progress)?;
                    coded.decode_bytes(range, out)?;
                    progress.advance(out.len() as u64);
                    Ok(())
                })
            },
        );
        self.decoded = checked.and(decoded).map_err(|error| match error {
            ArchiveError::Cancelled => error,
            error => coded.explain(error),
        });
    }

    /// Continues the tensor's hash, and compares it after the last part. Without a hasher, an earlier part
    /// was faulty, which has been reported.
    fn hash(
        &mut self,
        archive: &Archive,
        bytes: &[u8],
        hasher: Option<Hasher>,
    ) -> Result<Option<Hasher>, ArchiveError> {
        let Some(mut hasher) = hasher else { return Ok(None) };
        std::mem::replace(&mut self.decoded, Ok(()))?;
        match bytes.len() {
            0..SPREAD_HASH => hasher.update(bytes),
            _ => hasher.update_rayon(bytes),
        };
        if self.range.end < self.tensor.original_len {
            return Ok(Some(hasher));
        }
        match hasher.finalize() == self.tensor.blake3 {
            true => Ok(None),
            false => {
                let error =
                    ArchiveError::Hash { file: archive.path().into(), tensor: self.tensor.name.clone() };
                Err(match &self.coded {
                    Some(coded) => coded.explain(error),
                    None => error,
                })
            }
        }
    }
}
