//! Stores in buckets.

mod server;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bantam::store::{AddOptions, GcOptions, Location, Share, Store, StoreError, VersionName};

use self::server::{Client, Mood, Server};
use crate::data::Random;
use crate::left_out;
use crate::{Place, files, model};

/// Writers, collectors, and one that plans bases anew, which die again and again.
const ACTORS: usize = 6;

/// For how long the server's lists may be wrong.
const LATE: Duration = Duration::from_millis(100);

fn location(server: &Arc<Server>, dies: usize) -> Location {
    Location::bucket(Client::new(server, dies), "some/store", "server://some/store").unwrap()
}

/// An empty store on a server whose lists may be late.
fn late_store(seed: u64) -> (Place, Arc<Server>, Location) {
    let server = Server::new(seed, LATE);
    let at = location(&server, usize::MAX);
    Store::init_with_late_lists(&at, LATE).unwrap();
    (Place::with_store(), server, at)
}

/// The models that are there. Whoever adds one again may not see that, and so there may be two equal versions.
fn listed(at: &Location) -> BTreeSet<String> {
    Store::open(at).unwrap().list().unwrap().into_iter().map(|version| version.model).collect()
}

/// All models are there that somebody was told to be there, and come back.
fn require_whole(at: &Location, place: &Place, told: &[String]) {
    let check = Store::check(at, Some(Share::ALL), &()).unwrap();
    assert!(check.failures.is_empty(), "{check:?}");
    let store = Store::open(at).unwrap();
    let listed = listed(at);
    for name in told {
        assert!(listed.contains(name), "{name} was added, and is not there");
    }
    for name in &listed {
        let out = place.at("out").join(name);
        store.get(&VersionName::parse(name).unwrap(), &out, false, &()).unwrap();
        assert!(files(&out) == files(&place.at(name)), "{name}");
    }
    std::fs::remove_dir_all(place.at("out")).unwrap();
}

/// One of those at work, until it is time to end.
struct Actor<'a> {
    server: &'a Arc<Server>,
    place: &'a Place,
    number: usize,
    end: Instant,
    told: &'a Mutex<Vec<String>>,
    done: &'a AtomicUsize,
}

impl Actor<'_> {
    fn work(&self) {
        let mut random = Random::new(self.number as u64);
        let options = GcOptions::default();
        for round in 0.. {
            if Instant::now() > self.end {
                return;
            }
            // The process before has died.
            let at = location(self.server, 400);
            let done = match self.number {
                0 => Store::gc(&at, &options, &()).map(drop),
                1 => Store::optimize(&at, &options, &()).map(drop),
                2 => Store::gc(&at, &options.clone().with_expire(Duration::ZERO), &()).map(drop),
                _ => self.write(&at, &mut random, round),
            };
            match done {
                Ok(()) => drop(self.done.fetch_add(1, Ordering::SeqCst)),
                Err(error) => self.require_known(&error),
            }
            if self.number < 3 {
                std::thread::sleep(LATE * random.below(3) as u32);
            }
        }
    }

    fn write(&self, at: &Location, random: &mut Random, round: usize) -> Result<(), StoreError> {
        let mine = || {
            let start = format!("m{}-", self.number);
            let told = self.told.lock().unwrap();
            told.iter().filter(|name| name.starts_with(&start)).cloned().collect::<Vec<String>>()
        };
        if mine().len() > 4 {
            let names = mine();
            let name = &names[random.below(names.len())];
            // Whether it is removed or not is not known if there is an error.
            self.told.lock().unwrap().retain(|told| told != name);
            return Store::open(at)?.remove(name);
        }
        let name = format!("m{}-{}", self.number, "abcdefghij".chars().nth(round % 10).unwrap());
        if !self.place.at(&name).exists() {
            model(&self.place.at(&name), 1 + random.below(2) as u64, random.below(3) as u64, 64);
        }
        Store::open(at)?.add(&self.place.at(&name), &AddOptions::default(), &())?;
        let mut told = self.told.lock().unwrap();
        told.retain(|told| *told != name);
        told.push(name);
        Ok(())
    }

    /// What may happen to whoever works with such a server.
    #[track_caller]
    fn require_known(&self, error: &StoreError) {
        let text = format!("{error:?}");
        let is_lost = text.contains("connection was lost");
        // The index changes all the time, and a piece may be moved twice while it is looked for.
        let is_known = matches!(error, StoreError::Expired { .. } | StoreError::NoSuchModel { .. });
        assert!(is_lost || is_known || text.contains("try again"), "actor {}: {error:?}", self.number);
    }
}

