//! Which run was cut off: it began, its process is gone, and nothing says how it ended.

use serde::Serialize;

use crate::host::clock;
use crate::host::lock::{Holder, Trace};

use super::effects::{self, Effect};
use super::record::{Line, RunState, State};

/// The verbs whose runs see to all that any run may have left.
const THOROUGH: [&str; 2] = ["up", "destroy"];

/// A run that was cut off, with what it may have left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CutOff {
    pub verb: String,
    pub pid: u32,
    /// When it was last heard of, in milliseconds since 1970.
    pub at_ms: u64,
    /// The steps that it was in; none if it had not begun to change anything.
    pub steps: Vec<OpenStep>,
}

/// A step that was begun and did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenStep {
    pub step: String,
    /// What it may have left.
    pub effects: &'static [Effect],
}

impl OpenStep {
    pub fn of(step: String) -> Self {
        Self { effects: effects::of(&step), step }
    }
}

struct Run {
    process: Holder,
    at_ms: u64,
    steps: Vec<String>,
}

impl CutOff {
    /// Says whether a later run of a verb goes on from what this one left.
    pub fn is_followed_by(&self, verb: &str) -> bool {
        goes_on(verb, &self.verb)
    }

    /// Returns what is known of a lock's holder that was killed before it began to change anything.
    pub fn of_lock(trace: &Trace) -> Self {
        let Trace { holder: Holder { verb, pid, .. }, heard_ms, .. } = trace;
        Self { verb: verb.clone(), pid: *pid, at_ms: *heard_ms, steps: Vec::new() }
    }

    /// Returns what happened as a clause: ``the last `up` (process 4711) was cut off at 14:03:55 in vm.clone/gateway1``.
    pub fn sentence(&self) -> String {
        let at = clock::moment(self.at_ms / 1000);
        let of = format!("the last `{}` (process {}) was cut off at {at}", self.verb, self.pid);
        match self.steps.as_slice() {
            [] => of,
            [one] => format!("{of} in {}", one.step),
            [one, other] => format!("{of} in {} and {}", one.step, other.step),
            [first, others @ ..] => format!("{of} in {} and {} other steps", first.step, others.len()),
        }
    }
}

/// Says whether a run of a verb goes on from what a run of another left.
fn goes_on(verb: &str, from: &str) -> bool {
    THOROUGH.contains(&verb) || verb == from
}

/// Returns the last run that was cut off and has not been gone on from. Records of one process belong to its last run
/// that began before them.
pub fn cut_off(lines: impl IntoIterator<Item = Line>, is_alive: impl Fn(&Holder) -> bool) -> Option<CutOff> {
    let mut open: Vec<Run> = Vec::new();
    for line in lines {
        match line {
            Line::Run(record) if record.run == RunState::Begun => {
                // Only one that is over can be gone on from; one that lives works beside.
                open.retain(|run| !goes_on(&record.verb, &run.process.verb) || is_alive(&run.process));
                open.push(Run { process: record.process(), at_ms: record.at_ms, steps: Vec::new() });
            }
            Line::Run(record) => open.retain(|run| run.process.pid != record.pid),
            Line::Step(record) => {
                let Some(run) = open.iter_mut().rfind(|run| run.process.pid == record.pid) else { continue };
                run.at_ms = record.at_ms;
                run.steps.retain(|step| *step != record.step);
                if record.state == State::Started {
                    run.steps.push(record.step);
                }
            }
            Line::Newer(_) => {}
        }
    }
    let last = open.into_iter().rfind(|run| !is_alive(&run.process))?;
    let Holder { verb, pid, .. } = last.process;
    Some(CutOff { verb, pid, at_ms: last.at_ms, steps: last.steps.into_iter().map(OpenStep::of).collect() })
}

#[cfg(test)]
mod tests {
    use super::super::record::{Record, RunRecord, VERSION};
    use super::*;

