//! What stands: a line for each machine, with what it uses, then the VIP, the versions and the cluster's health.

mod lines;
mod way_on;
mod within;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::labs::LastRow;
use crate::engine::home::recovery::Before;
use crate::engine::journal::runs::CutOff;
use crate::engine::observe::resources::{HostUse, Look};
use crate::host::fusion::Fusion;
use crate::host::lock::Holder;
use crate::lab::{Lab, Role};
use crate::plan::drift::{self, FirstEnd, OwnEnd};
use crate::plan::facts::{ClusterFacts, Facts, VmFacts, VmState};
use crate::plan::obstacle;
use crate::plan::up;
use crate::stack::resources::Resources;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
pub const SCHEMA: &str = "fusionlab.status/1";

/// What was seen of a lab.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    pub schema: &'static str,
    pub lab: String,
    pub fusion: String,
    pub simulated: bool,
    pub network: NetworkStatus,
    pub nodes: Vec<NodeStatus>,
    /// Machines that bear the lab's mark and that the lab file does not name. They are not asked.
    pub not_in_file: Vec<MachineBeside>,
    pub vips: Vec<VipStatus>,
    /// None if no API server answers, or what it says is not understood.
    pub cluster: Option<ClusterStatus>,
    /// Why that is so, where one answers.
    pub unreadable: Option<String>,
    /// The last run, if it was cut off and nobody has gone on from it.
    pub cut_off: Option<CutOff>,
    /// The run that has the lab now.
    pub at_work: Option<Holder>,
    /// What was done to the lab last; none while a run has it.
    pub last: Option<LastRow>,
    /// The certificate in the guests that ends first; none where no guest tells of one.
    pub certificates: Option<FirstEnd>,
    /// The certificate on this Mac that ends first; none of a lab that has no identity.
    pub own_certificates: Option<OwnEnd>,
    /// Machines whose clocks are off, in words.
    pub clocks: Vec<String>,
    /// Program → its versions in the lab, as machines tell them: one, but while they differ.
    pub versions: BTreeMap<String, BTreeSet<String>>,
    /// What the lab has of this Mac; none where nobody looked.
    pub host: Option<HostUse>,
    /// What has to be said again so that other verbs find this lab; for the words alone.
    #[serde(skip)]
    pub options: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NetworkStatus {
    pub name: String,
    pub running: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeStatus {
    pub name: String,
    pub role: Role,
    pub address: String,
    pub vm: Vm,
    /// cloud-init's state as the guest tells it; none if it does not answer.
    pub guest: Option<String>,
    /// Which of its services do not run, or would not after its next boot, in words; none where all do, where it is still set up,
    /// and where it does not answer.
    pub services: Option<String>,
    /// None for gateways, and where no API server answers.
    pub kubernetes: Option<Kubernetes>,
    /// The kubelet's version.
    pub version: Option<String>,
    /// Whether it holds the LAN VIP.
    pub vip: bool,
    /// What it uses; none if it does not say, or nobody looked.
    pub resources: Option<Resources>,
    /// How far its clock is from this Mac's, in milliseconds, negative if it is behind; what the way there and back may explain
    /// counts as nothing. None if it does not answer.
    pub clock_off_ms: Option<i64>,
}

/// A machine of the lab's that the lab file does not name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MachineBeside {
    pub name: String,
    pub vm: Vm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vm {
    Absent,
    Stopped,
    Running,
    /// A VM of that name stands there that is not ours.
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kubernetes {
    NotJoined,
    NotReady,
    Ready,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VipStatus {
    pub network: String,
    pub address: String,
    /// One holder is right; none or several are not. Machines that are not in the lab file are not asked.
    pub holders: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClusterStatus {
    /// The control plane that was asked.
    pub asked: String,
    pub nodes_ready: usize,
    pub nodes: usize,
    /// Nodes of the cluster that the lab file does not name.
    pub not_in_file: Vec<String>,
    /// Helm's word for Cilium's release with the chart, such as `cilium-1.20.3 deployed`.
    pub cilium: Option<String>,
    /// Rollouts that are not complete.
    pub waiting: Vec<String>,
    pub gateway_api: Option<String>,
    pub gateway_programmed: bool,
    pub kube_proxy_present: bool,
}

impl Status {
    /// Says whether machines run that may hold a VIP and that nobody asked.
    pub fn may_be_held_elsewhere(&self) -> bool {
        self.not_in_file.iter().any(|machine| machine.vm == Vm::Running)
    }

    /// Returns the VIP that no machine holds, the internal one before the other; none while nothing runs that could, and where a
    /// machine may that nobody asked.
    pub fn vip_of_nobody(&self) -> Option<&VipStatus> {
        let runs = self.nodes.iter().any(|node| node.role == Role::Gateway && node.vm == Vm::Running);
        let is_known = !self.may_be_held_elsewhere();
        self.vips.iter().rev().find(|vip| runs && is_known && vip.holders.is_empty())
    }

    /// Says whether all that is asked of the cluster and of the machines' services is as the lab makes it.
    fn is_whole(&self) -> bool {
        self.cluster.as_ref().is_some_and(ClusterStatus::is_whole)
            && self.vip_of_nobody().is_none()
            && self.nodes.iter().all(|node| node.services.is_none())
    }

    /// Reads the status off the facts.
    pub fn new(lab: &Lab, facts: &Facts, fusion: &Fusion) -> Self {
        let holders = |address| {
            let holding = facts.guests.iter().filter(|(_, guest)| guest.holds(address));
            holding.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        let vip = |network: &str, address| VipStatus {
            network: network.to_owned(),
            address: std::net::Ipv4Addr::to_string(&address),
            holders: holders(address),
        };
        Self {
            schema: SCHEMA,
            lab: lab.name.clone(),
            fusion: fusion.version.clone(),
            simulated: fusion.simulated,
            network: NetworkStatus { name: lab.vmnet_name(), running: facts.network_running },
            nodes: lab.nodes.iter().map(|node| NodeStatus::new(node, lab, facts)).collect(),
            not_in_file: obstacle::not_in_lab(lab, facts).map(MachineBeside::of).collect(),
            certificates: drift::first_end(lab, facts),
            own_certificates: drift::first_own_end(facts),
            clocks: drift::clocks(lab, facts),
            versions: versions(lab, facts),
            host: None,
            vips: vec![vip("LAN", lab.lan.vip), vip(&lab.vmnet_name(), lab.internal.vip)],
            cluster: facts.cluster.as_ref().map(|cluster| ClusterStatus::new(lab, cluster)),
            unreadable: facts.unreadable.clone(),
            cut_off: None,
            at_work: None,
            last: None,
            options: String::new(),
        }
    }

    /// Reads the status off a look, with what the lab uses.
    pub fn of(lab: &Lab, look: &Look, fusion: &Fusion) -> Self {
        let mut status = Self::new(lab, &look.facts, fusion);
        for node in &mut status.nodes {
            node.resources = look.resources.get(&node.name).copied();
        }
        Self { host: Some(look.host), ..status }
    }

    /// Returns the same status with the options by which other verbs find this lab.
    pub fn with_options(self, options: String) -> Self {
        Self { options, ..self }
    }

    /// Returns the same status with what is known of runs.
    pub fn with(self, Before { cut_off, at_work, last, .. }: Before) -> Self {
        Self { cut_off, at_work, last: last.map(LastRow::of), ..self }
    }
}

impl MachineBeside {
    fn of((name, vm): (&String, &VmFacts)) -> Self {
        Self { name: name.clone(), vm: if vm.running { Vm::Running } else { Vm::Stopped } }
    }
}

impl ClusterStatus {
    fn new(lab: &Lab, cluster: &ClusterFacts) -> Self {
        let is_known = |name: &String| lab.node(name).is_some();
        let waiting = cluster.rollouts.iter().filter(|(_, ready)| !**ready);
        Self {
            asked: cluster.asked.clone(),
            nodes_ready: cluster.nodes.iter().filter(|(name, node)| node.ready && is_known(name)).count(),
            nodes: lab.members().count(),
            not_in_file: cluster.nodes.keys().filter(|name| !is_known(name)).cloned().collect(),
            cilium: cluster.cilium.as_ref().map(|release| format!("{} {}", release.chart, release.status)),
            waiting: waiting.map(|(name, _)| name.clone()).collect(),
            gateway_api: cluster.gateway_api.clone(),
            gateway_programmed: cluster.gateway_programmed,
            kube_proxy_present: cluster.kube_proxy_present,
        }
    }

    fn is_whole(&self) -> bool {
        self.nodes_ready == self.nodes
            && self.waiting.is_empty()
            && self.cilium.is_some()
            && self.gateway_programmed
    }
}

impl NodeStatus {
    fn new(node: &crate::lab::Node, lab: &Lab, facts: &Facts) -> Self {
        let guest = facts.guests.get(&node.name);
        let member = facts.cluster.as_ref().filter(|_| node.role != Role::Gateway);
        let kube_node = member.and_then(|cluster| cluster.nodes.get(&node.name));
        Self {
            name: node.name.clone(),
            role: node.role,
            address: node.address().to_string(),
            vm: match facts.vms.get(&node.name) {
                None => Vm::Absent,
                Some(vm) => match (vm.state, vm.running) {
                    (VmState::Absent | VmState::Unfinished, _) => Vm::Absent,
                    (VmState::Foreign, _) => Vm::Foreign,
                    (VmState::Ours, true) => Vm::Running,
                    (VmState::Ours, false) => Vm::Stopped,
                },
            },
            guest: guest.map(|guest| guest.cloud_init.clone()),
            services: guest
                .filter(|guest| guest.cloud_init == "done")
                .and_then(|guest| drift::of_units(guest, &up::services(node, guest))),
            kubernetes: member.map(|_| match kube_node {
                None => Kubernetes::NotJoined,
                Some(node) if node.ready => Kubernetes::Ready,
                Some(_) => Kubernetes::NotReady,
            }),
            version: kube_node.map(|node| node.kubelet_version.clone()),
            vip: guest.is_some_and(|guest| guest.holds(lab.lan.vip)),
            resources: None,
            clock_off_ms: guest.map(|guest| guest.clock_off_ms),
        }
    }
}

/// Programs whose versions are told, by the name that the machines use.
const PROGRAMS: [(&str, &str); 4] = [
    ("kubelet", "Kubernetes"),
    ("containerd", "containerd"),
    ("nginx", "nginx"),
    ("keepalived", "Keepalived"),
];

/// Gathers which versions the lab's machines have of each program; a gateway's containerd serves nobody.
fn versions(lab: &Lab, facts: &Facts) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in &lab.nodes {
        let Some(guest) = facts.guests.get(&node.name) else { continue };
        let of_gateways = |program| ["nginx", "keepalived"].contains(&program);
        for (program, name) in PROGRAMS {
            let is_its = of_gateways(program) == (node.role == Role::Gateway);
            if let Some(version) = guest.versions.get(program).filter(|_| is_its) {
                let version = version.trim_start_matches('v').to_owned();
                found.entry(name.to_owned()).or_default().insert(version);
            }
        }
    }
    found
}

#[cfg(test)]
pub(crate) mod tests;
