//! The list that takes a lab down: only what bears this lab's mark, and only our lines.

use super::desired::NetworkWish;
use super::facts::{Facts, VmFacts, VmState};
use super::step::{Action, Gate, Phase, Plan, Step, StepId};

/// Plans the removal of the lab of this name: `network` is what Fusion's networking file becomes.
pub fn plan(lab: &str, facts: &Facts, network: &NetworkWish) -> Plan {
    let mut plan = Plan::default();
    let ours = |vm: &VmFacts| matches!(vm.state, VmState::Ours | VmState::Unfinished);
    for (name, vm) in facts.vms.iter().filter(|(_, vm)| ours(vm)) {
        if vm.running {
            plan.steps.push(of_node("vm.stop", name, Phase::Stop, 5, Action::StopVm { node: name.clone() }));
        }
        let mut delete =
            of_node("vm.delete", name, Phase::Delete, 2, Action::DeleteVm { node: name.clone() });
        delete.gate = Some(Gate::Parent);
        delete.needs.extend(vm.running.then(|| StepId(format!("vm.stop/{name}"))));
        plan.steps.push(delete);
    }
    let foreign = facts.vms.iter().filter(|(_, vm)| vm.state == VmState::Foreign);
    plan.kept.extend(foreign.map(|(_, vm)| format!("{}: not ours, left alone", vm.vmx.display())));
    if facts.template.present && !facts.template.frozen {
        let text = "remove the template, which was not finished".to_owned();
        plan.steps.push(of_host("template.discard", 2, text, Action::DiscardTemplate));
    }
    let machines: Vec<StepId> = plan.steps.iter().map(|step| step.id.clone()).collect();
    if let NetworkWish::Change { diff, .. } = network {
        let vmnet = facts.network_record.as_ref().map(|record| record.vmnet).unwrap_or_default();
        plan.steps.push(Step {
            // The networks restart when nothing of ours runs on them.
            needs: machines.clone(),
            ..of_host(
                "network.restore",
                8,
                format!("take our lines for vmnet{vmnet} out of Fusion's networking file"),
                Action::RestoreNetwork { diff: diff.clone() },
            )
        });
    }
    if facts.lab_folder {
        let needs = plan.steps.iter().map(|step| step.id.clone()).collect();
        let text = format!("remove the keys, kubeconfig and records of {lab}");
        plan.steps.push(Step { needs, ..of_host("lab.forget", 1, text, Action::ForgetLab) });
    }
    plan
}

fn of_node(verb: &str, node: &str, phase: Phase, cost_seconds: u32, action: Action) -> Step {
    let word = verb.trim_start_matches("vm.");
    Step {
        id: StepId(format!("{verb}/{node}")),
        needs: Vec::new(),
        node: Some(node.to_owned()),
        phase,
        gate: None,
        text: format!("{word} {node}"),
        why: "it bears this lab's mark".to_owned(),
        cost_seconds,
        action,
    }
}

fn of_host(id: &str, cost_seconds: u32, text: String, action: Action) -> Step {
    Step {
        id: StepId(id.to_owned()),
        needs: Vec::new(),
        node: None,
        phase: Phase::Host,
        gate: None,
        text,
        why: "this lab made it".to_owned(),
        cost_seconds,
        action,
    }
}
