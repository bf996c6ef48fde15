//! A version of a model: its files, and the pieces that they consist of.

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::kin::Look;
use super::objects::Objects;
use super::sketch::Sketch;
use crate::tensor::Dtype;

/// Version of the manifest's form.
const FORMAT: u32 = 1;

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceId {
    /// BLAKE3 of its bytes, in hexadecimal.
    pub blake3: String,
    /// Number of its bytes.
    pub bytes: u64,
}

impl PieceId {
    /// Its hash.
    pub(super) fn hash(&self) -> Result<blake3::Hash, StoreError> {
        let what = |error: blake3::HexError| format!("the hash is unreadable: {error}");
        blake3::Hash::from_hex(&self.blake3)
            .map_err(|error| StoreError::Piece { blake3: self.blake3.clone(), what: what(error) })
    }
}

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestTensor {
    /// Its name.
    pub name: String,
    /// Element type; U8 for quantised tensors.
    pub dtype: Dtype,
    /// Dimensions, outermost first; the number of bytes of quantised tensors.
    pub shape: Vec<usize>,
    /// Where it starts in the file.
    pub start: u64,
    /// What it looks like, if it has enough elements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sketch: Option<Sketch>,
    /// Its bytes: runs of rows.
    pub pieces: Vec<PieceId>,
}

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Its path in the model's folder, with `/` between folders.
    pub path: String,
    /// Number of its bytes.
    pub bytes: u64,
    /// BLAKE3 of its bytes, in hexadecimal.
    pub blake3: String,
    /// The bytes that belong to no tensor, in file order: of a file without tensors, all.
    pub outside: Vec<PieceId>,
    /// Its tensors in file order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tensors: Vec<ManifestTensor>,
}

impl ManifestFile {
    /// All pieces of it.
    pub fn pieces(&self) -> impl Iterator<Item = &PieceId> {
        self.outside.iter().chain(self.tensors.iter().flat_map(|tensor| &tensor.pieces))
    }
}

/// A version of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// Its files, sorted by path.
    pub files: Vec<ManifestFile>,
}

impl Manifest {
    pub(super) fn new(mut files: Vec<ManifestFile>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { format: FORMAT, files }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// All tensors.
    pub fn tensors(&self) -> impl Iterator<Item = &ManifestTensor> {
        self.files.iter().flat_map(|file| &file.tensors)
    }

    /// All pieces, some perhaps several times.
    pub fn pieces(&self) -> impl Iterator<Item = &PieceId> {
        self.files.iter().flat_map(ManifestFile::pieces)
    }

    /// What its tensors look like.
    pub(super) fn looks(&self) -> Vec<Look<'_>> {
        let bytes = |tensor: &ManifestTensor| tensor.pieces.iter().map(|piece| piece.bytes).sum();
        let looks = self.tensors().filter_map(|t| Some((bytes(t), &t.name[..], t.sketch.as_ref()?)));
        looks.collect()
    }

    /// Writes it, durable, and gives its name among the manifests: the hash of its JSON.
    pub(super) fn write(&self, objects: &Objects) -> Result<String, StoreError> {
        let json = serde_json::to_vec(self).expect("numbers, texts and lists become JSON");
        let hash = blake3::hash(&json).to_hex().to_string();
        objects.create(&format!("manifests/{hash}"), &json)?;
        Ok(hash)
    }

    /// Reads the manifest of this name, and checks it.
    pub(super) fn read(objects: &Objects, hash: &str) -> Result<Self, StoreError> {
        let name = format!("manifests/{hash}");
        let bad = |what: String| StoreError::Object { path: objects.path(&name), what };
        if blake3::Hash::from_hex(hash).is_err() {
            return Err(bad("this is no name of a manifest".into()));
        }
        let json = objects.read(&name)?.ok_or_else(|| bad("the manifest is missing".into()))?;
        if blake3::hash(&json).to_hex().as_str() != hash {
            return Err(bad("the manifest is damaged: its hash differs".into()));
        }
        let manifest: Self = serde_json::from_slice(&json)
            .map_err(|error| bad(format!("the manifest is unreadable: {error}")))?;
        if manifest.format != FORMAT {
            return Err(bad(format!(
                "the manifest has format {}; a newer bantam may read it",
                manifest.format
            )));
        }
        if let Some(file) = manifest.files.iter().find(|file| !stays_inside(&file.path)) {
            return Err(bad(format!("the path {:?} leads out of the model's folder", file.path)));
        }
        let all = manifest.files.iter().try_fold(0u64, |sum, file| {
            let pieces = file.pieces().try_fold(0u64, |sum, piece| sum.checked_add(piece.bytes))?;
            sum.checked_add(pieces).filter(|_| pieces == file.bytes)
        });
        match all {
            Some(_) => Ok(manifest),
            None => Err(bad("a file has another length than its pieces".into())),
        }
    }
}

/// Whether a path of a file stays in its folder on any system.
fn stays_inside(path: &str) -> bool {
    path.split('/').all(|part| {
        let is_special = matches!(part, "" | "." | "..");
        let is_elsewhere = part.contains(['\\', '\0']) || cfg!(windows) && part.contains(':');
        !(is_special || is_elsewhere)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_named_by_what_they_say_and_stay_inside() {
        let root = tempfile::tempdir().unwrap();
        let objects = Objects::new(root.path().into());
        let file = |path: &str| ManifestFile {
            path: path.into(),
            bytes: 0,
            blake3: blake3::hash(b"").to_hex().to_string(),
            outside: Vec::new(),
            tensors: Vec::new(),
        };
        let manifest = Manifest::new(vec![file("b"), file("a/c")]);
        let hash = manifest.write(&objects).unwrap();
        assert_eq!(manifest.write(&objects).unwrap(), hash);
        assert_eq!(Manifest::read(&objects, &hash).unwrap(), manifest);
        for bad in ["../a", "/a", "a//b", "a/./b", "a\\b", ""] {
            let hash = Manifest::new(vec![file(bad)]).write(&objects).unwrap();
            assert!(Manifest::read(&objects, &hash).unwrap_err().to_string().contains("leads out"), "{bad}");
        }
        std::fs::write(objects.path(&format!("manifests/{hash}")), b"{}").unwrap();
        assert!(Manifest::read(&objects, &hash).unwrap_err().to_string().contains("its hash differs"));
        assert!(Manifest::read(&objects, "../../etc").is_err());
    }
}
