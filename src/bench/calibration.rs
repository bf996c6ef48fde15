//! Times candidate kernels on a device and chooses the fastest ones.

mod widening;

use std::time::{Duration, Instant};

use serde::Serialize;

use super::contender::{Contender, Copies};
use super::effort::Effort;
use super::error::BenchError;
use super::form::{Form, Original};
use super::products::{Kernel, Operands};
use super::timing::{Patience, Timing};
use super::{Bench, weights};
use crate::archive::Progress;
use crate::codec::{Payload, encode};
use crate::gpu::weights::DeviceMatrix;
use crate::gpu::{
    Candidates, Dispatch, Gpu, GpuError, Invocations, InvocationsByStorage, KernelChoices, Target, Uploader,
    download,
};
use crate::tensor::{Dtype, Matrix};

/// The batch size: as many tokens as a session computes at once.
const TOKENS: usize = 64;

/// A kernel replaces the default one only if it takes less than this share of its time. Less may be chance.
const WORTH_IT: f64 = 0.98;

/// If compiling a kernel and running it once takes longer than this, no kernel with more rows an invocation
/// is tried. A driver cannot be stopped while it compiles, so the slow kernel is waited for. A kernel that a
/// compiler may never finish is therefore no [candidate](Candidates).
const MOST_COMPILING: Duration = Duration::from_secs(20);

/// A candidate, timed.
#[derive(Debug, Clone, Serialize)]
pub struct Trial {
    /// The kernel.
    pub kernel: &'static str,
    /// The form of the weights.
    pub form: &'static str,
    /// Tokens that were multiplied at once.
    pub tokens: usize,
    /// Shader invocations for 64 rows.
    pub invocations: Invocations,
    /// The time of one product.
    #[serde(flatten)]
    pub timing: Timing,
    /// Median, over all rounds, of the ratio of this kernel's time to the default kernel's. For widened
    /// weights, the reference is the same product without widening. A busy machine slows both kernels alike,
    /// so this ratio is more reliable than one of medians.
    pub ratio: f64,
    /// Whether the results are bit-identical to the reference. A candidate with other results is never
    /// chosen.
    pub same_bits: bool,
    /// Whether this candidate was chosen.
    pub chosen: bool,
}

/// The result of timing the kernels on a device.
#[derive(Debug, Clone, Serialize)]
pub struct Calibration {
    /// The fastest kernels, for [`Gpu::with_choices`] and [`KernelChoices::store`].
    pub choices: KernelChoices,
    /// The clock that timed passes: the device's (`timestamps`) or the host's (`wall`).
    pub clock: &'static str,
    /// All candidates that were timed.
    pub trials: Vec<Trial>,
}

impl Calibration {
    /// Multiplies with a matrix of random weights, in every form and with every candidate. This takes a
    /// second or two on a GPU, more if the driver compiles slowly, and ten seconds or more on a CPU. It needs
    /// about 150 MiB of device memory, less on a CPU. Use a device that was opened with
    /// [timestamps](crate::gpu::GpuOptions::timestamps) and that has nothing else to do.
    pub async fn run(gpu: &Gpu, progress: &dyn Progress) -> Result<Self, BenchError> {
        let plan = Plan::of(gpu.target());
        let gpu = gpu.with_choices(KernelChoices::usual(gpu.target()));
        let bench = Bench::new(&gpu, plan.effort, progress)?;
        let patience = Patience::new(usize::MAX, plan.lasts);
        progress.begin_count(plan.candidates() as u64, "timing kernels");
        let choices = *gpu.choices();
        let trials = Trials { bench, plan, patience, expected: [None, None], choices, done: Vec::new() };
        let calibration = trials.run().await;
        progress.finish();
        calibration
    }
}

/// The candidates to time, and for how long.
#[derive(Debug, Clone, Copy)]
struct Plan {
    effort: Effort,
    /// Rows and columns of the matrix.
    shape: [usize; 2],
    /// The default kernel comes first.
    candidates: Candidates,
    /// After this time, only the default kernels are still tried.
    lasts: Duration,
}

