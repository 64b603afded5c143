//! `fusionlab template`: golden machines, a file for each thing that can be done with them.

mod build;
mod list;
mod prune;

use clap::{Args, Subcommand};

use super::context::Context;
use super::error::{Failure, Success};

/// Golden machines that a lab's machines are cloned from
#[derive(Args, Debug)]
#[command(subcommand_help_heading = "Verbs", subcommand_value_name = "VERB")]
#[command(after_help = "Examples:
  fusionlab template build    make the lab's template now; up finds it there
  fusionlab template list     which there are, and what they are made from
  fusionlab template prune    remove those that no lab uses")]
pub struct TemplateArgs {
    #[command(subcommand)]
    command: TemplateCommand,
}

#[derive(Subcommand, Debug)]
enum TemplateCommand {
    List(list::ListArgs),
    Build(build::BuildArgs),
    Prune(prune::PruneArgs),
}

pub async fn run(args: TemplateArgs, context: &Context) -> Result<Success, Failure> {
    match args.command {
        TemplateCommand::List(args) => list::run(args, context).await,
        TemplateCommand::Build(args) => build::run(args, context).await,
        TemplateCommand::Prune(args) => prune::run(args, context).await,
    }
}
