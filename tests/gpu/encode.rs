//! Encoding on the device: what comes back, and that the bytes are those of the twins.

use bantam::codec::grid::Grid;
use bantam::gpu::kernels::training::encode::{EncodeScratch, Encoded, Needs};
use bantam::gpu::weights::layouts::{Transcoded, fast, raw, tiered};
use bantam::gpu::{Bound, Buffer, Gpu, download};
use bantam::tensor::{Dtype, Matrix};

use crate::data::Random;
use crate::device;
use crate::on_device::{run, storage};

const LAYOUTS: [Transcoded; 2] = [Transcoded::Fast, Transcoded::Tiered];

/// A matrix of BF16 as it lies on the device, uncompressed.
pub fn laid_out(bits: &[u16], cols: usize) -> Vec<u32> {
    let mut words = Vec::new();
    for rows in bits.chunks(64 * cols) {
        let mut block = vec![0u8; raw::row_block_bytes(Dtype::BF16, cols)];
        let bytes: Vec<u8> = rows.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        raw::interleave(&bytes, Dtype::BF16, cols, |at, run| block[at..][..run.len()].copy_from_slice(run));
        words.extend(block.chunks(4).map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]])));
    }
    words
}

fn words(gpu: &Gpu, buffer: &Buffer) -> Vec<u32> {
    let bytes = pollster::block_on(download(gpu, buffer, buffer.size())).unwrap();
    bytes.chunks(4).map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// A piece on the device, and everything to encode it with.
struct Piece {
    encoded: Encoded,
    scratch: EncodeScratch,
    needs: Buffer,
}

impl Piece {
    fn new(gpu: &Gpu, layout: Transcoded, cols: usize, bits: &[u16], spare: u32) -> Option<Self> {
        let (format, needs) = Encoded::needs(layout, cols, bits)?;
        let room =
            Needs { exceptions: needs.exceptions + spare, stream_words: needs.stream_words + spare, ..needs };
        let matrix = Matrix { rows: bits.len() / cols, cols };
        let encoded = Encoded::new(gpu, "piece", matrix, format, room).unwrap();
        let scratch = EncodeScratch::new(gpu, matrix.rows, bits.len()).unwrap();
        Some(Self { encoded, scratch, needs: storage(gpu, &[7u32; 8]) })
    }

    /// Encodes these weights. What they need.
    fn encode(&self, gpu: &Gpu, cols: usize, bits: &[u16]) -> Needs {
        let from = storage(gpu, &laid_out(bits, cols));
        let with = (&self.needs, 1);
        run(gpu, &self.encoded.encode(gpu, Bound::from(&from), &self.scratch, with).unwrap(), 1);
        let needs = words(gpu, &self.needs);
        assert_eq!(needs[..4], [7; 4]);
        *bytemuck::from_bytes(bytemuck::cast_slice(&needs[4..]))
    }

    /// The weights that are there, in so many rows.
    fn widen(&self, gpu: &Gpu, cols: usize, rows: usize) -> Vec<u16> {
        let to = storage(gpu, &laid_out(&vec![0; rows * cols], cols));
        run(gpu, &[self.encoded.widen(gpu, Bound::from(&to)).unwrap()], 1);
        let got = words(gpu, &to);
        let row_vectors = cols.next_multiple_of(32) / 8;
        let bit = |row: usize, col: usize| {
            let vector = (row / 64 * row_vectors + col / 8) * 64 + row % 64;
            (got[4 * vector + col % 8 / 2] >> (16 * (col % 2))) as u16
        };
        (0..rows)
            .flat_map(|row| (0..cols).map(move |col| (row, col)))
            .map(|(row, col)| bit(row, col))
            .collect()
    }
}

/// About what weights are like, with some zeros and other small ones, one in `strange`.
fn usual(seed: u64, count: usize, strange: usize) -> Vec<u16> {
    let mut random = Random::new(seed);
    let weight = |i: usize| {
        let r = random.next();
        let exponent = 122 - (r as u32).trailing_zeros().min(11);
        let usual = ((r >> 40) as u32 & 0x807f | exponent << 7) as u16;
        match i % strange {
            1 => ((r >> 40) as u32 & 0x807f | ((r >> 16) as u32 % 100) << 7) as u16,
            2 => 0,
            _ => usual,
        }
    };
    (0..count).map(weight).collect()
}

#[test]
fn what_is_encoded_comes_back_and_has_the_bytes_of_the_twin() {
    let gpu = device::shared();
    for layout in LAYOUTS {
        for (rows, cols) in [(1, 1), (64, 32), (65, 33), (70, 100), (200, 576), (64, 1500), (3, 4096)] {
            let bits = usual(1, rows * cols, 600);
            let Some(piece) = Piece::new(&gpu, layout, cols, &bits, 0) else {
                panic!("{layout:?}: {rows} x {cols}")
            };
            let needs = piece.encode(&gpu, cols, &bits);
            assert!(piece.encoded.holds(&needs), "{layout:?} {rows} x {cols}: {needs:?}");
            assert!(piece.widen(&gpu, cols, rows) == bits, "{layout:?} {rows} x {cols}");
            let grid = Grid::for_matrix(Matrix { rows, cols });
            let (vectors, table) = match layout {
                Transcoded::Fast => fast::transcode(&grid, &bits).map(|twin| (twin.weights, twin.table)),
                Transcoded::Tiered => tiered::transcode(&grid, &bits).map(|twin| (twin.vectors, twin.table)),
            }
            .unwrap();
            let [got, got_table] = piece.encoded.words();
            assert!(
                words(&gpu, got) == bytemuck::cast_slice::<_, u32>(&vectors),
                "{layout:?} {rows} x {cols}"
            );
            // A buffer has four words at least.
            assert!(words(&gpu, got_table)[..table.len()] == table, "{layout:?} {rows} x {cols}");
        }
    }
}

/// Every BF16 there is: those of one exponent in a row.
#[test]
fn every_pattern_comes_back_from_the_device() {
    let gpu = device::shared();
    let (rows, cols) = (256, 256);
    let bit = |i: usize| (((i % 256 / 128) << 15) | ((i / 256) << 7) | (i % 128)) as u16;
    let bits: Vec<u16> = (0..rows * cols).map(bit).collect();
    let mut all = bits.clone();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..=u16::MAX));
    for layout in LAYOUTS {
        let piece = Piece::new(&gpu, layout, cols, &bits, 0).unwrap();
        assert!(piece.encoded.holds(&piece.encode(&gpu, cols, &bits)), "{layout:?}");
        assert!(piece.widen(&gpu, cols, rows) == bits, "{layout:?}");
    }
}

