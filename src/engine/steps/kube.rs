//! Steps of kubeadm: init, the endpoint's proof, joins. Each first looks where an earlier run stopped.

use std::time::Duration;

use crate::engine::context::{command_failed, tail};
use crate::engine::error::{EngineError, Requirement, Result};
use crate::engine::observe;
use crate::engine::run::StepContext;
use crate::engine::wait::{Probe, until};
use crate::formats::command::Command;
use crate::lab::{Node, Role};
use crate::stack::kubeadm::{self, NodeState};
use crate::stack::kubectl::{self, EtcdMember};
use crate::stack::{checks, node as nodes};

use super::guest::{activate, install};

pub async fn init(context: &StepContext, name: &str) -> Result<bool> {
    let engine = &context.engine;
    let node = engine.node(name)?;
    let state = settled_state(context, node, engine.lab.limits.kubeadm_init).await?;
    if state == NodeState::Initialised {
        return finish_init(context, node).await;
    }
    // A second cluster under the same authority would be worse than none: where another control plane has one, this
    // node goes back into it.
    if let Some(other) = other_control_plane(context, node).await? {
        context.note(format!("{} holds the cluster; {name} joins it again", other.name));
        return enter(context, node, state, &other).await;
    }
    if state != NodeState::Fresh {
        reset(context, node, state).await?;
    }
    engine.must(node, &kubeadm::validate(kubeadm::CONFIG)).await?;
    kubeadm(context, node, &kubeadm::init(), engine.lab.limits.kubeadm_init).await?;
    api_must_answer(context, node).await?;
    Ok(true)
}

/// Returns how far kubeadm came on a node, once no kubeadm works there any more: a run that was killed may have left
/// one in the guest, which is waited for, not fought.
async fn settled_state(context: &StepContext, node: &Node, limit: Duration) -> Result<NodeState> {
    let engine = &context.engine;
    engine.must_within(node, &kubeadm::await_turn(limit), limit, None).await?;
    Ok(kubeadm::state(node.role, &observe::guest(engine, node).await?))
}

/// Waits for a control plane that is whole, as after a reboot, and does again what a cut init left undone. Nothing is
/// reset here: its etcd may be the only one (facts/kubernetes-cilium.md §1.8).
async fn finish_init(context: &StepContext, node: &Node) -> Result<bool> {
    let engine = &context.engine;
    api_must_answer(context, node).await?;
    if kubeadm::init_complete(&observe::cluster_on(engine, node).await?) {
        return Ok(false);
    }
    for phase in kubeadm::finish_init() {
        engine.must_within(node, &phase, engine.lab.limits.kubeadm_init, None).await?;
    }
    Ok(true)
}

/// Returns another control plane that has a cluster, with its API ready; none if no other has one.
async fn other_control_plane(context: &StepContext, node: &Node) -> Result<Option<Node>> {
    let engine = &context.engine;
    for other in engine.lab.control_planes().filter(|other| other.name != node.name) {
        let state = kubeadm::state(other.role, &observe::guest(engine, other).await?);
        if state == NodeState::Initialised {
            api_must_answer(context, other).await?;
            return Ok(Some(other.clone()));
        }
    }
    Ok(None)
}

/// Whether the API server answers on its own node.
async fn api_answers(context: &StepContext, node: &Node) -> Result<bool> {
    let limit = context.engine.lab.limits.guest_command;
    Ok(context.engine.run(node, &kubectl::get_raw("/readyz"), limit, None).await?.success())
}

async fn api_must_answer(context: &StepContext, node: &Node) -> Result<()> {
    let requirement = Requirement {
        what: format!("the API server on {} is ready", node.name),
        limit_name: "api_endpoint",
        limit: context.engine.lab.limits.api_endpoint,
        hint: "`journalctl -u kubelet` and `crictl ps -a` on the node say why",
    };
    until(context, requirement, async || {
        Ok(if api_answers(context, node).await? {
            Probe::Met(())
        } else {
            Probe::NotYet("/readyz does not say ok".to_owned())
        })
    })
    .await
}

/// Clears what an earlier run left half done, and puts the files back that the clearing removes.
async fn reset(context: &StepContext, node: &Node, state: NodeState) -> Result<()> {
    let engine = &context.engine;
    context.note(format!("{}: an earlier run stopped half way ({state:?}); the node is reset", node.name));
    let limit = engine.lab.limits.kubeadm_join;
    for command in kubeadm::reset() {
        engine.must_within(node, &command, limit, None).await?;
    }
    let identity = engine.need_identity()?;
    let written = install(context, node, &nodes::files_of(&engine.lab, &identity, node)).await?;
    activate(context, node, &written).await
}

