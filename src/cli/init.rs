//! `fusionlab init`: a lab file to begin with.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::calls;
use super::context::{Context, LAB_FILE};
use super::error::{Failure, Report, Success};
use super::quoted;
use crate::host::HostError;

/// Sizes of labs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PresetName {
    /// 2 gateways, 3 control planes, 2 workers: the networking document
    Ha,
    /// 1 gateway, 1 control plane, 1 worker
    Small,
    /// 1 gateway, 1 control plane that also runs applications
    Solo,
}

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.init/1";

/// Write a lab file with every setting explained
///
/// Asks nothing: edit the file afterwards. A file that exists is not overwritten.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// The lab's size
    #[arg(long, value_enum, value_name = "PRESET")]
    preset: PresetName,

    /// The file to write; `-` prints it
    #[arg(long, value_name = "FILE", default_value = LAB_FILE)]
    out: PathBuf,
}

pub fn run(args: InitArgs, context: &Context) -> Result<Success, Failure> {
    let text = calls::preset_file(args.preset);
    if args.out.as_os_str() == "-" {
        context.print([text.trim_end()])?;
        return Ok(Success::Done);
    }
    calls::write_new(&args.out, &text).map_err(|error| match error {
        HostError::File { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
            Report::usage(format!("{} exists already", args.out.display()))
                .advise("choose another name with --out, or move the file away")
                .into()
        }
        other => Failure::from(other),
    })?;
    if context.json() {
        context.print_json(&json!({ "schema": SCHEMA, "file": args.out }))?;
        return Ok(Success::Done);
    }
    let named = if args.out.as_os_str() == LAB_FILE {
        String::new()
    } else {
        format!("--lab {} ", quoted(&args.out))
    };
    context.say([format!("wrote {}; edit it, then: fusionlab {named}plan", args.out.display())]);
    Ok(Success::Done)
}
