//! Sessions that share a streamed model.

use std::path::Path;
use std::sync::Arc;

use bantam::gpu::{GpuError, KernelChoices};
use bantam::model::{LoadOptions, Model, ModelError, Outputs, Session};

use super::{
    CONTEXT, both_ways, few_tokens, forward, least_decoded, minimum, session_within, ten_layers, within,
    working_set,
};
use crate::models::{self, all_logits, assert_same_bits, load, load_with};
use crate::{device, patience};

#[test]
fn sessions_take_turns() {
    let (_temporary, folder) = ten_layers();
    let gpu = device::shared();
    let sessions = 3;
    let options = within(&folder, minimum(&folder) + sessions * working_set(&folder))
        .with_working_set(Some(sessions * working_set(&folder)));
    let model = load_with(&gpu, &folder, &options);
    assert!(!model.residency().unwrap().is_resident());
    let tokens = few_tokens();
    let wanted = all_logits(&load(&device::shared(), &folder, false), &tokens);
    let run = |model: &Arc<Model>| {
        let mut session = Session::new(model, CONTEXT, Outputs::All).unwrap();
        for _ in 0..3 {
            session.rewind(0);
            let logits = pollster::block_on(session.forward(&tokens, Outputs::All)).unwrap();
            assert_same_bits(&wanted, &logits, "side by side");
        }
    };
    std::thread::scope(|scope| (0..sessions).for_each(|_| drop(scope.spawn(|| run(&model)))));
    assert!(gpu.memory().peak() <= options.budget.unwrap());
}

#[test]
fn a_pass_that_is_dropped_leaves_nothing_behind() {
    let (_temporary, folder) = ten_layers();
    both_ways(&folder).iter().for_each(|options| drop_passes(&folder, options));
}

