//! Questions to pods: which pods, and the commands that follow from where they run now.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::Value;

use super::{Labelled, ask};
use crate::formats::command::Command;
use crate::lab::names::GATEWAY_NAMESPACE;
use crate::lab::{Lab, Node};
use crate::stack::facts::{condition, items, name_of};
use crate::stack::kubeadm::CLUSTER_DOMAIN;
use crate::stack::{cilium, ingress, kubectl};

/// Where a container finds the cluster's authority.
const POD_AUTHORITY: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// Which pods are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodQuery {
    /// Cilium's agents: one on each member.
    Agents,
    /// The test application's: one on each ingress node.
    Application,
    /// The cluster's DNS servers: two, wherever the scheduler put them.
    Dns,
}

/// What each of them is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodQuestion {
    /// The agent's own view of its datapath.
    Status,
    /// What stands in the agent's load balancing maps.
    LoadBalancing,
    /// The application's pods on other nodes.
    OtherPods,
    /// The API by its Service's address.
    ServiceAddress,
    /// The application by its Service's name.
    ServiceName,
    /// The internet.
    Internet,
    /// A port that a policy lets through and one that it does not, on another node's pod.
    Policy,
}

/// A pod that runs and is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub name: String,
    pub node: String,
    pub address: Ipv4Addr,
}

impl PodQuery {
    fn namespace(self) -> &'static str {
        match self {
            Self::Agents | Self::Dns => cilium::NAMESPACE,
            Self::Application => GATEWAY_NAMESPACE,
        }
    }

    /// Returns the command that lists the pods, on a control plane.
    pub fn list(self) -> Command {
        let label = match self {
            Self::Agents => "k8s-app=cilium".to_owned(),
            Self::Application => format!("app={}", ingress::APPLICATION),
            Self::Dns => "k8s-app=kube-dns".to_owned(),
        };
        kubectl::kubectl(["get", "pods", "-n", self.namespace(), "-l", &label, "-o", "json"])
    }

    /// Returns what the pods are called together.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agents => "Cilium's agents",
            Self::Application => "the test application",
            Self::Dns => "the cluster's DNS servers",
        }
    }
}

/// Reads the pods that run and are ready off what [`PodQuery::list`] printed.
pub fn parse(text: &str) -> Result<Vec<Pod>, String> {
    let list: Value = serde_json::from_str(text).map_err(|bad| format!("not a list of pods: {bad}"))?;
    let pod = |pod: &Value| {
        let ready = condition(pod, "Ready") && pod["metadata"]["deletionTimestamp"].is_null();
        let address = pod["status"]["podIP"].as_str()?.parse().ok()?;
        let node = pod["spec"]["nodeName"].as_str()?.to_owned();
        ready.then(|| Pod { name: name_of(pod).to_owned(), node, address })
    };
    Ok(items(&list).filter_map(pod).collect())
}

/// Returns the commands that ask these pods, shared out among the control planes that can ask.
///
/// # Errors
/// If the pods that run cannot answer the question: a lower-case fragment.
pub fn commands(
    lab: &Lab,
    (query, question): (PodQuery, PodQuestion),
    pods: &[Pod],
    askers: &[&Node],
) -> Result<Vec<Labelled>, String> {
    if pods.is_empty() {
        return Err(format!("no pod of {} is ready", query.name()));
    }
    let nodes: BTreeSet<&str> = pods.iter().map(|pod| pod.node.as_str()).collect();
    if query == PodQuery::Application && nodes.len() < lab.ingress_nodes().count() {
        let standing = nodes.into_iter().collect::<Vec<_>>().join(", ");
        return Err(format!("pods of {} are ready on {standing} only", query.name()));
    }
    let mut askers = askers.iter().cycle();
    let mut all = Vec::new();
    for pod in pods {
        let asker = askers.next().ok_or("no control plane can ask")?;
        let (to, command) = command(lab, question, pod, pods);
        let container = if query == PodQuery::Agents { &["-c", "cilium-agent"][..] } else { &[] };
        let exec = ["-n", query.namespace(), "exec", &pod.name];
        let words = exec.iter().chain(container).chain(&["--"]).copied();
        all.push(Labelled {
            label: format!("{} on {}{to}", pod.name, pod.node),
            node: asker.name.clone(),
            about: pod.node.clone(),
            command: kubectl::kubectl(words.chain(command.argv.iter().map(String::as_str))),
        });
    }
    Ok(all)
}

