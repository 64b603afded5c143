//! One line of the journal: a run that begins or ends, or a step of it.
//!
//! ```text
//! {"version":2,"at_ms":…,"pid":4711,"verb":"up","run":"begun","started":"…","boot":"…"}
//! {"version":2,"at_ms":…,"pid":4711,"verb":"up","step":"vm.clone/gateway1","state":"started"}
//! {"version":2,"at_ms":…,"pid":4711,"verb":"up","step":"vm.clone/gateway1","state":"done","took_ms":1500}
//! {"version":2,"at_ms":…,"pid":4711,"verb":"up","run":"done"}
//! ```

use serde::{Deserialize, Serialize};

use crate::host::lock::Holder;

/// Version of the journal's records. Version 1 had no runs, and no process in a step's record.
pub const VERSION: u32 = 2;

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub version: u32,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The process that wrote it; 0 in version 1.
    #[serde(default)]
    pub pid: u32,
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

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    pub version: u32,
    pub at_ms: u64,
    pub pid: u32,
    pub verb: String,
    pub run: RunState,
    /// When the process began, and in which boot of the machine: they tell it from a later one of its number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub started: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub boot: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    Begun,
    Done,
    Failed,
    /// The user said stop.
    Interrupted,
    /// It was cut off, and a later run found that it left nothing to do.
    Settled,
}

impl RunRecord {
    /// Returns the process that wrote it.
    pub fn process(&self) -> Holder {
        Holder {
            pid: self.pid,
            started: self.started.clone(),
            boot: self.boot.clone(),
            verb: self.verb.clone(),
            since: String::new(),
            since_seconds: self.at_ms / 1000,
        }
    }
}

/// A line of the journal that can be read.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    Run(RunRecord),
    Step(Record),
    /// Of a version that this fusionlab does not know.
    Newer(u32),
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Line {
    /// Reads a line; none if a crash has torn it, or it is none of ours.
    pub fn read(line: &[u8]) -> Option<Self> {
        let Versioned { version } = serde_json::from_slice(line).ok()?;
        if version > VERSION {
            return Some(Self::Newer(version));
        }
        let step = || serde_json::from_slice(line).ok().map(Self::Step);
        serde_json::from_slice(line).ok().map(Self::Run).or_else(step)
    }
}
