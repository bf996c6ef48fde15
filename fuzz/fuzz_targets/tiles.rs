//! The codec on one tensor: any elements come back exactly, and a payload that is changed at will
//! and signed again is refused or decoded, without a panic.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use bantam::codec::{Payload, encode};
use bantam::tensor::{Dtype, Matrix};
use bantam_fuzz::{one_thread, read_payload, sign_payload};
use libfuzzer_sys::fuzz_target;

/// A tensor, and what is done to its payload.
#[derive(Debug, Arbitrary)]
struct Input<'a> {
    dtype: u8,
    shape: Shape,
    elements: Elements<'a>,
    changes: Vec<Change>,
}

/// Dimensions around the edges of chunks, tiles and row blocks; larger ones would be slow.
#[derive(Debug, Arbitrary)]
struct Shape {
    rows: u8,
    cols: u16,
    depth: u8,
}

impl Shape {
    fn dimensions(&self) -> Vec<usize> {
        let (rows, cols) = (usize::from(self.rows) % 140, usize::from(self.cols) % 600);
        match self.depth % 8 {
            0 => vec![],
            1 => vec![rows * cols],
            2 => vec![rows, cols % 80, 3],
            _ => vec![rows, cols],
        }
    }
}

/// Bytes of the elements: all of them from the input, or a few repeated in an order that has a seed.
#[derive(Debug, Arbitrary)]
enum Elements<'a> {
    Given(&'a [u8]),
    Drawn { alphabet: &'a [u8], seed: u64, skew: u8 },
}

impl Elements<'_> {
    fn bytes(&self, width: usize, len: usize) -> Vec<u8> {
        match *self {
            Self::Given(bytes) => bytes.iter().copied().chain(std::iter::repeat(0)).take(len).collect(),
            Self::Drawn { alphabet, mut seed, skew } => {
                let symbols: Vec<&[u8]> = alphabet.chunks_exact(width).collect();
                if symbols.is_empty() {
                    return vec![0x3f; len];
                }
                let mut draw = || {
                    seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    // The first are the likelier, the more so the larger `skew` is.
                    let range = symbols.len() >> ((seed >> 60) as u32 * u32::from(skew % 4) / 4);
                    symbols[(seed >> 33) as usize % range.max(1)]
                };
                (0..len / width).flat_map(|_| draw().iter().copied()).collect()
            }
        }
    }
}

/// A change to a payload. Places are in the head or anywhere, counted around.
#[derive(Debug, Arbitrary)]
enum Change {
    Head { at: u16, to: u8 },
    HeadNumber { at: u16, width: u8, to: u64 },
    HeadStep { at: u16, by: i8 },
    Any { at: u32, to: u8 },
    Flip { at: u32, bit: u8 },
    Cut { blocks: u8 },
    Extend { blocks: u8 },
}

impl Change {
    fn apply(&self, payload: &mut Vec<u8>, head_len: usize) {
        if payload.len() < head_len {
            return;
        }
        // The first four bytes are the magic: changing those tests nothing further.
        let in_head = |at: u16| 4 + usize::from(at) % (head_len - 4);
        let anywhere = |at: u32| at as usize % payload.len();
        match *self {
            Self::Head { at, to } => payload[in_head(at)] = to,
            Self::HeadNumber { at, width, to } => {
                let start = in_head(at) & !3;
                let end = (start + (2 << (width % 3))).min(head_len);
                payload[start..end].copy_from_slice(&to.to_le_bytes()[..end - start]);
            }
            Self::HeadStep { at, by } => {
                let at = in_head(at);
                payload[at] = payload[at].wrapping_add_signed(by);
            }
            Self::Any { at, to } => {
                let at = anywhere(at);
                payload[at] = to;
            }
            Self::Flip { at, bit } => {
                let at = anywhere(at);
                payload[at] ^= 1 << (bit % 8);
            }
            Self::Cut { blocks } => {
                payload.truncate(payload.len().saturating_sub(256 * usize::from(blocks % 8)))
            }
            Self::Extend { blocks } => payload.resize(payload.len() + 256 * usize::from(blocks % 8), 0),
        }
    }
}

const DTYPES: [Dtype; 8] =
    [Dtype::BF16, Dtype::BF16, Dtype::F16, Dtype::F32, Dtype::F8_E4M3, Dtype::F8_E5M2, Dtype::U8, Dtype::F64];

fuzz_target!(|data: &[u8]| {
    if let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(data)) {
        one_thread(|| run(&input));
    }
});

fn run(input: &Input) {
    let dtype = DTYPES[usize::from(input.dtype) % DTYPES.len()];
    let shape = input.shape.dimensions();
    let width = dtype.bitsize() / 8;
    let elements: usize = shape.iter().product();
    let original = input.elements.bytes(width, elements * width);
    let mut payload = encode(dtype, &shape, &original).expect("the length fits the shape");
    round_trip(&shape, &original, &payload);

    let head_len = Payload::parse(&payload).expect("it was just written").head().len;
    for change in &input.changes {
        change.apply(&mut payload, head_len);
    }
    sign_payload(&mut payload);
    if let Ok(payload) = Payload::parse(&payload) {
        read_payload(&payload);
    }
}

fn round_trip(shape: &[usize], original: &[u8], payload: &[u8]) {
    let payload = Payload::parse(payload).expect("it was just written");
    payload.check().expect("it was just written");
    assert!(payload.decode().expect("it was just written") == original, "other bytes come back");
    let matrix = Matrix::of_shape(shape).expect("the shape is small");
    let last = matrix.rows.saturating_sub(1);
    if let Some(rows) = payload.decode_rows(last..matrix.rows) {
        let row = original.len() / matrix.rows.max(1);
        assert!(rows.expect("it was just written") == original[last * row..], "another last row comes back");
    }
}
