//! The part of `up` that makes the cluster: from a prepared node to the kubeconfig.

use super::{Draft, List};
use crate::lab::{Node, Role};
use crate::plan::facts::ClusterFacts;
use crate::plan::step::{Action, Gate, Phase};
use crate::stack::kubeadm;

impl List<'_> {
    pub(super) fn prepare(&mut self, node: &Node) {
        let runtime_runs = self.guest(node).is_some_and(|guest| guest.unit_active("containerd"));
        let why = match self.stale_files(node) {
            Some(stale) => stale,
            None if !runtime_runs => "containerd is not running".to_owned(),
            None => return self.keep(format!("{}: prepared for Kubernetes", node.name)),
        };
        let draft = Draft::of(
            "node.prepare",
            node,
            Phase::Configure,
            5,
            Action::PrepareNode { node: node.name.clone() },
        )
        .text(format!("prepare {} for Kubernetes: files, containerd, clock", node.name))
        .why(why)
        .gate(Gate::Guest);
        self.add(draft, [format!("guest.ready/{}", node.name), "network.apply".to_owned()]);
    }

    pub(super) fn cluster(&self) -> Option<&ClusterFacts> {
        self.facts.cluster.as_ref()
    }

    /// Whether a node has joined, by its own word and the API's. `None` if one of them cannot be asked.
    pub(super) fn joined(&self, node: &Node) -> Option<bool> {
        let state = kubeadm::state(node.role, self.guest(node)?);
        let known = self.cluster()?.nodes.get(&node.name);
        // The mark is the last that a control plane's join leaves.
        let whole = known.is_some_and(|known| known.control_plane || node.role != Role::ControlPlane);
        Some(whole && state.is_complete())
    }

    /// Returns why a node must still join (or join again), or none.
    pub(super) fn why_join(&self, node: &Node) -> Option<&'static str> {
        match self.joined(node) {
            Some(true) => None,
            Some(false) => Some("the API server does not know it, or its kubelet has not joined"),
            None => Some("not known before its guest and the API server answer"),
        }
    }

    pub(super) fn init(&mut self) {
        let node = self.lab.first_control_plane();
        let unfinished = self
            .cluster()
            .is_some_and(|cluster| !kubeadm::init_complete(cluster, &node.name))
            .then_some("its init was cut before its last phase");
        let Some(why) = self.why_join(node).or(unfinished) else {
            return self.keep(format!("{}: control plane, joined", node.name));
        };
        let draft = Draft::of(
            "kube.init",
            node,
            Phase::Join,
            50,
            Action::InitControlPlane { node: node.name.clone() },
        )
        .text(format!("kubeadm init on {} (Kubernetes {})", node.name, self.lab.versions.kubernetes))
        .why(why);
        // Every control plane is asked first: where one of them has the cluster, none is begun anew.
        let ready = self.lab.control_planes().map(|node| format!("guest.ready/{}", node.name));
        // Without the gateways: init talks to its own API server. Some versions did not (facts/kubernetes-cilium.md §1.5).
        let gateways = self.lab.versions.init_needs_the_endpoint().then(|| "gateway.vips".to_owned());
        // Who must choose another VIP does so before it stands in a certificate.
        let before = ready.chain(self.probes()).chain(gateways);
        let needs: Vec<String> = before.chain([format!("node.prepare/{}", node.name)]).collect();
        self.add(draft, needs);
    }

    pub(super) fn endpoint(&mut self) {
        let any_join = self.lab.members().any(|node| self.why_join(node).is_some());
        if !any_join && !self.planned("gateway.vips") {
            return;
        }
        let draft = Draft::new("kube.endpoint", Phase::Cluster, 3, Action::AwaitEndpoint)
            .text(format!("prove from every member that {} answers", self.lab.control_plane_endpoint()))
            .why("joins go through it");
        let prepares = self
            .lab
            .members()
            .flat_map(|node| [format!("node.prepare/{}", node.name), format!("guest.ready/{}", node.name)]);
        let first = self.lab.first_control_plane();
        let needs: Vec<String> =
            prepares.chain([format!("kube.init/{}", first.name), "gateway.vips".to_owned()]).collect();
        self.add(draft, needs);
    }

    pub(super) fn join_control_planes(&mut self) {
        let lab = self.lab;
        // One at a time: etcd allows one learner (facts/kubernetes-cilium.md §1.6).
        let mut previous = "kube.endpoint".to_owned();
        for node in lab.control_planes().skip(1) {
            let Some(why) = self.why_join(node) else {
                self.keep(format!("{}: control plane, joined", node.name));
                continue;
            };
            let action = Action::JoinControlPlane { node: node.name.clone() };
            let draft = Draft::of("kube.join", node, Phase::Join, 45, action)
                .text(format!("kubeadm join {} as a control plane", node.name))
                .why(why);
            let id = draft.id.clone();
            let needs = ["kube.endpoint".to_owned(), previous, format!("node.prepare/{}", node.name)];
            self.add(draft, needs);
            previous = id;
        }
    }

    pub(super) fn join_workers(&mut self) {
        let lab = self.lab;
        for node in lab.of_role(Role::Worker) {
            let Some(why) = self.why_join(node) else {
                self.keep(format!("{}: worker, joined", node.name));
                continue;
            };
            let draft =
                Draft::of("kube.join", node, Phase::Join, 15, Action::JoinWorker { node: node.name.clone() })
                    .text(format!("kubeadm join {} as a worker", node.name))
                    .why(why);
            self.add(draft, ["kube.endpoint".to_owned(), format!("node.prepare/{}", node.name)]);
        }
    }

    pub(super) fn init_step(&self) -> String {
        format!("kube.init/{}", self.lab.first_control_plane().name)
    }

    pub(super) fn gateway_api(&mut self) {
        let wished = &self.lab.versions.gateway_api;
        let found = self.cluster().and_then(|cluster| cluster.gateway_api.clone());
        if found.as_ref() == Some(wished) && !self.planned(&self.init_step()) {
            return self.keep(format!("Gateway API {wished}: definitions established"));
        }
        let draft =
            Draft::new("gateway-api.install", Phase::Cluster, 5, Action::InstallGatewayApi)
                .text(format!("install the Gateway API {wished} definitions"))
                .why(found.map_or_else(
                    || "they are not there".to_owned(),
                    |found| format!("the cluster has {found}"),
                ));
        self.add(draft, [self.init_step(), "kube.endpoint".to_owned()]);
    }

    pub(super) fn cilium(&mut self) {
        let chart = &self.desired.cilium_chart;
        let release = self.cluster().and_then(|cluster| cluster.cilium.clone());
        let why = match release {
            None => "it is not installed".to_owned(),
            Some(release) if release.status != "deployed" => format!("its release is {}", release.status),
            Some(release) if release.chart != *chart => format!("{} is installed", release.chart),
            Some(release) if release.values.as_ref() != Some(&self.desired.cilium_values) => {
                "its values differ".to_owned()
            }
            Some(_) if self.planned("gateway-api.install") => "the Gateway API definitions change".to_owned(),
            Some(_) => return self.keep(format!("{chart}: deployed")),
        };
        let draft = Draft::new("cilium.install", Phase::Cluster, 20, Action::InstallCilium)
            .text(format!(
                "install Cilium {}: native routing, no kube-proxy, Gateway API, Hubble",
                self.lab.versions.cilium
            ))
            .why(why);
        // The definitions go in before: Cilium's operator looks for them once (facts §4.2).
        self.add(
            draft,
            ["gateway-api.install", "kube.endpoint"].map(str::to_owned).into_iter().chain([self.init_step()]),
        );
    }

    pub(super) fn nodes_ready(&mut self) {
        let joins: Vec<String> = self
            .lab
            .members()
            .flat_map(|node| {
                [
                    format!("kube.join/{}", node.name),
                    format!("kube.init/{}", node.name),
                    format!("guest.ready/{}", node.name),
                ]
            })
            .chain(["cilium.install".to_owned(), "kube.endpoint".to_owned()])
            .collect();
        let settled = self.cluster().is_some_and(|cluster| {
            self.lab.members().all(|node| cluster.nodes.get(&node.name).is_some_and(|node| node.ready))
                && cluster.not_rolled_out().is_empty()
                && !cluster.kube_proxy_present
        });
        if settled && !joins.iter().any(|id| self.planned(id)) {
            return self.keep("cluster: every node Ready, Cilium rolled out");
        }
        let draft = Draft::new("kube.nodes", Phase::Cluster, 45, Action::AwaitNodes)
            .text("wait until Cilium is rolled out and every node is Ready")
            .why(if settled { "the cluster is being changed" } else { "not all of them are" });
        self.add(draft, joins);
    }

    pub(super) fn ingress(&mut self) {
        let ports = &self.lab.cluster.ports;
        let why = match self.cluster() {
            None => "there is no cluster yet",
            Some(cluster) if cluster.ingress.is_none() => "it is not there",
            Some(cluster) if cluster.ingress != self.desired.ingress => "its manifests differ",
            Some(cluster)
                if ports
                    .pinned()
                    .iter()
                    .any(|(port, wished)| cluster.node_ports.get(port) != Some(wished)) =>
            {
                "its NodePorts moved"
            }
            Some(cluster) if !cluster.gateway_programmed => "it is not programmed",
            Some(_) => {
                return self.keep(format!(
                    "Gateway: programmed on NodePorts {} and {}",
                    ports.http_node_port, ports.https_node_port
                ));
            }
        };
        let draft = Draft::new("ingress.configure", Phase::Cluster, 15, Action::ConfigureIngress)
            .text(format!(
                "configure the Gateway on NodePorts {} and {}, with the test application",
                ports.http_node_port, ports.https_node_port
            ))
            .why(why);
        self.add(draft, ["kube.nodes", "cilium.install", "gateway-api.install"].map(str::to_owned));
    }

    pub(super) fn kubeconfig(&mut self) {
        if self.desired.kubeconfig.is_some() && self.facts.kubeconfig == self.desired.kubeconfig {
            return self.keep("kubeconfig: current");
        }
        let draft = Draft::new("kubeconfig.write", Phase::Cluster, 1, Action::WriteKubeconfig)
            .text(format!(
                "write the kubeconfig for https://{}:{}",
                self.lab.lan.vip, self.lab.cluster.ports.api
            ))
            .why(if self.facts.kubeconfig.is_none() { "there is none" } else { "it differs" });
        self.add(draft, ["identity.create".to_owned(), self.init_step()]);
    }
}
