//! The list that makes a lab: every step of `up`, in order, each with the reason why it is still missing.
//!
//! A step is left out only if the facts prove that nothing is to be done. What could not be
//! observed (a guest that does not run yet) is planned; its step looks again before it acts.

use std::collections::BTreeSet;

use crate::lab::{Lab, Node, Role};
use crate::stack::kubeadm;

use super::desired::Desired;
use super::facts::{ClusterFacts, Facts, GuestFacts, VmFacts, VmState};
use super::obstacle::Obstacle;
use super::step::{Action, Gate, Phase, Plan, Step, StepId};
use super::{networks, template};

/// Plans what is missing between the facts and the lab.
///
/// # Errors
/// Everything that stands in the way, all at once; nothing was changed.
pub fn plan(lab: &Lab, desired: &Desired, facts: &Facts) -> Result<Plan, Vec<Obstacle>> {
    let obstacles = super::obstacle::find(lab, desired, facts);
    if !obstacles.is_empty() {
        return Err(obstacles);
    }
    let mut list = List { lab, desired, facts, plan: Plan::default(), ids: BTreeSet::new() };
    list.identity();
    list.stops();
    list.network();
    list.template();
    for node in &lab.nodes {
        list.machine(node);
    }
    for gateway in lab.gateways() {
        list.gateway(gateway);
    }
    list.vips();
    for member in lab.members() {
        list.prepare(member);
    }
    list.init();
    list.endpoint();
    list.join_control_planes();
    list.join_workers();
    list.gateway_api();
    list.cilium();
    list.nodes_ready();
    list.ingress();
    list.kubeconfig();
    Ok(list.plan)
}

struct List<'a> {
    lab: &'a Lab,
    desired: &'a Desired,
    facts: &'a Facts,
    plan: Plan,
    ids: BTreeSet<StepId>,
}

/// What differs from step to step; the rest is derived.
struct Draft {
    id: String,
    node: Option<String>,
    phase: Phase,
    gate: Option<Gate>,
    text: String,
    why: String,
    cost_seconds: u32,
    action: Action,
}

impl Draft {
    fn new(id: impl Into<String>, phase: Phase, cost_seconds: u32, action: Action) -> Self {
        Self {
            id: id.into(),
            node: None,
            phase,
            gate: None,
            text: String::new(),
            why: String::new(),
            cost_seconds,
            action,
        }
    }

    fn of(verb: &str, node: &Node, phase: Phase, cost_seconds: u32, action: Action) -> Self {
        let mut draft = Self::new(format!("{verb}/{}", node.name), phase, cost_seconds, action);
        draft.node = Some(node.name.clone());
        draft
    }

    fn text(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    fn gate(mut self, gate: Gate) -> Self {
        self.gate = Some(gate);
        self
    }
}

impl List<'_> {
    /// Adds a step; of the named needs, those count that are in this plan.
    fn add(&mut self, draft: Draft, needs: impl IntoIterator<Item = String>) {
        let id = StepId(draft.id);
        let needs = needs.into_iter().map(StepId).filter(|need| self.ids.contains(need)).collect();
        self.ids.insert(id.clone());
        self.plan.steps.push(Step {
            id,
            needs,
            node: draft.node,
            phase: draft.phase,
            gate: draft.gate,
            text: draft.text,
            why: draft.why,
            cost_seconds: draft.cost_seconds,
            action: draft.action,
        });
    }

    fn keep(&mut self, what: impl Into<String>) {
        self.plan.kept.push(what.into());
    }

    fn planned(&self, id: &str) -> bool {
        self.ids.contains(&StepId(id.to_owned()))
    }

    fn identity(&mut self) {
        if self.facts.identity {
            return self.keep("identity: keys, certificates and tokens exist");
        }
        let draft = Draft::new("identity.create", Phase::Host, 1, Action::CreateIdentity)
            .text("make the lab's keys, certificates and tokens")
            .why("the lab has none, or not all");
        self.add(draft, []);
    }

    /// Stops our own machines where Fusion's networks restart: what becomes of a running card is not known
    /// (facts/fusion-networking.md §2.4).
    fn stops(&mut self) {
        if !networks::restarts(&self.desired.network, self.facts) {
            return;
        }
        for node in &self.lab.nodes {
            if self.vm(node).is_some_and(|vm| vm.running) {
                self.stop(node, "Fusion's networks restart, which would cut off a running card");
            }
        }
    }

    fn stop(&mut self, node: &Node, why: &str) {
        let name = &node.name;
        let draft = Draft::of("vm.stop", node, Phase::Boot, 10, Action::StopVm { node: name.clone() })
            .text(format!("stop {name} to change its configuration or its network"))
            .why(why);
        self.add(draft, []);
    }

    fn network(&mut self) {
        let Some(step) = networks::apply_step(self.lab, &self.desired.network, self.facts) else {
            return self.keep(format!("{}: configured, services running", self.lab.vmnet_name()));
        };
        let stops = self.lab.nodes.iter().map(|node| StepId(format!("vm.stop/{}", node.name)));
        let needs = stops.filter(|stop| self.ids.contains(stop)).collect();
        self.ids.insert(step.id.clone());
        self.plan.steps.push(Step { needs, ..step });
    }

