use std::path::PathBuf;

use super::*;
use crate::cli::terminal::{Ink, Pen};
use crate::engine::journal::{Ended, Last};
use crate::formats::mac::Mac;
use crate::host::fusion::Fusion;
use crate::lab::catalogue::{Arch, Image, Versions};
use crate::lab::{self, Nic, Node};
use crate::plan::facts::{ClusterFacts, GuestFacts, VmFacts};
use crate::stack::facts::KubeNode;
use crate::stack::resources::Share;

/// Two gateways and one control plane, written out by hand: screens need values, not a lab file.
pub(crate) fn lab() -> Lab {
    let nic = |network, address: [u8; 4], number| Nic {
        network,
        mac: Mac::new([0, 0x50, 0x56, 0, number, 1]),
        address: address.into(),
        pci_slot: 160,
    };
    let node = |name: &str, role, number, nics| Node {
        name: name.to_owned(),
        role,
        number,
        cpus: 2,
        memory_mib: 2048,
        disk_gib: 20,
        nics,
        schedulable: false,
    };
    let gateway = |number: u8| {
        let lan = nic(lab::Network::Lan, [192, 168, 68, 55 + number], number);
        let internal = nic(lab::Network::Internal, [10, 10, 0, 10 + number], number);
        node(&format!("gateway{number}"), Role::Gateway, number, vec![lan, internal])
    };
    let master = nic(lab::Network::Internal, [10, 10, 0, 131], 3);
    Lab {
        name: "lab".into(),
        lan: lab::Lan {
            subnet: "192.168.68.0/24".parse().unwrap(),
            router: [192, 168, 68, 1].into(),
            dns: Vec::new(),
            vip: [192, 168, 68, 200].into(),
            interface: None,
        },
        internal: lab::Internal {
            vmnet: 2,
            subnet: "10.10.0.0/24".parse().unwrap(),
            host: [10, 10, 0, 1].into(),
            nat: [10, 10, 0, 2].into(),
            dhcp: ([10, 10, 0, 128].into(), [10, 10, 0, 254].into()),
            vip: [10, 10, 0, 10].into(),
        },
        cluster: lab::Cluster {
            pods: "10.244.0.0/16".parse().unwrap(),
            services: "10.96.0.0/12".parse().unwrap(),
            api_name: "api.lab.test".into(),
            api_names: Vec::new(),
            domain: "lab.test".into(),
            ports: lab::Ports {
                api: 6443,
                http: 80,
                http_node_port: 30080,
                https: 443,
                https_node_port: 30443,
            },
            proxy_protocol: false,
        },
        gateway: lab::GatewaySettings { advert_centiseconds: 50, virtual_router_id: 68 },
        nodes: vec![gateway(1), gateway(2), node("k8s-master1", Role::ControlPlane, 1, vec![master])],
        image: Image {
            name: "ubuntu-24.04".into(),
            arch: Arch::Arm64,
            url: "https://example.org/image".into(),
            digest: None,
            size: None,
            newest: None,
            server: None,
            guest_os: "arm-ubuntu-64".into(),
        },
        versions: Versions {
            kubernetes: "1.36.4".into(),
            cilium: "1.20.3".into(),
            gateway_api: "1.5.0".into(),
            helm: "4.0.0".into(),
            containerd: "2.2.0".into(),
            pause: "3.10".into(),
        },
        clone: lab::CloneMode::Linked,
        driver: lab::Driver::Vmrun,
        addressing: lab::Addressing::Dhcp,
        authorized_keys: Vec::new(),
        limits: lab::limits::Limits::default(),
    }
}

pub(crate) fn fusion(simulated: bool) -> Fusion {
    Fusion {
        root: "/".into(),
        app: "/Applications/VMware Fusion.app".into(),
        version: "26H1".into(),
        build: "1".into(),
        simulated,
        guests: String::new(),
        library: "/Users/me/Virtual Machines.localized".into(),
    }
}

