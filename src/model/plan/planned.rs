//! Plans how to load a model: the layout of its weights, and which of them stay.

use crate::archive::{ArchiveError, ModelFiles};
use crate::gpu::weights::layouts::Transcoded;
use crate::gpu::{Gpu, SlotKind, Uploader};
use crate::model::config::model_config::ModelConfig;
use crate::model::error::ModelError;
use crate::model::files::reading::{Reading, Wanted};
use crate::model::plan::economy::Economy;
use crate::model::plan::needs::{Census, Cut, Keeping, Opening, TensorCensus};
use crate::model::plan::options::{Layout, LoadOptions, USUAL_CONTEXT};
use crate::model::plan::precisions::Precisions;
use crate::model::shape::outputs::Outputs;
use crate::model::shape::session_bytes::session_bytes;
use crate::stream::{Plan, StreamError};

/// How to load a model.
pub(crate) struct Planned {
    /// `None` if memory is not limited, so that all weights stay.
    pub plan: Option<Plan>,
    /// The stages of the plan.
    pub cut: Cut,
    /// The precision at which each weight is read.
    pub precisions: Precisions,
    /// The layout that resident weights are transcoded to, if they can be.
    pub transcoded: Option<Transcoded>,
    /// Bytes available for staging buffers.
    pub staging: u64,
}

/// A stage is a layer, or such a fraction of one. Small slots leave more memory for resident weights.
const PIECES: [u64; 4] = [1, 2, 3, 7];

/// The fixed cost of a stage, which is fetched and submitted separately, in bytes that could be moved in the
/// same time.
const STAGE_BYTES: u64 = 256 << 10;

/// The cost of a token in bytes moved, including the fixed cost of stages.
fn cost(plan: &Plan) -> u64 {
    plan.bytes_a_pass.saturating_add(STAGE_BYTES.saturating_mul(plan.stages_a_pass as u64))
}

impl Planned {
    /// Makes a plan for the share `gpu`, and reserves the memory for it.
    pub async fn promised(
        gpu: &Gpu,
        files: &ModelFiles,
        config: &ModelConfig,
        options: &LoadOptions,
        reading: &Reading<'_>,
    ) -> Result<Self, ModelError> {
        if gpu.memory().left().is_none() {
            return Ok(Self::all_stays(gpu, options));
        }
        let openings = Census::openings(files, config)?;
        let open = |wanted: &Wanted| {
            let one = |open: Opening| wanted.check().and_then(|()| open());
            openings.into_iter().map(one).collect::<Result<_, _>>()
        };
        let census = Census::of(files, config, reading.run(open).await??)?;
        // Measuring the cost of a precision reads rows, so this also runs on the thread.
        let (gpu, config, options) = (gpu.clone(), config.clone(), options.clone());
        let plan = move |wanted: &Wanted| loop {
            let planned = Self::within_budget(&gpu, &census, &config, &options, &|| wanted.check())?;
            // Another model may have been loaded meanwhile, so less memory is left.
            if planned.plan.as_ref().is_none_or(|plan| gpu.memory().promise(plan.total)) {
                return Ok(planned);
            }
        };
        reading.run(plan).await?
    }

    /// Makes a plan for the memory that is left to the share `gpu`.
    pub fn new(
        gpu: &Gpu,
        files: &ModelFiles,
        config: &ModelConfig,
        options: &LoadOptions,
    ) -> Result<Self, ModelError> {
        match gpu.memory().left() {
            None => Ok(Self::all_stays(gpu, options)),
            Some(_) => Self::within_budget(gpu, &Census::read(files, config)?, config, options, &|| Ok(())),
        }
    }

    /// The requested layout; `Auto` only if the fast layout is faster.
    fn layout(gpu: &Gpu, options: &LoadOptions) -> Layout {
        match options.layout {
            _ if options.raw => Layout::Dense,
            Layout::Auto if !gpu.choices().fast_is_faster => Layout::Dense,
            layout => layout,
        }
    }

