//! What Kubernetes' controllers make of the objects: pods for workloads, endpoints for services, readiness of nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::cluster::Cluster;
use super::data::{Data, condition, set_condition, timestamp};
use super::{gateway, kubelet, objects, pods, routes};
use crate::sim::guest::pace;

/// What is known of a node's machine now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether its kubelet runs.
    pub kubelet: bool,
    /// Whether its kubelet has been silent for so long that the node counts as lost.
    pub lost: bool,
    pub network: bool,
}

/// What the controllers made of a cluster's data when they last left it as it was. They would do the same again as long as
/// neither the data nor what is known of the machines is another.
pub struct Settled {
    data: Arc<Data>,
    health: BTreeMap<String, Health>,
    outlook: Outlook,
}

/// What is to be done in the background.
#[derive(Clone)]
struct Outlook {
    waiting: Vec<pods::Waiting>,
    /// Whether the gateway's controller has something to do.
    programming: bool,
}

/// Brings the cluster's objects to where its controllers would, and starts what takes time in the background.
pub fn settle(cluster: &Arc<Cluster>) {
    let Some(leader) = cluster.leader() else { return };
    let Ok(Outlook { waiting, programming }) = decide(cluster, leader.around.clock_ms()) else { return };
    routes::follow(cluster, &cluster.data());
    for pod in waiting {
        pods::start(cluster, &leader, pod);
    }
    if let Some(under_way) = programming.then(|| cluster.begin_work("gateway")).flatten() {
        let (held, cluster) = (Arc::clone(&leader), Arc::clone(cluster));
        leader.spawn(async move {
            held.pass(pace::GATEWAY_PROGRAM).await;
            let now_ms = held.around.clock_ms();
            let _ = cluster.change(|data| {
                gateway::reconcile(data, now_ms);
                Ok(())
            });
            drop(under_way);
            settle(&cluster);
        });
    }
    cluster.sync();
    leader.commons.announce();
}

fn decide(cluster: &Cluster, now_ms: u64) -> Result<Outlook, String> {
    let (before, health) = (cluster.read()?, health(cluster));
    let mut settled = cluster.settled();
    if let Some(settled) = settled.as_ref().filter(|it| Arc::ptr_eq(&it.data, &before) && it.health == health)
    {
        return Ok(settled.outlook.clone());
    }
    let outlook = cluster.change(|data| {
        reconcile(data, &health, now_ms);
        let waiting = pods::waiting(data, &health);
        let programming = gateway::operator_serves(data) && gateway::would_change(data, now_ms);
        Ok(Outlook { waiting, programming })
    })?;
    let unchanged = Arc::ptr_eq(&cluster.data(), &before);
    *settled = unchanged.then(|| Settled { data: before, health, outlook: outlook.clone() });
    Ok(outlook)
}

fn health(cluster: &Cluster) -> BTreeMap<String, Health> {
    let data = cluster.data();
    let name = |node: &Value| node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let of = |node: String| {
        let machine = cluster.machine(&node);
        let network =
            machine.as_ref().is_some_and(|machine| machine.disk(|disk| disk.file(kubelet::CNI).is_some()));
        let lost = machine.is_none() && !cluster.in_grace(&node);
        (node, Health { kubelet: machine.is_some(), lost, network })
    };
    data.list("nodes", None).into_iter().map(name).map(of).collect()
}

fn reconcile(data: &mut Data, health: &BTreeMap<String, Health>, now_ms: u64) {
    let now = timestamp(now_ms);
    nodes(data, health, &now);
    pod_ranges(data);
    forget_lost_pods(data, health);
    for id in ["daemonsets.apps", "deployments.apps"] {
        let workloads: Vec<Value> = data.list(id, None).into_iter().cloned().collect();
        for workload in workloads {
            scale(data, id, &workload, health, now_ms);
            count(data, id, &workload, &now);
        }
    }
    endpoints(data, now_ms);
}

