//! The vocabulary between the engine and its reporters: pure types, no behaviour.

use std::time::Duration;

use serde::Serialize;

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
        /// Such as "waits for k8s-master1: one etcd learner at a time".
        because: String,
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
        requirement: String,
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
    /// Whether that is what it, or its kind, took before in this lab; else it is what the plan supposes.
    pub known: bool,
}

impl Event {
    /// Passes every text that may come from elsewhere through `clean`.
    pub fn cleaned(mut self, clean: impl Fn(&str) -> String) -> Self {
        match &mut self {
            Self::Waiting { requirement: text, .. }
            | Self::Line { line: text, .. }
            | Self::Note { text, .. }
            | Self::StepFailed { message: text, .. }
            | Self::StepSkipped { because: text, .. } => *text = clean(text),
            Self::Checked(proven) => proven.detail = clean(&proven.detail),
            _ => {}
        }
        self
    }
}
