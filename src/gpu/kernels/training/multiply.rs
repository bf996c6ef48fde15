//! `C = A B`, or `C + A B`, of F32 with any strides.

use bytemuck::{Pod, Zeroable};

use crate::gpu::device::texture;
use crate::gpu::{Bound, Buffer, Choice, Dispatch, Gpu, GpuError, Texel, Texture, Variant, Work, Workgroups};

/// Elements of a workgroup's block, and rows and columns of an invocation's.
const BLOCK: u32 = 64 * 64;
const OWN: u32 = 8;

/// Where the elements of a matrix are: `Operand` of `shaders/training/multiply.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Operand {
    /// The first element.
    pub at: u32,
    /// Elements from one row to the next.
    pub row: u32,
    /// Elements from one column to the next; 1 for C.
    pub col: u32,
    /// Elements from one sequence to the next.
    pub sequence: u32,
    /// Elements from one head to the next.
    pub head: u32,
    /// Elements from one of the products that are added up to the next.
    pub term: u32,
    /// Heads in a row that have the same matrix, at least one.
    pub shared_by: u32,
    /// Zero.
    pub unused: u32,
}

impl Operand {
    /// A matrix with `stride` elements from one row to the next.
    pub fn rows(stride: usize) -> Self {
        Self { row: stride as u32, col: 1, shared_by: 1, ..Self::zeroed() }
    }

    /// The same elements with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self { row: self.col, col: self.row, ..self }
    }

    /// The same matrix, from element `at` on.
    pub fn at(self, at: usize) -> Self {
        Self { at: at as u32, ..self }
    }

    /// The same matrix from a row on.
    pub fn from_row(self, row: usize) -> Self {
        Self { at: self.at + row as u32 * self.row, ..self }
    }

    /// One such matrix for each sequence, so many elements apart.
    pub fn each_sequence(self, apart: usize) -> Self {
        Self { sequence: apart as u32, ..self }
    }

    /// One such matrix for each `shared_by` heads, so many elements apart.
    pub fn each_head(self, apart: usize, shared_by: usize) -> Self {
        Self { head: apart as u32, shared_by: shared_by as u32, ..self }
    }

    /// One such matrix for each term, so many elements apart.
    pub fn each_term(self, apart: usize) -> Self {
        Self { term: apart as u32, ..self }
    }

    /// Where the matrix of a product begins.
    fn first(&self, product: u32, heads: u32) -> usize {
        let head = product % heads / self.shared_by;
        (self.at + product / heads * self.sequence + head * self.head) as usize
    }
}

/// Which elements are known to be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Causal {
    /// None.
    #[default]
    No,
    /// Those of C above its diagonal, which need not be computed.
    LowerResult,
    /// Those of A above its diagonal.
    LowerFactor,
    /// Those of A below its diagonal.
    UpperFactor,
}

/// Sizes and strides of products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Multiply {
    /// Rows and columns of C, and columns of A.
    pub size: [usize; 3],
    /// Sequences, and heads of each: so many products.
    pub products: [usize; 2],
    /// Products that are added up for one C.
    pub terms: usize,
    /// What is zero.
    pub causal: Causal,
    /// A, B and C.
    pub operands: [Operand; 3],
}

impl Multiply {
    /// One product.
    pub fn one(size: [usize; 3], operands: [Operand; 3]) -> Self {
        Self { size, products: [1, 1], terms: 1, causal: Causal::No, operands }
    }

    /// Whether factors can be in textures: whatever is read begins at a multiple of four elements.
    pub fn suits_textures(&self) -> bool {
        self.operands[..2].iter().all(|operand| {
            let Operand { at, row, col, sequence, head, term, .. } = *operand;
            [at, row.max(col), sequence, head, term].iter().all(|n| n.is_multiple_of(4)) && row.min(col) == 1
        })
    }

    /// Whether the depth is what elements next to each other are.
    fn along(&self) -> Along {
        [self.operands[0].col == 1, self.operands[1].row == 1]
    }
}

/// `Sizes` of `shaders/training/multiply.wgsl`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Sizes {
    rows: u32,
    cols: u32,
    depth: u32,
    col_blocks: u32,
    heads: u32,
    terms: u32,
    causal: u32,
    across_bits: u32,
    operands: [Operand; 3],
}

