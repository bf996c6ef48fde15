//! The bits of a lane, written from the last to the first.

use crate::codec::payload::grid::MAX_TILE_COLS;

/// Most bits of an element: those of a state, of an escaped symbol, and behind it.
const MOST_BITS: usize = 8 + 8 + 30;

/// Most words of a lane.
const MOST_WORDS: usize = MAX_TILE_COLS * MOST_BITS / 32 + 1;

/// The bits of a lane so far, without those before them.
pub(crate) struct LaneBits {
    words: [u32; MOST_WORDS],
    /// The first word with bits.
    start: usize,
    /// Bits that come before the words, fewer than 32.
    front: u64,
    front_bits: u32,
}

impl LaneBits {
    pub fn new() -> Self {
        Self { words: [0; MOST_WORDS], start: MOST_WORDS, front: 0, front_bits: 0 }
    }

    /// Forgets all bits.
    pub fn clear(&mut self) {
        (self.start, self.front, self.front_bits) = (MOST_WORDS, 0, 0);
    }

    /// Puts the lowest `count` of `bits`, at most 32, before all others. The bits above are zero.
    ///
    /// # Panics
    /// If there are more than a lane can have.
    #[inline(always)]
    pub fn put_before(&mut self, bits: u32, count: u32) {
        let front = self.front << count | u64::from(bits);
        let front_bits = self.front_bits + count;
        // Written in any case: what is no whole word is written over.
        self.words[self.start - 1] = (front >> (front_bits % 32)) as u32;
        self.start -= front_bits as usize / 32;
        self.front_bits = front_bits % 32;
        self.front = front & ((1 << self.front_bits) - 1);
    }

    /// Number of bits.
    pub fn len(&self) -> usize {
        32 * (MOST_WORDS - self.start) + self.front_bits as usize
    }

    /// Appends them to a stream.
    pub fn append_to(&self, stream: &mut Stream) {
        stream.put(self.front as u32, self.front_bits);
        self.words[self.start..].iter().for_each(|&word| stream.put(word, 32));
    }
}

/// The bits of several lanes, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    words: Vec<u32>,
    last: u64,
    last_bits: u32,
}

impl Stream {
    #[inline(always)]
    fn put(&mut self, bits: u32, count: u32) {
        self.last |= u64::from(bits) << self.last_bits;
        self.last_bits += count;
        if self.last_bits >= 32 {
            self.words.push(self.last as u32);
            self.last >>= 32;
            self.last_bits -= 32;
        }
    }

    /// Appends all bits to `bytes`, in whole words, and starts over.
    pub fn finish(&mut self, bytes: &mut Vec<u8>) {
        if self.last_bits > 0 {
            self.words.push(self.last as u32);
        }
        bytes.extend(self.words.iter().flat_map(|word| word.to_le_bytes()));
        self.words.clear();
        (self.last, self.last_bits) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::simd::window::window;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_come_in_the_order_opposite_to_that_of_writing(
            lanes in prop::collection::vec(prop::collection::vec((any::<u32>(), 0u32..=32), 0..99), 1..9),
        ) {
            let (mut lane_bits, mut stream, mut bytes) = (LaneBits::new(), Stream::default(), Vec::new());
            for lane in &lanes {
                lane_bits.clear();
                for &(bits, count) in lane.iter().rev() {
                    lane_bits.put_before((u64::from(bits) & ((1 << count) - 1)) as u32, count);
                }
                prop_assert_eq!(lane_bits.len(), lane.iter().map(|part| part.1 as usize).sum::<usize>());
                lane_bits.append_to(&mut stream);
            }
            stream.finish(&mut bytes);
            let mut at = 0;
            for (bits, count) in lanes.into_iter().flatten() {
                prop_assert_eq!(window(&bytes, at) & ((1 << count) - 1), u64::from(bits) & ((1 << count) - 1));
                at += count as usize;
            }
            prop_assert_eq!(bytes.len(), at.div_ceil(32) * 4);
        }
    }
}
