//! Steps that make the golden template: download, convert, bake, freeze.
//!
//! ```text
//! fetch ─▶ convert ─▶ Written ─▶ bake: Baking ─(it powers itself off)─▶ Baked ─▶ freeze ─▶ Frozen
//! ```
//!
//! The manifest holds the stage. A run that begins a template keeps it to itself until it is frozen, since labs share
//! templates; whoever comes after a killed run goes on from the stage that was reached, or from a spoilt disk anew.

use std::path::{Path, PathBuf};

use crate::engine::context::{Engine, last_lines};
use crate::engine::error::{EngineError, Requirement, Result};
use crate::engine::images;
use crate::engine::images::template::{Manifest, Stage, TemplateDir};
use crate::engine::images::templates;
use crate::engine::run::StepContext;
use crate::engine::wait::{Probe, until};
use crate::formats::seed_iso;
use crate::host::fusion::vmx_file;
use crate::host::lock::Lock;
use crate::host::{Stop, convert, files, stand_in};
use crate::lab::names;
use crate::plan::obstacle::Obstacle;
use crate::stack::bake::{self, Outcome};
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
    hold(context, &dir).await?;
    // Another lab may have made it since the plan was made.
    if dir.usable(&engine.vms.running().await?)?.is_some() {
        return Ok(false);
    }
    clear(&engine, &dir).await?;
    let writing = context.clone();
    stand_in::blocking(move || write_disk(&writing)).await?;
    let vmx = vm::template_vmx(&engine.lab, &dir.key);
    vmx_file::write(&dir.vmx(), &vmx)?;
    let image = images::cached(&engine).ok_or_else(not_in_cache)?;
    dir.begin(&engine.lab.image, &image)?;
    Ok(true)
}

/// Writes the template's disk: there is never half a disk of that name.
fn write_disk(context: &StepContext) -> Result<()> {
    let engine = &context.engine;
    let dir = TemplateDir::of(engine);
    files::create_dir(&dir.bundle())?;
    let image = images::cached(engine).ok_or_else(not_in_cache)?.path;
    let wished = u64::from(vm::template_disk_gib(&engine.lab)) * BYTES_PER_GIB;
    let capacity = Some(wished.max(convert::open(&image)?.size()));
    let (target, format) = (dir.disk(), convert::Format::Sparse);
    let request = convert::Request { source: &image, target: &target, capacity, format, cid: None };
    let mut progress = |done, total| context.progress(done, Some(total));
    convert::convert(&request, &mut progress, &|| engine.cancel.is_cancelled())?;
    Ok(())
}

/// How a machine ended that was to bake.
enum Ended {
    Baked,
    /// It was so already.
    AsItWas,
    /// It did not come to its first step, or what an earlier run began has failed; its power was cut.
    Spoilt(EngineError),
}

pub async fn bake(context: &StepContext) -> Result<bool> {
    must_stand(context).await?;
    let ended = match bake_once(context).await? {
        // As with any machine that hangs at its boot, once in a run; this one's disk is spoilt by its power cut.
        Ended::Spoilt(error) => {
            context.note(format!("{error}; it is made anew from its image"));
            convert(context).await?;
            bake_once(context).await?
        }
        ended => ended,
    };
    match ended {
        Ended::Baked => Ok(true),
        Ended::AsItWas => Ok(false),
        Ended::Spoilt(error) => Err(error),
    }
}

/// Makes the template anew if it is of no use any more: since the plan was made, what an earlier run began may have failed, be it
/// of this run's own change of the networks.
async fn must_stand(context: &StepContext) -> Result<()> {
    let engine = &context.engine;
    let dir = TemplateDir::of(engine);
    hold(context, &dir).await?;
    if dir.usable(&engine.vms.running().await?)?.is_none() {
        context
            .note("the bake that an earlier run began has failed; the template is made anew from its image");
        convert(context).await?;
    }
    Ok(())
}

