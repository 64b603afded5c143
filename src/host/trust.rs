//! What root may run and where it may write: only what nobody but root could have changed.
//!
//! A path is walked folder by folder from `/`, each opened from the one before it and never through a link, so that
//! what was checked is what is held open. A program is then run as `./name` in the folder that was checked, by that
//! folder's descriptor: a path that means something else a moment later is never looked up again.
//!
//! Owners and modes are what the disk says of them, so the disk must be the computer's own, too: on one that somebody else
//! brought or mounted they are what its maker wrote, and on one that keeps no owners everybody's files pass for root's.
//!
//! Access control lists are not read: on a folder of root's own only root can have set one.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::process::Options;
use super::{HostError, Result, files};

/// The group of a Mac's administrators, who may write to folders such as `/Applications`. Each of them may become root
/// by `sudo` anyway, so what they could do there gives them nothing new. Elsewhere that number means nothing.
const ADMINISTRATORS: Option<u32> = if cfg!(target_os = "macos") { Some(80) } else { None };

/// What a program that root runs finds in its environment.
const ROOTS_OWN: [(&str, &str); 2] = [
    ("PATH", "/usr/bin:/bin:/usr/sbin:/sbin"),
    ("HOME", if cfg!(target_os = "macos") { "/var/root" } else { "/root" }),
];

const STICKY: u32 = 0o1000;
const GROUP_WRITES: u32 = 0o020;
const ALL_WRITE: u32 = 0o002;
/// Links that lead to links: more is a circle.
const MOST_LINKS: u32 = 8;

/// A folder that only root could have changed, held open.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Without links and dots.
    pub path: PathBuf,
    descriptor: Arc<OwnedFd>,
}

/// A program that only root could have changed, in a folder that is held open.
#[derive(Clone, Debug)]
pub struct Program {
    folder: Folder,
    name: OsString,
}

/// Why root does not trust a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distrust {
    /// It belongs to somebody else.
    OfOthers,
    /// Everybody may write to it.
    AllWrite,
    /// Its group may.
    GroupWrites,
    /// Whatever it says of itself, its disk keeps no owners.
    DiskWithoutOwners,
    /// Another computer says what it is.
    DiskElsewhere,
    /// This user mounted its disk, and may have made it.
    DiskOf(u32),
}

impl Distrust {
    /// Tells whether no other owner or mode would help, since the disk's word for them counts for nothing.
    pub fn is_of_disk(self) -> bool {
        matches!(self, Self::DiskWithoutOwners | Self::DiskElsewhere | Self::DiskOf(_))
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfOthers => f.write_str("it does not belong to root"),
            Self::AllWrite => f.write_str("everybody may write to it"),
            Self::GroupWrites => f.write_str("its group may write to it"),
            Self::DiskWithoutOwners => f.write_str("its disk keeps no owners"),
            Self::DiskElsewhere => f.write_str("it lies on another computer"),
            Self::DiskOf(user) => write!(f, "its disk was mounted by user {user}"),
        }
    }
}

/// What is looked at of a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    user: u32,
    group: u32,
    mode: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A folder on the way to what is meant.
    Above,
    /// The folder or file that is meant.
    Itself,
}

/// Opens a folder that must exist, if nobody but root could have changed it or a folder above it.
///
/// # Errors
/// [`HostError::Untrusted`] names the first that somebody else could change.
pub fn folder(path: &Path) -> Result<Folder> {
    let path = files::canonicalize(path)?;
    let mut walked = PathBuf::from("/");
    let mut descriptor = open(None, OsStr::new("/")).map_err(HostError::file("look at", &walked))?;
    let names: Vec<&OsStr> = path.components().filter_map(normal).collect();
    for (at, name) in std::iter::once(None).chain(names.iter().copied().map(Some)).enumerate() {
        if let Some(name) = name {
            walked.push(name);
            descriptor = open(Some(&descriptor), name).map_err(HostError::file("look at", &walked))?;
        }
        let kind = if at == names.len() { Kind::Itself } else { Kind::Above };
        let facts = facts_of(&descriptor, kind).map_err(HostError::file("look at", &walked))?;
        // The disk first: where it counts for nothing, no owner and no mode would help.
        let of_disk = of_disk(&descriptor).map_err(HostError::file("look at", &walked))?;
        if let Some(reason) = of_disk.or_else(|| of_owner(facts)) {
            return Err(untrusted(&walked, facts, reason));
        }
    }
    Ok(Folder { path, descriptor: Arc::new(descriptor) })
}

/// Finds a program that nobody but root could have changed.
///
/// A link counts as the folder that holds it; what it leads to is looked at as well.
///
/// # Errors
/// [`HostError::Untrusted`] names the first file or folder that somebody else could change.
pub fn program(path: &Path) -> Result<Program> {
    let program = in_folder(path)?;
    let mut at = path.to_owned();
    for _ in 0..MOST_LINKS {
        let held = in_folder(&at)?;
        match entry(&held.folder, &held.name).map_err(HostError::file("look at", &at))? {
            Entry::Link(target) => at = held.folder.path.join(target),
            Entry::Other(facts) => {
                let refused = |reason| untrusted(&held.folder.path.join(&held.name), facts, reason);
                return of_owner(facts).map_or(Ok(program), |reason| Err(refused(reason)));
            }
        }
    }
    let source = std::io::Error::from_raw_os_error(libc::ELOOP);
    Err(HostError::File { action: "look at", path: path.to_owned(), source })
}

