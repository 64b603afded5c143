//! One step's tries, held to the deadline of the whole step.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::engine::error::Result;
use crate::engine::event::Event;
use crate::engine::journal::State;
use crate::host::{HostError, clock};
use crate::plan::step::Step;

use super::Perform;
use super::policy::{self, Policy};

/// Does a step, and does it again while it fails for reasons that pass.
pub async fn attempt<P: Perform>(
    world: &P,
    step: &Arc<Step>,
    policy: &Policy,
    cancel: &CancellationToken,
) -> Result<bool> {
    if cancel.is_cancelled() {
        return Err(HostError::Interrupted.into());
    }
    world.record(&step.id, State::Started, None, None)?;
    world.send(Event::StepStarted { step: step.id.clone() });
    let tries = tries(world, step, policy, cancel);
    let Some(limit) = policy.deadline else { return tries.await };
    tokio::select! {
        // What ends at the last moment has ended.
        biased;
        result = tries => result,
        () = clock::pause(limit.duration()) => Err(policy::overdue(step, limit)),
    }
}

async fn tries<P: Perform>(
    world: &P,
    step: &Arc<Step>,
    policy: &Policy,
    cancel: &CancellationToken,
) -> Result<bool> {
    let mut pause = policy::FIRST_PAUSE;
    for attempt in 2..=policy.tries {
        let error = match world.perform(step).await {
            Err(error) if policy::passes(&error) => world.clean(error),
            result => return result,
        };
        let because = error.to_string();
        world.send(Event::StepRetried { step: step.id.clone(), attempt, of: policy.tries, because });
        tokio::select! {
            () = clock::pause(pause) => {}
            () = cancel.cancelled() => return Err(HostError::Interrupted.into()),
        }
        pause *= 2;
    }
    world.perform(step).await
}
