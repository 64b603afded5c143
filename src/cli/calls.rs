//! What verbs call in the layers below, in one place: each function is a few lines over the layer that does the work.

use std::path::{Path, PathBuf};

use std::sync::Arc;

use tokio::sync::mpsc;

use super::context::{Context, Warnings};
use super::error::catalogue::Explained;
use super::error::from_engine::of_engine;
use super::error::{Failure, Kind, Report};
use super::init::PresetName;
use super::report::log::{Logged, RunLog};
use super::report::summary::{Checked, Summary};
use super::report::{self, Reporter, Reporting};
use super::screen::backups::BackupLine;
use super::screen::doctor::Group;
use super::screen::problems;
use super::screen::root::{self, RootChange};
use super::screen::templates::{ImageLine, Prunable, TemplateLine};
use super::screen::verify::CheckLine;
use super::simulated;
use crate::engine::context::{Engine, Parts};
use crate::engine::error::EngineError;
use crate::engine::event::Event;
use crate::engine::template::TemplateDir;
pub use crate::engine::verbs::Outlook;
use crate::engine::{images, networks as records, observe, store, survey, templates, verbs, verify};
use crate::formats::networking::scope;
use crate::host::dial::Dial;
use crate::host::fusion::networks::{Backup, ChangeKind, Networks};
use crate::host::fusion::verbs::Deadlines;
use crate::host::fusion::vmrest::Vmrest;
use crate::host::fusion::vmrun::Vmrun;
use crate::host::fusion::{Fusion, discover};
use crate::host::lock::Lock;
use crate::host::ssh::SshShell;
use crate::host::{HostError, Hypervisor, download, files, system};
use crate::lab::catalogue::{Arch, Image, entries};
use crate::lab::limits::Limits;
use crate::lab::lint::{self, HostSize, RULES};
use crate::lab::paths::LabDir;
use crate::lab::presets::{self, Preset};
use crate::lab::problem::{Problem, Severity};
use crate::lab::spec::{self, Origin};
use crate::lab::{Driver, Lab, resolve};
use crate::plan::facts::Facts;
use crate::plan::survey::Survey;
use crate::plan::{health, rendering, step::Plan};

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
    let resolved = resolve::resolve(text, preset.map(Into::into), arch())?;
    Ok((resolved.lab, resolved.warnings))
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

/// The verbs for which the lab must fit this machine; the others look at what stands.
const MAKING_VERBS: [&str; 2] = ["up", "plan"];

/// The verbs that make machines, for which a simulated Fusion must have what these are made of.
const MACHINE_MAKING_VERBS: [&str; 2] = ["up", TEMPLATE_BUILD];

/// The verbs that change something, and so have the lab to themselves.
const CHANGING_VERBS: [&str; 5] = ["up", "destroy", TEMPLATE_BUILD, "network apply", "network restore"];

/// The verb that makes a template and no lab.
pub const TEMPLATE_BUILD: &str = "template build";

/// Errors that `doctor` tells as a check that failed.
const FINDINGS: [&str; 2] = ["fusion-not-found", "fusion-too-old"];

/// The error of programs that root does not run.
const DISTRUSTED: &str = "root-distrusts";

/// Checks what only this machine's size can tell; what the lab file alone tells was said when it was read.
fn fits_host(context: &Context, lab: &Lab) -> Result<(), Failure> {
    // 0 stands for a machine that does not say.
    let size = Some(system::memory_mib()).filter(|size| *size > 0).map(|memory_mib| HostSize { memory_mib });
    let origin = Origin::default();
    let said = lint::lint(lab, &origin, None);
    let mut found = lint::lint(lab, &origin, size);
    found.retain(|problem| !said.contains(problem));
    if found.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(Failure::LabFile(context.problems_of_lab(found)));
    }
    let pen = &context.terminal.err;
    context.say(found.iter().flat_map(|problem| problems::brief(problem, pen)));
    Ok(())
}

/// One verb's work on one lab.
pub struct Session {
    pub lab: Lab,
    pub fusion: Fusion,
    engine: Arc<Engine>,
    events: mpsc::UnboundedReceiver<Event>,
    verb: &'static str,
    /// Held by the verbs that change something, from before they look until they are done.
    _lock: Option<Lock>,
}

