//! cloud-init's seed of every machine (NoCloud: user-data, meta-data, network-config).
//!
//! A node's seed holds only what is its own, so that adding a node changes no other machine; what
//! concerns the whole lab is put in place later, as managed files.

use std::collections::BTreeMap;

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::lab::names::{GUEST_FACTS, GUEST_USER};
use crate::lab::{Addressing, Lab, Network, Nic, Node, Role};
use crate::stack::bake;
use crate::stack::file::GuestFile;
use crate::stack::identity::Identity;
use crate::stack::node;
use crate::stack::render::render;

const USER_DATA: &str = "user-data";
const META_DATA: &str = "meta-data";
const NETWORK_CONFIG: &str = "network-config";
/// Digits of the digest in an instance id.
const INSTANCE_DIGITS: usize = 16;

/// Returns the seed's files by name. Its instance id follows its content: cloud-init acts again when,
/// and only when, something in it changed.
pub fn seed(lab: &Lab, node: &Node, identity: &Identity) -> BTreeMap<String, Vec<u8>> {
    let user_data = user_data(lab, node, identity);
    let network_config = network_config(lab, node);
    let digest = hex::encode(Sha256::new().chain_update(&user_data).chain_update(&network_config).finalize());
    let instance_id = format!("{}-{}", node.name, &digest[..INSTANCE_DIGITS]);
    files(user_data, meta_data(&instance_id, &node.name), network_config)
}

/// Returns the seed with which the template bakes itself.
pub fn bake_seed(lab: &Lab, template_key: &str) -> BTreeMap<String, Vec<u8>> {
    let values = json!({ "files": bake_files(lab), "start": bake::START });
    let source = include_str!("../../cloud-init/bake-user-data.yaml.j2");
    let network_config = concat!(
        "version: 2\nethernets:\n  all:\n    match: {name: \"e*\"}\n",
        "    dhcp4: true\n    dhcp-identifier: mac\n"
    );
    files(
        render("bake-user-data.yaml.j2", source, values),
        meta_data(&format!("fusionlab-{template_key}"), "fusionlab-template"),
        network_config.to_owned(),
    )
}

/// Returns the files that the template's seed writes, as `write_files` entries.
pub fn bake_files(lab: &Lab) -> Vec<Value> {
    bake::files(lab).iter().map(write_file).collect()
}

fn files(user_data: String, meta_data: String, network_config: String) -> BTreeMap<String, Vec<u8>> {
    let files = [(USER_DATA, user_data), (META_DATA, meta_data), (NETWORK_CONFIG, network_config)];
    files.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect()
}

fn meta_data(instance_id: &str, hostname: &str) -> String {
    let source = include_str!("../../cloud-init/meta-data.yaml.j2");
    render("meta-data.yaml.j2", source, json!({ "instance_id": instance_id, "hostname": hostname }))
}

fn user_data(lab: &Lab, node: &Node, identity: &Identity) -> String {
    let host_key = identity.host(&node.name).expect("every node has a host key: Identity::complete makes it");
    let mut authorized_keys = vec![identity.user.public_line.clone()];
    authorized_keys.extend(lab.authorized_keys.iter().cloned());
    let own = [
        GuestFile::new(GUEST_FACTS, 0o755, include_str!("../../cloud-init/guest/fusionlab-facts.sh")),
        bake::datasource(),
        node::hosts_with(lab, std::slice::from_ref(node)),
    ];
    let values = json!({
        "lab": lab.name,
        "hostname": node.name,
        "user": GUEST_USER,
        "authorized_keys": authorized_keys,
        "host_key": {
            "private": host_key.private_pem.expose_secret(),
            "public": host_key.public_line,
        },
        "files": own.iter().map(write_file).collect::<Vec<_>>(),
    });
    render("user-data.yaml.j2", include_str!("../../cloud-init/user-data.yaml.j2"), values)
}

fn write_file(file: &GuestFile) -> Value {
    let content = std::str::from_utf8(&file.content).expect("files of a seed are our own texts");
    json!({ "path": file.path, "mode": format!("{:04o}", file.mode), "content": content })
}

fn network_config(lab: &Lab, node: &Node) -> String {
    let cards: Vec<_> =
        node.nics.iter().enumerate().map(|(index, nic)| card(lab, node, index, nic)).collect();
    let source = include_str!("../../cloud-init/network-config.yaml.j2");
    render("network-config.yaml.j2", source, json!({ "cards": cards }))
}

