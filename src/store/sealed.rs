//! Small objects of JSON with a checksum in front, so that a changed byte is found.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::StoreError;
use super::objects::Objects;
use crate::codec::checksum;

/// Hexadecimal digits of a checksum, and the end of its line.
const FRONT: usize = 17;

/// XXH3-64 of the JSON as 16 digits, a line end, and the JSON.
pub(super) fn seal(value: &impl Serialize) -> Vec<u8> {
    let json = serde_json::to_vec(value).expect("numbers, texts and lists become JSON");
    [format!("{:016x}\n", checksum(&json)).as_bytes(), &json].concat()
}

/// Reads the sealed object of this name; `None` if there is none.
pub(super) fn read<T: DeserializeOwned>(objects: &Objects, name: &str) -> Result<Option<T>, StoreError> {
    let Some(bytes) = objects.read(name)? else { return Ok(None) };
    open(&bytes).map(Some).map_err(|what| StoreError::Object { path: objects.path(name), what })
}

fn open<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let (front, json) = bytes.split_at_checked(FRONT).ok_or("the object is truncated")?;
    if format!("{:016x}\n", checksum(json)).as_bytes() != front {
        return Err("the object is damaged: its checksum differs".into());
    }
    serde_json::from_slice(json).map_err(|error| format!("the object is unreadable: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_is_found() {
        let sealed = seal(&vec![1, 2, 300]);
        assert_eq!(open::<Vec<u32>>(&sealed), Ok(vec![1, 2, 300]));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 4;
            assert!(open::<Vec<u32>>(&changed).is_err());
            assert!(open::<Vec<u32>>(&sealed[..at]).is_err());
        }
    }
}
