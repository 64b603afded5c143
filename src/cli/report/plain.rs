//! One line for each thing that happens, with the time of day: for logs, pipes and dumb terminals.

use std::collections::BTreeMap;
use std::io::Write;

use super::ahead::Ahead;
use super::board::{MAC_ROW, Transfer, row_of};
use super::cell::not_yet;
use super::speed::Speed;
use super::{Reporter, layout};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::engine::event::{Event, PlannedStep};
use crate::host::clock;
use crate::plan::step::{Phase, StepId};
use crate::stack::judge::Outcome;

/// A transfer is reported each time another tenth is done.
const PROGRESS_PARTS: u64 = 10;

/// Writes lines to a stream.
pub struct Plain<W> {
    to: W,
    pen: Pen,
    steps: BTreeMap<StepId, PlannedStep>,
    transfers: BTreeMap<StepId, (u64, Speed)>,
    started: clock::Instant,
    node_width: usize,
    step_width: usize,
    has_spoken: bool,
    /// What the steps take, as long as this lab's own runs tell.
    ahead: Ahead,
}

impl<W: Write + Send> Plain<W> {
    pub fn new(to: W, pen: Pen) -> Self {
        Self {
            to,
            pen,
            steps: BTreeMap::new(),
            transfers: BTreeMap::new(),
            started: clock::monotonic(),
            node_width: 0,
            step_width: 0,
            has_spoken: false,
            ahead: Ahead::default(),
        }
    }

    /// Returns the line for an event without the time; none if it is not worth one.
    fn line(&mut self, event: &Event) -> Option<String> {
        let pen = self.pen;
        self.ahead.event(event, self.started.elapsed());
        match event {
            Event::Planned { steps } => {
                for step in steps {
                    self.node_width = self.node_width.max(place(step).len());
                    self.step_width = self.step_width.max(step.id.without_node().len());
                    self.steps.insert(step.id.clone(), step.clone());
                }
                let left = self.ahead.left().map(|left| format!(", about {} left", words::stopwatch(left)));
                let count = words::count(steps.len(), "step");
                (!steps.is_empty()).then(|| count + &left.unwrap_or_default())
            }
            Event::StepStarted { step } => {
                let text = self.steps.get(step).map(|step| step.text.clone()).unwrap_or_default();
                Some(self.of_step(step, &text))
            }
            Event::StepHeld { step, because } => {
                Some(self.of_step(step, &pen.paint(Ink::Dim, &because.to_string())))
            }
            Event::StepRetried { step, attempt, of, because } => {
                Some(self.of_step(step, &format!("{because}; it is begun again ({attempt} of {of})")))
            }
            Event::Waiting { step, requirement } => {
                Some(self.of_step(step, &pen.paint(Ink::Dim, &not_yet(requirement))))
            }
            Event::Progress { step, done, total } => self.progress(step, *done, *total),
            Event::Drilled(_)
            | Event::Line { .. }
            | Event::Reached { .. }
            | Event::TerminalTaken
            | Event::TerminalBack => None,
            Event::Note { step: Some(step), text } => {
                Some(self.of_step(step, &format!("{} {text}", pen.paint(Ink::Accent, "note:"))))
            }
            Event::Note { step: None, text } => Some(format!("{} {text}", pen.paint(Ink::Accent, "note:"))),
            Event::StepDone { step, took, changed } => {
                let words = if *changed { "done in" } else { "as it should be, seen in" };
                let text = pen.paint(Ink::Good, &format!("{words} {}", words::duration(*took)));
                Some(self.of_step(step, &text))
            }
            Event::StepFailed { step, took, message } => {
                let text = pen.paint(Ink::Bad, &format!("failed after {}:", words::duration(*took)));
                Some(self.of_step(step, &format!("{text} {message}")))
            }
            Event::StepSkipped { step, because } => Some(self.of_step(step, &format!("skipped: {because}"))),
            // How many passed, and why others were not asked, is said at the end; `verify` prints each.
            Event::Checked(proven) if proven.outcome != Outcome::Failed => None,
            Event::Checked(proven) => {
                Some(format!("{} {}: {}", pen.paint(Ink::Bad, "FAILED"), proven.check, proven.detail))
            }
        }
    }

