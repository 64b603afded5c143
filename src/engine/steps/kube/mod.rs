//! Steps of kubeadm: init, the endpoint's proof, joins. Each first looks where an earlier run stopped.
//!
//! ```text
//! left on the node (facts/kubernetes-cilium.md §1.8)        what is done
//! init, before kubelet-start                                reset, init                        init
//! init, its API never answered                              if it holds nothing: reset, init   init + nothing
//! init, a later phase failed                                the later phases again             init
//! join of a control plane, before etcd-join                 reset, join                        join
//! join of a control plane, after etcd-join                  member and Node out, reset, join   join
//! join of a worker                                          Node out, reset, join              join
//! ```

mod init;
mod join;
mod nothing;

use std::time::Duration;

use crate::engine::context::{command_failed, tail};
use crate::engine::error::{EngineError, Requirement, Result};
use crate::engine::observe;
use crate::engine::run::StepContext;
use crate::engine::wait::{Probe, until, waited};
use crate::formats::command::Command;
use crate::host::HostError;
use crate::lab::Node;
use crate::lab::limits::Limit;
use crate::stack::facts::{self, KubeNode};
use crate::stack::kubeadm::{self, NodeState};
use crate::stack::{certificates, checks, kubectl, node as nodes};

use super::guest::settle_files;
pub use init::init;
pub use join::join;

/// Returns how far kubeadm came on a node, once no kubeadm works there any more: a run that was killed may have left
/// one in the guest, which is waited for, not fought.
async fn settled_state(context: &StepContext, node: &Node, limit: Limit) -> Result<NodeState> {
    let engine = &context.engine;
    let mut settled = engine.run(node, &kubeadm::is_idle(), engine.lab.limits.guest_command).await?;
    if settled.status == Some(kubeadm::BUSY) {
        context.note(format!(
            "a kubeadm that an earlier run began still works on {}; it is waited for",
            node.name
        ));
        let waits = limit.duration() + engine.lab.limits.guest_command;
        settled = engine.run(node, &kubeadm::await_turn(limit.duration()), waits).await?;
    }
    if settled.status == Some(kubeadm::BUSY) {
        let requirement = Requirement {
            what: format!("the kubeadm that an earlier run began on {} ends", node.name),
            limit,
            hint: "`systemctl status fusionlab-kubeadm` on the node shows it; `systemctl stop fusionlab-kubeadm` ends it",
        };
        return Err(EngineError::Requirement {
            node: Some(node.name.clone()),
            requirement: Box::new(requirement),
            last: "it is still at work".to_owned(),
            tail: context.console_tail(),
        });
    }
    Ok(kubeadm::state(node.role, &observe::guest(engine, node).await?))
}

/// Whether the API server of a control plane answers, asked on its own machine; a machine that cannot be asked does not.
pub(super) async fn api_answers(context: &StepContext, node: &Node) -> Result<bool> {
    Ok(silence(context, node).await?.is_none())
}

/// Says why the API server of a control plane does not answer, asked on its own machine; none if it does.
async fn silence(context: &StepContext, node: &Node) -> Result<Option<String>> {
    let engine = &context.engine;
    let command = kubectl::ready_at(node.address(), engine.lab.cluster.ports.api);
    match engine.run(node, &command, engine.lab.limits.guest_connect).await {
        Ok(output) if output.success() => Ok(None),
        Ok(_) => Ok(Some("/readyz does not say ok".to_owned())),
        Err(error @ EngineError::Host(HostError::Interrupted | HostError::HostKey { .. })) => Err(error),
        // It may be about to start anew.
        Err(error) => Ok(Some(error.to_string())),
    }
}

