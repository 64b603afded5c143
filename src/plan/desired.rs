//! The lab as digests: what the world must look like, in the form in which facts are compared with it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::formats::lines::unified_diff;
use crate::formats::networking::{Conflict, Document, Ours, restore};
use crate::lab::Lab;
use crate::stack::identity::Identity;
use crate::stack::{cilium, ingress, kubeconfig, network, node, vm};

use super::facts::{Facts, NetworkRecord};

/// What is wished. Parts that depend on the identity are empty while there is none.
#[derive(Clone, Debug)]
pub struct Desired {
    pub template_key: String,
    pub network: NetworkWish,
    /// Node → digest of its VMX and seed.
    pub specs: BTreeMap<String, String>,
    /// Node → path → SHA-256 of its managed files.
    pub files: BTreeMap<String, BTreeMap<String, String>>,
    /// Chart with its version, as Helm lists it.
    pub cilium_chart: String,
    /// SHA-256 of the values file.
    pub cilium_values: String,
    /// SHA-256 of the ingress manifests.
    pub ingress: Option<String>,
    /// SHA-256 of the user's kubeconfig.
    pub kubeconfig: Option<String>,
}

/// What is to become of Fusion's networking file.
#[derive(Clone, Debug)]
pub enum NetworkWish {
    /// It says what we need.
    Satisfied,
    /// It must be replaced by `after`; `diff` shows the change.
    Change { after: Vec<u8>, diff: String },
    /// Somebody else's things stand in the way.
    Conflict(Vec<Conflict>),
    /// It is not a file we understand.
    Unreadable { line: usize, reason: String },
}

impl Desired {
    /// Derives what is wished from the lab and, once it exists, its identity. `proxy_url` is the way to the guests
    /// for the user's kubectl, if it is not a direct one.
    pub fn of(lab: &Lab, identity: Option<&Identity>, facts: &Facts, proxy_url: Option<&str>) -> Self {
        let template_key = vm::template_key(lab);
        let mut desired = Self {
            network: network_wish(lab, facts),
            specs: BTreeMap::new(),
            files: BTreeMap::new(),
            cilium_chart: cilium::chart(lab),
            cilium_values: cilium::digest(lab),
            ingress: None,
            kubeconfig: None,
            template_key,
        };
        if let Some(identity) = identity {
            desired.add_secrets(lab, identity, proxy_url);
        }
        desired
    }

    fn add_secrets(&mut self, lab: &Lab, identity: &Identity, proxy_url: Option<&str>) {
        // A node that is new to the lab has no host key yet: nothing of it can stand.
        for node in lab.nodes.iter().filter(|node| identity.host(&node.name).is_some()) {
            let spec = vm::spec_digest(lab, node, identity, &self.template_key);
            self.specs.insert(node.name.clone(), spec);
            let files = node::files_of(lab, identity, node);
            let digests = files.iter().map(|file| (file.path.clone(), file.digest())).collect();
            self.files.insert(node.name.clone(), digests);
        }
        self.ingress = Some(ingress::digest(lab, identity));
        self.kubeconfig = Some(sha256(kubeconfig_text(lab, identity, proxy_url).as_bytes()));
    }
}

/// Returns the user's kubeconfig: its server is the LAN VIP.
pub fn kubeconfig_text(lab: &Lab, identity: &Identity, proxy_url: Option<&str>) -> String {
    kubeconfig::render(lab, identity, &kubeconfig::lan_server(lab), proxy_url)
}

/// Returns what the lab makes of the networking file in the facts.
pub fn network_wish(lab: &Lab, facts: &Facts) -> NetworkWish {
    let before = facts.networking.clone().unwrap_or_default();
    let document = match &facts.networking {
        None => Document::new(),
        Some(bytes) => match Document::parse(bytes) {
            // What an earlier lab file reserved on another network is taken out.
            Ok(document) => match &facts.network_record {
                Some(record) if !record.made_vmnet && record.vmnet != lab.internal.vmnet => {
                    document.without(record.vmnet, false, &record.reservations)
                }
                _ => document,
            },
            Err(refusal) => return NetworkWish::Unreadable { line: refusal.line, reason: refusal.reason },
        },
    };
    match document.ensure(&network::wish(lab), ours(facts.network_record.as_ref(), lab.internal.vmnet)) {
        Err(conflicts) => NetworkWish::Conflict(conflicts),
        Ok(after) => {
            let after = after.render();
            if after == before { NetworkWish::Satisfied } else { change(&before, after) }
        }
    }
}

