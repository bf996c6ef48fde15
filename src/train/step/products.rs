//! Products of two buffers.

use super::Recording;
use super::ops::Ops;
use crate::codec::grid::LANES;
use crate::gpu::Buffer;
use crate::gpu::kernels::training::multiply::{self, Factors, Multiply};
use crate::train::TrainError;

impl Recording<'_> {
    /// A product, some of its rows at a time where all of them are too much for a submission. Where there are textures
    /// for factors, they are copied there first.
    pub(super) fn multiply(
        &self,
        ops: &mut Ops,
        product: &Multiply,
        accumulate: bool,
        [a, b, c]: [&Buffer; 3],
    ) -> Result<(), TrainError> {
        let factors = match &self.activations.factors {
            Some([to_a, to_b]) if product.suits_textures() => {
                ops.copy_to_texture(a, to_a);
                ops.copy_to_texture(b, to_b);
                Factors::Textures([to_a, to_b])
            }
            _ => Factors::Buffers([a, b]),
        };
        for some in self.in_submissions(product) {
            ops.push(multiply::dispatch(self.gpu, &some, accumulate, factors, c)?);
        }
        Ok(())
    }

    /// The product, cut between rows so that each part fits a submission, if it has no causal zeros.
    fn in_submissions(&self, product: &Multiply) -> Vec<Multiply> {
        let [rows, cols, depth] = product.size;
        if product.products != [1, 1] {
            return vec![*product];
        }
        let of_row = cols as u64 * depth as u64;
        let most = (self.gpu.submission_work() / of_row.max(1)) as usize;
        let each = (most / LANES * LANES).max(LANES);
        let from = |first| {
            let [a, b, c] = product.operands;
            let operands = [a.from_row(first), b, c.from_row(first)];
            Multiply { size: [each.min(rows - first), cols, depth], operands, ..*product }
        };
        (0..rows).step_by(each).map(from).collect()
    }
}
