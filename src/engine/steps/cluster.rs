//! Steps on the whole cluster, run on the first control plane: Gateway API, Cilium, readiness, ingress.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::engine::context::{Engine, command_failed, tail};
use crate::engine::error::{EngineError, Requirement, Result};
use crate::engine::observe;
use crate::engine::run::StepContext;
use crate::engine::wait::{Probe, until, waited};
use crate::formats::command::Command;
use crate::lab::{Node, names};
use crate::plan::drift;
use crate::plan::facts::ClusterFacts;
use crate::plan::kind::Kind;
use crate::plan::step::Phase;
use crate::stack::checks::pods::{self, PodQuery};
use crate::stack::{cilium, facts, gateway_api, ingress, kubectl};

use super::guest::install;

/// Cilium's operator has this part of the Gateway's time to accept the class, before it is restarted and has all of it.
pub const CLASS_PARTS: u32 = 3;

pub async fn install_gateway_api(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let node = engine.lab.first_control_plane();
    let limit = engine.lab.limits.crds_established;
    engine.must_within(node, &gateway_api::apply(), limit).await?;
    let requirement = Requirement {
        what: "the Gateway API definitions are established".to_owned(),
        limit: engine.lab.limits.crds_established(),
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
    // Helm restarts what its own change touches; agents that somebody else's change reached read theirs once, at their start.
    let changed_by_hand = drift::of_cilium(&before, &cilium::settings(lab));
    let operator_stood = before.rollouts.contains_key(cilium::OPERATOR);
    for command in before.cilium.iter().flat_map(cilium::recover) {
        // A killed install blocks the next one until its record is gone (facts §5).
        context.note(format!("an unfinished Helm run is cleared away: {}", command.shell_line()));
        engine.must_within(node, &command, lab.limits.helm_install).await?;
    }
    install(context, node, &[cilium::values_file(lab)]).await?;
    engine.must_within(node, &cilium::install(lab, lab.limits.helm_install), lab.limits.helm_install).await?;
    let definitions_came = context.step.needs.contains(&Kind::GatewayApiInstall.id());
    if let Some(changed) = changed_by_hand {
        context.note(format!("Cilium's settings were changed by hand ({changed}); its agents are restarted"));
        let limit = lab.limits.cilium_ready;
        restart_workload(engine, node, &format!("daemonset/{}", cilium::AGENTS), cilium::NAMESPACE, limit)
            .await?;
        restart_operator(context, node).await?;
    } else if operator_stood && definitions_came {
        // It looks at the definitions once, when it starts; Helm restarts nothing whose values are what they were.
        context.note("the Gateway API's definitions may have changed under cilium-operator; it is restarted");
        restart_operator(context, node).await?;
    }
    Ok(true)
}

/// Restarts Cilium's operator, so that it looks at the Gateway API's definitions again (facts §4.2).
async fn restart_operator(context: &StepContext, node: &Node) -> Result<()> {
    let operator = format!("deployment/{}", cilium::OPERATOR);
    let engine = &context.engine;
    restart_workload(engine, node, &operator, cilium::NAMESPACE, engine.lab.limits.cilium_ready).await
}

/// Starts a workload's pods anew, as a control plane tells, and waits until the new ones serve.
pub async fn restart_workload(
    engine: &Engine,
    node: &Node,
    object: &str,
    namespace: &str,
    limit: Duration,
) -> Result<()> {
    engine.must(node, &kubectl::rollout_restart(object, namespace)).await?;
    let status = kubectl::rollout_status(object, namespace, limit);
    engine.must_within(node, &status, limit + engine.lab.limits.guest_command).await?;
    Ok(())
}

/// Waits for Cilium's rollouts and for every node. Says whether it had to wait, or to mend something.
pub async fn nodes(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let lab = &engine.lab;
    let node = lab.first_control_plane();
    let rollouts = Requirement {
        what: "Cilium is rolled out".to_owned(),
        limit: lab.limits.cilium_ready(),
        hint: "`kubectl -n kube-system get pods -l app.kubernetes.io/part-of=cilium` shows which pod is not ready",
    };
    let mut readiness = Readiness { context, told: BTreeSet::new() };
    let rolled_out_late = waited(context, rollouts, async || {
        let cluster = observe::cluster_on(engine, node).await?;
        readiness.tell(&cluster);
        let waiting = cluster.not_rolled_out();
        Ok(if waiting.is_empty() {
            Probe::Met(())
        } else {
            Probe::NotYet(format!("waits for {}", waiting.join(", ")))
        })
    })
    .await?;
    let was_there = no_kube_proxy(context, node).await?;
    let ready_late =
        all_ready(context, node, lab.members().collect(), |cluster| readiness.tell(cluster)).await?;
    let was_together = spread_dns(context, node).await?;
    Ok(rolled_out_late || was_there || ready_late || was_together)
}

/// Spreads the cluster's DNS servers over nodes. Both come up on the first control plane, which is alone when they are made, and would
/// be away with it for minutes; kubeadm leaves that to whoever lets others join. Says whether they stood together.
async fn spread_dns(context: &StepContext, node: &Node) -> Result<bool> {
    let engine = &context.engine;
    let listed = engine.must(node, &PodQuery::Dns.list()).await?;
    let pods =
        pods::parse(&listed.text()).map_err(|reason| EngineError::Cluster { reason, tail: tail(&listed) })?;
    let nodes: BTreeSet<&str> = pods.iter().map(|pod| pod.node.as_str()).collect();
    if engine.lab.members().count() < 2 || pods.len() < 2 || nodes.len() > 1 {
        return Ok(false);
    }
    let limit = engine.lab.limits.cilium_ready;
    restart_workload(engine, node, &format!("deployment/{}", cilium::DNS), cilium::NAMESPACE, limit).await?;
    Ok(true)
}

/// Says of each member once that it is Ready.
struct Readiness<'a> {
    context: &'a StepContext,
    told: BTreeSet<String>,
}

