//! The log of one run: every event, a line each, for people and for bug reports. Secrets are out of the events already.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::json;

use crate::host::{Result, clock, files};

use super::event::Event;

/// Logs kept for each lab; the oldest go.
const KEPT: usize = 10;

/// Begun when a run begins to change something; what happens before is written nowhere.
#[derive(Debug, Default)]
pub struct RunLog(Mutex<Option<File>>);

impl RunLog {
    /// Begins a log named after the time and the verb, and removes the oldest ones.
    pub fn start(&self, folder: &Path, verb: &str) -> Result<()> {
        files::create_private_dir(folder)?;
        let logs = files::list(folder)?;
        for old in logs.iter().take((logs.len() + 1).saturating_sub(KEPT)) {
            files::remove_file(old)?;
        }
        let name = format!("{}-{verb}.jsonl", clock::now_ms());
        let file = files::create_new(&folder.join(name), files::PRIVATE_FILE)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }

    /// Appends an event. A log that cannot be written stops nothing: the journal is what counts.
    pub fn write(&self, event: &Event) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = log.as_mut() else { return };
        let line = json!({ "at_ms": clock::now_ms(), "event": event });
        if writeln!(file, "{line}").is_err() {
            *log = None;
        }
    }
}
