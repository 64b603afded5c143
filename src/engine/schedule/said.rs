//! Why a step waits, in words.

use crate::engine::event::Held;
use crate::plan::step::{Action, Step};
use crate::plan::text::subject;

/// Returns why a step waits for another, which is not done.
pub fn held_by(step: &Step, other: &Step) -> Held {
    let joins = |step: &Step| matches!(step.action, Action::JoinControlPlane { .. });
    // What the other waits for itself is what both wait for, and its text says it.
    match (&other.node, other.text.strip_prefix("wait ")) {
        (Some(node), _) if joins(step) && joins(other) => Held::of(node, "one etcd learner at a time"),
        (_, Some(why)) => Held { waits_for: None, why: why.to_owned() },
        (Some(node), None) => Held::of(node, &other.text),
        (None, None) => Held::of(subject(other.action.kind()), &other.text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::start;
    use crate::formats::networking::Scope;

    #[test]
    fn a_reason_is_told_in_words_and_with_the_machine_that_is_waited_for() {
        let of = |text: &str, node: Option<&str>| {
            let other = start("gateway1", &[]);
            Step { text: text.to_owned(), node: node.map(str::to_owned), ..other }
        };
        let said = |other| held_by(&start("k8s-worker1", &[]), &other).to_string();
        assert_eq!(
            said(of("start the cluster", Some("k8s-master1"))),
            "waits for k8s-master1: start the cluster"
        );
        let network = Action::ApplyNetwork { diff: String::new(), scope: Scope::Networks };
        let network = Step::new(network, "make vmnet2", "a test wants it");
        assert_eq!(said(network), "waits for the network: make vmnet2");
        assert_eq!(said(of("wait until the API answers", None)), "waits until the API answers");
        assert_eq!(said(of("wait for gateway1: login", Some("gateway1"))), "waits for gateway1: login");
    }
}
