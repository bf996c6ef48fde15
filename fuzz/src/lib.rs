//! What the fuzz targets share: signing payloads, and reading them in every way there is.

pub mod elements;

use std::ops::Range;
use std::sync::LazyLock;

use bantam::codec::head::Kind;
use bantam::codec::{Payload, checksum};

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
    whole
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