/// Waits until the API server of a control plane is ready; says whether it had to wait.
pub(super) async fn api_must_answer(context: &StepContext, node: &Node) -> Result<bool> {
    let requirement = Requirement {
        what: format!("the API server on {} is ready", node.name),
        limit: context.engine.lab.limits.api_endpoint(),
        hint: "`journalctl -u kubelet` and `crictl ps -a` on the node say why",
    };
    waited(context, requirement, async || {
        Ok(silence(context, node).await?.map_or(Probe::Met(()), Probe::NotYet))
    })
    .await
}

/// Returns a control plane whose API server answers, other than a node that is to join; waits for one.
async fn healthy_control_plane(context: &StepContext, joining: Option<&Node>) -> Result<Node> {
    let engine = &context.engine;
    let requirement = Requirement {
        what: match joining {
            Some(node) => format!("a control plane answers, for {} to join", node.name),
            None => "a control plane answers, to let the others in".to_owned(),
        },
        limit: engine.lab.limits.api_endpoint(),
        hint: "`journalctl -u kubelet` and `crictl ps -a` on the control planes say why none does",
    };
    let is_joining = |other: &Node| joining.is_some_and(|node| node.name == other.name);
    until(context, requirement, async || {
        let mut silent = Vec::new();
        for other in engine.lab.control_planes().filter(|other| !is_joining(other)) {
            match silence(context, other).await? {
                None => return Ok(Probe::Met(other.clone())),
                Some(why) => silent.push(format!("{}: {why}", other.name)),
            }
        }
        Ok(Probe::NotYet(silent.join("; ")))
    })
    .await
}

