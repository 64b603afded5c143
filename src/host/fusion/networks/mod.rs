//! Fusion's networks: their database file, and the programs that make the services follow it.
//!
//! ```text
//! apply.rs      the sequence        services.rs    vmnet-cli       dhcp_only.rs   vmnet-cfgcli
//! look.rs       what is seen then   backups.rs     the files before  lease_files.rs  what configure loses
//! unfinished.rs pending.json        root_step.rs, request.rs, sudoers.rs  the same as root
//! ```
//!
//! A change is a transaction. Whatever kills it, the next change finds one of these states and brings either the wished
//! file with running networks, or the file from before with the networks as they were:
//!
//! | killed | on the disk | what the next change does |
//! |---|---|---|
//! | before the backup is whole | nothing, or a file `.fusionlab-*` among the backups | as if nothing had been; the leftover is removed |
//! | before `pending.json` | one more backup | as if nothing had been; a backup of the same bytes is used again |
//! | after `pending.json`, before stop | old file, networks run | restarts everything: it cannot know that they run |
//! | after stop, before the replacement | old file, networks stopped | restarts everything |
//! | in the replacement | old file, perhaps `.fusionlab-*` beside it | the same; the leftover is removed |
//! | after the replacement, before start | new file, networks stopped | restarts everything with the file wished now |
//! | while the old file comes back | old or new file, networks stopped | restarts everything with the file wished now |
//! | after start, before `pending.json` goes | new file, networks run | restarts everything once more than needed |
//! | while root works and we are killed | root goes on to its end | waits for root's lock on the folder, then as above |
//!
//! What somebody else writes in the file meanwhile stays, whenever that is (docs/network.md): a change is refused where its
//! file is another one by then, and taken back line by line where it has been written already.
//!
//! A resumed change that fails goes back to the file from before the *first* change that was cut short, since what is
//! there may be half of something, and what ran before that one must run again. Only the contents of lease files that
//! `configure` loses are kept in memory alone: if a run is killed just then, guests without a reservation get other
//! addresses; those with one are not in there anyway.

use std::ffi::OsString;
use std::path::PathBuf;
use std::result::Result as StdResult;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Fusion;
use crate::formats::dhcp::{self, Lease};
use crate::formats::hardware_ports;
use crate::formats::networking::Scope;
use crate::formats::routes::{self, Route};
use crate::host::files::{self, Ownership};
use crate::host::process::Finished;
use crate::host::{Aftermath, HostError, Result, clock, system};

mod apples;
mod apply;
mod backups;
mod dhcp_only;
mod lease_files;
mod look;
mod request;
pub mod root_step;
mod services;
pub mod sudoers;
#[cfg(test)]
mod tests;
mod unfinished;

use apply::{Failure, Job, Standing, Way};
pub use backups::Backup;
use services::Programs;
pub use services::{Service, Services};
pub use unfinished::Unfinished;
use unfinished::{Before, Pending};

/// Stands in the output of a change that failed, between what was tried and the way back.
pub const PUTTING_BACK: &str = "putting the old file back";
pub const BACKUPS: &str = "backups";
const NETSTAT: &str = "usr/sbin/netstat";
const NETWORKSETUP: &str = "usr/sbin/networksetup";
const PGREP: &str = "usr/bin/pgrep";
/// The process of Fusion's window.
const WINDOW: &str = "VMware Fusion";

/// The networks of one Fusion.
#[derive(Clone, Debug)]
pub struct Networks {
    fusion: Fusion,
    programs: Programs,
    /// Where what must survive a crash is kept: backups, the change under way, the request to root.
    folder: PathBuf,
}

/// A change of the networking file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The whole new file; none for no file.
    pub new: Option<Vec<u8>>,
    /// The file that `new` was made from; none if there was none. Another one now is refused.
    pub expect_before: Option<Vec<u8>>,
    /// The network that the change is about: its services are looked at afterwards.
    pub vmnet: u8,
    pub kind: ChangeKind,
    /// Whether all networks may be stopped, should it take that: nobody else's VM was seen to run just now. Without it the
    /// answer is [`Outcome::MustStop`].
    pub may_stop: bool,
    /// What makes the change, such as `up`: a run that finds it unfinished names it.
    pub verb: String,
    /// Limit of each of the programs' steps (`Limits::network_apply`).
    pub limit: Duration,
}

/// How much of the file a change may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// What is said of one network; root accepts nothing else.
    OfOneNetwork,
    /// Everything: a backup is put back.
    WholeFile,
}

/// What came of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Applied(Applied),
    /// All networks must be stopped for it, and [`Change::may_stop`] does not say that they may. One network's DHCP
    /// server may have been tried alone.
    MustStop {
        reason: String,
        output: String,
        after: Aftermath,
    },
}

