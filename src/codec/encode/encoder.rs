//! The encoder: chooses the kind of payload for a tensor.

use super::error::EncodeError;
use super::payload_memory::PayloadMemory;
use super::put::{EncodedPayload, Put, put_head};
use super::raw::{encode_raw, most_bytes, raw_payload_len};
use super::spare::Spare;
use super::tiled::encode_tiled;
use crate::codec::payload::error::CodecError;
use crate::codec::payload::fixed_part::{MAX_CONSTANT, dtype_code};
use crate::codec::payload::grid::LANES;
use crate::codec::payload::head_writer::HeadWriter;
use crate::codec::payload::lossy::Lossy;
use crate::codec::payload::split::{Split, unit_matrix};
use crate::codec::plan::choosing::{Choice, Chosen, Plan, Preset};
use crate::codec::plan::source_rows::SourceRows;
use crate::codec::plan::tensor_source::TensorSource;
use crate::tensor::{Dtype, Matrix};

/// Maximum elements of a row block that is rounded: rows of a million, or fewer that are longer.
const MOST_ROUNDED: usize = 64 << 20;

/// Encodes a tensor of `dtype` and `shape` whose little-endian bytes are `data`, like a new
/// [`Encoder::encode`].
pub fn encode(dtype: Dtype, shape: &[usize], data: &[u8]) -> Result<Vec<u8>, CodecError> {
    Encoder::default().encode(dtype, shape, data)
}

/// Like [`encode`], with a preset.
pub fn encode_with(
    dtype: Dtype,
    shape: &[usize],
    data: &[u8],
    preset: Preset,
) -> Result<Vec<u8>, CodecError> {
    Encoder::new(preset).encode(dtype, shape, data)
}

/// Like [`encode`], with this number of coded mantissa bits even if another split is smaller.
pub fn encode_with_top_bits(
    dtype: Dtype,
    shape: &[usize],
    data: &[u8],
    top_bits: u8,
) -> Result<Vec<u8>, CodecError> {
    Encoder::default().in_memory(dtype, shape, data, Some(Chosen::TopBits(top_bits)))
}

/// Like [`encode`], with this split even if another is smaller.
pub fn encode_with_split(shape: &[usize], data: &[u8], split: Split) -> Result<Vec<u8>, CodecError> {
    Encoder::default().in_memory(split.dtype, shape, data, Some(Chosen::Split(split)))
}

/// Encodes tensors. It keeps its working memory for the next tensors: that of a few million elements per
/// thread.
#[derive(Debug, Default)]
pub struct Encoder {
    preset: Preset,
    lossy: Option<Lossy>,
    spare: Spare,
}

impl Encoder {
    /// An encoder that optimises for `preset`.
    pub fn new(preset: Preset) -> Self {
        Self { preset, ..Self::default() }
    }

    /// The same encoder, which also rounds tensors to which `lossy` [applies](Lossy::applies). A payload says
    /// whether it was rounded: [`Tiled::lossy`](crate::codec::payload::head::Tiled::lossy).
    pub fn rounding(self, lossy: Option<Lossy>) -> Self {
        Self { lossy, ..self }
    }

    /// Encodes a tensor of `dtype` and `shape` whose little-endian bytes are `data`.
    ///
    /// The payload is constant if all elements are equal and have 16 MiB at most, else tiled if that is
    /// smaller, else raw. The work is spread over the current rayon pool, but the payload does not depend on
    /// the number of threads.
    pub fn encode(&self, dtype: Dtype, shape: &[usize], data: &[u8]) -> Result<Vec<u8>, CodecError> {
        self.in_memory(dtype, shape, data, None)
    }

    /// Like [`Encoder::encode`], but writes to the start of `payload`, which must have at least
    /// [`most_bytes`] of `data`. Its previous contents do not matter. Returns the payload's length.
    pub fn encode_into(
        &self,
        dtype: Dtype,
        shape: &[usize],
        data: &[u8],
        payload: &mut [u8],
    ) -> Result<usize, CodecError> {
        self.write_to(dtype, shape, data, None, payload)
    }

    /// Like [`Encoder::encode`], but in pieces. Beyond the encoder's own memory it needs only the tensor's
    /// tables, with two bytes per block if it is rounded. The first error of `put` ends the encoding and is
    /// returned.
    pub fn encode_to(
        &self,
        dtype: Dtype,
        shape: &[usize],
        data: &[u8],
        put: &Put<'_>,
    ) -> Result<EncodedPayload, EncodeError> {
        self.chosen(dtype, shape, &data, None, put)
    }

    /// Like [`Encoder::encode_to`], from a source that need not be in memory.
    pub fn encode_from(
        &self,
        dtype: Dtype,
        shape: &[usize],
        source: &dyn TensorSource,
        put: &Put<'_>,
    ) -> Result<EncodedPayload, EncodeError> {
        self.chosen(dtype, shape, source, None, put)
    }

