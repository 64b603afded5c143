//! `fusionlab image fetch`: a cloud image into the cache, as `up` would fetch it.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::sync::mpsc;

use crate::cli::candidates;
use crate::cli::context::{Context, Warnings};
use crate::cli::error::{Failure, Report, Success};
use crate::cli::report::{self, Reporting};
use crate::engine::event::{Event, PlannedStep};
use crate::engine::images;
use crate::host::download::Fetched;
use crate::host::{HostError, clock};
use crate::lab::catalogue::{self, Image};
use crate::lab::spec::closest;
use crate::plan::costs;
use crate::plan::kind::Kind;
use crate::plan::step::{Action, Phase};

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.imagefetch/1";

/// Download a cloud image, and check it, ahead of time
///
/// Brings the lab's image, or one of the catalogue, into the cache, where `up` and `template build` find it; with it
/// there, no network is needed for it. What was begun is gone on with. Prints where the image is.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab image fetch                        the lab's image
  fusionlab image fetch debian-13              one of the catalogue
  HTTPS_PROXY=http://proxy:3128 fusionlab image fetch
  fusionlab image fetch --image-mirror https://mirror.example.org/cloud-images/")]
pub struct FetchArgs {
    /// A name of the catalogue [default: the lab's image]
    #[arg(add = candidates::images())]
    name: Option<String>,
}

pub async fn run(args: FetchArgs, context: &Context) -> Result<Success, Failure> {
    let lab = context.lab(None, Warnings::Untold)?;
    let image = match &args.name {
        Some(name) => context.image(named(name, &lab.image)?)?,
        None => lab.image,
    };
    let (found, was_here) = bring(context, &image, lab.limits.download_stall).await?;
    if context.json() {
        context.print_json(&json!({
            "schema": SCHEMA,
            "image": image.name,
            "arch": image.arch,
            "path": found.path,
            "url": found.url,
            "digest": found.digest.hex(),
            "newest": found.is_newest,
            "downloaded": !was_here,
        }))?;
    } else {
        if was_here {
            context.say(["it is here already"]);
        }
        context.print([found.path.display().to_string()])?;
    }
    Ok(Success::Done)
}

fn named(name: &str, lab: &Image) -> Result<Image, Failure> {
    catalogue::image(name, lab.arch).ok_or_else(|| {
        let names: Vec<_> = catalogue::images().map(|(name, _)| name).collect();
        let report = Report::usage(format!("the catalogue has no image {name}"));
        let report = match closest(name, names.iter().copied()) {
            Some(meant) => report.advise("did you mean:").run(format!("fusionlab image fetch {meant}")),
            None => report,
        };
        report.advise(format!("it has {}", names.join(" and "))).into()
    })
}

/// Fetches an image and shows it as a run of one step; also says whether it was there before.
async fn bring(context: &Context, image: &Image, stall: Duration) -> Result<(Fetched, bool), Failure> {
    if let Some(found) = images::cached_image(image, &context.home) {
        return Ok((found, true));
    }
    let (events, receiver) = mpsc::unbounded_channel();
    let reporter = report::choose(context.json(), context.options.quiet, &context.terminal);
    let reporting = Reporting::start(receiver, reporter, context.cancel.clone(), &Default::default());
    // Whoever shows the events is there until the end; one that is not told is no failure of the download.
    let mut tell = |event: Event| drop(events.send(event));
    let step = Kind::ImageFetch.id();
    tell(Event::Planned { steps: vec![planned(image)] });
    tell(Event::StepStarted { step: step.clone() });
    let started = clock::monotonic();
    let found = images::bring(image, &context.home, stall, &context.cancel, &step, &mut tell).await;
    let took = started.elapsed();
    tell(match &found {
        Ok(_) => Event::StepDone { step, took, changed: true },
        Err(HostError::Interrupted) => Event::StepSkipped { step, because: "interrupted".to_owned() },
        Err(error) => Event::StepFailed { step, took, message: error.to_string() },
    });
    reporting.end().await;
    Ok((found?, false))
}

fn planned(image: &Image) -> PlannedStep {
    PlannedStep {
        id: Kind::ImageFetch.id(),
        node: None,
        phase: Phase::Host,
        text: format!("download {}", image.noun()),
        needs: Vec::new(),
        reaches: Vec::new(),
        cost_seconds: costs::of(&Action::FetchImage),
        known: false,
    }
}
