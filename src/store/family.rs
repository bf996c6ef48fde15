//! Models that look alike: candidates for bases, found by one look-up.

use super::error::StoreError;
use super::folder::Folder;
use super::manifest::Manifest;

/// The fingerprint of a model: of the names, types and shapes of its tensors, the number of their rows
/// excepted, so that a model whose vocabulary has grown is still of its family. `None` if it has no tensors.
pub(super) fn fingerprint(manifest: &Manifest) -> Option<String> {
    let line = |tensor: &super::ManifestTensor| {
        let columns = tensor.shape.get(1..).unwrap_or_default();
        let line = (&tensor.name, tensor.dtype, columns, tensor.shape.len());
        serde_json::to_string(&line).expect("texts and numbers become JSON") + "\n"
    };
    let mut lines: Vec<String> = manifest.tensors().map(line).collect();
    lines.sort();
    let hash = blake3::hash(lines.concat().as_bytes());
    (!lines.is_empty()).then(|| hash.to_hex()[..32].to_string())
}

/// Records that a manifest is of a family.
pub(super) fn record(folder: &Folder, fingerprint: &str, manifest: &str) -> Result<(), StoreError> {
    folder.create(&format!("families/{fingerprint}/{manifest}"), b"").map(drop)
}

/// The manifests of a family.
pub(super) fn members(folder: &Folder, fingerprint: &str) -> Result<Vec<String>, StoreError> {
    let names = folder.list(&format!("families/{fingerprint}"))?;
    Ok(names.iter().filter_map(|name| Some(name.rsplit_once('/')?.1.to_string())).collect())
}
