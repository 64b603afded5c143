//! `fusionlab image convert`: a disk that Fusion runs, made of an image of any kind.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::calls::{self, Conversion};
use super::size;
use crate::cli::context::Context;
use crate::cli::error::{Failure, Success};
use crate::cli::words;
use crate::formats::figures::seconds;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.imageconvert/1";

/// How a new disk is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DiskFormat {
    /// One file that grows with its content (monolithicSparse)
    Sparse,
    /// The disk's bytes in DST-flat.vmdk, and a descriptor (monolithicFlat)
    Flat,
}

/// Make a disk for Fusion of a qcow2, VMDK or raw image
///
/// Reads qcow2 (version 2 and 3; zlib and zstd), VMDK (monolithicSparse, monolithicFlat, streamOptimized) and raw disks,
/// whatever their names. Nothing is overwritten, and nothing is left of a conversion that fails.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab image convert noble-server-cloudimg-arm64.img disk.vmdk
  fusionlab image convert disk.raw disk.vmdk --size 40G --format flat")]
pub struct ConvertArgs {
    /// The image
    #[arg(value_name = "SRC")]
    source: PathBuf,

    /// The new disk, such as disk.vmdk
    #[arg(value_name = "DST")]
    target: PathBuf,

    /// The new disk's size, such as 40G [default: the image's]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    size: Option<u64>,

    /// How the new disk is kept
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "sparse")]
    format: DiskFormat,
}

pub async fn run(args: ConvertArgs, context: &Context) -> Result<Success, Failure> {
    let ConvertArgs { source, target, size, format } = args;
    let conversion = Conversion { source, target: target.clone(), capacity: size, format };
    let (converted, took) = calls::convert(context, conversion).await?;
    if context.json() {
        context.print_json(&json!({
            "schema": SCHEMA,
            "file": target,
            "capacity": converted.capacity,
            "data_bytes": converted.data_bytes,
            "file_bytes": converted.file_bytes,
            "cid": format!("{:08x}", converted.cid),
            "took": seconds(took),
        }))?;
        return Ok(Success::Done);
    }
    let text = format!(
        "wrote {}: a disk of {} with {} of data, in {}",
        target.display(),
        words::bytes(converted.capacity),
        words::bytes(converted.data_bytes),
        words::duration(took)
    );
    context.say(words::wrap(&text, context.terminal.err.prose_width()));
    Ok(Success::Done)
}
