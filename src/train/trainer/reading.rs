//! What is trained, read from the device.

use super::Trainer;
use crate::gpu::{Batch, Buffer, Dispatch, download};
use crate::train::error::TrainError;
use crate::train::weights::{Piece, Stored, TrainedMatrix, TrainedVector};

impl Trainer {
    /// The names and shapes of all tensors, in the order of their names.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let mut all = crate::model::tensor_shapes(&self.config);
        all.sort();
        all
    }

    /// The names and shapes of what is trained, in the order of their names: all tensors, or the factors of adapters.
    pub fn trained(&self) -> Vec<(String, Vec<usize>)> {
        let Some((adapters, _)) = &self.adapters else { return self.tensors() };
        let mut all: Vec<_> =
            adapters.factors().map(|factor| (factor.name.clone(), factor.shape.clone())).collect();
        all.sort();
        all
    }

    /// The bytes of a trained tensor, row-major: BF16, or F32 if it is a factor of an adapter.
    pub async fn read_bytes(&self, name: &str) -> Result<Vec<u8>, TrainError> {
        self.require_whole()?;
        if let Some(factor) = self.factor(name) {
            return Ok(download(&self.gpu, &factor.weights, 4 * factor.len as u64).await?);
        }
        let bits = self.read(name).await?.ok_or(TrainError::Internal("there is no such tensor"))?;
        Ok(bits.iter().flat_map(|bits| bits.to_le_bytes()).collect())
    }

    /// A factor of an adapter.
    pub(in crate::train) fn factor(&self, name: &str) -> Option<&TrainedVector> {
        self.adapters.as_ref()?.0.factors().find(|factor| factor.name == name)
    }

    /// The bits of a tensor's weights, BF16, row-major; `None` if there is no such tensor.
    pub async fn read(&self, name: &str) -> Result<Option<Vec<u16>>, TrainError> {
        if let Some(vector) = self.model.vectors().find(|vector| vector.name == name) {
            return Ok(Some(vector.read(&self.gpu).await?));
        }
        let Some(matrix) = self.model.matrices().find(|matrix| matrix.name == name) else { return Ok(None) };
        let mut bits = Vec::new();
        for piece in &matrix.pieces {
            bits.extend(self.bits_of(matrix, piece, &piece.stored).await?);
        }
        Ok(Some(bits))
    }

    /// BF16 numbers that are stored as the weights of a piece are, row-major.
    pub(in crate::train) async fn bits_of(
        &self,
        matrix: &TrainedMatrix,
        piece: &Piece,
        stored: &Stored,
    ) -> Result<Vec<u16>, TrainError> {
        let bytes = self.wide_bytes(stored, matrix.wide_bytes(piece)).await?;
        Ok(matrix.bits_in(piece, &bytes))
    }

    /// The uncompressed words of what is stored as weights are.
    async fn wide_bytes(&self, stored: &Stored, len: u64) -> Result<Vec<u8>, TrainError> {
        let encoded = match (stored, &self.room.wide) {
            (Stored::Raw(words) | Stored::Copied(words), _) => {
                return Ok(download(&self.gpu, words, len).await?);
            }
            (Stored::Encoded(encoded), Some(wide)) => (encoded, wide),
            (_, None) => return Err(TrainError::Internal("there is no room for uncompressed weights")),
        };
        let (encoded, wide) = encoded;
        let part = Buffer::part_of(&wide.buffer, 0..len);
        let dispatch = encoded.widen(&self.gpu, (&part).into())?;
        self.gpu.submit("widen", |encoder| {
            Dispatch::record_all(encoder, [&dispatch], Batch { tokens: 1, outputs: 1 });
        })?;
        Ok(download(&self.gpu, &part, len).await?)
    }

    /// A hash of the bytes of all that is trained, in the order of names.
    pub async fn weights_blake3(&self) -> Result<blake3::Hash, TrainError> {
        let mut hasher = blake3::Hasher::new();
        for (name, _) in self.trained() {
            hasher.update(&self.read_bytes(&name).await?);
        }
        Ok(hasher.finalize())
    }
}
