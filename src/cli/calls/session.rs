//! One verb's work on one lab: Fusion found, the lab locked, the engine put together, its events told.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{deadlines, fusion, unless_stopped};
use crate::cli::context::Context;
use crate::cli::error::from_engine::of_engine;
use crate::cli::error::{Failure, Kind, Report};
use crate::cli::init::PresetName;
use crate::cli::report::log::{Logged, RunLog};
use crate::cli::report::summary::Summary;
use crate::cli::report::{self, Reporter, Reporting};
use crate::cli::screen::problems;
use crate::cli::screen::root::{self, RootChange};
use crate::cli::screen::runs;
use crate::cli::screen::verify::CheckLine;
use crate::cli::terminal::Ink;
use crate::cli::wait::{Patience, WaitArgs};
use crate::cli::{simulated, words};
use crate::engine::context::{Engine, Parts};
use crate::engine::error::EngineError;
use crate::engine::event::Event;
use crate::engine::home::lab_lock::{self, HeldLab};
use crate::engine::home::made_from::{self, MadeFrom};
use crate::engine::home::networks as records;
use crate::engine::home::recovery::{self, Before};
use crate::engine::journal::Journal;
use crate::engine::observe::resources::{self, Look};
use crate::engine::output::RunFolder;
pub use crate::engine::verbs::Outlook;
use crate::engine::{observe, proof, verbs, verify};
use crate::host::dial::Dial;
use crate::host::fusion::Fusion;
use crate::host::fusion::networks::{ChangeKind, Networks};
use crate::host::fusion::vmrest::Vmrest;
use crate::host::fusion::vmrun::Vmrun;
use crate::host::lock::{Lock, Occupant};
use crate::host::ssh::SshShell;
use crate::host::{HostError, Hypervisor, system};
use crate::lab::lint::{self, HostSize};
use crate::lab::paths::LabDir;
use crate::lab::problem::{Problem, Severity};
use crate::lab::spec::Origin;
use crate::lab::{Driver, Lab};
use crate::plan::drill::{Choice, Drill};
use crate::plan::facts::Facts;
use crate::plan::step::{Plan, StepId};
use crate::stack::checks::Check;

/// The verbs for which the lab must fit this machine; the others look at what stands.
const MAKING_VERBS: [&str; 2] = ["up", "plan"];

/// The verbs that make machines, for which a simulated Fusion must have what these are made of.
const MACHINE_MAKING_VERBS: [&str; 2] = ["up", TEMPLATE_BUILD];

/// The verbs whose plan is done in part where a step fails, and whose next run does the rest.
const RESUMED_VERBS: [&str; 4] = ["up", "destroy", TEMPLATE_BUILD, "network apply"];

/// The verb that makes a template and no lab.
pub const TEMPLATE_BUILD: &str = "template build";

/// What the output of the proof at the end of `up` is kept under, as if it were a step.
const PROOF: &str = "verify";

/// One verb's work on one lab.
pub struct Session {
    pub lab: Lab,
    pub fusion: Fusion,
    pub(super) engine: Arc<Engine>,
    events: mpsc::UnboundedReceiver<Event>,
    verb: &'static str,
    /// Held by the verbs that change something, from before they look until they are done.
    lock: Option<HeldLab>,
}

impl Session {
    /// Finds Fusion and puts the engine together for a verb that only looks.
    pub async fn open(context: &Context, lab: Lab, verb: &'static str) -> Result<Self, Failure> {
        Self::put_together(context, lab, verb, None).await
    }

    /// As [`Session::open`], for a verb that changes something, and so has the lab to itself. `verb` is written to the
    /// lock and the journal. Says what an earlier run left that was cut off.
    pub async fn open_to_change(
        context: &Context,
        lab: Lab,
        verb: &'static str,
        wait: WaitArgs,
    ) -> Result<Self, Failure> {
        let patience = wait.patience(&lab.limits);
        let session = Self::put_together(context, lab, verb, Some(patience)).await?;
        session.engine.journal.check_version()?;
        let before = session.before()?;
        let networks =
            before.networks.map(|holder| format!("{holder} was killed while it worked on Fusion's networks"));
        for left in before.cut_off.map(|run| run.sentence()).into_iter().chain(networks) {
            let text = format!("{left}; going on from what stands");
            warn(context, &text);
            if context.json() {
                session.engine.send(Event::Note { step: None, text });
            }
        }
        Ok(session)
    }

