//! What a lab is: the lab file's meaning, resolved to addresses, MACs, names and versions.
//!
//! [`spec`] reads what the user typed, [`resolve`] fills in the rest and checks it, and everything
//! above this layer sees only the [`Lab`] that comes out. Its defaults are the networking document's.

pub mod catalogue;
pub mod limits;
pub mod lint;
pub mod names;
pub mod paths;
pub mod presets;
pub mod problem;
pub mod resolve;
pub mod spec;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::Serialize;

use crate::formats::mac::Mac;
use catalogue::{Image, Versions};
use limits::Limits;

/// One lab, complete: nothing in it is optional that `up` needs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lab {
    /// The lab's name: a DNS label. VM folders, the kubeconfig context and locks bear it.
    pub name: String,
    /// The home network that the gateways are bridged to.
    pub lan: Lan,
    /// The network that Fusion makes for the cluster (vmnet2 in the document).
    pub internal: Internal,
    /// What Kubernetes is told.
    pub cluster: Cluster,
    /// How the gateway pair behaves.
    pub gateway: GatewaySettings,
    /// All machines: gateways, then control planes, then workers, each in order of their number.
    pub nodes: Vec<Node>,
    /// The cloud image that the template is made from.
    pub image: Image,
    /// The pinned versions that are baked into the template.
    pub versions: Versions,
    /// How a VM is made from the template.
    pub clone: CloneMode,
    /// Which of Fusion's interfaces handles VMs.
    pub driver: Driver,
    /// How guests keep their address on the internal network.
    pub addressing: Addressing,
    /// Public keys, besides the lab's own, that may log in to the guests (OpenSSH one-line form).
    pub authorized_keys: Vec<String>,
    /// Every deadline of the program.
    pub limits: Limits,
}

/// The network that users come from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lan {
    pub subnet: Ipv4Net,
    /// The home router: the gateways' default route.
    pub router: Ipv4Addr,
    pub dns: Vec<Ipv4Addr>,
    /// The address that users know; Keepalived moves it between the gateways.
    pub vip: Ipv4Addr,
    /// The Mac's interface to bridge to, such as `en0`; none lets Fusion choose.
    pub interface: Option<String>,
}

/// The cluster's own network, made by Fusion with NAT and DHCP.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Internal {
    /// The number in `vmnet2`.
    pub vmnet: u8,
    pub subnet: Ipv4Net,
    /// The Mac's address on it (.1): Fusion's rule, not a choice.
    pub host: Ipv4Addr,
    /// Fusion's NAT gateway and DNS proxy (.2): Fusion's rule, not a choice.
    pub nat: Ipv4Addr,
    /// First and last address that Fusion's DHCP server gives away (.128 to .254 of a /24): Fusion's rule.
    pub dhcp: (Ipv4Addr, Ipv4Addr),
    /// The nodes' way to the API server, held by the same gateway as the LAN VIP.
    pub vip: Ipv4Addr,
}

/// What kubeadm, Cilium and the Gateway API are told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cluster {
    pub pods: Ipv4Net,
    pub services: Ipv4Net,
    /// The name behind `controlPlaneEndpoint`; each node's hosts file maps it to [`Internal::vip`].
    pub api_name: String,
    /// More names of the API server, for its certificate.
    pub api_names: Vec<String>,
    /// DNS suffix of published applications, such as `lab.test`.
    pub domain: String,
    /// What the VIP forwards.
    pub ports: Ports,
    /// Whether nginx speaks the PROXY protocol to the workers, and Cilium expects it.
    pub proxy_protocol: bool,
}

/// The document's port mappings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ports {
    /// On the VIP and on each control plane (6443).
    pub api: u16,
    /// On the VIP (80), and the workers' NodePort behind it (30080).
    pub http: u16,
    pub http_node_port: u16,
    /// On the VIP (443), and the workers' NodePort behind it (30443).
    pub https: u16,
    pub https_node_port: u16,
}

impl Ports {
    /// Returns the ports that are on the workers' NodePorts, each with its own.
    pub fn pinned(&self) -> [(u16, u16); 2] {
        [(self.http, self.http_node_port), (self.https, self.https_node_port)]
    }
}

/// Keepalived's settings (facts/test-bench.md §6).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GatewaySettings {
    /// Seconds between VRRP adverts, in hundredths: 50 = 0.5 s.
    pub advert_centiseconds: u16,
    pub virtual_router_id: u8,
}

/// What a machine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Gateway,
    ControlPlane,
    Worker,
}

