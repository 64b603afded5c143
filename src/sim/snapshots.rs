//! Snapshots and clones: the `.vmsd` file, and the disks it speaks of.

use std::path::{Path, PathBuf};

use super::disk;
use super::files;
use super::now_ms;
use super::power::{self, beside, number};
use super::refusal::Refusal;
use crate::formats::vmx::Vmx;

/// One snapshot as the `.vmsd` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    index: u32,
    pub uid: u32,
    pub name: String,
    /// The snapshot before it, by uid.
    pub parent: Option<u32>,
    /// The saved configuration.
    file: String,
    /// The disk as it was: nobody writes to it any more.
    disk: PathBuf,
    /// VMs that hang on it.
    pub clones: Vec<String>,
}

/// A VM's `.vmsd`: a dictionary like a VMX.
pub struct Snapshots {
    path: PathBuf,
    dictionary: Vmx,
}

impl Snapshots {
    pub fn load(vmx: &Path) -> Result<Self, Refusal> {
        let path = vmx.with_extension("vmsd");
        let text = files::read(&path)?.unwrap_or_default();
        let dictionary = if text.trim().is_empty() {
            Vmx::new()
        } else {
            Vmx::parse(&text).map_err(|error| Refusal::Unknown(error.to_string()))?
        };
        Ok(Self { path, dictionary })
    }

    fn save(&self) -> Result<(), Refusal> {
        Ok(files::write(&self.path, self.dictionary.render())?)
    }

    pub fn all(&self) -> Vec<Snapshot> {
        let count = number(&self.dictionary, "snapshot.numSnapshots").unwrap_or(0);
        (0..count).filter_map(|index| self.snapshot(index)).collect()
    }

    fn snapshot(&self, index: u32) -> Option<Snapshot> {
        let get = |key: &str| self.dictionary.get(&format!("snapshot{index}.{key}"));
        let clones = get("numClones").and_then(|count| count.parse().ok()).unwrap_or(0);
        Some(Snapshot {
            index,
            uid: get("uid")?.parse().ok()?,
            name: get("displayName")?,
            parent: get("parent").and_then(|uid| uid.parse().ok()),
            file: get("filename")?,
            disk: beside(&self.path, &get("disk0.fileName")?),
            clones: (0..clones).filter_map(|clone: u32| get(&format!("clone{clone}"))).collect(),
        })
    }

    /// Finds a snapshot by its name, or by `A/B` where names repeat.
    pub fn find(&self, name: &str) -> Option<Snapshot> {
        let all = self.all();
        if let Some(found) = all.iter().find(|snapshot| snapshot.name == name) {
            return Some(found.clone());
        }
        let (_, last) = name.rsplit_once('/')?;
        all.into_iter().find(|snapshot| snapshot.name == last)
    }

    /// Returns the snapshots as `listSnapshots showTree` does: each with its depth.
    pub fn tree(&self) -> Vec<(usize, Snapshot)> {
        fn below(all: &[Snapshot], parent: Option<u32>, depth: usize, tree: &mut Vec<(usize, Snapshot)>) {
            for snapshot in all.iter().filter(|snapshot| snapshot.parent == parent) {
                tree.push((depth, snapshot.clone()));
                below(all, Some(snapshot.uid), depth + 1, tree);
            }
        }
        let mut tree = Vec::new();
        below(&self.all(), None, 0, &mut tree);
        tree
    }

    fn set(&mut self, index: u32, key: &str, value: &str) {
        self.dictionary.set(&format!("snapshot{index}.{key}"), value);
    }

    fn record_clone(&mut self, snapshot: &Snapshot, clone: &Path) -> Result<(), Refusal> {
        let count = snapshot.clones.len();
        self.set(snapshot.index, &format!("clone{count}"), &clone.display().to_string());
        self.set(snapshot.index, "numClones", &(count + 1).to_string());
        self.save()
    }

