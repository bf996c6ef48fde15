//! Prints measurements as tables that are also Markdown.

use std::fmt::Write;

use bantam::bench::{
    Calibration, CopyFigure, DecodeFigure, FirstCall, Machine, ModelFigures, Outcome, ProductCase,
};

use crate::cli::sizes::megabytes;

pub fn machine(machine: &Machine) -> String {
    let Machine { adapter, backend, driver, driver_info, os, arch, cpus, .. } = machine;
    format!("{adapter} ({backend}), {driver} {driver_info}; {os} {arch}, {cpus} CPUs")
}

pub fn first_calls(calls: &[FirstCall]) -> String {
    let row =
        |c: &FirstCall| [c.kernel.into(), c.form.into(), time(c.seconds), time(c.second_seconds)].to_vec();
    table("First calls", &["kernel", "weights", "first call", "second"], calls.iter().map(row))
}

pub fn copy(figure: &CopyFigure) -> String {
    let row = [megabytes(figure.bytes), time(figure.timing.seconds), format!("{:.2}", figure.gb_per_s)];
    table("Copying from buffer to buffer", &["size", "time", "GB/s"], [row.to_vec()])
}

pub fn decode(figures: &[DecodeFigure]) -> String {
    let row = |f: &DecodeFigure| {
        let (shape, bits) = (format!("{} x {}", f.rows, f.cols), format!("{:.2}", f.bits_per_weight));
        vec![f.dtype.clone(), shape, bits, time(f.timing.seconds), format!("{:.2}", f.gb_per_s)]
    };
    table("Decoding", &["type", "shape", "bits", "time", "GB/s written"], figures.iter().map(row))
}

pub fn matvec(cases: &[ProductCase]) -> String {
    let header = ["shape", "weights", "bits", "time", "GB/s read", "GB/s of BF16", "x raw"];
    table("Matrix times vector", &header, cases.iter().flat_map(|case| product(case, None)))
}

pub fn matmul(cases: &[ProductCase]) -> String {
    let header = ["shape", "batch", "weights", "bits", "time", "GFLOP/s", "x raw"];
    table("Matrix times batch", &header, cases.iter().flat_map(|case| product(case, Some(case.tokens))))
}

pub fn calibration(calibration: &Calibration) -> String {
    let row = |t: &bantam::bench::Trial| {
        let remark = match (t.chosen, t.same_bits) {
            (true, _) => "chosen",
            (_, true) => "",
            (_, false) => "different bits",
        };
        let [tokens, count] = [t.tokens.to_string(), t.invocations.to_string()];
        let ratio = format!("{:.3}", t.ratio);
        vec![t.kernel.into(), t.form.into(), tokens, count, time(t.timing.seconds), ratio, remark.into()]
    };
    let header = ["kernel", "weights", "tokens", "invocations", "time", "of default", ""];
    table("Invocations for 64 rows of a matrix", &header, calibration.trials.iter().map(row))
}

/// The rows of a matrix: one for each form, or one that says why there is none.
fn product(case: &ProductCase, batch: Option<usize>) -> Vec<Vec<String>> {
    let first = || [Some(format!("{} x {}", case.rows, case.cols)), batch.map(|b| b.to_string())];
    let figures = match &case.outcome {
        Outcome::Skipped(why) => return vec![first().into_iter().flatten().chain([why.clone()]).collect()],
        Outcome::Measured(figures) => figures,
    };
    let row = |f: &bantam::bench::ProductFigure| {
        let mut cells: Vec<String> = first().into_iter().flatten().collect();
        cells.extend([f.form.into(), format!("{:.2}", f.bits_per_weight), time(f.timing.seconds)]);
        match batch {
            None => cells.extend([f.gb_per_s, f.original_gb_per_s].map(|rate| format!("{rate:.2}"))),
            Some(_) => cells.push(format!("{:.1}", f.gflop_per_s)),
        }
        cells.push(format!("{:.3}", f.ratio));
        cells
    };
    figures.iter().map(row).collect()
}

pub fn model(model: &ModelFigures) -> String {
    let kind = if model.synthetic { ", random weights" } else { "" };
    let title = format!(
        "Model {}{kind}, {} of weights: a prompt of {} tokens, then up to {} one by one",
        model.name,
        megabytes(model.original_bytes),
        model.prompt,
        model.generated
    );
    let header = [
        "weights",
        "on the device",
        "dispatches a token",
        "load",
        "first time",
        "prompt tokens/s",
        "x raw",
        "tokens/s",
        "x raw",
    ];
    let row = |of: &bantam::bench::FormOfModel| match &of.outcome {
        Outcome::Skipped(why) => vec![of.form.into(), why.clone()],
        Outcome::Measured(f) => {
            let ratio = |ratio: Option<f64>| ratio.map_or("-".into(), |ratio| format!("{ratio:.3}"));
            vec![
                of.form.into(),
                megabytes(f.device_bytes),
                f.dispatches_a_token.to_string(),
                time(f.load_seconds),
                time(f.first_seconds),
                format!("{:.2}", f.prefill_tokens_per_s),
                ratio(f.prefill_ratio),
                format!("{:.2}", f.tokens_per_s),
                ratio(f.ratio),
            ]
        }
    };
    table(&title, &header, model.forms.iter().map(row))
}

/// `12.3 ms`.
fn time(seconds: f64) -> String {
    match seconds {
        1.0.. => format!("{seconds:.2} s"),
        1e-3.. => format!("{:.2} ms", seconds * 1e3),
        _ => format!("{:.1} us", seconds * 1e6),
    }
}

/// A title and a table with padded columns. The last cell of a short row says why the row is short.
fn table(title: &str, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let header: Vec<String> = header.iter().map(|cell| cell.to_string()).collect();
    let columns = header.len();
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| {
        let full = rows.iter().filter(|row| row.len() == columns);
        full.map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = format!("\n**{title}**\n");
    for (i, row) in rows.iter().enumerate() {
        text.push('\n');
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push('|');
        if i == 0 {
            let rule: String = widths.iter().map(|width| format!("|{}", "-".repeat(width + 2))).collect();
            let _ = write!(text, "\n{rule}|");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_reasons_may_be_longer() {
        let rows = [vec!["1".into(), "22222".into()], vec!["a long reason".into()]];
        let text = table("T", &["a", "b"], rows);
        assert_eq!(text, "\n**T**\n\n| a | b     |\n|---|-------|\n| 1 | 22222 |\n| a long reason |");
    }
}
