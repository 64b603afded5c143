//! The step that makes a node's VM from the template, whole when it appears: linked, full or copied.
//!
//! ```text
//! full, cow   <library>/<lab>/.making-<node>/      made here, then renamed to <node>.vmwarevm; vmrest makes a full one
//!                                                  in <library>/fusionlab-making-<lab>-<node>.vmwarevm, and it moves here
//! linked      <library>/<lab>/<node>.vmwarevm/     made in its place, under a mark that goes last
//! ```
//!
//! A linked clone is not renamed, because Fusion notes its path in the parent (`.vmsd`), and one that moves is a
//! stranger to it (facts/vmrun-vmrest.md §2.1). Of either kind, what a crash leaves is known for ours by its name or
//! its marks, and cleared away by whoever comes next. Nobody clones a parent beside us: [`turn`] is held throughout.

use std::path::{Path, PathBuf};

use crate::engine::context::Engine;
use crate::engine::error::{EngineError, Result};
use crate::engine::images::template::{Stage, TemplateDir};
use crate::engine::images::templates;
use crate::engine::run::StepContext;
use crate::engine::vms::bundle::{self, Place, is_leftover};
use crate::formats::vmdk::Info;
use crate::formats::vmx::Vmx;
use crate::host::copy::{self, Copied};
use crate::host::disk_file::inspect;
use crate::host::fusion::{vdiskmanager, vmx_file};
use crate::host::lock::Lock;
use crate::host::{Clone, HostError, files, stand_in};
use crate::lab::{CloneMode, Node, names, paths};
use crate::stack::vm;

use super::template::turn;

/// Makes the VM of a node; its seed and its spec come later, by `vm.configure`.
pub async fn clone(context: &StepContext, name: &str) -> Result<bool> {
    let engine = &context.engine;
    let node = engine.node(name)?;
    let template = TemplateDir::of(engine);
    let bundle = engine.bundle(name);
    if clear_leftovers(context, name).await? {
        context.note(format!("{name}: what is left of an earlier clone is cleared away"));
    }
    let _turn = turn(context, &template).await?;
    let parent = frozen_disk(&template)?;
    let (made, place) = match engine.lab.clone {
        CloneMode::Linked => (bundle.clone(), Place::Final),
        CloneMode::Full | CloneMode::Cow => (paths::making(&bundle), Place::Beside),
    };
    bundle::begin(&made, &engine.lab.name, name, place)?;
    let vmx = made.join(paths::vmx_of(&bundle).file_name().expect("a VMX has a name"));
    let base = match by_its_kind(context, &template, &made, &vmx, name).await {
        Err(error) if stands_already(&error) => {
            context.note(format!(
                "{name}: an earlier run's clone came to its end meanwhile; it is cleared away"
            ));
            clear_in_turn(engine, name).await?;
            bundle::begin(&made, &engine.lab.name, name, place)?;
            by_its_kind(context, &template, &made, &vmx, name).await?
        }
        made => made?,
    };
    let disk = made.join(disk_name(base.as_ref()));
    check_kinship(&template, &parent, &disk, engine.lab.clone)?;
    if engine.lab.clone != CloneMode::Linked {
        vdiskmanager::grow(&engine.fusion, &disk, node.disk_gib, engine.lab.limits.vm_clone).await?;
    }
    write_vmx(engine, node, &template, base.as_ref(), &vmx)?;
    bundle::finish(&made, &bundle)?;
    Ok(true)
}

/// Says whether there is a VM where there was none, in Fusion's words or in ours: vmrest goes on with a clone when the run
/// that asked for it is killed, and may end after its leftovers were looked for.
fn stands_already(error: &EngineError) -> bool {
    matches!(error, EngineError::Host(HostError::Fusion { message, .. }) if message.contains("already exists"))
}