    /// Takes a deleted clone out of the snapshot that it hung on.
    pub fn forget_clone(vmx: &Path, clone: &Path) -> Result<(), Refusal> {
        let mut snapshots = Self::load(vmx)?;
        let clone = clone.display().to_string();
        let all = snapshots.all();
        let Some(snapshot) = all.iter().find(|snapshot| snapshot.clones.contains(&clone)) else {
            return Ok(());
        };
        let left: Vec<&String> = snapshot.clones.iter().filter(|there| **there != clone).collect();
        for at in 0..snapshot.clones.len() {
            snapshots.dictionary.remove(&format!("snapshot{}.clone{at}", snapshot.index));
        }
        for (at, name) in left.iter().enumerate() {
            snapshots.set(snapshot.index, &format!("clone{at}"), name);
        }
        snapshots.set(snapshot.index, "numClones", &left.len().to_string());
        snapshots.save()
    }
}

/// Takes a snapshot of a stopped VM: its disk is frozen, and a child takes its place.
pub fn take(vmx: &Path, name: &str) -> Result<(), Refusal> {
    let mut config = power::open_vmx(vmx)?;
    let mut snapshots = Snapshots::load(vmx)?;
    let all = snapshots.all();
    if all.iter().any(|snapshot| snapshot.name == name) {
        return Err(Refusal::SnapshotExists);
    }
    let (node, disk) = power::disk_of(vmx, &config).ok_or(Refusal::NoFile)?;
    let uid = number(&snapshots.dictionary, "snapshot.lastUID").unwrap_or(0) + 1;
    let child = next_child(&disk);
    disk::make_child(&disk, &child, &file_name(&disk)).map_err(Refusal::Unknown)?;
    let file = format!("{}-Snapshot{uid}.vmsn", super::places::vm_name(vmx));
    files::write(&beside(vmx, &file), config.render())?;
    let (index, current) = (all.len() as u32, number(&snapshots.dictionary, "snapshot.current"));
    let time = now_ms() * 1000;
    let disk_name = file_name(&disk);
    for (key, value) in [
        ("uid", uid.to_string()),
        ("filename", file),
        ("displayName", name.to_owned()),
        ("createTimeHigh", (time >> 32).to_string()),
        ("createTimeLow", (time as u32).cast_signed().to_string()),
        ("numDisks", "1".to_owned()),
        ("disk0.fileName", disk_name),
        ("disk0.node", node.to_owned()),
    ] {
        snapshots.set(index, key, &value);
    }
    if let Some(parent) = current.filter(|uid| *uid > 0) {
        snapshots.set(index, "parent", &parent.to_string());
    }
    let dictionary = &mut snapshots.dictionary;
    dictionary.set("snapshot.lastUID", &uid.to_string());
    dictionary.set("snapshot.current", &uid.to_string());
    dictionary.set("snapshot.numSnapshots", &(index + 1).to_string());
    dictionary.set("snapshot.mru0.uid", &uid.to_string());
    snapshots.save()?;
    config.set(&format!("{node}.fileName"), &file_name(&child));
    Ok(files::write(vmx, config.render())?)
}

/// Goes back to a snapshot: what was written since is lost.
pub fn revert(vmx: &Path, name: &str) -> Result<(), Refusal> {
    let config = power::open_vmx(vmx)?;
    let mut snapshots = Snapshots::load(vmx)?;
    let snapshot = snapshots.find(name).ok_or(Refusal::NoSnapshot)?;
    let saved = files::read(&beside(vmx, &snapshot.file))?.ok_or(Refusal::NoFile)?;
    let mut reverted = Vmx::parse(&saved).map_err(|error| Refusal::Unknown(error.to_string()))?;
    let (node, leaf) = power::disk_of(vmx, &config).ok_or(Refusal::NoFile)?;
    let child = next_child(&snapshot.disk);
    disk::make_child(&snapshot.disk, &child, &file_name(&snapshot.disk)).map_err(Refusal::Unknown)?;
    if snapshots.all().iter().all(|other| other.disk != leaf) {
        files::remove(&leaf)?;
    }
    reverted.set(&format!("{node}.fileName"), &file_name(&child));
    snapshots.dictionary.set("snapshot.current", &snapshot.uid.to_string());
    snapshots.save()?;
    Ok(files::write(vmx, reverted.render())?)
}

