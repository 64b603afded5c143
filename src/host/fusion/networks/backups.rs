//! The networking file before each change, by time and digest: `20261126T142355Z-0a1b2c3d4e5f`.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::host::{HostError, Result, clock, files};

/// How many backups are kept, beside the one that an unfinished change needs.
const KEPT: usize = 20;
/// Digits of the digest in a backup's name.
const DIGITS: usize = 12;
/// Characters of the time in a backup's name.
const TIME: usize = "20261126T142355Z".len();

/// The networking file as it once was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Such as `20261126T142355Z-0a1b2c3d4e5f`.
    pub name: String,
    pub path: PathBuf,
    /// When it was taken, in RFC 3339.
    pub taken: String,
    /// SHA-256 (hex) of its bytes.
    pub digest: String,
    pub bytes: u64,
}

/// Returns the SHA-256 of bytes in hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Keeps the bytes as a backup, unless the newest one has them already; returns its name.
pub(super) fn keep(folder: &Path, bytes: &[u8]) -> Result<String> {
    let digest = digest(bytes);
    if let Some(newest) = list(folder)?.into_iter().next()
        && newest.digest == digest
    {
        return Ok(newest.name);
    }
    files::create_private_dir(folder)?;
    let taken: String =
        clock::rfc3339(clock::now()).chars().filter(|char| !matches!(char, '-' | ':')).collect();
    let name = format!("{taken}-{}", &digest[..DIGITS]);
    let path = folder.join(&name);
    files::write_atomic(&path, bytes, files::PRIVATE_FILE)?;
    if files::read(&path)? == bytes {
        return Ok(name);
    }
    Err(HostError::Content { path, reason: "the backup is not what was written".to_owned() })
}

/// Removes the oldest backups but for the one of this name.
pub(super) fn prune(folder: &Path, needed: Option<&str>) -> Result<()> {
    for backup in list(folder)?.into_iter().skip(KEPT).filter(|backup| Some(&*backup.name) != needed) {
        files::remove_file(&backup.path)?;
    }
    Ok(())
}

/// Returns all backups, newest first. Files of other names are none.
pub(super) fn list(folder: &Path) -> Result<Vec<Backup>> {
    let mut found = Vec::new();
    for path in files::list(folder)? {
        let name = files::name_of(&path);
        let Some(taken) = taken(&name) else { continue };
        let bytes = files::read(&path)?;
        // Of one second, the one written last is the newest.
        let written = files::modified(&path)?;
        let backup = Backup { digest: digest(&bytes), bytes: bytes.len() as u64, name, path, taken };
        found.push((backup.taken.clone(), written, backup));
    }
    found.sort_by(|one, other| (&other.0, other.1).cmp(&(&one.0, one.1)));
    Ok(found.into_iter().map(|(.., backup)| backup).collect())
}

/// Reads the backup of this name, or the only one whose name or digest begins so.
pub(super) fn read(folder: &Path, wanted: &str) -> Result<Vec<u8>> {
    let begins = |backup: &&Backup| backup.name.starts_with(wanted) || backup.digest.starts_with(wanted);
    let all = list(folder)?;
    let found: Vec<&Backup> = match all.iter().find(|backup| backup.name == wanted) {
        Some(exact) => vec![exact],
        None => all.iter().filter(begins).filter(|_| !wanted.is_empty()).collect(),
    };
    let several = |backup: &&&Backup| backup.digest != found[0].digest;
    let problem = match found.first() {
        None => Some(format!("there is no backup {wanted:?}")),
        Some(_) if found.iter().any(|backup| several(&backup)) => {
            Some(format!("{} backups begin with {wanted:?}", found.len()))
        }
        Some(_) => None,
    };
    if let Some(reason) = problem {
        return Err(HostError::Content { path: folder.to_owned(), reason });
    }
    let Backup { name, path, .. } = found[0];
    let bytes = files::read(path)?;
    if digest(&bytes).starts_with(&name[TIME + 1..]) {
        return Ok(bytes);
    }
    let reason = "its bytes do not have the digest in its name".to_owned();
    Err(HostError::Content { path: path.clone(), reason })
}

/// Returns the time in a backup's name, in RFC 3339; none if the name is not one.
fn taken(name: &str) -> Option<String> {
    let (time, digits) = name.split_at_checked(TIME)?;
    let hex = |text: &str| text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hex(digits.strip_prefix('-')?) {
        return None;
    }
    let shape: String = time.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
    let part = |from: usize, to: usize| &time[from..to];
    (shape == "00000000T000000Z").then(|| {
        format!(
            "{}-{}-{}T{}:{}:{}Z",
            part(0, 4),
            part(4, 6),
            part(6, 8),
            part(9, 11),
            part(11, 13),
            part(13, 15)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_found_by_any_unique_beginning_and_its_digest_is_checked() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("backups");
        assert_eq!(list(&folder).unwrap(), []);
        let first = keep(&folder, b"one").unwrap();
        assert_eq!(keep(&folder, b"one").unwrap(), first, "the same bytes are kept once");
        let second = keep(&folder, b"two").unwrap();
        let all = list(&folder).unwrap();
        assert_eq!(all.iter().map(|backup| &backup.name).collect::<Vec<_>>(), [&second, &first]);
        assert_eq!((all[1].digest.clone(), all[1].bytes), (digest(b"one"), 3));
        assert!(all[0].taken.ends_with('Z') && all[0].taken.as_bytes()[10] == b'T', "{}", all[0].taken);
        assert_eq!(files::ownership(&all[0].path).unwrap().mode, files::PRIVATE_FILE);
        for wanted in [&*first, &digest(b"one")[..6], &digest(b"one")] {
            assert_eq!(read(&folder, wanted).unwrap(), b"one");
        }
        for wanted in ["", "20", "nothing"] {
            assert!(matches!(read(&folder, wanted), Err(HostError::Content { .. })), "{wanted:?}");
        }
        files::write_atomic(&folder.join(&first), b"eno", files::PRIVATE_FILE).unwrap();
        assert!(read(&folder, &first).unwrap_err().to_string().contains("do not have the digest"));
    }

    #[test]
    fn the_newest_twenty_stay_and_the_one_that_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let name = |day: u8| format!("202601{day:02}T000000Z-{}", &digest(&[day])[..DIGITS]);
        for day in 1..=25 {
            files::write_atomic(&folder.join(name(day)), &[day], files::PRIVATE_FILE).unwrap();
        }
        files::write_atomic(&folder.join("notes"), b"", files::PRIVATE_FILE).unwrap();
        prune(folder, Some(&name(2))).unwrap();
        let left: Vec<String> = list(folder).unwrap().into_iter().map(|backup| backup.name).collect();
        let mut expected: Vec<String> = (6..=25).rev().map(name).collect();
        expected.push(name(2));
        assert_eq!(left, expected);
        assert!(files::exists(&folder.join("notes")));
    }
}
