//! What was found that is not as the lab makes it, in words: what it is, and what is wanted.

use std::collections::BTreeMap;

use crate::lab::{Lab, Node};
use crate::stack::certificates::{self, Due};
use crate::stack::facts::{ClusterFacts, GuestFacts};
use crate::stack::identity::{Leaf, Stale};
use crate::stack::node::CLOCK_WITHIN_MS;
use crate::stack::validity::{Validity, long};

use super::facts::Facts;

/// Findings of one kind that are told; of more only the number.
const TOLD: usize = 2;

/// Joins what was found, the first of it in full.
fn told(mut found: Vec<String>) -> Option<String> {
    let more = found.len().saturating_sub(TOLD);
    found.truncate(TOLD);
    let more = (more > 0).then(|| format!("and {more} more"));
    found.extend(more);
    (!found.is_empty()).then(|| found.join("; "))
}

/// Says how a VM's VMX differs from what the lab wants of it; none if it does not.
pub fn of_parts(
    node: &Node,
    wished: &BTreeMap<String, String>,
    found: &BTreeMap<String, String>,
) -> Option<String> {
    let nothing = String::new();
    let has = |parts: &BTreeMap<String, String>, key: &str| parts.get(key).unwrap_or(&nothing).clone();
    // What Fusion adds to a card of the lab's own is its business; another card is not.
    let is_new = |key: &&String| key.ends_with(".present") && !wished.contains_key(*key);
    let keys = wished.keys().chain(found.keys().filter(is_new));
    let differ = keys.filter(|key| wished.get(*key) != found.get(*key));
    let mut words: Vec<String> = Vec::new();
    for key in differ {
        let (is, should) = (has(found, key), has(wished, key));
        let word = match key.split_once('.') {
            None if key == "memsize" => format!("its memory is {is} MiB, not {should}"),
            None => format!("its CPUs are {is}, not {should}"),
            Some((card, part)) if card.starts_with("ethernet") => of_card(node, card, part, wished, found),
            Some(_) => "its seed is not attached".to_owned(),
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    told(words)
}

fn of_card(
    node: &Node,
    card: &str,
    part: &str,
    wished: &BTreeMap<String, String>,
    found: &BTreeMap<String, String>,
) -> String {
    let number: Option<usize> = card.trim_start_matches("ethernet").parse().ok();
    let Some(name) = number.and_then(|number| node.nics.get(number)).map(|nic| nic.guest_name()) else {
        return format!("it has a card that is not the lab's ({card})");
    };
    let get = |parts: &BTreeMap<String, String>, part: &str| {
        parts.get(&format!("{card}.{part}")).cloned().unwrap_or_else(|| "none".to_owned())
    };
    // Fusion ignores the network's number for every other kind (facts/fusion-networking.md §4).
    let network = |parts: &BTreeMap<String, String>| match get(parts, "connectionType").as_str() {
        "custom" => get(parts, "vnet"),
        "bridged" => match get(parts, "bsdName").as_str() {
            "none" => "bridged".to_owned(),
            interface => format!("bridged to {interface}"),
        },
        other => other.to_owned(),
    };
    if get(found, "present") == "none" {
        return format!("its card {name} is gone");
    }
    match part {
        "connectionType" | "vnet" | "bsdName" => {
            format!("its card {name} is on {}, not {}", network(found), network(wished))
        }
        "address" => format!("the MAC of {name} is {}, not {}", get(found, part), get(wished, part)),
        "startConnected" => format!("its card {name} is not connected"),
        _ => format!("{part} of its card {name} is {}, not {}", get(found, part), get(wished, part)),
    }
}

/// Says which of these files of ours are missing in a guest, or differ from what the lab makes of them.
pub fn of_files(guest: &GuestFacts, wished: &BTreeMap<String, String>) -> Option<String> {
    let differs = |(path, digest): (&String, &String)| match guest.files.get(path) {
        None => Some(format!("{path} is missing")),
        Some(found) if found != digest => Some(format!("{path} differs from the lab's")),
        Some(_) => None,
    };
    told(wished.iter().filter_map(differs).collect())
}

/// Says which of these units do not run, or would not after the next boot.
pub fn of_units(guest: &GuestFacts, units: &[&str]) -> Option<String> {
    let state = |unit: &&&str| match guest.units.get(**unit) {
        Some(state) if state == "active" && guest.unit_off_at_boot(unit) => {
            Some(format!("{unit} would not start at boot"))
        }
        Some(state) if state == "active" => None,
        Some(state) => Some(format!("{unit} is {state}")),
        None => Some(format!("{unit} does not run")),
    };
    told(units.iter().filter_map(|unit| state(&unit)).collect())
}

/// Says how far a guest's clock is off, if it is to be set.
///
/// While the Mac slept, all guests' clocks stood still and are behind. Where all are ahead by the same time, it is the Mac's
/// that is wrong, and a guest that follows its time servers is left alone.
pub fn of_clock(facts: &Facts, node: &str) -> Option<String> {
    let off = |guest: &GuestFacts| guest.clock_off_ms;
    let own = off(facts.guests.get(node)?);
    if own.unsigned_abs() <= CLOCK_WITHIN_MS {
        return None;
    }
    let all_alike =
        || facts.guests.values().all(|guest| (off(guest) - own).unsigned_abs() <= CLOCK_WITHIN_MS);
    if own > 0 && facts.guests.len() > 1 && all_alike() {
        return None;
    }
    let seconds = (own.unsigned_abs() + 500) / 1000;
    let way = if own < 0 { "behind" } else { "ahead of" };
    Some(format!("its clock is {} {way} this Mac's", long(seconds)))
}

/// Says what is due of a node's certificates; none if nothing is.
pub fn of_certificates(due: &Due, now: u64) -> Option<String> {
    let mut words = Vec::new();
    words.extend(due.ends.map(|first| format!("its certificates {}", first.told_of_several(now))));
    let of_kubelet = |own: Validity| format!("its kubelet's certificate {}", own.told(now));
    words.extend(due.kubelet_ends.map(of_kubelet));
    // Cut short, it may have taken the certificate away: then all are lacking.
    let names = told(due.names.clone()).filter(|_| !due.unfinished);
    words.extend(names.map(|names| format!("its API certificate lacks {names}")));
    words.extend(due.unfinished.then(|| "a renewal of its certificates was cut short".to_owned()));
    let of_kubelet = "a renewal of its kubelet's certificate was cut short";
    words.extend((due.kubelet_unfinished && due.kubelet_ends.is_none()).then(|| of_kubelet.to_owned()));
    (!words.is_empty()).then(|| words.join("; "))
}

/// The certificate of a lab that ends first.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FirstEnd {
    pub node: String,
    /// In seconds since 1970.
    pub ends: u64,
    /// Such as `end in 23 days` or `begin in 3 days`, of the node's certificates.
    pub words: String,
    /// Whether `up` would renew it now.
    pub is_due: bool,
}

/// Finds the certificate that ends first, of those that the guests told of.
pub fn first_end(lab: &Lab, facts: &Facts) -> Option<FirstEnd> {
    let of = |node: &Node| {
        let guest = facts.guests.get(&node.name)?;
        let all = certificates::first(&node.name, guest, facts.now).map(|(_, validity)| validity);
        Some((node.name.clone(), all.min_by_key(|validity| validity.good_until(facts.now))?))
    };
    let (node, first) = lab.members().filter_map(of).min_by_key(|(_, first)| first.good_until(facts.now))?;
    Some(FirstEnd {
        node,
        ends: first.ends,
        words: first.told_of_several(facts.now),
        is_due: first.is_due(facts.now),
    })
}

/// When the first certificate of the lab's own identity ends, on this Mac.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct OwnEnd {
    /// Such as `the user's certificate`.
    pub whose: String,
    /// In seconds since 1970.
    pub ends: u64,
    /// Such as `ends in 23 days`.
    pub words: String,
    /// Whether `up` would renew it now.
    pub is_due: bool,
}

