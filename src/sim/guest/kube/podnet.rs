//! The pod network as packets see it: routes between nodes, policies, Services, names, and what a pod answers.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::controllers;
use super::data::{Data, condition};
use super::gateway::node_address;
use super::pods::setting;
use crate::sim::guest::http::{Request, Response};

/// The port of a web server that was told of none.
const HTTP: u16 = 80;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Says whether an agent of Cilium's runs on a node.
pub fn has_agent(data: &Data, node: &str) -> bool {
    data.list("pods", Some("kube-system")).into_iter().any(|pod| {
        pod["metadata"]["labels"]["k8s-app"] == "cilium"
            && pod["spec"]["nodeName"] == node
            && condition(pod, "Ready")
    })
}

/// Says whether a node's packets get to a pod, and the pod's back: over routes of both nodes if it is on another.
pub fn leads(cluster: &Cluster, data: &Data, node: &str, pod: &Value) -> bool {
    let there = text(&pod["spec"]["nodeName"]);
    if !has_agent(data, node) || !has_agent(data, there) {
        return false;
    }
    there == node || (routed(cluster, data, node, there) && routed(cluster, data, there, node))
}

/// Says whether a node that runs has its route to another's pods.
fn routed(cluster: &Cluster, data: &Data, from: &str, to: &str) -> bool {
    let (Some(machine), Some(via)) = (cluster.machine(from), node_address(data, to)) else { return false };
    if pod_part(data, to).is_none() || cluster.machine(to).is_none() {
        return false;
    }
    machine.live(|live| pod_part(data, to).is_some_and(|part| live.pod_routes.get(&part) == Some(&via)))
}

/// Returns a node's part of the pod network.
pub fn pod_part(data: &Data, node: &str) -> Option<ipnet::Ipv4Net> {
    data.get("nodes", "", node)?["spec"]["podCIDR"].as_str()?.parse().ok()
}

/// Says whether the policies of a pod let a connection to its port through; from none stands for Envoy, or a stranger.
pub fn allows(data: &Data, from: Option<&Value>, to: &Value, port: u16) -> bool {
    let namespace = text(&to["metadata"]["namespace"]);
    let policies = data.list("networkpolicies.networking.k8s.io", Some(namespace));
    let concerned: Vec<&Value> = policies
        .into_iter()
        .filter(|policy| selects(&policy["spec"]["podSelector"], to) && of_ingress(policy))
        .collect();
    let rules =
        concerned.iter().flat_map(|policy| policy["spec"]["ingress"].as_array().into_iter().flatten());
    concerned.is_empty() || rules.into_iter().any(|rule| takes(rule, from, namespace, port))
}

fn of_ingress(policy: &Value) -> bool {
    let kinds = policy["spec"]["policyTypes"].as_array();
    kinds.is_none_or(|kinds| kinds.iter().any(|kind| kind == "Ingress"))
}

/// Says whether one rule lets a connection in: by its port, and by who it comes from.
fn takes(rule: &Value, from: Option<&Value>, namespace: &str, port: u16) -> bool {
    let list = |key: &str| rule[key].as_array().filter(|list| !list.is_empty());
    let ports = list("ports").is_none_or(|ports| ports.iter().any(|one| one["port"] == port));
    let peers = list("from").is_none_or(|peers| {
        let same = from.filter(|pod| pod["metadata"]["namespace"] == namespace);
        // The model knows pods of the same namespace as peers, and no others.
        same.is_some_and(|pod| peers.iter().any(|peer| selects(&peer["podSelector"], pod)))
    });
    ports && peers
}

fn selects(selector: &Value, pod: &Value) -> bool {
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    selector.is_object() && labels.into_iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value)
}

/// Returns the pods' port behind a Service's.
pub fn target(service: &Value, port: &Value) -> u16 {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let found = ports.into_iter().find(|one| one["port"] == *port);
    let target = found.and_then(|one| one["targetPort"].as_u64().or_else(|| one["port"].as_u64()));
    target.and_then(|port| u16::try_from(port).ok()).unwrap_or(HTTP)
}

/// Finds the Service of an address.
pub fn service_at(data: &Data, address: Ipv4Addr) -> Option<&Value> {
    let own = address.to_string();
    data.list("services", None).into_iter().find(|service| service["spec"]["clusterIP"] == own.as_str())
}

/// Finds the pod of an address.
pub fn pod_at(data: &Data, address: Ipv4Addr) -> Option<&Value> {
    let own = address.to_string();
    data.list("pods", None)
        .into_iter()
        .find(|pod| pod["status"]["podIP"] == own.as_str() && pod["spec"]["hostNetwork"] != true)
}

