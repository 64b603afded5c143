//! The machines: how many of each role, their sizes, cards, addresses and MACs.

use sha2::{Digest, Sha256};

use super::{Resolver, host, host_part, narrow};
use crate::formats::mac::Mac;
use crate::lab::lint::rules;
use crate::lab::presets::Preset;
use crate::lab::spec::{self, NodeSpec};
use crate::lab::{CloneMode, Internal, Lan, Network, Nic, Node, Role};

/// The disk of the template and all its linked clones, and of a gateway that is not one.
const DISK_GIB: u32 = 40;
const GATEWAY_DISK_GIB: u32 = 10;

/// Slots that the guest names ens160 and ens192 (facts/vm-images-cloudinit.md §1.5).
const FIRST_SLOT: u16 = 160;
const SECOND_SLOT: u16 = 192;

/// What the machines of one role have in common.
struct Machines {
    role: Role,
    count: u8,
    cpus: u8,
    memory_mib: u32,
    disk_gib: u32,
    schedulable: bool,
}

impl Resolver<'_> {
    pub(super) fn nodes(
        &mut self,
        preset: Preset,
        clone: CloneMode,
        lab: &str,
        lan: &Lan,
        internal: &Internal,
    ) -> Vec<Node> {
        let roles = self.roles(preset, clone);
        let mut nodes = Vec::new();
        for machines in &roles {
            for number in 1..=machines.count {
                let name = node_name(machines.role, number);
                let own = self
                    .spec
                    .nodes
                    .as_ref()
                    .and_then(|nodes| nodes.0.get(&name))
                    .cloned()
                    .unwrap_or_default();
                nodes.push(node(machines, number, &own, lab, lan, internal));
            }
        }
        self.check_named(&roles, &nodes);
        self.check_disks(clone, &roles);
        nodes
    }

    fn roles(&self, preset: Preset, clone: CloneMode) -> [Machines; 3] {
        let spec = self.spec;
        let gateways = spec.gateways.clone().unwrap_or_default();
        let control_planes = spec.control_planes.clone().unwrap_or_default();
        let workers = spec.workers.clone().unwrap_or_default();
        let (gateway_count, control_plane_count, worker_count) = preset.counts();
        let worker_count = workers.count.map_or(worker_count, |count| narrow(count.0));
        let disk = |own: Option<u32>, alone: u32| match clone {
            CloneMode::Linked => self.template_disk(),
            CloneMode::Full | CloneMode::Cow => own.unwrap_or(alone),
        };
        [
            Machines {
                role: Role::Gateway,
                count: gateways.count.map_or(gateway_count, |count| narrow(count.0)),
                cpus: gateways.cpus.map_or(1, |cpus| narrow(cpus.0)),
                memory_mib: gateways.memory.map_or(1024, |memory| memory.0),
                disk_gib: disk(gateways.disk.map(|disk| disk.0), GATEWAY_DISK_GIB),
                schedulable: false,
            },
            Machines {
                role: Role::ControlPlane,
                count: control_planes.count.map_or(control_plane_count, |count| narrow(count.0)),
                cpus: control_planes.cpus.map_or(2, |cpus| narrow(cpus.0)),
                memory_mib: control_planes.memory.map_or(4096, |memory| memory.0),
                disk_gib: disk(control_planes.disk.map(|disk| disk.0), DISK_GIB),
                schedulable: control_planes.schedulable.unwrap_or(worker_count == 0),
            },
            Machines {
                role: Role::Worker,
                count: worker_count,
                cpus: workers.cpus.map_or(2, |cpus| narrow(cpus.0)),
                memory_mib: workers.memory.map_or(4096, |memory| memory.0),
                disk_gib: disk(workers.disk.map(|disk| disk.0), DISK_GIB),
                schedulable: false,
            },
        ]
    }

    /// Returns the disk size of the template under linked clones: the control planes', else the workers'.
    fn template_disk(&self) -> u32 {
        let control_planes = self.spec.control_planes.as_ref().and_then(|section| section.disk);
        let workers = self.spec.workers.as_ref().and_then(|section| section.disk);
        control_planes.or(workers).map_or(DISK_GIB, |disk| disk.0)
    }

    /// Refuses disk sizes that linked clones cannot have.
    fn check_disks(&mut self, clone: CloneMode, roles: &[Machines]) {
        if clone != CloneMode::Linked {
            return;
        }
        let spec = self.spec;
        let sizes = [
            ("gateways.disk".to_owned(), spec.gateways.as_ref().and_then(|section| section.disk)),
            ("workers.disk".to_owned(), spec.workers.as_ref().and_then(|section| section.disk)),
        ];
        let own = spec.nodes.iter().flat_map(|nodes| &nodes.0);
        let sizes =
            sizes.into_iter().chain(own.map(|(name, node)| (format!("nodes.{name}.disk"), node.disk)));
        let template = roles[0].disk_gib;
        for (path, disk) in
            sizes.filter_map(|(path, disk)| Some((path, disk?.0))).filter(|(_, disk)| *disk != template)
        {
            let message =
                format!("{path} is {disk}GiB, but linked clones share the template's disk of {template}GiB");
            let problem = rules::DISK_SIZE_DIFFERS.problem(self.origin.span(&path), message);
            self.problems.push(problem.help("leave it out, or set `clone: full` or `clone: cow`"));
        }
    }

    /// Refuses exceptions for machines that the lab does not have.
    fn check_named(&mut self, roles: &[Machines], nodes: &[Node]) {
        if ["gateways.count", "control_planes.count", "workers.count", "preset"]
            .iter()
            .any(|key| self.origin.is_unusable(key))
        {
            return;
        }
        for name in self.spec.nodes.iter().flat_map(|named| named.0.keys()) {
            let path = format!("nodes.{name}");
            if !nodes.iter().any(|node| node.name == *name) {
                let names = nodes.iter().map(|node| node.name.as_str());
                let problem = rules::UNKNOWN_NODE
                    .problem(self.origin.name_span(&path), format!("the lab has no {name}"));
                let counts: Vec<_> = roles.iter().map(|machines| machines.count.to_string()).collect();
                self.problems.push(problem.help(match spec::closest(name, names) {
                    Some(meant) => format!("did you mean {meant}?"),
                    None => format!("gateways, control planes and workers number {}", counts.join(", ")),
                }));
            }
        }
    }
}

