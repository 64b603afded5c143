//! Laying out a simulated Mac under a root folder, looking at it, and taking it away.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::control::{self, Reply, Request};
use super::linux::net;
use super::linux::prefix::Prefix;
use super::network::{self, Networks};
use super::places::Places;
use super::settings::{Guests, Settings};
use super::{configure, disk, files, image, pace, programs, serve};

/// The build number that every simulated release has.
pub const BUILD: &str = "25388279";

/// Fusion's networking file as an installation makes it: vmnet1 host-only, vmnet8 with NAT.
const NETWORKING: &str = "\
VERSION=1,0
answer VNET_1_DHCP yes
answer VNET_1_HOSTONLY_NETMASK 255.255.255.0
answer VNET_1_HOSTONLY_SUBNET 172.16.59.0
answer VNET_1_HOSTONLY_UUID 5B7C1D3A-7B5E-4A0F-9C53-1F0E2D3C4B5A
answer VNET_1_VIRTUAL_ADAPTER yes
answer VNET_8_DHCP yes
answer VNET_8_HOSTONLY_NETMASK 255.255.255.0
answer VNET_8_HOSTONLY_SUBNET 192.168.215.0
answer VNET_8_HOSTONLY_UUID 9F1C5A27-0B6E-4C1B-8A57-2D0B3C4E5F60
answer VNET_8_NAT yes
answer VNET_8_VIRTUAL_ADAPTER yes
";

/// Says which macOS the simulated Mac has: one that the newest Fusion wants.
const SYSTEM_VERSION: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>ProductName</key>
	<string>macOS</string>
	<key>ProductVersion</key>
	<string>26.1</string>
</dict>
</plist>
"#;

/// How long the world may take to leave when it is told to.
const LEAVING: Duration = Duration::from_secs(10);
const LEAVING_POLL: Duration = Duration::from_millis(20);

/// What a simulated Mac does now.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    pub installed: bool,
    /// What its VMs are.
    pub guests: Guests,
    /// The world's process; none while nothing runs.
    pub pid: Option<u32>,
    /// VMX paths of running VMs.
    pub running: Vec<PathBuf>,
    /// Running networks by number, with their subnets.
    pub networks: Vec<(u8, ipnet::Ipv4Net)>,
    /// Where the world's SOCKS5 server listens.
    pub dial: Option<std::net::SocketAddr>,
}

/// Lays a simulated Mac out under a root; what is there already stays, but for the programs and the settings.
///
/// `exe` is this binary: Fusion's programs are links to it.
pub fn install(root: &Path, exe: &Path, settings: &Settings) -> io::Result<()> {
    files::make_folder(root)?;
    // The world and the programs must name a VM alike.
    let places = Places::new(root.canonicalize()?);
    // Of several runs that begin at once, one lays it out.
    let _turn = files::lock(&places.run().join("install.lock"))?;
    for folder in [places.library(), places.run(), places.preferences(), places.root().join("var/db/vmware")]
    {
        files::make_folder(&folder)?;
    }
    name_release(&places, settings)?;
    files::write_new(&places.system_version(), SYSTEM_VERSION)?;
    for program in programs::NAMES {
        link(exe, &places.program(program))?;
    }
    let planted = Settings::load(&places).map(|settings| settings.faults).unwrap_or_default();
    let faults = if settings.faults.is_empty() { planted } else { settings.faults.clone() };
    Settings { faults, ..settings.clone() }.save(&places)?;
    files::write_new(&places.dial_file(), serve::NOWHERE)?;
    if !places.networking().exists() {
        files::write(&places.networking(), NETWORKING)?;
        configure::configure(&places)?;
        network::start(&places, None)?;
    }
    Ok(())
}

fn link(exe: &Path, program: &Path) -> io::Result<()> {
    if program.read_link().is_ok_and(|target| target == exe) {
        return Ok(());
    }
    files::remove(program)?;
    files::make_folder(program.parent().unwrap_or(program))?;
    symlink(exe, program)
}

/// Writes Info.plist as a release of Fusion has it, and what tells that this one is simulated.
pub fn name_release(places: &Places, settings: &Settings) -> io::Result<()> {
    files::write(&places.info_plist(), info_plist(&settings.fusion, settings.guests))
}

fn info_plist(version: &str, guests: Guests) -> String {
    let guests = guests.words();
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>CFBundleIdentifier</key>
	<string>com.vmware.fusion</string>
	<key>CFBundleName</key>
	<string>VMware Fusion (simulated)</string>
	<key>CFBundleShortVersionString</key>
	<string>{version}</string>
	<key>CFBundleVersion</key>
	<string>{BUILD}</string>
	<key>FusionlabSimulated</key>
	<true/>
	<key>FusionlabGuests</key>
	<string>{guests}</string>
</dict>
</plist>
"#
    )
}

