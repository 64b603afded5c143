//! `fusionlab template list`: the templates that are there, and the images that others can be made from.

use clap::Args;
use serde_json::json;

use crate::cli::calls;
use crate::cli::context::Context;
use crate::cli::error::{Failure, Success};
use crate::cli::screen::templates;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.templates/2";

/// List the templates, who uses them, and the catalogue's images
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab template list
  fusionlab template list --output json")]
pub struct ListArgs {}

pub async fn run(_args: ListArgs, context: &Context) -> Result<Success, Failure> {
    let (lines, images) = (calls::templates(context).await?, calls::catalogue(context));
    if context.json() {
        context.print_json(
            &json!({ "schema": SCHEMA, "templates": lines, "images": templates::images_json(&images) }),
        )?;
    } else {
        context.print(templates::lists(&lines, &images, &context.terminal.out))?;
    }
    Ok(Success::Done)
}
