//! What was done, when and for how long: append-only, read for estimates and by people, never as the truth.
//!
//! ```text
//! begin ─▶ [step started ─▶ its effects ─▶ step done | failed]… ─▶ end
//!   │           │                              │                   │
//!   synced      synced                         not synced          synced
//! ```
//!
//! What is about to be done is on the disk before it is begun: after a crash, or a power cut, everything that may have
//! been in the making has its name here ([`effects`] says what that may be). That something is done need not be known:
//! the next run sees it in the world. A run without its last record was cut off ([`runs`]).

pub mod effects;
mod keep;
pub mod record;
pub mod runs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(feature = "sim")]
use crate::host::knife::{Knife, Way};
use crate::host::lock::Holder;
use crate::host::{Result, clock, files};
use crate::plan::step::StepId;

use crate::engine::context::DESTROY;
use crate::engine::error::EngineError;
use record::{Line, RunRecord, RunState, VERSION};
pub use record::{Record, State};
use runs::CutOff;

/// Whether a record must be on the disk before the run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durable {
    Now,
    /// With the next one that must be.
    Later,
}

/// An open journal.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
    ourselves: Holder,
    #[cfg(feature = "sim")]
    knife: Option<Knife>,
}

/// What was done last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    pub verb: String,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// None while it is at work, and of a version that did not write it down.
    pub ended: Option<Ended>,
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    Done,
    Failed,
    /// The user said stop.
    Interrupted,
    /// Its process is gone, and nothing says how.
    CutOff,
}

impl Journal {
    pub fn new(path: PathBuf, verb: &str) -> Self {
        Self {
            path,
            ourselves: Holder::ourselves(verb),
            #[cfg(feature = "sim")]
            knife: Knife::from_environment(),
        }
    }

    /// Returns the folder that the journal lies in.
    pub fn folder(&self) -> &Path {
        self.path.parent().expect("a journal's path has a folder")
    }

    /// Returns the verb that runs.
    pub fn verb(&self) -> &str {
        &self.ourselves.verb
    }

    /// Begins a run: mends what a crash has torn, drops what is too old, and says that we are at work. From here on, a
    /// run that does not come to its end is known to the next one.
    ///
    /// # Errors
    /// [`EngineError::NewerJournal`] if a newer fusionlab has written it.
    pub fn begin(&self) -> crate::engine::error::Result<()> {
        self.check_version()?;
        files::create_dir(self.folder())?;
        self.as_far_as_there_is_room(keep::shorten(&self.path))?;
        self.write_run(self.ourselves.pid, RunState::Begun)?;
        // The file's name, and the folder's own, must be on the disk as well: a run that made them may have been killed before.
        files::sync_names(self.folder())?;
        Ok(files::sync_names(files::parent(self.folder()))?)
    }

    /// Ends a run in good order; nothing once the lab's folder is gone.
    pub fn end(&self, how: RunState) -> Result<()> {
        self.write_run(self.ourselves.pid, how)
    }

    /// Notes that nothing is left to do after the run that was cut off, if this run's verb goes on from what that one left.
    pub fn settle(&self) -> Result<()> {
        match self.cut_off()? {
            Some(left) if left.is_followed_by(&self.ourselves.verb) => {
                self.write_run(left.pid, RunState::Settled)
            }
            _ => Ok(()),
        }
    }

    /// Refuses a journal that a newer fusionlab has written: what it left may be what this one does not know.
    pub fn check_version(&self) -> crate::engine::error::Result<()> {
        let newer = self.lines()?.into_iter().find_map(|line| match line {
            Line::Newer(version) => Some(version),
            Line::Run(_) | Line::Step(_) => None,
        });
        match newer {
            None => Ok(()),
            Some(found) => Err(EngineError::NewerJournal { path: self.path.clone(), found, known: VERSION }),
        }
    }

    /// Ends the line that a crash or a full disk has torn, so that the next record does not become part of it.
    fn mend(&self) -> Result<()> {
        if !files::exists(&self.path) {
            return Ok(());
        }
        let end = files::read_end(&self.path, 1)?;
        let is_torn = end.last().is_some_and(|last| *last != b'\n');
        if is_torn { files::append(&self.path, b"\n", files::PRIVATE_FILE) } else { Ok(()) }
    }

