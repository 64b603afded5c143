//! What forbids a plan: things of others that stand in the way, found before anything is changed.

use std::path::PathBuf;

use serde::Serialize;

use crate::formats::networking::Conflict;
use crate::lab::{Lab, catalogue};

use super::desired::Desired;
use super::facts::{Facts, VmFacts, VmState};
use super::networks::{self, NetworkEdit};

/// One thing in the way; each says who it is. Advice is given in `cli::error`.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "obstacle")]
pub enum Obstacle {
    /// Fusion's networking file holds something of someone else's.
    #[error("{vmnet}: {message}")]
    Network { vmnet: String, message: String, taken: Taken, free_vmnet: Option<u8> },
    /// Fusion's networking file cannot be edited.
    #[error("Fusion's networking file, line {line}: {reason}")]
    NetworkingFile { line: usize, reason: String },
    /// A VM of that name is there and does not bear our mark.
    #[error("{} is a VM that is not ours", vmx.display())]
    ForeignVm { node: String, vmx: PathBuf },
    /// A machine of this lab stands that the lab file does not name any more. Taking it out of the cluster is not
    /// something that `up` does by itself.
    #[error("{node} bears this lab's mark, but the lab file has no such machine")]
    NotInLab { node: String, vmx: PathBuf },
    /// A machine of this lab cannot start any more: what its disk is made of is gone.
    #[error("{} is gone, and the disk of {node} with it", file.display())]
    DiskLost { node: String, file: PathBuf },
    /// Somebody else's VM has a MAC that this lab would use.
    #[error("{} uses {mac}, which {node} would have", vmx.display())]
    ForeignMac { node: String, mac: String, vmx: PathBuf },
    /// VMs of this lab stand, but the keys that they were made with are gone.
    #[error("the lab's VMs stand, but its identity (keys and certificates) is not on this Mac")]
    IdentityLost,
    /// An API server answers, and what it says is not understood: nobody knows what the cluster lacks.
    #[error("{reason}")]
    ClusterUnreadable { reason: String },
    /// Fusion does not run the virtual hardware that machines are written with.
    #[error("VMware Fusion {version} does not run virtual hardware {hardware}")]
    OldFusion { version: String, hardware: String },
    /// Fusion's window is open while its networks must change: its own Apply would overwrite our lines.
    #[error("VMware Fusion's window is open, and its networks must change")]
    FusionOpen,
    /// VMs of others run on networks that must be restarted.
    #[error("{} not this lab's, and Fusion's networks must restart", running(vmx))]
    OthersRunning { vmx: Vec<PathBuf> },
    /// Machines of this lab run, and only its network is to be changed.
    #[error("{} of this lab run on the network that is to be changed", nodes.join(", "))]
    OwnRunning { nodes: Vec<String> },
    /// The host sends packets for the lab's subnet somewhere else.
    #[error("{subnet} is routed to {interface} ({destination})")]
    SubnetRouted { subnet: String, destination: String, interface: String },
    /// VMs' disks are layers over the disk of a template that is to be removed.
    #[error("{} on the template {key}", hang(vmx))]
    TemplateInUse { key: String, vmx: Vec<PathBuf> },
    /// Others' VMs are linked clones of a machine that is to be removed.
    #[error("{} on the disk of {node}", hang(vmx))]
    MachineInUse { node: String, vmx: Vec<PathBuf> },
    /// The lab's lines stand on one network, and the lab file names another.
    #[error("the lab is on {from}, and the lab file says {to}")]
    NetworkMoved { from: String, to: String },
}

/// What of the lab's network is somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Taken {
    /// Its number.
    Vmnet,
    /// Its addresses.
    Subnet,
    /// The network is there as wished, but for some of its services.
    Service,
    /// A reservation's address or MAC.
    Reservation,
}

impl From<&Conflict> for Taken {
    fn from(conflict: &Conflict) -> Self {
        match conflict {
            Conflict::VmnetTaken { .. } | Conflict::VmnetBridged { .. } => Self::Vmnet,
            Conflict::SubnetOverlaps { .. } => Self::Subnet,
            Conflict::VmnetLacks { .. } => Self::Service,
            Conflict::AddressReserved { .. } | Conflict::MacReserved { .. } => Self::Reservation,
        }
    }
}

/// Returns `web.vmx runs and is`, or `3 virtual machines run and are`.
fn running(vmx: &[PathBuf]) -> String {
    match vmx {
        [one] => format!("{} runs and is", one.display()),
        many => format!("{} virtual machines run and are", many.len()),
    }
}