/// What an applied change did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// What the programs printed.
    pub output: String,
    pub restarted: Restarted,
}

/// What a change restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restarted {
    #[default]
    Nothing,
    /// Nothing, but what did not run was started.
    Started,
    /// The DHCP server of the one network.
    Dhcp,
    /// All of Fusion's networks.
    Networks,
}

/// How the root step would become root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootAccess {
    /// It need not: we are root, or the file is ours.
    NotNeeded,
    /// sudo lets us in without a password.
    WithoutPassword,
    /// sudo will ask for a password, or refuse.
    WithPassword,
}

impl Networks {
    /// `folder` is kept from one run to the next, by one user alone.
    pub fn new(fusion: Fusion, folder: PathBuf) -> Self {
        Self { programs: Programs::new(fusion.clone()), fusion, folder }
    }

    /// Returns the networking file; none if Fusion has not written one yet.
    pub fn read(&self) -> Result<Option<Vec<u8>>> {
        files::read_if_exists(&self.fusion.networking())
    }

    /// Returns who owns the networking file; none if there is none.
    pub fn owner(&self) -> Result<Option<Ownership>> {
        let path = self.fusion.networking();
        if files::exists(&path) { files::ownership(&path).map(Some) } else { Ok(None) }
    }

    /// Says whether the services that the file wants for a network run as it says: NAT, and DHCP with its reservations.
    pub async fn services_running(&self, vmnet: u8, limit: Duration) -> Result<bool> {
        let Some(file) = self.read()? else { return Ok(false) };
        if !apply::wants_services(&file, vmnet) {
            return Ok(false);
        }
        Ok(apply::standing(&self.programs, Some(&file), vmnet, limit).await? == Standing::Right)
    }

    /// Asks which services run.
    pub async fn services(&self, limit: Duration) -> Result<Services> {
        self.programs.services(limit).await
    }

    /// Says whether changing the file takes another user: root.
    pub fn needs_root(&self) -> bool {
        let file = self.fusion.networking();
        let is_ours = files::is_writable(&self.fusion.preferences())
            && (!files::exists(&file) || files::is_writable(&file));
        !(is_ours || system::is_root())
    }

    /// Makes the networks follow a new file, or puts everything back ([`HostError::Network`]).
    ///
    /// Once begun it goes to its end, even if the caller is not interested any more.
    pub async fn apply(&self, change: &Change) -> Result<Outcome> {
        let (networks, change) = (self.clone(), change.clone());
        let task = tokio::spawn(async move { networks.carry_out(change).await });
        task.await.unwrap_or(Err(HostError::Interrupted))
    }

    async fn carry_out(&self, change: Change) -> Result<Outcome> {
        let Change { new, expect_before, vmnet, kind, may_stop, verb, limit } = change;
        let before = self.read()?;
        if before != expect_before {
            return Err(apply::changed());
        }
        apples::refuse(self, before.as_deref())?;
        let earlier = unfinished::read(&self.folder)?;
        let (rollback, doubt) = match &earlier {
            Some(earlier) => self.way_back(earlier, kind, vmnet, before.clone()),
            None => (before.clone(), None),
        };
        let resumed = earlier.as_ref().map(|earlier| earlier.ran.clone());
        let job = Job { new, before, rollback, resumed, may_stop, vmnet, kind, limit };
        match self.way(&job).await? {
            Way::Nothing => return Ok(Outcome::Applied(Applied::default())),
            // Before anybody is asked for a password.
            Way::All if !may_stop => return understand(Err(apply::must_stop()), None),
            _ => {}
        }
        let ran = match &job.resumed {
            Some(ran) => ran.clone(),
            None => self.services(limit).await.unwrap_or_default().running().to_vec(),
        };
        let needed = self.write_down(&job, earlier.as_ref(), &verb, ran)?;
        let outcome = if self.needs_root() {
            root_step::ask_root(&self.folder, &self.fusion, &job).await
        } else {
            apply::perform(&self.programs, &job, || {}).await
        };
        let noted = self.note_end(&outcome, earlier.as_ref());
        // What came of it counts more than what could not be tidied up.
        let pruned = backups::prune(&self.backups_folder(), needed.as_deref()).err();
        let untidy = pruned.map(|error| format!("(an old backup stays: {error})"));
        let outcome = understand(outcome, doubt.into_iter().chain(untidy))?;
        noted.map(|()| outcome)
    }

    /// Returns what a change takes. Where the files alone tell, the programs are not asked.
    async fn way(&self, job: &Job) -> Result<Way> {
        match apply::scope_of(job.before.as_deref(), job.new.as_deref(), job.vmnet) {
            Scope::Networks => Ok(Way::All),
            _ => apply::way(&self.programs, job).await,
        }
    }

