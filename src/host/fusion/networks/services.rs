//! `vmnet-cli`: its four orders, and what its words say of the services.
//!
//! Its exit status is not enough: it may exit with 0 after `Failed to start …` (facts/fusion-networking.md §2.2).

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Log;
use crate::formats::networking::Document;
use crate::host::fusion::Fusion;
use crate::host::process::{self, Finished, Options};
use crate::host::{HostError, Result, system, trust};

pub(super) const PROGRAM: &str = "vmnet-cli";
pub(super) const STOP: &str = "--stop";
pub(super) const CONFIGURE: &str = "--configure";
pub(super) const START: &str = "--start";
const STATUS: &str = "--status";
/// What begins a line about something that did not work, exit status 0 or not.
const FAILED: &str = "Failed to ";
/// What each line of `--status` about a service holds between the service's name and the network's number.
const SERVICE: &str = " service on vmnet";
const RUNS: &str = " is running";

/// A service of one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    Dhcp,
    Nat,
}

impl Service {
    pub const ALL: [Self; 2] = [Self::Dhcp, Self::Nat];

    /// Returns the name that `vmnet-cli` gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dhcp => "DHCP",
            Self::Nat => "NAT",
        }
    }
}

/// What `vmnet-cli --status` said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    running: Vec<(u8, Service)>,
    /// Whether it said anything of any service: to a user who is not root it may not (§8).
    told: bool,
}

impl Services {
    fn parse(text: &str) -> Self {
        let running = text.lines().filter_map(|line| {
            let (name, rest) = line.trim().split_once(SERVICE)?;
            let service = Service::ALL.into_iter().find(|service| service.name() == name)?;
            Some((rest.strip_suffix(RUNS)?.parse().ok()?, service))
        });
        Self { running: running.collect(), told: text.contains(SERVICE) }
    }

    /// Says whether a network's service runs; none if `vmnet-cli` told nothing of any service.
    pub fn runs(&self, vmnet: u8, service: Service) -> Option<bool> {
        self.told.then(|| self.running.contains(&(vmnet, service)))
    }

    /// Returns the same and these services.
    pub(super) fn and(mut self, others: &[(u8, Service)]) -> Self {
        self.running.extend(others);
        self
    }

    /// Returns the services that run.
    pub fn running(&self) -> &[(u8, Service)] {
        &self.running
    }
}

/// Returns the services that a file wants for a network; none for no network.
///
/// The host adapter does not count: since macOS 11 it is `disabled` until a VM runs (§2.2, §2.5).
pub(super) fn wanted(file: &Document, vmnet: u8) -> Vec<Service> {
    let network = file.vmnet(vmnet);
    let services = [(Service::Dhcp, network.dhcp), (Service::Nat, network.nat)];
    services.into_iter().filter(|(_, wanted)| network.exists && *wanted).map(|(service, _)| service).collect()
}

/// Fusion's network programs, run with the care that our rights ask for.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub fusion: Fusion,
    /// Whether we are root: then only what root alone could have changed is run.
    careful: bool,
}

impl Programs {
    pub fn new(fusion: Fusion) -> Self {
        Self { fusion, careful: system::is_root() }
    }

    /// Runs one of the bundle's programs.
    pub async fn run(&self, name: &str, args: &[&str], limit: Duration) -> Result<Finished> {
        self.run_at(&self.fusion.program(name), args, limit).await
    }

    /// Runs a program by its path.
    pub async fn run_at(&self, path: &Path, args: &[&str], limit: Duration) -> Result<Finished> {
        let mut options = Options::limit(limit);
        if !self.careful {
            return process::run(path, args, options).await;
        }
        let program = trust::program(path)?;
        program.bind(&mut options);
        process::run(&program.call(), args, options).await
    }

    /// Gives `vmnet-cli` one order; a bad exit status or a service that it complains about is an error.
    pub async fn obey(&self, order: &str, limit: Duration, log: &mut Log) -> Result<(), String> {
        let finished = self.run(PROGRAM, &[order], limit).await.map_err(|error| error.to_string())?;
        log.ran(PROGRAM, &[order], &finished);
        let output = finished.output();
        match output.lines().find(|line| line.starts_with(FAILED)) {
            Some(complaint) => Err(complaint.to_owned()),
            None if finished.success() => Ok(()),
            None => Err(finished.error(&self.fusion.program(PROGRAM), [order]).to_string()),
        }
    }

    /// Asks `vmnet-cli` which services run.
    pub async fn services(&self, limit: Duration) -> Result<Services> {
        Ok(Services::parse(&self.run(PROGRAM, &[STATUS], limit).await?.text()))
    }

    /// Like [`Self::services`], with the answer in the log.
    pub async fn services_logged(&self, limit: Duration, log: &mut Log) -> Result<Services, String> {
        let said = self.run(PROGRAM, &[STATUS], limit).await.map_err(|error: HostError| error.to_string())?;
        log.ran(PROGRAM, &[STATUS], &said);
        Ok(Services::parse(&said.text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_status_are_read_to_the_letter() {
        let said = Services::parse(
            "DHCP service on vmnet22 is running\n NAT service on vmnet8 is running\nDHCP service on vmnet8 is not \
             running\nHostonly virtual adapter on vmnet8 is disabled\nFTP service on vmnet2 is running\n",
        );
        assert_eq!(said.running(), [(22, Service::Dhcp), (8, Service::Nat)]);
        assert_eq!(said.runs(2, Service::Dhcp), Some(false), "vmnet22 is not vmnet2");
        assert_eq!(said.runs(8, Service::Dhcp), Some(false), "not running is not running");
        assert_eq!(Services::parse("you are not root\n").runs(8, Service::Nat), None);
    }

    #[test]
    fn the_last_word_counts_and_a_husk_wants_nothing() {
        let file = "VERSION=1,0\nanswer VNET_2_DHCP no\nanswer VNET_2_DHCP yes\nanswer VNET_2_NAT yes\n\
                    answer VNET_2_HOSTONLY_SUBNET 10.10.0.0\nanswer VNET_3_DHCP yes\n";
        let file = Document::parse(file.as_bytes()).unwrap();
        assert_eq!(wanted(&file, 2), Service::ALL);
        assert_eq!(wanted(&file, 3), [], "a husk is no network");
    }
}