    fn run(pid: u32, verb: &str, run: RunState) -> Line {
        let (started, boot) = (String::new(), String::new());
        Line::Run(RunRecord { version: VERSION, at_ms: 0, pid, verb: verb.to_owned(), run, started, boot })
    }

    fn step(pid: u32, step: &str, state: State, at_ms: u64) -> Line {
        let (verb, step) = ("up".to_owned(), step.to_owned());
        Line::Step(Record { version: VERSION, at_ms, pid, verb, step, state, took_ms: None, message: None })
    }

    fn found(lines: &[Line]) -> Option<(String, u32, Vec<String>)> {
        // The process 9 lives.
        let found = cut_off(lines.iter().cloned(), |process| process.pid == 9)?;
        Some((found.verb, found.pid, found.steps.into_iter().map(|open| open.step).collect()))
    }

    fn up(pid: u32, steps: &[&str]) -> Option<(String, u32, Vec<String>)> {
        Some(("up".to_owned(), pid, steps.iter().map(|step| (*step).to_owned()).collect()))
    }

    #[test]
    fn a_run_that_was_cut_off_is_told_in_one_sentence() {
        let open = |step: &&str| OpenStep::of((*step).to_owned());
        let said = |steps: &[&str]| {
            let steps = steps.iter().map(open).collect();
            CutOff { verb: "up".to_owned(), pid: 4711, at_ms: 1_000, steps }.sentence()
        };
        let start = "the last `up` (process 4711) was cut off at 1970-01-01T00:00:01Z";
        assert_eq!(said(&[]), start);
        assert_eq!(said(&["vm.clone/a"]), format!("{start} in vm.clone/a"));
        assert_eq!(said(&["vm.clone/a", "vm.start/b"]), format!("{start} in vm.clone/a and vm.start/b"));
        assert_eq!(said(&["a", "b", "c"]), format!("{start} in a and 2 other steps"));
    }

    #[test]
    fn the_steps_that_began_and_did_not_end_are_named() {
        let lines = [
            run(1, "up", RunState::Begun),
            step(1, "a", State::Started, 10),
            step(1, "b", State::Started, 20),
            step(1, "c", State::Started, 30),
            step(1, "b", State::Done, 40),
        ];
        assert_eq!(found(&lines), up(1, &["a", "c"]));
        assert_eq!(cut_off(lines, |_| false).unwrap().at_ms, 40);
    }

    #[test]
    fn a_run_that_ended_or_lives_or_was_gone_on_from_is_not_cut_off() {
        let begun = |pid, verb| run(pid, verb, RunState::Begun);
        for end in [RunState::Done, RunState::Failed, RunState::Interrupted, RunState::Settled] {
            assert_eq!(found(&[begun(1, "up"), run(1, "up", end)]), None, "{end:?}");
        }
        assert_eq!(found(&[begun(9, "up")]), None, "it works");
        let done = |pid, verb| [begun(pid, verb), run(pid, verb, RunState::Done)];
        assert_eq!(found(&[[begun(1, "up")].as_slice(), &done(2, "up")].concat()), None);
        assert_eq!(found(&[[begun(1, "network apply")].as_slice(), &done(2, "destroy")].concat()), None);
        let less = [[begun(1, "up")].as_slice(), &done(2, "network apply")].concat();
        assert_eq!(found(&less), up(1, &[]), "a smaller verb does not see to all of it");
    }

    #[test]
    fn of_several_the_last_one_is_told_and_two_at_once_are_told_apart() {
        let lines = [
            run(9, "up", RunState::Begun),
            run(1, "up", RunState::Begun),
            step(9, "a", State::Started, 1),
            step(1, "b", State::Started, 2),
            step(9, "a", State::Done, 3),
        ];
        assert_eq!(found(&lines), up(1, &["b"]));
        let again = [lines.as_slice(), &[run(2, "up", RunState::Begun)]].concat();
        assert_eq!(found(&again), up(2, &[]));
    }

    #[test]
    fn records_without_a_run_are_of_an_earlier_version() {
        assert_eq!(found(&[step(0, "a", State::Started, 1)]), None);
    }
}
