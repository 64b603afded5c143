//! What verbs call in the simulated Fusion. `unsimulated.rs` takes this file's place in a build without it.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::context::Context;
use super::error::{Failure, Report};
use super::screen::table::{Cell, Table, labelled};
use super::sim::{SimAnswer, SimCommand};
use super::terminal::Ink;
use super::words;
use crate::host::fusion::{Fusion, discover};
use crate::host::{HostError, system};
use crate::lab::Lab;
use crate::sim::faults::{self, Fault};
use crate::sim::install;
use crate::sim::places::Places;
use crate::sim::settings::Settings;

/// The name of an image that a lab file gives itself.
const CUSTOM_IMAGE: &str = "custom";

/// Lays the simulated Fusion out if it is not there, and returns it.
pub fn fusion(context: &Context) -> Result<Fusion, Failure> {
    let root = context.home.sim();
    let exe = system::own_program()?;
    let install = || {
        let mut settings = Settings::load(&Places::new(&root))?;
        settings.speed = context.options.sim_speed.map_or(settings.speed, f64::from);
        install::install(&root, &exe, &settings)
    };
    install().map_err(HostError::file("lay the simulated Fusion out in", &root))?;
    Ok(discover::find(Some(&root))?)
}

/// The simulated Fusion's machines start from an image of its own, since a real one holds nothing that it could run.
/// An image that the lab file names itself stays.
pub fn image(lab: &mut Lab, fusion: &Fusion) -> Result<(), Failure> {
    if lab.image.name == CUSTOM_IMAGE {
        return Ok(());
    }
    let path = Places::new(&fusion.root).image();
    let digest = install::image(&path).map_err(HostError::file("write", &path))?;
    lab.image.name = "simulated".to_owned();
    lab.image.url = format!("file://{}", path.display());
    lab.image.digest = Some(digest);
    lab.image.digest_url = None;
    Ok(())
}

impl SimAnswer {
    /// An answer in one sentence.
    fn said(text: String) -> Self {
        Self { json: json!({ "done": text }), lines: vec![text] }
    }
}

/// Does what `fusionlab sim` asks.
pub async fn command(context: &Context, command: &SimCommand) -> Result<SimAnswer, Failure> {
    let root = context.home.sim();
    let failed = |action| HostError::file(action, &root);
    Ok(match command {
        SimCommand::Start => {
            fusion(context)?;
            SimAnswer::said(format!("laid out in {}; it runs while something needs it", context.shown(&root)))
        }
        SimCommand::Status => {
            sim_status(context, &install::status(&root).await.map_err(failed("look at"))?, &root)
        }
        SimCommand::Stop => {
            install::stop(&root).await.map_err(failed("stop"))?;
            SimAnswer::said("stopped".to_owned())
        }
        SimCommand::Wipe => {
            install::wipe(&root).await.map_err(failed("remove"))?;
            SimAnswer::said("removed".to_owned())
        }
        SimCommand::Fault { clear: true, .. } => {
            faults::clear(&Places::new(&root)).map_err(failed("change"))?;
            SimAnswer::said("nothing goes wrong any more".to_owned())
        }
        SimCommand::Fault { name: None, .. } => sim_faults(context),
        SimCommand::Fault { name: Some(name), on, times, .. } => {
            if !faults::TABLE.iter().any(|(known, _)| known == name) {
                return Err(Report::usage(format!("there is no fault {name}"))
                    .advise("these are known:")
                    .run("fusionlab sim fault")
                    .into());
            }
            fusion(context)?;
            let fault = Fault { name: name.clone(), target: on.clone(), times: *times, after: 0 };
            faults::plant(&Places::new(&root), fault).map_err(failed("plant a fault in"))?;
            let place = on.as_ref().map(|on| format!(" on {on}")).unwrap_or_default();
            let often =
                times.map_or_else(|| "every time".to_owned(), |times| words::count(times as usize, "time"));
            SimAnswer::said(format!(
                "{name} will strike{place}, {often}; take it away with: fusionlab sim fault --clear"
            ))
        }
    })
}

fn sim_status(context: &Context, status: &install::Status, root: &Path) -> SimAnswer {
    let json = json!({
        "root": root,
        "installed": status.installed,
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
        ("networks up", or_none(networks.collect())),
        ("machines on", or_none(machines)),
    ];
    SimAnswer { lines: labelled(pairs, &context.terminal.out), json }
}

fn sim_faults(context: &Context) -> SimAnswer {
    let mut table = Table::new(["FAULT", "WHAT HAPPENS"]);
    let mut list = Vec::new();
    for (name, meaning) in faults::TABLE {
        // The sources of a fault are for those who read the code.
        let meaning = meaning.split(" (facts/").next().unwrap_or_default().trim().trim_end_matches('.');
        table.row([Cell::inked(Ink::Accent, *name), Cell::plain(meaning)]);
        list.push(json!({ "name": name, "meaning": meaning }));
    }
    SimAnswer { lines: table.lines(&context.terminal.out), json: json!({ "faults": list }) }
}
