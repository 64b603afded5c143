//! `fusionlab plan`: what `up` or `destroy` would do.

use clap::Args;
use serde_json::json;

use super::calls::{self, Outlook, Session};
use super::context::{Context, Warnings};
use super::error::{Failure, Success};
use super::init::PresetName;
use super::screen::opening;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.plan/1";

/// Show what up would do, and change nothing
///
/// Each step with its reason, and the change to Fusion's networking file line by line.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// Exit with 12 if there is something to do, with 0 if not
    #[arg(long)]
    detailed_exitcode: bool,

    /// Show what destroy would do
    #[arg(long)]
    destroy: bool,

    /// The lab's size, where the lab file does not say
    #[arg(long, value_enum, value_name = "PRESET")]
    preset: Option<PresetName>,
}

pub async fn run(args: PlanArgs, context: &Context) -> Result<Success, Failure> {
    let lab = context.lab(args.preset, Warnings::Full)?;
    let session = Session::open(context, lab, "plan").await?;
    let (lab, fusion) = (&session.lab, &session.fusion);
    context.say([opening::line(lab, fusion, &context.terminal.err), String::new()]);
    let Outlook { plan, .. } = session.outlook(args.destroy).await?;
    if context.json() {
        context.print_json(&json!({
            "schema": SCHEMA,
            "lab": lab.name,
            "simulated": fusion.simulated,
            "verb": if args.destroy { "destroy" } else { "up" },
            "steps": plan.steps,
            "kept": plan.kept,
        }))?;
    } else {
        context.print(calls::plan_lines(&plan, context))?;
    }
    let changes = args.detailed_exitcode && !plan.is_empty();
    Ok(if changes { Success::Changes } else { Success::Done })
}
