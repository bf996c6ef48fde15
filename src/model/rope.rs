//! The rotations of rotary position embedding, tabulated on the CPU: drivers' sine and cosine of
//! large angles differ, and a table costs one read.

use super::config::{ModelConfig, RopeScaling};

/// Cosine and sine of `position · frequency` for the first `positions` positions, position by
/// position, `head_dim / 2` frequencies each.
pub(super) fn rotations(config: &ModelConfig, positions: usize) -> Vec<[f32; 2]> {
    let frequencies = frequencies(config);
    let rotation = |position: usize| {
        frequencies.iter().map(move |f| {
            // Other implementations take the angle in F32, so its rounding is part of the model.
            let (sin, cos) = (position as f32 * f).sin_cos();
            [cos, sin]
        })
    };
    (0..positions).flat_map(rotation).collect()
}

/// Radians a position, from the fastest to the slowest.
fn frequencies(config: &ModelConfig) -> Vec<f32> {
    let half = config.head_dim / 2;
    (0..half)
        .map(|i| {
            let frequency = config.rope_theta.powf(-(i as f64) / half as f64);
            scale(frequency, config.rope_scaling) as f32
        })
        .collect()
}

fn scale(frequency: f64, scaling: RopeScaling) -> f64 {
    match scaling {
        RopeScaling::None => frequency,
        RopeScaling::Linear { factor } => frequency / factor,
        RopeScaling::Llama3 { factor, low, high, original } => {
            // Full turns within the original context.
            let turns = original * frequency / std::f64::consts::TAU;
            if turns < low {
                frequency / factor
            } else if turns > high {
                frequency
            } else {
                let kept = (turns - low) / (high - low);
                (1.0 - kept) * frequency / factor + kept * frequency
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_divides_slow_frequencies_keeps_fast_ones_and_blends_between() {
        let scaling = RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
        let of_turns = |turns: f64| std::f64::consts::TAU * turns / 8192.0;
        assert_eq!(scale(of_turns(0.5), scaling), of_turns(0.5) / 8.0);
        assert_eq!(scale(of_turns(5.0), scaling), of_turns(5.0));
        let between = scale(of_turns(2.5), scaling) / of_turns(2.5);
        assert!((between - (0.5 / 8.0 + 0.5)).abs() < 1e-12);
        assert_eq!(scale(1.0, RopeScaling::Linear { factor: 4.0 }), 0.25);
    }
}
