//! The sequence that makes Fusion's networks follow a new file, or puts everything back.
//!
//! ```text
//! full       stop → save leases → replace the file → configure → put lost leases back → start → look
//! start      start → look; if that is not enough, configure → start → look: nothing stops
//! DHCP only  servicestop → replace the file → updatedhcpfromconfig → servicestart → look; any doubt → full
//! text only  replace the file → look at the file
//! ```
//!
//! It runs in this process, or in that of root (`root_step.rs`), never twice at a time: whoever runs it holds the
//! kernel's lock on the preferences folder, which ends with its process.

use std::result::Result as StdResult;
use std::time::Duration;

use super::lease_files::{self, LeaseFiles};
use super::look::{self, Expected};
use super::services::{self, CONFIGURE, Programs, START, STOP, Service, Services};
use super::{Applied, ChangeKind, Log, PUTTING_BACK, Restarted, dhcp_only, refused};
use crate::formats::networking::{Document, Scope, scope};
use crate::host::{HostError, Result, files, lock};

/// A change, with all that was decided about it.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// The whole new file; none for no file.
    pub new: Option<Vec<u8>>,
    /// The file that must be there now.
    pub before: Option<Vec<u8>>,
    /// The file that comes back if the new one does not work.
    pub rollback: Option<Vec<u8>>,
    /// An earlier change was cut short: nobody knows what runs, so everything is started anew.
    pub resumed: bool,
    pub vmnet: u8,
    pub kind: ChangeKind,
    /// Limit of each of the programs' steps.
    pub limit: Duration,
}

/// How a change did not come about.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was touched.
    Untouched(HostError),
    /// It was tried; `restored` says whether the networks are seen to be as before.
    Tried { reason: String, output: String, restored: bool },
    /// Whoever tried it did not live to tell.
    Unknown { reason: String, output: String },
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        Self::Untouched(error)
    }
}

impl From<Failure> for HostError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Untouched(error) => error,
            Failure::Tried { reason, output, restored } => Self::Network { reason, output, restored },
            Failure::Unknown { reason, output } => Self::Network { reason, output, restored: false },
        }
    }
}

/// Returns what a change from one file to another means for the services.
pub(super) fn scope_of(before: Option<&[u8]>, new: Option<&[u8]>, vmnet: u8) -> Scope {
    match (before, new) {
        (Some(before), Some(new)) => scope(before, new, vmnet),
        (None, None) => Scope::Nothing,
        _ => Scope::Networks,
    }
}

/// Makes the networks follow the new file. `begun` is called before the first thing is touched.
pub(super) async fn perform(
    programs: &Programs,
    job: &Job,
    begun: impl FnOnce(),
) -> StdResult<Applied, Failure> {
    // A run that was killed may have left root at work.
    let preferences = programs.fusion.preferences();
    let _turn = lock::wait(&preferences, "the end of another change of Fusion's networks", job.limit).await?;
    let path = programs.fusion.networking();
    if files::read_if_exists(&path)? != job.before {
        return Err(changed().into());
    }
    lease_files::folder(&programs.fusion)?;
    let mut log = Log::default();
    let scope = if job.resumed {
        Scope::Networks
    } else {
        // Asked before anything is touched, so that an untrusted program is found out now.
        let standing = standing(programs, job.new.as_deref(), job.vmnet, job.limit).await?;
        match scope_of(job.before.as_deref(), job.new.as_deref(), job.vmnet) {
            Scope::Nothing if standing == Standing::Right => return Ok(Applied::default()),
            Scope::Nothing if standing == Standing::Outdated => Scope::Reservations,
            Scope::Nothing => Scope::Nothing,
            Scope::Text if standing == Standing::Right => Scope::Text,
            Scope::Reservations if dhcp_runs(programs, job).await? => Scope::Reservations,
            _ => Scope::Networks,
        }
    };
    begun();
    files::sweep(&preferences)?;
    if let Some(folder) = lease_files::folder(&programs.fusion)? {
        files::sweep(&folder)?;
    }
    match scope {
        Scope::Nothing => start_only(programs, job, log).await,
        Scope::Text => text_only(programs, job, log),
        Scope::Reservations => match dhcp(programs, job, &mut log).await {
            Ok(()) => Ok(Applied { output: log.into_text(), restarted: Restarted::Dhcp }),
            Err(doubt) => {
                log.note(&format!("restarting all networks instead of one DHCP server: {doubt}"));
                // The file may be the new one by now, with Fusion's own notes.
                full(programs, job, None, log).await
            }
        },
        _ => full(programs, job, Some(job.before.as_deref()), log).await,
    }
}

