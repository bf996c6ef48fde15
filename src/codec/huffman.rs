//! Canonical, length-limited Huffman codes.
//!
//! Lengths come from the package-merge algorithm (Larmore and Hirschberg, "A fast algorithm for
//! optimal length-limited Huffman codes", 1990). Codes are assigned in order of (length, symbol),
//! as in RFC 1951 §3.2.2, and written bit-reversed, so that a reader takes the low bits of its
//! window first.

/// Longest code. A table of 2¹² entries stays in a first-level cache, and could be copied to the
/// 16 KiB of workgroup memory that every adapter has.
pub const MAX_CODE_BITS: u32 = 12;

/// Entries of a peek table.
pub const TABLE_LEN: usize = 1 << MAX_CODE_BITS;

/// Optimal code lengths of at most [`MAX_CODE_BITS`] for symbols that occur `counts[symbol]` times.
///
/// A symbol that does not occur has length 0. So has the only symbol of an alphabet of one: its
/// stream takes no bits at all.
///
/// # Panics
/// If more than 2¹² symbols occur.
pub fn code_lengths(counts: &[u64]) -> Vec<u8> {
    let mut leaves: Vec<(u64, usize)> =
        counts.iter().enumerate().filter(|&(_, &n)| n > 0).map(|(s, &n)| (n, s)).collect();
    let mut lengths = vec![0; counts.len()];
    if leaves.len() < 2 {
        return lengths;
    }
    assert!(leaves.len() <= TABLE_LEN, "{} symbols cannot have codes of 12 bits", leaves.len());
    leaves.sort_unstable();
    let levels = merge_packages(&leaves);
    // Of the last level's 2n - 2 cheapest items, each leaf adds one bit to its symbol, and each
    // package hands the count on to the two items of the level before that it is made of.
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

/// For each allowed bit of length, the leaves merged with the pairs of the level before, by weight.
fn merge_packages(leaves: &[(u64, usize)]) -> Vec<Vec<Item>> {
    let mut levels: Vec<Vec<Item>> = Vec::new();
    for _ in 0..MAX_CODE_BITS {
        let mut level: Vec<Item> = leaves.iter().map(|&(weight, _)| Item { weight, is_leaf: true }).collect();
        if let Some(previous) = levels.last() {
            level.extend(
                previous
                    .chunks_exact(2)
                    .map(|pair| Item { weight: pair[0].weight + pair[1].weight, is_leaf: false }),
            );
        }
        level.sort_by_key(|item| item.weight);
        levels.push(level);
    }
    levels
}

/// The codes of `lengths`, bit-reversed. Absent symbols have code 0.
pub fn canonical_codes(lengths: &[u8]) -> Vec<u16> {
    let mut codes = vec![0; lengths.len()];
    let mut next = 0u32;
    for length in 1..=MAX_CODE_BITS {
        for (symbol, _) in lengths.iter().enumerate().filter(|&(_, &l)| u32::from(l) == length) {
            codes[symbol] = (next.reverse_bits() >> (32 - length)) as u16;
            next += 1;
        }
        next <<= 1;
    }
    codes
}

/// Whether `lengths` describe a complete prefix code: every window of 12 bits then decodes to
/// exactly one symbol, so that a decoder needs no error path. An alphabet of one symbol, which has
/// no code, is told apart by its caller.
pub fn is_complete(lengths: &[u8]) -> bool {
    lengths
        .iter()
        .filter(|&&l| l > 0)
        .map(|&l| if u32::from(l) <= MAX_CODE_BITS { TABLE_LEN >> l } else { TABLE_LEN + 1 })
        .sum::<usize>()
        == TABLE_LEN
}

/// For every window of 12 bits, `symbol << 4 | length`.
///
/// `first` is the symbol that `lengths[0]` belongs to. An alphabet of one symbol gives a table in
/// which every window is that symbol at no bits.
pub fn decode_table(first: u16, lengths: &[u8]) -> Vec<u16> {
    let mut table = vec![first << 4; TABLE_LEN];
    let codes = canonical_codes(lengths);
    for (index, (&length, &code)) in lengths.iter().zip(&codes).enumerate().filter(|(_, (l, _))| **l > 0) {
        let entry = (first + index as u16) << 4 | u16::from(length);
        for slot in table[usize::from(code)..].iter_mut().step_by(1 << length) {
            *slot = entry;
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Plain Huffman by repeated merging: the optimum where no code is longer than the limit.
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
    fn known_small_codes() {
        assert!(code_lengths(&[]).is_empty());
        assert_eq!(code_lengths(&[0, 7, 0]), [0, 0, 0]);
        assert_eq!(code_lengths(&[3, 9]), [1, 1]);
        assert_eq!(code_lengths(&[8, 4, 2, 1, 1]), [1, 2, 3, 4, 4]);
        // Canonical: 0, 10, 110, 1110, 1111, each read from the low end.
        assert_eq!(canonical_codes(&[1, 2, 3, 4, 4]), [0, 0b01, 0b011, 0b0111, 0b1111]);
    }

    #[test]
    fn fibonacci_counts_are_held_to_the_limit() {
        let mut counts = vec![1u64, 1];
        while counts.len() < 40 {
            counts.push(counts[counts.len() - 1] + counts[counts.len() - 2]);
        }
        let lengths = code_lengths(&counts);
        assert!(lengths.iter().all(|&l| (1..=12).contains(&l)));
        assert!(is_complete(&lengths));
    }

    proptest! {
        #[test]
        fn lengths_are_optimal_and_tables_decode(counts in prop::collection::vec(0u64..100_000, 2..300)) {
            prop_assume!(counts.iter().filter(|&&n| n > 0).count() > 1);
            let lengths = code_lengths(&counts);
            prop_assert!(is_complete(&lengths));
            let (best, depth) = unlimited_cost(&counts);
            if depth <= MAX_CODE_BITS {
                prop_assert_eq!(cost(&counts, &lengths), best);
            } else {
                prop_assert!(cost(&counts, &lengths) >= best);
            }
            let table = decode_table(100, &lengths);
            for (symbol, code) in canonical_codes(&lengths).into_iter().enumerate().filter(|&(s, _)| lengths[s] > 0) {
                for high in [0, TABLE_LEN - 1] {
                    let window = (usize::from(code) | high << lengths[symbol]) & (TABLE_LEN - 1);
                    prop_assert_eq!(table[window], (100 + symbol as u16) << 4 | u16::from(lengths[symbol]));
                }
            }
        }
    }
}