impl Plan {
    fn of(target: Target) -> Self {
        let candidates = Candidates::of(target);
        match target {
            // Enough copies of a matrix that no cache holds them all.
            Target::Gpu => Self {
                effort: Effort {
                    runs: 7,
                    pass: Duration::from_millis(5),
                    figure: Duration::from_millis(250),
                    rotation: 128 << 20,
                    ..Effort::QUICK
                },
                shape: [4096, 2048],
                candidates,
                lasts: Duration::from_secs(15),
            },
            // A candidate may take seconds to compile.
            Target::Llvmpipe | Target::Cpu => Self {
                effort: Effort {
                    runs: 9,
                    pass: Duration::from_millis(10),
                    figure: Duration::from_secs(2),
                    rotation: 16 << 20,
                    ..Effort::QUICK
                },
                shape: [1024, 1024],
                candidates,
                lasts: Duration::from_secs(90),
            },
        }
    }

    fn invocations(&self, kernel: Kernel, form: Form) -> &'static [Invocations] {
        match (kernel, form, self.candidates) {
            (_, Form::Dense | Form::Tiered, Candidates { streams: Some(streams), .. }) => streams,
            (Kernel::Matvec, _, Candidates { matvec, .. }) => matvec,
            (Kernel::Matmul(_), _, Candidates { matmul, .. }) => matmul,
        }
    }

    /// The number of candidates in all.
    fn candidates(&self) -> usize {
        let of_form =
            |form| KERNELS.map(|kernel| self.invocations(kernel, form).len()).into_iter().sum::<usize>();
        let widened = Form::ALL.into_iter().filter(|&form| widening::is_tried(form)).count();
        Form::ALL.map(of_form).into_iter().sum::<usize>() + widened * widening::BATCHES.len()
    }
}

/// The kernels that have candidates.
const KERNELS: [Kernel; 2] = [Kernel::Matvec, Kernel::Matmul(TOKENS)];

/// The entry of `choices` for `kernel` and weights in `form`.
fn place(choices: &mut KernelChoices, kernel: Kernel, form: Form) -> &mut Invocations {
    let InvocationsByStorage { raw, dense, fast, tiered } = match kernel {
        Kernel::Matvec => &mut choices.matvec,
        Kernel::Matmul(_) => &mut choices.matmul,
    };
    match form {
        Form::Raw => raw,
        Form::Dense => dense,
        Form::Fast => fast,
        Form::Tiered => tiered,
    }
}

/// The trials of one device.
struct Trials<'a> {
    bench: Bench<'a>,
    plan: Plan,
    patience: Patience,
    /// The results that every candidate of each kernel must reproduce in every bit. The first one sets them.
    expected: [Option<Vec<u8>>; 2],
    choices: KernelChoices,
    done: Vec<Trial>,
}

/// A candidate, which is timed in turn with others.
struct Candidate {
    invocations: Invocations,
    contender: Contender,
    same_bits: bool,
}