/// Returns what of this network we made in an earlier run.
fn ours(record: Option<&NetworkRecord>, vmnet: u8) -> Ours {
    record
        .filter(|record| record.vmnet == vmnet)
        .map(|record| Ours { vmnet: record.made_vmnet, reservations: record.reservations.clone() })
        .unwrap_or_default()
}

/// What `destroy` makes of Fusion's networking file. `before` is the file as it was before our first change.
pub fn network_without(facts: &Facts, before: Option<&[u8]>) -> NetworkWish {
    let (Some(bytes), Some(record)) = (&facts.networking, &facts.network_record) else {
        return NetworkWish::Satisfied;
    };
    let document = match Document::parse(bytes) {
        Ok(document) => document,
        Err(refusal) => return NetworkWish::Unreadable { line: refusal.line, reason: refusal.reason },
    };
    let gone = record.made_vmnet && !others_use(&document, record);
    let after = restore(bytes, before, record.vmnet, gone, &record.reservations);
    if after == *bytes { NetworkWish::Satisfied } else { change(bytes, after) }
}

/// Says whether somebody else, such as another lab, has reservations on the network that we made: then it stays.
fn others_use(document: &Document, record: &NetworkRecord) -> bool {
    document.reservations(record.vmnet).iter().any(|reservation| !record.reservations.contains(reservation))
}

fn change(before: &[u8], after: Vec<u8>) -> NetworkWish {
    let diff = unified_diff(&String::from_utf8_lossy(before), &String::from_utf8_lossy(&after), "networking");
    NetworkWish::Change { after, diff }
}

/// Returns the SHA-256 of some bytes in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::fixture::World;
    use super::*;

    #[test]
    fn without_an_identity_nothing_is_wished_that_needs_one() {
        let desired = World::empty().desired();
        assert!(desired.specs.is_empty() && desired.files.is_empty());
        assert_eq!((desired.ingress, desired.kubeconfig), (None, None));
        assert!(matches!(desired.network, NetworkWish::Change { .. }));
    }

    #[test]
    fn with_one_every_machine_has_a_spec_and_files() {
        let world = World::complete();
        let desired = world.desired();
        for node in &world.lab.nodes {
            assert!(desired.specs.contains_key(&node.name) && !desired.files[&node.name].is_empty());
        }
        assert!(matches!(desired.network, NetworkWish::Satisfied));
    }

    #[test]
    fn a_bigger_worker_changes_that_workers_spec_alone() {
        let world = World::complete();
        let before = world.desired();
        let mut bigger = world.clone();
        let worker = bigger.lab.nodes.iter_mut().find(|node| node.name == "k8s-worker1").unwrap();
        worker.memory_mib *= 2;
        let after = bigger.desired();
        let changed: Vec<_> =
            before.specs.keys().filter(|name| before.specs[*name] != after.specs[*name]).collect();
        assert_eq!(changed, ["k8s-worker1"]);
        assert_eq!(before.files, after.files);
    }

    #[test]
    fn reservations_of_an_earlier_lab_file_are_taken_out() {
        let mut world = World::complete();
        let worker = world.lab.nodes.iter_mut().find(|node| node.name == "k8s-worker1").unwrap();
        let (old, new) = (worker.address(), Ipv4Addr::new(10, 10, 0, 41));
        worker.nics[0].address = new;
        let NetworkWish::Change { after, diff } = network_wish(&world.lab, &world.facts) else {
            panic!("another address is another reservation");
        };
        let after = String::from_utf8(after).unwrap();
        assert!(after.contains(&format!(" {new}\n")) && !after.contains(&format!(" {old}\n")), "{diff}");
    }

    #[test]
    fn what_we_made_is_unmade_to_the_byte() {
        let (before, world) = (World::empty().facts.networking.unwrap(), World::complete());
        let NetworkWish::Change { after, .. } = network_without(&world.facts, Some(&before)) else {
            panic!("our lines are in the file");
        };
        assert_eq!(String::from_utf8(after), String::from_utf8(before));
    }

    #[test]
    fn the_users_kubeconfig_names_the_lans_vip_and_the_way_there() {
        let world = World::complete();
        let identity = world.identity.as_ref().unwrap();
        let straight = kubeconfig_text(&world.lab, identity, None);
        assert!(straight.contains("https://192.168.68.200:6443") && !straight.contains("proxy-url"));
        let through = kubeconfig_text(&world.lab, identity, Some("socks5://127.0.0.1:41077"));
        assert!(through.contains("socks5://127.0.0.1:41077"));
    }
}
