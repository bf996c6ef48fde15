//! Submits a batch to the device, in one submission or several.

use std::ops::Range;
use std::sync::Arc;

use crate::gpu::{Batch, Buffer, Dispatch, Gpu, Pace};
use crate::model::error::ModelError;
use crate::stream::Ring;

/// Copies the results of a batch to a buffer that the host reads.
#[derive(Debug, Clone)]
pub(crate) struct Results {
    pub from: Arc<Buffer>,
    /// Bytes to copy, from the start of the buffer. If 0, nothing is recorded.
    pub len: u64,
    pub to: Arc<Buffer>,
}

/// One batch.
pub(crate) struct Pass<'a> {
    pub gpu: &'a Gpu,
    pub batch: Batch,
    /// Positions that the batch's last token attends to, including its own.
    pub positions: u32,
    /// All dispatches, in order.
    pub dispatches: Vec<&'a Dispatch>,
    pub results: Results,
}

/// Dispatches that are submitted together.
#[derive(Debug, PartialEq, Eq)]
struct Submission {
    dispatches: Range<usize>,
    /// The streamed stage that this submission needs first, and begins to read.
    begins: Option<usize>,
    /// The streamed stage that no later submission reads.
    ends: Option<usize>,
}

impl Pass<'_> {
    /// Submits all dispatches: each streamed stage as it arrives, and no more work at a time than the
    /// device's limit.
    pub async fn submit(&self, ring: Option<&Ring>, pace: &mut Pace) -> Result<(), ModelError> {
        let submissions = self.submissions();
        let mut turn = match ring {
            Some(ring) => Some(ring.turn(submissions.iter().filter(|s| s.begins.is_some()).count()).await),
            None => None,
        };
        for (i, submission) in submissions.iter().enumerate() {
            if let (Some(turn), Some(stage)) = (&mut turn, submission.begins) {
                turn.ready(stage).await?;
                turn.begin(stage)?;
            }
            self.gpu.warm_up(&self.dispatches[submission.dispatches.clone()], self.batch).await?;
            pace.next(self.gpu).await?;
            self.gpu.submit("forward", |encoder| {
                let dispatches = &self.dispatches[submission.dispatches.clone()];
                Dispatch::record_all(encoder, dispatches.iter().copied(), self.batch);
                if i + 1 == submissions.len() && self.results.len > 0 {
                    let Results { from, len, to } = &self.results;
                    encoder.copy_buffer_to_buffer(from.raw(), 0, to.raw(), 0, Some(*len));
                }
            })?;
            match (&mut turn, submission.ends) {
                (Some(turn), Some(stage)) => turn.used(stage),
                (Some(turn), None) => turn.submitted(),
                (None, _) => {}
            }
        }
        Ok(())
    }

    /// Splits the dispatches where a streamed stage begins, and where a submission would have too much work.
    /// A dispatch that alone is too much work gets a submission of its own.
    fn submissions(&self) -> Vec<Submission> {
        let (mut all, mut work, mut stages) = (Vec::<Submission>::new(), 0u64, 0);
        // For each stage, the last submission that reads it.
        let mut readers = Vec::new();
        for (i, dispatch) in self.dispatches.iter().enumerate() {
            let begins = dispatch.stage().filter(|&stage| stage == stages);
            let more = dispatch.work(self.batch, self.positions);
            // A dispatch without work can join any submission.
            let is_too_much = work.min(more) > 0 && work.saturating_add(more) > self.gpu.submission_work();
            if all.is_empty() || begins.is_some() || is_too_much {
                all.push(Submission { dispatches: i..i, begins, ends: None });
                work = 0;
            }
            work = work.saturating_add(more);
            if begins.is_some() {
                stages += 1;
                readers.push(0);
            }
            if let Some(reader) = dispatch.stage().and_then(|stage| readers.get_mut(stage)) {
                *reader = all.len() - 1;
            }
            all.last_mut().iter_mut().for_each(|submission| submission.dispatches.end = i + 1);
        }
        readers.iter().enumerate().for_each(|(stage, &reader)| all[reader].ends = Some(stage));
        all
    }
}
