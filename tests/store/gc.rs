//! Collecting what nobody needs any more.

use std::fs;
use std::time::Duration;

use bantam::store::{Collected, GcOptions, Share, Store, VersionName};

use crate::{Place, files, model};

fn gc(place: &Place) -> Collected {
    Store::gc(&place.at("store"), &GcOptions::default(), &()).unwrap()
}

fn packs(place: &Place) -> Vec<String> {
    files(&place.at("store")).into_keys().filter(|name| name.starts_with("packs")).collect()
}

#[track_caller]
fn is_whole(place: &Place, models: &[&str]) {
    let check = Store::check(&place.at("store"), Some(Share::ALL), &()).unwrap();
    assert!(check.failures.is_empty(), "{check:?}");
    let listed: Vec<String> = place.open().list().unwrap().into_iter().map(|version| version.model).collect();
    assert_eq!(listed, models);
    for name in models {
        assert!(place.get(name) == files(&place.at(name)), "{name}");
    }
}

#[test]
fn what_no_model_needs_goes_and_the_rest_stays() {
    let place = Place::with_store();
    model(&place.at("base"), 1, 0, 64);
    model(&place.at("other"), 2, 0, 64);
    model(&place.at("tuned"), 1, 2, 64);
    for name in ["base", "other", "tuned"] {
        place.add(name);
    }
    assert_eq!(gc(&place), Collected::default());
    assert_eq!(packs(&place).len(), 3);
    // The tuned one is stored as the difference to it.
    place.open().remove("base").unwrap();
    let done = gc(&place);
    assert_eq!((done.deleted_packs, packs(&place).len()), (0, 3), "{done:?}");
    is_whole(&place, &["other", "tuned"]);
    // Now the bases go, too; the tokenizer that all share is kept.
    place.open().remove("tuned").unwrap();
    let done = gc(&place);
    assert_eq!((done.deleted_packs, packs(&place).len()), (2, 2), "{done:?}");
    assert!(done.kept_bytes > 0 && done.kept_bytes < done.deleted_bytes / 10, "{done:?}");
    is_whole(&place, &["other"]);
    assert_eq!(gc(&place), Collected::default());
    // They can be added again. What is gone is no base any more.
    assert_eq!(place.add("tuned").base, None);
    is_whole(&place, &["other", "tuned"]);
    for name in ["other", "tuned"] {
        place.open().remove(name).unwrap();
    }
    gc(&place);
    assert!(packs(&place).is_empty());
    place.add("base");
    is_whole(&place, &["base"]);
}

#[test]
fn packs_that_a_writer_may_use_wait_for_it() {
    let place = Place::with_store();
    model(&place.at("base"), 1, 0, 64);
    place.add("base");
    place.open().remove("base").unwrap();
    // A writer that has begun, and says nothing.
    let session = place.at("store/sessions/0123");
    fs::write(&session, b"").unwrap();
    let done = gc(&place);
    assert_eq!((done.deleted_packs, done.waiting_packs), (0, 1), "{done:?}");
    assert_eq!(done.open_sessions, ["0123"]);
    // A later one is not waited for, nor does it use what is condemned.
    fs::write(place.at("store/sessions/4567"), b"").unwrap();
    assert_eq!(gc(&place).open_sessions, ["0123"]);
    assert!(place.add("base").stored_bytes > 0);
    fs::remove_file(session).unwrap();
    let done = gc(&place);
    assert_eq!((done.deleted_packs, done.waiting_packs, done.kept_bytes), (1, 0, 0), "{done:?}");
    is_whole(&place, &["base"]);
    // It is ended where it is told to.
    let options = GcOptions::default().with_expire(Duration::ZERO);
    place.open().remove("base").unwrap();
    // Packs that are younger than it may be its own.
    assert_eq!(gc(&place), Collected::default());
    let done = Store::gc(&place.at("store"), &options, &()).unwrap();
    assert_eq!((&done.expired_sessions[..], done.deleted_packs), (&["4567".to_string()][..], 1));
    assert!(place.at("store/sessions/4567.end").exists() && packs(&place).is_empty());
}

#[test]
fn where_something_cannot_be_read_nothing_is_deleted() {
    let place = Place::with_store();
    model(&place.at("base"), 1, 0, 64);
    model(&place.at("other"), 2, 0, 64);
    for name in ["base", "other"] {
        place.add(name);
    }
    place.open().remove("base").unwrap();
    let options = GcOptions::default();
    for object in files(&place.at("store")).into_keys() {
        let path = place.at("store").join(&object);
        let bytes = fs::read(&path).unwrap();
        // Packs are read only where something of them is kept, which is tried below.
        if bytes.is_empty() || object.starts_with("packs") || object.starts_with("manifests") {
            continue;
        }
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 2] ^= 1;
        fs::write(&path, damaged).unwrap();
        let error = Store::gc(&place.at("store"), &options, &()).unwrap_err();
        assert!(error.to_string().contains(&object), "{object}: {error}");
        fs::write(&path, bytes).unwrap();
        assert_eq!(packs(&place).len(), 2);
    }
    let manifest = place.at("store/manifests").join(&place.open().list().unwrap()[0].manifest);
    let bytes = fs::read(&manifest).unwrap();
    fs::remove_file(&manifest).unwrap();
    assert!(Store::gc(&place.at("store"), &options, &()).is_err());
    fs::write(&manifest, bytes).unwrap();
    // What both models have is in the pack that would go.
    let pack = packs(&place).into_iter().map(|pack| place.at("store").join(pack));
    let whole: Vec<_> = pack.map(|pack| (fs::read(&pack).unwrap(), pack)).collect();
    for (bytes, pack) in &whole {
        fs::write(pack, vec![0x55; bytes.len()]).unwrap();
    }
    assert!(Store::gc(&place.at("store"), &options, &()).is_err());
    assert_eq!(packs(&place).len(), 2);
    for (bytes, pack) in &whole {
        fs::write(pack, bytes).unwrap();
    }
    assert_eq!(gc(&place).deleted_packs, 1);
    is_whole(&place, &["other"]);
}

/// What is read may be collected, and be elsewhere, before it is read.
#[test]
fn a_reader_finds_what_was_moved() {
    let place = Place::with_store();
    model(&place.at("base"), 1, 0, 640);
    model(&place.at("other"), 2, 0, 1);
    place.add("base");
    // All that it shares with the base is in the base's pack.
    place.add("other");
    let before = place.open();
    place.open().remove("base").unwrap();
    assert_eq!(gc(&place).deleted_packs, 1);
    let out = place.at("moved");
    before.get(&VersionName::parse("other").unwrap(), &out, false, &()).unwrap();
    assert!(files(&out) == files(&place.at("other")));
}
