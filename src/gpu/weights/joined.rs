//! Matrices in one piece of device memory, with which one dispatch multiplies.

use super::matrix_params::MatrixParams;
use crate::gpu::{Choice, Variant};
use crate::tensor::Matrix;

/// How the products of joined matrices are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Each product is stored at the place that its matrix defines.
    Stacked,
    /// For two matrices with equal numbers of rows, `silu(first) · second` is stored. There is no bias.
    Gated,
}

impl Join {
    /// Groups the indices of matrices with equal keys, ordered by the first index of each group. A matrix
    /// without a key stays alone, and so do two gated matrices with different keys.
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

/// The members of a joined matrix.
#[derive(Debug)]
pub struct Joined {
    /// How the products are stored.
    pub join: Join,
    pub(in crate::gpu) members: Vec<MatrixParams>,
}

impl Joined {
    /// Sets the join in a kernel that imports `shared/matrix.wgsl`.
    pub(in crate::gpu) fn apply(join: Join, members: u32, variant: Variant) -> Variant {
        variant.choose(Choice::Joined(members)).choose_if(join == Join::Gated, Choice::Gated)
    }

    /// Number of row blocks that workgroups start with.
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
