//! Damaged and missing objects: named by `check`, harmless to `get`.

use std::fs;
use std::path::PathBuf;

use bantam::store::{Share, Store, VersionName};

use crate::{Place, files, model};

/// A store with a model and one that was made from it.
fn with_two_models() -> Place {
    let place = Place::with_store();
    model(&place.at("base"), 1, 0, 64);
    model(&place.at("tuned"), 1, 2, 64);
    place.add("base");
    place.add("tuned");
    place
}

/// Every file of a store.
fn objects(place: &Place) -> Vec<PathBuf> {
    files(&place.at("store")).into_keys().map(|name| place.at("store").join(name)).collect()
}

/// Whether `check` finds a fault, and `get` gives an error or the model as it is.
fn is_found(place: &Place, name: &str, right: &std::collections::BTreeMap<String, Vec<u8>>) -> bool {
    let found =
        Store::check(&place.at("store"), Some(Share::ALL), &()).is_ok_and(|check| check.failures.is_empty());
    let out = place.at("damaged-out");
    let got = Store::open(&place.at("store"))
        .and_then(|store| store.get(&VersionName::parse(name).unwrap(), &out, false, &()));
    match got {
        Ok(_) => assert!(files(&out) == *right, "a damaged store gave other bytes"),
        Err(_) => assert!(!out.exists()),
    }
    let _ = fs::remove_dir_all(out);
    !found
}

#[test]
fn damage_in_every_object_is_found_and_harmless() {
    let place = with_two_models();
    let right = files(&place.at("tuned"));
    assert!(!is_found(&place, "tuned", &right));
    for object in objects(&place) {
        let bytes = fs::read(&object).unwrap();
        // Of small objects every seventh byte, of packs some.
        let step = if bytes.len() < 20_000 { 7 } else { bytes.len() / 60 };
        for at in (0..bytes.len()).step_by(step.max(1)) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(&object, damaged).unwrap();
            assert!(is_found(&place, "tuned", &right), "{}: byte {at}", object.display());
        }
        if !bytes.is_empty() {
            fs::write(&object, &bytes[..bytes.len() / 2]).unwrap();
            assert!(is_found(&place, "tuned", &right), "{}: cut", object.display());
        }
        fs::write(&object, &bytes).unwrap();
    }
    assert!(!is_found(&place, "tuned", &right));
}

#[test]
fn an_index_is_made_again_from_packs() {
    let place = with_two_models();
    let store = place.at("store");
    assert_eq!(Store::repair(&store).unwrap(), bantam::store::Repair::default());
    let runs = || objects(&place).into_iter().filter(|path| path.starts_with(store.join("index")));
    // One run is damaged, and the other one is gone.
    let [one, other] = runs().collect::<Vec<_>>().try_into().unwrap();
    let mut bytes = fs::read(&one).unwrap();
    bytes[30] ^= 1;
    fs::write(&one, bytes).unwrap();
    fs::remove_file(other).unwrap();
    let repair = Store::repair(&store).unwrap();
    assert!(repair.found > 8 && repair.lost.is_empty() && repair.deleted.len() == 1, "{repair:?}");
    assert!(Store::check(&store, Some(Share::ALL), &()).unwrap().failures.is_empty());
    assert_eq!(Store::repair(&store).unwrap(), bantam::store::Repair::default());
    for name in ["base", "tuned"] {
        assert!(place.get(name) == files(&place.at(name)));
    }
}

#[test]
fn damaged_packs_are_rescued_and_what_is_lost_is_named_and_comes_back_with_its_model() {
    let place = with_two_models();
    let store = place.at("store");
    let packs = || {
        objects(&place).into_iter().filter(|path| path.starts_with(store.join("packs"))).collect::<Vec<_>>()
    };
    // Only their ends are damaged: the index says where the payloads are.
    for pack in packs() {
        let bytes = fs::read(&pack).unwrap();
        fs::write(&pack, &bytes[..bytes.len() - 5]).unwrap();
    }
    let repair = Store::repair(&store).unwrap();
    assert!(repair.rescued > 8 && repair.lost.is_empty() && repair.deleted.len() == 2, "{repair:?}");
    assert!(Store::check(&store, Some(Share::ALL), &()).unwrap().failures.is_empty());
    assert!(place.get("tuned") == files(&place.at("tuned")));
    // A pack with its end and a payload damaged keeps the rest of what it has.
    let [pack] = packs().try_into().unwrap();
    let whole = fs::read(&pack).unwrap();
    let mut bytes = whole[..whole.len() - 5].to_vec();
    bytes[300..20_000].fill(0x55);
    fs::write(&pack, bytes).unwrap();
    let repair = Store::repair(&store).unwrap();
    assert!(repair.rescued > 0 && !repair.lost.is_empty() && repair.deleted.is_empty(), "{repair:?}");
    assert!(pack.exists());
    fs::write(&pack, whole).unwrap();
    Store::repair(&store).unwrap();
    assert!(Store::check(&store, Some(Share::ALL), &()).unwrap().failures.is_empty());
    // A pack is gone, and another model is stored as differences to what was in it.
    for pack in packs() {
        fs::remove_file(pack).unwrap();
    }
    let repair = Store::repair(&store).unwrap();
    assert!(repair.rescued == 0 && repair.lost.len() > 8, "{repair:?}");
    let check = Store::check(&store, None, &()).unwrap();
    assert!(
        check.failures.iter().all(|failure| failure.model.is_some()) && check.failures.len() >= 8,
        "{check:?}"
    );
    for name in ["base", "tuned"] {
        assert!(place.add(name).was_there);
        assert!(place.get(name) == files(&place.at(name)));
    }
    assert!(Store::check(&store, Some(Share::ALL), &()).unwrap().failures.is_empty());
}

#[test]
fn a_missing_object_is_found() {
    let place = with_two_models();
    let right = files(&place.at("tuned"));
    for object in objects(&place) {
        // Those of kin only help to find bases, and a version without its entry is none.
        let name = object.strip_prefix(place.at("store")).unwrap().to_str().unwrap().to_string();
        if name.starts_with("kin") || name.starts_with("models") {
            continue;
        }
        let bytes = fs::read(&object).unwrap();
        fs::remove_file(&object).unwrap();
        assert!(is_found(&place, "tuned", &right), "{name}");
        fs::write(&object, bytes).unwrap();
    }
    // What a dead writer left is no fault.
    fs::write(place.at("store").join("tmp/left"), b"half a pack").unwrap();
    assert!(!is_found(&place, "tuned", &right));
}

/// Shares of the pieces find together what a whole reading finds, and each only what is in it.
#[test]
fn a_damaged_payload_is_found_by_the_share_that_has_it() {
    let place = Place::with_store();
    model(&place.at("base"), 1, 0, 100);
    place.add("base");
    let store = place.at("store");
    let faults = |read| -> Vec<String> {
        let failures = Store::check(&store, read, &()).unwrap().failures;
        failures.into_iter().map(|failure| failure.object).collect()
    };
    let pack = files(&store).into_keys().find(|name| name.starts_with("packs")).unwrap();
    let mut bytes = fs::read(store.join(&pack)).unwrap();
    bytes[600] ^= 1;
    fs::write(store.join(&pack), bytes).unwrap();
    assert_eq!(faults(None), Vec::<String>::new());
    let whole = faults(Some(Share::ALL));
    assert_eq!(whole.len(), 1);
    let of_shares: Vec<Vec<String>> = (1..=5).map(|i| faults(Share::new(i, 5))).collect();
    assert_eq!(of_shares.iter().filter(|found| !found.is_empty()).count(), 1);
    assert_eq!(of_shares.concat(), whole);
}
