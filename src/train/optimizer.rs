//! How weights are changed: the optimizer, its rounding and its learning rate.

use serde::{Deserialize, Serialize};

use crate::gpu::kernels::training::updated::UpdateStep;

/// The rule by which gradients change weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Optimizer {
    /// Stochastic gradient descent, without momentum.
    Sgd,
    /// AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019). Two moments of F32 are kept for
    /// each weight.
    AdamW {
        /// How much of the first moment a step keeps.
        beta1: f32,
        /// How much of the second moment a step keeps.
        beta2: f32,
        /// Added to the root of the second moment.
        epsilon: f32,
    },
    /// AdaLomo (Lv and others, "AdaLomo: low-memory optimization with adaptive learning rate", 2023). A mean of squares is
    /// kept for each row and each column of a matrix, and for each element of a vector. The change of a tensor is limited,
    /// and relative to the size of its weights. Gradients of matrices in several pieces are computed three times.
    AdaLomo {
        /// Step `t` forgets `t` to the power of this, inverted, of a mean.
        decay: f32,
    },
}

impl Optimizer {
    /// AdamW with its usual parameters.
    pub const ADAM_W: Self = Self::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

    /// AdaLomo with its usual parameter.
    pub const ADA_LOMO: Self = Self::AdaLomo { decay: 0.8 };
}

/// The type of AdamW's moments of matrices. Those of vectors and of adapters are always F32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MomentsDtype {
    /// Eight bytes for a weight.
    #[default]
    F32,
    /// The first moment and the root of the second, rounded as weights are. Where weights are compressed, so are these, in
    /// the fast layout: three bytes for a weight, and four elsewhere. If they are rounded to the nearest, second moments
    /// hardly become smaller.
    Bf16,
}

/// How a new weight becomes BF16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rounding {
    /// To the nearest, ties to even. Changes of less than half a step of BF16 are lost.
    Nearest,
    /// Up or down at random, on the average to what was to be rounded ("Revisiting BFloat16 training", Zamirai and
    /// others, 2020).
    #[default]
    Stochastic,
}

/// How the learning rate goes down after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// It does not.
    #[default]
    Constant,
    /// In a straight line to zero at the last step.
    Linear,
    /// In half a cosine to zero at the last step.
    Cosine,
}

/// The learning rate by step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The largest learning rate.
    pub learning_rate: f32,
    /// Steps in which the rate goes up to it in a straight line.
    pub warm_up: u64,
    /// How it goes down after that.
    pub decay: Decay,
    /// All steps, which a decay ends with.
    pub steps: u64,
}

impl Schedule {
    /// The learning rate of step `step`, which begins with 1.
    pub fn at(&self, step: u64) -> f32 {
        let peak = f64::from(self.learning_rate);
        if step <= self.warm_up {
            return (peak * step as f64 / self.warm_up.max(1) as f64) as f32;
        }
        let left = self.steps.saturating_sub(self.warm_up).max(1) as f64;
        let gone = ((step - self.warm_up - 1) as f64 / left).min(1.0);
        let rate = match self.decay {
            Decay::Constant => peak,
            Decay::Linear => peak * (1.0 - gone),
            Decay::Cosine => peak * 0.5 * (1.0 + (std::f64::consts::PI * gone).cos()),
        };
        rate as f32
    }
}

/// The options of updates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UpdateOptions {
    /// The rule.
    pub optimizer: Optimizer,
    /// How weights are rounded.
    pub rounding: Rounding,
    /// The learning rate.
    pub schedule: Schedule,
    /// How much of each weight of a matrix a step takes away, beside the learning rate. Norms and biases keep theirs.
    pub weight_decay: f32,
    /// The type of AdamW's moments.
    #[serde(default)]
    pub moments: MomentsDtype,
    /// Elements of gradients are limited to this size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<f32>,
    /// What stochastic rounding depends on.
    pub seed: u32,
}

impl UpdateOptions {
    /// What kernels are given in step `step`, which begins with 1, if `counted` tokens count towards the loss.
    pub(crate) fn step(&self, step: u64, counted: usize) -> UpdateStep {
        let (beta1, beta2, epsilon) = match self.optimizer {
            Optimizer::Sgd => (0.0, 0.0, 0.0),
            Optimizer::AdamW { beta1, beta2, epsilon } => (beta1, beta2, epsilon),
            Optimizer::AdaLomo { decay } => (0.0, 1.0 - (step as f64).powf(-f64::from(decay)) as f32, 0.0),
        };
        let correction = |beta: f32| (1.0 - f64::from(beta).powf(step as f64)) as f32;
        UpdateStep {
            learning_rate: self.schedule.at(step),
            weight_decay: self.weight_decay,
            beta1,
            beta2,
            correction1: correction(beta1),
            correction2: correction(beta2),
            epsilon,
            loss_scale: (1.0 / counted.max(1) as f64) as f32,
            seed: self.seed,
            step: step as u32,
            clip: self.clip.unwrap_or(f32::MAX),
            unused: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_goes_up_and_then_down() {
        let schedule = |decay| Schedule { learning_rate: 1.0, warm_up: 4, decay, steps: 14 };
        for decay in [Decay::Constant, Decay::Linear, Decay::Cosine] {
            let rates: Vec<f32> = (1..=14).map(|step| schedule(decay).at(step)).collect();
            assert_eq!(rates[..5], [0.25, 0.5, 0.75, 1.0, 1.0], "{decay:?}");
            let goes_down = rates[5..].is_sorted_by(|a, b| a > b);
            assert_eq!(goes_down, decay != Decay::Constant, "{decay:?}: {rates:?}");
        }
        assert_eq!(schedule(Decay::Linear).at(10), 0.5);
        assert!((schedule(Decay::Cosine).at(10) - 0.5).abs() < 1e-6);
        assert_eq!(schedule(Decay::Linear).at(99), 0.0);
        assert_eq!(Schedule { warm_up: 0, ..schedule(Decay::Constant) }.at(1), 1.0);
    }
}
