//! Objects in a bucket: S3 and what speaks like it, Google's and Azure's, and whatever else a caller brings.
//!
//! Calls wait for replies, on a thread of this module that lives as long as the process. So they can be made from
//! anywhere, also from within another asynchronous runtime, which they would block as reading a file does.

use std::future::Future;
use std::io::{self, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, mpsc};
use std::time::SystemTime;

use futures::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, WriteMultipart};
use tempfile::NamedTempFile;
use tokio::runtime::{Builder, Runtime};

use super::super::error::StoreError;
use super::super::name;
use super::folder::TEMPORARY;

/// Bytes of a request that writes; larger objects are written in parts of so many.
const PART: usize = 8 << 20;

/// Most parts that are under way at once.
const PARTS_AT_ONCE: usize = 4;

static RUNTIME: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(1).thread_name("bantam-bucket").enable_all().build()
});

/// Waits until a request has been answered.
fn wait<T: Send + 'static>(
    request: impl Future<Output = object_store::Result<T>> + Send + 'static,
) -> io::Result<T> {
    let runtime = RUNTIME.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    let (sender, receiver) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // Whoever asked waits for it.
        let _ = sender.send(request.await);
    });
    receiver.recv().map_err(|_| io::Error::other("the request was given up"))?.map_err(io_error)
}

