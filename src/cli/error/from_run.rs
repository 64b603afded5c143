//! Advice on steps that failed while a plan was carried out.

use super::{Kind, Report};
use crate::plan::step::{Phase, StepId};

/// What is known of a failed step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedStep {
    pub step: StepId,
    pub node: Option<String>,
    pub phase: Phase,
    /// The error's text: a lower-case fragment.
    pub message: String,
    /// The last lines that its commands printed.
    pub tail: Vec<String>,
}

impl FailedStep {
    /// Returns the report of a step whose cause has no report of its own; its phase says what it concerns.
    pub fn report(&self) -> Report {
        let (id, kind) = match self.phase {
            Phase::Host => ("step-failed-host", Kind::HostCheck),
            Phase::Clone | Phase::Boot | Phase::Stop | Phase::Delete => ("step-failed-fusion", Kind::Fusion),
            Phase::Ready | Phase::Configure => ("step-failed-guest", Kind::Guest),
            Phase::Join | Phase::Cluster => ("step-failed-kubernetes", Kind::Kubernetes),
        };
        self.locate(Report::new(id, kind, self.message.clone()))
            .advise("what was finished stands; mend the cause and go on with the same command")
            .run("fusionlab status")
    }

    /// Returns the report of a step whose cause is known, with the step's place and last lines added.
    pub fn report_of(&self, cause: impl Into<Report>) -> Report {
        self.locate(cause.into())
    }

    fn locate(&self, mut report: Report) -> Report {
        let mut place = match &self.node {
            Some(node) => format!("{node}, step {}", self.step),
            None => format!("step {}", self.step),
        };
        if let Some(inner) = report.place.filter(|inner| Some(inner) != self.node.as_ref()) {
            place = format!("{place}, {inner}");
        }
        report.place = Some(place);
        if report.tail.is_empty() {
            report.tail.clone_from(&self.tail);
        }
        report
    }
}

/// Returns one report for a run in which steps failed; none if none did.
///
/// One failure, or several of one kind, are told by the first; failures of several kinds are "partly done".
pub fn of_run(mut failures: Vec<Report>) -> Option<Report> {
    if failures.is_empty() {
        return None;
    }
    let count = failures.len();
    let same_kind = failures.iter().all(|report| report.kind == failures[0].kind);
    if count == 1 {
        return failures.pop();
    }
    let places: Vec<String> =
        failures.iter().map(|report| report.place.clone().unwrap_or_else(|| report.id.to_owned())).collect();
    let first = failures.swap_remove(0);
    let others = places[1..].join("; ");
    if same_kind {
        let why = first.why.clone().map_or_else(String::new, |why| format!("{why}. "));
        return Some(first.because(format!("{why}Failed as well: {others}")));
    }
    Some(
        Report { id: "partly-done", kind: Kind::Partly, ..first }
            .because(format!("several things failed, the first is shown; the others: {others}")),
    )
}

#[cfg(test)]
mod tests {
    use super::super::catalogue;
    use super::*;
    use crate::host::HostError;

    fn failure(phase: Phase) -> FailedStep {
        FailedStep {
            step: StepId("vm.start/gateway1".into()),
            node: Some("gateway1".into()),
            phase,
            message: "it did not".into(),
            tail: vec!["last words".into()],
        }
    }

    #[test]
    fn a_phase_decides_the_exit_code() {
        let codes: Vec<u8> =
            [Phase::Host, Phase::Clone, Phase::Ready, Phase::Join, Phase::Cluster, Phase::Delete]
                .map(|phase| failure(phase).report())
                .iter()
                .map(|report| {
                    assert!(catalogue::find(report.id).is_some(), "{} is not explained", report.id);
                    report.kind.exit_code()
                })
                .collect();
        assert_eq!(codes, [4, 6, 8, 9, 9, 6]);
    }

    #[test]
    fn a_known_cause_keeps_its_kind_and_gains_the_place_and_the_last_lines() {
        let cause = HostError::Ssh { node: "gateway1".into(), reason: "closed".into() };
        let report = failure(Phase::Cluster).report_of(&cause);
        assert_eq!(report.kind, Kind::Guest);
        assert_eq!(report.place.as_deref(), Some("gateway1, step vm.start/gateway1"));
        assert_eq!(report.tail, ["last words"]);
    }

    #[test]
    fn failures_of_several_kinds_are_partly_done() {
        let (boot, join) = (failure(Phase::Boot).report(), failure(Phase::Join).report());
        assert_eq!(of_run(vec![]), None);
        assert_eq!(of_run(vec![boot.clone()]), Some(boot.clone()));
        assert_eq!(of_run(vec![boot.clone(), boot.clone()]).unwrap().kind, Kind::Fusion);
        let both = of_run(vec![boot, join]).unwrap();
        assert_eq!((both.id, both.kind), ("partly-done", Kind::Partly));
        assert!(both.why.unwrap().contains("vm.start/gateway1"));
    }
}
