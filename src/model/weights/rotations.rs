//! The rotations of rotary position embedding, in a table that the CPU computes: drivers' sines and cosines
//! of large angles differ, and a table costs one read.

use std::ops::Range;
use std::sync::{Arc, Mutex, Weak};

use crate::archive::ArchiveError;
use crate::gpu::{Buffer, Gpu, Uploader};
use crate::model::config::model_config::ModelConfig;
use crate::model::config::rope_settings::RopeScaling;
use crate::model::error::ModelError;

/// The table on the device, which the sessions of a model share.
#[derive(Debug)]
pub(crate) struct Rotations {
    pub buffer: Buffer,
    positions: usize,
}

/// Positions to compute at a time. The host's memory holds no more of the table.
const PIECE: usize = 256;

impl Rotations {
    /// Bytes of a position.
    pub fn position_bytes(config: &ModelConfig) -> u64 {
        (config.head_dim / 2 * size_of::<[f32; 2]>()) as u64
    }

    /// The table in `shared` if it has at least `positions` positions; otherwise a new one, which `shared`
    /// then has for as long as a session uses it. Calls `go_on` now and then and returns its error.
    pub fn shared(
        gpu: &Gpu,
        config: &ModelConfig,
        positions: usize,
        shared: &Mutex<Weak<Self>>,
        go_on: &dyn Fn() -> Result<(), ArchiveError>,
    ) -> Result<Arc<Self>, ModelError> {
        let mut shared = shared.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(there) = shared.upgrade().filter(|there| there.positions >= positions) {
            return Ok(there);
        }
        let made = Arc::new(Self::new(gpu, config, positions, go_on)?);
        *shared = Arc::downgrade(&made);
        Ok(made)
    }

    fn new(
        gpu: &Gpu,
        config: &ModelConfig,
        positions: usize,
        go_on: &dyn Fn() -> Result<(), ArchiveError>,
    ) -> Result<Self, ModelError> {
        let each = Self::position_bytes(config);
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let buffer = gpu.buffer("rotations", positions as u64 * each, usage)?;
        let mut uploader = Uploader::within(gpu, Uploader::LEAST)?;
        for first in (0..positions).step_by(PIECE) {
            go_on()?;
            let piece = rotations(config, first..(first + PIECE).min(positions));
            let at = first as u64 * each;
            pollster::block_on(uploader.write(&buffer, at, bytemuck::cast_slice(&piece)))?;
        }
        Ok(Self { buffer, positions })
    }
}

/// Cosine and sine of `position · frequency` for some positions: for each position, `head_dim / 2` pairs.
pub(crate) fn rotations(config: &ModelConfig, positions: Range<usize>) -> Vec<[f32; 2]> {
    let frequencies = frequencies(config);
    let rotation = |position: usize| {
        frequencies.iter().map(move |f| {
            // Other implementations compute the angle in F32, so its rounding is part of the model.
            let (sin, cos) = (position as f32 * f).sin_cos();
            [cos, sin]
        })
    };
    positions.flat_map(rotation).collect()
}

/// Radians for each position, from the fastest to the slowest.
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
            // Full turns within the context length of the original training.
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