/// Where A and B are.
#[derive(Debug, Clone, Copy)]
pub enum Factors<'a> {
    /// In buffers.
    Buffers([&'a Buffer; 2]),
    /// In textures of vectors, which software drivers read faster. Rows of factors begin at multiples of four elements,
    /// whichever way they are stored.
    Textures([&'a Texture; 2]),
}

/// Whether the depth is what elements next to each other are: of A, and of B.
type Along = [bool; 2];

/// The kernel.
pub fn variant(accumulate: bool) -> Variant {
    Variant::new("multiply").choose_if(accumulate, Choice::Accumulate)
}

/// The kernel for factors in textures.
pub fn texture_variant(accumulate: bool, [a, b]: Along) -> Variant {
    let variant = variant(accumulate).choose_if(a, Choice::AlongA).choose_if(b, Choice::AlongB);
    texture::texture_variant(variant, Texel::Vector)
}

/// How many invocations share a row of C, as a power of two, so that few have no columns, or no rows.
fn across_bits(rows: u32, cols: u32) -> u32 {
    let fits = |&bits: &u32| cols <= OWN << bits && rows >= (BLOCK / OWN) >> bits;
    (1..3).find(fits).unwrap_or(3)
}

/// Computes C from A and B; adds to it if `accumulate` is set.
pub fn dispatch(
    gpu: &Gpu,
    multiply: &Multiply,
    accumulate: bool,
    factors: Factors<'_>,
    c: &Buffer,
) -> Result<Dispatch, GpuError> {
    let [rows, cols, depth] = multiply.size.map(|n| n as u32);
    let [sequences, heads] = multiply.products.map(|n| n as u32);
    let across_bits = match factors {
        Factors::Buffers(_) => 3,
        Factors::Textures(_) => across_bits(rows, cols),
    };
    let (block_rows, block_cols) = ((BLOCK / OWN) >> across_bits, OWN << across_bits);
    let (terms, col_blocks) = (multiply.terms as u32, cols.div_ceil(block_cols));
    let sum = u64::from(depth) * u64::from(terms);
    gpu.check_rounds("multiply", sum + u64::from(terms))?;
    let params = Sizes {
        rows,
        cols,
        depth,
        col_blocks,
        heads,
        terms,
        causal: multiply.causal as u32,
        across_bits,
        operands: multiply.operands,
    };
    let workgroups = [rows.div_ceil(block_rows) * col_blocks, sequences * heads].map(Workgroups::Fixed);
    let (variant, [a, b]) = match factors {
        Factors::Buffers(buffers) => (variant(accumulate), buffers.map(Bound::from)),
        Factors::Textures(textures) => {
            (texture_variant(accumulate, multiply.along()), textures.map(Bound::Texture))
        }
    };
    let dispatch = gpu.kernel(variant)?.bind(gpu, &params, &[(2, a), (3, b), (4, c.into())], workgroups)?;
    Ok(dispatch.with_work(Work::AWorkgroup(u64::from(BLOCK) * sum)))
}

/// The twin.
pub fn cpu(multiply: &Multiply, accumulate: bool, a: &[f64], b: &[f64], c: &mut [f64]) {
    let [rows, cols, depth] = multiply.size;
    let [sequences, heads] = multiply.products.map(|n| n as u32);
    let [of_a, of_b, of_c] = multiply.operands;
    for product in 0..sequences * heads {
        let [a_at, b_at, c_at] = [of_a, of_b, of_c].map(|operand| operand.first(product, heads));
        for i in 0..rows {
            for j in (0..cols).filter(|&j| multiply.causal != Causal::LowerResult || j <= i) {
                let at = c_at + i * of_c.row as usize + j;
                let mut sum = if accumulate { c[at] } else { 0.0 };
                for term in 0..multiply.terms {
                    let a_at = a_at + term * of_a.term as usize + i * of_a.row as usize;
                    let b_at = b_at + term * of_b.term as usize + j * of_b.col as usize;
                    let range = match multiply.causal {
                        Causal::LowerFactor => 0..depth.min(i + 1),
                        Causal::UpperFactor => i..depth,
                        _ => 0..depth,
                    };
                    sum += range
                        .map(|k| a[a_at + k * of_a.col as usize] * b[b_at + k * of_b.row as usize])
                        .sum::<f64>();
                }
                c[at] = sum;
            }
        }
    }
}
