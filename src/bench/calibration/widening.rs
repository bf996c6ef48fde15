//! Finds the batch size from which it pays to widen weights before a product.

use super::{Trial, Trials, WORTH_IT};
use crate::bench::contender::{Contender, Copies};
use crate::bench::error::BenchError;
use crate::bench::form::Form;
use crate::bench::products::{Kernel, Operands};
use crate::bench::timing::Patience;
use crate::gpu::{Invocations, KernelChoices, WideRoom, WidenFrom, download};

/// Batch sizes to try, ascending. Each is a multiple of the tokens that `matmul` multiplies at once.
pub(super) const BATCHES: [usize; 3] = [16, 32, 64];

/// The kernel that these trials name: the one that a product with a batch then needs in addition.
const NAME: &str = "widen";

/// One batch, multiplied with stored weights and with weights that are widened first.
struct Pair {
    tokens: usize,
    /// Invocations of the kernel that multiplies stored weights, and of the one that widens them.
    invocations: Invocations,
    stored: Contender,
    widened: Contender,
    same_bits: bool,
    // Dropping these destroys the buffers that the dispatches are bound to.
    _operands: Operands,
    _room: WideRoom,
}

impl Trials<'_> {
    /// Times products with widened weights for several batch sizes, and chooses the size from which to widen.
    /// Chooses nothing if time runs out or the driver rejects a kernel.
    pub(super) async fn compare_widened(&mut self, copies: &Copies) -> Result<(), BenchError> {
        let mut pairs = Vec::new();
        for tokens in BATCHES {
            if !self.patience.is_over() {
                pairs.extend(self.pair(copies, tokens).await?);
            }
            self.bench.progress.advance(1);
        }
        if pairs.len() < BATCHES.len() {
            return Ok(());
        }
        let patience = Patience::new(self.plan.effort.runs, self.plan.effort.figure);
        let mut rounds = 0;
        while patience.another(rounds) {
            self.bench.check()?;
            for Pair { tokens, stored, widened, .. } in &mut pairs {
                stored.run(&mut self.bench.clock, *tokens).await?;
                widened.run(&mut self.bench.clock, *tokens).await?;
            }
            rounds += 1;
        }
        let mut trials: Vec<Trial> = pairs.into_iter().map(Pair::trial).collect();
        let from = choose(&mut trials);
        match copies.form {
            Form::Raw => {}
            Form::Dense => self.choices.widen_from.dense = from,
            Form::Fast => self.choices.widen_from.fast = from,
            Form::Tiered => self.choices.widen_from.tiered = from,
        }
        self.done.extend(trials);
        Ok(())
    }

    /// Prepares both ways to multiply: compiles the kernels and runs each once.
    async fn pair(&mut self, copies: &Copies, tokens: usize) -> Result<Option<Pair>, BenchError> {
        self.bench.check()?;
        let Some(weights) = copies.weights.first() else { return Ok(None) };
        let invocations = self.choices.matmul.of(weights.format);
        let operands = Operands::new(&self.bench.gpu, self.plan.shape, tokens)?;
        let choices =
            KernelChoices { widen_from: WidenFrom { dense: 2, fast: 2, tiered: 2 }, ..self.choices };
        let gpu = self.bench.gpu.with_choices(choices);
        let room = WideRoom::new(&gpu, WideRoom::wanted(&gpu, tokens, &copies.weights))?;
        let kernel = Kernel::Matmul(tokens);
        let what = format!("{NAME} of {} weights", copies.form.name());
        let stored = self.contender(copies, &what, |weights| operands.dispatches(&gpu, kernel, weights))?;
        let widened = self.contender(copies, &what, |weights| operands.widened(&gpu, &room, weights))?;
        let Some((mut stored, mut widened)) = stored.zip(widened) else { return Ok(None) };
        let mut results = Vec::new();
        for contender in [&mut stored, &mut widened] {
            operands.clear(&gpu)?;
            contender.run(&mut self.bench.clock, tokens).await?;
            results.push(download(&gpu, &operands.y, operands.results).await?);
        }
        let same_bits = results[0] == results[1];
        if !same_bits {
            log::warn!("{what} gives different bits, so it is not used");
        }
        Ok(Some(Pair { tokens, invocations, stored, widened, same_bits, _operands: operands, _room: room }))
    }
}

impl Pair {
    fn trial(self) -> Trial {
        let Self { tokens, invocations, stored, widened, same_bits, .. } = self;
        Trial::of(NAME, tokens, invocations, widened, &stored.samples, same_bits)
    }
}

/// Marks the trials that gain, and returns the number of tokens from which all larger batches gain too.
/// `trials` are ordered by batch size.
fn choose(trials: &mut [Trial]) -> usize {
    let is_worth_it = |trial: &Trial| trial.same_bits && trial.ratio < WORTH_IT;
    let first = trials.iter().rposition(|trial| !is_worth_it(trial)).map_or(0, |last| last + 1);
    trials[first..].iter_mut().for_each(|trial| trial.chosen = true);
    match first.checked_sub(1) {
        None => 2,
        Some(_) if first == trials.len() => usize::MAX,
        Some(before) => trials[before].tokens + 1,
    }
}

/// Whether weights in this form can be widened.
pub(super) fn is_tried(form: Form) -> bool {
    form != Form::Raw
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::timing::Timing;

    #[test]
    fn widened_from_where_all_larger_batches_gain() {
        let from = |ratios: [f64; 3], same_bits: bool| {
            let trial = |(tokens, ratio)| Trial {
                kernel: NAME,
                form: Form::Dense.name(),
                tokens,
                invocations: Invocations::ONE_ROW_EACH,
                timing: Timing::of(vec![ratio]),
                ratio,
                same_bits,
                chosen: false,
            };
            let mut trials: Vec<Trial> = BATCHES.into_iter().zip(ratios).map(trial).collect();
            let from = choose(&mut trials);
            assert!(trials.iter().all(|trial| trial.chosen == (trial.tokens >= from)));
            from
        };
        assert_eq!(from([0.9, 0.5, 0.4], true), 2);
        assert_eq!(from([1.4, 0.9, 0.7], true), 17);
        assert_eq!(from([0.9, 1.1, 0.7], true), 33);
        assert_eq!(from([0.9, 0.5, 0.99], true), usize::MAX);
        assert_eq!(from([0.9, 0.5, 0.4], false), usize::MAX);
    }
}
