//! What guests and the cluster say of themselves: the commands that ask, and the answers as types.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Serialize;
use serde_json::Value;

use crate::formats::command::Command;
use crate::lab::names::{GATEWAY, GATEWAY_NAMESPACE, GUEST_FACTS};
use crate::stack::validity::Validity;
use crate::stack::{cilium, gateway_api, ingress, kubectl};

/// What `fusionlab-facts` printed in one guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GuestFacts {
    pub hostname: String,
    pub boot_id: String,
    pub machine_id: String,
    pub product_uuid: String,
    /// `done`, `running`, `error`, `disabled`, `not run`.
    pub cloud_init: String,
    /// Milliseconds since 1970 by the guest's clock.
    pub clock_ms: u64,
    /// Interface name, address.
    pub addresses: Vec<(String, Ipv4Addr)>,
    /// systemd unit → `active`, `inactive`, `failed`, …
    pub units: BTreeMap<String, String>,
    /// Path → SHA-256 (hex) of the managed files that exist.
    pub files: BTreeMap<String, String>,
    /// Program → version, such as `kubeadm` → `v1.36.4`.
    pub versions: BTreeMap<String, String>,
    /// Which of kubeadm's files exist: `kubelet.conf`, `bootstrap-kubelet.conf`, `admin.conf`,
    /// `etcd-member`, `manifest-kube-apiserver`, …
    pub kubernetes: Vec<String>,
    /// systemd unit → `enabled`, `disabled`, `masked`, …: whether the next boot starts it.
    pub enabled: BTreeMap<String, String>,
    /// Path of each certificate, or of the kubeconfig that holds one → how long it is valid.
    pub certificates: BTreeMap<String, Validity>,
    /// The names and addresses in the API server's certificate; empty if there is none, or it cannot be read.
    pub api_names: Vec<String>,
    /// How far the guest's clock was from this machine's when it was asked, in milliseconds; negative if it is behind. What
    /// the way there and back may explain counts as nothing.
    pub clock_off_ms: i64,
}

impl GuestFacts {
    pub fn unit_active(&self, unit: &str) -> bool {
        self.units.get(unit).is_some_and(|state| state == "active")
    }

    /// Says whether the next boot leaves a unit out. One whose state is not known counts as started.
    pub fn unit_off_at_boot(&self, unit: &str) -> bool {
        self.enabled.get(unit).is_some_and(|state| matches!(state.as_str(), "disabled" | "masked"))
    }

    /// Says whether kubeadm's or our own file of this name is there: see [`Self::kubernetes`].
    pub fn has(&self, name: &str) -> bool {
        self.kubernetes.iter().any(|found| found == name)
    }

    /// Compares the clock with this machine's, which showed these milliseconds when the question left and when the answer
    /// was here.
    pub fn compare_clock(&mut self, sent_ms: u64, received_ms: u64) {
        let nearest = self.clock_ms.clamp(sent_ms, received_ms.max(sent_ms));
        self.clock_off_ms = self.clock_ms.cast_signed() - nearest.cast_signed();
    }

    pub fn holds(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|(_, held)| *held == address)
    }
}

