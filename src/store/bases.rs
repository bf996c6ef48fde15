//! Which tensor of a base a tensor is compared to.

use std::collections::HashMap;

use super::manifest::{Manifest, ManifestTensor, PieceId};
use super::sketch::Sketch;
use crate::tensor::Dtype;

/// How much the sketches of a tensor and its base agree, at least. Others agree by a sixty-fourth.
pub(super) const ALIKE: f64 = 0.15;

/// The tensors of a base.
#[derive(Debug, Default)]
pub(super) struct Bases {
    by_name: HashMap<String, ManifestTensor>,
}

impl Bases {
    pub fn of(manifest: &Manifest) -> Self {
        Self { by_name: manifest.tensors().map(|tensor| (tensor.name.clone(), tensor.clone())).collect() }
    }

    /// The pieces of the tensor to which this one is compared: of the same name, or, where that is not there or looks
    /// otherwise, the one that looks most alike. Types and rows must be the same, but not the number of rows.
    pub fn of_tensor(
        &self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        sketch: Option<&Sketch>,
    ) -> Option<&[PieceId]> {
        let columns = |shape: &[usize]| (shape.len(), shape.get(1..).map(<[usize]>::to_vec));
        let fits =
            |tensor: &&ManifestTensor| tensor.dtype == dtype && columns(&tensor.shape) == columns(shape);
        let named = self.by_name.get(name).filter(fits);
        let Some(sketch) = sketch else { return named.map(|tensor| &tensor.pieces[..]) };
        let agreement =
            |tensor: &ManifestTensor| tensor.sketch.as_ref().map_or(0.0, |of_base| of_base.agreement(sketch));
        let found = named.filter(|tensor| agreement(tensor) >= ALIKE).or_else(|| {
            let all = self.by_name.values().filter(fits).map(|tensor| (agreement(tensor), tensor));
            let most =
                all.max_by(|(a, of_a), (b, of_b)| a.total_cmp(b).then_with(|| of_b.name.cmp(&of_a.name)));
            most.filter(|(agreement, _)| *agreement >= ALIKE).map(|(_, tensor)| tensor)
        });
        found.map(|tensor| &tensor.pieces[..])
    }
}
