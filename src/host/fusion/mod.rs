//! VMware Fusion: where it is, and its programs.

pub mod addresses;
pub mod discover;
#[cfg(test)]
pub(super) mod fake;
pub mod locks;
pub mod networks;
pub mod observe;
mod power;
mod refusal;
pub mod vdiskmanager;
pub mod verbs;
pub mod vmrest;
mod vmrest_client;
mod vmrest_server;
pub mod vmrun;
pub mod vmware_log;
pub mod vmx_file;

use std::path::PathBuf;

use serde::Serialize;

/// An installed Fusion and the places it keeps things.
///
/// A Fusion is found in a *root*: `/` on a Mac, or any folder laid out like one (`--fusion DIR`), which is how the
/// simulated Fusion and tests take its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fusion {
    /// The folder that stands for `/`.
    pub root: PathBuf,
    /// The app bundle.
    pub app: PathBuf,
    /// As in Info.plist: `13.6.3`, `25H2`, …
    pub version: String,
    /// The build number, from Info.plist's CFBundleVersion.
    pub build: String,
    /// Whether its Info.plist says that it is a simulation; only ever shown, never acted upon.
    pub simulated: bool,
    /// What a simulation says that its machines are, for whoever sees them; empty for the real Fusion.
    pub guests: String,
    /// Where VMs are kept: `~/Virtual Machines.localized`, or the same under another root.
    pub library: PathBuf,
}

impl Fusion {
    /// Returns a program of the bundle, such as `vmrun`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.app.join("Contents/Library").join(name)
    }

    /// Returns `/Library/Preferences/VMware Fusion`, under the root.
    pub fn preferences(&self) -> PathBuf {
        self.root.join("Library/Preferences/VMware Fusion")
    }

    /// Returns the networking file: the database of Fusion's networks.
    pub fn networking(&self) -> PathBuf {
        self.preferences().join("networking")
    }

    /// Returns the leases file of one network.
    pub fn leases(&self, vmnet: u8) -> PathBuf {
        self.lease_folder().join(format!("vmnet-dhcpd-vmnet{vmnet}.leases"))
    }

    /// Returns the folder of the leases files.
    pub fn lease_folder(&self) -> PathBuf {
        self.root.join("var/db/vmware")
    }

    /// Returns the file in which Fusion's window keeps the user's list of VMs, wherever these lie
    /// (facts/vmrun-vmrest.md §3.4).
    pub fn inventory(&self) -> PathBuf {
        let home = self.library.parent().unwrap_or(&self.root);
        home.join("Library/Application Support/VMware Fusion/vmInventory")
    }

    /// Returns the file that names the way to the guests, if it is not a direct one: a line such as
    /// `socks5://127.0.0.1:41077`. A Mac has none.
    pub fn dial_file(&self) -> PathBuf {
        self.root.join("var/run/fusionlab-dial")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;

    /// Returns a Fusion that stands in a test's folder.
    pub fn fusion(root: &Path) -> Fusion {
        Fusion {
            root: root.to_owned(),
            app: root.join("Applications/VMware Fusion.app"),
            version: "13.6.3".to_owned(),
            build: "24585314".to_owned(),
            simulated: false,
            guests: String::new(),
            library: root.join("Virtual Machines.localized"),
        }
    }
}
