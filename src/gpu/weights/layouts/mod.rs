//! The layouts of weights in device memory, one file per layout.
//!
//! A file defines a format, with the properties in which matrices differ, and its `Layout`: the flags and
//! constants of shaders, how offsets change, and which kernels are possible. This file lists the layouts.

mod choosing;
pub mod dense;
pub mod fast;
mod layout;
mod params;
pub mod raw;
pub mod tiered;
mod transcoded;

pub use self::dense::{DenseFormat, Table};
pub use self::fast::FastFormat;
pub(in crate::gpu) use self::layout::Layout;
pub use self::raw::RawFormat;
pub use self::tiered::TieredFormat;
pub use self::transcoded::Transcoded;
use crate::gpu::{Invocations, Target, Variant};
use crate::tensor::Dtype;

macro_rules! layouts {
    ($($(#[$doc:meta])* $name:ident($file:ident::$format:ident),)*) => {
        /// The layout of a matrix's weights.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Format {
            $($(#[$doc])* $name($format),)*
        }

        impl Format {
            /// The properties of the layout.
            pub(in crate::gpu) fn layout(&self) -> &dyn Layout {
                match self {
                    $(Self::$name(format) => format,)*
                }
            }

            /// Formats that together use every line of every reader, for this kind of device.
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
    /// BF16 at 12 bits per weight, each at a fixed place.
    Fast(fast::FastFormat),
    /// BF16 at about 11 bits a weight, most of which are at places of their own.
    Tiered(tiered::TieredFormat),
    /// Dense tiles.
    Dense(dense::DenseFormat),
}

impl Format {
    /// Adds the flags and constants that a kernel that imports `shared/matrix.wgsl` needs for this format.
    pub fn apply(self, variant: Variant, invocations: Invocations) -> Variant {
        let layout = self.layout();
        let variant = invocations.apply(variant.stored_as(layout.name()));
        layout.apply(variant.constant("EIGHTS", layout.chunk_cols() as u32 / 8))
    }

    /// The type of the weights.
    pub fn dtype(self) -> Dtype {
        self.layout().dtype()
    }

    /// The format of uncompressed weights of `dtype`; `None` for a type that no product reads.
    pub(in crate::gpu) fn raw(dtype: Dtype) -> Option<Self> {
        RawFormat::of(dtype).map(Self::Raw)
    }
}
