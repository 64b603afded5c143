//! Steps on one VM: configure, start, stop, delete. Only folders that bear our mark are touched.

use std::path::Path;

use crate::engine::context::Engine;
use crate::engine::error::{EngineError, Result};
use crate::engine::images::template::TemplateDir;
use crate::engine::images::templates;
use crate::engine::run::StepContext;
use crate::engine::vms::bundle;
use crate::formats::seed_iso;
use crate::host::fusion::vmx_file;
use crate::host::{Stop, files};
use crate::lab::{names, paths};
use crate::plan::obstacle::Obstacle;
use crate::stack::{cloud_init, vm};

use super::clone::{beside, clear_leftovers, remove};

/// Writes the seed and then the VMX with its spec, which says that all of it is there.
pub async fn configure(context: &StepContext, name: &str) -> Result<bool> {
    let engine = &context.engine;
    let node = engine.node(name)?;
    let identity = engine.need_identity()?;
    let (bundle, vmx) = (engine.bundle(name), engine.vmx(name));
    vmx_file::must_be_free(engine.vms.as_ref(), &vmx).await?;
    let seed = seed_iso::write("cidata", &cloud_init::seed(&engine.lab, node, &identity));
    files::write_atomic(&bundle.join(paths::SEED_ISO), &seed, files::PRIVATE_FILE)?;
    let plist = bundle.join(format!("{name}.plist"));
    files::write_atomic(&plist, vm::plist_disallow_upgrade().as_bytes(), files::PUBLIC_FILE)?;
    let key = TemplateDir::of(engine).key;
    let spec = vm::spec_digest(&engine.lab, node, &identity, &key);
    vmx_file::edit(engine.vms.as_ref(), &vmx, |vmx| {
        *vmx = vm::node_vmx(&engine.lab, node, Some(vmx), paths::DISK_VMDK);
        vmx.set(names::VMX_TEMPLATE, &key);
        vmx.set(names::VMX_SPEC, &spec);
    })
    .await?;
    Ok(true)
}

pub async fn start(context: &StepContext, node: &str) -> Result<bool> {
    let engine = &context.engine;
    let vmx = files::canonicalize(&engine.vmx(node))?;
    if engine.vms.running().await?.contains(&vmx) {
        return Ok(false);
    }
    // Fusion asks what to do with a console file that exists, and a headless start hangs on the question.
    files::remove_file(&engine.bundle(node).join(paths::CONSOLE_LOG))?;
    engine.vms.start(&vmx).await?;
    Ok(true)
}

pub async fn stop(context: &StepContext, node: &str) -> Result<bool> {
    let engine = &context.engine;
    let vmx = files::canonicalize(&engine.vmx(node))?;
    must_be_ours(engine, node, &vmx)?;
    if !engine.vms.running().await?.contains(&vmx) {
        return Ok(false);
    }
    engine.shell.forget(node);
    if let Err(error) = engine.vms.stop(&vmx, Stop::Soft).await {
        context.note(format!("{node} does not shut down by itself ({error}); its power is cut"));
        engine.vms.stop(&vmx, Stop::Hard).await?;
    }
    Ok(true)
}

pub async fn delete(context: &StepContext, node: &str) -> Result<bool> {
    let engine = &context.engine;
    let bundle = engine.bundle(node);
    let cleared = clear_leftovers(context, node).await?;
    if !files::exists(&bundle) {
        forget_folder(engine)?;
        return Ok(cleared);
    }
    let vmx = engine.vmx(node);
    must_be_ours(engine, node, &vmx)?;
    must_carry_nobody(engine, node, &bundle)?;
    // It may run though it did not when this was planned: by somebody's hand, or by the start of a run that was killed.
    stop(context, node).await?;
    let turn = beside(context, &vmx).await?;
    // Somebody may have cloned it while it was waited for.
    must_be_ours(engine, node, &vmx)?;
    must_carry_nobody(engine, node, &bundle)?;
    if let Err(error) = engine.vms.delete(&files::canonicalize(&vmx)?).await {
        context.note(format!("Fusion does not delete {node} ({error}); its folder is removed"));
    }
    drop(turn);
    if files::exists(&bundle) {
        remove(engine, &bundle).await?;
    }
    forget_folder(engine)?;
    Ok(true)
}

/// Makes sure that nobody's linked clone hangs on a machine's disk.
fn must_carry_nobody(engine: &Engine, node: &str, bundle: &Path) -> Result<()> {
    let vmx = templates::hanging_on(&engine.fusion, bundle);
    if vmx.is_empty() {
        return Ok(());
    }
    Err(EngineError::Obstacles(vec![Obstacle::MachineInUse { node: node.to_owned(), vmx }]))
}

