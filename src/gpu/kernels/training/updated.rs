//! What a step of the optimizer makes of a weight.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Choice, Variant};

/// What changes from one step to the next: `Step` of `shaders/shared/update_step.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct UpdateStep {
    /// How far a weight goes.
    pub learning_rate: f32,
    /// How much of a weight is taken away, besides the learning rate.
    pub weight_decay: f32,
    /// How much of the first moment of gradients is kept.
    pub beta1: f32,
    /// How much of the second moment is kept.
    pub beta2: f32,
    /// 1 - beta1 to the power of the step.
    pub correction1: f32,
    /// 1 - beta2 to the power of the step.
    pub correction2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// 1 / how many tokens count towards the loss.
    pub loss_scale: f32,
    /// What stochastic rounding depends on, besides the weight.
    pub seed: u32,
    /// The number of the step, from 1.
    pub step: u32,
    /// Gradients are limited to this size.
    pub clip: f32,
    /// Zero.
    pub unused: u32,
}

/// What weights are rounded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounded {
    /// To the nearest BF16, ties to even.
    Nearest,
    /// To a BF16, up or down at random.
    Stochastic,
    /// Not at all: weights are F32.
    No,
}

/// What the optimizer keeps for each weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moments {
    /// Nothing (SGD).
    No,
    /// Two moments (AdamW), F32.
    F32,
    /// The first moment and the root of the second, BF16, rounded as weights are.
    Bf16,
}

/// How weights are updated and rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdateRule {
    /// What is kept.
    pub moments: Moments,
    /// How weights are rounded.
    pub rounded: Rounded,
}

impl UpdateRule {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let of =
            |rounded| [Moments::No, Moments::F32, Moments::Bf16].map(|moments| Self { moments, rounded });
        [Rounded::Nearest, Rounded::Stochastic, Rounded::No].into_iter().flat_map(of)
    }

    /// Those of matrices, which are always BF16.
    pub fn of_matrices() -> impl Iterator<Item = Self> {
        Self::all().filter(|rule| rule.rounded != Rounded::No)
    }

    /// Those of vectors, whose moments are always F32.
    pub fn of_vectors() -> impl Iterator<Item = Self> {
        Self::all().filter(|rule| rule.moments != Moments::Bf16)
    }

    pub(super) fn apply(self, variant: Variant) -> Variant {
        variant
            .choose_if(self.moments == Moments::F32, Choice::Moments)
            .choose_if(self.moments == Moments::Bf16, Choice::MomentsBf16)
            .choose_if(self.rounded == Rounded::Stochastic, Choice::Stochastic)
            .choose_if(self.rounded == Rounded::No, Choice::Unrounded)
    }
}

/// A gradient was not finite: a bit of the status.
pub const BAD_GRADIENT: u32 = 1;
/// A weight would not have been finite: a bit of the status.
pub const BAD_WEIGHT: u32 = 2;

/// Every bit of `x` changes half of the result's.
fn mix(x: u32) -> u32 {
    let mut h = x;
    h = (h ^ (h >> 16)).wrapping_mul(0x7feb_352d);
    h = (h ^ (h >> 15)).wrapping_mul(0x846c_a68b);
    h ^ (h >> 16)
}

/// The place of a weight: its tensor, row and column.
pub type Place = [u32; 3];

/// The bits of a rounded number: a BF16 is in the upper half of a word.
pub fn rounded(number: f32, step: &UpdateStep, rounded: Rounded, [tensor, row, col]: Place) -> u32 {
    let bits = number.to_bits();
    let more = match rounded {
        Rounded::No => return bits,
        Rounded::Stochastic => mix(col ^ mix(row ^ mix(tensor ^ mix(step.step ^ mix(step.seed))))) & 0xffff,
        Rounded::Nearest => 0x7fff + (bits >> 16 & 1),
    };
    bits.wrapping_add(more) & 0xffff_0000
}

/// Moments are rounded as if they were weights of tensors with these numbers more.
const MOMENT_TENSORS: [u32; 2] = [0x4000_0000, 0x8000_0000];

/// What is kept of moments after a step as BF16: the first, and the root of the second.
pub fn rounded_moments(
    moments: [f32; 2],
    step: &UpdateStep,
    rounding: Rounded,
    [tensor, row, col]: Place,
) -> [f32; 2] {
    let root = moments[1].sqrt();
    [(moments[0], MOMENT_TENSORS[0]), (root, MOMENT_TENSORS[1])]
        .map(|(number, more)| f32::from_bits(rounded(number, step, rounding, [tensor ^ more, row, col])))
}

/// The twin. Gives the weight's bits, those of a BF16 in the upper half of a word, and bits of the status.
pub fn cpu(
    bits: u32,
    grad: f32,
    moments: Option<&mut [f32; 2]>,
    step: &UpdateStep,
    rounding: Rounded,
    place: Place,
) -> (u32, u32) {
    let largest = if moments.is_some() { grad * grad } else { grad };
    if !largest.is_finite() {
        return (bits, BAD_GRADIENT);
    }
    let weight = f32::from_bits(bits);
    let grad = grad.clamp(-step.clip, step.clip);
    let change = match moments {
        None => grad,
        Some([first, second]) => {
            *first = step.beta1.mul_add(*first, (1.0 - step.beta1) * grad);
            *second = step.beta2.mul_add(*second, (1.0 - step.beta2) * grad * grad);
            *first / step.correction1 / ((*second / step.correction2).sqrt() + step.epsilon)
        }
    };
    let change = step.weight_decay.mul_add(weight, change);
    let result = rounded((-step.learning_rate).mul_add(change, weight), step, rounding, place);
    if f32::from_bits(result).is_finite() { (result, 0) } else { (bits, BAD_WEIGHT) }
}
