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
        | Action::DiscardTemplate
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
