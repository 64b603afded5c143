//! A problem in a lab file: where, what, and what to write instead.

use serde::{Deserialize, Serialize};

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Said, and `up` goes on.
    Warning,
    /// Nothing is done until it is mended.
    Error,
}

/// A place in the lab file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Span {
    /// Counts from 1.
    pub line: usize,
    /// In characters, counts from 1.
    pub column: usize,
    /// In characters; at least 1.
    pub length: usize,
}

/// One finding about a lab file or a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The rule's stable name, such as `address-used-twice`; `fusionlab explain` knows each.
    pub rule: &'static str,
    pub severity: Severity,
    /// Where in the file; none if the value is a default or the finding concerns the whole.
    pub span: Option<Span>,
    /// What is wrong, as a sentence without a full stop.
    pub message: String,
    /// What to do about it, if that can be said.
    pub help: Option<String>,
}

impl Problem {
    /// Adds what to do about it.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}
