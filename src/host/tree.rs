//! Files and folders of this machine on their way to a guest and back: read as bytes or as a tar archive, and made so that
//! they are there whole or not at all.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::SyncSender;

use super::{HostError, Result, files, sync};
use crate::formats::tar::{self, Entry, Kind, Piece, TarError};

const PIECE: usize = 64 * 1024;
/// Folders within folders: deeper than this is a link that leads into itself.
const DEEPEST: usize = 64;
const PERMISSIONS: u32 = 0o777;
/// What a guest may say of the modes of files here.
const OTHERS_DO_NOT_WRITE: u32 = 0o755;

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    pub files: u64,
    pub bytes: u64,
}

/// Returns the permissions of a file or folder.
pub fn mode(path: &Path) -> Result<u32> {
    let facts = fs::metadata(path).map_err(HostError::file("look at", path))?;
    Ok(facts.permissions().mode() & PERMISSIONS)
}

/// Returns when a file was made; none where the file system does not keep that.
pub fn created(path: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(path).ok()?.created().ok()
}

/// Sends a file's bytes.
pub fn send_file(path: &Path, to: &SyncSender<Vec<u8>>) -> Result<Copied> {
    let bytes = send(path, files::open(path)?, None, to)?;
    Ok(Copied { files: 1, bytes })
}

/// Sends a folder's content as a tar archive. Links are followed: what they lead to is sent.
pub fn send_folder(folder: &Path, to: &SyncSender<Vec<u8>>) -> Result<Copied> {
    let mut copied = Copied::default();
    pack(folder, "", DEEPEST, to, &mut copied)?;
    // Whoever takes no more has said why.
    let _ = to.send(tar::end());
    Ok(copied)
}

fn pack(
    folder: &Path,
    within: &str,
    deep: usize,
    to: &SyncSender<Vec<u8>>,
    copied: &mut Copied,
) -> Result<()> {
    for path in files::list(folder)? {
        let name = files::name_of(&path);
        let name = format!("{within}{name}");
        let facts = fs::metadata(&path).map_err(HostError::file("look at", &path))?;
        let mode = facts.permissions().mode() & PERMISSIONS;
        if facts.is_dir() {
            let Some(deep) = deep.checked_sub(1) else {
                let source = std::io::Error::other("folders within folders without an end");
                return Err(HostError::file("read", &path)(source));
            };
            let name = format!("{name}/");
            let _ = to.send(tar::folder(&name, mode));
            pack(&path, &name, deep, to, copied)?;
        } else if facts.is_file() {
            let _ = to.send(tar::file(&name, mode, facts.len()));
            copied.bytes += send(&path, files::open(&path)?, Some(facts.len()), to)?;
            copied.files += 1;
            let _ = to.send(tar::padding(facts.len()));
        }
    }
    Ok(())
}

/// Sends a file's bytes: all, or exactly so many, whatever becomes of the file meanwhile.
fn send(path: &Path, mut file: File, exactly: Option<u64>, to: &SyncSender<Vec<u8>>) -> Result<u64> {
    let (mut left, mut sent) = (exactly.unwrap_or(u64::MAX), 0);
    while left > 0 {
        let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
        let count = file.read(&mut piece).map_err(HostError::file("read", path))?;
        if count == 0 {
            break;
        }
        piece.truncate(count);
        left -= count as u64;
        sent += count as u64;
        if to.send(piece).is_err() {
            return Ok(sent);
        }
    }
    if exactly.is_some() && left > 0 {
        let source = std::io::Error::other("it became shorter while it was read");
        return Err(HostError::file("read", path)(source));
    }
    Ok(sent)
}

/// What the names of incoming files and folders begin with: other ones than of files whose writer has a lock on them.
const INCOMING: &str = ".fusionlab-cp-";

/// A file that comes in pieces: beside its place until it is whole.
pub struct IncomingFile {
    file: tempfile::NamedTempFile,
    to: PathBuf,
    mode: u32,
    bytes: u64,
}

impl IncomingFile {
    /// Begins a file of this mode at most: nobody but its owner may write to it, nor do more with it than with one that it
    /// replaces.
    pub fn new(to: &Path, mode: u32) -> Result<Self> {
        let replaced = if files::exists(to) { self::mode(to)? } else { PERMISSIONS };
        let mode = mode & OTHERS_DO_NOT_WRITE & replaced | 0o600;
        let file = tempfile::Builder::new().prefix(INCOMING).tempfile_in(files::parent(to));
        let file = file.map_err(HostError::file("write", to))?;
        Ok(Self { file, to: to.to_owned(), mode, bytes: 0 })
    }

    pub fn take(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(HostError::file("write", &self.to))
    }

    /// Puts the file in its place, over what was there.
    pub fn finish(self) -> Result<Copied> {
        let finish = || {
            self.file.as_file().set_permissions(fs::Permissions::from_mode(self.mode))?;
            sync::to_disk(self.file.as_file())?;
            self.file.persist(&self.to).map_err(|error| error.error)
        };
        finish().map_err(HostError::file("write", &self.to))?;
        Ok(Copied { files: 1, bytes: self.bytes })
    }
}

/// A folder that comes as a tar archive: beside its place until it is whole. Nothing is written outside of it, whatever the
/// archive says.
pub struct IncomingFolder {
    folder: tempfile::TempDir,
    to: PathBuf,
    reader: tar::Reader,
    file: Option<(File, PathBuf)>,
    copied: Copied,
}

impl From<TarError> for HostError {
    fn from(error: TarError) -> Self {
        Self::Content { path: "the guest's archive".into(), reason: error.to_string() }
    }
}

