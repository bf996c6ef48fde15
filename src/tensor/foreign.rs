//! Recognising files that are neither safetensors nor GGUF, but that users often have in their place.

use std::fmt;

/// Bytes at the start of a file that identify its kind.
pub(super) const FRONT: usize = 512;

/// A kind of file that bantam does not read, with advice.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// An empty file.
    Empty,
    /// Zeros only, such as space that a download reserved.
    Zeros,
    /// Git's placeholder for a large file, with the size of that file if stated.
    LfsPointer {
        /// Bytes of the large file.
        size: Option<u64>,
    },
    /// A web page.
    Html,
    /// Another text, such as a server's answer to a rejected request: its beginning.
    Text(String),
    /// Weights in another format, which is named.
    Weights(&'static str),
    /// A compressed archive, whose format is named.
    Packed(&'static str),
    /// A zip archive, the format of PyTorch files.
    Zip,
    /// A Python pickle, the format of older PyTorch files.
    Pickle,
    /// GGUF in big-endian byte order.
    SwappedGguf,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        const CONVERT: &str = "convert it to safetensors, or get the model's safetensors files";
        match self {
            Self::Empty => f.write_str("the file is empty; download it again"),
            Self::Zeros => {
                f.write_str("the file begins with zeros: a download that was not finished; download it again")
            }
            Self::LfsPointer { size } => {
                f.write_str("a Git LFS pointer, not the file itself")?;
                if let Some(size) = size {
                    write!(f, ", which has {size} bytes")?;
                }
                f.write_str("; run `git lfs pull` in its repository, or download the file")
            }
            Self::Html => f.write_str(
                "a web page (HTML) that was saved instead of the file; download the file itself, \
                 signed in if the model requires it",
            ),
            Self::Text(start) => write!(
                f,
                "a text that begins with {start:?}, perhaps a server's error message instead of the file; \
                 download the file again"
            ),
            Self::Weights(name) => {
                write!(f, "weights in the format of {name}, which bantam does not read; {CONVERT}")
            }
            Self::Packed(name) => write!(f, "a {name} archive; unpack it first"),
            Self::Zip => {
                write!(
                    f,
                    "a zip archive, as PyTorch's .bin, .pt and .ckpt files are, which bantam does not read; {CONVERT}"
                )
            }
            Self::Pickle => {
                write!(
                    f,
                    "a Python pickle, as older .bin, .pt and .ckpt files are, which bantam does not read; {CONVERT}"
                )
            }
            Self::SwappedGguf => f.write_str(
                "a big-endian GGUF file, but bantam reads only little-endian files; convert it first",
            ),
        }
    }
}

/// Offset and bytes of a signature, and the kind of file that has it.
const SIGNATURES: &[(usize, &[u8], Foreign)] = &[
    (0, b"PK\x03\x04", Foreign::Zip),
    (0, b"PK\x05\x06", Foreign::Zip),
    (0, b"FUGG", Foreign::SwappedGguf),
    (0, b"lmgg", GGML),
    (0, b"fmgg", GGML),
    (0, b"tjgg", GGML),
    (0, b"algg", GGML),
    (0, b"\x89HDF\r\n\x1a\n", Foreign::Weights("HDF5 (Keras, TensorFlow)")),
    (0, b"\x93NUMPY", Foreign::Weights("NumPy")),
    (4, b"TFL3", Foreign::Weights("TensorFlow Lite")),
    (0, b"\x1f\x8b\x08", Foreign::Packed("gzip")),
    (0, b"\x28\xb5\x2f\xfd", Foreign::Packed("zstd")),
    (0, b"\xfd7zXZ\0", Foreign::Packed("xz")),
    (0, b"BZh", Foreign::Packed("bzip2")),
    (0, b"7z\xbc\xaf\x27\x1c", Foreign::Packed("7-Zip")),
    (257, b"ustar", Foreign::Packed("tar")),
];

const GGML: Foreign = Foreign::Weights("llama.cpp before GGUF");

const LFS: &[u8] = b"version https://git-lfs.github.com/spec/";

impl Foreign {
    /// The kind of a file that begins with `front`, of which up to [`FRONT`] bytes are used; `None` if it is
    /// unknown.
    ///
    /// Use this only for a file that is not safetensors, because a header's length may match any signature.
    pub(super) fn of(front: &[u8]) -> Option<Self> {
        if front.is_empty() {
            return Some(Self::Empty);
        }
        if front.iter().all(|&byte| byte == 0) {
            return Some(Self::Zeros);
        }
        let signature = SIGNATURES
            .iter()
            .find(|(at, signature, _)| front.get(*at..).is_some_and(|front| front.starts_with(signature)));
        signature.map(|(_, _, foreign)| foreign.clone()).or_else(|| pickle(front)).or_else(|| text(front))
    }
}

/// Pickles of protocols 2 to 5 begin with the protocol's number, followed by a dictionary, a class, a number,
/// a frame or a memo index.
fn pickle(front: &[u8]) -> Option<Foreign> {
    match front {
        [0x80, 2..=5, b'}' | b'c' | b'(' | b']' | 0x8a | 0x95, ..] => Some(Foreign::Pickle),
        _ => None,
    }
}

fn text(front: &[u8]) -> Option<Foreign> {
    let front = front.strip_prefix(b"\xef\xbb\xbf").unwrap_or(front).trim_ascii_start();
    // The front may end inside a character.
    let text = match std::str::from_utf8(front) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&front[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    if text.chars().any(|c| c.is_control() && !c.is_ascii_whitespace()) {
        return None;
    }
    if front.starts_with(LFS) {
        let size = text.lines().find_map(|line| line.strip_prefix("size ")?.trim().parse().ok());
        return Some(Foreign::LfsPointer { size });
    }
    let lower = text.to_ascii_lowercase();
    if ["<!doctype html", "<html", "<head", "<!--"].iter().any(|tag| lower.starts_with(tag)) {
        return Some(Foreign::Html);
    }
    const SHOWN: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    Some(Foreign::Text(line.chars().take(SHOWN).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_is_follows_from_its_first_bytes() {
        let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 988097824\n";
        assert_eq!(Foreign::of(lfs), Some(Foreign::LfsPointer { size: Some(988_097_824) }));
        assert_eq!(Foreign::of(b" \n<!DOCTYPE html><html lang=\"en\">"), Some(Foreign::Html));
        assert_eq!(Foreign::of(b"Entry not found"), Some(Foreign::Text("Entry not found".into())));
        assert_eq!(Foreign::of(b"PK\x03\x04\x14\0\0\0"), Some(Foreign::Zip));
        assert_eq!(Foreign::of(b"\x80\x02}q\0(X\x1a"), Some(Foreign::Pickle));
        assert_eq!(Foreign::of(b"\x80\x02\x8a\nl\xfc\x9cF\xf9"), Some(Foreign::Pickle));
        assert_eq!(Foreign::of(&[0; 512]), Some(Foreign::Zeros));
        assert_eq!(Foreign::of(b""), Some(Foreign::Empty));
        assert_eq!(Foreign::of(b"FUGG\0\0\0\x03"), Some(Foreign::SwappedGguf));
        // Cut in the middle of a two-byte character.
        assert_eq!(Foreign::of(b"caf\xc3"), Some(Foreign::Text("caf".into())));
        for binary in [&b"\x80\x02\0\0\0\0\0\0{"[..], b"\x10\0\0\0\0\0\0\0{}", b"\xff\xfe"] {
            assert_eq!(Foreign::of(binary), None);
        }
    }
}
