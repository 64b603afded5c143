//! What is kept of a journal that has grown: the last runs whole, and of what is older what each step cost.

use std::collections::BTreeMap;
use std::path::Path;

use crate::host::{Result, files};

use super::record::{Line, RunState, State};

/// A journal that is longer is shortened when a run begins. A run of the document's lab writes 20 KiB.
const LONGEST: u64 = 1 << 20;
/// So many runs are kept whole.
const RUNS_KEPT: usize = 10;

/// Shortens a journal that has grown too long. The lines that stay are the very same bytes: they may hold fields of a
/// newer fusionlab.
pub fn shorten(path: &Path) -> Result<()> {
    if !files::exists(path) || files::size(path)? <= LONGEST {
        return Ok(());
    }
    let kept = shortened(&files::read(path)?, LONGEST / 2);
    files::write_atomic(path, &kept, files::PRIVATE_FILE)
}

/// Returns the last runs that take no more than `room` together, but one at least, after the costs of what goes.
fn shortened(bytes: &[u8], room: u64) -> Vec<u8> {
    let lines: Vec<(&[u8], Line)> = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .filter_map(|line| Some((line, Line::read(line)?)))
        .collect();
    let begins = |line: &Line| matches!(line, Line::Run(record) if record.run == RunState::Begun);
    let runs: Vec<usize> = (0..lines.len()).filter(|at| begins(&lines[*at].1)).collect();
    let length = |from: usize| lines[from..].iter().map(|(line, _)| line.len() as u64).sum::<u64>();
    let fitting = runs.iter().rev().take(RUNS_KEPT).take_while(|from| length(**from) <= room).last();
    let from = fitting.or(runs.last()).copied().unwrap_or(lines.len());
    let mut costs = BTreeMap::new();
    for (text, line) in &lines[..from] {
        if let Line::Step(record) = line
            && record.state == State::Done
        {
            costs.insert(&record.step, *text);
        }
    }
    costs.into_values().chain(lines[from..].iter().map(|(text, _)| *text)).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::super::Journal;
    use super::*;

    fn run(number: u64, steps: &str) -> String {
        format!(
            "{{\"version\":2,\"at_ms\":0,\"pid\":{number},\"verb\":\"up\",\"run\":\"begun\",\"new\":[1]}}\n{steps}"
        )
    }

    fn done(step: &str, took_ms: u64) -> String {
        format!(
            "{{\"version\":2,\"at_ms\":0,\"verb\":\"up\",\"step\":\"{step}\",\"state\":\"done\",\"took_ms\":{took_ms},\"new\":2}}\n"
        )
    }

    #[test]
    fn the_last_runs_stay_whole_and_of_older_ones_the_costs() {
        let (first, last) = (done("a", 1) + &done("b", 2) + &done("a", 3), done("a", 4));
        let old = run(1, &first);
        let recent: String = (2..2 + RUNS_KEPT as u64).map(|number| run(number, &last)).collect();
        let kept = shortened(format!("{old}{{\"torn\n{recent}").as_bytes(), u64::MAX);
        let expected = done("a", 3) + &done("b", 2) + &recent;
        assert_eq!(String::from_utf8(kept).unwrap(), expected);
    }

    #[test]
    fn however_long_a_run_is_the_last_one_stays() {
        let long = run(1, &done("a", 1).repeat(50)) + &run(2, &done("b", 2).repeat(50));
        let kept = shortened(long.as_bytes(), 100);
        assert_eq!(String::from_utf8(kept).unwrap(), done("a", 1) + &run(2, &done("b", 2).repeat(50)));
    }

    #[test]
    fn a_journal_does_not_grow_for_ever_and_its_costs_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let journal = Journal::new(path.clone(), "up");
        files::append(&path, run(1, &done("once", 7000)).as_bytes(), 0o600).unwrap();
        let more = run(2, &done("often", 3000).repeat(200));
        let times = LONGEST as usize / more.len() + 1;
        files::append(&path, more.repeat(times).as_bytes(), 0o600).unwrap();
        journal.begin().unwrap();
        assert!(files::size(&path).unwrap() <= LONGEST / 2 + 4096);
        assert_eq!(journal.costs(), [("once".to_owned(), 7.0), ("often".to_owned(), 3.0)].into());
        let before = files::size(&path).unwrap();
        journal.begin().unwrap();
        assert!(files::size(&path).unwrap() > before, "one of good length only grows");
    }
}
