//! `kubeadm join`, from whatever an earlier one left.

use crate::engine::context::tail;
use crate::engine::error::{EngineError, Requirement, Result};
use crate::engine::run::StepContext;
use crate::engine::wait::until;
use crate::lab::{Node, Role};
use crate::stack::kubeadm::{self, NodeState};
use crate::stack::kubectl::{self, EtcdMember};

use super::{
    endpoint_from, healthy_control_plane, known, lacks_manifests, listed, registers, reset,
    restore_manifests, run_kubeadm, settled_state,
};

/// How often a control plane tries to join in one run: etcd's learner may be refused or stay behind, and a reset mends
/// both (facts/kubernetes-cilium.md §1.6). A worker's join has no such cause.
const TRIES: usize = 2;

pub async fn join(context: &StepContext, name: &str) -> Result<bool> {
    let node = context.engine.node(name)?;
    enter(context, node).await
}

/// Joins a node to the cluster that another control plane holds, from whatever an earlier try left.
pub async fn enter(context: &StepContext, node: &Node) -> Result<bool> {
    let engine = &context.engine;
    let limit = engine.lab.limits.kubeadm_join();
    endpoint_from(context, node).await?;
    let tries = if node.role == Role::ControlPlane { TRIES } else { 1 };
    for left in (0..tries).rev() {
        let mut state = settled_state(context, node, limit).await?;
        // Whoever answered the last time may be the reason why it failed.
        let contact = healthy_control_plane(context, Some(node)).await?;
        if lacks_manifests(context, node).await? && is_voter(context, node, &contact).await? {
            restore_manifests(context, node).await?;
            state = settled_state(context, node, limit).await?;
        }
        if state.is_complete() {
            match whole(context, node, &contact).await? {
                Whole::Joined => return Ok(false),
                Whole::ButForTheMark => return mark(context, node).await,
                Whole::Unknown => {}
            }
        }
        clear(context, node, state, &contact).await?;
        engine.must(node, &kubeadm::validate(kubeadm::JOIN_CONFIG)).await?;
        match run_kubeadm(context, node, &kubeadm::join(), limit.duration()).await {
            Ok(()) => return joined(context, node, &contact).await,
            Err(EngineError::Cluster { reason, tail }) if left > 0 => {
                let last = tail.last().map(|line| format!(": {}", line.trim())).unwrap_or_default();
                context.note(format!("{reason}{last}; it is looked at and tried once more"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// What the cluster says of a node whose own files are whole.
enum Whole {
    /// Its join is done.
    Joined,
    /// A member that votes: only kubeadm's last phase is missing.
    ButForTheMark,
    /// The cluster does not know it, or not as what it is to be.
    Unknown,
}

async fn whole(context: &StepContext, node: &Node, contact: &Node) -> Result<Whole> {
    let mut told = known(context, node, contact).await?;
    // One whose etcd was taken out as well has nothing to come back to.
    let may_return = node.role == Role::Worker || is_voter(context, node, contact).await?;
    if told.is_none() && may_return && registers(context, node, contact).await? {
        told = known(context, node, contact).await?;
    }
    Ok(match (node.role, told) {
        (_, None) => Whole::Unknown,
        (Role::Worker | Role::Gateway, Some(_)) => Whole::Joined,
        (Role::ControlPlane, Some(told)) if told.control_plane => Whole::Joined,
        (Role::ControlPlane, Some(_)) if is_voter(context, node, contact).await? => Whole::ButForTheMark,
        (Role::ControlPlane, Some(_)) => Whole::Unknown,
    })
}

async fn mark(context: &StepContext, node: &Node) -> Result<bool> {
    context.note(format!("{}: an earlier join stopped before its last phase, which runs again", node.name));
    context.engine.must(node, &kubeadm::mark_control_plane()).await?;
    Ok(true)
}

/// Takes out of the cluster and off the node what an earlier join left of it: the etcd member first, while the cluster
/// can still be asked, the Node last, since a kubelet that runs would make it anew.
async fn clear(context: &StepContext, node: &Node, state: NodeState, contact: &Node) -> Result<()> {
    let engine = &context.engine;
    if node.role == Role::ControlPlane {
        remove_stale_member(context, node, contact).await?;
    }
    if state != NodeState::Fresh {
        reset(context, node, state).await?;
    }
    // kubeadm refuses to join under the name of a node that is Ready, as this one still is for some seconds.
    if known(context, node, contact).await?.is_some() {
        context.note(format!("{}: the Node that an earlier join left is removed", node.name));
        engine.must(contact, &kubectl::delete("nodes", &node.name, None)).await?;
    }
    Ok(())
}

async fn joined(context: &StepContext, node: &Node, contact: &Node) -> Result<bool> {
    let requirement = Requirement {
        what: format!("the API server knows {}", node.name),
        limit: context.engine.lab.limits.api_endpoint(),
        hint: "`journalctl -u kubelet` on the node says why",
    };
    until(context, requirement, async || listed(context, node, contact).await).await?;
    Ok(true)
}

/// Takes out the etcd member that an earlier join of this node left behind, so that the next one may add its own
/// (facts/kubernetes-cilium.md §1.6).
async fn remove_stale_member(context: &StepContext, node: &Node, contact: &Node) -> Result<()> {
    for member in members_at(context, node, contact).await? {
        context.note(format!("{}: the etcd member that an earlier join left is removed", node.name));
        context.engine.must(contact, &kubectl::etcd_remove(&contact.name, &member)).await?;
    }
    Ok(())
}

/// Whether etcd counts the node among those that vote: then its join was done but for the mark.
async fn is_voter(context: &StepContext, node: &Node, contact: &Node) -> Result<bool> {
    let members = members_at(context, node, contact).await?;
    Ok(members.iter().any(|member| !member.learner && !member.name.is_empty()))
}

/// Returns etcd's members at a node's address, as a control plane's own etcd tells.
async fn members_at(context: &StepContext, node: &Node, contact: &Node) -> Result<Vec<EtcdMember>> {
    let output = context.engine.must(contact, &kubectl::etcd_members(&contact.name)).await?;
    let members = EtcdMember::parse_list(&output.text()).map_err(|error| EngineError::Cluster {
        reason: format!("etcd's member list cannot be read: {error}"),
        tail: tail(&output),
    })?;
    Ok(members.into_iter().filter(|member| member.is_at(node.address())).collect())
}
