//! What stands: a line for each machine, then the VIP, the versions and the cluster's health.

use serde::Serialize;

use super::table::{Cell, Table, labelled};
use super::{opening, runs};
use crate::cli::terminal::{Ink, Pen};
use crate::engine::recovery::{Before, CutOff};
use crate::host::fusion::Fusion;
use crate::host::lock::Holder;
use crate::lab::{Lab, Role};
use crate::plan::drift::{self, FirstEnd};
use crate::plan::facts::{Facts, VmState};

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
    pub vips: Vec<VipStatus>,
    /// None if no API server answers.
    pub cluster: Option<ClusterStatus>,
    /// The last run, if it was cut off and nobody has gone on from it.
    pub cut_off: Option<CutOff>,
    /// The run that has the lab now.
    pub at_work: Option<Holder>,
    /// The certificate in the guests that ends first; none where no guest tells of one.
    pub certificates: Option<FirstEnd>,
    /// Machines whose clocks are off, in words.
    pub clocks: Vec<String>,
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
    /// None for gateways, and where no API server answers.
    pub kubernetes: Option<Kubernetes>,
    /// The kubelet's version.
    pub version: Option<String>,
    /// Whether it holds the LAN VIP.
    pub vip: bool,
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
    /// One holder is right; none or several are not.
    pub holders: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClusterStatus {
    /// The control plane that was asked.
    pub asked: String,
    pub nodes_ready: usize,
    pub nodes: usize,
    /// Helm's word for Cilium's release with the chart, such as `cilium-1.20.3 deployed`.
    pub cilium: Option<String>,
    /// Rollouts that are not complete.
    pub waiting: Vec<String>,
    pub gateway_api: Option<String>,
    pub gateway_programmed: bool,
    pub kube_proxy_present: bool,
}

