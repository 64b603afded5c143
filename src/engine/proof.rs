//! The end of an `up`: the lab proves itself.
//!
//! An Envoy that refused a configuration goes without it until its agent starts again, and so long the agent's log says so.
//! `verify` only tells; whoever runs `up` wants a lab, so the agents are restarted here, once in a run.

use std::sync::Arc;

use crate::stack::checks::{self, Check, cluster_entry};
use crate::stack::cilium;
use crate::stack::judge::Answer;

use super::context::Engine;
use super::error::Result;
use super::event::Event;
use super::steps::cluster::restart_workload;
use super::verify;

/// Proves a lab by all its checks; returns how many there are.
///
/// # Errors
/// [`super::error::EngineError::Verification`] with the failed checks.
pub async fn prove(engine: &Arc<Engine>) -> Result<usize> {
    let checks = checks::all(&engine.lab);
    if envoy_refused(engine, &checks).await {
        let text = "an Envoy refused what its agent gave it; Cilium's agents are restarted".to_owned();
        engine.send(Event::Note { step: None, text });
        if let Err(error) = restart_agents(engine).await {
            // The checks say what is wrong with the cluster better than one command that failed.
            engine.send(Event::Note { step: None, text: format!("they were not: {error}") });
        }
    }
    verify::verify(engine, checks).await
}

/// Says whether an agent's log has it; a cluster that does not answer is the checks' business.
async fn envoy_refused(engine: &Arc<Engine>, checks: &[Check]) -> bool {
    let Some(check) = checks.iter().find(|check| check.id == cluster_entry::AGENT_LOG) else { return false };
    match verify::ask(engine, &check.probe).await {
        Answer::Command(said) => cluster_entry::REFUSALS.iter().any(|word| said.stdout.contains(word)),
        _ => false,
    }
}

async fn restart_agents(engine: &Engine) -> Result<()> {
    let (agents, limit) = (format!("daemonset/{}", cilium::AGENTS), engine.lab.limits.cilium_ready);
    restart_workload(engine, engine.lab.first_control_plane(), &agents, cilium::NAMESPACE, limit).await
}
