//! Models that look alike, among all.

use std::collections::{BTreeMap, HashMap};

use crate::store::bases::ALIKE;
use crate::store::kin;
use crate::store::linked::Linked;
use crate::store::manifest::Manifest;
use crate::store::sketch::Sketch;

/// What a model looks like.
#[derive(Debug)]
pub(super) struct Looks {
    /// Sizes and sketches of the tensors that have the bands.
    tensors: Vec<(u64, Sketch)>,
    bands: Vec<String>,
}

impl Looks {
    pub fn of(manifest: &Manifest) -> Self {
        let looks = kin::largest(manifest.looks(), kin::BANDS);
        let tensors = looks.iter().map(|(size, _, sketch)| (*size, (*sketch).clone())).collect();
        Self { tensors, bands: kin::bands(looks) }
    }

    /// Whether most of it looks like something of the other.
    fn is_like(&self, other: &Self) -> bool {
        let is_found =
            |sketch: &Sketch| other.tensors.iter().any(|(_, of_other)| of_other.agreement(sketch) >= ALIKE);
        let all: u64 = self.tensors.iter().map(|(size, _)| size).sum();
        let found = self.tensors.iter().filter(|(_, sketch)| is_found(sketch)).map(|(size, _)| size);
        found.sum::<u64>() * 2 > all
    }
}

/// The families of models, by their numbers, of those that have more than one member: whatever is linked by models that
/// share a band and look alike.
pub(super) fn families(models: &[Looks]) -> Vec<Vec<usize>> {
    let mut linked = Linked::new(models.len());
    let mut with_band: HashMap<&str, Vec<usize>> = HashMap::new();
    for (number, looks) in models.iter().enumerate() {
        for band in &looks.bands {
            let others = with_band.entry(band).or_default();
            for &other in &*others {
                // Strangers share a band by accident.
                if linked.first_of(other) != linked.first_of(number) && looks.is_like(&models[other]) {
                    linked.link(other, number);
                }
            }
            others.push(number);
        }
    }
    let mut families: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for number in 0..models.len() {
        families.entry(linked.first_of(number)).or_default().push(number);
    }
    families.into_values().filter(|members| members.len() > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(digits: &str, bands: &[&str]) -> Looks {
        let sketch = serde_json::from_value(digits.into()).unwrap();
        Looks { tensors: vec![(100, sketch)], bands: bands.iter().map(|&band| band.into()).collect() }
    }

    #[test]
    fn families_are_linked_by_models_that_look_alike() {
        let [one, near, far] = [("a", 64), ("a", 40), ("a", 8)].map(|(digit, count)| {
            let digits = digit.repeat(count) + &"b".repeat(64 - count);
            looks(&digits, &["first", &format!("of {count}")])
        });
        // By accident it has a band of the others.
        let stranger = looks(&"c".repeat(64), &["first", "of 40"]);
        assert_eq!(families(&[stranger, one, far, near]), [vec![1, 2, 3]]);
        assert!(families(&[]).is_empty());
        assert!(families(&[looks(&"-".repeat(64), &[]), looks(&"-".repeat(64), &[])]).is_empty());
    }
}
