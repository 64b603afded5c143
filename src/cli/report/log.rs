//! A run's log in the lab's folder: every event as JSON, and each step's output in a file of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::Reporter;
use super::json::Json;
use crate::engine::event::Event;
use crate::host::{HostError, clock, files};
use crate::plan::step::StepId;

/// Logs of earlier runs that are kept.
const KEPT_RUNS: usize = 10;
/// The file of all events.
const EVENTS: &str = "events.jsonl";

/// One run's folder. What cannot be written is left out: a log must not stop a run.
pub struct RunLog {
    folder: PathBuf,
    events: Json<File>,
    steps: BTreeMap<StepId, File>,
}

impl RunLog {
    /// Makes the folder of a run that begins now, and removes the oldest ones.
    pub fn open(logs: &Path) -> Result<Self, HostError> {
        files::create_private_dir(logs)?;
        let runs = files::list(logs)?;
        let surplus = (runs.len() + 1).saturating_sub(KEPT_RUNS);
        for run in runs.iter().take(surplus) {
            files::remove_tree(run, logs)?;
        }
        // Two runs may begin in one second; a name without a colon can be typed anywhere.
        let name = format!("{}-{}", clock::rfc3339(clock::now()).replace(':', "-"), std::process::id());
        let folder = logs.join(name);
        files::create_private_dir(&folder)?;
        let events = files::create_new(&folder.join(EVENTS), files::PRIVATE_FILE)?;
        Ok(Self { folder, events: Json::new(events), steps: BTreeMap::new() })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Appends a line to its step's file.
    fn line(&mut self, step: &StepId, line: &str) {
        if !self.steps.contains_key(step) {
            let path = self.folder.join(format!("{}.log", step.0.replace('/', "-")));
            let Ok(file) = files::create_new(&path, files::PRIVATE_FILE) else { return };
            self.steps.insert(step.clone(), file);
        }
        if let Some(file) = self.steps.get_mut(step) {
            let _ = writeln!(file, "{line}");
        }
    }
}

impl Reporter for RunLog {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Line { step, line } => self.line(step, line),
            _ => self.events.event(event),
        }
    }

    fn finish(&mut self) {
        self.events.finish();
    }
}

/// A reporter whose run is logged as well.
pub struct Logged {
    pub reporter: Box<dyn Reporter>,
    pub log: RunLog,
}

impl Reporter for Logged {
    fn event(&mut self, event: &Event) {
        self.log.event(event);
        self.reporter.event(event);
    }

    fn tick(&mut self) {
        self.reporter.tick();
    }

    fn suspend(&mut self) {
        self.reporter.suspend();
    }

    fn resume(&mut self) {
        self.reporter.resume();
    }

    fn finish(&mut self) {
        self.log.finish();
        self.reporter.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{done, id, plan, start};
    use super::*;

    fn read(path: PathBuf) -> String {
        files::read_text(&path).unwrap()
    }

    #[test]
    fn events_are_json_and_a_steps_output_has_its_own_file() {
        let home = tempfile::tempdir().unwrap();
        let mut log = RunLog::open(&home.path().join("logs")).unwrap();
        let line = |line: &str| Event::Line { step: id("vm.start/gateway1"), line: line.into() };
        for event in
            [plan(), start("vm.start/gateway1"), line("one"), line("two"), done("vm.start/gateway1", 5)]
        {
            log.event(&event);
        }
        assert_eq!(read(log.folder().join("vm.start-gateway1.log")), "one\ntwo\n");
        assert_eq!(read(log.folder().join(EVENTS)).lines().count(), 3);
        assert_eq!(files::ownership(log.folder()).unwrap().mode & 0o777, 0o700);
    }

    #[test]
    fn the_oldest_runs_are_removed() {
        let home = tempfile::tempdir().unwrap();
        for day in 1..=12 {
            files::create_dir(&home.path().join(format!("2026-01-{day:02}T00-00-00Z-1"))).unwrap();
        }
        RunLog::open(home.path()).unwrap();
        let runs = files::list(home.path()).unwrap();
        assert_eq!(runs.len(), KEPT_RUNS);
        assert!(runs[0].ends_with("2026-01-04T00-00-00Z-1"), "{runs:?}");
    }
}