/// Returns a pod's question: to whom, and the command in its container.
fn command(lab: &Lab, question: PodQuestion, pod: &Pod, pods: &[Pod]) -> (String, Command) {
    let other = other(pod, pods);
    match question {
        PodQuestion::Status => (String::new(), Command::new(["cilium-dbg", "status"])),
        PodQuestion::LoadBalancing => (String::new(), Command::new(["cilium-dbg", "bpf", "lb", "list"])),
        PodQuestion::OtherPods => {
            let url = format!("http://{}:{}/", other.address, ingress::APPLICATION_PORT);
            (format!(" -> {}", other.name), ask::curl(lab, &[&url]))
        }
        PodQuestion::ServiceAddress => {
            let url = format!("https://{}/livez", api_service(lab));
            (format!(" -> {}", api_service(lab)), ask::curl(lab, &["--cacert", POD_AUTHORITY, &url]))
        }
        PodQuestion::ServiceName => {
            let name = service_host();
            (format!(" -> {name}"), ask::curl(lab, &[&format!("http://{name}/")]))
        }
        PodQuestion::Internet => (format!(" -> {}", ask::INTERNET), ask::internet(lab)),
        PodQuestion::Policy => {
            let (open, closed) = (ingress::APPLICATION_PORT, ingress::CLOSED_PORT);
            let urls = [
                format!("http://127.0.0.1:{closed}/"),
                format!("http://{}:{open}/", other.address),
                format!("http://{}:{closed}/", other.address),
            ];
            let patience = lab.limits.verify_refusal.as_secs().to_string();
            let command = ask::curl_each(lab, &["--connect-timeout", &patience], &urls);
            (format!(" -> {}", other.name), command)
        }
    }
}

/// Returns a pod on another node, or in the smallest lab another one on the same.
fn other<'a>(pod: &'a Pod, pods: &'a [Pod]) -> &'a Pod {
    let elsewhere = pods.iter().find(|other| other.node != pod.node);
    elsewhere.or_else(|| pods.iter().find(|other| other.name != pod.name)).unwrap_or(pod)
}

/// Returns the Service address of the API: always the range's first.
pub fn api_service(lab: &Lab) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(lab.cluster.services.network()) + 1)
}

/// Returns the test application's Service by its full name.
pub fn service_host() -> String {
    format!("{}.{GATEWAY_NAMESPACE}.svc.{CLUSTER_DOMAIN}", ingress::APPLICATION)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::stack::fixture;

    fn pod(name: &str, node: &str, last: u8) -> Pod {
        Pod { name: name.into(), node: node.into(), address: Ipv4Addr::new(10, 244, last, 5) }
    }

    #[test]
    fn only_pods_that_are_ready_and_stay_are_asked() {
        let object = |name: &str, ready: &str, leaving: bool| {
            let mut pod = json!({
                "metadata": { "name": name }, "spec": { "nodeName": "w1" },
                "status": { "podIP": "10.244.1.5", "conditions": [{ "type": "Ready", "status": ready }] },
            });
            if leaving {
                pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            }
            pod
        };
        let list = json!({ "items": [object("a", "True", false), object("b", "False", false), object("c", "True", true)] });
        let names: Vec<_> = parse(&list.to_string()).unwrap().into_iter().map(|pod| pod.name).collect();
        assert_eq!(names, ["a"]);
        assert!(parse("Error").unwrap_err().contains("not a list"));
    }

    #[test]
    fn each_pod_asks_one_on_another_node_through_a_control_plane_of_its_own() {
        let lab = fixture::lab();
        let askers: Vec<_> = lab.control_planes().collect();
        let pods = [pod("echo-a", "k8s-worker1", 4), pod("echo-b", "k8s-worker2", 5)];
        let ask = |question| commands(&lab, (PodQuery::Application, question), &pods, &askers).unwrap();
        let all = ask(PodQuestion::OtherPods);
        let lines: Vec<_> = all.iter().map(|one| (one.node.as_str(), one.command.shell_line())).collect();
        assert_eq!(lines[0].0, "k8s-master1");
        assert_eq!(lines[1].0, "k8s-master2");
        assert!(
            lines[0].1.ends_with("exec echo-a -- curl -sS --max-time 10 http://10.244.5.5:80/"),
            "{lines:?}"
        );
        assert_eq!(all[1].label, "echo-b on k8s-worker2 -> echo-a");
    }

    #[test]
    fn pods_on_one_node_alone_prove_nothing_of_the_other() {
        let lab = fixture::lab();
        let askers: Vec<_> = lab.control_planes().collect();
        let pods = [pod("echo-a", "k8s-worker1", 4), pod("echo-b", "k8s-worker1", 4)];
        let why = commands(&lab, (PodQuery::Application, PodQuestion::Internet), &pods, &askers).unwrap_err();
        assert_eq!(why, "pods of the test application are ready on k8s-worker1 only");
        let none = commands(&lab, (PodQuery::Agents, PodQuestion::Status), &[], &askers).unwrap_err();
        assert_eq!(none, "no pod of Cilium's agents is ready");
    }
}
