//! `fusionlab sim image`: the Debian system that real guests start from.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::context::Context;
use super::error::{Failure, Kind, Report};
use super::report::{self, Reporting};
use super::screen::table::{Cell, Table};
use super::sim::{ImageCommand, SimAnswer};
use super::terminal::Ink;
use super::words;
use crate::engine::event::{Event, PlannedStep};
use crate::host::clock;
use crate::plan::step::{Phase, StepId};
use crate::sim::linux::image::{self, BuildError, GuestImage, Options, Part, Progress, Suite};

const IMAGES_VARIABLE: &str = "FUSIONLAB_SIM_IMAGES";
/// The folder below fusionlab's home.
const IMAGES: &str = "sim-images";

/// Does what `fusionlab sim image` asks.
pub async fn command(context: &Context, command: &ImageCommand) -> Result<SimAnswer, Failure> {
    match command {
        ImageCommand::Build { suite, disk, mirror } => {
            let suite: Suite = suite
                .parse()
                .map_err(|why: String| Report::usage(why).advise("name another one with --suite"))?;
            let options = Options { suite, disk: *disk, mirror: mirror.clone() };
            let (image, was_there) = bring(context, &options).await?;
            if was_there {
                context.say(["it is there already"]);
            }
            let mut json = told(&image);
            json["built"] = (!was_there).into();
            Ok(SimAnswer { lines: vec![image.folder.display().to_string()], json })
        }
        ImageCommand::List => Ok(list(context)),
    }
}

/// Returns the folder of all images.
pub fn folder(context: &Context) -> Result<PathBuf, Failure> {
    let named = std::env::var_os(IMAGES_VARIABLE).filter(|folder| !folder.is_empty());
    let folder = named.map_or_else(|| context.home.0.join(IMAGES), PathBuf::from);
    std::path::absolute(&folder).map_err(|error| {
        Report::no_path(&folder, &error, "name a folder with FUSIONLAB_SIM_IMAGES, or with --home").into()
    })
}

/// Finds an image or builds it, and shows that as a run of a few steps; also says whether it was there before.
pub async fn bring(context: &Context, options: &Options) -> Result<(GuestImage, bool), Failure> {
    let images = folder(context)?;
    let found = image::find(&images, options).map_err(|error| broken(&error))?;
    if let Some(image) = found {
        return Ok((image, true));
    }
    // Said before anything is drawn.
    let needs = image::missing(options);
    if !needs.is_empty() {
        return Err(failed(BuildError::Missing { needs }));
    }
    let (events, receiver) = mpsc::unbounded_channel();
    let reporter = report::choose(context.json(), context.options.quiet, &context.terminal);
    let reporting = Reporting::start(receiver, reporter, context.cancel.clone(), &Arc::default());
    let teller = Mutex::new(Teller { events, running: None });
    let tell = |progress| teller.lock().unwrap_or_else(PoisonError::into_inner).tell(progress);
    teller.lock().unwrap_or_else(PoisonError::into_inner).plan(options);
    let built = tokio::select! {
        built = image::build(&images, options, &tell) => built.map_err(failed),
        () = context.cancel.cancelled() => Err(interrupted()),
    };
    teller.lock().unwrap_or_else(PoisonError::into_inner).end(built.as_ref().err());
    reporting.end().await;
    Ok((built?, false))
}

/// Tells a build's progress as that of a run's steps.
struct Teller {
    events: mpsc::UnboundedSender<Event>,
    running: Option<(StepId, crate::host::clock::Instant)>,
}

impl Teller {
    // Whoever shows the events is there until the end; one that is not told is no failure of the build.
    fn say(&self, event: Event) {
        drop(self.events.send(event));
    }

    fn plan(&self, options: &Options) {
        let parts: &[Part] = match options.disk {
            true => &[Part::Packages, Part::System, Part::Disk],
            false => &[Part::Packages, Part::System],
        };
        let steps = parts.iter().map(|part| PlannedStep {
            id: step(*part),
            node: None,
            phase: Phase::Host,
            text: part.text().to_owned(),
            needs: Vec::new(),
            reaches: Vec::new(),
            cost_seconds: cost(*part),
            known: false,
        });
        self.say(Event::Planned { steps: steps.collect() });
    }

