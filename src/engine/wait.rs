//! Waiting for named requirements: how steps wait for the world. The proof repeats its checks, and a kubeconfig its
//! edits, by itself.

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
            context.waiting(&requirement.what, &seen);
            said.clone_from(&seen);
        }
        let left = requirement.limit.duration().saturating_sub(started.elapsed());
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

/// As [`until`], for a requirement that is all of what a step does: says whether it had to be waited for.
///
/// # Errors
/// Those of [`until`].
pub async fn waited(
    context: &StepContext,
    requirement: Requirement,
    mut probe: impl AsyncFnMut() -> Result<Probe<()>>,
) -> Result<bool> {
    let mut looks = 0_u32;
    until(context, requirement, async || {
        looks = looks.saturating_add(1);
        probe().await
    })
    .await?;
    Ok(looks > 1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::event::Event;
    use crate::engine::fixture::{Bench, Machines, start};
    use crate::host::HostError;
    use crate::lab::limits::{LimitName, Limits};
    use crate::lab::paths;

    fn requirement(nodes_ready: Duration) -> Requirement {
        Requirement {
            what: "all five nodes are Ready".to_owned(),
            limit: Limits { nodes_ready, ..Limits::default() }.nodes_ready(),
            hint: "look at the nodes",
        }
    }

    fn context(bench: &Bench) -> StepContext {
        StepContext { engine: bench.engine.clone(), step: Arc::new(start("gateway1", &[])) }
    }

    #[tokio::test]
    async fn when_the_limit_passes_the_last_thing_seen_is_told_with_the_consoles_end() {
        let bench = Bench::new(Machines::default());
        bench.file(&bench.engine.bundle("gateway1").join(paths::CONSOLE_LOG), "early\n\nKernel panic\n");
        let mut seen = 0;
        let ended: Result<()> =
            until(&context(&bench), requirement(Duration::from_millis(150)), async || {
                seen += 1;
                Ok(Probe::NotYet(format!("{seen} seen")))
            })
            .await;
        let Err(EngineError::Requirement { node, requirement, last, tail }) = ended else {
            panic!("it never came: {ended:?}")
        };
        assert!(seen > 1, "probed once only");
        assert_eq!(last, format!("{seen} seen"));
        assert_eq!((node.as_deref(), requirement.limit.name()), (Some("gateway1"), LimitName::NodesReady));
        assert_eq!(tail, ["early", "Kernel panic"]);
    }

    #[tokio::test]
    async fn what_is_met_is_returned_and_what_changed_on_the_way_was_said_once() {
        let mut bench = Bench::new(Machines::default());
        let mut sights = ["3 of 5", "3 of 5", "4 of 5"].into_iter();
        let met = until(&context(&bench), requirement(Duration::from_secs(60)), async || {
            Ok(sights.next().map_or(Probe::Met(5), |sight| Probe::NotYet(sight.to_owned())))
        })
        .await
        .unwrap();
        assert_eq!(met, 5);
        let said: Vec<_> = bench
            .events()
            .into_iter()
            .filter_map(|event| match event {
                Event::Waiting { requirement, .. } => Some(requirement),
                _ => None,
            })
            .map(|requirement| requirement.to_string())
            .collect();
        assert_eq!(said, ["all five nodes are Ready: 3 of 5", "all five nodes are Ready: 4 of 5"]);
    }

    #[tokio::test]
    async fn what_is_met_at_once_was_not_waited_for() {
        let bench = Bench::new(Machines::default());
        let limit = requirement(Duration::from_secs(60));
        assert!(!waited(&context(&bench), limit.clone(), async || Ok(Probe::Met(()))).await.unwrap());
        let mut sights = [Probe::NotYet("4 of 5".to_owned())].into_iter();
        let second =
            waited(&context(&bench), limit, async || Ok(sights.next().unwrap_or(Probe::Met(())))).await;
        assert!(second.unwrap());
    }

    #[tokio::test]
    async fn a_requirement_without_time_is_still_looked_at_once() {
        let bench = Bench::new(Machines::default());
        let met = until(&context(&bench), requirement(Duration::ZERO), async || Ok(Probe::Met(()))).await;
        assert!(met.is_ok());
    }

    #[tokio::test]
    async fn a_probes_own_error_and_an_interruption_end_the_wait_at_once() {
        let bench = Bench::new(Machines::default());
        let limit = requirement(Duration::from_secs(600));
        let lost = || EngineError::cluster("it is gone");
        let ended: Result<()> = until(&context(&bench), limit.clone(), async || Err(lost())).await;
        assert_eq!(ended.unwrap_err().to_string(), "it is gone");
        let cancel = bench.engine.cancel.clone();
        let ended: Result<()> = until(&context(&bench), limit, async || {
            cancel.cancel();
            Ok(Probe::NotYet("nothing".to_owned()))
        })
        .await;
        assert!(matches!(ended, Err(EngineError::Host(HostError::Interrupted))), "{ended:?}");
    }
}
