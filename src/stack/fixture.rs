//! The networking document's lab with an identity, for this layer's tests.

use std::net::Ipv4Addr;
use std::sync::OnceLock;

use crate::formats::mac::Mac;
use crate::lab::catalogue::{Arch, Image, Versions};
use crate::lab::limits::Limits;
use crate::lab::{
    Addressing, CloneMode, Cluster, Driver, GatewaySettings, Internal, Lab, Lan, Network, Nic, Node, Ports,
    Role,
};
use crate::stack::identity::Identity;

/// 2026-09-21.
pub const NOW: u64 = 1_790_000_000;

/// Returns the document's lab and an identity for it, which is made once.
pub fn document() -> (Lab, Identity) {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    let lab = lab();
    let identity = IDENTITY.get_or_init(|| Identity::generate(&lab, NOW, &mut random(1)).unwrap());
    (lab, identity.clone())
}

/// Returns a generator that gives the same bytes for the same seed.
pub fn random(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut state = seed;
    move |bytes| {
        for byte in bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
    }
}

pub fn lab() -> Lab {
    let address = |last: u8| Ipv4Addr::new(10, 10, 0, last);
    let home = |last: u8| Ipv4Addr::new(192, 168, 68, last);
    let mut nodes = Vec::new();
    for number in 1..=2 {
        let lan = nic(Network::Lan, number, 0, home(55 + number), 160);
        let internal = nic(Network::Internal, number, 1, address(10 + number), 192);
        nodes.push(node("gateway", Role::Gateway, number, vec![lan, internal]));
    }
    for number in 1..=3 {
        let card = nic(Network::Internal, 0x10 + number, 0, address(130 + number), 160);
        nodes.push(node("k8s-master", Role::ControlPlane, number, vec![card]));
    }
    for number in 1..=2 {
        let card = nic(Network::Internal, 0x20 + number, 0, address(140 + number), 160);
        nodes.push(node("k8s-worker", Role::Worker, number, vec![card]));
    }
    Lab {
        name: "lab".into(),
        lan: Lan {
            subnet: "192.168.68.0/24".parse().unwrap(),
            router: home(1),
            dns: vec![home(1)],
            vip: home(200),
            interface: None,
        },
        internal: Internal {
            vmnet: 2,
            subnet: "10.10.0.0/24".parse().unwrap(),
            host: address(1),
            nat: address(2),
            dhcp: (address(128), address(254)),
            vip: address(10),
        },
        cluster: Cluster {
            pods: "10.244.0.0/16".parse().unwrap(),
            services: "10.96.0.0/12".parse().unwrap(),
            api_name: "k8s-api.lab.internal".into(),
            domain: "lab.test".into(),
            ports: Ports { api: 6443, http: 80, http_node_port: 30080, https: 443, https_node_port: 30443 },
            proxy_protocol: false,
        },
        gateway: GatewaySettings { advert_centiseconds: 50, virtual_router_id: 51 },
        nodes,
        image: image(),
        versions: versions(),
        clone: CloneMode::Linked,
        driver: Driver::Vmrun,
        addressing: Addressing::Dhcp,
        authorized_keys: vec![],
        limits: Limits::default(),
    }
}

fn image() -> Image {
    Image {
        name: "ubuntu-24.04".into(),
        arch: Arch::Arm64,
        url: "https://cloud-images.ubuntu.com/noble.img".into(),
        digest: Some("ab".repeat(32)),
        digest_url: None,
        guest_os: "arm-ubuntu-64".into(),
    }
}

fn versions() -> Versions {
    Versions {
        kubernetes: "1.36.4".into(),
        cilium: "1.20.3".into(),
        gateway_api: "1.6.1".into(),
        helm: "3.19.0".into(),
        containerd: "2.2.1".into(),
        pause: "3.10.2".into(),
    }
}

fn nic(network: Network, machine: u8, card: u8, address: Ipv4Addr, pci_slot: u16) -> Nic {
    Nic { network, mac: Mac::new([0x00, 0x50, 0x56, 0x10, machine, card]), address, pci_slot }
}

fn node(prefix: &str, role: Role, number: u8, nics: Vec<Nic>) -> Node {
    let name = format!("{prefix}{number}");
    Node { name, role, number, cpus: 2, memory_mib: 4096, disk_gib: 20, nics, schedulable: role == Role::Worker }
}
