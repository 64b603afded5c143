//! Pods on their nodes: what each needs before it starts, and what Cilium's do once they run.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::sync::Arc;

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::controllers::{self, Health};
use super::data::{Data, condition, timestamp};
use super::{gateway, images, kubelet, objects};
use crate::sim::faults;
use crate::sim::guest::services::connect;
use crate::sim::guest::{Model, network, pace};

/// The model's own field of an agent's status: that Envoy refused what it was given.
pub const REFUSED: &str = "modelEnvoyRefused";

/// A pod that may be started now.
#[derive(Clone, Debug)]
pub struct Waiting {
    namespace: String,
    name: String,
    node: String,
}

/// Returns the scheduled pods that are not ready and whose node could run them.
pub fn waiting(data: &Data, health: &BTreeMap<String, Health>) -> Vec<Waiting> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let startable = |pod: &&Value| {
        let node =
            health.get(pod["spec"]["nodeName"].as_str().unwrap_or_default()).copied().unwrap_or_default();
        !condition(pod, "Ready") && node.kubelet && (node.network || pod["spec"]["hostNetwork"] == true)
    };
    let of = |pod: &Value| Waiting {
        namespace: text(&pod["metadata"]["namespace"]),
        name: text(&pod["metadata"]["name"]),
        node: text(&pod["spec"]["nodeName"]),
    };
    data.list("pods", None).into_iter().filter(startable).map(of).collect()
}

/// Starts a pod in the background, unless that is under way.
pub fn start(cluster: &Arc<Cluster>, leader: &Arc<Model>, pod: Waiting) {
    let work = format!("pod/{}/{}", pod.namespace, pod.name);
    let Some(under_way) = cluster.begin_work(&work) else { return };
    let (cluster, held) = (Arc::clone(cluster), Arc::clone(leader));
    leader.spawn(async move {
        let outcome = run(&cluster, &pod).await;
        if let Err(why) = &outcome {
            note(&cluster, &pod, why);
            held.look_again(pace::POD_BACKOFF).await;
        }
        drop(under_way);
        if outcome.is_ok() || cluster.data().get("pods", &pod.namespace, &pod.name).is_some() {
            controllers::settle(&cluster);
        }
    });
}

/// Writes why a pod does not run.
fn note(cluster: &Cluster, pod: &Waiting, why: &str) {
    let reason = why.split(':').next().unwrap_or_default().to_owned();
    let status = json!([{ "name": "model", "ready": false, "state": { "waiting": { "reason": reason, "message": why } } }]);
    let _ = cluster.change(|data| {
        if let Some(object) = data.get_mut("pods", &pod.namespace, &pod.name) {
            object["status"]["containerStatuses"] = status;
        }
        Ok(())
    });
}

/// Goes through a pod's start; the error begins with the reason that `kubectl get pods` would show.
async fn run(cluster: &Arc<Cluster>, pod: &Waiting) -> Result<(), String> {
    let data = cluster.read()?;
    let object = data.get("pods", &pod.namespace, &pod.name).cloned().ok_or("Gone: the pod was deleted")?;
    let machine = cluster.machine(&pod.node).ok_or("NodeLost: its node is silent")?;
    // Nothing on a machine goes on without power, and nobody waits for it.
    let begun = begin_on(cluster, pod, &data, &object, &machine);
    machine
        .power
        .run_until_cancelled(begun)
        .await
        .unwrap_or_else(|| Err("NodeLost: its node is off".to_owned()))
}

