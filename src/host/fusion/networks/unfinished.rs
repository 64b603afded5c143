//! `pending.json`: the change that is under way. It is written before anything is touched and removed when the outcome
//! was seen, so one that is found tells of a run that was cut short.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::apply::Job;
use super::backups;
use super::services::Service;
use crate::host::{HostError, Result, files};

const FILE: &str = "pending.json";
const VERSION: u32 = 1;

/// A change that was begun, and whose outcome nobody has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    pub vmnet: u8,
    /// When it began, in RFC 3339.
    pub since: String,
    /// What began it, such as `up`.
    pub verb: String,
}

/// What is written down of a change. The file before it lies among the backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pending {
    version: u32,
    pub vmnet: u8,
    pub since: String,
    pub verb: String,
    pub before: Option<Before>,
    /// SHA-256 (hex) of the wished file; none if it was to go. For people: what is there now is looked at.
    pub after: Option<String>,
    /// What ran of all networks, as far as that was told.
    #[serde(default)]
    pub ran: Vec<(u8, Service)>,
}

/// The file before a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Before {
    /// Its backup's name.
    pub backup: String,
    /// SHA-256 (hex) of its bytes.
    pub digest: String,
}

impl Pending {
    pub fn new(
        job: &Job,
        verb: &str,
        since: String,
        before: Option<Before>,
        ran: Vec<(u8, Service)>,
    ) -> Self {
        let after = job.new.as_deref().map(backups::digest);
        Self { version: VERSION, vmnet: job.vmnet, since, verb: verb.to_owned(), before, after, ran }
    }

    /// Writes it down, durably.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).expect("a record is plain data");
        files::write_atomic(&path(folder), &text, files::PRIVATE_FILE)
    }

    /// Returns the file before the change.
    ///
    /// # Errors
    /// If its backup is gone, or is not what it was.
    pub fn before(&self, backups: &Path) -> Result<Option<Vec<u8>>> {
        let Some(Before { backup, digest }) = &self.before else { return Ok(None) };
        let bytes = backups::read(backups, backup)?;
        if backups::digest(&bytes) == *digest {
            return Ok(Some(bytes));
        }
        let reason = "it is not the file from before the unfinished change".to_owned();
        Err(HostError::Content { path: backups.join(backup), reason })
    }

    /// Returns what there is to tell of it.
    pub fn unfinished(self) -> Unfinished {
        Unfinished { vmnet: self.vmnet, since: self.since, verb: self.verb }
    }
}

/// Reads what is written down; none if no change is under way.
pub(super) fn read(folder: &Path) -> Result<Option<Pending>> {
    let path = path(folder);
    let Some(bytes) = files::read_if_exists(&path)? else { return Ok(None) };
    let content = |reason: String| HostError::Content { path: path.clone(), reason };
    let pending: Pending = serde_json::from_slice(&bytes).map_err(|error| content(error.to_string()))?;
    if pending.version != VERSION {
        return Err(content(format!(
            "version {} is not known here: it is a newer fusionlab's",
            pending.version
        )));
    }
    Ok(Some(pending))
}

/// Forgets the change: its outcome was seen.
pub(super) fn remove(folder: &Path) -> Result<()> {
    files::remove_file(&path(folder))
}

fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}
