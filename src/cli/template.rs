//! `fusionlab template`: golden machines.

use clap::{Args, Subcommand};
use serde_json::json;

use super::calls::{self, TemplateLine};
use super::context::Context;
use super::error::{Failure, Success};
use super::screen::table::{Cell, Table};
use super::words;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.templates/1";

/// Golden machines that nodes are cloned from
#[derive(Args, Debug)]
pub struct TemplateArgs {
    #[command(subcommand)]
    command: TemplateCommand,
}

#[derive(Subcommand, Debug)]
enum TemplateCommand {
    /// List the templates and the labs that use them
    List,
    /// Remove the templates that no lab uses
    Prune,
}

pub async fn run(args: TemplateArgs, context: &Context) -> Result<Success, Failure> {
    let (templates, pruned) = match args.command {
        TemplateCommand::List => (calls::templates(context).await?, false),
        TemplateCommand::Prune => (calls::prune_templates(context).await?, true),
    };
    if context.json() {
        context.print_json(&json!({ "schema": SCHEMA, "removed": pruned, "templates": templates }))?;
        return Ok(Success::Done);
    }
    if !templates.is_empty() {
        context.print(table(&templates).lines(&context.terminal.out))?;
    }
    if pruned {
        let freed = templates.iter().map(|template| template.bytes).sum();
        let count = words::count(templates.len(), "template");
        context.say([format!("{count} removed, {} given back", words::bytes(freed))]);
    } else if templates.is_empty() {
        context.say(["no templates; up makes one"]);
    }
    Ok(Success::Done)
}

fn table(templates: &[TemplateLine]) -> Table {
    let mut table = Table::new(["KEY", "IMAGE", "KUBERNETES", ">SIZE", "USED BY"]);
    for template in templates {
        table.row([
            Cell::plain(template.key.clone()),
            Cell::plain(template.image.clone()),
            Cell::plain(template.kubernetes.clone()),
            Cell::plain(words::bytes(template.bytes)),
            Cell::plain(template.used_by.join(", ")),
        ]);
    }
    table
}
