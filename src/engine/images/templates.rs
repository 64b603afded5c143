//! The templates in the home folder, whichever lab made them: who uses them, what they take, and what may go.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::formats::vmdk;
use crate::formats::vmx::Vmx;
use crate::host::fusion::{Fusion, vmx_file};
use crate::host::lock::{self, Lock, Occupant};
use crate::host::{HostError, Hypervisor, Result, Stop, files};
use crate::lab::names;
use crate::lab::paths::Home;
use crate::stack::vm::is_template_key;

use super::template::{Manifest, Stage, TemplateDir};
use crate::engine::home::lab_lock::{self, Patience};
use crate::engine::vms::library;

/// A disk with more layers than this is a loop.
const MOST_LAYERS: usize = 256;

/// One template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub dir: TemplateDir,
    /// None if there is none that can be read.
    pub manifest: Option<Manifest>,
    /// Room that it takes on the disk.
    pub bytes: u64,
    /// Names of the labs whose VMs were made from it.
    pub used_by: Vec<String>,
    /// VMX files of the VMs whose disks hang on its own.
    pub hanging: Vec<PathBuf>,
    /// Where VMs may be that nobody can look at now ([`library::unseen`]): their disks may hang on it, too.
    pub unseen: Vec<PathBuf>,
}

impl Template {
    pub fn is_finished(&self) -> bool {
        self.manifest.as_ref().is_some_and(|manifest| manifest.stage == Stage::Frozen)
    }

    /// Says whether it may go without harm: nobody's disk hangs on it, and no lab could want another machine of it.
    pub fn is_unused(&self) -> bool {
        self.used_by.is_empty() && self.hanging.is_empty() && self.unseen.is_empty()
    }
}

/// Lists the templates: real folders under the name of one, since the home may be a folder of the user's own. A lab uses a
/// template if one of its VMs in the library bears the template's mark.
pub fn list(home: &Home, fusion: &Fusion) -> Result<Vec<Template>> {
    let vms = known_vms(fusion);
    let (layered, unseen) = (Layered::of_vms(&vms), library::unseen(fusion));
    let mut templates = Vec::new();
    for root in files::list(&home.templates())? {
        let key = files::name_of(&root);
        if !is_template_key(&key) || !files::is_folder(&root) || files::is_link(&root) {
            continue;
        }
        let dir = TemplateDir { key, root };
        templates.push(Template {
            manifest: dir.read().unwrap_or_default(),
            bytes: allocated(&dir.root)?,
            used_by: labs_of(&dir.key, &vms),
            hanging: layered.hanging_on(&dir.root),
            unseen: unseen.clone(),
            dir,
        });
    }
    Ok(templates)
}

fn labs_of(key: &str, vms: &[(PathBuf, Vmx)]) -> Vec<String> {
    let made_from = |vmx: &Vmx| vmx.get(names::VMX_TEMPLATE).as_deref() == Some(key);
    let labs = vms.iter().filter(|(_, vmx)| made_from(vmx)).filter_map(|(_, vmx)| vmx.get(names::VMX_LAB));
    labs.collect::<BTreeSet<_>>().into_iter().collect()
}

/// VMs by their VMX files, each with the files that its disks are layers over: read once, and asked of many folders.
pub struct Layered(Vec<(PathBuf, Vec<PathBuf>)>);

impl Layered {
    /// Reads those of every VM that is known.
    pub fn of(fusion: &Fusion) -> Self {
        Self::of_vms(&known_vms(fusion))
    }

    fn of_vms(vms: &[(PathBuf, Vmx)]) -> Self {
        let below = |vmx: &Path, config: &Vmx| {
            disks(config).flat_map(|disk| layers(&beside(vmx, &disk)).collect::<Vec<_>>()).collect()
        };
        Self(vms.iter().map(|(vmx, config)| (vmx.clone(), below(vmx, config))).collect())
    }

    /// Returns the VMs whose disks are layers over one in a folder that is not their own: a template's, or another VM's.
    pub fn hanging_on(&self, folder: &Path) -> Vec<PathBuf> {
        let folder = files::resolved(folder);
        // A VM's own snapshots are layers in its own folder.
        let hangs = |(vmx, below): &&(PathBuf, Vec<PathBuf>)| {
            below.iter().any(|layer| layer.starts_with(&folder)) && !files::resolved(vmx).starts_with(&folder)
        };
        self.0.iter().filter(hangs).map(|(vmx, _)| vmx.clone()).collect()
    }
}

/// As [`Layered::hanging_on`], of one folder.
pub fn hanging_on(fusion: &Fusion, folder: &Path) -> Vec<PathBuf> {
    Layered::of(fusion).hanging_on(folder)
}

/// Returns the VMs in the library, and those elsewhere that Fusion's window knows of: somebody may have moved one to
/// another disk.
fn known_vms(fusion: &Fusion) -> Vec<(PathBuf, Vmx)> {
    let mut vms: Vec<(PathBuf, Vmx)> = library::vms(&fusion.library).collect();
    let known: BTreeSet<PathBuf> = vms.iter().map(|(vmx, _)| files::resolved(vmx)).collect();
    let elsewhere = vmx_file::listed(fusion).into_iter().filter(|vmx| !known.contains(&files::resolved(vmx)));
    vms.extend(elsewhere.filter_map(|vmx| Some((vmx.clone(), vmx_file::read(&vmx).ok()??))));
    vms
}

