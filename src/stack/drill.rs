//! The drill, as data: what can be lost and put back, the ways into the lab that are asked meanwhile, and what a lab
//! must be like before and after. Nothing here breaks anything.
//!
//! Whatever is done to a machine is done over the internal network, so that a LAN card can be taken down and up.

mod whole;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::formats::command::Command;
use crate::formats::figures::serialize_seconds;
use crate::lab::limits::{Limit, Limits};
use crate::lab::{Lab, Node, Role};
use crate::stack::checks::{Authority, Request};
use crate::stack::gateway::systemctl;
use crate::stack::ingress;
pub use whole::{Seen, ailments};

/// etcd keeps its quorum without one member from this many on.
const LEAST_CONTROL_PLANES: usize = 3;
/// One is lost, one goes on.
const LEAST_PAIR: usize = 2;
const OK: u16 = 200;
/// A redirect to HTTPS is an answer of the application's port 80 (facts/kubernetes-cilium.md §6).
const ANSWERS: std::ops::Range<u16> = 200..400;

/// One thing that is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    GatewayNginx,
    GatewayKeepalived,
    GatewayNetwork,
    GatewayVm,
    WorkerVm,
    ControlPlaneVm,
}

/// How something is lost.
#[derive(Clone, Debug, PartialEq)]
pub enum Damage {
    /// By commands in the machine.
    Commands(Vec<Command>),
    /// The machine's power is cut.
    PowerCut,
}

/// What a drill breaks, on disk from before it is broken until it is put back: whoever finds it puts it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of this record's form: 1.
    pub version: u32,
    pub scenario: Scenario,
    pub node: String,
    /// When, in RFC 3339.
    pub since: String,
}

impl Record {
    pub const VERSION: u32 = 1;
}

