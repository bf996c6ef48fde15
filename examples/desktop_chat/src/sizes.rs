//! Numbers of bytes, as people read and write them.

/// `269.1 MB`.
pub fn megabytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..10_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// A number of bytes: `1.5 GB`, `200MB`, `4096`.
pub fn parse_bytes(text: &str) -> Result<u64, &'static str> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err("write a number followed by MB or GB"),
    };
    match number.trim().parse::<f64>() {
        Ok(number) if number > 0.0 => Ok((number * unit) as u64),
        _ => Err("write a number above zero, such as 500 MB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [("4096", 4096), ("1.5 GB", 1_500_000_000), ("2MiB", 2 << 20), ("3 kb", 3000)] {
            assert_eq!(parse_bytes(text), Ok(bytes));
        }
        for text in ["", "GB", "0", "-1", "2 XB", "1.2.3"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        assert_eq!(megabytes(269_060_552), "269.1 MB");
        assert_eq!(megabytes(800), "0.8 kB");
    }
}
