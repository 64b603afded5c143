//! The commands and requests that checks of several hops use.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{Authority, Labelled, Probe, Request};
use crate::formats::command::Command;
use crate::lab::{Lab, Node};
use crate::stack::{gateway, ingress};

/// What curl writes for each URL: how it ended, the HTTP status, the URL.
const EACH_URL: &str = "%{exitcode} %{http_code} %{url_effective}\\n";
/// Where the document looks for the internet.
pub const INTERNET: &str = "https://google.com";

pub fn labelled(from: &str, to: &str, node: &str, command: Command) -> Labelled {
    let (label, node) = (format!("{from} -> {to}"), node.to_owned());
    Labelled { label, about: node.clone(), node, command }
}

/// A command of each control plane, of which the first that can answers for the cluster.
pub fn cluster(lab: &Lab, command: impl Fn(&Node) -> Command) -> Probe {
    let own = |node: &Node| Labelled {
        label: node.name.clone(),
        node: node.name.clone(),
        about: node.name.clone(),
        command: command(node),
    };
    Probe::ControlPlane { commands: lab.control_planes().map(own).collect() }
}

/// Runs the same command on each of these.
pub fn on_each<'a>(nodes: impl Iterator<Item = &'a Node>, to: &str, command: &Command) -> Probe {
    let commands = nodes.map(|node| labelled(&node.name, to, &node.name, command.clone())).collect();
    Probe::GuestEach { commands }
}

pub fn curl(lab: &Lab, arguments: &[&str]) -> Command {
    let limit = lab.limits.guest_connect.as_secs().to_string();
    Command::new(["curl", "-sS", "--max-time", &limit].iter().chain(arguments).copied())
}

/// Asks for several URLs in one go, and prints how each ended instead of what it answered.
pub fn curl_each(lab: &Lab, options: &[&str], urls: &[String]) -> Command {
    let mut arguments = [options, &["-w", EACH_URL]].concat();
    for url in urls {
        arguments.extend(["-o", "/dev/null", url]);
    }
    curl(lab, &arguments)
}

/// Returns a request for an internet page's head.
pub fn internet(lab: &Lab) -> Command {
    curl(lab, &["-o", "/dev/null", "-w", "%{http_code}", "-I", INTERNET])
}

pub fn ping(address: Ipv4Addr) -> Command {
    Command::new(["ping", "-n", "-q", "-c", "1", "-W", "1", &address.to_string()])
}

/// A request over TLS to a place that the cluster's authority vouches for.
pub fn cluster_https(lab: &Lab, address: Ipv4Addr, path: &str) -> Request {
    Request {
        address: SocketAddrV4::new(address, lab.cluster.ports.api),
        host: address.to_string(),
        path: path.to_owned(),
        authority: Some(Authority::Cluster),
    }
}

/// A request for the test application at one of an address's ports.
pub fn application(lab: &Lab, address: Ipv4Addr, tls: bool) -> Request {
    let port = if tls { lab.cluster.ports.https } else { lab.cluster.ports.http };
    Request {
        address: SocketAddrV4::new(address, port),
        host: ingress::application_host(lab),
        path: "/".to_owned(),
        authority: tls.then_some(Authority::Lab),
    }
}

/// Returns a member's request to the API through the internal VIP; it must answer before anyone joins.
/// The member has no authority file yet then, so this one asks for reachability alone.
pub fn endpoint(lab: &Lab, node: &Node) -> Labelled {
    let name = lab.control_plane_endpoint();
    let command = curl(lab, &["--insecure", &format!("https://{name}/livez")]);
    labelled(&node.name, &name, &node.name, command)
}

/// A command of each gateway about each ingress node. From the gateways: a machine's own NodePorts take another path
/// (facts/kubernetes-cilium.md §6).
pub fn from_gateways(lab: &Lab, command: impl Fn(&Node) -> Command) -> Probe {
    let pairs = lab.gateways().flat_map(|from| lab.ingress_nodes().map(move |to| (from, to)));
    let about = |(from, to): (&Node, &Node)| Labelled {
        about: to.name.clone(),
        ..labelled(&from.name, &to.name, &from.name, command(to))
    };
    Probe::GuestEach { commands: pairs.map(about).collect() }
}

/// With the PROXY protocol on, Envoy takes nothing else (facts/kubernetes-cilium.md §4.5).
fn proxy_protocol(lab: &Lab) -> &'static [&'static str] {
    if lab.cluster.proxy_protocol { &["--haproxy-protocol"] } else { &[] }
}

pub fn worker_http(lab: &Lab, node: &Node) -> Command {
    let url = format!("http://{}:{}/", node.address(), lab.cluster.ports.http_node_port);
    curl(lab, &[proxy_protocol(lab), &["-I", &url]].concat())
}

/// Asks a node's NodePort for the test application over TLS, so many times; one answer a line.
pub fn worker_https(lab: &Lab, node: &Node, times: usize) -> Command {
    let (host, port) = (ingress::application_host(lab), lab.cluster.ports.https_node_port);
    let resolve = format!("{host}:{port}:{}", node.address());
    let url = format!("https://{host}:{port}/");
    let mut arguments = [proxy_protocol(lab), &["--resolve", &resolve, "--cacert", gateway::LAB_CA]].concat();
    if times > 1 {
        arguments.extend(["-w", "\\n"]);
    }
    arguments.extend(std::iter::repeat_n(url.as_str(), times));
    curl(lab, &arguments)
}
