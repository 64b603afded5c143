//! The machines themselves: the VMX of the template and of every node, and the digests that say what
//! each was made from.
//!
//! Every PCIe device has a pinned slot: Fusion hands slots out in order otherwise, and the guest's names of
//! its network cards follow the slots (facts/vm-images-cloudinit.md §1.5).

use std::collections::BTreeMap;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::formats::vmx::Vmx;
use crate::lab::catalogue::{self, Arch};
use crate::lab::paths::{CONSOLE_LOG, DISK_VMDK, SEED_ISO};
use crate::lab::{Lab, Network, Nic, Node, names};
use crate::stack::cloud_init;
use crate::stack::identity::Identity;

/// The template's card, which the clones' first card replaces.
const FIRST_CARD_SLOT: u16 = 160;
/// The disk's file name stands under this key.
pub const DISK_KEY: &str = "nvme0:0.fileName";
/// As many cards as a VMX can have.
const MOST_CARDS: usize = 10;
const TEMPLATE_MEMORY_MIB: u32 = 4096;
const TEMPLATE_CPUS: u8 = 2;
/// Characters of a template's key: 64 bits.
const KEY_LENGTH: usize = 16;

/// What a clone inherits and must not keep: identities would be shared (facts/vm-images-cloudinit.md §1.4).
const INHERITED: [&str; 3] = ["uuid.bios", "uuid.location", "vmci0.id"];
/// The drive that the seed is in.
const SEED_KEYS: [&str; 4] =
    ["sata0:1.present", "sata0:1.deviceType", "sata0:1.fileName", "sata0:1.startConnected"];
/// What of a VMX is compared with the lab: of the machine, and of each of its cards.
const MACHINE_PARTS: [&str; 5] =
    ["memsize", "numvcpus", "sata0:1.present", "sata0:1.fileName", "sata0:1.startConnected"];
const CARD_PARTS: [&str; 9] = [
    "present",
    "virtualDev",
    "connectionType",
    "vnet",
    "bsdName",
    "addressType",
    "address",
    "pciSlotNumber",
    "startConnected",
];
const CARD_KEYS: [&str; 13] = [
    "present",
    "virtualDev",
    "connectionType",
    "vnet",
    "bsdName",
    "displayName",
    "addressType",
    "address",
    "generatedAddress",
    "generatedAddressOffset",
    "pciSlotNumber",
    "startConnected",
    "linkStatePropagation.enable",
];

/// Returns the key of the lab's template: labs with the same key share it, and any change to what goes
/// into a template makes another.
pub fn template_key(lab: &Lab) -> String {
    let what = json!({
        "image": { "content": lab.image.content(), "arch": lab.image.arch },
        "versions": lab.versions,
        "disk_gib": template_disk_gib(lab),
        "guest_os": lab.image.guest_os,
        "bake": cloud_init::bake_files(lab),
    });
    hex::encode(Sha256::digest(what.to_string()))[..KEY_LENGTH].to_owned()
}