/// Deletes a snapshot and, if wished, those below it. One that clones hang on stays (facts/vmrun-vmrest.md §2.1).
pub fn delete(vmx: &Path, name: &str, with_children: bool) -> Result<(), Refusal> {
    let config = power::open_vmx(vmx)?;
    let mut snapshots = Snapshots::load(vmx)?;
    let snapshot = snapshots.find(name).ok_or(Refusal::NoSnapshot)?;
    let mut all = snapshots.all();
    let mut doomed = vec![snapshot.uid];
    while let Some(next) = all.iter().find(|one| {
        with_children && one.parent.is_some_and(|uid| doomed.contains(&uid)) && !doomed.contains(&one.uid)
    }) {
        doomed.push(next.uid);
    }
    if all.iter().any(|one| doomed.contains(&one.uid) && !one.clones.is_empty()) {
        return Err(Refusal::InUse);
    }
    for one in all.iter().filter(|one| doomed.contains(&one.uid)) {
        files::remove(&beside(vmx, &one.file))?;
    }
    let heirs: Vec<(u32, Option<u32>)> = all.iter().map(|one| (one.uid, one.parent)).collect();
    let ancestor = |mut uid: Option<u32>| {
        while let Some(gone) = uid.filter(|uid| doomed.contains(uid)) {
            uid = heirs.iter().find(|(one, _)| *one == gone).and_then(|(_, parent)| *parent);
        }
        uid
    };
    let frozen: Vec<PathBuf> = all.iter().map(|one| one.disk.clone()).collect();
    let current = number(&snapshots.dictionary, "snapshot.current");
    let last = number(&snapshots.dictionary, "snapshot.lastUID").unwrap_or(0);
    let clones: Vec<(u32, Vec<String>)> = all.iter().map(|one| (one.uid, one.clones.clone())).collect();
    all.retain(|one| !doomed.contains(&one.uid));
    rewrite(&mut snapshots, &all, last, ancestor(current), &ancestor, &clones);
    snapshots.save()?;
    consolidate(vmx, &config, &frozen, &all)
}

/// Writes the dictionary anew with the snapshots that are left.
fn rewrite(
    snapshots: &mut Snapshots,
    left: &[Snapshot],
    last: u32,
    current: Option<u32>,
    ancestor: &dyn Fn(Option<u32>) -> Option<u32>,
    clones: &[(u32, Vec<String>)],
) {
    let old = std::mem::take(&mut snapshots.dictionary);
    let dictionary = &mut snapshots.dictionary;
    let of_clone = |key: &&str| !key.starts_with("snapshot") && !key.starts_with('.');
    for key in old.keys().filter(of_clone) {
        dictionary.set(key, &old.get(key).unwrap_or_default());
    }
    dictionary.set("snapshot.lastUID", &last.to_string());
    dictionary.set("snapshot.current", &current.unwrap_or(0).to_string());
    dictionary.set("snapshot.numSnapshots", &left.len().to_string());
    for (index, snapshot) in left.iter().enumerate() {
        for key in ["uid", "filename", "displayName", "createTimeHigh", "createTimeLow", "numDisks"]
            .into_iter()
            .chain(["disk0.fileName", "disk0.node"])
        {
            let value = old.get(&format!("snapshot{}.{key}", snapshot.index)).unwrap_or_default();
            dictionary.set(&format!("snapshot{index}.{key}"), &value);
        }
        if let Some(parent) = ancestor(snapshot.parent) {
            dictionary.set(&format!("snapshot{index}.parent"), &parent.to_string());
        }
        let hanging = clones.iter().find(|(uid, _)| *uid == snapshot.uid).map(|(_, clones)| clones);
        for (at, clone) in hanging.into_iter().flatten().enumerate() {
            dictionary.set(&format!("snapshot{index}.clone{at}"), clone);
            dictionary.set(&format!("snapshot{index}.numClones"), &(at + 1).to_string());
        }
    }
}

