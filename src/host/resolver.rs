//! Which name server this machine asks for a lab's domain: one file of `/etc/resolver`, written as root and put away again.
//!
//! ```text
//! fusionlab (user)                 sudo                 fusionlab names resolver-as-root (root)
//! lab, domain, name server  ─────────────────────────▶  checks them from scratch, and who owns the folders
//!                           ◀──── exit status ────────  writes or removes the one file
//! ```
//!
//! A file of somebody else, and one that was changed, is never touched. Linux has no such folder; under the simulated
//! Mac's root there is one, which nobody reads.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fusion::{Fusion, discover};
use super::{HostError, Result, files, process, system, trust};
use crate::formats::resolver::{Resolver, is_domain};

/// Where macOS looks for a domain's own name server, below the root.
pub const FOLDER: &str = "etc/resolver";
const SUDO: &str = "/usr/bin/sudo";
/// The words of our own verb.
const VERB: [&str; 2] = ["names", "resolver-as-root"];

/// The one file, for a domain.
#[derive(Clone, Debug)]
pub struct ResolverFile {
    fusion: Fusion,
    domain: String,
}

/// What stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    Ours(Resolver),
    /// Somebody else's, or ours with changes; all of it.
    Foreign(String),
}

/// What is to become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Write(Resolver),
    /// Take away that of this lab.
    Remove {
        lab: String,
    },
}

impl ResolverFile {
    /// # Errors
    /// If the domain is none that may name such a file.
    pub fn new(fusion: Fusion, domain: &str) -> Result<Self> {
        let file = Self { fusion, domain: domain.to_owned() };
        if is_domain(domain) {
            return Ok(file);
        }
        let reason = format!("{domain:?} is no domain that a lab may have for itself");
        Err(HostError::Content { path: file.folder(), reason })
    }

    fn folder(&self) -> PathBuf {
        self.fusion.root.join(FOLDER)
    }

    pub fn path(&self) -> PathBuf {
        self.folder().join(&self.domain)
    }

    pub fn look(&self) -> Result<Found> {
        let Some(bytes) = files::read_if_exists(&self.path())? else { return Ok(Found::Nothing) };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Resolver::read(&text).map_or(Found::Foreign(text), Found::Ours))
    }

    /// Says whether another user must do it: root.
    pub fn needs_root(&self) -> bool {
        let folder = self.folder();
        let nearest = folder.ancestors().find(|path| files::exists(path));
        !(system::is_root() || nearest.is_some_and(files::is_writable))
    }

    /// Returns the command that does it as root.
    pub fn root_command(&self, change: &Change) -> Result<Vec<OsString>> {
        let own = files::canonicalize(&system::own_program()?)?;
        let mut words: Vec<OsString> = vec![SUDO.into(), own.into_os_string()];
        words.extend(VERB.map(OsString::from));
        words.extend(["--fusion".into(), self.fusion.app.clone().into_os_string()]);
        words.extend(["--domain", &self.domain].map(OsString::from));
        match change {
            Change::Write(Resolver { lab, nameserver }) => {
                words.extend(["--for-lab", lab, "--nameserver", &nameserver.to_string()].map(OsString::from));
            }
            Change::Remove { lab } => words.extend(["--for-lab", lab, "--remove"].map(OsString::from)),
        }
        Ok(words)
    }

    /// Does it, as root where that is needed, and looks whether it is so. Says whether anything was changed.
    ///
    /// # Errors
    /// [`HostError::ResolverTaken`] if the file is not ours, [`HostError::ResolverDenied`] if root did not do it.
    pub async fn apply(&self, change: &Change, limit: Duration) -> Result<bool> {
        if !self.is_due(change)? {
            return Ok(false);
        }
        if self.needs_root() {
            let command = self.root_command(change)?;
            // What sudo or our own program has to say, it says to the terminal; what counts is what is there.
            process::run_attached(Path::new(SUDO), &command[1..], limit).await?;
            if self.is_due(change)? {
                return Err(HostError::ResolverDenied { path: self.path() });
            }
        } else {
            self.perform(change)?;
        }
        Ok(true)
    }

    /// Removes what a killed run was writing there, also where nothing else is to be done. Where only root may write, only root
    /// has, and our end was not its own.
    pub fn sweep(&self) -> Result<()> {
        if self.needs_root() { Ok(()) } else { files::sweep(&self.folder()) }
    }

    /// Says whether something is to be done.
    pub fn is_due(&self, change: &Change) -> Result<bool> {
        match (change, self.look()?) {
            (Change::Write(wanted), Found::Ours(ours)) if ours.lab == wanted.lab => Ok(ours != *wanted),
            (Change::Write(_), Found::Nothing) => Ok(true),
            (Change::Write(_), Found::Ours(_) | Found::Foreign(_)) => {
                Err(HostError::ResolverTaken { path: self.path() })
            }
            (Change::Remove { lab }, Found::Ours(ours)) => Ok(ours.lab == *lab),
            (Change::Remove { .. }, Found::Nothing | Found::Foreign(_)) => Ok(false),
        }
    }

    fn perform(&self, change: &Change) -> Result<()> {
        files::sweep(&self.folder())?;
        match change {
            Change::Write(resolver) => {
                files::create_dir(&self.folder())?;
                files::write_atomic(&self.path(), resolver.render().as_bytes(), files::PUBLIC_FILE)
            }
            Change::Remove { .. } => {
                files::remove_file(&self.path())?;
                // A Mac has no such folder to begin with. One that is not empty stays.
                let _ = std::fs::remove_dir(self.folder());
                Ok(())
            }
        }
    }
}

