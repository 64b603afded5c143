//! `fusionlab network`: Fusion's networks.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::calls;
use super::context::Context;
use super::error::{Failure, Kind, Success};
use super::screen::networks;
use crate::host::fusion::networks::{ChangeKind, root_step};

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.networks/1";

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
    /// The same for a whole networking file, when a backup is put back
    #[command(hide = true)]
    RestoreAsRoot {
        #[arg(long, value_name = "FILE")]
        request: PathBuf,
    },
}

async fn show(context: &Context) -> Result<(), Failure> {
    let (path, document) = calls::networking(context).await?;
    if context.json() {
        let networks = document.as_ref().map(networks::json).unwrap_or_default();
        return context.print_json(&json!({ "schema": SCHEMA, "file": path, "networks": networks }));
    }
    match document {
        Some(document) => context.print(networks::lines(&document, &context.terminal.out)),
        None => context.print([format!("{} does not exist: Fusion was not started yet", path.display())]),
    }
}

/// Does the step that needs root. The run that started us reads its lines and tells the rest; if that run is gone, the
/// step goes to its end nevertheless.
async fn as_root(kind: ChangeKind, request: &Path, context: &Context) -> Result<(), Failure> {
    let say = |line: &str| drop(context.print([line.to_owned()]));
    if root_step::answer(kind, request, say).await { Ok(()) } else { Err(Failure::Told(Kind::Network)) }
}

pub async fn run(args: NetworkArgs, context: &Context) -> Result<Success, Failure> {
    match args.command {
        NetworkCommand::Show => show(context).await?,
        NetworkCommand::ApplyAsRoot { request } => {
            as_root(ChangeKind::OfOneNetwork, &request, context).await?
        }
        NetworkCommand::RestoreAsRoot { request } => {
            as_root(ChangeKind::WholeFile, &request, context).await?
        }
    }
    Ok(Success::Done)
}