fn nodes(data: &mut Data, health: &BTreeMap<String, Health>, now: &str) {
    for (name, health) in health {
        let Some(node) = data.get_mut("nodes", "", name) else { continue };
        match health {
            Health { lost: true, .. } => {
                set_condition(
                    node,
                    "Ready",
                    false,
                    "NodeStatusUnknown",
                    "Kubelet stopped posting node status.",
                    now,
                );
            }
            // What it last said holds until it is missed.
            Health { kubelet: false, .. } => {}
            Health { network: false, .. } => {
                let why = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized";
                set_condition(node, "Ready", false, "KubeletNotReady", why, now);
            }
            _ => set_condition(node, "Ready", true, "KubeletReady", "kubelet is posting ready status", now),
        }
    }
}

/// Pods of deleted nodes go; pods of lost nodes are not ready.
fn forget_lost_pods(data: &mut Data, health: &BTreeMap<String, Health>) {
    let pods: Vec<(String, String, String)> = data
        .list("pods", None)
        .into_iter()
        .map(|pod| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (
                text(&pod["metadata"]["namespace"]),
                text(&pod["metadata"]["name"]),
                text(&pod["spec"]["nodeName"]),
            )
        })
        .collect();
    for (namespace, name, node) in pods.into_iter().filter(|(_, _, node)| !node.is_empty()) {
        match health.get(&node) {
            None => drop(data.remove("pods", &namespace, &name)),
            Some(health) if health.lost => {
                if let Some(pod) = data.get_mut("pods", &namespace, &name) {
                    pods::set_ready(pod, false);
                }
            }
            Some(_) => {}
        }
    }
}

/// Returns the hash by which a template's pods are known.
fn template_hash(workload: &Value) -> String {
    hex::encode(Sha256::digest(workload["spec"]["template"].to_string()))[..10].to_owned()
}

fn owned(pod: &Value, workload: &Value) -> bool {
    pod["metadata"]["ownerReferences"][0]["uid"] == workload["metadata"]["uid"]
}

