//! Models that are added and restored.

use std::fs;

use bantam::archive::{Options, compress};
use bantam::store::{AddOptions, Share, Store, StoreError, VersionName};

use crate::data::plain::PlainFile;
use crate::data::{Random, bf16_bytes, gguf};
use crate::{Place, files, model};

fn named(name: &str) -> VersionName {
    VersionName::parse(name).unwrap()
}

#[test]
fn models_come_back_byte_for_byte_and_are_stored_once() {
    let place = Place::with_store();
    model(&place.at("base"), 1, 0, 200);
    model(&place.at("tuned"), 1, 5, 200);
    model(&place.at("grown"), 1, 6, 210);
    model(&place.at("stranger"), 2, 0, 200);
    let base = place.add("base");
    assert_eq!((base.version.number, base.was_there, &base.base), (1, false, &None));
    let tuned = place.add("tuned");
    assert_eq!(tuned.base, Some(base.version.manifest.clone()));
    // Two fifths of what it is alone; and it is found though its vocabulary has grown.
    assert!(tuned.stored_bytes < base.stored_bytes * 3 / 5, "{tuned:?} {base:?}");
    let grown = place.add("grown");
    assert!(grown.base.is_some() && grown.stored_bytes < base.stored_bytes * 3 / 5, "{grown:?}");
    // Its tensors have the same names and shapes, and look otherwise.
    let stranger = place.add("stranger");
    assert!(stranger.base.is_none() && stranger.stored_bytes > base.stored_bytes * 4 / 5, "{stranger:?}");
    for name in ["base", "tuned", "grown", "stranger"] {
        assert!(place.get(name) == files(&place.at(name)), "{name}");
    }
    // Again, and under another name: nothing is written.
    let again = place.add("tuned");
    assert!(again.was_there && again.stored_bytes == 0 && again.version == tuned.version);
    let copy = AddOptions::default().with_name(Some("org/copy".into()));
    let copy = place.open().add(&place.at("tuned"), &copy, &()).unwrap();
    assert!(!copy.was_there && copy.stored_bytes == 0 && copy.version.manifest == tuned.version.manifest);
    assert!(place.get("org/copy") == files(&place.at("tuned")));
    let stats = place.open().stats().unwrap();
    assert_eq!((stats.models, stats.tensors), (5, 20));
    assert!(stats.saved_by_dedup > 0 && stats.saved_by_deltas > 0 && stats.saved_by_coding > 0, "{stats:?}");
    let families: Vec<usize> = stats.families.iter().map(|family| family.models.len()).collect();
    assert_eq!(families, [4, 1]);
    assert!(Store::check(&place.at("store"), Some(Share::ALL), &()).unwrap().failures.is_empty());
}

/// Of models of one architecture, whichever comes first, each finds one that it is kin to.
#[test]
fn bases_are_found_among_many_models_that_look_the_same_to_people() {
    let (families, each) = if std::env::var_os("BANTAM_ENDURANCE").is_some() { (200, 50) } else { (12, 5) };
    let place = Place::with_store();
    let mut order: Vec<usize> = (0..families * each).collect();
    let mut random = Random::new(7);
    for i in (1..order.len()).rev() {
        order.swap(i, random.below(i + 1));
    }
    let mut store = place.open();
    let mut wrong = 0;
    let mut seen = std::collections::HashSet::new();
    for number in order {
        let (family, moves) = (number / each, number % each);
        let name = format!("family-{family}-{moves}");
        model(&place.at(&name), family as u64, moves as u64, 70);
        let added = store.add(&place.at(&name), &AddOptions::default(), &()).unwrap();
        wrong += usize::from(added.base.is_none() != seen.insert(family));
        fs::remove_dir_all(place.at(&name)).unwrap();
    }
    let stats = store.stats().unwrap();
    println!("{wrong} of {} without their base, {} families", families * each, stats.families.len());
    assert!(wrong * 50 <= families * each && stats.families.len() <= families + wrong);
    for family in &stats.families {
        let of = |name: &String| name.rsplit_once('-').map(|(family, _)| family.to_string());
        assert!(family.models.iter().all(|name| of(name) == of(&family.models[0])), "{family:?}");
    }
}

