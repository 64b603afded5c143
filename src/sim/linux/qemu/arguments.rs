//! The command line of QEMU that stands for a VMX: the same firmware, slots, cards, disks, CD and serial port.
//!
//! A pure function of what the VMX says, so that each line of it can be read and tested.

use std::path::Path;

use super::devices::{self, Drive, Medium};
use crate::formats::vmx::Vmx;
use crate::sim::power::is_true;
use crate::sim::seam::Hardware;

/// UEFI as Debian's package ovmf brings it; the machine has the second file's copy as its own.
pub const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
pub const FIRMWARE_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// The first chassis number of the root ports; the built-in devices have none.
const FIRST_CHASSIS: usize = 1;

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The computer's processor.
    Kvm,
    /// QEMU itself.
    Software,
}

/// What the machine stands on, besides what its VMX says.
#[derive(Clone, Debug)]
pub struct Ground<'a> {
    pub accelerator: Accelerator,
    /// The device that each card is, in the order of `Hardware.cards`.
    pub taps: &'a [String],
    /// The machine's own UEFI variables; none if its firmware is a BIOS.
    pub variables: Option<&'a Path>,
    /// The folder that the VMX is in.
    pub folder: &'a Path,
}

/// Returns QEMU's arguments. Its control protocol is on the standard input and output; the serial port's output, and
/// QEMU's own complaints, are on the standard error.
///
/// # Errors
/// With the words for the console, if the VMX has a device that cannot be had here.
pub fn arguments(config: &Vmx, hardware: &Hardware, ground: &Ground) -> Result<Vec<String>, String> {
    let mut words = Words::default();
    words.pair("-name", &escape(&hardware.name));
    // Bridges that Linux may not plug behind have slots whose numbers it knows: cards get VMware's names by these.
    words.pair("-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off");
    words.pair("-machine", "q35,hpet=off");
    for (option, value) in processor(ground.accelerator) {
        words.pair(option, value);
    }
    words.pair("-smp", &hardware.cpus.to_string());
    words.pair("-m", &hardware.memory_mib.to_string());
    words.pair("-uuid", &hardware.uuid);
    for word in ["-nodefaults", "-no-user-config"] {
        words.one(word);
    }
    words.pair("-display", "none");
    words.pair("-chardev", "stdio,id=control,signal=off");
    words.pair("-mon", "chardev=control,mode=control");
    words.pair("-chardev", "file,id=console,path=/dev/stderr");
    words.pair("-serial", if is_true(config, "serial0.present") { "chardev:console" } else { "none" });
    if let Some(variables) = ground.variables {
        words.pair("-drive", &format!("if=pflash,unit=0,format=raw,readonly=on,file={FIRMWARE}"));
        words.pair("-drive", &format!("if=pflash,unit=1,format=raw,file={}", path(variables)?));
    }
    drives(&mut words, &devices::drives(config, ground.folder)?)?;
    cards(&mut words, hardware, ground.taps)?;
    Ok(words.words)
}

/// The kernel of trixie corrupts its lists under QEMU 7.2 if it finds cmpxchg16b (facts/test-bench.md §3).
fn processor(accelerator: Accelerator) -> [(&'static str, &'static str); 2] {
    match accelerator {
        Accelerator::Kvm => [("-accel", "kvm"), ("-cpu", "host")],
        Accelerator::Software => [("-accel", "tcg,thread=multi,tb-size=128"), ("-cpu", "Nehalem,-cx16")],
    }
}

#[derive(Default)]
struct Words {
    words: Vec<String>,
    ports: usize,
}

impl Words {
    fn one(&mut self, word: &str) {
        self.words.push(word.to_owned());
    }

    fn pair(&mut self, option: &str, value: &str) {
        self.one(option);
        self.one(value);
    }

    /// Adds a root port with the slot number that the device behind it has, and returns its name.
    fn port(&mut self, slot: u32) -> String {
        let chassis = FIRST_CHASSIS + self.ports;
        self.ports += 1;
        let name = format!("port{slot}");
        self.pair("-device", &format!("pcie-root-port,id={name},chassis={chassis},slot={slot}"));
        name
    }
}