/// Makes the clone's files, and returns the VMX that Fusion wrote, if it did.
async fn by_its_kind(
    context: &StepContext,
    template: &TemplateDir,
    made: &Path,
    vmx: &Path,
    name: &str,
) -> Result<Option<Vmx>> {
    let engine = &context.engine;
    match engine.lab.clone {
        CloneMode::Linked => by_fusion(context, template, vmx, Clone::Linked, name).await,
        CloneMode::Full => {
            let passing = paths::passing_name(&engine.lab.name, name);
            by_fusion(context, template, vmx, Clone::Full, &passing).await
        }
        CloneMode::Cow => by_copy(context, template, made, name).await,
    }
}

/// Removes what clones of the lab's have left in the making, and the folder of one that was killed before it marked it.
pub async fn clear_all_leftovers(context: &StepContext) -> Result<()> {
    let engine = &context.engine;
    let folder = engine.fusion.library.join(&engine.lab.name);
    let there = if files::exists(&folder) { files::list(&folder)? } else { Vec::new() };
    for node in there.iter().filter_map(|path| paths::node_in_making(path)) {
        clear_leftovers(context, &node).await?;
    }
    let bundles = engine.lab.nodes.iter().map(|node| engine.bundle(&node.name));
    for bundle in bundles {
        files::remove_if_empty(&bundle)?;
    }
    Ok(())
}

/// Removes what a crash left of a node's clone; says whether there was anything.
pub async fn clear_leftovers(context: &StepContext, node: &str) -> Result<bool> {
    let engine = &context.engine;
    let vmx = engine.vmx(node);
    let is_half_a_vm = files::exists(&vmx) && is_leftover(&engine.bundle(node), &engine.lab.name, node);
    let _turn = if is_half_a_vm { beside(context, &vmx).await? } else { None };
    clear_in_turn(engine, node).await
}

/// Removes what a crash left of a node's clone, whose parent nobody else clones meanwhile.
async fn clear_in_turn(engine: &Engine, node: &str) -> Result<bool> {
    let bundle = engine.bundle(node);
    let making = paths::making(&bundle);
    let mut found = false;
    if files::exists(&making) {
        // vmrest makes its clones beside, and nothing in them says whose they are; the folder that is to take one does.
        let library = &engine.fusion.library;
        let passing = paths::passing_name(&engine.lab.name, node);
        files::remove_tree(&library.join(format!("{passing}.vmwarevm")), library)?;
        bundle::remove(&making, library)?;
        found = true;
    }
    if is_leftover(&bundle, &engine.lab.name, node) {
        let vmx = paths::vmx_of(&bundle);
        if files::exists(&vmx) {
            // So that the parent forgets a linked clone. Half a clone may be more than Fusion can delete: then its
            // folder goes all the same.
            let _ = engine.vms.delete(&files::canonicalize(&vmx)?).await;
        }
        remove(engine, &bundle).await?;
        found = true;
    }
    Ok(found)
}

/// Removes the folder of a VM that is off and that nobody has open, whatever Fusion has left in it.
pub async fn remove(engine: &Engine, bundle: &Path) -> Result<()> {
    vmx_file::must_be_free(engine.vms.as_ref(), &paths::vmx_of(bundle)).await?;
    bundle::remove(bundle, &engine.fusion.library)
}

/// Waits until nobody clones the template under a VM, which Fusion notes the end of a clone in; nobody is waited for if
/// there is none, or if this run has it to itself.
pub async fn beside(context: &StepContext, vmx: &Path) -> Result<Option<Lock>> {
    let engine = &context.engine;
    let Some(template) = templates::under(&engine.home, vmx) else { return Ok(None) };
    if engine.template_turn.lock().await.is_some() {
        return Ok(None);
    }
    turn(context, &template).await.map(Some)
}

/// Lets Fusion clone the frozen snapshot, and returns the VMX that it wrote.
async fn by_fusion(
    context: &StepContext,
    template: &TemplateDir,
    vmx: &Path,
    how: Clone,
    name: &str,
) -> Result<Option<Vmx>> {
    let engine = &context.engine;
    let from = files::canonicalize(&template.vmx())?;
    engine.vms.clone_vm(&from, vmx, how, names::TEMPLATE_SNAPSHOT, name).await?;
    Ok(vmx_file::read(vmx)?)
}

