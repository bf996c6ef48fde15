//! Writers that are killed, and writers at once.

use std::process::{Command, Stdio};
use std::time::Duration;

use bantam::store::{AddOptions, Store};

use crate::{Place, files, model};

fn adding(place: &Place, model: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
    command.args(["store", "add"]).args([place.at("store"), place.at(model)]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn a_killed_writer_leaves_the_store_whole() {
    let place = Place::with_store();
    let mut killed = 0;
    for round in 0..30u64 {
        let name = format!("model-{round}");
        model(&place.at(&name), 1 + round % 3, round, 300);
        let mut child = adding(&place, &name).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(700 * (round * 7 % 40)));
        killed += u32::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        child.wait().unwrap();
        let check = Store::check(&place.at("store"), round % 5 == 0, &()).unwrap();
        assert!(check.failures.is_empty(), "{check:?}");
        for version in place.open().list().unwrap() {
            assert!(place.get(&version.model) == files(&place.at(&version.model)), "{}", version.model);
        }
    }
    assert!(killed > 5, "{killed}");
    // All of them can be added after that.
    for round in 0..30 {
        place.add(&format!("model-{round}"));
    }
    assert_eq!(place.open().list().unwrap().len(), 30);
}

#[test]
fn writers_at_once_all_succeed() {
    let place = Place::with_store();
    for i in 0..6 {
        model(&place.at(&format!("m{i}")), 1 + i % 2, i, 128);
    }
    let children: Vec<_> = (0..6).map(|i| adding(&place, &format!("m{i}")).spawn().unwrap()).collect();
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
    assert!(Store::check(&place.at("store"), true, &()).unwrap().failures.is_empty());
}
