//! The golden template on disk: where its parts are, what it was made of, and how far it is.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::host::download::{Digest, Fetched};
use crate::host::{clock, disk_file, files};
use crate::lab::catalogue::{Arch, Image};
use crate::lab::paths;
use crate::stack::bake::{self, Baked, Outcome};
use crate::stack::vm;

use crate::engine::context::Engine;
use crate::engine::error::Result;
use crate::engine::home::records::{self, Versioned};
use crate::engine::output::CONSOLE_READ;

/// One template's folder under `~/.fusionlab/templates/`.
///
/// ```text
/// template.json             Manifest: what it is made of and how far it is
/// template.vmwarevm/        the machine: VMX, disk, while it bakes a seed, and its console
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateDir {
    pub key: String,
    pub root: PathBuf,
}

/// How far a template is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The disk holds the image as it was downloaded.
    Written,
    /// It was powered on. cloud-init begins only once on a disk: one whose machine is off before its end is spoilt.
    Baking,
    /// It powered itself off, and everything is in it.
    Baked,
    /// It was checked and has its snapshot; from here on nothing in it changes.
    Frozen,
}

/// What a template was made of: `template.json` in its folder, replaced whole at each stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this form: 1.
    pub version: u32,
    pub key: String,
    pub stage: Stage,
    /// When this stage was reached, in RFC 3339.
    pub since: String,
    /// The fusionlab that made it.
    pub fusionlab: String,
    pub image: Source,
    pub disk: DiskRecord,
    /// What the bake said is in it; none before, and where nothing could be heard of it.
    pub baked: Option<Baked>,
}

impl Versioned for Manifest {
    const VERSION: u32 = 1;
    const WHAT: &'static str = "a template's manifest";
}

/// The cloud image that a template was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub name: String,
    pub arch: Arch,
    pub url: String,
    /// Kind and hexadecimal, such as `sha256:1f0c…`.
    pub digest: String,
    /// Size of the file.
    pub bytes: u64,
}

/// A template's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRecord {
    /// In bytes.
    pub capacity: u64,
    /// The content's id, in hexadecimal: linked clones hang on a disk with this one. Final once frozen.
    pub cid: String,
}

impl TemplateDir {
    pub fn of(engine: &Engine) -> Self {
        let key = vm::template_key(&engine.lab);
        Self { root: engine.home.template(&key), key }
    }

    pub fn bundle(&self) -> PathBuf {
        self.root.join("template.vmwarevm")
    }

    pub fn vmx(&self) -> PathBuf {
        paths::vmx_of(&self.bundle())
    }

    pub fn disk(&self) -> PathBuf {
        self.bundle().join(paths::DISK_VMDK)
    }

    pub fn seed(&self) -> PathBuf {
        self.bundle().join(paths::SEED_ISO)
    }

    pub fn console(&self) -> PathBuf {
        self.bundle().join(paths::CONSOLE_LOG)
    }

    pub fn manifest(&self) -> PathBuf {
        self.root.join("template.json")
    }

    /// Returns the manifest, whatever has become of what it tells of; none if there is none.
    pub fn read(&self) -> Result<Option<Manifest>> {
        records::read(&self.manifest())
    }

    /// Returns the manifest if what it tells of is there and of use; none if the template is to be begun anew.
    pub fn usable(&self, running: &BTreeSet<PathBuf>) -> Result<Option<Manifest>> {
        let manifest = self.read()?;
        let whole = files::exists(&self.disk()) && files::exists(&self.vmx());
        Ok(manifest.filter(|manifest| whole && (manifest.stage != Stage::Baking || self.bakes(running))))
    }

    /// Says whether the bake goes on or came to its end while nobody looked.
    fn bakes(&self, running: &BTreeSet<PathBuf>) -> bool {
        running.contains(&files::resolved(&self.vmx()))
            || matches!(bake::outcome(&self.said()), Outcome::Done(_))
    }

    /// Returns the end of what the serial console holds so far.
    pub fn said(&self) -> String {
        let bytes = files::read_end(&self.console(), CONSOLE_READ).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns the whole lines of the serial console from an offset on, or some of them, and where the next one begins.
    /// A console that was begun anew is read from its beginning.
    pub fn said_since(&self, offset: u64) -> (String, u64) {
        let console = self.console();
        let size = files::size(&console).unwrap_or_default();
        let offset = if size < offset { 0 } else { offset };
        let mut bytes = files::read_from(&console, offset, CONSOLE_READ).unwrap_or_default();
        // What has no end yet comes with the next look, unless it is too long to be a line.
        if u64::try_from(bytes.len()).is_ok_and(|length| length < CONSOLE_READ) {
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            bytes.truncate(whole);
        }
        (String::from_utf8_lossy(&bytes).into_owned(), offset + bytes.len() as u64)
    }

    /// Looks at a disk that was just written and begins the manifest.
    pub fn begin(&self, image: &Image, file: &Fetched) -> Result<()> {
        let source = Source {
            name: image.name.clone(),
            arch: image.arch,
            url: file.url.clone(),
            digest: match &file.digest {
                Digest::Sha256(hex) => format!("sha256:{hex}"),
                Digest::Sha512(hex) => format!("sha512:{hex}"),
            },
            bytes: files::size(&file.path)?,
        };
        self.write(&Manifest {
            version: Manifest::VERSION,
            key: self.key.clone(),
            stage: Stage::Written,
            since: String::new(),
            fusionlab: env!("CARGO_PKG_VERSION").to_owned(),
            image: source,
            disk: self.look_at_disk()?,
            baked: None,
        })
    }

    /// Writes down that a stage was reached, now.
    pub fn write(&self, manifest: &Manifest) -> Result<()> {
        let manifest = Manifest { since: clock::rfc3339(clock::now()), ..manifest.clone() };
        records::write(&self.manifest(), &manifest, files::PUBLIC_FILE)
    }

    /// Reads the disk's size and CID off the disk itself.
    pub fn look_at_disk(&self) -> Result<DiskRecord> {
        let info = disk_file::inspect(&self.disk())?;
        Ok(DiskRecord { capacity: info.capacity, cid: format!("{:08x}", info.cid) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{Bench, Machines};

    #[test]
    fn a_console_is_read_on_in_bounded_pieces_and_anew_once_it_was_begun_anew() {
        let bench = Bench::new(Machines::default());
        let dir = TemplateDir::of(&bench.engine);
        assert_eq!(dir.said_since(7), (String::new(), 0), "there is none yet");
        bench.file(&dir.console(), "one\ntwo\nthr");
        assert_eq!(dir.said_since(0), ("one\ntwo\n".to_owned(), 8));
        bench.file(&dir.console(), "one\ntwo\nthree\n");
        assert_eq!(dir.said_since(8), ("three\n".to_owned(), 14));
        bench.file(&dir.console(), "anew\n");
        assert_eq!(dir.said_since(14), ("anew\n".to_owned(), 5));
        let piece = usize::try_from(CONSOLE_READ).unwrap();
        bench.file(&dir.console(), &"x".repeat(3 * piece));
        let (said, next) = dir.said_since(0);
        assert_eq!((said.len(), next), (piece, CONSOLE_READ), "a line without an end comes in pieces");
        assert_eq!(dir.said().len(), piece);
    }
}
