//! What a weight costs in the loop that goes over them.
//!
//! The loop is known by what it does with each weight, and how many it has in a round by how often it does so. The
//! instructions of a round are those of the loop, behind branches too. Loops inside it are not counted: they are for
//! exceptions, which are rare. Where a round has a part of a chunk only, a chunk is a round of the loop around it,
//! whose instructions are divided among all weights of the chunk.

use std::ops::Range;

use super::assembly::{Class, Instruction, Listing};

/// What tells how many weights a round has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Each weight is multiplied so many times, and the product added.
    Products(u32),
    /// So many bits of each are stored, every so many rounds.
    Stores { bits: u32, rounds: u32 },
}

impl Mark {
    fn count<'a>(self, round: impl Iterator<Item = &'a Instruction>) -> u32 {
        round
            .map(|instruction| match self {
                Self::Products(_) => instruction.fused,
                Self::Stores { .. } => instruction.stored_bits,
            })
            .sum()
    }

    /// Marks of a weight.
    fn each(self) -> u32 {
        match self {
            Self::Products(times) => times,
            Self::Stores { bits, rounds } => bits * rounds,
        }
    }
}

/// Instructions a weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    pub all: f64,
    /// Those that compute for each lane.
    pub vector: f64,
    /// Those that load for each lane.
    pub loads: f64,
}

impl Cost {
    /// What each of the `chunk` weights that an invocation takes at a time costs; `None` where it is not certain which
    /// loop goes over them, or how many it takes in a round.
    pub fn of(listing: &Listing, mark: Mark, chunk: u32) -> Option<Self> {
        let marked = |of: &Range<usize>| mark.count(listing.own(of));
        let marked: Vec<_> =
            listing.loops().iter().map(|of| (of, marked(of))).filter(|&(_, marks)| marks > 0).collect();
        let whole = chunk * mark.each();
        let &(of, marks) = match &marked[..] {
            [only] => only,
            // One for chunks as most are, and others for chunks with exceptions.
            _ => {
                let mut most = marked.iter().filter(|(_, marks)| *marks >= whole);
                most.next().filter(|_| most.next().is_none())?
            }
        };
        if !marks.is_multiple_of(mark.each()) || !whole.is_multiple_of(marks) {
            return None;
        }
        let round = Self::per(listing, of, marks / mark.each());
        if marks == whole {
            return Some(round);
        }
        Some(round + Self::per(listing, listing.around(of)?, chunk))
    }

    /// Of a loop of so many weights a round.
    fn per(listing: &Listing, of: &Range<usize>, weights: u32) -> Self {
        let count = |is: fn(&Instruction) -> bool| {
            listing.own(of).filter(|&instruction| is(instruction)).count() as f64 / f64::from(weights)
        };
        Self {
            all: count(|_| true),
            vector: count(|i| i.class == Class::Vector),
            loads: count(|i| i.class == Class::Load),
        }
    }
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            all: self.all + other.all,
            vector: self.vector + other.vector,
            loads: self.loads + other.loads,
        }
    }
}