/// Returns the template that a VM's disks are layers over, as far as that can be read; none if they hang on none.
pub fn under(home: &Home, vmx: &Path) -> Option<TemplateDir> {
    let templates = files::resolved(&home.templates());
    let config = vmx_file::read(vmx).ok()??;
    let parents = disks(&config).flat_map(|disk| layers(&beside(vmx, &disk)).collect::<Vec<_>>());
    let key = parents.into_iter().find_map(|layer| {
        let below = layer.strip_prefix(&templates).ok()?.iter().next()?;
        Some(below.to_string_lossy().into_owned())
    })?;
    Some(TemplateDir { root: home.template(&key), key })
}

/// Returns what lies under a disk, nearest first, as far as it can be followed.
fn layers(disk: &Path) -> impl Iterator<Item = PathBuf> {
    let parent = |disk: &PathBuf| {
        let info = vmdk::inspect(&files::open(disk).ok()?).ok()?;
        info.parent_cid?;
        Some(files::resolved(&beside(disk, &info.parent_hint?)))
    };
    std::iter::successors(parent(&disk.to_owned()), parent).take(MOST_LAYERS)
}

/// Returns the files that a VM's disks are made of and that are not there: its own, or those that these hang on.
pub fn lost_disks(vmx: &Path, config: &Vmx) -> Vec<PathBuf> {
    let own: Vec<PathBuf> = disks(config).map(|disk| beside(vmx, &disk)).collect();
    let layers: Vec<PathBuf> = own.iter().flat_map(|disk| layers(disk)).collect();
    let mut lost: Vec<PathBuf> = own.into_iter().chain(layers).filter(|file| !files::exists(file)).collect();
    lost.dedup();
    lost
}

fn disks(config: &Vmx) -> impl Iterator<Item = String> {
    let named = config.keys().filter(|key| key.to_ascii_lowercase().ends_with(".filename"));
    named.filter_map(|key| config.get(key)).filter(|file| file.ends_with(".vmdk"))
}

/// Returns a file by the name that another one calls it: absolute, or relative to that one's folder.
fn beside(file: &Path, name: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(name)
}

/// Stops a template's machine if it runs, and removes the template; whoever calls has seen that nothing hangs on it.
pub async fn remove(vms: &dyn Hypervisor, dir: &TemplateDir) -> Result<()> {
    let vmx = files::resolved(&dir.vmx());
    if vms.running().await?.contains(&vmx) {
        vms.stop(&vmx, Stop::Hard).await?;
    }
    // First the manifest: what is left of a removal that was cut short is no template.
    files::remove_file(&dir.manifest())?;
    files::remove_tree(&dir.root, dir.root.parent().unwrap_or(&dir.root))
}

/// Takes the locks of all labs, also of those that begin meanwhile, so that no run works on a template or is about to, and
/// no order to Fusion. Waits for each that has one as long as `patience`; `tell` hears of it, with the lab.
///
/// # Errors
/// `HostError::Locked`, naming the lab, if one does.
pub async fn keep_labs_out(
    home: &Home,
    verb: &str,
    patience: Patience,
    tell: &mut dyn FnMut(&str, &Occupant),
) -> Result<Vec<Lock>> {
    let mut locks = BTreeMap::new();
    loop {
        let files = files::list(&home.locks())?;
        let names = files.iter().filter_map(|path| path.file_name()?.to_str()?.strip_prefix("lab-"));
        let others: Vec<&str> = names.filter(|lab| !locks.contains_key(*lab)).collect();
        if others.is_empty() {
            return Ok(locks.into_values().collect());
        }
        for lab in others {
            let what = format!("lab {lab}");
            let mut tell = |by: &Occupant| tell(&what, by);
            let lock = lab_lock::acquire(home, lab, verb, patience, &mut tell).await?;
            locks.insert(lab.to_owned(), lock);
        }
    }
}

/// Makes sure that whoever hangs on a template would be seen.
///
/// # Errors
/// [`HostError::VmsUnseen`], with where nobody can look.
pub fn all_are_seen(fusion: &Fusion) -> Result<()> {
    let paths = library::unseen(fusion);
    if paths.is_empty() { Ok(()) } else { Err(HostError::VmsUnseen { paths }) }
}

/// Removes a template that nobody uses, looked at once more while nobody works on it; says whether it is gone.
pub async fn prune(home: &Home, fusion: &Fusion, vms: &dyn Hypervisor, key: &str) -> Result<bool> {
    let turn = lock::acquire(&home.template_lock(key), "the template", "template prune");
    let _turn = match turn {
        Err(HostError::Locked { .. }) => return Ok(false),
        turn => turn?,
    };
    all_are_seen(fusion)?;
    let unused =
        list(home, fusion)?.into_iter().find(|template| template.dir.key == key && template.is_unused());
    let Some(template) = unused else { return Ok(false) };
    remove(vms, &template.dir).await?;
    Ok(true)
}

