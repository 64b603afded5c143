//! The golden template on disk: where its parts are, what it was made of, and how far it is.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::host::download::{Digest, Fetched};
use crate::host::{HostError, clock, disk_file, files};
use crate::lab::catalogue::{Arch, Image};
use crate::lab::paths;
use crate::stack::bake::{self, Baked, Outcome};
use crate::stack::vm;

use super::context::Engine;
use super::error::Result;

/// Version of [`Manifest`]'s form.
const VERSION: u32 = 1;

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
        let path = self.manifest();
        let Some(bytes) = files::read_if_exists(&path)? else { return Ok(None) };
        let unusable = |reason| HostError::Content { path, reason };
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|error| unusable.clone()(format!("not a template's manifest: {error}")))?;
        if manifest.version != VERSION {
            let reason =
                format!("a manifest of version {}; this fusionlab reads {VERSION}", manifest.version);
            return Err(unusable(reason).into());
        }
        Ok(Some(manifest))
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

    /// Returns what the serial console holds so far.
    pub fn said(&self) -> String {
        let bytes = files::read(&self.console()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
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
            version: VERSION,
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
        let mut text = serde_json::to_vec_pretty(&manifest).expect("a manifest is plain data");
        text.push(b'\n');
        Ok(files::write_atomic(&self.manifest(), &text, files::PUBLIC_FILE)?)
    }

    /// Reads the disk's size and CID off the disk itself.
    pub fn look_at_disk(&self) -> Result<DiskRecord> {
        let info = disk_file::inspect(&self.disk())?;
        Ok(DiskRecord { capacity: info.capacity, cid: format!("{:08x}", info.cid) })
    }
}
