//! The drill: breaks one thing, measures who feels it and for how long, and puts it back whatever happens.
//!
//! ```text
//! whole? ─▶ record on disk ─▶ break ─▶ watch ─▶ put back ─▶ whole again? ─▶ record gone ─▶ outcome
//!   │                           └── Ctrl-C, an error ──▶ ┘       │
//!   └─ prober: every way into the lab, ten times a second ───────┘
//! kill -9 ─▶ the record stays: the next `drill` or `up` puts back what it names
//! ```
//!
//! From the record on, work is done by an engine that a wish to stop does not reach.

mod prober;
pub mod record;
mod tally;
mod whole;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::context::command_failed;
use crate::engine::error::{EngineError, Requirement, Result};
use crate::engine::event::Event;
use crate::engine::observe;
use crate::engine::run::StepContext;
use crate::engine::steps::{guest, vm};
use crate::engine::wait::{Probe, until};
use crate::host::{HostError, Stop, clock, files};
use crate::lab::{Node, Role};
use crate::stack::drill::{self, Damage, Outcome, Scenario, Seen};
use crate::stack::vips;
use prober::{Prober, RATE};

/// Answers in a row that make a way steady after something changed: two seconds' worth.
const STEADY: u32 = 2 * RATE;
/// As many as it takes to know that a lab in which nothing is missing is answered.
const ANSWERED: u32 = RATE / 2;

/// Loses one thing and puts it back; the outcome is told as an event.
///
/// # Errors
/// [`EngineError::NotWhole`] if the lab is not whole before: then nothing was broken. [`EngineError::NotPutBack`] if it
/// is not afterwards: then the record stays. What was broken is put back before any other error, or an interruption, is
/// returned.
pub async fn lose(context: &StepContext, scenario: Scenario, on: Option<&str>) -> Result<bool> {
    let engine = &context.engine;
    let prober = Prober::start(engine, drill::ways(&engine.lab))?;
    let seen = must_be_whole(context, &prober).await?;
    let node = victim(context, &seen, scenario, on)?;
    let sheltered = context.sheltered();
    record::write(engine, scenario, &node.name)?;
    context.note(format!("{} {}", node.name, scenario.loses()));
    prober.begin();
    let started = clock::monotonic();
    let watched = async {
        harm(&sheltered, scenario, &node).await?;
        watch(context, &prober, scenario, &node).await
    };
    let watched = watched.await;
    context.note(format!("{} gets back what it lost", node.name));
    put_back(&sheltered, scenario, &node).await?;
    whole_again(&sheltered, &prober, scenario, &node).await?;
    record::remove(engine)?;
    let (took, ways) = (started.elapsed(), prober.end().await);
    watched?;
    let limit = scenario.limit(&engine.lab.limits).duration();
    context.send(Event::Drilled(Outcome { scenario, node: node.name, limit, took, ways }));
    Ok(true)
}

/// Puts back what a drill broke that was killed; a machine that is gone needs nothing.
pub async fn put_back_what_is_left(context: &StepContext, scenario: Scenario, name: &str) -> Result<bool> {
    let engine = &context.engine;
    let there = engine.lab.node(name).filter(|node| files::exists(&engine.vmx(&node.name)));
    let Some(node) = there else {
        context.note(format!("{name} is gone, and what the drill broke with it"));
        record::remove(engine)?;
        return Ok(true);
    };
    put_back(context, scenario, node).await?;
    record::remove(engine)?;
    Ok(true)
}

async fn must_be_whole(context: &StepContext, prober: &Prober) -> Result<Seen> {
    let requirement = Requirement {
        what: "the lab is whole".to_owned(),
        limit: context.engine.lab.limits.verify_check(),
        hint: "`fusionlab verify` says more, `fusionlab up` puts it right",
    };
    whole::until_whole(context, requirement, prober, ANSWERED).await.map_err(|error| match error {
        EngineError::Requirement { last, .. } => EngineError::NotWhole { ailments: last },
        other => other,
    })
}

/// Chooses the machine: the one that was wished, the gateway that holds the VIPs, or the first of its role.
fn victim(context: &StepContext, seen: &Seen, scenario: Scenario, on: Option<&str>) -> Result<Node> {
    let lab = &context.engine.lab;
    let holder = vips::holder(lab, &seen.guests).map(str::to_owned);
    let first = lab.of_role(scenario.role()).next().map(|node| node.name.clone());
    let name = match (on, scenario.role()) {
        (Some(name), _) => Some(name.to_owned()),
        (None, Role::Gateway) => holder,
        (None, _) => first,
    };
    let name = name
        .expect("a whole lab has a holder of its VIPs, and a scenario is planned for what there is twice");
    context.engine.node(&name).cloned()
}

