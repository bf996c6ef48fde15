//! Prints which weights are resident and which are streamed, for people and machines.

use std::time::Duration;

use bantam::archive::ModelFiles;
use bantam::bench::Forecast;
use bantam::codec::Precision;
use bantam::gpu::Transcoded;
use bantam::model::{Model, Precisions};
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
        "embedding_on_host": plan.embedding_on_host,
        "layers": plan.layers(),
        "streamed_layers": plan.streamed_layers(),
        "output_parts": plan.streamed_output().1,
        "streamed_output_parts": plan.streamed_output().0,
        "layout": plan.transcoded.map_or("dense", Transcoded::name),
        "decoded_on_the_way": plan.decodes(),
        "stages": plan.stages.len(),
        "streamed_stages": plan.streamed.len(),
        "resident_stage_bytes": plan.resident,
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
            "{}{budget} of device memory; the minimum is {} ({} bytes)",
            megabytes(plan.total),
            megabytes(plan.minimum),
            plan.minimum
        ),
        format!("  {} for {}", megabytes(plan.fixed), apart(plan)),
        format!("  {} for a session, or for loading", megabytes(plan.working_set)),
    ];
    let (stay, of) = (plan.stages.len() - plan.streamed.len(), plan.stages.len());
    if plan.is_resident() {
        lines.push(format!("  {} for {} layers: none is streamed", megabytes(plan.resident), plan.layers()));
    } else {
        lines.push(format!("  {} for the {stay} of {of} stages that stay", megabytes(plan.resident)));
        lines.push(format!(
            "  {} for {} slots of {}, through which {} are streamed{}",
            megabytes(plan.ring),
            plan.slots,
            megabytes(plan.slot_bytes),
            streamed(plan),
            if plan.decodes() { ", decoded on the way" } else { "" },
        ));
        lines.push(format!("Each token moves {}", megabytes(plan.bytes_a_pass)));
    }
    lines.join("\n")
}

/// A forecast in a few lines.
pub fn forecast_words(forecast: &Forecast) -> String {
    let milliseconds = |seconds: f64| format!("{:.1} ms", 1e3 * seconds);
    let computing = format!("computing takes about {}", milliseconds(forecast.computing_seconds));
    let both = match forecast.read_gb_per_s {
        None => computing,
        Some(rate) => {
            format!(
                "{} takes about {} at {rate:.2} GB/s of the file, {computing}",
                if forecast.decoded { "reading and decoding" } else { "reading" },
                milliseconds(forecast.reading_seconds)
            )
        }
    };
    format!(
        "Expected: at most {:.3} tokens/s, estimated from products with a few matrices. For each token, {both}",
        forecast.tokens_per_s
    )
}

/// The resident weights that belong to no stage.
fn apart(plan: &Plan) -> &'static str {
    match plan.embedding_on_host {
        true => "the last norm, and rows of the embedding, which are decoded on the host",
        false => "embedding, output matrix and last norm",
    }
}

/// The layers and parts of the output matrix that are streamed.
fn streamed(plan: &Plan) -> String {
    let layers = plan.streamed_layers();
    let of_layers = (!layers.is_empty()).then(|| format!("layers {}", runs(&layers)));
    let of_output = match plan.streamed_output() {
        (0, _) => None,
        (count, all) if count == all => Some("the output matrix".into()),
        (count, all) => Some(format!("{count} of {all} parts of the output matrix")),
    };
    of_layers.into_iter().chain(of_output).collect::<Vec<_>>().join(" and ")
}

/// The precision of a model's matrices, in words.
pub fn precision_words(precisions: &Precisions, files: &ModelFiles) -> String {
    let counts = precision_counts(precisions, files);
    let words = counts.into_iter().map(|(precision, count)| format!("{count} {}", precision_name(precision)));
    let rounded = files.weights().filter(|weight| weight.lossy().is_some()).count();
    let lossy = match rounded {
        0 => String::new(),
        _ => format!("; {rounded} were rounded when the file was made (lossy)"),
    };
    format!("Precision: {} of all matrices{lossy}", words.collect::<Vec<_>>().join(", "))
}

/// The precision of a model's matrices, as JSON.
pub fn precision_json(precisions: &Precisions, files: &ModelFiles) -> Value {
    let counts = precision_counts(precisions, files);
    counts.into_iter().map(|(precision, count)| (precision_name(precision), json!(count))).collect()
}

fn precision_counts(precisions: &Precisions, files: &ModelFiles) -> Vec<(Precision, usize)> {
    let matrices = files.weights().filter(|weight| weight.shape.len() == 2);
    precisions.counts(matrices.map(|weight| weight.name))
}

fn precision_name(precision: Precision) -> String {
    match precision {
        Precision::Lossless => "lossless".into(),
        Precision::Mantissa(bits) => format!("k{bits}"),
    }
}

/// Ascending numbers in a few words: `0-3, 5`.
fn runs(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        _ => run[0].to_string(),
    });
    runs.collect::<Vec<_>>().join(", ")
}

/// The cost of streaming in `elapsed`, with the plan, as JSON; null if there was no budget.
pub fn stats_json(model: &Model, elapsed: Duration) -> Value {
    let stats = model.stream_stats();
    model.residency().map_or(Value::Null, |plan| {
        json!({
            "plan": plan_json(plan),
            "bytes_moved": stats.bytes_moved,
            "stages_moved": stats.stages_moved,
            "reading_seconds": stats.reading.as_secs_f64(),
            "stalled_seconds": stats.stalled.as_secs_f64(),
            "stall_share": share(stats.stalled, elapsed),
            "overlap": stats.overlap(),
        })
    })
}

/// The same, in a line.
pub fn stats_words(model: &Model, elapsed: Duration) -> String {
    let stats = model.stream_stats();
    match model.residency() {
        None => "no budget: all weights stayed in device memory".into(),
        Some(plan) if plan.is_resident() => "all weights fit: none were streamed".into(),
        Some(plan) => format!(
            "{} of {} stages streamed through {} slots of {}: {} {} in {:.2} s, the device waited {:.2} s \
             ({:.1} % of the time), overlap {:.0} %",
            plan.streamed.len(),
            plan.stages.len(),
            plan.slots,
            megabytes(plan.slot_bytes),
            megabytes(stats.bytes_moved),
            if plan.decodes() { "read and decoded on the way" } else { "moved" },
            stats.reading.as_secs_f64(),
            stats.stalled.as_secs_f64(),
            100.0 * share(stats.stalled, elapsed),
            100.0 * stats.overlap(),
        ),
    }
}

fn share(part: Duration, of: Duration) -> f64 {
    part.as_secs_f64() / of.as_secs_f64().max(1e-9)
}
