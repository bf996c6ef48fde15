//! How a model is to be loaded: which layout its weights have, and which of them stay.

use super::config::ModelConfig;
use super::error::ModelError;
use super::load::{Layout, LoadOptions};
use super::needs::{Census, Cut, Keeping};
use crate::archive::ModelFiles;
use crate::gpu::{Gpu, Uploader};
use crate::stream::{Plan, StreamError};

/// Positions of the session that room is left for where nothing else is said.
const USUAL_CONTEXT: usize = 1024;

/// How a model is to be loaded.
pub(super) struct Planned {
    /// `None` where there is no budget, and so all stays.
    pub plan: Option<Plan>,
    /// The stages that the plan counts.
    pub cut: Cut,
    /// Whether what stays is transcoded to the fast layout, where it can be.
    pub fast: bool,
    /// Bytes of staging buffers there is room for.
    pub staging: u64,
}

/// Stages have a layer, or such a part of one where larger ones do not fit.
const PIECES: [u64; 4] = [1, 2, 3, 7];

impl Planned {
    pub fn new(
        gpu: &Gpu,
        files: &ModelFiles,
        config: &ModelConfig,
        options: &LoadOptions,
    ) -> Result<Self, ModelError> {
        let layout = if options.raw { Layout::Dense } else { options.layout };
        let budget = options.device_budget.into_iter().chain(gpu.memory().budget()).min();
        let all_stays = |fast| Self { plan: None, cut: Cut::default(), fast, staging: u64::MAX };
        let Some(budget) = budget.map(|budget| budget.saturating_sub(gpu.memory().used())) else {
            let faster = layout == Layout::Auto && gpu.choices().fast_is_faster;
            return Ok(all_stays(faster || layout == Layout::Fast));
        };
        let streams = options.device_budget.is_some();
        if !streams && layout != Layout::Auto {
            return Ok(all_stays(layout == Layout::Fast));
        }
        let planner = Planner { gpu, census: Census::read(files, config)?, options, config, budget };
        match layout {
            _ if !streams => planner.whole().unwrap_or_else(|| Ok(all_stays(false))),
            Layout::Fast => planner.plan(true),
            Layout::Auto if gpu.choices().fast_is_faster => planner.faster(),
            _ => planner.plan(false),
        }
    }

    /// Whether everything stays on the device.
    fn is_whole(&self) -> bool {
        self.plan.as_ref().is_none_or(|plan| plan.is_resident() && !plan.embedding_on_host)
    }
}

/// Plans for a budget.
struct Planner<'a> {
    gpu: &'a Gpu,
    census: Census,
    config: &'a ModelConfig,
    options: &'a LoadOptions,
    budget: u64,
}

impl Planner<'_> {
    /// The faster of the layouts. Reading dense tiles takes a processor longer than bringing a stage, so
    /// there, fast weights are worth the room that they take from others. Elsewhere it is the bytes that
    /// count.
    fn faster(&self) -> Result<Planned, ModelError> {
        let dense = self.plan(false)?;
        let (mut fast, mut plan) = match self.plan(true) {
            Ok(Planned { plan: Some(plan), .. }) if !self.gpu.is_cpu() && !plan.is_resident() => {
                return Ok(dense);
            }
            Ok(Planned { plan: Some(plan), cut, fast, staging }) => {
                (Planned { plan: None, cut, fast, staging }, plan)
            }
            Ok(_) | Err(ModelError::Stream(_)) => return Ok(dense),
            Err(error) => return Err(error),
        };
        // The other layout needs less.
        plan.minimum = dense.plan.map_or(plan.minimum, |dense| dense.minimum.min(plan.minimum));
        fast.plan = Some(plan);
        Ok(fast)
    }

    /// The faster layout in which everything fits, without a plan to hold it to; `None` where it fits in none.
    fn whole(&self) -> Option<Result<Planned, ModelError>> {
        let layouts = [true, false].into_iter().filter(|fast| !fast || self.gpu.choices().fast_is_faster);
        let tried = layouts.map(|fast| self.plan(fast)).find(|planned| match planned {
            Ok(planned) => planned.is_whole(),
            Err(error) => !matches!(error, ModelError::Stream(_)),
        });
        tried.map(|planned| Ok(Planned { plan: None, cut: Cut::default(), ..planned? }))
    }

    /// The plan with the largest stages that fit.
    fn plan(&self, fast: bool) -> Result<Planned, ModelError> {
        let usual = || {
            let context = self.config.max_positions.min(USUAL_CONTEXT);
            super::Session::device_bytes(self.config, context, super::Outputs::Last)
        };
        let working_set = self.options.working_set.unwrap_or_else(usual);
        let keeping = Keeping { precision: self.options.precision, raw: self.options.raw, fast };
        let needs = |pieces| self.census.needs(self.gpu, keeping, pieces, working_set);
        let all = PIECES.map(needs).into_iter().collect::<Result<Vec<_>, _>>()?;
        let minimum = all.iter().map(|(needs, _)| Plan::minimum(needs)).min().unwrap_or(u64::MAX);
        for (needs, cut) in all {
            if let Ok(plan) = Plan::new(&needs, Some(self.budget)) {
                // Sessions come later: until then, what is left to them is for loading.
                let staging = plan.working_set - (needs.loading - Uploader::LEAST);
                return Ok(Planned { plan: Some(Plan { minimum, ..plan }), cut, fast, staging });
            }
        }
        let working_set = working_set.max(Uploader::LEAST);
        Err(StreamError::BudgetTooSmall { budget: self.budget, minimum, working_set }.into())
    }
}
