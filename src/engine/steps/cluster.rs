//! Steps on the whole cluster, run on the first control plane: Gateway API, Cilium, readiness, ingress.

use crate::engine::context::tail;
use crate::engine::error::{EngineError, Requirement, Result};
use crate::engine::observe;
use crate::engine::run::StepContext;
use crate::engine::wait::{Probe, until};
use crate::lab::Node;
use crate::stack::{cilium, gateway_api, ingress, kubectl};

use super::guest::install;

pub async fn install_gateway_api(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let node = engine.lab.first_control_plane();
    let limit = engine.lab.limits.crds_established;
    engine.must_within(node, &gateway_api::apply(), limit, None).await?;
    let requirement = Requirement {
        what: "the Gateway API definitions are established".to_owned(),
        limit_name: "crds_established",
        limit,
        hint: "`kubectl get crd` on the first control plane shows which are not",
    };
    until(context, requirement, async || {
        let cluster = observe::cluster_on(engine, node).await?;
        let missing = gateway_api::missing(&cluster.definitions);
        Ok(if missing.is_empty() {
            Probe::Met(())
        } else {
            Probe::NotYet(format!("missing: {}", missing.join(", ")))
        })
    })
    .await?;
    Ok(true)
}

pub async fn cilium(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let lab = &engine.lab;
    let node = lab.first_control_plane();
    let before = observe::cluster_on(engine, node).await?;
    for command in before.cilium.iter().flat_map(cilium::recover) {
        // A killed install blocks the next one until its record is gone (facts §5).
        context.note(format!("an unfinished Helm run is cleared away: {}", command.shell_line()));
        engine.must_within(node, &command, lab.limits.helm_install, None).await?;
    }
    install(context, node, &[cilium::values_file(lab)]).await?;
    engine
        .must_within(node, &cilium::install(lab, lab.limits.helm_install), lab.limits.helm_install, None)
        .await?;
    Ok(true)
}

/// Waits for Cilium's rollouts and for every node. Restarts the operator if its one look at the Gateway API's
/// definitions came too early (facts §4.2).
pub async fn nodes(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let lab = &engine.lab;
    let node = lab.first_control_plane();
    let rollouts = Requirement {
        what: "Cilium is rolled out".to_owned(),
        limit_name: "cilium_ready",
        limit: lab.limits.cilium_ready,
        hint: "`kubectl -n kube-system get pods -l app.kubernetes.io/part-of=cilium` shows which pod is not ready",
    };
    until(context, rollouts, async || {
        let cluster = observe::cluster_on(engine, node).await?;
        let waiting: Vec<&str> =
            cluster.rollouts.iter().filter(|(_, ready)| !**ready).map(|(name, _)| name.as_str()).collect();
        if cluster.rollouts.is_empty() {
            return Ok(Probe::NotYet("nothing there yet".to_owned()));
        }
        Ok(if waiting.is_empty() {
            Probe::Met(())
        } else {
            Probe::NotYet(format!("waits for {}", waiting.join(", ")))
        })
    })
    .await?;
    let ready = Requirement {
        what: format!("{} nodes are Ready", lab.members().count()),
        limit_name: "nodes_ready",
        limit: lab.limits.nodes_ready,
        hint: "`kubectl describe node NAME` says what a node lacks",
    };
    until(context, ready, async || {
        let cluster = observe::cluster_on(engine, node).await?;
        let not_ready = |member: &&Node| !cluster.nodes.get(&member.name).is_some_and(|node| node.ready);
        let waiting: Vec<&str> = lab.members().filter(not_ready).map(|member| member.name.as_str()).collect();
        Ok(if waiting.is_empty() {
            Probe::Met(())
        } else {
            Probe::NotYet(format!("not yet: {}", waiting.join(", ")))
        })
    })
    .await?;
    Ok(true)
}

pub async fn ingress(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let lab = &engine.lab;
    let node = lab.first_control_plane();
    let identity = engine.need_identity()?;
    class_accepted(context, node).await?;
    install(context, node, &[ingress::file(lab, &identity)]).await?;
    engine.must(node, &ingress::apply(lab, &identity)).await?;
    let requirement = Requirement {
        what: "the Gateway is programmed on its NodePorts".to_owned(),
        limit_name: "gateway_programmed",
        limit: lab.limits.gateway_programmed,
        hint: "`kubectl -n lab-gateway describe gateway lab` and cilium-operator's log say why",
    };
    let ports = &lab.cluster.ports;
    until(context, requirement, async || {
        let cluster = observe::cluster_on(engine, node).await?;
        let pinned = [(80, ports.http_node_port), (443, ports.https_node_port)];
        let moved = pinned.iter().find(|(port, wished)| cluster.node_ports.get(port) != Some(wished));
        match moved {
            Some((port, wished)) => Ok(Probe::NotYet(format!("port {port} is not on NodePort {wished}"))),
            None if !cluster.gateway_programmed => Ok(Probe::NotYet("not programmed".to_owned())),
            None => Ok(Probe::Met(())),
        }
    })
    .await?;
    engine.must(node, &ingress::record(lab, &identity)).await?;
    Ok(true)
}

/// Waits until Cilium has installed its own definitions and accepts classes; if it never looks, its operator is
/// restarted once.
async fn class_accepted(context: &StepContext, node: &Node) -> Result<()> {
    let engine = &context.engine;
    let requirement = |limit| Requirement {
        what: "Cilium takes Gateway API classes".to_owned(),
        limit_name: "gateway_programmed",
        limit,
        hint: "`kubectl -n kube-system logs deploy/cilium-operator` says which definitions it misses",
    };
    let probe = async || {
        let output = engine
            .run(node, &kubectl::get("gatewayclasses", "cilium", None), engine.lab.limits.guest_command, None)
            .await?;
        let accepted = output.success() && ingress::is_accepted(&output.text());
        Ok(if accepted {
            Probe::Met(())
        } else {
            Probe::NotYet(
                tail(&output)
                    .pop()
                    .filter(|_| !output.success())
                    .unwrap_or_else(|| "class cilium is not accepted".to_owned()),
            )
        })
    };
    let limit = engine.lab.limits.gateway_programmed;
    match until(context, requirement(limit / 3), probe).await {
        Err(EngineError::Requirement { .. }) => {
            context.note("cilium-operator looked for the Gateway API before it was there; it is restarted");
            engine.must(node, &kubectl::rollout_restart("deployment/cilium-operator", "kube-system")).await?;
            until(context, requirement(limit), probe).await
        }
        result => result,
    }
}
