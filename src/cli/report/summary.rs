//! What a run's events add up to: timings, failures with their last lines, checks.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use crate::engine::event::{Event, PlannedStep, Proven};
use crate::plan::step::StepId;
use crate::stack::drill::Outcome;

/// Lines of output that are kept for each step.
const TAIL_LINES: usize = 10;

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Not reached, or still running when the run was cut off.
    Open,
    Done {
        changed: bool,
    },
    Failed {
        message: String,
    },
    Skipped {
        because: String,
    },
}

/// One step with its times, counted from the start of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRun {
    pub planned: PlannedStep,
    pub started: Option<Duration>,
    /// When that was told.
    pub ended: Option<Duration>,
    pub took: Option<Duration>,
    pub end: End,
    tail: VecDeque<String>,
}

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// In the order of the plan.
    pub steps: Vec<StepRun>,
    pub checks: Vec<Proven>,
    pub drilled: Vec<Outcome>,
    pub took: Duration,
}

impl Summary {
    /// Takes in an event that came at `now`, counted from the start of the run.
    pub fn event(&mut self, event: &Event, now: Duration) {
        match event {
            Event::Planned { steps } => self.steps.extend(steps.iter().cloned().map(StepRun::new)),
            Event::StepStarted { step } => self.edit(step, |run| run.started = Some(now)),
            Event::Line { step, line } => self.edit(step, |run| {
                if run.tail.len() == TAIL_LINES {
                    run.tail.pop_front();
                }
                run.tail.push_back(line.clone());
            }),
            Event::StepDone { step, took, changed } => self.edit(step, |run| {
                run.ended = Some(now);
                run.took = Some(*took);
                run.end = End::Done { changed: *changed };
            }),
            Event::StepFailed { step, took, message } => self.edit(step, |run| {
                run.ended = Some(now);
                run.took = Some(*took);
                run.end = End::Failed { message: message.clone() };
            }),
            Event::StepSkipped { step, because } => {
                self.edit(step, |run| run.end = End::Skipped { because: because.clone() });
            }
            Event::Checked(proven) => self.checks.push((**proven).clone()),
            Event::Drilled(outcome) => self.drilled.push(outcome.clone()),
            Event::StepHeld { .. }
            | Event::StepRetried { .. }
            | Event::Waiting { .. }
            | Event::Progress { .. }
            | Event::Reached { .. }
            | Event::Note { .. }
            | Event::TerminalTaken
            | Event::TerminalBack => {}
        }
    }

    fn edit(&mut self, step: &StepId, change: impl FnOnce(&mut StepRun)) {
        if let Some(run) = self.steps.iter_mut().find(|run| run.planned.id == *step) {
            change(run);
        }
    }

    /// Returns the last lines that a step's commands printed.
    pub fn tail(&self, step: &StepId) -> Vec<String> {
        let run = self.steps.iter().find(|run| run.planned.id == *step);
        run.map(|run| run.tail.iter().cloned().collect()).unwrap_or_default()
    }

    /// Returns the number of steps that were done, and of those that changed something.
    pub fn done(&self) -> (usize, usize) {
        let count = |wanted: fn(&End) -> bool| self.steps.iter().filter(|run| wanted(&run.end)).count();
        (count(|end| matches!(end, End::Done { .. })), count(|end| *end == End::Done { changed: true }))
    }
}

impl StepRun {
    fn new(planned: PlannedStep) -> Self {
        Self { planned, started: None, ended: None, took: None, end: End::Open, tail: VecDeque::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{done, failed, id, plan, start};
    use super::*;

    #[test]
    fn a_step_keeps_the_last_lines_of_its_own() {
        let mut summary = Summary::default();
        let at = Duration::from_millis;
        summary.event(&plan(), at(0));
        summary.event(&start("network.apply"), at(1));
        summary.event(&done("network.apply", 40), at(41));
        summary.event(&start("vm.start/gateway1"), at(41));
        for number in 0..15 {
            summary.event(
                &Event::Line { step: id("vm.start/gateway1"), line: format!("line {number}") },
                at(50),
            );
        }
        summary.event(&Event::Line { step: id("network.apply"), line: "another's".into() }, at(50));
        summary.event(&failed("vm.start/gateway1", 60), at(101));
        let tail = summary.tail(&id("vm.start/gateway1"));
        assert_eq!((tail.len(), tail[0].as_str()), (TAIL_LINES, "line 5"));
        assert_eq!(summary.steps[3].end, End::Failed { message: "vmrun failed".into() });
        assert_eq!(summary.done(), (1, 1));
    }
}
