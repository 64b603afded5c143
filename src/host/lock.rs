//! A lock file that says who holds it, and that the kernel lets go of when its holder dies.
//!
//! ```text
//! acquire ─▶ flock(2) ─▶ the holder's text ─▶ a touch every few seconds … ─▶ drop: the text goes, then the lock
//!              │ held by another: who, since when, is its process there, when was it last heard of
//! ```
//!
//! The kernel's lock on the open file is the lock; the file's text is a lease for people, and for the words to them. So a
//! killed run never leaves a stale lock: whoever comes next gets it, and learns from the text whose work was cut short.
//! A run that is stopped (Ctrl-Z, a debugger) keeps the lock and touches the file no more, which is said.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::stand_in::{self, Effect};
use super::{HostError, Result, clock, files, sync, system};

/// A holder writes its name just after it has the lock; a reader in between waits for it.
const BODY_TRIES: u32 = 10;
const BODY_PAUSE: Duration = Duration::from_millis(20);
const WAIT_PAUSE: Duration = Duration::from_millis(50);
/// How often a holder touches its lock.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A holder that is silent for longer than this does not run: many heartbeats, since a Mac that wakes up is slow.
const SILENCE: Duration = Duration::from_secs(60);

/// A process of this machine, told from a later one that has its number, and what it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    /// When the process began, in the system's own count; empty if it does not say.
    #[serde(default)]
    pub started: String,
    /// Tells this boot's processes from those of an earlier one with the same numbers.
    pub boot: String,
    /// What it does, such as `up`.
    pub verb: String,
    /// Since when, in RFC 3339.
    pub since: String,
    /// The same in seconds since 1970; 0 if an earlier version wrote it.
    #[serde(default)]
    pub since_seconds: u64,
}

impl Holder {
    /// Returns this process.
    pub fn ourselves(verb: &str) -> Self {
        let (pid, now) = (std::process::id(), clock::now());
        Self {
            pid,
            started: system::start_of(pid).unwrap_or_default(),
            boot: system::boot_id(),
            verb: verb.to_owned(),
            since: clock::rfc3339(now),
            since_seconds: now,
        }
    }

    /// Says whether that very process runs, and not a later one of its number.
    pub fn is_alive(&self) -> bool {
        self.boot == system::boot_id()
            && system::is_process(self.pid)
            && (self.started.is_empty()
                || system::start_of(self.pid).is_none_or(|started| started == self.started))
    }

    /// Returns since when, in words: the time of day, with the date if that is another one.
    pub fn since_when(&self) -> String {
        if self.since_seconds == 0 { self.since.clone() } else { clock::moment(self.since_seconds) }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({}, since {})", self.pid, self.verb, self.since_when())
    }
}

/// What is known of whoever has a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    /// None if it has not written its name.
    pub holder: Option<Holder>,
    pub life: Life,
}

impl Occupant {
    fn of(holder: Option<Holder>, file: &File) -> Self {
        let silence = Duration::from_millis(clock::now_ms().saturating_sub(heard(file)));
        let life = match &holder {
            Some(holder) if !holder.is_alive() => Life::Unseen,
            Some(_) if silence > SILENCE => Life::Silent(silence),
            _ => Life::Works,
        };
        Self { holder, life }
    }
}

/// Whether a lock's holder works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Works,
    /// Its process is there, but has not touched the lock for so long: it is stopped.
    Silent(Duration),
    /// No process of this machine has the name that is in the lock: another machine or container shares the folder.
    Unseen,
    /// It is gone, and a program that it began goes on.
    Outlived,
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.holder {
            Some(holder) => holder.fmt(f)?,
            None => f.write_str("a process that has not said its name")?,
        }
        match self.life {
            Life::Works => Ok(()),
            Life::Silent(_) => f.write_str(", which may be stopped"),
            Life::Unseen => f.write_str(", which does not run on this Mac"),
            Life::Outlived => f.write_str(", which is gone, while a program that it began goes on"),
        }
    }
}

