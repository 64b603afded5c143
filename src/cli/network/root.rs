//! `fusionlab network apply-as-root` and `restore-as-root`: what fusionlab asks of itself under sudo.

use std::path::PathBuf;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::error::{Failure, Kind, Success};
use crate::host::fusion::networks::{ChangeKind, root_step};

#[derive(Args, Debug)]
pub struct RootArgs {
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
}

/// Does what a request asks, after checking it from scratch. The run that started us reads the lines and tells the
/// rest; if that run is gone, the step goes to its end nevertheless.
pub async fn run(kind: ChangeKind, args: RootArgs, context: &Context) -> Result<Success, Failure> {
    let say = |line: &str| drop(context.print([line]));
    if root_step::answer(kind, &args.request, say).await {
        Ok(Success::Done)
    } else {
        Err(Failure::Told(Kind::Network))
    }
}
