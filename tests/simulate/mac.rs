//! A simulated Mac in a folder of memory, and the verbs as the program runs them on it.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fusionlab::engine::context::{Engine, Parts, deadlines};
use fusionlab::engine::error::EngineError;
use fusionlab::engine::event::Event;
use fusionlab::engine::lab_lock::Patience;
use fusionlab::engine::{proof, verbs, verify};
use fusionlab::host::fusion::networks::Networks;
use fusionlab::host::fusion::vmrun::Vmrun;
use fusionlab::host::fusion::{Fusion, discover};
use fusionlab::host::lock::Lock;
use fusionlab::lab::catalogue::Arch;
use fusionlab::lab::limits::Limits;
use fusionlab::lab::paths::Home;
use fusionlab::lab::{Lab, resolve};
use fusionlab::plan::drill::Wish;
use fusionlab::sim::inside::{Inside, InsideShell, Standing};
use fusionlab::sim::install;
use fusionlab::sim::places::Places;
use fusionlab::sim::settings::Settings;
use fusionlab::stack::checks;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The time of day at which every simulation begins: 2026-11-27T08:00:00Z.
const MORNING_MS: u64 = 1_795_766_400_000;
const HOST_CPUS: u32 = 8;

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
        }
    }

    /// Says whether it takes the lab's lock.
    pub fn changes(self) -> bool {
        self != Self::Verify
    }
}

/// One Mac.
pub struct Mac {
    pub inside: Arc<Inside>,
    pub home: Home,
    pub fusion: Fusion,
    pub lab: Lab,
    /// Another lab on it, if there is one.
    second: OnceCell<Lab>,
    /// Everything that a verb told, as JSON.
    pub told: Arc<Mutex<Vec<String>>>,
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
    pub fn new(lab_file: &str, seed: u64) -> Self {
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
            lab,
            second: OnceCell::new(),
            told: Arc::default(),
            _standing: standing,
            _folder: folder,
        }
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
        std::iter::once(&self.lab).chain(self.second())
    }

    fn engine(
        &self,
        lab: &Lab,
        verb: &'static str,
        cancel: &CancellationToken,
    ) -> Result<Arc<Engine>, EngineError> {
        let (sender, mut events) = mpsc::unbounded_channel();
        let (inside, told) = (self.inside.clone(), self.told.clone());
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let Event::StepStarted { step } = &event {
                    inside.step_began(&step.to_string());
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
        Ok(Arc::new(Engine::new(Parts {
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
        })?))
    }

    /// Runs a verb on the first lab.
    pub async fn run(&self, verb: Verb, cancel: &CancellationToken) -> Result<(), EngineError> {
        self.run_on(&self.lab, verb, cancel).await
    }

    /// Runs a verb on a lab as the program does, from its lock to its last word.
    pub async fn run_on(&self, lab: &Lab, verb: Verb, cancel: &CancellationToken) -> Result<(), EngineError> {
        let _lock = match verb.changes() {
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
                let plan = verbs::drill_outlook(&engine, &Wish::default()).await?.plan;
                verbs::carry_out(&engine, &plan).await?;
            }
            Verb::Destroy => {
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
        }
        Ok(())
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
        Event::Checked(proven) if !proven.passed => format!("! {}: {}", proven.id, proven.detail),
        _ => return None,
    })
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
async fn take_lock(home: &Home, fusion: &Fusion, lab: &str, verb: &str) -> Result<Lock, EngineError> {
    let patience = Patience { run: Duration::ZERO, order: Limits::default().vm_clone };
    verbs::lock(home, fusion, lab, verb, patience, &mut |_| {}).await
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