/// Copies the template's disk file; the VMX is made from nothing.
async fn by_copy(
    context: &StepContext,
    template: &TemplateDir,
    made: &Path,
    name: &str,
) -> Result<Option<Vmx>> {
    let (from, to) = (template.disk(), made.join(paths::DISK_VMDK));
    let beside = context.clone();
    let copy = stand_in::blocking(move || -> Result<Copied> {
        let copied = copy::clone_file(&from, &to, &mut |done, total| {
            beside.progress(done, Some(total));
            !beside.engine.cancel.is_cancelled()
        })?;
        // The template's disk is read-only, and so is its copy at first.
        files::set_read_only(&to, false)?;
        Ok(copied)
    });
    let copied = copy.await?;
    if let Copied::Bytes(bytes) = copied {
        context.note(format!(
            "{name}: this volume cannot share blocks between files, as APFS can: {} MiB were copied",
            bytes.div_ceil(1 << 20)
        ));
    }
    Ok(None)
}

/// Returns what the template's disk says of itself, which must be what it said when it was frozen.
fn frozen_disk(template: &TemplateDir) -> Result<Info> {
    if !files::exists(&template.disk()) {
        return Err(EngineError::TemplateGone { vmx: template.vmx() });
    }
    let info = inspect(&template.disk())?;
    let recorded = template.read()?.filter(|manifest| manifest.stage == Stage::Frozen);
    match recorded {
        Some(manifest) if manifest.disk.cid == format!("{:08x}", info.cid) => Ok(info),
        Some(_) => Err(unfit(template, "its disk changed since it was frozen")),
        None => Err(unfit(template, "it is not finished")),
    }
}

/// Compares the clone's disk with the template's, and that with what it was before: a linked clone of a disk that
/// changes meanwhile would not open (facts/vm-images-cloudinit.md §2.1).
fn check_kinship(template: &TemplateDir, before: &Info, disk: &Path, how: CloneMode) -> Result<()> {
    let (after, child) = (inspect(&template.disk())?, inspect(disk)?);
    if after.cid != before.cid {
        return Err(unfit(template, "its disk changed while it was cloned"));
    }
    let wanted = (how == CloneMode::Linked).then_some(before.cid);
    if child.parent_cid == wanted {
        return Ok(());
    }
    let reason = match wanted {
        Some(_) => "Fusion made a clone that does not hang on its frozen disk",
        None => "Fusion made a clone that hangs on another disk",
    };
    Err(unfit(template, reason))
}

fn unfit(template: &TemplateDir, reason: &str) -> EngineError {
    EngineError::TemplateUnfit { vmx: template.vmx(), reason: reason.to_owned() }
}

fn disk_name(vmx: Option<&Vmx>) -> PathBuf {
    vmx.and_then(|vmx| vmx.get(vm::DISK_KEY)).unwrap_or_else(|| paths::DISK_VMDK.to_owned()).into()
}