    fn progress(&mut self, step: &StepId, done: u64, total: Option<u64>) -> Option<String> {
        let now = self.started.elapsed();
        let (said, speed) = self.transfers.entry(step.clone()).or_default();
        speed.take(done, now);
        let whole = total.filter(|total| *total > 0)?;
        let part = done.saturating_mul(PROGRESS_PARTS) / whole;
        if part <= *said {
            return None;
        }
        *said = part;
        let transfer = Transfer { done, total, rate: speed.rate(now), left: speed.left(whole, now) };
        Some(self.of_step(step, &layout::transferred(&transfer)))
    }

    fn of_step(&self, step: &StepId, text: &str) -> String {
        let place = self.steps.get(step).map_or_else(|| MAC_ROW.to_owned(), place);
        let (node_width, step_width) = (self.node_width, self.step_width);
        format!("{place:<node_width$}  {:<step_width$}  {text}", step.without_node())
    }
}

impl<W: Write + Send> Reporter for Plain<W> {
    fn event(&mut self, event: &Event) {
        if let Some(line) = self.line(event) {
            let time = self.pen.paint(Ink::Dim, &clock::time_of_day(clock::now()));
            // A reader that went away must not stop the run.
            let _ = writeln!(self.to, "{time} {line}");
            self.has_spoken = true;
        }
    }

    fn finish(&mut self) {
        if self.has_spoken {
            // What comes next stands apart.
            let _ = writeln!(self.to);
        }
        let _ = self.to.flush();
    }
}

fn place(step: &PlannedStep) -> String {
    let no_node = if step.phase == Phase::Drill { "lab" } else { row_of(step) };
    step.node.clone().unwrap_or_else(|| no_node.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::examples::{done, failed, id, plan, start, waiting};
    use super::*;
    use crate::engine::event::Held;

    fn lines(events: &[Event]) -> Vec<String> {
        let mut plain = Plain::new(Vec::new(), Pen::plain(80));
        events.iter().filter_map(|event| plain.line(event)).collect()
    }

    #[test]
    fn a_line_names_the_node_the_step_and_what_happens() {
        let lines = lines(&[
            plan(),
            start("vm.start/k8s-master1"),
            waiting("guest.ready/gateway1", "gateway1 takes our SSH key", "refused"),
            Event::StepHeld { step: id("kube.init/k8s-master1"), because: Held::of("gateway1", "start it") },
            Event::StepRetried {
                step: id("guest.ready/gateway1"),
                attempt: 2,
                of: 3,
                because: "ssh to gateway1: closed".into(),
            },
            done("vm.start/k8s-master1", 1200),
            failed("network.apply", 60_000),
        ]);
        assert_eq!(
            lines,
            [
                "12 steps",
                "k8s-master1  vm.start           start k8s-master1",
                "gateway1     guest.ready        not yet: gateway1 takes our SSH key (refused)",
                "k8s-master1  kube.init          waits for gateway1: start it",
                "gateway1     guest.ready        ssh to gateway1: closed; it is begun again (2 of 3)",
                "k8s-master1  vm.start           done in 1.2 s",
                "Mac          network.apply      failed after 1 min 00 s: vmrun failed",
            ]
        );
    }

    #[test]
    fn a_transfer_is_told_in_tenths_not_in_packets() {
        let step = |done| Event::Progress { step: id("image.fetch"), done, total: Some(1000) };
        let events: Vec<Event> = (0..=1000).map(step).collect();
        assert_eq!(lines(&events).len(), 10);
    }

    #[test]
    fn each_line_begins_with_the_time_of_day() {
        let mut plain = Plain::new(Vec::new(), Pen::plain(80));
        plain.event(&plan());
        let text = String::from_utf8(plain.to).unwrap();
        assert_eq!(text.find(" 12 steps\n"), Some("12:03:07".len()), "{text:?}");
    }
}
