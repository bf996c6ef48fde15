//! Which weights stay in device memory.

use super::error::StreamError;
use crate::gpu::SlotKind;
use crate::gpu::weights::layouts::Transcoded;

/// Maximum slots of a ring: one for the device's current stage, and one that is filled meanwhile.
const SLOTS: usize = 2;

/// The part of the model that a stage belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageOf {
    /// The layer with this index.
    Layer(usize),
    /// The output matrix.
    Output,
}

/// The device memory that a stage needs, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageNeeds {
    /// The part of the model that it is, or belongs to.
    pub of: StageOf,
    /// All of its bytes, if it is pinned.
    pub pinned: u64,
    /// Resident bytes if it is streamed: small data, and weights that are not stored in tiles.
    pub beside_slot: u64,
    /// Bytes in a slot if it is streamed; 0 if it cannot be streamed.
    pub in_slot: u64,
    /// Bytes that are read from files for that.
    pub read: u64,
}

/// The device memory that a model needs, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Data that is always resident, apart from stages: the last norm.
    pub fixed: u64,
    /// The embedding on the device; 0 if it is also the output matrix.
    pub embedding: u64,
    /// Bytes for loading rows of the embedding, if it is not on the device.
    pub rows: u64,
    /// The output matrix in one piece, which it is if the embedding is on the device.
    pub output: u64,
    /// Memory for widening weights for batches, if all stages are pinned.
    pub wide_room: u64,
    /// Memory for sessions: KV caches, activations, logits.
    pub working_set: u64,
    /// Temporary memory for loading stages, before there are sessions.
    pub loading: u64,
    /// Temporary memory for loading the embedding and the output matrix in one piece, before there are
    /// layers.
    pub loading_whole: u64,
    /// Extra buffers or textures of a slot's size that the slots of a ring share.
    pub beside_slots: u64,
    /// The layout that resident weights are transcoded to, if they can be.
    pub transcoded: Option<Transcoded>,
    /// The contents of slots.
    pub slot_kind: SlotKind,
    /// The stages in the order of visits: layers, then the output matrix.
    pub stages: Vec<StageNeeds>,
}

/// Which stages are pinned in device memory, and which are streamed when they are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The budget, in bytes; `None` for no budget.
    pub budget: Option<u64>,
    /// The smallest possible budget, in bytes.
    pub minimum: u64,
    /// Total bytes of the plan: never more than the budget.
    pub total: u64,
    /// Bytes of all resident data except stages.
    pub fixed: u64,
    /// Bytes of `fixed` for widening weights for batches: 0 if there is no space or no need for that.
    pub wide_room: u64,
    /// Whether the embedding stays in its file, and the host decodes rows of it. If so, the output matrix is
    /// split into stages.
    pub embedding_on_host: bool,
    /// The layout that resident weights are transcoded to, if their type has it; otherwise they stay in dense tiles.
    pub transcoded: Option<Transcoded>,
    /// The contents of slots, if there are any.
    pub slot_kind: SlotKind,
    /// Bytes left for sessions and for loading.
    pub working_set: u64,
    /// Bytes of pinned stages.
    pub resident: u64,
    /// All stages in the order of visits: layers or parts of them, then parts of the output matrix.
    pub stages: Vec<StageOf>,
    /// The indices of streamed stages, in the order of visits.
    pub streamed: Vec<usize>,
    /// Slots of the ring; 0 if nothing is streamed.
    pub slots: usize,
    /// Bytes of a slot, enough for the largest streamed stage.
    pub slot_bytes: u64,
    /// Bytes of the ring.
    pub ring: u64,
    /// Stages that are moved per token. A stage that does not share its slot is moved only once.
    pub stages_a_pass: usize,
    /// Total bytes of all streamed stages in slots.
    pub streamed_bytes: u64,
    /// Resident bytes that are read to compute a token.
    pub resident_a_token: u64,
    /// Maximum bytes that are read from files in a pass through all stages, for one token or for a batch. If
    /// stages are not decoded, this includes the bytes between the pieces of a slot.
    pub bytes_a_pass: u64,
}

