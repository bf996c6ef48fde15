//! Chooses which weights to read with fewer bits first.

use std::collections::HashMap;

use crate::archive::ArchiveError;
use crate::codec::Precision;
use crate::codec::head::Kind;
use crate::gpu::{Gpu, SlotKind};
use crate::model::error::ModelError;
use crate::model::plan::needs::{Census, Keeping, TensorCensus};
use crate::model::plan::precisions::Precisions;

/// The precisions that a matrix can step through, the highest first.
const LADDER: [Precision; 3] = [Precision::Lossless, Precision::Mantissa(5), Precision::Mantissa(3)];

/// Rows of a matrix in which the rounding error is measured.
const ROWS: usize = 8;

/// One matrix, read with one step less precision.
#[derive(Debug, Clone, PartialEq)]
struct Step {
    name: String,
    precision: Precision,
    /// How much worse the model gets for each saved byte, on an arbitrary scale.
    harm: f64,
}

/// All steps from lossless to the lowest precision, in the order in which to take them.
pub(crate) struct Economy {
    steps: Vec<Step>,
}

impl Economy {
    /// Measures how much accuracy each matrix loses, by reading a few rows of each. Calls `go_on` before each
    /// matrix and returns its error.
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
        // A stable sort: of one matrix, the more precise step stays before the less precise one.
        steps.sort_by(|a, b| a.harm.total_cmp(&b.harm));
        Ok(Self { steps })
    }

    /// The number of steps.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// The precisions after the first `count` steps.
    pub fn after(&self, count: usize) -> Precisions {
        let taken = self.steps[..count].iter().map(|step| (step.name.clone(), step.precision));
        Precisions::Each(taken.collect::<HashMap<_, _>>())
    }
}

/// How much rounding a matrix harms the model, if all matrices lose the same share of themselves. The output
/// matrix, which directly computes every logit, counts as 1. So does a separate embedding, which was not
/// measured on its own.
///
/// Measured with SmolLM2-135M, with 2 mantissa bits for one kind of matrix and all bits for the others (see
/// `docs/measurements.md`), for 30 layers. The more layers there are, the less each one contributes.
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
                transcoded: None,
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
        // Never before the previous step of the same matrix.
        let harm = steps.last().map_or(harm, |last| last.harm.max(harm));
        steps.push(Step { name: tensor.name.clone(), precision, harm });
        (bytes, error) = (now, rounded);
    }
    Ok(steps)
}

/// The share of a matrix that is lost at `precision`: the sum of the squared rounding errors over the sum of
/// the squared elements, in a few of its rows.
fn rounding_error(tensor: &TensorCensus, precision: Precision) -> Result<f64, ModelError> {
    let rows = tensor.reader.rows();
    let (mut lost, mut all) = (0.0, 0.0);
    for row in (0..rows).step_by(rows.div_ceil(ROWS).max(1)) {
        let bytes = tensor.reader.read_matrix_rows(row..row + 1)?;
        let rounded = tensor.reader.values(&bytes, precision);
        for (exact, rounded) in tensor.reader.values(&bytes, Precision::Lossless).zip(rounded) {
            let (exact, rounded) = (f64::from(exact), f64::from(rounded));
            // Infinities and NaNs do not change, and have no rounding error.
            if exact.is_finite() {
                lost += (exact - rounded).powi(2);
                all += exact.powi(2);
            }
        }
    }
    Ok(if all > 0.0 { lost / all } else { 0.0 })
}
