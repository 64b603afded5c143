//! What `kubectl exec` runs in pods and what their logs say: Cilium's agents, etcdctl, and curl in a web server's pod.

use serde_json::{Value, json};

use super::curl::Ended;
use super::pod_curl;
use crate::sim::guest::kube::cluster::Cluster;
use crate::sim::guest::kube::data::{Data, condition};
use crate::sim::guest::kube::gateway::{CONFIGS, node_address, operator_log};
use crate::sim::guest::kube::pods::{REFUSED, setting};
use crate::sim::guest::services::{ETCD_CLIENT, ETCD_PEER};

/// What kubectl says of a pod whose container does not run.
const NO_CONTAINER: &str = "error: unable to upgrade connection: container not found";

/// Runs a command in a pod; an error is what kubectl itself says.
pub async fn run(
    cluster: &Cluster,
    namespace: &str,
    target: &str,
    command: &[String],
) -> Result<Ended, String> {
    let data = cluster.read()?;
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let printed = |text: String| Ended { status: 0, stdout: text.into_bytes(), stderr: String::new() };
    if let (pod, ["etcdctl", arguments @ ..]) = (target, &words[..])
        && pod.starts_with("etcd-")
    {
        return etcdctl(cluster, &data, &pod["etcd-".len()..], arguments).map(printed);
    }
    let pod = pod(&data, namespace, target)?;
    if !condition(pod, "Ready") {
        return Err(NO_CONTAINER.into());
    }
    let is = |label: &str, value: &str| pod["metadata"]["labels"][label] == value;
    match &words[..] {
        ["cilium-dbg", "status", ..] if is("k8s-app", "cilium") => Ok(printed(cilium_status(&data, pod))),
        ["cilium-dbg", "bpf", "lb", "list"] if is("k8s-app", "cilium") => {
            Ok(printed(load_balancing(&data, pod)))
        }
        ["curl", ..] if is_web_server(pod) => pod_curl::run(cluster, &data, pod, &command[1..]).await,
        [] => Err("error: you must specify at least one command for the container".into()),
        [program, ..] => Err(format!(
            "error: Internal error occurred: exec: \"{program}\": executable file not found in $PATH"
        )),
    }
}

/// Finds the pod of a name, or the first one that runs of a DaemonSet.
fn pod<'a>(data: &'a Data, namespace: &str, target: &str) -> Result<&'a Value, String> {
    let not_found = || format!("Error from server (NotFound): pods \"{target}\" not found");
    match target.strip_prefix("ds/").or_else(|| target.strip_prefix("daemonset/")) {
        None => data.get("pods", namespace, target).ok_or_else(not_found),
        Some(set) => {
            let all = data.list("pods", Some(namespace));
            let of_set = |pod: &&Value| {
                pod["metadata"]["ownerReferences"][0]["name"] == set && condition(pod, "Ready")
            };
            all.into_iter().find(of_set).ok_or_else(|| NO_CONTAINER.to_owned())
        }
    }
}

/// Only nginx's image has a shell's tools, curl among them.
fn is_web_server(pod: &Value) -> bool {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    containers.into_iter().any(|one| one["image"].as_str().is_some_and(|image| image.contains("/nginx:")))
}

/// Returns what a pod has logged, as far as the model keeps it.
pub fn log(data: &Data, pod: &Value) -> Vec<String> {
    let labels = &pod["metadata"]["labels"];
    if labels["name"] == "cilium-operator" {
        return operator_log(data);
    }
    if labels["k8s-app"] != "cilium" {
        return Vec::new();
    }
    let mut lines = vec!["level=info msg=\"Daemon initialization completed\" subsys=daemon".to_owned()];
    if pod["status"][REFUSED] == true {
        let refused = "level=warning msg=\"NACK received for versions after 0 and up to 1; waiting for a version update before sending again\" subsys=xds xdsTypeURL=type.googleapis.com/envoy.config.listener.v3.Listener";
        lines.push(refused.to_owned());
    }
    lines
}

fn cilium_status(data: &Data, pod: &Value) -> String {
    let agents = data.list("pods", pod["metadata"]["namespace"].as_str());
    let ready = agents
        .into_iter()
        .filter(|pod| pod["metadata"]["labels"]["k8s-app"] == "cilium" && condition(pod, "Ready"))
        .count();
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    let address = node_address(data, node).map(|address| address.to_string()).unwrap_or_default();
    let replaced = setting(data, "kube-proxy-replacement") == "true";
    let devices =
        if replaced { format!("True   [ens160   {address} (Direct Routing)]") } else { "False".into() };
    let native = setting(data, "routing-mode") == "native";
    let masquerade = match (setting(data, "enable-ipv4-masquerade"), setting(data, "enable-bpf-masquerade")) {
        ("true", "true") => "BPF   [ens160]",
        ("true", _) => "IPTables",
        _ => "Disabled",
    };
    let hubble = match setting(data, "enable-hubble") {
        "true" => {
            "Ok              Current/Max Flows: 4095/4095 (100.00%), Flows/s: 11.25   Metrics: Disabled"
        }
        _ => "Disabled",
    };
    format!(
        "KVStore:                 Disabled\nKubernetes:              Ok         {} [linux/fusionlab-model]\n\
         KubeProxyReplacement:    {devices}\nCilium:                  Ok   {}\n\
         Routing:                 Network: {}   Host: {}\n\
         Masquerading:            {masquerade}   {} [IPv4: Enabled, IPv6: Disabled]\n\
         Hubble:                  {hubble}\n\
         Cluster health:          {ready}/{} reachable\n",
        data.version,
        setting(data, "cilium-version"),
        if native { "Native" } else { "Tunnel [vxlan]" },
        if replaced { "BPF" } else { "Legacy" },
        setting(data, "ipv4-native-routing-cidr"),
        data.list("nodes", None).len(),
    )
}

