//! Dispatches of a session, recorded for each number of tokens that has others.

use crate::gpu::Dispatch;
use crate::model::compute::products::Products;
use crate::model::error::ModelError;
use crate::model::weights::model::Model;

/// Recorded dispatches, each with the least number of tokens that they are for, the fewest tokens first.
#[derive(Debug, Default)]
pub(crate) struct Recorded(Vec<(usize, Vec<Dispatch>)>);

impl Recorded {
    /// What `record` gives for one token, and for batches of up to `most` tokens.
    pub fn new(
        model: &Model,
        most: usize,
        mut record: impl FnMut(Products<'_>) -> Result<Vec<Dispatch>, ModelError>,
    ) -> Result<Self, ModelError> {
        let mut all = vec![(1, record(Products::Single)?)];
        all.extend(Self::batches(model, most, record)?.0);
        Ok(Self(all))
    }

    /// The same for batches alone.
    pub fn batches(
        model: &Model,
        most: usize,
        mut record: impl FnMut(Products<'_>) -> Result<Vec<Dispatch>, ModelError>,
    ) -> Result<Self, ModelError> {
        let Some(room) = &model.wide_room else { return Ok(Self(vec![(2, record(Products::Batch)?)])) };
        let record = |tokens| Ok((tokens, record(Products::Widened(tokens, room))?));
        model.gpu.choices().widen_from.steps(most).into_iter().map(record).collect::<Result<_, _>>().map(Self)
    }

    /// Those for so many tokens: none where there are none.
    pub fn of(&self, tokens: usize) -> &[Dispatch] {
        self.0.iter().rfind(|(least, _)| *least <= tokens).map_or(&[], |(_, dispatches)| dispatches)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
