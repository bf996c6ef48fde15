//! The tensor that keeps the original file's header byte for byte, and protects the container's header.
//!
//! ```text
//!  0  4  magic "BTH\0"
//!  4  2  version: 1 as it is, 2 as a zlib stream (RFC 1950)
//!  6  2  zero
//!  8  8  length of what is kept, as it stands here
//! 16  8  checksum of the container's header with its length prefix
//! 24  8  checksum of this whole tensor, padding included, with these 8 bytes taken as zero
//! 32  8  version 2: length of what is kept, as it was
//! 40 24  zero
//! 64     what is kept, then zeros to a multiple of 256 bytes
//! ```

use std::borrow::Cow;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use crate::codec::checksum;
use crate::codec::grid::SECTION_ALIGN;

/// First bytes of the tensor.
pub const MAGIC: [u8; 4] = *b"BTH\0";
const AS_IT_IS: u16 = 1;
const ZLIB: u16 = 2;
const CHECKSUM_AT: usize = 24;
const FIXED_LEN: usize = 64;

/// Maximum bytes that are kept: the longest header, and some room for bytes after the last tensor.
const MOST_KEPT: u64 = 256 << 20;

/// The original's bytes outside tensors, compressed with zlib if that is shorter.
#[derive(Debug)]
pub struct OutsideBytes<'a> {
    stored: Cow<'a, [u8]>,
    /// Length before compression; `None` if it is not compressed.
    packed_from: Option<usize>,
}

impl<'a> OutsideBytes<'a> {
    /// Prepares `original`, the original's bytes outside tensors.
    pub fn new(original: Cow<'a, [u8]>) -> Self {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        match encoder.write_all(&original).and_then(|()| encoder.finish()) {
            Ok(packed) if tensor_len(packed.len()) < tensor_len(original.len()) => {
                Self { stored: packed.into(), packed_from: Some(original.len()) }
            }
            _ => Self::as_it_is(original),
        }
    }

    /// Keeps `original` uncompressed.
    pub fn as_it_is(original: Cow<'a, [u8]>) -> Self {
        Self { stored: original, packed_from: None }
    }

    /// Bytes of the tensor.
    pub fn tensor_len(&self) -> usize {
        tensor_len(self.stored.len())
    }

    /// The complete tensor, for a container with the header `container_header`, length prefix included.
    pub fn write(&self, container_header: &[u8]) -> Vec<u8> {
        let mut tensor = vec![0; FIXED_LEN];
        tensor[..4].copy_from_slice(&MAGIC);
        let version = if self.packed_from.is_some() { ZLIB } else { AS_IT_IS };
        tensor[4..6].copy_from_slice(&version.to_le_bytes());
        tensor[8..16].copy_from_slice(&(self.stored.len() as u64).to_le_bytes());
        tensor[16..24].copy_from_slice(&checksum(container_header).to_le_bytes());
        if let Some(len) = self.packed_from {
            tensor[32..40].copy_from_slice(&(len as u64).to_le_bytes());
        }
        tensor.extend_from_slice(&self.stored);
        tensor.resize(self.tensor_len(), 0);
        let sum = checksum(&tensor);
        tensor[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&sum.to_le_bytes());
        tensor
    }
}

/// Length of the tensor whose fixed part is followed by `stored_len` bytes.
fn tensor_len(stored_len: usize) -> usize {
    (FIXED_LEN + stored_len).next_multiple_of(SECTION_ALIGN)
}

/// The bytes kept in `tensor`, or a description of the fault.
pub fn read<'a>(tensor: &'a [u8], container_header: &[u8]) -> Result<Cow<'a, [u8]>, String> {
    let u64_at = |at: usize| {
        let bytes = tensor.get(at..at + 8).ok_or("the original header is truncated")?;
        Ok::<_, String>(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
    };
    if tensor.get(..4) != Some(&MAGIC) {
        return Err("the first tensor is not an original header".into());
    }
    let mut copy = tensor.to_vec();
    let stored = u64_at(CHECKSUM_AT)?;
    copy[CHECKSUM_AT..CHECKSUM_AT + 8].fill(0);
    if checksum(&copy) != stored {
        return Err("checksum mismatch in the original header".into());
    }
    let version = u16::from_le_bytes([tensor[4], tensor[5]]);
    if version != AS_IT_IS && version != ZLIB {
        return Err(format!(
            "original header of version {version}, which this version of bantam does not read"
        ));
    }
    if checksum(container_header) != u64_at(16)? {
        return Err("checksum mismatch in the file's header".into());
    }
    let len = usize::try_from(u64_at(8)?).unwrap_or(usize::MAX);
    let end = FIXED_LEN
        .checked_add(len)
        .filter(|&end| tensor_len(len.min(tensor.len())) == tensor.len() && end <= tensor.len());
    let wrong_len = "the original header does not have the length that it states";
    let stored = &tensor[FIXED_LEN..end.ok_or(wrong_len)?];
    if version == AS_IT_IS {
        return Ok(stored.into());
    }
    let expected = u64_at(32)?;
    if expected > MOST_KEPT {
        return Err(format!("the original header states {expected} bytes, more than any can have"));
    }
    // The buffer grows as data is read, so a stated length allocates nothing. One extra byte shows excess.
    let mut original = Vec::new();
    let read = ZlibDecoder::new(stored).take(expected + 1).read_to_end(&mut original);
    read.map_err(|e| format!("the original header cannot be unpacked: {e}"))?;
    if original.len() as u64 == expected { Ok(original.into()) } else { Err(wrong_len.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_any_flipped_bit_is_noticed() {
        let long = b"original ".repeat(200);
        for original in [&b"original"[..], &long] {
            let tensor = OutsideBytes::new(original.into()).write(b"container");
            assert_eq!(tensor.len(), 256);
            assert_eq!(read(&tensor, b"container").unwrap(), original);
            assert!(read(&tensor, b"containes").is_err());
            for bit in 0..8 * tensor.len() {
                let mut damaged = tensor.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(read(&damaged, b"container").is_err(), "bit {bit}");
            }
            for len in 0..tensor.len() {
                assert!(read(&tensor[..len], b"container").is_err());
            }
        }
    }

    #[test]
    fn a_stream_that_unpacks_to_more_than_it_says_is_refused() {
        let zeros = vec![0; 1 << 20];
        for said in [0, 1000, (1 << 20) - 1, (1 << 20) + 1, u64::MAX] {
            let mut tensor = OutsideBytes::new((&zeros).into()).write(b"container");
            tensor[32..40].copy_from_slice(&said.to_le_bytes());
            tensor[CHECKSUM_AT..CHECKSUM_AT + 8].fill(0);
            let sum = checksum(&tensor);
            tensor[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&sum.to_le_bytes());
            assert!(read(&tensor, b"container").is_err(), "{said}");
        }
    }
}