/// Returns the error about a file that is not the one that a change was made from: Fusion's window overwrites it on
/// Apply.
pub(super) fn changed() -> HostError {
    refused("Fusion's networking file was changed by somebody else since it was read")
}

/// How a network's services stand to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// They run as the file says, or it wants none.
    Right,
    /// They run, but the DHCP server was given another file than this.
    Outdated,
    /// Not all that the file wants run.
    Down,
}

/// Looks how a network's services stand to a file.
pub(super) async fn standing(
    programs: &Programs,
    file: Option<&[u8]>,
    vmnet: u8,
    limit: Duration,
) -> Result<Standing> {
    let Some(document) = file.and_then(|file| Document::parse(file).ok()) else { return Ok(Standing::Right) };
    let wanted = services::wanted(&document, vmnet);
    if wanted.is_empty() {
        return Ok(Standing::Right);
    }
    let now = programs.services(limit).await?;
    let run = wanted.iter().all(|service| {
        // It tells nothing, as it may do for who is not root (§8): that Fusion has derived the network's own
        // configuration from the file is then the best sign. Guests prove the rest.
        now.runs(vmnet, *service).unwrap_or_else(|| files::exists(&look::conf(programs, vmnet)))
    });
    Ok(match run {
        false => Standing::Down,
        true if !wanted.contains(&Service::Dhcp) => Standing::Right,
        true if look::dhcp_follows(programs, &document, vmnet).is_ok() => Standing::Right,
        true => Standing::Outdated,
    })
}

/// Says whether a file wants any service for a network.
pub(super) fn wants_services(file: &[u8], vmnet: u8) -> bool {
    Document::parse(file).is_ok_and(|document| !services::wanted(&document, vmnet).is_empty())
}

async fn dhcp_runs(programs: &Programs, job: &Job) -> Result<bool> {
    Ok(programs.services(job.limit).await?.runs(job.vmnet, Service::Dhcp) == Some(true))
}

fn put(programs: &Programs, file: Option<&[u8]>) -> Result<(), String> {
    let path = programs.fusion.networking();
    let there = files::read_if_exists(&path).map_err(|error| error.to_string())?;
    let put = match file {
        Some(bytes) if there.as_deref() == Some(bytes) => Ok(()),
        Some(bytes) => files::write_keeping_owner(&path, bytes, files::PUBLIC_FILE),
        None => files::remove_file(&path),
    };
    put.map_err(|error| error.to_string())
}

/// Replaces a file that means the same as before: nothing has to read it anew.
fn text_only(programs: &Programs, job: &Job, mut log: Log) -> StdResult<Applied, Failure> {
    let try_with = |file: Option<&[u8]>| {
        let vmnets = look::vmnets_of(job.kind, job.vmnet, file);
        put(programs, file)?;
        look::file_says(programs, &Expected { file, vmnets, ran: Services::default() }).map(|_| ())
    };
    let Err(reason) = try_with(job.new.as_deref()) else {
        return Ok(Applied { output: log.into_text(), restarted: Restarted::Nothing });
    };
    log.note(PUTTING_BACK);
    let back = try_with(job.rollback.as_deref());
    Err(failed(reason, back, log))
}

/// Starts services that should run and do not. What runs is not stopped, so that no machine is cut off.
async fn start_only(programs: &Programs, job: &Job, mut log: Log) -> StdResult<Applied, Failure> {
    let file = job.new.as_deref();
    let vmnets = look::vmnets_of(job.kind, job.vmnet, file);
    let expected = Expected { file, vmnets, ran: Services::default() };
    let mut reason = String::new();
    for orders in [&[START][..], &[CONFIGURE, START]] {
        let leases = LeaseFiles::read(&programs.fusion)?;
        for order in orders {
            if let Err(complaint) = programs.obey(order, job.limit, &mut log).await {
                log.note(&format!("({complaint})"));
            }
            leases.put_back()?;
        }
        match look::look(programs, &expected, job.limit, &mut log).await {
            Ok(()) => return Ok(Applied { output: log.into_text(), restarted: Restarted::Started }),
            Err(seen) => reason = seen,
        }
    }
    Err(Failure::Tried { reason, output: log.into_text(), restored: true })
}