/// Says whether a folder of that name may be a template's.
pub fn is_template_key(name: &str) -> bool {
    name.len() == KEY_LENGTH && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns the size of the template's disk: that of every node if they are linked clones, whose disks cannot grow;
/// else of the smallest, since an independent disk grows and none shrinks.
pub fn template_disk_gib(lab: &Lab) -> u32 {
    lab.nodes.iter().map(|node| node.disk_gib).min().unwrap_or_default()
}

/// Returns the VMX of the template: one card behind Fusion's own NAT, the bake's seed, our marks.
pub fn template_vmx(lab: &Lab, key: &str) -> Vmx {
    let mut vmx = Vmx::new();
    let name = format!("fusionlab-{key}");
    set_machine(&mut vmx, lab, &name, TEMPLATE_CPUS, TEMPLATE_MEMORY_MIB);
    vmx.set(DISK_KEY, DISK_VMDK);
    set_card(&mut vmx, 0, FIRST_CARD_SLOT);
    vmx.set("ethernet0.connectionType", "nat");
    vmx.set("ethernet0.addressType", "generated");
    vmx.set(names::VMX_LAB, names::TEMPLATE_NODE);
    vmx.set(names::VMX_NODE, names::TEMPLATE_NODE);
    vmx.set(names::VMX_SPEC, key);
    vmx
}

/// Returns the VMX of a node. `base` is the clone's VMX as Fusion wrote it, whose disk stays what it is;
/// without one the disk is the file `disk`. The caller adds [`names::VMX_SPEC`], the digest of the whole.
pub fn node_vmx(lab: &Lab, node: &Node, base: Option<&Vmx>, disk: &str) -> Vmx {
    let mut vmx = base.cloned().unwrap_or_default();
    forget_machine(&mut vmx);
    vmx.remove(names::VMX_SPEC);
    set_machine(&mut vmx, lab, &node.name, node.cpus, node.memory_mib);
    if vmx.get(DISK_KEY).is_none() {
        vmx.set(DISK_KEY, disk);
    }
    for (index, nic) in node.nics.iter().enumerate() {
        set_node_card(&mut vmx, lab, index, nic);
    }
    vmx.set(names::VMX_LAB, &lab.name);
    vmx.set(names::VMX_NODE, &node.name);
    vmx
}

/// Takes out of a VMX what makes it one machine among others: its identity, its cards and its seed.
pub fn forget_machine(vmx: &mut Vmx) {
    let cards = (0..MOST_CARDS).flat_map(|card| CARD_KEYS.map(|key| format!("ethernet{card}.{key}")));
    for key in INHERITED.map(str::to_owned).into_iter().chain(SEED_KEYS.map(str::to_owned)).chain(cards) {
        vmx.remove(&key);
    }
}

/// Returns what a VMX says of the parts that a lab depends on, as one would compare it: how large, which cards on what, which
/// seed. What Fusion and its window change for themselves is left out: names, hardware versions, the disk's snapshots.
pub fn parts(vmx: &Vmx) -> BTreeMap<String, String> {
    let present = |card: usize| {
        vmx.get(&format!("ethernet{card}.present")).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    };
    let cards = (0..MOST_CARDS).filter(|card| present(*card));
    let of_cards = cards.flat_map(|card| CARD_PARTS.map(|key| format!("ethernet{card}.{key}")));
    let keys = MACHINE_PARTS.map(str::to_owned).into_iter().chain(of_cards);
    keys.filter_map(|key| vmx.get(&key).map(|value| (key, value.to_ascii_lowercase()))).collect()
}

/// Returns the digest of everything that a node's VM is made from: its VMX, its seed and its template.
pub fn spec_digest(lab: &Lab, node: &Node, identity: &Identity, template_key: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(template_key);
    digest.update(node_vmx(lab, node, None, DISK_VMDK).render());
    for (name, content) in cloud_init::seed(lab, node, identity) {
        digest.update(name);
        digest.update(Sha256::digest(content));
    }
    hex::encode(digest.finalize())
}

/// Returns the property list beside a VMX that keeps Fusion from offering to upgrade the VM's hardware.
pub fn plist_disallow_upgrade() -> String {
    concat!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
        "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" ",
        "\"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n",
        "<plist version=\"1.0\">\n<dict>\n\t<key>disallowUpgrade</key>\n\t<true/>\n</dict>\n</plist>\n",
    )
    .to_owned()
}

/// Sets everything but cards and marks (facts/vm-images-cloudinit.md §1.3).
fn set_machine(vmx: &mut Vmx, lab: &Lab, name: &str, cpus: u8, memory_mib: u32) {
    let file = |ending: &str| format!("{name}.{ending}");
    for (key, value) in [
        (".encoding", "UTF-8"),
        ("config.version", "8"),
        ("virtualHW.version", catalogue::written_hardware()),
        ("virtualHW.productCompatibility", "hosted"),
        ("displayName", name),
        ("guestOS", guest_os(lab)),
        ("firmware", "efi"),
        ("nvram", &file("nvram")),
        ("extendedConfigFile", &file("vmxf")),
        ("numvcpus", &cpus.to_string()),
        ("cpuid.coresPerSocket", "1"),
        ("memsize", &memory_mib.to_string()),
    ] {
        vmx.set(key, value);
    }
    set_bridges(vmx);
    set_disks(vmx);
    set_console(vmx);
    set_manners(vmx);
}

fn guest_os(lab: &Lab) -> &str {
    match (lab.image.guest_os.as_str(), lab.image.arch) {
        ("", Arch::Arm64) => "arm-other6xlinux-64",
        ("", Arch::Amd64) => "other6xlinux-64",
        (id, _) => id,
    }
}

