//! `fusionlab network`: Fusion's networks, a file for each thing that can be done with them.

mod apply;
mod backups;
mod plan;
mod restore;
mod root;
mod show;
mod sudoers;

use clap::{Args, Subcommand};

use super::context::Context;
use super::error::{Failure, Success};

/// Fusion's networks: show them, change them, put them back
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab network show          all networks, and who is on them
  fusionlab network plan          what the lab needs of Fusion's networking file
  fusionlab network apply         make it so
  fusionlab network restore       take the lab's lines out again")]
pub struct NetworkArgs {
    #[command(subcommand)]
    command: NetworkCommand,
}

#[derive(Subcommand, Debug)]
enum NetworkCommand {
    Show(show::ShowArgs),
    Plan(plan::PlanArgs),
    Apply(apply::ApplyArgs),
    Restore(restore::RestoreArgs),
    Backups(backups::BackupsArgs),
    Sudoers(sudoers::SudoersArgs),
    /// The step that needs root: fusionlab runs itself with sudo and a request that it checks again
    #[command(hide = true)]
    ApplyAsRoot(root::ApplyArgs),
    /// As apply-as-root, for a whole file from a backup
    #[command(hide = true)]
    RestoreAsRoot(root::RestoreArgs),
}

pub async fn run(args: NetworkArgs, context: &Context) -> Result<Success, Failure> {
    match args.command {
        NetworkCommand::Show(args) => show::run(args, context).await,
        NetworkCommand::Plan(args) => plan::run(args, context).await,
        NetworkCommand::Apply(args) => apply::run(args, context).await,
        NetworkCommand::Restore(args) => restore::run(args, context).await,
        NetworkCommand::Backups(args) => backups::run(args, context).await,
        NetworkCommand::Sudoers(args) => sudoers::run(args, context).await,
        NetworkCommand::ApplyAsRoot(args) => root::apply(args, context).await,
        NetworkCommand::RestoreAsRoot(args) => root::restore(args, context).await,
    }
}
