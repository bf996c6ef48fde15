//! Files of text that a command writes.

use std::io::Write;
use std::path::Path;

use super::Result;

/// Writes a file completely, or leaves it as it was.
pub fn write(path: &Path, text: &str, replaces: bool) -> Result<()> {
    let cannot = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    #[cfg(unix)]
    let file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .tempfile_in(folder);
    #[cfg(not(unix))]
    let file = tempfile::NamedTempFile::new_in(folder);
    let mut file = file.map_err(cannot)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(cannot)?;
    let kept = if replaces { file.persist(path) } else { file.persist_noclobber(path) };
    kept.map_err(|error| cannot(error.error))?;
    Ok(())
}
