//! What verbs call in the layers below, in one place: each function is a few lines over the layer that does the work.

mod certificates;
mod checkup;
mod guests;
mod here;
mod labs;
mod logs;
mod session;
mod support;

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use crate::cli::context::{Context, Warnings};
use crate::cli::error::catalogue::Explained;
use crate::cli::error::{Failure, Report};
use crate::cli::init::PresetName;
use crate::cli::screen::backups::BackupLine;
use crate::cli::screen::document;
use crate::cli::screen::templates::{ImageLine, Prunable, TemplateLine};
use crate::cli::screen::topology::{self, Diagram};
use crate::cli::simulated;
use crate::cli::wait::Patience;
pub use crate::engine::context::deadlines;
use crate::engine::error::EngineError;
use crate::engine::home::{made_from, store};
use crate::engine::images::{self, templates};
use crate::engine::observe::survey;
pub use crate::engine::verbs::Outlook;
use crate::formats::networking::scope;
use crate::host::fusion::networks::{BACKUPS, Backup, Networks};
use crate::host::fusion::vmrun::Vmrun;
use crate::host::fusion::{Fusion, discover};
use crate::host::lock::Occupant;
use crate::host::{HostError, download, files, kubeconfig, sync, system};
use crate::lab::catalogue::{Arch, Image, entries};
use crate::lab::limits::Limits;
use crate::lab::lint::RULES;
use crate::lab::paths::Home;
use crate::lab::presets::{self, Preset};
use crate::lab::problem::Problem;
use crate::lab::spec::{self};
use crate::lab::{Lab, resolve};
use crate::plan::facts::Facts;
use crate::plan::survey::Survey;
use crate::plan::{loss, rendering};
use crate::stack::{identity, pki};
pub use checkup::{FINDINGS, checkup, left_behind, mend};
pub use guests::{EndSink, Ended, become_ssh, carry};
pub use here::{must_be_home, warnings_of_host};
pub use labs::{file_elsewhere, labs, usual_file_elsewhere};
pub use logs::{LogSink, all_is_read};
pub use session::{NetworkVerb, Session, TEMPLATE_BUILD, hold_lab, problems_of_size};
pub use support::{Bundle, bundle, must_be_new, write_bundle};

/// Does what can be left at any moment, such as a look or a wait, until the user says stop.
async fn unless_stopped<T, E: From<HostError>>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(HostError::Interrupted.into()),
        done = work => done,
    }
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