async fn bake_once(context: &StepContext) -> Result<Ended> {
    let engine = &context.engine;
    let dir = TemplateDir::of(engine);
    hold(context, &dir).await?;
    let manifest = usable(engine, &dir).await?;
    if manifest.stage >= Stage::Baked {
        return Ok(Ended::AsItWas);
    }
    let vmx = files::canonicalize(&dir.vmx())?;
    if manifest.stage == Stage::Written {
        let seed = cloud_init::bake_seed(&engine.lab, &dir.key);
        files::write_atomic(&dir.seed(), &seed_iso::write("cidata", &seed), files::PRIVATE_FILE)?;
        // Fusion asks what to do with a console file that exists, and a headless start hangs on the question.
        files::remove_file(&dir.console())?;
        dir.write(&Manifest { stage: Stage::Baking, ..manifest.clone() })?;
        engine.vms.start(&vmx).await?;
    }
    let mut heard = Heard::default();
    let outcome = match await_end(context, &dir, &vmx, &mut heard).await {
        Err(error @ EngineError::Requirement { .. }) => {
            let silent = [&dir.said(), &heard.word].iter().all(|said| bake::outcome(said) == Outcome::Silent);
            // One that an earlier run has waited for as well, and that stood still all this time.
            let hangs = manifest.stage == Stage::Baking && !heard.has_news;
            // One that bakes is only slow, and is left at work.
            if !silent && !hangs {
                return Err(error);
            }
            engine.vms.stop(&vmx, Stop::Hard).await?;
            return Ok(Ended::Spoilt(error));
        }
        ended => ended?,
    };
    let baked = match outcome {
        Outcome::Done(baked) => Some(baked),
        Outcome::Failed(step) => {
            let error = bake_failed(context, &dir, &vmx, &step).await?;
            // What was done to the Mac since an earlier run began it, such as to its networks, may be why.
            return if manifest.stage == Stage::Baking { Ok(Ended::Spoilt(error)) } else { Err(error) };
        }
        Outcome::Running(step) => {
            let reason = format!("the template's machine was switched off in the bake step {step}");
            return Err(EngineError::Template { reason, tail: last_lines(&dir.said()) });
        }
        // Then the power-off is the only word.
        Outcome::Silent => {
            context.note(
                "nothing was heard from the template's machine; its versions are checked on each clone",
            );
            None
        }
    };
    await_power_off(context, &vmx).await?;
    files::remove_file(&dir.seed())?;
    dir.write(&Manifest { stage: Stage::Baked, baked, ..manifest })?;
    Ok(Ended::Baked)
}

/// What was heard of a bake while it was waited for.
#[derive(Default)]
struct Heard {
    /// The last word that Fusion passed on, where it writes no console.
    word: String,
    /// The console and the word at the first look.
    first: Option<(String, String)>,
    /// Whether they were others later.
    has_news: bool,
}

impl Heard {
    fn listen(&mut self, said: &str) {
        let now = (said.to_owned(), self.word.clone());
        let first = self.first.get_or_insert_with(|| now.clone());
        self.has_news |= *first != now;
    }
}

/// Waits for the bake's last word, or for a power-off without one; tells on the way what is said.
async fn await_end(
    context: &StepContext,
    dir: &TemplateDir,
    vmx: &Path,
    heard: &mut Heard,
) -> Result<Outcome> {
    let engine = &context.engine;
    let mut told = 0;
    let requirement = Requirement {
        what: "the template bakes its packages and images".to_owned(),
        limit: engine.lab.limits.template_bake(),
        hint: "the template downloads packages through Fusion's NAT network vmnet8: check the Mac's internet connection",
    };
    until(context, requirement, async || {
        let running = engine.vms.running().await?.contains(vmx);
        let said = dir.said();
        let (new, next) = dir.said_since(told);
        new.lines().for_each(|line| context.line(line.trim_end()));
        told = next;
        let mut outcome = bake::outcome(&said);
        if outcome == Outcome::Silent {
            // Fusion need not write a console (facts/vm-images-cloudinit.md §1.6); a guest variable lives as its VM does.
            if running && let Ok(Some(word)) = engine.vms.variable(vmx, bake::VARIABLE).await {
                heard.word = word;
            }
            outcome = bake::outcome(&heard.word);
        }
        heard.listen(&said);
        Ok(match outcome {
            Outcome::Silent | Outcome::Running(_) if running => {
                Probe::NotYet(last_line(if heard.word.is_empty() { &said } else { &heard.word }))
            }
            // Its last word may have come and gone between two looks.
            Outcome::Running(step) if !heard.word.is_empty() && bake::is_last(&step) => {
                Probe::Met(Outcome::Silent)
            }
            outcome => Probe::Met(outcome),
        })
    })
    .await
    .map_err(|error| match error {
        EngineError::Requirement { node, requirement, last, .. } => {
            EngineError::Requirement { node, requirement, last, tail: last_lines(&dir.said()) }
        }
        other => other,
    })
}

fn last_line(console: &str) -> String {
    let last = console.lines().rev().map(str::trim).find(|line| !line.is_empty());
    last.unwrap_or("booting").to_owned()
}

/// Returns the failure of a bake step. Its machine is stopped: the next run begins with a fresh disk.
async fn bake_failed(
    context: &StepContext,
    dir: &TemplateDir,
    vmx: &Path,
    step: &str,
) -> Result<EngineError> {
    let engine = &context.engine;
    engine.vms.stop(vmx, Stop::Hard).await?;
    let tail = last_lines(&dir.said());
    Ok(EngineError::Template { reason: format!("the bake step {step} failed"), tail })
}