    fn template(&mut self) {
        let every_vm_stands =
            self.lab.nodes.iter().all(|node| self.vm(node).is_some_and(|vm| vm.spec.is_some()));
        let facts = &self.facts.template;
        let steps = if every_vm_stands { Vec::new() } else { template::steps(self.lab, facts) };
        if steps.is_empty() {
            return self.keep(format!("template: {} ({})", self.lab.image.name, self.desired.template_key));
        }
        for mut step in steps {
            if step.action == Action::BakeTemplate {
                // The network is set up first, since its restart would cut the template off its packages.
                let before = ["network.apply", "identity.create"].map(|id| StepId(id.to_owned()));
                step.needs.extend(before.into_iter().filter(|id| self.ids.contains(id)));
            }
            self.ids.insert(step.id.clone());
            self.plan.steps.push(step);
        }
    }

    fn vm(&self, node: &Node) -> Option<&VmFacts> {
        self.facts.vms.get(&node.name).filter(|vm| vm.state == VmState::Ours)
    }

    fn guest(&self, node: &Node) -> Option<&GuestFacts> {
        self.facts.guests.get(&node.name)
    }

    /// From nothing to a guest that takes our key.
    fn machine(&mut self, node: &Node) {
        let name = &node.name;
        let vm = self.vm(node).cloned();
        let spec_is_right = vm
            .as_ref()
            .is_some_and(|vm| vm.spec.is_some() && vm.spec.as_ref() == self.desired.specs.get(name));
        if vm.is_none() {
            let draft = Draft::of("vm.clone", node, Phase::Clone, 3, Action::CloneVm { node: name.clone() })
                .text(format!("clone {name} from the template"))
                .why("there is no such VM")
                .gate(Gate::Parent);
            self.add(draft, ["template.freeze".to_owned()]);
        }
        let running = vm.as_ref().is_some_and(|vm| vm.running);
        let stopped = self.planned(&format!("vm.stop/{name}"));
        if !spec_is_right {
            if running && !stopped {
                self.stop(node, "its VMX or seed is not what the lab file says");
            }
            let why =
                if vm.is_none() { "it is new" } else { "its VMX or seed is not what the lab file says" };
            let draft =
                Draft::of("vm.configure", node, Phase::Clone, 1, Action::ConfigureVm { node: name.clone() })
                    .text(format!("write the VMX and seed of {name}: {}", hardware(node)))
                    .why(why);
            self.add(
                draft,
                [format!("vm.clone/{name}"), format!("vm.stop/{name}"), "identity.create".to_owned()],
            );
        }
        if !running || stopped || !spec_is_right {
            let draft = Draft::of("vm.start", node, Phase::Boot, 5, Action::StartVm { node: name.clone() })
                .text(format!("start {name}"))
                .why("it is not running")
                .gate(Gate::PowerOn);
            let needs = [format!("vm.configure/{name}"), format!("vm.stop/{name}")];
            self.add(draft, needs.into_iter().chain(["network.apply", "template.freeze"].map(str::to_owned)));
        }
        let ready =
            self.guest(node).is_some_and(|guest| guest.cloud_init == "done" && guest.holds(node.address()));
        if !ready || self.planned(&format!("vm.start/{name}")) {
            let draft =
                Draft::of("guest.ready", node, Phase::Ready, 25, Action::AwaitGuest { node: name.clone() })
                    .text(format!(
                        "wait for {name} at {}: login, cloud-init, its own address",
                        node.address()
                    ))
                    .why(if self.guest(node).is_some() {
                        "cloud-init is not done"
                    } else {
                        "it does not answer yet"
                    })
                    .gate(Gate::Guest);
            self.add(draft, [format!("vm.start/{name}"), "network.apply".to_owned()]);
        } else {
            self.keep(format!("{name}: running at {}", node.address()));
        }
    }

    /// Names the files of a node that are missing or differ; none if all are right, or all of them if unknown.
    fn stale_files(&self, node: &Node) -> Option<String> {
        let Some(guest) = self.guest(node) else { return Some("it was not running".to_owned()) };
        let Some(wished) = self.desired.files.get(&node.name) else {
            return Some("the lab's identity is new".to_owned());
        };
        let stale: Vec<&str> = wished
            .iter()
            .filter(|(path, digest)| guest.files.get(*path) != Some(digest))
            .map(|(path, _)| path.as_str())
            .collect();
        match stale.as_slice() {
            [] => None,
            [one] => Some(format!("{one} differs")),
            [first, rest @ ..] => Some(format!("{first} and {} more differ", rest.len())),
        }
    }

