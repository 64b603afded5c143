//! The catalogue under `vm-templates/`: what fusionlab knows of the outside world, as data.
//!
//! `images` has the cloud images with their digests, `versions` what is installed and which versions go together,
//! `hardware` what each release of Fusion can run, and `advisories` which flaws it has.

mod advisories;
mod hardware;
mod images;
mod versions;

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

pub use advisories::{Advisory, advisories, mended};
pub use hardware::{is_too_old, written_hardware};
pub use images::{
    CUSTOM_IMAGE, DEFAULT_IMAGE, Entry, Image, SIMULATED_IMAGE, entries, image, images, keyring,
};
pub use versions::{
    BadVersion, Component, Requirement, Version, VersionRule, Versions, broken_rules, pause, versions,
};

/// A guest's processor architecture, which is also the host's: Fusion does not emulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    Arm64,
    Amd64,
}

impl Arch {
    /// Returns its name as the lab file's readers and image names know it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::Amd64 => "amd64",
        }
    }
}

/// The catalogue's text, as compiled in.
pub const TEXT: &str = include_str!("../../../vm-templates/catalogue.yaml");

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    serde_saphyr::from_str(TEXT).expect("the compiled-in catalogue is valid: a test reads it")
});

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    images: Vec<images::ImageEntry>,
    hardware: hardware::HardwareTable,
    advisories: Vec<Advisory>,
    versions: versions::VersionSet,
    pause: Vec<versions::PauseRow>,
    init_through_endpoint: Vec<Requirement>,
    rules: Vec<VersionRule>,
}
