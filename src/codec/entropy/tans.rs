//! Writing with the states of [`Frequencies`]: an encoder goes through its symbols from the last to the
//! first, so that a decoder can go from the first to the last.

use crate::codec::payload::frequencies::{Frequencies, STATES};

/// How an encoder comes to the state before a symbol.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    /// The bits to be written are this plus the state behind the symbol, shifted down by 16.
    bits: u32,
    /// The state before is at this plus the state behind, without the bits that are written.
    first: i32,
}

/// An encoder's table for one set of frequencies.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// Of each symbol, then of the escape.
    steps: Vec<Step>,
    /// The states of each symbol, in ascending order, symbol after symbol.
    states: [u8; STATES],
}

impl Table {
    pub fn new(frequencies: &Frequencies) -> Self {
        let mut first = 0;
        let mut places = Vec::new();
        let mut steps = Vec::new();
        for &states in frequencies.symbols.iter().chain([&frequencies.escape]) {
            let number = usize::from(states);
            // Numbers from this one up to twice it stand for the symbol's states.
            let most = STATES.ilog2() - number.max(1).next_power_of_two().ilog2();
            let bits = match number {
                0 => 0,
                _ => ((most + 1) << 16).wrapping_sub((number << (most + 1)) as u32),
            };
            steps.push(Step { bits, first: first as i32 - number as i32 });
            places.push(first);
            first += number;
        }
        let mut states = [0; STATES];
        if !frequencies.is_empty() {
            for (state, symbol) in frequencies.spread().into_iter().enumerate() {
                states[places[usize::from(symbol)]] = state as u8;
                places[usize::from(symbol)] += 1;
            }
        }
        Self { steps, states }
    }

    /// Whether `symbol` has a state.
    #[inline(always)]
    pub fn has(&self, symbol: usize) -> bool {
        self.steps[symbol].bits != 0
    }

    /// Moves `state`, which is behind `symbol`, before it. Returns the bits that a decoder reads there, and
    /// how many they are. The symbol must have a state.
    #[inline(always)]
    pub fn before(&self, symbol: usize, state: &mut u8) -> (u32, u32) {
        let behind = u32::from(*state) + STATES as u32;
        let step = self.steps[symbol];
        let bits = behind.wrapping_add(step.bits) >> 16;
        let written = behind & ((1 << bits) - 1);
        *state = self.states[((behind >> bits) as i32 + step.first) as usize % STATES];
        (written, bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            counts in prop::collection::vec(0u64..1000, 2..140),
            open: bool,
            picks in prop::collection::vec(any::<u32>(), 1..300),
        ) {
            prop_assume!(counts.iter().any(|&count| count > 0));
            let frequencies = Frequencies::for_counts(&counts, open);
            let table = Table::new(&frequencies);
            let with_state: Vec<usize> = (0..=counts.len())
                .filter(|&i| frequencies.symbols.get(i).map_or(frequencies.escape, |&n| n) > 0)
                .collect();
            let symbols: Vec<usize> = picks.iter().map(|&pick| with_state[pick as usize % with_state.len()]).collect();
            let mut state = 0;
            let mut steps: Vec<_> = symbols.iter().rev().map(|&symbol| table.before(symbol, &mut state)).collect();
            let states = frequencies.states();
            for &symbol in &symbols {
                let (bits, count) = steps.pop().unwrap();
                let entry = states[usize::from(state)];
                prop_assert_eq!((usize::from(entry.symbol), u32::from(entry.bits)), (symbol, count));
                state = entry.next + bits as u8;
            }
            prop_assert_eq!(state, 0);
        }
    }
}
