//! What a matrix or several take in device memory.

use crate::gpu::{Gpu, SlotKind};
use crate::stream::{StageNeeds, StageOf};

/// What a matrix or several take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Where it stays.
    pub pinned: u64,
    /// Beside the slot, where it is streamed.
    pub beside_slot: u64,
    /// In a slot then; 0 where it cannot be streamed.
    pub in_slot: u64,
    /// What is read of files for that.
    pub read: u64,
    /// What is there for a while when it is transcoded.
    pub transcoding: u64,
}

impl Taken {
    /// Of something that stays as it is.
    pub fn fixed(bytes: u64) -> Self {
        Self { pinned: bytes, beside_slot: bytes, ..Self::default() }
    }

    pub fn add(&mut self, other: &Self) {
        self.pinned += other.pinned;
        self.beside_slot += other.beside_slot;
        // What does not fit a binding is more than any budget.
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
            // Slots of another kind are smaller.
            None if slot_kind.is_decoded() => StageNeeds { of, pinned, beside_slot, in_slot: u64::MAX, read },
            // No slot is large enough for the smallest stage that it is in.
            None => stays,
        }
    }
}
