//! `fusionlab image seed`: the CD that cloud-init reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::calls;
use crate::cli::context::Context;
use crate::cli::error::{Failure, Kind, Report, Success};
use crate::cli::words;
use crate::formats::user_data;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.imageseed/1";

/// Write a seed image (ISO, label cidata) for cloud-init
///
/// The file can be read by its owner alone, since seeds hold keys. Nothing is overwritten.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab image seed --user-data user-data --meta-data meta-data seed.iso")]
pub struct SeedArgs {
    /// What the machine is to become; begins with #cloud-config or another header of cloud-init
    #[arg(long, value_name = "FILE")]
    user_data: PathBuf,

    /// Who the machine is; has an instance-id
    #[arg(long, value_name = "FILE")]
    meta_data: PathBuf,

    /// The machine's network, as netplan writes it
    #[arg(long, value_name = "FILE")]
    network_config: Option<PathBuf>,

    /// The new image, such as seed.iso
    #[arg(value_name = "DST")]
    target: PathBuf,
}

pub fn run(args: SeedArgs, context: &Context) -> Result<Success, Failure> {
    let mut files = BTreeMap::new();
    let named = [
        ("user-data", Some(&args.user_data)),
        ("meta-data", Some(&args.meta_data)),
        ("network-config", args.network_config.as_ref()),
    ];
    for (name, path) in named {
        if let Some(path) = path {
            files.insert(name.to_owned(), calls::read_bytes(path)?);
        }
    }
    check(&args.user_data, user_data::check_user_data(&files["user-data"]))?;
    check(&args.meta_data, user_data::check_meta_data(&files["meta-data"]))?;
    let bytes = calls::write_seed(&args.target, &files)?;
    if context.json() {
        let names: Vec<&String> = files.keys().collect();
        context
            .print_json(&json!({ "schema": SCHEMA, "file": args.target, "bytes": bytes, "files": names }))?;
        return Ok(Success::Done);
    }
    let text = format!("wrote {} with {} files", args.target.display(), files.len());
    context.say(words::wrap(&text, context.terminal.err.prose_width()));
    Ok(Success::Done)
}

fn check(path: &Path, found: Result<(), &'static str>) -> Result<(), Failure> {
    let Err(what) = found else { return Ok(()) };
    let report = Report::new("seed-ignored", Kind::HostCheck, what)
        .at(path.display().to_string())
        .because("cloud-init would pass over the seed, or over this file, and say so only in the guest's log")
        .advise("put the line in, then run the same command again");
    Err(report.into())
}
