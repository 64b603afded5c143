//! What verbs call in the layers below, in one place: each function is a few lines over the layer that does the work.

use std::path::Path;

use super::context::Context;
use super::error::catalogue::Explained;
use super::error::{Failure, Kind, Report};
use super::init::PresetName;
use super::report::summary::Summary;
use super::screen::verify::CheckLine;
use super::sim::SimCommand;
use crate::host::fusion::{Fusion, discover};
use crate::host::{HostError, files, system};
use crate::lab::catalogue::Arch;
use crate::lab::lint::RULES;
use crate::lab::presets::{self, Preset};
use crate::lab::problem::Problem;
use crate::lab::{Lab, resolve, spec};
use crate::plan::facts::Facts;
use crate::plan::step::Plan;

// WIRE: what calls this waits for the engine, the plan or the simulation.
fn not_wired<T>(what: &str) -> Result<T, Failure> {
    Err(Report::new("unexpected", Kind::Unexpected, format!("{what} is not part of this build yet")).into())
}

/// Reads a text file; none if it is not there.
pub fn read_text(path: &Path) -> Result<Option<String>, HostError> {
    let Some(bytes) = files::read_if_exists(path)? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(|error| HostError::Content {
        path: path.to_owned(),
        reason: format!("not UTF-8 after byte {}", error.utf8_error().valid_up_to()),
    })?;
    Ok(Some(text))
}

/// Writes a file that must not exist yet.
pub fn write_new(path: &Path, text: &str) -> Result<(), HostError> {
    use std::io::Write;
    const READABLE: u32 = 0o644;
    let mut file = files::create_new(path, READABLE)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(HostError::file("write", path))
}

impl From<PresetName> for Preset {
    fn from(name: PresetName) -> Self {
        match name {
            PresetName::Ha => Self::Ha,
            PresetName::Small => Self::Small,
            PresetName::Solo => Self::Solo,
        }
    }
}

/// Resolves a lab file's text, or the built-in lab, for this machine's processor.
pub fn resolve(text: Option<&str>, preset: Option<PresetName>) -> Result<(Lab, Vec<Problem>), Vec<Problem>> {
    let arch = if system::arch() == "arm64" { Arch::Arm64 } else { Arch::Amd64 };
    let resolved = resolve::resolve(text, preset.map(Into::into), arch)?;
    Ok((resolved.lab, resolved.warnings))
}

/// The rules of the lab file, by name.
pub fn rules() -> Vec<Explained> {
    let mut rules: Vec<Explained> = RULES
        .iter()
        .map(|rule| Explained { id: rule.name, summary: rule.summary, explanation: rule.explanation })
        .collect();
    rules.sort_by_key(|rule| rule.id);
    rules
}

pub fn preset_file(preset: PresetName) -> String {
    presets::commented_file(preset.into())
}

pub fn schema() -> serde_json::Value {
    spec::schema()
}

/// Finds Fusion where the options say or where it is installed; where there can be none, the simulated one.
pub async fn fusion(context: &Context) -> Result<Fusion, Failure> {
    if let Some(path) = &context.options.fusion {
        return Ok(discover::find(Some(path))?);
    }
    let can_be_here = cfg!(target_os = "macos");
    if can_be_here && !context.options.sim {
        return Ok(discover::find(None)?);
    }
    simulated_fusion(context).await
}

/// Lays the simulated Fusion out if it is not there, and returns it. WIRE: sim::install::install.
async fn simulated_fusion(context: &Context) -> Result<Fusion, Failure> {
    Ok(discover::find(Some(&context.home.sim()))?)
}

/// What was seen of the world, and the plan that follows.
pub struct Outlook {
    pub facts: Facts,
    pub plan: Plan,
}

/// One verb's work on one lab. WIRE: holds the engine and the receiver of its events.
pub struct Session {
    pub lab: Lab,
    pub fusion: Fusion,
}

impl Session {
    /// Finds Fusion and puts the engine together. `verb` is written to the lock and the journal. WIRE: Engine::new.
    pub async fn open(context: &Context, lab: Lab, _verb: &'static str) -> Result<Self, Failure> {
        let fusion = fusion(context).await?;
        Ok(Self { lab, fusion })
    }

    /// Looks at the world. WIRE: engine::observe::facts.
    pub async fn facts(&self) -> Result<Facts, Failure> {
        not_wired("observing")
    }

    /// Looks at the world and plans. WIRE: engine::verbs::outlook and destroy_outlook.
    pub async fn outlook(&self, _destroy: bool) -> Result<Outlook, Failure> {
        not_wired("planning")
    }

    /// Carries a plan out while a reporter shows it; the failure comes with what was done until then.
    ///
    /// WIRE: `let reporting = Reporting::start(events, report::choose(…), context.cancel.clone())`, then
    /// engine::verbs::carry_out, then `reporting.end().await`.
    pub async fn carry_out(self, _context: &Context, _plan: &Plan) -> (Summary, Option<Failure>) {
        (Summary::default(), not_wired::<()>("the engine").err())
    }

    /// Runs all checks. WIRE: engine::verify, with `Summary::checks` as lines.
    pub async fn verify(self, _context: &Context) -> Result<Vec<CheckLine>, Failure> {
        not_wired("verify")
    }
}

/// One rendered file: where it was written, and whether its content was left out since it is secret.
pub struct Rendered {
    pub path: String,
    pub redacted: bool,
}

/// WIRE: engine::render.
pub async fn render(
    _context: &Context,
    _lab: &Lab,
    _out: &Path,
    _secrets: bool,
) -> Result<Vec<Rendered>, Failure> {
    not_wired("render")
}

/// One template in the home folder.
#[derive(serde::Serialize)]
pub struct TemplateLine {
    pub key: String,
    pub image: String,
    pub kubernetes: String,
    pub bytes: u64,
    /// Labs whose VMs hang on it.
    pub used_by: Vec<String>,
}

/// WIRE: engine::template.
pub async fn templates(_context: &Context) -> Result<Vec<TemplateLine>, Failure> {
    not_wired("template list")
}

/// Removes templates that no VM hangs on; returns those removed. WIRE: engine::template.
pub async fn prune_templates(_context: &Context) -> Result<Vec<TemplateLine>, Failure> {
    not_wired("template prune")
}

/// The plan as text. WIRE: plan::text.
pub fn plan_lines(_plan: &Plan, _context: &Context) -> Vec<String> {
    Vec::new()
}

/// Fusion's networks as text. WIRE: formats::networking over Fusion::networking().
pub async fn network_lines(_context: &Context) -> Result<Vec<String>, Failure> {
    not_wired("network show")
}

/// WIRE: sim::install::{status, stop, wipe}, sim::faults::{TABLE, plant}.
pub async fn sim(_context: &Context, _command: &SimCommand) -> Result<Vec<String>, Failure> {
    not_wired("the simulated Fusion")
}