/// Puts a disk that no snapshot needs any more together with the VM's own.
fn consolidate(vmx: &Path, config: &Vmx, frozen: &[PathBuf], left: &[Snapshot]) -> Result<(), Refusal> {
    let Some((node, leaf)) = power::disk_of(vmx, config) else { return Ok(()) };
    if !left.is_empty() || !frozen.iter().any(|disk| *disk != leaf) {
        return Ok(());
    }
    // Nothing is frozen any more: the whole chain becomes one disk, under the first one's name.
    let first =
        disk::chain(&leaf).map_err(Refusal::Unknown)?.into_iter().rev().find(|disk| frozen.contains(disk));
    let Some(first) = first else { return Ok(()) };
    let whole = leaf.with_extension("merged");
    disk::flatten(&leaf, &whole).map_err(Refusal::Unknown)?;
    for disk in frozen.iter().chain([&leaf]) {
        files::remove(disk)?;
    }
    files::rename(&whole, &first)?;
    let mut config = config.clone();
    config.set(&format!("{node}.fileName"), &file_name(&first));
    Ok(files::write(vmx, config.render())?)
}

/// How a clone relates to its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloneKind {
    Full,
    Linked,
}

/// Clones a stopped VM.
pub fn clone(
    from: &Path,
    to: &Path,
    kind: CloneKind,
    snapshot: Option<&str>,
    name: Option<&str>,
) -> Result<(), Refusal> {
    let config = power::open_vmx(from)?;
    if to.extension().is_none_or(|extension| extension != "vmx") {
        return Err(Refusal::NotVmx(to.to_owned()));
    }
    if to.exists() {
        return Err(Refusal::Exists);
    }
    let mut snapshots = Snapshots::load(from)?;
    let found = match snapshot {
        Some(name) => Some(snapshots.find(name).ok_or(Refusal::NoSnapshot)?),
        None if kind == CloneKind::Linked => {
            // Without a name Fusion takes a snapshot of its own.
            let name = format!("Snapshot for {}", super::places::vm_name(to));
            take(from, &name)?;
            snapshots = Snapshots::load(from)?;
            snapshots.find(&name)
        }
        None => None,
    };
    let (node, current) = power::disk_of(from, &config).ok_or(Refusal::NoFile)?;
    let source = found.as_ref().map_or(current, |snapshot| snapshot.disk.clone());
    let folder = to.parent().unwrap_or(Path::new("/"));
    files::make_folder(folder)?;
    let mut cloned = match &found {
        Some(snapshot) => match files::read(&beside(from, &snapshot.file))? {
            Some(saved) => Vmx::parse(&saved).map_err(|error| Refusal::Unknown(error.to_string()))?,
            None => return Err(Refusal::NoFile),
        },
        None => config,
    };
    let disk = clone_disk(kind, &source, folder)?;
    describe_clone(&mut cloned, to, name, node, &disk);
    copy_nvram(from, to)?;
    files::write(&to.with_extension("vmxf"), "<?xml version=\"1.0\"?>\n<Foundry/>\n")?;
    files::write(&to.with_extension("vmsd"), origin(kind, from, &disk).render())?;
    files::write(to, cloned.render())?;
    match (kind, found) {
        (CloneKind::Linked, Some(snapshot)) => snapshots.record_clone(&snapshot, to),
        _ => Ok(()),
    }
}

fn clone_disk(kind: CloneKind, source: &Path, folder: &Path) -> Result<PathBuf, Refusal> {
    let stem = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let made = match kind {
        CloneKind::Linked => {
            let child = folder.join(format!("{stem}-cl1.vmdk"));
            let hint = source.display().to_string();
            disk::make_child(source, &child, &hint).map(|()| child)
        }
        CloneKind::Full => {
            let whole = folder.join(format!("{stem}.vmdk"));
            disk::flatten(source, &whole).map(|()| whole)
        }
    };
    made.map_err(Refusal::Unknown)
}

/// Makes the parent's configuration the clone's. A static MAC is copied: whoever clones must change it
/// (facts/vmrun-vmrest.md §2.3).
fn describe_clone(config: &mut Vmx, to: &Path, name: Option<&str>, node: &str, disk: &Path) {
    let own = super::places::vm_name(to);
    config.set("displayName", name.unwrap_or(&own));
    config.set("nvram", &format!("{own}.nvram"));
    config.set("extendedConfigFile", &format!("{own}.vmxf"));
    config.set(&format!("{node}.fileName"), &file_name(disk));
    let generated = |key: &str| key.to_ascii_lowercase().contains(".generatedaddress");
    let stale: Vec<String> = config.keys().filter(|key| generated(key)).map(str::to_owned).collect();
    for key in stale.iter().map(String::as_str).chain(["uuid.bios", "uuid.location", "vmci0.id"]) {
        config.remove(key);
    }
}

