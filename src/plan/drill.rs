//! The list of a drill: one scenario after the other, each only if the lab can do without what is lost.

use crate::lab::{Lab, Node, Role};
use crate::stack::drill::{Record, Scenario};
use crate::stack::vips::holder;

use super::facts::Facts;
use super::step::{Action, Plan, Step};

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// All that the lab can do without, if none.
    pub scenarios: Vec<Scenario>,
    /// The machine that is to lose something.
    pub on: Option<String>,
}

/// A drill, with what is left out of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drill {
    pub plan: Plan,
    /// What is left out, and why: a sentence without a full stop.
    pub spared: Vec<(Scenario, String)>,
    /// The gateway that holds the VIPs now.
    pub holder: Option<String>,
}

/// Plans a drill.
pub fn plan(lab: &Lab, facts: &Facts, choice: &Choice) -> Drill {
    let mut drill = Drill { holder: holder(lab, &facts.guests).map(str::to_owned), ..Drill::default() };
    drill.plan.steps.extend(facts.drill.as_ref().map(restore));
    let on = choice.on.as_deref().and_then(|name| lab.node(name));
    let wished = |scenario: &Scenario| choice.scenarios.is_empty() || choice.scenarios.contains(scenario);
    for scenario in Scenario::ALL.into_iter().filter(wished) {
        let reason = scenario.spared(lab).map(str::to_owned).or_else(|| spared_for(scenario, on));
        if let Some(reason) = reason {
            drill.spared.push((scenario, reason));
            continue;
        }
        // One loss at a time: two at once is another promise.
        let needs = drill.plan.steps.last().map(|step| step.id.clone()).into_iter().collect();
        let step = step(lab, scenario, on);
        drill.plan.steps.push(Step { needs, ..step });
    }
    drill
}

fn spared_for(scenario: Scenario, on: Option<&Node>) -> Option<String> {
    let node = on.filter(|node| node.role != scenario.role())?;
    Some(format!("{} is no {}", node.name, scenario.role().noun()))
}

/// Returns the step that puts back what a killed drill broke.
pub fn restore(record: &Record) -> Step {
    let Record { scenario, node, since, .. } = record;
    let action = Action::EndDrill { scenario: *scenario, node: node.clone() };
    let text = format!("put back what {node} lost in the drill {scenario}");
    Step::new(action, text, format!("the drill of {since} did not come to its end"))
}

fn step(lab: &Lab, scenario: Scenario, on: Option<&Node>) -> Step {
    let first = lab.of_role(scenario.role()).next().map(|node| node.name.as_str());
    let who = match (on, scenario.role()) {
        (Some(node), _) => &node.name,
        // Whoever that is by then: each loss moves the VIPs.
        (None, Role::Gateway) => "the gateway that holds the VIPs",
        (None, _) => first.unwrap_or_default(),
    };
    let action = Action::Drill { scenario, on: on.map(|node| node.name.clone()) };
    Step::new(action, format!("{who} {}", scenario.loses()), "the lab must go on without it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::catalogue::Arch;
    use crate::lab::resolve::resolve;
    use crate::plan::lint::lint;

    fn lab(text: &str) -> Lab {
        resolve(Some(text), None, Arch::Arm64).expect("a sound lab").lab
    }

    fn ids(drill: &Drill) -> Vec<&str> {
        drill.plan.steps.iter().map(|step| step.id.as_str()).collect()
    }

    #[test]
    fn everything_that_the_lab_survives_is_lost_one_after_the_other() {
        let drill = plan(&lab("version: 1\n"), &Facts::default(), &Choice::default());
        assert_eq!(drill.plan.steps.len(), Scenario::ALL.len());
        let needs: Vec<usize> = drill.plan.steps.iter().map(|step| step.needs.len()).collect();
        assert_eq!(needs, [0, 1, 1, 1, 1, 1]);
        assert_eq!(lint(&drill.plan), [""; 0]);
        assert_eq!(drill.spared, []);
    }

    #[test]
    fn what_it_does_not_survive_is_left_out_with_the_reason() {
        let drill = plan(&lab("version: 1\npreset: small\n"), &Facts::default(), &Choice::default());
        assert!(drill.plan.is_empty());
        assert_eq!(drill.spared.len(), Scenario::ALL.len());
        assert!(drill.spared[0].1.contains("one gateway"), "{:?}", drill.spared[0]);
    }

    #[test]
    fn a_machine_that_is_named_is_the_one_and_only_for_what_concerns_it() {
        let on = Some("k8s-master3".to_owned());
        let drill =
            plan(&lab("version: 1\n"), &Facts::default(), &Choice { on: on.clone(), ..Choice::default() });
        assert_eq!(ids(&drill), ["drill.control-plane-vm"]);
        assert_eq!(drill.plan.steps[0].text, "k8s-master3 loses its power");
        assert_eq!(drill.spared[0].1, "k8s-master3 is no gateway");
        let choice = Choice { scenarios: vec![Scenario::WorkerVm], on };
        assert!(plan(&lab("version: 1\n"), &Facts::default(), &choice).plan.is_empty());
    }

    #[test]
    fn what_a_killed_drill_left_comes_first() {
        let record = Record {
            version: Record::VERSION,
            scenario: Scenario::GatewayNetwork,
            node: "gateway1".to_owned(),
            since: "2026-11-27T10:00:00Z".to_owned(),
        };
        let facts = Facts { drill: Some(record), ..Facts::default() };
        let choice = Choice { scenarios: vec![Scenario::GatewayNginx], on: None };
        let drill = plan(&lab("version: 1\n"), &facts, &choice);
        assert_eq!(ids(&drill), ["drill.restore/gateway1", "drill.gateway-nginx"]);
        assert_eq!(lint(&drill.plan), [""; 0]);
    }
}