async fn begin_on(
    cluster: &Arc<Cluster>,
    pod: &Waiting,
    data: &Data,
    object: &Value,
    machine: &Arc<Model>,
) -> Result<(), String> {
    volumes(data, object, &pod.namespace)?;
    pull(machine, object).await?;
    let mut refused = false;
    match object["metadata"]["labels"]["k8s-app"].as_str().or(object["metadata"]["labels"]["name"].as_str()) {
        Some("cilium") => refused = start_agent(cluster, machine).await?,
        Some("cilium-operator") => start_operator(cluster, machine).await?,
        Some("kube-proxy") => {
            machine.pass(pace::POD_START).await;
            machine.live(|live| live.proxy_rules = true);
        }
        _ => machine.pass(pace::POD_START).await,
    }
    let address = address(data, object, &pod.node, &pod.name);
    let now = timestamp(machine.around.clock_ms());
    cluster.change(|data| {
        let Some(object) = data.get_mut("pods", &pod.namespace, &pod.name) else { return Ok(()) };
        object["status"]["phase"] = "Running".into();
        object["status"]["podIP"] = address.into();
        object["status"]["startTime"] = now.into();
        object["status"][REFUSED] = refused.into();
        object["status"]["containerStatuses"] =
            json!([{ "name": "model", "ready": true, "restartCount": 0 }]);
        set_ready(object, true);
        Ok(())
    })
}

pub fn set_ready(pod: &mut Value, ready: bool) {
    let word = if ready { "True" } else { "False" };
    pod["status"]["conditions"] =
        json!([{ "type": "Ready", "status": word }, { "type": "PodScheduled", "status": "True" }]);
}

/// A node's machine came back: its pods start again.
pub fn restart_on(cluster: &Cluster, node: &str) {
    let _ = cluster.change(|data| {
        let here: Vec<(String, String)> = data
            .list("pods", None)
            .into_iter()
            .filter(|pod| pod["spec"]["nodeName"] == node)
            .map(|pod| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                (text(&pod["metadata"]["namespace"]), text(&pod["metadata"]["name"]))
            })
            .collect();
        for (namespace, name) in here {
            if let Some(pod) = data.get_mut("pods", &namespace, &name) {
                set_ready(pod, false);
            }
        }
        Ok(())
    });
}

/// What a pod mounts must be there.
fn volumes(data: &Data, pod: &Value, namespace: &str) -> Result<(), String> {
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let wanted =
            [("configmaps", &volume["configMap"]["name"]), ("secrets", &volume["secret"]["secretName"])];
        for (id, name) in wanted.into_iter().filter_map(|(id, name)| Some((id, name.as_str()?))) {
            if data.get(id, namespace, name).is_none() {
                return Err(format!(
                    "ContainerCreating: MountVolume.SetUp failed: {id} \"{name}\" not found"
                ));
            }
        }
    }
    Ok(())
}

/// Images come from the node's disk or from the internet.
async fn pull(machine: &Arc<Model>, pod: &Value) -> Result<(), String> {
    for container in pod["spec"]["containers"].as_array().into_iter().flatten() {
        let image = container["image"].as_str().unwrap_or_default();
        if machine.disk(|disk| disk.images.contains(image)) {
            continue;
        }
        if image.is_empty() || container["imagePullPolicy"] == "Never" || !machine.around.internet() {
            return Err(format!("ImagePullBackOff: failed to pull image \"{image}\""));
        }
        machine.pass(pace::IMAGE_PULL).await;
        machine.change_disk(|disk| disk.images.insert(image.to_owned()));
        machine.sync();
    }
    Ok(())
}

/// The host's address for pods of the host network, one of the node's own pod range for others.
fn address(data: &Data, pod: &Value, node: &str, name: &str) -> String {
    let node = data.get("nodes", "", node);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    if pod["spec"]["hostNetwork"] == true {
        return text(node.map(|node| &node["status"]["addresses"][0]["address"]));
    }
    let range = text(node.map(|node| &node["spec"]["podCIDR"]));
    let network: Option<ipnet::Ipv4Net> = range.parse().ok();
    let host =
        10 + name.bytes().fold(7u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte))) % 240;
    network
        .map(|network| std::net::Ipv4Addr::from(u32::from(network.network()) + host).to_string())
        .unwrap_or_default()
}

/// Returns one of Cilium's settings, as its agents read them.
pub fn setting<'a>(data: &'a Data, name: &str) -> &'a str {
    data.get("configmaps", "kube-system", "cilium-config")
        .and_then(|config| config["data"][name].as_str())
        .unwrap_or_default()
}

