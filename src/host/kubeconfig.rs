//! The user's kubeconfig as a file: which one it is, kubectl's lock on it, and its replacement in one piece.
//!
//! The lock is client-go's: a file `<kubeconfig>.lock` that must not exist yet, removed afterwards. kubectl does not
//! say who holds it; ours names its process, so that one that a killed run of ours has left is taken away.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::lock::Holder;
use super::{HostError, Result, clock, files};

/// What our locks begin with; the process follows.
const OURS: &str = "fusionlab ";
/// Between two looks at somebody else's lock.
const PAUSE: Duration = Duration::from_millis(20);
/// Links that lead to links: more is a circle.
const MOST_LINKS: usize = 16;

/// Returns the kubeconfig that kubectl would write a new entry into: of those that `KUBECONFIG` names the first that
/// exists, else the last; without any, `~/.kube/config`.
pub fn chosen(variable: Option<&OsStr>, home: &Path) -> PathBuf {
    let named: Vec<PathBuf> = variable
        .map(|variable| std::env::split_paths(variable).filter(|path| !path.as_os_str().is_empty()).collect())
        .unwrap_or_default();
    let first = named.iter().find(|path| files::exists(path));
    first.or(named.last()).cloned().unwrap_or_else(|| home.join(".kube/config"))
}

/// A kubeconfig that neither kubectl nor another run of ours changes while this is held.
#[derive(Debug)]
pub struct Locked {
    path: PathBuf,
    lock: PathBuf,
    /// What the lock says.
    signature: String,
}

impl Locked {
    /// Waits for the lock.
    ///
    /// # Errors
    /// [`HostError::KubeconfigLocked`] if somebody else has it for longer than the limit.
    pub async fn new(path: &Path, limit: Duration) -> Result<Self> {
        files::create_dir(files::parent(path))?;
        let (lock, signature) = (lock_of(path), signature());
        let started = clock::monotonic();
        loop {
            // Whole at once, so that one of a killed run says whose it is.
            match files::write_new_atomic(&lock, signature.as_bytes(), files::PRIVATE_FILE) {
                Ok(()) => {
                    let locked = Self { path: path.to_owned(), lock, signature };
                    clear(path)?;
                    return Ok(locked);
                }
                Err(HostError::Exists { .. }) => {}
                Err(other) => return Err(other),
            }
            if remove_left_behind(&lock)? {
                continue;
            }
            if started.elapsed() >= limit {
                let since = files::modified(&lock).ok().and_then(|since| since.elapsed().ok());
                return Err(HostError::KubeconfigLocked { lock, age: since.unwrap_or_default() });
            }
            clock::pause(PAUSE).await;
        }
    }

    /// Returns the text; none if there is no such file yet.
    pub fn read(&self) -> Result<Option<String>> {
        let Some(bytes) = files::read_if_exists(&self.path)? else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(|error| HostError::Content {
            path: self.path.clone(),
            reason: format!("not UTF-8 after byte {}", error.utf8_error().valid_up_to()),
        })?;
        Ok(Some(text))
    }

    /// Replaces the file in one piece, if it is still as it was read: not everybody who writes there asks for the lock. Says
    /// whether it was. A reader sees the old one or the new one. Links are followed, owner and mode are kept; a new file is its
    /// owner's alone.
    pub fn replace(&self, before: Option<&str>, text: &str) -> Result<bool> {
        let target = followed(&self.path)?;
        files::create_dir(files::parent(&target))?;
        let is_as_read = || Ok(files::read_if_exists(&target)?.as_deref() == before.map(str::as_bytes));
        files::write_keeping_owner_if(&target, text.as_bytes(), files::PRIVATE_FILE, is_as_read)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // One that stays names a process that is gone, so that we at least take it away the next time.
        if matches!(files::read_if_exists(&self.lock), Ok(Some(text)) if text == self.signature.as_bytes()) {
            let _ = files::remove_file(&self.lock);
        }
    }
}

/// Takes away what killed runs of ours have left beside a kubeconfig, whether it is there or not: a lock, and what they were
/// writing.
pub fn clear(path: &Path) -> Result<()> {
    remove_left_behind(&lock_of(path))?;
    files::sweep(files::parent(path))?;
    files::sweep(files::parent(&followed(path)?))
}

/// Takes away a lock of ours whose process is gone. Says whether the lock may be free now. Of several who find it, one does so
/// at a time, so that nobody takes away the lock that another has made in its place.
fn remove_left_behind(lock: &Path) -> Result<bool> {
    if !files::exists(lock) {
        return Ok(true);
    }
    // kubectl's has no mode, and cannot be read.
    let Ok(mut file) = files::open(lock) else { return Ok(false) };
    if file.try_lock().is_err() {
        return Ok(false);
    }
    if !files::is_same(&file, lock) {
        return Ok(true);
    }
    let mut text = String::new();
    if file.read_to_string(&mut text).is_err() || !is_of_a_dead_process(&text) {
        return Ok(false);
    }
    files::remove_file(lock)?;
    Ok(true)
}

fn is_of_a_dead_process(text: &str) -> bool {
    let holder = text.strip_prefix(OURS).and_then(|rest| serde_json::from_str::<Holder>(rest).ok());
    holder.is_some_and(|holder| !holder.is_alive())
}

