//! The list that makes a lab: every step of `up`, in order, each with the reason why it is still missing.
//!
//! A step is left out only if the facts prove that nothing is to be done. What could not be
//! observed (a guest that does not run yet) is planned; its step looks again before it acts.

mod cluster;
mod gateways;
mod machines;
mod turns;
mod upkeep;

use std::collections::BTreeSet;

use crate::lab::{Lab, Node, Role};

use super::desired::Desired;
use super::facts::{Facts, GuestFacts, VmFacts, VmState};
use super::obstacle::Obstacle;
use super::step::{Action, Gate, Phase, Plan, Step, StepId};
use super::{drift, drill, networks, template};

/// Returns the services that must run in a guest and start at its boot: a kubelet once kubeadm has given it something to do.
pub fn units(node: &Node, guest: &GuestFacts) -> Vec<&'static str> {
    match node.role {
        Role::Gateway => gateways::UNITS.to_vec(),
        Role::ControlPlane | Role::Worker => cluster::units(node, guest),
    }
}

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
    list.end_drill();
    list.template();
    list.machines();
    for node in &lab.nodes {
        list.clock(node);
    }
    list.lan();
    for gateway in lab.gateways() {
        list.gateway(gateway);
    }
    list.vips();
    for member in lab.members() {
        list.prepare(member);
    }
    list.certificates();
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
    unseen: bool,
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
            unseen: false,
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

    /// Says whether nobody could be asked if there is anything to do.
    fn unseen(mut self, unseen: bool) -> Self {
        self.unseen = unseen;
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
        let mended = draft.node.iter().flat_map(|node| {
            let clock = (draft.phase >= Phase::Configure).then(|| format!("guest.clock/{node}"));
            [format!("drill.restore/{node}")].into_iter().chain(clock)
        });
        let needs: Vec<StepId> = needs.into_iter().chain(mended).map(StepId).collect();
        let mut needs: Vec<StepId> = needs.into_iter().filter(|need| self.ids.contains(need)).collect();
        let mut seen = BTreeSet::new();
        needs.retain(|need| seen.insert(need.clone()));
        self.ids.insert(id.clone());
        if draft.unseen {
            self.plan.unseen.insert(id.clone());
        }
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
        let stale = drift::of_identity(&self.facts.stale_identity, self.facts.now);
        let (text, why) = match (self.facts.identity, stale) {
            (true, None) => return self.keep("identity: keys, certificates and tokens exist"),
            (true, Some(stale)) => ("renew certificates of the lab's identity", stale),
            (false, _) => {
                ("make the lab's keys, certificates and tokens", "the lab has none, or not all".to_owned())
            }
        };
        let draft = Draft::new("identity.create", Phase::Host, 1, Action::CreateIdentity).text(text).why(why);
        self.add(draft, []);
    }

    /// A drill that was killed left something broken: whatever else its machine needs comes after that.
    fn end_drill(&mut self) {
        if let Some(record) = &self.facts.drill {
            let step = drill::restore(record);
            // Its machine may have to be started, and that on a network that is there.
            let before = [StepId("network.apply".to_owned()), StepId(format!("vm.stop/{}", record.node))];
            let needs = before.into_iter().filter(|need| self.ids.contains(need)).collect();
            self.ids.insert(step.id.clone());
            self.plan.steps.push(Step { needs, ..step });
        }
    }

    /// Stops our own machines where Fusion's networks restart: what becomes of a running card is not known
    /// (facts/fusion-networking.md §2.4).
    fn stops(&mut self) {
        if !networks::restarts(&self.desired.network, self.facts) {
            return;
        }
        for node in &self.lab.nodes {
            if self.vm(node).is_some_and(|vm| vm.running) {
                self.stop(node, "Fusion's networks restart, which would cut off a running card", &[]);
            }
        }
    }

    fn stop(&mut self, node: &Node, why: &str, first: &[String]) {
        let name = &node.name;
        let draft = Draft::of("vm.stop", node, Phase::Boot, 10, Action::StopVm { node: name.clone() })
            .text(format!("stop {name} to change its configuration or its network"))
            .why(why);
        self.add(draft, first.iter().cloned());
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

    /// Says whether a machine stands that does not answer: what is on its disk is not known.
    fn is_unseen(&self, node: &Node) -> bool {
        self.guest(node).is_none() && self.vm(node).is_some_and(|vm| vm.spec.is_some())
    }
}

#[cfg(test)]
mod losses;
#[cfg(test)]
mod tests;