/// What the API server says, asked on the first control plane that answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClusterFacts {
    /// The control plane that was asked.
    pub asked: String,
    pub nodes: BTreeMap<String, KubeNode>,
    /// Gateway API definitions that are established.
    pub definitions: Vec<String>,
    /// The bundle version annotation of those definitions, without `v`.
    pub gateway_api: Option<String>,
    pub cilium: Option<HelmRelease>,
    /// What Cilium's agents are told: setting → value; empty if there is nothing to be read.
    pub cilium_settings: BTreeMap<String, String>,
    /// Cilium's DaemonSets and Deployments: name → all replicas ready.
    pub rollouts: BTreeMap<String, bool>,
    /// SHA-256 (hex) of the ingress manifests last applied, from our annotation on the Gateway's namespace.
    pub ingress: Option<String>,
    pub gateway_programmed: bool,
    /// NodePorts of the Gateway's Service: port → node port.
    pub node_ports: BTreeMap<u16, u16>,
    pub kube_proxy_present: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KubeNode {
    pub ready: bool,
    pub internal_ip: Option<Ipv4Addr>,
    pub kubelet_version: String,
    /// The boot in which its kubelet last told of itself; compared with [`GuestFacts::boot_id`].
    pub boot_id: String,
    pub control_plane: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HelmRelease {
    /// `deployed`, `pending-install`, `failed`, …
    pub status: String,
    /// The chart with its version: `cilium-1.20.3`.
    pub chart: String,
    /// SHA-256 (hex) of the values it was installed with, which we give as its description.
    pub values: Option<String>,
}

/// An answer that cannot be understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadFacts {
    #[error("line {line} of fusionlab-facts is not as agreed: {text:?}")]
    Line { line: usize, text: String },
    #[error("fusionlab-facts did not say {0}")]
    Missing(&'static str),
    #[error("the API server was not heard: {0:?} has no answer")]
    Unanswered(Question),
    #[error("the answer to {question:?} is not as agreed: {reason}")]
    Answer { question: Question, reason: String },
}

/// Returns the command that gathers a guest's facts, with the digests of these files.
pub fn guest_command(paths: &[String]) -> Command {
    Command::new([GUEST_FACTS.to_owned()].into_iter().chain(paths.iter().cloned())).as_root()
}

/// Reads what [`guest_command`] printed.
pub fn parse_guest(text: &str) -> Result<GuestFacts, BadFacts> {
    let mut facts = GuestFacts::default();
    for (index, line) in text.lines().enumerate() {
        read_line(&mut facts, line)
            .ok_or_else(|| BadFacts::Line { line: index + 1, text: line.to_owned() })?;
    }
    // The two that a cut-off answer cannot have both: the first line and the last of the single ones.
    match () {
        () if facts.hostname.is_empty() => Err(BadFacts::Missing("hostname")),
        () if facts.clock_ms == 0 => Err(BadFacts::Missing("clock_ms")),
        () => Ok(facts),
    }
}

fn read_line(facts: &mut GuestFacts, line: &str) -> Option<()> {
    let (key, value) = line.split_once('=')?;
    let pair = || value.split_once(' ').map(|(left, right)| (left.to_owned(), right.to_owned()));
    match key {
        "hostname" => facts.hostname = value.to_owned(),
        "boot_id" => facts.boot_id = value.to_owned(),
        "machine_id" => facts.machine_id = value.to_owned(),
        "product_uuid" => facts.product_uuid = value.to_owned(),
        "cloud_init" => facts.cloud_init = value.to_owned(),
        "clock_ms" => facts.clock_ms = value.parse().ok()?,
        "address" => {
            let (interface, address) = pair()?;
            facts.addresses.push((interface, address.parse().ok()?));
        }
        "unit" => facts.units.extend([pair()?]),
        "file" => facts.files.extend([pair().map(|(digest, path)| (path, digest))?]),
        "version" => facts.versions.extend([pair()?]),
        "kubernetes" => facts.kubernetes.push(value.to_owned()),
        "enabled" => facts.enabled.extend([pair()?]),
        "certificate" => {
            let (begins, rest) = pair()?;
            let (ends, path) = rest.split_once(' ')?;
            let validity = Validity { begins: begins.parse().ok()?, ends: ends.parse().ok()? };
            facts.certificates.insert(path.to_owned(), validity);
        }
        "api_name" => facts.api_names.push(value.to_owned()),
        _ => return None,
    }
    Some(())
}

/// What the cluster is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    Nodes,
    Definitions,
    DaemonSets,
    Deployments,
    HelmList,
    HelmStatus,
    CiliumSettings,
    Namespace,
    Gateway,
    Service,
}

