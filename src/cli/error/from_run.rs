//! Errors of a run: in which step, and several at once.

use super::{Fix, Kind, Report};
use crate::cli::report::standing;
use crate::cli::report::summary::Summary;
use crate::cli::words::count;
use crate::plan::step::StepId;

impl Report {
    /// Adds the step in which it happened, and the last lines of that step if there are no closer ones.
    ///
    /// A step's id ends with its node, so the node alone is no closer place.
    pub fn in_step(mut self, step: &StepId, node: Option<&str>, tail: &[String]) -> Self {
        let place = format!("step {step}");
        self.place = Some(match self.place {
            Some(inner) if Some(inner.as_str()) != node => format!("{place}, {inner}"),
            _ => place,
        });
        if self.tail.is_empty() {
            self.tail = tail.to_vec();
        }
        self
    }

    /// Adds what stands after a run that began its steps, and which command does the rest.
    pub fn standing(mut self, summary: &Summary, command: &str) -> Self {
        self.stands = standing::lines(summary);
        let again = Fix::Run(command.to_owned());
        if self.stands.is_empty() || self.fix.contains(&again) {
            return self;
        }
        let left = count(standing::left(summary), "step");
        if self.kind == Kind::Interrupted {
            self.fix = vec![Fix::Say(format!("what was finished stands, {left} are left"))];
        } else {
            self.fix.push(Fix::Say(format!("{left} are left for:")));
        }
        self.fix.push(again);
        self
    }
}

/// Returns one report for a run in which steps failed; none if none did.
///
/// The first failure is told in full, the others in a line each. Failures of several kinds are "partly done".
pub fn of_run(failures: Vec<(StepId, Report)>) -> Option<Report> {
    let mut failures = failures.into_iter();
    let (_, first) = failures.next()?;
    let others: Vec<(StepId, Report)> = failures.collect();
    let is_of_one_kind = others.iter().all(|(_, report)| report.kind == first.kind);
    let also = others.iter().map(|(step, report)| {
        if report.what == first.what { step.to_string() } else { format!("{step}: {}", report.what) }
    });
    let first = Report { also: also.collect(), ..first };
    Some(if is_of_one_kind { first } else { Report { id: "partly-done", kind: Kind::Partly, ..first } })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::report::examples;
    use crate::host::HostError;

    fn ssh() -> Report {
        let error = HostError::Ssh { node: "gateway1".into(), reason: "closed".into() };
        Report::from(&error).in_step(&step(), Some("gateway1"), &["last words".into()])
    }

    fn step() -> StepId {
        StepId::read("guest.ready/gateway1")
    }

    #[test]
    fn a_cause_keeps_its_kind_and_gains_the_place_and_the_last_lines() {
        let report = ssh();
        assert_eq!(report.kind, Kind::Guest);
        assert_eq!(report.place.as_deref(), Some("step guest.ready/gateway1"), "the node is said once");
        assert_eq!(report.tail, ["last words"]);
        let closer = Report::usage("x").with_tail(["closer"]).in_step(&step(), None, &["last words".into()]);
        assert_eq!(closer.tail, ["closer"]);
    }

    #[test]
    fn what_stands_comes_with_the_command_that_does_the_rest() {
        let mut summary = Summary::default();
        summary.event(&examples::plan(), Duration::ZERO);
        summary.event(&examples::done("network.apply", 1), Duration::ZERO);
        let report = ssh().standing(&summary, "fusionlab up");
        assert_eq!(report.stands[0], "Mac: up to network.apply; next is image.fetch");
        let last = &report.fix[report.fix.len() - 2..];
        let [Fix::Say(words), Fix::Run(command)] = last else { panic!("{last:?}") };
        assert_eq!((words.as_str(), command.as_str()), ("11 steps are left for:", "fusionlab up"));
        let untouched = ssh().standing(&Summary::default(), "fusionlab up");
        assert_eq!(untouched, ssh(), "a run that began no step leaves nothing to tell");
        let stopped = Report::interrupted().standing(&summary, "fusionlab up");
        let [Fix::Say(words), Fix::Run(command)] = stopped.fix.as_slice() else {
            panic!("{:?}", stopped.fix)
        };
        assert_eq!(words, "what was finished stands, 11 steps are left");
        assert_eq!(command, "fusionlab up");
    }

    #[test]
    fn failures_of_several_kinds_are_partly_done() {
        let refused = Report::new("fusion-refused", Kind::Fusion, "start");
        assert_eq!(of_run(vec![]), None);
        assert_eq!(of_run(vec![(step(), ssh())]), Some(ssh()));
        let twice = of_run(vec![(step(), ssh()), (step(), ssh())]).unwrap();
        assert_eq!((twice.kind, twice.also), (Kind::Guest, vec!["guest.ready/gateway1".to_owned()]));
        let both = of_run(vec![(StepId::read("vm.start/gateway2"), refused), (step(), ssh())]).unwrap();
        assert_eq!((both.id, both.kind), ("partly-done", Kind::Partly));
        assert_eq!(both.also, ["guest.ready/gateway1: ssh to gateway1: closed"]);
    }
}