    /// Forgets the change that was under way, if its outcome was seen.
    fn note_end(&self, outcome: &StdResult<Applied, Failure>, earlier: Option<&Pending>) -> Result<()> {
        match outcome {
            // Nobody knows what runs now; the next change sees to it.
            Err(
                Failure::Unknown { .. }
                | Failure::Tried { after: Aftermath::Unsettled, .. }
                | Failure::MustStop { after: Aftermath::Unsettled, .. },
            ) => Ok(()),
            Err(Failure::Untouched(_)) if earlier.is_some() => {
                earlier.map_or(Ok(()), |earlier| earlier.write(&self.folder))
            }
            _ => unfinished::remove(&self.folder),
        }
    }

    /// Returns the file to go back to if a resumed change fails: the one from before the change that was cut short.
    ///
    /// If others' networks were changed since, that file would undo it, and root would not accept it: then it is the one
    /// that is there. So it is, with a word about it, if the backup is gone or damaged.
    fn way_back(
        &self,
        earlier: &Pending,
        kind: ChangeKind,
        vmnet: u8,
        now: Option<Vec<u8>>,
    ) -> (Option<Vec<u8>>, Option<String>) {
        match earlier.before(&self.backups_folder()) {
            Ok(oldest) if request::is_acceptable(kind, now.as_deref(), oldest.as_deref(), vmnet) => {
                (oldest, None)
            }
            Ok(_) => (now, None),
            Err(error) => {
                (now, Some(format!("(the file from before the unfinished change is lost: {error})")))
            }
        }
    }

    /// Writes down what is about to be done, the file as it is, and what ran before the first change; returns the backup that
    /// must be kept.
    fn write_down(
        &self,
        job: &Job,
        earlier: Option<&Pending>,
        verb: &str,
        ran: Vec<(u8, Service)>,
    ) -> Result<Option<String>> {
        files::create_private_dir(&self.folder)?;
        let folder = self.backups_folder();
        let kept = |bytes: &Vec<u8>| -> Result<Before> {
            Ok(Before { backup: backups::keep(&folder, bytes)?, digest: backups::digest(bytes) })
        };
        let before = job.before.as_ref().map(kept).transpose()?;
        let before = earlier.map_or(before, |earlier| earlier.before.clone());
        let needed = before.as_ref().map(|before| before.backup.clone());
        let since = clock::rfc3339(clock::now());
        Pending::new(job, verb, since, before, ran).write(&self.folder)?;
        Ok(needed)
    }

    /// Returns the change that an earlier run began and whose outcome nobody has seen.
    pub fn unfinished(&self) -> Result<Option<Unfinished>> {
        Ok(unfinished::read(&self.folder)?.map(Pending::unfinished))
    }

    /// Returns the networking file as it was before each of our changes, newest first.
    pub fn backups(&self) -> Result<Vec<Backup>> {
        backups::list(&self.backups_folder())
    }

    /// Reads a backup by its name; the beginning of the name or of the digest is enough if it is the only one.
    pub fn read_backup(&self, name: &str) -> Result<Vec<u8>> {
        backups::read(&self.backups_folder(), name)
    }

    fn backups_folder(&self) -> PathBuf {
        self.folder.join(BACKUPS)
    }

    /// Returns what a network's DHCP server is configured by; none if there is no such file.
    pub fn dhcpd_conf(&self, vmnet: u8) -> Result<Option<String>> {
        text(&look::conf(&self.programs, vmnet))
    }

    /// Returns what a network's NAT service is configured by; none if there is no such file.
    pub fn nat_conf(&self, vmnet: u8) -> Result<Option<String>> {
        text(&self.fusion.preferences().join(format!("vmnet{vmnet}/nat.conf")))
    }

    /// Returns what a network's DHCP server wrote down of its leases, oldest first; reserved addresses are not there.
    pub fn leases(&self, vmnet: u8) -> Result<Vec<Lease>> {
        Ok(text(&self.fusion.leases(vmnet))?.map(|text| dhcp::leases(&text)).unwrap_or_default())
    }

    /// Returns why root must not change these networks, a line each; empty if it may.
    pub fn distrusted(&self) -> Vec<String> {
        request::distrust(&self.fusion).iter().map(ToString::to_string).collect()
    }

    /// Returns the host's IPv4 routes; none if there is no program that tells them.
    pub async fn routes(&self, limit: Duration) -> Result<Option<Vec<Route>>> {
        let netstat = self.fusion.root.join(NETSTAT);
        if !files::exists(&netstat) {
            return Ok(None);
        }
        let told = self.programs.run_at(&netstat, &["-rn", "-f", "inet"], limit).await?;
        if told.success() { Ok(Some(routes::parse(&told.text()))) } else { Ok(None) }
    }