/// Weights change again and again in the same room. Where there is too little, what was there stays, and what would do
/// is told.
#[test]
fn weights_that_do_not_fit_leave_those_that_are_there() {
    let gpu = device::shared();
    let (rows, cols) = (130, 300);
    for layout in LAYOUTS {
        let first = usual(3, rows * cols, 2000);
        let piece = Piece::new(&gpu, layout, cols, &first, 100).unwrap();
        assert!(piece.encoded.holds(&piece.encode(&gpu, cols, &first)));
        let second = usual(4, rows * cols, 1900);
        let needs = piece.encode(&gpu, cols, &second);
        assert!(piece.encoded.holds(&needs), "{layout:?} {needs:?}");
        assert!(piece.widen(&gpu, cols, rows) == second, "{layout:?}");
        let third = usual(5, rows * cols, 140);
        let needs = piece.encode(&gpu, cols, &third);
        assert!(!piece.encoded.holds(&needs) && piece.encoded.could_hold(&needs), "{layout:?} {needs:?}");
        assert!(piece.widen(&gpu, cols, rows) == second, "{layout:?}: what was there has changed");
        let matrix = Matrix { rows, cols };
        let more = Encoded::new(&gpu, "more", matrix, piece.encoded.format(), needs).unwrap();
        let scratch = EncodeScratch::new(&gpu, rows, rows * cols).unwrap();
        let more = Piece { encoded: more, scratch, needs: storage(&gpu, &[7u32; 8]) };
        assert!(more.encoded.holds(&more.encode(&gpu, cols, &third)), "{layout:?}");
        assert!(more.widen(&gpu, cols, rows) == third, "{layout:?}");
    }
}

/// What no layout has room for in one place.
#[test]
fn weights_without_order_are_not_encoded() {
    let gpu = device::shared();
    let cols = 4096;
    let mut random = Random::new(6);
    let noise: Vec<u16> = (0..64 * cols).map(|_| random.next() as u16).collect();
    for layout in LAYOUTS {
        assert!(Encoded::needs(layout, cols, &noise).is_none(), "{layout:?}");
        let usual = usual(7, 64 * cols, 5000);
        let piece = Piece::new(&gpu, layout, cols, &usual, 1000).unwrap();
        piece.encode(&gpu, cols, &usual);
        let needs = piece.encode(&gpu, cols, &noise);
        assert!(!piece.encoded.could_hold(&needs), "{layout:?} {needs:?}");
        assert!(piece.widen(&gpu, cols, 64) == usual, "{layout:?}");
    }
}