impl Session {
    /// Finds Fusion and puts the engine together. `verb` is written to the lock and the journal.
    pub async fn open(context: &Context, mut lab: Lab, verb: &'static str) -> Result<Self, Failure> {
        let fusion = fusion(context).await?;
        if fusion.simulated {
            // Its machines take none of this host's memory.
            if MACHINE_MAKING_VERBS.contains(&verb) {
                simulated::make_ready(context, &fusion).await?;
            }
            simulated::prepare(&mut lab, &fusion)?;
        } else if MAKING_VERBS.contains(&verb) {
            fits_host(context, &lab)?;
        }
        let (sender, events) = mpsc::unbounded_channel();
        let limits = &lab.limits;
        let vmrun = Vmrun::new(fusion.clone(), deadlines(limits));
        let vms: Arc<dyn Hypervisor> = match lab.driver {
            Driver::Vmrun => Arc::new(vmrun),
            Driver::Rest => {
                let home = context.home.rest();
                Arc::new(Vmrest::start(vmrun, &home).await?)
            }
        };
        let dialled = fusion.clone();
        let shell = SshShell::new(Arc::new(move || Dial::of(&dialled)), limits.guest_connect);
        let engine = Engine::new(Parts {
            lab: lab.clone(),
            home: context.home.clone(),
            networks: Networks::new(fusion.clone(), context.home.network()),
            fusion: fusion.clone(),
            vms,
            shell: Arc::new(shell),
            host_cpus: system::cpus(),
            events: sender,
            cancel: context.cancel.clone(),
            verb,
            journal: records_of(context, &lab, verb).journal(),
        })?;
        let lock = if CHANGING_VERBS.contains(&verb) { Some(verbs::lock(&engine, verb)?) } else { None };
        Ok(Self { lab, fusion, engine: Arc::new(engine), events, verb, _lock: lock })
    }

    /// Looks at the world.
    pub async fn facts(&self) -> Result<Facts, Failure> {
        Ok(observe::facts(&self.engine).await?)
    }

    /// Looks at the world and plans.
    pub async fn outlook(&self, destroy: bool) -> Result<Outlook, Failure> {
        let outlook = if destroy {
            verbs::destroy_outlook(&self.engine).await?
        } else {
            verbs::outlook(&self.engine).await?
        };
        Ok(outlook)
    }

    /// Looks at the lab's template and plans what it lacks, or all of it.
    pub async fn template_outlook(&self, anew: bool) -> Result<Outlook, Failure> {
        Ok(verbs::template_outlook(&self.engine, anew).await?)
    }

    /// Looks at Fusion's networks and plans what a verb makes of them.
    pub async fn network_outlook(&self, verb: NetworkVerb<'_>) -> Result<Outlook, Failure> {
        Ok(match verb {
            NetworkVerb::Apply => verbs::network_outlook(&self.engine).await?,
            NetworkVerb::Undo => verbs::network_undo_outlook(&self.engine).await?,
            NetworkVerb::PutBack(backup) => verbs::network_put_back_outlook(&self.engine, backup).await?,
        })
    }

    /// Where a plan changes Fusion's networks and that takes root: says what and by which command, and lets `sudo`
    /// ask for the password before anything is drawn. `shown` says whether the plan was shown already.
    pub async fn become_root(&self, context: &Context, plan: &Plan, shown: bool) -> Result<(), Failure> {
        let networks = &self.engine.networks;
        let Some(change) = RootChange::of(plan) else { return Ok(()) };
        if !networks.needs_root() {
            return Ok(());
        }
        let vmnet = records::vmnet(&self.engine)?;
        let kind = if change.whole { ChangeKind::WholeFile } else { ChangeKind::OfOneNetwork };
        let (file, command) = (self.fusion.networking(), networks.root_command(kind, vmnet)?);
        let pen = &context.terminal.err;
        context.say(root::lines(&file, vmnet, &change, shown, &command, pen));
        let can_ask = context.terminal.can_ask && !context.json();
        // Where a sudoers line lets us in, nobody is asked for a password.
        if networks.authenticate(kind, vmnet, can_ask, self.lab.limits.network_apply).await? {
            return Ok(());
        }
        if context.cancel.is_cancelled() {
            return Err(HostError::Interrupted.into());
        }
        Err(Report::root_denied(can_ask).into())
    }

    /// Carries a plan out, proves an `up`, and shows both; the failure comes with what was done until then.
    pub async fn carry_out(self, context: &Context, plan: &Plan) -> (Summary, Option<Failure>) {
        let (reporter, log) = self.reporter(context);
        let reporting =
            Reporting::start(self.events, reporter, context.cancel.clone(), &self.engine.terminal);
        let result = async {
            verbs::carry_out(&self.engine, plan).await?;
            if self.verb == "up" {
                verify::verify(&self.engine).await?;
            }
            Ok(())
        };
        let result: Result<(), EngineError> = result.await;
        let summary = reporting.end().await;
        let failure = result.err().map(|error| match (of_engine(&error, &summary), log) {
            (Failure::Report(report), Some(log)) if report.kind != Kind::Interrupted => {
                Report { log: Some(context.shown(&log)), ..*report }.into()
            }
            (failure, _) => failure,
        });
        (summary, failure)
    }