    async fn put_together(
        context: &Context,
        mut lab: Lab,
        verb: &'static str,
        patience: Option<Patience>,
    ) -> Result<Self, Failure> {
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
        // Before anything is read that another run may be about to change.
        let lock = match patience {
            Some(patience) => Some(locked(context, &fusion, &lab.name, verb, patience).await?),
            None => None,
        };
        let (sender, events) = mpsc::unbounded_channel();
        let engine = engine(context, &lab, &fusion, verb, sender).await?;
        Ok(Self { lab, fusion, engine: Arc::new(engine), events, verb, lock })
    }

    /// Returns the engine of a lab that has guests to go into.
    pub(super) fn engine_of_guests(&self) -> Result<Arc<Engine>, Failure> {
        if self.engine.identity().is_none() {
            return Err(Report::no_guests(&self.lab.name).into());
        }
        Ok(self.engine.clone())
    }

    /// Returns what an earlier run left that was cut off, and who works on the lab now.
    pub fn before(&self) -> Result<Before, Failure> {
        Ok(verbs::before(&self.engine, self.lock.as_ref())?)
    }

    /// Looks at the world.
    pub async fn facts(&self) -> Result<Facts, Failure> {
        Ok(unless_stopped(&self.engine.cancel, observe::facts(&self.engine)).await?)
    }

    /// Looks at the world, and at what the lab takes of it.
    pub async fn look(&self) -> Result<Look, Failure> {
        Ok(unless_stopped(&self.engine.cancel, resources::look(&self.engine)).await?)
    }

    /// Looks at the world and plans.
    pub async fn outlook(&self, destroy: bool) -> Result<Outlook, Failure> {
        let look = async {
            if destroy {
                verbs::destroy_outlook(&self.engine).await
            } else {
                verbs::outlook(&self.engine).await
            }
        };
        Ok(unless_stopped(&self.engine.cancel, look).await?)
    }

    /// Looks at the lab and plans a drill.
    pub async fn drill_outlook(&self, choice: &Choice) -> Result<Drill, Failure> {
        if self.engine.identity().is_none() {
            return Err(Report::not_up(&self.lab.name).into());
        }
        Ok(unless_stopped(&self.engine.cancel, verbs::drill_outlook(&self.engine, choice)).await?)
    }

    /// Looks at the lab's template and plans what it lacks, or all of it.
    pub async fn template_outlook(&self, anew: bool) -> Result<Outlook, Failure> {
        Ok(unless_stopped(&self.engine.cancel, verbs::template_outlook(&self.engine, anew)).await?)
    }

    /// Looks at Fusion's networks and plans what a verb makes of them.
    pub async fn network_outlook(&self, verb: NetworkVerb<'_>) -> Result<Outlook, Failure> {
        let look = async {
            match verb {
                NetworkVerb::Apply => verbs::network_outlook(&self.engine).await,
                NetworkVerb::Undo => verbs::network_undo_outlook(&self.engine).await,
                NetworkVerb::PutBack(backup) => verbs::network_put_back_outlook(&self.engine, backup).await,
            }
        };
        Ok(unless_stopped(&self.engine.cancel, look).await?)
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
        let can_ask = context.can_ask();
        context.show(root::lines(&file, vmnet, &change, shown, &command, pen));
        // Where a sudoers line lets us in, nobody is asked for a password.
        if networks.authenticate(kind, vmnet, can_ask, self.lab.limits.network_apply).await? {
            return Ok(());
        }
        if context.cancel.is_cancelled() {
            return Err(HostError::Interrupted.into());
        }
        Err(Report::root_denied(can_ask).into())
    }