/// Starts an agent; says whether Envoy refused its configuration.
async fn start_agent(cluster: &Arc<Cluster>, machine: &Arc<Model>) -> Result<bool, String> {
    machine.pass(pace::CILIUM_AGENT_START).await;
    let data = cluster.read()?;
    reach_api(&data, machine).await?;
    if let Some(why) = bad_configuration(&data) {
        return Err(format!("CrashLoopBackOff: level=fatal msg=\"{why}\""));
    }
    let node = machine.live(|live| live.node.clone()).unwrap_or_default();
    let range = data.get("nodes", "", &node).and_then(|node| node["spec"]["podCIDR"].as_str());
    if setting(&data, "ipam") == "kubernetes" && range.is_none() {
        return Err("CrashLoopBackOff: required IPv4 PodCIDR not available".into());
    }
    let conflist = json!({ "cniVersion": "0.3.1", "name": "cilium", "plugins": [{ "type": "cilium-cni" }] });
    machine.change_disk(|disk| disk.put(kubelet::CNI, 0o600, conflist.to_string()));
    machine.sync();
    // It sets all its routes anew.
    machine.live(|live| live.routes_set.clear());
    Ok(machine.around.fault(faults::ENVOY_REFUSES))
}

/// Says what an agent would refuse to start with (facts/kubernetes-cilium.md §4.1).
fn bad_configuration(data: &Data) -> Option<String> {
    let native = setting(data, "routing-mode") == "native";
    if native && setting(data, "ipv4-native-routing-cidr").is_empty() {
        return Some("native routing cidr must be configured with option --ipv4-native-routing-cidr in combination with --enable-ipv4-masquerade".into());
    }
    if setting(data, "auto-direct-node-routes") == "true" && !native {
        return Some("auto-direct-node-routes cannot be used with tunneling".into());
    }
    if setting(data, "enable-bpf-masquerade") == "true" && setting(data, "kube-proxy-replacement") != "true" {
        return Some("BPF masquerade requires NodePort (--kube-proxy-replacement=\"true\")".into());
    }
    if !matches!(setting(data, "ipam"), "kubernetes" | "cluster-pool" | "multi-pool") {
        return Some(format!("unknown IPAM mode {}", setting(data, "ipam")));
    }
    None
}

/// Agents and operator must reach the API: by the place they were given, or through kube-proxy.
async fn reach_api(data: &Data, machine: &Arc<Model>) -> Result<(), String> {
    let mut places: Vec<(String, u16)> = Vec::new();
    let (host, port) =
        (setting(data, "k8s-service-host"), setting(data, "k8s-service-port").parse().unwrap_or(6443));
    if !host.is_empty() {
        places.push((host.to_owned(), port));
    }
    for url in setting(data, "k8s-api-server-urls").split_whitespace() {
        let place = url.strip_prefix("https://").and_then(|place| place.rsplit_once(':'));
        places.extend(place.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?))));
    }
    if places.is_empty() {
        let proxied = data.get("daemonsets.apps", "kube-system", "kube-proxy").is_some();
        let why = "CrashLoopBackOff: Unable to contact k8s api-server: dial tcp 10.96.0.1:443: i/o timeout";
        return if proxied { Ok(()) } else { Err(why.into()) };
    }
    for (host, port) in &places {
        if let Some(address) = network::resolve(machine, host)
            && connect(machine, SocketAddrV4::new(address, *port)).await.is_ok()
        {
            return Ok(());
        }
    }
    Err(format!("CrashLoopBackOff: Unable to contact k8s api-server at {}:{}", places[0].0, places[0].1))
}

/// The operator installs Cilium's definitions and looks once for the Gateway API's (facts/kubernetes-cilium.md §4.2).
async fn start_operator(cluster: &Arc<Cluster>, machine: &Arc<Model>) -> Result<(), String> {
    machine.pass(pace::POD_START).await;
    let data = cluster.read()?;
    reach_api(&data, machine).await?;
    let now_ms = machine.around.clock_ms();
    cluster.change(|data| {
        for (plural, kind, namespaced, version) in gateway::CILIUM_DEFINITIONS {
            let definition = images::definition("cilium.io", plural, kind, namespaced, version);
            objects::apply(data, definition, now_ms)?;
        }
        gateway::operator_looks(data, now_ms)
    })
}