#[test]
fn tensors_are_compared_with_what_they_look_like_whatever_they_are_called() {
    let place = Place::with_store();
    let weights = |seed: u64, step: f32| {
        let mut steps = Random::new(seed + 100);
        let moved = Random::new(seed).gaussian_f32(96 * 128);
        let moved = moved.into_iter().map(|w| half::bf16::from_f32(w + step * steps.gaussian()).to_bits());
        bf16_bytes(&moved.collect::<Vec<_>>())
    };
    let write = |folder: &str, names: [&str; 3], seeds: [u64; 3], step: f32| {
        fs::create_dir_all(place.at(folder)).unwrap();
        let all = names.iter().zip(seeds).fold(PlainFile::default(), |file, (name, seed)| {
            file.tensor(name, "BF16", &[96, 128], &weights(seed, step))
        });
        all.write(&place.at(folder).join("model.safetensors"));
        place.add(folder)
    };
    let base = write("base", ["a", "b", "c"], [1, 2, 3], 0.0);
    let same = write("same", ["a", "b", "c"], [1, 2, 3], 0.01);
    assert!(same.stored_bytes < base.stored_bytes * 3 / 5, "{same:?} {base:?}");
    let renamed = write("renamed", ["m.a", "m.b", "m.c"], [1, 2, 3], 0.015);
    assert!(renamed.base.is_some() && renamed.stored_bytes < base.stored_bytes * 3 / 5, "{renamed:?}");
    // Two have changed places.
    let changed = write("changed", ["a", "b", "c"], [1, 3, 2], 0.02);
    assert!(changed.base.is_some() && changed.stored_bytes < base.stored_bytes * 3 / 5, "{changed:?}");
    for name in ["base", "same", "renamed", "changed"] {
        assert!(place.get(name) == files(&place.at(name)), "{name}");
    }
}

#[test]
fn versions_have_numbers_and_removed_models_are_gone() {
    let place = Place::with_store();
    model(&place.at("m"), 3, 0, 64);
    let first = files(&place.at("m"));
    place.add("m");
    model(&place.at("m"), 3, 1, 64);
    let second = files(&place.at("m"));
    assert_eq!(place.add("m").version.number, 2);
    assert!(place.get("m@1") == first && place.get("m@2") == second && place.get("m") == second);
    let store = place.open();
    assert_eq!(store.list().unwrap().len(), 2);
    // Its name is also the beginning of another one's.
    let longer = AddOptions::default().with_name(Some("m/other".into()));
    assert_eq!(place.open().add(&place.at("m"), &longer, &()).unwrap().version.number, 1);
    let missing = store.get(&named("m@3"), &place.at("x"), false, &()).unwrap_err();
    assert!(missing.to_string().ends_with("there is no model m@3"), "{missing}");
    store.remove("m").unwrap();
    assert!(matches!(store.version(&named("m")), Err(StoreError::NoSuchModel { .. })));
    assert!(matches!(store.remove("m"), Err(StoreError::NoSuchModel { .. })));
    // It is as new, and what it consists of was still there.
    let again = place.add("m");
    assert_eq!((again.version.number, again.stored_bytes), (4, 0));
    assert_eq!(place.open().list().unwrap().len(), 2);
    assert!(place.get("m") == second);
}

#[test]
fn compressed_models_are_added_as_their_originals_and_restored_in_either_form() {
    let place = Place::with_store();
    model(&place.at("m"), 4, 0, 128);
    compress(&place.at("m"), Some(&place.at("packed")), &Options::DEFAULT, &()).unwrap();
    let plain = place.add("m");
    let name = AddOptions::default().with_name(Some("from-packed".into()));
    let packed = place.open().add(&place.at("packed"), &name, &()).unwrap();
    assert_eq!((packed.version.manifest, packed.stored_bytes), (plain.version.manifest, 0));
    place.open().get(&named("m"), &place.at("again"), true, &()).unwrap();
    assert!(files(&place.at("again")) == files(&place.at("packed")));
    let exists = place.open().get(&named("m"), &place.at("again"), false, &()).unwrap_err();
    assert!(matches!(exists, StoreError::Exists { .. }));
}

