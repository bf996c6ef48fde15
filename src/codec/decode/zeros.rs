//! Allocating memory whose length an untrusted file states: too much is an error, and does not abort.

use crate::codec::payload::error::CodecError;

/// `len` zeros, such as a tensor's bytes before they are decoded.
pub(crate) fn zeros(len: usize) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    resize(&mut bytes, len)?;
    Ok(bytes)
}

/// Resizes `bytes` to `len`; new bytes are zero.
pub(crate) fn resize(bytes: &mut Vec<u8>, len: usize) -> Result<(), CodecError> {
    let more = len.saturating_sub(bytes.len());
    bytes.try_reserve_exact(more).map_err(|_| CodecError::OutOfMemory { len })?;
    bytes.resize(len, 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_is_is_an_error() {
        assert_eq!(zeros(3).unwrap(), [0; 3]);
        assert_eq!(zeros(usize::MAX), Err(CodecError::OutOfMemory { len: usize::MAX }));
        let mut bytes = vec![1; 4];
        assert!(resize(&mut bytes, usize::MAX).is_err());
        resize(&mut bytes, 2).unwrap();
        resize(&mut bytes, 3).unwrap();
        assert_eq!(bytes, [1, 1, 0]);
    }
}
