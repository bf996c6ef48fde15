//! A base that is shorter than the tensor, as it has to be thought of: repeated from its beginning. Where a
//! vocabulary has grown, the rows that are new are few, and it matters little what they are compared with.

use std::borrow::Cow;
use std::ops::Range;

use crate::codec::plan::TensorSource;

/// The bytes `range` of `base`, which is repeated as often as it takes. It must not be empty.
pub(crate) fn repeated(base: &dyn TensorSource, range: Range<usize>) -> Cow<'_, [u8]> {
    let len = base.size();
    if range.end <= len {
        return base.bytes(range);
    }
    let (start, first) = (range.start % len, range.len().min(len));
    let to_end = first.min(len - start);
    let mut bytes = base.bytes(start..start + to_end).into_owned();
    bytes.extend_from_slice(&base.bytes(0..first - to_end));
    bytes.resize(range.len(), 0);
    repeat_first(&mut bytes, first);
    bytes.into()
}

/// Fills `bytes` with its first `first`, repeated.
pub(crate) fn repeat_first(bytes: &mut [u8], first: usize) {
    let mut done = first;
    while done < bytes.len() {
        let more = done.min(bytes.len() - done);
        bytes.copy_within(..more, done);
        done += more;
    }
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