/// Says whether a simulated Mac is laid out under a root.
pub fn is_installed(root: &Path) -> bool {
    let places = Places::new(root);
    places.info_plist().is_file() && places.program("vmrun").symlink_metadata().is_ok()
}

/// Returns the VMs of a simulated Mac's library, whoever made them.
pub fn machines(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![of(root).library()];
    while let Some(folder) = folders.pop() {
        let (below, files): (Vec<_>, Vec<_>) =
            files::entries(&folder).into_iter().partition(|path| path.is_dir() && !path.is_symlink());
        folders.extend(below);
        found.extend(files.into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "vmx")));
    }
    found.sort();
    found
}

/// Writes a disk that a machine boots from: what becomes of the simulated cloud image.
pub fn boot_disk(path: &Path) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let image_path = folder.path().join("image.qcow2");
    image::write(&image_path, image::MODEL)?;
    disk::of_image(&image_path, image::CAPACITY, 1, path).map_err(io::Error::other)
}

/// Writes the cloud image that the simulated machines start from; returns its SHA-256. `system` is the key of the guest
/// image that real guests run.
pub fn image(path: &Path, system: Option<&str>) -> io::Result<String> {
    match system {
        Some(key) => image::write(path, &format!("{}{key}", image::SYSTEM)),
        None => image::write(path, image::MODEL),
    }
}

/// Looks at a simulated Mac.
pub async fn status(root: &Path) -> io::Result<Status> {
    let places = of(root);
    let networks = Networks::load(&places)?;
    let running = networks.all_running().iter().map(|(number, network)| (*number, network.subnet));
    let mut status = Status {
        installed: is_installed(root),
        guests: Settings::load(&places)?.guests,
        networks: running.collect(),
        ..Status::default()
    };
    if let Some(Reply::World(world)) = control::ask(&places, &Request::Describe).await? {
        status.pid = Some(world.pid);
        status.running = world.running;
        status.dial = Some(world.dial);
    }
    Ok(status)
}

/// Has a world that runs cut the links that are to be cut, and mend the others; one that begins later looks itself.
pub async fn links_changed(root: &Path) -> io::Result<()> {
    match control::ask(&of(root), &Request::Links).await? {
        Some(Reply::Refused(refusal)) => Err(io::Error::other(refusal.to_string())),
        _ => Ok(()),
    }
}

/// Pulls every plug and ends the world; returns when it is gone.
pub async fn stop(root: &Path) -> io::Result<()> {
    let places = of(root);
    if control::ask(&places, &Request::Quit).await?.is_none() {
        return collect(&places).await;
    }
    let gone = async {
        while control::ask(&places, &Request::Describe).await?.is_some() {
            pace::wait(LEAVING_POLL).await;
        }
        Ok(())
    };
    tokio::select! {
        gone = gone => gone,
        () = pace::wait(LEAVING) => Err(io::Error::new(io::ErrorKind::TimedOut, "the world does not leave")),
    }
}

/// Lets the Mac sleep: its machines' time stands still meanwhile. Nothing sleeps where nothing runs.
pub async fn sleep(root: &Path, slept: Duration) -> io::Result<()> {
    match control::ask(&of(root), &Request::Sleep { seconds: slept.as_secs() }).await? {
        Some(Reply::Refused(refusal)) => Err(io::Error::other(refusal.to_string())),
        _ => Ok(()),
    }
}

/// Starts the Mac anew: its machines lose their power, and Fusion's networks are down until somebody starts them.
pub async fn reboot(root: &Path) -> io::Result<()> {
    stop(root).await?;
    network::stop(&of(root)).map(drop)
}

/// Takes down what real guests stood on if their world was killed. A world that just begins does so itself.
async fn collect(places: &Places) -> io::Result<()> {
    match files::try_lock(&places.world_lock()) {
        Some(_lock) => net::collect(&Prefix::of(places)?).await,
        None => Ok(()),
    }
}

/// Ends the world and removes the simulated Mac with all its VMs. A folder that is none stays.
pub async fn wipe(root: &Path) -> io::Result<()> {
    if !is_installed(root) {
        return Ok(());
    }
    stop(root).await?;
    files::remove(&of(root).socket())?;
    files::remove(root)
}

/// Returns the places of a root as the programs see them: with links resolved.
pub fn of(root: &Path) -> Places {
    Places::new(root.canonicalize().unwrap_or_else(|_| root.to_owned()))
}
