//! What the image verbs call in the layers below: each function is a few lines over the layer that does the work.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::convert::DiskFormat;
use crate::cli::context::Context;
use crate::cli::error::Failure;
use crate::cli::report::{self, Reporting};
use crate::engine::event::{Event, PlannedStep};
use crate::formats::seed_iso;
use crate::host::convert::{self, Survey};
use crate::host::{HostError, clock, files};
use crate::plan::kind::Kind;
use crate::plan::step::Phase;

/// The label by which cloud-init knows a seed.
const SEED_LABEL: &str = "cidata";

/// Reads a file's bytes.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, HostError> {
    files::read(path)
}

/// Says what an image is, and whether it can be read.
pub fn image_info(path: &Path) -> Result<Survey, HostError> {
    convert::survey(path)
}

/// Writes a seed image of these files where nothing is yet, and returns its size.
pub fn write_seed(path: &Path, contents: &BTreeMap<String, Vec<u8>>) -> Result<usize, HostError> {
    let image = seed_iso::write(SEED_LABEL, contents);
    files::write_new_atomic(path, &image, files::PRIVATE_FILE)?;
    Ok(image.len())
}

/// What `image convert` is asked for.
pub struct Conversion {
    pub source: PathBuf,
    pub target: PathBuf,
    pub capacity: Option<u64>,
    pub format: DiskFormat,
}

/// Converts an image and tells of it as of any other step; returns how long it took, too.
pub async fn convert(
    context: &Context,
    conversion: Conversion,
) -> Result<(convert::Converted, Duration), Failure> {
    let (events, receiver) = mpsc::unbounded_channel();
    let reporter = report::choose(context.json(), context.options.quiet, &context.terminal);
    let reporting = Reporting::start(receiver, reporter, context.cancel.clone(), &Arc::default());
    let step = Kind::ImageConvert.id();
    let text = format!("convert {}", conversion.source.display());
    let planned = PlannedStep {
        id: step.clone(),
        node: None,
        phase: Phase::Host,
        text,
        needs: Vec::new(),
        reaches: Vec::new(),
        cost_seconds: 1,
        known: false,
    };
    // Whoever listens is there until the end.
    let tell = move |event| drop(events.send(event));
    tell(Event::Planned { steps: vec![planned] });
    tell(Event::StepStarted { step: step.clone() });
    let (cancel, began) = (context.cancel.clone(), clock::monotonic());
    let work = tokio::task::spawn_blocking(move || {
        let request = convert::Request {
            source: &conversion.source,
            target: &conversion.target,
            capacity: conversion.capacity,
            format: conversion.format.into(),
            cid: None,
        };
        let mut progress =
            |done, total| tell(Event::Progress { step: step.clone(), done, total: Some(total) });
        let result = convert::convert(&request, &mut progress, &|| cancel.is_cancelled());
        let took = clock::monotonic() - began;
        tell(match &result {
            Ok(_) => Event::StepDone { step: step.clone(), took, changed: true },
            Err(error) => Event::StepFailed { step: step.clone(), took, message: error.to_string() },
        });
        result.map(|converted| (converted, took))
    });
    let result = work.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    reporting.end().await;
    Ok(result?)
}

impl From<DiskFormat> for convert::Format {
    fn from(format: DiskFormat) -> Self {
        match format {
            DiskFormat::Sparse => Self::Sparse,
            DiskFormat::Flat => Self::Flat,
        }
    }
}
