//! Which layers stay in device memory.

use super::error::StreamError;

/// Slots of a ring: one that the device computes with, and one that is filled meanwhile.
const SLOTS: usize = 2;

/// What a layer takes in device memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayerNeeds {
    /// All of it, where it stays.
    pub pinned: u64,
    /// What stays, where it is streamed: small things, and weights that are not stored in tiles.
    pub beside_slot: u64,
    /// What goes through a slot then; 0 where nothing can.
    pub in_slot: u64,
}

/// What a model takes in device memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// What always stays, apart from layers: embedding, output matrix, last norm.
    pub fixed: u64,
    /// What is left to sessions: KV caches, activations, logits.
    pub working_set: u64,
    /// What loading layers takes for a while, before there are sessions.
    pub loading: u64,
    /// What loading the rest takes for a while, before there are layers.
    pub loading_fixed: u64,
    /// Buffers of a slot's size that each slot takes.
    pub buffers_a_slot: u64,
    /// The layers in the order in which they are visited.
    pub layers: Vec<LayerNeeds>,
}

/// Which layers stay in device memory, and which are brought there when they are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The budget that was planned for, in bytes; `None` where there is none.
    pub budget: Option<u64>,
    /// The smallest budget that would do.
    pub minimum: u64,
    /// What the plan takes together, in bytes: never more than the budget.
    pub total: u64,
    /// What stays apart from layers, in bytes.
    pub fixed: u64,
    /// What is left to sessions and to loading, in bytes.
    pub working_set: u64,
    /// What layers take that stays, in bytes.
    pub resident: u64,
    /// Number of layers.
    pub layers: usize,
    /// The layers that are streamed, in the order in which they are visited.
    pub streamed: Vec<usize>,
    /// Slots of the ring; 0 where nothing is streamed.
    pub slots: usize,
    /// Bytes of a slot: the largest streamed layer has room.
    pub slot_bytes: u64,
    /// What all slots take together, in bytes.
    pub ring: u64,
    /// Layers that each pass moves. One that has a slot for itself is brought there only once.
    pub layers_a_pass: usize,
    /// Bytes that each pass through the layers moves, of one token or of a batch. At the most:
    /// what lies between the pieces of a slot is counted too.
    pub bytes_a_pass: u64,
}

impl Plan {
    /// The plan that streams as few layers as possible, evenly among the others: each has as much time
    /// as possible to be brought while earlier ones compute. All layers stay where there is no budget.
    pub fn new(needs: &Needs, budget: Option<u64>) -> Result<Self, StreamError> {
        let can_stream: Vec<usize> =
            (0..needs.layers.len()).filter(|&layer| needs.layers[layer].in_slot > 0).collect();
        let none = Self::of(needs, budget, Vec::new());
        let with = |count: usize| Self::of(needs, budget, evenly(&can_stream, count));
        let all = with(can_stream.len());
        let minimum = none.total.min(all.total);
        let fits = |plan: &Self| budget.is_none_or(|budget| plan.total <= budget);
        let found = if fits(&none) {
            none
        } else if fits(&all) {
            // The more layers are streamed, the less it takes, but for the ring that the first one needs.
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
            return Err(StreamError::BudgetTooSmall { budget, minimum, working_set: all.working_set });
        };
        Ok(Self { minimum, ..found })
    }

    fn of(needs: &Needs, budget: Option<u64>, streamed: Vec<usize>) -> Self {
        let mut resident: u64 = 0;
        let (mut slot_bytes, mut layers_a_pass, mut bytes_a_pass) = (0, 0, 0u64);
        let slots = SLOTS.min(streamed.len());
        // A layer that has a slot for itself is brought there once.
        let moves = |i: usize| i >= slots || i + slots < streamed.len();
        let mut next = streamed.iter().copied().enumerate().peekable();
        for (i, layer) in needs.layers.iter().enumerate() {
            if let Some((k, _)) = next.next_if(|&(_, streamed)| streamed == i) {
                resident = resident.saturating_add(layer.beside_slot);
                slot_bytes = layer.in_slot.max(slot_bytes);
                if moves(k) {
                    layers_a_pass += 1;
                    bytes_a_pass = bytes_a_pass.saturating_add(layer.in_slot);
                }
            } else {
                resident = resident.saturating_add(layer.pinned);
            }
        }
        let ring = slot_bytes.saturating_mul(slots as u64 * needs.buffers_a_slot.max(1));
        let working_set = needs.working_set.max(needs.loading);
        let parts = [needs.fixed, working_set, resident.saturating_add(ring).max(needs.loading_fixed)];
        Self {
            budget,
            minimum: 0,
            total: parts.into_iter().fold(0, u64::saturating_add),
            fixed: needs.fixed,
            working_set,
            resident,
            layers: needs.layers.len(),
            streamed,
            slots,
            slot_bytes,
            ring,
            layers_a_pass,
            bytes_a_pass,
        }
    }

