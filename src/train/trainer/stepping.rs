//! A step: the losses of a batch, their gradients, and changed weights.

use super::Trainer;
use crate::gpu::GpuError;
use crate::gpu::kernels::training::embed_grad::tokens_by_row;
use crate::gpu::kernels::training::logit_stats::{LogitStats, NO_TARGET};
use crate::gpu::kernels::training::updated::{BAD_GRADIENT, UpdateStep};
use crate::train::batch::Batch;
use crate::train::error::TrainError;
use crate::train::step::{Ops, Runner};

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct StepReport {
    /// The step, from 1.
    pub step: u64,
    /// The mean loss of the tokens that count, in nats, before the step.
    pub loss: f64,
    /// How many tokens those are.
    pub counted: usize,
    /// The learning rate of the step.
    pub learning_rate: f32,
}

impl Trainer {
    /// The mean loss of the tokens of `batch` that count. Nothing is changed.
    pub async fn loss(&mut self, batch: &Batch) -> Result<f64, TrainError> {
        self.check(batch)?;
        let gpu = self.gpu.clone();
        let (mut runner, mut sum) = (Runner::new(&gpu), 0.0);
        for part in batch.parts(self.options.accumulate) {
            self.give(&part)?;
            sum = self.forward(&part, &mut runner, sum).await?;
        }
        Ok(sum / batch.counted() as f64)
    }

    /// Computes the loss of `batch` and its gradients, and changes all weights. If the future is dropped before it ends,
    /// or an error of the device ends it, weights may have changed in part, and the trainer refuses to go on.
    pub async fn step(&mut self, batch: &Batch) -> Result<StepReport, TrainError> {
        self.check(batch)?;
        let (step, counted) = (self.steps + 1, batch.counted());
        let update = self.options.update.step(step, counted);
        self.gpu.write(&self.activations.step, bytemuck::bytes_of(&update))?;
        let of_vectors = UpdateStep { weight_decay: 0.0, ..update };
        self.gpu.write(&self.activations.vector_step, bytemuck::bytes_of(&of_vectors))?;
        let gpu = self.gpu.clone();
        let mut runner = Runner::new(&gpu);
        let loss = self.gradients(batch, &mut runner, step).await? / counted as f64;
        let status = self.status().await?;
        (self.steps, self.is_torn) = (step, false);
        match status {
            0 => {}
            status if status & BAD_GRADIENT != 0 => {
                return Err(TrainError::NotFinite { step, what: "gradients" });
            }
            _ => return Err(TrainError::NotFinite { step, what: "new values" }),
        }
        Ok(StepReport { step, loss, counted, learning_rate: update.learning_rate })
    }

    /// Computes the gradients of all parts of a batch, and changes all weights. The sum of the losses.
    async fn gradients(
        &mut self,
        batch: &Batch,
        runner: &mut Runner<'_>,
        step: u64,
    ) -> Result<f64, TrainError> {
        let accumulates = self.options.accumulate > 1;
        let mut sum = 0.0;
        run_all(&self.ops.begin, runner).await?;
        for part in batch.parts(self.options.accumulate) {
            self.give(&part)?;
            sum = self.forward(&part, runner, sum).await?;
            if !sum.is_finite() {
                return Err(TrainError::LossNotFinite { step });
            }
            // Where gradients add up, weights change after the last of them.
            self.is_torn = !accumulates;
            self.backward(runner).await?;
        }
        self.is_torn = true;
        run_all(&self.ops.update, runner).await?;
        Ok(sum)
    }

    /// An error unless the trainer can take a batch.
    fn check(&self, batch: &Batch) -> Result<(), TrainError> {
        self.require_whole()?;
        let wrong = |found: String, expected: String| TrainError::WrongBatch { found, expected };
        let (sequences, length) = (self.options.step_sequences(), self.sizes.length);
        if batch.length != length
            || batch.ids.len() != sequences * length
            || batch.targets.len() != batch.ids.len()
        {
            return Err(wrong(
                format!(
                    "{} tokens and {} targets in sequences of {}",
                    batch.ids.len(),
                    batch.targets.len(),
                    batch.length
                ),
                format!("{sequences} sequences of {length}"),
            ));
        }
        let vocab = self.config.vocab as u32;
        let is_target = |&&id: &&u32| id != NO_TARGET;
        let mut all = batch.ids.iter().chain(batch.targets.iter().filter(is_target));
        if let Some(id) = all.find(|&&id| id >= vocab) {
            return Err(wrong(format!("token {id}"), format!("a vocabulary of {vocab}")));
        }
        if batch.counted() == 0 {
            return Err(wrong("no token that counts towards the loss".into(), "at least one".into()));
        }
        Ok(())
    }

    /// Brings a part of a batch to the device.
    fn give(&self, batch: &Batch) -> Result<(), TrainError> {
        let a = &self.activations;
        let (starts, places) = tokens_by_row(&batch.ids, self.config.vocab);
        for (buffer, words) in [
            (&a.ids, &batch.ids),
            (&a.targets, &batch.targets),
            (&a.row_starts, &starts),
            (&a.row_places, &places),
        ] {
            self.gpu.write(buffer, bytemuck::cast_slice(words))?;
        }
        Ok(self.gpu.write(&a.status, bytemuck::bytes_of(&0u32))?)
    }

    /// Adds the losses of the batch that is on the device to `before`; NaN if they are not finite.
    async fn forward(
        &mut self,
        batch: &Batch,
        runner: &mut Runner<'_>,
        before: f64,
    ) -> Result<f64, TrainError> {
        run_all(&self.ops.forward, runner).await?;
        let bytes = self.activations.stats.size();
        let stats = &self.activations.stats;
        let sum = |bytes: &[u8]| {
            let stats = bytemuck::pod_collect_to_vec::<u8, LogitStats>(bytes);
            let counts = stats.iter().zip(&batch.targets).filter(|&(_, &target)| target != NO_TARGET);
            counts.fold(before, |sum, (stats, _)| sum + stats.loss())
        };
        Ok(self.readback.fetch(&self.gpu, "loss", stats, bytes, sum).await?)
    }

    /// Computes gradients and changes weights. Where changed weights have too little room, makes more.
    async fn backward(&mut self, runner: &mut Runner<'_>) -> Result<(), TrainError> {
        for i in 0..self.ops.backward.segments().len() {
            runner.run(&self.ops.backward.segments()[i]).await?;
            if !self.ops.backward.segments()[i].encodes() {
                continue;
            }
            let needs = self.needs().await?;
            if self.grow(&needs)? {
                runner.encode_again(&self.ops.backward.segments()[i]).await?;
            }
        }
        Ok(())
    }

    async fn status(&mut self) -> Result<u32, GpuError> {
        let status = &self.activations.status;
        self.readback.fetch(&self.gpu, "status", status, 4, bytemuck::pod_read_unaligned::<u32>).await
    }
}

/// Submits all segments.
async fn run_all(ops: &Ops, runner: &mut Runner<'_>) -> Result<(), GpuError> {
    for segment in ops.segments() {
        runner.run(segment).await?;
    }
    Ok(())
}
