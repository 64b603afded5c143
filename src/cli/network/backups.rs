//! `fusionlab network backups`: Fusion's networking file as it was before each change.

use clap::Args;
use serde_json::json;

use crate::cli::calls;
use crate::cli::context::Context;
use crate::cli::error::{Failure, Success};
use crate::cli::screen::backups;
use crate::cli::words;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.backups/1";

/// List the backups of Fusion's networking file
///
/// One is taken before each change. The last column says in a word what putting one back would change.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab network backups         the newest first
  fusionlab network restore BACKUP  put one of them back")]
pub struct BackupsArgs {}

pub async fn run(_args: BackupsArgs, context: &Context) -> Result<Success, Failure> {
    let backups = calls::backups(context).await?;
    if context.json() {
        context.print_json(&json!({ "schema": SCHEMA, "backups": backups }))?;
    } else if backups.is_empty() {
        let none = "there are no backups: fusionlab has not changed Fusion's networking file";
        context.say(words::wrap(none, context.terminal.err.prose_width()));
    } else {
        context.print(backups::lines(&backups, &context.terminal.out))?;
    }
    Ok(Success::Done)
}
