//! What `kubectl exec` runs in pods: Cilium's status and etcdctl.

use serde_json::{Value, json};

use crate::sim::guest::kube::cluster::Cluster;
use crate::sim::guest::kube::data::{Data, condition};
use crate::sim::guest::kube::gateway::node_address;
use crate::sim::guest::kube::pods::setting;
use crate::sim::guest::services::{ETCD_CLIENT, ETCD_PEER};

/// Runs a command in a pod and returns what it prints.
pub fn run(cluster: &Cluster, namespace: &str, target: &str, command: &[String]) -> Result<String, String> {
    let data = cluster.read()?;
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    match (target, &words[..]) {
        ("ds/cilium" | "daemonset/cilium", ["cilium-dbg", "status", ..]) => cilium_status(&data, namespace),
        (pod, ["etcdctl", arguments @ ..]) if pod.starts_with("etcd-") => {
            etcdctl(cluster, &data, &pod["etcd-".len()..], arguments)
        }
        (_, []) => Err("error: you must specify at least one command for the container".into()),
        (_, [program, ..]) => Err(format!(
            "error: Internal error occurred: exec: \"{program}\": executable file not found in $PATH"
        )),
    }
}

fn cilium_status(data: &Data, namespace: &str) -> Result<String, String> {
    let agents: Vec<&Value> = data
        .list("pods", Some(namespace))
        .into_iter()
        .filter(|pod| pod["metadata"]["labels"]["k8s-app"] == "cilium")
        .collect();
    let ready: Vec<&&Value> = agents.iter().filter(|pod| condition(pod, "Ready")).collect();
    let first =
        ready.first().ok_or("error: unable to upgrade connection: container not found (\"cilium-agent\")")?;
    let node = first["spec"]["nodeName"].as_str().unwrap_or_default();
    let address = node_address(data, node).map(|address| address.to_string()).unwrap_or_default();
    let replaced = setting(data, "kube-proxy-replacement") == "true";
    let devices =
        if replaced { format!("True   [ens160   {address} (Direct Routing)]") } else { "False".into() };
    let native = setting(data, "routing-mode") == "native";
    let masquerade =
        if setting(data, "enable-bpf-masquerade") == "true" { "BPF   [ens160]" } else { "IPTables" };
    Ok(format!(
        "KVStore:                 Disabled\nKubernetes:              Ok         {} [linux/fusionlab-model]\n\
         KubeProxyReplacement:    {devices}\nCilium:                  Ok   {}\n\
         Routing:                 Network: {}   Host: {}\n\
         Masquerading:            {masquerade}   {} [IPv4: Enabled, IPv6: Disabled]\n\
         Cluster health:          {}/{} reachable\n",
        data.version,
        setting(data, "cilium-version"),
        if native { "Native" } else { "Tunnel [vxlan]" },
        if replaced { "BPF" } else { "Legacy" },
        setting(data, "ipv4-native-routing-cidr"),
        ready.len(),
        data.list("nodes", None).len(),
    ))
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
