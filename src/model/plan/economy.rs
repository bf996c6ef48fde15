//! Which weights to read with fewer bits first.

use std::collections::HashMap;

use crate::archive::ArchiveError;
use crate::codec::Precision;
use crate::codec::head::Kind;
use crate::gpu::{Gpu, SlotKind};
use crate::model::error::ModelError;
use crate::model::plan::needs::{Census, Keeping, TensorCensus};
use crate::model::plan::precisions::Precisions;

/// Precisions that a matrix goes through, the most precise first.
const LADDER: [Precision; 3] = [Precision::Lossless, Precision::Mantissa(5), Precision::Mantissa(3)];

/// Rows of a matrix in which rounding is measured.
const ROWS: usize = 8;

/// One matrix read one step less precisely.
#[derive(Debug, Clone, PartialEq)]
struct Step {
    name: String,
    precision: Precision,
    /// By how much the model gets worse for each byte that is saved, on a scale of its own.
    harm: f64,
}

/// Steps from lossless to the least precise, in the order in which they are to be taken.
pub(crate) struct Economy {
    steps: Vec<Step>,
}

impl Economy {
    /// Measures how much each matrix loses. Reads a few rows of each.
    /// It calls `go_on` before each matrix and ends with its error.
    pub fn measure(
        gpu: &Gpu,
        census: &Census,
        go_on: &dyn Fn() -> Result<(), ArchiveError>,
    ) -> Result<Self, ModelError> {
        let mut steps = Vec::new();
        for tensor in census.matrices() {
            go_on()?;
            steps.extend(steps_of(gpu, tensor, census.layers())?);
        }
        // Stable: of a matrix the more precise step stays before the less precise one.
        steps.sort_by(|a, b| a.harm.total_cmp(&b.harm));
        Ok(Self { steps })
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// The precisions after the first `count` steps.
    pub fn after(&self, count: usize) -> Precisions {
        let taken = self.steps[..count].iter().map(|step| (step.name.clone(), step.precision));
        Precisions::Each(taken.collect::<HashMap<_, _>>())
    }
}

/// How much rounding a matrix harms the model, where all lose the same share of themselves. The output
/// matrix, which every logit comes from directly, is 1, and so is an embedding of its own: that was not
/// measured apart.
///
/// From SmolLM2-135M with 2 mantissa bits of one kind of matrix and all of the others (see
/// `docs/measurements.md`), for 30 layers: the more there are, the less each of them does.
fn importance(tensor: &TensorCensus, layers: usize) -> f64 {
    let kind = match tensor.name.rsplit('.').nth(1).unwrap_or_default() {
        "gate_proj" | "up_proj" | "down_proj" => 0.1,
        "q_proj" | "k_proj" | "v_proj" | "o_proj" => 0.02,
        _ => return 1.0,
    };
    kind / layers.max(1) as f64
}

fn steps_of(gpu: &Gpu, tensor: &TensorCensus, layers: usize) -> Result<Vec<Step>, ModelError> {
    let Some(Kind::Tiled(tiled)) = tensor.reader.head().map(|head| &head.kind) else { return Ok(Vec::new()) };
    let takes = |precision: Precision| {
        let precisions = Precisions::All(precision);
        tensor.takes(
            gpu,
            Keeping {
                precisions: &precisions,
                raw: false,
                fast: false,
                slot_kind: SlotKind::Dense,
                as_if_compressed: false,
            },
        )
    };
    let (mut bytes, mut error) = (takes(Precision::Lossless)?.pinned, 0.0);
    let mut steps: Vec<Step> = Vec::new();
    for pair in LADDER.windows(2) {
        let [before, precision] = [pair[0], pair[1]];
        let now = takes(precision)?.pinned;
        if tiled.kept(precision) == tiled.kept(before) || now >= bytes {
            continue;
        }
        let rounded = rounding_error(tensor, precision)?;
        let harm = importance(tensor, layers) * (rounded - error).max(0.0) / (bytes - now) as f64;
        // Never before the step that it goes on from.
        let harm = steps.last().map_or(harm, |last| last.harm.max(harm));
        steps.push(Step { name: tensor.name.clone(), precision, harm });
        (bytes, error) = (now, rounded);
    }
    Ok(steps)
}

/// What a matrix read in `precision` loses of itself: the sum of the squares of what is lost, over that of
/// the squares of its elements, in a few of its rows.
fn rounding_error(tensor: &TensorCensus, precision: Precision) -> Result<f64, ModelError> {
    let rows = tensor.reader.rows();
    let (mut lost, mut all) = (0.0, 0.0);
    for row in (0..rows).step_by(rows.div_ceil(ROWS).max(1)) {
        let bytes = tensor.reader.read_matrix_rows(row..row + 1)?;
        let rounded = tensor.reader.values(&bytes, precision);
        for (exact, rounded) in tensor.reader.values(&bytes, Precision::Lossless).zip(rounded) {
            let (exact, rounded) = (f64::from(exact), f64::from(rounded));
            // Neither infinity nor NaN changes, and nothing can be said of them.
            if exact.is_finite() {
                lost += (exact - rounded).powi(2);
                all += exact.powi(2);
            }
        }
    }
    Ok(if all > 0.0 { lost / all } else { 0.0 })
}
