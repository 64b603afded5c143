//! `fusionlab network apply-as-root` and `restore-as-root`: what fusionlab asks of itself under sudo.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::context::Context;
use crate::cli::error::{Failure, Kind, Success};
use crate::host::fusion::networks::root_step;

#[derive(Args, Debug)]
pub struct ApplyArgs {
    /// The one network that the request may be about: what a sudoers line names
    #[arg(long, value_name = "N")]
    vmnet: u8,

    #[arg(long, value_name = "FILE")]
    request: PathBuf,
}

#[derive(Args, Debug)]
pub struct RestoreArgs {
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
}

pub async fn apply(args: ApplyArgs, context: &Context) -> Result<Success, Failure> {
    answer(Some(args.vmnet), &args.request, context).await
}

pub async fn restore(args: RestoreArgs, context: &Context) -> Result<Success, Failure> {
    answer(None, &args.request, context).await
}

/// Does what a request asks, after checking it from scratch. The run that started us reads the lines and tells the
/// rest; if that run is gone, the step goes to its end nevertheless.
async fn answer(vmnet: Option<u8>, request: &Path, context: &Context) -> Result<Success, Failure> {
    let say = |line: &str| drop(context.print([line]));
    if root_step::answer(vmnet, request, say).await {
        Ok(Success::Done)
    } else {
        Err(Failure::Told(Kind::Network))
    }
}
