//! `fusionlab network`: Fusion's networks.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::calls;
use super::context::Context;
use super::error::{Failure, Success};

/// Fusion's networks
#[derive(Args, Debug)]
pub struct NetworkArgs {
    #[command(subcommand)]
    command: NetworkCommand,
}

#[derive(Subcommand, Debug)]
enum NetworkCommand {
    /// Show Fusion's networks and what of them is the lab's
    Show,
    /// The one step that needs root: fusionlab runs itself with sudo and a request that it checks again
    #[command(hide = true)]
    ApplyAsRoot {
        #[arg(long, value_name = "FILE")]
        request: PathBuf,
    },
}

pub async fn run(args: NetworkArgs, context: &Context) -> Result<Success, Failure> {
    match args.command {
        NetworkCommand::Show => context.print(calls::network_lines(context).await?)?,
        NetworkCommand::ApplyAsRoot { request } => calls::apply_as_root(&request).await?,
    }
    Ok(Success::Done)
}
