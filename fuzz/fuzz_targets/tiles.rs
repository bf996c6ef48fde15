//! The codec on one tensor: elements of any type come back exactly, all of them or some, and a payload
//! that is changed at will and signed again is refused or decoded, without a panic.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use bantam::codec::encode::encode_with_split;
use bantam::codec::head::Kind;
use bantam::codec::split::Split;
use bantam::codec::{Encoder, Lossy, Payload, Preset, encode_with};
use bantam::tensor::{Dtype, Matrix};
use bantam_fuzz::elements::Recipe;
use bantam_fuzz::{one_thread, read_payload, sign_payload};
use libfuzzer_sys::fuzz_target;

/// A tensor, how it is encoded, and what is done to its payload. All but the last is of a fixed length,
/// so that a byte of the input keeps its meaning.
#[derive(Debug, Arbitrary)]
struct Input {
    dtype: u8,
    shape: Shape,
    recipe: Recipe,
    coding: Coding,
    /// Which part is read alone.
    place: u64,
    changes: Vec<Change>,
}

/// Dimensions around the edges of chunks, tiles and row blocks; larger ones would be slow.
#[derive(Debug, Arbitrary)]
struct Shape {
    kind: u8,
    rows: u8,
    cols: u16,
}

impl Shape {
    fn dimensions(&self) -> Vec<usize> {
        let (rows, cols) = (usize::from(self.rows) % 71, usize::from(self.cols));
        match self.kind {
            // Large enough that the encoder does not look at every row.
            255 => vec![280, 480],
            kind => match kind % 8 {
                0 => vec![],
                1 => vec![rows * (cols % 71)],
                2 => vec![rows, cols % 24, 3],
                3 => vec![rows % 3, cols % 2001],
                _ => vec![rows, cols % 71],
            },
        }
    }
}

#[derive(Debug, Arbitrary)]
struct Coding {
    kind: u8,
    split: u8,
}

impl Coding {
    fn encode(&self, dtype: Dtype, shape: &[usize], data: &[u8]) -> Vec<u8> {
        let split = || {
            let clean = [0, 3, 8, 13, 16, 4, 5, 1][usize::from(self.split) / 20 % 8];
            Split::new(dtype, self.split % 4, self.split / 4 % 5, clean)
        };
        let payload = match (self.kind % 8, split()) {
            (0..=2, Some(split)) => encode_with_split(shape, data, split),
            (3, _) => encode_with(dtype, shape, data, Preset::Fast),
            (4, _) => Encoder::default().rounding(self.lossy()).encode(dtype, shape, data),
            _ => encode_with(dtype, shape, data, Preset::Small),
        };
        payload.expect("the length fits the shape")
    }

    /// Any number of bits, and blocks narrower and wider than the matrix.
    fn lossy(&self) -> Option<Lossy> {
        Lossy::new(1 + self.split % 6, 16 * (1 + usize::from(self.split) / 6)).ok()
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
            Self::Cut { blocks } => resize(payload, -256 * isize::from(blocks % 8)),
            Self::Extend { blocks } => resize(payload, 256 * isize::from(blocks % 8)),
        }
    }
}

/// Makes a payload longer or shorter, and lets its head say so.
fn resize(payload: &mut Vec<u8>, by: isize) {
    payload.resize(payload.len().saturating_add_signed(by), 0);
    let len = (payload.len() as u64).to_le_bytes();
    if let Some(said) = payload.get_mut(8..16) {
        said.copy_from_slice(&len);
    }
}

const DTYPES: [Dtype; 11] = [
    Dtype::BF16,
    Dtype::F16,
    Dtype::F16,
    Dtype::F32,
    Dtype::F32,
    Dtype::F8_E4M3,
    Dtype::F8_E5M2,
    Dtype::I8,
    Dtype::I64,
    Dtype::BF16,
    Dtype::F4,
];

fuzz_target!(|data: &[u8]| {
    if let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(data)) {
        one_thread(|| run(&input));
    }
});

fn run(input: &Input) {
    let dtype = DTYPES[usize::from(input.dtype) % DTYPES.len()];
    let shape = input.shape.dimensions();
    let matrix = Matrix::of_shape(&shape).expect("the shape is small");
    let original = input.recipe.elements(dtype, matrix);
    let mut payload = input.coding.encode(dtype, &shape, &original);
    let head_len = round_trip(&original, &payload, input.place);

    for change in &input.changes {
        change.apply(&mut payload, head_len);
    }
    sign_payload(&mut payload);
    if let Ok(payload) = Payload::parse(&payload) {
        read_payload(&payload, input.place);
    }
}

/// Returns the length of the head.
fn round_trip(original: &[u8], payload: &[u8], place: u64) -> usize {
    let payload = Payload::parse(payload).expect("it was just written");
    payload.check().expect("it was just written");
    let decoded = read_payload(&payload, place).expect("it was just written, and is not large");
    let wanted = match &payload.head().kind {
        Kind::Tiled(tiled) => tiled.restored(0, original),
        _ => original.into(),
    };
    assert!(decoded == *wanted, "other bytes come back");
    payload.head().len
}
