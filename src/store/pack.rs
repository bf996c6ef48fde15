//! Packs: payloads one after the other, and at the end what they are.
//!
//! ```text
//! "BTPK" | version 1 | zeros to 256 bytes | payloads | JSON | its length | its XXH3-64 | "BTPKEND\0"
//! ```
//! All numbers are little-endian, and those at the end have eight bytes. A payload starts at a multiple of
//! 256.

use std::io::Write;

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::error::StoreError;
use super::faults::strike;
use super::name;
use super::objects::Objects;
use crate::codec::checksum;

/// The folder of the packs.
pub(super) const PACKS: &str = "packs";

const MAGIC: &[u8; 4] = b"BTPK";
const VERSION: u32 = 1;
const END: &[u8; 8] = b"BTPKEND\0";
const FRONT_LEN: usize = 256;
const TAIL_LEN: usize = 24;

/// Bytes of payloads after which a pack is closed.
const FULL: u64 = 256 << 20;

/// Most bytes of a pack's JSON that are read: a pack of the smallest pieces has less.
const MOST_JSON: u64 = 1 << 30;

/// Whether an object can have this name and be a pack. Others would be read, or deleted, elsewhere.
pub(super) fn is_name(name: &str) -> bool {
    let is_random =
        |text: &str| text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let parts = name.strip_prefix("packs/").and_then(|rest| rest.split_once('/'));
    parts.is_some_and(|(objects, random)| is_random(random) && random.get(..2) == Some(objects))
}

/// A piece in a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PackEntry {
    /// BLAKE3 of the piece's bytes, in hexadecimal.
    pub blake3: String,
    /// Bytes of the piece.
    pub bytes: u64,
    /// Where its payload starts in the pack.
    pub start: u64,
    /// Bytes of the payload.
    pub length: u64,
    /// The hash of its base, if it is a difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
}

/// What a pack has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PackPieces {
    /// Its name in the store.
    pub pack: String,
    pub pieces: Vec<PackEntry>,
}

/// A pack that is being written.
struct PackWriter {
    file: NamedTempFile,
    at: u64,
    entries: Vec<PackEntry>,
}

impl PackWriter {
    fn begin(objects: &Objects) -> Result<Self, StoreError> {
        let mut pack = Self { file: objects.temporary()?, at: 0, entries: Vec::new() };
        let mut front = [MAGIC, &VERSION.to_le_bytes()[..]].concat();
        front.resize(FRONT_LEN, 0);
        pack.write(&front)?;
        Ok(pack)
    }

    /// Appends a payload.
    fn add(
        &mut self,
        blake3: blake3::Hash,
        bytes: usize,
        payload: &[u8],
        base: Option<blake3::Hash>,
    ) -> Result<(), StoreError> {
        let hex = |hash: blake3::Hash| hash.to_hex().to_string();
        let (start, length) = (self.at, payload.len() as u64);
        self.write(payload)?;
        self.entries.push(PackEntry {
            blake3: hex(blake3),
            bytes: bytes as u64,
            start,
            length,
            base: base.map(hex),
        });
        Ok(())
    }

    /// Whether it should be closed.
    fn is_full(&self) -> bool {
        self.at >= FULL
    }

    /// Makes it an object of the store, durable. Gives its name, and what it has.
    fn finish(mut self, objects: &Objects) -> Result<PackPieces, StoreError> {
        let json = serde_json::to_vec(&self.entries).expect("numbers, texts and lists become JSON");
        let tail = [&(json.len() as u64).to_le_bytes()[..], &checksum(&json).to_le_bytes(), END].concat();
        self.write(&json)?;
        self.write(&tail)?;
        let random = name::random();
        let pack = format!("{PACKS}/{}/{random}", &random[..2]);
        match objects.give_name(&pack, self.file)? {
            true => Ok(PackPieces { pack, pieces: self.entries }),
            false => Err(StoreError::Object { path: objects.path(&pack), what: "the name is taken".into() }),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        strike()
            .and_then(|()| self.file.write_all(bytes))
            .map_err(StoreError::io("write", self.file.path()))?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

/// Packs that are written one after the other.
#[derive(Default)]
pub(super) struct PacksWriter {
    open: Option<PackWriter>,
    finished: Vec<PackPieces>,
}

impl PacksWriter {
    /// Appends a payload.
    pub fn add(
        &mut self,
        objects: &Objects,
        blake3: blake3::Hash,
        bytes: usize,
        payload: &[u8],
        base: Option<blake3::Hash>,
    ) -> Result<(), StoreError> {
        let mut pack = match self.open.take() {
            Some(pack) => pack,
            None => PackWriter::begin(objects)?,
        };
        pack.add(blake3, bytes, payload, base)?;
        match pack.is_full() {
            true => self.finished.push(pack.finish(objects)?),
            false => self.open = Some(pack),
        }
        Ok(())
    }

    /// Makes all of them durable, and gives what they have.
    pub fn finish(mut self, objects: &Objects) -> Result<Vec<PackPieces>, StoreError> {
        self.finished.extend(self.open.map(|pack| pack.finish(objects)).transpose()?);
        Ok(self.finished)
    }
}

/// What the pack of this name has, from its end.
pub(super) fn entries(objects: &Objects, name: &str) -> Result<Vec<PackEntry>, StoreError> {
    let bad = |what: &str| StoreError::Object { path: objects.path(name), what: what.into() };
    let len = objects.len(name)?;
    let tail_start = len.checked_sub(TAIL_LEN as u64).ok_or_else(|| bad("the pack is truncated"))?;
    let tail = objects.read_part(name, tail_start, TAIL_LEN)?;
    let number = |at: usize| u64::from_le_bytes(tail[at..at + 8].try_into().expect("eight bytes"));
    if tail[16..] != *END {
        return Err(bad("the pack is truncated or damaged: its end is missing"));
    }
    let json_len = number(0);
    let json_start = tail_start.checked_sub(json_len).filter(|&start| start >= FRONT_LEN as u64);
    let json_start =
        json_start.filter(|_| json_len <= MOST_JSON).ok_or_else(|| bad("the pack's end is damaged"))?;
    let json = objects.read_part(name, json_start, json_len as usize)?;
    if checksum(&json) != number(8) {
        return Err(bad("the pack's end is damaged: its checksum differs"));
    }
    let front = objects.read_part(name, 0, FRONT_LEN)?;
    if front[..4] != *MAGIC
        || front[4..8] != VERSION.to_le_bytes()
        || front[8..].iter().any(|&byte| byte != 0)
    {
        return Err(bad("the pack's beginning is damaged, or of a later version"));
    }
    let entries: Vec<PackEntry> = serde_json::from_slice(&json)
        .map_err(|error| bad(&format!("the pack's end is unreadable: {error}")))?;
    let in_bounds =
        |entry: &PackEntry| entry.start.checked_add(entry.length).is_some_and(|end| end <= json_start);
    match entries.iter().all(in_bounds) {
        true => Ok(entries),
        false => Err(bad("the pack's end names payloads that are not in it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_are_where_packs_are() {
        let random = "0123456789abcdef0123456789abcdef";
        assert!(is_name(&format!("packs/01/{random}")));
        for bad in ["", "packs", "packs/01", "config", "/etc/passwd"] {
            assert!(!is_name(bad), "{bad}");
        }
        for bad in [
            format!("packs/02/{random}"),
            format!("../packs/01/{random}"),
            format!("packs/01/../01/{random}"),
            format!("packs/01/{}Z", &random[1..]),
            format!("packs/../{random}"),
            format!("packs/01/{random}0"),
        ] {
            assert!(!is_name(&bad), "{bad}");
        }
    }
}
