//! The catalogue under `vm-templates/`: cloud images with digests, and versions with their rules.

use serde::Serialize;

/// A guest's processor architecture, which is also the host's: Fusion does not emulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    Arm64,
    Amd64,
}

/// A cloud image to make the template from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Image {
    /// The catalogue's name, such as `ubuntu-24.04`, or `custom`.
    pub name: String,
    pub arch: Arch,
    /// `https://…`, or `file:///…` for one that is already here.
    pub url: String,
    /// Hexadecimal SHA-256 or SHA-512 of the file; its length says which. None only where the
    /// distribution publishes a checksum file beside the image, whose URL is then in `digest_url`.
    pub digest: Option<String>,
    /// A `SHA256SUMS`/`SHA512SUMS` file that lists the image.
    pub digest_url: Option<String>,
    /// Fusion's `guestOS` word, such as `arm-ubuntu-64`.
    pub guest_os: String,
}

/// Pinned versions, without a leading `v`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Versions {
    pub kubernetes: String,
    pub cilium: String,
    pub gateway_api: String,
    pub helm: String,
    /// The least containerd that serves this Kubernetes.
    pub containerd: String,
    /// The sandbox image's tag that this Kubernetes wants.
    pub pause: String,
}
