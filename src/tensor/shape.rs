//! How a tensor of any rank becomes a matrix.

/// A matrix view of a tensor: `rows × cols` elements in row-major order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// Number of rows.
    pub rows: usize,
    /// Elements in a row.
    pub cols: usize,
}

/// Trailing dimensions are folded into the columns until a row has at least this many elements,
/// so that a convolution of shape `[out, in, 3]` does not become a matrix three columns wide.
const MIN_COLS: usize = 64;

impl Matrix {
    /// The matrix that `shape` is coded as, or `None` if the element count overflows.
    ///
    /// A 2-D shape of at least 64 columns is used unchanged. For any other, dimensions are folded from the
    /// right until a row is long enough. A vector is divided into rows of the largest power of two up to 1024
    /// that divides its length.
    pub fn of_shape(shape: &[usize]) -> Option<Self> {
        let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        if elements == 0 {
            return Some(Self { rows: 0, cols: 0 });
        }
        let mut cols = *shape.last().unwrap_or(&1);
        let mut leading = shape.len().saturating_sub(1);
        while cols < MIN_COLS && leading > 1 {
            leading -= 1;
            cols *= shape[leading];
        }
        if leading == 0 {
            cols = 1 << elements.trailing_zeros().min(10);
        }
        Some(Self { rows: elements / cols, cols })
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.rows * self.cols
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shape: &[usize]) -> (usize, usize) {
        let m = Matrix::of_shape(shape).unwrap();
        (m.rows, m.cols)
    }

    #[test]
    fn matrices_stay_and_other_ranks_are_folded() {
        assert_eq!(of(&[576, 1536]), (576, 1536));
        assert_eq!(of(&[63, 7]), (63, 7));
        assert_eq!(of(&[8, 4, 256]), (32, 256));
        assert_eq!(of(&[128, 64, 3]), (128, 192));
        assert_eq!(of(&[16, 8, 3, 3]), (16, 72));
        assert_eq!(of(&[4096]), (4, 1024));
        assert_eq!(of(&[96]), (3, 32));
        assert_eq!(of(&[]), (1, 1));
        assert_eq!(of(&[5, 0]), (0, 0));
        assert_eq!(Matrix::of_shape(&[usize::MAX, 2]), None);
    }
}
