//! One cell of a row: a phase of a machine, or what the host or the cluster does, with the steps that it is made of.

use std::time::Duration;

use super::speed::Speed;
use crate::engine::event::{Held, PlannedStep, Unmet};
use crate::plan::kind::Kind;
use crate::plan::step::{Phase, StepId};
use crate::plan::text;

/// Where a step, or a cell of steps, stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Pending,
    Running,
    Done,
    Failed,
    Skipped,
}

/// What a running step says of itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Detail {
    None,
    /// Why it does not begin.
    Held(Held),
    Waiting(Unmet),
    Bytes {
        done: u64,
        total: Option<u64>,
        speed: Speed,
    },
}

/// Returns `not yet: Cilium is rolled out (waits for cilium)`.
pub fn not_yet(unmet: &Unmet) -> String {
    let Unmet { what, seen } = unmet;
    if seen.is_empty() { format!("not yet: {what}") } else { format!("not yet: {what} ({seen})") }
}

/// One step in a cell.
#[derive(Clone, Debug)]
pub(super) struct StepState {
    pub id: StepId,
    pub node: Option<String>,
    pub text: String,
    pub state: State,
    pub started: Duration,
    pub detail: Detail,
    /// Whether an earlier phase of its own machine is still to come to its end in it.
    pub is_ahead: bool,
}

/// A phase that comes to its end within a step of another cell.
#[derive(Clone, Debug)]
struct Mark {
    step: StepId,
    state: State,
}

/// One phase of a machine, or one area of the host or the cluster.
#[derive(Clone, Debug)]
pub struct Cell {
    /// What stands above it where the phases are named once for all machines.
    pub head: String,
    /// What stands beside it where there is room.
    pub label: String,
    pub(super) steps: Vec<StepState>,
    marks: Vec<Mark>,
}

impl Cell {
    pub(super) fn new(head: &str) -> Self {
        Self { head: head.to_owned(), label: head.to_owned(), steps: Vec::new(), marks: Vec::new() }
    }

    pub(super) fn push(&mut self, step: &PlannedStep) {
        // A member is prepared and joins in one cell, and joining says more.
        if let Some(label) = label(step) {
            label.clone_into(&mut self.label);
        }
        let own = |node: &String| step.node.as_ref() == Some(node);
        self.steps.push(StepState {
            id: step.id.clone(),
            node: step.node.clone(),
            text: match (&step.node, step.id.kind().and_then(text::doing)) {
                (Some(_), Some(doing)) => doing.to_owned(),
                _ => step.text.clone(),
            },
            state: State::Pending,
            started: Duration::ZERO,
            detail: Detail::None,
            is_ahead: step.reaches.iter().any(|reach| own(&reach.node) && reach.phase < step.phase),
        });
    }

    /// Notes that a step of another cell brings this phase to its end.
    pub(super) fn passed_by(&mut self, step: &StepId) {
        self.marks.push(Mark { step: step.clone(), state: State::Pending });
    }

    /// Puts what a step has still to bring to its end here into a state.
    pub(super) fn mark(&mut self, step: &StepId, state: State) {
        let marks = self.marks.iter_mut().filter(|mark| mark.step == *step && mark.state != State::Done);
        marks.for_each(|mark| mark.state = state);
    }

    /// Returns the state of all that it is made of: the worst that happened, else what happens.
    pub fn state(&self) -> State {
        let states = || {
            let steps = self.steps.iter().map(StepState::shown);
            steps.chain(self.marks.iter().map(|mark| mark.state))
        };
        let any = |state| states().any(|other| other == state);
        if any(State::Failed) {
            State::Failed
        } else if any(State::Running) {
            State::Running
        } else if any(State::Pending) {
            // Between two steps of one cell the cell still runs.
            if any(State::Done) { State::Running } else { State::Pending }
        } else if any(State::Skipped) {
            State::Skipped
        } else {
            State::Done
        }
    }
}

impl StepState {
    /// Returns what its own phase is like: not reached while an earlier one of the machine is still to come to its end.
    fn shown(&self) -> State {
        match self.state {
            State::Running if self.is_ahead => State::Pending,
            State::Failed if self.is_ahead => State::Skipped,
            state => state,
        }
    }
}

/// Returns what stands above a phase. Gateways are configured where members of the cluster are prepared and join.
pub(super) fn head(phase: Phase) -> &'static str {
    match phase {
        Phase::Host => "Host",
        Phase::Clone => "Clone",
        Phase::Boot => "Boot",
        Phase::Net => "Net",
        Phase::Ready => "Ready",
        Phase::Configure | Phase::Join => "Setup",
        Phase::Healthy => "Healthy",
        Phase::Cluster => "Cluster",
        Phase::Stop => "Stop",
        Phase::Delete => "Delete",
        Phase::Drill => "Drill",
    }
}

/// Returns the word for a step whose phase has several; none if what stands above it is the word.
fn label(step: &PlannedStep) -> Option<&'static str> {
    match (step.phase, step.id.kind()) {
        (Phase::Configure, _) => Some("Configure"),
        (Phase::Join, Some(Kind::KubeInit)) => Some("Init"),
        (Phase::Join, Some(Kind::KubeCertificates)) => Some("Renew"),
        (Phase::Join, _) => Some("Join"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{id, planned};
    use super::*;

    #[test]
    fn a_clause_with_a_colon_in_it_stays_whole() {
        let of = |seen: &str| not_yet(&Unmet { what: "g1 takes: ip link".into(), seen: seen.into() });
        assert_eq!(of("g1: it is off"), "not yet: g1 takes: ip link (g1: it is off)");
        assert_eq!(of(""), "not yet: g1 takes: ip link");
    }

    #[test]
    fn a_cell_is_called_by_what_says_most_of_it() {
        let called = |steps: &[(&str, Phase)]| {
            let mut cell = Cell::new(head(steps[0].1));
            steps.iter().for_each(|(name, phase)| cell.push(&planned(name, *phase, "")));
            (cell.head, cell.label)
        };
        let setup = |label: &str| ("Setup".to_owned(), label.to_owned());
        let prepare = ("node.prepare/m1", Phase::Configure);
        assert_eq!(called(&[("gateway.configure/g1", Phase::Configure)]), setup("Configure"));
        assert_eq!(called(&[prepare, ("kube.init/m1", Phase::Join)]), setup("Init"));
        assert_eq!(called(&[prepare, ("kube.join/m1", Phase::Join)]), setup("Join"));
        assert_eq!(called(&[("vm.start/m1", Phase::Boot)]), ("Boot".to_owned(), "Boot".to_owned()));
    }

    #[test]
    fn what_a_step_has_reached_stays_so_when_it_fails() {
        let (nodes, mut one, mut other) = (id("kube.nodes"), Cell::new("Healthy"), Cell::new("Healthy"));
        for cell in [&mut one, &mut other] {
            cell.passed_by(&nodes);
            cell.mark(&nodes, State::Running);
        }
        one.mark(&nodes, State::Done);
        for cell in [&mut one, &mut other] {
            cell.mark(&nodes, State::Failed);
        }
        assert_eq!((one.state(), other.state()), (State::Done, State::Failed));
    }
}