/// Runs kubeadm, its lines going to the step's log.
async fn kubeadm(context: &StepContext, node: &Node, command: &Command, limit: Duration) -> Result<()> {
    let lines = context.clone();
    let sink = Box::new(move |line: &str| lines.line(line));
    let output = context.engine.run(node, command, limit, Some(sink)).await?;
    if output.success() {
        return Ok(());
    }
    Err(EngineError::Cluster {
        reason: command_failed(&node.name, command, &output).to_string(),
        tail: tail(&output),
    })
}

/// Proves that every member reaches the API server through the internal VIP, before anything relies on it.
pub async fn endpoint(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    for node in engine.lab.members() {
        let requirement = Requirement {
            what: format!("{} reaches https://{}", node.name, engine.lab.control_plane_endpoint()),
            limit_name: "api_endpoint",
            limit: engine.lab.limits.api_endpoint,
            hint: "the way is node → internal VIP → nginx on its holder → control plane: look at `fusionlab status`",
        };
        let probe = checks::endpoint(&engine.lab, node).command;
        until(context, requirement, async || {
            let output = engine.run(node, &probe, engine.lab.limits.guest_command, None).await?;
            if output.success() && output.text().trim() == "ok" {
                return Ok(Probe::Met(()));
            }
            Ok(Probe::NotYet(tail(&output).pop().unwrap_or_else(|| "no answer".to_owned())))
        })
        .await?;
    }
    // The token lives a day; a lab that grows later needs it again (facts §1.3). The phase reads it from its
    // file, so that it never stands in an argument list.
    engine.must(engine.lab.first_control_plane(), &kubeadm::create_token()).await?;
    Ok(true)
}

pub async fn join(context: &StepContext, name: &str) -> Result<bool> {
    let engine = &context.engine;
    let node = engine.node(name)?;
    let state = settled_state(context, node, engine.lab.limits.kubeadm_join).await?;
    let contact = engine.lab.first_control_plane().clone();
    if state.is_complete() && known_to_the_api(context, node, &contact).await? {
        return Ok(false);
    }
    enter(context, node, state, &contact).await
}

/// Joins a node to the cluster that a control plane holds, clearing away what an earlier try left.
async fn enter(context: &StepContext, node: &Node, state: NodeState, contact: &Node) -> Result<bool> {
    let engine = &context.engine;
    if node.role == Role::ControlPlane {
        remove_stale_member(context, node, contact).await?;
    }
    if state != NodeState::Fresh {
        reset(context, node, state).await?;
    }
    engine.must(node, &kubeadm::validate(kubeadm::JOIN_CONFIG)).await?;
    kubeadm(context, node, &kubeadm::join(), engine.lab.limits.kubeadm_join).await?;
    let requirement = Requirement {
        what: format!("the API server knows {}", node.name),
        limit_name: "api_endpoint",
        limit: engine.lab.limits.api_endpoint,
        hint: "`journalctl -u kubelet` on the node says why",
    };
    until(context, requirement, async || {
        let known = known_to_the_api(context, node, contact).await?;
        Ok(if known { Probe::Met(()) } else { Probe::NotYet("not in `kubectl get nodes`".to_owned()) })
    })
    .await?;
    Ok(true)
}

async fn known_to_the_api(context: &StepContext, node: &Node, contact: &Node) -> Result<bool> {
    let output = context.engine.must(contact, &kubectl::get("nodes", &node.name, None)).await?;
    Ok(!output.text().trim().is_empty())
}

/// Takes out the etcd member that an earlier join of this node left behind, so that the next one may add its own
/// (facts/kubernetes-cilium.md §1.6).
async fn remove_stale_member(context: &StepContext, node: &Node, contact: &Node) -> Result<()> {
    let engine = &context.engine;
    let output = engine.must(contact, &kubectl::etcd_members(&contact.name)).await?;
    let members = EtcdMember::parse_list(&output.text()).map_err(|error| EngineError::Cluster {
        reason: format!("etcd's member list cannot be read: {error}"),
        tail: tail(&output),
    })?;
    for member in members.iter().filter(|member| member.is_at(node.address())) {
        context.note(format!("{}: the etcd member that an earlier join left is removed", node.name));
        engine.must(contact, &kubectl::etcd_remove(&contact.name, member)).await?;
    }
    Ok(())
}
