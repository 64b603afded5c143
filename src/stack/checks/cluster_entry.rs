//! The cluster's entry: the Gateway API's objects, what Cilium made of them, and each worker's NodePorts.

use std::collections::{BTreeMap, BTreeSet};

use crate::formats::command::Command;
use crate::lab::Lab;
use crate::lab::names::{GATEWAY, GATEWAY_CLASS, GATEWAY_NAMESPACE};
use crate::stack::{cilium, ingress, kubectl};

use super::ask::{cluster, from_gateways, worker_http, worker_https};
use super::pods::{PodQuery, PodQuestion};
use super::{Check, Expect, Hint, Hop, Probe};

/// The check of what Cilium's agents say of Envoy.
pub const AGENT_LOG: &str = "cilium.agent-log";
/// What an agent's log says of a configuration that Envoy refused (facts/kubernetes-cilium.md §4).
pub const REFUSALS: [&str; 2] = ["NACK", "Skipping CiliumEnvoyConfig"];

/// Requests in which both of two pods answer all but surely: Envoy takes them in turn.
pub const ENOUGH_REQUESTS: usize = 8;
/// Lines of a log that are looked through: what is older has been put right since.
const LOG_LINES: &str = "--tail=2000";

pub fn checks(lab: &Lab) -> Vec<Check> {
    [of_objects(lab), of_envoy(lab), of_node_ports(lab)].concat()
}

fn check(id: &'static str, title: impl Into<String>, probe: Probe, expect: Expect, hint: Hint) -> Check {
    Check { id, title: title.into(), hop: Hop::ClusterEntry, probe, expect, hint }
}

fn of_objects(lab: &Lab) -> Vec<Check> {
    let namespace = Some(GATEWAY_NAMESPACE);
    let ports = &lab.cluster.ports;
    let get = |command: Command| cluster(lab, move |_| command.clone());
    vec![
        check(
            "gateway-api.class",
            format!("GatewayClass {GATEWAY_CLASS} is accepted"),
            get(kubectl::get("gatewayclasses", GATEWAY_CLASS, None)),
            Expect::Condition("Accepted"),
            Hint {
                look: "whether Cilium's operator found the Gateway API's definitions when it started",
                command: "kubectl -n kube-system logs deployment/cilium-operator --tail=50",
            },
        ),
        check(
            "gateway-api.gateway",
            format!("Gateway {GATEWAY_NAMESPACE}/{GATEWAY} is programmed"),
            get(kubectl::get("gateways", GATEWAY, namespace)),
            Expect::Condition("Programmed"),
            Hint {
                look: "the Gateway's conditions and those of its listeners",
                command: "kubectl -n lab-gateway describe gateway lab",
            },
        ),
        check(
            "gateway-api.routes",
            "every HTTPRoute is accepted and finds its backends",
            get(kubectl::list("httproutes", namespace)),
            Expect::Routes(ingress::routes().into_iter().collect()),
            Hint {
                look: "the routes' conditions; none at all means that no controller looked",
                command: "kubectl -n lab-gateway describe httproutes",
            },
        ),
        check(
            "gateway-api.node-ports",
            format!("the NodePorts are {} and {}", ports.http_node_port, ports.https_node_port),
            get(kubectl::get("services", &ingress::service_name(), namespace)),
            Expect::NodePorts(BTreeMap::from([
                (ports.http, ports.http_node_port),
                (ports.https, ports.https_node_port),
            ])),
            Hint {
                look: "the Service was made anew with ports of Cilium's choice; up pins them again",
                command: "fusionlab up",
            },
        ),
    ]
}

fn of_envoy(lab: &Lab) -> Vec<Check> {
    let ports = &lab.cluster.ports;
    let entry = |port: u16| format!(":{port}");
    let entries = vec![
        entry(ports.http_node_port),
        entry(ports.https_node_port),
        "NodePort".into(),
        "L7LB Proxy Port".into(),
    ];
    let config = kubectl::get("ciliumenvoyconfigs", &ingress::service_name(), Some(GATEWAY_NAMESPACE));
    let logs = |label: &'static str, container: &'static str| {
        let select =
            ["-n", cilium::NAMESPACE, "logs", "-l", label, "-c", container, LOG_LINES, "--ignore-errors"];
        cluster(lab, move |_| kubectl::kubectl(select))
    };
    vec![
        check(
            "cilium.envoy-config",
            "Cilium's operator made the Gateway into a configuration for Envoy",
            cluster(lab, move |_| config.clone()),
            Expect::Object(ingress::service_name()),
            Hint {
                look: "why the operator made none",
                command: "kubectl -n kube-system logs deployment/cilium-operator --tail=50",
            },
        ),
        check(
            "cilium.operator-log",
            "the operator found the Gateway API's definitions",
            logs("name=cilium-operator", "cilium-operator"),
            Expect::Lacks(vec!["Required GatewayAPI resources".into()]),
            Hint {
                look: "it looks once, at its start, so let it start again",
                command: "kubectl -n kube-system rollout restart deployment/cilium-operator",
            },
        ),
        check(
            AGENT_LOG,
            "no agent's configuration was refused by Envoy",
            logs("k8s-app=cilium", "cilium-agent"),
            Expect::Lacks(REFUSALS.map(str::to_owned).into()),
            Hint {
                look: "what Envoy refused; when that is put right, let the agents start again",
                command: "kubectl -n kube-system logs ds/cilium -c cilium-agent | grep -E 'NACK|Skipping'",
            },
        ),
        check(
            "cilium.bpf",
            "every ingress node's NodePorts lead to Envoy in BPF",
            Probe::Pods { query: PodQuery::Agents, question: PodQuestion::LoadBalancing },
            Expect::ContainsEach(
                lab.ingress_nodes().map(|node| (node.name.clone(), entries.clone())).collect(),
            ),
            Hint {
                look: "what the agent knows of the Gateway's Service",
                command: "kubectl -n kube-system exec ds/cilium -c cilium-agent -- cilium-dbg service list",
            },
        ),
    ]
}

fn of_node_ports(lab: &Lab) -> Vec<Check> {
    let host = ingress::application_host(lab);
    let ports = &lab.cluster.ports;
    let nodes: BTreeSet<String> = lab.ingress_nodes().map(|node| node.name.clone()).collect();
    vec![
        check(
            "worker.http",
            format!("Envoy answers every gateway on port {} of every ingress node", ports.http_node_port),
            from_gateways(lab, |node| worker_http(lab, node)),
            Expect::Contains(vec!["server: envoy".into()]),
            Hint {
                look: "refused means that the agent has not programmed the port, a time-out the way there",
                command: "kubectl -n kube-system get pods -l k8s-app=cilium-envoy -o wide",
            },
        ),
        check(
            "worker.https",
            format!("every ingress node ends TLS for {host} with the lab's certificate"),
            from_gateways(lab, |node| worker_https(lab, node, 1)),
            Expect::Application { host: host.clone() },
            Hint {
                look: "the listener's certificate and its conditions",
                command: "kubectl -n lab-gateway describe gateway lab; kubectl -n lab-gateway get secret lab-tls",
            },
        ),
        check(
            "worker.cross-node",
            "every ingress node's port leads to pods here and on the other nodes",
            from_gateways(lab, |node| worker_https(lab, node, ENOUGH_REQUESTS)),
            Expect::Spread { host, nodes },
            Hint {
                look: "where the pods stand: one belongs on each ingress node",
                command: "kubectl -n lab-gateway get pods -o wide",
            },
        ),
    ]
}