fn drives(words: &mut Words, drives: &[Drive]) -> Result<(), String> {
    let mut controllers = Vec::new();
    for drive in drives {
        if let Some(device) = drive.node.controller_device()
            && !controllers.contains(&drive.node.controller())
        {
            controllers.push(drive.node.controller());
            let port = words.port(drive.slot.unwrap_or_default());
            words.pair("-device", &format!("{device},bus={port}"));
        }
        let id = drive.node.id();
        match &drive.medium {
            Medium::Disk(file) => {
                // The computer that runs this does not lose its power; the machine's own power loss kills QEMU alone.
                let about = format!("if=none,id={id},format=vmdk,cache=unsafe,file={}", path(file)?);
                words.pair("-drive", &about);
            }
            Medium::Cd(file) => {
                let about =
                    format!("if=none,id={id},format=raw,media=cdrom,readonly=on,file={}", path(file)?);
                words.pair("-drive", &about);
            }
            Medium::EmptyCd => {}
        }
        if drive.node.is_nvme() {
            let port = words.port(drive.slot.unwrap_or_default());
            let about = format!("nvme,drive={id},serial={id},bus={port},bootindex=0");
            words.pair("-device", &about);
            continue;
        }
        let (device, boots) = match drive.medium {
            Medium::Disk(_) => (drive.node.disk_device(), ",bootindex=1"),
            Medium::Cd(_) | Medium::EmptyCd => (drive.node.cd_device(), ""),
        };
        let inserted = if drive.medium == Medium::EmptyCd { String::new() } else { format!(",drive={id}") };
        words.pair("-device", &format!("{device},bus={}{inserted}{boots}", drive.node.bus()));
    }
    Ok(())
}

fn cards(words: &mut Words, hardware: &Hardware, taps: &[String]) -> Result<(), String> {
    for (number, (card, tap)) in hardware.cards.iter().zip(taps).enumerate() {
        let slot = card.name.strip_prefix("ens").and_then(|slot| slot.parse().ok());
        let slot = slot.ok_or_else(|| format!("the card {} has no slot", card.name))?;
        words.pair("-netdev", &format!("tap,id=net{number},ifname={tap},script=no,downscript=no"));
        let port = words.port(slot);
        words.pair("-device", &format!("vmxnet3,netdev=net{number},mac={},bus={port}", card.mac));
    }
    Ok(())
}

/// Returns a path as a value among others in one argument.
fn path(path: &Path) -> Result<String, String> {
    path.to_str().map(escape).ok_or_else(|| format!("{}: its name is not UTF-8", path.display()))
}

