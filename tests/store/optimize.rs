//! Planning bases anew.

use std::fs;

use bantam::store::{AddOptions, GcOptions, Optimized, Share, Store};

use crate::data::Random;
use crate::{Place, files, model};

fn optimize(place: &Place) -> Optimized {
    Store::optimize(&place.at("store"), &GcOptions::default(), &()).unwrap()
}

/// Bytes of all payloads.
fn payload_bytes(store: &Store) -> u64 {
    store.stats().unwrap().families.iter().map(|family| family.stored_bytes).sum()
}

#[track_caller]
fn is_whole(place: &Place, names: &[&str]) {
    let check = Store::check(&place.at("store"), Some(Share::ALL), &()).unwrap();
    assert!(check.failures.is_empty(), "{check:?}");
    for name in names {
        assert!(place.get(name) == files(&place.at(name)), "{name}");
    }
}

/// Of each model, which was made from the first.
const TUNES: [&str; 4] = ["tune-a", "tune-b", "tune-c", "tune-d"];

/// Fine-tuned models, then what they were made from, and a stranger.
fn late_base() -> Place {
    let place = Place::with_store();
    for (name, moves) in TUNES.into_iter().zip(1..) {
        model(&place.at(name), 1, moves, 300);
        place.add(name);
    }
    model(&place.at("base"), 1, 0, 300);
    model(&place.at("stranger"), 2, 0, 300);
    place.add("base");
    place.add("stranger");
    place
}

/// Bytes that the same models take if the base comes first.
fn best_bytes(place: &Place) -> u64 {
    let best = Place::with_store();
    for name in ["base", "stranger"].into_iter().chain(TUNES) {
        best.open().add(&place.at(name), &AddOptions::default(), &()).unwrap();
    }
    payload_bytes(&best.open())
}

#[test]
fn an_original_that_comes_late_becomes_the_base() {
    let place = late_base();
    let all: Vec<&str> = TUNES.into_iter().chain(["base", "stranger"]).collect();
    let (before, best) = (payload_bytes(&place.open()), best_bytes(&place));
    assert!(best * 100 < before * 97, "{best} {before}: there is nothing to gain");
    let done = optimize(&place);
    assert_eq!((done.families, done.changed_families), (1, 1), "{done:?}");
    let after = payload_bytes(&place.open());
    assert!(after * 100 <= best * 101, "{after} {best} {before}: {done:?}");
    assert!(done.after_bytes < done.before_bytes && done.collected.waiting_packs == 0, "{done:?}");
    is_whole(&place, &all);
    // What was stored in two ways is stored in one: packs have little more than payloads and their lists.
    assert!(done.after_bytes < after + 12_000, "{done:?} {after}");
    // There is nothing left to do.
    let again = optimize(&place);
    let (before_bytes, after_bytes) = (done.after_bytes, done.after_bytes);
    assert_eq!(again, Optimized { families: 1, before_bytes, after_bytes, ..Optimized::default() });
    // Models that come later find the base, and those that others were compared to can go.
    model(&place.at("late"), 1, 9, 300);
    assert!(place.add("late").stored_bytes < after / 4);
    place.open().remove("tune-a").unwrap();
    Store::gc(&place.at("store"), &GcOptions::default(), &()).unwrap();
    is_whole(&place, &["base", "stranger", "tune-b", "tune-c", "tune-d", "late"]);
}

/// What a writer may be about to use stays until it has finished, and nothing is written twice meanwhile.
#[test]
fn what_is_not_needed_waits_for_writers() {
    let place = late_base();
    let (session, best) = (place.at("store/sessions/0123"), best_bytes(&place));
    fs::write(&session, b"").unwrap();
    let done = optimize(&place);
    assert!(done.recoded_pieces > 0 && done.collected.waiting_packs > 0, "{done:?}");
    assert!(done.after_bytes > done.before_bytes, "{done:?}");
    is_whole(&place, &TUNES);
    let again = optimize(&place);
    assert_eq!((again.recoded_pieces, again.after_bytes), (0, done.after_bytes), "{again:?}");
    fs::remove_file(&session).unwrap();
    let last = optimize(&place);
    assert_eq!(last.recoded_pieces, 0, "{last:?}");
    let after = payload_bytes(&place.open());
    assert!(after * 100 <= best * 101 && last.after_bytes < after + 12_000, "{last:?} {after} {best}");
    is_whole(&place, &TUNES);
}

/// Whatever the order in which models come, the store is as small afterwards as if each original had come first.
#[test]
fn any_order_of_arrival_ends_in_the_best_one() {
    let (families, each) = if std::env::var_os("BANTAM_ENDURANCE").is_some() { (200, 50) } else { (8, 6) };
    let mut random = Random::new(11);
    let mut order: Vec<usize> = (0..families * each).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, random.below(i + 1));
    }
    let [shuffled, best] = [Place::with_store(), Place::with_store()];
    let add = |place: &Place, store: &mut Store, number: usize| {
        let (family, moves) = (number / each, number % each);
        let name = place.at(&format!("family-{family}-{moves}"));
        model(&name, family as u64, moves as u64, 70);
        store.add(&name, &AddOptions::default(), &()).unwrap();
        fs::remove_dir_all(name).unwrap();
    };
    let mut store = shuffled.open();
    order.iter().for_each(|&number| add(&shuffled, &mut store, number));
    let mut store = best.open();
    (0..families * each).for_each(|number| add(&best, &mut store, number));
    let done = optimize(&shuffled);
    let [after, best] = [&shuffled, &best].map(|place| payload_bytes(&place.open()));
    assert!(done.after_bytes < done.before_bytes, "{done:?}");
    println!("{done:?}: {after} bytes of payloads, {best} in the best order");
    assert!(done.families == families && after * 100 <= best * 101, "{done:?} {after} {best}");
    let check = Store::check(&shuffled.at("store"), Some(Share::ALL), &()).unwrap();
    assert!(check.failures.is_empty(), "{check:?}");
}