fn in_folder(path: &Path) -> Result<Program> {
    let missing = || HostError::file("look at", path)(std::io::ErrorKind::InvalidInput.into());
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Err(missing()) };
    Ok(Program { folder: folder(above)?, name: name.to_owned() })
}

impl Program {
    /// Returns what to run, in the folder that [`Self::bind`] sets.
    pub fn call(&self) -> PathBuf {
        Path::new(".").join(&self.name)
    }

    /// Makes a run happen in the program's folder, under the name by which it would have been called, and with none of the
    /// variables of whoever called sudo, which may say where to look for programs and settings.
    pub fn bind(&self, options: &mut Options) {
        options.bare = true;
        options.env = ROOTS_OWN.map(|(name, value)| (name.into(), value.into())).into();
        options.folder = Some(Arc::clone(&self.folder.descriptor));
        options.called = Some(self.folder.path.join(&self.name).into_os_string());
    }
}

/// Says whether root may have this: its own, and not writable by anybody else. Exceptions are folders on the way whose
/// entries of root nobody else can rename (sticky, as `/tmp`), and those of a Mac's administrators.
fn of_owner(facts: Facts) -> Option<Distrust> {
    let passes = |exception: bool| facts.kind == Kind::Above && exception;
    let sticky = facts.mode & STICKY != 0;
    if facts.user != 0 {
        Some(Distrust::OfOthers)
    } else if facts.mode & ALL_WRITE != 0 && !passes(sticky) {
        Some(Distrust::AllWrite)
    } else if facts.mode & GROUP_WRITES != 0 && !passes(sticky || Some(facts.group) == ADMINISTRATORS) {
        Some(Distrust::GroupWrites)
    } else {
        None
    }
}

fn untrusted(path: &Path, Facts { user, group, mode, .. }: Facts, reason: Distrust) -> HostError {
    HostError::Untrusted { path: path.to_owned(), user, group, mode, reason }
}

/// Says why the owners and modes on a file's disk count for nothing, if so: statfs(2) says who mounted it, and how. Users of a
/// Mac can mount disk images of their own making.
#[cfg(target_os = "macos")]
fn of_disk(descriptor: &OwnedFd) -> std::io::Result<Option<Distrust>> {
    // SAFETY: a statfs of zeros is valid; fstatfs writes only that, and the descriptor is open for the whole call.
    let (outcome, disk) = unsafe {
        let mut disk: libc::statfs = std::mem::zeroed();
        (libc::fstatfs(descriptor.as_raw_fd(), &raw mut disk), disk)
    };
    if outcome != 0 {
        return Err(std::io::Error::last_os_error());
    }
    let has = |flag: libc::c_int| disk.f_flags & flag.unsigned_abs() != 0;
    Ok(if has(libc::MNT_IGNORE_OWNERSHIP) {
        Some(Distrust::DiskWithoutOwners)
    } else if !has(libc::MNT_LOCAL) {
        Some(Distrust::DiskElsewhere)
    } else if disk.f_owner != 0 {
        Some(Distrust::DiskOf(disk.f_owner))
    } else {
        None
    })
}

/// Elsewhere only root mounts what root can look into.
#[cfg(not(target_os = "macos"))]
#[expect(clippy::unnecessary_wraps, reason = "as on a Mac")]
fn of_disk(_: &OwnedFd) -> std::io::Result<Option<Distrust>> {
    Ok(None)
}

fn normal(component: Component<'_>) -> Option<&OsStr> {
    if let Component::Normal(name) = component { Some(name) } else { None }
}

