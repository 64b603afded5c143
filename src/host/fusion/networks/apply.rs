//! The sequence that makes Fusion's networks follow a new file, or puts everything back.
//!
//! ```text
//! full       stop → save leases → replace the file → configure → put lost leases back → start → look
//! start      start → look; if that is not enough, configure → start → look: nothing stops
//! DHCP only  servicestop → replace the file → updatedhcpfromconfig → servicestart → look; any doubt → back, and
//!            full if nobody is cut off by it
//! text only  replace the file → look at the file
//! ```
//!
//! Right before the file is replaced it is compared with the one that the change was made from. Another one there stays,
//! and on the way back our own lines alone are taken out of it.
//!
//! It runs in this process, or in that of root (`root_step.rs`), never twice at a time: whoever runs it holds the
//! kernel's lock on the preferences folder, which ends with its process.

use std::result::Result as StdResult;
use std::time::Duration;

use super::lease_files::{self, LeaseFiles};
use super::look::{self, Expected};
use super::services::{self, CONFIGURE, Programs, START, STOP, Service, Services};
use super::{Applied, ChangeKind, Log, PUTTING_BACK, Restarted, dhcp_only, refused};
use crate::formats::networking::{self, Back, Document, Scope, scope};
use crate::host::{Aftermath, HostError, Result, files, lock};

/// A change, with all that was decided about it.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// The whole new file; none for no file.
    pub new: Option<Vec<u8>>,
    /// The file that must be there now.
    pub before: Option<Vec<u8>>,
    /// The file that comes back if the new one does not work.
    pub rollback: Option<Vec<u8>>,
    /// An earlier change was cut short, before which these services ran: nobody knows what runs, so everything is started
    /// anew.
    pub resumed: Option<Vec<(u8, Service)>>,
    /// Whether all networks may be stopped ([`Change::may_stop`](super::Change::may_stop)).
    pub may_stop: bool,
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
    /// It was tried.
    Tried { reason: String, output: String, after: Aftermath },
    /// All networks must be stopped for it, and may not.
    MustStop { reason: String, output: String, after: Aftermath },
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
            Failure::Tried { reason, output, after } | Failure::MustStop { reason, output, after } => {
                Self::Network { reason, output, after }
            }
            Failure::Unknown { reason, output } => {
                Self::Network { reason, output, after: Aftermath::Unsettled }
            }
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
    let log = Log::default();
    // Asked before anything is touched, so that an untrusted program is found out now.
    let way = match way(programs, job).await? {
        Way::Nothing => return Ok(Applied::default()),
        Way::All if !job.may_stop => return Err(must_stop()),
        Way::Dhcp if job.may_stop => Way::All,
        way => way,
    };
    begun();
    files::sweep(&preferences)?;
    if let Some(folder) = lease_files::folder(&programs.fusion)? {
        files::sweep(&folder)?;
    }
    match way {
        Way::Nothing | Way::Start => start_only(programs, job, log).await,
        Way::Text => text_only(programs, job, log),
        Way::Dhcp => one_dhcp(programs, job, log).await,
        Way::All => full(programs, job, log).await,
    }
}

/// What is done for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Everything is as wished.
    Nothing,
    /// Services that do not run are started.
    Start,
    /// The file alone is replaced.
    Text,
    /// One network's DHCP server restarts.
    Dhcp,
    /// All networks stop, and start again.
    All,
}

/// Returns the least that makes the networks follow the new file.
pub(super) async fn way(programs: &Programs, job: &Job) -> Result<Way> {
    if job.resumed.is_some() {
        return Ok(Way::All);
    }
    let standing = standing(programs, job.new.as_deref(), job.vmnet, job.limit).await?;
    Ok(match (scope_of(job.before.as_deref(), job.new.as_deref(), job.vmnet), standing) {
        (Scope::Nothing, Standing::Right) => Way::Nothing,
        (Scope::Nothing, Standing::Down) => Way::Start,
        (Scope::Nothing, Standing::Outdated) => Way::Dhcp,
        (Scope::Text, Standing::Right) => Way::Text,
        // It may tell nothing to who is not root; root asks again.
        (Scope::Reservations, _) if dhcp_runs(programs, job).await? != Some(false) => Way::Dhcp,
        _ => Way::All,
    })
}