/// Makes and removes pods until a workload has what it asks for.
fn scale(data: &mut Data, id: &str, workload: &Value, health: &BTreeMap<String, Health>, now_ms: u64) {
    let namespace = workload["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
    let name = workload["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let hash = template_hash(workload);
    let wanted: Vec<(String, Option<String>)> = if id == "daemonsets.apps" {
        let nodes: Vec<String> = data
            .list("nodes", None)
            .into_iter()
            .filter(|node| tolerates(workload, node))
            .filter_map(|node| Some(node["metadata"]["name"].as_str()?.to_owned()))
            .collect();
        nodes
            .into_iter()
            .map(|node| {
                (format!("{name}-{}", &hex::encode(Sha256::digest(format!("{node}{hash}")))[..5]), Some(node))
            })
            .collect()
    } else {
        let replicas = workload["spec"]["replicas"].as_u64().unwrap_or(1);
        (0..replicas)
            .map(|index| {
                (
                    format!("{name}-{hash}-{}", &hex::encode(Sha256::digest(format!("{name}{index}")))[..5]),
                    None,
                )
            })
            .collect()
    };
    let present: Vec<String> = data
        .list("pods", Some(&namespace))
        .into_iter()
        .filter(|pod| owned(pod, workload))
        .filter_map(|pod| Some(pod["metadata"]["name"].as_str()?.to_owned()))
        .collect();
    for surplus in present.iter().filter(|pod| !wanted.iter().any(|(name, _)| name == *pod)) {
        data.remove("pods", &namespace, surplus);
    }
    for (pod, node) in wanted.into_iter().filter(|(name, _)| !present.contains(name)) {
        let mut object = pod_object(workload, &namespace, &pod);
        if let Some(node) = node {
            object["spec"]["nodeName"] = node.into();
        }
        // The workload's own checks passed when it was applied.
        let _ = objects::apply(data, object, now_ms);
    }
    schedule(data, &namespace, workload, health);
}

fn pod_object(workload: &Value, namespace: &str, name: &str) -> Value {
    let template = &workload["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    metadata["name"] = name.into();
    metadata["namespace"] = namespace.into();
    metadata["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": workload["kind"], "name": workload["metadata"]["name"],
        "uid": workload["metadata"]["uid"], "controller": true,
    }]);
    let status = json!({ "phase": "Pending", "conditions": [{ "type": "Ready", "status": "False" }] });
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"], "status": status })
}

/// Gives waiting pods a node: ready, tolerated, with the fewest pods of the same workload.
fn schedule(data: &mut Data, namespace: &str, workload: &Value, health: &BTreeMap<String, Health>) {
    let waiting: Vec<String> = data
        .list("pods", Some(namespace))
        .into_iter()
        .filter(|pod| owned(pod, workload) && pod["spec"]["nodeName"].is_null())
        .filter_map(|pod| Some(pod["metadata"]["name"].as_str()?.to_owned()))
        .collect();
    let host_network = workload["spec"]["template"]["spec"]["hostNetwork"] == true;
    for name in waiting {
        let load = |node: &str| {
            data.list("pods", Some(namespace))
                .into_iter()
                .filter(|pod| owned(pod, workload) && pod["spec"]["nodeName"] == node)
                .count()
        };
        let fits = |node: &&Value| {
            let name = node["metadata"]["name"].as_str().unwrap_or_default();
            let ready = condition(node, "Ready")
                || tolerates_all(workload) && health.get(name).is_some_and(|health| health.kubelet);
            ready && tolerates(workload, node) && !(host_network && load(name) > 0)
        };
        let chosen = data
            .list("nodes", None)
            .into_iter()
            .filter(fits)
            .filter_map(|node| node["metadata"]["name"].as_str())
            .min_by_key(|node| load(node))
            .map(str::to_owned);
        if let (Some(node), Some(pod)) = (chosen, data.get_mut("pods", namespace, &name)) {
            pod["spec"]["nodeName"] = node.into();
        }
    }
}

fn tolerates_all(workload: &Value) -> bool {
    let tolerations = workload["spec"]["template"]["spec"]["tolerations"].as_array();
    tolerations.into_iter().flatten().any(|one| one["operator"] == "Exists" && one.get("key").is_none())
}

/// Says whether a node is among those that a workload's pods want to stand on: by one of the terms, in each of its labels.
fn attracts(spec: &Value, node: &Value) -> bool {
    let wanted = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let Some(terms) = wanted["nodeSelectorTerms"].as_array() else { return true };
    let labels = &node["metadata"]["labels"];
    let has = |expression: &Value| {
        let label = expression["key"].as_str().and_then(|key| labels.get(key));
        let among =
            || expression["values"].as_array().into_iter().flatten().any(|value| Some(value) == label);
        match expression["operator"].as_str() {
            Some("In") => among(),
            Some("NotIn") => !among(),
            Some("Exists") => label.is_some(),
            Some("DoesNotExist") => label.is_none(),
            // `Gt` and `Lt` compare numbers, which no label here is.
            _ => false,
        }
    };
    terms.iter().any(|term| term["matchExpressions"].as_array().into_iter().flatten().all(has))
}

/// Says whether a workload's pods may stand on a node: its selector, its affinity and its taints.
fn tolerates(workload: &Value, node: &Value) -> bool {
    let spec = &workload["spec"]["template"]["spec"];
    let selected = spec["nodeSelector"]
        .as_object()
        .into_iter()
        .flatten()
        .all(|(key, value)| node["metadata"]["labels"][key] == *value);
    let tolerations: Vec<&Value> = spec["tolerations"].as_array().into_iter().flatten().collect();
    let tolerated = |taint: &Value| {
        taint["effect"] == "PreferNoSchedule"
            || tolerations.iter().any(|one| one.get("key").is_none() || one["key"] == taint["key"])
    };
    selected && attracts(spec, node) && node["spec"]["taints"].as_array().into_iter().flatten().all(tolerated)
}

/// Writes a workload's status from its pods.
fn count(data: &mut Data, id: &str, workload: &Value, now: &str) {
    let namespace = workload["metadata"]["namespace"].as_str().unwrap_or_default();
    let name = workload["metadata"]["name"].as_str().unwrap_or_default();
    let pods: Vec<&Value> =
        data.list("pods", Some(namespace)).into_iter().filter(|pod| owned(pod, workload)).collect();
    let (all, ready) = (pods.len(), pods.iter().filter(|pod| condition(pod, "Ready")).count());
    let Some(object) = data.get_mut(id, namespace, name) else { return };
    let generation = object["metadata"]["generation"].clone();
    let counts = if id == "daemonsets.apps" {
        json!({
            "desiredNumberScheduled": all, "currentNumberScheduled": all, "updatedNumberScheduled": all,
            "numberReady": ready, "numberAvailable": ready, "numberUnavailable": all - ready, "observedGeneration": generation,
        })
    } else {
        json!({ "replicas": all, "updatedReplicas": all, "readyReplicas": ready, "availableReplicas": ready, "unavailableReplicas": all - ready, "observedGeneration": generation })
    };
    objects::merge(&mut object["status"], &counts);
    if id == "deployments.apps" {
        let reason = if ready == all { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" };
        set_condition(object, "Available", ready == all, reason, "", now);
    }
}

/// Keeps an EndpointSlice for each Service that selects pods.
fn endpoints(data: &mut Data, now_ms: u64) {
    let services: Vec<Value> = data
        .list("services", None)
        .into_iter()
        .filter(|one| one["spec"]["selector"].is_object())
        .cloned()
        .collect();
    for service in services {
        let namespace = service["metadata"]["namespace"].as_str().unwrap_or_default();
        let name = service["metadata"]["name"].as_str().unwrap_or_default();
        let endpoint = |pod: &&Value| {
            json!({
                "addresses": [pod["status"]["podIP"]], "conditions": { "ready": true }, "nodeName": pod["spec"]["nodeName"],
                "targetRef": { "kind": "Pod", "name": pod["metadata"]["name"], "namespace": namespace },
            })
        };
        let ready: Vec<Value> = selected(data, &service).iter().map(endpoint).collect();
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": format!("{name}-model"), "namespace": namespace, "labels": { "kubernetes.io/service-name": name },
                "ownerReferences": [{ "apiVersion": "v1", "kind": "Service", "name": name, "uid": service["metadata"]["uid"] }],
            },
            "endpoints": ready, "ports": service["spec"]["ports"],
        });
        let _ = objects::apply(data, slice, now_ms);
    }
}

