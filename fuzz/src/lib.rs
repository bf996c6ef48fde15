//! What the fuzz targets share: signing payloads, and reading them in every way there is.

pub mod elements;

use std::ops::Range;
use std::path::Path;
use std::sync::LazyLock;

use bantam::archive::{ArchiveError, RowBlock, Weight, WeightSource};
use bantam::codec::head::Kind;
use bantam::codec::{Payload, Precision, RowDecoder, checksum};
use bantam::tensor::SourceFile;

/// Larger tensors are read in part only, for speed. All that decoding asks for is known before.
pub const MOST_DECODED: usize = 2 << 20;

/// No more is read of a part.
const MOST_IN_PART: usize = 1 << 16;

/// A few bytes stand for no more than this of elements that are all equal.
const MOST_CONSTANT: usize = 16 << 20;

/// Of other elements a payload holds at most so many times its own bytes: 64 rows of 1024 bytes that
/// need no bits have 72 bytes in index and table.
const MOST_TIMES: usize = 1100;

/// Runs `work` on one thread: libFuzzer runs as many processes as there are cores.
pub fn one_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    static POOL: LazyLock<rayon::ThreadPool> = LazyLock::new(|| {
        rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool of one thread")
    });
    POOL.install(work)
}

/// Makes the checksum of a payload's head fit, where `bytes` begin with something like a payload.
///
/// Those of the sections are left: sections are decoded here whether or not theirs fit.
pub fn sign_payload(bytes: &mut [u8]) {
    const CHECKSUM: std::ops::Range<usize> = 24..32;
    if !bytes.starts_with(b"BTM\0") || bytes.len() < CHECKSUM.end {
        return;
    }
    let len = u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes"));
    let Some(head) = usize::try_from(len).ok().and_then(|len| bytes.get_mut(..len)) else { return };
    if head.len() >= CHECKSUM.end {
        head[CHECKSUM].fill(0);
        let sum = checksum(head).to_le_bytes();
        head[CHECKSUM].copy_from_slice(&sum);
    }
}

/// Reads a payload in every way there is. Where all of it decodes, every part decodes to the same.
/// `place` chooses one of the parts. Returns what all of it is.
pub fn read_payload(payload: &Payload, place: u64) -> Option<Vec<u8>> {
    let len = payload.head().original_len;
    let bound = MOST_CONSTANT.max(MOST_TIMES * payload.bytes().len());
    assert!(len <= bound, "{len} bytes of {}", payload.bytes().len());
    let _ = payload.check();
    let whole = if len <= MOST_DECODED { payload.decode().ok() } else { None };
    assert!(whole.as_ref().is_none_or(|whole| whole.len() == len));
    for range in ranges(payload, place) {
        read_range(payload, range, whole.as_deref());
    }
    assert!(payload.check_bytes(len..len + 1).is_err());
    assert!(payload.decode_bytes(len..len + 1, &mut [0]).is_err());
    read_rows(payload, whole.as_deref());
    read_row_blocks(payload, whole.as_deref());
    whole
}

/// Decodes the first row block and the last, from their bytes alone.
fn read_row_blocks(payload: &Payload, whole: Option<&[u8]>) {
    let decoder = RowDecoder::new(payload.head().clone());
    let Kind::Tiled(tiled) = &payload.head().kind else {
        assert!(decoder.ranges(0).is_empty());
        return;
    };
    let grid = &tiled.grid;
    assert!(decoder.ranges(grid.row_blocks).is_empty());
    for row_block in [0, grid.row_blocks - 1] {
        let lanes = grid.rows_in(row_block);
        let bytes: Vec<u8> = decoder
            .ranges(row_block)
            .into_iter()
            .flat_map(|range| &payload.bytes()[range])
            .copied()
            .collect();
        for lanes in [0..lanes, lanes - 1..lanes] {
            let len = lanes.len() * tiled.row_bytes();
            if len > MOST_DECODED {
                continue;
            }
            let mut out = vec![0; len];
            let read = decoder.decode(row_block, lanes.clone(), &bytes, &mut out);
            if let Some(whole) = whole {
                read.expect("all of it decodes");
                let start = (row_block * 64 + lanes.start) * tiled.row_bytes();
                assert!(out == whole[start..start + len], "row block {row_block} is another when read alone");
            }
            assert!(decoder.decode(row_block, lanes.start..lanes.end + 64, &bytes, &mut out).is_err());
            assert!(decoder.decode(row_block, lanes, &bytes[1..], &mut out).is_err());
        }
    }
}

