//! A variant of a kernel: its flags and constants.

/// One entry point of `shaders/` in one of its forms.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Variant {
    /// The kernel: `shaders/<kernel>.wgsl`.
    pub kernel: &'static str,
    /// Flags that `#ifdef` sees.
    pub flags: Vec<String>,
    /// Constants, in the order they are declared.
    pub constants: Vec<(String, u32)>,
}

impl Variant {
    /// The kernel in its plain form.
    pub fn new(kernel: &'static str) -> Self {
        Self { kernel, flags: Vec::new(), constants: Vec::new() }
    }

    /// Sets a flag.
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Sets a flag where `condition` holds.
    pub fn flag_if(self, condition: bool, flag: impl Into<String>) -> Self {
        if condition { self.flag(flag) } else { self }
    }

    /// Declares a constant.
    pub fn constant(mut self, name: impl Into<String>, value: u32) -> Self {
        self.constants.push((name.into(), value));
        self
    }

    /// A name for logs and labels, such as `matvec[BIAS WEIGHT_BITS=16]`.
    pub fn label(&self) -> String {
        let constants = self.constants.iter().map(|(name, value)| format!("{name}={value}"));
        let parts: Vec<String> = self.flags.iter().cloned().chain(constants).collect();
        if parts.is_empty() { self.kernel.into() } else { format!("{}[{}]", self.kernel, parts.join(" ")) }
    }
}
