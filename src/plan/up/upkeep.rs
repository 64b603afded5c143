//! The part of `up` that a lab needs which stood still, or grew old: clocks, and certificates.
//!
//! ```text
//! network.apply → vm.start → guest.ready → guest.clock → node.prepare → kube.certificates → kube.init, kube.join → …
//! ```
//!
//! Clocks come before certificates, which are made by the clock of the node; certificates before everything that asks an
//! API server. Control planes take turns: while one of them restarts, the others keep etcd's quorum.

use super::List;
use crate::lab::{Node, Role};
use crate::plan::drift;
use crate::plan::kind::Kind;
use crate::plan::step::{Action, Step, StepId};
use crate::stack::certificates;

impl List<'_> {
    pub(super) fn clock(&mut self, node: &Node) {
        let starts = self.planned_on(Kind::VmStart, node);
        // A machine that starts takes the time from its hardware, which is the Mac's.
        let Some(why) = drift::of_clock(self.facts, &node.name).filter(|_| !starts) else { return };
        let text = format!("set the clock of {}", node.name);
        let step = Step::new(Action::SetClock { node: node.name.clone() }, text, why);
        self.add(step, [Kind::GuestReady.on(&node.name), Kind::NetworkApply.id()]);
    }

    /// Plans what is due of all members' certificates: first the control planes', one after the other.
    pub(super) fn certificates(&mut self) {
        let lab = self.lab;
        let mut before: Option<StepId> = None;
        for node in lab.control_planes().chain(lab.of_role(Role::Worker)) {
            let Some(why) = self.why_renew(node) else { continue };
            let text = format!("look at the certificates of {}, and renew what ends soon", node.name);
            let step = Step::new(Action::RenewCertificates { node: node.name.clone() }, text, why);
            let own = [Kind::GuestReady.on(&node.name), Kind::NodePrepare.on(&node.name)];
            // A control plane that restarts for its hardware counts as one that is away.
            let whole = lab.control_planes().map(|other| Kind::GuestReady.on(&other.name));
            let whole = whole.chain(self.on_all(Kind::NodeBack));
            let needs =
                own.into_iter().chain(self.on_all(Kind::GuestClock)).chain(before.clone()).chain(whole);
            let id = self.add_unseen(self.is_unseen(node), step, needs);
            if node.role == Role::ControlPlane {
                before = Some(id);
            }
        }
    }

    /// Returns why a node's certificates are looked at, or none.
    fn why_renew(&self, node: &Node) -> Option<String> {
        match self.guest(node) {
            Some(guest) => {
                let due = certificates::due(self.lab, node, guest, self.facts.now);
                drift::of_certificates(&due, self.facts.now)
            }
            // A machine that is new has none yet.
            None if self.vm(node).is_none_or(|vm| vm.spec.is_none()) => None,
            None => Some("not known before its guest answers".to_owned()),
        }
    }

    /// Returns the steps of this part, of those that may be planned: what asks an API server comes after them.
    pub(super) fn upkeep(&self) -> Vec<StepId> {
        let nodes = self.lab.nodes.iter();
        let steps =
            nodes.flat_map(|node| [Kind::GuestClock.on(&node.name), Kind::KubeCertificates.on(&node.name)]);
        steps.chain(self.on_all(Kind::NodeBack)).collect()
    }
}
