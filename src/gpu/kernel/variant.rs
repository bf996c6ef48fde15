//! A variant of a kernel: its choices, and the flags and constants that follow from them.

use std::hash::{Hash, Hasher};

use super::choice::{Choice, Meaning};

/// One entry point of `shaders/` in one of its forms.
///
/// Variants are equal if their WGSL is equal, whatever their choices are called.
#[derive(Debug, Clone)]
pub struct Variant {
    /// The kernel: `shaders/<kernel>.wgsl`.
    pub kernel: &'static str,
    /// The names of its choices. Different variants of a kernel have different names.
    pub choices: Vec<String>,
    /// Flags that `#ifdef` tests.
    pub flags: Vec<String>,
    /// Constants, in the order they are declared.
    pub constants: Vec<(String, u32)>,
}

impl PartialEq for Variant {
    fn eq(&self, other: &Self) -> bool {
        let Self { kernel, choices: _, flags, constants } = self;
        (kernel, flags, constants) == (&other.kernel, &other.flags, &other.constants)
    }
}

impl Eq for Variant {}

impl Hash for Variant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { kernel, choices: _, flags, constants } = self;
        (kernel, flags, constants).hash(state);
    }
}

impl Variant {
    /// The kernel in its plain form.
    pub fn new(kernel: &'static str) -> Self {
        Self { kernel, choices: Vec::new(), flags: Vec::new(), constants: Vec::new() }
    }

    /// Adds a choice.
    pub(in crate::gpu) fn choose(mut self, choice: Choice) -> Self {
        let Meaning { name, flags, constants } = choice.meaning();
        self.choices.extend(name);
        self.flags.extend(flags.iter().map(|&flag| flag.into()));
        self.constants.extend(constants.into_iter().map(|(name, value)| (name.into(), value)));
        self
    }

    /// Adds a choice if `condition` holds.
    pub(in crate::gpu) fn choose_if(self, condition: bool, choice: Choice) -> Self {
        if condition { self.choose(choice) } else { self }
    }

    /// Adds the name of the weights' layout. The layout adds its flags and constants.
    pub(in crate::gpu) fn stored_as(mut self, name: String) -> Self {
        self.choices.push(name);
        self
    }

    /// Sets a flag that follows from the choices.
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Sets a flag if `condition` holds.
    pub fn flag_if(self, condition: bool, flag: impl Into<String>) -> Self {
        if condition { self.flag(flag) } else { self }
    }

    /// Declares a constant that follows from the choices.
    pub fn constant(mut self, name: impl Into<String>, value: u32) -> Self {
        self.constants.push((name.into(), value));
        self
    }

    /// A name for logs and labels, such as `matvec[dense:bf16.t2.escape rows=8 bias]`.
    pub fn label(&self) -> String {
        match &self.choices[..] {
            [] => self.kernel.into(),
            choices => format!("{}[{}]", self.kernel, choices.join(" ")),
        }
    }
}
