//! `fusionlab image info`: what a disk image is, and whether it can be read.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::calls;
use crate::cli::context::Context;
use crate::cli::error::{Failure, Success};
use crate::cli::words;
use crate::formats::qcow2::{Compression, Header};
use crate::formats::vmdk::Info;
use crate::host::convert::Facts;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.imageinfo/1";
/// Between the longest label and what it labels.
const GAP: usize = 2;

/// Say what a disk image is: kind, sizes, and what of it is not supported
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab image info noble-server-cloudimg-arm64.img
  fusionlab image info disk.vmdk --output json")]
pub struct InfoArgs {
    /// The image
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// What is told of an image, in the order of the text form.
#[derive(Serialize)]
struct Told {
    schema: &'static str,
    file: PathBuf,
    /// `qcow2`, `raw`, or the VMDK's own name for its kind.
    kind: String,
    /// qcow2's version.
    version: Option<u32>,
    /// The disk's size in bytes.
    virtual_size: u64,
    /// What of it is no hole, in bytes; none if the image cannot be read.
    data_bytes: Option<u64>,
    file_bytes: u64,
    /// Bytes of a qcow2 cluster or a VMDK grain.
    unit: Option<u64>,
    /// `deflate`, `zstd`, or none.
    compression: Option<&'static str>,
    snapshots: Option<u32>,
    backing_file: Option<String>,
    cid: Option<String>,
    parent_cid: Option<String>,
    adapter: Option<String>,
    extents: Vec<Value>,
    /// Why it cannot be read; empty if it can be.
    not_supported: Vec<String>,
}

pub fn run(args: InfoArgs, context: &Context) -> Result<Success, Failure> {
    let survey = calls::image_info(&args.file)?;
    let mut told = match &survey.facts {
        Facts::Raw { size } => plain(*size),
        Facts::Qcow2(header) => of_qcow2(header),
        Facts::Vmdk(info) => of_vmdk(info),
    };
    told.file = args.file;
    told.file_bytes = survey.file_bytes;
    told.data_bytes = survey.data_bytes;
    told.not_supported = survey.obstacles.iter().map(ToString::to_string).collect();
    if context.json() {
        context.print_json(&serde_json::to_value(&told).expect("plain data"))?;
    } else {
        context.print(lines(&told))?;
    }
    Ok(Success::Done)
}

fn plain(size: u64) -> Told {
    Told {
        schema: SCHEMA,
        file: PathBuf::new(),
        kind: "raw".to_owned(),
        version: None,
        virtual_size: size,
        data_bytes: None,
        file_bytes: 0,
        unit: None,
        compression: None,
        snapshots: None,
        backing_file: None,
        cid: None,
        parent_cid: None,
        adapter: None,
        extents: Vec::new(),
        not_supported: Vec::new(),
    }
}

fn of_qcow2(header: &Header) -> Told {
    Told {
        kind: "qcow2".to_owned(),
        version: Some(header.version),
        unit: Some(header.cluster()),
        compression: match header.compression {
            Compression::Deflate => Some("deflate"),
            Compression::Zstd => Some("zstd"),
            Compression::Unknown(_) => None,
        },
        snapshots: Some(header.snapshots),
        backing_file: header.backing.clone(),
        ..plain(header.size)
    }
}

fn of_vmdk(info: &Info) -> Told {
    let extent = |extent: &crate::formats::vmdk::Extent| json!({ "kind": extent.kind, "sectors": extent.sectors, "file": extent.file, "offset": extent.offset });
    Told {
        kind: info.kind.name().to_owned(),
        unit: info.grains.map(|grains| grains.bytes),
        compression: info.grains.filter(|grains| grains.are_compressed).map(|_| "deflate"),
        cid: Some(format!("{:08x}", info.cid)),
        parent_cid: info.parent_cid.map(|cid| format!("{cid:08x}")),
        backing_file: info.parent_hint.clone(),
        adapter: info.adapter.clone(),
        extents: info.extents.iter().map(extent).collect(),
        ..plain(info.capacity)
    }
}

fn lines(told: &Told) -> Vec<String> {
    let version = told.version.map(|version| format!(", version {version}")).unwrap_or_default();
    let mut rows = vec![("kind", format!("{}{version}", told.kind))];
    rows.push(("disk", format!("{} ({} bytes)", words::bytes(told.virtual_size), told.virtual_size)));
    rows.extend(told.data_bytes.map(|bytes| ("data", words::bytes(bytes))));
    rows.push(("file", words::bytes(told.file_bytes)));
    let unit = if told.version.is_some() { "clusters" } else { "grains" };
    rows.extend(told.unit.map(|bytes| (unit, words::bytes(bytes))));
    rows.extend(told.compression.map(|kind| ("compression", kind.to_owned())));
    rows.extend(told.snapshots.filter(|count| *count > 0).map(|count| ("snapshots", count.to_string())));
    rows.extend(told.cid.clone().map(|cid| ("CID", cid)));
    rows.extend(told.parent_cid.clone().map(|cid| ("parent CID", cid)));
    rows.extend(told.backing_file.clone().map(|file| ("parent", file)));
    rows.extend(told.adapter.clone().map(|adapter| ("adapter", adapter)));
    for extent in &told.extents {
        let text = |key: &str| extent[key].as_str().unwrap_or_default().to_owned();
        rows.push(("extent", format!("{} {}, {} sectors", text("kind"), text("file"), extent["sectors"])));
    }
    rows.extend(told.not_supported.iter().map(|why| ("not read", why.clone())));
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or_default() + GAP;
    rows.into_iter().map(|(label, text)| format!("{label:width$}{text}")).collect()
}
