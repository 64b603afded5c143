//! The lab as digests: what the world must look like, in the form in which facts are compared with it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::lab::{Lab, Node, paths};
use crate::stack::identity::Identity;
use crate::stack::{cilium, ingress, kubeconfig, node, vm};

use super::facts::Facts;
use super::networks::{self, NetworkEdit};

/// What is wished. Parts that depend on the identity are empty while there is none.
#[derive(Clone, Debug)]
pub struct Desired {
    pub template_key: String,
    pub network: NetworkEdit,
    /// Node → digest of its VMX and seed.
    pub specs: BTreeMap<String, String>,
    /// Node → what its VMX must say: see `stack::vm::parts`.
    pub parts: BTreeMap<String, BTreeMap<String, String>>,
    /// Node → path → SHA-256 of its managed files.
    pub files: BTreeMap<String, BTreeMap<String, String>>,
    /// Chart with its version, as Helm lists it.
    pub cilium_chart: String,
    /// SHA-256 of the values file.
    pub cilium_values: String,
    /// What Cilium's agents must be told.
    pub cilium_settings: BTreeMap<String, String>,
    /// SHA-256 of the ingress manifests.
    pub ingress: Option<String>,
    /// SHA-256 of the user's kubeconfig.
    pub kubeconfig: Option<String>,
}

impl Desired {
    /// Derives what is wished from the lab and, once it exists, its identity. `proxy_url` is the way to the guests
    /// for the user's kubectl, if it is not a direct one.
    pub fn of(lab: &Lab, identity: Option<&Identity>, facts: &Facts, proxy_url: Option<&str>) -> Self {
        let template_key = vm::template_key(lab);
        let mut desired = Self {
            network: networks::edit(lab, facts),
            specs: BTreeMap::new(),
            parts: lab.nodes.iter().map(|node| (node.name.clone(), parts(lab, node))).collect(),
            files: BTreeMap::new(),
            cilium_chart: cilium::chart(lab),
            cilium_values: cilium::digest(lab),
            cilium_settings: cilium::settings(lab),
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

fn parts(lab: &Lab, node: &Node) -> BTreeMap<String, String> {
    vm::parts(&vm::node_vmx(lab, node, None, paths::DISK_VMDK))
}

/// Returns the user's kubeconfig: its server is the LAN VIP.
pub fn kubeconfig_text(lab: &Lab, identity: &Identity, proxy_url: Option<&str>) -> String {
    kubeconfig::render(lab, identity, &kubeconfig::lan_server(lab), proxy_url)
}

/// Returns the SHA-256 of some bytes in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::World;
    use super::*;

    #[test]
    fn without_an_identity_nothing_is_wished_that_needs_one() {
        let desired = World::empty().desired();
        assert!(desired.specs.is_empty() && desired.files.is_empty());
        assert_eq!((desired.ingress, desired.kubeconfig), (None, None));
        assert!(matches!(desired.network, NetworkEdit::Change(_)));
    }

    #[test]
    fn with_one_every_machine_has_a_spec_and_files() {
        let world = World::complete();
        let desired = world.desired();
        for node in &world.lab.nodes {
            assert!(desired.specs.contains_key(&node.name) && !desired.files[&node.name].is_empty());
        }
        assert!(matches!(desired.network, NetworkEdit::Satisfied));
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
    fn the_users_kubeconfig_names_the_lans_vip_and_the_way_there() {
        let world = World::complete();
        let identity = world.identity.as_ref().unwrap();
        let straight = kubeconfig_text(&world.lab, identity, None);
        assert!(straight.contains("https://192.168.68.200:6443") && !straight.contains("proxy-url"));
        let through = kubeconfig_text(&world.lab, identity, Some("socks5://127.0.0.1:41077"));
        assert!(through.contains("socks5://127.0.0.1:41077"));
    }
}
