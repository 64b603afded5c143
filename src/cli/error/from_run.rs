//! Errors of a run: in which step, and several at once.

use super::{Kind, Report};
use crate::plan::step::StepId;

impl Report {
    /// Adds the step in which it happened, and the last lines of that step if there are no closer ones.
    pub fn in_step(mut self, step: &StepId, node: Option<&str>, tail: &[String]) -> Self {
        let place = match node {
            Some(node) => format!("{node}, step {step}"),
            None => format!("step {step}"),
        };
        self.place = Some(match self.place {
            Some(inner) if Some(inner.as_str()) != node => format!("{place}, {inner}"),
            _ => place,
        });
        if self.tail.is_empty() {
            self.tail = tail.to_vec();
        }
        self
    }
}

/// Returns one report for a run in which steps failed; none if none did.
///
/// One failure, or several of one kind, are told by the first; failures of several kinds are "partly done".
pub fn of_run(failures: Vec<Report>) -> Option<Report> {
    let mut failures = failures.into_iter();
    let first = failures.next()?;
    let others: Vec<Report> = failures.collect();
    if others.is_empty() {
        return Some(first);
    }
    let places: Vec<&str> =
        others.iter().map(|report| report.place.as_deref().unwrap_or(report.id)).collect();
    let places = places.join("; ");
    if others.iter().all(|report| report.kind == first.kind) {
        let why = first.why.as_ref().map_or_else(String::new, |why| format!("{why}. "));
        return Some(first.because(format!("{why}Failed as well: {places}")));
    }
    let why = format!("several things failed, the first is shown; the others: {places}");
    Some(Report { id: "partly-done", kind: Kind::Partly, ..first }.because(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostError;

    fn ssh() -> Report {
        let error = HostError::Ssh { node: "gateway1".into(), reason: "closed".into() };
        Report::from(&error).in_step(&step(), Some("gateway1"), &["last words".into()])
    }

    fn step() -> StepId {
        StepId("guest.await/gateway1".into())
    }

    #[test]
    fn a_cause_keeps_its_kind_and_gains_the_place_and_the_last_lines() {
        let report = ssh();
        assert_eq!(report.kind, Kind::Guest);
        assert_eq!(
            report.place.as_deref(),
            Some("gateway1, step guest.await/gateway1"),
            "the node is said once"
        );
        assert_eq!(report.tail, ["last words"]);
        let closer = Report::usage("x").with_tail(["closer"]).in_step(&step(), None, &["last words".into()]);
        assert_eq!(closer.tail, ["closer"]);
    }

    #[test]
    fn failures_of_several_kinds_are_partly_done() {
        let refused = Report::new("fusion-refused", Kind::Fusion, "start");
        assert_eq!(of_run(vec![]), None);
        assert_eq!(of_run(vec![ssh()]), Some(ssh()));
        assert_eq!(of_run(vec![ssh(), ssh()]).unwrap().kind, Kind::Guest);
        let both = of_run(vec![refused, ssh()]).unwrap();
        assert_eq!((both.id, both.kind), ("partly-done", Kind::Partly));
        assert!(both.why.unwrap().contains("guest.await/gateway1"));
    }
}
