//! What a running model guest holds in memory: lost at power-off.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;

use super::dnsmasq::Dnsmasq;
use super::keepalived::Vip;
use super::kube::cluster::Cluster;
use super::nginx::Nginx;
use super::tools::kubeadm_unit::Run;
use super::vrrp::Vrrp;
use crate::sim::seam::Segment;

/// Journal lines kept for each unit.
const JOURNAL_LINES: usize = 200;

/// How far the machine is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    #[default]
    Off,
    Booting,
    Running,
    ShuttingDown,
}

/// The running machine's memory.
#[derive(Default)]
pub struct Live {
    pub phase: Phase,
    pub boot_id: String,
    pub hostname: String,
    /// sshd takes logins.
    pub sshd: bool,
    pub cloud_init: CloudInit,
    pub interfaces: Vec<Interface>,
    /// Interfaces whose link is set down: they are there and configured, and nothing passes.
    pub down: BTreeSet<String>,
    /// What a killed Keepalived left on its interfaces, until it starts again.
    pub left: Vec<Vip>,
    units: BTreeMap<String, UnitState>,
    journal: BTreeMap<String, VecDeque<JournalLine>>,
    /// Lines that were ever written to the journal.
    journal_lines: u64,
    /// Applied kernel parameters (`sysctl`), and loaded modules.
    pub sysctl: BTreeMap<String, String>,
    pub modules: BTreeSet<String>,
    pub nginx: Option<Arc<Nginx>>,
    pub dnsmasq: Option<Arc<Dnsmasq>>,
    pub vrrp: Option<Arc<Vrrp>>,
    pub clock_synced: bool,
    /// How far the clock was set ahead of the world's, in milliseconds.
    pub clock_ahead_ms: i64,
    /// Routes to parts of the pod network, by the nodes that have them: Cilium's agent sets them.
    pub pod_routes: BTreeMap<Ipv4Net, Ipv4Addr>,
    /// Those that the running agent has set already; it sets none twice.
    pub routes_set: BTreeMap<Ipv4Net, Ipv4Addr>,
    /// Whether a kube-proxy ran: its rules stay when it goes.
    pub proxy_rules: bool,
    /// Static pods that answer: `etcd`, `kube-apiserver`, …
    pub static_pods: BTreeSet<String>,
    pub cluster: Option<Arc<Cluster>>,
    /// The node's name in the cluster, once the kubelet runs as one.
    pub node: Option<String>,
    /// The kubeadm that runs as a unit, or did last.
    pub kubeadm: Option<Arc<Run>>,
    /// Locked files (`flock`).
    pub locks: BTreeMap<String, Arc<tokio::sync::Mutex<()>>>,
    /// Background processes outlive the command that started them only while this number stands.
    pub kubelet_run: u64,
}

/// One line of the journal.
#[derive(Clone, Debug)]
pub struct JournalLine {
    /// Counts from 1 since the machine's start.
    pub number: u64,
    pub at_ms: u64,
    pub unit: String,
    pub text: String,
}

/// What `cloud-init status` says.
#[derive(Clone, Debug)]
pub struct CloudInit {
    /// `not run`, `running`, `done`, `error`, `disabled`.
    pub status: &'static str,
    pub stage: &'static str,
    pub datasource: &'static str,
    pub errors: Vec<String>,
    /// Level → messages; any makes the exit status 2 (facts/vm-images-cloudinit.md §4.8).
    pub recoverable: BTreeMap<&'static str, Vec<String>>,
}

impl Default for CloudInit {
    fn default() -> Self {
        Self {
            status: "not run",
            stage: "init-local",
            datasource: "",
            errors: Vec::new(),
            recoverable: BTreeMap::new(),
        }
    }
}

/// One network interface that is configured.
#[derive(Clone, Debug)]
pub struct Interface {
    pub name: String,
    pub segment: Segment,
    /// Address and prefix length.
    pub addresses: Vec<(Ipv4Addr, u8)>,
    pub router: Option<Ipv4Addr>,
    pub dns: Vec<Ipv4Addr>,
}

/// systemd's word for a unit's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitState {
    Active,
    /// Starting again and again: `activating (auto-restart)`.
    Activating,
    Inactive,
    Failed,
}

impl UnitState {
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Activating => "activating",
            Self::Inactive => "inactive",
            Self::Failed => "failed",
        }
    }
}

impl Live {
    /// Returns the interfaces whose link is up.
    pub fn up(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.iter().filter(|interface| !self.down.contains(&interface.name))
    }

    pub fn unit(&self, name: &str) -> UnitState {
        self.units.get(name).copied().unwrap_or(UnitState::Inactive)
    }

    pub fn unit_active(&self, name: &str) -> bool {
        self.unit(name) == UnitState::Active
    }

    pub fn set_unit(&mut self, name: &str, state: UnitState) {
        self.units.insert(name.to_owned(), state);
    }

    pub fn active_units(&self) -> Vec<String> {
        let active =
            |(name, state): (&String, &UnitState)| (*state != UnitState::Inactive).then(|| name.clone());
        self.units.iter().filter_map(active).collect()
    }

    pub fn log(&mut self, unit: &str, now_ms: u64, text: String) {
        self.journal_lines += 1;
        let line = JournalLine { number: self.journal_lines, at_ms: now_ms, unit: unit.to_owned(), text };
        let lines = self.journal.entry(unit.to_owned()).or_default();
        lines.push_back(line);
        if lines.len() > JOURNAL_LINES {
            lines.pop_front();
        }
    }

    /// Returns the lines of one unit, or of all, oldest first.
    pub fn journal(&self, unit: Option<&str>) -> Vec<JournalLine> {
        let is_meant = |name: &String| unit.is_none_or(|unit| unit == name);
        let units = self.journal.iter().filter(|(name, _)| is_meant(name));
        let mut lines: Vec<JournalLine> = units.flat_map(|(_, lines)| lines.iter().cloned()).collect();
        lines.sort_by_key(|line| line.number);
        lines
    }
}