impl Readiness<'_> {
    fn tell(&mut self, cluster: &ClusterFacts) {
        for member in self.context.engine.lab.members() {
            let is_ready = cluster.nodes.get(&member.name).is_some_and(|node| node.ready);
            if is_ready && self.told.insert(member.name.clone()) {
                self.context.reached(&member.name, Phase::Healthy);
            }
        }
    }
}

/// Waits until nodes are Ready, as a control plane sees them; each look at the cluster is passed on. Says whether it had to
/// wait.
async fn all_ready(
    context: &StepContext,
    contact: &Node,
    nodes: Vec<&Node>,
    mut look: impl FnMut(&ClusterFacts),
) -> Result<bool> {
    let engine = &context.engine;
    let requirement = Requirement {
        what: "every node is Ready".to_owned(),
        limit: engine.lab.limits.nodes_ready(),
        hint: "`kubectl describe node NAME` says what a node lacks",
    };
    waited(context, requirement, async || {
        let cluster = observe::cluster_on(engine, contact).await?;
        look(&cluster);
        let not_ready = |node: &&&Node| !cluster.nodes.get(&node.name).is_some_and(|node| node.ready);
        let waiting: Vec<&str> = nodes.iter().filter(not_ready).map(|node| node.name.as_str()).collect();
        Ok(if waiting.is_empty() {
            Probe::Met(())
        } else {
            Probe::NotYet(format!("not yet: {}", waiting.join(", ")))
        })
    })
    .await
}

pub async fn ingress(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let lab = &engine.lab;
    let node = lab.first_control_plane();
    let identity = engine.need_identity()?;
    operator_runs(context, node).await?;
    class_accepted(context, node).await?;
    class_config_defined(context, node).await?;
    install(context, node, &[ingress::file(lab, &identity)]).await?;
    apply(context, node, &ingress::apply(lab, &identity)).await?;
    let requirement = Requirement {
        what: "the Gateway is programmed on its NodePorts".to_owned(),
        limit: lab.limits.gateway_programmed(),
        hint: "`kubectl -n lab-gateway describe gateway lab` and cilium-operator's log say why",
    };
    until(context, requirement, async || {
        let cluster = observe::cluster_on(engine, node).await?;
        match cluster.moved_ports(lab.cluster.ports.pinned()).first() {
            Some((port, wished)) => Ok(Probe::NotYet(format!("port {port} is not on NodePort {wished}"))),
            None if !cluster.gateway_programmed => Ok(Probe::NotYet("not programmed".to_owned())),
            None => Ok(Probe::Met(())),
        }
    })
    .await?;
    spread(context, node).await?;
    engine.must(node, &ingress::record(lab, &identity)).await?;
    Ok(true)
}

/// Spreads the test application anew over nodes that came back: the scheduler looks at the spread once, when a pod is made.
async fn spread(context: &StepContext, node: &Node) -> Result<()> {
    let engine = &context.engine;
    if bare_nodes(context, node).await?.is_empty() {
        return Ok(());
    }
    // A pod goes to a node that is Ready, and to no other.
    all_ready(context, node, engine.lab.ingress_nodes().collect(), |_| {}).await?;
    let bare = bare_nodes(context, node).await?;
    if bare.is_empty() {
        return Ok(());
    }
    let text = format!("no pod of the test application serves on {}; it is spread anew", bare.join(" and "));
    context.note(text);
    let application = format!("deployment/{}", ingress::APPLICATION);
    let limit = engine.lab.limits.gateway_programmed;
    restart_workload(engine, node, &application, names::GATEWAY_NAMESPACE, limit).await
}

