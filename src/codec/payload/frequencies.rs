//! How many of a coder's states each symbol has, as a delta's head describes it.
//!
//! The coder is a table-based asymmetric numeral system (tANS: J. Duda, arXiv 1311.2540) with as many states
//! as there are in a byte. States are spread over the symbols as in Finite State Entropy (RFC 8878, §4.1.1).

use super::nibbles::{NibbleReader, Nibbles};

/// States of a coder.
pub(crate) const STATES: usize = 256;

/// Bits of a symbol that follow its escape.
pub(crate) const ESCAPED_BITS: u32 = 8;

/// From one state of a symbol to the next, in the order in which they are given out. It is odd, so it comes
/// to each state once.
const STEP: usize = STATES / 2 + STATES / 8 + 3;

/// How many states each symbol has; 0 if it has none of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frequencies {
    /// Of each symbol.
    pub(crate) symbols: Vec<u16>,
    /// Of the escape, which stands before a symbol without a state.
    pub(crate) escape: u16,
}

/// What a decoder does in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    /// Index of the symbol; that behind the last is the escape's.
    pub symbol: u16,
    /// Bits to be read.
    pub bits: u8,
    /// The next state is this plus the number in the bits.
    pub next: u8,
}

impl Frequencies {
    /// Whether the states are all given out, or none is because no symbol occurs.
    pub fn is_usable(&self) -> bool {
        let sum: usize = self.all().map(usize::from).sum();
        sum == STATES || sum == 0
    }

    /// Whether no symbol occurs.
    pub fn is_empty(&self) -> bool {
        self.all().all(|states| states == 0)
    }

    /// The frequency of each symbol, then that of the escape.
    fn all(&self) -> impl Iterator<Item = u16> + '_ {
        self.symbols.iter().copied().chain([self.escape])
    }

    /// The symbol of each state, by its index; the index behind the last symbol is the escape's.
    pub(crate) fn spread(&self) -> [u16; STATES] {
        let mut symbols = [0; STATES];
        let mut at = 0;
        for (symbol, states) in self.all().enumerate() {
            for _ in 0..states {
                symbols[at] = symbol as u16;
                at = (at + STEP) % STATES;
            }
        }
        symbols
    }

    /// What a decoder does in each state.
    pub(crate) fn states(&self) -> [State; STATES] {
        let mut next: Vec<usize> = self.all().map(usize::from).collect();
        self.spread().map(|symbol| {
            let number = next[usize::from(symbol)].max(1);
            next[usize::from(symbol)] = number + 1;
            let bits = STATES.ilog2() - number.ilog2();
            State { symbol, bits: bits as u8, next: ((number << bits) % STATES) as u8 }
        })
    }

    /// Writes the frequencies: the escape's, the number of symbols up to the last that has one, and theirs. A
    /// symbol that has all states has 0 there.
    pub(crate) fn write(&self, numbers: &mut Nibbles) {
        let count = self.symbols.iter().rposition(|&states| states > 0).map_or(0, |last| last + 1);
        numbers.put(self.escape);
        numbers.put(count as u16);
        self.symbols[..count].iter().for_each(|&states| numbers.put(states % STATES as u16));
    }

    /// Reads what [`Frequencies::write`] wrote of `symbols` symbols; `None` if nothing writes that.
    pub(crate) fn read<E>(
        symbols: usize,
        numbers: &mut NibbleReader<impl FnMut() -> Result<u8, E>>,
    ) -> Result<Option<Self>, E> {
        let (escape, count) = (numbers.number()?, usize::from(numbers.number()?));
        if count > symbols {
            return Ok(None);
        }
        let mut read = Self { symbols: vec![0; symbols], escape };
        for states in &mut read.symbols[..count] {
            *states = numbers.number()?;
        }
        match count.checked_sub(1) {
            // It would not be counted if it had none.
            Some(last) if read.is_empty() => read.symbols[last] = STATES as u16,
            Some(last) if read.symbols[last] == 0 => return Ok(None),
            _ => {}
        }
        Ok(read.is_usable().then_some(read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frequencies(symbols: &[u16], escape: u16) -> Frequencies {
        Frequencies { symbols: symbols.to_vec(), escape }
    }

    #[test]
    fn every_state_is_left_to_every_other() {
        for f in
            [frequencies(&[250, 1, 0, 3], 2), frequencies(&[0, 256, 0], 0), frequencies(&[86, 85, 85], 0)]
        {
            let states = f.states();
            for symbol in 0..=f.symbols.len() {
                // The states that lead on from a symbol's states cover all states once.
                let mut reached = [0; STATES];
                for state in states.iter().filter(|state| usize::from(state.symbol) == symbol) {
                    for more in 0..1usize << state.bits {
                        reached[usize::from(state.next) + more] += 1;
                    }
                }
                let has_states = states.iter().any(|state| usize::from(state.symbol) == symbol);
                assert_eq!(reached, [usize::from(has_states); STATES], "{f:?}");
            }
        }
    }

    #[test]
    fn frequencies_come_back_and_others_are_refused() {
        for f in [
            frequencies(&[250, 1, 0, 3, 0, 0], 2),
            frequencies(&[0, 256, 0], 0),
            frequencies(&[0, 0, 0], 0),
            frequencies(&[256], 0),
        ] {
            let mut numbers = Nibbles::default();
            f.write(&mut numbers);
            let mut bytes = numbers.finish().into_iter();
            let mut reader = NibbleReader::new(|| bytes.next().ok_or(()));
            assert_eq!(Frequencies::read(f.symbols.len(), &mut reader), Ok(Some(f)));
        }
        for bad in [&[0, 2, 1, 0][..], &[0, 1, 255], &[255, 0], &[1, 1, 254], &[0, 4, 1, 1, 1, 253]] {
            let mut numbers = Nibbles::default();
            bad.iter().for_each(|&number| numbers.put(number));
            let mut bytes = numbers.finish().into_iter();
            let read = Frequencies::read(3, &mut NibbleReader::new(|| bytes.next().ok_or(())));
            assert_eq!(read, Ok(None), "{bad:?}");
        }
    }
}