/// Lets one network's DHCP server alone follow the new file.
async fn dhcp(programs: &Programs, job: &Job, log: &mut Log) -> Result<(), String> {
    dhcp_only::stop(programs, job.vmnet, job.limit, log).await?;
    put(programs, job.new.as_deref())?;
    dhcp_only::start(programs, job.vmnet, job.limit, log).await?;
    let file = job.new.as_deref();
    let expected = Expected { file, vmnets: vec![job.vmnet], ran: Services::default() };
    look::look(programs, &expected, job.limit, log).await
}

/// Stops the networks, replaces the file, if `instead_of` is given only that one, starts them and looks; on failure goes
/// back the same way.
async fn full(
    programs: &Programs,
    job: &Job,
    instead_of: Option<Option<&[u8]>>,
    mut log: Log,
) -> StdResult<Applied, Failure> {
    // What does not answer now cannot be missed afterwards.
    let ran = programs.services(job.limit).await.unwrap_or_default();
    match go(programs, job, instead_of, job.new.as_deref(), &ran, &mut log).await {
        Ok(()) => Ok(Applied { output: log.into_text(), restarted: Restarted::Networks }),
        Err(Trouble::Theirs(file)) => {
            let back = follow(programs, job, file.as_deref(), &ran, &mut log).await;
            Err(failed(changed().to_string(), back, log))
        }
        Err(Trouble::Because(reason)) => {
            log.note(PUTTING_BACK);
            let back = go(programs, job, None, job.rollback.as_deref(), &ran, &mut log).await;
            Err(failed(reason, back.map_err(Trouble::into_reason), log))
        }
    }
}

/// Why the networks do not follow a file.
enum Trouble {
    /// Somebody else has written this file meanwhile: it stays.
    Theirs(Option<Vec<u8>>),
    Because(String),
}

impl Trouble {
    fn into_reason(self) -> String {
        match self {
            Self::Theirs(_) => changed().to_string(),
            Self::Because(reason) => reason,
        }
    }
}

impl From<String> for Trouble {
    fn from(reason: String) -> Self {
        Self::Because(reason)
    }
}

fn failed(reason: String, back: Result<(), String>, log: Log) -> Failure {
    let reason = match &back {
        Ok(()) => reason,
        Err(second) if *second == reason => format!("{reason}; putting it back failed in the same way"),
        Err(second) => format!("{reason}; putting it back failed too: {second}"),
    };
    Failure::Tried { reason, output: log.into_text(), restored: back.is_ok() }
}

/// Puts a file in the place of another one, if that is given and still there, while the networks are stopped.
async fn go(
    programs: &Programs,
    job: &Job,
    instead_of: Option<Option<&[u8]>>,
    file: Option<&[u8]>,
    ran: &Services,
    log: &mut Log,
) -> Result<(), Trouble> {
    // Whether it had anything to stop, and so a good exit status, is not known; what counts is seen at the end.
    if let Err(reason) = programs.obey(STOP, job.limit, log).await {
        log.note(&format!("({reason})"));
    }
    let there = files::read_if_exists(&programs.fusion.networking()).map_err(|error| error.to_string())?;
    if instead_of.is_some_and(|expected| expected != there.as_deref()) {
        return Err(Trouble::Theirs(there));
    }
    put(programs, file)?;
    Ok(follow(programs, job, file, ran, log).await?)
}

/// Makes networks that are stopped follow the file that is there; an error says what did not come about.
async fn follow(
    programs: &Programs,
    job: &Job,
    file: Option<&[u8]>,
    ran: &Services,
    log: &mut Log,
) -> Result<(), String> {
    let limit = job.limit;
    let leases = LeaseFiles::read(&programs.fusion).map_err(|error| error.to_string())?;
    // Something must be started again, whatever fails.
    let configured = programs.obey(CONFIGURE, limit, log).await;
    let kept = leases.put_back().map_err(|error| error.to_string());
    let started = programs.obey(START, limit, log).await;
    configured.and(kept)?;
    let vmnets = look::vmnets_of(job.kind, job.vmnet, file);
    let expected = Expected { file, vmnets, ran: ran.clone() };
    let looked = look::look(programs, &expected, limit, log).await;
    match (started, looked) {
        // A bad exit status, or a complaint about a network that did not run before either, is no failure of ours.
        (Err(said), Ok(())) if !expected.vmnets.iter().any(|vmnet| names(&said, *vmnet)) => {
            log.note(&format!("(but all that is wanted runs: {said})"));
            Ok(())
        }
        (started, looked) => started.and(looked),
    }
}

/// Says whether a complaint is about a network.
fn names(complaint: &str, vmnet: u8) -> bool {
    let name = format!("vmnet{vmnet}");
    complaint.split_whitespace().any(|word| word == name)
}
