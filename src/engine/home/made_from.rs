//! What a lab was last made from, for verbs that are not told its size, and for people who look for its file.
//!
//! It lies in the lab's folder from before the run that makes something until `destroy` takes the folder away. What stands is still
//! looked at anew by each run: this says only what is meant by the lab, where neither an option nor the lab file does.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::files;
use crate::lab::Lab;
use crate::lab::paths::LabDir;
use crate::lab::presets::Preset;

use super::records::{self, Versioned};
use crate::engine::error::Result;

/// The record `made-from.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeFrom {
    /// Version of this record's form: 1.
    pub version: u32,
    /// The size that an option named; none if none did.
    pub preset: Option<Preset>,
    /// The lab file's whole path; none for the built-in lab.
    pub file: Option<PathBuf>,
    /// How many gateways, control planes and workers were wanted.
    pub machines: (usize, usize, usize),
    /// What stood for `/` around Fusion.
    pub fusion: PathBuf,
}

impl Versioned for MadeFrom {
    const VERSION: u32 = 1;
    const WHAT: &'static str = "what a lab was made from";
}

impl MadeFrom {
    pub fn new(lab: &Lab, preset: Option<Preset>, file: Option<&Path>, fusion: &Path) -> Self {
        // JSON is text, and hardly a path is none.
        let text = |path: &Path| PathBuf::from(path.to_string_lossy().into_owned());
        let machines = (lab.gateways().count(), lab.control_planes().count(), lab.workers().count());
        Self { version: Self::VERSION, preset, file: file.map(text), machines, fusion: text(fusion) }
    }
}

/// Reads what a lab was made from; none if no run has written it.
///
/// # Errors
/// If it is not understood, or of another version's form.
pub fn read(dir: &LabDir) -> Result<Option<MadeFrom>> {
    records::read(&dir.made_from())
}

/// Writes it down. Under the lab's lock; nothing where it says so already.
pub fn write(dir: &LabDir, record: &MadeFrom) -> Result<()> {
    if read(dir).ok().flatten().as_ref() == Some(record) {
        return Ok(());
    }
    files::create_dir(dir.root())?;
    records::write(&dir.made_from(), record, files::PRIVATE_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::paths::Home;
    use crate::stack::fixture;

    #[test]
    fn what_was_written_is_read_and_nothing_else_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Home(folder.path().to_owned()).lab("lab");
        assert_eq!(read(&dir).unwrap(), None);
        let file = Path::new("/labs/it's a \u{fe0f}lab.yaml");
        let record = MadeFrom::new(&fixture::lab(), Some(Preset::Solo), Some(file), Path::new("/"));
        write(&dir, &record).unwrap();
        assert_eq!(read(&dir).unwrap(), Some(record.clone()));
        assert_eq!(files::ownership(&dir.made_from()).unwrap().mode & 0o777, 0o600);
        for hostile in
            ["", "{", "[]", "{\"version\": 1, \"preset\": \"huge\"}", "\u{0}\u{1b}[2J", "{\"version\": -1}"]
        {
            files::write_atomic(&dir.made_from(), hostile.as_bytes(), 0o600).unwrap();
            let error = read(&dir).unwrap_err().to_string();
            assert!(error.contains("made-from.json"), "{hostile:?}: {error}");
        }
        let newer = serde_json::to_string(&MadeFrom { version: 2, ..record.clone() }).unwrap();
        files::write_atomic(&dir.made_from(), newer.as_bytes(), 0o600).unwrap();
        assert!(read(&dir).unwrap_err().to_string().contains("version 2"));
        write(&dir, &record).unwrap();
        assert_eq!(read(&dir).unwrap(), Some(record), "what cannot be read is written anew");
    }

    #[test]
    fn what_is_written_already_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Home(folder.path().to_owned()).lab("lab");
        let record = MadeFrom::new(&fixture::lab(), None, None, Path::new("/"));
        write(&dir, &record).unwrap();
        let before = files::number_and_size(&dir.made_from());
        write(&dir, &record).unwrap();
        assert_eq!(files::number_and_size(&dir.made_from()), before);
    }
}