/// Finds the certificate of the lab's own identity that ends first: the user's, or the one of the lab's sites.
pub fn first_own_end(facts: &Facts) -> Option<OwnEnd> {
    let all = facts.own_certificates.iter();
    let (leaf, first) = all.min_by_key(|(_, validity)| validity.good_until(facts.now))?;
    Some(OwnEnd {
        whose: leaf.words().to_owned(),
        ends: first.ends,
        words: first.told(facts.now),
        is_due: first.is_due(facts.now),
    })
}

/// Lists the machines whose clocks are off, in words.
pub fn clocks(lab: &Lab, facts: &Facts) -> Vec<String> {
    let off = |node: &Node| Some(format!("{}: {}", node.name, of_clock(facts, &node.name)?));
    lab.nodes.iter().filter_map(off).collect()
}

/// Says why the identity's own certificates are issued anew; none if they are not.
pub fn of_identity(stale: &[(Leaf, Stale)], now: u64) -> Option<String> {
    let word = |(leaf, stale): &(Leaf, Stale)| match stale {
        Stale::OtherNames => format!("{} names another domain", leaf.words()),
        Stale::Due(validity) => format!("{} {}", leaf.words(), validity.told(now)),
    };
    told(stale.iter().map(word).collect())
}

/// Says which of Cilium's settings somebody changed; one that this release does not write is passed over.
pub fn of_cilium(cluster: &ClusterFacts, wished: &BTreeMap<String, String>) -> Option<String> {
    let changed = |(name, should): (&String, &String)| {
        let is = cluster.cilium_settings.get(name).filter(|is| *is != should)?;
        Some(format!("{name} is {is}, not {should}"))
    };
    told(wished.iter().filter_map(changed).collect())
}

