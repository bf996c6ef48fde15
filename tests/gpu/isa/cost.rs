//! The loop over weights is found, or nothing is said.

use super::reading::assembly::Listing;
use super::reading::cost::{Cost, Mark};

const FMA: &str = " v_fma_f32 v0, v1, v2, v0\n";

fn round(label: &str, inside: &str) -> String {
    format!("{label}:\n buffer_load_b128 v[0:3], v4, s[0:3], 0 offen\n{inside} s_cbranch_scc1 {label}\n")
}

fn cost(text: &str, mark: Mark, chunk: u32) -> Option<[f64; 3]> {
    Cost::of(&Listing::parse(text), mark, chunk).map(|cost| [cost.all, cost.vector, cost.loads])
}

#[test]
fn a_round_is_divided_by_its_products() {
    let whole = round("BB1", &FMA.repeat(8));
    assert_eq!(cost(&whole, Mark::Products(1), 8), Some([10.0 / 8.0, 1.0, 1.0 / 8.0]));
    assert_eq!(cost(&whole, Mark::Products(4), 2), Some([10.0 / 2.0, 4.0, 1.0 / 2.0]));
    // More than there are.
    assert_eq!(cost(&whole, Mark::Products(1), 4), None);
    assert_eq!(cost(&whole, Mark::Products(3), 8), None);
    assert_eq!(cost(FMA, Mark::Products(1), 1), None);
}

#[test]
fn what_a_chunk_needs_is_divided_among_all_of_it() {
    let part = round("BB2", &FMA.repeat(4));
    let chunk = round("BB1", &part);
    assert_eq!(cost(&chunk, Mark::Products(1), 8), Some([6.0 / 4.0 + 2.0 / 8.0, 1.0, 1.0 / 4.0 + 1.0 / 8.0]));
    // There is no loop over chunks.
    assert_eq!(cost(&part, Mark::Products(1), 8), None);
}

#[test]
fn loops_for_exceptions_do_not_count() {
    let mend = round("BB3", " v_xor_b32 v0, v1, v2\n");
    let quick = round("BB1", &(FMA.repeat(8) + &mend));
    assert_eq!(cost(&quick, Mark::Products(1), 8), Some([10.0 / 8.0, 1.0, 1.0 / 8.0]));
    let careful = round("BB2", &FMA.repeat(4));
    let both = quick.clone() + &careful;
    assert_eq!(cost(&both, Mark::Products(1), 8), Some([10.0 / 8.0, 1.0, 1.0 / 8.0]));
    assert_eq!(cost(&(careful.clone() + &careful.replace("BB2", "BB4")), Mark::Products(1), 8), None);
}

#[test]
fn a_round_without_products_is_divided_by_what_it_stores() {
    let whole = round("BB1", &" buffer_store_dwordx4 v[0:3], v4, s[0:3], 0 offen\n".repeat(3));
    let [fast, wide] = [(12, 2), (16, 1)].map(|(bits, rounds)| Mark::Stores { bits, rounds });
    assert_eq!(cost(&whole, fast, 16), Some([5.0 / 16.0, 0.0, 1.0 / 16.0]));
    assert_eq!(cost(&whole, wide, 24), Some([5.0 / 24.0, 0.0, 1.0 / 24.0]));
    assert_eq!(cost(&whole, wide, 32), None);
}