/// What a lock's file says, whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Whoever has the lock, or had it last and ended without letting go.
    pub holder: Holder,
    pub held: bool,
    /// When it last touched the lock, in milliseconds since 1970.
    pub heard_ms: u64,
}

/// A held lock; released when dropped, and by the kernel when this process ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
    /// Whoever held it before and ended without letting go.
    pub taken_over: Option<Trace>,
    /// Touches the file while the lock is held.
    heart: Option<JoinHandle<()>>,
}

/// Takes the lock at `path`, or says who has it ([`HostError::Locked`]). `what` is said in that error.
pub fn acquire(path: &Path, what: &str, verb: &str) -> Result<Lock> {
    if let Some(folder) = path.parent() {
        files::create_dir(folder)?;
    }
    // Never renamed and never removed: another process may have it open, waiting for its turn.
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(files::PRIVATE_FILE);
    let open = || stand_in::before(Effect::Create(path)).and_then(|()| options.open(path));
    let mut file = open().map_err(HostError::file("open lock", path))?;
    take(&mut file, path, what)?;
    let taken_over =
        read_holder(&mut file).map(|holder| Trace { holder, held: false, heard_ms: heard(&file) });
    let mut lock = Lock { file, path: path.to_owned(), taken_over, heart: None };
    match lock.write_holder(&Holder::ourselves(verb)) {
        // It is held all the same; and whoever takes a lab down is about to make room.
        Err(error) if error.is_out_of_room() => drop(lock.file.set_len(0)),
        written => written?,
    }
    lock.heart = heart(path);
    Ok(lock)
}

/// Takes the kernel's lock on an open file. Whoever looks at a lock ([`trace`]) has a share in it for a moment, so that
/// one which nobody who lives has his name in is tried again.
fn take(file: &mut File, path: &Path, what: &str) -> Result<()> {
    let mut tries = BODY_TRIES;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(HostError::file("lock", path)(error)),
        }
        tries -= 1;
        let holder = read_holder(file);
        if tries == 0 || holder.as_ref().is_some_and(Holder::is_alive) {
            return Err(HostError::Locked {
                what: what.to_owned(),
                by: Box::new(Occupant::of(holder, file)),
            });
        }
        clock::pause_blocking(BODY_PAUSE);
    }
}

/// Takes the lock as [`acquire`] does, and waits for whoever has it, as long as `limit`. `tell` hears of the holder
/// first, and again of each that comes between.
pub async fn acquire_within(
    path: &Path,
    what: &str,
    verb: &str,
    limit: Duration,
    tell: &mut dyn FnMut(&Occupant),
) -> Result<Lock> {
    let until = clock::monotonic() + limit;
    let mut told = None;
    loop {
        match acquire(path, what, verb) {
            Err(HostError::Locked { by, .. }) if clock::monotonic() < until => {
                let pid = by.holder.as_ref().map(|holder| holder.pid);
                if told != Some(pid) {
                    tell(&by);
                    told = Some(pid);
                }
                clock::pause(WAIT_PAUSE).await;
            }
            other => return other,
        }
    }
}

/// Waits for the kernel's lock on a file or folder that exists, which nobody's name is written to. It is held until what
/// is returned is dropped, or this process ends. `what` is what is waited for, in the error of a wait that took too long.
pub async fn wait(path: &Path, what: &str, limit: Duration) -> Result<File> {
    let file = files::open(path)?;
    let until = clock::monotonic() + limit;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if clock::monotonic() < until => clock::pause(WAIT_PAUSE).await,
            Err(TryLockError::WouldBlock) => {
                return Err(HostError::Deadline { what: what.to_owned(), limit });
            }
            Err(TryLockError::Error(error)) => return Err(HostError::file("lock", path)(error)),
        }
    }
}

/// A share in a lock, of a run and of the programs that it begins meanwhile ([`process::outlived`]). It ends when this is
/// dropped; of a killed run, when the last of these programs ends.
///
/// [`process::outlived`]: super::process::outlived
#[derive(Debug)]
pub struct Share(File);