/// Without these, power-on on Apple Silicon fails with "No PCIe slot available for Ethernet0".
fn set_bridges(vmx: &mut Vmx) {
    vmx.set("pciBridge0.present", "TRUE");
    vmx.set("pciBridge0.pciSlotNumber", "17");
    for (bridge, slot) in [(4, "21"), (5, "22"), (6, "23"), (7, "24")] {
        vmx.set(&format!("pciBridge{bridge}.present"), "TRUE");
        vmx.set(&format!("pciBridge{bridge}.virtualDev"), "pcieRootPort");
        vmx.set(&format!("pciBridge{bridge}.functions"), "8");
        vmx.set(&format!("pciBridge{bridge}.pciSlotNumber"), slot);
    }
}

/// The seed stays attached for life: without it a later boot would count as another instance
/// (facts/vm-images-cloudinit.md §4.3). The firmware sees a CD at `sata0:0` as an empty drive.
fn set_disks(vmx: &mut Vmx) {
    for (key, value) in [
        ("nvme0.present", "TRUE"),
        ("nvme0.pciSlotNumber", "224"),
        ("nvme0:0.present", "TRUE"),
        ("sata0.present", "TRUE"),
        ("sata0.pciSlotNumber", "32"),
        ("sata0:1.present", "TRUE"),
        ("sata0:1.deviceType", "cdrom-image"),
        ("sata0:1.fileName", SEED_ISO),
        ("sata0:1.startConnected", "TRUE"),
        ("floppy0.present", "FALSE"),
    ] {
        vmx.set(key, value);
    }
}

fn set_console(vmx: &mut Vmx) {
    for (key, value) in [
        ("serial0.present", "TRUE"),
        ("serial0.fileType", "file"),
        ("serial0.fileName", CONSOLE_LOG),
        ("serial0.startConnected", "TRUE"),
        ("serial0.yieldOnMsrRead", "TRUE"),
        ("serial0.tryNoRxLoss", "FALSE"),
        // The keyboard of Fusion's window is a USB device.
        ("usb.present", "TRUE"),
        ("ehci.present", "TRUE"),
        ("usb_xhci.present", "TRUE"),
        ("usb_xhci.pciSlotNumber", "256"),
        ("mks.enable3d", "FALSE"),
        ("sound.present", "FALSE"),
    ] {
        vmx.set(key, value);
    }
}

/// Nothing may ask: nobody sits before the window. A new UUID is made for a copy, so that no two guests
/// have the same product_uuid. chrony keeps the time, and two keepers would fight.
fn set_manners(vmx: &mut Vmx) {
    for (key, value) in [
        ("uuid.action", "create"),
        ("msg.autoAnswer", "TRUE"),
        ("tools.syncTime", "FALSE"),
        ("tools.upgrade.policy", "manual"),
        ("vmci0.present", "TRUE"),
        ("hpet0.present", "TRUE"),
        ("powerType.powerOff", "soft"),
        ("powerType.powerOn", "soft"),
        ("powerType.reset", "soft"),
        ("powerType.suspend", "soft"),
    ] {
        vmx.set(key, value);
    }
}

fn set_card(vmx: &mut Vmx, index: usize, slot: u16) {
    vmx.set(&format!("ethernet{index}.present"), "TRUE");
    vmx.set(&format!("ethernet{index}.virtualDev"), "vmxnet3");
    vmx.set(&format!("ethernet{index}.pciSlotNumber"), &slot.to_string());
    vmx.set(&format!("ethernet{index}.startConnected"), "TRUE");
}

