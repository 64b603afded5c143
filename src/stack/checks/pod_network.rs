//! The pod network: Cilium's datapath on every member, and what pods reach and must not.

use std::collections::BTreeMap;

use crate::formats::command::Command;
use crate::lab::{Lab, Node};
use crate::stack::{cilium, ingress, kubectl};

use super::ask::{cluster, on_each};
use super::pods::{self, PodQuery, PodQuestion};
use super::{Check, Expect, Hint, Hop, Probe};

const HUBBLE_RELAY: &str = "hubble-relay";
const HUBBLE_UI: &str = "hubble-ui";
/// What kube-proxy's chains are called.
const KUBE_PROXY_CHAINS: &str = "KUBE-SVC";

pub fn checks(lab: &Lab) -> Vec<Check> {
    [of_datapath(lab), of_hubble(lab), of_addresses(lab), of_pods(lab)].concat()
}

fn check(id: &'static str, title: impl Into<String>, probe: Probe, expect: Expect, hint: Hint) -> Check {
    Check { id, title: title.into(), hop: Hop::PodNetwork, probe, expect, hint }
}

fn agents(question: PodQuestion) -> Probe {
    Probe::Pods { query: PodQuery::Agents, question }
}

fn of_datapath(lab: &Lab) -> Vec<Check> {
    let saved = Command::new(["iptables-save"]).as_root();
    let routes = Command::new(["ip", "-4", "route"]);
    vec![
        check(
            "cilium.kube-proxy",
            "there is no kube-proxy",
            cluster(lab, |_| kubectl::get("daemonsets", "kube-proxy", Some(cilium::NAMESPACE))),
            Expect::Nothing,
            Hint {
                look: "an upgrade may have brought it back; Cilium serves in its place, so remove it",
                command: "kubectl -n kube-system delete daemonset kube-proxy",
            },
        ),
        check(
            "cilium.iptables",
            "no node has rules of a kube-proxy",
            on_each(lab.members(), "iptables", &saved),
            Expect::Lacks(vec![KUBE_PROXY_CHAINS.into()]),
            Hint {
                look: "on the node, which rules are left; a restart of the machine clears them",
                command: "sudo iptables-save | grep KUBE-SVC",
            },
        ),
        check(
            "cilium.datapath",
            "every agent replaces kube-proxy, routes natively, masquerades in BPF and sees all nodes",
            agents(PodQuestion::Status),
            Expect::ContainsEach(
                lab.members().map(|node| (node.name.clone(), datapath(lab, node))).collect(),
            ),
            Hint {
                look: "what the agents say of themselves, and of one another",
                command: "kubectl -n kube-system exec ds/cilium -c cilium-agent -- cilium-dbg status --verbose",
            },
        ),
        check(
            "cilium.routes",
            format!("every node has a route to each other's part of {}", lab.cluster.pods),
            on_each(lab.members(), "routes", &routes),
            Expect::PodRoutes {
                pods: lab.cluster.pods,
                members: lab.members().map(|node| (node.name.clone(), node.address())).collect(),
            },
            Hint {
                look: "on the node, whether networkd took the routes away: it must not manage foreign ones",
                command: "ip -4 route; grep -r ManageForeignRoutes /etc/systemd/networkd.conf.d",
            },
        ),
    ]
}

/// What a member's agent must say of itself.
fn datapath(lab: &Lab, node: &Node) -> Vec<String> {
    let members = lab.members().count();
    vec![
        "KubeProxyReplacement: True".into(),
        // Between the two may stand the card's other addresses.
        node.address().to_string(),
        "(Direct Routing)".into(),
        "Routing: Network: Native".into(),
        "Host: BPF".into(),
        "Masquerading: BPF".into(),
        lab.cluster.pods.to_string(),
        format!("{members}/{members} reachable"),
    ]
}