fn copy_nvram(from: &Path, to: &Path) -> Result<(), Refusal> {
    let nvram = from.with_extension("nvram");
    if nvram.exists() {
        files::copy(&nvram, &to.with_extension("nvram"))?;
    }
    Ok(())
}

/// Returns a clone's `.vmsd`: a linked one says what it hangs on.
fn origin(kind: CloneKind, from: &Path, disk: &Path) -> Vmx {
    let mut dictionary = Vmx::new();
    if kind == CloneKind::Linked {
        dictionary.set("cloneOf0", &from.display().to_string());
        dictionary.set("numCloneOf", "1");
        dictionary.set("sentinel0", &file_name(disk));
        dictionary.set("numSentinels", "1");
    }
    dictionary
}

/// Deletes a stopped VM with its files, and tells the VM that it hung on.
pub fn delete_vm(vmx: &Path) -> Result<(), Refusal> {
    let config = power::open_vmx(vmx)?;
    let snapshots = Snapshots::load(vmx)?;
    if snapshots.all().iter().any(|snapshot| !snapshot.clones.is_empty()) {
        return Err(Refusal::InUse);
    }
    if let Some(parent) = snapshots.dictionary.get("cloneOf0").map(PathBuf::from).filter(|vmx| vmx.exists()) {
        Snapshots::forget_clone(&parent, vmx)?;
    }
    let folder = vmx.parent().unwrap_or(Path::new("/"));
    let own = super::places::vm_name(vmx);
    let chain =
        power::disk_of(vmx, &config).and_then(|(_, disk)| disk::chain(&disk).ok()).unwrap_or_default();
    for disk in chain.iter().filter(|disk| disk.parent() == Some(folder)) {
        files::remove(disk)?;
    }
    let is_vmx = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "vmx");
    let all: Vec<String> = files::entries(folder)
        .iter()
        .filter(|path| is_vmx(path))
        .map(|path| super::places::vm_name(path))
        .collect();
    for file in files::entries(folder) {
        let name = file_name(&file);
        let known = ["vmware.log", "console.log"].contains(&name.as_str())
            || owner(&name, &all) == Some(own.as_str());
        if known || name.ends_with(".lck") {
            files::remove(&file)?;
        }
    }
    // A bundle with somebody's own files stays.
    if files::entries(folder).is_empty() {
        files::remove(folder)?;
    }
    Ok(())
}

/// Returns whose a file is of several VMs in one folder: of the one with the longest name that the file's begins with.
fn owner<'a>(file: &str, vms: &'a [String]) -> Option<&'a str> {
    vms.iter().filter(|vm| file.starts_with(vm.as_str())).max_by_key(|vm| vm.len()).map(String::as_str)
}

/// Returns the name of the next child disk: `disk-000001.vmdk`.
fn next_child(disk: &Path) -> PathBuf {
    let stem = disk.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let base = match stem.rsplit_once('-') {
        Some((base, digits)) if digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            base
        }
        _ => &stem,
    };
    let candidates = (1..).map(|count| disk.with_file_name(format!("{base}-{count:06}.vmdk")));
    candidates.into_iter().find(|path| !path.exists()).expect("the numbers do not end before the files do")
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_whose_name_begins_with_anothers_keeps_its_files() {
        let vms = ["worker1", "worker10"].map(str::to_owned);
        for (file, of) in [
            ("worker1.vmx", Some("worker1")),
            ("worker1-000001.vmdk", Some("worker1")),
            ("worker10.vmx", Some("worker10")),
            ("worker10-Snapshot1.vmsn", Some("worker10")),
            ("notes.txt", None),
        ] {
            assert_eq!(owner(file, &vms), of, "{file}");
        }
    }
}
