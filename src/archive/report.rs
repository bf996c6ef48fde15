//! Reports of sizes and codings by file and tensor.

use std::path::PathBuf;

use crate::codec::head::{Head, Kind};
use crate::codec::{DeltaHead, Lossy};
use crate::tensor::{Dtype, Quantized};

/// How a tensor is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Coding {
    /// Stored in a plain file.
    Plain,
    /// Stored uncompressed in a payload.
    Raw {
        /// Bytes of the payload's head.
        head_bytes: usize,
    },
    /// Stored in tiles.
    Tiled {
        /// Mantissa bits that are coded with the exponent.
        top_bits: u8,
        /// Low mantissa bits that are coded with the exponent.
        low_bits: u8,
        /// Lowest bits that are stored only for rows in which they are not all zero.
        clean_bits: u8,
        /// Whether rows are shifted to a common level before they are coded.
        row_shifts: bool,
        /// Symbols that have a code.
        symbols: usize,
        /// Number of tiles.
        tiles: usize,
        /// Columns of a tile.
        tile_cols: usize,
        /// Bytes of the payload's head: code, tile table, checksums.
        head_bytes: usize,
        /// Bytes of the coded plane with its lane indices.
        coded_bytes: usize,
        /// Width and bytes of each raw plane.
        planes: Vec<(u8, usize)>,
        /// How the tensor was rounded; `None` if it was not.
        lossy: Option<Lossy>,
    },
    /// Stored as the difference to a tensor of another model.
    Delta {
        /// Rows that differ from the other tensor's.
        changed_rows: usize,
        /// Bytes of the payload's head: frequencies, row masks, tile table, checksums.
        head_bytes: usize,
        /// Bytes of the coded plane with its lane indices.
        coded_bytes: usize,
    },
    /// All elements are equal, and one is stored.
    Constant,
}

impl Coding {
    /// The coding that a payload's head describes.
    pub fn of(head: &Head) -> Self {
        match &head.kind {
            Kind::Raw => Self::Raw { head_bytes: head.len },
            Kind::Constant(_) => Self::Constant,
            Kind::Tiled(tiled) => Self::Tiled {
                top_bits: tiled.split.top_bits,
                low_bits: tiled.split.low_bits,
                clean_bits: tiled.split.clean_bits,
                row_shifts: !tiled.shifts.rows.is_empty(),
                symbols: tiled.code.lengths.iter().filter(|&&l| l > 0).count().max(1),
                tiles: tiled.tiles.len(),
                tile_cols: tiled.grid.tile_cols,
                head_bytes: head.len,
                coded_bytes: tiled.coded.len(),
                planes: tiled
                    .split
                    .planes()
                    .iter()
                    .zip(&tiled.planes)
                    .map(|(p, r)| (p.width, r.len()))
                    .collect(),
                lossy: tiled.lossy(),
            },
        }
    }

    /// The coding that the head of a difference describes.
    pub(super) fn of_delta(head: &DeltaHead) -> Self {
        let (changed_rows, head_bytes, coded_bytes) = (head.changed_rows(), head.len, head.coded.len());
        Self::Delta { changed_rows, head_bytes, coded_bytes }
    }

    /// How the tensor was rounded; `None` if it was not.
    pub fn lossy(&self) -> Option<Lossy> {
        match self {
            Self::Tiled { lossy, .. } => *lossy,
            _ => None,
        }
    }
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorReport {
    /// Its name.
    pub name: String,
    /// Element type; U8 if `quantized` is set.
    pub dtype: Dtype,
    /// Dimensions, outermost first; the number of bytes if `quantized` is set.
    pub shape: Vec<usize>,
    /// The tensor's quantised type, if it has no [`Dtype`]. Such a tensor is coded as bytes.
    pub quantized: Option<Quantized>,
    /// Bytes before compression.
    pub original_bytes: usize,
    /// Bytes of its payload in the file.
    pub stored_bytes: usize,
    /// How it is stored.
    pub coding: Coding,
}

impl TensorReport {
    /// The name of its element type, quantised or not.
    pub fn type_name(&self) -> String {
        self.quantized.as_ref().map_or_else(|| self.dtype.to_string(), |q| q.ggml_type.to_string())
    }

    /// Its dimensions as a number of weights, outermost first.
    pub fn weight_shape(&self) -> &[usize] {
        self.quantized.as_ref().map_or(&self.shape, |q| &q.shape)
    }

    /// Bits per element in the file; `None` for a tensor without elements.
    pub fn bits_per_weight(&self) -> Option<f64> {
        // The shape of an unknown quantised type may overflow.
        let elements = self.weight_shape().iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        (elements > 0).then(|| self.stored_bytes as f64 * 8.0 / elements as f64)
    }

    /// Stored bytes per original byte; `None` for a tensor without bytes.
    pub fn ratio(&self) -> Option<f64> {
        (self.original_bytes > 0).then(|| self.stored_bytes as f64 / self.original_bytes as f64)
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    /// The file that was read.
    pub source: PathBuf,
    /// The file that was written; the same as `source` if none was.
    pub output: PathBuf,
    /// Bytes of the plain file.
    pub original_bytes: u64,
    /// Bytes of the compressed file.
    pub compressed_bytes: u64,
    /// Its tensors in file order.
    pub tensors: Vec<TensorReport>,
}

impl FileReport {
    /// Whether the compressed file is larger than the plain one. This happens if nothing in it compresses, or
    /// if it has very many small tensors: each takes at least 256 bytes, and an entry in the header and the
    /// index.
    pub fn is_larger(&self) -> bool {
        self.compressed_bytes > self.original_bytes
    }
}

/// One operation on a file or model folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The file or folder that was written.
    pub output: PathBuf,
    /// The model's safetensors and GGUF files.
    pub files: Vec<FileReport>,
    /// Number of these that an earlier, interrupted run had finished.
    pub finished: usize,
    /// Other files of a folder, which were copied.
    pub copied: Vec<PathBuf>,
    /// Entries of the folder that could not be copied to the output: broken links, links to folders
    /// elsewhere, sockets and other special files. Weights that cannot be read are an error instead.
    pub left_out: Vec<PathBuf>,
}

impl Report {
    /// Bytes of the plain files.
    pub fn original_bytes(&self) -> u64 {
        self.files.iter().map(|f| f.original_bytes).sum()
    }

    /// Number of quantised tensors, and their bytes in the plain files. They are coded as bytes, which saves
    /// little on quantised weights.
    pub fn quantized(&self) -> (usize, u64) {
        let tensors = self.files.iter().flat_map(|f| &f.tensors).filter(|t| t.quantized.is_some());
        tensors.fold((0, 0), |(count, bytes), t| (count + 1, bytes + t.original_bytes as u64))
    }

    /// How tensors were rounded, which is the same for all tensors of a run; the number of rounded tensors;
    /// and their bytes in the plain files.
    pub fn rounded(&self) -> Option<(Lossy, usize, u64)> {
        let tensors = self.files.iter().flat_map(|f| &f.tensors);
        let rounded = tensors.filter_map(|t| Some((t.coding.lossy()?, 1, t.original_bytes as u64)));
        rounded.reduce(|(lossy, count, bytes), (_, one, more)| (lossy, count + one, bytes + more))
    }

    /// The files whose compressed form is larger than the plain one.
    pub fn larger(&self) -> impl Iterator<Item = &FileReport> {
        self.files.iter().filter(|file| file.is_larger())
    }

    /// Bytes of the compressed files.
    pub fn compressed_bytes(&self) -> u64 {
        self.files.iter().map(|f| f.compressed_bytes).sum()
    }
}
