//! Steps on the lab's own folder: identity, kubeconfig and the user's ssh files, and their end.

use crate::engine::access::kubeconfig::Merger;
use crate::engine::access::names::Names;
use crate::engine::access::ssh_files;
use crate::engine::error::Result;
use crate::engine::home::{costs, lab_folder, store};
use crate::engine::run::StepContext;
use crate::host::dial::Dial;
use crate::host::files;
use crate::plan::desired::kubeconfig_text;

use super::clone::clear_all_leftovers;
use super::network;
use super::vm::forget_folder;

pub fn create_identity(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let identity = store::create(&engine.lab, &engine.dir)?;
    files::write_atomic(&engine.dir.lab_ca(), identity.lab_ca.certificate.as_bytes(), 0o644)?;
    engine.set_identity(identity);
    ssh_files::write(engine)?;
    Ok(true)
}

pub async fn write_kubeconfig(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let identity = engine.need_identity()?;
    let proxy = Dial::of(&engine.fusion)?.proxy_url();
    let text = kubeconfig_text(&engine.lab, &identity, proxy.as_deref());
    files::write_atomic(&engine.dir.kubeconfig(), text.as_bytes(), 0o600)?;
    refresh_merged(context).await;
    Ok(true)
}

/// Brings the user's kubeconfigs that have the lab's entries up to date. That one of them cannot be is no reason for the
/// lab not to be up.
async fn refresh_merged(context: &StepContext) {
    let merger = Merger::of(&context.engine);
    for file in merger.merged().unwrap_or_default() {
        match merger.merge(&file, false).await {
            Ok(touched) if touched.edited.deeds.is_empty() => {}
            Ok(_) => context.note(format!("{} has the lab's new entries", file.display())),
            Err(error) => context.note(format!("the lab's entries were not renewed: {error}")),
        }
    }
}

/// Takes the lab out of the user's kubeconfigs.
pub async fn unmerge_kubeconfig(context: &StepContext) -> Result<bool> {
    let touched = Merger::of(&context.engine).remove(None).await?;
    Ok(touched.iter().any(|touched| !touched.edited.deeds.is_empty()))
}

/// Has this machine ask whom it asked before for the lab's domain.
pub async fn remove_resolver(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let names = Names::of(engine);
    // `sudo` may ask for a password again: it forgets, on some Macs at once.
    let held = if names.removal_needs_root()? { Some(context.terminal().await) } else { None };
    let removed = names.remove().await?;
    drop(held);
    Ok(removed)
}

/// Removes the lab's folder, and before it what a run that was cut off may have left elsewhere: what its clone, which went on
/// without it, has made since the machines were deleted; the folder of its VMs, empty; and the record of a network that it
/// did not come to make.
pub async fn forget(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    clear_all_leftovers(context).await?;
    forget_folder(engine)?;
    network::forget(context).await?;
    // Where that fails, the next lab does not know how long it will take: no reason for this one to stay.
    let _ = costs::keep(engine);
    let strangers = lab_folder::remove(&engine.home, &engine.lab.name)?;
    if !strangers.is_empty() {
        let named = strangers.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        context.note(format!("fusionlab did not make these, so they stay: {named}"));
    }
    Ok(true)
}
