//! What a verb finds of an earlier run that did not come to its end: recognised, told in one line, and swept up.
//!
//! ```text
//! lock ─▶ sweep (half-written files) ─▶ the journal: a run that was cut off? ─▶ plan from what stands ─▶ begin
//!   └ its text: a holder that was killed                        status and plan look at both and change nothing
//! ```

use std::path::PathBuf;

use crate::host::files;
use crate::host::lock::{self, Holder};
use crate::lab::paths::Home;

use super::lab_lock::HeldLab;
use crate::engine::error::Result;
use crate::engine::journal::runs::CutOff;
use crate::engine::journal::{Journal, Last};

/// What else is to be known before a lab is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Before {
    pub cut_off: Option<CutOff>,
    /// Whoever works on the lab now.
    pub at_work: Option<Holder>,
    /// What was done to the lab last, if nobody is at work.
    pub last: Option<Last>,
    /// Whoever was killed while Fusion's networks were its own, if that was another run than the one that was cut off.
    pub networks: Option<Holder>,
}

/// Looks at what an earlier run left, and at who works now. Nothing is changed. Whoever has the lab knows what its lock said
/// before; who has not taken it has a look.
pub fn look(home: &Home, lab: &str, journal: &Journal, held: Option<&HeldLab>) -> Result<Before> {
    let (trace, ours) = match held {
        Some(held) => (held.lock.taken_over.clone(), true),
        None => (lock::trace(&home.lab_lock(lab))?, false),
    };
    if let Some(trace) = trace.as_ref().filter(|trace| trace.held && !ours) {
        return Ok(Before { at_work: Some(trace.holder.clone()), ..Before::default() });
    }
    let cut_off = journal.cut_off()?;
    let cut_off = match (cut_off, trace) {
        // It touched its lock after its last record.
        (Some(run), Some(trace)) if trace.holder.pid == run.pid => {
            Some(CutOff { at_ms: run.at_ms.max(trace.heard_ms), ..run })
        }
        (None, Some(trace)) if ours => Some(CutOff::of_lock(&trace)),
        (run, _) => run,
    };
    let is_another = |holder: &&Holder| cut_off.as_ref().is_none_or(|run| run.pid != holder.pid);
    let networks = held.and_then(|held| held.networks.as_ref()).filter(is_another).cloned();
    Ok(Before { cut_off, at_work: None, last: journal.last()?, networks })
}

/// Removes what killed runs were writing, or removing, where nobody else writes now: the lab's folders, whose lock is held,
/// and the records of Fusion's networks unless somebody works on these. Returns whoever was killed with those.
pub fn sweep(home: &Home, lab: &str, machines: Vec<PathBuf>) -> Result<Option<Holder>> {
    let machines = machines.into_iter().filter(|path| files::is_folder(path));
    for folder in folders_of_lab(home, lab).into_iter().chain(folder_of_all(home)).chain(machines) {
        files::sweep(&folder)?;
    }
    files::remove_tree(&home.leaving(lab), &home.labs())?;
    sweep_networks(home)
}

/// Removes what killed runs were writing of the records of Fusion's networks, unless somebody works on these. Returns whoever
/// was killed while they were its own.
pub fn sweep_networks(home: &Home) -> Result<Option<Holder>> {
    if !files::is_folder(&home.network()) {
        return Ok(None);
    }
    let Ok(turn) = lock::acquire(&home.network_lock(), "Fusion's networking file", "sweep") else {
        return Ok(None);
    };
    folders_of_networks(home)?.iter().try_for_each(|folder| files::sweep(folder))?;
    Ok(turn.taken_over.as_ref().map(|trace| trace.holder.clone()))
}

/// Returns the folders in which runs on a lab write, but for those of its machines, as far as they are there.
pub fn folders_of_lab(home: &Home, lab: &str) -> Vec<PathBuf> {
    let dir = home.lab(lab);
    [dir.root().to_owned(), dir.identity()].into_iter().filter(|path| files::is_folder(path)).collect()
}

/// Returns the folder in which runs on any lab write, if it is there.
pub fn folder_of_all(home: &Home) -> Option<PathBuf> {
    Some(home.all_runs()).filter(|path| files::is_folder(path))
}

/// Returns the folders with the records of Fusion's networks, as far as they are there.
pub fn folders_of_networks(home: &Home) -> Result<Vec<PathBuf>> {
    let network = home.network();
    if !files::is_folder(&network) {
        return Ok(Vec::new());
    }
    let below = files::list(&network)?.into_iter().filter(|path| files::is_folder(path));
    Ok(below.chain([network.clone()]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_holder_is_told_by_whoever_takes_its_lock() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home(folder.path().to_owned());
        let path = home.lab_lock("lab");
        let journal = Journal::new(home.lab("lab").journal(), "up");
        let dead = Holder { pid: 4711, boot: "an earlier boot".to_owned(), ..Holder::ourselves("destroy") };
        files::create_dir(&home.locks()).unwrap();
        files::write_atomic(&path, &serde_json::to_vec(&dead).unwrap(), files::PRIVATE_FILE).unwrap();
        assert_eq!(look(&home, "lab", &journal, None).unwrap(), Before::default(), "it changed nothing");
        let lock = lock::acquire(&path, "lab lab", "up").unwrap();
        let held = HeldLab { lock, networks: Some(dead.clone()) };
        let before = look(&home, "lab", &journal, Some(&held)).unwrap();
        let found = before.cut_off.unwrap();
        assert_eq!((found.verb.as_str(), found.pid, found.steps.len()), ("destroy", 4711, 0));
        assert_eq!(before.networks, None, "the same run is told once");
        let held = HeldLab { networks: Some(Holder { pid: 4712, ..dead }), ..held };
        let before = look(&home, "lab", &journal, Some(&held)).unwrap();
        assert_eq!(before.networks.unwrap().pid, 4712, "another lab's");
        assert_eq!(look(&home, "lab", &journal, None).unwrap().at_work.unwrap().verb, "up");
    }

    #[test]
    fn a_sweep_takes_half_written_files_and_leaves_the_networks_to_whoever_works_on_them() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home(folder.path().to_owned());
        let half = ".fusionlab-aB3dE6";
        let backups = home.network().join("backups");
        let (lab, runs) = (home.lab("lab"), home.all_runs());
        let places = [lab.root().to_owned(), lab.identity(), runs, home.network(), backups];
        let plant = || {
            for place in &places {
                files::create_dir(place).unwrap();
                files::write_atomic(&place.join(half), b"", files::PRIVATE_FILE).unwrap();
            }
        };
        let left = || places.iter().filter(|place| files::exists(&place.join(half))).count();
        plant();
        files::create_dir(&home.leaving("lab").join("identity")).unwrap();
        sweep(&home, "lab", Vec::new()).unwrap();
        assert_eq!(left(), 0);
        assert!(!files::exists(&home.leaving("lab")) && files::exists(home.lab("lab").root()));
        plant();
        let _turn = lock::acquire(&home.network_lock(), "the networks", "up").unwrap();
        sweep(&home, "lab", Vec::new()).unwrap();
        assert_eq!(left(), 2);
    }
}