pub(crate) fn facts() -> Facts {
    let mut facts = Facts { network_running: true, ..Facts::default() };
    for (name, running) in [("gateway1", true), ("gateway2", false), ("k8s-master1", true)] {
        let vmx = PathBuf::from(format!("/{name}.vmx"));
        facts.vms.insert(name.into(), VmFacts { running, ..VmFacts::new(vmx, VmState::Ours) });
    }
    let addresses = vec![("ens160".to_owned(), [192, 168, 68, 200].into())];
    let units = ["nginx", "keepalived", "fusionlab-dns", "chrony", "containerd"];
    let units: BTreeMap<_, _> = units.map(|unit| (unit.to_owned(), "active".to_owned())).into();
    let guest = |addresses| GuestFacts {
        cloud_init: "done".into(),
        addresses,
        units: units.clone(),
        ..GuestFacts::default()
    };
    facts.guests.insert("gateway1".into(), guest(addresses));
    facts.guests.insert("k8s-master1".into(), guest(Vec::new()));
    let ready = KubeNode { ready: true, kubelet_version: "v1.36.4".into(), ..KubeNode::default() };
    facts.cluster = Some(ClusterFacts {
        asked: "k8s-master1".into(),
        nodes: [("k8s-master1".to_owned(), ready)].into(),
        ..ClusterFacts::default()
    });
    facts
}

#[test]
fn the_table_tells_vm_guest_and_kubernetes_apart() {
    let (lab, fusion) = (lab(), fusion(true));
    let lines = Status::new(&lab, &facts(), &fusion).lines(&lab, &fusion, &Pen::plain(100));
    assert_eq!(
        lines.join("\n"),
        "lab  ·  2 gateways, 1 control plane  ·  VMware Fusion 26H1 (simulated)

NAME         ROLE           ADDRESS      VM       GUEST  KUBERNETES  VERSION
gateway1     gateway, VIP   10.10.0.11   running  ready  –           –
gateway2     gateway        10.10.0.12   stopped  –      –           –
k8s-master1  control plane  10.10.0.131  running  ready  Ready       v1.36.4

network      vmnet2 running
VIPs         192.168.68.200 on LAN, held by gateway1
             10.10.0.10 on vmnet2, held by nobody
cluster      1 of 1 node Ready, says k8s-master1
Cilium       not installed
Gateway API  not installed

1 machine off; to go on from what stands: fusionlab up"
    );
}

#[test]
fn a_service_that_does_not_run_is_told_with_its_machine() {
    let (lab, fusion) = (lab(), fusion(true));
    let mut facts = facts();
    facts.guests.get_mut("gateway1").unwrap().units.insert("keepalived".into(), "inactive".into());
    let status = Status::new(&lab, &facts, &fusion);
    let lines = status.lines(&lab, &fusion, &Pen::plain(100));
    assert_eq!(lines[3], "gateway1     gateway, VIP   10.10.0.11   running  unwell  –           –");
    assert!(lines.contains(&"services     gateway1: keepalived is inactive".to_owned()), "{lines:#?}");
    // While a machine is set up, its services are not expected.
    facts.guests.get_mut("gateway1").unwrap().cloud_init = "running".into();
    assert_eq!(Status::new(&lab, &facts, &fusion).nodes[0].services, None);
}

