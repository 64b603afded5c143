//! Why a step waits, in words.

use crate::plan::step::{Action, Step};
use crate::plan::text::subject;

/// Returns what a step waits for: another step, which is not done.
pub fn waits_for(step: &Step, other: &Step) -> String {
    let joins = |step: &Step| matches!(step.action, Action::JoinControlPlane { .. });
    match (&other.node, other.text.strip_prefix("wait ")) {
        (Some(node), _) if joins(step) && joins(other) => {
            format!("waits for {node}: one etcd learner at a time")
        }
        (_, Some(what)) => format!("waits {what}"),
        (Some(node), None) => format!("waits for {node}: {}", other.text),
        (None, None) => format!("waits for {}: {}", subject(other.action.kind()), other.text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::start;
    use super::*;
    use crate::formats::networking::Scope;

    #[test]
    fn a_reason_is_told_in_words_and_with_the_machine_that_is_waited_for() {
        let of = |text: &str, node: Option<&str>| {
            let other = start("gateway1", &[]);
            Step { text: text.to_owned(), node: node.map(str::to_owned), ..other }
        };
        let said = |other| waits_for(&start("k8s-worker1", &[]), &other);
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
