//! What Cilium's agents do for native routing: a route on every node to each other node's pods.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use serde_json::Value;

use super::cluster::Cluster;
use super::data::Data;
use super::gateway::node_address;
use super::podnet::{has_agent, pod_part};
use super::pods::setting;
use crate::sim::guest::Model;

/// Lets every running agent set the routes that it has not set yet. It looks at no route a second time: one that
/// somebody took away stays away until the agent starts again.
pub fn follow(cluster: &Cluster, data: &Data) {
    let native =
        setting(data, "routing-mode") == "native" && setting(data, "auto-direct-node-routes") == "true";
    if !native {
        return;
    }
    let name = |node: &Value| node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let nodes: Vec<String> = data.list("nodes", None).into_iter().map(name).collect();
    for node in nodes.iter().filter(|node| has_agent(data, node)) {
        let Some(machine) = cluster.machine(node) else { continue };
        let others = nodes.iter().filter(|other| *other != node);
        let wanted = others.filter_map(|other| Some((pod_part(data, other)?, node_address(data, other)?)));
        set(&machine, &wanted.collect());
    }
}

fn set(machine: &Arc<Model>, wanted: &BTreeMap<Ipv4Net, Ipv4Addr>) {
    let (new, gone) = machine.live(|live| {
        let set = &live.routes_set;
        let new: Vec<_> = wanted
            .iter()
            .filter(|(part, via)| set.get(*part) != Some(*via))
            .map(|(part, via)| (*part, *via))
            .collect();
        let gone: Vec<_> = set.keys().filter(|part| !wanted.contains_key(*part)).copied().collect();
        live.routes_set = wanted.clone();
        (new, gone)
    });
    if new.is_empty() && gone.is_empty() {
        return;
    }
    let held = Arc::clone(machine);
    machine.spawn(async move {
        for (part, via) in new {
            held.host.route(&held, part, Some(via)).await;
        }
        for part in gone {
            held.host.route(&held, part, None).await;
        }
        held.commons.announce();
    });
}
