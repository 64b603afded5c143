//! What the verbs are made of: look, plan, carry out, prove. The words around it are `cli`'s.

use std::sync::Arc;

use crate::host::dial::Dial;
use crate::host::files;
use crate::host::fusion::Fusion;
use crate::host::lock::Occupant;
use crate::lab::paths::Home;
use crate::plan::desired::Desired;
use crate::plan::drill::{Choice, Drill};
use crate::plan::facts::Facts;
use crate::plan::networks::{self, NetworkEdit};
use crate::plan::step::Plan;
use crate::plan::{destroy, drill, lan, lint, obstacle, template, up};

use super::context::Engine;
use super::error::{EngineError, Result};
use super::home::lab_lock::{self, HeldLab, Patience};
use super::home::recovery::{self, Before};
use super::home::{networks as records, store};
use super::journal::Journal;
use super::journal::record::RunState;
use super::observe::{self, mac};
use super::schedule::{self, Summary};

/// What was seen, and what is missing.
#[derive(Debug)]
pub struct Outlook {
    pub facts: Facts,
    pub plan: Plan,
}

/// Takes the lab's lock, held until the value is dropped, and sweeps up what a killed run was writing. Waits for another
/// run as long as `patience`; `tell` hears of it.
pub async fn lock(
    home: &Home,
    fusion: &Fusion,
    lab: &str,
    verb: &str,
    patience: Patience,
    tell: &mut dyn FnMut(&Occupant),
) -> Result<HeldLab> {
    let lock = lab_lock::acquire(home, lab, verb, patience, tell).await?;
    let dir = home.lab(lab);
    // What a newer fusionlab has begun is not for this one to see through.
    Journal::new(dir.journal(), verb).check_version()?;
    store::settle(&dir)?;
    let networks = recovery::sweep(home, lab, files::list(&fusion.library.join(lab))?)?;
    Ok(HeldLab { lock, networks })
}

/// Looks at what an earlier run of the lab left, and at who works on it now; with the lab's lock if it was taken.
pub fn before(engine: &Engine, held: Option<&HeldLab>) -> Result<Before> {
    recovery::look(&engine.home, &engine.lab.name, &engine.journal, held)
}

/// Plans `up`.
pub async fn outlook(engine: &Arc<Engine>) -> Result<Outlook> {
    let mut facts = observe::facts(engine).await?;
    if lan::is_open(&facts) {
        facts.host.lan = mac::home_networks(&engine.fusion, engine.lab.limits.fusion_query).await;
    }
    let proxy = Dial::of(&engine.fusion)?.proxy_url();
    let identity = engine.identity();
    let desired = Desired::of(&engine.lab, identity.as_deref(), &facts, proxy.as_deref());
    let plan = up::plan(&engine.lab, &desired, &facts).map_err(EngineError::Obstacles)?;
    sound(&plan)?;
    Ok(Outlook { facts, plan })
}

/// Plans `destroy`.
pub async fn destroy_outlook(engine: &Arc<Engine>) -> Result<Outlook> {
    let facts = observe::host_facts(engine).await?;
    let network = undone(engine, &facts)?;
    let plan = destroy::plan(&engine.lab.name, &facts, &network).map_err(EngineError::Obstacles)?;
    sound(&plan)?;
    Ok(Outlook { facts, plan })
}

/// Plans `drill`.
pub async fn drill_outlook(engine: &Arc<Engine>, choice: &Choice) -> Result<Drill> {
    let facts = observe::facts(engine).await?;
    let drill = drill::plan(&engine.lab, &facts, choice);
    sound(&drill.plan)?;
    Ok(drill)
}

/// Plans `template build`: the template alone, and if need be anew.
pub async fn template_outlook(engine: &Arc<Engine>, anew: bool) -> Result<Outlook> {
    let facts = Facts { template: observe::template_facts(engine).await?, ..Facts::default() };
    let old = obstacle::of_fusion(&engine.fusion.version);
    if !old.is_empty() {
        return Err(EngineError::Obstacles(old));
    }
    let plan = template::plan(&engine.lab, &facts.template, anew).map_err(EngineError::Obstacles)?;
    sound(&plan)?;
    Ok(Outlook { facts, plan })
}

/// Plans `network apply`: the lab's network without its machines.
pub async fn network_outlook(engine: &Arc<Engine>) -> Result<Outlook> {
    let facts = observe::host_facts(engine).await?;
    let plan = networks::plan_apply(&engine.lab, &facts).map_err(EngineError::Obstacles)?;
    sound(&plan)?;
    Ok(Outlook { facts, plan })
}

/// Plans `network restore`: this lab's lines out of Fusion's networking file.
pub async fn network_undo_outlook(engine: &Arc<Engine>) -> Result<Outlook> {
    let facts = observe::host_facts(engine).await?;
    let plan = networks::plan_undo(&facts, &undone(engine, &facts)?).map_err(EngineError::Obstacles)?;
    sound(&plan)?;
    Ok(Outlook { facts, plan })
}

/// Plans `network restore BACKUP`: Fusion's networking file as a backup has it.
pub async fn network_put_back_outlook(engine: &Arc<Engine>, backup: &str) -> Result<Outlook> {
    let facts = observe::host_facts(engine).await?;
    let bytes = engine.networks.read_backup(backup)?;
    let edit = networks::put_back(&facts, &bytes, engine.lab.internal.vmnet);
    let plan = networks::plan_put_back(backup, &facts, &edit).map_err(EngineError::Obstacles)?;
    sound(&plan)?;
    Ok(Outlook { facts, plan })
}

fn undone(engine: &Engine, facts: &Facts) -> Result<NetworkEdit> {
    let originals = records::originals(engine)?;
    let originals: Vec<&[u8]> = originals.iter().map(Vec::as_slice).collect();
    Ok(networks::without(facts, &originals))
}

/// Refuses a plan that breaks its own rules: a defect of ours, better said than carried out.
fn sound(plan: &Plan) -> Result<()> {
    let findings = lint::lint(plan);
    if findings.is_empty() {
        return Ok(());
    }
    Err(EngineError::Defect { reason: format!("the plan is not sound: {}", findings.join("; ")) })
}

/// Carries out a plan as a run that the journal knows. Where nothing is left to do, an earlier run that was cut off is
/// done with, if this verb sees to all that it may have left.
pub async fn carry_out(engine: &Arc<Engine>, plan: &Plan) -> Result<Summary> {
    let journal = &engine.journal;
    if plan.is_empty() {
        journal.settle()?;
        return Ok(Summary::default());
    }
    journal.begin()?;
    let result = schedule::run(engine, plan).await;
    let ended = journal.end(match &result {
        Ok(_) => RunState::Done,
        Err(EngineError::Interrupted { .. }) => RunState::Interrupted,
        Err(_) => RunState::Failed,
    });
    // Why the run failed says more than that its end could not be written down.
    let summary = result?;
    ended?;
    Ok(summary)
}