#[test]
fn files_of_any_kind_come_back() {
    let place = Place::with_store();
    let folder = place.at("odd");
    fs::create_dir_all(folder.join("a/b")).unwrap();
    gguf::mixture().write(&folder.join("model.gguf"));
    gguf::Gguf { gap: 40, trailing: vec![7; 99], ..gguf::mixture() }.write(&folder.join("gaps.gguf"));
    PlainFile::default().weights("w", &[64, 64], 1).trailing("  \n").write(&folder.join("a/b/x.safetensors"));
    fs::write(folder.join("broken.safetensors"), b"no tensors at all").unwrap();
    fs::write(folder.join("large.bin"), vec![3; (16 << 20) + 5]).unwrap();
    fs::write(folder.join(".hidden"), b"too").unwrap();
    place.add("odd");
    assert!(place.get("odd") == files(&folder));
    // A single file, too.
    let added = place.open().add(&folder.join("model.gguf"), &AddOptions::default(), &()).unwrap();
    assert_eq!((added.version.model.as_str(), added.stored_bytes), ("model", 0));
    assert_eq!(place.get("model").len(), 1);
}

#[test]
fn large_tensors_are_cut_into_pieces() {
    let place = Place::with_store();
    fs::create_dir(place.at("large")).unwrap();
    let rows = (66 << 20) / 1024;
    let bytes: Vec<u8> = (0..rows * 1024u32).map(|i| (i >> 10) as u8).collect();
    let file = PlainFile::default().tensor("w", "U8", &[rows as usize, 1024], &bytes);
    file.write(&place.at("large").join("model.safetensors"));
    let added = place.add("large");
    let manifest = place.open().manifest(&added.version).unwrap();
    assert_eq!(manifest.tensors().next().unwrap().pieces.len(), 2);
    assert!(place.get("large") == files(&place.at("large")));
}

#[test]
fn what_cannot_be_stored_is_named_and_nothing_is_added() {
    let place = Place::with_store();
    model(&place.at("m"), 5, 0, 64);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", place.at("m").join("link")).unwrap();
        let error = place.open().add(&place.at("m"), &AddOptions::default(), &()).unwrap_err();
        assert!(error.to_string().contains("link cannot be stored"), "{error}");
        fs::remove_file(place.at("m").join("link")).unwrap();
        // A link to a file is the file, as in a hub's cache.
        std::os::unix::fs::symlink("config.json", place.at("m").join("link")).unwrap();
    }
    let bad = AddOptions::default().with_name(Some("../m".into()));
    assert!(matches!(place.open().add(&place.at("m"), &bad, &()), Err(StoreError::BadName { .. })));
    let no_base = AddOptions::default().with_base(Some(named("none")));
    assert!(matches!(place.open().add(&place.at("m"), &no_base, &()), Err(StoreError::NoSuchModel { .. })));
    assert_eq!(place.open().list().unwrap(), []);
    place.add("m");
    assert!(place.get("m") == files(&place.at("m")));
    assert!(matches!(Store::open(&place.at("m")), Err(StoreError::NoStore { .. })));
    assert!(matches!(Store::init(&place.at("m")), Err(StoreError::NotEmpty { .. })));
}

/// Others add models while a store is open.
#[test]
fn what_was_added_later_comes_back_and_is_counted() {
    let place = Place::with_store();
    model(&place.at("later"), 1, 0, 64);
    let opened = place.open();
    let added = place.add("later");
    let got = opened.get(&VersionName::parse("later").unwrap(), &place.at("out"), false, &()).unwrap();
    assert!(files(&place.at("out")) == files(&place.at("later")));
    assert_eq!((got.original_bytes, got.stored_bytes), (added.original_bytes, added.stored_bytes));
}
