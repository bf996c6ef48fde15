//! How weights are laid out in device memory, one file for each layout.
//!
//! A file has a format, which says what is different from one matrix to another, and its `Layout`: what shaders
//! are told, where offsets go, which kernels it may have. The list of layouts is here.

mod choosing;
pub mod dense;
pub mod fast;
mod layout;
mod params;
pub mod raw;

pub use self::dense::{DenseFormat, Escape, Table};
pub use self::fast::FastFormat;
pub(in crate::gpu) use self::layout::Layout;
pub use self::raw::RawFormat;
use crate::gpu::{Invocations, Target, Variant};
use crate::tensor::Dtype;

macro_rules! layouts {
    ($($(#[$doc:meta])* $name:ident($file:ident::$format:ident),)*) => {
        /// How the weights of a matrix are stored.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Format {
            $($(#[$doc])* $name($format),)*
        }

        impl Format {
            /// What the layout says of itself.
            pub(in crate::gpu) fn layout(&self) -> &dyn Layout {
                match self {
                    $(Self::$name(format) => format,)*
                }
            }

            /// Formats that between them have every line of every reader, as a device of this kind has them.
            pub(in crate::gpu) fn samples(target: Option<Target>) -> Vec<Self> {
                let mut all = Vec::new();
                $(all.extend($file::samples(target).into_iter().map(Self::$name));)*
                all
            }
        }
    };
}

layouts! {
    /// Uncompressed.
    Raw(raw::RawFormat),
    /// BF16 at 12 bits a weight, each at a place of its own.
    Fast(fast::FastFormat),
    /// Dense tiles.
    Dense(dense::DenseFormat),
}

impl Format {
    /// Adds what a kernel that imports `shared/matrix.wgsl` needs to read this format.
    pub fn apply(self, variant: Variant, invocations: Invocations) -> Variant {
        let layout = self.layout();
        let variant = invocations.apply(variant.stored_as(layout.name()));
        layout.apply(variant.constant("EIGHTS", layout.chunk_cols() as u32 / 8))
    }

    /// The type of the weights.
    pub fn dtype(self) -> Dtype {
        self.layout().dtype()
    }

    /// How uncompressed weights of `dtype` are kept; `None` for a type that no product reads.
    pub(in crate::gpu) fn raw(dtype: Dtype) -> Option<Self> {
        RawFormat::of(dtype).map(Self::Raw)
    }
}
