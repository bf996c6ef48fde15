//! A kernel before it is on a device: its text, its variants, and which of them a device is given.

pub(in crate::gpu) mod choices;
pub(in crate::gpu) mod compiled;
pub(in crate::gpu) mod invocations;
pub(in crate::gpu) mod pipeline_cache;
pub(in crate::gpu) mod shader;
pub(in crate::gpu) mod target;

pub use choices::{Candidates, InvocationsByStorage, KernelChoices, WidenFrom};
pub use invocations::{Invocations, NoSuchInvocations};
pub use shader::{ShaderError, Variant};
pub use target::{NoSuchTarget, Target};
