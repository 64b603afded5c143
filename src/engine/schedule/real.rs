//! The scheduler on the real world: steps are done by [`steps::perform`], and written down in the lab's journal.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::context::Engine;
use crate::engine::error::{EngineError, Result};
use crate::engine::event::Event;
use crate::engine::home::costs;
use crate::engine::journal::State;
use crate::engine::run::StepContext;
use crate::engine::steps;
use crate::host::system;
use crate::plan::step::{Plan, Step, StepId};

use super::gates::Host;
use super::order::Costs;
use super::{Perform, Summary, Terms, carry_out};

/// Carries out a plan.
///
/// # Errors
/// [`EngineError::Steps`] with every failure, or [`EngineError::Interrupted`]; what was done stays done.
pub async fn run(engine: &Arc<Engine>, plan: &Plan) -> Result<Summary> {
    carry_out(Rc::new(Real(engine.clone())), plan, terms(engine)).await
}

fn terms(engine: &Engine) -> Terms {
    let lab = &engine.lab;
    // The machines of a simulation take none of this computer's memory.
    let simulated = engine.fusion.simulated;
    let host = Host {
        cpus: engine.host_cpus,
        free_mib: Box::new(move || if simulated { None } else { system::free_memory_mib() }),
        machines: lab.nodes.iter().map(|node| (node.name.clone(), node.memory_mib)).collect(),
        memory_limit: lab.limits.host_memory,
    };
    Terms {
        costs: Costs::learned(engine.journal.costs(), costs::of_this_mac(engine)),
        limits: lab.limits.clone(),
        host,
        members: u32::try_from(lab.members().count()).unwrap_or(u32::MAX),
        cancel: engine.cancel.clone(),
    }
}

struct Real(Arc<Engine>);

impl Perform for Real {
    async fn perform(&self, step: &Arc<Step>) -> Result<bool> {
        steps::perform(&StepContext { engine: self.0.clone(), step: step.clone() }).await
    }

    fn record(
        &self,
        step: &StepId,
        state: State,
        took: Option<Duration>,
        message: Option<String>,
    ) -> Result<()> {
        let message = message.map(|message| self.0.redact(&message));
        Ok(self.0.journal.write(step, state, took, message)?)
    }

    fn send(&self, event: Event) {
        self.0.send(event);
    }

    fn clean(&self, error: EngineError) -> EngineError {
        error.cleaned(|line| self.0.redact(line))
    }
}
