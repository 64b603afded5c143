//! What verbs call in the simulated Fusion. `unsimulated.rs` takes this file's place in a build without it.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::context::Context;
use super::error::{Failure, Report};
use super::options::GuestsName;
use super::screen::table::{Cell, Table, labelled};
use super::sim::{SimAnswer, SimCommand};
use super::terminal::Ink;
use super::words;
use super::{sim_guests, sim_image};
use crate::host::fusion::{Fusion, discover};
use crate::host::{HostError, system};
use crate::lab::Lab;
use crate::lab::catalogue::SIMULATED_IMAGE;
use crate::lab::spec::closest;
use crate::sim::faults::{self, Fault};
use crate::sim::hazards;
use crate::sim::install;
use crate::sim::links;
use crate::sim::places::Places;
use crate::sim::settings::{Guests, Settings};

/// The name of an image that a lab file gives itself.
const CUSTOM_IMAGE: &str = "custom";
/// How much longer everything may take on QEMU's machines: without KVM their processors are translated, about ten times
/// slower, and share this computer's few (facts/test-bench.md §3).
const TRANSLATED: u32 = 10;

/// Lays the simulated Fusion out if it is not there, and returns it.
pub fn fusion(context: &Context) -> Result<Fusion, Failure> {
    lay_out(context)?;
    Ok(discover::find(Some(&context.home.sim()))?)
}

fn lay_out(context: &Context) -> Result<(), Failure> {
    let root = context.home.sim();
    let exe = system::own_program()?;
    let failed = || HostError::file("lay the simulated Fusion out in", &root);
    let mut settings = Settings::load(&Places::new(&root)).map_err(failed())?;
    settings.speed = context.options.sim_speed.map_or(settings.speed, f64::from);
    let before = settings.guests;
    settings.guests = context.options.sim_guests.map_or(before, Guests::from);
    if settings.guests != before {
        stands_in_the_way(context, before)?;
    }
    settings.image = sim_guests::image(context, settings.guests)?;
    Ok(install::install(&root, &exe, &settings).map_err(failed())?)
}

impl From<GuestsName> for Guests {
    fn from(name: GuestsName) -> Self {
        match name {
            GuestsName::Model => Self::Model,
            GuestsName::Linux => Self::Linux,
            GuestsName::Qemu => Self::Qemu,
        }
    }
}

/// Refuses another kind of machines where there are some already: what stands on their disks is of their own kind.
fn stands_in_the_way(context: &Context, guests: Guests) -> Result<(), Failure> {
    let made = install::machines(&context.home.sim());
    if made.is_empty() {
        return Ok(());
    }
    let there = words::count(made.len(), "machine");
    Err(Report::usage(format!("the simulated Fusion has {there} of kind {} already", guests.name()))
        .at(context.shown(&made[0]))
        .advise("another kind needs a Fusion without machines: take the lab and its template down, or use another --home:")
        .run(format!("fusionlab --sim-guests {} destroy --all", guests.name()))
        .into())
}

/// Makes sure that the machines of this simulated Fusion can be made here.
pub async fn make_ready(context: &Context, fusion: &Fusion) -> Result<(), Failure> {
    let places = Places::new(&fusion.root);
    let settings = Settings::load(&places).map_err(HostError::file("read", &places.settings()))?;
    sim_guests::make_ready(context, settings.guests).await
}

/// Puts the simulated Mac into the lab's home network, and the image of its machines into the lab: a real one holds
/// nothing that they could run. An image that the lab file names itself stays.
pub fn prepare(lab: &mut Lab, fusion: &Fusion) -> Result<(), Failure> {
    let places = Places::new(&fusion.root);
    let settings = Settings::update(&places, |settings| {
        // A world that runs stays where it is.
        settings.lan = lab.lan.subnet;
        settings.clone()
    });
    let settings = settings.map_err(HostError::file("change", &places.settings()))?;
    if settings.guests == Guests::Qemu {
        lab.limits = lab.limits.times(TRANSLATED);
    }
    if lab.image.name == CUSTOM_IMAGE {
        return Ok(());
    }
    let (path, digest) = match sim_guests::disk(&settings)? {
        Some(disk) => disk,
        None => {
            let path = places.image();
            let key = settings.image.as_deref().and_then(Path::file_name).map(|key| key.to_string_lossy());
            let digest = install::image(&path, key.as_deref()).map_err(HostError::file("write", &path))?;
            (path, digest)
        }
    };
    lab.image.name = SIMULATED_IMAGE.to_owned();
    lab.image.url = format!("file://{}", path.display());
    lab.image.digest = Some(digest);
    lab.image.newest = None;
    lab.image.size = None;
    Ok(())
}

