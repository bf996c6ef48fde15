//! The container's JSON header, as the writer writes it and the reader reads it.

use std::collections::HashMap;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::Form;
use crate::codec::grid::SECTION_ALIGN;
use crate::codec::{Lossy, NoSuchLossy};
use crate::tensor::Dtype;

/// Metadata key of the index: a JSON object as a string, from tensor name to [`IndexEntry`].
pub const INDEX_KEY: &str = "bantam.index";
/// Metadata key of the name of the tensor that keeps the original header.
pub const ORIGINAL_HEADER_KEY: &str = "bantam.original_header";
/// Metadata key of a text that says how tensors were rounded; only files with rounded tensors have it.
pub const LOSSY_KEY: &str = "bantam.lossy";
/// Metadata key of the name of the model to which tensors are stored as differences; only files with such
/// tensors have it. It is for people.
pub const BASE_KEY: &str = "bantam.base";
/// The name of the original header's tensor, unless the original file has a tensor of this name.
pub const ORIGINAL_HEADER_NAME: &str = "bantam.original_header";

/// A tensor's entry in the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Bytes of the original tensor.
    pub bytes: usize,
    /// BLAKE3 of the decoded bytes, in hexadecimal: those of the original tensor, unless it was rounded.
    pub blake3: String,
    /// How it was rounded; `None` if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lossy: Option<LossyEntry>,
    /// The name of the base's tensor to which it is stored as the difference; `None` if it is stored alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
}

/// How a tensor was rounded, as the index states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossyEntry {
    /// Mantissa bits kept.
    pub mantissa: u8,
    /// Elements that share a scale.
    pub block: usize,
}

impl From<Lossy> for LossyEntry {
    fn from(lossy: Lossy) -> Self {
        Self { mantissa: lossy.mantissa_bits(), block: lossy.block() }
    }
}

impl TryFrom<LossyEntry> for Lossy {
    type Error = NoSuchLossy;

    fn try_from(entry: LossyEntry) -> Result<Self, NoSuchLossy> {
        Self::new(entry.mantissa, entry.block)
    }
}

/// The index as read from a file.
pub type Index = HashMap<String, IndexEntry>;

/// A name for the original header's tensor that is not one of `names`.
pub(super) fn original_header_name<'a>(names: impl Iterator<Item = &'a str> + Clone) -> String {
    let mut name = ORIGINAL_HEADER_NAME.to_string();
    while names.clone().any(|n| n == name) {
        name.push('_');
    }
    name
}

/// Everything that goes into the container's header.
pub(super) struct Contents<'a> {
    /// The form of the original.
    pub form: Form,
    /// The `format` in the original's metadata (`"pt"`), which some viewers expect.
    pub framework: Option<&'a str>,
    /// Name and length of the tensor that keeps the original header.
    pub original_header: (&'a str, usize),
    /// How tensors were rounded, if any was.
    pub lossy: Option<LossyEntry>,
    /// The name of the model to which tensors are stored as differences, if any is.
    pub base: Option<&'a str>,
    /// Passes the name, index entry and payload length of every tensor, in payload order, to a callback,
    /// because a file may have hundreds of thousands of tensors.
    pub tensors: &'a Tensors<'a>,
}

/// See [`Contents::tensors`].
pub(super) type Tensors<'a> = dyn Fn(&mut Show) -> io::Result<()> + 'a;

type Show<'a> = dyn FnMut(&str, &IndexEntry, usize) -> io::Result<()> + 'a;