impl Plan {
    /// The plan that moves as few bytes as possible. All stages are pinned if they fit, or if there is no
    /// budget. Otherwise the host decodes the embedding, of which a token needs only one row, and as few
    /// stages as possible are streamed. They are spread evenly, so that each has as much time as possible to
    /// load while earlier ones compute.
    pub fn new(needs: &Needs, budget: Option<u64>) -> Result<Self, StreamError> {
        let whole = Self::of(needs, budget, Vec::new(), false);
        let roomy = Self::roomy(needs, budget);
        let fits = |plan: &Self| budget.is_none_or(|budget| plan.total <= budget);
        let can_stream = Self::can_stream(needs);
        let with = |count: usize| Self::of(needs, budget, evenly(&can_stream, count), true);
        let (none, all) = (with(0), with(can_stream.len()));
        let minimum = Self::minimum(needs);
        let found = if fits(&roomy) {
            roomy
        } else if fits(&whole) {
            whole
        } else if fits(&none) {
            none
        } else if fits(&all) {
            // More streamed stages need less memory, except that the first one needs the ring.
            let (mut least, mut most) = (1, can_stream.len());
            while least < most {
                let middle = least.midpoint(most);
                if fits(&with(middle)) {
                    most = middle;
                } else {
                    least = middle + 1;
                }
            }
            with(most)
        } else {
            let budget = budget.unwrap_or(u64::MAX);
            let working_set = all.working_set;
            return Err(StreamError::BudgetTooSmall { budget, minimum, working_set, compressed: None });
        };
        Ok(Self { minimum, ..found })
    }

    /// The plan with all stages pinned, and memory to widen weights for batches.
    fn roomy(needs: &Needs, budget: Option<u64>) -> Self {
        let fixed = needs.fixed.saturating_add(needs.wide_room);
        let plan = Self::of(&Needs { fixed, ..needs.clone() }, budget, Vec::new(), false);
        Self { wide_room: needs.wide_room, ..plan }
    }

    /// The smallest sufficient budget.
    pub fn minimum(needs: &Needs) -> u64 {
        let can_stream = Self::can_stream(needs);
        let plans = [(Vec::new(), false), (Vec::new(), true), (can_stream, true)];
        let total = |(streamed, on_host)| Self::of(needs, None, streamed, on_host).total;
        plans.map(total).into_iter().fold(u64::MAX, u64::min)
    }

    /// The stages that can be streamed.
    fn can_stream(needs: &Needs) -> Vec<usize> {
        (0..needs.stages.len()).filter(|&stage| needs.stages[stage].in_slot > 0).collect()
    }

    fn of(needs: &Needs, budget: Option<u64>, streamed: Vec<usize>, embedding_on_host: bool) -> Self {
        let mut resident: u64 = 0;
        let (mut slot_bytes, mut stages_a_pass, mut bytes_a_pass, mut streamed_bytes) = (0, 0, 0u64, 0u64);
        let slots = SLOTS.min(streamed.len());
        // A stage that does not share its slot is moved only once.
        let moves = |i: usize| i >= slots || i + slots < streamed.len();
        let mut next = streamed.iter().copied().enumerate().peekable();
        for (i, stage) in needs.stages.iter().enumerate() {
            if let Some((k, _)) = next.next_if(|&(_, streamed)| streamed == i) {
                resident = resident.saturating_add(stage.beside_slot);
                slot_bytes = stage.in_slot.max(slot_bytes);
                streamed_bytes = streamed_bytes.saturating_add(stage.in_slot);
                if moves(k) {
                    stages_a_pass += 1;
                    bytes_a_pass = bytes_a_pass.saturating_add(stage.read);
                }
            } else if embedding_on_host || stage.of != StageOf::Output {
                resident = resident.saturating_add(stage.pinned);
            }
        }
        let buffers = if slots > 0 { slots as u64 + needs.beside_slots } else { 0 };
        let ring = slot_bytes.saturating_mul(buffers);
        let working_set = needs.working_set.max(needs.loading);
        // The output matrix, the embedding, and temporary memory for loading them.
        let (output, embedding, loading_whole) = match embedding_on_host {
            true => (0, needs.rows, 0),
            false => (needs.output, needs.embedding, needs.loading_whole),
        };
        let fixed = [output, embedding].into_iter().fold(needs.fixed, u64::saturating_add);
        let parts = [fixed, working_set, resident.saturating_add(ring).max(loading_whole)];
        Self {
            budget,
            minimum: 0,
            total: parts.into_iter().fold(0, u64::saturating_add),
            fixed,
            wide_room: 0,
            embedding_on_host,
            transcoded: needs.transcoded,
            slot_kind: needs.slot_kind,
            working_set,
            resident,
            stages: needs.stages.iter().map(|stage| stage.of).collect(),
            streamed,
            slots,
            slot_bytes,
            ring,
            stages_a_pass,
            streamed_bytes,
            resident_a_token: resident.saturating_add(output),
            bytes_a_pass,
        }
    }

