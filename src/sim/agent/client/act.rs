//! Changes to the guest's files, as the world wants them.
#![expect(
    clippy::disallowed_methods,
    reason = "a stand-in is a program of the guest's: these are its own files"
)]

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::sim::agent::protocol::{ETCD_FOLDER, Effect};

/// Makes the changes in their order; the error says which could not be made.
pub fn apply(root: &Path, effects: &[Effect]) -> Result<(), String> {
    for effect in effects {
        match effect {
            Effect::Write { path, file, durable } => {
                let place = under(root, path);
                let mode = file.mode & 0o7777;
                write(&place, mode, &file.content, *durable)
                    .map_err(|error| format!("write {path}: {error}"))?;
            }
            Effect::Remove { path } => {
                remove(&under(root, path)).map_err(|error| format!("remove {path}: {error}"))?;
            }
        }
    }
    Ok(())
}

/// Returns a guest's path below its root.
pub fn under(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn write(place: &Path, mode: u32, content: &[u8], durable: bool) -> io::Result<()> {
    let folder = place.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = place.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    // Nobody but root looks into etcd's folder, nor into its keys'.
    let private = folder.to_string_lossy().contains(ETCD_FOLDER);
    DirBuilder::new().recursive(true).mode(if private { 0o700 } else { 0o755 }).create(folder)?;
    let staged = folder.join(format!(".{name}.fusionlab-sim"));
    let mut file = File::create(&staged)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    if durable {
        file.sync_all()?;
    }
    fs::rename(&staged, place)?;
    if durable { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn remove(place: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(place) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(place),
        Ok(_) => fs::remove_file(place),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sim::agent::protocol::ETCD;
    use crate::sim::guest::state;

    #[test]
    fn files_are_whole_with_their_mode_and_go_with_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = |mode, text: &str| state::File {
            mode,
            owner: "root".into(),
            content: Arc::new(text.as_bytes().to_vec()),
        };
        let write = |path: &str, mode| Effect::Write {
            path: path.into(),
            file: file(mode, "x"),
            durable: path == ETCD,
        };
        apply(folder.path(), &[write("/etc/kubernetes/admin.conf", 0o600), write(ETCD, 0o600)]).unwrap();
        let mode =
            |path: &str| fs::metadata(under(folder.path(), path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("/etc/kubernetes/admin.conf"), mode(ETCD_FOLDER)), (0o600, 0o700));
        let gone = Effect::Remove { path: ETCD_FOLDER.into() };
        apply(folder.path(), &[gone.clone(), gone]).unwrap();
        assert!(!under(folder.path(), ETCD_FOLDER).exists());
        let error = apply(folder.path(), &[write("/etc/kubernetes/admin.conf/x", 0o600)]).unwrap_err();
        assert!(error.starts_with("write /etc/kubernetes/admin.conf/x: "), "{error}");
    }
}