    /// Appends what became of a step; that it starts is on the disk before anything is done. Nothing once the lab's
    /// folder is gone.
    pub fn write(
        &self,
        step: &StepId,
        state: State,
        took: Option<Duration>,
        message: Option<String>,
    ) -> Result<()> {
        let record = Record {
            version: VERSION,
            at_ms: clock::now_ms(),
            pid: self.ourselves.pid,
            verb: self.verb().to_owned(),
            step: step.to_string(),
            state,
            took_ms: took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            message,
        };
        let durable = if state == State::Started { Durable::Now } else { Durable::Later };
        self.append(&record, &format!("{step} {state:?}"), durable)
    }

    fn write_run(&self, pid: u32, run: RunState) -> Result<()> {
        let begins = run == RunState::Begun;
        let of_beginning = |text: &String| if begins { text.clone() } else { String::new() };
        let record = RunRecord {
            version: VERSION,
            at_ms: clock::now_ms(),
            pid,
            verb: self.verb().to_owned(),
            run,
            started: of_beginning(&self.ourselves.started),
            boot: of_beginning(&self.ourselves.boot),
        };
        self.append(&record, &format!("run {run:?}"), Durable::Now)
    }

    fn append(&self, record: &impl serde::Serialize, name: &str, durable: Durable) -> Result<()> {
        // The lab's folder goes with `destroy`, and its journal with it.
        if !files::exists(self.folder()) {
            return Ok(());
        }
        self.as_far_as_there_is_room(self.put(record, name, durable))
    }

    /// What takes a lab down makes room, and goes by what stands: it goes on without a record where there is no room for one.
    fn as_far_as_there_is_room(&self, outcome: Result<()>) -> Result<()> {
        match outcome {
            Err(error) if self.verb() == DESTROY && error.is_out_of_room() => Ok(()),
            outcome => outcome,
        }
    }

    fn put(&self, record: &impl serde::Serialize, name: &str, durable: Durable) -> Result<()> {
        self.mend()?;
        let mut line = serde_json::to_vec(record).expect("a record is plain data");
        line.push(b'\n');
        let append = match durable {
            Durable::Now => files::append,
            Durable::Later => files::append_unsynced,
        };
        #[cfg(feature = "sim")]
        if let Some(way) = self.knife.as_ref().and_then(|knife| knife.strikes(name)) {
            let torn = &line[..line.len() / 2];
            match way {
                Way::Before => {}
                Way::Within => append(&self.path, torn, files::PRIVATE_FILE)?,
                Way::After => append(&self.path, &line, files::PRIVATE_FILE)?,
            }
            Knife::kill();
        }
        #[cfg(not(feature = "sim"))]
        let _ = name;
        append(&self.path, &line, files::PRIVATE_FILE)
    }

    /// Returns what became of steps, oldest first; what a crash has torn is passed over.
    pub fn read(&self) -> Result<Vec<Record>> {
        let step = |line| if let Line::Step(record) = line { Some(record) } else { None };
        Ok(self.lines()?.into_iter().filter_map(step).collect())
    }

    /// Returns the run that was cut off and that nobody has gone on from since; none if there is none.
    pub fn cut_off(&self) -> Result<Option<CutOff>> {
        Ok(runs::cut_off(self.lines()?, Holder::is_alive))
    }

    /// Returns the verb that wrote last, when, and how its run ended; none if nobody did.
    pub fn last(&self) -> Result<Option<Last>> {
        let lines = self.lines()?;
        let cut_off = |pid| {
            let left = runs::cut_off(lines.iter().cloned(), Holder::is_alive);
            left.filter(|left| left.pid == pid).map(|_| Ended::CutOff)
        };
        let last = |line: &Line| match line {
            Line::Run(record) => {
                let ended = match record.run {
                    RunState::Begun => cut_off(record.pid),
                    RunState::Done | RunState::Settled => Some(Ended::Done),
                    RunState::Failed => Some(Ended::Failed),
                    RunState::Interrupted => Some(Ended::Interrupted),
                };
                Some(Last { verb: record.verb.clone(), at_ms: record.at_ms, ended })
            }
            Line::Step(record) => {
                Some(Last { verb: record.verb.clone(), at_ms: record.at_ms, ended: cut_off(record.pid) })
            }
            Line::Newer(_) => None,
        };
        Ok(lines.iter().rev().find_map(last))
    }

