//! The networking document's world for this layer's tests: before the first `up`, after it, and with pieces missing.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::lab::{Lab, Role};
use crate::stack::facts::{ClusterFacts, GuestFacts, HelmRelease, KubeNode};
use crate::stack::identity::Identity;
use crate::stack::{cilium, fixture, kubeadm, network};

use super::desired::Desired;
use super::facts::{Facts, MadeNetwork, NetworkRecord, TemplateFacts, VmFacts, VmState};
use super::networks::NetworkEdit;
use super::obstacle::Obstacle;
use super::step::Plan;
use super::up;

/// As Fusion leaves its file after its first start (facts/fusion-networking.md §1.3).
pub const NETWORKING: &str = "VERSION=1,0\nanswer VNET_8_DHCP yes\nanswer VNET_8_HOSTONLY_NETMASK 255.255.255.0\n\
answer VNET_8_HOSTONLY_SUBNET 172.16.8.0\nanswer VNET_8_NAT yes\nanswer VNET_8_VIRTUAL_ADAPTER yes\n";

/// A lab and what was observed of it.
#[derive(Clone)]
pub struct World {
    pub lab: Lab,
    /// None before it is made.
    pub identity: Option<Identity>,
    pub facts: Facts,
}

impl World {
    /// A Mac on which Fusion was started once, and nothing else.
    pub fn empty() -> Self {
        let facts = Facts { networking: Some(NETWORKING.into()), ..Facts::default() };
        Self { lab: fixture::lab(), identity: None, facts }
    }

    /// Everything as the lab file says.
    pub fn complete() -> Self {
        static COMPLETE: OnceLock<World> = OnceLock::new();
        COMPLETE.get_or_init(Self::make).clone()
    }

    fn make() -> Self {
        Self::complete_as(|_| ())
    }

    /// Everything as a lab file says that differs from the document's.
    pub fn complete_as(change: impl FnOnce(&mut Lab)) -> Self {
        let (mut lab, identity) = fixture::document();
        change(&mut lab);
        let mut world = Self { lab, identity: Some(identity), ..Self::empty() };
        world.make_host();
        for name in world.names(|_| true) {
            world.make_machine(&name);
        }
        world.make_cluster();
        world.facts.kubeconfig = world.desired().kubeconfig;
        world
    }

    pub fn desired(&self) -> Desired {
        Desired::of(&self.lab, self.identity.as_ref(), &self.facts, None)
    }

    pub fn up(&self) -> Result<Plan, Vec<Obstacle>> {
        up::plan(&self.lab, &self.desired(), &self.facts)
    }

    /// Returns the ids of the steps of `up`.
    #[track_caller]
    pub fn steps(&self) -> Vec<String> {
        self.up().expect("nothing stands in the way").steps.iter().map(|step| step.id.to_string()).collect()
    }

    pub fn vm(&mut self, name: &str) -> &mut VmFacts {
        self.facts.vms.get_mut(name).expect("the VM is in the world")
    }

    /// Switches a VM off: nobody sees it run, and its guest does not answer.
    pub fn switch_off(&mut self, name: &str) {
        self.vm(name).running = false;
        self.facts.host.running.retain(|vmx| *vmx != Self::vmx(name));
        self.facts.guests.remove(name);
    }

    pub fn guest(&mut self, name: &str) -> Option<&mut GuestFacts> {
        self.facts.guests.get_mut(name)
    }

    pub fn cluster(&mut self) -> Option<&mut ClusterFacts> {
        self.facts.cluster.as_mut()
    }

    pub fn vmx(name: &str) -> PathBuf {
        format!("/library/lab/{name}.vmwarevm/{name}.vmx").into()
    }

    fn names(&self, wanted: impl Fn(Role) -> bool) -> Vec<String> {
        self.lab.nodes.iter().filter(|node| wanted(node.role)).map(|node| node.name.clone()).collect()
    }

    fn make_host(&mut self) {
        let NetworkEdit::Change(change) = self.desired().network else {
            panic!("a file without vmnet2 is to be changed");
        };
        let wish = network::wish(&self.lab);
        self.facts.networking = Some(change.after);
        self.facts.network_running = true;
        let (vmnet, reservations) = (wish.vmnet, wish.reservations);
        self.facts.network_record =
            Some(NetworkRecord { version: 2, vmnet, reservations: reservations.clone() });
        self.facts.network_made =
            Some(MadeNetwork { version: 1, vmnet, subnet: wish.subnet, uuid: None, reservations });
        self.facts.identity = true;
        self.facts.lab_folder = true;
        self.facts.template = TemplateFacts {
            key: self.desired().template_key,
            image_cached: true,
            present: true,
            disk_written: true,
            baked: true,
            frozen: true,
            hanging: Vec::new(),
        };
    }

    fn make_machine(&mut self, name: &str) {
        let desired = self.desired();
        let node = self.lab.node(name).expect("it is in the lab");
        let spec = desired.specs.get(name).cloned();
        let parts = desired.parts[name].clone();
        let vm = VmFacts { spec, parts, running: true, ..VmFacts::new(Self::vmx(name), VmState::Ours) };
        let mut guest = GuestFacts {
            hostname: name.to_owned(),
            cloud_init: "done".to_owned(),
            addresses: node.nics.iter().map(|nic| ("card".to_owned(), nic.address)).collect(),
            files: desired.files[name].clone(),
            ..GuestFacts::default()
        };
        let units: &[&str] = match node.role {
            Role::Gateway => &["nginx", "keepalived", "fusionlab-dns", "chrony"],
            Role::ControlPlane | Role::Worker => &["containerd", "chrony", "kubelet"],
        };
        guest.units = units.iter().map(|unit| ((*unit).to_owned(), "active".to_owned())).collect();
        let marks: &[&str] = match node.role {
            Role::Gateway => &[],
            Role::ControlPlane => &["kubelet.conf", "admin.conf", "etcd-member"],
            Role::Worker => &["kubelet.conf"],
        };
        guest.kubernetes = marks.iter().map(|mark| (*mark).to_owned()).collect();
        if node.role == Role::ControlPlane {
            guest.kubernetes.extend(kubeadm::CONTROL_PLANE.map(|name| format!("manifest-{name}")));
        }
        if name == "gateway1" {
            let vips = [self.lab.lan.vip, self.lab.internal.vip];
            guest.addresses.extend(vips.map(|vip| ("card".to_owned(), vip)));
        }
        self.facts.host.running.push(vm.vmx.clone());
        self.facts.vms.insert(name.to_owned(), vm);
        self.facts.guests.insert(name.to_owned(), guest);
    }

    fn make_cluster(&mut self) {
        let desired = self.desired();
        let ports = &self.lab.cluster.ports;
        let members = self.names(|role| role != Role::Gateway);
        let control_planes = self.names(|role| role == Role::ControlPlane);
        let ready = |name: &String| KubeNode {
            ready: true,
            control_plane: control_planes.contains(name),
            ..KubeNode::default()
        };
        self.facts.cluster = Some(ClusterFacts {
            asked: self.lab.first_control_plane().name.clone(),
            nodes: members.into_iter().map(|name| (name.clone(), ready(&name))).collect(),
            gateway_api: Some(self.lab.versions.gateway_api.clone()),
            cilium: Some(HelmRelease {
                status: "deployed".to_owned(),
                chart: desired.cilium_chart,
                values: Some(desired.cilium_values),
            }),
            rollouts: cilium::ROLLOUTS.map(|name| (name.to_owned(), true)).into(),
            ingress: desired.ingress,
            gateway_programmed: true,
            node_ports: ports.pinned().into(),
            ..ClusterFacts::default()
        });
    }
}
