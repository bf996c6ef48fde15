//! Writers and collectors that are killed, and many at once.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bantam::store::{AddOptions, GcOptions, Share, Store};

use crate::data::Random;
use crate::{Place, files, model};

fn spawn(args: &[&std::ffi::OsStr]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
    command.arg("store").args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn adding(place: &Place, model: &str) -> Child {
    spawn(&["add".as_ref(), place.at("store").as_ref(), place.at(model).as_ref()])
}

/// Rounds of killing: two hundred take minutes.
fn rounds() -> u64 {
    if std::env::var_os("BANTAM_ENDURANCE").is_some() { 200 } else { 30 }
}

/// Two writers, a collector, and one that plans bases anew work on a store that grows and shrinks, and are killed in the
/// middle of it.
#[test]
fn killed_writers_and_collectors_leave_the_store_whole() {
    let place = Place::with_store();
    let mut random = Random::new(1);
    // What one takes alone says when to kill four at once.
    model(&place.at("first"), 9, 0, 300);
    let began = Instant::now();
    assert!(adding(&place, "first").wait().unwrap().success());
    let longest = 4 * began.elapsed().as_micros() as usize;
    let (mut killed, mut finished) = (0, 0);
    for round in 0..rounds() {
        let [one, other] = [0, 1].map(|i| format!("model-{}", 2 * round + i));
        model(&place.at(&one), 1 + round % 3, round, 300);
        model(&place.at(&other), 1 + round % 2, round + 1, 100);
        // Were it always 0, the collector would end every session before it has written anything.
        let hours = if round % 4 == 0 { "0" } else { "24" };
        let mut children = vec![
            adding(&place, &one),
            adding(&place, &other),
            spawn(&["gc".as_ref(), place.at("store").as_ref(), "--expire".as_ref(), hours.as_ref()]),
            spawn(&["optimize".as_ref(), place.at("store").as_ref()]),
        ];
        std::thread::sleep(Duration::from_micros(random.below(longest) as u64));
        for child in &mut children {
            match child.try_wait().unwrap() {
                Some(_) => finished += 1,
                None => killed += 1,
            }
            let _ = child.kill();
            child.wait().unwrap();
        }
        let versions = place.open().list().unwrap();
        let check = Store::check(&place.at("store"), (round % 5 == 0).then_some(Share::ALL), &()).unwrap();
        assert!(check.failures.is_empty(), "{check:?}");
        for version in &versions {
            let name = &version.model;
            assert!(place.get(name) == files(&place.at(name)), "{name}");
        }
        // It does not grow for ever.
        if versions.len() > 6 {
            let gone = &versions[random.below(versions.len())].model;
            place.open().remove(gone).unwrap();
        }
    }
    assert!(killed > 5 && finished > 5, "{killed} {finished}");
    // What the dead left can be collected, and whatever they were adding can be added.
    let options = GcOptions::default().with_expire(Duration::ZERO);
    Store::gc(&place.at("store"), &options, &()).unwrap();
    let left = files(&place.at("store"));
    assert!(!left.keys().any(|name| name.starts_with("condemned") || name.starts_with("tmp")), "{left:?}");
    for version in place.open().list().unwrap() {
        assert!(place.get(&version.model) == files(&place.at(&version.model)));
    }
    let last = format!("model-{}", 2 * rounds() - 1);
    place.add(&last);
    assert!(place.get(&last) == files(&place.at(&last)));
}

/// Everything at once, and nobody is killed.
#[test]
fn writers_readers_and_collectors_at_once_all_succeed() {
    let place = Place::with_store();
    let names: Vec<String> = (0..8).map(|i| format!("m{i}")).collect();
    for (name, i) in names.iter().zip(0..) {
        model(&place.at(name), 1 + i % 2, i, 128);
    }
    place.add(&names[0]);
    std::thread::scope(|scope| {
        for part in names.chunks(4) {
            scope.spawn(|| {
                for round in 0..12 {
                    let name = &part[round % part.len()];
                    place.add(name);
                    assert!(place.get(name) == files(&place.at(name)));
                    if round % 3 == 2 {
                        place.open().remove(name).unwrap();
                    }
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..30 {
                    Store::gc(&place.at("store"), &GcOptions::default(), &()).unwrap();
                }
            });
            scope.spawn(|| {
                for _ in 0..8 {
                    Store::optimize(&place.at("store"), &GcOptions::default(), &()).unwrap();
                }
            });
        }
    });
    Store::gc(&place.at("store"), &GcOptions::default(), &()).unwrap();
    assert!(Store::check(&place.at("store"), Some(Share::ALL), &()).unwrap().failures.is_empty());
}

/// Four workers of a job that has them all, some of which are killed and begin again.
#[test]
fn shares_of_a_folder_make_the_whole() {
    let place = Place::with_store();
    let names: Vec<String> = (0..16).map(|i| format!("org{}/m{i}", i % 3)).collect();
    for (name, i) in names.iter().zip(0..) {
        model(&place.at("all").join(name), 1 + i % 4, i, 100);
    }
    let worker = |i: u32, json: &str| {
        let part = format!("{i}/4");
        let (store, all) = (place.at("store"), place.at("all"));
        spawn(&[
            "ingest".as_ref(),
            store.as_ref(),
            all.as_ref(),
            "--part".as_ref(),
            part.as_ref(),
            json.as_ref(),
        ])
    };
    let mut dying: Vec<Child> = (1..=4).map(|i| worker(i, "--json")).collect();
    std::thread::sleep(Duration::from_millis(150));
    dying.iter_mut().for_each(|child| drop(child.kill()));
    dying.iter_mut().for_each(|child| drop(child.wait()));
    let whole: Vec<Child> = (1..=4).chain([2]).map(|i| worker(i, "--json")).collect();
    assert!(whole.into_iter().all(|mut child| child.wait().unwrap().success()));
    let mut listed: Vec<String> = place.open().list().unwrap().into_iter().map(|v| v.model).collect();
    listed.dedup();
    let mut wanted = names.clone();
    wanted.sort();
    assert_eq!(listed, wanted);
    for name in &names {
        assert!(place.get(name) == files(&place.at("all").join(name)), "{name}");
    }
    assert!(Store::check(&place.at("store"), Some(Share::ALL), &()).unwrap().failures.is_empty());
}

#[test]
fn writers_at_once_all_succeed() {
    let place = Place::with_store();
    for i in 0..6 {
        model(&place.at(&format!("m{i}")), 1 + i % 2, i, 128);
    }
    let children: Vec<_> = (0..6).map(|i| adding(&place, &format!("m{i}"))).collect();
    // In this process, too, and a second version of one.
    std::thread::scope(|scope| {
        for i in 0..3 {
            let options = AddOptions::default().with_name(Some("same".into()));
            let (mut store, from) = (place.open(), place.at(&format!("m{i}")));
            scope.spawn(move || store.add(&from, &options, &()).unwrap());
        }
    });
    assert!(children.into_iter().all(|mut child| child.wait().unwrap().success()));
    let mut numbers: Vec<u32> = place.open().list().unwrap().iter().map(|version| version.number).collect();
    numbers.sort();
    assert_eq!(numbers, [1, 1, 1, 1, 1, 1, 1, 2, 3]);
    for i in 0..6 {
        let name = format!("m{i}");
        assert!(place.get(&name) == files(&place.at(&name)));
    }
    assert!(Store::check(&place.at("store"), Some(Share::ALL), &()).unwrap().failures.is_empty());
}