impl IncomingFolder {
    pub fn new(to: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(INCOMING).tempdir_in(files::parent(to));
        let folder = folder.map_err(HostError::file("create folder", to))?;
        let reader = tar::Reader::default();
        Ok(Self { folder, to: to.to_owned(), reader, file: None, copied: Copied::default() })
    }

    pub fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let Self { folder, reader, file, copied, .. } = self;
        reader.take::<HostError>(bytes, &mut |piece| {
            match piece {
                Piece::Head(entry) => *file = make(folder.path(), &entry)?,
                Piece::Content(bytes) => {
                    if let Some((file, path)) = file {
                        copied.bytes += bytes.len() as u64;
                        file.write_all(bytes).map_err(HostError::file("write", path))?;
                    }
                }
                Piece::End => copied.files += u64::from(file.take().is_some()),
            }
            Ok(())
        })
    }

    /// Puts the folder in its place, where nothing may stand.
    pub fn finish(self) -> Result<Copied> {
        self.reader.finish()?;
        if files::exists(&self.to) {
            return Err(HostError::Exists { path: self.to });
        }
        fs::set_permissions(self.folder.path(), fs::Permissions::from_mode(0o755))
            .map_err(HostError::file("write", &self.to))?;
        files::rename(self.folder.path(), &self.to)?;
        // It has its place now; there is nothing to be cleared away.
        let _ = self.folder.keep();
        Ok(self.copied)
    }
}

/// Makes what an entry says, below a folder; returns the file that takes its content.
fn make(folder: &Path, entry: &Entry) -> Result<Option<(File, PathBuf)>> {
    let mut path = folder.to_owned();
    for part in Path::new(&entry.name).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => path.push(name),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                let reason = format!("the name {:?} leads out of the folder", entry.name);
                return Err(HostError::Content { path: "the guest's archive".into(), reason });
            }
        }
    }
    // Its owner can always look at it and remove it.
    match entry.kind {
        Kind::Folder => {
            files::create_dir(&path)?;
            files::set_mode(&path, entry.mode & OTHERS_DO_NOT_WRITE | 0o700)?;
            Ok(None)
        }
        Kind::File => {
            files::create_dir(files::parent(&path))?;
            let file = files::create_new(&path, entry.mode & OTHERS_DO_NOT_WRITE | 0o600)?;
            Ok(Some((file, path)))
        }
        Kind::Other => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests prepare the files")]

    use std::sync::mpsc::sync_channel;

    use super::*;

    fn pieces(folder: &Path) -> Vec<u8> {
        let (sender, receiver) = sync_channel(1000);
        send_folder(folder, &sender).unwrap();
        drop(sender);
        receiver.into_iter().flatten().collect()
    }

    #[test]
    fn a_folder_arrives_as_it_left_and_nothing_is_left_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        fs::create_dir_all(from.join("deep/empty")).unwrap();
        fs::write(from.join("deep/file"), vec![7; 100_000]).unwrap();
        fs::write(from.join("run"), "#!").unwrap();
        fs::set_permissions(from.join("run"), fs::Permissions::from_mode(0o750)).unwrap();
        let mut incoming = IncomingFolder::new(&to).unwrap();
        pieces(&from).chunks(777).for_each(|piece| incoming.take(piece).unwrap());
        assert!(!to.exists(), "it is there whole or not at all");
        assert_eq!(incoming.finish().unwrap(), Copied { files: 2, bytes: 100_002 });
        assert_eq!(fs::read(to.join("deep/file")).unwrap(), vec![7; 100_000]);
        assert_eq!(mode(&to.join("run")).unwrap(), 0o750);
        assert!(to.join("deep/empty").is_dir());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2);
    }

    #[test]
    fn no_file_becomes_readable_that_was_not_and_none_is_everybodys() {
        let home = tempfile::tempdir().unwrap();
        let kept = home.path().join("config");
        fs::write(&kept, "old").unwrap();
        fs::set_permissions(&kept, fs::Permissions::from_mode(0o600)).unwrap();
        for (name, theirs, ours) in
            [("key", 0o600, 0o600), ("run", 0o777, 0o755), ("shadow", 0o000, 0o600), ("config", 0o644, 0o600)]
        {
            let mut file = IncomingFile::new(&home.path().join(name), theirs).unwrap();
            file.take(b"new").unwrap();
            file.finish().unwrap();
            assert_eq!(mode(&home.path().join(name)).unwrap(), ours, "{name}");
        }
        let mut folder = IncomingFolder::new(&home.path().join("to")).unwrap();
        folder
            .take(&[tar::folder("deep", 0o777), tar::file("deep/a", 0o666, 0), tar::end()].concat())
            .unwrap();
        folder.finish().unwrap();
        let modes = ["to/deep", "to/deep/a"].map(|name| mode(&home.path().join(name)).unwrap());
        assert_eq!(modes, [0o755, 0o644]);
    }

    #[test]
    fn an_archive_writes_nothing_outside_of_its_folder() {
        let home = tempfile::tempdir().unwrap();
        for name in ["../evil", "/tmp/evil", "a/../../evil"] {
            let mut incoming = IncomingFolder::new(&home.path().join("to")).unwrap();
            assert!(incoming.take(&tar::file(name, 0o644, 0)).is_err(), "{name}");
        }
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_archive_that_breaks_off_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let mut incoming = IncomingFolder::new(&home.path().join("to")).unwrap();
        incoming.take(&tar::file("a", 0o644, 10)).unwrap();
        assert!(incoming.finish().is_err());
        let mut file = IncomingFile::new(&home.path().join("file"), 0o644).unwrap();
        file.take(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
