//! Models that may have been made from one another, found by a fixed number of look-ups.
//!
//! A model has sixteen *bands*: four digits each of the sketches of its largest tensors. Models that were made from one
//! another share some of them; others share one by an accident of 1 in 16 million. Neither names nor the order of tensors
//! of different sizes matter.

use std::collections::HashMap;

use super::error::StoreError;
use super::objects::Objects;
use super::sketch::Sketch;

const KIN: &str = "kin";

/// Bands of a model, and most tensors that they are of.
pub(super) const BANDS: usize = 16;

/// Digits of a band.
const DIGITS: usize = 4;

/// A tensor's size, name and sketch.
pub(super) type Look<'a> = (u64, &'a str, &'a Sketch);

/// The largest of a model's tensors; of those that are equally large, the first by name.
pub(super) fn largest(mut looks: Vec<Look>, count: usize) -> Vec<Look> {
    looks.sort_by(|a, b| (std::cmp::Reverse(a.0), a.1).cmp(&(std::cmp::Reverse(b.0), b.1)));
    looks.truncate(count);
    looks
}

/// The names of a model's bands: hashes of what they are.
pub(super) fn bands(looks: Vec<Look>) -> Vec<String> {
    let looks = largest(looks, BANDS);
    let band = |i: usize| {
        let tensor = i % looks.len();
        let digits = looks[tensor].2.digits(i * DIGITS, DIGITS)?;
        let hash = blake3::hash(format!("{i} {tensor} {digits}").as_bytes());
        Some(hash.to_hex()[..16].to_string())
    };
    (0..if looks.is_empty() { 0 } else { BANDS }).filter_map(band).collect()
}

fn folder_of(band: &str) -> String {
    format!("{KIN}/{}", &band[..2])
}

/// Records that a manifest has these bands.
pub(super) fn record(objects: &Objects, bands: &[String], manifest: &str) -> Result<(), StoreError> {
    for band in bands {
        objects.create(&format!("{}/{band}-{manifest}", folder_of(band)), b"")?;
    }
    Ok(())
}

/// Manifests that share bands, those with the most first; each band is one look-up.
pub(super) fn find(objects: &Objects, bands: &[String]) -> Result<Vec<String>, StoreError> {
    let mut shared: HashMap<String, usize> = HashMap::new();
    for band in bands {
        let prefix = format!("{}/{band}-", folder_of(band));
        for name in objects.list(&folder_of(band))? {
            if let Some(manifest) = name.strip_prefix(&prefix) {
                *shared.entry(manifest.into()).or_default() += 1;
            }
        }
    }
    let mut found: Vec<(usize, String)> = shared.into_iter().map(|(name, count)| (count, name)).collect();
    found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    Ok(found.into_iter().map(|(_, name)| name).collect())
}
