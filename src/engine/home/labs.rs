//! Every lab of this Mac, by what its disk tells: those that the home has a folder of, and those that have machines with our marks in
//! a Fusion's library. No guest is asked, nothing is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::host::fusion::Fusion;
use crate::host::lock::{self, Holder};
use crate::host::{Hypervisor, files};
use crate::lab::paths::{self, Home};
use crate::lab::spec::{self, Label, Word};

use super::lab_folder;
use super::made_from::{self, MadeFrom};
use crate::engine::error::Result;
use crate::engine::journal::{Journal, Last};
use crate::engine::vms::{bundle, library};

/// Whether a lab's file is where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileState {
    There,
    Gone,
    /// It means a lab of another name now, or none.
    AnotherLab,
}

/// One lab, in one Fusion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabSeen {
    pub name: String,
    /// What it was last made from; none if nobody wrote it down, or it cannot be read.
    pub made_from: Option<MadeFrom>,
    /// Of the file that it was made from; none if it was made from none, or nobody knows.
    pub file: Option<FileState>,
    /// The Fusion that it is in; none if that is not known, or not there any more.
    pub fusion: Option<Fusion>,
    /// Its machines in that Fusion's library, running or not.
    pub made: usize,
    /// How many of them run; none if Fusion does not say.
    pub running: Option<usize>,
    /// The last that its journal tells of.
    pub last: Option<Last>,
    /// Whoever works on it now.
    pub at_work: Option<Holder>,
    /// Its folder in the home; none if it has none.
    pub folder: Option<PathBuf>,
}

/// A Fusion with what runs in it.
pub struct Library {
    pub fusion: Fusion,
    /// VMX files of machines that run; none if Fusion does not say.
    running: Option<BTreeSet<PathBuf>>,
    /// Lab → VMX files of its machines.
    labs: BTreeMap<String, Vec<PathBuf>>,
}

impl Library {
    /// Looks at one Fusion's library.
    pub async fn look(fusion: Fusion, vms: &dyn Hypervisor) -> Self {
        let mut labs: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for (vmx, config) in library::vms(&fusion.library) {
            if let Some((lab, _)) = bundle::owner(&fusion.library, &vmx, &config) {
                labs.entry(lab).or_default().push(vmx);
            }
        }
        let running = vms.running().await.ok();
        Self { fusion, running, labs }
    }

    fn machines(&self, lab: &str) -> &[PathBuf] {
        self.labs.get(lab).map_or(&[], Vec::as_slice)
    }

    fn running(&self, lab: &str) -> Option<usize> {
        let running = self.running.as_ref()?;
        Some(self.machines(lab).iter().filter(|vmx| running.contains(&files::resolved(vmx))).count())
    }
}

/// Returns where the Fusions are that labs of this home were made in, as far as that is written down.
pub fn roots(home: &Home) -> Result<BTreeSet<PathBuf>> {
    let of = |name: &String| made_from::read(&home.lab(name)).ok().flatten().map(|record| record.fusion);
    Ok(folders(home)?.iter().filter_map(of).collect())
}

/// Lists the labs by name; one that has machines in several Fusions stands there once for each.
pub fn list(home: &Home, libraries: &[Library]) -> Result<Vec<LabSeen>> {
    let mut names = folders(home)?;
    names.extend(libraries.iter().flat_map(|library| library.labs.keys().cloned()));
    // What has another name is no lab's, whoever made it.
    names.retain(|name| Label::parse(name).is_ok());
    let mut labs = Vec::new();
    for name in &names {
        labs.extend(of_name(home, name, libraries)?);
    }
    Ok(labs)
}

/// Returns the names of the labs that have a folder, be it on its way out.
pub(super) fn folders(home: &Home) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for folder in files::list(&home.labs())?.into_iter().filter(|path| files::is_folder(path)) {
        let Some((name, is_leaving)) = paths::lab_of(&folder) else { continue };
        if is_leaving || lab_folder::is_ours(&home.lab(name))? {
            names.insert(name.to_owned());
        }
    }
    Ok(names)
}

fn of_name(home: &Home, name: &str, libraries: &[Library]) -> Result<Vec<LabSeen>> {
    let dir = home.lab(name);
    let made_from = made_from::read(&dir).ok().flatten();
    let is_its_own = |library: &Library| {
        made_from
            .as_ref()
            .is_some_and(|record| files::resolved(&record.fusion) == files::resolved(&library.fusion.root))
    };
    let seen = |library: Option<&Library>| -> Result<LabSeen> {
        Ok(LabSeen {
            name: name.to_owned(),
            file: made_from
                .as_ref()
                .and_then(|record| record.file.as_deref())
                .map(|file| state_of(file, name)),
            made_from: made_from.clone(),
            fusion: library.map(|library| library.fusion.clone()),
            made: library.map_or(0, |library| library.machines(name).len()),
            running: library.and_then(|library| library.running(name)),
            last: Journal::new(dir.journal(), "list").last()?,
            at_work: lock::holder(&home.lab_lock(name))?,
            folder: files::is_folder(dir.root()).then(|| dir.root().to_owned()),
        })
    };
    let in_it = |library: &&Library| is_its_own(library) || !library.machines(name).is_empty();
    let found: Vec<LabSeen> =
        libraries.iter().filter(in_it).map(|library| seen(Some(library))).collect::<Result<_>>()?;
    if found.is_empty() { Ok(vec![seen(None)?]) } else { Ok(found) }
}

