//! `fusionlab network apply`: the lab's network, without its machines.

use clap::Args;
use serde_json::json;

use super::{Carried, carry_out};
use crate::cli::calls::{self, NetworkVerb};
use crate::cli::context::Context;
use crate::cli::error::{Failure, Success};
use crate::cli::screen::{network_plan, networks};
use crate::cli::wait::WaitArgs;
use crate::formats::figures;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.networkapply/1";

/// Make Fusion's networks what the lab needs
///
/// Shows the change to Fusion's networking file, asks, keeps a backup, makes it, and looks at what became of it. What
/// does not turn out as wished is taken back. A change that an earlier run did not finish is brought to its end.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab network apply           show the change, ask, make it
  fusionlab network apply --yes     without a question")]
pub struct ApplyArgs {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    wait: WaitArgs,
}

pub async fn run(args: ApplyArgs, context: &Context) -> Result<Success, Failure> {
    let Carried { lab, fusion, summary, changed } =
        carry_out("network apply", NetworkVerb::Apply, args.yes, args.wait, context).await?;
    // What stands is looked at anew: that, and not what the programs said, is told.
    let (_, survey) = calls::survey(context, &lab).await?;
    let seen = survey.network(lab.internal.vmnet);
    if context.json() {
        let seen = seen.map(|seen| networks::json(&survey, &[seen], &lab).remove(0));
        context.print_json(&json!({
            "schema": SCHEMA,
            "lab": lab.name,
            "simulated": fusion.simulated,
            "took": figures::seconds(summary.took),
            "changed": summary.done().1,
            "network": seen,
        }))?;
    } else if changed {
        context.say(network_plan::stands(seen, lab.internal.vmnet, &context.terminal.err));
    }
    Ok(Success::Done)
}