    fn in_memory(
        &self,
        dtype: Dtype,
        shape: &[usize],
        data: &[u8],
        split: Option<Chosen>,
    ) -> Result<Vec<u8>, CodecError> {
        let mut payload = vec![0; most_bytes(data.len())];
        let len = self.write_to(dtype, shape, data, split, &mut payload)?;
        payload.truncate(len);
        Ok(payload)
    }

    fn write_to(
        &self,
        dtype: Dtype,
        shape: &[usize],
        data: &[u8],
        split: Option<Chosen>,
        payload: &mut [u8],
    ) -> Result<usize, CodecError> {
        let most = most_bytes(data.len());
        let payload = payload.get_mut(..most).ok_or(CodecError::NoRoom { most })?;
        let memory = PayloadMemory::new(payload);
        let put = |at: usize, piece: &[u8]| {
            memory.put(at, piece);
            Ok(())
        };
        match self.chosen(dtype, shape, &data, split, &put) {
            Ok(encoded) => Ok(encoded.len),
            Err(EncodeError::Codec(error)) => Err(error),
            Err(EncodeError::Put(_)) => unreachable!("memory does not fail"),
        }
    }

    fn chosen(
        &self,
        dtype: Dtype,
        shape: &[usize],
        data: &dyn TensorSource,
        split: Option<Chosen>,
        put: &Put<'_>,
    ) -> Result<EncodedPayload, EncodeError> {
        let len = data.size();
        let matrix = check_length(dtype, shape, len)?;
        let code = dtype_code(dtype)
            .ok_or(CodecError::BadHead("an element type that this version does not know"))?;
        if let Some(element) = constant_element(dtype, data) {
            let mut writer = HeadWriter::new(code, len);
            writer.constant(&element);
            let len = writer.padded_len(0);
            return put_head(writer, &[], len, put);
        }
        let too_large = |n: usize| u32::try_from(n).is_err();
        let fits = !matrix.is_empty() && !too_large(matrix.rows) && !too_large(matrix.cols);
        let choice = Choice { preset: self.preset, split };
        // The quotients of a row block are computed in one step, however long its rows are.
        let rows_fit = matrix.cols.saturating_mul(matrix.rows.min(LANES)) <= MOST_ROUNDED;
        let rounded = self.lossy.filter(|lossy| fits && rows_fit && lossy.applies(dtype, shape));
        let rounded = rounded.and_then(|lossy| SourceRows::rounded(dtype, matrix, data, lossy));
        // A tensor is not rounded if that does not make it smaller.
        let exact = fits.then(|| SourceRows::new(dtype, matrix, data));
        for source in rounded.into_iter().chain(exact) {
            let Some(plan) = Plan::smallest(&source, matrix, choice) else { continue };
            let limit = raw_payload_len(code, len);
            if let Some(encoded) = encode_tiled(&self.spare, code, matrix, plan, &source, limit, put)? {
                return Ok(encoded);
            }
        }
        encode_raw(code, data, put)
    }
}

/// Checks the length and returns the matrix of units.
pub(crate) fn check_length(dtype: Dtype, shape: &[usize], len: usize) -> Result<Matrix, CodecError> {
    let wrong = |expected| CodecError::WrongLength { dtype, shape: shape.to_vec(), expected, actual: len };
    let matrix = Matrix::of_shape(shape).ok_or(wrong(usize::MAX))?;
    let expected = matrix.len().checked_mul(dtype.bitsize()).ok_or(wrong(usize::MAX))?.div_ceil(8);
    if expected != len {
        return Err(wrong(expected));
    }
    unit_matrix(dtype, shape).ok_or(wrong(expected))
}

/// The element that all others equal, if it consists of whole bytes.
fn constant_element(dtype: Dtype, data: &dyn TensorSource) -> Option<Vec<u8>> {
    let len = dtype.bitsize() / 8;
    if len == 0 || len * 8 != dtype.bitsize() || data.size() < len || data.size() > MAX_CONSTANT {
        return None;
    }
    let data = data.bytes(0..data.size());
    (data[len..] == data[..data.len() - len]).then(|| data[..len].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::payload::head::{Head, Kind};

    #[test]
    fn payloads_do_not_depend_on_the_number_of_threads() {
        // More groups than one thread encodes together.
        let shape = [2200, 1024];
        let data: Vec<u8> = (0..2200 * 1024u32)
            .flat_map(|i| ((i.wrapping_mul(2654435761) >> 23) as u16).to_le_bytes())
            .collect();
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| encode(Dtype::BF16, &shape, &data).unwrap())
        };
        assert_eq!(with(1), with(3));
        assert!(matches!(Head::parse(&with(1)).unwrap().kind, Kind::Tiled(_)));
    }

    #[test]
    fn data_of_the_wrong_length_is_refused() {
        let error = encode(Dtype::BF16, &[2, 3], &[0; 11]).unwrap_err();
        assert_eq!(error.to_string(), "BF16 of shape [2, 3] should be 12 bytes, but 11 were given");
    }
}
