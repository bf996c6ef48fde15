//! Assembles a kernel's WGSL from `shaders/`, at run time, for one variant.
//!
//! The importer knows these directives, each alone on a line:
//! - `#import name` puts `shaders/shared/name.wgsl` here;
//! - `#ifdef FLAG`, `#else`, `#endif` keep the lines of a variant;
//! - `#unroll m 16` … `#end` repeats the lines, directives included, with `$m` replaced by 0 … 15, because
//!   Metal's compiler does not unroll the loops that naga writes. The number can be the name of one of the
//!   variant's constants.

use std::fmt::Write;

use super::sources;
use super::variant::Variant;

/// Why a shader could not be assembled: always a defect in `shaders/`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("shaders/{file}.wgsl, line {line}: {what}")]
pub struct ShaderError {
    /// The file, without its folder or extension.
    pub file: String,
    /// The line number, from 1.
    pub line: usize,
    /// The fault.
    pub what: &'static str,
}

impl Variant {
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
        let text = sources::source(file).ok_or(ShaderError::new(file, 0, "there is no such file"))?;
        let lines: Vec<Line> = text.lines().enumerate().map(|(i, line)| (i + 1, line)).collect();
        self.expand(file, &lines, out)
    }

    /// Writes the expansion of a file or of the body of an `#unroll`.
    fn expand(&self, file: &str, lines: &[Line], out: &mut String) -> Result<(), ShaderError> {
        let error = |line, what| ShaderError::new(file, line, what);
        // One entry for each open #ifdef: whether its lines are kept.
        let mut open: Vec<bool> = Vec::new();
        let mut rest = lines.iter();
        while let Some(&(number, line)) = rest.next() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["#ifdef", flag] => open.push(self.flags.iter().any(|f| f == flag)),
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
                    let count = self.count(count).ok_or(error(number, "#unroll needs a number"))?;
                    let body = body_of(&mut rest);
                    for i in 0..count {
                        self.expand_with(file, &body, &format!("${name}"), &i.to_string(), out)?;
                    }
                }
                [word, ..] if word.starts_with('#') => return Err(error(number, "unknown directive")),
                _ => {
                    let _ = writeln!(out, "{line}");
                }
            }
        }
        let last = lines.last().map_or(0, |&(number, _)| number);
        if open.is_empty() { Ok(()) } else { Err(error(last, "#ifdef without #endif")) }
    }

    /// A number, or the value of the constant of that name.
    fn count(&self, count: &str) -> Option<u32> {
        let named = || self.constants.iter().find(|(name, _)| name == count).map(|&(_, value)| value);
        count.parse().ok().or_else(named)
    }

    /// [`Variant::expand`] with `name` replaced by `value`.
    fn expand_with(
        &self,
        file: &str,
        body: &[Line],
        name: &str,
        value: &str,
        out: &mut String,
    ) -> Result<(), ShaderError> {
        let replaced: Vec<(usize, String)> =
            body.iter().map(|&(number, line)| (number, line.replace(name, value))).collect();
        let lines: Vec<Line> = replaced.iter().map(|(number, line)| (*number, line.as_str())).collect();
        self.expand(file, &lines, out)
    }
}

/// A line of a file, with its number from 1.
type Line<'a> = (usize, &'a str);

/// The lines up to the matching `#end` of an `#unroll`; the `#end` is removed.
fn body_of<'a>(rest: &mut std::slice::Iter<'_, Line<'a>>) -> Vec<Line<'a>> {
    let mut depth = 0;
    let inside = |&&(_, line): &&Line<'a>| {
        match line.split_whitespace().next() {
            Some("#unroll") => depth += 1,
            Some("#end") => depth -= 1,
            _ => {}
        }
        depth >= 0
    };
    rest.by_ref().take_while(inside).copied().collect()
}

impl ShaderError {
    fn new(file: &str, line: usize, what: &'static str) -> Self {
        Self { file: file.into(), line, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_choose_lines_and_unroll_repeats_them() {
        let variant =
            |kernel| Variant::new(kernel).constant("ROWS", 2).constant("EIGHTS", 4).constant("TOKENS", 16);
        let raw = variant("matvec").source().unwrap();
        assert!(
            raw.starts_with("const ROWS: u32 = 2u;\nconst EIGHTS: u32 = 4u;\nconst TOKENS: u32 = 16u;\n")
        );
        assert!(raw.contains("fn load_eight") && !raw.contains("> codes:") && !raw.contains('#'));
        let planes = variant("matmul").flag("DENSE").flag("PLANE0").flag("PLANE0_BITS_2");
        let dense = planes.source().unwrap();
        assert!(
            dense.contains("> codes:")
                && dense.contains("sums15[1] = fma(second[1], b, fma(first[1], a, sums15[1]));")
        );
        assert!(dense.contains("fn word_of_plane0") && !dense.contains("fn word_of_plane1"));
        assert!(!dense.contains("> bias:") && !dense.contains('$'));
    }

    #[test]
    fn an_unknown_kernel_is_an_error() {
        let error = Variant::new("nonesuch").source().unwrap_err();
        assert_eq!(error.to_string(), "shaders/nonesuch.wgsl, line 0: there is no such file");
    }
}