/// Returns the questions with the commands that ask them, on a control plane.
pub fn cluster_commands() -> Vec<(Question, Command)> {
    let namespace = Some(GATEWAY_NAMESPACE);
    vec![
        (Question::Nodes, kubectl::list("nodes", None)),
        (Question::Definitions, kubectl::list("customresourcedefinitions", None)),
        (Question::DaemonSets, kubectl::list("daemonsets", Some(cilium::NAMESPACE))),
        (Question::Deployments, kubectl::list("deployments", Some(cilium::NAMESPACE))),
        (Question::HelmList, cilium::list()),
        (Question::HelmStatus, cilium::status()),
        (Question::CiliumSettings, kubectl::get("configmaps", cilium::SETTINGS, Some(cilium::NAMESPACE))),
        (Question::Namespace, kubectl::get("namespaces", GATEWAY_NAMESPACE, None)),
        (Question::Gateway, kubectl::get("gateways", GATEWAY, namespace)),
        (Question::Service, kubectl::get("services", &ingress::service_name(), namespace)),
    ]
}

/// Reads the answers: the standard output of each command that succeeded. A question without an answer
/// (an unknown kind, no release) means that there is nothing, except for the nodes, which every API knows.
pub fn parse_cluster(asked: &str, answers: &BTreeMap<Question, String>) -> Result<ClusterFacts, BadFacts> {
    let read = |question| read_json(question, answers);
    let nodes = read(Question::Nodes)?;
    if nodes.is_null() {
        return Err(BadFacts::Unanswered(Question::Nodes));
    }
    let definitions = read(Question::Definitions)?;
    let (daemon_sets, deployments) = (read(Question::DaemonSets)?, read(Question::Deployments)?);
    let gateway = read(Question::Gateway)?;
    let is_ours = |definition: &&Value| name_of(definition).ends_with(gateway_api::GROUP);
    Ok(ClusterFacts {
        asked: asked.to_owned(),
        nodes: items(&nodes).map(|node| (name_of(node).to_owned(), kube_node(node))).collect(),
        definitions: items(&definitions)
            .filter(is_ours)
            .filter(|definition| condition(definition, "Established"))
            .map(|definition| name_of(definition).to_owned())
            .collect(),
        gateway_api: items(&definitions).find(is_ours).and_then(bundle_version),
        cilium_settings: texts(&read(Question::CiliumSettings)?["data"]),
        cilium: release(&read(Question::HelmList)?, &read(Question::HelmStatus)?),
        rollouts: items(&daemon_sets)
            .map(|set| (name_of(set).to_owned(), daemon_set_ready(set)))
            .chain(items(&deployments).map(|set| (name_of(set).to_owned(), deployment_ready(set))))
            .filter(|(name, _)| cilium::ROLLOUTS.contains(&name.as_str()))
            .collect(),
        ingress: annotation(&read(Question::Namespace)?, ingress::ANNOTATION),
        gateway_programmed: condition(&gateway, "Programmed"),
        node_ports: node_ports(&read(Question::Service)?),
        kube_proxy_present: items(&daemon_sets).any(|set| name_of(set) == "kube-proxy"),
    })
}

/// No answer, and the nothing that `--ignore-not-found` prints, are both null.
fn read_json(question: Question, answers: &BTreeMap<Question, String>) -> Result<Value, BadFacts> {
    match answers.get(&question).map(|text| text.trim()) {
        None | Some("") => Ok(Value::Null),
        Some(text) => {
            serde_json::from_str(text).map_err(|bad| BadFacts::Answer { question, reason: bad.to_string() })
        }
    }
}

pub(super) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

pub(super) fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Says whether a condition of the object is `True`.
pub(super) fn condition(object: &Value, kind: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
}

fn texts(map: &Value) -> BTreeMap<String, String> {
    let pairs = map.as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn annotation(object: &Value, key: &str) -> Option<String> {
    object["metadata"]["annotations"][key].as_str().map(str::to_owned)
}

fn bundle_version(definition: &Value) -> Option<String> {
    let version = annotation(definition, gateway_api::BUNDLE_VERSION)?;
    Some(version.trim_start_matches('v').to_owned())
}

impl ClusterFacts {
    /// Returns those ports that are not on the NodePort that each is to have, with that.
    pub fn moved_ports(&self, pinned: impl IntoIterator<Item = (u16, u16)>) -> Vec<(u16, u16)> {
        pinned.into_iter().filter(|(port, wished)| self.node_ports.get(port) != Some(wished)).collect()
    }

    /// Returns what is not rolled out of all that must be: not there, or with replicas that are not ready.
    pub fn not_rolled_out(&self) -> Vec<&'static str> {
        let ready = |name: &str| self.rollouts.get(name).is_some_and(|ready| *ready);
        cilium::ROLLOUTS.into_iter().filter(|name| !ready(name)).collect()
    }
}