/// Removes the folder of the lab's VMs once nothing is in it.
pub fn forget_folder(engine: &Engine) -> Result<()> {
    let folder = engine.fusion.library.join(&engine.lab.name);
    Ok(files::remove_if_empty(&folder)?)
}

/// Looks at the marks once more, right before something that cannot be undone.
pub fn must_be_ours(engine: &Engine, node: &str, vmx: &Path) -> Result<()> {
    let marks = vmx_file::read(vmx)?;
    if marks.is_some_and(|marks| bundle::is_marked(&marks, &engine.lab.name, node)) {
        return Ok(());
    }
    Err(EngineError::Obstacles(vec![Obstacle::ForeignVm { node: node.to_owned(), vmx: vmx.to_owned() }]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{self, Bench, Machines};
    use crate::engine::vms::bundle::Place;
    use crate::formats::vmdk;
    use crate::host::HostError;

    /// The gateway's machine, as it is after its clone.
    fn bench(machines: Machines) -> Bench {
        let bench = Bench::new(machines);
        let folder = bench.engine.bundle("gateway1");
        bundle::begin(&folder, "lab", "gateway1", Place::Final).unwrap();
        bundle::finish(&folder, &folder).unwrap();
        let marks = format!("{} = \"lab\"\n{} = \"gateway1\"\n", names::VMX_LAB, names::VMX_NODE);
        bench.file(&bench.engine.vmx("gateway1"), &marks);
        bench
    }

    async fn deleted(bench: &Bench) -> Result<bool> {
        let step = std::sync::Arc::new(fixture::start("gateway1", &[]));
        delete(&StepContext { engine: bench.engine.clone(), step }, "gateway1").await
    }

    #[tokio::test]
    async fn a_machine_that_was_started_since_the_plan_was_made_is_switched_off_first() {
        let bench = bench(Machines::default());
        bench.machines.run(&bench.engine.vmx("gateway1"));
        assert!(deleted(&bench).await.unwrap());
        assert!(bench.engine.vms.running().await.unwrap().is_empty());
        let lab = bench.engine.fusion.library.join("lab");
        assert!(!files::exists(&lab), "its folder is empty, and goes as well");
    }

    #[tokio::test]
    async fn a_machine_that_lost_our_mark_since_the_plan_was_made_is_not_touched() {
        let bench = bench(Machines::default());
        let vmx = bench.engine.vmx("gateway1");
        bench.file(&vmx, &format!("{} = \"gateway1\"\n", names::VMX_NODE));
        bench.machines.run(&vmx);
        let error = deleted(&bench).await.unwrap_err();
        let EngineError::Obstacles(found) = &error else { panic!("{error}") };
        assert_eq!(found, &[Obstacle::ForeignVm { node: "gateway1".to_owned(), vmx: vmx.clone() }]);
        assert!(bench.engine.vms.running().await.unwrap().contains(&files::canonicalize(&vmx).unwrap()));
    }

    #[tokio::test]
    async fn the_folder_of_a_machine_that_runs_stays_whatever_fusion_says() {
        let bench = bench(Machines { deaf: true, ..Machines::default() });
        bench.machines.run(&bench.engine.vmx("gateway1"));
        let error = deleted(&bench).await.unwrap_err();
        assert!(matches!(error, EngineError::Host(HostError::VmRuns { .. })), "{error}");
        assert!(files::exists(&bench.engine.vmx("gateway1")));
    }

    #[tokio::test]
    async fn a_machine_that_somebody_has_linked_a_vm_to_stays() {
        let bench = bench(Machines::default());
        let disk = bench.engine.vmx("gateway1").with_file_name(paths::DISK_VMDK);
        bench.file(&disk, "the parent");
        let mine = bench.engine.fusion.library.join("mine.vmwarevm/mine.vmx");
        bench.file(&mine, "nvme0:0.fileName = \"mine.vmdk\"\n");
        let child = files::create_new(&mine.with_file_name("mine.vmdk"), files::PUBLIC_FILE).unwrap();
        vmdk::write_child(child, 1 << 20, "mine.vmdk", 7, (5, disk.to_str().unwrap())).unwrap();
        let error = deleted(&bench).await.unwrap_err();
        let EngineError::Obstacles(found) = &error else { panic!("{error}") };
        assert_eq!(found[0].to_string(), "mine hangs on the disk of gateway1");
        assert!(files::exists(&bench.engine.vmx("gateway1")));
        files::remove_tree(mine.parent().unwrap(), &bench.engine.fusion.library).unwrap();
        assert!(deleted(&bench).await.unwrap());
    }
}
