//! Constructing length-limited Huffman codes.
//!
//! Lengths come from the package-merge algorithm (Larmore and Hirschberg, "A fast algorithm for
//! optimal length-limited Huffman codes", 1990).

use crate::codec::payload::code::{Code, MAX_CODE_BITS};

impl Code {
    /// The best code of at most `limit` bits for symbols of `symbol_bits` bits with the given `counts`;
    /// `None` if all counts are zero. With `open`, there is always an escape, so that symbols with a count of
    /// zero can be written too.
    ///
    /// Rare symbols are escaped if that is cheaper than the code space that their codes would take: with a
    /// limit of 11 bits, each code takes at least 2⁻¹¹ of it.
    pub fn for_counts(counts: &[u64], symbol_bits: u32, limit: u32, open: bool) -> Option<Self> {
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return None;
        }
        let candidate = |rare: u64| {
            let kept: Vec<u64> = counts.iter().map(|&n| if n > rare { n } else { 0 }).collect();
            let escaped = total - kept.iter().sum::<u64>();
            let coded = kept.iter().filter(|&&n| n > 0).count();
            let escape = open || escaped > 0;
            if coded == 0 || coded + usize::from(escape) > 1 << limit {
                return None;
            }
            let first = kept.iter().position(|&n| n > 0)?;
            let last = kept.iter().rposition(|&n| n > 0)?;
            let mut weights = kept[first..=last].to_vec();
            if escape {
                weights.push(escaped.max(1));
            }
            let mut lengths = code_lengths(&weights, limit);
            let bits: u64 = weights.iter().zip(&lengths).map(|(&n, &l)| n * u64::from(l)).sum();
            let escape = if escape { lengths.pop()? } else { 0 };
            let code = Self { first: first as u16, lengths, escape };
            Some((bits + escaped * u64::from(symbol_bits), code))
        };
        // Escape no symbols, those below an eighth of a code's smallest share of code space, or those below
        // half.
        let mut rare = vec![0, total >> (limit + 3), total >> (limit + 1)];
        rare.dedup();
        rare.into_iter().filter_map(candidate).min_by_key(|(bits, _)| *bits).map(|(_, code)| code)
    }

    /// Bits of symbols with these `counts`; symbols without a code are escaped with `symbol_bits` bits.
    pub fn bits(&self, counts: &[u64], symbol_bits: u32) -> u64 {
        let coded = &counts[usize::from(self.first)..][..self.lengths.len()];
        let with_code =
            || coded.iter().zip(&self.lengths).filter(|&(_, &length)| length > 0 || self.is_single());
        let escaped = counts.iter().sum::<u64>() - with_code().map(|(n, _)| n).sum::<u64>();
        let own: u64 = with_code().map(|(n, &length)| n * u64::from(length)).sum();
        own + escaped * (u64::from(self.escape) + u64::from(symbol_bits))
    }
}

/// Optimal code lengths of at most `limit` bits for symbols that occur `counts[symbol]` times.
///
/// A symbol that does not occur has length 0. So has the only symbol of an alphabet of one: its stream has no
/// bits.
///
/// # Panics
/// If more than `2^limit` symbols occur, or `limit` is more than [`MAX_CODE_BITS`].
pub fn code_lengths(counts: &[u64], limit: u32) -> Vec<u8> {
    let mut leaves: Vec<(u64, usize)> =
        counts.iter().enumerate().filter(|&(_, &n)| n > 0).map(|(s, &n)| (n, s)).collect();
    let mut lengths = vec![0; counts.len()];
    if leaves.len() < 2 {
        return lengths;
    }
    assert!(limit <= MAX_CODE_BITS && leaves.len() <= 1 << limit, "{} codes of {limit} bits", leaves.len());
    leaves.sort_unstable();
    let levels = merge_packages(&leaves, limit);
    // Among the 2n - 2 cheapest items of the last level, each leaf adds one bit to its symbol, and each
    // package passes on the count to the two items of the previous level that it consists of.
    let mut take = 2 * leaves.len() - 2;
    for level in levels.iter().rev() {
        let leaf_count = level[..take].iter().filter(|item| item.is_leaf).count();
        for &(_, symbol) in &leaves[..leaf_count] {
            lengths[symbol] += 1;
        }
        take = 2 * (take - leaf_count);
    }
    lengths
}

#[derive(Clone, Copy)]
struct Item {
    weight: u64,
    is_leaf: bool,
}