    fn lines(&self) -> Result<Vec<Line>> {
        let bytes = files::read_if_exists(&self.path)?.unwrap_or_default();
        Ok(bytes.split(|byte| *byte == b'\n').filter_map(Line::read).collect())
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
    use std::ffi::OsString;
    use std::io;
    use std::net::SocketAddrV4;
    use std::sync::Arc;

    use super::*;
    use crate::host::dial::Stream;
    use crate::host::process::{Finished, Options};
    use crate::host::stand_in::{Computer, Doing, Effect, Refused, stand_in};

    fn id(name: &str) -> StepId {
        StepId::read(name)
    }

    fn journal(folder: &tempfile::TempDir) -> (Journal, PathBuf) {
        let path = folder.path().join("lab/journal.jsonl");
        (Journal::new(path.clone(), "up"), path)
    }

    #[test]
    fn a_record_after_one_that_the_disk_had_no_room_for_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, path) = journal(&folder);
        journal.begin().unwrap();
        files::append(&path, b"{\"version\":1,\"at_ms\":17", files::PRIVATE_FILE).unwrap();
        journal.write(&id("vm.clone/a"), State::Started, None, None).unwrap();
        assert_eq!(journal.read().unwrap().len(), 1);
    }

    /// A disk that tells of which folders the names were made to last.
    #[derive(Default)]
    struct Disk(std::sync::Mutex<Vec<PathBuf>>);

    impl Computer for Disk {
        fn now_ms(&self) -> u64 {
            0
        }

        fn before(&self, effect: Effect<'_>) -> Result<(), Refused> {
            if let Effect::SyncFolder(folder) = effect {
                self.0.lock().unwrap().push(folder.to_owned());
            }
            Ok(())
        }

        fn run(&self, _: PathBuf, _: Vec<OsString>, _: &Options) -> Doing<io::Result<Finished>> {
            panic!("no program is called")
        }

        fn connect(&self, _: SocketAddrV4) -> Doing<io::Result<Stream>> {
            panic!("nobody is asked")
        }

        fn is_dead(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_run_that_begins_makes_the_journals_name_last_also_where_a_killed_one_made_it() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, path) = journal(&folder);
        files::create_dir(journal.folder()).unwrap();
        files::write_atomic(&path, b"", files::PRIVATE_FILE).unwrap();
        let disk = Arc::new(Disk::default());
        let standing = stand_in(disk.clone());
        journal.begin().unwrap();
        drop(standing);
        let lasts = disk.0.lock().unwrap().clone();
        assert_eq!(lasts, [journal.folder(), folder.path()], "its own name, and that of its folder");
    }

    #[test]
    fn what_was_written_is_read_and_a_torn_last_line_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, path) = journal(&folder);
        assert_eq!(journal.read().unwrap(), []);
        journal.begin().unwrap();
        journal.write(&id("vm.clone/a"), State::Started, None, None).unwrap();
        journal.write(&id("vm.clone/a"), State::Done, Some(Duration::from_millis(1500)), None).unwrap();
        // A torn line may end in the middle of a letter.
        files::append(&path, b"{\"version\":2,\"message\":\"\xc3", 0o600).unwrap();
        let records = journal.read().unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!((records[0].state, records[0].took_ms), (State::Started, None));
        assert_eq!((records[1].state, records[1].took_ms), (State::Done, Some(1500)));
        assert!(records.iter().all(|record| record.verb == "up" && record.step == "vm.clone/a"));
        assert!(records.iter().all(|record| record.pid == std::process::id()));
        assert_eq!(files::ownership(&path).unwrap().mode & 0o777, 0o600);
        journal.begin().unwrap();
        journal.write(&id("vm.clone/b"), State::Started, None, None).unwrap();
        assert_eq!(journal.read().unwrap().len(), 3, "what comes after a torn line is not part of it");
    }

    #[test]
    fn the_last_time_that_a_step_was_done_is_its_cost() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = journal(&folder);
        journal.begin().unwrap();
        let took = |milliseconds| Some(Duration::from_millis(milliseconds));
        journal.write(&id("kube.nodes"), State::Done, took(9000), None).unwrap();
        journal.write(&id("kube.nodes"), State::Done, took(2500), None).unwrap();
        journal.write(&id("kube.nodes"), State::Failed, took(60_000), Some("no".to_owned())).unwrap();
        journal.write(&id("kube.endpoint"), State::Failed, took(1000), Some("no".to_owned())).unwrap();
        assert_eq!(journal.costs(), [("kube.nodes".to_owned(), 2.5)].into());
    }

    #[test]
    fn a_lab_that_is_gone_gets_no_folder_back() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("lab");
        let journal = Journal::new(gone.join("journal.jsonl"), "destroy");
        journal.write(&id("kube.nodes"), State::Done, None, None).unwrap();
        journal.end(RunState::Done).unwrap();
        assert!(!files::exists(&gone));
    }

    #[test]
    fn a_journal_of_a_newer_version_is_refused_and_one_of_an_older_read() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, path) = journal(&folder);
        let old = r#"{"version":1,"at_ms":5,"verb":"up","step":"a","state":"done","took_ms":2000}"#;
        files::create_dir(journal.folder()).unwrap();
        files::append(&path, format!("{old}\n").as_bytes(), 0o600).unwrap();
        journal.begin().unwrap();
        assert_eq!(journal.costs(), [("a".to_owned(), 2.0)].into());
        files::append(&path, b"{\"version\":3,\"phase\":\"of the moon\"}\n", 0o600).unwrap();
        let before = files::read(&path).unwrap();
        let refused = journal.begin().unwrap_err();
        assert!(matches!(refused, EngineError::NewerJournal { found: 3, known: 2, .. }), "{refused}");
        assert_eq!(files::read(&path).unwrap(), before, "it is left as it is");
    }

    #[test]
    fn the_last_run_is_told_with_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, path) = journal(&folder);
        let ended = || journal.last().unwrap().map(|last| last.ended);
        assert_eq!(ended(), None);
        for (how, told) in [
            (RunState::Interrupted, Ended::Interrupted),
            (RunState::Failed, Ended::Failed),
            (RunState::Done, Ended::Done),
        ] {
            journal.begin().unwrap();
            assert_eq!(ended(), Some(None), "it is at work");
            journal.end(how).unwrap();
            assert_eq!(ended(), Some(Some(told)));
        }
        journal.begin().unwrap();
        journal.write(&id("network.apply"), State::Started, None, None).unwrap();
        assert_eq!(ended(), Some(None), "it is at work");
        let text = files::read_text(&path).unwrap().replace(&journal.ourselves.boot, "an earlier boot");
        files::write_atomic(&path, text.as_bytes(), 0o600).unwrap();
        assert_eq!(ended(), Some(Some(Ended::CutOff)));
    }

    #[test]
    fn a_run_that_did_not_end_is_known_until_it_is_settled() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, path) = journal(&folder);
        journal.begin().unwrap();
        assert_eq!(journal.cut_off().unwrap(), None, "its process lives");
        let text = files::read_text(&path).unwrap().replace(&journal.ourselves.boot, "an earlier boot");
        files::write_atomic(&path, text.as_bytes(), 0o600).unwrap();
        let cut_off = journal.cut_off().unwrap().unwrap();
        assert_eq!((cut_off.verb.as_str(), cut_off.pid), ("up", std::process::id()));
        Journal::new(path, "network apply").settle().unwrap();
        assert_eq!(journal.cut_off().unwrap(), Some(cut_off), "a smaller verb does not see to all of it");
        journal.settle().unwrap();
        assert_eq!(journal.cut_off().unwrap(), None);
    }
}
