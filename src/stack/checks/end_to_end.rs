//! End to end: what a user on the LAN reaches through the VIP, and what stays hidden from there.

use std::collections::BTreeSet;

use crate::lab::{Lab, Node};
use crate::stack::{gateway, ingress};

use super::ask::{application, curl, curl_each, labelled};
use super::cluster_entry::ENOUGH_REQUESTS;
use super::control_plane::KUBELET;
use super::{Check, Expect, Hint, Hop, Probe, Request};

/// A host name of the domain that no application has.
const NOBODY: &str = "nobody";

pub fn checks(lab: &Lab) -> Vec<Check> {
    [of_users(lab), of_the_lan(lab)].concat()
}

fn check(id: &'static str, title: impl Into<String>, probe: Probe, expect: Expect, hint: Hint) -> Check {
    Check { id, title: title.into(), hop: Hop::EndToEnd, probe, expect, hint }
}

fn of_users(lab: &Lab) -> Vec<Check> {
    let host = ingress::application_host(lab);
    let (http, https) = (application(lab, lab.lan.vip, false), application(lab, lab.lan.vip, true));
    let nobody = Request { host: format!("{NOBODY}.{}", lab.cluster.domain), ..http.clone() };
    let nodes: BTreeSet<String> = lab.ingress_nodes().map(|node| node.name.clone()).collect();
    let way = Hint {
        look: "the first hop that fails above is where the packet stops",
        command: "fusionlab verify",
    };
    let gateways = lab.gateways().map(Node::address);
    vec![
        check(
            "lan.dns",
            format!("{host} is {} to whoever asks a gateway or a VIP", lab.lan.vip),
            Probe::Name {
                name: host.clone(),
                servers: [lab.lan.vip, lab.internal.vip].into_iter().chain(gateways).collect(),
            },
            Expect::Text(lab.lan.vip.to_string()),
            Hint {
                look: "on the gateway, what its name server says",
                command: "journalctl -u fusionlab-dns",
            },
        ),
        check(
            "lan.http",
            format!("http://{host} reaches a pod through {}", http.address),
            Probe::Host { requests: vec![http] },
            Expect::Application { host: host.clone() },
            way,
        ),
        check(
            "lan.https",
            format!("https://{host} reaches a pod through {}", https.address),
            Probe::Host { requests: vec![https.clone()] },
            Expect::Application { host: host.clone() },
            way,
        ),
        check(
            "lan.spread",
            "requests are spread over the pods of all ingress nodes",
            Probe::Host { requests: vec![https; ENOUGH_REQUESTS] },
            Expect::Spread { host, nodes },
            Hint {
                look: "where the pods stand and which of them are ready",
                command: "kubectl -n lab-gateway get pods -o wide",
            },
        ),
        check(
            "lan.routing",
            format!("a host without a route, {}, is turned away by Envoy", nobody.host),
            Probe::Host { requests: vec![nobody] },
            Expect::NoRoute,
            Hint { look: "which route takes every host", command: "kubectl get httproutes --all-namespaces" },
        ),
    ]
}

fn of_the_lan(lab: &Lab) -> Vec<Check> {
    let neighbour = |node: &Node| {
        let (host, port) = (ingress::application_host(lab), lab.cluster.ports.https);
        let resolve = format!("{host}:{port}:{}", lab.lan.vip);
        let url = format!("https://{host}:{port}/");
        let command = curl(lab, &["--resolve", &resolve, "--cacert", gateway::LAB_CA, &url]);
        labelled(&node.name, &lab.lan.vip.to_string(), &node.name, command)
    };
    vec![
        check(
            "lan.neighbour",
            format!("others in the home network reach {}", lab.lan.vip),
            Probe::GuestEach { commands: lab.gateways().map(neighbour).collect() },
            Expect::Application { host: ingress::application_host(lab) },
            Hint { look: "on the other gateway, which MAC it has for the VIP", command: "ip neighbour" },
        ),
        check(
            "lan.isolation",
            "from the home network no node's API, etcd, kubelet or NodePort is reached",
            Probe::GuestEach { commands: lab.gateways().filter_map(|node| knock(lab, node)).collect() },
            Expect::NoneReached,
            Hint {
                look: "who leads the home network into the lab's network: a route of the router's, a forward of NAT's",
                command: "fusionlab network show",
            },
        ),
    ]
}

/// Knocks at doors that must stay shut, out of a gateway's card on the LAN, at all of them at once.
fn knock(lab: &Lab, node: &Node) -> Option<super::Labelled> {
    let card = node.lan()?.guest_name();
    let ports = &lab.cluster.ports;
    let door = |scheme: &str, node: &Node, port: u16| format!("{scheme}://{}:{port}/", node.address());
    let mut urls = Vec::new();
    for member in lab.members() {
        urls.push(door("https", member, KUBELET));
        urls.push(door("http", member, ports.http_node_port));
        urls.push(door("https", member, ports.https_node_port));
    }
    for control_plane in lab.control_planes() {
        urls.push(door("https", control_plane, ports.api));
        urls.push(door("https", control_plane, super::control_plane::ETCD_CLIENT));
    }
    let patience = lab.limits.verify_refusal.as_secs().to_string();
    let options = ["--insecure", "--parallel", "--interface", &card, "--connect-timeout", &patience];
    Some(labelled(
        &node.name,
        "nodes, from the home network",
        &node.name,
        curl_each(lab, &options, &urls).as_root(),
    ))
}