impl SimAnswer {
    /// An answer in one sentence.
    fn said(context: &Context, text: String) -> Self {
        let lines = words::wrap(&text, context.terminal.out.prose_width());
        Self { json: json!({ "done": text }), lines }
    }
}

/// Does what `fusionlab sim` asks.
pub async fn command(context: &Context, command: &SimCommand) -> Result<SimAnswer, Failure> {
    let root = context.home.sim();
    let failed = |action| HostError::file(action, &root);
    Ok(match command {
        SimCommand::Start => {
            fusion(context)?;
            SimAnswer::said(
                context,
                format!("laid out in {}; it runs while something needs it", context.shown(&root)),
            )
        }
        SimCommand::Status => {
            sim_status(context, &install::status(&root).await.map_err(failed("look at"))?, &root)
        }
        SimCommand::Stop => {
            install::stop(&root).await.map_err(failed("stop"))?;
            SimAnswer::said(context, "stopped".to_owned())
        }
        SimCommand::Sleep { time } => {
            install::sleep(&root, *time).await.map_err(failed("put to sleep"))?;
            SimAnswer::said(context, "the Mac slept; its machines stand where they stood".to_owned())
        }
        SimCommand::Reboot => {
            install::reboot(&root).await.map_err(failed("start anew"))?;
            SimAnswer::said(context, "the Mac was started anew; no machine runs, and no network".to_owned())
        }
        SimCommand::Wipe => {
            install::wipe(&root).await.map_err(failed("remove"))?;
            SimAnswer::said(context, "removed".to_owned())
        }
        SimCommand::Fault { clear: true, name, on, .. } => {
            clear(context, name.as_deref(), on.as_deref()).await?
        }
        SimCommand::Fault { name: None, .. } => sim_faults(context),
        SimCommand::Fault { name: Some(name), on, after, times, .. } => {
            let fault = Fault { name: name.clone(), target: on.clone(), times: *times, after: *after };
            plant(context, fault).await?
        }
        SimCommand::Image { command } => sim_image::command(context, command).await?,
        SimCommand::Hazard { names } if names.is_empty() => sim_hazards(context),
        SimCommand::Hazard { names } => {
            if let Some(name) =
                names.iter().find(|name| !hazards::TABLE.iter().any(|known| known.name == **name))
            {
                return Err(no_such("hazard", name, hazards::TABLE.iter().map(|known| known.name)).into());
            }
            lay_out(context)?;
            for name in names {
                hazards::seed(&install::of(&root), name).await.map_err(failed("make a hazard in"))?;
            }
            SimAnswer::said(
                context,
                format!("there now: {}; only fusionlab sim wipe undoes it", names.join(", ")),
            )
        }
    })
}

/// Plants a fault; a link is cut at once.
async fn plant(context: &Context, fault: Fault) -> Result<SimAnswer, Failure> {
    let root = context.home.sim();
    let failed = || HostError::file("plant a fault in", &root);
    is_known(&fault.name)?;
    let is_link = links::is_one(&fault.name);
    if is_link {
        may_be_cut(&fault)?;
    }
    lay_out(context)?;
    let (name, target) = (fault.name.clone(), fault.target.clone());
    let (times, after) = (fault.times, fault.after);
    faults::plant(&Places::new(&root), fault).map_err(failed())?;
    if is_link {
        install::links_changed(&root).await.map_err(failed())?;
        let on = target.unwrap_or_default();
        return Ok(SimAnswer::said(
            context,
            format!("{on} has {name}, until: fusionlab sim fault {name} --on {on} --clear"),
        ));
    }
    let place = target.map(|on| format!(" on {on}")).unwrap_or_default();
    let often = times.map_or_else(|| "every time".to_owned(), |times| words::count(times as usize, "time"));
    let later = match after as usize {
        0 => String::new(),
        after => format!(" after {}", words::count(after, "occasion")),
    };
    Ok(SimAnswer::said(
        context,
        format!("{name} will strike{place}{later}, {often}; take it away with: fusionlab sim fault --clear"),
    ))
}

/// What can go wrong in it, and what that is.
pub fn faults() -> impl Iterator<Item = (&'static str, &'static str)> {
    // The sources of a fault are for those who read the code.
    let meaning =
        |text: &'static str| text.split(" (facts/").next().unwrap_or_default().trim().trim_end_matches('.');
    faults::TABLE.iter().map(move |(name, text)| (*name, meaning(text)))
}

/// What can be in the way on its Mac, and what that is.
pub fn hazards() -> impl Iterator<Item = (&'static str, &'static str)> {
    hazards::TABLE.iter().map(|hazard| (hazard.name, hazard.meaning))
}

