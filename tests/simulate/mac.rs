//! A simulated Mac in a folder of memory, and the verbs as the program runs them on it.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fusionlab::engine::access::kubeconfig::Merger;
use fusionlab::engine::access::names::Names;
use fusionlab::engine::context::{Engine, Parts, deadlines};
use fusionlab::engine::error::EngineError;
use fusionlab::engine::event::Event;
use fusionlab::engine::home::lab_lock::{HeldLab, Patience};
use fusionlab::engine::images::templates;
use fusionlab::engine::output::RunFolder;
use fusionlab::engine::{proof, verbs, verify};
use fusionlab::host::fusion::networks::Networks;
use fusionlab::host::fusion::vmrun::Vmrun;
use fusionlab::host::fusion::{Fusion, discover};
use fusionlab::lab::catalogue::Arch;
use fusionlab::lab::limits::Limits;
use fusionlab::lab::paths::Home;
use fusionlab::lab::{Lab, resolve};
use fusionlab::plan::drill::Choice;
use fusionlab::sim::faults::{self, Fault};
use fusionlab::sim::inside::{Inside, InsideShell, Standing};
use fusionlab::sim::install;
use fusionlab::sim::places::Places;
use fusionlab::sim::settings::Settings;
use fusionlab::stack::checks;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::secrets::Secret;

/// The time of day at which every simulation begins: 2026-11-27T08:00:00Z.
const MORNING_MS: u64 = 1_795_766_400_000;
const HOST_CPUS: u32 = 8;
/// The verbs that keep what their steps print.
const LOGGED: [&str; 3] = ["up", "drill", "template build"];

/// What a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Up,
    Destroy,
    Verify,
    Drill,
    NetworkApply,
    NetworkRestore,
    TemplateBuild,
    TemplateRebuild,
    /// Of the first lab's templates and of everybody's.
    TemplatePrune,
    KubeconfigMerge,
    NamesResolver,
    /// `destroy --all`.
    DestroyAll,
}

impl Verb {
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Destroy => "destroy",
            Self::Verify => "verify",
            Self::Drill => "drill",
            Self::NetworkApply => "network apply",
            Self::NetworkRestore => "network restore",
            Self::TemplateBuild | Self::TemplateRebuild => "template build",
            Self::TemplatePrune => "template prune",
            Self::KubeconfigMerge => "kubeconfig --merge",
            Self::NamesResolver => "names --resolver",
            Self::DestroyAll => "destroy --all",
        }
    }

    /// Says whether it holds the lab's lock from its beginning to its end.
    pub fn holds_its_lab(self) -> bool {
        !matches!(self, Self::Verify | Self::TemplatePrune)
    }

    /// Says whether it keeps every lab from being worked on, at its end at least.
    pub fn holds_all_labs(self) -> bool {
        matches!(self, Self::TemplatePrune | Self::DestroyAll)
    }

    /// Says whether the lab is gone when it is done.
    pub fn destroys(self) -> bool {
        matches!(self, Self::Destroy | Self::DestroyAll)
    }
}

/// One Mac.
pub struct Mac {
    pub inside: Arc<Inside>,
    pub home: Home,
    pub fusion: Fusion,
    pub lab_file: &'static str,
    /// The lab as its file says at first, and as it says once somebody has changed the file.
    first: Lab,
    changed: OnceCell<Lab>,
    /// Another lab on it, if there is one.
    second: OnceCell<Lab>,
    /// By how many hours the Mac's clock was set back in all.
    pub set_back: Cell<i64>,
    /// What goes wrong as soon as a step begins whose name begins so.
    in_step: Arc<Mutex<Option<(&'static str, Fault)>>>,
    /// Everything that a verb told, as JSON.
    pub told: Arc<Mutex<Vec<String>>>,
    /// What nobody may be told, of every lab that there has been.
    pub secrets: RefCell<BTreeSet<Secret>>,
    // The stand-in goes before the folder does.
    _standing: Standing,
    _folder: TempDir,
}

/// Returns the folder for simulated Macs: in memory, where there is one.
fn memory() -> PathBuf {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() }
}

impl Mac {
    /// Lays a Mac out for a lab file. What is left to chance is decided by the seed.
    pub fn new(lab_file: &'static str, seed: u64) -> Self {
        let folder = tempfile::Builder::new().prefix("fusionlab-simulate-").tempdir_in(memory());
        let folder = folder.expect("there is room in memory");
        let path = folder.path().canonicalize().expect("it was just made");
        let (home, root) = (Home(path.clone()), path.join("sim"));
        let (inside, standing) = Inside::begin(&root, MORNING_MS, seed);
        let lab = resolve::resolve(Some(lab_file), None, Arch::Arm64).expect("a good lab file").lab;
        let settings = Settings { speed: 1.0, seed, lan: lab.lan.subnet, ..Settings::default() };
        let exe = std::env::current_exe().expect("this program has a path");
        install::install(&root, &exe, &settings).expect("it can be laid out");
        let lab = on_simulated_image(lab, &root);
        let fusion = discover::find(Some(&root)).expect("Fusion is there");
        Self {
            inside,
            home,
            fusion,
            lab_file,
            first: lab,
            changed: OnceCell::new(),
            second: OnceCell::new(),
            set_back: Cell::default(),
            in_step: Arc::default(),
            told: Arc::default(),
            secrets: RefCell::default(),
            _standing: standing,
            _folder: folder,
        }
    }