impl Role {
    /// Every role, in the order in which machines are listed.
    pub const ALL: [Self; 3] = [Self::Gateway, Self::ControlPlane, Self::Worker];

    /// Returns what one machine of it is called: `control plane`.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::ControlPlane => "control plane",
            Self::Worker => "worker",
        }
    }
}

/// One machine of the lab.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Node {
    /// Host name, VM name and Kubernetes node name, such as `k8s-master1`.
    pub name: String,
    pub role: Role,
    /// Counts from 1 within the role.
    pub number: u8,
    pub cpus: u8,
    pub memory_mib: u32,
    pub disk_gib: u32,
    /// In order of `ethernetN`. A gateway has the LAN first, then the internal network; every other node has the
    /// internal network first, and the LAN only if the lab file gives it an address there.
    pub nics: Vec<Nic>,
    /// A control plane that also runs users' pods (preset `solo`).
    pub schedulable: bool,
}

/// One network card.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Nic {
    pub network: Network,
    pub mac: Mac,
    pub address: Ipv4Addr,
    /// `ethernetN.pciSlotNumber`; the guest's name for the card is `ens<slot>`.
    pub pci_slot: u16,
}

/// What a card is plugged into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    Lan,
    Internal,
}

/// How a VM is made from the template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloneMode {
    /// `vmrun clone … linked`: seconds, tied to the template.
    #[default]
    Linked,
    /// `vmrun clone … full`: independent, a whole copy.
    Full,
    /// A copy-on-write copy of the disk file (APFS) and a fresh VMX: independent and instant.
    Cow,
}

/// Which of Fusion's interfaces handles VMs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    #[default]
    Vmrun,
    /// vmrest where it can (list, clone, power, addresses), vmrun for the rest.
    Rest,
}

/// How a guest keeps its address on the internal network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Addressing {
    /// By a reservation in Fusion's DHCP server.
    #[default]
    Dhcp,
    /// Written into the guest; the reservation stays, so that nobody else is given the address.
    Static,
}

impl Lab {
    /// Returns the nodes of one role, in order.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |node| node.role == role)
    }

    pub fn gateways(&self) -> impl Iterator<Item = &Node> {
        self.of_role(Role::Gateway)
    }

    pub fn control_planes(&self) -> impl Iterator<Item = &Node> {
        self.of_role(Role::ControlPlane)
    }

    pub fn workers(&self) -> impl Iterator<Item = &Node> {
        self.of_role(Role::Worker)
    }

    /// Returns the nodes that run pods and so answer on NodePorts behind the VIP: the workers, or
    /// without any the schedulable control planes.
    pub fn ingress_nodes(&self) -> impl Iterator<Item = &Node> {
        let any_worker = self.workers().next().is_some();
        self.nodes
            .iter()
            .filter(move |node| if any_worker { node.role == Role::Worker } else { node.schedulable })
    }

    /// Returns the members of the Kubernetes cluster: control planes, then workers.
    pub fn members(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.role != Role::Gateway)
    }

    /// Returns the control plane that runs `kubeadm init` and carries the cluster's tools.
    pub fn first_control_plane(&self) -> &Node {
        self.control_planes().next().expect("a lab has a control plane: resolve refuses one without")
    }

    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Returns `name:port`, the cluster's `controlPlaneEndpoint`.
    pub fn control_plane_endpoint(&self) -> String {
        format!("{}:{}", self.cluster.api_name, self.cluster.ports.api)
    }

    /// Returns Fusion's name of the internal network, such as `vmnet2`.
    pub fn vmnet_name(&self) -> String {
        format!("vmnet{}", self.internal.vmnet)
    }
}

impl Node {
    /// Returns the card on the cluster's own network; every node has one.
    pub fn internal(&self) -> &Nic {
        self.nic(Network::Internal).expect("every node has an internal card: resolve gives it one")
    }

    /// Returns the card on the LAN; every gateway has one.
    pub fn lan(&self) -> Option<&Nic> {
        self.nic(Network::Lan)
    }

    fn nic(&self, network: Network) -> Option<&Nic> {
        self.nics.iter().find(|nic| nic.network == network)
    }

    /// Returns the address at which the host reaches this node.
    pub fn address(&self) -> Ipv4Addr {
        self.internal().address
    }
}

impl Nic {
    /// Returns the guest's predictable name for this card (facts/vm-images-cloudinit.md §1.5).
    pub fn guest_name(&self) -> String {
        format!("ens{}", self.pci_slot)
    }
}