/// Returns what a folder takes of the disk, in bytes, with all that is in it.
pub fn allocated(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for path in files::list(folder)? {
        bytes += if files::is_folder(&path) { allocated(&path)? } else { files::allocated(&path)? };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use crate::engine::fixture::{Bench, Machines};
    use std::time::Duration;

    use super::*;
    use crate::lab::paths;

    /// A child disk of 1 MiB over `parent`.
    fn layer(bench: &Bench, path: &Path, parent: &str) {
        files::create_dir(path.parent().unwrap()).unwrap();
        let file = files::create_new(path, files::PUBLIC_FILE).unwrap();
        vmdk::write_child(file, 1 << 20, paths::DISK_VMDK, 7, (5, parent)).unwrap();
        assert!(path.starts_with(&bench.engine.fusion.library));
    }

    const ONE: &str = "0123456789abcdef";
    const OTHER: &str = "89abcdef01234567";

    fn vmx_over(disk: &str, lab: &str, key: &str) -> String {
        let (of, from) = (names::VMX_LAB, names::VMX_TEMPLATE);
        format!("nvme0:0.fileName = \"{disk}\"\n{of} = \"{lab}\"\n{from} = \"{key}\"\n")
    }

    #[test]
    fn who_uses_a_template_and_who_hangs_on_it_are_two_things() {
        let bench = Bench::new(Machines::default());
        let (engine, home) = (&bench.engine, &bench.engine.home);
        files::remove_tree(&home.templates(), &home.0).unwrap();
        let disk = home.template(ONE).join("template.vmwarevm").join(paths::DISK_VMDK);
        bench.file(&disk, "the parent");
        let linked = engine.vmx("gateway1");
        bench.file(&linked, &vmx_over("one-000001.vmdk", "lab", ONE));
        // A snapshot of a linked clone: a layer over a layer over the template's disk.
        layer(&bench, &linked.with_file_name("one-000001.vmdk"), "one.vmdk");
        layer(&bench, &linked.with_file_name("one.vmdk"), disk.to_str().unwrap());
        let copied = engine.vmx("k8s-master1");
        bench.file(&copied, &vmx_over("disk.vmdk", "other", ONE));
        bench.file(&copied.with_file_name("disk.vmdk"), "a whole disk");
        bench.file(&home.template(OTHER).join("template.vmwarevm/disk.vmdk.part"), "12345");
        // The home may be a folder of the user's own, who has folders there, and links to others.
        bench.file(&home.template("nginx").join("default.conf"), "theirs");
        std::os::unix::fs::symlink(home.template("nginx"), home.template("feedfeedfeedfeed")).unwrap();
        let all = list(home, &engine.fusion).unwrap();
        let [used, half] = all.as_slice() else { panic!("two templates: {all:?}") };
        assert_eq!(
            (used.dir.key.as_str(), &used.used_by[..]),
            (ONE, &["lab".to_owned(), "other".to_owned()][..])
        );
        assert_eq!(used.hanging, std::slice::from_ref(&linked));
        assert!(!used.is_unused() && !used.is_finished());

        // Moved to another disk, it is where Fusion's window says.
        let moved = home.0.join("elsewhere/gateway1.vmwarevm");
        files::create_dir(moved.parent().unwrap()).unwrap();
        files::rename(linked.parent().unwrap(), &moved).unwrap();
        assert_eq!(hanging_on(&engine.fusion, &home.template(ONE)), [] as [PathBuf; 0]);
        let moved = moved.join(linked.file_name().unwrap());
        let list = format!("vmlist1.config = \"\"\nvmlist2.config = \"{}\"\n", moved.display());
        bench.file(&engine.fusion.inventory(), &list);
        assert_eq!(hanging_on(&engine.fusion, &home.template(ONE)), [moved]);
        assert!(half.is_unused() && half.hanging.is_empty() && half.bytes > 0);
    }

    #[test]
    fn a_loop_of_layers_ends() {
        let bench = Bench::new(Machines::default());
        let one = bench.engine.vmx("gateway1").with_file_name("one.vmdk");
        layer(&bench, &one, "one.vmdk");
        assert_eq!(layers(&one).count(), MOST_LAYERS);
    }

    #[tokio::test]
    async fn a_lab_at_work_keeps_its_templates() {
        let bench = Bench::new(Machines::default());
        let home = &bench.engine.home;
        let lock = lock::acquire(&home.lab_lock("lab"), "lab lab", "up").unwrap();
        let mut told = Vec::new();
        let mut tell = |what: &str, by: &Occupant| told.push(format!("{what}: {by}"));
        let at_once = Patience { run: Duration::ZERO, order: Duration::ZERO };
        let refused = keep_labs_out(home, "template prune", at_once, &mut tell).await.unwrap_err();
        assert!(matches!(&refused, HostError::Locked { what, .. } if what == "lab lab"), "{refused}");
        drop(lock);
        assert_eq!(keep_labs_out(home, "template prune", at_once, &mut tell).await.unwrap().len(), 1);
        assert!(told.is_empty(), "nobody was waited for: {told:?}");
    }
}
