//! What must hold of every plan, whatever made it: checked before anything runs, and in tests.

use std::collections::BTreeSet;

use super::step::{Action, Plan, StepId};

/// Returns what is wrong with a plan; empty for every plan that `up` and `destroy` make.
pub fn lint(plan: &Plan) -> Vec<String> {
    let mut findings = Vec::new();
    let mut seen: BTreeSet<&StepId> = BTreeSet::new();
    for step in &plan.steps {
        for need in &step.needs {
            if !seen.contains(need) {
                findings.push(format!("{} needs {need}, which does not come before it", step.id));
            }
        }
        if !seen.insert(&step.id) {
            findings.push(format!("{} is in the plan twice", step.id));
        }
        if step.text.is_empty() || step.why.is_empty() {
            findings.push(format!("{} does not say what it does or why", step.id));
        }
    }
    findings.extend(learners(plan));
    findings
}

/// Two control planes must not join at once: etcd allows one learner (facts/kubernetes-cilium.md §1.6).
fn learners(plan: &Plan) -> Vec<String> {
    let joins: Vec<_> =
        plan.steps.iter().filter(|step| matches!(step.action, Action::JoinControlPlane { .. })).collect();
    joins
        .windows(2)
        .filter(|pair| !pair[1].needs.contains(&pair[0].id))
        .map(|pair| format!("{} does not wait for {}", pair[1].id, pair[0].id))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::step::Step;
    use super::*;

    fn plan<const N: usize>(steps: [(Action, &[Action]); N]) -> Plan {
        let steps = steps.map(|(action, needs)| {
            let needs = needs.iter().map(Action::id).collect();
            Step { needs, ..Step::new(action, "does it", "it is missing") }
        });
        Plan { steps: steps.into(), ..Plan::default() }
    }

    #[test]
    fn a_need_that_comes_later_or_never_is_found() {
        let plan = plan([
            (Action::ConvertImage, &[Action::BakeTemplate]),
            (Action::BakeTemplate, &[Action::FreezeTemplate]),
        ]);
        assert_eq!(
            lint(&plan),
            [
                "image.convert needs template.bake, which does not come before it",
                "template.bake needs template.freeze, which does not come before it"
            ]
        );
    }

    #[test]
    fn two_learners_at_once_are_found() {
        let join = |node: &str| Action::JoinControlPlane { node: node.to_owned() };
        let plan = plan([(join("m2"), &[]), (join("m3"), &[])]);
        assert_eq!(lint(&plan), ["kube.join/m3 does not wait for kube.join/m2"]);
    }
}
