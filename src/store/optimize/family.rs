//! A family: models that look alike, and what each would cost as the difference to another one.

use std::collections::{HashMap, HashSet};

use super::centers::{self, Costs};
use super::values::Values;
use crate::archive::Progress;
use crate::store::bases::Bases;
use crate::store::error::StoreError;
use crate::store::kin;
use crate::store::manifest::{Manifest, ManifestTensor, PieceId};
use crate::store::store::Store;
use crate::store::survey::Survey;

/// Tensors of a model that are sampled, the largest.
const SAMPLED: usize = 8;

/// Most members of a family that may be bases: each is compared with all.
const CANDIDATES: usize = 64;

/// A model of a family.
struct Member {
    bases: Bases,
    /// Its largest tensors.
    tensors: Vec<ManifestTensor>,
}

/// Models that look alike.
pub(super) struct Family {
    members: Vec<Member>,
    /// Values of the first pieces of their largest tensors.
    values: HashMap<String, Option<Values>>,
    /// Predicted bytes of members as differences: of each, those to all that may be bases.
    differences: HashMap<(usize, usize), f64>,
}

impl Family {
    /// Samples the members of a family.
    pub fn read(store: &Store, manifests: &[&Manifest], progress: &dyn Progress) -> Result<Self, StoreError> {
        let mut family = Self { members: Vec::new(), values: HashMap::new(), differences: HashMap::new() };
        for manifest in manifests {
            let tensors = largest(manifest);
            for tensor in &tensors {
                family.sample(store, tensor, progress)?;
            }
            family.members.push(Member { bases: Bases::of(manifest), tensors });
        }
        Ok(family)
    }

    fn sample(
        &mut self,
        store: &Store,
        tensor: &ManifestTensor,
        progress: &dyn Progress,
    ) -> Result<(), StoreError> {
        let Some(piece) = tensor.pieces.first() else { return Ok(()) };
        if progress.cancelled() {
            return Err(StoreError::Cancelled);
        }
        if !self.values.contains_key(&piece.blake3) {
            let data = store.read_piece(piece)?;
            self.values.insert(piece.blake3.clone(), Values::of(tensor.dtype, &data));
        }
        progress.advance(piece.bytes);
        Ok(())
    }

    /// The base of each member, itself if it is to be stored alone; and whether these are others than the store has, and
    /// worth it.
    pub fn bases(&mut self, survey: &Survey) -> Result<(Vec<usize>, bool), StoreError> {
        let now = self.present_bases(survey)?;
        let candidates = candidates(&now);
        for (member, present) in now.iter().enumerate() {
            for &base in candidates.iter().chain([present]) {
                let cost = self.predict(member, base);
                self.differences.insert((member, base), cost);
            }
        }
        let best = centers::choose(self, &candidates);
        let is_worth = centers::is_worth(self, &now, &best);
        Ok((if is_worth { best } else { now }, is_worth))
    }

    /// The bases that the store has: of each member, where its largest tensor has its base.
    fn present_bases(&self, survey: &Survey) -> Result<Vec<usize>, StoreError> {
        let mut owners: HashMap<&str, usize> = HashMap::new();
        for (number, member) in self.members.iter().enumerate() {
            for piece in member.tensors.iter().flat_map(|tensor| &tensor.pieces) {
                owners.entry(&piece.blake3).or_insert(number);
            }
        }
        let base_of = |member: &Member| -> Result<Option<usize>, StoreError> {
            for piece in member.tensors.iter().filter_map(|tensor| tensor.pieces.first()) {
                let shortest = survey.shortest(&piece.hash()?);
                if let Some(base) = shortest.and_then(|place| place.base) {
                    return Ok(owners.get(base.to_hex().as_str()).copied());
                }
            }
            Ok(None)
        };
        self.members
            .iter()
            .enumerate()
            .map(|(number, member)| Ok(base_of(member)?.unwrap_or(number)))
            .collect()
    }

    fn values(&self, pieces: &[PieceId]) -> Option<&Values> {
        self.values.get(&pieces.first()?.blake3)?.as_ref()
    }

    /// Bytes of the largest tensors of a member as differences, where there is something to which they can be compared.
    fn predict(&self, member: usize, base: usize) -> f64 {
        let bases = &self.members[base].bases;
        let cost = |tensor: &ManifestTensor| {
            let pieces = bases.of_tensor(&tensor.name, tensor.dtype, &tensor.shape, tensor.sketch.as_ref());
            let same = pieces.is_some_and(|pieces| pieces.first() == tensor.pieces.first());
            let values = self.values(&tensor.pieces);
            let of_base = pieces.and_then(|pieces| self.values(pieces));
            let bits = values.zip(of_base).and_then(|(values, of_base)| values.difference_bits(of_base));
            match bits {
                _ if same => 0.0,
                Some(bits) => scaled(tensor, bits).min(self.alone_bytes(tensor)),
                None => self.alone_bytes(tensor),
            }
        };
        self.members[member].tensors.iter().map(cost).sum()
    }

    fn alone_bytes(&self, tensor: &ManifestTensor) -> f64 {
        let bits = self.values(&tensor.pieces).map_or(tensor.dtype.bitsize() as f64, Values::alone_bits);
        scaled(tensor, bits)
    }
}

impl Costs for Family {
    fn members(&self) -> usize {
        self.members.len()
    }

    fn alone(&self, member: usize) -> f64 {
        self.members[member].tensors.iter().map(|tensor| self.alone_bytes(tensor)).sum()
    }

    fn difference(&self, member: usize, base: usize) -> f64 {
        self.differences.get(&(member, base)).copied().unwrap_or(f64::INFINITY)
    }
}

/// Bytes of a tensor whose elements have so many bits.
fn scaled(tensor: &ManifestTensor, bits: f64) -> f64 {
    let bytes: u64 = tensor.pieces.iter().map(|piece| piece.bytes).sum();
    bytes as f64 * bits / tensor.dtype.bitsize() as f64
}

/// The largest tensors that have a sketch.
fn largest(manifest: &Manifest) -> Vec<ManifestTensor> {
    let largest = kin::largest(manifest.looks(), SAMPLED);
    let names: HashSet<&str> = largest.iter().map(|look| look.1).collect();
    manifest
        .tensors()
        .filter(|tensor| tensor.sketch.is_some() && names.contains(&tensor.name[..]))
        .cloned()
        .collect()
}

/// Bytes of what is read to sample a model.
pub(super) fn sampled_bytes(manifest: &Manifest) -> u64 {
    largest(manifest).iter().filter_map(|tensor| tensor.pieces.first()).map(|piece| piece.bytes).sum()
}

/// Members that may be bases: those that are, and others evenly.
fn candidates(now: &[usize]) -> Vec<usize> {
    let mut candidates: Vec<usize> = (0..now.len())
        .filter(|number| now.iter().enumerate().any(|(member, base)| member != *number && base == number))
        .collect();
    candidates.truncate(CANDIDATES / 2);
    let apart = now.len().div_ceil(CANDIDATES / 2).max(1);
    candidates.extend((0..now.len()).step_by(apart));
    candidates.sort_unstable();
    candidates.dedup();
    candidates
}