/// Returns the entries of NodePorts in an agent's maps: those of a Gateway lead to Envoy.
fn load_balancing(data: &Data, pod: &Value) -> String {
    const FIRST_PROXY_PORT: usize = 10_100;
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    let address = node_address(data, node).map(|address| address.to_string()).unwrap_or_default();
    let mut lines = vec!["SERVICE ADDRESS   BACKEND ADDRESS (REVNAT_ID) (SLOT)\n".to_owned()];
    for (number, service) in data.list("services", None).into_iter().enumerate() {
        let text = |field: &str| service["metadata"][field].as_str().unwrap_or_default();
        let proxied = data.get(CONFIGS, text("namespace"), text("name")).is_some();
        for port in service["spec"]["ports"].as_array().into_iter().flatten() {
            let Some(node_port) = port["nodePort"].as_u64() else { continue };
            let kind = match proxied {
                true => {
                    format!("[NodePort, l7-load-balancer] (L7LB Proxy Port: {})", FIRST_PROXY_PORT + number)
                }
                false => "[NodePort, non-routable]".to_owned(),
            };
            lines.push(format!("{address}:{node_port}/TCP (0)   0.0.0.0:0 ({number}) (0) {kind}\n"));
        }
    }
    lines.concat()
}

fn etcdctl(cluster: &Cluster, data: &Data, node: &str, arguments: &[&str]) -> Result<String, String> {
    if !cluster.members_up().iter().any(|(name, _)| name == node) {
        return Err(format!("Error from server (NotFound): pods \"etcd-{node}\" not found"));
    }
    let flags = ["--cacert=/etc/kubernetes/pki/etcd/ca.crt", "--cert=", "--key="];
    if !flags.iter().all(|flag| arguments.iter().any(|word| word.starts_with(flag))) {
        return Err("{\"level\":\"warn\",\"msg\":\"retrying of unary invoker failed\",\"error\":\"rpc error: code = DeadlineExceeded\"}\nError: context deadline exceeded".into());
    }
    let words: Vec<&str> = arguments
        .iter()
        .copied()
        .filter(|word| {
            !word.starts_with("--endpoints")
                && !word.starts_with("--cacert")
                && !word.starts_with("--cert=")
                && !word.starts_with("--key=")
        })
        .collect();
    match words[..] {
        ["member", "list", "-w", "json"] => Ok(format!("{}\n", members(data))),
        ["member", "list"] => Ok(data
            .members
            .iter()
            .map(|(name, member)| {
                format!(
                    "{:x}, {}, {name}, https://{}:{ETCD_PEER}, {}\n",
                    member.id,
                    if member.started { "started" } else { "unstarted" },
                    member.peer,
                    member.learner
                )
            })
            .collect()),
        ["endpoint", "status", "--cluster", "-w", "json"] => Ok(format!("{}\n", status(cluster, data))),
        ["member", "remove", id] => {
            let number = u64::from_str_radix(id, 16).map_err(|_| format!("Error: bad member ID arg (strconv.ParseUint: parsing \"{id}\": invalid syntax), expecting ID in Hex"))?;
            cluster.remove_member(number)?;
            Ok(format!("Member {number:16x} removed from cluster\n"))
        }
        _ => Err(format!("Error: unknown command \"{}\" for \"etcdctl\"", words.join(" "))),
    }
}

fn members(data: &Data) -> Value {
    let member = |(name, member): (&String, &crate::sim::guest::kube::data::Member)| {
        let mut one =
            json!({ "ID": member.id, "peerURLs": [format!("https://{}:{ETCD_PEER}", member.peer)] });
        if member.started {
            one["name"] = name.clone().into();
            one["clientURLs"] = json!([format!("https://{}:{ETCD_CLIENT}", member.peer)]);
        }
        if member.learner {
            one["isLearner"] = true.into();
        }
        one
    };
    json!({ "header": { "revision": data.revision }, "members": data.members.iter().map(member).collect::<Vec<_>>() })
}

fn status(cluster: &Cluster, data: &Data) -> Value {
    let up = cluster.members_up();
    let leader = up
        .iter()
        .find_map(|(name, _)| data.members.get(name).filter(|member| !member.learner))
        .map_or(0, |member| member.id);
    let of = |(name, member): (&String, &crate::sim::guest::kube::data::Member)| {
        up.iter().any(|(one, _)| one == name).then(|| {
            json!({
                "Endpoint": format!("https://{}:{ETCD_CLIENT}", member.peer),
                "Status": {
                    "header": { "member_id": member.id, "revision": data.revision, "raft_term": 2 },
                    "version": "3.6.8", "dbSize": 5_000_000, "leader": leader, "raftIndex": data.revision,
                    "raftTerm": 2, "raftAppliedIndex": data.revision, "isLearner": member.learner,
                },
            })
        })
    };
    data.members.iter().filter_map(of).collect()
}
