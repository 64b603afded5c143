//! The drives of a VMX: which controller, which node, and what is in each.

use std::path::{Path, PathBuf};

use crate::formats::vmx::Vmx;
use crate::sim::power::{is_true, number};

/// Nodes that a VMX may name, the disk that is booted first.
const NODES: &[Node] = &[
    Node { bus: Bus::Nvme, place: 0 },
    Node { bus: Bus::Sata, place: 0 },
    Node { bus: Bus::Sata, place: 1 },
    Node { bus: Bus::Sata, place: 2 },
    Node { bus: Bus::Sata, place: 3 },
    Node { bus: Bus::Sata, place: 4 },
    Node { bus: Bus::Sata, place: 5 },
    Node { bus: Bus::Scsi, place: 0 },
    Node { bus: Bus::Scsi, place: 1 },
];
/// Where a controller is put if its VMX does not say it.
const SLOT_OF_NVME: u32 = 224;
const SLOT_OF_SCSI: u32 = 256;

/// A drive and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drive {
    pub node: Node,
    pub medium: Medium,
    /// The slot of the controller that is a card of its own; none for the board's.
    pub slot: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Medium {
    Disk(PathBuf),
    Cd(PathBuf),
    /// As Fusion leaves a drive whose image is not there.
    EmptyCd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bus {
    Nvme,
    Sata,
    Scsi,
}

/// A place on the first controller of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    bus: Bus,
    place: u32,
}

impl Node {
    /// Returns the controller's name in a VMX.
    pub fn controller(self) -> &'static str {
        match self.bus {
            Bus::Nvme => "nvme0",
            Bus::Sata => "sata0",
            Bus::Scsi => "scsi0",
        }
    }

    fn key(self, key: &str) -> String {
        format!("{}:{}.{key}", self.controller(), self.place)
    }

    /// Returns a name that QEMU takes.
    pub fn id(self) -> String {
        format!("{}.{}", self.controller(), self.place)
    }

    pub fn is_nvme(self) -> bool {
        self.bus == Bus::Nvme
    }

    /// Returns the device that the controller is, if the board has none: the board's own is AHCI.
    pub fn controller_device(self) -> Option<&'static str> {
        (self.bus == Bus::Scsi).then_some("pvscsi,id=scsi0")
    }

    pub fn bus(self) -> String {
        match self.bus {
            // AHCI has a bus of its own for each of its ports.
            Bus::Sata => format!("ide.{}", self.place),
            Bus::Scsi => format!("scsi0.0,scsi-id={}", self.place),
            Bus::Nvme => self.controller().to_owned(),
        }
    }

    pub fn disk_device(self) -> &'static str {
        if self.bus == Bus::Scsi { "scsi-hd" } else { "ide-hd" }
    }

    pub fn cd_device(self) -> &'static str {
        if self.bus == Bus::Scsi { "scsi-cd" } else { "ide-cd" }
    }
}

/// Returns what a VMX has. A CD image that is not there leaves its drive empty.
///
/// # Errors
/// If it has a drive that cannot be had here.
pub fn drives(config: &Vmx, folder: &Path) -> Result<Vec<Drive>, String> {
    if let Some(further) = config.keys().find(|key| is_further(config, key)) {
        return Err(format!(
            "{further}: a machine of QEMU has nvme0:0, sata0:0 to sata0:5, scsi0:0 and scsi0:1 here"
        ));
    }
    if is_true(config, "scsi0.present") {
        let kind = config.get("scsi0.virtualDev").unwrap_or_default();
        if kind != "pvscsi" {
            return Err(format!("scsi0.virtualDev is {kind:?}: only pvscsi can be had of QEMU here"));
        }
    }
    let there = |node: &&Node| {
        is_true(config, &format!("{}.present", node.controller())) && is_true(config, &node.key("present"))
    };
    NODES.iter().filter(there).map(|node| drive(config, folder, *node)).collect()
}

/// Says whether a key, such as `sata1:0.present`, is of a drive that [`NODES`] lacks.
fn is_further(config: &Vmx, key: &str) -> bool {
    let Some(node) = key.strip_suffix(".present") else { return false };
    let Some((controller, _)) = node.split_once(':') else { return false };
    let known = NODES.iter().any(|known| known.key("present").eq_ignore_ascii_case(key));
    !known && is_true(config, key) && is_true(config, &format!("{controller}.present"))
}

fn drive(config: &Vmx, folder: &Path, node: Node) -> Result<Drive, String> {
    let kind = config.get(&node.key("deviceType")).unwrap_or_default();
    let file = config.get(&node.key("fileName")).map(|name| folder.join(name));
    let connected = config.get(&node.key("startConnected")).as_deref() != Some("FALSE");
    let medium = if kind.starts_with("cdrom") {
        let image = file.filter(|file| kind == "cdrom-image" && connected && file.is_file());
        image.map_or(Medium::EmptyCd, Medium::Cd)
    } else {
        Medium::Disk(file.ok_or_else(|| format!("{} is missing", node.key("fileName")))?)
    };
    let slot = |default| number(config, &format!("{}.pciSlotNumber", node.controller())).unwrap_or(default);
    let slot = match node.bus {
        Bus::Nvme => Some(slot(SLOT_OF_NVME)),
        Bus::Scsi => Some(slot(SLOT_OF_SCSI)),
        Bus::Sata => None,
    };
    Ok(Drive { node, medium, slot })
}