impl Scenario {
    /// In the order in which they are done: the smallest loss first.
    pub const ALL: [Self; 6] = [
        Self::GatewayNginx,
        Self::GatewayKeepalived,
        Self::GatewayNetwork,
        Self::GatewayVm,
        Self::WorkerVm,
        Self::ControlPlaneVm,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::GatewayNginx => "gateway-nginx",
            Self::GatewayKeepalived => "gateway-keepalived",
            Self::GatewayNetwork => "gateway-network",
            Self::GatewayVm => "gateway-vm",
            Self::WorkerVm => "worker-vm",
            Self::ControlPlaneVm => "control-plane-vm",
        }
    }

    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name)
    }

    /// Returns what is done to the machine, as the rest of a sentence that begins with its name.
    pub fn loses(self) -> &'static str {
        match self {
            Self::GatewayNginx => "loses nginx: killed, and kept from starting again",
            Self::GatewayKeepalived => "loses Keepalived: killed, as by a crash",
            Self::GatewayNetwork => "loses its LAN card: the link goes down",
            Self::GatewayVm | Self::WorkerVm | Self::ControlPlaneVm => "loses its power",
        }
    }

    /// Returns whose loss it is.
    pub fn role(self) -> Role {
        match self {
            Self::GatewayNginx | Self::GatewayKeepalived | Self::GatewayNetwork | Self::GatewayVm => {
                Role::Gateway
            }
            Self::WorkerVm => Role::Worker,
            Self::ControlPlaneVm => Role::ControlPlane,
        }
    }

    /// Returns the longest outage that is allowed.
    pub fn limit(self, limits: &Limits) -> Limit {
        match self.role() {
            Role::Gateway => limits.drill_gateway(),
            Role::Worker => limits.drill_worker(),
            Role::ControlPlane => limits.drill_control_plane(),
        }
    }

    /// Returns why this lab cannot do without the machine, as a sentence without a full stop; none if it can.
    pub fn spared(self, lab: &Lab) -> Option<&'static str> {
        let count = lab.of_role(self.role()).count();
        match (self.role(), count) {
            (Role::Gateway, 0..LEAST_PAIR) => Some("there is one gateway, so nobody takes its VIPs over"),
            (Role::Worker, 0) => Some("there is no worker"),
            (Role::Worker, 1) => Some("there is one worker, and nothing else runs the pods"),
            (Role::ControlPlane, 1) => Some("there is one control plane, and it has all of the cluster"),
            (Role::ControlPlane, 0..LEAST_CONTROL_PLANES) => {
                Some("etcd has two members and needs both for its quorum")
            }
            _ => None,
        }
    }

    /// Returns what breaks it.
    pub fn damage(self, node: &Node) -> Damage {
        match self {
            // A killed nginx is back before anybody would move; what was stopped stays down.
            Self::GatewayNginx => Damage::Commands(vec![kill("nginx"), systemctl(&["stop", "nginx"])]),
            // Not kept down: its VIPs would stay on the cards, which no crash does for longer than a restart takes.
            Self::GatewayKeepalived => Damage::Commands(vec![kill("keepalived")]),
            Self::GatewayNetwork => Damage::Commands(vec![link(node, "down")]),
            Self::GatewayVm | Self::WorkerVm | Self::ControlPlaneVm => Damage::PowerCut,
        }
    }

    /// Returns the commands that put it back once the machine has power; all may be run again.
    pub fn repair(self, node: &Node) -> Vec<Command> {
        match self {
            Self::GatewayNginx => vec![systemctl(&["start", "nginx"])],
            Self::GatewayKeepalived => vec![systemctl(&["start", "keepalived"])],
            Self::GatewayNetwork => vec![link(node, "up")],
            Self::GatewayVm | Self::WorkerVm | Self::ControlPlaneVm => Vec::new(),
        }
    }

    /// Returns what a person does to put it back.
    pub fn by_hand(self, node: &Node) -> String {
        let commands: Vec<String> = self.repair(node).iter().map(Command::shell_line).collect();
        match commands.as_slice() {
            [] => format!("start {} in Fusion, or with `vmrun start`", node.name),
            lines => format!("in {}: {}", node.name, lines.join("; ")),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

fn kill(unit: &str) -> Command {
    systemctl(&["kill", "--signal=SIGKILL", unit])
}

fn link(node: &Node, word: &str) -> Command {
    let card = node.lan().unwrap_or_else(|| node.internal()).guest_name();
    Command::new(["ip", "link", "set", "dev", &card, word]).as_root()
}

/// One way into the lab, which is asked again and again, each time by a connection of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    /// Stable, such as `lan-https`.
    pub id: &'static str,
    pub request: Request,
    answers: std::ops::Range<u16>,
}

impl Way {
    /// Says whether a status is the answer that counts.
    pub fn is_answered_by(&self, status: u16) -> bool {
        self.answers.contains(&status)
    }
}

/// Returns the ways that are asked: everything that the VIPs promise.
pub fn ways(lab: &Lab) -> Vec<Way> {
    let ports = &lab.cluster.ports;
    let application = |id, port, authority| {
        let address = SocketAddrV4::new(lab.lan.vip, port);
        Way { id, request: of_application(lab, address, authority), answers: ANSWERS }
    };
    let api = |id, vip| Way { id, request: of_api(lab, vip), answers: OK..OK + 1 };
    vec![
        api("lan-api", lab.lan.vip),
        application("lan-https", ports.https, Some(Authority::Lab)),
        application("lan-http", ports.http, None),
        api("internal-api", lab.internal.vip),
    ]
}

/// Returns the API server of each control plane, and the application on each ingress node's own port: what must answer
/// for the lab to be whole. With the PROXY protocol the latter answers the gateways alone.
pub fn members(lab: &Lab) -> Vec<(String, Way)> {
    let api = lab.control_planes().map(|node| {
        let way = Way { id: "member-api", request: of_api(lab, node.address()), answers: OK..OK + 1 };
        (node.name.clone(), way)
    });
    let entry = lab.ingress_nodes().filter(|_| !lab.cluster.proxy_protocol).map(|node| {
        let address = SocketAddrV4::new(node.address(), lab.cluster.ports.http_node_port);
        let way = Way { id: "member-http", request: of_application(lab, address, None), answers: ANSWERS };
        (node.name.clone(), way)
    });
    api.chain(entry).collect()
}

fn of_api(lab: &Lab, host: Ipv4Addr) -> Request {
    Request {
        address: SocketAddrV4::new(host, lab.cluster.ports.api),
        host: host.to_string(),
        path: "/readyz".to_owned(),
        authority: Some(Authority::Cluster),
    }
}

fn of_application(lab: &Lab, address: SocketAddrV4, authority: Option<Authority>) -> Request {
    Request { address, host: ingress::application_host(lab), path: "/".to_owned(), authority }
}

/// How one way fared while something was lost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fared {
    pub way: &'static str,
    pub address: SocketAddrV4,
    /// Requests, and how many of them had no answer.
    pub sent: u32,
    pub lost: u32,
    /// The longest time without an answer; zero if no two answers were further apart than two requests are.
    #[serde(serialize_with = "serialize_seconds")]
    pub outage: Duration,
}

