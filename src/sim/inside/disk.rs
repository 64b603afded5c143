//! What of the product's files would not outlive a power cut: bytes that were not synced, and names that were not.
#![expect(clippy::disallowed_methods, reason = "a power cut reaches into files past everything")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::host::stand_in::Effect;

/// Everything that is still in memory only.
#[derive(Default)]
pub struct Unsynced {
    /// Files with bytes that are not on the disk, and how many of theirs are.
    bytes: BTreeMap<PathBuf, u64>,
    /// Names that lead to a new file or folder in memory, and on the disk still to an old file, or to nothing.
    names: Vec<(PathBuf, Option<Vec<u8>>)>,
}

impl Unsynced {
    /// Takes note of an effect that is about to happen.
    pub fn note(&mut self, effect: Effect<'_>) {
        match effect {
            Effect::Write(path, _) => {
                let length = fs::metadata(path).map_or(0, |facts| facts.len());
                self.bytes.entry(path.to_owned()).or_insert(length);
            }
            Effect::Sync(path) => {
                self.bytes.remove(path);
            }
            Effect::Rename { from, to } => {
                if let Some(length) = self.bytes.remove(from) {
                    self.bytes.insert(to.to_owned(), length);
                }
                if from.is_file() {
                    self.names.push((to.to_owned(), fs::read(to).ok()));
                }
            }
            Effect::SyncFolder(folder) => self.names.retain(|(name, _)| name.parent() != Some(folder)),
            Effect::Remove(path) => {
                self.bytes.retain(|name, _| !name.starts_with(path));
                self.names.retain(|(name, _)| !name.starts_with(path));
            }
            Effect::Create(path) if fs::symlink_metadata(path).is_err() => {
                self.names.push((path.to_owned(), None));
            }
            Effect::Create(_) | Effect::SetMode(_) => {}
        }
    }

    /// Loses what is not on the disk, or some of it; returns what became of which file.
    pub fn lose(&mut self, draw: &mut dyn FnMut() -> u64) -> Vec<String> {
        let mut said = Vec::new();
        for (path, synced) in std::mem::take(&mut self.bytes) {
            let Ok(length) = fs::metadata(&path).map(|facts| facts.len()) else { continue };
            let kept = synced.min(length) + draw() % (length.saturating_sub(synced) + 1);
            let kept = if draw().is_multiple_of(2) { synced.min(length) } else { kept };
            if kept < length && cut(&path, kept).is_ok() {
                said.push(format!("of {} there are {kept} bytes of {length}", path.display()));
            }
        }
        for (name, old) in std::mem::take(&mut self.names).into_iter().rev() {
            if draw().is_multiple_of(2) {
                continue;
            }
            let (back, became) = match old {
                Some(bytes) if name.is_file() => (fs::write(&name, bytes), "the one from before"),
                None if name.is_file() => (fs::remove_file(&name), "gone"),
                None if name.is_dir() => (fs::remove_dir_all(&name), "gone with all that was in it"),
                _ => continue,
            };
            if back.is_ok() {
                said.push(format!("{} is {became}", name.display()));
            }
        }
        said
    }
}

fn cut(path: &Path, length: u64) -> std::io::Result<()> {
    fs::OpenOptions::new().write(true).open(path)?.set_len(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_outlives_a_power_cut_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let (synced, unsynced) = (folder.path().join("synced"), folder.path().join("unsynced"));
        let mut memory = Unsynced::default();
        for path in [&synced, &unsynced] {
            memory.note(Effect::Write(path, 4));
            fs::write(path, b"text").unwrap();
        }
        memory.note(Effect::Sync(&synced));
        memory.lose(&mut || 0);
        assert_eq!(fs::read(&synced).unwrap(), b"text");
        assert_eq!(fs::read(&unsynced).unwrap(), b"");
    }

    #[test]
    fn what_was_just_made_may_be_gone_until_the_names_beside_it_are_synced() {
        let folder = tempfile::tempdir().unwrap();
        let (file, below) = (folder.path().join("file"), folder.path().join("below"));
        for synced in [true, false] {
            let mut memory = Unsynced::default();
            for path in [&file, &below] {
                memory.note(Effect::Create(path));
            }
            fs::write(&file, b"text").unwrap();
            fs::create_dir_all(&below).unwrap();
            memory.note(Effect::Create(&file));
            if synced {
                memory.note(Effect::SyncFolder(folder.path()));
            }
            let said = memory.lose(&mut || 1);
            assert_eq!(
                (file.exists(), below.exists(), said.len()),
                (synced, synced, if synced { 0 } else { 2 })
            );
            let _ = (fs::remove_file(&file), fs::remove_dir(&below));
        }
    }

    #[test]
    fn a_name_that_was_not_synced_may_lead_to_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("file"), folder.path().join("new"));
        for synced in [false, true] {
            fs::write(&old, b"old").unwrap();
            fs::write(&new, b"new").unwrap();
            let mut memory = Unsynced::default();
            memory.note(Effect::Rename { from: &new, to: &old });
            fs::rename(&new, &old).unwrap();
            if synced {
                memory.note(Effect::SyncFolder(folder.path()));
            }
            memory.lose(&mut || 1);
            assert_eq!(fs::read(&old).unwrap(), if synced { b"new" } else { b"old" });
        }
    }
}