fn io_error(error: Error) -> io::Error {
    let kind = match &error {
        Error::NotFound { .. } => ErrorKind::NotFound,
        Error::AlreadyExists { .. } | Error::Precondition { .. } => ErrorKind::AlreadyExists,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => ErrorKind::PermissionDenied,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// A place in a bucket.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    objects: Arc<dyn ObjectStore>,
    /// What all names begin with.
    prefix: Key,
    shown: PathBuf,
}

impl Bucket {
    pub fn new(objects: Arc<dyn ObjectStore>, prefix: Key, shown: &str) -> Self {
        Self { objects, prefix, shown: shown.trim_end_matches('/').into() }
    }

    /// The bucket that a URL and the environment say.
    pub fn of_url(text: &str) -> Result<Self, StoreError> {
        let bad = |why: String| StoreError::Bucket { url: text.into(), why };
        // A URL that is read has its dots resolved already.
        if text.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(bad("it has dots for a part".into()));
        }
        let url = url::Url::parse(text).map_err(|error| bad(error.to_string()))?;
        let is_ours = |name: &str| ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|start| name.starts_with(start));
        let variable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok().filter(|name| is_ours(name))?, value.into_string().ok()?))
        };
        let variables = std::env::vars_os().filter_map(variable);
        let (objects, prefix) =
            object_store::parse_url_opts(&url, variables).map_err(|error| bad(error.to_string()))?;
        Ok(Self::new(objects.into(), prefix, text))
    }

    pub fn root(&self) -> &Path {
        &self.shown
    }

    fn error(&self, doing: &'static str, name: &str) -> impl FnOnce(io::Error) -> StoreError {
        StoreError::io(doing, self.shown.join(name))
    }

    /// What the keys of all objects begin with.
    fn start(&self) -> String {
        if self.prefix.as_ref().is_empty() { String::new() } else { format!("{}/", self.prefix) }
    }

    fn key(&self, name: &str) -> io::Result<Key> {
        Key::parse(self.start() + name).map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))
    }

    /// Makes a request that concerns an object.
    fn request<T: Send + 'static, R>(
        &self,
        name: &str,
        request: impl FnOnce(Arc<dyn ObjectStore>, Key) -> R,
    ) -> io::Result<T>
    where
        R: Future<Output = object_store::Result<T>> + Send + 'static,
    {
        wait(request(self.objects.clone(), self.key(name)?))
    }

    pub fn is_empty(&self) -> Result<bool, StoreError> {
        let (objects, prefix) = (self.objects.clone(), self.prefix.clone());
        let first = wait(async move { objects.list(Some(&prefix)).try_next().await });
        Ok(first.map_err(StoreError::io("list", self.shown.clone()))?.is_none())
    }

    /// A file on this machine.
    pub fn temporary(&self) -> Result<NamedTempFile, StoreError> {
        NamedTempFile::new().map_err(StoreError::io("create a file in", std::env::temp_dir()))
    }

    pub fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        let payload = bytes.to_vec();
        let options = PutOptions::from(PutMode::Create);
        let put = self.request(name, |objects, key| async move {
            objects.put_opts(&key, payload.into(), options).await.map(drop)
        });
        match put {
            Ok(()) => Ok(true),
            // Where the reply to a request was lost, and the request was made again, the object is our own.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Ok(self.read(name)?.is_some_and(|there| there == bytes))
            }
            Err(error) => Err(self.error("create", name)(error)),
        }
    }

    /// Large objects are written in parts, and no server creates such an object only if its name is free.
    pub fn give_name(&self, name: &str, mut file: NamedTempFile) -> Result<bool, StoreError> {
        let written = (|| {
            let len = file.as_file().metadata()?.len();
            file.as_file_mut().rewind()?;
            Ok(len)
        })();
        let len = written.map_err(StoreError::io("read", file.path()))?;
        if len <= PART as u64 {
            let mut bytes = Vec::with_capacity(len as usize);
            file.as_file_mut().read_to_end(&mut bytes).map_err(StoreError::io("read", file.path()))?;
            return self.create(name, &bytes);
        }
        if StoreError::if_there(self.len(name))?.is_some() {
            return Ok(false);
        }
        let uploaded = self.request(name, |objects, key| async move { upload(&*objects, &key, file).await });
        uploaded.map_err(self.error("create", name))?;
        match self.len(name)? == len {
            true => Ok(true),
            false => Err(self.error("create", name)(ErrorKind::UnexpectedEof.into())),
        }
    }

    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.request(name, |objects, key| async move { objects.get(&key).await?.bytes().await });
        StoreError::if_there(read.map(Vec::from).map_err(self.error("read", name)))
    }

    pub fn read_part(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let get = |end| {
            self.request(name, move |objects, key| async move { objects.get_range(&key, start..end).await })
        };
        let read = || {
            let end = start.checked_add(len as u64).ok_or(ErrorKind::UnexpectedEof)?;
            // Some servers have no empty ranges.
            let bytes = if len == 0 { Vec::new() } else { Vec::from(get(end)?) };
            if bytes.len() == len { Ok(bytes) } else { Err(ErrorKind::UnexpectedEof.into()) }
        };
        read().map_err(self.error("read", name))
    }

    fn head(&self, name: &str) -> Result<ObjectMeta, StoreError> {
        let head = self.request(name, |objects, key| async move { objects.head(&key).await });
        head.map_err(self.error("read", name))
    }

    pub fn len(&self, name: &str) -> Result<u64, StoreError> {
        Ok(self.head(name)?.size)
    }

    pub fn modified(&self, name: &str) -> Result<SystemTime, StoreError> {
        Ok(self.head(name)?.last_modified.into())
    }

    /// The server's clock, by an object that is made for it.
    pub fn now(&self) -> Result<SystemTime, StoreError> {
        let name = format!("{TEMPORARY}/{}", name::random());
        self.create(&name, b"")?;
        let now = self.modified(&name);
        self.remove(&name)?;
        now
    }

    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let removed = self.request(name, |objects, key| async move { objects.delete(&key).await });
        StoreError::if_there(removed.map_err(self.error("delete", name))).map(drop)
    }

    pub fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let listed: io::Result<Vec<Key>> = self.request(folder, |objects, key| async move {
            objects.list(Some(&key)).map_ok(|object| object.location).try_collect().await
        });
        let keys = listed.map_err(self.error("list", folder))?;
        let start = self.start();
        let name = |key: &Key| key.as_ref().strip_prefix(&start).map(str::to_string);
        let mut names: Vec<String> = keys.iter().filter_map(name).collect();
        names.sort();
        Ok(names)
    }
}

/// Writes a file's bytes in parts. If one fails, nothing is there.
async fn upload(objects: &dyn ObjectStore, key: &Key, mut file: NamedTempFile) -> object_store::Result<()> {
    let mut upload = WriteMultipart::new_with_chunk_size(objects.put_multipart(key).await?, PART);
    let mut part = vec![0; PART];
    loop {
        let read = match file.as_file_mut().read(&mut part) {
            Ok(0) => return upload.finish().await.map(drop),
            Ok(len) => {
                upload.write(&part[..len]);
                upload.wait_for_capacity(PARTS_AT_ONCE).await
            }
            Err(error) => Err(Error::Generic { store: "file", source: error.into() }),
        };
        if let Err(error) = read {
            // What cannot be taken back is for the server to forget.
            let _ = upload.abort().await;
            return Err(error);
        }
    }
}
