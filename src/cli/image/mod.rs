//! `fusionlab image`: the plumbing under templates and machines, one file at a time.

mod calls;
mod convert;
mod fetch;
mod info;
mod seed;
mod size;
mod vmx;

use clap::{Args, Subcommand};

use super::context::Context;
use super::error::{Failure, Success};

/// Cloud images, disks, seeds and VMX files, one at a time
#[derive(Args, Debug)]
#[command(subcommand_help_heading = "Verbs", subcommand_value_name = "VERB")]
#[command(after_help = "Examples:
  fusionlab image fetch ubuntu-24.04
  fusionlab image info noble-server-cloudimg-arm64.img
  fusionlab image convert noble-server-cloudimg-arm64.img disk.vmdk --size 40G
  fusionlab image seed --user-data user-data --meta-data meta-data seed.iso
  fusionlab image vmx k8s-worker1.vmx --set memsize=8192")]
pub struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Subcommand, Debug)]
enum ImageCommand {
    Fetch(fetch::FetchArgs),
    Info(info::InfoArgs),
    Convert(convert::ConvertArgs),
    Seed(seed::SeedArgs),
    Vmx(vmx::VmxArgs),
}

pub async fn run(args: ImageArgs, context: &Context) -> Result<Success, Failure> {
    match args.command {
        ImageCommand::Fetch(args) => fetch::run(args, context).await,
        ImageCommand::Info(args) => info::run(args, context),
        ImageCommand::Convert(args) => convert::run(args, context).await,
        ImageCommand::Seed(args) => seed::run(args, context),
        ImageCommand::Vmx(args) => vmx::run(args, context).await,
    }
}
