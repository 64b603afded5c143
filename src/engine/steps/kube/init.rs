//! `kubeadm init` on the first control plane, from whatever an earlier one left.

use crate::engine::error::{EngineError, Result};
use crate::engine::observe;
use crate::engine::run::StepContext;
use crate::lab::{Lab, Node};
use crate::stack::kubeadm::{self, NodeState};

use super::join::enter;
use super::{
    api_answers, api_must_answer, endpoint_from, known, lacks_manifests, let_join, nothing,
    put_manifests_back, registers, reset, restore_manifests, run_kubeadm, settled_state,
};

pub async fn init(context: &StepContext, name: &str) -> Result<bool> {
    let engine = &context.engine;
    let node = engine.node(name)?;
    let state = settled_state(context, node, engine.lab.limits.kubeadm_init()).await?;
    if state == NodeState::Initialised {
        match api_must_answer(context, node).await {
            Ok(_) => return finish(context, node).await,
            Err(silent @ EngineError::Requirement { .. }) => {
                if holds_a_cluster_elsewhere(context, node).await? {
                    return Err(silent);
                }
                nothing::must_be_held(context, node)
                    .await
                    .map_err(|kept| beside_bare_members(&engine.lab, node, kept))?;
                context.note(format!("{name}: its API server never answered, and it holds nothing yet"));
            }
            Err(other) => return Err(other),
        }
    }
    // A second cluster under the same authority would be worse than none: where another control plane has one, this
    // node goes back into it.
    if let Some(other) = other_control_plane(context, node).await? {
        context.note(format!("{} holds the cluster; {name} joins it again", other.name));
        // The step that usually lets others in comes after this one.
        let_join(context, &other).await?;
        return enter(context, node).await;
    }
    if state == (NodeState::HalfJoined { etcd_member: true }) {
        // No crash of an init leaves this; a damaged node or a reset that was cut short does.
        match nothing::must_be_held(context, node).await {
            // Whole but for its manifests, and with data: it is the cluster, and is mended where it stands.
            Err(EngineError::DataKept { .. }) if lacks_manifests(context, node).await? => {
                restore_manifests(context, node).await?;
                return finish(context, node).await;
            }
            held => held?,
        }
    }
    if state != NodeState::Fresh {
        reset(context, node, state).await?;
    }
    engine.must(node, &kubeadm::validate(kubeadm::CONFIG)).await?;
    let done = run_kubeadm(context, node, &kubeadm::init(), engine.lab.limits.kubeadm_init).await;
    if let Err(EngineError::Cluster { reason, mut tail }) = done {
        tail.extend(nothing::last_words(context, node).await?);
        return Err(EngineError::Cluster { reason, tail });
    }
    done?;
    api_must_answer(context, node).await?;
    Ok(true)
}

/// Waits for a control plane that is whole, as after a reboot, and does again what a cut init left undone. Nothing is
/// reset here: its etcd may be the only one (facts/kubernetes-cilium.md §1.8).
async fn finish(context: &StepContext, node: &Node) -> Result<bool> {
    let engine = &context.engine;
    // kubeadm's later phases and kubectl go through the shared endpoint.
    endpoint_from(context, node).await?;
    let missing = kubeadm::missing_manifests(node.role, &observe::guest(engine, node).await?);
    if !missing.is_empty() {
        restore_manifests(context, node).await?;
    }
    let unknown = known(context, node, node).await?.is_none();
    if unknown && !registers(context, node, node).await? {
        let reason = format!("{} does not come back into its own cluster", node.name);
        return Err(EngineError::cluster(reason));
    }
    if kubeadm::init_complete(&observe::cluster_on(engine, node).await?, &node.name) {
        return Ok(unknown || !missing.is_empty());
    }
    context.note(format!(
        "{}: an earlier init stopped after its API answered; its later phases run again",
        node.name
    ));
    for phase in kubeadm::finish_init() {
        engine.must_within(node, &phase, engine.lab.limits.kubeadm_init).await?;
    }
    Ok(true)
}

