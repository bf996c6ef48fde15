//! What is to be stored in another way than it is.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::store::bases::Bases;
use crate::store::error::StoreError;
use crate::store::index::Place;
use crate::store::manifest::{Manifest, ManifestTensor, PieceId};
use crate::store::piece::parts;
use crate::store::survey::Survey;
use crate::tensor::Dtype;

/// A piece, and what it is to be the difference to.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub id: PieceId,
    pub base: blake3::Hash,
    /// The base's piece.
    pub base_id: PieceId,
    pub base_shape: Vec<usize>,
    /// Whether the store is to be changed for it.
    pub is_new: bool,
}

/// Adds the pieces of a family's members that are to be differences to those of other members.
pub(super) fn want(
    wanted: &mut HashMap<blake3::Hash, Wanted>,
    manifests: &[&Manifest],
    bases: &[usize],
    is_new: bool,
) -> Result<(), StoreError> {
    let of_others = bases.iter().enumerate().filter(|(member, base)| member != *base).map(|(_, base)| *base);
    for base in of_others.collect::<BTreeSet<usize>>() {
        let shapes: HashMap<&str, _> = manifests[base].tensors().flat_map(pieces_of).collect();
        let of_base = Bases::of(manifests[base]);
        let compared = (0..bases.len()).filter(|&member| member != base && bases[member] == base);
        for tensor in compared.flat_map(|member| manifests[member].tensors()) {
            let sketch = tensor.sketch.as_ref();
            let found =
                of_base.of_tensor(&tensor.name, tensor.dtype, &tensor.shape, sketch).unwrap_or_default();
            for ((id, (_, shape)), base_id) in tensor.pieces.iter().zip(pieces_of(tensor)).zip(found) {
                if let Some(base_shape) = shapes.get(&base_id.blake3[..]).filter(|_| id != base_id) {
                    let (id, base_id, base_shape) = (id.clone(), base_id.clone(), base_shape.clone());
                    let (dtype, base) = (tensor.dtype, base_id.hash()?);
                    let new = Wanted { dtype, shape, base, id, base_id, base_shape, is_new };
                    wanted.entry(new.id.hash()?).or_insert(new);
                }
            }
        }
    }
    Ok(())
}

/// The hashes of a tensor's pieces, and their shapes.
fn pieces_of(tensor: &ManifestTensor) -> impl Iterator<Item = (&str, Vec<usize>)> {
    let len = tensor.pieces.iter().map(|piece| piece.bytes as usize).sum();
    let shapes = parts(tensor.dtype, &tensor.shape, len).into_iter().map(|part| part.shape);
    tensor.pieces.iter().map(|piece| &piece.blake3[..]).zip(shapes)
}

/// Packs with differences that nobody needs any more, because what was wanted is there: other ones of the same pieces, and
/// those of bases.
pub(super) fn superseded(
    survey: &Survey,
    wanted: &HashMap<blake3::Hash, Wanted>,
    done: &HashSet<blake3::Hash>,
) -> Vec<String> {
    let mut packs = HashSet::new();
    for (hash, wanted) in wanted {
        let is_wanted = |place: &Place| place.base == Some(wanted.base);
        let is_there = survey.is_kept_alone(&wanted.base) && survey.kept_copies(hash).any(is_wanted);
        // One that was done may be shorter alone.
        let is_done = is_there || done.contains(hash) && survey.is_kept_alone(hash);
        if !is_done {
            continue;
        }
        let others = survey.kept_copies(hash).filter(|place| !is_wanted(place));
        let of_base = survey.kept_copies(&wanted.base).filter(|_| is_there);
        let differences = others.chain(of_base).filter(|place| place.base.is_some());
        packs.extend(differences.map(|place| place.pack.to_string()));
    }
    let mut packs: Vec<String> = packs.into_iter().collect();
    packs.sort();
    packs
}