/// Says whether the answer of [`kubectl::get`] is a definition that the API server serves.
pub fn is_established(definition: &str) -> bool {
    serde_json::from_str::<Value>(definition).is_ok_and(|definition| condition(&definition, "Established"))
}

/// Finds the Service, as `namespace/name`, that has one of these NodePorts, among all of them; ours does not count.
pub fn owner_of_node_port(services: &str, wished: &[u16], ours: &str) -> Option<(String, u16)> {
    let services: Value = serde_json::from_str(services).ok()?;
    let mut others = items(&services).filter(|service| name_of(service) != ours);
    others.find_map(|service| {
        let port = node_ports(service).into_values().find(|port| wished.contains(port))?;
        let namespace = service["metadata"]["namespace"].as_str().unwrap_or_default();
        Some((format!("{namespace}/{}", name_of(service)), port))
    })
}

/// Reads the answer of [`kubectl::get`] for a node; none if it does not exist.
pub fn one_node(text: &str) -> Result<Option<KubeNode>, serde_json::Error> {
    match text.trim() {
        "" => Ok(None),
        text => Ok(Some(kube_node(&serde_json::from_str(text)?))),
    }
}

pub(super) fn kube_node(node: &Value) -> KubeNode {
    let addresses = node["status"]["addresses"].as_array().into_iter().flatten();
    let internal = addresses.into_iter().find(|address| address["type"] == "InternalIP");
    let labels = &node["metadata"]["labels"];
    let told = |name: &str| node["status"]["nodeInfo"][name].as_str().unwrap_or_default().to_owned();
    KubeNode {
        ready: condition(node, "Ready"),
        internal_ip: internal.and_then(|address| address["address"].as_str()?.parse().ok()),
        kubelet_version: told("kubeletVersion"),
        boot_id: told("bootID"),
        control_plane: labels.get("node-role.kubernetes.io/control-plane").is_some(),
    }
}

fn number(object: &Value, field: &str) -> u64 {
    object[field].as_u64().unwrap_or_default()
}

/// The controller must have seen the newest form, or its numbers are of the one before.
fn observed(object: &Value) -> bool {
    number(&object["status"], "observedGeneration") >= number(&object["metadata"], "generation")
}

fn daemon_set_ready(set: &Value) -> bool {
    let status = &set["status"];
    let wanted = number(status, "desiredNumberScheduled");
    let (updated, available) = (number(status, "updatedNumberScheduled"), number(status, "numberAvailable"));
    observed(set) && wanted > 0 && updated >= wanted && available >= wanted
}

fn deployment_ready(set: &Value) -> bool {
    let status = &set["status"];
    let wanted = set["spec"]["replicas"].as_u64().unwrap_or(1);
    observed(set)
        && number(status, "updatedReplicas") >= wanted
        && number(status, "availableReplicas") >= wanted
}

fn release(list: &Value, status: &Value) -> Option<HelmRelease> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let release = list.as_array()?.iter().find(|release| release["name"] == cilium::RELEASE)?;
    let description = status["info"]["description"].as_str().unwrap_or_default();
    Some(HelmRelease {
        status: text(&release["status"]),
        chart: text(&release["chart"]),
        values: description.strip_prefix(cilium::DESCRIPTION).map(str::to_owned),
    })
}

pub(super) fn node_ports(service: &Value) -> BTreeMap<u16, u16> {
    let port = |port: &Value, field: &str| port[field].as_u64().and_then(|number| u16::try_from(number).ok());
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    ports.filter_map(|entry| Some((port(entry, "port")?, port(entry, "nodePort")?))).collect()
}

#[cfg(test)]
mod tests;