fn drop_passes(folder: &Path, options: &LoadOptions) {
    let gpu = device::shared();
    let (mut session, tokens) = (session_within(&gpu, folder, options), few_tokens());
    let wanted = forward(&mut session, &tokens).unwrap();
    for polls in 1..12 {
        session.rewind(0);
        {
            let mut pass = Box::pin(session.forward(&tokens, Outputs::Last));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            for _ in 0..polls {
                if pass.as_mut().poll(&mut context).is_ready() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
        session.rewind(0);
        assert_same_bits(&wanted, &forward(&mut session, &tokens).unwrap(), "after a dropped pass");
    }
    session.rewind(0);
    let mut pass = Box::pin(session.forward(&tokens, Outputs::Last));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(pass.as_mut().poll(&mut context).is_pending());
    drop(pass);
    drop(session);
    assert_eq!(gpu.memory().used(), 0);
}

#[test]
fn a_session_takes_what_it_is_said_to() {
    for (outputs, joins) in [(Outputs::Last, false), (Outputs::All, false), (Outputs::All, true)] {
        let gpu = device::gpu();
        let gpu = gpu.with_choices(KernelChoices { joins, ..*gpu.choices() });
        let model = load(&gpu, &models::demo(), true);
        let before = gpu.memory().used();
        let _session = Session::new(&model, 100, outputs).unwrap();
        let (taken, told) =
            (gpu.memory().used() - before, Session::device_bytes(model.config(), 100, outputs));
        // Joined matrices have fewer dispatches, and no results of their own: this is not counted upon. Nor is it that
        // raw weights are never widened.
        let most = if joins { taken + taken / 2 } else { taken + taken / 4 };
        assert!(taken <= told && told <= most, "{taken} {told}");
    }
}

#[test]
fn a_session_that_is_too_large_is_refused_and_another_one_is_not() {
    let (_temporary, folder) = ten_layers();
    let gpu = device::shared();
    let model = load_with(&gpu, &folder, &within(&folder, minimum(&folder)));
    let error = Session::new(&model, 10_000, Outputs::Last).unwrap_err();
    assert!(matches!(error, ModelError::Gpu(GpuError::OutOfMemory { .. })), "{error}");
    let mut session = Session::new(&model, CONTEXT, Outputs::Last).unwrap();
    forward(&mut session, &[1, 2, 3]).unwrap();
}

#[test]
fn computing_can_move_between_threads() {
    fn is_send(_: &impl Send) {}
    let gpu = device::shared();
    let mut session = Session::new(&load(&gpu, &models::demo(), true), 10, Outputs::Last).unwrap();
    is_send(&session.forward(&[1], Outputs::Last));
}

/// Polls with nobody to wake.
fn poll_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::Pin::new(future).poll(&mut context).is_ready()
}

#[test]
fn a_pass_that_was_begun_and_is_not_polled_stops_no_other_session() {
    patience::patiently(|| {
        let (_temporary, folder) = ten_layers();
        for options in both_ways(&folder) {
            let gpu = device::shared();
            let working_set = options.working_set.map(|bytes| 2 * bytes);
            let budget = options.budget.map(|budget| budget + working_set.unwrap());
            let options = options.with_working_set(working_set).with_budget(budget);
            let model = load_with(&gpu, &folder, &options);
            let session = || Session::new(&model, CONTEXT, Outputs::Last).unwrap();
            let (mut begun, mut other, tokens) = (session(), session(), few_tokens());
            let wanted = forward(&mut other, &tokens).unwrap();
            let mut pass = Box::pin(begun.forward(&tokens, Outputs::Last));
            assert!(!poll_once(&mut pass), "it is streamed");
            for _ in 0..2 {
                other.rewind(0);
                assert_same_bits(&wanted, &forward(&mut other, &tokens).unwrap(), "the other");
            }
            assert_same_bits(&wanted, &pollster::block_on(pass).unwrap(), "the one that waited");
            // And one that is dropped in the middle leaves its session as it was.
            begun.rewind(0);
            let mut pass = Box::pin(begun.forward(&tokens, Outputs::Last));
            assert!(!poll_once(&mut pass));
            drop(pass);
            assert_same_bits(&wanted, &forward(&mut begun, &tokens).unwrap(), "again");
            let mut pass = Box::pin(other.forward(&[1], Outputs::Last));
            poll_once(&mut pass);
            drop(pass);
            drop((begun, other, model));
            assert_eq!(gpu.memory().used(), 0);
        }
    });
}

#[test]
fn a_host_may_wait_in_every_thread_of_the_pool_that_all_share() {
    patience::patiently(|| {
        let (_temporary, folder) = ten_layers();
        let gpu = device::shared();
        let mut session = session_within(&gpu, &folder, &least_decoded(&folder));
        assert_eq!(session.model().residency().unwrap().decodes(), gpu.is_cpu());
        let wanted = forward(&mut session, &[7]).unwrap();
        session.rewind(0);
        let session = std::sync::Mutex::new(session);
        // The last of these threads waits for the device, and the others for it.
        let all = std::sync::Barrier::new(rayon::current_num_threads());
        rayon::broadcast(|_| {
            all.wait();
            let mut session = session.lock().unwrap();
            session.rewind(0);
            assert_same_bits(&wanted, &forward(&mut session, &[7]).unwrap(), "in a pool");
        });
    });
}

#[test]
fn sessions_of_a_model_share_one_table_of_rotations() {
    let (gpu, context) = (device::gpu(), 4096);
    let model = load(&gpu, &models::demo(), false);
    let used = || gpu.memory().used();
    let weights = used();
    let session = |context| Session::new(&model, context, Outputs::Last).unwrap();
    let first = session(context);
    let of_first = used() - weights;
    let second = session(context);
    let of_second = used() - weights - of_first;
    let table = (context * model.config().head_dim / 2 * 8) as u64;
    assert_eq!(of_first - of_second, table, "it is there once, and counted");
    // A shorter one has it too, and a longer one has its own.
    drop(first);
    let short = session(16);
    drop(second);
    let tokens = models::prompt(&models::demo(), "The little rooster", 10);
    let mut long = session(2 * context);
    let mut both = [short, session(16)];
    let [a, b] = both.each_mut().map(|session| forward(session, &tokens).unwrap());
    assert_same_bits(&a, &b, "tables of two lengths");
    assert_same_bits(&a, &forward(&mut long, &tokens).unwrap(), "a longer table");
    drop((both, long));
    assert_eq!(used(), weights, "the table goes with the last session");
}
