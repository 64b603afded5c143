//! A run's log in the lab's folder: every event as JSON, beside the files of what each step printed.

use std::fs::File;

use super::Reporter;
use super::json::Json;
use crate::engine::event::Event;
use crate::engine::output::RunFolder;
use crate::host::{HostError, files};

/// The file of all events.
const EVENTS: &str = "events.jsonl";

/// One run's events. What cannot be written is left out: a log must not stop a run.
pub struct RunLog {
    events: Json<File>,
}

impl RunLog {
    /// Makes the file in the folder of a run that begins now.
    pub fn open(folder: &RunFolder) -> Result<Self, HostError> {
        let events = files::create_new(&folder.path().join(EVENTS), files::PRIVATE_FILE)?;
        Ok(Self { events: Json::new(events) })
    }
}

impl Reporter for RunLog {
    fn event(&mut self, event: &Event) {
        // A step's output has a file of its own.
        if !matches!(event, Event::Line { .. }) {
            self.events.event(event);
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

    #[test]
    fn events_are_json_without_what_steps_print() {
        let home = tempfile::tempdir().unwrap();
        let folder = RunFolder::open(home.path()).unwrap();
        let mut log = RunLog::open(&folder).unwrap();
        let line = Event::Line { step: id("vm.start/gateway1"), line: "one".into() };
        for event in [plan(), start("vm.start/gateway1"), line, done("vm.start/gateway1", 5)] {
            log.event(&event);
        }
        let text = files::read_text(&folder.path().join(EVENTS)).unwrap();
        assert_eq!(text.lines().count(), 3);
    }
}
