//! Differences of tensors: any two come back from each other, and a payload that is changed at will and
//! signed again is refused or decoded, without a panic.
#![no_main]

use std::sync::Mutex;

use arbitrary::{Arbitrary, Unstructured};
use bantam::codec::{Delta, encode_delta};
use bantam::tensor::Dtype;
use bantam_fuzz::{one_thread, sign_payload};
use libfuzzer_sys::fuzz_target;

/// Two tensors, and what is done to their difference.
#[derive(Debug, Arbitrary)]
struct Input {
    dtype: u8,
    rows: u8,
    cols: u16,
    /// How far bits of elements that differ are moved.
    step: u32,
    /// One row in so many does not differ.
    every: u8,
    seed: u32,
    changes: Vec<Change>,
    /// The elements of the base, repeated.
    elements: Vec<u8>,
}

/// A change to a payload.
#[derive(Debug, Arbitrary)]
enum Change {
    Head { at: u16, to: u8 },
    Any { at: u32, to: u8 },
    Cut { blocks: u8 },
}

const DTYPES: [Dtype; 4] = [Dtype::BF16, Dtype::F16, Dtype::F32, Dtype::F8_E4M3];

fuzz_target!(|data: &[u8]| {
    if let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(data)) {
        one_thread(|| run(&input));
    }
});

fn run(input: &Input) {
    let dtype = DTYPES[usize::from(input.dtype) % DTYPES.len()];
    let (rows, cols) = (1 + usize::from(input.rows) % 140, 1 + usize::from(input.cols) % 1100);
    let width = dtype.bitsize() / 8;
    let base: Vec<u8> = match input.elements.is_empty() {
        true => vec![0; rows * cols * width],
        false => input.elements.iter().copied().cycle().take(rows * cols * width).collect(),
    };
    let new = moved(input, &base, cols * width, width);
    let mut payload = encoded(dtype, &[rows, cols], &new, &base);
    let delta = Delta::parse(&payload).expect("it was just written");
    delta.check().expect("it was just written");
    assert!(delta.decode(&base).expect("it was just written") == new);

    let head_len = u64::from_le_bytes(payload[16..24].try_into().expect("eight bytes")) as usize;
    for change in &input.changes {
        match *change {
            Change::Head { at, to } => payload[4 + usize::from(at) % (head_len - 4)] = to,
            Change::Any { at, to } => {
                let at = at as usize % payload.len();
                payload[at] = to;
            }
            Change::Cut { blocks } => {
                let len = payload.len().saturating_sub(256 * usize::from(blocks % 4)).max(head_len);
                payload.truncate(len);
                payload[8..16].copy_from_slice(&(len as u64).to_le_bytes());
            }
        }
    }
    sign_payload(&mut payload);
    let Ok(delta) = Delta::parse(&payload) else { return };
    let _ = delta.check();
    if delta.original_len() == base.len() {
        let rows = 0..base.len() / delta.row_bytes();
        let _ = delta.decode_rows(rows, &base, &mut vec![0; base.len()]);
    }
}

/// The base with most elements moved.
fn moved(input: &Input, base: &[u8], row_bytes: usize, width: usize) -> Vec<u8> {
    let mut new = base.to_vec();
    let mut random = input.seed;
    for (row, bytes) in new.chunks_mut(row_bytes).enumerate() {
        if row % (1 + usize::from(input.every)) == 0 && input.every > 0 {
            continue;
        }
        for element in bytes.chunks_exact_mut(width) {
            random = random.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            let mut wide = [0; 4];
            wide[..width].copy_from_slice(element);
            let step = if input.step == 0 { 0 } else { (random >> 3) % input.step };
            let to = u32::from_le_bytes(wide).wrapping_add(step).to_le_bytes();
            element.copy_from_slice(&to[..width]);
        }
    }
    new
}

fn encoded(dtype: Dtype, shape: &[usize], new: &[u8], base: &[u8]) -> Vec<u8> {
    let payload = Mutex::new(Vec::new());
    let put = |at: usize, piece: &[u8]| {
        let mut payload = payload.lock().expect("no panic");
        let len = payload.len().max(at + piece.len());
        payload.resize(len, 0);
        payload[at..at + piece.len()].copy_from_slice(piece);
        Ok(())
    };
    let len = encode_delta(dtype, shape, &new, (&base, blake3::hash(base)), usize::MAX, &put);
    assert!(len.expect("the lengths fit").is_some());
    payload.into_inner().expect("no panic")
}