fn of_hubble(lab: &Lab) -> Vec<Check> {
    let deployment =
        |name: &'static str| cluster(lab, |_| kubectl::get("deployments", name, Some(cilium::NAMESPACE)));
    let flows: BTreeMap<_, _> =
        lab.members().map(|node| (node.name.clone(), vec!["Hubble: Ok".to_owned()])).collect();
    vec![
        check(
            "cilium.hubble",
            "Hubble's relay is available",
            deployment(HUBBLE_RELAY),
            Expect::Condition("Available"),
            Hint {
                look: "why its pod is not ready",
                command: "kubectl -n kube-system describe pod -l k8s-app=hubble-relay",
            },
        ),
        check(
            "hubble.ui",
            "Hubble's UI is available",
            deployment(HUBBLE_UI),
            Expect::Condition("Available"),
            Hint {
                look: "why its pod is not ready",
                command: "kubectl -n kube-system describe pod -l k8s-app=hubble-ui",
            },
        ),
        check(
            "hubble.flows",
            "every agent records flows for Hubble",
            agents(PodQuestion::Status),
            Expect::ContainsEach(flows),
            Hint {
                look: "what the agent says of Hubble",
                command: "kubectl -n kube-system exec ds/cilium -c cilium-agent -- cilium-dbg status | grep Hubble",
            },
        ),
    ]
}

fn of_addresses(lab: &Lab) -> Vec<Check> {
    let everywhere = |kind: &'static str| {
        cluster(lab, |_| kubectl::kubectl(["get", kind, "--all-namespaces", "-o", "json"]))
    };
    vec![
        check(
            "pods.addresses",
            format!("every pod's address is of {}", lab.cluster.pods),
            everywhere("pods"),
            Expect::PodsWithin(lab.cluster.pods),
            Hint {
                look: "which part of the pod network each node has, and which mode Cilium takes addresses by",
                command: "kubectl get nodes -o custom-columns=NODE:.metadata.name,PODS:.spec.podCIDR",
            },
        ),
        check(
            "services.addresses",
            format!("every Service's address is of {}", lab.cluster.services),
            everywhere("services"),
            Expect::ServicesWithin(lab.cluster.services),
            Hint {
                look: "with which range the API server was started",
                command: "grep service-cluster-ip-range /etc/kubernetes/manifests/kube-apiserver.yaml",
            },
        ),
    ]
}

fn of_pods(lab: &Lab) -> Vec<Check> {
    let ask = |question| Probe::Pods { query: PodQuery::Application, question };
    let drops =
        "kubectl -n kube-system exec ds/cilium -c cilium-agent -- hubble observe --verdict DROPPED --last 20";
    vec![
        check(
            "pods.pod",
            "pods reach pods on other nodes",
            ask(PodQuestion::OtherPods),
            Expect::AnyPod,
            Hint { look: "which packets Cilium drops, and why", command: drops },
        ),
        check(
            "pods.service",
            format!("pods reach the API by its Service at {}", pods::api_service(lab)),
            ask(PodQuestion::ServiceAddress),
            Expect::Text("ok".into()),
            Hint {
                look: "whether the agent on that node knows the Service and its backends",
                command: "kubectl -n kube-system exec ds/cilium -c cilium-agent -- cilium-dbg service list",
            },
        ),
        check(
            "pods.dns",
            format!("pods reach the test application by its name, {}", pods::service_host()),
            ask(PodQuestion::ServiceName),
            Expect::Application { host: pods::service_host() },
            Hint {
                look: "whether CoreDNS runs and what it says",
                command: "kubectl -n kube-system logs -l k8s-app=kube-dns --tail=20",
            },
        ),
        check(
            "pods.internet",
            "pods reach the internet under their node's address",
            ask(PodQuestion::Internet),
            Expect::AnyHttpStatus,
            Hint {
                look: "whether Cilium masquerades, and whether the node itself is online",
                command: "kubectl -n kube-system exec ds/cilium -c cilium-agent -- cilium-dbg bpf nat list",
            },
        ),
        check(
            "policy.blocks",
            format!(
                "a NetworkPolicy lets port {} of the test application through and stops {}",
                ingress::APPLICATION_PORT,
                ingress::CLOSED_PORT
            ),
            ask(PodQuestion::Policy),
            Expect::Reached(vec![true, true, false]),
            Hint {
                look: "whether the policy is there and the agents enforce it",
                command: "kubectl -n lab-gateway get networkpolicies,ciliumendpoints",
            },
        ),
    ]
}