/// Reads every tensor of a file by position, as models do.
pub fn read_by_position(bytes: &[u8]) {
    let file = SourceFile::from_bytes(Path::new("(fuzzed)"), bytes.to_vec());
    let Ok(source) = file.map_err(ArchiveError::from).and_then(WeightSource::from_file) else { return };
    source.weights().for_each(|weight| read_weight(&weight));
}

fn read_weight(weight: &Weight) {
    let Ok(reader) = weight.reader() else {
        assert!(weight.stored().is_err(), "it is read as a whole only");
        return;
    };
    let checked = reader.check(Precision::Lossless).is_ok();
    let whole = if weight.original_len <= MOST_DECODED { Some(weight.bytes()) } else { None };
    if let Some(whole) = &whole {
        let read = reader.read_all();
        assert_eq!(read.is_ok(), whole.is_ok(), "{} is read by position or as a whole only", weight.name);
        assert!(checked || read.is_err());
        assert!(read.ok().as_deref() == whole.as_deref().ok(), "{} is another", weight.name);
    }
    let whole = whole.and_then(Result::ok);
    let (rows, len) = (reader.rows(), reader.row_bytes());
    for range in [0..rows.min(1), rows.saturating_sub(1)..rows, 62.min(rows)..67.min(rows)] {
        if range.len() * len > MOST_DECODED {
            continue;
        }
        let read = reader.read_matrix_rows(range.clone());
        // Rows of less than a byte are not told apart.
        if let Some(whole) = whole.as_ref().filter(|whole| whole.len() == rows * len) {
            let expected = &whole[range.start * len..range.end * len];
            assert!(read.expect("all of it is read") == expected, "rows {range:?} of {}", weight.name);
        }
    }
    assert!(reader.read_matrix_rows(0..rows + 1).is_err());
    let mut memory = RowBlock::default();
    let row_blocks = rows.div_ceil(64);
    for precision in [Precision::Lossless, Precision::Mantissa(3)] {
        let _ = reader.row_blocks_len(0..row_blocks, precision);
        for row_block in [0, row_blocks.saturating_sub(1)] {
            if 64 * len > MOST_DECODED {
                continue;
            }
            let read = reader.read_row_block(row_block, precision, &mut memory);
            if whole.is_some() {
                let values = read.expect("all of it is read").to_vec();
                if weight.dtype.bitsize() >= 16 {
                    let _ = reader.values(&values, precision).count();
                }
            }
        }
    }
}

/// Both ends, the middle of two bands, and one that `place` chooses.
fn ranges(payload: &Payload, place: u64) -> [Range<usize>; 4] {
    let len = payload.head().original_len;
    let band = payload.band_bytes().min(len);
    let start = (place >> 32) as usize % (len + 1);
    let chosen = start..start + place as u32 as usize % (len - start + 1).min(MOST_IN_PART);
    [0..len.min(1), len - len.min(5)..len, band - band.min(3)..(band + 4).min(len), chosen]
}

fn read_range(payload: &Payload, range: Range<usize>, whole: Option<&[u8]>) {
    let _ = payload.check_bytes(range.clone());
    let mut out = vec![0; range.len()];
    let read = payload.decode_bytes(range.clone(), &mut out);
    if let Some(whole) = whole {
        read.expect("all of it decodes");
        assert!(out == whole[range.clone()], "bytes {range:?} are others when read alone");
    }
}

/// Some rows on either side of a row block's edge, those at the ends, and some that are not there.
fn read_rows(payload: &Payload, whole: Option<&[u8]>) {
    let Kind::Tiled(tiled) = &payload.head().kind else {
        assert!(payload.decode_rows(0..0).is_none());
        return;
    };
    let (rows, row_len) = (tiled.grid.matrix.rows, tiled.row_bytes());
    for range in [0..1, 62.min(rows)..67.min(rows), rows - 1..rows, 0..0] {
        if range.len() * row_len > MOST_DECODED {
            continue;
        }
        let read = payload.decode_rows(range.clone()).expect("the tensor is tiled");
        if let Some(whole) = whole {
            let expected = &whole[row_len * range.start..row_len * range.end];
            assert!(read.expect("all rows decode") == expected, "rows {range:?} are others when read alone");
        }
    }
    assert!(payload.decode_rows(rows..rows + 1).is_some_and(|read| read.is_err()));
}