/// Only the first card leads to the outside; the boot never waits for another.
fn card(lab: &Lab, node: &Node, index: usize, nic: &Nic) -> Value {
    let first = index == 0;
    let (id, subnet, router, dns) = match nic.network {
        Network::Lan => ("lan", lab.lan.subnet, lab.lan.router, lab.lan.dns.clone()),
        Network::Internal => ("internal", lab.internal.subnet, lab.internal.nat, vec![lab.internal.nat]),
    };
    let leased = nic.network == Network::Internal && node.role != Role::Gateway;
    let dhcp = leased && lab.addressing == Addressing::Dhcp;
    json!({
        "id": if first { id.to_owned() } else { format!("{id}{index}") },
        "mac": nic.mac,
        "dhcp": dhcp,
        "address": format!("{}/{}", nic.address, subnet.prefix_len()),
        "router": (first && !dhcp).then_some(router),
        "dns": dns,
        "optional": !first,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::fixture;

    fn text(node: &str, file: &str) -> String {
        let (lab, identity) = fixture::document();
        String::from_utf8(seed(&lab, lab.node(node).unwrap(), &identity)[file].clone()).unwrap()
    }

    fn yaml(text: &str) -> Value {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn a_gateway_has_its_default_route_on_the_lan_only() {
        fixture::assert_golden("gateway1.network-config", &text("gateway1", NETWORK_CONFIG));
        let config = yaml(&text("gateway1", NETWORK_CONFIG));
        let cards = &config["ethernets"];
        assert_eq!(cards["lan"]["addresses"][0], "192.168.68.56/24");
        assert_eq!(cards["lan"]["routes"][0]["via"], "192.168.68.1");
        assert_eq!(cards["internal1"]["addresses"][0], "10.10.0.11/24");
        assert!(cards["internal1"].get("routes").is_none() && cards["internal1"]["optional"] == true);
    }

    #[test]
    fn a_node_gets_its_address_by_lease_or_by_writing() {
        let config = yaml(&text("k8s-master1", NETWORK_CONFIG));
        assert_eq!(config["ethernets"]["internal"]["dhcp4"], true);
        assert_eq!(config["ethernets"]["internal"]["dhcp-identifier"], "mac");
        let mac = fixture::lab().node("k8s-master1").unwrap().internal().mac;
        assert_eq!(config["ethernets"]["internal"]["match"]["macaddress"], mac.to_string());

        let mut lab = fixture::lab();
        lab.addressing = Addressing::Static;
        let config = yaml(&network_config(&lab, lab.node("k8s-master1").unwrap()));
        assert_eq!(config["ethernets"]["internal"]["addresses"][0], "10.10.0.131/24");
        assert_eq!(config["ethernets"]["internal"]["routes"][0]["via"], "10.10.0.2");
        assert_eq!(config["ethernets"]["internal"]["nameservers"]["addresses"][0], "10.10.0.2");
    }

    #[test]
    fn a_node_with_a_card_on_the_lan_still_goes_out_through_the_internal_network() {
        let mut lab = fixture::lab();
        let worker = lab.nodes.iter_mut().find(|node| node.name == "k8s-worker1").unwrap();
        let outside = Nic {
            network: Network::Lan,
            address: [192, 168, 68, 58].into(),
            pci_slot: 192,
            ..worker.nics[0].clone()
        };
        worker.nics.push(outside);
        let config = yaml(&network_config(&lab, lab.node("k8s-worker1").unwrap()));
        let card = &config["ethernets"]["lan1"];
        assert_eq!((&card["addresses"][0], &card["dhcp4"]), (&json!("192.168.68.58/24"), &json!(false)));
        assert!(card.get("routes").is_none() && card["optional"] == true);
        assert_eq!(config["ethernets"]["internal"]["dhcp4"], true);
    }

    #[test]
    fn user_data_lets_in_our_key_and_shows_our_host_key() {
        let (_, identity) = fixture::document();
        let text = text("k8s-worker1", USER_DATA);
        assert!(text.starts_with("#cloud-config\n"));
        let data = yaml(&text);
        let shown = text.lines().map(|line| match line.split_once(": ") {
            Some((key @ "  ed25519_private", _)) => format!("{key}: PRIVATE\n"),
            _ => format!("{line}\n"),
        });
        fixture::assert_golden("k8s-worker1.user-data", &shown.collect::<String>());
        assert_eq!(data["users"][0]["ssh_authorized_keys"], json!([identity.user.public_line]));
        let host_key = identity.host("k8s-worker1").unwrap().private_pem.expose_secret();
        assert_eq!(data["ssh_keys"]["ed25519_private"], host_key);
        assert_eq!(data["ssh_pwauth"], false);
        let facts = &data["write_files"][0];
        assert_eq!((&facts["path"], &facts["permissions"]), (&json!(GUEST_FACTS), &json!("0755")));
        assert_eq!(facts["content"], include_str!("../../cloud-init/guest/fusionlab-facts.sh"));
    }

    #[test]
    fn cloud_init_acts_again_only_when_the_content_changed() {
        let (mut lab, identity) = fixture::document();
        let id = |lab: &Lab| {
            let seed = seed(lab, lab.node("k8s-master1").unwrap(), &identity);
            yaml(std::str::from_utf8(&seed[META_DATA]).unwrap())["instance-id"].as_str().unwrap().to_owned()
        };
        let before = id(&lab);
        assert!(before.starts_with("k8s-master1-"));
        assert_eq!(id(&lab), before);
        lab.authorized_keys.push("ssh-ed25519 AAAA me".into());
        assert_ne!(id(&lab), before);
    }

    #[test]
    fn the_bake_seed_carries_every_step_and_no_user() {
        let lab = fixture::lab();
        let seed = bake_seed(&lab, "0123456789abcdef");
        let data = yaml(std::str::from_utf8(&seed[USER_DATA]).unwrap());
        assert_eq!(
            data["users"],
            json!([{ "name": "root", "lock_passwd": true }]),
            "not even the image's own"
        );
        assert_eq!(data["runcmd"], json!([bake::START]));
        let paths: Vec<_> = data["write_files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file["path"].as_str().unwrap())
            .collect();
        for (name, _) in bake::STEPS {
            assert!(paths.contains(&format!("/opt/fusionlab/bake/{name}").as_str()), "{name}");
        }
    }
}
