//! Settings of the rotary position embedding in `config.json`. They may be in three places, and separate for
//! each type of layer.

use serde_json::{Map, Value};

use crate::model::config::fields::Fields;

/// The default base.
const THETA: f64 = 10_000.0;

/// How rotary frequencies are scaled for sequences longer than those of the original training.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// No scaling.
    None,
    /// All frequencies are divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// As in Llama 3.1: low frequencies are divided, high ones kept, and those in between blended.
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// Wavelengths above `original / low` are divided.
        low: f64,
        /// Wavelengths below `original / high` are kept.
        high: f64,
        /// Context length of the original training.
        original: f64,
    },
}

/// Base and scaling of the frequencies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RopeSettings {
    pub theta: f64,
    pub scaling: RopeScaling,
}

impl RopeSettings {
    /// Reads the settings of a model whose layers have these types. `max_positions` is what the model was
    /// made for.
    ///
    /// Newer files have everything in `rope_parameters`, older ones the scaling in `rope_scaling`. A base in
    /// one of these takes precedence over one outside. If both objects exist, Hugging Face transformers uses
    /// `rope_scaling` and drops the other; here, they must agree.
    pub fn read(config: Fields<'_>, layer_types: &[&str], max_positions: usize) -> Result<Self, String> {
        whole(config, "")?;
        let place = |name: &'static str| match config.object(name)? {
            Some(object) => Self::of_object(config, name, object, layer_types, max_positions).map(Some),
            None => Ok(None),
        };
        match (place("rope_scaling")?, place("rope_parameters")?) {
            (Some(old), Some(new)) if old != new => Err(format!(
                "rope_scaling ({}) and rope_parameters ({}) disagree; remove the one that is wrong",
                old.words(),
                new.words()
            )),
            (Some(settings), _) | (None, Some(settings)) => Ok(settings),
            (None, None) => {
                Ok(Self { theta: config.number("rope_theta")?.unwrap_or(THETA), scaling: RopeScaling::None })
            }
        }
    }

    /// Reads one of the two objects. It applies to all layers, or has an object for each type of layer.
    fn of_object(
        config: Fields<'_>,
        name: &str,
        object: &Map<String, Value>,
        layer_types: &[&str],
        max_positions: usize,
    ) -> Result<Self, String> {
        let nested = object.values().filter(|value| value.is_object()).count();
        if nested == 0 {
            let prefix = format!("{name}.");
            return Self::of_fields(config, Fields::within(object, &prefix), max_positions);
        }
        if nested < object.len() {
            return Err(format!(
                "{name} has settings for all layers and for types of layers; remove one of them"
            ));
        }
        let mut all: Option<Self> = None;
        for (layer_type, settings) in object {
            let Some(fields) = settings.as_object().filter(|_| layer_types.contains(&layer_type.as_str()))
            else {
                continue;
            };
            let prefix = format!("{name}.{layer_type}.");
            let settings = Self::of_fields(config, Fields::within(fields, &prefix), max_positions)?;
            if all.is_some_and(|all| all != settings) {
                return Err(format!("{name} differs by the type of layer, which is not supported"));
            }
            all = Some(settings);
        }
        let types = || layer_types.join(", ");
        all.ok_or_else(|| {
            format!("{name} has no settings for the layers of this model, which are {}", types())
        })
    }

    fn of_fields(config: Fields<'_>, rope: Fields<'_>, max_positions: usize) -> Result<Self, String> {
        whole(rope, "rope: ")?;
        let outside = config.number("rope_theta")?;
        let inside = rope.number("rope_theta")?;
        if let (Some(inside), Some(outside)) = (inside, outside)
            && inside != outside
        {
            log::warn!(
                "config.json: rope_theta is {outside}, but {inside} next to the scaling; {inside} is used, as in \
                 Hugging Face transformers"
            );
        }
        let theta = inside.or(outside).unwrap_or(THETA);
        Ok(Self { theta, scaling: scaling(config, rope, max_positions)? })
    }

    fn words(&self) -> String {
        let scaling = match self.scaling {
            RopeScaling::None => "not scaled".into(),
            RopeScaling::Linear { factor } => format!("linear by {factor}"),
            RopeScaling::Llama3 { factor, low, high, original } => {
                format!("llama3 by {factor}, from {low} to {high}, of {original}")
            }
        };
        format!("theta {}, {scaling}", self.theta)
    }
}

/// Returns an error if only a part of a head is rotated.
fn whole(fields: Fields<'_>, what: &str) -> Result<(), String> {
    match fields.number("partial_rotary_factor")? {
        None | Some(1.0) => Ok(()),
        Some(factor) => Err(format!("{what}partial_rotary_factor is {factor}; only 1 is supported")),
    }
}

fn scaling(config: Fields<'_>, rope: Fields<'_>, max_positions: usize) -> Result<RopeScaling, String> {
    let number = |name| match rope.number(name)? {
        Some(v) if v.is_finite() && v > 0.0 => Ok(v),
        _ => Err(rope.wrong(name, "a number above 0")),
    };
    // The older name is `type`. Files that were saved again have both.
    let (named, older) = (rope.text("rope_type")?, rope.text("type")?);
    match named.or(older) {
        None if rope.get("factor").is_some() => Err(rope.wrong("rope_type", "named if there is a factor")),
        None | Some("default") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear { factor: number("factor")? }),
        Some("llama3") => {
            let original = match config.number("original_max_position_embeddings")? {
                Some(original) => Some(original),
                None => rope.number("original_max_position_embeddings")?,
            };
            let (low, high) = (number("low_freq_factor")?, number("high_freq_factor")?);
            let original = original.unwrap_or(max_positions as f64);
            if low >= high || !(original.is_finite() && original > 0.0) {
                return Err(format!(
                    "llama3 scaling needs low_freq_factor ({low}) below high_freq_factor ({high}), and \
                     original_max_position_embeddings ({original}) above 0"
                ));
            }
            Ok(RopeScaling::Llama3 { factor: number("factor")?, low, high, original })
        }
        Some(other) => {
            Err(format!("rope scaling {other:?} is not supported, only \"linear\" and \"llama3\""))
        }
    }
}
