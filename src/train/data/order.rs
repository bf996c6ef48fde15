//! The order in which records come.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The order of `count` records in an epoch, the same on every platform and in every version: Durstenfeld's shuffle
/// ("Algorithm 235", 1964) with numbers of ChaCha8, of which each epoch has a stream of its own.
pub(super) fn shuffled(seed: u64, epoch: u64, count: usize) -> Vec<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(epoch);
    let mut order: Vec<usize> = (0..count).collect();
    for i in (1..count).rev() {
        // Off from even by 2⁻⁶⁴ for each record.
        let at = (u128::from(random.next_u64()) * (i as u128 + 1)) >> 64;
        order.swap(i, at as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_comes_once_and_the_order_is_pinned() {
        for count in [1, 2, 7, 1000] {
            let mut order = shuffled(3, 5, count);
            assert_eq!(order, shuffled(3, 5, count));
            order.sort_unstable();
            assert!(order.into_iter().eq(0..count));
        }
        let orders = [(1, 0), (1, 1), (2, 0)].map(|(seed, epoch)| shuffled(seed, epoch, 20));
        assert!(orders[0] != orders[1] && orders[0] != orders[2] && orders[1] != orders[2]);
    }

    #[test]
    fn every_order_is_as_likely() {
        let mut found = std::collections::BTreeMap::new();
        for seed in 0..6000 {
            *found.entry(shuffled(seed, 0, 3)).or_insert(0) += 1;
        }
        // Of six orders, 1000 each; a standard deviation is 29.
        assert!(found.len() == 6 && found.values().all(|&n| (850..1150).contains(&n)), "{found:?}");
    }
}