impl Trials<'_> {
    async fn run(mut self) -> Result<Calibration, BenchError> {
        let [rows, cols] = self.plan.shape;
        let bytes = weights::gaussian(Dtype::BF16, rows * cols, 1);
        let payload = encode(Dtype::BF16, &self.plan.shape, &bytes)?;
        let payload = Payload::parse(&payload)?;
        let matrix = Matrix { rows, cols };
        let original = Original { dtype: Dtype::BF16, matrix, bytes: &bytes, payload: &payload };
        let copies = (self.plan.effort.rotation / bytes.len() as u64).max(1) as usize;
        let mut uploader = Uploader::new(&self.bench.gpu)?;
        for form in Form::ALL {
            let copies = Copies::upload(&self.bench.gpu, &mut uploader, form, &original, copies).await?;
            let Some(copies) = copies else { continue };
            for kernel in KERNELS {
                self.compare(kernel, &copies).await?;
            }
            if widening::is_tried(form) {
                self.compare_widened(&copies).await?;
            }
        }
        self.choices.fast_is_faster = fast_is_faster(&self.done);
        Ok(Calibration { choices: self.choices, clock: self.bench.clock(), trials: self.done })
    }

    /// Times all candidates of one kernel for weights in one form, and chooses the fastest.
    async fn compare(&mut self, kernel: Kernel, copies: &Copies) -> Result<(), BenchError> {
        let operands = Operands::new(&self.bench.gpu, self.plan.shape, kernel.tokens())?;
        let mut candidates = Vec::new();
        // The kernel that took too long to compile. Those with more rows would take longer still.
        let mut too_long: Option<Invocations> = None;
        for &invocations in self.plan.invocations(kernel, copies.form) {
            let is_longer = too_long.is_some_and(|given_up| invocations < given_up);
            if candidates.is_empty() || !(self.patience.is_over() || is_longer) {
                let start = Instant::now();
                candidates.extend(self.candidate(kernel, copies, &operands, invocations).await?);
                if start.elapsed() > MOST_COMPILING {
                    too_long = Some(invocations);
                }
            }
            self.bench.progress.advance(1);
        }
        let patience = Patience::new(self.plan.effort.runs, self.plan.effort.figure);
        let mut rounds = 0;
        while patience.another(rounds) {
            self.bench.check()?;
            for candidate in &mut candidates {
                candidate.contender.run(&mut self.bench.clock, kernel.tokens()).await?;
            }
            rounds += 1;
        }
        let usual = candidates.first().map_or_else(Vec::new, |usual| usual.contender.samples.clone());
        let mut trials: Vec<Trial> = candidates.into_iter().map(|c| c.trial(kernel, &usual)).collect();
        if let Some(best) = fastest(&mut trials) {
            *place(&mut self.choices, kernel, copies.form) = best;
        }
        self.done.extend(trials);
        Ok(())
    }

    /// Compiles a kernel and runs it once; `None` if the driver rejects it.
    async fn candidate(
        &mut self,
        kernel: Kernel,
        copies: &Copies,
        operands: &Operands,
        invocations: Invocations,
    ) -> Result<Option<Candidate>, BenchError> {
        self.bench.check()?;
        let mut choices = self.choices;
        *place(&mut choices, kernel, copies.form) = invocations;
        let gpu = self.bench.gpu.with_choices(choices);
        let what =
            || format!("{} of {} weights, {invocations} invocations", kernel.name(), copies.form.name());
        let bind = |weights: &DeviceMatrix| operands.dispatches(&gpu, kernel, weights);
        let Some(mut contender) = self.contender(copies, &what(), bind)? else { return Ok(None) };
        operands.clear(&gpu)?;
        contender.run(&mut self.bench.clock, kernel.tokens()).await?;
        let results = download(&gpu, &operands.y, operands.results).await?;
        let expected = &mut self.expected[usize::from(kernel != Kernel::Matvec)];
        let same_bits = *expected.get_or_insert_with(|| results.clone()) == results;
        if !same_bits {
            log::warn!("{} gives different bits, so it is not used", what());
        }
        Ok(Some(Candidate { invocations, contender, same_bits }))
    }

    /// Creates a contender, which the log calls `what`; `None` if the driver rejects one of its kernels.
    fn contender(
        &self,
        copies: &Copies,
        what: &str,
        bind: impl Fn(&DeviceMatrix) -> Result<Vec<Dispatch>, GpuError>,
    ) -> Result<Option<Contender>, BenchError> {
        match Contender::new(copies, self.plan.effort.pass, bind) {
            Err(GpuError::Validation(why)) => {
                log::warn!("{what} is not used: {why}");
                Ok(None)
            }
            contender => Ok(Some(contender?)),
        }
    }
}

impl Candidate {
    /// `usual` has the default kernel's time of each round.
    fn trial(self, kernel: Kernel, usual: &[f64]) -> Trial {
        Trial::of(kernel.name(), kernel.tokens(), self.invocations, self.contender, usual, self.same_bits)
    }
}

impl Trial {
    /// `others` has the reference's time of each round.
    fn of(
        kernel: &'static str,
        tokens: usize,
        invocations: Invocations,
        contender: Contender,
        others: &[f64],
        same_bits: bool,
    ) -> Self {
        let ratios = contender.samples.iter().zip(others).map(|(taken, other)| taken / other.max(1e-12));
        let ratio = Timing::of(ratios.collect()).seconds;
        let (form, timing) = (contender.form.name(), Timing::of(contender.samples));
        Self { kernel, form, tokens, invocations, timing, ratio, same_bits, chosen: false }
    }
}