/// Waits until the machine is off and Fusion has let go of its files. All was on its disk before its last word, so one
/// that hangs on its way down loses nothing with its power.
async fn await_power_off(context: &StepContext, vmx: &Path) -> Result<()> {
    let engine = &context.engine;
    let limits = &engine.lab.limits;
    let requirement = Requirement {
        what: "the template powers itself off".to_owned(),
        limit: limits.vm_stop_soft(),
        hint: "its power is cut",
    };
    let off = until(context, requirement, async || {
        let running = engine.vms.running().await?.contains(vmx);
        Ok(if running { Probe::NotYet("still on".to_owned()) } else { Probe::Met(()) })
    })
    .await;
    match off {
        Err(EngineError::Requirement { .. }) => {
            context.note("the template does not power itself off; its power is cut");
        }
        other => other?,
    }
    Ok(engine.vms.stop(vmx, Stop::Hard).await?)
}

pub async fn freeze(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let dir = TemplateDir::of(engine);
    hold(context, &dir).await?;
    let manifest = usable(engine, &dir).await?;
    if manifest.stage == Stage::Frozen {
        release(engine).await;
        return Ok(false);
    }
    check(engine, &manifest)?;
    let vmx = files::canonicalize(&dir.vmx())?;
    forget_machine(engine, &dir).await?;
    engine.vms.snapshot(&vmx, names::TEMPLATE_SNAPSHOT).await?;
    files::set_read_only(&dir.disk(), true)?;
    // Fusion's own files as well: labs take a frozen template for whole, be it after a power cut.
    files::sync_tree(&dir.bundle())?;
    dir.write(&Manifest { stage: Stage::Frozen, disk: dir.look_at_disk()?, ..manifest })?;
    release(engine).await;
    Ok(true)
}

/// Compares what was baked with what the lab wants.
fn check(engine: &Engine, manifest: &Manifest) -> Result<()> {
    let differences = manifest.baked.as_ref().map(|baked| baked.differences(&engine.lab)).unwrap_or_default();
    if differences.is_empty() { Ok(()) } else { Err(EngineError::TemplateDiffers { differences }) }
}

/// Takes out of the template's VMX what made it one machine, and its firmware's variables: a clone's firmware finds the
/// boot loader as the template's own did at its first start, which had none either.
async fn forget_machine(engine: &Engine, dir: &TemplateDir) -> Result<()> {
    vmx_file::edit(engine.vms.as_ref(), &dir.vmx(), vm::forget_machine).await?;
    let is_nvram = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "nvram");
    for nvram in files::list(&dir.bundle())?.iter().filter(|path| is_nvram(path)) {
        files::remove_file(nvram)?;
    }
    Ok(())
}

/// Returns the manifest of a template that the steps before have made.
async fn usable(engine: &Engine, dir: &TemplateDir) -> Result<Manifest> {
    let running = engine.vms.running().await?;
    let gone = || EngineError::template("the template was removed meanwhile");
    dir.usable(&running)?.ok_or_else(gone)
}

/// Waits for the template to be ours alone until [`release`] or the end of this run.
async fn hold(context: &StepContext, dir: &TemplateDir) -> Result<()> {
    let mut turn = context.engine.template_turn.lock().await;
    if turn.is_some() {
        return Ok(());
    }
    *turn = Some(self::turn(context, dir).await?);
    Ok(())
}

async fn release(engine: &Engine) {
    engine.template_turn.lock().await.take();
}

/// Waits for the template to be ours alone, since labs share it, and sweeps up what a killed run was writing.
pub async fn turn(context: &StepContext, dir: &TemplateDir) -> Result<Lock> {
    let turn = context.turn(&context.engine.home.template_lock(&dir.key), "the template").await?;
    // A run that was killed may have been writing its manifest or its seed.
    [dir.root.clone(), dir.bundle()].iter().try_for_each(|folder| files::sweep(folder))?;
    Ok(turn)
}

/// Stops and removes a template that was not finished; a finished one is kept for the next lab.
pub async fn discard(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let dir = TemplateDir::of(engine);
    let _turn = turn(context, &dir).await?;
    let frozen = dir.read()?.is_some_and(|manifest| manifest.stage == Stage::Frozen);
    if frozen || !files::exists(&dir.root) {
        return Ok(false);
    }
    clear(engine, &dir).await?;
    Ok(true)
}

/// Removes a template so that it is made anew; the turn is kept for that.
pub async fn remove(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let dir = TemplateDir::of(engine);
    hold(context, &dir).await?;
    if !files::exists(&dir.root) {
        return Ok(false);
    }
    clear(engine, &dir).await?;
    Ok(true)
}

/// Removes whatever is there of a template, unless machines hang on its disk: looked at right before the deed.
async fn clear(engine: &Engine, dir: &TemplateDir) -> Result<()> {
    if dir.read()?.is_some_and(|manifest| manifest.stage == Stage::Frozen) {
        templates::all_are_seen(&engine.fusion)?;
    }
    let vmx = templates::hanging_on(&engine.fusion, &dir.root);
    if !vmx.is_empty() {
        let key = dir.key.clone();
        return Err(EngineError::Obstacles(vec![Obstacle::TemplateInUse { key, vmx }]));
    }
    Ok(templates::remove(engine.vms.as_ref(), dir).await?)
}

fn not_in_cache() -> EngineError {
    EngineError::template("the image is not in the cache any more")
}
