//! `fusionlab schema`: the lab file's JSON Schema.

use clap::Args;

use super::calls;
use super::context::Context;
use super::error::{Failure, Success};

/// Print the lab file's JSON Schema, for editors
#[derive(Args, Debug)]
pub struct SchemaArgs {}

pub fn run(_args: SchemaArgs, context: &Context) -> Result<Success, Failure> {
    context.print_json(&calls::schema()?)?;
    Ok(Success::Done)
}
