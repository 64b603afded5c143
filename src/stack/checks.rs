//! The proof, as data: what must be true of a lab that is up, hop by hop along the document's journey
//! of a packet, with how to look and what to expect (facts/kubernetes-cilium.md §6).
//!
//! [`judge`](super::judge::judge) compares what was seen with what was expected; nothing here looks.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;

use crate::formats::command::Command;
use crate::lab::names::{GATEWAY, GATEWAY_CLASS, GATEWAY_NAMESPACE};
use crate::lab::{Lab, Node};
use crate::stack::{cilium, gateway, ingress, kubeadm, kubectl};

/// Greatest difference between two clocks, in milliseconds.
const CLOCKS_WITHIN_MS: u64 = 1000;
/// Where the document looks for the internet.
const INTERNET: &str = "https://google.com";
const HUBBLE_RELAY: &str = "hubble-relay";

/// One thing to prove.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Stable, such as `lan.https`.
    pub id: &'static str,
    /// A sentence without a full stop that is true if the check passes.
    pub title: String,
    pub hop: Hop,
    pub probe: Probe,
    pub expect: Expect,
}

/// A stage of the journey, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hop {
    Machines,
    Gateways,
    ControlPlane,
    PodNetwork,
    ClusterEntry,
    EndToEnd,
}

impl Hop {
    /// Returns the hop as a heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Machines => "machines and their networks",
            Self::Gateways => "gateways",
            Self::ControlPlane => "control plane",
            Self::PodNetwork => "pod network",
            Self::ClusterEntry => "cluster entry",
            Self::EndToEnd => "end to end",
        }
    }
}

/// How to look.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// A command on any control plane whose API server answers.
    Cluster { command: Command },
    /// Commands in several guests, all at once; every one must meet the expectation.
    GuestEach { commands: Vec<Labelled> },
    /// The facts of every machine, and how far its clock is from the host's.
    Facts,
    /// A request by the host, to this address, with this `Host`.
    Http { address: SocketAddrV4, host: String, path: String },
    /// The same over TLS; `host` (a name or an address) must stand in the certificate.
    Https { address: SocketAddrV4, host: String, path: String, authority: Authority },
}

/// A command in a guest with what it shows, such as `gateway1 -> k8s-worker2`.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    pub label: String,
    pub node: String,
    pub command: Command,
}

/// Which authority must have signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The one behind `https://*.<domain>`.
    Lab,
    /// Kubernetes' own.
    Cluster,
}

