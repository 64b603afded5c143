//! `fusionlab list`: every lab of this Mac, whichever folder one is in.

use clap::Args;
use serde_json::json;

use super::calls;
use super::context::Context;
use super::error::{Failure, Success};
use super::screen::labs;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.labs/1";

/// List the labs of this Mac
///
/// A row for each lab that has a folder in the home, or machines in Fusion's library: its size, how many of its machines run, in
/// which Fusion, what was last done to it, and where its lab file was then. No machine is asked, and nothing is changed.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab list
  fusionlab list --output json")]
pub struct ListArgs {}

pub async fn run(_args: ListArgs, context: &Context) -> Result<Success, Failure> {
    let rows: Vec<labs::Row> = calls::labs(context).await?.into_iter().map(labs::Row::of).collect();
    if context.json() {
        context.print_json(&json!({ "schema": SCHEMA, "labs": rows }))?;
    } else {
        let shown = |path: &std::path::Path| context.shown(path);
        context.print(labs::lines(&rows, &shown, &context.options.again(), &context.terminal.out))?;
    }
    Ok(Success::Done)
}
