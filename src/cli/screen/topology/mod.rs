//! The lab as a picture: both networks as frames, the gateways in both of them, the cluster behind.
//!
//! ```text
//! Lab, and what was seen of it ─▶ Diagram ─┬─▶ text.rs: lines for a terminal, at any width
//!                                          └─▶ svg.rs: a picture for documents, light and dark
//! ```
//!
//! Every address is the lab's own, so that no picture can differ from what `up` makes.

mod canvas;
mod svg;
#[cfg(test)]
mod tests;
mod text;

use serde::Serialize;

use super::status::{Kubernetes, NodeStatus, Status, Vm};
use crate::cli::terminal::Ink;
use crate::cli::words;
use crate::lab::{Lab, Node, Role};

pub use svg::svg;
pub use text::{lines, list};

/// A lab, ready to be drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagram {
    pub name: String,
    /// The LAN's subnet.
    pub lan: String,
    pub vip: Vip,
    pub gateways: Vec<Machine>,
    /// `vmnet2`, and its subnet.
    pub internal: (String, String),
    pub groups: Vec<Group>,
    /// What else there is to know of the cluster's network, a line each.
    pub notes: Vec<String>,
}

/// The address that users know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Vip {
    pub address: String,
    /// Such as `:6443 API`.
    pub ports: Vec<String>,
    pub mark: Option<Mark>,
}

/// Members of the cluster with the same role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    pub title: String,
    /// What the role answers on.
    pub text: String,
    pub machines: Vec<Machine>,
}

/// One box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    pub name: String,
    /// On the LAN, for a gateway.
    pub lan: Option<String>,
    /// On the cluster's own network.
    pub address: String,
    /// What runs on it, or what was seen of it.
    pub text: String,
    pub holds_vip: bool,
    pub mark: Option<Mark>,
}

/// How something was found; none where nobody looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    Well,
    /// There, and not as it should be.
    Unwell,
    Absent,
}

impl Mark {
    pub fn ink(self) -> Ink {
        match self {
            Self::Well => Ink::Good,
            Self::Unwell => Ink::Warn,
            Self::Absent => Ink::Dim,
        }
    }
}

impl Diagram {
    /// Draws up a lab as its file has it, or as it was seen.
    pub fn of(lab: &Lab, seen: Option<&Status>) -> Self {
        let machine = |node: &Node| Machine::of(node, seen);
        let group = |role: Role, title: &str, text: String| {
            let machines: Vec<Machine> = lab.of_role(role).map(machine).collect();
            (!machines.is_empty()).then(|| Group { title: title.to_owned(), text, machines })
        };
        let (ports, cluster) = (&lab.cluster.ports, &lab.cluster);
        let node_ports = format!("NodePorts {} and {}", ports.https_node_port, ports.http_node_port);
        let api = format!("API :{} behind {}, etcd", ports.api, lab.internal.vip);
        let alone = lab.workers().next().is_none();
        let control = if alone { format!("{api}; {node_ports}") } else { api };
        Self {
            name: lab.name.clone(),
            lan: lab.lan.subnet.to_string(),
            vip: Vip {
                address: lab.lan.vip.to_string(),
                ports: vec![
                    format!(":{} API", ports.api),
                    format!(":{} HTTPS", ports.https),
                    format!(":{} HTTP", ports.http),
                ],
                mark: seen.and_then(|seen| match seen.nodes.iter().filter(|node| node.vip).count() {
                    0 if seen.may_be_held_elsewhere() => None,
                    0 => Some(Mark::Absent),
                    1 => Some(Mark::Well),
                    _ => Some(Mark::Unwell),
                }),
            },
            gateways: lab.of_role(Role::Gateway).map(machine).collect(),
            internal: (lab.vmnet_name(), lab.internal.subnet.to_string()),
            groups: [
                group(Role::ControlPlane, "control plane", control),
                group(Role::Worker, "workers", node_ports),
            ]
            .into_iter()
            .flatten()
            .collect(),
            notes: [
                format!("pods {}, services {}: Cilium, no kube-proxy", cluster.pods, cluster.services),
                format!("to the internet through {}; this Mac is {}", lab.internal.nat, lab.internal.host),
            ]
            .into_iter()
            .chain(
                seen.filter(|seen| seen.simulated).map(|_| "simulated: no virtual machine runs".to_owned()),
            )
            .collect(),
        }
    }
}

impl Machine {
    fn of(node: &Node, seen: Option<&Status>) -> Self {
        let lan = node.lan();
        let is_without_vip = seen.is_some_and(|seen| seen.vip_of_nobody().is_some());
        let seen = seen.and_then(|seen| seen.nodes.iter().find(|seen| seen.name == node.name));
        let (text, mark) = match (seen, node.role) {
            (Some(seen), _) => found(seen, is_without_vip),
            (None, Role::Gateway) => ("nginx, Keepalived".to_owned(), None),
            (None, _) => {
                (format!("{} CPUs, {}", node.cpus, words::bytes(u64::from(node.memory_mib) << 20)), None)
            }
        };
        Self {
            name: node.name.clone(),
            lan: lan.map(|nic| nic.address.to_string()),
            address: node.address().to_string(),
            text,
            holds_vip: seen.is_some_and(|seen| seen.vip),
            mark,
        }
    }
}

/// Says how a machine was found, in two words. Where nobody holds the VIP, that is the gateways' ailment.
fn found(seen: &NodeStatus, is_without_vip: bool) -> (String, Option<Mark>) {
    let (text, mark) = match (seen.vm, seen.guest.as_deref(), seen.kubernetes) {
        (Vm::Absent, ..) => ("not made", Mark::Absent),
        (Vm::Foreign, ..) => ("not ours", Mark::Unwell),
        (Vm::Stopped, ..) => ("stopped", Mark::Unwell),
        (Vm::Running, None, _) => ("no answer", Mark::Unwell),
        (Vm::Running, Some("done"), None) if seen.role == Role::Gateway && is_without_vip && !seen.vip => {
            ("no VIP", Mark::Unwell)
        }
        (Vm::Running, Some("done"), None) if seen.role == Role::Gateway => {
            (if seen.vip { "holds the VIP" } else { "ready" }, Mark::Well)
        }
        (Vm::Running, Some("done"), Some(Kubernetes::Ready)) => ("Ready", Mark::Well),
        (Vm::Running, Some("done"), Some(Kubernetes::NotReady)) => ("NotReady", Mark::Unwell),
        (Vm::Running, Some("done"), Some(Kubernetes::NotJoined)) => ("not joined", Mark::Unwell),
        (Vm::Running, Some("done"), None) => ("no API answers", Mark::Unwell),
        (Vm::Running, Some(_), _) => ("is set up", Mark::Unwell),
    };
    match (mark, &seen.services) {
        (Mark::Well, Some(_)) => ("unwell".to_owned(), Some(Mark::Unwell)),
        _ => (text.to_owned(), Some(mark)),
    }
}
