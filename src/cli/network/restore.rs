//! `fusionlab network restore`: the lab's lines out of Fusion's networking file, or the whole file as it was.

use clap::Args;
use serde_json::json;

use super::{Carried, carry_out};
use crate::cli::calls::NetworkVerb;
use crate::cli::candidates;
use crate::cli::context::Context;
use crate::cli::error::{Failure, Success};
use crate::cli::screen::{closing, network_plan};
use crate::cli::wait::WaitArgs;

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
    #[arg(add = candidates::backups(), value_name = "BACKUP")]
    backup: Option<String>,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    wait: WaitArgs,
}

pub async fn run(args: RestoreArgs, context: &Context) -> Result<Success, Failure> {
    let verb = args.backup.as_deref().map_or(NetworkVerb::Undo, NetworkVerb::PutBack);
    let Carried { lab, fusion, summary, changed } =
        carry_out("network restore", verb, args.yes, args.wait, context).await?;
    if context.json() {
        context.print_json(&json!({
            "schema": SCHEMA,
            "lab": lab.name,
            "simulated": fusion.simulated,
            "took": closing::seconds(summary.took),
            "changed": summary.done().1,
            "backup": args.backup,
        }))?;
    } else if changed {
        context.say(network_plan::is_back(args.backup.as_deref(), summary.took, &context.terminal.err));
    }
    Ok(Success::Done)
}