/// Lets a node whose own files are whole come back into the cluster that does not know it any more: somebody deleted its
/// Node, and a kubelet makes one only when it starts. Says whether it came; where it does not, it must join again.
async fn registers(context: &StepContext, node: &Node, contact: &Node) -> Result<bool> {
    let engine = &context.engine;
    context.note(format!(
        "{}: its kubelet has joined, and the cluster does not know it; it registers again",
        node.name
    ));
    engine.must(node, &nodes::restart_kubelet()).await?;
    let requirement = Requirement {
        what: format!("{} registers with the cluster again", node.name),
        limit: engine.lab.limits.nodes_register(),
        hint: "`journalctl -u kubelet` on the node says why it does not",
    };
    match until(context, requirement, async || listed(context, node, contact).await).await {
        Ok(()) => Ok(true),
        Err(EngineError::Requirement { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Says whether a node is in the cluster's list by now.
async fn listed(context: &StepContext, node: &Node, contact: &Node) -> Result<Probe<()>> {
    let known = known(context, node, contact).await?.is_some();
    Ok(if known { Probe::Met(()) } else { Probe::NotYet("not in `kubectl get nodes`".to_owned()) })
}

/// Says whether manifests are gone from a control plane.
async fn lacks_manifests(context: &StepContext, node: &Node) -> Result<bool> {
    let facts = observe::guest(&context.engine, node).await?;
    Ok(!kubeadm::missing_manifests(node.role, &facts).is_empty())
}

/// Writes the manifests again that are gone from a control plane that was whole, and waits until its API answers.
async fn restore_manifests(context: &StepContext, node: &Node) -> Result<()> {
    put_manifests_back(context, node).await?;
    api_must_answer(context, node).await?;
    Ok(())
}

/// Writes the manifests that are gone from a control plane, and waits for nothing.
async fn put_manifests_back(context: &StepContext, node: &Node) -> Result<()> {
    let engine = &context.engine;
    let missing = kubeadm::missing_manifests(node.role, &observe::guest(engine, node).await?);
    context.note(format!("{}: the manifest of {} is written again", node.name, missing.join(" and ")));
    for command in kubeadm::write_manifests(&missing) {
        engine.must(node, &command).await?;
    }
    Ok(())
}

/// Clears what an earlier run left half done, and puts the files back that the clearing removes.
async fn reset(context: &StepContext, node: &Node, state: NodeState) -> Result<()> {
    let engine = &context.engine;
    let left = match state {
        NodeState::Fresh => "nothing is left of an earlier run",
        NodeState::HalfJoined { .. } => "an earlier run stopped half way",
        NodeState::Initialised | NodeState::Joined => "the cluster does not count what an earlier run made",
    };
    context.note(format!("{}: {left}; the node is reset", node.name));
    run_kubeadm(context, node, &kubeadm::reset(), engine.lab.limits.kubeadm_join).await?;
    let identity = engine.need_identity()?;
    settle_files(context, node, &identity).await?;
    Ok(())
}

/// Runs kubeadm, its lines going to the step's log.
async fn run_kubeadm(context: &StepContext, node: &Node, command: &Command, limit: Duration) -> Result<()> {
    let lines = context.clone();
    let sink = Box::new(move |line: &str| lines.line(line));
    let output = context.engine.run_with_lines(node, command, limit, sink).await?;
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
    let mut came_late = false;
    for node in engine.lab.members() {
        came_late |= endpoint_from(context, node).await?;
    }
    let contact = healthy_control_plane(context, None).await?;
    let_join(context, &contact).await?;
    Ok(came_late)
}

/// Sees to it that a control plane that answers lets others in, who find the lab's names in the cluster's configuration: a
/// renewal that met no API has left those of before there.
pub(super) async fn let_join(context: &StepContext, contact: &Node) -> Result<()> {
    context.engine.must(contact, &certificates::upload()).await?;
    // The token lives a day; a lab that grows later needs it again (facts/kubernetes-cilium.md §1.3). The phase reads it
    // from its file, so that it never stands in an argument list.
    context.engine.must(contact, &kubeadm::create_token()).await?;
    cluster_info(context, contact).await
}

/// Waits until a node reaches the API server through the internal VIP; says whether it had to wait.
async fn endpoint_from(context: &StepContext, node: &Node) -> Result<bool> {
    let engine = &context.engine;
    let requirement = Requirement {
        what: format!("{} reaches https://{}", node.name, engine.lab.control_plane_endpoint()),
        limit: engine.lab.limits.api_endpoint(),
        hint: "the way is node → internal VIP → nginx on its holder → control plane: look at `fusionlab status`",
    };
    let probe = checks::endpoint(&engine.lab, node).command;
    waited(context, requirement, async || {
        let output = engine.run(node, &probe, engine.lab.limits.guest_command).await?;
        if output.success() && output.text().trim() == "ok" {
            return Ok(Probe::Met(()));
        }
        Ok(Probe::NotYet(tail(&output).pop().unwrap_or_else(|| "no answer".to_owned())))
    })
    .await
}

/// What joins are told first must be the shared endpoint: a version of Kubernetes named its first node there, and later
/// joins died with that node (facts/kubernetes-cilium.md §1.3).
async fn cluster_info(context: &StepContext, contact: &Node) -> Result<()> {
    let engine = &context.engine;
    let output =
        engine.must(contact, &kubectl::get("configmaps", "cluster-info", Some("kube-public"))).await?;
    let server = kubeadm::told_server(&output.text());
    let wished = format!("https://{}", engine.lab.control_plane_endpoint());
    if server.as_deref() == Some(wished.as_str()) {
        return Ok(());
    }
    let told = server.unwrap_or_else(|| "nothing".to_owned());
    Err(EngineError::Cluster {
        reason: format!("kube-public/cluster-info tells joining nodes to go to {told}, not to {wished}"),
        tail: tail(&output),
    })
}

/// Returns what the API server knows of a node, asked on a control plane; none if it does not know it.
pub(super) async fn known(context: &StepContext, node: &Node, contact: &Node) -> Result<Option<KubeNode>> {
    let output = context.engine.must(contact, &kubectl::get("nodes", &node.name, None)).await?;
    facts::one_node(&output.text()).map_err(|error| EngineError::Cluster {
        reason: format!("what the API server says of {} cannot be read: {error}", node.name),
        tail: tail(&output),
    })
}