/// What must have been seen.
#[derive(Clone, Debug, PartialEq)]
pub enum Expect {
    /// The command succeeds.
    Success,
    /// Success, and exactly this text but for white space around it.
    Text(String),
    /// Success, and each of these somewhere in the text, whatever its case and the width of its gaps.
    Contains(Vec<String>),
    /// Success, and nothing was printed.
    Nothing,
    /// Some HTTP status, whichever: the other side was reached.
    AnyHttpStatus,
    /// The test application's answer.
    Application { host: String },
    /// `etcdctl endpoint status`: so many voting members and one leader.
    Etcd { members: usize },
    /// `kubectl get nodes`: exactly these, Ready, at these addresses, all of this version.
    Nodes { addresses: BTreeMap<String, Ipv4Addr>, version: String },
    /// This condition of the object is `True`.
    Condition(&'static str),
    /// The Service's ports and their NodePorts.
    NodePorts(BTreeMap<u16, u16>),
    /// Each machine holds these addresses.
    Addresses(BTreeMap<String, Vec<Ipv4Addr>>),
    /// None of these machines holds an address of this network.
    NoneWithin { nodes: Vec<String>, subnet: Ipv4Net },
    /// Exactly one of these machines holds any of the addresses, and it holds all.
    OneHolder { nodes: Vec<String>, addresses: Vec<Ipv4Addr> },
    /// No two clocks differ by more than these milliseconds.
    ClocksWithin(u64),
}

/// Returns every check of a lab, in the order of the journey.
pub fn all(lab: &Lab) -> Vec<Check> {
    [machines(lab), gateways(lab), control_plane(lab), pod_network(lab), cluster_entry(lab), end_to_end(lab)]
        .concat()
}

fn machines(lab: &Lab) -> Vec<Check> {
    let own = |node: &Node| (node.name.clone(), node.nics.iter().map(|nic| nic.address).collect());
    // A node stands there only if the lab file says so.
    let (wished, members): (Vec<_>, Vec<_>) = lab.members().partition(|node| node.lan().is_some());
    let named = |nodes: Vec<&Node>| nodes.into_iter().map(|node| node.name.clone()).collect::<Vec<_>>();
    let segmentation = match named(wished) {
        wished if wished.is_empty() => "no cluster member stands on the LAN".to_owned(),
        wished => format!("no cluster member but {} stands on the LAN", wished.join(" and ")),
    };
    let internet = |node: &Node| {
        let reached = curl(lab, &["-o", "/dev/null", "-w", "%{http_code}", "-I", INTERNET]);
        labelled(&node.name, INTERNET, &node.name, reached)
    };
    let pings = lab.gateways().flat_map(|from| {
        lab.members().map(|to| {
            let address = to.address().to_string();
            let ping = Command::new(["ping", "-n", "-q", "-c", "1", "-W", "1", &address]);
            labelled(&from.name, &to.name, &from.name, ping)
        })
    });
    let check =
        |id, title: &str, probe, expect| Check { id, title: title.into(), hop: Hop::Machines, probe, expect };
    vec![
        check(
            "machine.address",
            "every machine holds its own addresses",
            Probe::Facts,
            Expect::Addresses(lab.nodes.iter().map(own).collect()),
        ),
        check(
            "machine.clock",
            "the clocks of all machines agree within a second",
            Probe::Facts,
            Expect::ClocksWithin(CLOCKS_WITHIN_MS),
        ),
        check(
            "machine.segmentation",
            &segmentation,
            Probe::Facts,
            Expect::NoneWithin { nodes: named(members), subnet: lab.lan.subnet },
        ),
        check(
            "machine.ping",
            "every gateway reaches every cluster member",
            Probe::GuestEach { commands: pings.collect() },
            Expect::Success,
        ),
        check(
            "machine.internet",
            "every cluster member reaches the internet through Fusion's NAT",
            Probe::GuestEach { commands: lab.members().map(internet).collect() },
            Expect::AnyHttpStatus,
        ),
    ]
}

fn gateways(lab: &Lab) -> Vec<Check> {
    let nodes = lab.gateways().map(|node| node.name.clone()).collect();
    let services = |node: &Node| {
        let active = Command::new(["systemctl", "is-active", "nginx", "keepalived"]).as_root();
        labelled(&node.name, "nginx, keepalived", &node.name, active)
    };
    let check = |id, title: String, probe, expect| Check { id, title, hop: Hop::Gateways, probe, expect };
    vec![
        check(
            "gateway.services",
            "nginx and Keepalived run on every gateway".into(),
            Probe::GuestEach { commands: lab.gateways().map(services).collect() },
            Expect::Success,
        ),
        check(
            "gateway.vips",
            format!("exactly one gateway holds both {} and {}", lab.lan.vip, lab.internal.vip),
            Probe::Facts,
            Expect::OneHolder { nodes, addresses: vec![lab.lan.vip, lab.internal.vip] },
        ),
        check(
            "gateway.api",
            format!("the API answers the host at {}:{}", lab.lan.vip, lab.cluster.ports.api),
            cluster_https(lab, lab.lan.vip, "/version"),
            Expect::Contains(vec!["gitVersion".into(), lab.versions.kubernetes.clone()]),
        ),
    ]
}

fn control_plane(lab: &Lab) -> Vec<Check> {
    let check = |id, title: String, probe, expect| Check { id, title, hop: Hop::ControlPlane, probe, expect };
    let mut checks: Vec<_> = lab
        .control_planes()
        .map(|node| {
            let title = format!("the API of {} answers at {}", node.name, node.address());
            let probe = cluster_https(lab, node.address(), "/livez");
            check("api.livez", title, probe, Expect::Text("ok".into()))
        })
        .collect();
    checks.extend([
        check(
            "api.endpoint",
            format!("every member reaches the API as {}", lab.control_plane_endpoint()),
            Probe::GuestEach { commands: lab.members().map(|node| endpoint(lab, node)).collect() },
            Expect::Text("ok".into()),
        ),
        check(
            "api.certificate",
            "the API's certificate holds every name and address it is known by".into(),
            Probe::GuestEach { commands: certificate_names(lab) },
            Expect::Text("ok".into()),
        ),
        check(
            "etcd.members",
            format!("etcd has {} voting members and one leader", lab.control_planes().count()),
            Probe::Cluster { command: kubectl::etcd_status(&lab.first_control_plane().name) },
            Expect::Etcd { members: lab.control_planes().count() },
        ),
        check(
            "nodes.ready",
            "every member is Ready at its own address, all of one version".into(),
            Probe::Cluster { command: kubectl::list("nodes", None) },
            Expect::Nodes {
                addresses: lab.members().map(|node| (node.name.clone(), node.address())).collect(),
                version: format!("v{}", lab.versions.kubernetes),
            },
        ),
    ]);
    checks
}

fn pod_network(lab: &Lab) -> Vec<Check> {
    let check = |id, title: &str, command, expect| Check {
        id,
        title: title.into(),
        hop: Hop::PodNetwork,
        probe: Probe::Cluster { command },
        expect,
    };
    let members = lab.members().count();
    let namespace = Some(cilium::NAMESPACE);
    vec![
        check(
            "cilium.kube-proxy",
            "there is no kube-proxy",
            kubectl::get("daemonsets", "kube-proxy", namespace),
            Expect::Nothing,
        ),
        check(
            "cilium.datapath",
            "Cilium replaces kube-proxy, routes natively, masquerades in BPF and sees every member",
            kubectl::cilium_status(),
            Expect::Contains(vec![
                "KubeProxyReplacement: True".into(),
                "Routing: Network: Native".into(),
                "Masquerading: BPF".into(),
                lab.cluster.pods.to_string(),
                format!("{members}/{members} reachable"),
            ]),
        ),
        check(
            "cilium.hubble",
            "Hubble's relay is available",
            kubectl::get("deployments", HUBBLE_RELAY, namespace),
            Expect::Condition("Available"),
        ),
    ]
}

fn cluster_entry(lab: &Lab) -> Vec<Check> {
    let namespace = Some(GATEWAY_NAMESPACE);
    let host = ingress::application_host(lab);
    let ports = &lab.cluster.ports;
    let check = |id, title: String, probe, expect| Check { id, title, hop: Hop::ClusterEntry, probe, expect };
    let cluster = |command| Probe::Cluster { command };
    vec![
        check(
            "gateway-api.class",
            format!("GatewayClass {GATEWAY_CLASS} is accepted"),
            cluster(kubectl::get("gatewayclasses", GATEWAY_CLASS, None)),
            Expect::Condition("Accepted"),
        ),
        check(
            "gateway-api.gateway",
            format!("Gateway {GATEWAY_NAMESPACE}/{GATEWAY} is programmed"),
            cluster(kubectl::get("gateways", GATEWAY, namespace)),
            Expect::Condition("Programmed"),
        ),
        check(
            "gateway-api.node-ports",
            format!("the NodePorts are {} and {}", ports.http_node_port, ports.https_node_port),
            cluster(kubectl::get("services", &ingress::service_name(), namespace)),
            Expect::NodePorts(BTreeMap::from([
                (ports.http, ports.http_node_port),
                (ports.https, ports.https_node_port),
            ])),
        ),
        // From the gateways: a machine's own NodePorts take another path (facts §6).
        check(
            "worker.http",
            format!("Envoy answers every gateway on port {} of every ingress node", ports.http_node_port),
            Probe::GuestEach { commands: from_gateways(lab, |node| worker_http(lab, node)) },
            Expect::Contains(vec!["server: envoy".into()]),
        ),
        check(
            "worker.https",
            format!("every ingress node ends TLS for {host} with the lab's certificate"),
            Probe::GuestEach { commands: from_gateways(lab, |node| worker_https(lab, node)) },
            Expect::Application { host },
        ),
    ]
}

fn end_to_end(lab: &Lab) -> Vec<Check> {
    let host = ingress::application_host(lab);
    let (ports, path) = (&lab.cluster.ports, "/".to_owned());
    let address = |port| SocketAddrV4::new(lab.lan.vip, port);
    let check = |id, title, probe| {
        let expect = Expect::Application { host: host.clone() };
        Check { id, title, hop: Hop::EndToEnd, probe, expect }
    };
    vec![
        check(
            "lan.http",
            format!("http://{host} reaches a pod through {}", address(ports.http)),
            Probe::Http { address: address(ports.http), host: host.clone(), path: path.clone() },
        ),
        check(
            "lan.https",
            format!("https://{host} reaches a pod through {}", address(ports.https)),
            Probe::Https {
                address: address(ports.https),
                host: host.clone(),
                path,
                authority: Authority::Lab,
            },
        ),
    ]
}

fn labelled(from: &str, to: &str, node: &str, command: Command) -> Labelled {
    Labelled { label: format!("{from} -> {to}"), node: node.to_owned(), command }
}

fn cluster_https(lab: &Lab, address: Ipv4Addr, path: &str) -> Probe {
    Probe::Https {
        address: SocketAddrV4::new(address, lab.cluster.ports.api),
        host: address.to_string(),
        path: path.to_owned(),
        authority: Authority::Cluster,
    }
}

/// Returns a member's request to the API through the internal VIP; it must answer before anyone joins.
/// The member has no authority file yet then, so this one asks for reachability alone.
pub fn endpoint(lab: &Lab, node: &Node) -> Labelled {
    let name = lab.control_plane_endpoint();
    let command = curl(lab, &["--insecure", &format!("https://{name}/livez")]);
    labelled(&node.name, &name, &node.name, command)
}

/// A certificate's names are proven by using them, on the first control plane. The LAN VIP is proven
/// from the host: seen from inside it lies beyond Fusion's NAT.
fn certificate_names(lab: &Lab) -> Vec<Labelled> {
    let node = &lab.first_control_plane().name;
    let port = lab.cluster.ports.api;
    let names = kubeadm::certificate_names(lab);
    let lan = lab.lan.vip.to_string();
    let authority = format!("{}/ca.crt", kubeadm::PKI);
    let ask = |name: &String| {
        let url = format!("https://{name}:{port}/livez");
        labelled(node, name, node, curl(lab, &["--cacert", &authority, &url]))
    };
    names.iter().filter(|name| **name != lan).map(ask).collect()
}

fn from_gateways(lab: &Lab, command: impl Fn(&Node) -> Command) -> Vec<Labelled> {
    let pairs = lab.gateways().flat_map(|from| lab.ingress_nodes().map(move |to| (from, to)));
    pairs.map(|(from, to)| labelled(&from.name, &to.name, &from.name, command(to))).collect()
}

fn worker_http(lab: &Lab, node: &Node) -> Command {
    let url = format!("http://{}:{}/", node.address(), lab.cluster.ports.http_node_port);
    curl(lab, &[proxy_protocol(lab), &["-I", &url]].concat())
}

fn worker_https(lab: &Lab, node: &Node) -> Command {
    let (host, port) = (ingress::application_host(lab), lab.cluster.ports.https_node_port);
    let resolve = format!("{host}:{port}:{}", node.address());
    let url = format!("https://{host}:{port}/");
    curl(lab, &[proxy_protocol(lab), &["--resolve", &resolve, "--cacert", gateway::LAB_CA, &url]].concat())
}

/// With the PROXY protocol on, Envoy takes nothing else (facts/kubernetes-cilium.md §4.5).
fn proxy_protocol(lab: &Lab) -> &'static [&'static str] {
    if lab.cluster.proxy_protocol { &["--haproxy-protocol"] } else { &[] }
}

