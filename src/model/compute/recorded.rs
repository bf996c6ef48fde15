//! Dispatches of a session, recorded for each range of batch sizes that needs its own.

use crate::gpu::Dispatch;
use crate::model::compute::products::Products;
use crate::model::error::ModelError;
use crate::model::weights::model::Model;

/// Recorded dispatches, each with the minimum number of tokens that they are for, in ascending order.
#[derive(Debug, Default)]
pub(crate) struct Recorded(Vec<(usize, Vec<Dispatch>)>);

impl Recorded {
    /// Calls `record` for one token, and for batches of up to `most` tokens.
    pub fn new(
        model: &Model,
        most: usize,
        mut record: impl FnMut(Products<'_>) -> Result<Vec<Dispatch>, ModelError>,
    ) -> Result<Self, ModelError> {
        let mut all = vec![(1, record(Products::Single)?)];
        all.extend(Self::batches(model, most, record)?.0);
        Ok(Self(all))
    }

    /// The same, for batches only.
    pub fn batches(
        model: &Model,
        most: usize,
        mut record: impl FnMut(Products<'_>) -> Result<Vec<Dispatch>, ModelError>,
    ) -> Result<Self, ModelError> {
        let Some(room) = &model.wide_room else { return Ok(Self(vec![(2, record(Products::Batch)?)])) };
        let record = |tokens| Ok((tokens, record(Products::Widened(tokens, room))?));
        model.gpu.choices().widen_from.steps(most).into_iter().map(record).collect::<Result<_, _>>().map(Self)
    }

    /// The dispatches for this many tokens; empty if there are none.
    pub fn of(&self, tokens: usize) -> &[Dispatch] {
        self.0.iter().rfind(|(least, _)| *least <= tokens).map_or(&[], |(_, dispatches)| dispatches)
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
