//! `fusionlab plan`: what `up` or `destroy` would do.

use clap::Args;
use serde_json::json;

use super::calls::{self, Outlook, Session};
use super::context::{Context, Warnings};
use super::error::{Failure, Success};
use super::init::PresetName;
use super::screen::{opening, plan, runs};
use crate::plan::text::Detail;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.plan/1";

/// Show what up would do, and change nothing
///
/// A line for each machine, and the change to Fusion's networking file as it would be made.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab plan                  what up would do here
  fusionlab plan --verbose        each step with its id and its reason
  fusionlab plan --destroy        what destroy would do")]
pub struct PlanArgs {
    /// Exit with 12 if there is something to do, with 0 if not
    #[arg(long)]
    detailed_exitcode: bool,

    /// Show what destroy would do
    #[arg(long)]
    destroy: bool,

    /// Show each step with its id and its reason, and what stands already
    #[arg(long, short)]
    verbose: bool,

    /// The lab's size; it comes before the lab file's, and before the one that the lab remembers
    #[arg(long, value_enum, value_name = "PRESET")]
    preset: Option<PresetName>,
}

impl PlanArgs {
    /// The size that was named.
    pub fn preset(&self) -> Option<PresetName> {
        self.preset
    }
}

pub async fn run(args: PlanArgs, context: &Context) -> Result<Success, Failure> {
    let warnings = if args.destroy { Warnings::Untold } else { Warnings::Full };
    let (lab, mut warnings) = context.lab_and_warnings(args.preset, warnings)?;
    let session = Session::open(context, lab, "plan").await?;
    let (lab, fusion) = (&session.lab, &session.fusion);
    context.say(opening::lines(lab, fusion, &context.terminal.err));
    context.say([""]);
    let Outlook { plan: steps, facts } = session.outlook(args.destroy).await?;
    if !args.destroy {
        let of_host = calls::warnings_of_host(context, lab, &facts)?;
        context.warn_of_host(&of_host)?;
        warnings.extend(of_host);
    }
    let before = session.before()?;
    if context.json() {
        context.print_json(&json!({
            "schema": SCHEMA,
            "lab": lab.name,
            "simulated": fusion.simulated,
            "verb": if args.destroy { "destroy" } else { "up" },
            "steps": steps.steps,
            "kept": steps.kept,
            "unseen": steps.unseen,
            "warnings": warnings,
            "cut_off": before.cut_off,
            "at_work": before.at_work,
        }))?;
    } else {
        let detail = if args.verbose { Detail::Full } else { Detail::Brief };
        context.print(plan::lines(&steps, lab, detail, &context.terminal.out))?;
        context.say(runs::lines(before.cut_off.as_ref(), before.at_work.as_ref(), &context.terminal.err));
    }
    let changes = args.detailed_exitcode && !steps.is_empty();
    Ok(if changes { Success::Changes } else { Success::Done })
}
