//! The user's kubeconfig as a file: which one it is, kubectl's lock on it, and its replacement in one piece.
//!
//! The lock is client-go's: a file `<kubeconfig>.lock` that must not exist yet, removed afterwards. kubectl does not
//! say who holds it; ours names its process, so that one that a killed run of ours has left is taken away.

use std::ffi::OsStr;
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

/// A kubeconfig that no other program changes while this is held.
#[derive(Debug)]
pub struct Locked {
    path: PathBuf,
    lock: PathBuf,
}

impl Locked {
    /// Waits for the lock.
    ///
    /// # Errors
    /// [`HostError::KubeconfigLocked`] if somebody else has it for longer than the limit.
    pub async fn new(path: &Path, limit: Duration) -> Result<Self> {
        files::create_dir(files::parent(path))?;
        let lock = lock_of(path);
        let started = clock::monotonic();
        loop {
            // Whole at once, so that one of a killed run says whose it is.
            match files::write_new_atomic(&lock, signature().as_bytes(), files::PRIVATE_FILE) {
                Ok(()) => {
                    let locked = Self { path: path.to_owned(), lock };
                    clear(path)?;
                    return Ok(locked);
                }
                Err(HostError::Exists { .. }) => {}
                Err(other) => return Err(other),
            }
            if is_left_behind(&lock) {
                files::remove_file(&lock)?;
            } else if started.elapsed() >= limit {
                let since = files::modified(&lock).ok().and_then(|since| since.elapsed().ok());
                return Err(HostError::KubeconfigLocked { lock, age: since.unwrap_or_default() });
            } else {
                clock::pause(PAUSE).await;
            }
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

    /// Replaces the file in one piece: a reader sees the old one or the new one. Links are followed, owner and mode are
    /// kept; a new file is its owner's alone.
    pub fn write(&self, text: &str) -> Result<()> {
        let target = followed(&self.path)?;
        files::create_dir(files::parent(&target))?;
        files::write_keeping_owner(&target, text.as_bytes(), files::PRIVATE_FILE)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // One that stays names a process that is gone, so that we at least take it away the next time.
        let _ = files::remove_file(&self.lock);
    }
}

/// Takes away what killed runs of ours have left beside a kubeconfig, whether it is there or not: a lock, and what they were
/// writing.
pub fn clear(path: &Path) -> Result<()> {
    let lock = lock_of(path);
    if is_left_behind(&lock) {
        files::remove_file(&lock)?;
    }
    files::sweep_abandoned(files::parent(path))?;
    files::sweep_abandoned(files::parent(&followed(path)?))
}

/// client-go names the lock after the path that it was given, not after what that leads to.
fn lock_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Says whether a lock is one of ours whose process is gone.
fn is_left_behind(lock: &Path) -> bool {
    let Ok(Some(bytes)) = files::read_if_exists(lock) else { return false };
    let text = String::from_utf8_lossy(&bytes);
    let holder = text.strip_prefix(OURS).and_then(|rest| serde_json::from_str::<Holder>(rest).ok());
    holder.is_some_and(|holder| !holder.is_alive())
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
        locked.write("kind: Config\n").unwrap();
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
        locked.write("new").unwrap();
        assert!(files::is_link(&path));
        assert_eq!(
            (files::read(&real).unwrap(), files::ownership(&real).unwrap().mode),
            (b"new".to_vec(), 0o640)
        );
        files::remove_file(&real).unwrap();
        locked.write("again").unwrap();
        assert_eq!(files::read(&real).unwrap(), b"again");
    }
}