/// Returns the answer to who has not made sure that nobody is cut off while all networks stop.
pub(super) fn must_stop() -> Failure {
    let reason = "all of Fusion's networks must restart for it".to_owned();
    Failure::MustStop { reason, output: String::new(), after: Aftermath::Untouched }
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

async fn dhcp_runs(programs: &Programs, job: &Job) -> Result<Option<bool>> {
    Ok(programs.services(job.limit).await?.runs(job.vmnet, Service::Dhcp))
}

/// Why the networks do not follow a file.
enum Trouble {
    /// Somebody else has written this file meanwhile: it stays.
    Theirs(Option<Vec<u8>>),
    Because(String),
}

impl From<String> for Trouble {
    fn from(reason: String) -> Self {
        Self::Because(reason)
    }
}

fn there(programs: &Programs) -> Result<Option<Vec<u8>>, String> {
    files::read_if_exists(&programs.fusion.networking()).map_err(|error| error.to_string())
}

/// Puts a file in the place of the one that is expected to be there still.
fn put(programs: &Programs, expected: Option<&[u8]>, file: Option<&[u8]>) -> Result<(), Trouble> {
    let there = there(programs)?;
    if there.as_deref() == file {
        return Ok(());
    }
    if there.as_deref() != expected || !write(programs, expected, file)? {
        return Err(Trouble::Theirs(self::there(programs)?));
    }
    Ok(())
}

/// Writes the file, if in the last moment the one is still there that is expected; says whether it was.
fn write(programs: &Programs, expected: Option<&[u8]>, file: Option<&[u8]>) -> Result<bool, String> {
    let path = programs.fusion.networking();
    let is_still_there = || Ok(files::read_if_exists(&path)?.as_deref() == expected);
    let written = match file {
        Some(bytes) => files::write_keeping_owner_if(&path, bytes, files::PUBLIC_FILE, is_still_there),
        None => is_still_there()
            .and_then(|is| if is { files::remove_file(&path).map(|()| true) } else { Ok(false) }),
    };
    written.map_err(|error| error.to_string())
}

/// What stands in the file's place once a change was taken back.
struct PutBack {
    file: Option<Vec<u8>>,
    /// Whether somebody else has written meanwhile, so that it is not all as before.
    others_wrote: bool,
}

/// Takes what we wrote out of the file that is there now: where nobody else has written meanwhile, the former file comes
/// back to the byte; else only what is said of our network.
fn put_back(programs: &Programs, job: &Job) -> Result<PutBack, String> {
    let there = there(programs)?;
    let vmnet = (job.kind == ChangeKind::OfOneNetwork).then_some(job.vmnet);
    let back = match &there {
        Some(now) if there != job.before => {
            networking::take_back(now, job.new.as_deref(), job.rollback.as_deref(), vmnet)
        }
        _ => Back::Former,
    };
    let (file, others_wrote) = match back {
        Back::Former => (job.rollback.clone(), false),
        Back::Merged(file) => (Some(file), true),
        Back::Theirs => return Err(format!("{}: it stays as it is", changed_meanwhile())),
    };
    if file != there && !write(programs, there.as_deref(), file.as_deref())? {
        return Err(format!("{}, and again: it stays as it is", changed_meanwhile()));
    }
    Ok(PutBack { file, others_wrote })
}

fn changed_meanwhile() -> &'static str {
    "somebody else wrote in Fusion's networking file meanwhile"
}