/// Returns `gateway1 hangs`, or `gateway1 and k8s-master1 hang`.
fn hang(vmx: &[PathBuf]) -> String {
    let names: Vec<_> =
        vmx.iter().filter_map(|path| path.file_stem()).map(|name| name.to_string_lossy()).collect();
    match names.as_slice() {
        [one] => format!("{one} hangs"),
        [rest @ .., last] => format!("{} and {last} hang", rest.join(", ")),
        [] => "nothing hangs".to_owned(),
    }
}

/// Finds the machines that others' VMs hang on: they cannot be removed.
pub fn of_removal(facts: &Facts) -> impl Iterator<Item = Obstacle> {
    let used = facts.vms.iter().filter(|(_, vm)| !vm.hanging.is_empty());
    used.map(|(node, vm)| Obstacle::MachineInUse { node: node.clone(), vmx: vm.hanging.clone() })
}

/// Finds everything that stands in the way.
pub fn find(lab: &Lab, desired: &Desired, facts: &Facts) -> Vec<Obstacle> {
    let mut obstacles = of_fusion(&facts.host.fusion);
    obstacles.extend(of_network(lab, &desired.network, facts));
    machines(lab, desired, facts, &mut obstacles);
    obstacles.extend(facts.unreadable.clone().map(|reason| Obstacle::ClusterUnreadable { reason }));
    obstacles
}

/// Says whether this Fusion can run a lab's machines.
pub fn of_fusion(version: &str) -> Vec<Obstacle> {
    let hardware = catalogue::written_hardware().to_owned();
    let old =
        catalogue::is_too_old(version).then(|| Obstacle::OldFusion { version: version.to_owned(), hardware });
    old.into_iter().collect()
}

/// Finds what stands in the way of the lab's network.
pub fn of_network(lab: &Lab, edit: &NetworkEdit, facts: &Facts) -> Vec<Obstacle> {
    let mut obstacles = of_edit(edit, Some(lab));
    if !matches!(edit, NetworkEdit::Moved { .. } | NetworkEdit::Unreadable { .. }) {
        obstacles.extend(networks::route_in_the_way(lab, facts));
    }
    obstacles.extend(networks::obstacles(edit, facts));
    obstacles
}

/// Finds what stands in the way of the file as it was before.
pub fn of_undo(edit: &NetworkEdit, facts: &Facts) -> Vec<Obstacle> {
    let mut obstacles = of_edit(edit, None);
    obstacles.extend(networks::obstacles(edit, facts));
    obstacles
}

fn of_edit(edit: &NetworkEdit, lab: Option<&Lab>) -> Vec<Obstacle> {
    match (edit, lab) {
        (NetworkEdit::Conflict(conflicts), Some(lab)) => conflicts
            .iter()
            .map(|conflict: &Conflict| Obstacle::Network {
                vmnet: lab.vmnet_name(),
                message: conflict.to_string(),
                taken: conflict.into(),
                free_vmnet: conflict.free_vmnet(),
            })
            .collect(),
        (NetworkEdit::Unreadable { line, reason }, _) => {
            vec![Obstacle::NetworkingFile { line: *line, reason: reason.clone() }]
        }
        (NetworkEdit::Moved { from }, Some(lab)) => {
            vec![Obstacle::NetworkMoved { from: format!("vmnet{from}"), to: lab.vmnet_name() }]
        }
        _ => Vec::new(),
    }
}

/// Returns the machines that bear this lab's mark and that the lab file does not name.
pub fn not_in_lab<'a>(lab: &'a Lab, facts: &'a Facts) -> impl Iterator<Item = (&'a String, &'a VmFacts)> {
    facts.vms.iter().filter(|(name, vm)| vm.state == VmState::Ours && lab.node(name).is_none())
}

