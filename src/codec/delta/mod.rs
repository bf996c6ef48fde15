//! A tensor as the difference to another one of its type and shape, its *base*: fine-tuned to original, step
//! to step.
//!
//! Elements are compared as ordered integers (Ning et al., FM-Delta, NeurIPS 2024): a step from one float to
//! the next is a difference of 1. Small differences are symbols; of larger ones the sign and the leading bits
//! are, and the rest follows as it is. How large a difference is likely to be depends on the exponent of the
//! base's element, because an optimizer moves small and large weights about equally far: so there are eight
//! contexts, each with states of its own for the symbols.
//!
//! | File | What it holds |
//! |---|---|
//! | `repeated` | A base that is shorter than the tensor. |
//! | `unit` | Elements as ordered integers, and their exponents. |
//! | `symbol` | Symbols for differences, and the bits behind them. |
//! | `counts` | How often symbols occur at which exponent, and the contexts that follow from that. |
//! | `lane_bits` | The bits of a lane, written from the last to the first. |
//! | `encode` | Encoding a difference. |
//! | `write_lanes` | The loop of that. |
//! | `decode` | Adding it to the base again. |
//! | `read_lanes` | The loop of that. |

mod counts;
mod decode;
mod encode;
mod lane_bits;
mod read_lanes;
mod repeated;
mod symbol;
mod unit;
mod write_lanes;

pub use decode::Delta;
pub(crate) use decode::{DeltaDecoder, Run};
pub use encode::encode_delta;
pub(crate) use encode::encode_delta_in_memory;
pub(crate) use repeated::repeat_first;
