//! The proof that a control plane without an answer holds nothing yet: only then may its etcd be thrown away.
//!
//! The API cannot be asked, so containerd is: before Cilium's agent has run on a node, no pod but kubeadm's own can have
//! run there, and without a second control plane or such a pod nobody has stored anything.

use crate::engine::context::{last_lines, tail};
use crate::engine::error::{EngineError, Result};
use crate::engine::run::StepContext;
use crate::lab::Node;
use crate::stack::runtime;

/// Whose last words are shown when a control plane does not come up.
const SUSPECTS: [&str; 2] = ["kube-apiserver", "etcd"];

/// Refuses to go on unless the node's cluster is empty (facts/kubernetes-cilium.md §1.8).
pub async fn must_be_held(context: &StepContext, node: &Node) -> Result<()> {
    let engine = &context.engine;
    let limit = engine.lab.limits.guest_command;
    let network = engine.run(node, &runtime::network_plugin(), limit).await?;
    let pods = engine.run(node, &runtime::pods(), limit).await?;
    let evidence = if network.success() {
        Some("pods had a network there".to_owned())
    } else if !pods.success() {
        Some(format!("containerd does not tell which pods ran there: {}", tail(&pods).join(" ")))
    } else {
        match runtime::workload(&pods.text(), &node.name) {
            Ok(found) => found.first().map(|pod| format!("the pod {pod} ran there")),
            Err(error) => Some(format!("containerd's list of pods cannot be read: {error}")),
        }
    };
    match evidence {
        None => Ok(()),
        Some(evidence) => Err(EngineError::DataKept {
            node: node.name.clone(),
            evidence,
            tail: last_words(context, node).await?,
        }),
    }
}

/// Returns the ends of the logs of the API server and of etcd, as containerd kept them; nothing where there is none.
pub async fn last_words(context: &StepContext, node: &Node) -> Result<Vec<String>> {
    let engine = &context.engine;
    let limit = engine.lab.limits.guest_command;
    let mut lines = Vec::new();
    for suspect in SUSPECTS {
        let listed = engine.run(node, &runtime::containers(suspect), limit).await?;
        let Some((id, state)) = runtime::newest(&listed.text()).filter(|_| listed.success()) else {
            lines.push(format!("{suspect}: containerd has no container of it"));
            continue;
        };
        lines.push(format!("{suspect} ({state}):"));
        let told = engine.run(node, &runtime::logs(&id), limit).await?;
        lines.extend(last_lines(&format!("{}{}", told.text(), String::from_utf8_lossy(&told.stderr))));
    }
    Ok(lines)
}
