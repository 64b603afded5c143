//! Whether this Mac is fit for a lab, its networks in order, and its labs' certificates good: one check for each thing that
//! has gone wrong for somebody.
//!
//! What to do about it is named here and worded in `cli`.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::Serialize;

use crate::formats::figures::count;
use crate::lab::catalogue;
use crate::lab::limits::CERTIFICATE_RENEWAL;
use crate::stack::validity::{Validity, long};

mod labs;
mod mac;
mod network;

pub use labs::{DeadLock, LeftBehind, clock, leftovers};
pub use mac::{MacSeen, OtherMachine, Reach, fusion_checks, mac};
pub use network::{home, network};

const PROGRAMS: &str = "who owns Fusion's programs";

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Ok,
    /// This system does not tell. Counts neither as passed nor as failed.
    Unknown,
    /// Nothing fails for it today.
    Warn,
    /// The lab cannot be made, or does not work.
    Fail,
}

/// What to do about a check that is not well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remedy {
    InstallFusion,
    /// Install this release, in which known flaws are mended.
    UpdateFusion {
        fixed: String,
    },
    UpdateMacos {
        least: u32,
    },
    /// Ask for fewer or smaller machines in the lab file.
    SmallerLab,
    /// Shut down machines that are not the lab's.
    StopOthers,
    CloseProgrammes,
    FreeDisk,
    /// Keep the Mac awake while the lab works.
    StayAwake,
    /// Let the wizard make a lab file for the network that is here.
    Init,
    /// Go to the lab's network, or change the lab file for the one that is here.
    OtherLan,
    ReinstallFusion,
    StartFusion,
    QuitFusion,
    /// Let the lab's network be made, or made anew.
    ApplyNetwork,
    /// Start the services of networks that are not the lab's.
    StartServices,
    /// Let Fusion derive its services' files from the networking file again.
    Reconfigure,
    /// Choose another vmnet in the lab file.
    OtherVmnet {
        free: u8,
    },
    /// Choose another subnet in the lab file.
    OtherSubnet,
    /// End what a route comes from.
    EndRoute {
        interface: String,
    },
    /// Choose addresses that Fusion does not give to strangers.
    AddressesBelow {
        first: Ipv4Addr,
        last: Ipv4Addr,
    },
    /// Make the machine with this MAC let go of its address.
    ReleaseAddress {
        mac: String,
    },
    MendFile,
    /// Look at the lines of the networking file that have no effect, or not the one that was meant.
    SeeRemarks,
    /// Give the networking file back to root.
    OwnFile,
    /// Bridge the gateways to a card with a cable.
    UseCable,
    /// Let macOS allow the terminal the local network.
    AllowLocalNetwork,
    SetClock,
    /// Let `doctor --fix` put it away.
    Fix,
    /// Let the lab's next run go on from there.
    GoOn,
    /// Remove a file that sends names to a lab which is gone.
    RemoveResolver {
        path: PathBuf,
    },
    /// Let a lab renew its certificates.
    RenewCertificates,
    /// Take forwards out of a network's nat.conf.
    DropForwards {
        vmnet: u8,
    },
}

/// One check's outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Stable, such as `network.vmnet`.
    pub id: &'static str,
    /// What must be so.
    pub title: String,
    pub state: State,
    /// What was seen.
    pub detail: String,
    /// The likeliest first.
    pub fix: Vec<Remedy>,
}

/// What was seen, before it has a name.
struct Seen(State, String, Vec<Remedy>);

impl Seen {
    fn ok(detail: impl Into<String>) -> Self {
        Self(State::Ok, detail.into(), Vec::new())
    }

    fn unknown(detail: impl Into<String>) -> Self {
        Self(State::Unknown, detail.into(), Vec::new())
    }

    fn warn(detail: impl Into<String>, fix: Remedy) -> Self {
        Self(State::Warn, detail.into(), vec![fix])
    }

    fn fail(detail: impl Into<String>, fix: Remedy) -> Self {
        Self(State::Fail, detail.into(), vec![fix])
    }

    fn or(mut self, fix: Remedy) -> Self {
        self.2.push(fix);
        self
    }

    fn named(self, id: &'static str, title: impl Into<String>) -> Check {
        let Self(state, detail, fix) = self;
        Check { id, title: title.into(), state, detail, fix }
    }
}

/// Checks whether there is a Fusion that fusionlab can use: its version alone and as it is shown, or why not.
pub fn fusion(found: Result<(&str, String), &String>) -> Check {
    let seen = match found {
        Ok((version, shown)) if catalogue::is_too_old(version) => {
            let hardware = catalogue::written_hardware();
            Seen::fail(format!("{shown} does not run virtual hardware {hardware}"), Remedy::InstallFusion)
        }
        Ok((_, shown)) => Seen::ok(shown),
        Err(reason) => Seen::fail(reason, Remedy::InstallFusion),
    };
    seen.named("fusion.version", "Fusion")
}

/// The check of what root would run, failed, where nothing else could be looked at for that reason.
pub fn distrusted(reason: &str) -> Check {
    Seen::fail(reason, Remedy::ReinstallFusion).named("network.programs", PROGRAMS)
}

/// How long certificates of one lab are valid: whose each is, and its validity.
pub struct LabCertificates {
    pub lab: String,
    pub all: Vec<(String, Validity)>,
}

/// Checks when the certificates of the labs on this Mac end.
pub fn certificates(labs: &[LabCertificates], now: u64) -> Check {
    let due = |lab: &LabCertificates| {
        let mut due: Vec<_> = lab.all.iter().filter(|(_, validity)| validity.is_due(now)).collect();
        due.sort_by_key(|(_, validity)| validity.good_until(now));
        let (whose, first) = due.first()?;
        let more = if due.len() == 1 { String::new() } else { format!(", and {} more", due.len() - 1) };
        Some(format!("{}: {whose} {}{more}", lab.lab, first.told(now)))
    };
    let found: Vec<String> = labs.iter().filter_map(due).collect();
    let seen = match (labs.len(), found.as_slice()) {
        (0, _) => Seen::ok("none: there is no lab"),
        (all, []) => Seen::ok(format!("none of {}", count(all, "lab"))),
        (_, found) => Seen::warn(found.join("; "), Remedy::RenewCertificates),
    };
    let days = long(CERTIFICATE_RENEWAL.as_secs());
    seen.named("lab.certificates", format!("certificates that end within {days}"))
}

/// As [`count`], and "none" where there is none.
fn some(number: usize, noun: impl fmt::Display) -> String {
    if number == 0 { "none".to_owned() } else { count(number, noun) }
}

#[cfg(test)]
mod tests;
