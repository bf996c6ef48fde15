//! A kernel before it is bound to resources: its text, its variants, the choice among them, and compiling.
//!
//! It uses no other room of `gpu`.

mod candidates;
mod choice;
mod choices;
pub(in crate::gpu) mod compile;
pub(in crate::gpu) mod compiled;
mod importer;
mod invocations;
pub(in crate::gpu) mod pipeline_cache;
mod sharing;
mod sources;
pub(in crate::gpu) mod subject;
mod target;
mod variant;

pub use candidates::Candidates;
pub(in crate::gpu) use choice::Choice;
pub use choices::{InvocationsByStorage, KernelChoices, WidenFrom};
pub use compile::Kernel;
pub use importer::ShaderError;
pub use invocations::{Invocations, NoSuchInvocations};
pub use sharing::Sharing;
pub use target::{NoSuchTarget, Target};
pub use variant::Variant;