/// Opens a folder by its name in another, or `/`; a link is an error.
fn open(within: Option<&OwnedFd>, name: &OsStr) -> std::io::Result<OwnedFd> {
    let name = CString::new(name.as_bytes())?;
    let within = within.map_or(libc::AT_FDCWD, AsRawFd::as_raw_fd);
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: openat reads a C string that outlives the call; the descriptor is open for the whole call.
    let descriptor = unsafe { libc::openat(within, name.as_ptr(), flags) };
    if descriptor < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn facts_of(descriptor: &OwnedFd, kind: Kind) -> std::io::Result<Facts> {
    let facts = File::from(descriptor.try_clone()?).metadata()?;
    Ok(Facts { user: facts.uid(), group: facts.gid(), mode: facts.mode() & 0o7777, kind })
}

/// What a name in a folder stands for.
enum Entry {
    Link(PathBuf),
    Other(Facts),
}

fn entry(folder: &Folder, name: &OsStr) -> std::io::Result<Entry> {
    let text = CString::new(name.as_bytes())?;
    // SAFETY: a stat of zeros is valid; fstatat reads a C string and writes only the stat, and all outlive the call.
    let (outcome, facts) = unsafe {
        let mut facts: libc::stat = std::mem::zeroed();
        let descriptor = folder.descriptor.as_raw_fd();
        (libc::fstatat(descriptor, text.as_ptr(), &raw mut facts, libc::AT_SYMLINK_NOFOLLOW), facts)
    };
    if outcome != 0 {
        return Err(std::io::Error::last_os_error());
    }
    if facts.st_mode & libc::S_IFMT == libc::S_IFLNK {
        // Only root can put another link here meanwhile: the folder was checked.
        return Ok(Entry::Link(std::fs::read_link(folder.path.join(name))?));
    }
    #[cfg_attr(not(target_os = "macos"), expect(clippy::useless_conversion, reason = "narrower on a Mac"))]
    let mode = u32::from(facts.st_mode) & 0o7777;
    Ok(Entry::Other(Facts { user: facts.st_uid, group: facts.st_gid, mode, kind: Kind::Itself }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;
    use crate::host::fusion::fake::install;
    use crate::host::{process, system};

    const LIMIT: Duration = Duration::from_secs(10);

    fn facts(user: u32, group: u32, mode: u32, kind: Kind) -> Facts {
        Facts { user, group, mode, kind }
    }

    #[test]
    fn only_what_root_alone_can_change_is_trusted() {
        use Kind::{Above, Itself};
        for (facts, trusted) in [
            (facts(0, 0, 0o755, Itself), true),
            (facts(0, 20, 0o750, Above), true),
            (facts(501, 20, 0o755, Itself), false),
            (facts(501, 20, 0o500, Above), false),
            (facts(0, 0, 0o775, Itself), false),
            (facts(0, 20, 0o775, Above), false),
            (facts(0, 0, 0o757, Above), false),
            (facts(0, 0, 0o1777, Above), true),
            (facts(0, 0, 0o1777, Itself), false),
            (facts(501, 0, 0o1777, Above), false),
            (facts(0, 80, 0o775, Above), cfg!(target_os = "macos")),
            (facts(0, 80, 0o775, Itself), false),
            (facts(0, 80, 0o777, Above), false),
        ] {
            assert_eq!(of_owner(facts).is_none(), trusted, "{facts:?}");
        }
    }

    #[test]
    fn the_first_that_others_could_change_is_named_with_owner_and_mode() {
        let root = tempfile::tempdir().unwrap();
        let root = files::canonicalize(root.path()).unwrap();
        let tool = root.join("open/lib/tool");
        files::create_dir(tool.parent().unwrap()).unwrap();
        files::write_atomic(&tool, b"#!/bin/sh\n", 0o755).unwrap();
        files::set_mode(&root.join("open"), 0o777).unwrap();
        // To nobody, the temporary folder itself is already somebody's: nobody's.
        let expected = if system::is_root() { root.join("open") } else { root.clone() };
        let HostError::Untrusted { path, .. } = program(&tool).unwrap_err() else { panic!("not judged") };
        assert_eq!(path, expected);
        let text = program(&tool).unwrap_err().to_string();
        assert!(text.contains(&expected.display().to_string()) && text.contains("mode 0"), "{text}");
    }

    #[test]
    fn a_link_is_as_good_as_what_it_leads_to() {
        if !system::is_root() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let root = files::canonicalize(root.path()).unwrap();
        let (tool, link) = (root.join("tool"), root.join("link"));
        files::write_atomic(&tool, b"#!/bin/sh\n", 0o755).unwrap();
        symlink("tool", &link).unwrap();
        program(&link).unwrap();
        files::set_mode(&tool, 0o777).unwrap();
        assert!(matches!(program(&link), Err(HostError::Untrusted { path, .. }) if path == tool));
        symlink("circle", root.join("circle")).unwrap();
        assert!(matches!(program(&root.join("circle")), Err(HostError::File { .. })));
        assert!(matches!(program(&root.join("none")), Err(HostError::File { .. })));
    }

    #[tokio::test]
    async fn what_was_checked_is_what_runs() {
        if !system::is_root() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let root = files::canonicalize(root.path()).unwrap();
        let folder = root.join("tools");
        files::create_dir(&folder).unwrap();
        install(&folder.join("tool"), "#!/bin/sh\necho checked $HOME $CARGO_MANIFEST_DIR\n");
        let tool = program(&folder.join("tool")).unwrap();
        // Somebody puts another folder in its place between the check and the run.
        files::rename(&folder, &root.join("moved")).unwrap();
        files::create_dir(&folder).unwrap();
        install(&folder.join("tool"), "#!/bin/sh\necho other\n");
        let mut options = Options::limit(LIMIT);
        tool.bind(&mut options);
        let finished = process::run(&tool.call(), ["x"], options).await.unwrap();
        assert_eq!(
            finished.text(),
            format!("checked {}\n", ROOTS_OWN[1].1),
            "nor does it see our environment"
        );
    }
}
