//! Whether the lab is whole: every machine, every service, every way in. Before anything is broken, and after.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::prober::{self, Prober};
use crate::engine::context::Engine;
use crate::engine::error::{Requirement, Result};
use crate::engine::observe;
use crate::engine::observe::ask::{ALL, in_order};
use crate::engine::run::StepContext;
use crate::engine::wait::{Probe, until};
use crate::stack::drill::{self, Seen, Way};
use crate::stack::facts::{ClusterFacts, Question};

/// Waits until nothing ails the lab and every way into it was answered so many times in a row; returns what was seen. The
/// error is the requirement's, with what ails it.
pub async fn until_whole(
    context: &StepContext,
    requirement: Requirement,
    prober: &Prober,
    row: u32,
) -> Result<Seen> {
    until(context, requirement, async || {
        let seen = seen(&context.engine).await;
        let mut ailments = drill::ailments(&context.engine.lab, &seen);
        // Only for a lab that is whole otherwise: its ways come to rest last.
        if ailments.is_empty() {
            ailments.extend(prober.unsteady(row));
        }
        Ok(if ailments.is_empty() { Probe::Met(seen) } else { Probe::NotYet(ailments.join("; ")) })
    })
    .await
}

/// Looks at everything at once; who does not answer is missing.
async fn seen(engine: &Arc<Engine>) -> Seen {
    let (guests, silent, cluster) =
        tokio::join!(observe::lab_guests(engine), silent(engine), cluster(engine));
    Seen { guests, cluster, silent }
}

/// Asks the first control plane that answers for the nodes and what is rolled out on them.
async fn cluster(engine: &Arc<Engine>) -> Option<ClusterFacts> {
    let wanted =
        |question| matches!(question, Question::Nodes | Question::DaemonSets | Question::Deployments);
    for node in engine.lab.control_planes() {
        if let Ok(facts) = observe::ask_cluster(engine, node, wanted).await {
            return Some(facts);
        }
    }
    None
}

async fn silent(engine: &Arc<Engine>) -> BTreeSet<(String, &'static str)> {
    let one = |(node, way): (String, Way)| {
        let engine = engine.clone();
        async move {
            let answered = match prober::probe(&engine, &way) {
                Ok(probe) => prober::ask(&engine, &way, &probe).await,
                Err(_) => false,
            };
            (!answered).then_some((node, way.id))
        }
    };
    in_order(drill::members(&engine.lab), ALL, one).await.into_iter().flatten().collect()
}
