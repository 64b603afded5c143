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

use crate::lab::{Lab, Node};
use crate::stack::{kubeadm, units};

use super::desired::Desired;
use super::facts::{Facts, GuestFacts, VmFacts, VmState};
use super::kind::Kind;
use super::obstacle::Obstacle;
use super::step::{Action, Phase, Plan, Step, StepId};
use super::{drift, drill, networks, template};

/// Returns the services that must run in a guest and start at its boot: a kubelet once kubeadm has given it something to do.
pub fn services(node: &Node, guest: &GuestFacts) -> Vec<&'static str> {
    let starts = |unit: &&str| *unit != units::KUBELET || kubeadm::state(node.role, guest).is_complete();
    units::of(node.role).iter().copied().filter(starts).chain([units::CLOCK]).collect()
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

impl List<'_> {
    /// Adds a step and returns its id; of the needs, those count that are in this plan.
    fn add(&mut self, step: Step, needs: impl IntoIterator<Item = StepId>) -> StepId {
        let mended = step.node.iter().flat_map(|node| {
            let clock = (step.phase >= Phase::Configure).then(|| Kind::GuestClock.on(node));
            [Kind::DrillRestore.on(node)].into_iter().chain(clock)
        });
        let mut seen = BTreeSet::new();
        let needs = needs.into_iter().chain(mended);
        let needs = needs.filter(|need| self.ids.contains(need) && seen.insert(need.clone())).collect();
        let id = step.id.clone();
        self.ids.insert(id.clone());
        self.plan.steps.push(Step { needs, ..step });
        id
    }

    /// Adds a step as [`add`](Self::add) does, and notes if nobody could be asked whether there is anything to do.
    fn add_unseen(&mut self, is_unseen: bool, step: Step, needs: impl IntoIterator<Item = StepId>) -> StepId {
        let id = self.add(step, needs);
        self.plan.unseen.extend(is_unseen.then(|| id.clone()));
        id
    }

    fn keep(&mut self, what: impl Into<String>) {
        self.plan.kept.push(what.into());
    }

    fn planned(&self, id: &StepId) -> bool {
        self.ids.contains(id)
    }

    fn planned_on(&self, kind: Kind, node: &Node) -> bool {
        self.planned(&kind.on(&node.name))
    }

    /// Returns the ids that a kind's steps have on all machines, of which some may be planned.
    fn on_all(&self, kind: Kind) -> Vec<StepId> {
        self.lab.nodes.iter().map(|node| kind.on(&node.name)).collect()
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
        self.add(Step::new(Action::CreateIdentity, text, why), []);
    }

    /// A drill that was killed left something broken: whatever else its machine needs comes after that.
    fn end_drill(&mut self) {
        if let Some(record) = &self.facts.drill {
            // Its machine may have to be started, and that on a network that is there.
            let before = [Kind::NetworkApply.id(), Kind::VmStop.on(&record.node)];
            self.add(drill::restore(record), before);
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

    fn stop(&mut self, node: &Node, why: &str, first: &[StepId]) {
        let name = &node.name;
        let text = format!("stop {name} to change its configuration or its network");
        let step = Step::new(Action::StopVm { node: name.clone() }, text, why);
        // It goes on: this is the begin of its start.
        self.add(Step { phase: Phase::Boot, ..step }, first.iter().cloned());
    }

    fn network(&mut self) {
        let Some(step) = networks::apply_step(self.lab, &self.desired.network, self.facts) else {
            return self.keep(format!("{}: configured, services running", self.lab.vmnet_name()));
        };
        self.add(step, self.on_all(Kind::VmStop));
    }

    fn template(&mut self) {
        let every_vm_stands =
            self.lab.nodes.iter().all(|node| self.vm(node).is_some_and(|vm| vm.spec.is_some()));
        let facts = &self.facts.template;
        let steps = if every_vm_stands { Vec::new() } else { template::steps(self.lab, facts) };
        if steps.is_empty() {
            return self.keep(format!("template: {} ({})", self.lab.image.name, self.desired.template_key));
        }
        for step in steps {
            let mut needs = step.needs.clone();
            if step.action == Action::BakeTemplate {
                // The network is set up first, since its restart would cut the template off its packages.
                needs.extend([Kind::NetworkApply.id(), Kind::IdentityCreate.id()]);
            }
            self.add(step, needs);
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