/// Replaces a file that means the same as before: nothing has to read it anew.
fn text_only(programs: &Programs, job: &Job, mut log: Log) -> StdResult<Applied, Failure> {
    let says = |file: Option<&[u8]>| {
        let vmnets = look::vmnets_of(job.kind, job.vmnet, file);
        look::file_says(programs, &Expected { file, vmnets, ran: Services::default() }).map(|_| ())
    };
    let file = job.new.as_deref();
    let reason = match put(programs, job.before.as_deref(), file) {
        Err(Trouble::Theirs(_)) => return Err(changed().into()),
        Err(Trouble::Because(reason)) => reason,
        Ok(()) => match says(file) {
            Ok(()) => return Ok(Applied { output: log.into_text(), restarted: Restarted::Nothing }),
            Err(reason) => reason,
        },
    };
    log.note(PUTTING_BACK);
    let back =
        put_back(programs, job).and_then(|back| says(back.file.as_deref()).map(|()| back.others_wrote));
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
        let mut kept = Ok(());
        for order in orders {
            if let Err(complaint) = programs.obey(order, job.limit, &mut log).await {
                log.note(&format!("({complaint})"));
            }
            kept = kept.and(leases.put_back());
        }
        kept?;
        match look::look(programs, &expected, job.limit, &mut log).await {
            Ok(()) => return Ok(Applied { output: log.into_text(), restarted: Restarted::Started }),
            Err(seen) => reason = seen,
        }
    }
    Err(Failure::Tried { reason, output: log.into_text(), after: Aftermath::AsBefore })
}

/// Restarts one network's DHCP server with the new file; on any doubt it gets the old one again, and all networks must
/// restart.
async fn one_dhcp(programs: &Programs, job: &Job, mut log: Log) -> StdResult<Applied, Failure> {
    let trouble = match dhcp(programs, job, &mut log).await {
        Ok(()) => return Ok(Applied { output: log.into_text(), restarted: Restarted::Dhcp }),
        Err(trouble) => trouble,
    };
    match trouble {
        Trouble::Theirs(file) => {
            let back = run_dhcp(programs, job, file.as_deref(), &mut log).await;
            Err(failed(changed().to_string(), back.map(|()| false), log))
        }
        Trouble::Because(reason) => {
            log.note(PUTTING_BACK);
            match dhcp_back(programs, job, &mut log).await {
                Ok(true) => Err(failed(reason, Ok(true), log)),
                back => Err(Failure::MustStop { reason, output: log.into_text(), after: after(&back) }),
            }
        }
    }
}

/// Takes the change back, and lets the DHCP server run as before; says whether somebody else wrote meanwhile.
async fn dhcp_back(programs: &Programs, job: &Job, log: &mut Log) -> Result<bool, String> {
    if let Err(reason) = dhcp_only::stop(programs, job.vmnet, job.limit, log).await {
        log.note(&format!("({reason})"));
    }
    let back = put_back(programs, job);
    let file = match &back {
        Ok(back) => back.file.clone(),
        Err(_) => there(programs).ok().flatten(),
    };
    let runs = run_dhcp(programs, job, file.as_deref(), log).await;
    let back = back?;
    runs.map(|()| back.others_wrote)
}

/// Starts one network's DHCP server again with the file that is there. What is seen counts, whatever its program says.
async fn run_dhcp(programs: &Programs, job: &Job, file: Option<&[u8]>, log: &mut Log) -> Result<(), String> {
    if let Err(reason) = dhcp_only::start(programs, job.vmnet, job.limit, log).await {
        log.note(&format!("({reason})"));
    }
    look_at_dhcp(programs, job, file, log).await
}

async fn look_at_dhcp(
    programs: &Programs,
    job: &Job,
    file: Option<&[u8]>,
    log: &mut Log,
) -> Result<(), String> {
    let expected = Expected { file, vmnets: vec![job.vmnet], ran: Services::default() };
    look::look(programs, &expected, job.limit, log).await
}