/// Marks the best of `trials`, the first of which has the default kernel. `None` if all results are wrong.
fn fastest(trials: &mut [Trial]) -> Option<Invocations> {
    let usual = trials.first()?.invocations;
    let cost = |trial: &Trial| {
        let favour = if trial.invocations == usual { WORTH_IT } else { 1.0 };
        trial.ratio * favour
    };
    let right = trials.iter_mut().filter(|trial| trial.same_bits);
    let best = right.min_by(|a, b| cost(a).total_cmp(&cost(b)))?;
    best.chosen = true;
    Some(best.invocations)
}

/// Whether a product with one token is faster from the fast layout. Text generation waits for these products.
fn fast_is_faster(trials: &[Trial]) -> bool {
    let seconds = |form: Form| {
        let is_it = |t: &&Trial| t.chosen && t.kernel == Kernel::Matvec.name() && t.form == form.name();
        trials.iter().find(is_it).map(|trial| trial.timing.seconds)
    };
    match (seconds(Form::Fast), seconds(Form::Dense)) {
        (Some(fast), Some(dense)) => fast < dense,
        (fast, _) => fast.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(form: Form, invocations: Invocations, seconds: f64, same_bits: bool) -> Trial {
        let (kernel, form, timing) = (Kernel::Matvec.name(), form.name(), Timing::of(vec![seconds]));
        let ratio = seconds / 3.0;
        Trial { kernel, form, tokens: 1, invocations, timing, ratio, same_bits, chosen: false }
    }

    #[test]
    fn the_first_candidate_is_the_usual_one() {
        for target in Target::ALL {
            let (plan, mut usual) = (Plan::of(target), KernelChoices::usual(target));
            for (kernel, form) in KERNELS.into_iter().flat_map(|kernel| Form::ALL.map(|form| (kernel, form)))
            {
                assert_eq!(
                    plan.invocations(kernel, form)[0],
                    *place(&mut usual, kernel, form),
                    "{kernel:?} {form:?}"
                );
                let all = plan.invocations(kernel, form);
                assert!(all.iter().all(|&invocations| target.compiles(invocations)), "{target}: {all:?}");
            }
        }
    }

    #[test]
    fn the_fastest_is_chosen_if_it_is_right_and_worth_it() {
        let best = |of: [(f64, bool); 3]| {
            let rows = [Invocations::TWO_ROWS_EACH, Invocations::ONE_ROW_EACH, Invocations::FOUR_ROWS_EACH];
            let trial = |((seconds, same), rows)| trial(Form::Raw, rows, seconds, same);
            let mut trials: Vec<Trial> = of.into_iter().zip(rows).map(trial).collect();
            let best = fastest(&mut trials);
            let chosen: Vec<Invocations> =
                trials.iter().filter(|t| t.chosen).map(|t| t.invocations).collect();
            assert_eq!(chosen, Vec::from_iter(best));
            best
        };
        assert_eq!(best([(3.0, true), (2.0, true), (4.0, true)]), Some(Invocations::ONE_ROW_EACH));
        assert_eq!(best([(3.0, true), (2.0, false), (4.0, true)]), Some(Invocations::TWO_ROWS_EACH));
        assert_eq!(best([(3.0, true), (2.99, true), (2.95, true)]), Some(Invocations::TWO_ROWS_EACH));
        assert_eq!(best([(3.0, false), (5.0, true), (4.0, true)]), Some(Invocations::FOUR_ROWS_EACH));
        assert_eq!(best([(3.0, false), (2.0, false), (4.0, false)]), None);
        assert_eq!(fastest(&mut []), None);
    }

    #[test]
    fn the_fast_layout_has_to_be_faster_and_right() {
        let faster = |fast: (f64, bool), dense: (f64, bool)| {
            let mut fast = [trial(Form::Fast, Invocations::ONE_ROW_EACH, fast.0, fast.1)];
            let mut dense = [trial(Form::Dense, Invocations::ONE_ROW_EACH, dense.0, dense.1)];
            fastest(&mut fast);
            fastest(&mut dense);
            fast_is_faster(&[dense, fast].concat())
        };
        assert!(faster((1.0, true), (2.0, true)));
        assert!(!faster((2.0, true), (1.0, true)));
        assert!(!faster((1.0, false), (2.0, true)));
        assert!(faster((2.0, true), (1.0, false)));
    }
}
