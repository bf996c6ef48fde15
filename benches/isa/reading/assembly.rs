//! Assembly of AMD's GPUs as Mesa's compiler prints it: instructions by class, and loops.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// What an instruction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Computes, once for each lane. Two that are issued as one are one.
    Vector,
    /// Computes once for all lanes, branches or waits.
    Scalar,
    /// Loads from memory, for each lane.
    Load,
    /// Stores to memory, for each lane.
    Store,
    /// Is about memory of the workgroup.
    Workgroup,
}

/// One instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub class: Class,
    /// Multiplications with an addition.
    pub fused: u32,
    /// Bits that a lane stores.
    pub stored_bits: u32,
}

impl Instruction {
    /// The instruction of a line that is nothing else.
    pub fn of(line: &str) -> Option<Self> {
        let name = line.split_whitespace().next()?;
        let fused = line.split("::").filter_map(|half| half.split_whitespace().next());
        let fused = fused.filter(|name| is_fused(name)).count() as u32;
        let class = match name.split_once('_')? {
            ("v", _) => Class::Vector,
            ("s", _) => Class::Scalar,
            ("ds", _) => Class::Workgroup,
            ("buffer" | "global" | "flat" | "image" | "scratch" | "tbuffer", what) => {
                if what.starts_with("load") { Class::Load } else { Class::Store }
            }
            _ => return None,
        };
        let stored_bits = if class == Class::Store { bits_of(name) } else { 0 };
        Some(Self { class, fused, stored_bits })
    }
}

/// Whether an instruction multiplies and adds floats of 32 bits.
fn is_fused(name: &str) -> bool {
    let name = name.strip_prefix("v_dual_").or_else(|| name.strip_prefix("v_")).unwrap_or_default();
    ["fma", "mad", "mac"].iter().any(|start| name.starts_with(start)) && name.contains("_f32")
}

/// Bits of what the name says is stored: in `dwords` before the generation of gfx11, and in `b` and bits since.
/// None of an image.
fn bits_of(name: &str) -> u32 {
    match name.rsplit('_').next().unwrap_or_default() {
        "byte" | "b8" => 8,
        "short" | "b16" => 16,
        "dword" | "b32" => 32,
        "dwordx2" | "b64" => 64,
        "dwordx3" | "b96" => 96,
        "dwordx4" | "b128" => 128,
        _ => 0,
    }
}

/// The instructions of a kernel in order, and its loops: each from the label that is branched back to, to the last
/// branch that does so.
#[derive(Debug, Default)]
pub struct Listing {
    pub instructions: Vec<Instruction>,
    loops: Vec<Range<usize>>,
}

impl Listing {
    pub fn parse(text: &str) -> Self {
        let mut instructions = Vec::new();
        let mut labels = HashMap::new();
        let mut ends = BTreeMap::new();
        for line in text.lines() {
            // Behind a semicolon is the code itself.
            let line = line.split(';').next().unwrap_or_default().trim();
            if let Some(label) = line.strip_suffix(':') {
                labels.insert(label, instructions.len());
            }
            let Some(instruction) = Instruction::of(line) else { continue };
            instructions.push(instruction);
            let start = branch_target(line).and_then(|label| labels.get(label));
            start.map(|&start| ends.insert(start, instructions.len()));
        }
        let loops: Vec<Range<usize>> = ends.into_iter().map(|(start, end)| start..end).collect();
        // Code whose loops are not in each other is not understood.
        let is_nested = |a: &Range<usize>, b: &Range<usize>| b.start >= a.end || b.end <= a.end;
        let all_are = loops.iter().enumerate().all(|(i, a)| loops[i + 1..].iter().all(|b| is_nested(a, b)));
        Self { instructions, loops: if all_are { loops } else { Vec::new() } }
    }

    pub fn loops(&self) -> &[Range<usize>] {
        &self.loops
    }

    /// The instructions of a loop that are in none inside it.
    pub fn own(&self, of: &Range<usize>) -> impl Iterator<Item = &Instruction> {
        let inside: Vec<_> = self.loops.iter().filter(|other| is_inside(other, of)).cloned().collect();
        let is_own = move |i: &usize| !inside.iter().any(|inside| inside.contains(i));
        of.clone().filter(is_own).map(|i| &self.instructions[i])
    }

    /// The loop that a loop is in.
    pub fn around(&self, of: &Range<usize>) -> Option<&Range<usize>> {
        self.loops.iter().filter(|other| is_inside(of, other)).min_by_key(|other| other.len())
    }
}

fn is_inside(inner: &Range<usize>, outer: &Range<usize>) -> bool {
    inner != outer && outer.start <= inner.start && inner.end <= outer.end
}

/// The label that a branch goes to.
fn branch_target(line: &str) -> Option<&str> {
    let (name, target) = line.split_once(char::is_whitespace)?;
    (name == "s_branch" || name.starts_with("s_cbranch_")).then(|| target.trim())
}