impl Status {
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
            certificates: drift::first_end(lab, facts),
            clocks: drift::clocks(lab, facts),
            vips: vec![vip("LAN", lab.lan.vip), vip(&lab.vmnet_name(), lab.internal.vip)],
            cluster: facts.cluster.as_ref().map(|cluster| ClusterStatus {
                asked: cluster.asked.clone(),
                nodes_ready: cluster.nodes.values().filter(|node| node.ready).count(),
                nodes: lab.members().count(),
                cilium: cluster
                    .cilium
                    .as_ref()
                    .map(|release| format!("{} {}", release.chart, release.status)),
                waiting: cluster
                    .rollouts
                    .iter()
                    .filter(|(_, ready)| !**ready)
                    .map(|(name, _)| name.clone())
                    .collect(),
                gateway_api: cluster.gateway_api.clone(),
                gateway_programmed: cluster.gateway_programmed,
                kube_proxy_present: cluster.kube_proxy_present,
            }),
            cut_off: None,
            at_work: None,
        }
    }

    /// Returns the same status with what is known of runs.
    pub fn with(self, Before { cut_off, at_work }: Before) -> Self {
        Self { cut_off, at_work, ..self }
    }

    /// Returns the lines for a terminal.
    pub fn lines(&self, lab: &Lab, fusion: &Fusion, pen: &Pen) -> Vec<String> {
        let mut lines = opening::lines(lab, fusion, pen);
        lines.push(String::new());
        let mut table = Table::new(["NAME", "ROLE", "ADDRESS", "VM", "GUEST", "KUBERNETES", "VERSION"])
            .leaving_out(["VERSION", "ROLE"]);
        for node in &self.nodes {
            table.row(node.cells(self.cluster.is_some(), pen));
        }
        lines.extend(table.lines(pen));
        lines.push(String::new());
        let summary = self.summary(pen);
        lines.extend(labelled(summary, pen));
        lines.extend(runs::lines(self.cut_off.as_ref(), self.at_work.as_ref(), pen));
        lines
    }

    fn summary(&self, pen: &Pen) -> Vec<(&str, String)> {
        let network = if self.network.running { "running" } else { "not running" };
        let mut pairs = vec![("network", format!("{} {network}", self.network.name))];
        let label = |index| if index == 0 { "VIPs" } else { "" };
        pairs.extend(self.vips.iter().enumerate().map(|(index, vip)| (label(index), vip.text(pen))));
        let label = |index| if index == 0 { "clocks" } else { "" };
        let clocks = self.clocks.iter().enumerate();
        pairs.extend(clocks.map(|(index, clock)| (label(index), pen.paint(Ink::Warn, clock))));
        if let Some(first) = &self.certificates {
            let words =
                format!("the first of them {}, on {}", first.words.replacen("end ", "ends ", 1), first.node);
            pairs.push(("certificates", if first.is_due { pen.paint(Ink::Warn, &words) } else { words }));
        }
        let Some(cluster) = &self.cluster else {
            pairs.push(("cluster", pen.paint(Ink::Warn, "no API server answers")));
            return pairs;
        };
        let ready = format!("{} of {} nodes Ready", cluster.nodes_ready, cluster.nodes);
        let ink = if cluster.nodes_ready == cluster.nodes { Ink::Good } else { Ink::Warn };
        pairs.push(("cluster", format!("{}, says {}", pen.paint(ink, &ready), cluster.asked)));
        let cilium = cluster.cilium.clone().unwrap_or_else(|| "not installed".to_owned());
        let cilium = if cluster.waiting.is_empty() {
            cilium
        } else {
            format!("{cilium}, {} {}", pen.paint(Ink::Warn, "not ready:"), cluster.waiting.join(", "))
        };
        pairs.push(("Cilium", cilium));
        let gateway = match (&cluster.gateway_api, cluster.gateway_programmed) {
            (None, _) => "not installed".to_owned(),
            (Some(version), true) => format!("{version}, the Gateway is programmed"),
            (Some(version), false) => {
                format!("{version}, {}", pen.paint(Ink::Warn, "the Gateway is not programmed"))
            }
        };
        pairs.push(("Gateway API", gateway));
        if cluster.kube_proxy_present {
            pairs.push(("kube-proxy", pen.paint(Ink::Bad, "present, though Cilium replaces it")));
        }
        pairs
    }
}