    /// Returns the first lab, as its file says now.
    pub fn lab(&self) -> &Lab {
        self.changed.get().unwrap_or(&self.first)
    }

    /// Lets the first lab's file say something else, once; false if it has been changed before.
    pub fn edit_lab_file(&self, lab_file: &str) -> bool {
        let lab = resolve::resolve(Some(lab_file), None, Arch::Arm64).expect("a good lab file").lab;
        self.changed.set(on_simulated_image(lab, self.inside.places.root())).is_ok()
    }

    /// Lets something go wrong as soon as a step begins whose name begins so; with none, nothing any more.
    pub fn arm(&self, trap: Option<(&'static str, Fault)>) {
        *self.in_step.lock().expect("nobody panics with it") = trap;
    }

    /// Puts a second lab beside the first: so far, its file.
    pub fn add(&self, lab_file: &str) {
        let lab = resolve::resolve(Some(lab_file), None, Arch::Arm64).expect("a good lab file").lab;
        self.second.get_or_init(|| on_simulated_image(lab, self.inside.places.root()));
    }

    pub fn second(&self) -> Option<&Lab> {
        self.second.get()
    }

    pub fn labs(&self) -> impl Iterator<Item = &Lab> {
        std::iter::once(self.lab()).chain(self.second())
    }

    fn engine(
        &self,
        lab: &Lab,
        verb: &'static str,
        cancel: &CancellationToken,
    ) -> Result<Arc<Engine>, EngineError> {
        let (sender, mut events) = mpsc::unbounded_channel();
        let (inside, told, in_step) = (self.inside.clone(), self.told.clone(), self.in_step.clone());
        let process = inside.process();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let Event::StepStarted { step } = &event {
                    let step = step.to_string();
                    process.iter().for_each(|process| process.step_began(&step));
                    spring(&inside, &in_step, &step);
                }
                if let Some(text) = text(&event) {
                    inside.note(text);
                }
                let json = serde_json::to_string(&event).expect("an event is plain data");
                told.lock().expect("nobody panics with it").push(json);
            }
        });
        let makes_no_lab = verb == Verb::TemplateBuild.name();
        let records = if makes_no_lab { self.home.runs(&lab.name) } else { self.home.lab(&lab.name) };
        let limits = &lab.limits;
        let engine = Engine::new(Parts {
            lab: lab.clone(),
            home: self.home.clone(),
            networks: Networks::new(self.fusion.clone(), self.home.network()),
            fusion: self.fusion.clone(),
            vms: Arc::new(Vmrun::new(self.fusion.clone(), deadlines(limits))),
            shell: Arc::new(InsideShell::new(self.inside.clone(), limits.guest_connect)),
            host_cpus: HOST_CPUS,
            events: sender,
            cancel: cancel.clone(),
            verb,
            journal: records.journal(),
        })?;
        // As in the program, a run without a log is better than none.
        if LOGGED.contains(&verb)
            && let Ok(folder) = RunFolder::open(&records.logs())
        {
            engine.keep_output(folder);
        }
        Ok(Arc::new(engine))
    }

    /// Runs a verb on the first lab.
    pub async fn run(&self, verb: Verb, cancel: &CancellationToken) -> Result<(), EngineError> {
        self.run_on(self.lab(), verb, cancel).await
    }

    /// Runs a verb on a lab as the program does, from its lock to its last word.
    pub async fn run_on(&self, lab: &Lab, verb: Verb, cancel: &CancellationToken) -> Result<(), EngineError> {
        if verb == Verb::TemplatePrune {
            return self.prune(lab).await;
        }
        let lock = match verb.holds_its_lab() {
            true => Some(take_lock(&self.home, &self.fusion, &lab.name, verb.name()).await?),
            false => None,
        };
        let engine = self.engine(lab, verb.name(), cancel)?;
        match verb {
            Verb::Up => {
                let plan = verbs::outlook(&engine).await?.plan;
                verbs::carry_out(&engine, &plan).await?;
                proof::prove(&engine).await?;
            }
            Verb::Verify | Verb::Drill if engine.identity().is_none() => {
                // The program says that the lab is not up.
            }
            Verb::Verify => {
                verify::verify(&engine, checks::all(&engine.lab)).await?;
            }
            Verb::Drill => {
                let plan = verbs::drill_outlook(&engine, &Choice::default()).await?.plan;
                verbs::carry_out(&engine, &plan).await?;
            }
            Verb::Destroy | Verb::DestroyAll => {
                let plan = verbs::destroy_outlook(&engine).await?.plan;
                verbs::carry_out(&engine, &plan).await?;
            }
            Verb::NetworkApply => {
                let plan = verbs::network_outlook(&engine).await?.plan;
                verbs::carry_out(&engine, &plan).await?;
            }
            Verb::NetworkRestore => {
                let plan = verbs::network_undo_outlook(&engine).await?.plan;
                verbs::carry_out(&engine, &plan).await?;
            }
            Verb::TemplateBuild | Verb::TemplateRebuild => {
                let plan = verbs::template_outlook(&engine, verb == Verb::TemplateRebuild).await?.plan;
                verbs::carry_out(&engine, &plan).await?;
            }
            Verb::KubeconfigMerge if !engine.dir.kubeconfig().exists() => {
                // The program says that there is none yet.
            }
            Verb::KubeconfigMerge => {
                Merger::of(&engine).merge(&self.users_kubeconfig(), true).await?;
            }
            Verb::NamesResolver => {
                Names::of(&engine).write().await?;
            }
            Verb::TemplatePrune => {}
        }
        drop(lock);
        if verb == Verb::DestroyAll { self.prune(lab).await } else { Ok(()) }
    }

    /// Removes the templates that no lab uses, as `template prune` does.
    async fn prune(&self, lab: &Lab) -> Result<(), EngineError> {
        let verb = Verb::TemplatePrune.name();
        let _locks = templates::keep_labs_out(&self.home, verb, patience(), &mut |_, _| {}).await?;
        let vms = Vmrun::new(self.fusion.clone(), deadlines(&lab.limits));
        for template in templates::list(&self.home, &self.fusion)?.iter().filter(|one| one.is_unused()) {
            let key = &template.dir.key;
            let is_gone = templates::prune(&self.home, &self.fusion, &vms, key).await?;
            self.inside.note(format!("  template {key} {}", if is_gone { "is gone" } else { "stays" }));
        }
        Ok(())
    }

    /// Returns the kubeconfig that the Mac's user has for other clusters as well.
    pub fn users_kubeconfig(&self) -> PathBuf {
        self.inside.places.root().join("Users/somebody/.kube/config")
    }

    /// Returns which steps an `up` of a lab would still take.
    pub async fn missing(&self, lab: &Lab) -> Result<Vec<String>, EngineError> {
        let engine = self.engine(lab, "plan", &CancellationToken::new())?;
        let plan = verbs::outlook(&engine).await?.plan;
        Ok(plan.steps.iter().map(|step| format!("{} ({})", step.id, step.why)).collect())
    }
}

