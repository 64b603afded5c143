//! A lock file that says who holds it, and that the kernel lets go of when its holder dies.
//!
//! The kernel's lock on the open file is the lock; the file's text is for people. So a killed run never
//! leaves a stale lock: whoever comes next gets it, and learns from the text whose work was cut short.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{HostError, Result, clock, files, system};

/// A holder writes its name just after it has the lock; a reader in between waits for it.
const BODY_TRIES: u32 = 10;
const BODY_PAUSE: Duration = Duration::from_millis(20);
const WAIT_PAUSE: Duration = Duration::from_millis(50);

/// Who holds a lock, or held it last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    /// Tells this boot's processes from those of an earlier one with the same numbers.
    pub boot: String,
    /// What it does, such as `up`.
    pub verb: String,
    /// Since when, in RFC 3339.
    pub since: String,
}

/// A held lock; released when dropped, and by the kernel when this process ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
    /// Whoever held it before and ended without letting go.
    pub taken_over: Option<Holder>,
}

/// Takes the lock at `path`, or says who has it ([`HostError::Locked`]). `what` is said in that error.
pub fn acquire(path: &Path, what: &str, verb: &str) -> Result<Lock> {
    if let Some(folder) = path.parent() {
        files::create_dir(folder)?;
    }
    // Never renamed and never removed: another process may have it open, waiting for its turn.
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(files::PRIVATE_FILE);
    let mut file = options.open(path).map_err(HostError::file("open lock", path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(locked(&mut file, what)),
        Err(TryLockError::Error(error)) => return Err(HostError::file("lock", path)(error)),
    }
    let taken_over = read_holder(&mut file);
    let mut lock = Lock { file, path: path.to_owned(), taken_over };
    lock.write_holder(&Holder {
        pid: std::process::id(),
        boot: system::boot_id(),
        verb: verb.to_owned(),
        since: clock::rfc3339(clock::now()),
    })?;
    Ok(lock)
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

/// Returns who holds the lock at `path`; none if it is free or was never taken.
pub fn holder(path: &Path) -> Result<Option<Holder>> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(HostError::file("open lock", path))?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(await_holder(&mut file)),
        Err(TryLockError::Error(error)) => Err(HostError::file("lock", path)(error)),
    }
}

impl Lock {
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write_holder(&mut self, holder: &Holder) -> Result<()> {
        let mut text = serde_json::to_string(holder).expect("a holder is plain data");
        text.push('\n');
        let mut write = || {
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.file.write_all(text.as_bytes())?;
            self.file.sync_data()
        };
        write().map_err(HostError::file("write lock", &self.path))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // An empty file tells the next holder that this one ended in good order.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

fn locked(file: &mut File, what: &str) -> HostError {
    let holder = await_holder(file);
    HostError::Locked {
        what: what.to_owned(),
        pid: holder.as_ref().map_or(0, |holder| holder.pid),
        verb: holder.as_ref().map_or_else(|| "unknown".to_owned(), |holder| holder.verb.clone()),
        since: holder.map_or_else(|| "now".to_owned(), |holder| holder.since),
    }
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

    #[test]
    fn a_held_lock_names_its_holder_and_a_released_one_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labs/one/lock");
        assert_eq!(holder(&path).unwrap(), None);
        let lock = acquire(&path, "lab one", "up").unwrap();
        assert_eq!(lock.taken_over, None);
        let Err(HostError::Locked { what, pid, verb, .. }) = acquire(&path, "lab one", "destroy") else {
            panic!("a second run must not get the lock");
        };
        assert_eq!((what.as_str(), pid, verb.as_str()), ("lab one", std::process::id(), "up"));
        assert_eq!(holder(&path).unwrap().unwrap().verb, "up");
        drop(lock);
        assert_eq!(holder(&path).unwrap(), None);
        assert_eq!(acquire(&path, "lab one", "destroy").unwrap().taken_over, None);
    }

    #[test]
    fn a_dead_holder_is_taken_over_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let text = r#"{"pid":4194000,"boot":"b","verb":"up","since":"2026-11-23T14:23:55Z"}"#;
        files::write_atomic(&path, text.as_bytes(), files::PRIVATE_FILE).unwrap();
        let lock = acquire(&path, "lab one", "up").unwrap();
        assert_eq!(lock.taken_over.as_ref().unwrap().pid, 4_194_000);
    }
}
