//! Any bytes as a file: opened as a compressed one, reported and every payload decoded, and compressed
//! as a plain one, without a panic or a memory need that the file's length does not explain.
//!
//! The first byte of the input tells what is done to the file that follows it; see [`Mode`].
#![no_main]

use bantam::archive::original_header::{self, OutsideBytes};
use bantam::archive::{
    Archive, ArchiveError, Limit, Preset, compress_bytes, decompress_bytes, decompress_bytes_within,
};
use bantam::codec::checksum;
use bantam::codec::grid::SECTION_ALIGN;
use bantam_fuzz::{MOST_DECODED, one_thread, read_by_position, read_payload, sign_payload};
use libfuzzer_sys::{Corpus, fuzz_target};

/// What is done to the file before it is read.
enum Mode {
    AsItIs,
    /// The checksums of headers and payloads are made to fit, as somebody with bad intentions would.
    Signed,
    /// The original header, which is mostly packed, is unpacked, edited and written again.
    HeaderEdited,
    /// The original is edited and compressed again.
    OriginalEdited,
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((&first, rest)) = input.split_first() else { return Corpus::Reject };
    let mode = [Mode::AsItIs, Mode::Signed, Mode::HeaderEdited, Mode::OriginalEdited];
    let preset = if first & 4 == 0 { Preset::Small } else { Preset::Fast };
    let done = one_thread(|| match mode[usize::from(first % 4)] {
        Mode::AsItIs => {
            read(rest);
            read_by_position(rest);
            compress(rest, preset);
            Some(())
        }
        Mode::Signed => {
            let mut bytes = rest.to_vec();
            sign(&mut bytes);
            read(&bytes);
            Some(())
        }
        Mode::HeaderEdited => read_with_other_header(rest),
        Mode::OriginalEdited => compress_other_original(rest, preset),
    });
    if done.is_some() { Corpus::Keep } else { Corpus::Reject }
});

/// A list of edits in front of a file: their number, then for each a place and a byte.
struct Edits<'a>(&'a [[u8; 3]]);

impl<'a> Edits<'a> {
    fn split_off(input: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&count, rest) = input.split_first()?;
        let (edits, file) = rest.split_at_checked(3 * usize::from(count % 16))?;
        Some((Self(edits.as_chunks().0), file))
    }

    fn apply(&self, bytes: &mut [u8]) {
        for &[low, high, to] in self.0 {
            if let Some(byte) = bytes.get_mut(usize::from(u16::from_le_bytes([low, high]))) {
                *byte = to;
            }
        }
    }
}

/// Makes the checksums of an archive's headers and of its payloads' heads fit, as far as it has any.
fn sign(bytes: &mut [u8]) {
    for at in (0..bytes.len()).step_by(SECTION_ALIGN) {
        sign_payload(&mut bytes[at..]);
    }
    sign_headers(bytes);
}

fn u64_at(bytes: &[u8], at: usize) -> Option<usize> {
    let number = bytes.get(at..at.checked_add(8)?)?.try_into().ok()?;
    usize::try_from(u64::from_le_bytes(number)).ok()
}

/// The container's header, and the tensor that keeps the original's.
fn headers(bytes: &mut [u8]) -> Option<(&[u8], &mut [u8])> {
    let start = u64_at(bytes, 0)?.checked_add(8)?;
    let kept = u64_at(bytes, start.checked_add(8)?)?;
    let len = kept.checked_add(64)?.checked_next_multiple_of(SECTION_ALIGN)?;
    let (container, rest) = bytes.split_at_mut_checked(start)?;
    Some((container, rest.get_mut(..len)?))
}

fn sign_headers(bytes: &mut [u8]) -> Option<()> {
    let (container, kept) = headers(bytes)?;
    kept[16..24].copy_from_slice(&checksum(container).to_le_bytes());
    kept[24..32].fill(0);
    let sum = checksum(kept).to_le_bytes();
    kept[24..32].copy_from_slice(&sum);
    Some(())
}

fn read_with_other_header(input: &[u8]) -> Option<()> {
    let (edits, file) = Edits::split_off(input)?;
    let mut bytes = file.to_vec();
    sign(&mut bytes);
    let (container, kept) = headers(&mut bytes)?;
    let mut original = original_header::read(kept, container).ok()?.into_owned();
    edits.apply(&mut original);
    let len = kept.len();
    let forms = [OutsideBytes::new((&original).into()), OutsideBytes::as_it_is((&original).into())];
    let fits = forms.into_iter().find(|form| form.tensor_len() == len)?;
    kept.copy_from_slice(&fits.write(container));
    read(&bytes);
    Some(())
}

fn compress_other_original(input: &[u8], preset: Preset) -> Option<()> {
    let (edits, file) = Edits::split_off(input)?;
    let archive = Archive::from_bytes(file.to_vec()).ok()?;
    if archive.original_len() > MOST_DECODED as u64 {
        return None;
    }
    let mut original = decompress_bytes(file.to_vec(), &()).ok()?;
    edits.apply(&mut original);
    compress(&original, preset);
    Some(())
}

/// What can be compressed comes back.
fn compress(plain: &[u8], preset: Preset) {
    if let Ok(packed) = compress_bytes(plain.to_vec(), preset, &()) {
        let restored = decompress_bytes(packed, &()).expect("it was just compressed");
        assert!(restored == plain, "another file comes back");
    }
}

fn read(bytes: &[u8]) {
    let Ok(archive) = Archive::from_bytes(bytes.to_vec()) else { return };
    let _ = archive.report();
    let place = checksum(bytes);
    for tensor in archive.tensors() {
        if let Ok(payload) = archive.payload_of(tensor) {
            read_payload(&payload, place);
        }
    }
    read_by_position(bytes);
    let restored = decompress_bytes_within(bytes.to_vec(), Limit::Bytes(MOST_DECODED as u64), &());
    if archive.original_len() <= MOST_DECODED as u64 {
        let verified = archive.verify(&()).is_ok_and(|failures| failures.is_empty());
        assert_eq!(verified, restored.is_ok(), "verify and decompress disagree");
    } else {
        assert!(matches!(restored, Err(ArchiveError::TooLarge { .. })), "it is larger than is allowed");
    }
}
