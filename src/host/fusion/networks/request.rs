//! What is asked of root, and what root makes of it: nothing that the request says is believed.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::apply::{self, Job};
use super::services::{self, Programs, Service};
use super::{ChangeKind, backups, lease_files, refused};
use crate::formats::networking::{Document, FUSIONS_OWN, Refusal, confined, well_formed};
use crate::host::fusion::{Fusion, discover};
use crate::host::{HostError, Result, files, trust};

const VERSION: u32 = 3;
/// What the names of the programs behind Fusion's networks begin with.
const HELPER: &str = "vmnet-";
/// A networking file is some kilobytes; a request holds two of them.
const LARGEST_REQUEST: u64 = 4 << 20;
/// The longest that one of Fusion's programs may be waited for: what a lab file may say of any limit.
const LONGEST_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// Refusals that are shown; the first says enough.
const SHOWN_REFUSALS: usize = 3;

/// What we ask of ourselves under `sudo`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    version: u32,
    pub ask: Ask,
    /// Fusion's bundle; its programs are run.
    app: PathBuf,
    /// The file to replace; only this Fusion's networking file is accepted.
    target: PathBuf,
    /// The new file, in base64; none for no file.
    new: Option<String>,
    /// SHA-256 (hex) of the file that is there now; none if there is none.
    before: Option<String>,
    /// The file to put back if the new one does not work, in base64; none for no file.
    rollback: Option<String>,
    /// An earlier change was cut short, before which these services ran.
    resumed: Option<Vec<(u8, Service)>>,
    /// Nobody is cut off if all networks stop.
    may_stop: bool,
    vmnet: u8,
    limit_seconds: u64,
}

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Ask {
    /// Say whether all of it would be accepted, and do nothing.
    Check,
    Apply,
}

impl Request {
    pub fn new(ask: Ask, fusion: &Fusion, job: &Job) -> Self {
        let encode = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| BASE64_STANDARD.encode(bytes));
        Self {
            version: VERSION,
            ask,
            app: fusion.app.clone(),
            target: fusion.networking(),
            new: encode(&job.new),
            before: job.before.as_deref().map(backups::digest),
            rollback: encode(&job.rollback),
            resumed: job.resumed.clone(),
            may_stop: job.may_stop,
            vmnet: job.vmnet,
            limit_seconds: job.limit.as_secs(),
        }
    }

    /// Reads a request once, so that what is checked is what is done.
    ///
    /// `asker` is the user who may have written it, beside root: the one who called `sudo`.
    pub fn read(path: &Path, asker: Option<u32>) -> Result<Self> {
        // Not through a link, and without waiting for whoever would write to a pipe.
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC);
        let file: File = options.open(path).map_err(HostError::file("open", path))?;
        let facts = file.metadata().map_err(HostError::file("look at", path))?;
        let content = |reason: String| HostError::Content { path: path.to_owned(), reason };
        if !facts.is_file() {
            return Err(content("a request is a file".to_owned()));
        }
        if facts.uid() != 0 && Some(facts.uid()) != asker {
            return Err(content(format!("it belongs to user {}, who did not call sudo", facts.uid())));
        }
        if facts.mode() & 0o022 != 0 {
            return Err(content(format!("others may write to it (mode {:04o})", facts.mode() & 0o7777)));
        }
        let mut bytes = Vec::new();
        file.take(LARGEST_REQUEST + 1).read_to_end(&mut bytes).map_err(HostError::file("read", path))?;
        if bytes.len() as u64 > LARGEST_REQUEST {
            return Err(content(format!("it is longer than {LARGEST_REQUEST} bytes")));
        }
        serde_json::from_slice(&bytes).map_err(|error| content(error.to_string()))
    }

    /// Checks everything that is asked against what is there now; returns what to do, and with which Fusion.
    pub fn check(&self, kind: ChangeKind) -> Result<(Programs, Job)> {
        let (fusion, job) = self.understood(kind)?;
        trusted(&fusion)?;
        Ok((Programs::new(fusion), job))
    }

    /// Checks everything but who could have changed the programs.
    fn understood(&self, kind: ChangeKind) -> Result<(Fusion, Job)> {
        if self.version != VERSION {
            return Err(refused(&format!("a request of version {} is not known", self.version)));
        }
        if FUSIONS_OWN.contains(&self.vmnet) {
            return Err(refused(&format!("vmnet{} is Fusion's own", self.vmnet)));
        }
        let limit = Duration::from_secs(self.limit_seconds);
        if limit.is_zero() || limit > LONGEST_LIMIT {
            return Err(refused(&format!("a limit of {} s is none", self.limit_seconds)));
        }
        let fusion = discover::find(Some(&self.app))?;
        if self.target != fusion.networking() {
            let target = self.target.display();
            return Err(refused(&format!("{target} is not the networking file of {}", fusion.app.display())));
        }
        if files::is_link(&self.target) {
            return Err(refused(&format!("{} is a link", self.target.display())));
        }
        let job = self.job(kind, limit)?;
        Ok((fusion, job))
    }

    fn job(&self, kind: ChangeKind, limit: Duration) -> Result<Job> {
        let before = files::read_if_exists(&self.target)?;
        if before.as_deref().map(backups::digest) != self.before {
            return Err(apply::changed());
        }
        let (new, rollback) = (decode(self.new.as_ref())?, decode(self.rollback.as_ref())?);
        for (what, file) in [("the new networking file", &new), ("the file to go back to", &rollback)] {
            acceptable(kind, before.as_deref(), file.as_deref(), self.vmnet, what)?;
        }
        let (resumed, &Self { may_stop, vmnet, .. }) = (self.resumed.clone(), self);
        Ok(Job { new, before, rollback, resumed, may_stop, vmnet, kind, limit })
    }
}

