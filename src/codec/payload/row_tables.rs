//! A head's tables of single rows: how far their symbols are shifted, and whether they are clean.

/// The shifts of a tensor's rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shifts {
    /// The shift of each row, 0 to 15: one for each lane of the row blocks, or none.
    pub rows: Vec<u8>,
    /// How many bits the shifts are moved left before they are added.
    pub unit: u8,
}

impl Shifts {
    /// The number to add to the symbols of row `row`.
    #[inline(always)]
    pub fn of(&self, row: usize) -> u16 {
        self.rows.get(row).map_or(0, |&shift| u16::from(shift) << self.unit)
    }
}

/// Which rows of a row block are not clean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowMask {
    /// Bit `l` for lane `l`.
    pub lanes: u64,
    /// Number of rows in all previous row blocks that are not clean.
    pub before: u32,
}

impl RowMask {
    /// Number of rows in this row block that are not clean.
    pub fn count(&self) -> usize {
        self.lanes.count_ones() as usize
    }

    /// The position of `lane` among them; `None` if it is clean.
    #[inline(always)]
    pub fn place(&self, lane: usize) -> Option<usize> {
        let bit = 1u64 << lane;
        (self.lanes & bit != 0).then(|| (self.lanes & (bit - 1)).count_ones() as usize)
    }
}
