//! `fusionlab support`: what a helper needs, in one file.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::calls;
use super::candidates;
use super::context::Context;
use super::error::{Failure, Success};
use super::screen::support as screen;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.support/1";

/// Gather what a helper needs into one file, without secrets
///
/// Versions, the lab file, plan, status and doctor's findings, the journal and what each step printed, Fusion's networking
/// file, the machines' VMX files and consoles, and the guests' logs. Works also where the lab is half up, broken or
/// absent, and says what could not be had. The lab's keys and tokens are taken out; then all of it is searched for them
/// once more, and if one is left, nothing is written. Nothing is sent anywhere.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab support
  fusionlab support --out /tmp/help.tar.gz
  fusionlab support --without guests --without machines/gateway1")]
pub struct SupportArgs {
    /// The file to write, which must not be there yet [default: fusionlab-support-LAB-TIME.tar.gz]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Leave out a file or a folder of the bundle; may be repeated
    #[arg(long, add = candidates::parts(), value_name = "NAME")]
    without: Vec<String>,
}

pub async fn run(args: SupportArgs, context: &Context) -> Result<Success, Failure> {
    let pen = &context.terminal.err;
    args.out.as_deref().map_or(Ok(()), calls::must_be_new)?;
    context.say(screen::opening(pen));
    let bundle = calls::bundle(context, &args.without).await?;
    let (path, bytes) = calls::write_bundle(&bundle, args.out.as_deref())?;
    if context.json() {
        let files =
            bundle.pieces.iter().map(|piece| json!({ "path": piece.path, "bytes": piece.content.len() }));
        let missing = bundle.missing.iter().map(|lack| json!({ "what": lack.what, "why": lack.why }));
        context.print_json(&json!({
            "schema": SCHEMA,
            "lab": bundle.lab,
            "simulated": bundle.simulated,
            "file": path,
            "bytes": bytes,
            "files": files.collect::<Vec<_>>(),
            "missing": missing.collect::<Vec<_>>(),
        }))?;
        return Ok(Success::Done);
    }
    context.say(screen::lines(&bundle, &path, bytes, pen));
    context.print([path.display().to_string()])?;
    Ok(Success::Done)
}