    fn within_budget(
        gpu: &Gpu,
        census: &Census,
        config: &ModelConfig,
        options: &LoadOptions,
        go_on: &dyn Fn() -> Result<(), ArchiveError>,
    ) -> Result<Self, ModelError> {
        let layout = Self::layout(gpu, options);
        let (budget, precisions) = (gpu.memory().left().unwrap_or(u64::MAX), options.precision.clone());
        // For a CPU, reading dense tiles takes several times as long as decoding them in advance.
        let decoded = if layout == Layout::Dense { &[] } else { SlotKind::decoded_on(gpu) };
        let slot_kinds = [decoded, &[SlotKind::Dense]].concat();
        let mut planner = Planner { gpu, census, options, config, budget, precisions, slot_kinds, go_on };
        if options.precision == Precisions::Auto && !options.raw {
            planner.precisions = planner.most_precise()?;
        }
        match layout {
            Layout::Dense => planner.plan(None),
            Layout::Fast => planner.plan(Some(Transcoded::Fast)),
            Layout::Tiered => planner.plan(Some(Transcoded::Tiered)),
            Layout::Auto => planner.faster(),
        }
    }

    /// Nothing is streamed, and no plan limits memory.
    fn all_stays(gpu: &Gpu, options: &LoadOptions) -> Self {
        let transcoded = match Self::layout(gpu, options) {
            Layout::Dense => None,
            Layout::Fast | Layout::Auto => Some(Transcoded::Fast),
            Layout::Tiered => Some(Transcoded::Tiered),
        };
        let precisions = match &options.precision {
            Precisions::Auto => Precisions::default(),
            given => given.clone(),
        };
        Self { plan: None, cut: Cut::default(), precisions, transcoded, staging: u64::MAX }
    }

    /// Whether streamed stages are decoded on the way into a slot.
    pub fn decodes(&self) -> bool {
        self.plan.as_ref().is_some_and(Plan::decodes)
    }

    /// Whether all weights are in device memory, the embedding too.
    fn is_whole(&self) -> bool {
        self.is_resident() && self.plan.as_ref().is_none_or(|plan| !plan.embedding_on_host)
    }

    /// Whether nothing is streamed.
    fn is_resident(&self) -> bool {
        self.plan.as_ref().is_none_or(Plan::is_resident)
    }
}

/// Makes plans for a budget.
struct Planner<'a> {
    gpu: &'a Gpu,
    census: &'a Census,
    config: &'a ModelConfig,
    options: &'a LoadOptions,
    budget: u64,
    precisions: Precisions,
    /// The possible forms of weights in slots, the better ones first.
    slot_kinds: Vec<SlotKind>,
    /// Returns an error if nobody wants the plan any more. Called before each plan that is tried.
    go_on: &'a dyn Fn() -> Result<(), ArchiveError>,
}