/// Does as root what [`ResolverFile::root_command`] asks, after checking all of it.
///
/// # Errors
/// [`HostError::Untrusted`] if somebody else could change the folder; as [`ResolverFile::apply`] else.
pub fn as_root(app: &Path, domain: &str, lab: &str, nameserver: Option<Ipv4Addr>) -> Result<()> {
    if !system::is_root() {
        let reason = "this step is for root: fusionlab runs it through sudo".to_owned();
        return Err(HostError::Content { path: PathBuf::from(FOLDER), reason });
    }
    system::make_for_everybody();
    let file = ResolverFile::new(discover::find(Some(app))?, domain)?;
    let nearest = file.folder();
    let nearest = nearest.ancestors().find(|path| files::exists(path)).unwrap_or(Path::new("/"));
    trust::folder(nearest)?;
    let lab = lab.to_owned();
    let change = match nameserver {
        Some(nameserver) => Change::Write(Resolver { lab, nameserver }),
        None => Change::Remove { lab },
    };
    if file.is_due(&change)? { file.perform(&change) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fusion::tests::fusion;

    const LIMIT: Duration = Duration::from_secs(1);

    fn resolver(lab: &str) -> Resolver {
        Resolver { lab: lab.to_owned(), nameserver: Ipv4Addr::new(10, 10, 0, 10) }
    }

    #[tokio::test]
    async fn the_file_comes_and_goes_with_its_folder() {
        let root = tempfile::tempdir().unwrap();
        let file = ResolverFile::new(fusion(root.path()), "lab.test").unwrap();
        assert!(!file.needs_root());
        let write = Change::Write(resolver("lab"));
        assert!(file.apply(&write, LIMIT).await.unwrap());
        assert_eq!(file.look().unwrap(), Found::Ours(resolver("lab")));
        assert_eq!(files::ownership(&file.path()).unwrap().mode, 0o644);
        assert!(!file.apply(&write, LIMIT).await.unwrap(), "a second time");
        let remove = |lab: &str| Change::Remove { lab: lab.to_owned() };
        assert!(!file.apply(&remove("other"), LIMIT).await.unwrap());
        assert!(file.apply(&remove("lab"), LIMIT).await.unwrap());
        assert!(!files::exists(&root.path().join("etc/resolver")));
    }

    #[tokio::test]
    async fn what_is_not_ours_stays() {
        let root = tempfile::tempdir().unwrap();
        let file = ResolverFile::new(fusion(root.path()), "lab.test").unwrap();
        file.apply(&Change::Write(resolver("other")), LIMIT).await.unwrap();
        let refused = file.apply(&Change::Write(resolver("lab")), LIMIT).await.unwrap_err();
        assert!(matches!(refused, HostError::ResolverTaken { .. }), "another lab's: {refused}");
        let changed = resolver("lab").render() + "port 5353\n";
        files::write_atomic(&file.path(), changed.as_bytes(), 0o644).unwrap();
        assert_eq!(file.look().unwrap(), Found::Foreign(changed));
        assert!(!file.apply(&Change::Remove { lab: "lab".to_owned() }, LIMIT).await.unwrap());
        assert!(files::exists(&file.path()));
    }

    #[test]
    fn the_command_that_is_shown_is_the_one_that_runs() {
        let file = ResolverFile::new(fusion(Path::new("/")), "lab.test").unwrap();
        let words = file.root_command(&Change::Write(resolver("lab"))).unwrap();
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        assert_eq!(words[0], SUDO);
        assert_eq!(words[2..4], VERB);
        assert_eq!(words[6..], ["--domain", "lab.test", "--for-lab", "lab", "--nameserver", "10.10.0.10"]);
        assert!(ResolverFile::new(fusion(Path::new("/")), "../passwd").is_err());
    }
}