/// Returns the names of the files in a folder that could be lab files, in order; none where it cannot be read.
pub fn yaml_files(folder: &Path) -> Vec<String> {
    let listed = files::list(folder).unwrap_or_default();
    let is_yaml =
        |path: &&PathBuf| path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    let names = listed.iter().filter(is_yaml).filter_map(|path| path.file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Writes a file that must not exist yet.
pub fn write_new(path: &Path, text: &str) -> Result<(), HostError> {
    use std::io::Write;
    const READABLE: u32 = 0o644;
    let mut file = files::create_new(path, READABLE)?;
    file.write_all(text.as_bytes())
        .and_then(|()| sync::to_disk(&file))
        .map_err(HostError::file("write", path))
}

/// Writes a file that may be made again at any time: what is there under its name is replaced as a whole.
pub fn write_picture(path: &Path, text: &str) -> Result<(), HostError> {
    const READABLE: u32 = 0o644;
    files::write_atomic(path, text.as_bytes(), READABLE)
}

/// Returns the user's kubeconfig that kubectl would write to.
pub fn users_kubeconfig(home: &Path) -> PathBuf {
    kubeconfig::chosen(std::env::var_os("KUBECONFIG").as_deref(), home)
}

/// Returns the mode of a file if others than its owner may read it.
pub fn open_to_others(path: &Path) -> Result<Option<u32>, Failure> {
    let mode = files::ownership(path)?.mode;
    Ok(Some(mode).filter(|mode| mode & 0o044 != 0))
}

/// Says whether two paths lead to the same file.
pub fn is_same(one: &Path, other: &Path) -> bool {
    files::resolved(one) == files::resolved(other)
}

/// Returns the name that a lab's authority has in its certificate.
pub fn authority_name(lab: &str) -> String {
    identity::authority_name(lab)
}

/// Returns the domain for which alone an authority signs; none if whoever trusts it believes it for every site.
pub fn confined_to(pem: &str) -> Option<String> {
    pki::domain_of(pem).ok().flatten()
}

/// Returns a certificate's SHA-256 fingerprint as browsers show it; none if the text holds no certificate.
pub fn fingerprint(pem: &str) -> Option<String> {
    pki::fingerprint(pem)
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

/// A lab with its warnings, or all that keeps a text from being one.
pub type LabOrProblems = Result<(Lab, Vec<Problem>), Vec<Problem>>;

/// Resolves a lab file's text, or the built-in lab, for this machine's processor.
pub fn resolve(text: Option<&str>, preset: Option<PresetName>) -> LabOrProblems {
    let resolved = resolve::resolve(text, preset.map(Into::into), arch())?;
    Ok((resolved.lab, resolved.warnings))
}

/// As [`resolve`], for a lab of this home: where neither an option nor the file names its size, that is the one which it was made
/// with. The error of a record that cannot be read comes beside what is resolved without it.
pub fn resolve_at_home(
    home: &Home,
    text: Option<&str>,
    preset: Option<PresetName>,
) -> (LabOrProblems, Option<EngineError>) {
    let mut unread = None;
    let mut remembered = |name: &str| {
        let record = made_from::read(&home.lab(name)).unwrap_or_else(|error| {
            unread = Some(error);
            None
        });
        record.and_then(|record| record.preset)
    };
    let resolved = resolve::resolve_remembering(text, preset.map(Into::into), &mut remembered, arch());
    (resolved.map(|resolved| (resolved.lab, resolved.warnings)), unread)
}

fn arch() -> Arch {
    if system::arch() == "arm64" { Arch::Arm64 } else { Arch::Amd64 }
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
    simulated::fusion(context)
}

/// Returns the lab, or the built-in one for verbs that do without a lab file that cannot be read.
pub fn any_lab(context: &Context) -> Result<Lab, Failure> {
    match context.lab(None, Warnings::Untold) {
        Ok(lab) => Ok(lab),
        Err(failure) => Ok(resolve(None, None).map_err(|_| failure)?.0),
    }
}

/// Says whether the lab stands that is meant where there is no lab file.
pub fn built_in_stands(context: &Context) -> bool {
    resolve(None, None).is_ok_and(|(lab, _)| files::exists(context.home.lab(&lab.name).root()))
}

/// Returns Fusion's networks.
pub async fn networks(context: &Context) -> Result<Networks, Failure> {
    Ok(Networks::new(fusion(context).await?, context.home.network()))
}

/// Looks at Fusion's networks and what surrounds them.
pub async fn survey(context: &Context, lab: &Lab) -> Result<(Fusion, Survey), Failure> {
    let fusion = fusion(context).await?;
    let survey = survey_of(context, &fusion, lab).await?;
    Ok((fusion, survey))
}

async fn survey_of(context: &Context, fusion: &Fusion, lab: &Lab) -> Result<Survey, Failure> {
    let networks = Networks::new(fusion.clone(), context.home.network());
    let vms = Vmrun::new(fusion.clone(), deadlines(&lab.limits));
    Ok(unless_stopped(&context.cancel, survey::survey(fusion, &networks, &vms, lab)).await?)
}

/// Returns the names of the backups of Fusion's networking file, the newest first, without a look at Fusion; none where they cannot
/// be read.
pub fn backup_names(home: &Home) -> Vec<String> {
    let listed = files::list(&home.network().join(BACKUPS)).unwrap_or_default();
    let names = listed.iter().filter_map(|path| path.file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort_by(|one, other| other.cmp(one));
    names
}

/// Returns the backups of Fusion's networking file, the newest first.
pub async fn backups(context: &Context) -> Result<Vec<BackupLine>, Failure> {
    let networks = networks(context).await?;
    let now = networks.read()?.unwrap_or_default();
    let vmnet = any_lab(context)?.internal.vmnet;
    let line = |backup: Backup| BackupLine {
        differs: networks.read_backup(&backup.name).ok().map(|bytes| scope(&now, &bytes, vmnet)),
        name: backup.name,
        taken: backup.taken,
        digest: backup.digest,
        bytes: backup.bytes,
    };
    Ok(networks.backups()?.into_iter().map(line).collect())
}

/// One rendered file: where it was written, and whether its content was left out since it is secret.
pub struct Rendered {
    pub path: String,
    pub redacted: bool,
}

/// Writes every file of a lab below a folder, which must be new or empty. Nothing else is touched: a lab without an
/// identity is rendered with one made up for the purpose.
pub async fn render(
    context: &Context,
    lab: &Lab,
    out: &Path,
    secrets: bool,
) -> Result<Vec<Rendered>, Failure> {
    if !files::list(out)?.is_empty() {
        let what = format!("{} is not empty", out.display());
        return Err(Report::usage(what).advise("name a folder that does not exist yet").into());
    }
    let fusion = fusion(context).await?;
    let facts =
        Facts { networking: Networks::new(fusion, context.home.network()).read()?, ..Facts::default() };
    let identity = store::existing_or_made_up(lab, &context.home.lab(&lab.name))?;
    let mut rendered = Vec::new();
    for file in rendering::files(lab, &identity, &facts, secrets) {
        let path = out.join(&file.path);
        files::create_dir(path.parent().unwrap_or(out))?;
        files::write_atomic(
            &path,
            &file.content,
            if secrets { files::PRIVATE_FILE } else { files::PUBLIC_FILE },
        )?;
        rendered.push(Rendered { path: path.display().to_string(), redacted: file.redacted });
    }
    for (name, content) in [
        (document::FILE, document::page(lab, document::PICTURE)),
        (document::PICTURE, topology::svg(&Diagram::of(lab, None))),
    ] {
        let path = out.join(name);
        write_picture(&path, &content)?;
        rendered.push(Rendered { path: path.display().to_string(), redacted: false });
    }
    Ok(rendered)
}

/// Returns the templates in the home folder.
pub async fn templates(context: &Context) -> Result<Vec<TemplateLine>, Failure> {
    let fusion = fusion(context).await?;
    Ok(templates::list(&context.home, &fusion)?.into_iter().map(TemplateLine::of).collect())
}

/// Returns the catalogue's images for this machine's processor.
pub fn catalogue(context: &Context) -> Vec<ImageLine> {
    let cache = images::cache(&context.home);
    let cached = |image: &Image| download::cached(&images::source(image), &cache).is_some();
    entries(arch()).into_iter().map(|entry| ImageLine { cached: cached(&entry.image), entry }).collect()
}

/// Returns what `template prune` would remove: templates that no lab uses, and downloads that nobody goes on with.
pub async fn prunable(context: &Context) -> Result<Prunable, Failure> {
    let mut lines = templates(context).await?;
    lines.retain(|template| template.used_by.is_empty() && template.hanging.is_empty());
    if !lines.is_empty() {
        templates::all_are_seen(&fusion(context).await?)?;
    }
    Ok(Prunable { templates: lines, downloads: images::cache(&context.home).leftovers()? })
}

/// Removes what is prunable, looked at once more while no lab is worked on; returns what was removed.
pub async fn prune(context: &Context, patience: Patience) -> Result<Prunable, Failure> {
    let mut tell = |what: &str, by: &Occupant| patience.tell(context, what, by);
    let _locks = tokio::select! {
        locks = templates::keep_labs_out(&context.home, "template prune", patience.0, &mut tell) => locks?,
        () = context.cancel.cancelled() => return Err(HostError::Interrupted.into()),
    };
    let mut prunable = prunable(context).await?;
    let fusion = fusion(context).await?;
    let vms = Vmrun::new(fusion.clone(), deadlines(&Limits::default()));
    let mut removed = Vec::new();
    for line in prunable.templates {
        if templates::prune(&context.home, &fusion, &vms, &line.key).await? {
            removed.push(line);
        }
    }
    prunable.templates = removed;
    for left in &prunable.downloads {
        files::remove_file(&left.path)?;
    }
    Ok(prunable)
}
