//! What stays in device memory and what is streamed, for people and machines.

use bantam::model::Model;
use bantam::stream::Plan;
use serde_json::{Value, json};

use super::sizes::megabytes;

/// The JSON object of a plan. Sizes are bytes.
pub fn plan_json(plan: &Plan) -> Value {
    json!({
        "budget": plan.budget,
        "minimum": plan.minimum,
        "total": plan.total,
        "fixed": plan.fixed,
        "working_set": plan.working_set,
        "layers": plan.layers,
        "pinned": plan.pinned(),
        "streamed": plan.streamed,
        "resident_layer_bytes": plan.resident,
        "slots": plan.slots,
        "slot_bytes": plan.slot_bytes,
        "ring_bytes": plan.ring,
        "bytes_a_token": plan.bytes_a_pass,
    })
}

/// A plan in a few lines.
pub fn plan_words(plan: &Plan) -> String {
    let budget = plan.budget.map_or(String::new(), |budget| format!(" of {}", megabytes(budget)));
    let mut lines = vec![
        format!(
            "{}{budget} of device memory; the least possible is {} ({} bytes)",
            megabytes(plan.total),
            megabytes(plan.minimum),
            plan.minimum
        ),
        format!("  {} for embedding, output matrix and last norm", megabytes(plan.fixed)),
        format!("  {} for a session, or for loading", megabytes(plan.working_set)),
        format!("  {} for {} of {} layers that stay", megabytes(plan.resident), plan.pinned(), plan.layers),
    ];
    if plan.is_resident() {
        lines.push("  no layer is streamed".into());
    } else {
        lines.push(format!(
            "  {} for {} slots of {}, through which layers {} are streamed",
            megabytes(plan.ring),
            plan.slots,
            megabytes(plan.slot_bytes),
            runs(&plan.streamed),
        ));
        lines.push(format!("A token moves {}", megabytes(plan.bytes_a_pass)));
    }
    lines.join("\n")
}

/// Ascending numbers in a few words: `0-3, 5`.
fn runs(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        _ => run[0].to_string(),
    });
    runs.collect::<Vec<_>>().join(", ")
}

/// The JSON object of what streaming took, and of the plan; null where there was no budget.
pub fn stats_json(model: &Model) -> Value {
    let stats = model.stream_stats();
    model.residency().map_or(Value::Null, |plan| {
        json!({
            "plan": plan_json(plan),
            "bytes_moved": stats.bytes_moved,
            "layers_moved": stats.layers_moved,
            "reading_seconds": stats.reading.as_secs_f64(),
            "stalled_seconds": stats.stalled.as_secs_f64(),
            "overlap": stats.overlap(),
        })
    })
}

/// The same in a line.
pub fn stats_words(model: &Model) -> String {
    let stats = model.stream_stats();
    match model.residency() {
        None => "no budget: all layers stayed in device memory".into(),
        Some(plan) if plan.is_resident() => "all layers fit: none was streamed".into(),
        Some(plan) => format!(
            "{} of {} layers streamed through {} slots of {}: {} moved in {:.2} s, the device waited {:.2} s, \
             overlap {:.0} %",
            plan.streamed.len(),
            plan.layers,
            plan.slots,
            megabytes(plan.slot_bytes),
            megabytes(stats.bytes_moved),
            stats.reading.as_secs_f64(),
            stats.stalled.as_secs_f64(),
            100.0 * stats.overlap(),
        ),
    }
}
