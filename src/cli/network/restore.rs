//! `fusionlab network restore`: the lab's lines out of Fusion's networking file, or the whole file as it was.

use clap::Args;
use serde_json::json;

use crate::cli::calls::{NetworkVerb, Session};
use crate::cli::context::{Context, Warnings};
use crate::cli::error::{Failure, Success};
use crate::cli::screen::network_plan::{self, Change};
use crate::cli::screen::{closing, opening};

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.networkrestore/1";

/// Take the lab's lines out of Fusion's networking file, or put a backup back
///
/// Without a name only this lab's lines go, whatever else was changed since; if nothing was, the file is to the byte
/// what it was. With the name of a backup the whole file is put back, and what was changed since is lost.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab network restore              the lab's lines, and nothing else
  fusionlab network backups              what there is to put back
  fusionlab network restore 20260801     the only backup of that day, whole")]
pub struct RestoreArgs {
    /// The beginning of a backup's name or digest, if there is only one
    #[arg(value_name = "BACKUP")]
    backup: Option<String>,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub async fn run(args: RestoreArgs, context: &Context) -> Result<Success, Failure> {
    let pen = &context.terminal.err;
    let lab = context.lab(None, Warnings::Untold)?;
    let session = Session::open(context, lab, "network restore").await?;
    let (lab, fusion) = (session.lab.clone(), session.fusion.clone());
    context.say(opening::lines(&lab, &fusion, pen));
    context.say([""]);
    let verb = args.backup.as_deref().map_or(NetworkVerb::Undo, NetworkVerb::PutBack);
    let outlook = session.network_outlook(verb).await?;
    let change = Change::of(&outlook, &fusion.networking(), lab.internal.vmnet, verb);
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
    if context.json() {
        context.print_json(&json!({
            "schema": SCHEMA,
            "lab": lab.name,
            "simulated": fusion.simulated,
            "took": closing::seconds(summary.took),
            "changed": summary.done().1,
            "backup": args.backup,
        }))?;
    } else if change.step.is_some() {
        context.say(network_plan::is_back(args.backup.as_deref(), summary.took, pen));
    }
    Ok(Success::Done)
}