/// Resolves a Service's full name, as CoreDNS does for a pod whose packets get there.
pub fn resolve(cluster: &Cluster, data: &Data, node: &str, name: &str) -> Option<Ipv4Addr> {
    let rest = name.strip_suffix(".svc.cluster.local")?;
    let (service, namespace) = rest.split_once('.')?;
    if !dns_answers(cluster, data, node) {
        return None;
    }
    data.get("services", namespace, service)?["spec"]["clusterIP"].as_str()?.parse().ok()
}

/// Says whether CoreDNS answers a node's pods.
pub fn dns_answers(cluster: &Cluster, data: &Data, node: &str) -> bool {
    let dns = data.get("services", "kube-system", "kube-dns");
    let pods = dns.map(|service| controllers::selected(data, service)).unwrap_or_default();
    pods.into_iter().any(|pod| leads(cluster, data, node, pod))
}

/// Says whether pods leave the cluster under their node's address.
pub fn masquerades(data: &Data) -> bool {
    setting(data, "enable-ipv4-masquerade") == "true"
}

/// Lets a pod's web server answer: as the configuration that it mounts says, or the model's own way without one.
/// None if nothing listens on the port.
pub fn answer(data: &Data, pod: &Value, port: u16, request: &Request) -> Option<Response> {
    let (name, node) = (&pod["metadata"]["name"], &pod["spec"]["nodeName"]);
    let Some(config) = mounted(data, pod) else {
        let body = json!({ "pod": name, "node": node, "host": request.host(), "path": request.path });
        return (port == HTTP).then(|| Response::json(200, &body));
    };
    let block = config.split("server {").find(|block| block.contains(&format!("listen {port};")))?;
    let body = block.split_once("return 200 '")?.1.split_once("';")?.0;
    let body = body
        .replace("${POD_NAME}", text(name))
        .replace("${NODE_NAME}", text(node))
        .replace("$host", request.host())
        .replace("$uri", &request.path);
    let kind = block.split_once("default_type ").and_then(|(_, rest)| rest.split_once(';'));
    Some(Response::new(200, kind.map_or("text/plain", |(kind, _)| kind), body))
}

/// Returns nginx's templates that a pod mounts, if any.
fn mounted(data: &Data, pod: &Value) -> Option<String> {
    let namespace = text(&pod["metadata"]["namespace"]);
    let volumes = pod["spec"]["volumes"].as_array()?.iter();
    let maps =
        volumes.filter_map(|volume| data.get("configmaps", namespace, volume["configMap"]["name"].as_str()?));
    maps.filter_map(|map| map["data"]["default.conf.template"].as_str()).map(str::to_owned).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> Value {
        json!({
            "metadata": { "name": name, "namespace": "n", "labels": { "app": "echo", "name": name } },
            "spec": { "nodeName": "w1", "volumes": [{ "configMap": { "name": "echo" } }] },
        })
    }

    fn data(ingress: Value) -> Data {
        let mut data = Data::default();
        data.store("configmaps", json!({ "metadata": { "name": "echo", "namespace": "n" }, "data": {
            "default.conf.template": "server {\n listen 80;\n default_type a/b;\n location / { return 200 '${POD_NAME} $host$uri'; }\n}\nserver {\n listen 8081;\n location / { return 200 'closed'; }\n}\n",
        }}));
        data.store("networkpolicies.networking.k8s.io", json!({
            "metadata": { "name": "echo", "namespace": "n" },
            "spec": { "podSelector": { "matchLabels": { "app": "echo" } }, "policyTypes": ["Ingress"], "ingress": ingress },
        }));
        data
    }

    #[test]
    fn a_policy_lets_through_what_its_rules_name_and_nothing_else() {
        let (one, other) = (pod("a"), pod("b"));
        let by_port = data(json!([{ "ports": [{ "protocol": "TCP", "port": 80 }] }]));
        assert!(allows(&by_port, Some(&one), &other, 80) && allows(&by_port, None, &other, 80));
        assert!(!allows(&by_port, Some(&one), &other, 8081));
        let by_peer = data(json!([{ "from": [{ "podSelector": { "matchLabels": { "name": "a" } } }] }]));
        assert!(allows(&by_peer, Some(&one), &other, 8081) && !allows(&by_peer, Some(&other), &one, 80));
        assert!(!allows(&by_peer, None, &one, 80));
        assert!(allows(&Data::default(), None, &one, 8081), "without a policy everything passes");
    }

    #[test]
    fn a_pod_answers_as_its_configuration_says() {
        let data = data(json!([]));
        let ask = |port| answer(&data, &pod("a"), port, &Request::new("GET", "h.test", "/x"));
        assert_eq!(ask(80).unwrap().body, b"a h.test/x");
        assert_eq!(ask(8081).unwrap().body, b"closed");
        assert!(ask(81).is_none());
    }
}