fn is_known(fault: &str) -> Result<(), Failure> {
    if faults::TABLE.iter().any(|(known, _)| *known == fault) {
        return Ok(());
    }
    Err(no_such("fault", fault, faults::TABLE.iter().map(|(known, _)| *known)).into())
}

/// A name that nothing of its kind has, with the one that was likely meant.
fn no_such<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Report {
    let report = Report::usage(format!("there is no {kind} {name}"));
    let report = match closest(name, known) {
        Some(meant) => report.advise("did you mean:").run(format!("fusionlab sim {kind} {meant}")),
        None => report,
    };
    report.advise("these are known:").run(format!("fusionlab sim {kind}"))
}

/// A link is of one card, and stays cut: nothing strikes it now and then.
fn may_be_cut(fault: &Fault) -> Result<(), Failure> {
    let name = &fault.name;
    let report = if fault.target.as_deref().and_then(links::card).is_none() {
        Report::usage(format!("{name} takes a machine and its card")).advise("such as:")
    } else if fault.times.is_some() || fault.after > 0 {
        Report::usage(format!("{name} lasts until it is cleared, so --times and --after mean nothing"))
            .advise("cut the link, and mend it later:")
    } else {
        return Ok(());
    };
    Err(report.run(format!("fusionlab sim fault {name} --on gateway1/ens160")).into())
}

async fn clear(context: &Context, name: Option<&str>, on: Option<&str>) -> Result<SimAnswer, Failure> {
    let root = &context.home.sim();
    name.map(is_known).transpose()?;
    let failed = || HostError::file("change", root);
    let cleared = faults::clear_those(&Places::new(root), name, on).map_err(failed())?;
    install::links_changed(root).await.map_err(failed())?;
    let what = [name.map(str::to_owned), on.map(|on| format!("on {on}"))];
    let what = what.into_iter().flatten().collect::<Vec<_>>().join(" ");
    Ok(SimAnswer::said(
        context,
        match (what.is_empty(), cleared) {
            (true, _) => "nothing goes wrong any more".to_owned(),
            (false, 0) => format!("there was no {what}"),
            (false, _) => format!("no {what} any more"),
        },
    ))
}

fn sim_status(context: &Context, status: &install::Status, root: &Path) -> SimAnswer {
    let json = json!({
        "root": root,
        "installed": status.installed,
        "guests": status.guests.name(),
        "pid": status.pid,
        "networks": status.networks.iter().map(|(number, subnet)| json!({
            "name": format!("vmnet{number}"),
            "subnet": subnet.to_string(),
        })).collect::<Vec<_>>(),
        "running": status.running,
    });
    if !status.installed {
        return SimAnswer { lines: vec!["there is no simulated Fusion; up lays one out".to_owned()], json };
    }
    let state = status.pid.map_or_else(|| "does not run".to_owned(), |pid| format!("runs as process {pid}"));
    let networks = status.networks.iter().map(|(number, subnet)| format!("vmnet{number} {subnet}"));
    let name = |vmx: &PathBuf| vmx.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let machines: Vec<String> = status.running.iter().map(name).collect();
    let or_none = |list: Vec<String>| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    let pairs = [
        ("simulated Fusion", state),
        ("kept in", context.shown(root)),
        ("guests", status.guests.name().to_owned()),
        ("networks up", or_none(networks.collect())),
        ("machines on", or_none(machines)),
    ];
    SimAnswer { lines: labelled(pairs, &context.terminal.out), json }
}

fn sim_faults(context: &Context) -> SimAnswer {
    let (lines, list) = named(context, ["FAULT", "WHAT HAPPENS"], faults());
    SimAnswer { lines, json: json!({ "faults": list }) }
}

fn sim_hazards(context: &Context) -> SimAnswer {
    let (lines, list) = named(context, ["HAZARD", "WHAT IS THERE"], hazards());
    SimAnswer { lines, json: json!({ "hazards": list }) }
}

/// Lists names with their meanings: as a table, and for programs.
fn named(
    context: &Context,
    heads: [&'static str; 2],
    all: impl Iterator<Item = (&'static str, &'static str)>,
) -> (Vec<String>, Vec<serde_json::Value>) {
    let mut table = Table::new(heads).breaking();
    let mut list = Vec::new();
    for (name, meaning) in all {
        table.row([Cell::inked(Ink::Accent, name), Cell::plain(meaning)]);
        list.push(json!({ "name": name, "meaning": meaning }));
    }
    (table.lines(&context.terminal.out), list)
}