fn set_node_card(vmx: &mut Vmx, lab: &Lab, index: usize, nic: &Nic) {
    let key = |key: &str| format!("ethernet{index}.{key}");
    set_card(vmx, index, nic.pci_slot);
    vmx.set(&key("addressType"), "static");
    vmx.set(&key("address"), &nic.mac.to_string());
    match nic.network {
        Network::Lan => {
            vmx.set(&key("connectionType"), "bridged");
            if let Some(interface) = &lab.lan.interface {
                vmx.set(&key("bsdName"), interface);
            }
        }
        Network::Internal => {
            vmx.set(&key("connectionType"), "custom");
            vmx.set(&key("vnet"), &lab.vmnet_name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::fixture;

    #[test]
    fn a_gateway_is_bridged_first_and_on_the_internal_network_second() {
        let mut lab = fixture::lab();
        lab.lan.interface = Some("en0".into());
        let gateway = lab.node("gateway1").unwrap();
        let vmx = node_vmx(&lab, gateway, None, "disk.vmdk");
        assert_eq!(vmx.get("ethernet1.address"), Some(gateway.internal().mac.to_string()));
        for (key, value) in [
            ("ethernet0.connectionType", "bridged"),
            ("ethernet0.bsdName", "en0"),
            ("ethernet0.pciSlotNumber", "160"),
            ("ethernet1.connectionType", "custom"),
            ("ethernet1.vnet", "vmnet2"),
            ("ethernet1.pciSlotNumber", "192"),
            ("nvme0.pciSlotNumber", "224"),
            ("usb_xhci.pciSlotNumber", "256"),
            ("sata0:1.fileName", "seed.iso"),
            ("fusionlab.lab", "lab"),
            ("fusionlab.node", "gateway1"),
        ] {
            assert_eq!(vmx.get(key).as_deref(), Some(value), "{key}");
        }
    }

    #[test]
    fn a_clone_keeps_its_disk_and_loses_its_parents_identity() {
        let lab = fixture::lab();
        let key = template_key(&lab);
        let mut base = template_vmx(&lab, &key);
        for (key, value) in [
            ("nvme0:0.fileName", "Virtual Disk-000001.vmdk"),
            ("uuid.bios", "56 4d"),
            ("ethernet0.generatedAddress", "00:0c:29:00:00:01"),
            ("ethernet1.present", "TRUE"),
            ("checkpoint.vmState", ""),
        ] {
            base.set(key, value);
        }
        let worker = lab.node("k8s-worker1").unwrap();
        let vmx = node_vmx(&lab, worker, Some(&base), "disk.vmdk");
        assert_eq!(vmx.get("nvme0:0.fileName").as_deref(), Some("Virtual Disk-000001.vmdk"));
        assert_eq!(vmx.get("checkpoint.vmState").as_deref(), Some(""));
        for gone in ["uuid.bios", "ethernet0.generatedAddress", "ethernet1.present", "fusionlab.spec"] {
            assert_eq!(vmx.get(gone), None, "{gone}");
        }
        assert_eq!(vmx.get("ethernet0.address"), Some(worker.internal().mac.to_string()));
        assert_eq!(vmx.get("displayName").as_deref(), Some("k8s-worker1"));
    }

    #[test]
    fn the_vmx_is_what_boots_on_apple_silicon() {
        let lab = fixture::lab();
        let vmx = node_vmx(&lab, lab.node("k8s-master1").unwrap(), None, "disk.vmdk");
        fixture::assert_golden("k8s-master1.vmx", &vmx.to_text());
    }

    #[test]
    fn a_template_is_another_when_anything_in_it_is() {
        let lab = fixture::lab();
        let key = template_key(&lab);
        assert_eq!(key.len(), 16);
        let other = |change: &dyn Fn(&mut Lab)| {
            let mut lab = lab.clone();
            change(&mut lab);
            template_key(&lab)
        };
        assert_ne!(other(&|lab| lab.versions.cilium = "1.20.4".into()), key);
        assert_ne!(other(&|lab| lab.image.arch = Arch::Amd64), key);
        assert_ne!(other(&|lab| lab.nodes[0].disk_gib = 4), key);
        assert_eq!(other(&|lab| lab.name = "other".into()), key, "labs share templates");
    }

    #[test]
    fn a_vm_is_another_when_its_address_or_key_is_and_not_when_a_worker_is_added() {
        let (lab, identity) = fixture::document();
        let key = template_key(&lab);
        let master = lab.node("k8s-master1").unwrap();
        let digest = spec_digest(&lab, master, &identity, &key);
        let mut more = master.clone();
        more.memory_mib = 8192;
        assert_ne!(spec_digest(&lab, &more, &identity, &key), digest);
        let mut smaller = lab.clone();
        smaller.nodes.pop();
        assert_eq!(spec_digest(&smaller, master, &identity, &key), digest);
    }
}