    /// Returns the Mac's interfaces that are Wi-Fi. It is a matter of a warning only, so whatever keeps us from knowing
    /// is as good as none.
    pub async fn wifi(&self, limit: Duration) -> Vec<String> {
        let networksetup = self.fusion.root.join(NETWORKSETUP);
        if !files::exists(&networksetup) {
            return Vec::new();
        }
        let told = self.programs.run_at(&networksetup, &["-listallhardwareports"], limit).await;
        told.map(|told| hardware_ports::wifi(&told.text())).unwrap_or_default()
    }

    /// Says whether Fusion's window is open; it is not where there is no program that could tell.
    pub async fn window_open(&self, limit: Duration) -> Result<bool> {
        let pgrep = self.fusion.root.join(PGREP);
        if !files::exists(&pgrep) {
            return Ok(false);
        }
        Ok(self.programs.run_at(&pgrep, &["-x", WINDOW], limit).await?.success())
    }

    /// Says how the root step for a network would become root. Nobody is asked for a password.
    pub async fn root_access(&self, vmnet: u8, limit: Duration) -> Result<RootAccess> {
        if !self.needs_root() {
            return Ok(RootAccess::NotNeeded);
        }
        Ok(match self.lets_in(ChangeKind::OfOneNetwork, vmnet, limit).await {
            Ok(true) => RootAccess::WithoutPassword,
            // Without a sudo there is no way at all; that is said when it is needed.
            Ok(false) | Err(HostError::Spawn { .. }) => RootAccess::WithPassword,
            // What root has against these networks is told by `distrusted`.
            Err(HostError::Network { .. } | HostError::Untrusted { .. }) => RootAccess::WithoutPassword,
            Err(error) => return Err(error),
        })
    }

    /// Becomes able to run the root step: without a password, or by letting `sudo` ask for it now, where somebody can
    /// answer. Says whether that worked.
    ///
    /// # Errors
    /// If root refuses to change these networks, which is better known before anything else is begun.
    pub async fn authenticate(
        &self,
        kind: ChangeKind,
        vmnet: u8,
        can_ask: bool,
        limit: Duration,
    ) -> Result<bool> {
        Ok(self.lets_in(kind, vmnet, limit).await? || (can_ask && root_step::ask_password(limit).await?))
    }

    async fn lets_in(&self, kind: ChangeKind, vmnet: u8, limit: Duration) -> Result<bool> {
        let file = self.read()?;
        let (new, before, rollback) = (file.clone(), file.clone(), file);
        let job = Job { new, before, rollback, resumed: None, may_stop: true, vmnet, kind, limit };
        root_step::lets_in(&self.folder, &self.fusion, &job).await
    }

    /// Returns the command that a change runs as root.
    pub fn root_command(&self, kind: ChangeKind, vmnet: u8) -> Result<Vec<OsString>> {
        root_step::command(&self.folder, kind, vmnet)
    }

    /// Returns the sudoers file that lets this user change one network without a password ([`sudoers`]).
    pub fn sudoers(&self, vmnet: u8) -> Result<String> {
        sudoers::text(&root_step::own_program()?, vmnet, &root_step::request_file(&self.folder))
    }
}

/// Returns what came of a change, with these words before what the programs printed.
fn understand(
    outcome: StdResult<Applied, Failure>,
    words: impl IntoIterator<Item = String>,
) -> Result<Outcome> {
    match outcome {
        Ok(applied) => {
            let output = words.into_iter().map(|word| word + "\n").chain([applied.output]).collect();
            Ok(Outcome::Applied(Applied { output, ..applied }))
        }
        Err(Failure::MustStop { reason, output, after }) => Ok(Outcome::MustStop { reason, output, after }),
        Err(failure) => Err(failure.into()),
    }
}

/// Returns the error about something that was refused before anything was touched.
fn refused(reason: &str) -> HostError {
    HostError::Network { reason: reason.to_owned(), output: String::new(), after: Aftermath::Untouched }
}

fn text(path: &std::path::Path) -> Result<Option<String>> {
    Ok(files::read_if_exists(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// What the programs were told and what they printed.
#[derive(Debug, Default)]
struct Log(String);

impl Log {
    fn ran(&mut self, program: &str, args: &[&str], finished: &Finished) {
        self.0.push_str(&format!("$ {program} {}\n", args.join(" ")));
        self.note(&finished.output());
    }

    fn note(&mut self, text: &str) {
        if !text.is_empty() {
            self.0.push_str(text);
            self.0.push('\n');
        }
    }

    fn into_text(self) -> String {
        self.0
    }
}