#[test]
fn machines_that_the_lab_file_does_not_name_are_told_and_nothing_is_claimed_for_them() {
    let (mut lab, fusion) = (lab(), fusion(true));
    let mut facts = facts();
    lab.nodes.retain(|node| node.name != "gateway2");
    for name in ["gateway2", "k8s-worker1"] {
        let vm = VmFacts::new(format!("/{name}.vmx").into(), VmState::Ours);
        facts.vms.insert(name.into(), VmFacts { running: true, ..vm });
    }
    let ready = KubeNode { ready: true, ..KubeNode::default() };
    facts.cluster.as_mut().unwrap().nodes.insert("k8s-worker1".into(), ready);
    facts.guests.get_mut("gateway1").unwrap().addresses.clear();
    let status = Status::new(&lab, &facts, &fusion);
    assert_eq!(status.vip_of_nobody(), None);
    let lines = status.lines(&lab, &fusion, &Pen::plain(100));
    assert_eq!(
        lines[6..].join("\n"),
        "network      vmnet2 running
VIPs         192.168.68.200 on LAN, not known who holds it
             10.10.0.10 on vmnet2, not known who holds it
not in file  gateway2, k8s-worker1
cluster      1 of 1 node Ready, and 1 that the lab file has not, says k8s-master1
Cilium       not installed
Gateway API  not installed

the lab file has fewer machines than the lab: put them back into the file, since `up` refuses until
then, or take the whole lab down:
  fusionlab destroy"
    );
    facts.vms.values_mut().for_each(|vm| vm.running = false);
    assert!(!Status::new(&lab, &facts, &fusion).may_be_held_elsewhere(), "what is off holds nothing");
}

#[test]
fn a_last_run_that_came_to_no_good_end_is_told_in_a_line() {
    let (lab, fusion) = (lab(), fusion(true));
    let told = |ended| {
        let last = Some(Last { verb: "up".into(), at_ms: 1_000, ended });
        let status = Status::new(&lab, &facts(), &fusion).with(Before { last, ..Before::default() });
        status.lines(&lab, &fusion, &Pen::plain(100)).join("\n")
    };
    assert!(
        told(Some(Ended::Interrupted))
            .contains("\n\nthe last `up` was interrupted at 1970-01-01T00:00:01Z\n")
    );
    assert!(told(Some(Ended::Failed)).contains("the last `up` failed at 1970-01-01T00:00:01Z\n"));
    assert!(!told(Some(Ended::Done)).contains("last") && !told(None).contains("last"));
}

#[test]
fn a_cluster_that_is_not_understood_is_not_called_silent() {
    let (lab, fusion) = (lab(), fusion(true));
    let reason = "k8s-master1: the cluster's state cannot be read: nodes: expected value at line 1";
    let facts = Facts { cluster: None, unreadable: Some(reason.to_owned()), ..facts() };
    let lines = Status::new(&lab, &facts, &fusion).lines(&lab, &fusion, &Pen::plain(120));
    let said = lines.iter().find(|line| line.starts_with("cluster")).unwrap();
    assert!(said.ends_with(reason), "{said}");
}

#[test]
fn narrow_terminals_leave_columns_out_and_cut_nothing() {
    let (lab, fusion) = (lab(), fusion(true));
    let lines = Status::new(&lab, &facts(), &fusion).lines(&lab, &fusion, &Pen::plain(60));
    assert!(lines.iter().all(|line| console::measure_text_width(line) <= 60 && !line.contains('…')));
    assert_eq!(lines[4], "gateway1     10.10.0.11   running  ready  –");
}

#[test]
fn without_an_api_server_nothing_is_claimed_about_kubernetes() {
    let (lab, fusion) = (lab(), fusion(false));
    let facts = Facts { cluster: None, ..facts() };
    let status = Status::new(&lab, &facts, &fusion);
    assert!(status.nodes.iter().all(|node| node.kubernetes.is_none()));
    let text = status.lines(&lab, &fusion, &Pen::plain(100)).join("\n");
    assert!(
        text.contains("unknown") && text.contains("no API server answers: nobody holds 10.10.0.10"),
        "{text}"
    );
}