    /// Whether all layers stay.
    pub fn is_resident(&self) -> bool {
        self.streamed.is_empty()
    }

    /// Number of layers that stay.
    pub fn pinned(&self) -> usize {
        self.layers - self.streamed.len()
    }
}

/// `count` of `all`, as evenly as possible.
fn evenly(all: &[usize], count: usize) -> Vec<usize> {
    let before = |i: usize| i as u128 * count as u128 / all.len().max(1) as u128;
    (0..all.len()).filter(|&i| before(i + 1) > before(i)).map(|i| all[i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten layers of 100 bytes, 10 of which always stay.
    fn needs(buffers_a_slot: u64) -> Needs {
        let layer = LayerNeeds { pinned: 100, beside_slot: 10, in_slot: 90 };
        Needs {
            fixed: 50,
            working_set: 30,
            loading: 20,
            loading_fixed: 0,
            buffers_a_slot,
            layers: vec![layer; 10],
        }
    }

    #[test]
    fn all_layers_stay_where_they_fit() {
        for budget in [None, Some(1080), Some(5000)] {
            let plan = Plan::new(&needs(1), budget).unwrap();
            assert_eq!((plan.pinned(), plan.slots, plan.total, plan.bytes_a_pass), (10, 0, 1080, 0));
        }
    }

    #[test]
    fn as_few_layers_as_possible_are_streamed_and_evenly() {
        let plan = Plan::new(&needs(1), Some(810)).unwrap();
        assert_eq!(plan.total, 50 + 30 + 5 * 100 + 5 * 10 + 2 * 90);
        assert_eq!((plan.streamed.clone(), plan.bytes_a_pass), (vec![1, 3, 5, 7, 9], 450));
        // Of three, one has a slot for itself.
        let three = Plan::new(&needs(1), Some(50 + 30 + 7 * 100 + 3 * 10 + 2 * 90)).unwrap();
        assert_eq!((three.streamed.len(), three.layers_a_pass, three.bytes_a_pass), (3, 2, 180));
        // A byte less, and one more layer is streamed.
        assert_eq!(Plan::new(&needs(1), Some(809)).unwrap().streamed.len(), 6);
        // With a second buffer for each slot, two more.
        assert_eq!(Plan::new(&needs(2), Some(810)).unwrap().streamed.len(), 7);
    }

    #[test]
    fn a_budget_below_the_minimum_is_refused_with_the_minimum() {
        let minimum = 50 + 30 + 10 * 10 + 2 * 90;
        let plan = Plan::new(&needs(1), Some(minimum)).unwrap();
        assert_eq!((plan.streamed.len(), plan.total, plan.minimum), (10, minimum, minimum));
        let error = Plan::new(&needs(1), Some(minimum - 1)).unwrap_err();
        let StreamError::BudgetTooSmall { budget, minimum: told, working_set } = error else {
            panic!("{error}")
        };
        assert_eq!((budget, told, working_set), (minimum - 1, minimum, 30));
    }

    #[test]
    fn layers_that_cannot_be_streamed_stay() {
        let mut needs = needs(1);
        needs.layers[3].in_slot = 0;
        let plan = Plan::new(&needs, Some(500)).unwrap();
        assert!(!plan.streamed.contains(&3));
        needs.layers.iter_mut().for_each(|layer| layer.in_slot = 0);
        assert!(matches!(
            Plan::new(&needs, Some(1079)),
            Err(StreamError::BudgetTooSmall { minimum: 1080, .. })
        ));
    }

    #[test]
    fn what_loading_takes_counts_where_it_is_more_than_the_working_set() {
        let more = Needs { loading: 70, ..needs(1) };
        assert_eq!(Plan::new(&more, None).unwrap().total, 1120);
        // What is loaded before layers has their room.
        let total = |loading_fixed| Plan::new(&Needs { loading_fixed, ..needs(1) }, None).unwrap().total;
        assert_eq!((total(1000), total(1001)), (1080, 1081));
    }

    #[test]
    fn numbers_that_overflow_are_too_much() {
        let mut needs = needs(1);
        needs.layers[0].pinned = u64::MAX;
        needs.layers[0].in_slot = u64::MAX;
        assert!(Plan::new(&needs, Some(u64::MAX - 1)).is_err());
    }
}
