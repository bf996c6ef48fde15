//! Names of models and their versions.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use super::error::StoreError;

/// Bytes of the longest name.
const LONGEST: usize = 200;

/// A model's name, with or without a version: `smollm2`, `org/name`, `smollm2@3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionName {
    /// The model's name.
    pub model: String,
    /// The version; `None` for the newest.
    pub version: Option<u32>,
}

impl VersionName {
    /// Reads a name as people write it.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let (model, version) = match text.rsplit_once('@') {
            None => (text, None),
            Some((model, version)) => {
                let number = version.parse().ok().filter(|&number| number > 0);
                let why = "the version behind @ is a number from 1 on";
                (model, Some(number.ok_or(StoreError::BadName { name: text.into(), why })?))
            }
        };
        check(model)?;
        Ok(Self { model: model.into(), version })
    }
}

impl fmt::Display for VersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "{}@{version}", self.model),
            None => f.write_str(&self.model),
        }
    }
}

/// An error unless `name` is a path of ASCII letters, digits, `.`, `_` and `-` that stays where it is put, on
/// any system.
pub(super) fn check(name: &str) -> Result<(), StoreError> {
    let bad = |why| Err(StoreError::BadName { name: name.into(), why });
    if name.len() > LONGEST {
        return bad("it is too long");
    }
    for part in name.split('/') {
        if part.is_empty() || part.starts_with('.') || part.ends_with('.') {
            return bad("parts of it are empty, or begin or end with a dot");
        }
        if !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            return bad("it has other characters than letters, digits, dots, lines and slashes");
        }
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            return bad("a part of it is a number, as versions are");
        }
    }
    Ok(())
}

/// A name that no other object has: 32 random hexadecimal digits.
pub(super) fn random() -> String {
    // Keyed by the system's random numbers.
    let half = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_stay_in_the_store() {
        let parsed = VersionName::parse("org/some-model_1.5@12").unwrap();
        assert_eq!((parsed.model.as_str(), parsed.version), ("org/some-model_1.5", Some(12)));
        assert_eq!(parsed.to_string(), "org/some-model_1.5@12");
        for bad in [
            "",
            "a//b",
            "../a",
            "a/..",
            ".a",
            "a@",
            "a@0",
            "a@x",
            "ä",
            "a b",
            "a\\b",
            "a/7",
            &"a".repeat(201),
        ] {
            assert!(VersionName::parse(bad).is_err(), "{bad}");
        }
        assert_ne!(random(), random());
        assert_eq!(random().len(), 32);
    }
}