async fn harm(context: &StepContext, scenario: Scenario, node: &Node) -> Result<()> {
    let engine = &context.engine;
    match scenario.damage(node) {
        Damage::Commands(commands) => {
            for command in &commands {
                engine.must(node, command).await?;
            }
        }
        Damage::PowerCut => {
            let vmx = files::canonicalize(&engine.vmx(&node.name))?;
            vm::must_be_ours(engine, &node.name, &vmx)?;
            engine.vms.stop(&vmx, Stop::Hard).await?;
        }
    }
    Ok(())
}

/// Watches until the lab goes on without it, or until it is clear that it does not within its limit. Only an
/// interruption is an error: what was felt is in the count.
async fn watch(context: &StepContext, prober: &Prober, scenario: Scenario, node: &Node) -> Result<()> {
    let engine = &context.engine;
    prober.forget_rows();
    let row = Duration::from_secs((STEADY / RATE).into());
    let requirement = Requirement {
        what: format!("the lab goes on without what {} lost", node.name),
        // What comes at the last moment must still be seen to be steady, and the longest request to its end.
        limit: scenario.limit(&engine.lab.limits).and(engine.lab.limits.drill_request + row),
        hint: "it is put back now",
    };
    let went_on = until(context, requirement, async || {
        let mut lacks = prober.unsteady(STEADY);
        if lacks.is_none() && scenario.role() == Role::Gateway {
            lacks = not_taken_over(context, node).await;
        }
        Ok(lacks.map_or(Probe::Met(()), Probe::NotYet))
    });
    match went_on.await {
        Err(EngineError::Requirement { last, .. }) => {
            context.note(format!("it does not go on within its limit: {last}"));
            Ok(())
        }
        other => other,
    }
}

/// Says what is missing until another gateway holds both VIPs. The one that lost something is not asked: it may not
/// answer for long.
async fn not_taken_over(context: &StepContext, lost: &Node) -> Option<String> {
    let lab = &context.engine.lab;
    let mut guests = BTreeMap::new();
    for node in lab.gateways().filter(|node| node.name != lost.name) {
        guests
            .extend(observe::guest(&context.engine, node).await.ok().map(|facts| (node.name.clone(), facts)));
    }
    let missing = || format!("no other gateway holds {} and {}", lab.lan.vip, lab.internal.vip);
    vips::holder(lab, &guests).is_none().then(missing)
}

/// Gives the machine back its power, if it has none, and then what it lost.
async fn put_back(context: &StepContext, scenario: Scenario, node: &Node) -> Result<()> {
    let unmended = |error: EngineError| not_put_back(scenario, node, error);
    if vm::start(context, &node.name).await.map_err(unmended)? || scenario.repair(node).is_empty() {
        guest::ready(context, &node.name).await.map_err(unmended)?;
    }
    for command in scenario.repair(node) {
        let requirement = Requirement {
            what: format!("{} takes: {}", node.name, command.shell_line()),
            limit: context.engine.lab.limits.guest_ssh(),
            hint: "run the command by hand in the machine",
        };
        let limit = context.engine.lab.limits.guest_command;
        let taken = until(context, requirement, async || {
            Ok(match context.engine.run(node, &command, limit).await {
                Ok(output) if output.success() => Probe::Met(()),
                Ok(output) => Probe::NotYet(command_failed(&node.name, &command, &output).to_string()),
                Err(error @ EngineError::Host(HostError::Interrupted)) => return Err(error),
                Err(error) => Probe::NotYet(error.to_string()),
            })
        });
        taken.await.map_err(unmended)?;
    }
    Ok(())
}

async fn whole_again(context: &StepContext, prober: &Prober, scenario: Scenario, node: &Node) -> Result<()> {
    prober.forget_rows();
    let requirement = Requirement {
        what: format!("the lab is whole again after {scenario}"),
        limit: context.engine.lab.limits.drill_whole(),
        hint: "`fusionlab verify` says more, `fusionlab up` puts it right",
    };
    let whole = whole::until_whole(context, requirement, prober, ANSWERED).await;
    whole.map(drop).map_err(|error| not_put_back(scenario, node, error))
}

fn not_put_back(scenario: Scenario, node: &Node, error: EngineError) -> EngineError {
    let what = match error {
        EngineError::Requirement { last, .. } => last,
        EngineError::Host(HostError::Interrupted) => return error,
        other => other.to_string(),
    };
    EngineError::NotPutBack { scenario, what, by_hand: scenario.by_hand(node) }
}