/// client-go names the lock after the path that it was given, not after what that leads to.
fn lock_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Tells our process from a later one that has its number.
fn signature() -> String {
    let holder = serde_json::to_string(&Holder::ourselves("kubeconfig")).expect("a holder is plain data");
    format!("{OURS}{holder}\n")
}

/// Returns where a path leads to, be it to nothing yet.
fn followed(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        if !files::is_link(&path) {
            return Ok(path);
        }
        let to = path.read_link().map_err(HostError::file("read", &path))?;
        path = files::parent(&path).join(to);
    }
    Err(HostError::Content { path, reason: "it is a circle of links".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kube/config");
        (folder, path)
    }

    #[test]
    fn the_file_is_the_one_that_kubectl_would_write_to() {
        let (folder, path) = folder();
        let home = Path::new("/Users/me");
        let chosen = |variable: &str| chosen(Some(OsStr::new(variable)), home);
        assert_eq!(super::chosen(None, home), Path::new("/Users/me/.kube/config"));
        assert_eq!(chosen(""), Path::new("/Users/me/.kube/config"));
        assert_eq!(chosen("/nowhere/a:/nowhere/b"), Path::new("/nowhere/b"));
        files::create_dir(files::parent(&path)).unwrap();
        files::write_atomic(&path, b"", 0o600).unwrap();
        assert_eq!(chosen(&format!("/nowhere/a:{}:/nowhere/b", path.display())), path);
        drop(folder);
    }

    #[tokio::test]
    async fn one_at_a_time_and_nothing_is_left_beside() {
        let (_folder, path) = folder();
        let locked = Locked::new(&path, AT_ONCE).await.unwrap();
        let second = Locked::new(&path, AT_ONCE).await.unwrap_err();
        assert!(matches!(second, HostError::KubeconfigLocked { .. }), "{second}");
        assert_eq!(locked.read().unwrap(), None);
        assert!(locked.replace(None, "kind: Config\n").unwrap());
        assert!(!locked.replace(None, "kind: Other\n").unwrap(), "it is another by now");
        assert_eq!(locked.read().unwrap().as_deref(), Some("kind: Config\n"));
        drop(locked);
        assert_eq!(files::list(files::parent(&path)).unwrap(), std::slice::from_ref(&path));
        assert_eq!(files::ownership(&path).unwrap().mode, files::PRIVATE_FILE);
        Locked::new(&path, AT_ONCE).await.unwrap();
    }

    #[tokio::test]
    async fn kubectls_lock_is_respected_and_that_of_a_killed_run_of_ours_is_not() {
        let (_folder, path) = folder();
        files::create_dir(files::parent(&path)).unwrap();
        files::create_new(&lock_of(&path), 0).unwrap();
        assert!(Locked::new(&path, AT_ONCE).await.is_err(), "kubectl's has neither content nor mode");
        files::remove_file(&lock_of(&path)).unwrap();
        let leave = |holder: Holder| {
            let text = format!("{OURS}{}\n", serde_json::to_string(&holder).unwrap());
            files::write_atomic(&lock_of(&path), text.as_bytes(), 0o600).unwrap();
        };
        leave(Holder { pid: 4_194_305, ..Holder::ourselves("up") });
        Locked::new(&path, AT_ONCE).await.unwrap();
        leave(Holder { started: "earlier".to_owned(), ..Holder::ourselves("up") });
        drop(Locked::new(&path, AT_ONCE).await.expect("another process has its number by now"));
        leave(Holder::ourselves("up"));
        assert!(Locked::new(&path, AT_ONCE).await.is_err(), "it works");
        leave(Holder { pid: 4_194_305, ..Holder::ourselves("up") });
        let judged = files::open(&lock_of(&path)).unwrap();
        judged.lock().unwrap();
        assert!(Locked::new(&path, AT_ONCE).await.is_err(), "somebody else is about to take it away");
        // Not by closing it: a program that another test starts at this moment has the file for a while, too.
        judged.unlock().unwrap();
        let held = Locked::new(&path, AT_ONCE).await.unwrap();
        leave(Holder::ourselves("another"));
        drop(held);
        assert!(files::exists(&lock_of(&path)), "only our own is taken away");
    }

    #[tokio::test]
    async fn links_are_followed_and_the_mode_is_kept() {
        let (folder, path) = folder();
        let real = folder.path().join("dotfiles/kubeconfig");
        files::create_dir(files::parent(&real)).unwrap();
        files::create_dir(files::parent(&path)).unwrap();
        files::write_atomic(&real, b"old", 0o640).unwrap();
        std::os::unix::fs::symlink("../dotfiles/kubeconfig", &path).unwrap();
        let locked = Locked::new(&path, AT_ONCE).await.unwrap();
        assert_eq!(locked.read().unwrap().as_deref(), Some("old"));
        assert!(locked.replace(Some("old"), "new").unwrap());
        assert!(files::is_link(&path));
        assert_eq!(
            (files::read(&real).unwrap(), files::ownership(&real).unwrap().mode),
            (b"new".to_vec(), 0o640)
        );
        files::remove_file(&real).unwrap();
        assert!(locked.replace(None, "again").unwrap());
        assert_eq!(files::read(&real).unwrap(), b"again");
    }
}