    /// Writes down what the lab is made from, for the verbs that are not told: its file, and the size that an option named now or
    /// before.
    pub fn remember(&self, context: &Context, preset: Option<PresetName>) -> Result<(), Failure> {
        let dir = &self.engine.dir;
        // One that cannot be read is replaced.
        let before = made_from::read(dir).ok().flatten();
        let preset = preset.map(Into::into).or(before.and_then(|before| before.preset));
        let file = context.lab_file()?;
        let record = MadeFrom::new(&self.lab, preset, file.as_deref(), &self.fusion.root);
        Ok(made_from::write(dir, &record)?)
    }

    /// Carries a plan out, proves an `up`, and shows both; the failure comes with what was done until then.
    pub async fn carry_out(self, context: &Context, plan: &Plan) -> (Summary, Option<Failure>) {
        let (reporter, log) = self.reporter(context);
        let reporting =
            Reporting::start(self.events, reporter, context.cancel.clone(), &self.engine.terminal);
        let result = async {
            verbs::carry_out(&self.engine, plan).await?;
            if self.verb == "up" {
                let engine = Arc::new(self.engine.recording(&StepId::apart(PROOF)));
                unless_stopped(&self.engine.cancel, proof::prove(&engine)).await?;
            }
            Ok(())
        };
        let result: Result<(), EngineError> = result.await;
        let summary = reporting.end().await;
        let told = |error: &EngineError| match of_engine(error, &summary) {
            Failure::Report(report) if RESUMED_VERBS.contains(&self.verb) => {
                report.standing(&summary, &format!("fusionlab {}", self.verb)).into()
            }
            failure => failure,
        };
        let failure = result.err().map(|error| match (told(&error), log) {
            (Failure::Report(report), Some(log)) if report.kind != Kind::Interrupted => {
                Report { log: Some(context.shown(&log.place_of(&step_of(&error)))), ..*report }.into()
            }
            (failure, _) => failure,
        });
        (summary, failure)
    }

    /// Returns who tells of the run. What makes something is logged.
    fn reporter(&self, context: &Context) -> (Box<dyn Reporter>, Option<RunFolder>) {
        let reporter = report::choose(context.json(), context.options.quiet, &context.terminal);
        let logged = ["up", "drill", TEMPLATE_BUILD].contains(&self.verb);
        let folder = logged.then(|| RunFolder::open(&records_of(context, &self.lab, self.verb).logs()));
        // A run without a log is better than none.
        let Some(Ok(folder)) = folder else { return (reporter, None) };
        self.engine.keep_output(folder.clone());
        match RunLog::open(&folder) {
            Ok(log) => (Box::new(Logged { reporter, log }), Some(folder)),
            Err(_) => (reporter, Some(folder)),
        }
    }

    /// Runs checks; that some failed is in the lines, not in the error.
    pub async fn verify(self, context: &Context, checks: Vec<Check>) -> Result<Vec<CheckLine>, Failure> {
        if self.engine.identity().is_none() {
            return Err(Report::not_up(&self.lab.name).into());
        }
        // The lines come all at once, aligned, so nothing is shown meanwhile.
        let (quiet, cancel) = (Box::new(report::Quiet), context.cancel.clone());
        let reporting = Reporting::start(self.events, quiet, cancel, &self.engine.terminal);
        let result = unless_stopped(&self.engine.cancel, verify::verify(&self.engine, checks)).await;
        let summary = reporting.end().await;
        match result {
            Ok(_) | Err(EngineError::Verification { .. }) => {}
            Err(error) => return Err(of_engine(&error, &summary)),
        }
        Ok(summary.checks.into_iter().map(CheckLine).collect())
    }
}

