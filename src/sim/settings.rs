//! What the simulated Mac is like: its speed, seed, memory, home network and planted faults, in one JSON file.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::faults::Fault;
use super::files;
use super::places::Places;
use super::recent::Recent;
use crate::formats::mac::Mac;

/// How much faster than a Mac the default simulation runs: a lab takes some twenty minutes there
/// (bake included), and some twenty seconds here.
pub const DEFAULT_SPEED: f64 = 60.0;

/// A speed at which no time passes to speak of; for tests.
pub const AT_ONCE: f64 = 1e9;

/// The release that is simulated if nothing else is said, as Info.plist spells it (facts/vmrun-vmrest.md §4).
pub const NEWEST: &str = "26H1";

/// Releases whose networks use Apple's DHCP server, by how their versions begin (facts/fusion-networking.md §2.5).
const WITH_APPLES_DHCP: &[&str] = &["12.0", "12.1"];

thread_local! {
    static READ: Recent<String, Settings> = const { Recent::new() };
}

/// What a VM is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guests {
    /// A model in the world's own process.
    #[default]
    Model,
    /// A real Debian system in namespaces.
    Linux,
    /// A machine of QEMU.
    Qemu,
}

impl Guests {
    /// Returns what these machines are, for whoever is shown them.
    pub fn words(self) -> &'static str {
        match self {
            Self::Model => "no virtual machine runs",
            Self::Linux => "its machines are Debian systems in namespaces, and Kubernetes is a model",
            Self::Qemu => "its machines are QEMU's, and Kubernetes is a model",
        }
    }

    /// Returns the name that `--sim-guests` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Linux => "linux",
            Self::Qemu => "qemu",
        }
    }
}

/// The simulated Mac's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The file's format.
    pub version: u32,
    /// Real seconds per simulation second.
    pub speed: f64,
    /// Where every random draw starts from.
    pub seed: u64,
    /// What VMs are.
    pub guests: Guests,
    /// The folder of the guest image that real guests start from.
    pub image: Option<PathBuf>,
    /// Memory that the Mac can give to VMs.
    pub memory_mib: u32,
    /// The home network that bridged cards are plugged into; its router is the first address.
    pub lan: Ipv4Net,
    /// Whether the internet answers.
    pub internet: bool,
    /// Fusion's release, as Info.plist spells it.
    pub fusion: String,
    /// Whether Fusion's window is open.
    pub window_open: bool,
    /// Routes besides those that every Mac has: a destination and the interface it lies behind.
    pub routes: Vec<(Ipv4Net, String)>,
    /// Machines of the home's that are in a lab's way.
    pub strangers: Vec<Stranger>,
    /// Whether the Mac is on the home network by Wi-Fi.
    pub wifi: bool,
    /// Whether the Mac goes to sleep by itself on mains power.
    pub sleeps: bool,
    /// What shall go wrong.
    pub faults: Vec<Fault>,
}

/// A machine on the home network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stranger {
    pub mac: Mac,
    /// The address that it answers for.
    pub address: Ipv4Addr,
    /// Its VRRP router id, if it sends adverts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router_id: Option<u8>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: 1,
            speed: DEFAULT_SPEED,
            seed: 1,
            guests: Guests::Model,
            image: None,
            memory_mib: 64 * 1024,
            lan: Ipv4Net::new_assert([192, 168, 68, 0].into(), 24),
            internet: true,
            fusion: NEWEST.to_owned(),
            window_open: false,
            routes: Vec::new(),
            strangers: Vec::new(),
            wifi: false,
            sleeps: false,
            faults: Vec::new(),
        }
    }
}

impl Settings {
    /// Reads the settings; the defaults if there is no file.
    pub fn load(places: &Places) -> io::Result<Self> {
        let Some(text) = files::read(&places.settings())? else { return Ok(Self::default()) };
        // Every question whether a fault strikes comes here, and hardly one finds another text than the last.
        let parse =
            |text: &String| serde_json::from_str(text).map_err(|error| broken(&places.settings(), &error));
        READ.with(|read| read.answer(text, parse))
    }

    pub fn save(&self, places: &Places) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|error| broken(&places.settings(), &error))?;
        files::write(&places.settings(), text + "\n")
    }

    /// Says whether the simulated release has Apple's DHCP server.
    pub fn has_apples_dhcp(&self) -> bool {
        WITH_APPLES_DHCP.iter().any(|release| {
            let rest = self.fusion.strip_prefix(release);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    /// Changes the settings while no other process does.
    pub fn update<T>(places: &Places, change: impl FnOnce(&mut Self) -> T) -> io::Result<T> {
        let _lock = files::lock(&places.settings().with_extension("lock"))?;
        let mut settings = Self::load(places)?;
        let before = settings.clone();
        let result = change(&mut settings);
        if settings != before {
            settings.save(places)?;
        }
        Ok(result)
    }
}

fn broken(path: &Path, error: &serde_json::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
}
