//! A plan as text, for `fusionlab plan` and for snapshots: grouped as a reader thinks, the network's change verbatim.

use std::fmt::Write;

use super::step::{Action, Phase, Plan, Step};

/// Says whether a step belongs to a group.
type Belongs = fn(&Step) -> bool;

/// The groups of the text, in order: heading, which steps.
const GROUPS: &[(&str, Belongs)] = &[
    ("Host", |step| step.phase == Phase::Host && !step.id.0.starts_with("network.")),
    ("Network", |step| step.id.0.starts_with("network.")),
    ("Machines", |step| {
        matches!(step.phase, Phase::Clone | Phase::Boot | Phase::Ready | Phase::Stop | Phase::Delete)
    }),
    ("Guests", |step| matches!(step.phase, Phase::Configure)),
    ("Cluster", |step| matches!(step.phase, Phase::Join | Phase::Cluster)),
];

/// Returns the plan's text; `verbose` adds what stands already and each step's reason.
pub fn text(plan: &Plan, verbose: bool) -> String {
    let mut out = String::new();
    if plan.is_empty() {
        out.push_str("Nothing to do: the lab is as the lab file says.\n");
    }
    for (heading, belongs) in GROUPS {
        let steps: Vec<&Step> = plan.steps.iter().filter(|step| belongs(step)).collect();
        if !steps.is_empty() {
            let _ = writeln!(out, "{heading}");
            steps.iter().for_each(|step| write_step(&mut out, step, verbose));
            out.push('\n');
        }
    }
    if verbose && !plan.kept.is_empty() {
        out.push_str("Kept\n");
        plan.kept.iter().for_each(|kept| {
            let _ = writeln!(out, "  = {kept}");
        });
        out.push('\n');
    }
    if !plan.is_empty() {
        let count = plan.steps.len();
        let _ = writeln!(out, "{count} {}.", if count == 1 { "step" } else { "steps" });
    }
    out
}

fn write_step(out: &mut String, step: &Step, verbose: bool) {
    let sign = match step.action {
        Action::StopVm { .. }
        | Action::DeleteVm { .. }
        | Action::RestoreNetwork { .. }
        | Action::ForgetLab => '-',
        Action::AwaitGuest { .. } | Action::AwaitVips | Action::AwaitEndpoint | Action::AwaitNodes => '·',
        _ => '+',
    };
    let _ = writeln!(out, "  {sign} {}", step.text);
    if verbose {
        let _ = writeln!(out, "      {}: {}", step.id, step.why);
    }
    if let Action::ApplyNetwork { diff } | Action::RestoreNetwork { diff } = &step.action {
        diff.lines().for_each(|line| {
            let _ = writeln!(out, "      {line}");
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::World;
    use super::*;

    #[test]
    fn a_lab_that_stands_is_one_line_and_what_was_kept_on_request() {
        let plan = World::complete().up().unwrap();
        assert_eq!(text(&plan, false), "Nothing to do: the lab is as the lab file says.\n");
        let verbose = text(&plan, true);
        assert!(verbose.contains("\nKept\n"), "{verbose}");
        assert!(verbose.contains("  = k8s-worker2: worker, joined\n"), "{verbose}");
    }

    #[test]
    fn every_step_is_shown_once_under_one_heading() {
        let plan = World::empty().up().unwrap();
        let shown = text(&plan, false);
        for step in &plan.steps {
            let lines = shown
                .lines()
                .filter(|line| line.trim_start_matches([' ', '+', '-', '·']) == step.text)
                .count();
            assert_eq!(lines, 1, "{}:\n{shown}", step.id);
        }
        let headings: Vec<&str> =
            shown.lines().filter(|line| GROUPS.iter().any(|(heading, _)| heading == line)).collect();
        assert_eq!(headings, ["Host", "Network", "Machines", "Guests", "Cluster"]);
        assert!(shown.ends_with(&format!("\n{} steps.\n", plan.steps.len())));
    }

    #[test]
    fn the_networks_change_is_shown_line_by_line() {
        let shown = text(&World::empty().up().unwrap(), false);
        for line in ["+answer VNET_2_HOSTONLY_SUBNET 10.10.0.0", "10.10.0.131"] {
            assert!(shown.contains(line), "{line} is not in:\n{shown}");
        }
    }

    #[test]
    fn reasons_are_given_on_request() {
        let mut world = World::complete();
        world.facts.kubeconfig = None;
        let plan = world.up().unwrap();
        let expected = "Cluster\n  + write the kubeconfig for https://192.168.68.200:6443\n";
        assert_eq!(text(&plan, false), format!("{expected}\n1 step.\n"));
        let verbose = text(&plan, true);
        assert!(
            verbose.starts_with(&format!("{expected}      kubeconfig.write: there is none\n")),
            "{verbose}"
        );
    }
}