impl VipStatus {
    fn text(&self, pen: &Pen) -> String {
        let holder = match self.holders.as_slice() {
            [] => pen.paint(Ink::Warn, "held by nobody"),
            [one] => format!("held by {one}"),
            many => pen.paint(Ink::Bad, &format!("held by several: {}", many.join(", "))),
        };
        format!("{} on {}, {holder}", self.address, self.network)
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
            kubernetes: member.map(|_| match kube_node {
                None => Kubernetes::NotJoined,
                Some(node) if node.ready => Kubernetes::Ready,
                Some(_) => Kubernetes::NotReady,
            }),
            version: kube_node.map(|node| node.kubelet_version.clone()),
            vip: guest.is_some_and(|guest| guest.holds(lab.lan.vip)),
        }
    }

    fn cells(&self, cluster_answers: bool, pen: &Pen) -> [Cell; 7] {
        let none = || Cell::inked(Ink::Dim, pen.none());
        let role = self.role.noun();
        let role = if self.vip { format!("{role}, VIP") } else { role.to_owned() };
        let vm = match self.vm {
            Vm::Absent => Cell::inked(Ink::Dim, "absent"),
            Vm::Stopped => Cell::inked(Ink::Warn, "stopped"),
            Vm::Running => Cell::inked(Ink::Good, "running"),
            Vm::Foreign => Cell::inked(Ink::Bad, "not ours"),
        };
        let guest = match (&self.guest, self.vm) {
            (Some(state), _) if state == "done" => Cell::inked(Ink::Good, "ready"),
            (Some(state), _) => Cell::inked(Ink::Warn, format!("cloud-init {state}")),
            (None, Vm::Running) => Cell::inked(Ink::Warn, "no answer"),
            (None, _) => none(),
        };
        let kubernetes = match (self.kubernetes, self.role, cluster_answers) {
            (Some(Kubernetes::Ready), ..) => Cell::inked(Ink::Good, "Ready"),
            (Some(Kubernetes::NotReady), ..) => Cell::inked(Ink::Warn, "NotReady"),
            (Some(Kubernetes::NotJoined), ..) => Cell::inked(Ink::Warn, "not joined"),
            (None, Role::Gateway, _) | (None, _, true) => none(),
            (None, _, false) => Cell::inked(Ink::Dim, "unknown"),
        };
        [
            Cell::inked(Ink::Strong, self.name.clone()),
            Cell::plain(role),
            Cell::plain(self.address.clone()),
            vm,
            guest,
            kubernetes,
            self.version.clone().map_or_else(none, Cell::plain),
        ]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::formats::mac::Mac;
    use crate::host::fusion::Fusion;
    use crate::lab::catalogue::{Arch, Image, Versions};
    use crate::lab::{self, Nic, Node};
    use crate::plan::facts::{ClusterFacts, GuestFacts, KubeNode, VmFacts};

    /// Two gateways and one control plane, written out by hand: screens need values, not a lab file.
    pub(crate) fn lab() -> Lab {
        let nic = |network, address: [u8; 4], number| Nic {
            network,
            mac: Mac::new([0, 0x50, 0x56, 0, number, 1]),
            address: address.into(),
            pci_slot: 160,
        };
        let node = |name: &str, role, number, nics| Node {
            name: name.to_owned(),
            role,
            number,
            cpus: 2,
            memory_mib: 2048,
            disk_gib: 20,
            nics,
            schedulable: false,
        };
        let gateway = |number: u8| {
            let lan = nic(lab::Network::Lan, [192, 168, 68, 55 + number], number);
            let internal = nic(lab::Network::Internal, [10, 10, 0, 10 + number], number);
            node(&format!("gateway{number}"), Role::Gateway, number, vec![lan, internal])
        };
        let master = nic(lab::Network::Internal, [10, 10, 0, 131], 3);
        Lab {
            name: "lab".into(),
            lan: lab::Lan {
                subnet: "192.168.68.0/24".parse().unwrap(),
                router: [192, 168, 68, 1].into(),
                dns: Vec::new(),
                vip: [192, 168, 68, 200].into(),
                interface: None,
            },
            internal: lab::Internal {
                vmnet: 2,
                subnet: "10.10.0.0/24".parse().unwrap(),
                host: [10, 10, 0, 1].into(),
                nat: [10, 10, 0, 2].into(),
                dhcp: ([10, 10, 0, 128].into(), [10, 10, 0, 254].into()),
                vip: [10, 10, 0, 10].into(),
            },
            cluster: lab::Cluster {
                pods: "10.244.0.0/16".parse().unwrap(),
                services: "10.96.0.0/12".parse().unwrap(),
                api_name: "api.lab.test".into(),
                api_names: Vec::new(),
                domain: "lab.test".into(),
                ports: lab::Ports {
                    api: 6443,
                    http: 80,
                    http_node_port: 30080,
                    https: 443,
                    https_node_port: 30443,
                },
                proxy_protocol: false,
            },
            gateway: lab::GatewaySettings { advert_centiseconds: 50, virtual_router_id: 68 },
            nodes: vec![gateway(1), gateway(2), node("k8s-master1", Role::ControlPlane, 1, vec![master])],
            image: Image {
                name: "ubuntu-24.04".into(),
                arch: Arch::Arm64,
                url: "https://example.org/image".into(),
                digest: None,
                size: None,
                newest: None,
                server: None,
                guest_os: "arm-ubuntu-64".into(),
            },
            versions: Versions {
                kubernetes: "1.36.4".into(),
                cilium: "1.20.3".into(),
                gateway_api: "1.5.0".into(),
                helm: "4.0.0".into(),
                containerd: "2.2.0".into(),
                pause: "3.10".into(),
            },
            clone: lab::CloneMode::Linked,
            driver: lab::Driver::Vmrun,
            addressing: lab::Addressing::Dhcp,
            authorized_keys: Vec::new(),
            limits: lab::limits::Limits::default(),
        }
    }

    pub(crate) fn fusion(simulated: bool) -> Fusion {
        Fusion {
            root: "/".into(),
            app: "/Applications/VMware Fusion.app".into(),
            version: "26H1".into(),
            build: "1".into(),
            simulated,
            guests: String::new(),
            library: "/Users/me/Virtual Machines.localized".into(),
        }
    }

    pub(crate) fn facts() -> Facts {
        let mut facts = Facts { network_running: true, ..Facts::default() };
        for (name, running) in [("gateway1", true), ("gateway2", false), ("k8s-master1", true)] {
            let vmx = PathBuf::from(format!("/{name}.vmx"));
            facts.vms.insert(name.into(), VmFacts { running, ..VmFacts::new(vmx, VmState::Ours) });
        }
        let addresses = vec![("ens160".to_owned(), [192, 168, 68, 200].into())];
        let guest = |addresses| GuestFacts { cloud_init: "done".into(), addresses, ..GuestFacts::default() };
        facts.guests.insert("gateway1".into(), guest(addresses));
        facts.guests.insert("k8s-master1".into(), guest(Vec::new()));
        let ready = KubeNode { ready: true, kubelet_version: "v1.36.4".into(), ..KubeNode::default() };
        facts.cluster = Some(ClusterFacts {
            asked: "k8s-master1".into(),
            nodes: [("k8s-master1".to_owned(), ready)].into(),
            ..ClusterFacts::default()
        });
        facts
    }

    #[test]
    fn the_table_tells_vm_guest_and_kubernetes_apart() {
        let (lab, fusion) = (lab(), fusion(true));
        let lines = Status::new(&lab, &facts(), &fusion).lines(&lab, &fusion, &Pen::plain(100));
        assert_eq!(
            lines.join("\n"),
            "lab  ·  2 gateways, 1 control plane  ·  VMware Fusion 26H1 (simulated)

NAME         ROLE           ADDRESS      VM       GUEST  KUBERNETES  VERSION
gateway1     gateway, VIP   10.10.0.11   running  ready  –           –
gateway2     gateway        10.10.0.12   stopped  –      –           –
k8s-master1  control plane  10.10.0.131  running  ready  Ready       v1.36.4

network      vmnet2 running
VIPs         192.168.68.200 on LAN, held by gateway1
             10.10.0.10 on vmnet2, held by nobody
cluster      1 of 1 nodes Ready, says k8s-master1
Cilium       not installed
Gateway API  not installed"
        );
    }

    #[test]
    fn narrow_terminals_leave_columns_out_and_cut_nothing() {
        let (lab, fusion) = (lab(), fusion(true));
        let lines = Status::new(&lab, &facts(), &fusion).lines(&lab, &fusion, &Pen::plain(60));
        assert!(lines.iter().all(|line| console::measure_text_width(line) <= 60 && !line.contains('…')));
        assert_eq!(lines[4], "gateway1     10.10.0.11   running  ready  –");
    }

    #[test]
    fn without_an_api_server_nothing_is_claimed_about_kubernetes() {
        let (lab, fusion) = (lab(), fusion(false));
        let facts = Facts { cluster: None, ..facts() };
        let status = Status::new(&lab, &facts, &fusion);
        assert!(status.nodes.iter().all(|node| node.kubernetes.is_none()));
        let text = status.lines(&lab, &fusion, &Pen::plain(100)).join("\n");
        assert!(text.contains("unknown") && text.contains("no API server answers"), "{text}");
    }
}