/// Says whether root would put a file back: see [`acceptable`].
pub(super) fn is_acceptable(kind: ChangeKind, before: Option<&[u8]>, file: Option<&[u8]>, vmnet: u8) -> bool {
    acceptable(kind, before, file, vmnet, "").is_ok()
}

/// Refuses a file that says more than it may: of one network only, or nothing but what a networking file says. No file
/// is as good as one that says nothing.
fn acceptable(
    kind: ChangeKind,
    before: Option<&[u8]>,
    file: Option<&[u8]>,
    vmnet: u8,
    what: &str,
) -> Result<()> {
    if before == file {
        return Ok(());
    }
    let nothing = Document::new().render();
    let file = file.unwrap_or(&nothing);
    let checked = match kind {
        ChangeKind::OfOneNetwork => confined(before, file, vmnet),
        ChangeKind::WholeFile => well_formed(before, file),
    };
    checked.map_err(|refusals: Vec<Refusal>| {
        let shown: Vec<String> = refusals.iter().take(SHOWN_REFUSALS).map(ToString::to_string).collect();
        refused(&format!("{what} is not accepted: {}", shown.join("; ")))
    })
}

fn decode(text: Option<&String>) -> Result<Option<Vec<u8>>> {
    let decode =
        |text| BASE64_STANDARD.decode(text).map_err(|error| refused(&format!("the request: {error}")));
    text.map(decode).transpose()
}

/// Refuses programs that root must not run, and folders that root must not write into.
fn trusted(fusion: &Fusion) -> Result<()> {
    distrust(fusion).into_iter().next().map_or(Ok(()), Err)
}

/// Returns everything that keeps root from changing a Fusion's networks.
pub(super) fn distrust(fusion: &Fusion) -> Vec<HostError> {
    let preferences = fusion.preferences();
    let folder = trust::folder(&preferences).and_then(|folder| {
        // Through a link of somebody else's, the file could be another a moment later.
        let reason = "it is reached through a link".to_owned();
        let linked = HostError::Content { path: preferences.clone(), reason };
        if folder.path == preferences { Ok(()) } else { Err(linked) }
    });
    let mut checks = vec![trust::program(&fusion.program(services::PROGRAM)).map(|_| ()), folder];
    checks.push(lease_files::trusted(fusion));
    checks.extend(helpers(fusion).iter().map(|helper| trust::program(helper).map(|_| ())));
    checks.into_iter().filter_map(Result::err).collect()
}

/// Returns what lies beside `vmnet-cli` and serves the networks: it starts the daemons as root (facts/vmrun-vmrest.md §1.1).
fn helpers(fusion: &Fusion) -> Vec<PathBuf> {
    let beside = files::list(&fusion.program("")).unwrap_or_default();
    let serves = |path: &PathBuf| {
        path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.starts_with(HELPER) && name != services::PROGRAM
        })
    };
    beside.into_iter().filter(serves).collect()
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