/// What came of one scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    pub scenario: Scenario,
    pub node: String,
    /// The longest outage that is allowed.
    #[serde(serialize_with = "serialize_seconds")]
    pub limit: Duration,
    /// From the loss until the lab was whole again.
    #[serde(serialize_with = "serialize_seconds")]
    pub took: Duration,
    pub ways: Vec<Fared>,
}

impl Outcome {
    /// Says whether no outage is over the limit.
    pub fn passed(&self) -> bool {
        self.ways.iter().all(|way| way.outage <= self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::catalogue::Arch;
    use crate::lab::resolve::resolve;
    use crate::stack::fixture;

    fn lab(text: &str) -> Lab {
        resolve(Some(text), None, Arch::Arm64).expect("a sound lab").lab
    }

    #[test]
    fn what_a_lab_cannot_do_without_is_spared() {
        let spared = |text: &str| -> Vec<&str> {
            let lab = lab(text);
            let spared = |scenario: &Scenario| scenario.spared(&lab).is_some();
            Scenario::ALL.into_iter().filter(spared).map(Scenario::name).collect()
        };
        assert_eq!(spared("version: 1\n"), [""; 0]);
        assert_eq!(spared("version: 1\npreset: small\n").len(), Scenario::ALL.len());
        assert_eq!(spared("version: 1\ncontrol_planes: {count: 2}\n"), ["control-plane-vm"]);
        assert_eq!(spared("version: 1\nworkers: {count: 1}\n"), ["worker-vm"]);
        assert_eq!(
            spared("version: 1\npreset: solo\ngateways: {count: 2}\n"),
            ["worker-vm", "control-plane-vm"]
        );
    }

    #[test]
    fn every_damage_by_commands_has_its_repair() {
        let (lab, _) = fixture::document();
        let gateway = lab.node("gateway1").unwrap();
        for scenario in Scenario::ALL {
            let by_commands = matches!(scenario.damage(gateway), Damage::Commands(_));
            assert_eq!(by_commands, !scenario.repair(gateway).is_empty(), "{scenario}");
            assert_eq!(Scenario::of_name(scenario.name()), Some(scenario));
            let text = serde_json::to_string(&scenario).unwrap();
            assert_eq!(text, format!("{:?}", scenario.name()), "the record spells it as the user does");
        }
        let lines: Vec<String> = match Scenario::GatewayNetwork.damage(gateway) {
            Damage::Commands(commands) => commands.iter().map(Command::shell_line).collect(),
            Damage::PowerCut => Vec::new(),
        };
        assert_eq!(
            lines,
            ["sudo -n ip link set dev ens160 down"],
            "the internal card carries our own commands"
        );
        let by_hand = Scenario::GatewayNginx.by_hand(gateway);
        assert_eq!(by_hand, "in gateway1: sudo -n systemctl start nginx");
    }

    #[test]
    fn the_ways_are_what_the_vips_promise_and_only_good_answers_count() {
        let (lab, _) = fixture::document();
        let ways = ways(&lab);
        let shown: Vec<String> =
            ways.iter().map(|way| format!("{} {}", way.id, way.request.address)).collect();
        let promised = [
            "lan-api 192.168.68.200:6443",
            "lan-https 192.168.68.200:443",
            "lan-http 192.168.68.200:80",
            "internal-api 10.10.0.10:6443",
        ];
        assert_eq!(shown, promised);
        let (api, http) = (&ways[0], &ways[2]);
        assert!(api.is_answered_by(200) && !api.is_answered_by(500) && !api.is_answered_by(301));
        assert!(http.is_answered_by(200) && http.is_answered_by(301) && !http.is_answered_by(503));
        assert_eq!(members(&lab).len(), 5, "three API servers and two entries");
    }
}
