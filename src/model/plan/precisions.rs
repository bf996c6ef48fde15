//! The precision at which each of a model's weights is read.

use std::collections::HashMap;

use crate::codec::Precision;

/// The precision at which a model's weights are read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precisions {
    /// The same for all weights.
    All(Precision),
    /// Given for some weights, by name; the others are lossless.
    Each(HashMap<String, Precision>),
    /// The highest precision at which all weights stay in device memory. If the
    /// [budget](crate::model::LoadOptions::budget) is too small for lossless weights, some are read with
    /// fewer mantissa bits: first those that lose the least accuracy for each byte saved, estimated from the
    /// weights themselves and from where the model uses them. Without a budget, all weights are lossless. If
    /// even the lowest precision does not fit, all weights have that, and some are streamed.
    Auto,
}

impl Precisions {
    /// The precision of the tensor called `name`; lossless for [`Precisions::Auto`].
    pub fn of(&self, name: &str) -> Precision {
        match self {
            Self::All(precision) => *precision,
            Self::Each(precisions) => precisions.get(name).copied().unwrap_or_default(),
            Self::Auto => Precision::Lossless,
        }
    }

    /// The number of tensors of `names` at each precision, the highest first.
    pub fn counts<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<(Precision, usize)> {
        let mut counts: Vec<(Precision, usize)> = Vec::new();
        for precision in names.map(|name| self.of(name)) {
            match counts.iter_mut().find(|(counted, _)| *counted == precision) {
                Some((_, count)) => *count += 1,
                None => counts.push((precision, 1)),
            }
        }
        counts.sort_by_key(|(precision, _)| match precision {
            Precision::Lossless => 0,
            Precision::Mantissa(bits) => u32::from(u8::MAX - bits) + 1,
        });
        counts
    }
}

impl Default for Precisions {
    fn default() -> Self {
        Self::All(Precision::Lossless)
    }
}

impl From<Precision> for Precisions {
    fn from(precision: Precision) -> Self {
        Self::All(precision)
    }
}
