//! Waiting for named requirements: the only way in which the engine waits.

use std::time::Duration;

use crate::host::clock;

use super::error::{EngineError, Requirement, Result};
use super::run::StepContext;

/// First pause between two probes; each next one is longer by half, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a probe saw.
pub enum Probe<T> {
    Met(T),
    /// Not yet, and what was seen instead.
    NotYet(String),
}

/// Probes until the requirement is met.
///
/// # Errors
/// [`EngineError::Requirement`] when the limit passes; a probe's own error at once; interruption.
pub async fn until<T>(
    context: &StepContext,
    requirement: Requirement,
    mut probe: impl AsyncFnMut() -> Result<Probe<T>>,
) -> Result<T> {
    let started = clock::monotonic();
    let mut pause = FIRST_PAUSE;
    let mut said = String::new();
    loop {
        context.check_interrupt()?;
        let seen = match probe().await? {
            Probe::Met(value) => return Ok(value),
            Probe::NotYet(seen) => seen,
        };
        if seen != said {
            context.waiting(format!("{}: {seen}", requirement.what));
            said.clone_from(&seen);
        }
        let left = requirement.limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(EngineError::Requirement {
                node: context.step.node.clone(),
                requirement: Box::new(requirement),
                last: seen,
                tail: context.console_tail(),
            });
        }
        context.pause(pause.min(left)).await?;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}