fn machines(lab: &Lab, desired: &Desired, facts: &Facts, obstacles: &mut Vec<Obstacle>) {
    for node in &lab.nodes {
        if let Some(vm) = facts.vms.get(&node.name).filter(|vm| vm.state == VmState::Foreign) {
            obstacles.push(Obstacle::ForeignVm { node: node.name.clone(), vmx: vm.vmx.clone() });
        }
        let ours = facts.vms.get(&node.name).filter(|vm| vm.state == VmState::Ours && !vm.running);
        obstacles.extend(
            ours.and_then(|vm| vm.lost.first())
                .map(|file| Obstacle::DiskLost { node: node.name.clone(), file: file.clone() }),
        );
        for nic in &node.nics {
            let mac = nic.mac.to_string();
            let clash = facts.host.foreign_macs.iter().find(|(used, _)| *used == mac);
            obstacles.extend(clash.map(|(mac, vmx)| Obstacle::ForeignMac {
                node: node.name.clone(),
                mac: mac.clone(),
                vmx: vmx.clone(),
            }));
        }
    }
    obstacles.extend(
        not_in_lab(lab, facts)
            .map(|(name, vm)| Obstacle::NotInLab { node: name.clone(), vmx: vm.vmx.clone() }),
    );
    let configured = facts.vms.values().any(|vm| vm.state == VmState::Ours && vm.spec.is_some());
    // Without any identity nothing is derived; one that only lacks a new node's host key is completed.
    if configured && desired.specs.is_empty() {
        obstacles.push(Obstacle::IdentityLost);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::World;
    use super::*;

    fn found(world: &World) -> Vec<Obstacle> {
        find(&world.lab, &world.desired(), &world.facts)
    }

    fn stranger() -> PathBuf {
        "/library/other.vmwarevm/other.vmx".into()
    }

    #[test]
    fn neither_an_empty_mac_nor_a_whole_lab_stands_in_its_own_way() {
        assert_eq!(found(&World::empty()), []);
        assert_eq!(found(&World::complete()), []);
    }

    #[test]
    fn everything_in_the_way_is_said_at_once() {
        let mut world = World::complete();
        let mac = world.lab.nodes[0].nics[0].mac.to_string();
        world.facts.networking = World::empty().facts.networking;
        world.facts.host.fusion_ui_open = true;
        world.facts.host.running.push(stranger());
        world.facts.host.foreign_macs = vec![(mac.clone(), stranger())];
        world.vm("k8s-worker1").state = VmState::Foreign;
        world.facts.host.running.retain(|vmx| *vmx != World::vmx("k8s-worker1"));
        world.facts.identity = false;
        world.identity = None;
        let expected = [
            Obstacle::FusionOpen,
            Obstacle::OthersRunning { vmx: vec![stranger()] },
            Obstacle::ForeignMac { node: "gateway1".to_owned(), mac, vmx: stranger() },
            Obstacle::ForeignVm { node: "k8s-worker1".to_owned(), vmx: World::vmx("k8s-worker1") },
            Obstacle::IdentityLost,
        ];
        assert_eq!(found(&world), expected);
        assert_eq!(world.up().unwrap_err(), expected, "and there is no plan");
    }

    #[test]
    fn a_cluster_that_is_not_understood_is_not_taken_for_none() {
        let mut world = World::complete();
        world.facts.cluster = None;
        let reason = "k8s-master1: the cluster's state cannot be read".to_owned();
        world.facts.unreadable = Some(reason.clone());
        assert_eq!(world.up().unwrap_err(), [Obstacle::ClusterUnreadable { reason }]);
    }

    #[test]
    fn a_fusion_that_cannot_run_our_machines_is_named() {
        let mut world = World::empty();
        world.facts.host.fusion = "12.2.5".to_owned();
        let old = Obstacle::OldFusion { version: "12.2.5".to_owned(), hardware: "20".to_owned() };
        assert_eq!(found(&world), [old]);
    }

    #[test]
    fn others_that_run_and_an_open_window_matter_only_if_networks_restart() {
        let mut world = World::complete();
        world.facts.host.fusion_ui_open = true;
        world.facts.host.running.push(stranger());
        assert_eq!(found(&world), []);
        world.facts.networking.as_mut().unwrap().extend(b"answer VNET_2_NAT no\n");
        let running = Obstacle::OthersRunning { vmx: vec![stranger()] };
        assert_eq!(found(&world), [Obstacle::FusionOpen, running], "our own are stopped and started");
    }

    #[test]
    fn a_vmnet_of_somebody_else_is_named_with_a_free_one() {
        let mut world = World::empty();
        let networking = world.facts.networking.as_mut().unwrap();
        networking.extend(b"answer VNET_2_DHCP yes\nanswer VNET_2_HOSTONLY_NETMASK 255.255.255.0\n");
        networking.extend(b"answer VNET_2_HOSTONLY_SUBNET 172.20.0.0\n");
        let obstacles = found(&world);
        let [Obstacle::Network { vmnet, message, free_vmnet, .. }] = obstacles.as_slice() else {
            panic!("one conflict was expected: {obstacles:?}");
        };
        assert_eq!((vmnet.as_str(), *free_vmnet), ("vmnet2", Some(3)));
        assert!(message.contains("172.20.0.0/24"), "{message}");
    }

    #[test]
    fn a_networking_file_of_another_form_is_not_guessed_at() {
        let mut world = World::empty();
        world.facts.networking = Some(b"VERSION=2,0\nanswer VNET_8_NAT yes\n".to_vec());
        assert!(matches!(found(&world).as_slice(), [Obstacle::NetworkingFile { line: 1, .. }]));
    }
}
