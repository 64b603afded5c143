//! Steps that make the golden template: download, convert, bake, freeze.

use crate::engine::context::last_lines;
use crate::engine::error::{EngineError, Requirement, Result};
use crate::engine::images;
use crate::engine::run::StepContext;
use crate::engine::template::{TemplateDir, cached_image};
use crate::engine::wait::{Probe, until};
use crate::formats::seed_iso;
use crate::host::fusion::vmx_file;
use crate::host::lock::Lock;
use crate::host::{Stop, convert, files};
use crate::lab::names;
use crate::stack::bake::{self, Baked, Outcome};
use crate::stack::{cloud_init, vm};

const BYTES_PER_GIB: u64 = 1 << 30;

pub async fn fetch(context: &StepContext) -> Result<bool> {
    if images::cached(&context.engine).is_some() {
        return Ok(false);
    }
    images::fetch(context).await?;
    Ok(true)
}

pub async fn convert(context: &StepContext) -> Result<bool> {
    let engine = context.engine.clone();
    let dir = TemplateDir::of(&engine);
    let _turn = turn(context, &dir).await?;
    // Another lab may have made it since the plan was made.
    if files::exists(&dir.baked()) || dir.is_written(&engine.vms.running().await?) {
        return Ok(false);
    }
    files::remove_tree(&dir.root, &engine.home.templates())?;
    let context = context.clone();
    let convert = tokio::task::spawn_blocking(move || write_disk(&context));
    convert.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    let vmx = vm::template_vmx(&engine.lab, &dir.key);
    vmx_file::write(&dir.vmx(), &vmx)?;
    Ok(true)
}

/// Writes the template's disk: there is never half a disk of that name.
fn write_disk(context: &StepContext) -> Result<()> {
    let engine = &context.engine;
    let dir = TemplateDir::of(engine);
    files::create_dir(&dir.bundle())?;
    let image = cached_image(engine)?
        .ok_or_else(|| template_error("the image is not in the cache any more".to_owned()))?;
    let wished = u64::from(vm::template_disk_gib(&engine.lab)) * BYTES_PER_GIB;
    let capacity = Some(wished.max(convert::open(&image)?.size()));
    let (target, format) = (dir.disk(), convert::Format::Sparse);
    let request = convert::Request { source: &image, target: &target, capacity, format, cid: None };
    let mut progress = |done, total| context.progress(done, Some(total));
    convert::convert(&request, &mut progress, &|| engine.cancel.is_cancelled())?;
    Ok(())
}

pub async fn bake(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let dir = TemplateDir::of(engine);
    let _turn = turn(context, &dir).await?;
    if files::exists(&dir.baked()) {
        return Ok(false);
    }
    let seed = cloud_init::bake_seed(&engine.lab, &dir.key);
    files::write_atomic(&dir.seed(), &seed_iso::write("cidata", &seed), 0o600)?;
    let running = engine.vms.running().await?;
    let vmx = files::canonicalize(&dir.vmx())?;
    if !running.contains(&vmx) {
        files::remove_file(&dir.console())?;
        files::write_atomic(&dir.baking(), b"", files::PUBLIC_FILE)?;
        engine.vms.start(&vmx, engine.lab.limits.vm_start).await?;
    }
    // A console that Fusion does not write (facts/vm-images-cloudinit.md §1.6) is no failure: then the power-off
    // is the only word, and each clone's versions are checked.
    let outcome = until(context, requirement(context), async || {
        let running = engine.vms.running().await?.contains(&vmx);
        let console = console(&dir);
        Ok(match bake::outcome(&console) {
            Outcome::Running if running => Probe::NotYet(last_line(&console)),
            outcome => Probe::Met(outcome),
        })
    })
    .await?;
    if let Outcome::Failed(step) = outcome {
        engine.vms.stop(&vmx, Stop::Hard, engine.lab.limits.vm_stop_hard).await?;
        let tail = last_lines(&console(&dir));
        return Err(EngineError::Template { reason: format!("the bake step {step} failed"), tail });
    }
    let powered_off =
        Requirement { what: "the template powers itself off".to_owned(), ..requirement(context) };
    until(context, powered_off, async || {
        let running = engine.vms.running().await?.contains(&vmx);
        Ok(if running { Probe::NotYet("still on".to_owned()) } else { Probe::Met(()) })
    })
    .await?;
    files::remove_file(&dir.seed())?;
    let baked = match &outcome {
        Outcome::Done(baked) => Some(baked),
        _ => {
            context
                .note("the template's serial console said nothing; its versions are checked on each clone");
            None
        }
    };
    let text = serde_json::to_vec_pretty(&baked).expect("versions are plain data");
    files::write_atomic(&dir.baked(), &text, 0o644)?;
    files::remove_file(&dir.baking())?;
    Ok(true)
}

fn requirement(context: &StepContext) -> Requirement {
    Requirement {
        what: "the template bakes its packages and images".to_owned(),
        limit_name: "template_bake",
        limit: context.engine.lab.limits.template_bake,
        hint: "the template downloads packages through Fusion's NAT network vmnet8: check the Mac's internet connection",
    }
}

fn console(dir: &TemplateDir) -> String {
    files::read(&dir.console()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn last_line(console: &str) -> String {
    let last = console.lines().rev().map(str::trim).find(|line| !line.is_empty());
    last.unwrap_or("booting").to_owned()
}

pub async fn freeze(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let dir = TemplateDir::of(engine);
    let _turn = turn(context, &dir).await?;
    if files::exists(&dir.frozen()) {
        return Ok(false);
    }
    let baked: Option<Baked> = serde_json::from_slice(&files::read(&dir.baked())?).unwrap_or_default();
    let wrong = baked.map(|baked| baked.differences(&engine.lab)).unwrap_or_default();
    if !wrong.is_empty() {
        return Err(template_error(format!("the template is not what the lab wants: {}", wrong.join(", "))));
    }
    let vmx = files::canonicalize(&dir.vmx())?;
    engine.vms.snapshot(&vmx, names::TEMPLATE_SNAPSHOT, engine.lab.limits.vm_clone).await?;
    files::set_read_only(&dir.disk(), true)?;
    files::write_atomic(&dir.frozen(), dir.key.as_bytes(), 0o644)?;
    Ok(true)
}

/// Waits for the template to be ours alone: labs share it.
pub async fn turn(context: &StepContext, dir: &TemplateDir) -> Result<Lock> {
    context.turn(&context.engine.home.template_lock(&dir.key), "the template").await
}

/// Stops and removes a template that was not finished; a finished one is kept for the next lab.
pub async fn discard(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let dir = TemplateDir::of(engine);
    let _turn = turn(context, &dir).await?;
    if files::exists(&dir.frozen()) {
        return Ok(false);
    }
    let vmx = files::resolved(&dir.vmx());
    if engine.vms.running().await?.contains(&vmx) {
        engine.vms.stop(&vmx, Stop::Hard, engine.lab.limits.vm_stop_hard).await?;
    }
    files::remove_tree(&dir.root, &engine.home.templates())?;
    Ok(true)
}

fn template_error(reason: String) -> EngineError {
    EngineError::Template { reason, tail: Vec::new() }
}
