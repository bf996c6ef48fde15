//! Models of a store, named as STORE#NAME: restored to a compressed folder that lasts as long as the command.

use std::path::PathBuf;

use bantam::store::{Location, Store, VersionName};
use tempfile::TempDir;

use super::progress::Bar;
use super::{Jobs, Result, interrupt, store_name};

/// Where `model` names a model of a store, and no file or folder, restores it, and has `model` name the folder. That goes
/// when what this gives is dropped, or when a signal ends the process.
pub fn of_store(model: &mut PathBuf) -> Result<Option<TempDir>> {
    let Some((store, name)) = model.to_str().and_then(store_name::split) else { return Ok(None) };
    let (store, name) = (Store::open(Location::parse(store.as_ref())?)?, VersionName::parse(name)?);
    let folder = tempfile::Builder::new().prefix("bantam-model-").tempdir()?;
    let to = folder.path().join(name.model.rsplit('/').next().unwrap_or(&name.model));
    interrupt::set(interrupt::Manner::Ask);
    Jobs { jobs: 0 }.run(|| store.get(&name, &to, true, &Bar::default()))??;
    let path = folder.path().to_path_buf();
    interrupt::at_end(move || drop(std::fs::remove_dir_all(path)));
    interrupt::set(interrupt::Manner::AtOnce);
    *model = to;
    Ok(Some(folder))
}