/// The same lab, seen with what it uses.
pub(super) fn look() -> Look {
    let mut facts = facts();
    let versions = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
    };
    facts.guests.get_mut("gateway1").unwrap().versions =
        versions(&[("nginx", "1.24.0"), ("kubelet", "v1.36.4")]);
    let master = facts.guests.get_mut("k8s-master1").unwrap();
    master.versions = versions(&[("kubelet", "v1.36.4"), ("containerd", "2.2.0")]);
    master.clock_off_ms = -90_000;
    const MIB: u64 = 1 << 20;
    let share = |used: u64, total: u64| Share { used: used * MIB, total: total * MIB };
    let resources = Resources { memory: share(400, 1966), disk: share(19_000, 20_480), load: 0.5 };
    let host = HostUse {
        memory: 65_536 * MIB,
        memory_free: Some(30_000 * MIB),
        memory_given: 4096 * MIB,
        running: 2,
        disk_taken: 9_000 * MIB,
        disk_free: None,
    };
    Look { facts, resources: [("k8s-master1".to_owned(), resources)].into(), host }
}

#[test]
fn what_is_used_stands_beside_the_machines_or_below_them() {
    let (lab, fusion) = (lab(), fusion(true));
    let status = Status::of(&lab, &look(), &fusion);
    let lines = |width| status.lines(&lab, &fusion, &Pen::plain(width));
    let wide = lines(160).join("\n");
    assert!(wide.contains("v1.36.4  400 MiB of 1.9 GiB  18.6 of 20 GiB  0.50  1 min 30 s behind"), "{wide}");
    let narrow = lines(80).join("\n");
    assert!(
        narrow.contains(
            "
NAME         MEMORY              DISK            LOAD  CLOCK
gateway1     –                   –               –     right
gateway2     –                   –               –     –
k8s-master1  400 MiB of 1.9 GiB  18.6 of 20 GiB  0.50  1 min 30 s behind
"
        ),
        "{narrow}"
    );
    assert!(
        narrow.contains(
            "
clocks       k8s-master1: its clock is 90 s behind this Mac's
versions     Kubernetes 1.36.4, containerd 2.2.0, nginx 1.24.0
memory       2 machines use 400 MiB of 4 GiB; this Mac has 64 GiB, 29.3 GiB free
disk         8.8 GiB taken on this Mac
"
        ),
        "{narrow}"
    );
    for width in [40, 60, 80, 100, 120, 160] {
        assert!(lines(width).iter().all(|line| console::measure_text_width(line) <= width), "{width}");
    }
}

#[test]
fn versions_that_differ_are_both_told_and_too_much_used_is_coloured() {
    let (lab, fusion) = (lab(), fusion(true));
    let mut look = look();
    look.facts.guests.insert(
        "gateway2".into(),
        GuestFacts { versions: [("nginx".to_owned(), "1.26.0".to_owned())].into(), ..GuestFacts::default() },
    );
    let status = Status::of(&lab, &look, &fusion);
    let pen = Pen { color: true, ..Pen::plain(100) };
    let text = status.lines(&lab, &fusion, &pen).join("\n");
    assert!(console::strip_ansi_codes(&text).contains("nginx 1.24.0 and 1.26.0"), "{text}");
    assert!(text.contains(&pen.paint(Ink::Warn, "1.26.0")), "{text}");
    assert!(text.contains(&pen.paint(Ink::Warn, "18.6 of 20 GiB")), "{text}");
    assert!(!text.contains(&pen.paint(Ink::Warn, "400 MiB of 1.9 GiB")), "{text}");
}

/// Adds the names of all fields in a value, but for what is called by names of the lab's own.
fn fields(value: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Array(all) => all.iter().for_each(|one| fields(one, found)),
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                found.insert(key.clone());
                if key != "versions" {
                    fields(value, found);
                }
            }
        }
        _ => {}
    }
}

#[test]
fn every_field_is_in_the_page_about_json() {
    let (lab, fusion) = (lab(), fusion(true));
    let status = serde_json::to_value(Status::of(&lab, &look(), &fusion)).unwrap();
    let mut found = std::collections::BTreeSet::new();
    fields(&status, &mut found);
    let page = include_str!("../../../../docs/json.md");
    let missing: Vec<_> = found.iter().filter(|field| !page.contains(&format!("`{field}`"))).collect();
    assert!(found.len() > 30 && missing.is_empty(), "{} fields, without a word: {missing:?}", found.len());
}
