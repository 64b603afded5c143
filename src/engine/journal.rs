//! What was done, when and for how long: append-only, read for estimates and by people, never as the truth.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::host::{Result, clock, files};
use crate::plan::step::StepId;

/// Version of the journal's records.
const VERSION: u32 = 1;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub version: u32,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The verb that ran: `up`, `destroy`, …
    pub verb: String,
    pub step: String,
    pub state: State,
    /// Milliseconds that the step took; none when it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Started,
    Done,
    Failed,
}

/// An open journal.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
    verb: String,
}

impl Journal {
    pub fn new(path: PathBuf, verb: &str) -> Self {
        Self { path, verb: verb.to_owned() }
    }

    /// Returns the folder that the journal lies in.
    pub fn folder(&self) -> &Path {
        self.path.parent().expect("a journal's path has a folder")
    }

    /// Returns the verb that runs.
    pub fn verb(&self) -> &str {
        &self.verb
    }

    /// Ends the line that a crash has torn, so that the next record does not become part of it.
    pub fn mend(&self) -> Result<()> {
        let text = files::read_if_exists(&self.path)?.unwrap_or_default();
        let is_torn = text.last().is_some_and(|last| *last != b'\n');
        if is_torn { files::append(&self.path, b"\n", files::PRIVATE_FILE) } else { Ok(()) }
    }

    /// Appends a record and waits until it is on disk; nothing once the lab's folder is gone.
    pub fn write(
        &self,
        step: &StepId,
        state: State,
        took: Option<Duration>,
        message: Option<String>,
    ) -> Result<()> {
        // The lab's folder goes with `destroy`, and its journal with it.
        if !self.path.parent().is_some_and(files::exists) {
            return Ok(());
        }
        let record = Record {
            version: VERSION,
            at_ms: clock::now_ms(),
            verb: self.verb.clone(),
            step: step.0.clone(),
            state,
            took_ms: took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            message,
        };
        let mut line = serde_json::to_vec(&record).expect("a record is plain data");
        line.push(b'\n');
        files::append(&self.path, &line, 0o600)
    }

    /// Returns all records; a torn last line is passed over, as a crash leaves one.
    pub fn read(&self) -> Result<Vec<Record>> {
        let text = if files::exists(&self.path) { files::read_text(&self.path)? } else { String::new() };
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Returns how many seconds each step took when it was last done.
    pub fn costs(&self) -> BTreeMap<String, f64> {
        let records = self.read().unwrap_or_default();
        let done = records.into_iter().filter(|record| record.state == State::Done);
        done.filter_map(|record| Some((record.step, record.took_ms? as f64 / 1000.0))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> StepId {
        StepId(name.to_owned())
    }

    #[test]
    fn what_was_written_is_read_and_a_torn_last_line_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let journal = Journal::new(path.clone(), "up");
        assert_eq!(journal.read().unwrap(), []);
        journal.write(&id("vm.clone/a"), State::Started, None, None).unwrap();
        journal.write(&id("vm.clone/a"), State::Done, Some(Duration::from_millis(1500)), None).unwrap();
        files::append(&path, b"{\"version\":1,\"at_ms\":17", 0o600).unwrap();
        let records = journal.read().unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!((records[0].state, records[0].took_ms), (State::Started, None));
        assert_eq!((records[1].state, records[1].took_ms), (State::Done, Some(1500)));
        assert!(records.iter().all(|record| record.verb == "up" && record.step == "vm.clone/a"));
        assert_eq!(files::ownership(&path).unwrap().mode & 0o777, 0o600);
    }

    #[test]
    fn the_last_time_that_a_step_was_done_is_its_cost() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().join("journal.jsonl"), "up");
        let took = |milliseconds| Some(Duration::from_millis(milliseconds));
        journal.write(&id("a"), State::Done, took(9000), None).unwrap();
        journal.write(&id("a"), State::Done, took(2500), None).unwrap();
        journal.write(&id("a"), State::Failed, took(60_000), Some("no".to_owned())).unwrap();
        journal.write(&id("b"), State::Failed, took(1000), Some("no".to_owned())).unwrap();
        assert_eq!(journal.costs(), [("a".to_owned(), 2.5)].into());
    }

    #[test]
    fn a_lab_that_is_gone_gets_no_folder_back() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("lab");
        Journal::new(gone.join("journal.jsonl"), "destroy").write(&id("a"), State::Done, None, None).unwrap();
        assert!(!files::exists(&gone));
    }
}
