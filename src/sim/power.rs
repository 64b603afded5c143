//! Power-on as Fusion does it: what it checks, what it says in vmware.log, and what it writes beside the VMX.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::cards;
use super::disk::Disk;
use super::faults;
use super::files;
use super::locks;
use super::network::Networks;
use super::places::{Places, vm_name};
use super::refusal::Refusal;
use super::seam::{Body, Contents, Hardware};
use super::settings::Settings;
use super::vmlog;
use crate::formats::mac::Mac;
use crate::formats::seed_iso;
use crate::formats::vmx::Vmx;

/// Values that Fusion accepts for `guestOS` (facts/vm-images-cloudinit.md §1.2).
const GUESTS: &[&str] = &[
    "arm-ubuntu-64",
    "arm-debian12-64",
    "arm-debian-64",
    "arm-other6xlinux-64",
    "arm-fedora-64",
    "arm-rhel9-64",
    "arm-other-64",
    "ubuntu-64",
    "debian12-64",
    "other6xlinux-64",
    "other5xlinux-64",
    "other-64",
];
/// The newest virtual hardware that this Fusion runs.
const NEWEST_HARDWARE: u32 = 22;
/// Device nodes that can hold the boot disk, in the firmware's order.
const DISK_NODES: &[&str] = &["nvme0:0", "sata0:0", "scsi0:0"];
const CD_NODES: &[&str] = &["sata0:1", "sata0:0", "sata0:2", "sata1:0"];

/// What running VMs hold.
#[derive(Clone, Debug, Default)]
pub struct Occupied {
    pub macs: BTreeSet<Mac>,
    pub memory_mib: u32,
}

/// A VM that passed every check.
pub struct Prepared {
    pub body: Body,
    pub disk: Disk,
    /// Whether the firmware finds something to boot on the disk.
    pub bootable: bool,
    pub console: Option<PathBuf>,
}

/// A check that failed: the words for vmware.log.
pub type Cause = String;

/// Reads a VM's configuration as every operation does that opens the VM.
pub fn open_vmx(vmx: &Path) -> Result<Vmx, Refusal> {
    if vmx.extension().is_none_or(|extension| extension != "vmx") {
        return Err(Refusal::NotVmx(vmx.to_owned()));
    }
    let text = files::read(vmx)?.ok_or_else(|| Refusal::NoVm(vmx.to_owned()))?;
    let unreadable = || Refusal::Unreadable(vmx.to_owned());
    let parsed = Vmx::parse(&text).map_err(|error| {
        vmlog::error(vmx, &format!("Cannot read the virtual machine configuration file: {error}"));
        unreadable()
    })?;
    let complete = parsed.get("config.version").is_some() && parsed.get("virtualHW.version").is_some();
    if complete { Ok(parsed) } else { Err(unreadable()) }
}

/// Checks a VM and makes it ready to run. What Fusion writes into the VMX is written.
///
/// # Errors
/// With what vmrun says; the cause stands in vmware.log.
pub fn prepare(
    places: &Places,
    settings: &Settings,
    vmx: &Path,
    occupied: &Occupied,
) -> Result<Prepared, Refusal> {
    let mut config = open_vmx(vmx)?;
    let strikes = |fault| faults::strikes(places, fault, &vm_name(vmx));
    if strikes(faults::STALE_LOCK) {
        locks::leave_anothers(vmx)?;
    }
    if strikes(faults::UNWRITABLE) {
        return Err(Refusal::CannotConnect);
    }
    locks::take(vmx, disk_of(vmx, &config).map(|(_, disk)| disk).as_deref())?;
    let prepared = check(places, settings, vmx, &mut config, occupied);
    match prepared {
        Ok(prepared) => {
            config.set("cleanShutdown", "FALSE");
            config.set("softPowerOff", "FALSE");
            files::write(vmx, config.render())?;
            files::write_new(&vmx.with_extension("nvram"), "MRVN")?;
            vmlog::powered_on(vmx);
            Ok(prepared)
        }
        Err(Trouble::Asks) => {
            locks::release(vmx);
            Err(Refusal::Asks)
        }
        Err(Trouble::Because(cause)) => {
            locks::release(vmx);
            vmlog::error(vmx, &cause);
            Err(Refusal::Canceled)
        }
        Err(Trouble::Wrapped(cause)) => {
            locks::release(vmx);
            vmlog::error(vmx, &cause);
            Err(Refusal::Wrapped)
        }
    }
}

/// Why a VM does not power on.
pub enum Trouble {
    /// Fusion asks a question, and without a window nobody answers.
    Asks,
    Because(Cause),
    /// As above, but vmrun says even less.
    Wrapped(Cause),
}

impl From<String> for Trouble {
    fn from(cause: String) -> Self {
        Self::Because(cause)
    }
}

