//! Small numbers in few bits: of 4 bits up to 11, of 8 up to 59, and of 12 up to 315. Two pieces of 4 bits
//! share a byte, the first in the low half.
//!
//! | First piece | Further pieces, lowest first | Number |
//! |---|---|---|
//! | 0–11 | | itself |
//! | 12–14 | one, p | 12 + 16 (first − 12) + p |
//! | 15 | two, p and q | 60 + p + 16 q |

/// Numbers that are being written.
#[derive(Debug, Default)]
pub(crate) struct Nibbles {
    pieces: Vec<u8>,
}

impl Nibbles {
    /// Appends a number, 315 at most.
    pub fn put(&mut self, number: u16) {
        let piece = |number: u16| (number % 16) as u8;
        match number {
            0..12 => self.pieces.push(piece(number)),
            12..60 => self.pieces.extend([piece(12 + (number - 12) / 16), piece(number - 12)]),
            _ => self.pieces.extend([15, piece(number - 60), piece((number - 60) / 16)]),
        }
    }

    /// All of them, the last byte filled with zeros.
    pub fn finish(self) -> Vec<u8> {
        self.pieces.chunks(2).map(|pair| pair[0] | pair.get(1).unwrap_or(&0) << 4).collect()
    }
}

/// Reads numbers from bytes.
pub(crate) struct NibbleReader<F> {
    next: F,
    /// The second piece of a byte whose first one was read.
    rest: Option<u8>,
    bytes: usize,
}

impl<E, F: FnMut() -> Result<u8, E>> NibbleReader<F> {
    /// Reads from the bytes that `next` returns.
    pub fn new(next: F) -> Self {
        Self { next, rest: None, bytes: 0 }
    }

    /// The next number.
    pub fn number(&mut self) -> Result<u16, E> {
        Ok(match self.piece()? {
            first @ 0..12 => first,
            first @ 12..15 => 12 + 16 * (first - 12) + self.piece()?,
            _ => 60 + self.piece()? + 16 * self.piece()?,
        })
    }

    fn piece(&mut self) -> Result<u16, E> {
        if let Some(rest) = self.rest.take() {
            return Ok(rest.into());
        }
        let byte = (self.next)()?;
        self.bytes += 1;
        self.rest = Some(byte >> 4);
        Ok((byte & 15).into())
    }

    /// Bytes that were begun.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back() {
        let mut numbers = Nibbles::default();
        (0..316).for_each(|number| numbers.put(number));
        let bytes = numbers.finish();
        assert_eq!(bytes.len(), (12 + 2 * 48 + 3 * 256) / 2);
        let mut left = bytes.iter();
        let mut reader = NibbleReader::new(|| left.next().copied().ok_or(()));
        assert!((0..316).all(|number| reader.number() == Ok(number)));
        assert_eq!(reader.bytes(), bytes.len());
        assert_eq!(reader.number(), Err(()));
    }
}
