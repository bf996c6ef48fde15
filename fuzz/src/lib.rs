//! What the fuzz targets share: signing payloads, and reading them in every way there is.

use std::sync::LazyLock;

use bantam::codec::head::{Head, Kind};
use bantam::codec::{Payload, checksum};

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

/// Reads a payload in every way there is. Where all of it decodes, its rows decode to the same.
pub fn read_payload(payload: &Payload) {
    let head = payload.head();
    // Every element has a bit in the raw planes, and is eight bytes at the most.
    let bound = 64 * payload.bytes().len();
    assert!(head.original_len <= bound, "{} bytes of {}", head.original_len, payload.bytes().len());
    let _ = payload.check();
    let decoded = payload.decode();
    if let Ok(decoded) = &decoded {
        assert_eq!(decoded.len(), head.original_len);
    }
    read_rows(payload, head, decoded.as_deref().ok());
}

/// Some rows on either side of a row block's edge, those at the ends, and some that are not there.
fn read_rows(payload: &Payload, head: &Head, decoded: Option<&[u8]>) {
    let Kind::Tiled(tiled) = &head.kind else {
        assert!(payload.decode_rows(0..0).is_none());
        return;
    };
    let rows = tiled.grid.matrix.rows;
    let row_len = head.original_len / rows;
    for range in [0..1, 62.min(rows)..67.min(rows), rows - 1..rows, 0..0] {
        let read = payload.decode_rows(range.clone()).expect("the tensor is tiled");
        if let Some(decoded) = decoded {
            assert!(read.expect("all rows decode") == decoded[row_len * range.start..row_len * range.end]);
        }
    }
    assert!(payload.decode_rows(rows..rows + 1).is_some_and(|read| read.is_err()));
}
