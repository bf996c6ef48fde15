//! What is read, moved and submitted for a pass.

use bantam::archive::ModelFiles;
use bantam::gpu::Gpu;
use bantam::model::{LoadOptions, Model, Outputs, Session};
use bantam::tensor::Dtype;
use serde_json::json;

use super::budgets::stored;
use super::{
    CONTEXT, both_ways, forward, least_session, minimum, session_within, ten_layers, tokens, whole, within,
};
use crate::models::{self, all_logits, assert_same_bits, compressed, load, load_with};
use crate::{device, random_model};

#[test]
fn what_is_counted_is_what_is_read_of_the_file() {
    let (_temporary, folder) = ten_layers();
    for options in both_ways(&folder) {
        let gpu = device::shared();
        let mut session = session_within(&gpu, &folder, &options);
        let model = session.model().clone();
        let plan = model.residency().unwrap().clone();
        assert_eq!(plan.streamed.len(), plan.stages.len());
        // The first stages of the next pass are brought ahead.
        let mut bytes_after = |passes: usize| {
            session.rewind(0);
            forward(&mut session, &[7]).unwrap();
            let wanted = (passes * plan.streamed.len() + plan.slots) as u64;
            let mut stats = model.stream_stats();
            for _ in 0..10_000 {
                if stats.stages_moved == wanted {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
                stats = model.stream_stats();
            }
            assert_eq!(stats.stages_moved, wanted);
            stats.bytes_moved
        };
        let a_pass = bytes_after(1).abs_diff(bytes_after(2));
        let stored = stored(&folder);
        assert!(a_pass > stored * 9 / 10 && a_pass < stored, "{a_pass} {stored}");
        match plan.decodes() {
            true => assert_eq!(a_pass, plan.bytes_a_pass),
            // The plan counts what lies between the pieces too.
            false => assert!(a_pass <= plan.bytes_a_pass && plan.bytes_a_pass < stored),
        }
    }
}

#[test]
fn streamed_passes_are_cut_too() {
    let (_temporary, folder) = ten_layers();
    let tokens = tokens(300);
    // Of this test alone, since it counts what is submitted.
    let own = device::gpu();
    let wanted = all_logits(&load(&own, &folder, false), &tokens);
    let (whole, minimum) = (whole(&folder), minimum(&folder));
    // A product of its own at a time; and about a layer of 64 tokens.
    for (budget, work) in [(minimum, 1), ((whole + minimum) / 2, 1), ((whole + minimum) / 2, 40 << 20)] {
        let gpu = own.with_share(None);
        let count = |gpu: &Gpu| {
            let model = load_with(gpu, &folder, &within(&folder, budget));
            let mut session = Session::new(&model, CONTEXT, Outputs::All).unwrap();
            let logits = pollster::block_on(session.forward(&tokens, Outputs::All)).unwrap();
            assert_same_bits(&wanted, &logits, &format!("{budget} bytes, {work} at a time"));
            let before = (gpu.submissions(), gpu.memory().allocations());
            session.rewind(0);
            assert_same_bits(&wanted[..300], &forward(&mut session, &tokens[..1]).unwrap(), "one token");
            assert_eq!(gpu.memory().allocations(), before.1);
            assert!(gpu.memory().peak() <= budget);
            let plan = model.residency().unwrap();
            // A row of the embedding may be brought; then comes what is before the first streamed stage, and
            // each of these.
            let least = u64::from(plan.embedding_on_host) + 1 + plan.streamed.len() as u64;
            (gpu.submissions() - before.0, least, session.dispatches_a_token() as u64)
        };
        let (submissions, least, _) = count(&gpu);
        assert_eq!(submissions, least);
        let (submissions, least, dispatches) = count(&gpu.with_submission_work(work));
        match work {
            // Norms, rotations and such are not counted, and have no submission of their own.
            1 => assert!(submissions > dispatches / 2 && submissions < dispatches, "{submissions}"),
            // A token is less than a layer's batch.
            _ => assert_eq!(submissions, least),
        }
    }
}

#[test]
fn a_batch_that_wants_no_logits_moves_no_output_matrix() {
    let folder = tempfile::tempdir().unwrap();
    let sizes =
        json!({ "hidden_size": 128, "vocab_size": 3000, "num_attention_heads": 4, "num_key_value_heads": 2 });
    let config = random_model::config("LlamaForCausalLM", sizes);
    random_model::write(folder.path(), &config, Dtype::BF16);
    let (_temporary, folder) = compressed(folder.path());
    let gpu = device::shared();
    let mut session = least_session(&gpu, &folder);
    let model = session.model().clone();
    let plan = model.residency().unwrap().clone();
    let output = plan.streamed_output().0 as u64;
    assert!(output > plan.slots as u64 && plan.streamed.len() == plan.stages.len(), "{plan:?}");
    // Two batches, of which the first wants none.
    let tokens: Vec<u32> = (0..CONTEXT as u32).collect();
    forward(&mut session, &tokens).unwrap();
    let moved = model.stream_stats().stages_moved;
    let wanted = 2 * plan.streamed.len() as u64 - output;
    assert!(moved.abs_diff(wanted) <= plan.slots as u64, "{moved} {wanted}");
}

/// Bytes that this thread has read of files, where the system counts them.
fn read_by_this_thread() -> Option<u64> {
    let counts = std::fs::read_to_string("/proc/thread-self/io").ok()?;
    counts.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok())
}

#[test]
fn whoever_polls_a_model_that_is_loaded_reads_none_of_its_files() {
    let (_temporary, folder) = compressed(&models::demo());
    for folder in [models::demo(), folder] {
        let (gpu, files) = (device::shared(), ModelFiles::open(&folder).unwrap());
        let options = LoadOptions::default().with_budget(Some(1 << 30));
        // Drivers read too, what they compiled before.
        pollster::block_on(Model::load(&gpu, &files, &options, &())).unwrap();
        let Some(before) = read_by_this_thread() else {
            println!("left out: the system does not count what a thread reads");
            return;
        };
        pollster::block_on(Model::load(&gpu, &files, &options, &())).unwrap();
        let read = read_by_this_thread().unwrap() - before;
        assert!(read < 10_000, "{read} bytes were read by the thread that polls");
    }
}
