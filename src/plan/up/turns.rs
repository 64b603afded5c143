//! The order in which `up` makes and mends machines: those whose hardware changes while they run take turns.
//!
//! ```text
//! new ones, and those without power   all at once, first
//! of each role, one after the other   vm.stop → vm.configure → vm.start → guest.ready → node.back → the next one's vm.stop
//! ```
//!
//! So etcd keeps its quorum, one gateway the VIPs, and the workers but one their pods. Where Fusion's networks restart, all
//! machines are off meanwhile, and nobody has a turn.

use std::collections::BTreeMap;

use super::List;
use crate::lab::{Node, Role};
use crate::plan::kind::Kind;
use crate::plan::step::{Action, Step, StepId};
use crate::stack::vips;

impl List<'_> {
    pub(super) fn machines(&mut self) {
        let lab = self.lab;
        let (turns, others): (Vec<&Node>, Vec<&Node>) =
            lab.nodes.iter().partition(|node| self.takes_its_turn(node));
        // What the next one of a role waits for before it is stopped.
        let mut before: BTreeMap<Role, Vec<StepId>> = BTreeMap::new();
        for (index, node) in others.iter().chain(&turns).enumerate() {
            let has_turn = index >= others.len();
            let first = before.entry(node.role).or_default();
            self.machine(node, if has_turn { first.as_slice() } else { &[] });
            if has_turn || turns.iter().any(|other| other.role == node.role) {
                first.extend(self.back(node));
            }
        }
    }

    /// Says whether a machine is stopped for its own sake, while others of its role may go on.
    fn takes_its_turn(&self, node: &Node) -> bool {
        let is_stopped = self.planned_on(Kind::VmStop, node);
        self.vm(node).is_some_and(|vm| vm.running && !is_stopped && self.changed(node, vm).is_some())
    }

    /// Plans to wait until a machine that starts does its part again. Returns what another one waits for: that, or the
    /// guest's answer where it did no part before; nothing if it does not start.
    fn back(&mut self, node: &Node) -> Option<StepId> {
        let answers = Kind::GuestReady.on(&node.name);
        if !self.planned(&answers) || !self.did_its_part(node) {
            return self.planned(&answers).then_some(answers);
        }
        let part = match node.role {
            Role::Gateway => "runs nginx and Keepalived again, and one gateway holds the VIPs",
            Role::ControlPlane => "answers as API server and etcd member again",
            Role::Worker => "is a Ready node again",
        };
        let text = format!("wait until {} {part}", node.name);
        let why = "the others of its kind do its part meanwhile";
        Some(self.add(Step::new(Action::AwaitBack { node: node.name.clone() }, text, why), [answers]))
    }

    /// Says whether a machine did its part for the lab and needs nothing but power to do it again, as far as can be seen.
    fn did_its_part(&self, node: &Node) -> bool {
        if node.role == Role::Gateway {
            return vips::holder(self.lab, &self.facts.guests).is_some();
        }
        let known = self.cluster().is_some_and(|cluster| cluster.nodes.contains_key(&node.name));
        let is_whole = self.guest(node).is_none() || self.why_join(node).is_none();
        known && is_whole && self.vm(node).is_some()
    }
}
