//! What verbs call in the layers below, in one place: each function is a few lines over the layer that does the work.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::clock::Moment;
use super::context::Context;
use super::error::catalogue::Explained;
use super::error::{Failure, Kind, Report};
use super::init::PresetName;
use super::report::summary::Summary;
use super::screen::verify::CheckLine;
use crate::host::HostError;
use crate::host::fusion::Fusion;
use crate::lab::Lab;
use crate::lab::problem::Problem;
use crate::plan::facts::Facts;
use crate::plan::step::Plan;

// WIRE: replaced at integration by calls into host, lab, plan, engine and sim.
fn not_wired<T>(what: &str) -> Result<T, Failure> {
    Err(Report::new("unexpected", Kind::Unexpected, format!("{what} is not part of this build yet")).into())
}

/// WIRE: host::clock.
#[expect(clippy::disallowed_methods, reason = "host::clock is being written")]
pub fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    Moment::local(unix_ms)
}

/// Reads a text file; none if it is not there. WIRE: host::files.
#[expect(clippy::disallowed_methods, reason = "host::files is being written")]
pub fn read_text(path: &Path) -> Result<Option<String>, HostError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(HostError::file("read", path)(error)),
    }
}

/// Writes a file that must not exist yet. WIRE: host::files.
pub fn write_new(path: &Path, text: &str) -> Result<(), HostError> {
    use std::io::Write;
    let write = || {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(HostError::file("write", path))
}

/// WIRE: lab::resolve::resolve; the architecture is the host's, or the simulated Fusion's.
pub fn resolve(
    _text: Option<&str>,
    _preset: Option<PresetName>,
) -> Result<(Lab, Vec<Problem>), Vec<Problem>> {
    Err(vec![Problem {
        rule: "unexpected",
        severity: crate::lab::problem::Severity::Error,
        span: None,
        message: "reading lab files is not part of this build yet".to_owned(),
        help: None,
    }])
}

/// The lint rules of the lab file. WIRE: lab::lint::RULES.
pub fn rules() -> Vec<Explained> {
    Vec::new()
}

/// WIRE: lab::presets::commented_file.
pub fn preset_file(_preset: PresetName) -> Result<String, Failure> {
    not_wired("init")
}

/// WIRE: lab::spec::schema.
pub fn schema() -> Result<serde_json::Value, Failure> {
    not_wired("schema")
}

/// Finds Fusion, or starts the simulated one where `--sim` asks for it or there is no other. WIRE: host::fusion::discover, sim.
pub async fn fusion(_context: &Context) -> Result<Fusion, Failure> {
    not_wired("finding Fusion")
}

/// WIRE: engine's observation.
pub async fn observe(_context: &Context, _lab: &Lab, _fusion: &Fusion) -> Result<Facts, Failure> {
    not_wired("observing")
}

/// WIRE: plan::up::plan or plan::destroy::plan, then plan::lint.
pub fn plan(_lab: &Lab, _facts: &Facts, _destroy: bool) -> Result<Plan, Failure> {
    not_wired("planning")
}

/// WIRE: plan::text.
pub fn plan_lines(_plan: &Plan, _context: &Context) -> Vec<String> {
    Vec::new()
}

/// Carries out a plan while a reporter shows its events. WIRE: spawn `report::pump` on the receiver, run engine::up
/// (or engine::destroy) with the sender, join both; a failed step's error goes through `StepFailure::report_of`.
pub async fn carry_out(
    _context: &Context,
    _lab: &Lab,
    _fusion: &Fusion,
    _plan: Plan,
) -> Result<(Summary, Option<Report>), Failure> {
    not_wired("the engine")
}

/// WIRE: engine::verify.
pub async fn verify(_context: &Context, _lab: &Lab, _fusion: &Fusion) -> Result<Vec<CheckLine>, Failure> {
    not_wired("verify")
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

/// WIRE: engine's templates.
pub async fn templates(_context: &Context) -> Result<Vec<TemplateLine>, Failure> {
    not_wired("template list")
}

/// Removes templates that no VM hangs on; returns those removed. WIRE: engine's templates.
pub async fn prune_templates(_context: &Context) -> Result<Vec<TemplateLine>, Failure> {
    not_wired("template prune")
}

/// Fusion's networks as text. WIRE: formats::networking over the networking file.
pub async fn network_lines(_context: &Context) -> Result<Vec<String>, Failure> {
    not_wired("network show")
}

/// The root half of applying a network. WIRE: host::fusion::vmnet.
pub async fn apply_as_root(_request: &Path) -> Result<(), Failure> {
    not_wired("network apply-as-root")
}

/// WIRE: sim's control socket.
pub async fn sim(_context: &Context, _command: &super::sim::SimCommand) -> Result<Vec<String>, Failure> {
    not_wired("the simulated Fusion")
}
