//! A base that is shorter than the tensor, as it has to be thought of: repeated from its beginning. Where a vocabulary
//! has grown, the rows that are new are few, and it matters little what they are compared with.

use std::borrow::Cow;
use std::ops::Range;

use crate::codec::plan::TensorSource;

/// The bytes `range` of `base`, which is repeated as often as it takes. It must not be empty.
pub(crate) fn repeated(base: &dyn TensorSource, range: Range<usize>) -> Cow<'_, [u8]> {
    let len = base.size();
    if range.end <= len {
        return base.bytes(range);
    }
    let mut bytes = Vec::with_capacity(range.len());
    let mut at = range.start;
    while at < range.end {
        let start = at % len;
        let end = len.min(start + range.end - at);
        bytes.extend_from_slice(&base.bytes(start..end));
        at += end - start;
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_begins_anew_where_it_ends() {
        let base = &b"abc"[..];
        for range in [0..3, 1..2, 0..8, 2..4, 5..5, 7..9] {
            let all: Vec<u8> = base.iter().copied().cycle().take(9).collect();
            assert_eq!(repeated(&base, range.clone())[..], all[range]);
        }
    }
}
