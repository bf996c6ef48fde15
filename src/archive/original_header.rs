//! The tensor that keeps the original file's header byte for byte, and guards the container's.
//!
//! ```text
//!  0  4  magic "BTH\0"
//!  4  2  version, 1
//!  6  2  zero
//!  8  8  length of the original header with its length prefix
//! 16  8  checksum of the container's header with its length prefix
//! 24  8  checksum of this whole tensor, padding included, with these 8 bytes taken as zero
//! 32 32  zero
//! 64     the original header, then zeros to a multiple of 256 bytes
//! ```

use crate::codec::checksum;
use crate::codec::grid::SECTION_ALIGN;

/// First bytes of the tensor.
pub const MAGIC: [u8; 4] = *b"BTH\0";
const VERSION: u16 = 1;
const CHECKSUM_AT: usize = 24;
const FIXED_LEN: usize = 64;

/// Bytes of the tensor that keeps a header of `original_len` bytes.
pub fn tensor_len(original_len: usize) -> usize {
    (FIXED_LEN + original_len).next_multiple_of(SECTION_ALIGN)
}

/// The tensor that keeps `original`, in a container with the header `container_header`. Both are
/// with their length prefixes.
pub fn write(original: &[u8], container_header: &[u8]) -> Vec<u8> {
    let mut tensor = vec![0; FIXED_LEN];
    tensor[..4].copy_from_slice(&MAGIC);
    tensor[4..6].copy_from_slice(&VERSION.to_le_bytes());
    tensor[8..16].copy_from_slice(&(original.len() as u64).to_le_bytes());
    tensor[16..24].copy_from_slice(&checksum(container_header).to_le_bytes());
    tensor.extend_from_slice(original);
    tensor.resize(tensor_len(original.len()), 0);
    let sum = checksum(&tensor);
    tensor[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&sum.to_le_bytes());
    tensor
}

/// The original header in `tensor`, or what is wrong.
pub fn read<'a>(tensor: &'a [u8], container_header: &[u8]) -> Result<&'a [u8], String> {
    let u64_at = |at: usize| {
        let bytes = tensor.get(at..at + 8).ok_or("the original header is cut short")?;
        Ok::<_, String>(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
    };
    if tensor.get(..4) != Some(&MAGIC) {
        return Err("the original header is not where it should be".into());
    }
    let mut copy = tensor.to_vec();
    let stored = u64_at(CHECKSUM_AT)?;
    copy[CHECKSUM_AT..CHECKSUM_AT + 8].fill(0);
    if checksum(&copy) != stored {
        return Err("checksum mismatch in the original header".into());
    }
    let version = u16::from_le_bytes([tensor[4], tensor[5]]);
    if version != VERSION {
        return Err(format!("original header of version {version}, which this program does not read"));
    }
    if checksum(container_header) != u64_at(16)? {
        return Err("checksum mismatch in the file's header".into());
    }
    let len = usize::try_from(u64_at(8)?).unwrap_or(usize::MAX);
    let end = FIXED_LEN
        .checked_add(len)
        .filter(|&end| tensor_len(len.min(tensor.len())) == tensor.len() && end <= tensor.len());
    Ok(&tensor[FIXED_LEN..end.ok_or("the original header has another length than it says")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_any_flipped_bit_is_noticed() {
        let tensor = write(b"original", b"container");
        assert_eq!(tensor.len(), 256);
        assert_eq!(read(&tensor, b"container"), Ok(&b"original"[..]));
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