/// Says which NodePorts moved.
pub fn of_node_ports(lab: &Lab, cluster: &ClusterFacts) -> Option<String> {
    let moved = |(port, should)| match cluster.node_ports.get(&port) {
        Some(is) => format!("NodePort of {port} is {is}, not {should}"),
        None => format!("port {port} has no NodePort"),
    };
    told(cluster.moved_ports(lab.cluster.ports.pinned()).into_iter().map(moved).collect())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::World;
    use super::*;

    fn changed(node: &str, changes: &[(&str, Option<&str>)]) -> Option<String> {
        let world = World::complete();
        let wished = &world.desired().parts[node];
        let mut found = wished.clone();
        for (key, value) in changes {
            match value {
                Some(value) => found.insert((*key).to_owned(), (*value).to_owned()),
                None => found.remove(*key),
            };
        }
        of_parts(world.lab.node(node).unwrap(), wished, &found)
    }

    #[test]
    fn a_vm_that_was_changed_by_hand_is_described_as_its_window_shows_it() {
        assert_eq!(changed("k8s-worker1", &[]), None);
        assert_eq!(
            changed("k8s-worker1", &[("memsize", Some("2048"))]).unwrap(),
            "its memory is 2048 MiB, not 4096"
        );
        assert_eq!(changed("k8s-worker1", &[("numvcpus", Some("1"))]).unwrap(), "its CPUs are 1, not 2");
        let nat = [("ethernet0.connectionType", Some("nat")), ("ethernet0.vnet", None)];
        assert_eq!(changed("k8s-worker1", &nat).unwrap(), "its card ens160 is on nat, not vmnet2");
        let mac = changed("gateway1", &[("ethernet1.address", Some("00:0c:29:00:00:01"))]).unwrap();
        assert!(mac.starts_with("the MAC of ens192 is 00:0c:29:00:00:01, not 00:50:56:"), "{mac}");
        let off = [("ethernet0.startConnected", Some("false"))];
        assert_eq!(changed("gateway1", &off).unwrap(), "its card ens160 is not connected");
        let third = [("ethernet5.present", Some("true")), ("ethernet5.connectionType", Some("nat"))];
        assert_eq!(
            changed("gateway1", &third).unwrap(),
            "it has a card that is not the lab's (ethernet5)",
            "once, however much of it is there"
        );
        assert_eq!(changed("gateway1", &[("sata0:1.present", None)]).unwrap(), "its seed is not attached");
    }

    #[test]
    fn more_than_can_be_read_at_a_glance_is_counted() {
        let wished: BTreeMap<_, _> = ["/a", "/b", "/c", "/d"].map(|path| (path.into(), "x".into())).into();
        let files = [("/a".to_owned(), "other".to_owned()), ("/d".to_owned(), "x".to_owned())].into();
        let guest = GuestFacts { files, ..GuestFacts::default() };
        assert_eq!(
            of_files(&guest, &wished).unwrap(),
            "/a differs from the lab's; /b is missing; and 1 more"
        );
    }

    #[test]
    fn a_unit_that_the_next_boot_leaves_out_is_no_better_than_one_that_is_down() {
        let mut guest = GuestFacts::default();
        guest.units.insert("kubelet".into(), "active".into());
        assert_eq!(of_units(&guest, &["kubelet"]), None, "whether it is enabled is not known");
        guest.enabled.insert("kubelet".into(), "disabled".into());
        assert_eq!(of_units(&guest, &["kubelet"]).unwrap(), "kubelet would not start at boot");
        guest.units.insert("kubelet".into(), "failed".into());
        assert_eq!(of_units(&guest, &["kubelet"]).unwrap(), "kubelet is failed");
    }

    #[test]
    fn guests_that_slept_are_set_and_a_mac_that_is_late_is_not_followed() {
        let mut world = World::complete();
        let mut off = |by: i64| {
            world.facts.guests.values_mut().for_each(|guest| guest.clock_off_ms = by);
            of_clock(&world.facts, "k8s-worker1")
        };
        assert_eq!(off(-900), None);
        assert_eq!(off(-8 * 3_600_000).unwrap(), "its clock is 8 h behind this Mac's");
        assert_eq!(off(24 * 3_600_000), None, "all are ahead alike: the Mac's clock is wrong");
        world.guest("k8s-worker1").unwrap().clock_off_ms = 90_000_000;
        assert_eq!(of_clock(&world.facts, "k8s-worker1").unwrap(), "its clock is 25 h ahead of this Mac's");
    }

    #[test]
    fn the_end_of_a_certificate_is_told_by_how_far_it_is() {
        let day = 24 * 3600;
        let until = |ends| Validity { begins: 0, ends };
        let due = |ends| Due { ends: Some(until(ends)), ..Due::default() };
        let now = 400 * day;
        assert_eq!(of_certificates(&due(423 * day), now).unwrap(), "its certificates end in 23 days");
        assert_eq!(of_certificates(&due(35 * day), now).unwrap(), "its certificates ended 365 days ago");
        let kubelet = Due { kubelet_ends: Some(until(now - 3 * day)), ..Due::default() };
        assert_eq!(of_certificates(&kubelet, now).unwrap(), "its kubelet's certificate ended 3 days ago");
        let cut = Due { kubelet_unfinished: true, ..Due::default() };
        assert_eq!(
            of_certificates(&cut, now).unwrap(),
            "a renewal of its kubelet's certificate was cut short"
        );
        let names = Due { names: vec!["k8s.example.org".to_owned()], ..Due::default() };
        assert_eq!(of_certificates(&names, now).unwrap(), "its API certificate lacks k8s.example.org");
        assert_eq!(of_certificates(&Due::default(), now), None);
        let stale = [(Leaf::Admin, Stale::Due(until(410 * day))), (Leaf::LabServer, Stale::OtherNames)];
        assert_eq!(
            of_identity(&stale, now).unwrap(),
            "the user's certificate ends in 10 days; the certificate of the lab's sites names another domain"
        );
    }
}