impl Planner<'_> {
    /// The fastest layout that all weights fit in, and dense tiles if they fit in none. Reading dense tiles takes a
    /// CPU longer than fetching a stage, so fast weights are worth the memory that they take from others. On
    /// other devices, the bytes decide.
    fn faster(&self) -> Result<Planned, ModelError> {
        let dense = self.plan(None)?;
        // Precision was reduced so that everything fits.
        let is_whole = self.options.precision == Precisions::Auto && dense.is_whole();
        for layout in Transcoded::ALL {
            let mut planned = match self.plan(Some(layout)) {
                Ok(planned) if is_whole && !planned.is_whole() => continue,
                Ok(planned) if !self.gpu.is_cpu() && !planned.is_resident() => continue,
                Ok(planned) => planned,
                Err(ModelError::Stream(_)) => continue,
                Err(error) => return Err(error),
            };
            // The dense layout may need less.
            if let (Some(plan), Some(dense)) = (&mut planned.plan, &dense.plan) {
                plan.minimum = plan.minimum.min(dense.minimum);
            }
            return Ok(planned);
        }
        Ok(dense)
    }

    /// The highest precisions at which all weights stay, dense; the lowest if none fit.
    fn most_precise(&mut self) -> Result<Precisions, ModelError> {
        let economy = Economy::measure(self.gpu, self.census, self.go_on)?;
        let (mut least, mut most) = (0, economy.len());
        // The more steps are taken, the less memory the weights need.
        while least < most {
            let middle = least.midpoint(most);
            self.precisions = economy.after(middle);
            if self.fits_whole()? {
                most = middle;
            } else {
                least = middle + 1;
            }
        }
        Ok(economy.after(least))
    }

    /// Whether everything fits the budget in dense tiles.
    fn fits_whole(&self) -> Result<bool, ModelError> {
        match self.plan(None) {
            Ok(planned) => Ok(planned.is_whole()),
            Err(ModelError::Stream(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The plan with the stage size that costs a token least. Stages are decoded on the way if that is wanted
    /// and any plan with decoding fits.
    fn plan(&self, transcoded: Option<Transcoded>) -> Result<Planned, ModelError> {
        (self.go_on)()?;
        let usual = || {
            let context = self.config.max_positions.min(USUAL_CONTEXT);
            session_bytes(self.config, context, Outputs::Last)
        };
        let adapter = self.options.adapter.as_ref().map_or(0, |adapter| adapter.device_bytes(self.config));
        let working_set = self.options.working_set.unwrap_or_else(usual).saturating_add(adapter);
        let needs = |(slot_kind, pieces)| {
            let (precisions, raw) = (&self.precisions, self.options.raw);
            let keeping = Keeping { precisions, raw, transcoded, slot_kind, as_if_compressed: false };
            self.census.needs(self.gpu, keeping, pieces, working_set)
        };
        let sizes = |&kind: &SlotKind| PIECES.map(|pieces| needs((kind, pieces))).into_iter().collect();
        let kinds = self.slot_kinds.iter().map(sizes).collect::<Result<Vec<Vec<_>>, _>>()?;
        let minimum = kinds.iter().flatten().map(|(needs, _)| Plan::minimum(needs)).min().unwrap_or(u64::MAX);
        for sizes in kinds {
            let plan = |(needs, cut)| Some((Plan::new(&needs, Some(self.budget)).ok()?, needs, cut));
            let plans = sizes.into_iter().filter_map(plan);
            if let Some((plan, needs, cut)) = plans.min_by_key(|(plan, ..)| cost(plan)) {
                // Sessions come later. Until then, loading may use their memory.
                let staging = plan.working_set - (needs.loading - Uploader::LEAST);
                let (plan, precisions) = (Some(Plan { minimum, ..plan }), self.precisions.clone());
                return Ok(Planned { plan, cut, precisions, transcoded, staging });
            }
        }
        let compressed = self.compressed_minimum(working_set)?;
        let working_set = working_set.max(Uploader::LEAST);
        Err(StreamError::BudgetTooSmall { budget: self.budget, minimum, working_set, compressed }.into())
    }

    /// The minimum budget if all weights were compressed, or were not decompressed first. `None` if all
    /// weights are already as small as possible.
    fn compressed_minimum(&self, working_set: u64) -> Result<Option<u64>, ModelError> {
        if !self.options.raw && !self.census.matrices().any(TensorCensus::is_plain) {
            return Ok(None);
        }
        let precisions = &self.precisions;
        let slot_kind = SlotKind::Dense;
        let keeping = Keeping { precisions, raw: false, transcoded: None, slot_kind, as_if_compressed: true };
        let least = |pieces| Ok(Plan::minimum(&self.census.needs(self.gpu, keeping, pieces, working_set)?.0));
        let sizes: Result<Vec<u64>, ModelError> = PIECES.into_iter().map(least).collect();
        Ok(sizes?.into_iter().min())
    }
}
