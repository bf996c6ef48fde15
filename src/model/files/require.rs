//! Requires tensors with the shape that the configuration needs.

use crate::archive::{ModelFiles, Weight};
use crate::model::error::ModelError;

/// The tensor called `name`, which must have this shape.
pub(crate) fn require<'a>(
    files: &'a ModelFiles,
    name: &str,
    shape: &[usize],
) -> Result<Weight<'a>, ModelError> {
    let weight = files.require(name)?;
    if weight.shape != shape {
        return Err(ModelError::WrongTensor {
            tensor: name.into(),
            expected: format!("shape {shape:?}"),
            found: format!("shape {:?}", weight.shape),
        });
    }
    Ok(weight)
}

pub(crate) fn wrong_type(weight: &Weight<'_>) -> ModelError {
    ModelError::WrongTensor {
        tensor: weight.name.into(),
        expected: "BF16, F16 or F32".into(),
        found: weight.dtype.to_string(),
    }
}
