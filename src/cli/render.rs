//! `fusionlab render`: every generated file, to be read.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::calls;
use super::context::{Context, Warnings};
use super::error::{Failure, Success};
use super::words;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.render/1";

/// Write every generated file into a folder, to be read
///
/// Machine configurations, seeds, cloud-init, kubeadm, Cilium, nginx, Keepalived: just as `up` would use them.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab render --out lab-files              to be read, or kept under git
  fusionlab render --out /tmp/lab --secrets     with keys and passwords, too")]
pub struct RenderArgs {
    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Write keys, tokens and passwords, too
    #[arg(long)]
    secrets: bool,
}

pub async fn run(args: RenderArgs, context: &Context) -> Result<Success, Failure> {
    let lab = context.lab(None, Warnings::Full)?;
    let files = calls::render(context, &lab, &args.out, args.secrets).await?;
    if context.json() {
        let files: Vec<_> =
            files.iter().map(|file| json!({ "path": file.path, "redacted": file.redacted })).collect();
        context.print_json(&json!({ "schema": SCHEMA, "lab": lab.name, "out": args.out, "files": files }))?;
        return Ok(Success::Done);
    }
    context.print(files.iter().map(|file| &file.path))?;
    let redacted = files.iter().filter(|file| file.redacted).count();
    let without =
        if redacted > 0 { format!(", {redacted} of them without their secrets") } else { String::new() };
    context.say([format!("{} in {}{without}", words::count(files.len(), "file"), args.out.display())]);
    Ok(Success::Done)
}