/// Says what has become of the file that a lab was made from.
pub fn state_of(file: &Path, lab: &str) -> FileState {
    match files::read_if_exists(file) {
        Ok(None) => FileState::Gone,
        Ok(Some(bytes)) if spec::name_of(&String::from_utf8_lossy(&bytes)).as_deref() != Some(lab) => {
            FileState::AnotherLab
        }
        // One that may not be read is there.
        _ => FileState::There,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{Bench, Machines};
    use crate::lab::names;
    use crate::lab::presets::Preset;

    async fn listed(bench: &Bench) -> Vec<LabSeen> {
        let library = Library::look(bench.engine.fusion.clone(), bench.engine.vms.as_ref()).await;
        list(&bench.engine.home, &[library]).unwrap()
    }

    /// A Mac without any lab's folder.
    fn bench() -> Bench {
        let bench = Bench::new(Machines::default());
        files::remove_tree(bench.engine.dir.root(), &bench.engine.home.labs()).unwrap();
        bench
    }

    fn marked(bench: &Bench, lab: &str, node: &str, at: &Path) {
        let (of, name) = (names::VMX_LAB, names::VMX_NODE);
        bench.file(at, &format!("config.version = \"8\"\n{of} = \"{lab}\"\n{name} = \"{node}\"\n"));
    }

    #[tokio::test]
    async fn labs_are_found_by_their_folders_and_by_their_machines() {
        let bench = bench();
        assert_eq!(listed(&bench).await, []);
        let engine = &bench.engine;
        let vmx = |lab: &str, node: &str| paths::vmx_of(&paths::vm_bundle(&engine.fusion.library, lab, node));
        for node in ["gateway1", "k8s-master1"] {
            marked(&bench, "orphan", node, &vmx("orphan", node));
        }
        // A copy is nobody's machine.
        let copy = engine.fusion.library.join("orphan/copy.vmwarevm/gateway1.vmx");
        marked(&bench, "orphan", "gateway1", &copy);
        bench.machines.run(&vmx("orphan", "gateway1"));
        let file = bench.engine.home.0.join("mine.yaml");
        bench.file(&file, "version: 1\nname: mine\n");
        let dir = engine.home.lab("mine");
        let record = MadeFrom::new(&engine.lab, Some(Preset::Ha), Some(&file), &engine.fusion.root);
        made_from::write(&dir, &record).unwrap();
        bench.file(&engine.home.leaving("going").join("journal.jsonl"), "");
        bench.file(&engine.home.lab("it's; no lab\u{1b}[2J").journal(), "");

        let labs = listed(&bench).await;
        let told: Vec<_> = labs.iter().map(|lab| (lab.name.as_str(), lab.made, lab.running)).collect();
        assert_eq!(told, [("going", 0, None), ("mine", 0, Some(0)), ("orphan", 2, Some(1))]);
        assert_eq!((&labs[1].made_from, labs[1].file), (&Some(record), Some(FileState::There)));
        assert_eq!((&labs[2].made_from, &labs[2].folder), (&None, &None));
        assert!(labs.iter().all(|lab| lab.at_work.is_none() && lab.last.is_none()));

        bench.file(&file, "version: 1\n");
        assert_eq!(listed(&bench).await[1].file, Some(FileState::AnotherLab));
        files::remove_file(&file).unwrap();
        let _turn = lock::acquire(&engine.home.lab_lock("mine"), "mine", "up").unwrap();
        let mine = listed(&bench).await.remove(1);
        assert_eq!(mine.file, Some(FileState::Gone));
        assert_eq!(mine.at_work.unwrap().verb, "up");
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_not_known_and_hides_no_lab() {
        let bench = bench();
        let dir = bench.engine.home.lab("broken");
        bench.file(&dir.made_from(), "{");
        bench.file(&dir.journal(), "\u{0}not a record\n{\"version\":99}\n");
        let labs = listed(&bench).await;
        assert_eq!(labs.len(), 1);
        assert_eq!((&labs[0].made_from, &labs[0].last, labs[0].file), (&None, &None, None));
        assert_eq!(roots(&bench.engine.home).unwrap(), BTreeSet::new());
    }
}
