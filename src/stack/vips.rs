//! Which gateways hold the lab's VIPs, judged from what was seen of them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::lab::{Lab, Node};
use crate::stack::facts::GuestFacts;

/// Returns the gateway that holds both VIPs; none if not exactly one does.
pub fn holder<'a>(lab: &'a Lab, guests: &BTreeMap<String, GuestFacts>) -> Option<&'a str> {
    let [lan, internal] = [lab.lan.vip, lab.internal.vip].map(|vip| holders(lab, guests, vip));
    match (lan.as_slice(), internal.as_slice()) {
        ([one], [other]) if one == other => Some(one),
        _ => None,
    }
}

/// Returns the gateways that hold a VIP, in the lab's order.
pub fn holders<'a>(lab: &'a Lab, guests: &BTreeMap<String, GuestFacts>, vip: Ipv4Addr) -> Vec<&'a str> {
    let holds = |node: &&Node| guests.get(&node.name).is_some_and(|guest| guest.holds(vip));
    lab.gateways().filter(holds).map(|node| node.name.as_str()).collect()
}

/// Names the gateways that hold a VIP: `nobody`, `gateway1 and gateway2`.
pub fn named_holders(lab: &Lab, guests: &BTreeMap<String, GuestFacts>, vip: Ipv4Addr) -> String {
    let names = holders(lab, guests, vip);
    if names.is_empty() { "nobody".to_owned() } else { names.join(" and ") }
}
