//! The golden template on disk: where its parts are, and the image in the cache.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::host::files;
use crate::lab::paths;
use crate::stack::vm;

use super::context::Engine;
use super::error::Result;
use super::images;

/// One template's folder under `~/.fusionlab/templates/`.
#[derive(Clone, Debug)]
pub struct TemplateDir {
    pub key: String,
    pub root: PathBuf,
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

    /// What the bake said of itself: versions as JSON. Written by us once the bake is done.
    pub fn baked(&self) -> PathBuf {
        self.root.join("baked.json")
    }

    /// Stands while the template is baked. A disk of that time whose VM does not run any more is spoilt: cloud-init
    /// has begun on it, and does not begin again.
    pub fn baking(&self) -> PathBuf {
        self.root.join("baking")
    }

    /// Says whether the disk is there and usable.
    pub fn is_written(&self, running: &BTreeSet<PathBuf>) -> bool {
        let written = files::exists(&self.disk()) && files::exists(&self.vmx());
        let spoilt = files::exists(&self.baking()) && !running.contains(&files::resolved(&self.vmx()));
        written && !spoilt
    }

    /// Written last: from here on nothing in the template changes.
    pub fn frozen(&self) -> PathBuf {
        self.root.join("frozen")
    }
}

/// Returns the downloaded image, if it is in the cache.
pub fn cached_image(engine: &Engine) -> Result<Option<PathBuf>> {
    Ok(images::cached(engine).map(|found| found.path))
}