/// Takes the lock of a lab for what changes its records and nothing else; held until it is dropped. Says what an earlier run
/// left that was cut off.
pub async fn hold_lab(
    context: &Context,
    lab: &Lab,
    verb: &'static str,
    wait: WaitArgs,
) -> Result<Lock, Failure> {
    let patience = wait.patience(&lab.limits);
    let mut tell = |by: &Occupant| patience.tell(context, &format!("lab {}", lab.name), by);
    let take = lab_lock::acquire(&context.home, &lab.name, verb, patience.0, &mut tell);
    let held = HeldLab { lock: unless_stopped(&context.cancel, take).await?, networks: None };
    let journal = Journal::new(records_of(context, lab, verb).journal(), verb);
    if let Some(cut_off) = recovery::look(&context.home, &lab.name, &journal, Some(&held))?.cut_off {
        warn(context, &runs::goes_on(&cut_off));
    }
    Ok(held.lock)
}

/// Says in a paragraph what is to be known before anything else is told.
fn warn(context: &Context, text: &str) {
    let pen = &context.terminal.err;
    context.say(words::wrap(text, pen.prose_width()).iter().map(|line| pen.paint(Ink::Warn, line)));
    context.say([""]);
}

/// Takes the lab's lock, or waits for it as long as was said, or until Ctrl-C.
async fn locked(
    context: &Context,
    fusion: &Fusion,
    lab: &str,
    verb: &str,
    patience: Patience,
) -> Result<HeldLab, Failure> {
    let mut tell = |by: &Occupant| patience.tell(context, &format!("lab {lab}"), by);
    let take = verbs::lock(&context.home, fusion, lab, verb, patience.0, &mut tell);
    Ok(unless_stopped(&context.cancel, take).await?)
}

/// Puts the engine together: the lab, the ports to the world, and who listens.
async fn engine(
    context: &Context,
    lab: &Lab,
    fusion: &Fusion,
    verb: &'static str,
    events: mpsc::UnboundedSender<Event>,
) -> Result<Engine, Failure> {
    let limits = &lab.limits;
    let vmrun = Vmrun::new(fusion.clone(), deadlines(limits));
    let vms: Arc<dyn Hypervisor> = match lab.driver {
        Driver::Vmrun => Arc::new(vmrun),
        Driver::Rest => Arc::new(Vmrest::start(vmrun, &context.home.rest()).await?),
    };
    let dialled = fusion.clone();
    let shell = SshShell::new(Arc::new(move || Dial::of(&dialled)), limits.guest_connect);
    Ok(Engine::new(Parts {
        lab: lab.clone(),
        home: context.home.clone(),
        networks: Networks::new(fusion.clone(), context.home.network()),
        fusion: fusion.clone(),
        vms,
        shell: Arc::new(shell),
        host_cpus: system::cpus(),
        events,
        cancel: context.cancel.clone(),
        verb,
        journal: records_of(context, lab, verb).journal(),
    })?)
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

/// Returns the step whose output tells most of a failure: the first that failed, or the proof.
fn step_of(error: &EngineError) -> StepId {
    match error {
        EngineError::Steps { failures, .. } if !failures.is_empty() => failures[0].step.clone(),
        _ => StepId::apart(PROOF),
    }
}

/// Returns the folder of a run's journal and logs: the lab's, which `destroy` removes, if the verb makes one.
fn records_of(context: &Context, lab: &Lab, verb: &str) -> LabDir {
    if verb == TEMPLATE_BUILD { context.home.runs(&lab.name) } else { context.home.lab(&lab.name) }
}

/// Returns what only this machine's size can tell.
pub fn problems_of_size(lab: &Lab) -> Vec<Problem> {
    // 0 stands for a machine that does not say.
    let size = Some(system::memory_mib()).filter(|size| *size > 0).map(|memory_mib| HostSize { memory_mib });
    let origin = Origin::default();
    let said = lint::lint(lab, &origin, None);
    let mut found = lint::lint(lab, &origin, size);
    found.retain(|problem| !said.contains(problem));
    found
}

/// Checks what only this machine's size can tell; what the lab file alone tells was said when it was read.
fn fits_host(context: &Context, lab: &Lab) -> Result<(), Failure> {
    let found = problems_of_size(lab);
    if found.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(Failure::LabFile(context.problems_of_lab(found)));
    }
    let pen = &context.terminal.err;
    context.say(found.iter().flat_map(|problem| problems::brief(problem, pen)));
    Ok(())
}
