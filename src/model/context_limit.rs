//! What limits the length of a context.

use std::fmt;

/// What limits the length of a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContextLimit {
    /// The maximum bytes that a shader can bind at once.
    Binding {
        /// Bytes of a position: the keys and values of a layer, or the rotations.
        each: u64,
        /// Maximum bytes on this device.
        most: u64,
    },
    /// This driver ends loops after a certain number of iterations.
    Rounds,
    /// The largest position index.
    Positions,
}

impl fmt::Display for ContextLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binding { each, most } => write!(
                f,
                "a layer's keys and values, {each} bytes a position, must fit one binding, which has at most {most} \
                 bytes on this device; F16 keys and values take half as much as F32"
            ),
            Self::Rounds => {
                f.write_str("this driver (llvmpipe) ends longer loops early, which makes attention wrong")
            }
            Self::Positions => f.write_str("position indices go no further"),
        }
    }
}