/// Returns what is worth telling of an event.
fn text(event: &Event) -> Option<String> {
    Some(match event {
        Event::StepStarted { step } => format!("> {step}"),
        Event::Waiting { step, requirement } => format!("  {step} waits: {requirement}"),
        Event::Note { text, .. } => format!("  {text}"),
        Event::StepDone { step, changed, .. } => {
            format!("< {step}{}", if *changed { "" } else { " (as it was)" })
        }
        Event::StepFailed { step, message, .. } => format!("! {step}: {message}"),
        Event::Checked(proven) if !proven.outcome.passed() => format!("! {}: {}", proven.id, proven.detail),
        _ => return None,
    })
}

/// Lets go wrong what was to as this step begins.
fn spring(inside: &Inside, in_step: &Mutex<Option<(&'static str, Fault)>>, step: &str) {
    let mut armed = in_step.lock().expect("nobody panics with it");
    if let Some((_, fault)) = armed.take_if(|(name, _)| step.starts_with(*name)) {
        inside.note(format!("{step} begins, and so does {}", fault.name));
        faults::plant(&inside.places, fault).expect("settings can be written");
    }
}

/// Runs work in a thread's own virtual time.
pub fn in_virtual_time<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime can be made");
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::ZERO);
    done
}

/// Takes the lab's lock at once, or not at all.
async fn take_lock(home: &Home, fusion: &Fusion, lab: &str, verb: &str) -> Result<HeldLab, EngineError> {
    verbs::lock(home, fusion, lab, verb, patience(), &mut |_| {}).await
}

/// Nobody waits for another run, as without `--wait`.
fn patience() -> Patience {
    Patience { run: Duration::ZERO, order: Limits::default().vm_clone }
}

/// Lets a lab's machines start from the simulated cloud image.
fn on_simulated_image(mut lab: Lab, root: &Path) -> Lab {
    let image = Places::new(root).image();
    let digest = install::image(&image, None).expect("the image can be written");
    lab.image.name = "simulated".to_owned();
    lab.image.url = format!("file://{}", image.display());
    lab.image.digest = Some(digest);
    (lab.image.newest, lab.image.size) = (None, None);
    lab
}
