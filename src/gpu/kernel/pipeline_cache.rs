//! A driver's compiled kernels in a file, so that the next process need not compile them again.
//!
//! Only Vulkan supports this. The driver defines the data and need not validate it when it gets it back, so
//! creating a cache from it is unsafe. Therefore a file states what it belongs to, its length and its hash. A
//! file that is damaged, or belongs to another adapter, driver or version, is ignored, and kernels are
//! compiled.
#![allow(unsafe_code)]

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::path::{Path, PathBuf};

use super::subject::Subject;
use super::target::Target;

/// The start of a file: a name, a version, the subject's hash, the number of bytes that follow, and their
/// hash.
const MAGIC: [u8; 8] = *b"BANTAMPC";
const VERSION: u32 = 1;
const HEAD: usize = 8 + 4 + 32 + 8 + 32;

/// Maximum bytes that are read or stored. A cache that exceeds it starts over.
const MOST_BYTES: u64 = 64 << 20;

/// A driver's compiled kernels, and the file that stores them.
#[derive(Debug)]
pub(in crate::gpu) struct PipelineCache {
    raw: wgpu::PipelineCache,
    path: PathBuf,
    subject: blake3::Hash,
    /// The hash of its data when it was opened.
    before: blake3::Hash,
}

impl PipelineCache {
    /// The cache of `device`, with the data in `folder`. `None` if the device was created without caches.
    pub fn open(device: &wgpu::Device, target: Target, folder: &Path) -> Option<Self> {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let subject = Subject::of(device, target);
        let path = folder.join(subject.file_name("pipelines", "bin"));
        let subject = subject.hash();
        let found = match read(&path, &subject) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                log::info!("{} is not used: {error}", path.display());
                None
            }
        };
        let raw = Self::make(device, found.as_deref());
        let before = blake3::hash(&raw.get_data().unwrap_or_default());
        Some(Self { raw, path, subject, before })
    }

    /// A cache that contains `found`, as [`read`] returned it.
    fn make(device: &wgpu::Device, found: Option<&[u8]>) -> wgpu::PipelineCache {
        let descriptor = wgpu::PipelineCacheDescriptor { label: Some("bantam"), data: found, fallback: true };
        // SAFETY: the data must come from `PipelineCache::get_data`. `read` returns only bytes with the
        // length and the hash that `store` wrote next to them, for the same adapter, driver and version of
        // bantam. So neither damaged data nor another driver's gets here. The hash is no signature: the
        // caller who names the folder must ensure that nobody else writes to it. wgpu also checks its own
        // header, and starts without data that it rejects (`fallback`).
        unsafe { device.create_pipeline_cache(&descriptor) }
    }

    /// The cache for creating pipelines.
    pub fn raw(&self) -> &wgpu::PipelineCache {
        &self.raw
    }

    /// Stores the driver's data if that has grown since the cache was opened. Concurrent readers see the
    /// previous file until the new one is complete; of several writers, the last one wins. A failure is only
    /// logged.
    pub fn store(&self) {
        let data = self.raw.get_data().unwrap_or_default();
        if data.is_empty() || blake3::hash(&data) == self.before {
            return;
        }
        match write(&self.path, &self.subject, &data) {
            Ok(()) => log::debug!("{}: stored {} bytes of compiled kernels", self.path.display(), data.len()),
            Err(error) => log::info!("{}: compiled kernels are not stored: {error}", self.path.display()),
        }
    }
}

/// Writes a file of `data`. If that is too large, removes the file.
fn write(path: &Path, subject: &blake3::Hash, data: &[u8]) -> Result<()> {
    if data.len() as u64 > MOST_BYTES {
        std::fs::remove_file(path)
            .or_else(|e| if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(e) })?;
        return Err(Error::other("they are too large, so the cache starts over"));
    }
    let folder = path.parent().ok_or_else(|| Error::other("it is not in a folder"))?;
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&MAGIC)?;
    file.write_all(&VERSION.to_le_bytes())?;
    file.write_all(subject.as_bytes())?;
    file.write_all(&(data.len() as u64).to_le_bytes())?;
    file.write_all(blake3::hash(data).as_bytes())?;
    file.write_all(data)?;
    // If the system crashes before the data is on the disk, the hash will not match.
    file.persist(path)?;
    Ok(())
}

