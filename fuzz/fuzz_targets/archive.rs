//! Any bytes as an archive: opened, reported and every payload decoded, without a panic or a memory
//! need that the file's length does not explain.
//!
//! The first byte of the input tells whether the checksums of headers and payloads are made to fit
//! before the file is opened, as somebody with bad intentions would. The rest is the file.
#![no_main]

use std::cell::RefCell;
use std::io::{Seek, Write};

use bantam::archive::{Archive, ArchivedTensor, original_header};
use bantam::codec::grid::SECTION_ALIGN;
use bantam_fuzz::{one_thread, read_payload, sign_payload};
use libfuzzer_sys::{Corpus, fuzz_target};
use tempfile::NamedTempFile;

thread_local! {
    /// One file for all inputs: making one costs more than reading it.
    static FILE: RefCell<NamedTempFile> = RefCell::new(temporary_file());
}

fn temporary_file() -> NamedTempFile {
    let memory = std::path::Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.into() } else { std::env::temp_dir() };
    NamedTempFile::new_in(folder).expect("a temporary file")
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((&first, bytes)) = input.split_first() else { return Corpus::Reject };
    let mut bytes = bytes.to_vec();
    if first & 1 == 1 {
        sign(&mut bytes);
    }
    one_thread(|| read(&bytes));
    Corpus::Keep
});

/// Makes the checksums of an archive's headers and of its payloads' heads fit, as far as it has any.
fn sign(bytes: &mut [u8]) {
    for at in (0..bytes.len()).step_by(SECTION_ALIGN) {
        sign_payload(&mut bytes[at..]);
    }
    sign_headers(bytes);
}

fn sign_headers(bytes: &mut [u8]) -> Option<()> {
    let u64_at = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?));
    let start = usize::try_from(u64_at(0)?).ok()?.checked_add(8)?;
    let kept_len = usize::try_from(u64_at(start.checked_add(8)?)?).ok()?;
    let kept_start = start.checked_add(64)?;
    let kept = bytes.get(kept_start..kept_start.checked_add(kept_len)?)?;
    let tensor = original_header::write(kept, &bytes[..start]);
    bytes.get_mut(start..start + tensor.len())?.copy_from_slice(&tensor);
    Some(())
}

fn read(bytes: &[u8]) {
    FILE.with_borrow_mut(|file| {
        // No mapping of what it had before is left.
        file.as_file().set_len(0).expect("the temporary file can be cut");
        file.rewind().expect("the temporary file can be written from its start");
        file.write_all(bytes).expect("the temporary file can be written");
        let Ok(archive) = Archive::open(file.path()) else { return };
        let _ = archive.report();
        for tensor in archive.tensors() {
            read_tensor(&archive, tensor);
        }
        let _ = archive.verify(&());
    });
}

fn read_tensor(archive: &Archive, tensor: &ArchivedTensor) {
    if let Ok(payload) = archive.payload_of(tensor) {
        read_payload(&payload);
    }
}
