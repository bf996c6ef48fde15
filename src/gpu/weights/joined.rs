//! Matrices in one piece of device memory, so that one dispatch multiplies with all of them.

use super::matrix_params::MatrixParams;
use crate::gpu::{Choice, Variant};
use crate::tensor::Matrix;

/// What becomes of the products of matrices that are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Each goes where its matrix says.
    Stacked,
    /// There are two, of matrices with as many rows: `silu(first) · second` is what is stored. There is no
    /// bias.
    Gated,
}

impl Join {
    /// Which matrices are joined, by place: those with the same key, in the order of the first of each. What
    /// has no key stays alone, and so do two that are gated and differ.
    pub fn groups<K: PartialEq>(self, keys: &[Option<K>]) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (i, key) in keys.iter().enumerate() {
            let same = groups.iter_mut().find(|group| key.is_some() && keys[group[0]] == *key);
            match same {
                Some(group) => group.push(i),
                None => groups.push(vec![i]),
            }
        }
        match self {
            Self::Gated if groups.len() > 1 => (0..keys.len()).map(|i| vec![i]).collect(),
            _ => groups,
        }
    }
}

/// What a device matrix is joined of.
#[derive(Debug)]
pub struct Joined {
    /// What becomes of the products.
    pub join: Join,
    pub(in crate::gpu) members: Vec<MatrixParams>,
}

impl Joined {
    /// Tells a kernel that imports `shared/matrix.wgsl`.
    pub(in crate::gpu) fn apply(join: Join, members: u32, variant: Variant) -> Variant {
        variant.choose(Choice::Joined(members)).choose_if(join == Join::Gated, Choice::Gated)
    }

    /// Row blocks that workgroups begin with.
    pub(in crate::gpu) fn row_blocks(&self) -> u32 {
        let blocks = self.members.iter().map(MatrixParams::row_blocks);
        match self.join {
            Join::Stacked => blocks.sum(),
            Join::Gated => blocks.max().unwrap_or(0),
        }
    }

    pub(super) fn matrix(&self) -> Matrix {
        let rows = self.members.iter().map(|member| member.rows as usize);
        let rows = match self.join {
            Join::Stacked => rows.sum(),
            Join::Gated => rows.max().unwrap_or(0),
        };
        Matrix { rows, cols: self.members.first().map_or(0, |member| member.cols as usize) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_is_joined() {
        let groups = |join: Join, keys: [Option<char>; 3]| join.groups(&keys);
        let (a, b) = (Some('a'), Some('b'));
        assert_eq!(groups(Join::Stacked, [a, a, a]), [vec![0, 1, 2]]);
        assert_eq!(groups(Join::Stacked, [a, b, a]), [vec![0, 2], vec![1]]);
        assert_eq!(groups(Join::Stacked, [None, b, None]), [[0], [1], [2]]);
        assert_eq!(Join::Gated.groups(&[a, a]), [[0, 1]]);
        assert_eq!(Join::Gated.groups(&[a, b]), [[0], [1]]);
    }
}