    /// Whether streamed stages are decoded on the way, so that slots contain uncompressed weights. Otherwise
    /// slots contain dense tiles, like files.
    pub fn decodes(&self) -> bool {
        !self.is_resident() && self.slot_kind.is_decoded()
    }

    /// Whether nothing is streamed.
    pub fn is_resident(&self) -> bool {
        self.streamed.is_empty()
    }

    /// Number of layers.
    pub fn layers(&self) -> usize {
        self.stages.iter().filter_map(StageOf::layer).max().map_or(0, |last| last + 1)
    }

    /// The layers that are streamed, at least in part.
    pub fn streamed_layers(&self) -> Vec<usize> {
        let mut layers: Vec<usize> =
            self.streamed.iter().filter_map(|&stage| self.stages[stage].layer()).collect();
        layers.dedup();
        layers
    }

    /// The number of streamed parts of the output matrix, and the number of all its parts.
    pub fn streamed_output(&self) -> (usize, usize) {
        let is_output = |stage: &StageOf| *stage == StageOf::Output;
        let streamed = self.streamed.iter().filter(|&&stage| is_output(&self.stages[stage]));
        (streamed.count(), self.stages.iter().filter(|stage| is_output(stage)).count())
    }
}

impl StageOf {
    fn layer(&self) -> Option<usize> {
        match self {
            Self::Layer(layer) => Some(*layer),
            Self::Output => None,
        }
    }
}