/// Returns the ready pods that a Service selects.
pub fn selected<'a>(data: &'a Data, service: &Value) -> Vec<&'a Value> {
    let Some(selector) = service["spec"]["selector"].as_object().filter(|selector| !selector.is_empty())
    else {
        return Vec::new();
    };
    let namespace = service["metadata"]["namespace"].as_str().unwrap_or_default();
    let matches = |pod: &&Value| selector.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value);
    data.list("pods", Some(namespace))
        .into_iter()
        .filter(matches)
        .filter(|pod| condition(pod, "Ready"))
        .collect()
}

/// Gives each node that has none a part of the pod network; one may have come before there was any to give.
fn pod_ranges(data: &mut Data) {
    let has_none = |node: &&Value| node["spec"].get("podCIDR").is_none();
    let name = |node: &Value| node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let without: Vec<String> = data.list("nodes", None).into_iter().filter(has_none).map(name).collect();
    for node in without {
        let Some(range) = pod_range(data, &node) else { continue };
        if let Some(node) = data.get_mut("nodes", "", &node) {
            node["spec"]["podCIDRs"] = json!([range]);
            node["spec"]["podCIDR"] = range.into();
        }
    }
}

/// Returns the pod network's next free part for a node that has none.
fn pod_range(data: &Data, node: &str) -> Option<String> {
    let config = data.get("configmaps", "kube-system", "model-cluster-cidr")?;
    let all: ipnet::Ipv4Net = config["data"]["podSubnet"].as_str()?.parse().ok()?;
    let taken: Vec<&str> = data
        .list("nodes", None)
        .into_iter()
        .filter(|one| one["metadata"]["name"] != node)
        .filter_map(|one| one["spec"]["podCIDR"].as_str())
        .collect();
    const PART: u8 = 24;
    all.subnets(PART.max(all.prefix_len()))
        .ok()?
        .map(|part| part.to_string())
        .find(|part| !taken.contains(&part.as_str()))
}
