//! What guests and the cluster say of themselves: the commands that ask, and the answers as types.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Serialize;
use serde_json::Value;

use crate::formats::command::Command;
use crate::lab::names::{GATEWAY, GATEWAY_NAMESPACE, GUEST_FACTS};
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
}

impl GuestFacts {
    pub fn unit_active(&self, unit: &str) -> bool {
        self.units.get(unit).is_some_and(|state| state == "active")
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

fn annotation(object: &Value, key: &str) -> Option<String> {
    object["metadata"]["annotations"][key].as_str().map(str::to_owned)
}

fn bundle_version(definition: &Value) -> Option<String> {
    let version = annotation(definition, gateway_api::BUNDLE_VERSION)?;
    Some(version.trim_start_matches('v').to_owned())
}

impl ClusterFacts {
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
    KubeNode {
        ready: condition(node, "Ready"),
        internal_ip: internal.and_then(|address| address["address"].as_str()?.parse().ok()),
        kubelet_version: node["status"]["nodeInfo"]["kubeletVersion"].as_str().unwrap_or_default().to_owned(),
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
mod tests {
    use serde_json::json;

    use super::*;

    const GUEST: &str = "hostname=k8s-master1
boot_id=9c677b70-ead6-42ba-9893-da31513e9ac9
machine_id=3d1219c7c4c5404aaa1f6d2a48adfda4
product_uuid=564d0000-0000-0000-0000-000000000000
cloud_init=not run
clock_ms=1795444824113
address=ens160 10.10.0.131
unit=containerd active
unit=kubelet activating
file=6ddf9e4f40a00c9c803fc850c98175fc269762f22bc2d0e4112b65ec1efba16a /etc/my hosts
version=kubeadm v1.36.4
kubernetes=admin.conf
kubernetes=manifest-etcd
";

    #[test]
    fn a_guests_lines_become_facts() {
        let facts = parse_guest(GUEST).unwrap();
        assert!(facts.holds(Ipv4Addr::new(10, 10, 0, 131)) && facts.unit_active("containerd"));
        assert_eq!((facts.cloud_init.as_str(), facts.clock_ms), ("not run", 1_795_444_824_113));
        assert!(facts.files.contains_key("/etc/my hosts"));
        assert_eq!(facts.versions["kubeadm"], "v1.36.4");
        assert_eq!(facts.kubernetes, ["admin.conf", "manifest-etcd"]);
    }

    #[test]
    fn what_was_not_agreed_is_said_with_its_line() {
        let noise = GUEST.replace("unit=kubelet activating", "Warning: unit file changed");
        let error = parse_guest(&noise).unwrap_err();
        assert_eq!(error, BadFacts::Line { line: 9, text: "Warning: unit file changed".into() });
        assert_eq!(parse_guest(""), Err(BadFacts::Missing("hostname")));
        assert_eq!(parse_guest("hostname=a\nboot_id=b\n"), Err(BadFacts::Missing("clock_ms")));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_parsing_panic(text in "(hostname|address|unit|file|clock_ms|x)?=?[ a-z0-9.]{0,12}\n?") {
            let _ = parse_guest(&text);
            let _ = parse_cluster("x", &BTreeMap::from([(Question::Nodes, text)]));
        }
    }

    #[test]
    fn an_empty_cluster_is_one_with_nothing_installed() {
        let answers = BTreeMap::from([(Question::Nodes, r#"{"items":[]}"#.to_owned())]);
        let facts = parse_cluster("k8s-master1", &answers).unwrap();
        assert_eq!(facts, ClusterFacts { asked: "k8s-master1".into(), ..Default::default() });
        assert_eq!(
            parse_cluster("k8s-master1", &BTreeMap::new()),
            Err(BadFacts::Unanswered(Question::Nodes))
        );
    }

    #[test]
    fn a_whole_cluster_is_recognised() {
        let node = json!({
            "metadata": { "name": "k8s-master1", "labels": { "node-role.kubernetes.io/control-plane": "" } },
            "status": {
                "conditions": [{ "type": "Ready", "status": "True" }],
                "addresses": [{ "type": "Hostname", "address": "k8s-master1" }, { "type": "InternalIP", "address": "10.10.0.131" }],
                "nodeInfo": { "kubeletVersion": "v1.36.4" },
            },
        });
        let definition = json!({
            "metadata": {
                "name": "gateways.gateway.networking.k8s.io",
                "annotations": { "gateway.networking.k8s.io/bundle-version": "v1.6.1" },
            },
            "status": { "conditions": [{ "type": "Established", "status": "True" }] },
        });
        let cilium = json!({
            "metadata": { "name": "cilium", "generation": 2 },
            "status": { "observedGeneration": 2, "desiredNumberScheduled": 5, "updatedNumberScheduled": 5, "numberAvailable": 5 },
        });
        let mut late = cilium.clone();
        late["metadata"] = json!({ "name": "cilium-envoy", "generation": 3 });
        let answers = BTreeMap::from([
            (Question::Nodes, json!({ "items": [node] }).to_string()),
            (Question::Definitions, json!({ "items": [definition] }).to_string()),
            (Question::DaemonSets, json!({ "items": [cilium, late] }).to_string()),
            (
                Question::HelmList,
                json!([{ "name": "cilium", "status": "deployed", "chart": "cilium-1.20.3" }]).to_string(),
            ),
            (
                Question::HelmStatus,
                json!({ "info": { "status": "deployed", "description": "fusionlab:abc" } }).to_string(),
            ),
            (
                Question::Namespace,
                json!({ "metadata": { "annotations": { "fusionlab.dev/ingress": "def" } } }).to_string(),
            ),
            (
                Question::Gateway,
                json!({ "status": { "conditions": [{ "type": "Programmed", "status": "True" }] } })
                    .to_string(),
            ),
            (
                Question::Service,
                json!({ "spec": { "ports": [{ "port": 443, "nodePort": 30443 }] } }).to_string(),
            ),
        ]);
        let facts = parse_cluster("k8s-master1", &answers).unwrap();
        let node = &facts.nodes["k8s-master1"];
        assert!(node.ready && node.control_plane && node.internal_ip == Some([10, 10, 0, 131].into()));
        assert_eq!(facts.gateway_api.as_deref(), Some("1.6.1"));
        assert_eq!(facts.rollouts, BTreeMap::from([("cilium".into(), true), ("cilium-envoy".into(), false)]));
        assert_eq!(facts.cilium.unwrap().values.as_deref(), Some("abc"));
        assert_eq!(facts.ingress.as_deref(), Some("def"));
        assert!(facts.gateway_programmed && !facts.kube_proxy_present);
        assert_eq!(facts.node_ports, BTreeMap::from([(443, 30443)]));
    }
}
