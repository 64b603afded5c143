//! Kubernetes' objects as kubectl and etcdctl print them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::Value;

use super::Finding;
use super::text::json;
use crate::formats::figures::count;
use crate::stack::checks::{Expect, arrows};
use crate::stack::facts::{condition, items, kube_node, name_of, node_ports};

/// Compares an object that was printed as JSON.
pub fn judge(expect: &Expect, text: &str) -> Finding {
    match expect {
        Expect::Etcd { members } => etcd(*members, &json(text)?),
        Expect::Nodes { addresses, version } => nodes(addresses, version, &json(text)?),
        Expect::Object(name) => {
            let found = json(text)?;
            if name_of(&found) == name { Ok(name.clone()) } else { Err(format!("not {name}")) }
        }
        Expect::Condition(kind) => {
            let object = json(text)?;
            if condition(&object, kind) { Ok((*kind).to_owned()) } else { Err(not_so(&object, kind)) }
        }
        Expect::Routes(wanted) => routes(wanted, &json(text)?),
        Expect::NodePorts(wanted) => {
            let found = node_ports(&json(text)?);
            if &found == wanted {
                Ok(arrows(&found))
            } else {
                Err(format!("{} instead of {}", arrows(&found), arrows(wanted)))
            }
        }
        Expect::PodsWithin(net) => within(*net, &json(text)?, "pod", |pod| {
            let own = pod["spec"]["hostNetwork"] != true;
            own.then(|| pod["status"]["podIP"].as_str()).flatten()
        }),
        Expect::ServicesWithin(net) => within(*net, &json(text)?, "Service", |service| {
            service["spec"]["clusterIP"].as_str().filter(|address| *address != "None")
        }),
        _ => Err("another kind of answer is needed".to_owned()),
    }
}

/// Wants every address that an object has in a network, and one at least.
fn within(net: Ipv4Net, list: &Value, kind: &str, address: impl Fn(&Value) -> Option<&str>) -> Finding {
    let found: Vec<(&str, &str)> =
        items(list).filter_map(|object| Some((name_of(object), address(object)?))).collect();
    let inside = |address: &str| address.parse::<Ipv4Addr>().is_ok_and(|address| net.contains(&address));
    let outside: Vec<String> = found
        .iter()
        .filter(|(_, address)| !inside(address))
        .map(|(name, address)| format!("{name} has {address}"))
        .collect();
    match (outside.as_slice(), found.len()) {
        ([], 0) => Err(format!("no {kind} has an address")),
        ([], count) => Ok(format!("{count} in {net}")),
        (outside, _) => Err(outside.join(", ")),
    }
}

fn etcd(members: usize, answer: &Value) -> Finding {
    let rows = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    let id = |row: &Value| row["Status"]["header"]["member_id"].as_u64();
    let leaders = rows.iter().filter(|row| id(row).is_some() && id(row) == row["Status"]["leader"].as_u64());
    let learners = rows.iter().filter(|row| row["Status"]["isLearner"] == true);
    let errors: Vec<&str> = rows
        .iter()
        .flat_map(|row| row["Status"]["errors"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    let (leaders, learners) = (leaders.count(), learners.count());
    let seen = [count(rows.len(), "member"), count(leaders, "leader"), count(learners, "learner")].join(", ");
    match errors.as_slice() {
        [] if rows.len() == members && leaders == 1 && learners == 0 => Ok(seen),
        [] => Err(seen),
        errors => Err(format!("{seen}; {}", errors.join(", "))),
    }
}

fn nodes(addresses: &BTreeMap<String, Ipv4Addr>, version: &str, answer: &Value) -> Finding {
    let found: BTreeMap<_, _> = items(answer).map(|node| (name_of(node), kube_node(node))).collect();
    let mut wrong = Vec::new();
    for (name, address) in addresses {
        match found.get(name.as_str()) {
            None => wrong.push(format!("{name} is absent")),
            Some(node) if !node.ready => wrong.push(format!("{name} is not Ready")),
            Some(node) if node.internal_ip != Some(*address) => {
                let at = node.internal_ip.map_or_else(|| "no address".to_owned(), |ip| ip.to_string());
                wrong.push(format!("{name} is at {at} instead of {address}"));
            }
            Some(node) if node.kubelet_version != version => {
                wrong.push(format!("{name} has {} instead of {version}", node.kubelet_version));
            }
            Some(_) => {}
        }
    }
    let strangers = found.keys().filter(|name| !addresses.contains_key(**name));
    wrong.extend(strangers.map(|name| format!("{name} is not of this lab")));
    if wrong.is_empty() { Ok(format!("{} Ready, {version}", found.len())) } else { Err(wrong.join("; ")) }
}

/// Wants every HTTPRoute accepted with its references resolved, by each Gateway that it names.
fn routes(wanted: &BTreeSet<String>, list: &Value) -> Finding {
    let found: BTreeMap<&str, &Value> = items(list).map(|route| (name_of(route), route)).collect();
    let mut wrong: Vec<String> = wanted
        .iter()
        .filter(|name| !found.contains_key(name.as_str()))
        .map(|name| format!("{name} is absent"))
        .collect();
    for (name, route) in &found {
        let parents = route["status"]["parents"].as_array().map(Vec::as_slice).unwrap_or_default();
        if parents.is_empty() {
            wrong.push(format!("no controller looked at {name}"));
        }
        for parent in parents {
            let status = serde_json::json!({ "status": { "conditions": parent["conditions"] } });
            let lacking = ["Accepted", "ResolvedRefs"].into_iter().filter(|kind| !condition(&status, kind));
            wrong.extend(lacking.map(|kind| format!("{name} is {}", not_so(&status, kind))));
        }
    }
    if wrong.is_empty() { Ok(format!("{} of {}", found.len(), found.len())) } else { Err(wrong.join("; ")) }
}

fn not_so(object: &Value, kind: &str) -> String {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let message = conditions.into_iter().find(|condition| condition["type"] == kind);
    let message = message.and_then(|condition| condition["message"].as_str()).unwrap_or("no such condition");
    format!("not {kind}: {message}")
}
