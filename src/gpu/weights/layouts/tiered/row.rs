//! What is known of a row before it is transcoded.

use super::tier::{BASES, tier};
use super::{TieredFormat, WINDOW_BITS, WINDOW_COLS};

/// Bases that are tried, from the row's mean exponent on.
pub(super) const CANDIDATES: u32 = 4;

/// Words that are measured of a row.
pub(in crate::gpu) const ROW_WORDS: usize = 6;

/// Bits that an exception takes.
pub(super) const EXCEPTION_BITS: u64 = 32;

/// What a row's stream is like with its best base.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::gpu) struct Stream {
    /// The base that exponents are counted from.
    pub base: u32,
    /// Bits of the stream.
    pub bits: u32,
    /// Weights that have no code, or whose window has no room for it.
    pub exceptions: u32,
}

impl Stream {
    /// Words of the stream.
    pub fn words(&self) -> u32 {
        self.bits.div_ceil(32)
    }

    /// Bits that stream and exceptions take.
    pub fn cost(&self) -> u64 {
        u64::from(self.bits) + EXCEPTION_BITS * u64::from(self.exceptions)
    }
}

/// What a row is like without a code for zeros, and with one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::gpu) struct Row {
    streams: [Stream; 2],
}

impl Row {
    /// From the six words that `measure_tiered.wgsl` writes.
    pub fn of_words(words: &[u32]) -> Self {
        let stream = |at: usize| Stream { base: words[at], bits: words[at + 1], exceptions: words[at + 2] };
        Self { streams: [0, 3].map(stream) }
    }

    /// Its stream in a format.
    pub fn stream(&self, format: TieredFormat) -> Stream {
        self.streams[usize::from(format.zeros)]
    }

    /// The twin of `measure_tiered.wgsl`, for one row.
    pub fn measure(row: &[u16]) -> Self {
        let exponents = || row.iter().map(|&bits| u32::from(bits >> 7 & 255));
        let usual = || exponents().filter(|e| (1..255).contains(e));
        let mean = usual().sum::<u32>() / (usual().count() as u32).max(1);
        let best = |zeros| {
            let format = TieredFormat { zeros };
            let bases = (mean..mean + CANDIDATES).map(|base| base.clamp(*BASES.start(), *BASES.end()));
            let streams = bases.map(|base| stream(exponents(), base, format));
            streams.min_by_key(Stream::cost).unwrap_or_default()
        };
        Self { streams: [false, true].map(best) }
    }
}

fn stream(exponents: impl Iterator<Item = u32>, base: u32, format: TieredFormat) -> Stream {
    let mut stream = Stream { base, bits: 0, exceptions: 0 };
    let mut window = 0;
    for (col, exponent) in exponents.enumerate() {
        if col.is_multiple_of(WINDOW_COLS) {
            window = 0;
        }
        match tier(exponent, base, format).filter(|tier| window + tier.bits <= WINDOW_BITS) {
            Some(tier) => window += tier.bits,
            None => stream.exceptions += 1,
        }
        if (col + 1).is_multiple_of(WINDOW_COLS) {
            stream.bits += window;
            window = 0;
        }
    }
    stream.bits += window;
    stream
}
