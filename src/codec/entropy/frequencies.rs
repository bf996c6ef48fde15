//! Choosing how many of a coder's states each symbol gets.

use crate::codec::payload::frequencies::{ESCAPED_BITS, Frequencies, STATES};

/// Shares of a state below which a symbol gets none of its own, and is escaped. The cheapest is taken.
const LEAST_SHARES: [f64; 4] = [0.0, 0.2, 0.45, 0.9];

impl Frequencies {
    /// The frequencies that take the fewest bits for symbols that occur `counts` times, of which there are
    /// fewer than states. A symbol that never occurs gets no state; if counts are `open`, it can be escaped.
    pub(crate) fn for_counts(counts: &[u64], open: bool) -> Self {
        let candidates = LEAST_SHARES.map(|least| Self::with_least(counts, least, open));
        let cost = |candidate: &Self| candidate.bits(counts);
        candidates.into_iter().min_by(|a, b| cost(a).total_cmp(&cost(b))).expect("there are candidates")
    }

    /// Symbols with less than `least` of a state are escaped; the more frequent ones share the states.
    fn with_least(counts: &[u64], least: f64, open: bool) -> Self {
        let total: u64 = counts.iter().sum();
        let share = |count: u64| count as f64 * STATES as f64 / total as f64;
        let mut own: Vec<u64> = counts.iter().map(|&c| if share(c) < least { 0 } else { c }).collect();
        if open && total == 0 {
            own[0] = 1;
        }
        let escaped = total.saturating_sub(own.iter().sum());
        own.push(if open { escaped.max(1) } else { escaped });
        let mut states = divide(&own);
        let escape = states.pop().expect("the escape comes last");
        Self { symbols: states, escape }
    }

    /// Bits that symbols take which occur `counts` times, without what belongs to a symbol but is not coded.
    pub(crate) fn bits(&self, counts: &[u64]) -> f64 {
        let of = |states: u16| STATES_LOG2 - f64::from(states).log2();
        let bits = counts.iter().zip(&self.symbols).map(|(&count, &states)| match (count, states) {
            (0, _) => 0.0,
            (_, 0) => count as f64 * (of(self.escape) + f64::from(ESCAPED_BITS)),
            _ => count as f64 * of(states),
        });
        bits.sum()
    }
}

const STATES_LOG2: f64 = STATES.ilog2() as f64;

/// Divides all states among symbols with these counts so that the bits are fewest: each that occurs gets one,
/// and what is left goes, one by one, where it saves most.
fn divide(counts: &[u64]) -> Vec<u16> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return vec![0; counts.len()];
    }
    let share = |count: u64| ((count as u128 * STATES as u128 / u128::from(total)) as u16).max(1);
    let mut states: Vec<u16> = counts.iter().map(|&c| if c == 0 { 0 } else { share(c) }).collect();
    let change = |count: u64, from: u16, to: u16| count as f64 * (f64::from(to) / f64::from(from)).log2();
    let present = |i: &usize| counts[*i] > 0;
    loop {
        let sum: usize = states.iter().map(|&n| usize::from(n)).sum();
        let all = (0..counts.len()).filter(present);
        if sum < STATES {
            let gain = |i: usize| change(counts[i], states[i], states[i] + 1);
            let best = all.max_by(|&a, &b| gain(a).total_cmp(&gain(b))).expect("something occurs");
            states[best] += 1;
        } else if sum > STATES {
            let loss = |i: usize| change(counts[i], states[i] - 1, states[i]);
            let shared = all.filter(|&i| states[i] > 1);
            let best =
                shared.min_by(|&a, &b| loss(a).total_cmp(&loss(b))).expect("no more symbols than states");
            states[best] -= 1;
        } else {
            return states;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_divided_in_proportion_and_all_used() {
        assert_eq!(divide(&[3, 1, 0]), [192, 64, 0]);
        assert_eq!(divide(&[1_000_000, 1, 1]), [254, 1, 1]);
        assert_eq!(divide(&[0, 7]), [0, 256]);
        assert_eq!(divide(&[0, 0]), [0, 0]);
        assert_eq!(divide(&[1; 256]), [1; 256]);
    }

    #[test]
    fn rare_symbols_are_escaped() {
        let mut counts = vec![1_000_000, 1_000_000];
        counts.resize(100, 10);
        let some = Frequencies::for_counts(&counts, false);
        assert!(some.escape > 0 && some.symbols[2..] == [0; 98], "{some:?}");
        // They cost less than each with a state of its own.
        assert!(some.bits(&counts) < Frequencies::with_least(&counts, 0.0, false).bits(&counts));
        let even = Frequencies::for_counts(&[5, 5, 0, 6], false);
        assert_eq!((even.symbols[2], even.escape), (0, 0));
        for counts in [&[1; 131][..], &[0; 131], &[0, 9, 0]] {
            let open = Frequencies::for_counts(counts, true);
            assert!(open.is_usable() && open.escape > 0, "{open:?}");
        }
    }
}
