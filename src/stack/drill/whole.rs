//! Whether a lab is whole, judged from what was seen of it: each thing that is missing is one clause.

use std::collections::{BTreeMap, BTreeSet};

use crate::lab::{Lab, Node};
use crate::stack::facts::{ClusterFacts, GuestFacts};
use crate::stack::units;
use crate::stack::vips::holders;

/// What was seen of a lab.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub guests: BTreeMap<String, GuestFacts>,
    pub cluster: Option<ClusterFacts>,
    /// Of [`members`](super::members), those that did not answer: their node, and the way's id.
    pub silent: BTreeSet<(String, &'static str)>,
}

/// Returns what keeps the lab from being whole, one clause each; empty if nothing does.
pub fn ailments(lab: &Lab, seen: &Seen) -> Vec<String> {
    let mut ailments = Vec::new();
    for node in &lab.nodes {
        match seen.guests.get(&node.name) {
            None => ailments.push(format!("{} does not answer", node.name)),
            Some(guest) => ailments.extend(of_guest(node, guest)),
        }
    }
    for vip in [lab.lan.vip, lab.internal.vip] {
        match holders(lab, &seen.guests, vip).as_slice() {
            [_] => {}
            [] => ailments.push(format!("nobody holds {vip}")),
            several => ailments.push(format!("{vip} is held by {}", several.join(" and "))),
        }
    }
    match &seen.cluster {
        None => ailments.push("no API server answers".to_owned()),
        Some(cluster) => ailments.extend(of_cluster(lab, cluster)),
    }
    ailments.extend(seen.silent.iter().map(|(node, way)| match *way {
        "member-api" => format!("the API server of {node} is not ready"),
        _ => format!("the application does not answer at {node}"),
    }));
    ailments
}

fn of_guest(node: &Node, guest: &GuestFacts) -> Vec<String> {
    let missing = node.nics.iter().filter(|nic| !guest.holds(nic.address));
    let missing =
        missing.map(|nic| format!("{}'s {} does not hold {}", node.name, nic.guest_name(), nic.address));
    let down = units::of(node.role).iter().filter(|unit| !guest.unit_active(unit));
    missing.chain(down.map(|unit| format!("{unit} does not run on {}", node.name))).collect()
}

fn of_cluster(lab: &Lab, cluster: &ClusterFacts) -> Vec<String> {
    let ready = |node: &&Node| cluster.nodes.get(&node.name).is_some_and(|node| node.ready);
    let unready = lab.members().filter(|node| !ready(node)).map(|node| format!("{} is not Ready", node.name));
    let rollouts = cluster.rollouts.iter().filter(|(_, ready)| !**ready);
    unready.chain(rollouts.map(|(name, _)| format!("{name} is not rolled out"))).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::stack::facts::KubeNode;
    use crate::stack::fixture;
    use crate::stack::vips::holder;

    type Harm = fn(&mut Seen);

    fn whole(lab: &Lab) -> Seen {
        let guest = |node: &Node| {
            let units = ["nginx", "keepalived", "fusionlab-dns", "containerd", "kubelet"];
            let mut guest = GuestFacts {
                addresses: node.nics.iter().map(|nic| (nic.guest_name(), nic.address)).collect(),
                units: units.map(|unit| (unit.to_owned(), "active".to_owned())).into(),
                ..GuestFacts::default()
            };
            if node.name == "gateway1" {
                guest.addresses.extend([lab.lan.vip, lab.internal.vip].map(|vip| ("ens".to_owned(), vip)));
            }
            (node.name.clone(), guest)
        };
        let ready = |node: &Node| (node.name.clone(), KubeNode { ready: true, ..KubeNode::default() });
        let cluster = ClusterFacts {
            nodes: lab.members().map(ready).collect(),
            rollouts: BTreeMap::from([("cilium".to_owned(), true)]),
            ..ClusterFacts::default()
        };
        let guests = lab.nodes.iter().map(guest).collect();
        Seen { guests, cluster: Some(cluster), silent: BTreeSet::new() }
    }

    #[test]
    fn a_whole_lab_has_no_ailments_and_each_loss_is_one() {
        let (lab, _) = fixture::document();
        assert_eq!(ailments(&lab, &whole(&lab)), [""; 0]);
        assert_eq!(holder(&lab, &whole(&lab).guests), Some("gateway1"));
        let cases: [(&str, Harm); 9] = [
            ("gateway2 does not answer", |seen| drop(seen.guests.remove("gateway2"))),
            ("gateway2's ens160 does not hold 192.168.68.57", |seen| {
                seen.guests.get_mut("gateway2").unwrap().addresses.remove(0);
            }),
            ("nginx does not run on gateway1", |seen| {
                drop(seen.guests.get_mut("gateway1").unwrap().units.remove("nginx"));
            }),
            ("kubelet does not run on k8s-worker1", |seen| {
                drop(seen.guests.get_mut("k8s-worker1").unwrap().units.remove("kubelet"));
            }),
            ("192.168.68.200 is held by gateway1 and gateway2", |seen| {
                let vip = ("ens160".to_owned(), Ipv4Addr::new(192, 168, 68, 200));
                seen.guests.get_mut("gateway2").unwrap().addresses.push(vip);
            }),
            ("no API server answers", |seen| seen.cluster = None),
            ("k8s-worker2 is not Ready", |seen| {
                drop(seen.cluster.as_mut().unwrap().nodes.remove("k8s-worker2"));
            }),
            ("cilium is not rolled out", |seen| {
                seen.cluster.as_mut().unwrap().rollouts.insert("cilium".to_owned(), false);
            }),
            ("the API server of k8s-master2 is not ready", |seen| {
                seen.silent.insert(("k8s-master2".to_owned(), "member-api"));
            }),
        ];
        for (said, harm) in cases {
            let mut seen = whole(&lab);
            harm(&mut seen);
            assert_eq!(ailments(&lab, &seen), [said]);
        }
        let mut nobody = whole(&lab);
        nobody.guests.get_mut("gateway1").unwrap().addresses.truncate(2);
        assert_eq!(ailments(&lab, &nobody), ["nobody holds 192.168.68.200", "nobody holds 10.10.0.10"]);
        assert_eq!(holder(&lab, &nobody.guests), None);
    }
}
