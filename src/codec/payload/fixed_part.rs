//! The constants at the start of every head that other tools rely on: magic number, version, element types.

use crate::tensor::Dtype;

/// The newest payload version. Older versions are still written if they can express the payload.
pub const VERSION: u16 = 4;

pub(crate) const MAGIC: [u8; 4] = *b"BTM\0";
/// Bytes of a head before its tables.
pub const FIXED_LEN: usize = 64;
pub(crate) const CHECKSUM_AT: usize = 24;

/// Maximum size of a tensor that is stored as one element, so that a few bytes of an untrusted file cannot
/// request any amount of memory.
pub(crate) const MAX_CONSTANT: usize = 16 << 20;

/// The kind of payloads that hold the difference to another tensor.
pub(crate) const DELTA: u8 = 4;

/// Alignment of the head of such a payload: a larger one would be much of a small tensor.
pub(crate) const DELTA_ALIGN: usize = 16;

/// Dtype codes in the head. Never reuse a number.
pub(crate) const DTYPES: [(Dtype, u8); 22] = [
    (Dtype::BOOL, 1),
    (Dtype::U8, 2),
    (Dtype::I8, 3),
    (Dtype::F8_E5M2, 4),
    (Dtype::F8_E4M3, 5),
    (Dtype::I16, 6),
    (Dtype::U16, 7),
    (Dtype::F16, 8),
    (Dtype::BF16, 9),
    (Dtype::I32, 10),
    (Dtype::U32, 11),
    (Dtype::F32, 12),
    (Dtype::F64, 13),
    (Dtype::I64, 14),
    (Dtype::U64, 15),
    (Dtype::F4, 16),
    (Dtype::F6_E2M3, 17),
    (Dtype::F6_E3M2, 18),
    (Dtype::F8_E8M0, 19),
    (Dtype::F8_E4M3FNUZ, 20),
    (Dtype::F8_E5M2FNUZ, 21),
    (Dtype::C64, 22),
];

/// The head's number for `dtype`; `None` if this version does not know the type.
pub(crate) fn dtype_code(dtype: Dtype) -> Option<u8> {
    DTYPES.iter().find(|(d, _)| *d == dtype).map(|&(_, code)| code)
}
