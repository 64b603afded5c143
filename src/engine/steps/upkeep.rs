//! Steps for a lab that stood still or grew old: its clocks are set, its certificates renewed.
//!
//! ```text
//! a control plane's certificates      mark → (a name is lacking: the API server's anew) → kubeadm certs renew all
//!                                       → etcd, API server, controllers restart → the API answers again → mark off
//! a kubelet's own, which it did not   mark → a kubeconfig signed on this machine, renamed into its place
//! renew while its machine was off       → the kubelet restarts → mark off
//! ```
//!
//! Each may be cut short anywhere: the mark stays, and the next run does it again.

use crate::engine::error::{EngineError, Requirement, Result};
use crate::engine::observe;
use crate::engine::run::StepContext;
use crate::engine::wait::{Probe, until};
use crate::host::clock;
use crate::lab::{Node, Role};
use crate::stack::certificates::{self, Due};
use crate::stack::facts::GuestFacts;
use crate::stack::{kubeadm, node as nodes, runtime};

use super::guest::put;
use super::kube::{api_answers, api_must_answer};

/// Sets a guest's clock by its time servers at once, and waits until it is this machine's. Where they do not agree with this
/// machine, it is told, and the guest believes them.
pub async fn set_clock(context: &StepContext, name: &str) -> Result<bool> {
    let engine = &context.engine;
    let node = engine.node(name)?;
    let before = observe::guest(engine, node).await?.clock_off_ms;
    engine.must(node, &nodes::ask_time()).await?;
    let requirement = Requirement {
        what: format!("the clock of {name} is this Mac's"),
        limit: engine.lab.limits.clock_step(),
        hint: "`chronyc sources` in the guest shows whom it asks",
    };
    let mut after = before;
    let set = until(context, requirement, async || {
        engine.must(node, &nodes::step_clock()).await?;
        after = observe::guest(engine, node).await?.clock_off_ms;
        Ok(if after.unsigned_abs() <= nodes::CLOCK_WITHIN_MS {
            Probe::Met(())
        } else {
            Probe::NotYet(format!("{} s off", after / 1000))
        })
    });
    match set.await {
        Ok(()) => {}
        Err(EngineError::Requirement { .. }) => {
            context.note(format!("{name}: its time servers tell {} s from this Mac's clock", after / 1000));
            let limit = engine.lab.limits.clock_sync;
            let waits = limit + engine.lab.limits.guest_connect;
            engine.must_within(node, &nodes::await_clock(limit), waits).await?;
        }
        Err(error) => return Err(error),
    }
    Ok(before.abs_diff(after) > nodes::CLOCK_WITHIN_MS)
}

/// Looks at a node's certificates and renews what is due.
pub async fn renew(context: &StepContext, name: &str) -> Result<bool> {
    let engine = &context.engine;
    let node = engine.node(name)?;
    let due = certificates::due(&engine.lab, node, &observe::guest(engine, node).await?, clock::now());
    if due.of_control_plane() {
        of_control_plane(context, node, &due).await?;
    }
    if due.of_kubelet() {
        of_kubelet(context, node).await?;
    }
    if due.is_nothing() {
        return Ok(false);
    }
    let left = certificates::due(&engine.lab, node, &observe::guest(engine, node).await?, clock::now());
    if left.is_nothing() {
        return Ok(true);
    }
    let reason = format!("{name}: its certificates were renewed, and are not as they should be: {left:?}");
    Err(EngineError::cluster(reason))
}

async fn of_control_plane(context: &StepContext, node: &Node, due: &Due) -> Result<()> {
    let engine = &context.engine;
    // Where the cluster stands still, since all have ended, nothing is there that could answer before the others' turn.
    let answered = api_answers(context, node).await?;
    engine.must(node, &certificates::begin(certificates::MARK)).await?;
    if !due.names.is_empty() {
        for command in certificates::rename() {
            engine.must(node, &command).await?;
        }
    }
    if due.ends.is_some() || due.unfinished {
        engine.must(node, &certificates::renew()).await?;
    }
    for name in certificates::USERS {
        restart(context, node, name).await?;
    }
    if answered {
        api_must_answer(context, node).await?;
        // One that was cut short may have got as far as the certificate.
        if !due.names.is_empty() || due.unfinished {
            engine.must(node, &certificates::upload()).await?;
        }
    }
    engine.must(node, &certificates::end(certificates::MARK)).await?;
    Ok(())
}

/// Restarts one of a control plane's containers; one that does not run is started by the kubelet with what is there now.
async fn restart(context: &StepContext, node: &Node, name: &str) -> Result<()> {
    let engine = &context.engine;
    let listed = engine.must(node, &runtime::containers(name)).await?;
    let Some((id, _)) = runtime::newest(&listed.text()).filter(|(_, state)| state == runtime::RUNNING) else {
        return Ok(());
    };
    engine.must(node, &certificates::restart(&id)).await?;
    let requirement = Requirement {
        what: format!("{name} runs again on {}", node.name),
        limit: engine.lab.limits.api_endpoint(),
        hint: "`crictl ps -a` and `journalctl -u kubelet` on the node say why not",
    };
    until(context, requirement, async || {
        let newest = runtime::newest(&engine.must(node, &runtime::containers(name)).await?.text());
        Ok(match newest {
            Some((_, state)) if state == runtime::RUNNING => Probe::Met(()),
            Some((_, state)) => Probe::NotYet(state),
            None => Probe::NotYet("there is no container".to_owned()),
        })
    })
    .await
}

/// Gives a kubelet a new certificate. It goes on with that by itself; until then the cluster takes its node for lost.
async fn of_kubelet(context: &StepContext, node: &Node) -> Result<()> {
    let engine = &context.engine;
    let identity = engine.need_identity()?;
    let file = certificates::kubelet_file(&engine.lab, &identity, node, clock::now())?;
    engine.must(node, &certificates::begin(certificates::KUBELET_MARK)).await?;
    put(context, node, &file).await?;
    for command in certificates::kubelet_anew() {
        engine.must(node, &command).await?;
    }
    engine.must(node, &certificates::end(certificates::KUBELET_MARK)).await?;
    Ok(())
}

/// Starts a member's kubelet, if it has something to do, and has it start at each boot: somebody may have stopped or
/// disabled it.
pub async fn kubelet_runs(context: &StepContext, node: &Node, facts: &GuestFacts) -> Result<()> {
    if node.role == Role::Gateway {
        return Ok(());
    }
    let joined = kubeadm::state(node.role, facts).is_complete();
    let command = match (facts.unit_active("kubelet"), facts.unit_off_at_boot("kubelet")) {
        (false, _) | (_, true) if joined => nodes::start_kubelet(),
        (_, true) => nodes::enable_kubelet(),
        _ => return Ok(()),
    };
    context.engine.must(node, &command).await?;
    Ok(())
}