fn node(machines: &Machines, number: u8, own: &NodeSpec, lab: &str, lan: &Lan, internal: &Internal) -> Node {
    let role = machines.role;
    let first = match role {
        Role::Gateway => host_part::GATEWAYS,
        Role::ControlPlane => host_part::CONTROL_PLANES,
        Role::Worker => host_part::WORKERS,
    };
    let inside = own.address.unwrap_or_else(|| host(internal.subnet, first + u32::from(number)));
    let nic = |network, index, address, pci_slot| Nic {
        network,
        mac: mac(lab, role, number, index),
        address,
        pci_slot,
    };
    let nics = match role {
        Role::Gateway => {
            let outside = own
                .lan_address
                .unwrap_or_else(|| host(lan.subnet, host_part::LAN_GATEWAYS + u32::from(number)));
            vec![nic(Network::Lan, 0, outside, FIRST_SLOT), nic(Network::Internal, 1, inside, SECOND_SLOT)]
        }
        Role::ControlPlane | Role::Worker => {
            let outside = own.lan_address.map(|address| nic(Network::Lan, 1, address, SECOND_SLOT));
            std::iter::once(nic(Network::Internal, 0, inside, FIRST_SLOT)).chain(outside).collect()
        }
    };
    Node {
        name: node_name(role, number),
        role,
        number,
        cpus: own.cpus.map_or(machines.cpus, |cpus| narrow(cpus.0)),
        memory_mib: own.memory.map_or(machines.memory_mib, |memory| memory.0),
        disk_gib: own.disk.map_or(machines.disk_gib, |disk| disk.0),
        nics,
        schedulable: machines.schedulable,
    }
}

fn node_name(role: Role, number: u8) -> String {
    match role {
        Role::Gateway => format!("gateway{number}"),
        Role::ControlPlane => format!("k8s-master{number}"),
        Role::Worker => format!("k8s-worker{number}"),
    }
}

/// The last of the bytes that VMware allows in a static MAC's fourth place.
const LAB_BYTE_MASK: u8 = 0x3f;

/// Returns the MAC of one card: `00:50:56:<lab>:<node>:<nic>`. The lab's byte is a hash of its name,
/// the node's tells the role by its first digit.
fn mac(lab: &str, role: Role, number: u8, nic: u8) -> Mac {
    let role = match role {
        Role::Gateway => 0x10,
        Role::ControlPlane => 0x20,
        Role::Worker => 0x30,
    };
    Mac::new([0x00, 0x50, 0x56, Sha256::digest(lab)[0] & LAB_BYTE_MASK, role + number, nic])
}