/// Lets one network's DHCP server alone follow the new file.
async fn dhcp(programs: &Programs, job: &Job, log: &mut Log) -> Result<(), Trouble> {
    dhcp_only::stop(programs, job.vmnet, job.limit, log).await?;
    put(programs, job.before.as_deref(), job.new.as_deref())?;
    dhcp_only::start(programs, job.vmnet, job.limit, log).await?;
    Ok(look_at_dhcp(programs, job, job.new.as_deref(), log).await?)
}

/// Stops the networks, replaces the file, starts them and looks; on failure goes back the same way.
async fn full(programs: &Programs, job: &Job, mut log: Log) -> StdResult<Applied, Failure> {
    // What does not answer now cannot be missed afterwards, but for what an earlier change of ours has stopped.
    let ran = programs.services(job.limit).await.unwrap_or_default();
    let ran = ran.and(job.resumed.as_deref().unwrap_or_default());
    match go(programs, job, &ran, &mut log).await {
        Ok(()) => Ok(Applied { output: log.into_text(), restarted: Restarted::Networks }),
        Err(Trouble::Theirs(file)) => {
            let back = follow(programs, job, file.as_deref(), &ran, &mut log).await;
            Err(failed(changed().to_string(), back.map(|()| false), log))
        }
        Err(Trouble::Because(reason)) => {
            log.note(PUTTING_BACK);
            let back = go_back(programs, job, &ran, &mut log).await;
            Err(failed(reason, back, log))
        }
    }
}

/// Returns what a change left that was taken back, or not for a reason.
fn after<T>(back: &Result<T, String>) -> Aftermath {
    if back.is_ok() { Aftermath::AsBefore } else { Aftermath::Unsettled }
}

/// Returns the failure of a change that was taken back; `back` says whether somebody else wrote meanwhile, or what keeps
/// things from being as before.
fn failed(reason: String, back: Result<bool, String>, log: Log) -> Failure {
    let reason = match &back {
        Ok(false) => reason,
        Ok(true) => format!("{reason}; {}: only our own lines were taken back", changed_meanwhile()),
        Err(second) if *second == reason => format!("{reason}; putting it back failed in the same way"),
        Err(second) => format!("{reason}; putting it back failed too: {second}"),
    };
    Failure::Tried { reason, output: log.into_text(), after: after(&back) }
}

/// Puts the new file in the place of the one from before, if that is still there, while the networks are stopped.
async fn go(programs: &Programs, job: &Job, ran: &Services, log: &mut Log) -> Result<(), Trouble> {
    stop(programs, job, log).await;
    put(programs, job.before.as_deref(), job.new.as_deref())?;
    Ok(follow(programs, job, job.new.as_deref(), ran, log).await?)
}

/// Takes the change back while the networks are stopped. They are started again whatever fails: a disk that is full keeps
/// the file from being replaced, and must not keep others' machines without a network.
async fn go_back(programs: &Programs, job: &Job, ran: &Services, log: &mut Log) -> Result<bool, String> {
    stop(programs, job, log).await;
    let back = put_back(programs, job);
    let file = match &back {
        Ok(back) => back.file.clone(),
        Err(_) => there(programs).ok().flatten(),
    };
    let followed = follow(programs, job, file.as_deref(), ran, log).await;
    let back = back?;
    followed.map(|()| back.others_wrote)
}

/// Stops the networks. Whether it had anything to stop, and so a good exit status, is not known; what counts is seen at the
/// end.
async fn stop(programs: &Programs, job: &Job, log: &mut Log) {
    if let Err(reason) = programs.obey(STOP, job.limit, log).await {
        log.note(&format!("({reason})"));
    }
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
    // Something must be started again, whatever fails.
    let leases = LeaseFiles::read(&programs.fusion);
    let configured = programs.obey(CONFIGURE, limit, log).await;
    let kept = leases.and_then(|leases| leases.put_back()).map_err(|error| error.to_string());
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
