//! The device memory of one or several matrices.

use crate::gpu::{Gpu, SlotKind};
use crate::stream::{StageNeeds, StageOf};

/// The bytes of one or several matrices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// On the device, if resident.
    pub pinned: u64,
    /// Beside the slot, if streamed.
    pub beside_slot: u64,
    /// In the slot, if streamed; 0 if it cannot be streamed.
    pub in_slot: u64,
    /// Bytes of the file to read for the slot.
    pub read: u64,
    /// Additional bytes while it is transcoded.
    pub transcoding: u64,
}

impl Taken {
    /// The bytes of data that always stays resident.
    pub fn fixed(bytes: u64) -> Self {
        Self { pinned: bytes, beside_slot: bytes, ..Self::default() }
    }

    pub fn add(&mut self, other: &Self) {
        self.pinned += other.pinned;
        self.beside_slot += other.beside_slot;
        // A matrix that does not fit a binding counts as more than any budget.
        self.in_slot = self.in_slot.saturating_add(other.in_slot);
        self.read += other.read;
        self.transcoding = self.transcoding.max(other.transcoding);
    }

    pub fn stage(&self, gpu: &Gpu, slot_kind: SlotKind, of: StageOf) -> StageNeeds {
        let Self { pinned, beside_slot, in_slot, read, .. } = *self;
        let stays = StageNeeds { of, pinned, beside_slot: pinned, in_slot: 0, read: 0 };
        match slot_kind.slot_bytes(gpu, in_slot) {
            _ if in_slot == 0 => StageNeeds { beside_slot, ..stays },
            Some(in_slot) => StageNeeds { of, pinned, beside_slot, in_slot, read },
            // Slots of the other kind are smaller and may fit.
            None if slot_kind.is_decoded() => StageNeeds { of, pinned, beside_slot, in_slot: u64::MAX, read },
            // No slot is large enough, not even for the smallest stage with this matrix.
            None => stays,
        }
    }
}