impl Contents<'_> {
    /// Length prefix, JSON and padding spaces, `len` bytes in total; `None` if they do not fit.
    pub fn header(&self, len: usize) -> Option<Vec<u8>> {
        let mut header = (len.checked_sub(8)? as u64).to_le_bytes().to_vec();
        self.write_json(None, &mut header).expect("memory does not fail");
        if header.len() > len {
            return None;
        }
        header.resize(len, b' ');
        Some(header)
    }

    /// A length that is enough for [`Contents::header`] whatever the payloads' lengths are, if they end
    /// before `data_end`. Their lengths and that of the original header need not be known yet.
    pub fn room(&self, data_end: usize) -> usize {
        let mut counted = Counted(8);
        self.write_json(Some(data_end), &mut counted).expect("counting does not fail");
        counted.0.next_multiple_of(SECTION_ALIGN)
    }

    fn write_json(&self, every_offset: Option<usize>, mut out: &mut dyn Write) -> io::Result<()> {
        out.write_all(b"{\"__metadata__\":{")?;
        if let Some(framework) = self.framework {
            write_member(out, "format", framework)?;
            out.write_all(b",")?;
        }
        for (key, value) in self.form.metadata(self.base.is_some()) {
            write_member(out, key, value)?;
            out.write_all(b",")?;
        }
        if let Some(LossyEntry { mantissa, block }) = self.lossy {
            let words = format!("rounded to {mantissa} mantissa bits in blocks of {block}: not the original");
            write_member(out, LOSSY_KEY, &words)?;
            out.write_all(b",")?;
        }
        if let Some(base) = self.base {
            write_member(out, BASE_KEY, base)?;
            out.write_all(b",")?;
        }
        write_member(out, ORIGINAL_HEADER_KEY, self.original_header.0)?;
        write!(out, ",\"{INDEX_KEY}\":\"")?;
        self.write_index(&mut Escaped(out))?;
        out.write_all(b"\"}")?;
        let mut at = 0;
        let mut put = |name: &str, len: usize| {
            let (start, end, shape) = every_offset.map_or((at, at + len, len), |most| (most, most, most));
            at += len;
            out.write_all(b",")?;
            serde_json::to_writer(&mut out, name)?;
            write!(out, ":{{\"dtype\":\"U8\",\"shape\":[{shape}],\"data_offsets\":[{start},{end}]}}")
        };
        put(self.original_header.0, self.original_header.1)?;
        (self.tensors)(&mut |name, _, payload_len| put(name, payload_len))?;
        out.write_all(b"}")
    }

    fn write_index(&self, mut out: &mut dyn Write) -> io::Result<()> {
        let mut separator: &[u8] = b"{";
        (self.tensors)(&mut |name, entry, _| {
            out.write_all(std::mem::replace(&mut separator, b","))?;
            serde_json::to_writer(&mut out, name)?;
            out.write_all(b":")?;
            Ok(serde_json::to_writer(&mut out, entry)?)
        })?;
        // There may have been no tensors.
        out.write_all(if separator == b"{" { b"{}" } else { b"}" })
    }
}

fn write_member(mut out: &mut dyn Write, key: &str, value: &str) -> io::Result<()> {
    serde_json::to_writer(&mut out, key)?;
    out.write_all(b":")?;
    Ok(serde_json::to_writer(&mut out, value)?)
}

/// Counts the bytes written to it.
struct Counted(usize);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes JSON inside a JSON string. The inner JSON has no control characters left to escape.
struct Escaped<'a>(&'a mut dyn Write);

impl Write for Escaped<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let plain = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(bytes.len());
        self.0.write_all(&bytes[..plain])?;
        match bytes.get(plain) {
            Some(&special) => self.0.write_all(&[b'\\', special])?,
            None => return Ok(plain),
        }
        Ok(plain + 1)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_original_header_is_unique() {
        assert_eq!(original_header_name(["a"].into_iter()), "bantam.original_header");
        let taken = ["bantam.original_header_", "bantam.original_header"];
        assert_eq!(original_header_name(taken.into_iter()), "bantam.original_header__");
    }
    #[test]
    fn a_header_is_json_of_the_length_that_was_foretold() {
        let entry = |shape: &[usize], lossy| IndexEntry {
            dtype: Dtype::BF16,
            shape: shape.into(),
            bytes: 7,
            blake3: "0123".repeat(16),
            lossy,
            base: None,
        };
        let lossy = Some(LossyEntry { mantissa: 3, block: 32 });
        let all = [
            ("w", entry(&[2, 3], lossy), 256),
            ("odd \u{e9} \u{1} \" \\ \n name", entry(&[], None), 512),
            ("", entry(&[0], None), 256),
        ];
        for count in 0..=all.len() {
            let tensors = &all[..count];
            let contents = Contents {
                form: Form::Safetensors,
                framework: Some("p\"t"),
                original_header: (ORIGINAL_HEADER_NAME, 768),
                lossy,
                base: None,
                tensors: &|show| tensors.iter().try_for_each(|(name, entry, len)| show(name, entry, *len)),
            };
            let room = contents.room(999_999);
            let header = contents.header(room).unwrap();
            assert_eq!((header.len(), room % SECTION_ALIGN), (room, 0));
            let json: serde_json::Value = serde_json::from_slice(&header[8..]).unwrap();
            let compact = serde_json::to_vec(&json).unwrap();
            assert!(header[8..].starts_with(&compact) && contents.header(8 + compact.len()).is_some());
            assert!(contents.header(7 + compact.len()).is_none());
            // With the longest offsets, the reserved length is nearly used up.
            assert!(room < 8 + compact.len() + SECTION_ALIGN + 3 * 6 * (1 + count));
            assert_eq!(json["__metadata__"]["format"], "p\"t");
            let index = json["__metadata__"][INDEX_KEY].as_str().unwrap();
            let index: Index = serde_json::from_str(index).unwrap();
            assert_eq!(index.len(), count);
            for (name, entry, len) in tensors {
                assert_eq!(&index[*name], entry);
                assert_eq!(json[*name]["shape"], serde_json::json!([len]));
            }
        }
    }
}