fn check(
    places: &Places,
    settings: &Settings,
    vmx: &Path,
    config: &mut Vmx,
    occupied: &Occupied,
) -> Result<Prepared, Trouble> {
    if faults::strikes(places, faults::START_CANCELED, &vm_name(vmx)) {
        let cause = "Could not open /dev/vmmon: the virtual machine monitor could not be started.";
        return Err(cause.to_owned().into());
    }
    if faults::strikes(places, faults::START_UNKNOWN, &vm_name(vmx)) {
        let cause = "This virtual machine's policies are too old to be run by this version of VMware Fusion.";
        return Err(Trouble::Wrapped(cause.to_owned()));
    }
    check_platform(config)?;
    let memory_mib = check_memory(config, settings, occupied)?;
    let cpus = number(config, "numvcpus").unwrap_or(1);
    if !(1..=64).contains(&cpus) {
        return Err(format!("Invalid number of virtual processors: {cpus}.").into());
    }
    settle_identity(settings, vmx, config)?;
    let networks = Networks::load(places).map_err(|error| error.to_string())?;
    let cards = cards::connect(config, &networks, &occupied.macs)?;
    let console = open_console(vmx, config)?;
    let (path, mut disk) = open_disk(vmx, config)?;
    let trouble = |error: std::io::Error| error.to_string();
    let state = disk.load().map_err(trouble)?;
    let contents = disk.contents().map_err(trouble)?;
    let bootable = state.is_some() || contents != Contents::Nothing;
    disk.mark_opened().map_err(trouble)?;
    let hardware = Hardware {
        name: config.get("displayName").unwrap_or_else(|| vm_name(vmx)),
        cpus,
        memory_mib,
        disk_bytes: disk.bytes(),
        uuid: product_uuid(&config.get("uuid.bios").unwrap_or_default()),
        cards,
        seed: read_seed(vmx, config),
    };
    let body = Body { hardware, vmx: vmx.to_owned(), disk: path, state, contents };
    Ok(Prepared { body, disk, bootable, console })
}

fn check_platform(config: &Vmx) -> Result<(), Cause> {
    let hardware = number(config, "virtualHW.version").unwrap_or(0);
    if hardware > NEWEST_HARDWARE {
        return Err(format!(
            "This virtual machine uses hardware version {hardware}, which is newer than this product supports."
        ));
    }
    let guest = config.get("guestOS").unwrap_or_default();
    if !GUESTS.contains(&guest.as_str()) {
        return Err(format!("The guest operating system '{guest}' is not supported."));
    }
    let arm = guest.starts_with("arm-");
    if arm && config.get("firmware").as_deref() != Some("efi") {
        return Err("This virtual machine requires EFI firmware.".to_owned());
    }
    if arm && is_true(config, "scsi0.present") {
        return Err("The virtual device 'scsi0' is not supported by this virtual machine.".to_owned());
    }
    Ok(())
}

fn check_memory(config: &Vmx, settings: &Settings, occupied: &Occupied) -> Result<u32, Cause> {
    let memory = number(config, "memsize").unwrap_or(0);
    if memory == 0 || !memory.is_multiple_of(4) {
        return Err(format!("Invalid memory size: {memory} MB is not a multiple of 4 MB."));
    }
    let free = settings.memory_mib.saturating_sub(occupied.memory_mib);
    if memory > free {
        return Err(format!(
            "Not enough physical memory is available to power on this virtual machine with its configured \
             settings: it needs {memory} MB, and {free} MB are free."
        ));
    }
    Ok(memory)
}

/// Gives the VM its UUIDs: new ones when it stands where it did not stand before (facts §2.3).
fn settle_identity(settings: &Settings, vmx: &Path, config: &mut Vmx) -> Result<(), Trouble> {
    let here = uuid(settings.seed, "location", vmx);
    match config.get("uuid.location") {
        Some(location) if location == here => return Ok(()),
        Some(_) => match config.get("uuid.action").as_deref() {
            Some("create") => drop(config.remove("uuid.bios")),
            Some("keep") => {}
            _ => return Err(Trouble::Asks),
        },
        None => {}
    }
    config.set("uuid.location", &here);
    if config.get("uuid.bios").is_none() {
        config.set("uuid.bios", &uuid(settings.seed, "bios", vmx));
    }
    Ok(())
}

/// Returns a UUID as VMware spells it: `56 4d 1f … -…`.
fn uuid(seed: u64, purpose: &str, vmx: &Path) -> String {
    let digest = Sha256::digest(format!("{seed} {purpose} {}", vmx.display()));
    let mut bytes = [0x56, 0x4d].to_vec();
    bytes.extend(&digest[..14]);
    let words: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}", words[..8].join(" "), words[8..].join(" "))
}