/// A comma ends a value; two are one.
fn escape(text: &str) -> String {
    text.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::seam::{Card, Segment};

    /// The lines of a gateway's VMX, as the product writes it, that have a device behind them.
    const GATEWAY: &str = "\
firmware = \"efi\"
nvme0.present = \"TRUE\"
nvme0.pciSlotNumber = \"224\"
nvme0:0.present = \"TRUE\"
nvme0:0.fileName = \"disk.vmdk\"
sata0.present = \"TRUE\"
sata0.pciSlotNumber = \"32\"
sata0:1.present = \"TRUE\"
sata0:1.deviceType = \"cdrom-image\"
sata0:1.fileName = \"seed.iso\"
sata0:1.startConnected = \"TRUE\"
serial0.present = \"TRUE\"
";

    fn hardware() -> Hardware {
        let card =
            |mac: &str, segment, name: &str| Card { mac: mac.parse().unwrap(), segment, name: name.into() };
        Hardware {
            name: "gateway1".into(),
            cpus: 1,
            memory_mib: 1024,
            disk_bytes: 20 << 30,
            uuid: "564d0102-0304-0506-0708-090a0b0c0d0e".into(),
            cards: vec![
                card("00:50:56:25:11:00", Segment::Lan, "ens160"),
                card("00:50:56:25:11:01", Segment::Vmnet(2), "ens192"),
            ],
            seed: None,
        }
    }

    fn line(vmx: &str, change: impl FnOnce(&mut Vmx), folder: &Path) -> Result<String, String> {
        let mut config = Vmx::parse(vmx).unwrap();
        change(&mut config);
        let taps = ["tap0".to_owned(), "tap1".to_owned()];
        let variables = folder.join("gateway1.nvram");
        let ground =
            Ground { accelerator: Accelerator::Software, taps: &taps, variables: Some(&variables), folder };
        let words = arguments(&config, &hardware(), &ground)?;
        Ok(words.join(" ").replace(&format!("{}/", folder.display()), ""))
    }

    #[test]
    fn a_gateway_has_the_devices_and_slots_of_its_vmx() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::File::create_new(folder.path().join("seed.iso")).unwrap();
        let line = line(GATEWAY, |_| (), folder.path()).unwrap();
        for part in [
            "-uuid 564d0102-0304-0506-0708-090a0b0c0d0e",
            "-cpu Nehalem,-cx16 -smp 1 -m 1024",
            "-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
            "-drive if=pflash,unit=1,format=raw,file=gateway1.nvram",
            "-drive if=none,id=nvme0.0,format=vmdk,cache=unsafe,file=disk.vmdk \
             -device pcie-root-port,id=port224,chassis=1,slot=224 \
             -device nvme,drive=nvme0.0,serial=nvme0.0,bus=port224,bootindex=0",
            "-drive if=none,id=sata0.1,format=raw,media=cdrom,readonly=on,file=seed.iso \
             -device ide-cd,bus=ide.1,drive=sata0.1",
            "-netdev tap,id=net0,ifname=tap0,script=no,downscript=no \
             -device pcie-root-port,id=port160,chassis=2,slot=160 \
             -device vmxnet3,netdev=net0,mac=00:50:56:25:11:00,bus=port160",
            "-device pcie-root-port,id=port192,chassis=3,slot=192 \
             -device vmxnet3,netdev=net1,mac=00:50:56:25:11:01,bus=port192",
        ] {
            assert!(line.contains(part), "{part}\n{line}");
        }
    }

    #[test]
    fn a_disk_on_sata_or_scsi_is_there_and_a_lost_cd_leaves_its_drive_empty() {
        let folder = tempfile::tempdir().unwrap();
        let sata = line(GATEWAY, |vmx| rename_disk(vmx, "sata0:0"), folder.path()).unwrap();
        assert!(sata.contains("-device ide-hd,bus=ide.0,drive=sata0.0,bootindex=1"), "{sata}");
        assert!(sata.contains("-device ide-cd,bus=ide.1 "), "{sata}");
        let scsi = |kind: &'static str| {
            let change = move |vmx: &mut Vmx| {
                rename_disk(vmx, "scsi0:0");
                vmx.set("scsi0.present", "TRUE");
                vmx.set("scsi0.virtualDev", kind);
            };
            line(GATEWAY, change, folder.path())
        };
        let pvscsi = scsi("pvscsi").unwrap();
        assert!(pvscsi.contains("-device pvscsi,id=scsi0,bus=port256 "), "{pvscsi}");
        assert!(
            pvscsi.contains("-device scsi-hd,bus=scsi0.0,scsi-id=0,drive=scsi0.0,bootindex=1"),
            "{pvscsi}"
        );
        assert!(scsi("lsilogic").unwrap_err().contains("lsilogic"));
    }

    fn rename_disk(vmx: &mut Vmx, node: &str) {
        vmx.set("nvme0.present", "FALSE");
        vmx.remove("nvme0:0.present");
        vmx.set(&format!("{node}.present"), "TRUE");
        vmx.set(&format!("{node}.fileName"), "disk.vmdk");
    }

    #[test]
    fn a_device_that_cannot_be_had_is_named_and_a_comma_is_part_of_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let second = |vmx: &mut Vmx| {
            vmx.set("nvme0:1.present", "TRUE");
            vmx.set("nvme0:1.fileName", "more.vmdk");
        };
        assert!(line(GATEWAY, second, folder.path()).unwrap_err().starts_with("nvme0:1.present"));
        let comma = line(GATEWAY, |vmx| vmx.set("nvme0:0.fileName", "a,b.vmdk"), folder.path()).unwrap();
        assert!(comma.contains("file=a,,b.vmdk "), "{comma}");
    }
}
