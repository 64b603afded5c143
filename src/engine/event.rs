//! The vocabulary between the engine and its reporters: plain values, and how they are written.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::formats::figures::serialize_seconds;
use crate::plan::step::{Milestone, Phase, StepId};
use crate::stack::checks::{Hint, Hop};
use crate::stack::drill::Outcome;
use crate::stack::judge;

/// Something that happened while a plan was carried out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The plan's steps, before the first one starts.
    Planned {
        steps: Vec<PlannedStep>,
    },
    /// A step could begin but for others: said when the reason changes.
    StepHeld {
        step: StepId,
        because: Held,
    },
    StepStarted {
        step: StepId,
    },
    /// A step failed for a reason that may pass, and is begun again.
    StepRetried {
        step: StepId,
        /// The try that comes now, of how many.
        attempt: u32,
        of: u32,
        because: String,
    },
    /// A requirement is not met yet; said when it changes, not on each probe.
    Waiting {
        step: StepId,
        requirement: Unmet,
    },
    /// Bytes of a download or conversion.
    Progress {
        step: StepId,
        done: u64,
        total: Option<u64>,
    },
    /// A line that a guest or a program printed.
    Line {
        step: StepId,
        line: String,
    },
    /// Something worth saying that stops nothing.
    Note {
        step: Option<StepId>,
        text: String,
    },
    /// A program needs the terminal to itself: nothing is drawn until it comes back.
    TerminalTaken,
    TerminalBack,
    /// A step has brought a machine through a phase, and goes on.
    Reached {
        step: StepId,
        node: String,
        phase: Phase,
    },
    StepDone {
        step: StepId,
        #[serde(serialize_with = "serialize_seconds")]
        took: Duration,
        changed: bool,
    },
    StepFailed {
        step: StepId,
        #[serde(serialize_with = "serialize_seconds")]
        took: Duration,
        message: String,
    },
    /// Not run, since a step it needs failed or the user stopped.
    StepSkipped {
        step: StepId,
        because: String,
    },
    /// What a drill measured.
    Drilled(Outcome),
    /// One check of the proof.
    Checked(Box<Proven>),
}

/// Why a step does not begin. As text, and in JSON: `waits for k8s-master1: one etcd learner at a time`, `waits until
/// every node is Ready`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Whom or what it waits for; none where `why` says all of it.
    pub waits_for: Option<String>,
    /// Such as `one etcd learner at a time`; where nobody is named, what follows "waits".
    pub why: String,
}

/// What a step waits for, and what is there instead. As text, and in JSON: `Cilium is rolled out: waits for cilium`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// A clause such as `Cilium is rolled out`.
    pub what: String,
    /// What was seen last; empty if nothing is known.
    pub seen: String,
}

/// One check of the proof, as it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proven {
    pub id: &'static str,
    pub hop: Hop,
    /// What must be so.
    pub check: String,
    /// As `passed` and `asked`.
    #[serde(flatten)]
    pub outcome: judge::Outcome,
    pub expected: String,
    /// What was seen.
    pub detail: String,
    /// Where to look if it failed.
    pub hint: Hint,
    #[serde(serialize_with = "serialize_seconds")]
    pub took: Duration,
}

/// What a reporter needs to know of a step beforehand.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedStep {
    pub id: StepId,
    pub node: Option<String>,
    pub phase: Phase,
    pub text: String,
    /// Steps of the same plan that must be done before; they stand before it.
    pub needs: Vec<StepId>,
    /// Machines' phases that come to their end in it: said by [`Event::Reached`], and reached at the latest when it is done.
    pub reaches: Vec<Milestone>,
    pub cost_seconds: u32,
    /// Whether that is what it, or its kind, took before on this Mac; else it is what the plan supposes.
    pub known: bool,
}

impl Event {
    /// Passes every text that may come from elsewhere through `clean`.
    pub fn cleaned(mut self, clean: impl Fn(&str) -> String) -> Self {
        match &mut self {
            Self::Waiting { requirement: Unmet { what, seen }, .. } => {
                *what = clean(what);
                *seen = clean(seen);
            }
            Self::Line { line: text, .. }
            | Self::Note { text, .. }
            | Self::StepFailed { message: text, .. }
            | Self::StepSkipped { because: text, .. } => *text = clean(text),
            Self::Checked(proven) => proven.detail = clean(&proven.detail),
            _ => {}
        }
        self
    }
}

impl Held {
    /// Returns why a step waits for somebody or something.
    pub fn of(waits_for: impl Into<String>, why: impl Into<String>) -> Self {
        Self { waits_for: Some(waits_for.into()), why: why.into() }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.waits_for {
            Some(waits_for) => write!(f, "waits for {waits_for}: {}", self.why),
            None => write!(f, "waits {}", self.why),
        }
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.seen)
    }
}

impl Serialize for Held {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Unmet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