    /// Returns who tells of the run. What makes something is logged.
    fn reporter(&self, context: &Context) -> (Box<dyn Reporter>, Option<PathBuf>) {
        let reporter = report::choose(context.json(), context.options.quiet, &context.terminal);
        let logged = ["up", TEMPLATE_BUILD].contains(&self.verb);
        let log = logged.then(|| RunLog::open(&records_of(context, &self.lab, self.verb).logs()));
        // A run without a log is better than none.
        let Some(Ok(log)) = log else { return (reporter, None) };
        let folder = log.folder().to_owned();
        (Box::new(Logged { reporter, log }), Some(folder))
    }

    /// Runs all checks; that some failed is in the lines, not in the error.
    pub async fn verify(self, context: &Context) -> Result<Vec<CheckLine>, Failure> {
        if self.engine.identity().is_none() {
            return Err(Report::not_up(&self.lab.name).into());
        }
        // The lines come all at once, aligned, so nothing is shown meanwhile.
        let (quiet, cancel) = (Box::new(report::Quiet), context.cancel.clone());
        let reporting = Reporting::start(self.events, quiet, cancel, &self.engine.terminal);
        let result = verify::verify(&self.engine).await;
        let summary = reporting.end().await;
        match result {
            Ok(_) | Err(EngineError::Verification { .. }) => {}
            Err(error) => return Err(of_engine(&error, &summary)),
        }
        let line = |check: Checked| CheckLine {
            check: check.check,
            passed: check.passed,
            detail: check.detail,
            took: Some(check.took),
        };
        Ok(summary.checks.into_iter().map(line).collect())
    }
}

/// Returns the folder of a run's journal and logs: the lab's, which `destroy` removes, if the verb makes one.
fn records_of(context: &Context, lab: &Lab, verb: &str) -> LabDir {
    if verb == TEMPLATE_BUILD { context.home.runs() } else { context.home.lab(&lab.name) }
}

/// What a `network` verb is to make of Fusion's networks.
#[derive(Clone, Copy, Debug)]
pub enum NetworkVerb<'a> {
    /// What the lab needs.
    Apply,
    /// The lab's lines out again.
    Undo,
    /// The file as this backup has it.
    PutBack(&'a str),
}

/// Returns the lab, or the built-in one for verbs that do without a lab file that cannot be read.
pub fn any_lab(context: &Context) -> Result<Lab, Failure> {
    match context.lab(None, Warnings::Untold) {
        Ok(lab) => Ok(lab),
        Err(failure) => Ok(resolve(None, None).map_err(|_| failure)?.0),
    }
}

/// Returns a lab's limits for what Fusion is asked and told.
pub fn deadlines(limits: &Limits) -> Deadlines {
    Deadlines {
        fusion_query: limits.fusion_query,
        fusion_address: limits.fusion_address,
        vm_start: limits.vm_start,
        vm_stop_soft: limits.vm_stop_soft,
        vm_stop_hard: limits.vm_stop_hard,
        vm_clone: limits.vm_clone,
        vm_unlock: limits.vm_unlock,
    }
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
    Ok(survey::survey(fusion, &networks, &vms, lab).await?)
}

/// Makes every check of this machine; also returns Fusion, if there is one.
pub async fn checkup(context: &Context, lab: &Lab) -> Result<(Option<Fusion>, Vec<Group>), Failure> {
    let found = match fusion(context).await {
        Ok(fusion) => Ok(fusion),
        // That Fusion is missing or too old is a finding; anything else keeps us from looking.
        Err(Failure::Report(report)) if FINDINGS.contains(&report.id) => Err(report.what),
        Err(other) => return Err(other),
    };
    let seen = found.as_ref().map(|fusion| {
        let simulated = if fusion.simulated { ", simulated" } else { "" };
        format!("{} ({}){simulated}", fusion.version, fusion.build)
    });
    let mut groups = vec![Group { title: "VMware Fusion", checks: vec![health::fusion(seen)] }];
    let Ok(fusion) = found else { return Ok((None, groups)) };
    let checks = match survey_of(context, &fusion, lab).await {
        Ok(survey) => health::network(lab, &survey),
        // As root we do not even ask programs that others could have changed.
        Err(Failure::Report(report)) if report.id == DISTRUSTED => vec![health::distrusted(&report.what)],
        Err(other) => return Err(other),
    };
    groups.push(Group { title: "Networks", checks });
    Ok((Some(fusion), groups))
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
    Ok(Prunable { templates: lines, downloads: images::cache(&context.home).leftovers()? })
}

/// Removes what is prunable, looked at once more while no lab is worked on; returns what was removed.
pub async fn prune(context: &Context) -> Result<Prunable, Failure> {
    let _locks = templates::keep_labs_out(&context.home, "template prune")?;
    let prunable = prunable(context).await?;
    let vms = Vmrun::new(fusion(context).await?, deadlines(&Limits::default()));
    for line in &prunable.templates {
        let dir = TemplateDir { key: line.key.clone(), root: context.home.template(&line.key) };
        templates::remove(&vms, &dir).await?;
    }
    for left in &prunable.downloads {
        files::remove_file(&left.path)?;
    }
    Ok(prunable)
}
