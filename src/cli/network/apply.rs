//! `fusionlab network apply`: the lab's network, without its machines.

use clap::Args;
use serde_json::json;

use crate::cli::calls::{self, NetworkVerb, Session};
use crate::cli::context::{Context, Warnings};
use crate::cli::error::{Failure, Success};
use crate::cli::screen::network_plan::{self, Change};
use crate::cli::screen::{closing, networks, opening};

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.networkapply/1";

/// Make Fusion's networks what the lab needs
///
/// Shows the change to Fusion's networking file, asks, keeps a backup, makes it, and looks at what became of it. What
/// does not turn out as wished is taken back. A change that an earlier run did not finish is brought to its end.
#[derive(Args, Debug)]
pub struct ApplyArgs {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub async fn run(args: ApplyArgs, context: &Context) -> Result<Success, Failure> {
    let pen = &context.terminal.err;
    let lab = context.lab(None, Warnings::Untold)?;
    let session = Session::open(context, lab, "network apply").await?;
    let (lab, fusion) = (session.lab.clone(), session.fusion.clone());
    context.say(opening::lines(&lab, &fusion, pen));
    context.say([""]);
    let outlook = session.network_outlook(NetworkVerb::Apply).await?;
    let change = Change::of(&outlook, &fusion.networking(), lab.internal.vmnet, NetworkVerb::Apply);
    context.say(network_plan::lines(&change, pen));
    if change.step.is_some() {
        context.say([""]);
        if !args.yes {
            context.go_on("Do this?").await?;
        }
    }
    session.become_root(context, &outlook.plan, true).await?;
    let (summary, failure) = session.carry_out(context, &outlook.plan).await;
    if let Some(failure) = failure {
        return Err(failure);
    }
    // What stands is looked at anew: that, and not what the programs said, is told.
    let (_, survey) = calls::survey(context, &lab).await?;
    let seen = survey.network(lab.internal.vmnet);
    if context.json() {
        let seen = seen.map(|seen| networks::json(&survey, &[seen], &lab).remove(0));
        context.print_json(&json!({
            "schema": SCHEMA,
            "lab": lab.name,
            "simulated": fusion.simulated,
            "took": closing::seconds(summary.took),
            "changed": summary.done().1,
            "network": seen,
        }))?;
    } else if change.step.is_some() {
        context.say(network_plan::stands(seen, lab.internal.vmnet, pen));
    }
    Ok(Success::Done)
}