#[test]
fn nothing_is_lost_whatever_a_server_does() {
    let (place, server, at) = late_store(11);
    let seconds = if std::env::var_os("BANTAM_ENDURANCE").is_some() { 600 } else { 10 };
    let (told, done) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    let mut rounds = 0;
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        server.set_mood(Mood::Wild);
        let end = Instant::now() + Duration::from_secs(3);
        std::thread::scope(|scope| {
            for number in 0..ACTORS {
                let (server, place, told, done) = (&server, &place, &told, &done);
                scope.spawn(move || Actor { server, place, number, end, told, done }.work());
            }
        });
        server.set_mood(Mood::Calm);
        require_whole(&at, &place, &told.lock().unwrap());
        rounds += 1;
    }
    let (faults, done) = (server.faults(), done.load(Ordering::SeqCst));
    assert!(rounds > 0 && faults > 100 && done > 20, "{rounds} rounds, {faults} faults, {done} done");
    // What the dead left goes.
    for model in listed(&at) {
        Store::open(&at).unwrap().remove(&model).unwrap();
    }
    for _ in 0..2 {
        Store::gc(&at, &GcOptions::default().with_expire(Duration::ZERO), &()).unwrap();
    }
    assert_eq!(Store::open(&at).unwrap().stats().unwrap().stored_bytes, 0);
}

#[test]
fn nobody_waits_for_ever() {
    let place = Place::with_store();
    let hours = Duration::from_secs(2 * 60 * 60);
    let error = Store::init_with_late_lists(&place.at("other"), hours).unwrap_err().to_string();
    assert!(error.contains("more than an hour") && !place.at("other").exists(), "{error}");
}

/// Everybody sees what others did before, although no list has it yet.
#[test]
fn late_lists_hide_nothing() {
    let (place, server, at) = late_store(1);
    server.set_mood(Mood::Late);
    for (name, moves) in [("base", 0), ("tuned", 1)] {
        model(&place.at(name), 1, moves, 64);
    }
    let add =
        |name: &str| Store::open(&at).unwrap().add(&place.at(name), &AddOptions::default(), &()).unwrap();
    assert!(!add("base").was_there);
    for round in 0..3 {
        assert_eq!(add("base").was_there, round == 0, "a model that was removed is added");
        assert!(add("tuned").base.is_some(), "it is compared to what was added before");
        Store::gc(&at, &GcOptions::default().with_expire(Duration::ZERO), &()).unwrap();
        server.set_mood(Mood::Calm);
        require_whole(&at, &place, &["base", "tuned"].map(str::to_string));
        server.set_mood(Mood::Late);
        // Whoever removes a model must know that it is there.
        std::thread::sleep(LATE);
        for name in ["base", "tuned"] {
            Store::open(&at).unwrap().remove(name).unwrap();
        }
    }
}

/// The store that `BANTAM_TEST_BUCKET` names, on a server that `scripts/check_bucket` starts.
#[test]
fn a_real_server_keeps_a_store() {
    let Some(url) = std::env::var_os("BANTAM_TEST_BUCKET") else {
        return left_out::report("a store on an S3 server", "scripts/check_bucket starts one");
    };
    let at = Location::parse(&url).unwrap();
    let place = Place::with_store();
    Store::init(&at).unwrap();
    assert!(matches!(Store::init(&at), Err(StoreError::NotEmpty { .. })));
    // One of them has a pack that is uploaded in parts.
    for (name, seed, moves, rows) in [("base", 1, 0, 64), ("tuned", 1, 1, 64), ("large", 2, 0, 120_000)] {
        model(&place.at(name), seed, moves, rows);
        Store::open(&at).unwrap().add(&place.at(name), &AddOptions::default(), &()).unwrap();
    }
    let told = ["base", "tuned", "large"].map(str::to_string);
    require_whole(&at, &place, &told);
    ingest_by_four(&url, &place);
    // Writers and a collector at once.
    std::thread::scope(|scope| {
        for i in 0..3 {
            let (at, place) = (&at, &place);
            scope.spawn(move || {
                for round in 0..4 {
                    let name = format!("w{i}-{}", "abcd".chars().nth(round).unwrap());
                    model(&place.at(&name), 1, 5 + round as u64, 64);
                    Store::open(at).unwrap().add(&place.at(&name), &AddOptions::default(), &()).unwrap();
                    if round == 2 {
                        Store::open(at).unwrap().remove(&name).unwrap();
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..6 {
                Store::gc(&at, &GcOptions::default(), &()).unwrap();
            }
        });
    });
    Store::optimize(&at, &GcOptions::default(), &()).unwrap();
    require_whole(&at, &place, &told);
    assert_eq!(listed(&at).len(), 3 + 8 + 3 * 3);
    // The command itself.
    run(&["check".as_ref(), &url, "--full".as_ref()]);
}

fn run(arguments: &[&OsStr]) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bantam"));
    let output = command.arg("store").args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Four processes of a job add all models of a folder.
fn ingest_by_four(url: &OsStr, place: &Place) {
    for i in 0..8 {
        model(&place.at("all").join(format!("m{i}x")), 3, i, 64);
    }
    let ingest = |i: usize| {
        let part = format!("{i}/4");
        let all = place.at("all");
        run(&["ingest".as_ref(), url, all.as_ref(), "--part".as_ref(), part.as_ref()]);
    };
    std::thread::scope(|scope| {
        for i in 1..=4 {
            scope.spawn(move || ingest(i));
        }
    });
    for i in 0..8 {
        let name = format!("m{i}x");
        std::fs::rename(place.at("all").join(&name), place.at(&name)).unwrap();
    }
}
