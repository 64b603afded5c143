//! `fusionlab template prune`: room back from templates that no lab uses.

use clap::Args;
use serde_json::json;

use crate::cli::calls;
use crate::cli::context::{About, Context};
use crate::cli::error::{Failure, Success};
use crate::cli::screen::templates::{self, Prunable};
use crate::cli::wait::WaitArgs;
use crate::lab::limits::Limits;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.templateprune/1";

/// Remove the templates that no lab uses
///
/// Also those that were never finished, and downloads that were broken off. A template that any machine hangs on stays,
/// and nothing is removed while a lab is being worked on.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab template prune          show what would go, and ask
  fusionlab template prune --yes    without a question")]
pub struct PruneArgs {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    wait: WaitArgs,
}

pub async fn run(args: PruneArgs, context: &Context) -> Result<Success, Failure> {
    let pen = &context.terminal.err;
    let prunable = calls::prunable(context).await?;
    if !prunable.is_empty() && !args.yes {
        let unsaid = templates::prunable(&prunable, pen);
        context.go_on(About { said: &[], unsaid }, "Remove them?").await?;
    }
    let removed = if prunable.is_empty() {
        Prunable::default()
    } else {
        calls::prune(context, args.wait.patience(&Limits::default())).await?
    };
    if context.json() {
        context.print_json(&json!({
            "schema": SCHEMA,
            "templates": removed.templates,
            "downloads": removed.downloads.len(),
            "freed": removed.bytes(),
        }))?;
    } else {
        context.say(templates::pruned(&removed, &context.terminal.err));
    }
    Ok(Success::Done)
}
