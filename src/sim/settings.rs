//! What the simulated Mac is like: its speed, seed, memory, home network and planted faults, in one JSON file.

use std::io;
use std::path::Path;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::faults::Fault;
use super::files;
use super::places::Places;

/// How much faster than a Mac the default simulation runs: a lab takes some twenty minutes there
/// (bake included), and some twenty seconds here.
pub const DEFAULT_SPEED: f64 = 60.0;

/// A speed at which no time passes to speak of; for tests.
pub const AT_ONCE: f64 = 1e9;

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
    /// Memory that the Mac can give to VMs.
    pub memory_mib: u32,
    /// The home network that bridged cards are plugged into; its router is the first address.
    pub lan: Ipv4Net,
    /// Whether the internet answers.
    pub internet: bool,
    /// What shall go wrong.
    pub faults: Vec<Fault>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: 1,
            speed: DEFAULT_SPEED,
            seed: 1,
            memory_mib: 64 * 1024,
            lan: Ipv4Net::new_assert([192, 168, 68, 0].into(), 24),
            internet: true,
            faults: Vec::new(),
        }
    }
}

impl Settings {
    /// Reads the settings; the defaults if there is no file.
    pub fn load(places: &Places) -> io::Result<Self> {
        let Some(text) = files::read(&places.settings())? else { return Ok(Self::default()) };
        serde_json::from_str(&text).map_err(|error| broken(&places.settings(), &error))
    }

    pub fn save(&self, places: &Places) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|error| broken(&places.settings(), &error))?;
        files::write(&places.settings(), text + "\n")
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