impl Share {
    /// Returns the open file, for a program to keep.
    pub fn file(&self) -> &File {
        &self.0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // Also for a program that has it and goes on, such as a service of Fusion's that an order has started. A killed
        // process lets go of nothing.
        if !stand_in::is_dead() {
            let _ = self.0.unlock();
        }
    }
}

/// Takes a share in the lock at `path`. Whoever wants it alone waits with [`wait`], and lets go at once.
pub fn share(path: &Path) -> Result<Share> {
    let file = files::open_or_create(path, files::PRIVATE_FILE)?;
    file.lock_shared().map_err(HostError::file("lock", path))?;
    Ok(Share(file))
}

/// Returns who holds the lock at `path`; none if it is free or was never taken.
pub fn holder(path: &Path) -> Result<Option<Holder>> {
    Ok(trace(path)?.filter(|trace| trace.held).map(|trace| trace.holder))
}

/// Returns what the lock at `path` says of whoever has it or was killed with it; none if it is free in good order.
/// Nothing is changed.
pub fn trace(path: &Path) -> Result<Option<Trace>> {
    let mut file = match OpenOptions::new().read(true).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(HostError::file("open lock", path))?,
    };
    let held = match file.try_lock_shared() {
        Ok(()) => false,
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(error)) => return Err(HostError::file("lock", path)(error)),
    };
    let holder = if held { await_holder(&mut file) } else { read_holder(&mut file) };
    Ok(holder.map(|holder| Trace { holder, held, heard_ms: heard(&file) }))
}

impl Lock {
    fn write_holder(&mut self, holder: &Holder) -> Result<()> {
        let mut text = serde_json::to_string(holder).expect("a holder is plain data");
        text.push('\n');
        let mut write = || {
            self.file.set_len(0)?;
            self.file.rewind()?;
            stand_in::write(&mut self.file, &self.path, text.as_bytes())?;
            stand_in::before(Effect::Sync(&self.path))?;
            sync::to_disk(&self.file)
        };
        write().map_err(HostError::file("write lock", &self.path))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(heart) = &self.heart {
            heart.abort();
        }
        // An empty file tells the next holder that this one ended in good order; a killed process leaves its name.
        if !stand_in::is_dead() {
            let _ = self.file.set_len(0);
        }
        let _ = self.file.unlock();
    }
}

/// Starts to touch a held lock's file; nothing outside a runtime, where no lock is held for long.
fn heart(path: &Path) -> Option<JoinHandle<()>> {
    let runtime = tokio::runtime::Handle::try_current().ok()?;
    // Opened anew: a copy of the open file would have the lock as well, and longer than its holder.
    let file = OpenOptions::new().write(true).open(path).ok()?;
    Some(runtime.spawn(async move {
        loop {
            clock::pause(HEARTBEAT).await;
            // A lease that cannot be renewed is still held: the kernel says so.
            let _ = file.set_modified(clock::system_time(clock::now_ms()));
        }
    }))
}

/// Returns when a lock's file was last touched, in milliseconds since 1970.
fn heard(file: &File) -> u64 {
    let modified = file.metadata().and_then(|facts| facts.modified());
    modified.map_or(0, clock::milliseconds)
}

