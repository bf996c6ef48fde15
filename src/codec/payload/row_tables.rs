//! What a head says of single rows: how far their symbols are shifted, and whether they are clean.

/// What is added to the symbols of each row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shifts {
    /// By row, 0 to 15; as many as the row blocks have lanes, or none.
    pub rows: Vec<u8>,
    /// How far they are moved up first.
    pub unit: u8,
}

impl Shifts {
    /// What is added to the symbols of row `row`.
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
    /// Rows of all row blocks before that are not clean.
    pub before: u32,
}

impl RowMask {
    /// Rows of this row block that are not clean.
    pub fn count(&self) -> usize {
        self.lanes.count_ones() as usize
    }

    /// The place of `lane` among them; `None` where it is clean.
    #[inline(always)]
    pub fn place(&self, lane: usize) -> Option<usize> {
        let bit = 1u64 << lane;
        (self.lanes & bit != 0).then(|| (self.lanes & (bit - 1)).count_ones() as usize)
    }
}
