//! Groups: the runs of a section that each have a checksum.

use std::ops::Range;

use super::grid::{Grid, LANES, SECTION_ALIGN};

/// Approximate number of elements (raw payloads: bytes) that share a checksum.
pub(crate) const GROUP_ELEMENTS: usize = 1 << 20;

/// Number of row blocks that share a checksum.
pub(crate) fn group_row_blocks(grid: &Grid) -> usize {
    (GROUP_ELEMENTS / (LANES * grid.padded_cols.max(1))).max(1)
}

pub(crate) fn raw_groups(len: usize) -> usize {
    len.div_ceil(GROUP_ELEMENTS)
}

/// The byte range of group `group` of a raw payload; the last group extends to the end.
pub(crate) fn raw_range(head_len: usize, original_len: usize, group: usize) -> Range<usize> {
    let stop = match group + 1 == raw_groups(original_len) {
        true => original_len.next_multiple_of(SECTION_ALIGN),
        false => (group + 1) * GROUP_ELEMENTS,
    };
    head_len + group * GROUP_ELEMENTS..head_len + stop
}
