//! Which machine said that it is which: two that share an identity overwrite each other's lease and each other's node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use crate::stack::facts::GuestFacts;

use crate::engine::error::{EngineError, Result};

/// What a machine is told apart by (facts/kubernetes-cilium.md §2, kubeadm's own list).
type Mark = (&'static str, String);

/// The marks that this run has seen, each with the machines that bore it.
#[derive(Default)]
pub struct Identities(Mutex<BTreeMap<Mark, BTreeSet<String>>>);

impl Identities {
    /// Remembers what a machine said of itself.
    pub fn note(&self, node: &str, facts: &GuestFacts) {
        let mut seen = self.0.lock().expect("no holder of this lock panics");
        for mark in marks(facts) {
            seen.entry(mark).or_default().insert(node.to_owned());
        }
    }

    /// Fails if another machine of the lab has said the same.
    pub fn must_be_its_own(&self, node: &str, facts: &GuestFacts) -> Result<()> {
        let seen = self.0.lock().expect("no holder of this lock panics");
        for mark in marks(facts) {
            let other = seen.get(&mark).and_then(|nodes| nodes.iter().find(|other| *other != node));
            if let Some(other) = other {
                let (what, value) = mark;
                return Err(EngineError::SameIdentity {
                    node: node.to_owned(),
                    other: other.clone(),
                    what,
                    value,
                });
            }
        }
        Ok(())
    }
}

/// Some hardware tells no UUID; that is then no mark.
fn marks(facts: &GuestFacts) -> impl Iterator<Item = Mark> {
    let marks = [("machine-id", &facts.machine_id), ("hardware UUID", &facts.product_uuid)];
    marks
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(what, value)| (what, value.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(id: &str, uuid: &str) -> GuestFacts {
        GuestFacts { machine_id: id.to_owned(), product_uuid: uuid.to_owned(), ..GuestFacts::default() }
    }

    #[test]
    fn two_machines_with_one_identity_are_named_with_what_they_share() {
        let identities = Identities::default();
        let (one, other) = (machine("a1", "564D"), machine("b2", "564d"));
        identities.note("k8s-worker1", &one);
        identities.must_be_its_own("k8s-worker1", &one).unwrap();
        identities.note("k8s-worker2", &other);
        let error = identities.must_be_its_own("k8s-worker2", &other).unwrap_err();
        assert_eq!(error.to_string(), "k8s-worker2 and k8s-worker1 have the same hardware UUID: 564d");
    }

    #[test]
    fn a_machine_without_a_uuid_is_not_like_another_without_one() {
        let identities = Identities::default();
        identities.note("k8s-worker1", &machine("a1", ""));
        identities.note("k8s-worker2", &machine("b2", ""));
        identities.must_be_its_own("k8s-worker2", &machine("b2", "")).unwrap();
    }
}
