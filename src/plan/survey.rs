//! What was seen of Fusion's networks, whoever made them: `network show` and `doctor` tell it.
//!
//! Gathered by `engine::observe::survey`; nothing here looks at anything itself.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::Serialize;

use crate::formats::dhcp::{self, Host, Lease};
use crate::formats::mac::Mac;
use crate::formats::networking::{PortForward, Vmnet};
use crate::formats::routes::Route;

use super::facts::UnfinishedChange;

/// Fusion's networks and what surrounds them on the host.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Fusion's networking file.
    pub file: PathBuf,
    /// The file, verbatim; none if there is none yet.
    pub bytes: Option<Vec<u8>>,
    /// The file's owner (user id) and permission bits; none if there is no file.
    pub owner: Option<(u32, u32)>,
    /// Every network that the file mentions, in order of number. Empty if the file is not one that we read.
    pub networks: Vec<NetworkSeen>,
    /// The host's IPv4 routes; none if they could not be read.
    pub routes: Option<Vec<Route>>,
    /// The host's interfaces that are Wi-Fi.
    pub wifi: Vec<String>,
    /// Whether Fusion's window is open: its Apply overwrites the file.
    pub window_open: bool,
    /// A change that an earlier run began and did not see through.
    pub unfinished: Option<UnfinishedChange>,
    /// Why root must not run Fusion's network programs, one line for each path; empty if it may.
    pub distrusted: Vec<String>,
    pub root: RootAccess,
    /// Seconds since 1970, for leases.
    pub now: u64,
}

impl Survey {
    /// Returns what was seen of one network; none if the file does not mention it.
    pub fn network(&self, vmnet: u8) -> Option<&NetworkSeen> {
        self.networks.iter().find(|seen| seen.vmnet.number == vmnet)
    }

    /// Returns how many networks there are, without bridges and what deleted ones left.
    pub fn standing(&self) -> usize {
        self.networks.iter().filter(|seen| seen.vmnet.exists).count()
    }
}

/// How the root step would become root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootAccess {
    /// It need not: we are root, or the file is ours.
    #[default]
    NotNeeded,
    /// sudo lets us in without a password.
    WithoutPassword,
    /// sudo will ask for a password, or refuse.
    WithPassword,
}

/// One network of Fusion's.
#[derive(Clone, Debug, Default)]
pub struct NetworkSeen {
    pub vmnet: Vmnet,
    /// What the file reserves.
    pub reservations: Vec<(Mac, Ipv4Addr)>,
    /// What the file forwards.
    pub forwards: Vec<PortForward>,
    /// What the DHCP server's own file fixes; none if there is no such file.
    pub fixed: Option<Vec<Host>>,
    /// What the NAT service's own file forwards; none if there is no such file.
    pub nat_forwards: Option<Vec<PortForward>>,
    /// All blocks of the leases file, oldest first. Reserved addresses are never in it.
    pub leases: Vec<Lease>,
    /// Whether each service that the file wants runs, by the name that vmnet-cli gives it: `DHCP`, `NAT`.
    pub services: Vec<(&'static str, bool)>,
    /// Virtual machines with a card on it.
    pub users: Vec<NetworkUser>,
}

impl NetworkSeen {
    /// Returns the leases that are valid at a moment (seconds since 1970), in order of address.
    pub fn valid_leases(&self, now: u64) -> Vec<&Lease> {
        dhcp::valid(&self.leases, now)
    }
}

/// A virtual machine's card on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetworkUser {
    /// The VM's name: that of its folder.
    pub name: String,
    pub vmx: PathBuf,
    pub mac: Option<Mac>,
    pub running: bool,
    /// The lab that made it, if one of ours did.
    pub lab: Option<String>,
    /// Where it is reached, and how we know; none if nobody knows.
    pub address: Option<(Ipv4Addr, AddressSource)>,
}

/// How a card's address is known, the most trustworthy first (facts/fusion-networking.md §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressSource {
    /// Reserved in the networking file, or fixed in dhcpd.conf.
    Reservation,
    /// The newest valid lease of its MAC.
    Lease,
    /// VMware Tools in the guest, through vmrest or vmrun.
    Tools,
}
