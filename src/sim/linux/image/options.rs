//! What an image is asked to be: suite, packages and form, and the key that follows from them.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::traps;

/// Packages that a cloud image carries, or that the bake asks for and Debian has; all but the stand-ins.
const PACKAGES: &[&str] = &[
    // What a cloud image carries.
    "systemd",
    "systemd-sysv",
    "systemd-resolved",
    "dbus",
    "udev",
    "openssh-server",
    "cloud-init",
    "netplan.io",
    "iproute2",
    "iputils-ping",
    "iputils-arping",
    "procps",
    "kmod",
    "nftables",
    "python3-minimal",
    "sudo",
    "less",
    "zstd",
    // What the bake asks for (cloud-init/bake/10-packages.sh).
    "ca-certificates",
    "curl",
    "gpg",
    "chrony",
    "open-vm-tools",
    "conntrack",
    "socat",
    "ethtool",
    "ipset",
    "iptables",
    "jq",
    "nginx",
    "libnginx-mod-stream",
    "keepalived",
    "dnsmasq-base",
];
/// What a machine of QEMU needs besides.
const DISK_PACKAGES: &[&str] = &[
    "initramfs-tools",
    "systemd-boot-efi",
    // The root partition grows with the disk, as in a cloud image.
    "cloud-guest-utils",
    "e2fsprogs",
    "fdisk",
];
/// Hexadecimal digits of a key.
const KEY_LENGTH: usize = 12;

/// A Debian release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suite {
    Bookworm,
    #[default]
    Trixie,
}

impl Suite {
    pub const ALL: [Self; 2] = [Self::Bookworm, Self::Trixie];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }

    /// Packages of this release only.
    fn own(self) -> &'static [&'static str] {
        match self {
            Self::Bookworm => &[],
            // Without it nobody but root may ping; elsewhere systemd itself has these settings.
            Self::Trixie => &["linux-sysctl-defaults"],
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Suite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(" and ");
        Self::ALL
            .into_iter()
            .find(|suite| suite.name() == text)
            .ok_or_else(|| format!("there is no guest image of {text}; there are {}", known()))
    }
}

/// What an image is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub suite: Suite,
    /// With a kernel, and as a disk that QEMU boots.
    pub disk: bool,
    /// Where the packages come from, such as `http://deb.debian.org/debian`; none for what mmdebstrap takes by itself.
    /// What it serves is signed, so that the image does not depend on it.
    pub mirror: Option<String>,
}

impl Options {
    /// Returns the packages that are asked for by name.
    pub fn packages(&self) -> Vec<&'static str> {
        let mut packages = [PACKAGES, self.suite.own()].concat();
        if self.disk {
            packages.extend(DISK_PACKAGES);
            packages.push(kernel());
        }
        packages
    }
}

/// The whole kernel: the cloud one lacks drivers of Fusion's hardware in some releases.
fn kernel() -> &'static str {
    if cfg!(target_arch = "aarch64") { "linux-image-arm64" } else { "linux-image-amd64" }
}

/// Returns the name of the image that these options make: it changes with whatever could change the image.
pub fn key(options: &Options) -> String {
    let mut digest = Sha256::new();
    let version = traps::VERSION.to_string();
    let form = if options.disk { "disk" } else { "folder" };
    for word in
        [options.suite.name(), form, std::env::consts::ARCH, &version].into_iter().chain(options.packages())
    {
        digest.update(word);
        digest.update("\n");
    }
    hex::encode(digest.finalize())[..KEY_LENGTH].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_what_makes_the_image_and_on_nothing_else() {
        let plain = Options::default();
        let mirrored = Options { mirror: Some("http://mirror.example.org/debian".into()), ..plain.clone() };
        let disk = Options { disk: true, ..plain.clone() };
        let older = Options { suite: Suite::Bookworm, ..plain.clone() };
        assert_eq!(key(&plain), key(&mirrored));
        assert_eq!(key(&plain).len(), 12);
        assert!(key(&plain) != key(&disk) && key(&plain) != key(&older));
    }

    #[test]
    fn an_unknown_suite_is_answered_with_the_known_ones() {
        assert_eq!("trixie".parse(), Ok(Suite::Trixie));
        let refused = "noble".parse::<Suite>().unwrap_err();
        assert_eq!(refused, "there is no guest image of noble; there are bookworm and trixie");
    }
}
