//! More room for pieces that are compressed, where what a step wrote does not fit.

use super::Trainer;
use crate::gpu::GpuError;
use crate::gpu::kernels::training::encode::Needs;
use crate::tensor::Matrix;
use crate::train::error::TrainError;
use crate::train::weights::{Stored, grown};

impl Trainer {
    /// Makes more room for pieces that need it. Whether there were any.
    pub(super) fn grow(&mut self, needs: &[Needs]) -> Result<bool, TrainError> {
        let mut is_grown = false;
        for matrix in self.model.matrices_mut() {
            for piece in &mut matrix.pieces {
                let size = Matrix { rows: piece.rows.len(), cols: matrix.cols };
                let moments = piece.moments.kept_mut().iter_mut().map(|kept| (kept.number, &mut kept.stored));
                for (number, stored) in [(piece.number, &mut piece.stored)].into_iter().chain(moments) {
                    let (Stored::Encoded(encoded), Some(needs)) = (&*stored, needs.get(number)) else {
                        continue;
                    };
                    if !encoded.holds(needs) {
                        log::debug!("{}: more room for rows {:?}: {needs:?}", matrix.name, piece.rows);
                        *stored = grown(&self.gpu, &matrix.name, size, encoded, needs)?;
                        is_grown = true;
                    }
                }
            }
        }
        if is_grown {
            self.record()?;
        }
        Ok(is_grown)
    }

    /// What each piece needs, if pieces are compressed.
    pub(super) async fn needs(&mut self) -> Result<Vec<Needs>, GpuError> {
        let Some(wide) = &self.room.wide else { return Ok(Vec::new()) };
        let needs = &wide.needs;
        let all = bytemuck::pod_collect_to_vec::<u8, Needs>;
        self.readback.fetch(&self.gpu, "needs", needs, needs.size(), all).await
    }
}
