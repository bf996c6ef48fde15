//! Prints sizes and ratios, as JSON and for people.

use std::time::Duration;

use bantam::archive::{Coding, FileReport, Lossy, Report, TensorReport};
use serde_json::{Value, json};

/// The JSON object of `compress`, `decompress` and `inspect`. A ratio is the compressed size
/// divided by the original one.
pub fn report_json(report: &Report, time: Duration) -> Value {
    let (original, compressed) = (report.original_bytes(), report.compressed_bytes());
    let (quantized, quantized_bytes) = report.quantized();
    json!({
        "output": report.output.display().to_string(),
        "original_bytes": original,
        "compressed_bytes": compressed,
        "ratio": ratio(original, compressed),
        "seconds": time.as_secs_f64(),
        "finished_before": report.finished,
        "quantized": { "tensors": quantized, "bytes": quantized_bytes },
        "lossy": report.rounded().map(|(lossy, tensors, bytes)| {
            let mut rounded = lossy_json(lossy);
            rounded["tensors"] = tensors.into();
            rounded["bytes"] = bytes.into();
            rounded
        }),
        "larger": report.larger().map(|file| file.source.display().to_string()).collect::<Vec<_>>(),
        "left_out": report.left_out.iter().map(|p| p.display().to_string()).collect::<Vec<_>>(),
        "tensors": report.files.iter().flat_map(|f| &f.tensors).map(tensor_json).collect::<Vec<_>>(),
    })
}

fn tensor_json(tensor: &TensorReport) -> Value {
    json!({
        "name": tensor.name,
        "dtype": tensor.type_name(),
        "shape": tensor.weight_shape(),
        "original_bytes": tensor.original_bytes,
        "compressed_bytes": tensor.stored_bytes,
        "bits_per_weight": tensor.bits_per_weight(),
        "ratio": tensor.ratio(),
    })
}

/// How weights were rounded, as JSON.
pub fn lossy_json(lossy: Lossy) -> Value {
    json!({ "mantissa": lossy.mantissa_bits(), "block": lossy.block() })
}

/// A remark about the tensors that [`Report::rounded`] returns.
pub fn rounded((lossy, tensors, bytes): (Lossy, usize, u64)) -> String {
    let size = megabytes(bytes);
    format!(
        "lossy: {tensors} tensors ({size}) were rounded to {lossy}; the original cannot be restored from this"
    )
}

/// A remark about a file that [is larger](FileReport::is_larger) in compressed form.
pub fn larger(file: &FileReport) -> String {
    let more = megabytes(file.compressed_bytes - file.original_bytes);
    let change = change(file.original_bytes, file.compressed_bytes);
    let (source, tensors) = (file.source.display(), file.tensors.len());
    format!(
        "{source}: the output is {more} larger than the input ({change}): compressing its {tensors} tensors saves less \
         than their heads and index entries add, 256 bytes or more each; keep the original, or join small tensors"
    )
}

/// How a tensor is stored, as JSON.
pub fn coding_json(coding: &Coding) -> Value {
    match coding {
        Coding::Plain => json!({ "kind": "plain" }),
        Coding::Raw { head_bytes } => json!({ "kind": "raw", "head_bytes": head_bytes }),
        Coding::Constant => json!({ "kind": "constant" }),
        Coding::Delta { changed_rows, head_bytes, coded_bytes } => json!({
            "kind": "delta",
            "changed_rows": changed_rows,
            "head_bytes": head_bytes,
            "coded_bytes": coded_bytes,
        }),
        Coding::Tiled {
            top_bits,
            low_bits,
            clean_bits,
            row_shifts,
            symbols,
            tiles,
            tile_cols,
            head_bytes,
            coded_bytes,
            planes,
            lossy,
        } => json!({
            "kind": "tiled",
            "t": top_bits,
            "b": low_bits,
            "clean_bits": clean_bits,
            "row_shifts": row_shifts,
            "symbols": symbols,
            "tiles": tiles,
            "tile_cols": tile_cols,
            "head_bytes": head_bytes,
            "coded_bytes": coded_bytes,
            "plane_widths": planes.iter().map(|(width, _)| width).collect::<Vec<_>>(),
            "plane_bytes": planes.iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(),
            "lossy": lossy.map(lossy_json),
        }),
    }
}

/// How a tensor is stored, in a few words.
pub fn coding_words(coding: &Coding) -> String {
    match coding {
        Coding::Plain => "not compressed".into(),
        Coding::Raw { .. } => "raw".into(),
        Coding::Constant => "constant".into(),
        Coding::Delta { changed_rows: 0, .. } => "equal to the base's".into(),
        Coding::Delta { changed_rows, .. } => format!("difference to the base's in {changed_rows} rows"),
        Coding::Tiled { top_bits, low_bits, clean_bits, row_shifts, tiles, planes, lossy, .. } => {
            let widths: Vec<String> = planes.iter().map(|(width, _)| width.to_string()).collect();
            let low = if *low_bits > 0 { format!(" b={low_bits}") } else { String::new() };
            let clean = if *clean_bits > 0 { format!(" clean={clean_bits}") } else { String::new() };
            let shifts = if *row_shifts { " shifted" } else { "" };
            let lossy = lossy.map_or(String::new(), |lossy| format!("lossy {lossy}: "));
            format!("{lossy}t={top_bits}{low}{clean}{shifts} planes {} in {tiles} tiles", widths.join("+"))
        }
    }
}

/// Compressed bytes for each original byte.
pub fn ratio(original: u64, compressed: u64) -> Option<f64> {
    (original > 0).then(|| compressed as f64 / original as f64)
}

/// `269.1 MB`.
pub fn megabytes(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..10_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// Parses a number of bytes as people write it: `2GiB`, `1.5 GB`, `4096`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err("write a number and a unit: B, KB, MB, GB, KiB, MiB or GiB".into()),
    };
    let bytes = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(unit),
        Err(_) => number.parse::<f64>().ok().map(|n| (n * unit as f64) as u64),
    };
    match bytes {
        Some(0) => Err("it must be more than 0".into()),
        Some(bytes) => Ok(bytes),
        None => Err("not a number of bytes".into()),
    }
}

/// `269.1 MB -> 178.9 MB (66.5 %)`.
pub fn change(original: u64, compressed: u64) -> String {
    let percent = ratio(original, compressed).map_or(String::new(), |r| format!(" ({:.2} %)", 100.0 * r));
    format!("{} -> {}{percent}", megabytes(original), megabytes(compressed))
}

/// ` in 0.52 s, 515 MB/s`.
pub fn speed(bytes: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    format!(" in {seconds:.2} s, {:.0} MB/s", bytes as f64 / 1e6 / seconds.max(1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let sizes = [("4096", 4096), ("2GiB", 2 << 30), ("1.5 gb", 1_500_000_000), ("500MB", 500_000_000)];
        for (text, bytes) in sizes {
            assert_eq!(parse_bytes(text), Ok(bytes));
        }
        for text in ["", "GiB", "0", "-1", "2XB", "1.2.3"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
