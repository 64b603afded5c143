//! Steps on one VM: clone, configure, start, stop, delete. Only folders that bear our mark are touched.

use std::path::Path;

use crate::engine::context::Engine;
use crate::engine::error::{EngineError, Result};
use crate::engine::observe::{OURS, UNFINISHED, is_leftover};
use crate::engine::run::StepContext;
use crate::engine::template::TemplateDir;
use crate::formats::seed_iso;
use crate::formats::vmx::Vmx;
use crate::host::{Clone, HostError, Stop, files};
use crate::lab::{CloneMode, names, paths};
use crate::stack::{cloud_init, vm};

pub async fn clone(context: &StepContext, node: &str) -> Result<bool> {
    let engine = &context.engine;
    let bundle = engine.bundle(node);
    let template = TemplateDir::of(engine);
    if is_leftover(&bundle) {
        context.note(format!("{node}: what is left of an earlier clone is cleared away"));
        clear(engine, &bundle)?;
    }
    files::create_dir(&bundle)?;
    // Made in place, not renamed to it: a crash in between must not leave a folder with something else in it.
    files::create_new(&bundle.join(UNFINISHED), files::PUBLIC_FILE)?;
    files::create_new(&bundle.join(OURS), files::PUBLIC_FILE)?;
    let how = match engine.lab.clone {
        CloneMode::Linked => Clone::Linked,
        CloneMode::Full => Clone::Full,
        CloneMode::Cow => {
            let (from, to) = (template.disk(), bundle.join(paths::DISK_VMDK));
            let copy = tokio::task::spawn_blocking(move || {
                files::clone_file(&from, &to)?;
                // The template's disk is read-only, and so is its copy at first.
                files::set_read_only(&to, false)
            });
            copy.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
            return Ok(true);
        }
    };
    // A clone writes the parent's records, and other labs may clone it, too.
    let _turn = super::template::turn(context, &template).await?;
    let (from, to) = (files::canonicalize(&template.vmx())?, engine.vmx(node));
    let limit = engine.lab.limits.vm_clone;
    engine.vms.clone_vm(&from, &to, how, names::TEMPLATE_SNAPSHOT, node, limit).await?;
    Ok(true)
}

/// Removes a VM's folder, our marks in it last: what a crash leaves is still seen to be ours.
fn clear(engine: &Engine, bundle: &Path) -> Result<()> {
    let library = &engine.fusion.library;
    let is_mark = |path: &Path| path.ends_with(OURS) || path.ends_with(UNFINISHED);
    for path in files::list(bundle)?.iter().filter(|path| !is_mark(path)) {
        files::remove_tree(path, library)?;
    }
    files::remove_tree(bundle, library)?;
    Ok(())
}

/// Writes the seed and then the VMX with our marks; only then the clone counts as finished.
pub fn configure(context: &StepContext, name: &str) -> Result<bool> {
    let engine = &context.engine;
    let node = engine.node(name)?;
    let identity = engine.need_identity()?;
    let bundle = engine.bundle(name);
    let vmx_path = engine.vmx(name);
    let base = read_vmx(&vmx_path)?;
    let disk = base
        .as_ref()
        .and_then(|vmx| vmx.get("nvme0:0.fileName"))
        .unwrap_or_else(|| paths::DISK_VMDK.to_owned());
    let seed = cloud_init::seed(&engine.lab, node, &identity);
    files::write_atomic(&bundle.join(paths::SEED_ISO), &seed_iso::write("cidata", &seed), 0o600)?;
    files::write_atomic(
        &bundle.join(format!("{name}.plist")),
        vm::plist_disallow_upgrade().as_bytes(),
        0o644,
    )?;
    let key = TemplateDir::of(engine).key;
    let mut vmx = vm::node_vmx(&engine.lab, node, base.as_ref(), &disk);
    vmx.set(names::VMX_LAB, &engine.lab.name);
    vmx.set(names::VMX_NODE, name);
    vmx.set(names::VMX_TEMPLATE, &key);
    vmx.set(names::VMX_SPEC, &vm::spec_digest(&engine.lab, node, &identity, &key));
    files::write_atomic(&vmx_path, vmx.render().as_bytes(), 0o644)?;
    files::remove_file(&bundle.join(UNFINISHED))?;
    Ok(true)
}

fn read_vmx(path: &Path) -> Result<Option<Vmx>> {
    if !files::exists(path) {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&files::read(path)?).into_owned();
    let vmx = Vmx::parse(&text).map_err(|bad| HostError::Content {
        path: path.to_owned(),
        reason: format!("line {}: {}", bad.line, bad.reason),
    })?;
    Ok(Some(vmx))
}

pub async fn start(context: &StepContext, node: &str) -> Result<bool> {
    let engine = &context.engine;
    let vmx = files::canonicalize(&engine.vmx(node))?;
    if engine.vms.running().await?.contains(&vmx) {
        return Ok(false);
    }
    // Fusion asks what to do with a console file that exists, and a headless start hangs on the question.
    files::remove_file(&engine.bundle(node).join(paths::CONSOLE_LOG))?;
    engine.vms.start(&vmx, engine.lab.limits.vm_start).await?;
    Ok(true)
}

pub async fn stop(context: &StepContext, node: &str) -> Result<bool> {
    let engine = &context.engine;
    let vmx = files::canonicalize(&engine.vmx(node))?;
    must_be_ours(engine, node, &vmx)?;
    if !engine.vms.running().await?.contains(&vmx) {
        return Ok(false);
    }
    if let Err(error) = engine.vms.stop(&vmx, Stop::Soft, engine.lab.limits.vm_stop_soft).await {
        context.note(format!("{node} does not shut down by itself ({error}); its power is cut"));
        engine.vms.stop(&vmx, Stop::Hard, engine.lab.limits.vm_stop_hard).await?;
    }
    Ok(true)
}

pub async fn delete(context: &StepContext, node: &str) -> Result<bool> {
    let engine = &context.engine;
    let bundle = engine.bundle(node);
    if !files::exists(&bundle) {
        return Ok(false);
    }
    let vmx = engine.vmx(node);
    if !is_leftover(&bundle) {
        must_be_ours(engine, node, &vmx)?;
    }
    if files::exists(&vmx)
        && let Err(error) = engine.vms.delete(&files::canonicalize(&vmx)?, engine.lab.limits.vm_clone).await
    {
        context.note(format!("Fusion does not delete {node} ({error}); its folder is removed"));
    }
    if files::exists(&bundle) {
        clear(engine, &bundle)?;
    }
    let folder = engine.fusion.library.join(&engine.lab.name);
    if files::list(&folder)?.is_empty() {
        files::remove_tree(&folder, &engine.fusion.library)?;
    }
    Ok(true)
}

/// Looks at the marks once more, right before something that cannot be undone.
fn must_be_ours(engine: &Engine, node: &str, vmx: &Path) -> Result<()> {
    let marks = read_vmx(vmx)?;
    let marked = marks.as_ref().is_some_and(|vmx| {
        vmx.get(names::VMX_LAB).as_deref() == Some(engine.lab.name.as_str())
            && vmx.get(names::VMX_NODE).as_deref() == Some(node)
    });
    if marked {
        return Ok(());
    }
    Err(EngineError::Guest {
        node: node.to_owned(),
        reason: format!("{} does not bear this lab's mark; it is left alone", vmx.display()),
        tail: Vec::new(),
    })
}