fn curl(lab: &Lab, arguments: &[&str]) -> Command {
    let limit = lab.limits.guest_connect.as_secs().to_string();
    Command::new(["curl", "-sS", "--max-time", &limit].iter().chain(arguments).copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::fixture;

    fn check(id: &str) -> Check {
        all(&fixture::lab()).into_iter().find(|check| check.id == id).unwrap()
    }

    fn lines(id: &str) -> Vec<String> {
        let Probe::GuestEach { commands } = check(id).probe else { panic!("{id} is not for each guest") };
        commands.iter().map(|each| format!("{}: {}", each.node, each.command.shell_line())).collect()
    }

    #[test]
    fn the_checks_follow_the_packets_journey() {
        let checks = all(&fixture::lab());
        assert!(checks.is_sorted_by_key(|check| check.hop));
        assert_eq!(checks.iter().filter(|check| check.id == "api.livez").count(), 3);
        assert_eq!(checks.last().unwrap().id, "lan.https");
    }

    #[test]
    fn each_worker_is_asked_from_each_gateway() {
        let lines = lines("worker.https");
        assert_eq!(lines.len(), 4);
        assert_eq!(
            lines[1],
            "gateway1: curl -sS --max-time 10 --resolve echo.lab.test:30443:10.10.0.142 \
             --cacert /etc/fusionlab/lab-ca.crt https://echo.lab.test:30443/"
        );
    }

    #[test]
    fn every_name_in_the_certificate_is_used() {
        let lab = fixture::lab();
        let lines = lines("api.certificate").join("\n");
        for name in kubeadm::certificate_names(&lab) {
            let proven = lines.contains(&format!("https://{name}:6443/livez")) || name == "192.168.68.200";
            assert!(proven, "{name}");
        }
    }

    #[test]
    fn the_documents_vips_and_ports_are_what_is_proven() {
        let Probe::Https { address, host, .. } = check("lan.https").probe else { panic!("not HTTPS") };
        assert_eq!((address.to_string().as_str(), host.as_str()), ("192.168.68.200:443", "echo.lab.test"));
        let ports = BTreeMap::from([(80, 30080), (443, 30443)]);
        assert_eq!(check("gateway-api.node-ports").expect, Expect::NodePorts(ports));
    }
}
