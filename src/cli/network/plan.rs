//! `fusionlab network plan`: what the lab changes in Fusion's networking file.

use clap::Args;
use serde_json::json;

use crate::cli::calls::{NetworkVerb, Session};
use crate::cli::context::{Context, Warnings};
use crate::cli::error::{Failure, Success};
use crate::cli::screen::network_plan::{self, Change};
use crate::cli::screen::opening;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.networkplan/1";

/// Show what apply would change, and change nothing
///
/// The change to Fusion's networking file as it would be made, and what restarts for it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab network plan           what the lab needs
  fusionlab network plan --undo    what taking the lab's lines out would change")]
pub struct PlanArgs {
    /// Exit with 12 if there is something to do, with 0 if not
    #[arg(long)]
    detailed_exitcode: bool,

    /// Show what restore would change
    #[arg(long)]
    undo: bool,
}

pub async fn run(args: PlanArgs, context: &Context) -> Result<Success, Failure> {
    let lab = context.lab(None, Warnings::Untold)?;
    let session = Session::open(context, lab, "network plan").await?;
    context.say(opening::lines(&session.lab, &session.fusion, &context.terminal.err));
    context.say([""]);
    let verb = if args.undo { NetworkVerb::Undo } else { NetworkVerb::Apply };
    let outlook = session.network_outlook(verb).await?;
    let file = session.fusion.networking();
    let change = Change::of(&outlook, &file, session.lab.internal.vmnet, verb);
    if context.json() {
        context.print_json(&json!({
            "schema": SCHEMA,
            "lab": session.lab.name,
            "simulated": session.fusion.simulated,
            "verb": if args.undo { "restore" } else { "apply" },
            "file": file,
            "change": change.json(),
            "remarks": change.remarks,
        }))?;
    } else {
        context.print(network_plan::lines(&change, &context.terminal.out))?;
    }
    let changes = args.detailed_exitcode && change.step.is_some();
    Ok(if changes { Success::Changes } else { Success::Done })
}
