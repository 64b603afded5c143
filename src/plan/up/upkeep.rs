//! The part of `up` that a lab needs which stood still, or grew old: clocks, and certificates.
//!
//! ```text
//! network.apply → vm.start → guest.ready → guest.clock → node.prepare → kube.certificates → kube.init, kube.join → …
//! ```
//!
//! Clocks come before certificates, which are made by the clock of the node; certificates before everything that asks an
//! API server. Control planes take turns: while one of them restarts, the others keep etcd's quorum.

use super::{Draft, List};
use crate::lab::{Node, Role};
use crate::plan::drift;
use crate::plan::step::{Action, Gate, Phase};
use crate::stack::certificates;

const CLOCK: &str = "guest.clock";
const CERTIFICATES: &str = "kube.certificates";

impl List<'_> {
    pub(super) fn clock(&mut self, node: &Node) {
        let starts = self.planned(&format!("vm.start/{}", node.name));
        // A machine that starts takes the time from its hardware, which is the Mac's.
        let Some(why) = drift::of_clock(self.facts, &node.name).filter(|_| !starts) else { return };
        let draft = Draft::of(CLOCK, node, Phase::Ready, 3, Action::SetClock { node: node.name.clone() })
            .text(format!("set the clock of {}", node.name))
            .why(why)
            .gate(Gate::Guest);
        self.add(draft, [format!("guest.ready/{}", node.name), "network.apply".to_owned()]);
    }

    /// Plans what is due of all members' certificates: first the control planes', one after the other.
    pub(super) fn certificates(&mut self) {
        let lab = self.lab;
        let clocks: Vec<String> = lab.nodes.iter().map(|node| format!("{CLOCK}/{}", node.name)).collect();
        let mut before: Option<String> = None;
        for node in lab.control_planes().chain(lab.of_role(Role::Worker)) {
            let Some(why) = self.why_renew(node) else { continue };
            let draft = Draft::of(
                CERTIFICATES,
                node,
                Phase::Join,
                10,
                Action::RenewCertificates { node: node.name.clone() },
            )
            .text(format!("look at the certificates of {}, and renew what ends soon", node.name))
            .why(why)
            .unseen(self.is_unseen(node))
            .gate(Gate::Guest);
            let own = [format!("guest.ready/{}", node.name), format!("node.prepare/{}", node.name)];
            // A control plane that restarts for its hardware counts as one that is away.
            let whole = lab.control_planes().map(|other| format!("guest.ready/{}", other.name));
            let whole = whole.chain(self.returns());
            let needs = own.into_iter().chain(clocks.clone()).chain(before.clone()).chain(whole);
            let id = draft.id.clone();
            self.add(draft, needs.collect::<Vec<_>>());
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
    pub(super) fn upkeep(&self) -> Vec<String> {
        let nodes = self.lab.nodes.iter();
        let steps = nodes.flat_map(|node| [CLOCK, CERTIFICATES].map(|verb| format!("{verb}/{}", node.name)));
        steps.chain(self.returns()).collect()
    }
}
