//! A lab's folder: what fusionlab made in it, and what it did not, since the home may be a folder of the user's own.

use std::path::{Path, PathBuf};

use crate::host::files;
use crate::lab::paths::{Home, LabDir};

use crate::engine::error::Result;

/// How the names end of what stands beside a file or folder of ours for a while: an identity that is being replaced (`store`), and
/// what kubectl, ssh-keygen and editors leave.
const BESIDE: [&str; 4] = [".new", ".old", ".lock", "~"];

/// What is in a lab's folder.
struct Contents {
    ours: Vec<PathBuf>,
    strangers: Vec<PathBuf>,
}

impl Contents {
    fn of(dir: &LabDir) -> Result<Self> {
        let half_written = files::half_written(dir.root())?;
        let is_ours = |path: &PathBuf| half_written.contains(path) || is_named_as_ours(dir, path);
        let (ours, strangers) = files::list(dir.root())?.into_iter().partition(is_ours);
        Ok(Self { ours, strangers })
    }
}

/// Says whether a folder is a lab's: something of ours is in it, or nothing at all, as where its making was cut short.
pub fn is_ours(dir: &LabDir) -> Result<bool> {
    if !files::is_folder(dir.root()) {
        return Ok(false);
    }
    let inside = Contents::of(dir)?;
    Ok(inside.strangers.is_empty() || !inside.ours.is_empty())
}

/// Removes a lab's folder as one thing, or where there is something else in it only what is ours. Returns what stays.
pub fn remove(home: &Home, lab: &str) -> Result<Vec<PathBuf>> {
    let dir = home.lab(lab);
    let Contents { ours, strangers } = Contents::of(&dir)?;
    if strangers.is_empty() {
        files::remove_by_way_of(&home.leaving(lab), dir.root(), &home.labs())?;
        return Ok(strangers);
    }
    files::remove_tree(&home.leaving(lab), &home.labs())?;
    for path in ours {
        if files::is_folder(&path) && !files::is_link(&path) {
            files::remove_tree(&path, dir.root())?;
        } else {
            files::remove_file(&path)?;
        }
    }
    Ok(strangers)
}

fn is_named_as_ours(dir: &LabDir, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let bare = BESIDE.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    name == files::OF_THE_FINDER || dir.contents().contains(&dir.root().join(bare))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{Bench, Machines};

    #[test]
    fn what_the_user_keeps_in_a_folder_of_that_name_stays() {
        let bench = Bench::new(Machines::default());
        let (home, dir) = (&bench.engine.home, bench.engine.home.lab("mine"));
        assert!(!is_ours(&dir).unwrap(), "there is none");
        files::create_dir(dir.root()).unwrap();
        assert!(is_ours(&dir).unwrap(), "its making was cut short");
        let theirs = [dir.root().join("ansible/site.yaml"), dir.root().join("notes.txt")];
        for file in &theirs {
            bench.file(file, "theirs");
        }
        assert!(!is_ours(&dir).unwrap());
        for file in [dir.journal(), dir.logs().join("run/events.jsonl"), dir.root().join("kubeconfig.lock")] {
            bench.file(&file, "ours");
        }
        assert!(is_ours(&dir).unwrap());
        let stay = [dir.root().join("ansible"), dir.root().join("notes.txt")];
        assert_eq!(remove(home, "mine").unwrap(), stay);
        assert_eq!(files::list(dir.root()).unwrap(), stay);
        assert!(theirs.iter().all(|file| files::exists(file)) && !is_ours(&dir).unwrap());
    }

    #[test]
    fn a_folder_of_ours_alone_goes_as_one_thing() {
        let bench = Bench::new(Machines::default());
        let (home, dir) = (&bench.engine.home, bench.engine.home.lab("mine"));
        let finders = dir.root().join(files::OF_THE_FINDER);
        for file in dir.contents().into_iter().chain([finders, dir.root().join("known_hosts.old")]) {
            bench.file(&file, "ours");
        }
        bench.file(&dir.identity().with_extension("new").join("token"), "half an identity");
        assert_eq!(remove(home, "mine").unwrap(), [] as [PathBuf; 0]);
        assert!(!files::exists(dir.root()));
    }
}