/// Whether another control plane has etcd's data, whatever its API says.
async fn holds_a_cluster_elsewhere(context: &StepContext, node: &Node) -> Result<bool> {
    let engine = &context.engine;
    for other in engine.lab.control_planes().filter(|other| other.name != node.name) {
        let state = kubeadm::state(other.role, &observe::guest(engine, other).await?);
        if matches!(state, NodeState::Initialised | NodeState::HalfJoined { etcd_member: true }) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The other control planes that have something of a cluster.
#[derive(Default)]
struct Others<'a> {
    whole: Vec<&'a Node>,
    /// Whole but for manifests, which somebody has moved away: etcd's data are there.
    without_manifests: Vec<&'a Node>,
    /// Cut short; of what they hold of etcd, see the state.
    half: Vec<(&'a Node, NodeState)>,
}

async fn others<'a>(context: &'a StepContext, node: &'a Node) -> Result<Others<'a>> {
    let engine = &context.engine;
    let mut others = Others::default();
    for other in engine.lab.control_planes().filter(|other| other.name != node.name) {
        let facts = observe::guest(engine, other).await?;
        match kubeadm::state(other.role, &facts) {
            NodeState::Initialised => others.whole.push(other),
            _ if !kubeadm::missing_manifests(other.role, &facts).is_empty() => {
                others.without_manifests.push(other);
            }
            state @ NodeState::HalfJoined { .. } => others.half.push((other, state)),
            _ => {}
        }
    }
    Ok(others)
}

/// Returns another control plane that has a cluster, with its API ready; none if no other has one.
async fn other_control_plane(context: &StepContext, node: &Node) -> Result<Option<Node>> {
    let engine = &context.engine;
    let Others { whole: mut holders, mut without_manifests, half } = others(context, node).await?;
    for holder in &holders {
        if api_answers(context, holder).await? {
            return Ok(Some((*holder).clone()));
        }
    }
    // While one answers, the others' own joins see to their manifests. Where none does, they may be what it takes, and
    // this node's as well.
    let others_hold = !holders.is_empty() || !without_manifests.is_empty();
    if others_hold && lacks_manifests(context, node).await? {
        without_manifests.push(node);
    }
    for bare in without_manifests {
        put_manifests_back(context, bare).await?;
        holders.push(bare);
    }
    let Some(first) = holders.first() else {
        clear_halves(context, &half).await?;
        return Ok(None);
    };
    match api_must_answer(context, first).await {
        Err(EngineError::Requirement { .. }) if 2 * holders.len() <= engine.lab.control_planes().count() => {
            Err(majority_gone(context, &holders).await?)
        }
        answered => answered.map(|_| Some((*first).clone())),
    }
}

/// Clears what is left of a cluster that is begun anew on control planes which were cut short: nobody's API could ever answer there, so
/// that what they hold must be nothing; and an API server without etcd would be asked by the gateways in its turn.
async fn clear_halves(context: &StepContext, half: &[(&Node, NodeState)]) -> Result<()> {
    for (other, state) in half {
        if *state == (NodeState::HalfJoined { etcd_member: true }) {
            nothing::must_be_held(context, other).await?;
        }
    }
    for (other, state) in half {
        reset(context, other, *state).await?;
    }
    Ok(())
}

/// Adds to why a control plane is not reset that the others, which hold nothing, may be what it lacks.
fn beside_bare_members(lab: &Lab, node: &Node, kept: EngineError) -> EngineError {
    match kept {
        EngineError::DataKept { node: name, evidence, tail } if lab.control_planes().count() > 1 => {
            EngineError::DataKept {
                node: name,
                evidence: format!("{evidence}; {}", bare_members(lab, &[node])),
                tail,
            }
        }
        other => other,
    }
}

/// Says which control planes hold nothing of etcd, and what that means.
fn bare_members(lab: &Lab, holders: &[&Node]) -> String {
    let bare = lab.control_planes().filter(|node| !holders.iter().any(|one| one.name == node.name));
    let bare: Vec<&str> = bare.map(|node| node.name.as_str()).collect();
    format!("etcd needs more than half of its members, and there are no data on {}", bare.join(" and "))
}

/// The few control planes that still have a cluster's data cannot answer: etcd does so with more than half of its members.
async fn majority_gone(context: &StepContext, holders: &[&Node]) -> Result<EngineError> {
    Ok(EngineError::DataKept {
        node: holders[0].name.clone(),
        evidence: bare_members(&context.engine.lab, holders),
        tail: nothing::last_words(context, holders[0]).await?,
    })
}
