//! Assembles a kernel's WGSL from `shaders/`, at run time, for one variant.
//!
//! The importer knows four directives, each alone on a line:
//! - `#import name` puts `shaders/shared/name.wgsl` here;
//! - `#ifdef FLAG`, `#else`, `#endif` keep the lines of a variant;
//! - `#unroll m 16` … `#end` repeats the lines with `$m` replaced by 0 … 15, because the loops that
//!   naga writes for Metal are not unrolled by its compiler.

use std::fmt::Write;

/// One entry point of `shaders/` in one of its forms.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Variant {
    /// The kernel: `shaders/<kernel>.wgsl`.
    pub kernel: &'static str,
    /// Flags that `#ifdef` sees.
    pub flags: Vec<&'static str>,
    /// Constants, in the order they are declared.
    pub constants: Vec<(&'static str, u32)>,
}

/// Why a shader could not be assembled: always a mistake in `shaders/`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("shaders/{file}.wgsl, line {line}: {what}")]
pub struct ShaderError {
    /// The file, without folder or ending.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

macro_rules! sources {
    ($($name:literal => $path:literal),* $(,)?) => {
        /// Every file of `shaders/` by name.
        const SOURCES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../shaders/", $path)))),*];
    };
}

sources! {
    "attention" => "attention.wgsl",
    "decode" => "decode.wgsl",
    "embed" => "embed.wgsl",
    "matmul" => "matmul.wgsl",
    "matvec" => "matvec.wgsl",
    "norm" => "norm.wgsl",
    "rope" => "rope.wgsl",
    "swiglu" => "swiglu.wgsl",
    "shared/chunk" => "shared/chunk.wgsl",
    "shared/dense" => "shared/dense.wgsl",
    "shared/heads" => "shared/heads.wgsl",
    "shared/matrix" => "shared/matrix.wgsl",
    "shared/raw" => "shared/raw.wgsl",
    "shared/step" => "shared/step.wgsl",
}

impl Variant {
    /// The kernel in its plain form.
    pub fn new(kernel: &'static str) -> Self {
        Self { kernel, flags: Vec::new(), constants: Vec::new() }
    }

    /// Sets a flag.
    pub fn flag(mut self, flag: &'static str) -> Self {
        self.flags.push(flag);
        self
    }

    /// Sets a flag where `condition` holds.
    pub fn flag_if(self, condition: bool, flag: &'static str) -> Self {
        if condition { self.flag(flag) } else { self }
    }

    /// Declares a constant.
    pub fn constant(mut self, name: &'static str, value: u32) -> Self {
        self.constants.push((name, value));
        self
    }

    /// A name for logs and labels, such as `matvec[DENSE TOP_BITS=2]`.
    pub fn label(&self) -> String {
        let constants = self.constants.iter().map(|(name, value)| format!("{name}={value}"));
        let parts: Vec<String> = self.flags.iter().map(|f| f.to_string()).chain(constants).collect();
        if parts.is_empty() { self.kernel.into() } else { format!("{}[{}]", self.kernel, parts.join(" ")) }
    }

    /// The WGSL of this variant.
    pub fn source(&self) -> Result<String, ShaderError> {
        let mut out = String::new();
        for (name, value) in &self.constants {
            let _ = writeln!(out, "const {name}: u32 = {value}u;");
        }
        self.import(self.kernel, &mut out)?;
        Ok(out)
    }

    fn import(&self, file: &str, out: &mut String) -> Result<(), ShaderError> {
        let error = |line, what| ShaderError { file: file.into(), line, what };
        let text = SOURCES.iter().find(|(name, _)| *name == file).ok_or(error(0, "there is no such file"))?.1;
        // One entry for each open #ifdef: whether its lines are kept.
        let mut open: Vec<bool> = Vec::new();
        let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
        while let Some((number, line)) = lines.next() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["#ifdef", flag] => open.push(self.flags.contains(&flag)),
                ["#else"] => {
                    let kept = open.last_mut().ok_or(error(number, "#else without #ifdef"))?;
                    *kept = !*kept;
                }
                ["#endif"] => {
                    open.pop().ok_or(error(number, "#endif without #ifdef"))?;
                }
                _ if open.contains(&false) => {}
                ["#import", name] => self.import(&format!("shared/{name}"), out)?,
                ["#unroll", name, count] => {
                    let count: u32 = count.parse().map_err(|_| error(number, "#unroll needs a number"))?;
                    let body: Vec<&str> =
                        lines.by_ref().map(|(_, l)| l).take_while(|l| l.trim() != "#end").collect();
                    for i in 0..count {
                        for line in &body {
                            let _ = writeln!(out, "{}", line.replace(&format!("${name}"), &i.to_string()));
                        }
                    }
                }
                [word, ..] if word.starts_with('#') => return Err(error(number, "unknown directive")),
                _ => {
                    let _ = writeln!(out, "{line}");
                }
            }
        }
        if open.is_empty() { Ok(()) } else { Err(error(text.lines().count(), "#ifdef without #endif")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_choose_lines_and_unroll_repeats_them() {
        let raw = Variant::new("matvec").constant("WEIGHT_BITS", 16).source().unwrap();
        assert!(raw.starts_with("const WEIGHT_BITS: u32 = 16u;\n"));
        assert!(raw.contains("fn four_bits") && !raw.contains("codes") && !raw.contains('#'));
        let dense =
            Variant::new("matmul").flag("DENSE").flag("TOP_BITS_2").constant("TOP_BITS", 2).source().unwrap();
        assert!(dense.contains("codes") && dense.contains("sum15 = add_chunk(sum15, at + 15u * stride);"));
        assert!(!dense.contains("bias") && !dense.contains('$'));
    }

    #[test]
    fn an_unknown_kernel_is_an_error() {
        let error = Variant::new("nonesuch").source().unwrap_err();
        assert_eq!(error.to_string(), "shaders/nonesuch.wgsl, line 0: there is no such file");
    }
}
