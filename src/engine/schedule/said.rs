//! Why a step waits, in words.

use crate::plan::step::{Action, Step};

/// Returns what a step waits for: another step, which is not done.
pub fn waits_for(step: &Step, other: &Step) -> String {
    let joins = |step: &Step| matches!(step.action, Action::JoinControlPlane { .. });
    match &other.node {
        Some(node) if joins(step) && joins(other) => {
            format!("waits for {node}: etcd takes one learner at a time")
        }
        _ => format!("waits for {}", other.id),
    }
}