fn await_holder(file: &mut File) -> Option<Holder> {
    for _ in 0..BODY_TRIES {
        if let Some(holder) = read_holder(file) {
            return Some(holder);
        }
        clock::pause_blocking(BODY_PAUSE);
    }
    None
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grip(path: &Path) -> Occupant {
        let Err(HostError::Locked { what, by }) = acquire(path, "lab one", "destroy") else {
            panic!("a second run must not get the lock");
        };
        assert_eq!(what, "lab one");
        *by
    }

    fn touched(lock: &Lock, ago: Duration) {
        let then = clock::now_ms() - u64::try_from(ago.as_millis()).unwrap();
        lock.file.set_modified(clock::system_time(then)).unwrap();
    }

    #[test]
    fn a_held_lock_names_its_holder_and_a_released_one_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labs/one/lock");
        assert_eq!(trace(&path).unwrap(), None);
        let lock = acquire(&path, "lab one", "up").unwrap();
        assert_eq!(lock.taken_over, None);
        let Occupant { holder: Some(holder), life: Life::Works } = grip(&path) else { panic!("it works") };
        assert_eq!((holder.pid, holder.verb.as_str()), (std::process::id(), "up"));
        assert!(holder.is_alive());
        assert_eq!(super::holder(&path).unwrap(), Some(holder));
        assert!(trace(&path).unwrap().unwrap().held);
        drop(lock);
        assert_eq!(trace(&path).unwrap(), None);
        assert_eq!(acquire(&path, "lab one", "destroy").unwrap().taken_over, None);
    }

    #[test]
    fn a_dead_holder_is_taken_over_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        // As an earlier version wrote it.
        let text = r#"{"pid":4194000,"boot":"b","verb":"up","since":"2026-11-23T14:23:55Z"}"#;
        files::write_atomic(&path, text.as_bytes(), files::PRIVATE_FILE).unwrap();
        let seen = trace(&path).unwrap().unwrap();
        assert!(!seen.held && !seen.holder.is_alive());
        assert_eq!(super::holder(&path).unwrap(), None, "nobody holds it any more");
        let lock = acquire(&path, "lab one", "up").unwrap();
        let before = lock.taken_over.as_ref().unwrap();
        assert_eq!((before.holder.pid, before.heard_ms), (4_194_000, seen.heard_ms));
    }

    #[test]
    fn a_process_that_has_a_dead_ones_number_is_not_taken_for_it() {
        let ourselves = Holder::ourselves("up");
        assert!(ourselves.is_alive() && !ourselves.started.is_empty());
        assert!(!Holder { started: "another time".to_owned(), ..ourselves.clone() }.is_alive());
        assert!(!Holder { boot: "another boot".to_owned(), ..ourselves }.is_alive());
    }

    #[test]
    fn a_holder_that_is_silent_for_long_may_be_stopped_and_one_elsewhere_is_not_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let mut lock = acquire(&path, "lab one", "up").unwrap();
        touched(&lock, HEARTBEAT * 2);
        assert_eq!(grip(&path).life, Life::Works, "a heartbeat or two may be late");
        touched(&lock, SILENCE * 3);
        let silent = grip(&path);
        assert!(matches!(silent.life, Life::Silent(silence) if silence >= SILENCE * 3), "{silent:?}");
        assert!(silent.to_string().ends_with("which may be stopped"), "{silent}");
        lock.write_holder(&Holder { boot: "another machine".to_owned(), ..Holder::ourselves("up") }).unwrap();
        assert_eq!(grip(&path).life, Life::Unseen);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_is_touched_while_it_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let lock = acquire(&path, "lab one", "up").unwrap();
        touched(&lock, SILENCE * 3);
        clock::pause(HEARTBEAT * 2).await;
        assert_eq!(grip(&path).life, Life::Works);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_hears_of_the_holder_once_and_gets_the_lock_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = acquire(&path, "lab one", "up").unwrap();
        let mut told = Vec::new();
        let mut tell = |by: &Occupant| told.push(by.to_string());
        let too_short = acquire_within(&path, "lab one", "destroy", HEARTBEAT, &mut tell).await;
        assert!(matches!(too_short, Err(HostError::Locked { .. })), "{too_short:?}");
        let ends = async {
            clock::pause(HEARTBEAT).await;
            drop(first);
        };
        let (second, ()) =
            tokio::join!(acquire_within(&path, "lab one", "destroy", SILENCE, &mut tell), ends);
        assert_eq!(second.unwrap().taken_over, None);
        assert_eq!(told.len(), 2, "once in each wait: {told:?}");
        assert!(told[0].contains("(up, since "), "{told:?}");
    }
}