/// For each allowed bit of length, the leaves merged with pairs of the previous level, by weight.
fn merge_packages(leaves: &[(u64, usize)], limit: u32) -> Vec<Vec<Item>> {
    let mut levels: Vec<Vec<Item>> = Vec::new();
    for _ in 0..limit {
        let packages = levels.last().map_or(&[][..], |previous| previous.as_chunks::<2>().0);
        let mut packages = packages.iter().map(|[a, b]| a.weight + b.weight).peekable();
        let mut level = Vec::with_capacity(2 * leaves.len());
        for &(weight, _) in leaves {
            while let Some(weight) = packages.next_if(|&package| package < weight) {
                level.push(Item { weight, is_leaf: false });
            }
            level.push(Item { weight, is_leaf: true });
        }
        level.extend(packages.map(|weight| Item { weight, is_leaf: false }));
        levels.push(level);
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::payload::code::TABLE_LEN;
    use proptest::prelude::*;

    /// Plain Huffman by repeated merging, which is optimal if no code exceeds the limit.
    fn unlimited_cost(counts: &[u64]) -> (u64, u32) {
        let mut nodes: Vec<(u64, u32)> = counts.iter().filter(|&&n| n > 0).map(|&n| (n, 0)).collect();
        let mut cost = 0;
        while nodes.len() > 1 {
            nodes.sort_by_key(|&node| std::cmp::Reverse(node));
            let (a, b) = (nodes.pop().unwrap(), nodes.pop().unwrap());
            cost += a.0 + b.0;
            nodes.push((a.0 + b.0, 1 + a.1.max(b.1)));
        }
        (cost, nodes[0].1)
    }

    fn cost(counts: &[u64], lengths: &[u8]) -> u64 {
        counts.iter().zip(lengths).map(|(&n, &l)| n * u64::from(l)).sum()
    }

    #[test]
    fn bits_are_those_of_codes_and_escapes() {
        let counts = [0, 100, 50, 1, 0, 30];
        let code = Code { first: 1, lengths: vec![1, 2, 0, 0, 3], escape: 3 };
        assert_eq!(code.bits(&counts, 8), 100 + 2 * 50 + 3 * 30 + (3 + 8));
        let single = Code { first: 2, lengths: vec![0], escape: 0 };
        assert_eq!(single.bits(&[0, 0, 7], 8), 0);
    }

    #[test]
    fn known_small_codes() {
        assert!(code_lengths(&[], 12).is_empty());
        assert_eq!(code_lengths(&[0, 7, 0], 12), [0, 0, 0]);
        assert_eq!(code_lengths(&[3, 9], 12), [1, 1]);
        assert_eq!(code_lengths(&[8, 4, 2, 1, 1], 12), [1, 2, 3, 4, 4]);
    }

    #[test]
    fn fibonacci_counts_are_held_to_the_limit() {
        let mut counts = vec![1u64, 1];
        while counts.len() < 40 {
            counts.push(counts[counts.len() - 1] + counts[counts.len() - 2]);
        }
        for limit in [8, 11, 12] {
            let lengths = code_lengths(&counts, limit);
            assert!(lengths.iter().all(|&l| (1..=limit as u8).contains(&l)));
            assert!(Code { first: 0, lengths, escape: 0 }.is_usable());
        }
    }

    #[test]
    fn rare_symbols_are_left_to_the_escape() {
        let mut counts = vec![1u64; 200];
        counts[100..108].fill(1 << 20);
        let code = Code::for_counts(&counts, 10, 11, false).unwrap();
        assert_eq!((code.first, code.lengths.len()), (100, 8));
        assert!(code.escape > 3 && code.is_usable());
        let closed = Code::for_counts(&[5, 5], 10, 11, false).unwrap();
        assert_eq!((closed.lengths, closed.escape), (vec![1, 1], 0));
        let open = Code::for_counts(&[5], 10, 11, true).unwrap();
        assert_eq!((open.lengths, open.escape), (vec![1], 1));
        assert!(Code::for_counts(&[0, 9], 10, 11, false).unwrap().is_single());
        assert_eq!(Code::for_counts(&[0; 4], 10, 11, true), None);
    }

    proptest! {
        #[test]
        fn lengths_are_optimal_and_tables_decode(
            counts in prop::collection::vec(0u64..100_000, 2..300),
            open: bool,
        ) {
            prop_assume!(counts.iter().filter(|&&n| n > 0).count() > 1);
            let lengths = code_lengths(&counts, 12);
            let (best, depth) = unlimited_cost(&counts);
            if depth <= MAX_CODE_BITS {
                prop_assert_eq!(cost(&counts, &lengths), best);
            } else {
                prop_assert!(cost(&counts, &lengths) >= best);
            }
            let mut code = Code::for_counts(&counts, 10, 12, open).unwrap();
            code.first += 100;
            prop_assert!(code.is_usable() && (code.escape > 0 || !open));
            let table = code.peek_table();
            for (i, bits) in code.codes().into_iter().enumerate() {
                let (symbol, length) = match code.lengths.get(i) {
                    Some(&length) => (Some(code.first + i as u16), length),
                    None => (None, code.escape),
                };
                for high in [0, TABLE_LEN - 1].into_iter().filter(|_| length > 0) {
                    let window = (usize::from(bits) | high << length) & (TABLE_LEN - 1);
                    prop_assert_eq!(table[window], (symbol, length));
                }
            }
        }
    }
}