    fn gateway(&mut self, node: &Node) {
        let units_run = self
            .guest(node)
            .is_some_and(|guest| guest.unit_active("nginx") && guest.unit_active("keepalived"));
        let why = match self.stale_files(node) {
            Some(stale) => stale,
            None if !units_run => "nginx or keepalived is not running".to_owned(),
            None => return self.keep(format!("{}: nginx and keepalived run as configured", node.name)),
        };
        let action = Action::ConfigureGateway { node: node.name.clone() };
        let draft = Draft::of("gateway.configure", node, Phase::Configure, 3, action)
            .text(format!("configure nginx and keepalived on {}", node.name))
            .why(why)
            .gate(Gate::Guest);
        self.add(draft, [format!("guest.ready/{}", node.name), "network.apply".to_owned()]);
    }

    fn vips(&mut self) {
        let (lan, internal) = (self.lab.lan.vip, self.lab.internal.vip);
        let configures: Vec<String> =
            self.lab.gateways().map(|node| format!("gateway.configure/{}", node.name)).collect();
        let changing = configures.iter().any(|id| self.planned(id));
        if !changing && let Some(holder) = vip_holder(self.lab, self.facts) {
            return self.keep(format!("VIPs: {lan} and {internal} held by {holder}"));
        }
        let draft = Draft::new("gateway.vips", Phase::Cluster, 4, Action::AwaitVips)
            .text(format!("wait until one gateway holds {lan} and {internal}"))
            .why(if changing {
                "keepalived is being configured"
            } else {
                "not exactly one gateway holds both"
            });
        self.add(draft, configures);
    }

    fn prepare(&mut self, node: &Node) {
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

    fn cluster(&self) -> Option<&ClusterFacts> {
        self.facts.cluster.as_ref()
    }

    /// Whether a node has joined, by its own word and the API's. `None` if one of them cannot be asked.
    fn joined(&self, node: &Node) -> Option<bool> {
        let state = kubeadm::state(node.role, self.guest(node)?);
        let known = self.cluster()?.nodes.contains_key(&node.name);
        Some(known && state.is_complete())
    }

    /// Returns why a node must still join (or join again), or none.
    fn why_join(&self, node: &Node) -> Option<&'static str> {
        match self.joined(node) {
            Some(true) => None,
            Some(false) => Some("the API server does not know it, or its kubelet has not joined"),
            None => Some("not known before its guest and the API server answer"),
        }
    }

    fn init(&mut self) {
        let node = self.lab.first_control_plane();
        let Some(why) = self.why_join(node) else {
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
        let needs: Vec<String> =
            ready.chain([format!("node.prepare/{}", node.name), "gateway.vips".to_owned()]).collect();
        self.add(draft, needs);
    }

    fn endpoint(&mut self) {
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

    fn join_control_planes(&mut self) {
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

    fn join_workers(&mut self) {
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

    fn init_step(&self) -> String {
        format!("kube.init/{}", self.lab.first_control_plane().name)
    }

    fn gateway_api(&mut self) {
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

    fn cilium(&mut self) {
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

    fn nodes_ready(&mut self) {
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
                && cluster.rollouts.values().all(|ready| *ready)
        });
        if settled && !joins.iter().any(|id| self.planned(id)) {
            return self.keep("cluster: every node Ready, Cilium rolled out");
        }
        let draft = Draft::new("kube.nodes", Phase::Cluster, 45, Action::AwaitNodes)
            .text(format!(
                "wait until Cilium is rolled out and {} nodes are Ready",
                self.lab.members().count()
            ))
            .why(if settled { "the cluster is being changed" } else { "not all of them are" });
        self.add(draft, joins);
    }

    fn ingress(&mut self) {
        let ports = &self.lab.cluster.ports;
        let why = match self.cluster() {
            None => "there is no cluster yet",
            Some(cluster) if cluster.ingress.is_none() => "it is not there",
            Some(cluster) if cluster.ingress != self.desired.ingress => "its manifests differ",
            Some(cluster)
                if cluster.node_ports.get(&80) != Some(&ports.http_node_port)
                    || cluster.node_ports.get(&443) != Some(&ports.https_node_port) =>
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

    fn kubeconfig(&mut self) {
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

/// Returns the one gateway that holds both VIPs; none if there is not exactly one.
pub fn vip_holder<'a>(lab: &'a Lab, facts: &Facts) -> Option<&'a str> {
    let holds = |node: &&Node, vip| facts.guests.get(&node.name).is_some_and(|guest| guest.holds(vip));
    let lan: Vec<&Node> = lab.gateways().filter(|node| holds(node, lab.lan.vip)).collect();
    let internal: Vec<&Node> = lab.gateways().filter(|node| holds(node, lab.internal.vip)).collect();
    match (lan.as_slice(), internal.as_slice()) {
        ([one], [other]) if one.name == other.name => Some(&one.name),
        _ => None,
    }
}

/// Returns a node's size and cards in a few words.
fn hardware(node: &Node) -> String {
    let cards: Vec<String> =
        node.nics.iter().map(|nic| format!("{} {}", nic.guest_name(), nic.address)).collect();
    let cpus = if node.cpus == 1 { "1 CPU".to_owned() } else { format!("{} CPUs", node.cpus) };
    format!("{cpus}, {} MiB, {}", node.memory_mib, cards.join(", "))
}

#[cfg(test)]
mod tests;