/// Returns the nodes on which no pod of the test application serves, and one belongs.
async fn bare_nodes(context: &StepContext, node: &Node) -> Result<Vec<String>> {
    let engine = &context.engine;
    let output = engine.must(node, &kubectl::list("pods", Some(names::GATEWAY_NAMESPACE))).await?;
    ingress::bare_nodes(&engine.lab, &output.text()).map_err(|error| EngineError::Cluster {
        reason: format!("the test application's pods cannot be read: {error}"),
        tail: tail(&output),
    })
}

/// Applies the way in. A NodePort that another Service has is said with that Service's name: the API server does not say
/// whose it is.
async fn apply(context: &StepContext, node: &Node, command: &Command) -> Result<()> {
    let engine = &context.engine;
    let output = engine.run(node, command, engine.lab.limits.guest_command).await?;
    if output.success() {
        return Ok(());
    }
    let error = command_failed(&node.name, command, &output);
    if !String::from_utf8_lossy(&output.stderr).contains(kubectl::PORT_TAKEN) {
        return Err(error);
    }
    let services = engine.must(node, &kubectl::list_everywhere("services")).await?;
    let wished = engine.lab.cluster.ports.pinned().map(|(_, node_port)| node_port);
    match facts::owner_of_node_port(&services.text(), &wished, &ingress::service_name()) {
        Some((owner, port)) => Err(EngineError::Cluster {
            reason: format!("NodePort {port}, which the lab's Gateway needs, belongs to the Service {owner}"),
            tail: tail(&output),
        }),
        None => Err(error),
    }
}

/// Takes kube-proxy away: nothing of ours installs it, but an upgrade of kubeadm once brought it back
/// (facts/kubernetes-cilium.md §1.1), and its rules would compete with Cilium's. Says whether it was there.
async fn no_kube_proxy(context: &StepContext, node: &Node) -> Result<bool> {
    let engine = &context.engine;
    let is_there = observe::cluster_on(engine, node).await?.kube_proxy_present;
    if is_there {
        context.note("kube-proxy came into the cluster; it is removed, since Cilium does its work");
        engine.must(node, &kubectl::delete("daemonsets", "kube-proxy", Some(cilium::NAMESPACE))).await?;
    }
    Ok(is_there)
}

/// Waits for the definition of the class's configuration: Cilium's operator installs it, not its chart (facts §4.4).
async fn class_config_defined(context: &StepContext, node: &Node) -> Result<()> {
    let engine = &context.engine;
    let requirement = Requirement {
        what: format!("the definition {} is established", ingress::CLASS_CONFIG_DEFINITION),
        limit: engine.lab.limits.crds_established(),
        hint: "cilium-operator installs it: `kubectl -n kube-system logs deploy/cilium-operator` says why not",
    };
    let question = kubectl::get("customresourcedefinitions", ingress::CLASS_CONFIG_DEFINITION, None);
    until(context, requirement, async || {
        let output = engine.must(node, &question).await?;
        Ok(if facts::is_established(&output.text()) {
            Probe::Met(())
        } else {
            Probe::NotYet("not there yet".to_owned())
        })
    })
    .await
}

/// Waits for Cilium's operator: the nodes that still join need not be waited for.
async fn operator_runs(context: &StepContext, node: &Node) -> Result<()> {
    let engine = &context.engine;
    let requirement = Requirement {
        what: "Cilium's operator runs".to_owned(),
        limit: engine.lab.limits.cilium_ready(),
        hint: "`kubectl -n kube-system describe deploy cilium-operator` says why it does not",
    };
    until(context, requirement, async || {
        let cluster = observe::cluster_on(engine, node).await?;
        let waits = cluster.not_rolled_out().contains(&cilium::OPERATOR);
        Ok(if waits { Probe::NotYet("it is not rolled out".to_owned()) } else { Probe::Met(()) })
    })
    .await
}

/// Waits until Cilium has installed its own definitions and accepts classes; if it never looks, its operator is
/// restarted once.
async fn class_accepted(context: &StepContext, node: &Node) -> Result<()> {
    let engine = &context.engine;
    let requirement = |limit| Requirement {
        what: "Cilium takes Gateway API classes".to_owned(),
        limit,
        hint: "`kubectl -n kube-system logs deploy/cilium-operator` says which definitions it misses",
    };
    let probe = async || {
        let output = engine
            .run(node, &kubectl::get("gatewayclasses", "cilium", None), engine.lab.limits.guest_command)
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
    let limit = engine.lab.limits.gateway_programmed();
    match until(context, requirement(limit.part(CLASS_PARTS)), probe).await {
        Err(EngineError::Requirement { .. }) => {
            context.note("cilium-operator looked for the Gateway API before it was there; it is restarted");
            restart_operator(context, node).await?;
            until(context, requirement(limit), probe).await
        }
        result => result,
    }
}