/// Returns VMware's spelling as the guest's `product_uuid`.
fn product_uuid(uuid: &str) -> String {
    let digits: String = uuid.chars().filter(char::is_ascii_hexdigit).collect();
    match digits.len() {
        32 => [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-"),
        _ => uuid.to_owned(),
    }
}

/// Makes the serial console's file; one that exists makes Fusion ask (facts/vm-images-cloudinit.md §1.6).
fn open_console(vmx: &Path, config: &Vmx) -> Result<Option<PathBuf>, Trouble> {
    let to_file = is_true(config, "serial0.present")
        && config.get("serial0.fileType").as_deref() == Some("file")
        && config.get("serial0.startConnected").as_deref() != Some("FALSE");
    let Some(name) = config.get("serial0.fileName").filter(|_| to_file) else { return Ok(None) };
    let path = beside(vmx, &name);
    if path.exists() && !is_true(config, "msg.autoAnswer") {
        return Err(Trouble::Asks);
    }
    files::write(&path, "").map_err(|error| format!("Cannot open the serial port's file: {error}"))?;
    Ok(Some(path))
}

fn open_disk(vmx: &Path, config: &Vmx) -> Result<(PathBuf, Disk), Cause> {
    let (_, path) = disk_of(vmx, config).ok_or("No bootable device was found: no disk is configured.")?;
    let disk = Disk::open(&path)?;
    Ok((path, disk))
}

/// Returns the boot disk's device node and file.
pub fn disk_of(vmx: &Path, config: &Vmx) -> Option<(&'static str, PathBuf)> {
    let node = DISK_NODES.iter().find(|node| {
        let controller = node.split(':').next().unwrap_or(node);
        let device = config.get(&format!("{node}.deviceType")).unwrap_or_default();
        is_true(config, &format!("{controller}.present"))
            && is_true(config, &format!("{node}.present"))
            && !device.starts_with("cdrom")
    })?;
    Some((*node, beside(vmx, &config.get(&format!("{node}.fileName"))?)))
}

/// Reads the attached CD image; one that is missing leaves the drive empty, as with Fusion.
fn read_seed(vmx: &Path, config: &Vmx) -> Option<BTreeMap<String, Vec<u8>>> {
    let node = CD_NODES.iter().find(|node| {
        let controller = node.split(':').next().unwrap_or(node);
        is_true(config, &format!("{controller}.present"))
            && is_true(config, &format!("{node}.present"))
            && config.get(&format!("{node}.deviceType")).as_deref() == Some("cdrom-image")
            && config.get(&format!("{node}.startConnected")).as_deref() != Some("FALSE")
    })?;
    let path = beside(vmx, &config.get(&format!("{node}.fileName"))?);
    let read = files::read_bytes(&path).map_err(|error| error.to_string());
    match read.and_then(|image| seed_iso::read(&image).map_err(|error| error.to_string())) {
        Ok(seed) => Some(seed),
        Err(error) => {
            vmlog::note(vmx, &format!("CDROM: {node}: {error}"));
            None
        }
    }
}

/// Returns a file that a VMX names: relative names are beside it.
pub fn beside(vmx: &Path, name: &str) -> PathBuf {
    vmx.parent().unwrap_or(Path::new("/")).join(name)
}

pub fn is_true(config: &Vmx, key: &str) -> bool {
    config.get(key).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

pub fn number(config: &Vmx, key: &str) -> Option<u32> {
    config.get(key)?.trim().parse().ok()
}

/// Writes into the VMX how the VM went off; peers wait for it (facts/vmrun-vmrest.md §1.5).
pub fn record_power_off(vmx: &Path, orderly: bool) {
    let Ok(mut config) = open_vmx(vmx) else { return };
    config.set("cleanShutdown", "TRUE");
    config.set("softPowerOff", if orderly { "TRUE" } else { "FALSE" });
    // What a guest said of itself is memory of the machine that ran.
    let said = |key: &&str| key.to_ascii_lowercase().starts_with("guestinfo.");
    for key in config.keys().filter(said).map(str::to_owned).collect::<Vec<_>>() {
        config.remove(&key);
    }
    // The VM's folder may be gone already.
    let _ = files::write(vmx, config.render());
    vmlog::note(vmx, "Transitioned vmx/execState/val to poweredOff");
}

/// Writes the memory file that tells a suspended VM.
pub fn record_suspension(vmx: &Path) -> Result<(), Refusal> {
    Ok(files::write(&suspension(vmx), "simulated memory\n")?)
}

pub fn forget_suspension(vmx: &Path) -> Result<(), Refusal> {
    Ok(files::remove(&suspension(vmx))?)
}

fn suspension(vmx: &Path) -> PathBuf {
    vmx.with_extension("vmss")
}
