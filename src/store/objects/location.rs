//! Where a store is.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use super::super::error::StoreError;
#[cfg(feature = "buckets")]
use super::Bucket;
use super::{Folder, Kind};

/// How URLs of buckets begin.
const SCHEMES: [&str; 10] =
    ["s3://", "s3a://", "gs://", "az://", "adl://", "azure://", "abfs://", "abfss://", "http://", "https://"];

/// Where a store is: in a folder, or in a bucket.
#[derive(Debug, Clone)]
pub struct Location(pub(super) Kind);

impl Location {
    /// The location that a user names: a folder, or the URL of a bucket and what all names in it begin with:
    /// `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`. Who may use the bucket, and where the server
    /// is, is read from the environment, from variables whose names begin with `AWS_`, `GOOGLE_` or `AZURE_`, such as
    /// `AWS_ACCESS_KEY_ID` and `AWS_ENDPOINT`.
    ///
    /// # Errors
    /// [`StoreError::Bucket`] if the bucket cannot be used as the URL and the environment say.
    pub fn parse(text: &OsStr) -> Result<Self, StoreError> {
        match text.to_str().filter(|text| SCHEMES.iter().any(|scheme| text.starts_with(scheme))) {
            Some(url) => Self::of_url(url),
            None => Ok(Self::from(Path::new(text))),
        }
    }

    #[cfg(feature = "buckets")]
    fn of_url(url: &str) -> Result<Self, StoreError> {
        Ok(Self(Kind::Bucket(Bucket::of_url(url)?)))
    }

    #[cfg(not(feature = "buckets"))]
    fn of_url(url: &str) -> Result<Self, StoreError> {
        let why = "this bantam was built without the feature `buckets`".into();
        Err(StoreError::Bucket { url: url.into(), why })
    }

    /// A place in a bucket that the caller reaches by itself; all names begin with `prefix`. Errors call it `shown`.
    ///
    /// # Errors
    /// [`StoreError::Bucket`] if no name can begin so.
    #[cfg(feature = "buckets")]
    pub fn bucket(
        objects: std::sync::Arc<dyn object_store::ObjectStore>,
        prefix: &str,
        shown: &str,
    ) -> Result<Self, StoreError> {
        let prefix = object_store::path::Path::parse(prefix)
            .map_err(|error| StoreError::Bucket { url: shown.into(), why: error.to_string() })?;
        Ok(Self(Kind::Bucket(Bucket::new(objects, prefix, shown))))
    }

    /// The folder, or the URL, as it is shown.
    pub fn display(&self) -> impl fmt::Display + '_ {
        self.as_path().display()
    }

    fn as_path(&self) -> &Path {
        either!(&self.0, place => place.root())
    }

    /// Its last part, for where there is little room.
    pub fn name(&self) -> &OsStr {
        let whole = self.as_path();
        whole.file_name().unwrap_or(whole.as_os_str())
    }
}

impl From<&Path> for Location {
    /// A folder.
    fn from(path: &Path) -> Self {
        Self(Kind::Folder(Folder::new(path)))
    }
}

impl From<&PathBuf> for Location {
    /// A folder.
    fn from(path: &PathBuf) -> Self {
        path.as_path().into()
    }
}

impl From<&Location> for Location {
    fn from(location: &Location) -> Self {
        location.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_is_a_folder() {
        for folder in ["a/b", "s3:/a", "file", "C:\\models", "ftp://a"] {
            let location = Location::parse(folder.as_ref()).unwrap();
            assert!(matches!(&location.0, Kind::Folder(found) if found.root() == Path::new(folder)));
        }
    }

    #[test]
    #[cfg(feature = "buckets")]
    fn urls_are_buckets() {
        let location = Location::parse("s3://bucket/some/store/".as_ref()).unwrap();
        assert!(matches!(&location.0, Kind::Bucket(_)));
        assert_eq!(location.display().to_string(), "s3://bucket/some/store");
        assert_eq!(location.name(), "store");
        for bad in ["s3://", "https://example.com/store", "s3://bucket/a/../b"] {
            let error = Location::parse(bad.as_ref()).unwrap_err().to_string();
            assert!(error.starts_with(bad), "{error}");
        }
    }
}
