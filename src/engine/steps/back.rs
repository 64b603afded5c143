//! Waiting until a machine that was restarted does its part again, so that the next one of its kind may be stopped.

use crate::engine::error::{Requirement, Result};
use crate::engine::observe;
use crate::engine::run::StepContext;
use crate::engine::wait::{Probe, waited};
use crate::lab::{Node, Role};

use super::gateway::{units_run, vips};
use super::kube::{api_answers, api_must_answer, known};

pub async fn back(context: &StepContext, name: &str) -> Result<bool> {
    let node = context.engine.node(name)?;
    match node.role {
        Role::Gateway => {
            let (started, taken) = (units_run(context, node).await?, vips(context).await?);
            Ok(started || taken)
        }
        // Its API server asks its own etcd, which answers only as a member of a quorum.
        Role::ControlPlane => api_must_answer(context, node).await,
        Role::Worker => ready_again(context, node).await,
    }
}

/// Waits for a Ready that is of this boot: a node that is gone counts as Ready until it has been silent for a while.
async fn ready_again(context: &StepContext, node: &Node) -> Result<bool> {
    let engine = &context.engine;
    let requirement = Requirement {
        what: format!("{} is a Ready node again", node.name),
        limit: engine.lab.limits.nodes_ready(),
        hint: "`kubectl describe node NAME` says what it lacks, `journalctl -u kubelet` on it why",
    };
    waited(context, requirement, async || {
        let boot = observe::guest(engine, node).await?.boot_id;
        // Control planes may take their turns meanwhile.
        for contact in engine.lab.control_planes() {
            if !api_answers(context, contact).await? {
                continue;
            }
            return Ok(match known(context, node, contact).await {
                Ok(Some(known)) if known.ready && known.boot_id == boot => Probe::Met(()),
                Ok(_) => Probe::NotYet("it is not Ready since its boot".to_owned()),
                Err(error) => Probe::NotYet(error.to_string()),
            });
        }
        Ok(Probe::NotYet("no API server answers".to_owned()))
    })
    .await
}