/// Writes the VMX with our marks, but without the spec: the VM is ours from here on, and not configured yet.
fn write_vmx(
    engine: &Engine,
    node: &Node,
    template: &TemplateDir,
    base: Option<&Vmx>,
    path: &Path,
) -> Result<()> {
    let mut vmx = vm::node_vmx(&engine.lab, node, base, paths::DISK_VMDK);
    vmx.set(names::VMX_TEMPLATE, &template.key);
    Ok(vmx_file::write(path, &vmx)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{self, Bench, Machines};
    use crate::engine::images::template::{DiskRecord, Manifest};
    use crate::engine::observe;
    use crate::plan::facts::VmState;

    fn bench(machines: Machines) -> Bench {
        let bench = Bench::new(machines);
        bench.freeze_template();
        bench
    }

    async fn cloned(bench: &Bench) -> Result<bool> {
        let step = std::sync::Arc::new(fixture::clone("gateway1", &[]));
        let context = StepContext { engine: bench.engine.clone(), step };
        clone(&context, "gateway1").await
    }

    async fn state(bench: &Bench) -> VmState {
        let facts = observe::host_facts(&bench.engine).await.unwrap();
        facts.vms.get("gateway1").map_or(VmState::Absent, |vm| vm.state)
    }

    #[tokio::test]
    async fn a_clone_is_ours_and_not_yet_configured() {
        let bench = bench(Machines::default());
        assert!(cloned(&bench).await.unwrap());
        assert_eq!(state(&bench).await, VmState::Ours);
        let vmx = vmx_file::read(&bench.engine.vmx("gateway1")).unwrap().unwrap();
        assert_eq!(vmx.get(names::VMX_TEMPLATE), Some(TemplateDir::of(&bench.engine).key));
        assert_eq!(vmx.get(names::VMX_SPEC), None);
    }

    #[tokio::test]
    async fn a_clone_of_another_disk_is_refused_and_started_over() {
        let bench = bench(Machines { clones_parent: 99, ..Machines::default() });
        let error = cloned(&bench).await.unwrap_err().to_string();
        assert!(error.contains("does not hang on its frozen disk"), "{error}");
        assert_eq!(state(&bench).await, VmState::Unfinished);
        cloned(&bench).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_template_that_changed_since_it_was_frozen_or_was_never_finished_is_not_cloned() {
        let bench = bench(Machines::default());
        let template = TemplateDir::of(&bench.engine);
        let manifest = template.read().unwrap().unwrap();
        let disk = DiskRecord { cid: "00000099".to_owned(), ..manifest.disk.clone() };
        template.write(&Manifest { disk, ..manifest.clone() }).unwrap();
        assert!(cloned(&bench).await.unwrap_err().to_string().contains("changed since it was frozen"));
        template.write(&Manifest { stage: Stage::Baked, ..manifest }).unwrap();
        assert!(cloned(&bench).await.unwrap_err().to_string().contains("is not finished"));
        files::remove_tree(&template.root, &bench.engine.home.templates()).unwrap();
        let gone = cloned(&bench).await.unwrap_err();
        assert!(
            matches!(gone, EngineError::TemplateGone { .. }),
            "as by a prune that knew nothing of this lab: {gone}"
        );
        assert_eq!(state(&bench).await, VmState::Absent);
    }

    #[tokio::test]
    async fn what_a_crash_left_is_cleared_away() {
        let bench = bench(Machines::default());
        let making = paths::making(&bench.engine.bundle("gateway1"));
        bench.file(&making.join("disk.vmdk"), "half a disk");
        assert_eq!(state(&bench).await, VmState::Unfinished);
        assert!(cloned(&bench).await.unwrap());
        assert!(!files::exists(&making));
        assert_eq!(state(&bench).await, VmState::Ours);
    }

    #[tokio::test]
    async fn a_folder_that_was_never_marked_goes_with_the_lab_if_nothing_is_in_it() {
        let bench = bench(Machines::default());
        let of = |name: &str| bench.engine.fusion.library.join("lab").join(name);
        for name in ["gateway1.vmwarevm", "gateway2.vmwarevm", "mine.vmwarevm"] {
            files::create_dir(&of(name)).unwrap();
        }
        bench.file(&of("gateway2.vmwarevm/holiday.jpg"), "");
        let step = std::sync::Arc::new(fixture::clone("gateway1", &[]));
        clear_all_leftovers(&StepContext { engine: bench.engine.clone(), step }).await.unwrap();
        let left = files::list(&bench.engine.fusion.library.join("lab")).unwrap();
        assert_eq!(left, [of("gateway2.vmwarevm"), of("mine.vmwarevm")], "nobody else's");
    }
}
