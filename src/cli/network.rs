//! `fusionlab network`: Fusion's networks.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::calls;
use super::context::Context;
use super::error::{Failure, Kind, Success};
use crate::host::fusion::root_step;

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
        NetworkCommand::ApplyAsRoot { request } => {
            // The run that started us reads this line and tells the rest.
            let (answer, well) = root_step::answer(&request).await;
            context.print([answer])?;
            if !well {
                return Err(Failure::Told(Kind::Network));
            }
        }
    }
    Ok(Success::Done)
}
