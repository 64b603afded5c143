//! `fusionlab schema`: the lab file's JSON Schema.

use clap::Args;

use super::calls;
use super::context::Context;
use super::error::{Failure, Success};

/// Print the lab file's JSON Schema, for editors
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab schema > fusionlab.schema.json
  fusionlab schema | jq .properties.kubernetes")]
pub struct SchemaArgs {}

pub fn run(_args: SchemaArgs, context: &Context) -> Result<Success, Failure> {
    // Read by people and kept in files, hence not on one line.
    context.print([format!("{:#}", calls::schema())])?;
    Ok(Success::Done)
}
