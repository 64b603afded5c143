//! The part of `up` that makes the cluster: from a prepared node to the kubeconfig.

use super::{List, services};
use crate::lab::{Node, Role};
use crate::plan::drift;
use crate::plan::facts::ClusterFacts;
use crate::plan::kind::Kind;
use crate::plan::step::{Action, Step, StepId};
use crate::stack::identity::Leaf;
use crate::stack::kubeadm::{self, NodeState};

/// Why something of the cluster's is planned while no API server answers: nothing was installed yet, or it only sleeps.
const NOBODY_TO_ASK: &str = "no API server is there to ask yet";

impl List<'_> {
    pub(super) fn prepare(&mut self, node: &Node) {
        let down = || self.guest(node).and_then(|guest| drift::of_units(guest, &services(node, guest)));
        let Some(why) = self.stale_files(node).or_else(down) else {
            return self.keep(format!("{}: prepared for Kubernetes", node.name));
        };
        let text = format!("prepare {} for Kubernetes: files, containerd, clock", node.name);
        let step = Step::new(Action::PrepareNode { node: node.name.clone() }, text, why);
        let needs = [Kind::GuestReady.on(&node.name), Kind::NetworkApply.id()];
        self.add_unseen(self.is_unseen(node), step, needs);
    }

    pub(super) fn cluster(&self) -> Option<&ClusterFacts> {
        self.facts.cluster.as_ref()
    }

    /// Returns why a node must still join (or join again), or none.
    pub(super) fn why_join(&self, node: &Node) -> Option<String> {
        let unknown = || Some("not known before its guest and the API server answer".to_owned());
        let Some(guest) = self.guest(node) else { return unknown() };
        let gone = kubeadm::missing_manifests(node.role, guest);
        if !gone.is_empty() {
            return Some(format!("the manifest of {} is gone", gone.join(" and ")));
        }
        let Some(cluster) = self.cluster() else { return unknown() };
        match kubeadm::state(node.role, guest) {
            NodeState::Fresh => return Some("kubeadm has not run on it".to_owned()),
            NodeState::HalfJoined { .. } => return Some("kubeadm did not come to its end on it".to_owned()),
            NodeState::Initialised | NodeState::Joined => {}
        }
        match cluster.nodes.get(&node.name) {
            None => Some("the cluster does not know it, though its kubelet has joined".to_owned()),
            // The mark is the last that a control plane's join leaves.
            Some(known) if node.role == Role::ControlPlane && !known.control_plane => {
                Some("the cluster does not know it as a control plane".to_owned())
            }
            Some(_) => None,
        }
    }

    /// Says whether a node may be in a cluster that cannot be asked.
    fn may_have_joined(&self, node: &Node) -> bool {
        match self.guest(node) {
            Some(guest) => self.cluster().is_none() && kubeadm::state(node.role, guest).is_complete(),
            None => self.is_unseen(node),
        }
    }

    /// Says whether there may be a cluster that cannot be asked.
    fn cluster_is_unseen(&self) -> bool {
        self.cluster().is_none() && self.lab.control_planes().any(|node| self.may_have_joined(node))
    }

    pub(super) fn init(&mut self) {
        let node = self.lab.first_control_plane();
        let unfinished = self
            .cluster()
            .is_some_and(|cluster| !kubeadm::init_complete(cluster, &node.name))
            .then(|| "its init was cut before its last phase".to_owned());
        let Some(why) = self.why_join(node).or(unfinished) else {
            return self.keep(format!("{}: control plane, joined", node.name));
        };
        let text = format!("kubeadm init on {} (Kubernetes {})", node.name, self.lab.versions.kubernetes);
        let step = Step::new(Action::InitControlPlane { node: node.name.clone() }, text, why);
        // Every control plane is asked first: where one of them has the cluster, none is begun anew.
        let ready = self.lab.control_planes().map(|node| Kind::GuestReady.on(&node.name));
        // Without the gateways: init talks to its own API server. Some versions did not (facts/kubernetes-cilium.md §1.5).
        let gateways = self.lab.versions.init_needs_the_endpoint().then(|| Kind::GatewayVips.id());
        // Who must choose another VIP does so before it stands in a certificate.
        let before = ready.chain(self.probes()).chain(gateways).chain(self.upkeep());
        // Those that were cut short are cleared with a cluster that is begun anew, and nobody else may write there meanwhile.
        let touched =
            self.lab.control_planes().filter(|other| other.name == node.name || self.may_be_half(other));
        let prepares = touched.map(|node| Kind::NodePrepare.on(&node.name));
        let needs: Vec<StepId> = before.chain(prepares).collect();
        self.add_unseen(self.may_have_joined(node), step, needs);
    }

    /// Says whether a join may have been cut short on a node.
    fn may_be_half(&self, node: &Node) -> bool {
        match self.guest(node) {
            Some(guest) => matches!(kubeadm::state(node.role, guest), NodeState::HalfJoined { .. }),
            None => self.is_unseen(node),
        }
    }

    pub(super) fn endpoint(&mut self) {
        let any_join = self.lab.members().any(|node| self.why_join(node).is_some());
        let restarts = self.endpoint_restarts();
        if !any_join && !restarts && !self.planned(&Kind::GatewayVips.id()) {
            return;
        }
        let text = format!("prove from every node that {} answers", self.lab.control_plane_endpoint());
        let why = if restarts { "machines behind it start" } else { "joins go through it" };
        let nodes = self.lab.nodes.iter();
        let ready =
            nodes.flat_map(|node| [Kind::NodePrepare.on(&node.name), Kind::GuestReady.on(&node.name)]);
        let needs = ready.chain([self.init_step(), Kind::GatewayVips.id()]).chain(self.upkeep());
        self.add(Step::new(Action::AwaitEndpoint, text, why), needs);
    }

    /// Says whether a machine behind the endpoint starts that nobody waits for until it does its part again, as when
    /// Fusion's networks restart: whoever asks the API server next would ask too early.
    fn endpoint_restarts(&self) -> bool {
        let starts =
            |node: &Node| self.planned_on(Kind::VmStart, node) && !self.planned_on(Kind::NodeBack, node);
        self.lab.gateways().chain(self.lab.control_planes()).any(starts)
    }

    pub(super) fn join_control_planes(&mut self) {
        let lab = self.lab;
        // One at a time: etcd allows one learner (facts/kubernetes-cilium.md §1.6).
        let mut previous = Kind::KubeEndpoint.id();
        for node in lab.control_planes().skip(1) {
            let Some(why) = self.why_join(node) else {
                self.keep(format!("{}: control plane, joined", node.name));
                continue;
            };
            let text = format!("kubeadm join {} as a control plane", node.name);
            let step = Step::new(Action::JoinControlPlane { node: node.name.clone() }, text, why);
            let needs = [Kind::KubeEndpoint.id(), previous, Kind::NodePrepare.on(&node.name)];
            previous = self.add_unseen(self.may_have_joined(node), step, needs);
        }
    }

    pub(super) fn join_workers(&mut self) {
        let lab = self.lab;
        for node in lab.of_role(Role::Worker) {
            let Some(why) = self.why_join(node) else {
                self.keep(format!("{}: worker, joined", node.name));
                continue;
            };
            let text = format!("kubeadm join {} as a worker", node.name);
            let step = Step::new(Action::JoinWorker { node: node.name.clone() }, text, why);
            let needs = [Kind::KubeEndpoint.id(), Kind::NodePrepare.on(&node.name)];
            self.add_unseen(self.may_have_joined(node), step, needs);
        }
    }

    pub(super) fn init_step(&self) -> StepId {
        Kind::KubeInit.on(&self.lab.first_control_plane().name)
    }

    pub(super) fn gateway_api(&mut self) {
        let wished = &self.lab.versions.gateway_api;
        let found = self.cluster().and_then(|cluster| cluster.gateway_api.clone());
        if found.as_ref() == Some(wished) {
            return self.keep(format!("Gateway API {wished}: definitions established"));
        }
        let text = format!("install the Gateway API {wished} definitions");
        let why = match (self.cluster(), found) {
            (None, _) => NOBODY_TO_ASK.to_owned(),
            (Some(_), None) => "they are not there".to_owned(),
            (Some(_), Some(found)) => format!("the cluster has {found}"),
        };
        let needs = [self.init_step(), Kind::KubeEndpoint.id()].into_iter().chain(self.upkeep());
        self.add_unseen(self.cluster_is_unseen(), Step::new(Action::InstallGatewayApi, text, why), needs);
    }

    pub(super) fn cilium(&mut self) {
        let chart = &self.desired.cilium_chart;
        let release = self.cluster().and_then(|cluster| cluster.cilium.clone());
        let settings = &self.desired.cilium_settings;
        let by_hand = self.cluster().and_then(|cluster| drift::of_cilium(cluster, settings));
        let why = match release {
            None if self.cluster().is_none() => NOBODY_TO_ASK.to_owned(),
            None => "it is not installed".to_owned(),
            Some(release) if release.status != "deployed" => format!("its release is {}", release.status),
            Some(release) if release.chart != *chart => format!("{} is installed", release.chart),
            Some(release) if release.values.as_ref() != Some(&self.desired.cilium_values) => {
                "its values differ".to_owned()
            }
            Some(_) => match by_hand {
                Some(changed) => changed,
                None if self.planned(&Kind::GatewayApiInstall.id()) => {
                    "the Gateway API definitions change".to_owned()
                }
                None => return self.keep(format!("{chart}: deployed")),
            },
        };
        let version = &self.lab.versions.cilium;
        let text = format!("install Cilium {version}: native routing, no kube-proxy, Gateway API, Hubble");
        // The definitions go in before: Cilium's operator looks for them once (facts §4.2).
        let before = [Kind::GatewayApiInstall.id(), Kind::KubeEndpoint.id(), self.init_step()];
        let needs = before.into_iter().chain(self.upkeep());
        self.add_unseen(self.cluster_is_unseen(), Step::new(Action::InstallCilium, text, why), needs);
    }

    pub(super) fn nodes_ready(&mut self) {
        let of_member = [Kind::KubeJoin, Kind::KubeInit, Kind::KubeCertificates, Kind::GuestReady];
        let joins = self.lab.members().flat_map(|node| of_member.map(|kind| kind.on(&node.name)));
        let joins: Vec<StepId> = joins.chain([Kind::CiliumInstall.id(), Kind::KubeEndpoint.id()]).collect();
        let unsettled = self.unsettled();
        if unsettled.is_none() && !joins.iter().any(|id| self.planned(id)) {
            return self.keep("cluster: every node Ready, Cilium rolled out");
        }
        let text = "wait until Cilium is rolled out and every node is Ready";
        let why = unsettled.unwrap_or_else(|| "the cluster is being changed".to_owned());
        let needs = joins.into_iter().chain(self.upkeep());
        self.add(Step::new(Action::AwaitNodes, text, why), needs);
    }

    /// Says what of the cluster has not come up; none if all has.
    fn unsettled(&self) -> Option<String> {
        let Some(cluster) = self.cluster() else { return Some(NOBODY_TO_ASK.to_owned()) };
        let ready = |node: &&Node| cluster.nodes.get(&node.name).is_some_and(|node| node.ready);
        let silent: Vec<&str> =
            self.lab.members().filter(|node| !ready(node)).map(|node| node.name.as_str()).collect();
        let waiting = cluster.not_rolled_out();
        match (silent.as_slice(), waiting.as_slice()) {
            ([], []) => cluster.kube_proxy_present.then(|| "kube-proxy came into it".to_owned()),
            ([], waiting) => Some(format!("not rolled out: {}", waiting.join(", "))),
            (silent, _) => Some(format!("not Ready: {}", silent.join(", "))),
        }
    }

    pub(super) fn ingress(&mut self) {
        let ports = &self.lab.cluster.ports;
        let renewed = self.facts.stale_identity.iter().any(|(leaf, _)| *leaf == Leaf::LabServer);
        // The first control plane has a step of its own, also where it joins the others again.
        let joins =
            |node: &Node| self.planned_on(Kind::KubeJoin, node) || self.planned_on(Kind::KubeInit, node);
        let comes_back = self.lab.ingress_nodes().any(joins);
        let why = match self.cluster() {
            None => NOBODY_TO_ASK.to_owned(),
            Some(cluster) if cluster.ingress.is_none() => "it is not there".to_owned(),
            Some(cluster) if cluster.ingress != self.desired.ingress => "its manifests differ".to_owned(),
            Some(_) if renewed => "its certificate is renewed".to_owned(),
            Some(cluster) => match drift::of_node_ports(self.lab, cluster) {
                Some(moved) => moved,
                None if !cluster.gateway_programmed => "it is not programmed".to_owned(),
                None if comes_back => {
                    "a node comes back that its test application is to be spread over".to_owned()
                }
                None => {
                    return self.keep(format!(
                        "Gateway: programmed on NodePorts {} and {}",
                        ports.http_node_port, ports.https_node_port
                    ));
                }
            },
        };
        let text = format!(
            "configure the Gateway on NodePorts {} and {}, with the test application",
            ports.http_node_port, ports.https_node_port
        );
        // Not after `kube.nodes`: Cilium's operator is all that it needs, and the step waits for that by itself. Its
        // replicas and the test application want nodes, but not every control plane.
        let has_workers = self.lab.workers().next().is_some();
        let hosts = self.lab.of_role(if has_workers { Role::Worker } else { Role::ControlPlane });
        let joins = hosts.map(|node| Kind::KubeJoin.on(&node.name));
        let before = [Kind::IdentityCreate, Kind::CiliumInstall, Kind::GatewayApiInstall, Kind::KubeEndpoint]
            .map(Kind::id);
        let needs = before.into_iter().chain([self.init_step()]).chain(joins).chain(self.upkeep());
        self.add_unseen(self.cluster_is_unseen(), Step::new(Action::ConfigureIngress, text, why), needs);
    }

    pub(super) fn kubeconfig(&mut self) {
        let renewed = self.facts.stale_identity.iter().any(|(leaf, _)| *leaf == Leaf::Admin);
        if !renewed && self.desired.kubeconfig.is_some() && self.facts.kubeconfig == self.desired.kubeconfig {
            return self.keep("kubeconfig: current");
        }
        let (vip, port) = (self.lab.lan.vip, self.lab.cluster.ports.api);
        let why = match self.facts.kubeconfig {
            None => "there is none",
            Some(_) if renewed => "the user's certificate is renewed",
            Some(_) => "it differs",
        };
        let step =
            Step::new(Action::WriteKubeconfig, format!("write the kubeconfig for https://{vip}:{port}"), why);
        self.add(step, [Kind::IdentityCreate.id(), self.init_step()]);
    }
}