    fn tell(&mut self, progress: Progress) {
        match progress {
            Progress::Waiting => {
                let text = "another process builds a guest image; waiting for it".to_owned();
                self.say(Event::Note { step: None, text });
            }
            Progress::Began(part) => {
                self.done();
                let step = step(part);
                self.say(Event::StepStarted { step: step.clone() });
                self.running = Some((step, clock::monotonic()));
            }
            Progress::Line(line) => {
                if let Some((step, _)) = &self.running {
                    self.say(Event::Line { step: step.clone(), line });
                }
            }
        }
    }

    fn done(&mut self) {
        if let Some((step, began)) = self.running.take() {
            self.say(Event::StepDone { step, took: began.elapsed(), changed: true });
        }
    }

    fn end(&mut self, failure: Option<&Failure>) {
        if failure.is_some()
            && let Some((step, began)) = self.running.take()
        {
            let message = "the guest image could not be built".to_owned();
            self.say(Event::StepFailed { step, took: began.elapsed(), message });
        }
        self.done();
    }
}

fn step(part: Part) -> StepId {
    StepId::apart(match part {
        Part::Packages => "sim.image.packages",
        Part::System => "sim.image.system",
        Part::Disk => "sim.image.disk",
    })
}

/// Seconds that a part takes, as a guess for the bars.
fn cost(part: Part) -> u32 {
    match part {
        Part::Packages => 45,
        Part::System => 2,
        Part::Disk => 30,
    }
}

fn failed(error: BuildError) -> Failure {
    let what = error.to_string();
    match error {
        BuildError::Missing { needs } => {
            let report = Report::new("sim-image-needs", Kind::HostCheck, what)
                .because("it is made of Debian's packages by programs that are not here");
            needs.into_iter().fold(report, |report, need| report.advise(format!("{}: {}", need.what, need.how)))
        }
        BuildError::Part { part, source } => {
            let text = source.to_string();
            let (what, tail) = text.split_once('\n').unwrap_or((&text, ""));
            Report::new("sim-image-failed", Kind::Unexpected, "the guest image could not be built".to_owned())
                .at(part)
                .because(what)
                .with_tail(tail.lines())
                .advise("nothing is left of it; see that Debian's mirror is to be had, and the disk has 1 GB to spare")
                .run("fusionlab sim image build")
        }
    }
    .into()
}

pub fn broken(error: &std::io::Error) -> Failure {
    Report::new("sim-image-failed", Kind::Unexpected, "the guest image cannot be used")
        .because(error.to_string())
        .advise("remove its folder, and build it anew")
        .run("fusionlab sim image build")
        .into()
}

fn interrupted() -> Failure {
    Report::new("interrupted", Kind::Interrupted, "the build of the guest image was stopped")
        .advise("nothing is left of it")
        .run("fusionlab sim image build")
        .into()
}

fn list(context: &Context) -> SimAnswer {
    let images = match folder(context) {
        Ok(folder) => image::list(&folder),
        Err(_) => Vec::new(),
    };
    let mut table = Table::new(["KEY", "SUITE", "FOR", "SIZE", "BUILT IN"]);
    let mut list = Vec::new();
    let mut broken = Vec::new();
    for image in images {
        match image {
            Ok(image) => {
                let manifest = &image.manifest;
                let serves = if manifest.disk { "linux, qemu" } else { "linux" };
                table.row([
                    Cell::inked(Ink::Accent, image.key.clone()),
                    Cell::plain(manifest.suite.name()),
                    Cell::plain(serves),
                    Cell::plain(words::bytes(manifest.rootfs_bytes)),
                    Cell::plain(words::duration(std::time::Duration::from_millis(manifest.build_ms))),
                ]);
                list.push(told(&image));
            }
            Err(error) => broken.push(error.to_string()),
        }
    }
    let mut lines = match list.is_empty() {
        true => vec!["there is no guest image; up builds one when it needs it".to_owned()],
        false => table.lines(&context.terminal.out),
    };
    lines.extend(broken.iter().cloned());
    SimAnswer { lines, json: json!({ "images": list, "broken": broken }) }
}

fn told(image: &GuestImage) -> Value {
    json!({
        "folder": image.folder,
        "key": image.key,
        "suite": image.manifest.suite,
        "arch": image.manifest.arch,
        "disk": image.disk(),
        "rootfs_bytes": image.manifest.rootfs_bytes,
        "build_seconds": image.manifest.build_ms as f64 / 1000.0,
        "packages": image.manifest.packages,
    })
}