/// Chooses `count` of `all`, as evenly as possible.
fn evenly(all: &[usize], count: usize) -> Vec<usize> {
    let before = |i: usize| i as u128 * count as u128 / all.len().max(1) as u128;
    (0..all.len()).filter(|&i| before(i + 1) > before(i)).map(|i| all[i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: u64 = 5;

    /// Eight layers of 100 bytes, 10 of which are always resident, and an output matrix in two such parts,
    /// which is also the embedding.
    fn needs(beside_slots: u64) -> Needs {
        let stage = |of| StageNeeds { of, pinned: 100, beside_slot: 10, in_slot: 90, read: 90 };
        let layers = (0..8).map(|layer| stage(StageOf::Layer(layer)));
        Needs {
            fixed: 50,
            embedding: 0,
            rows: ROWS,
            output: 200,
            wide_room: 0,
            working_set: 30,
            loading: 20,
            loading_whole: 0,
            beside_slots,
            transcoded: None,
            slot_kind: SlotKind::Dense,
            stages: layers.chain([stage(StageOf::Output); 2]).collect(),
        }
    }

    #[test]
    fn all_stays_where_it_fits() {
        for budget in [None, Some(1080), Some(5000)] {
            let plan = Plan::new(&needs(1), budget).unwrap();
            assert_eq!((plan.streamed.len(), plan.slots, plan.total, plan.bytes_a_pass), (0, 0, 1080, 0));
            assert!(!plan.embedding_on_host && plan.layers() == 8);
        }
    }

    #[test]
    fn weights_are_widened_where_all_stay_and_there_is_room_for_it() {
        let needs = Needs { wide_room: 70, ..needs(0) };
        for (budget, total, wide_room) in [(None, 1150, 70), (Some(1150), 1150, 70), (Some(1149), 1080, 0)] {
            let plan = Plan::new(&needs, budget).unwrap();
            assert_eq!((plan.total, plan.wide_room, plan.minimum), (total, wide_room, 360 + ROWS));
        }
        assert_eq!(Plan::new(&needs, Some(1079)).unwrap().wide_room, 0);
    }

    #[test]
    fn an_embedding_of_its_own_is_what_goes_first() {
        let needs = Needs { embedding: 200, ..needs(0) };
        let plan = Plan::new(&needs, Some(1279)).unwrap();
        assert!(plan.embedding_on_host && plan.is_resident());
        assert_eq!(plan.total, 1080 + ROWS);
        assert!(!Plan::new(&needs, Some(1280)).unwrap().embedding_on_host);
        assert!(!Plan::new(&needs, Some(1080 + ROWS - 1)).unwrap().is_resident());
    }

    #[test]
    fn as_few_stages_as_possible_are_streamed_and_evenly() {
        let plan = Plan::new(&needs(0), Some(810 + ROWS)).unwrap();
        assert_eq!(plan.total, 50 + ROWS + 30 + 5 * 100 + 5 * 10 + 2 * 90);
        assert_eq!((plan.streamed.clone(), plan.bytes_a_pass), (vec![1, 3, 5, 7, 9], 450));
        assert_eq!((plan.streamed_bytes, plan.resident_a_token), (450, 5 * 100 + 5 * 10));
        assert_eq!((plan.streamed_layers(), plan.streamed_output()), (vec![1, 3, 5, 7], (1, 2)));
        // One of the three has a slot to itself.
        let three = Plan::new(&needs(0), Some(50 + ROWS + 30 + 7 * 100 + 3 * 10 + 2 * 90)).unwrap();
        assert_eq!((three.streamed.len(), three.stages_a_pass, three.bytes_a_pass), (3, 2, 180));
        // With one byte less, one more stage is streamed.
        assert_eq!(Plan::new(&needs(0), Some(809 + ROWS)).unwrap().streamed.len(), 6);
        // The same with an extra buffer for the slots.
        assert_eq!(Plan::new(&needs(1), Some(810 + ROWS)).unwrap().streamed.len(), 6);
    }

    #[test]
    fn what_is_decoded_takes_more_room_than_it_moves() {
        let mut needs = Needs { slot_kind: SlotKind::Wide, ..needs(0) };
        needs.stages.iter_mut().for_each(|stage| (stage.in_slot, stage.beside_slot) = (130, 0));
        let plan = Plan::new(&needs, Some(50 + ROWS + 30 + 5 * 100 + 2 * 130)).unwrap();
        assert_eq!((plan.slot_bytes, plan.ring, plan.streamed.len()), (130, 260, 5));
        assert_eq!((plan.streamed_bytes, plan.bytes_a_pass, plan.decodes()), (650, 450, true));
        // Nothing is decoded if nothing is streamed.
        assert!(!Plan::new(&needs, None).unwrap().decodes());
    }

    #[test]
    fn a_budget_below_the_minimum_is_refused_with_the_minimum() {
        let minimum = 50 + ROWS + 30 + 10 * 10 + 2 * 90;
        let plan = Plan::new(&needs(0), Some(minimum)).unwrap();
        assert_eq!((plan.streamed.len(), plan.total, plan.minimum), (10, minimum, minimum));
        let error = Plan::new(&needs(0), Some(minimum - 1)).unwrap_err();
        let StreamError::BudgetTooSmall { budget, minimum: told, working_set, .. } = error else {
            panic!("{error}")
        };
        assert_eq!((budget, told, working_set), (minimum - 1, minimum, 30));
    }

    #[test]
    fn stages_that_cannot_be_streamed_stay() {
        let mut needs = needs(0);
        needs.stages[3].in_slot = 0;
        let plan = Plan::new(&needs, Some(500)).unwrap();
        assert!(!plan.streamed.contains(&3));
        needs.stages.iter_mut().for_each(|stage| stage.in_slot = 0);
        assert!(matches!(
            Plan::new(&needs, Some(1079)),
            Err(StreamError::BudgetTooSmall { minimum: 1080, .. })
        ));
    }

    #[test]
    fn what_loading_takes_counts_where_it_is_more_than_the_working_set() {
        let more = Needs { loading: 70, ..needs(0) };
        assert_eq!(Plan::new(&more, None).unwrap().total, 1120);
        // Data that is loaded before layers can use their memory.
        let total = |loading_whole| Plan::new(&Needs { loading_whole, ..needs(0) }, None).unwrap().total;
        assert_eq!((total(800), total(801)), (1080, 1081));
    }

    #[test]
    fn numbers_that_overflow_are_too_much() {
        let mut needs = needs(0);
        needs.stages[0].pinned = u64::MAX;
        needs.stages[0].in_slot = u64::MAX;
        assert!(Plan::new(&needs, Some(u64::MAX - 1)).is_err());
    }
}