/// Reads a file with unknown contents: the data that [`write`] wrote for this subject, or an error.
fn read(path: &Path, subject: &blake3::Hash) -> Result<Vec<u8>> {
    // Reading a pipe would block.
    if !std::fs::metadata(path)?.is_file() {
        return Err(Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    let most = HEAD as u64 + MOST_BYTES;
    std::fs::File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(Error::other("it is too large"));
    }
    let (head, data) = bytes.split_at_checked(HEAD).ok_or_else(|| Error::other("it is truncated"))?;
    let (magic, head) = head.split_at(8);
    let (version, head) = head.split_at(4);
    let (of, head) = head.split_at(32);
    let (len, hash) = head.split_at(8);
    if magic != MAGIC || version != VERSION.to_le_bytes() {
        return Err(Error::other("it has no compiled kernels, or is of another version"));
    }
    if of != subject.as_bytes() {
        return Err(Error::other("it belongs to another adapter, driver or version"));
    }
    if len != (data.len() as u64).to_le_bytes() || hash != blake3::hash(data).as_bytes() {
        return Err(Error::other("it is damaged"));
    }
    Ok(data.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Gpu, GpuOptions};

    const DATA: &[u8] = b"what a driver has compiled";

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        // A folder that does not exist yet.
        let path = folder.path().join("cache").join("pipelines.bin");
        let [subject, another] = [&b"this"[..], b"another"].map(blake3::hash);
        assert_eq!(read(&path, &subject).unwrap_err().kind(), ErrorKind::NotFound);
        write(&path, &subject, DATA).unwrap();
        assert_eq!(read(&path, &subject).unwrap(), DATA);
        assert!(read(&path, &another).is_err());

        let good = std::fs::read(&path).unwrap();
        assert_eq!(good.len(), HEAD + DATA.len());
        for len in 0..good.len() {
            std::fs::write(&path, &good[..len]).unwrap();
            assert!(read(&path, &subject).is_err(), "{len} bytes");
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, bad).unwrap();
            assert!(read(&path, &subject).is_err(), "bit {bit}");
        }
        std::fs::write(&path, [&good[..], b"more"].concat()).unwrap();
        assert!(read(&path, &subject).is_err());
        // Larger than any valid file, but sparse, so that it takes no disk space.
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(HEAD as u64 + MOST_BYTES + 1).unwrap();
        assert!(read(&path, &subject).unwrap_err().to_string().contains("too large"));

        // A new file replaces the old one, and leaves no other file behind.
        write(&path, &subject, &DATA[1..]).unwrap();
        assert_eq!(read(&path, &subject).unwrap(), &DATA[1..]);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(read(&path, &subject).is_err() && write(&path, &subject, DATA).is_err());
    }

    #[test]
    fn a_second_device_has_what_the_first_one_left() {
        let folder = tempfile::tempdir().unwrap();
        let device = std::env::var("BANTAM_DEVICE").ok();
        let pipeline_cache = Some(folder.path().to_path_buf());
        let options = GpuOptions { device, pipeline_cache, ..GpuOptions::default() };
        let open = || pollster::block_on(Gpu::open(&options)).expect("tests need an adapter");
        let gpu = open();
        let (device, target) = (gpu.device().clone(), gpu.target());
        let Some(cache) = PipelineCache::open(&device, target, folder.path()) else {
            // Not every graphics interface has caches.
            assert!(gpu.pipeline_cache().is_none());
            assert_ne!(device.adapter_info().backend, wgpu::Backend::Vulkan);
            return;
        };
        assert!(gpu.pipeline_cache().is_some());
        // Nothing was compiled, so nothing is stored.
        cache.store();
        assert!(!cache.path.exists());
        gpu.kernel(crate::gpu::kernels::argmax::variant()).unwrap();
        let data = gpu.pipeline_cache().unwrap().get_data().unwrap();
        let is_more = blake3::hash(&data) != cache.before;
        drop(gpu);
        // Some drivers return only a header whatever they compile, which is not worth storing.
        assert_eq!(cache.path.exists(), is_more);
        // Such a driver also accepts its own data.
        write(&cache.path, &cache.subject, &data).unwrap();
        let second = PipelineCache::open(&device, target, folder.path()).unwrap();
        assert_eq!(read(&second.path, &second.subject).unwrap(), data);
        assert!(second.raw.get_data().is_some_and(|data| !data.is_empty()));
        assert!(open().kernel(crate::gpu::kernels::argmax::variant()).is_ok());
        // Damaged files, and a folder that cannot be created, are not errors.
        std::fs::write(&cache.path, &DATA[..5]).unwrap();
        assert!(open().kernel(crate::gpu::kernels::argmax::variant()).is_ok());
        let nowhere = cache.path.join("below a file");
        let options = GpuOptions { pipeline_cache: Some(nowhere), ..options.clone() };
        let gpu = pollster::block_on(Gpu::open(&options)).unwrap();
        assert!(gpu.kernel(crate::gpu::kernels::argmax::variant()).is_ok());
    }
}
