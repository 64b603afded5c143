//! Which run was cut off: it began, its process is gone, and nothing says how it ended.

use serde::Serialize;

use crate::host::lock::Holder;

use super::record::{Line, RunState, State};

/// The verbs whose runs see to all that any run may have left.
const THOROUGH: [&str; 2] = ["up", "destroy"];

/// A run that was cut off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CutOff {
    pub verb: String,
    pub pid: u32,
    /// When it last said something, in milliseconds since 1970.
    pub at_ms: u64,
    /// Ids of the steps that it was in, in the order in which they began.
    pub steps: Vec<String>,
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
    Some(CutOff { verb: last.process.verb, pid: last.process.pid, at_ms: last.at_ms, steps: last.steps })
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
        Some((found.verb, found.pid, found.steps))
    }

    fn up(pid: u32, steps: &[&str]) -> Option<(String, u32, Vec<String>)> {
        Some(("up".to_owned(), pid, steps.iter().map(|step| (*step).to_owned()).collect()))
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
