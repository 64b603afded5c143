//! An engine without processes for this layer's tests: its VMs are names in a set, its guests are never at home.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::sync::{Barrier, mpsc};
use tokio_util::sync::CancellationToken;

use crate::formats::command::Command;
use crate::formats::mac::Mac;
use crate::formats::vmdk::{self, EmptyDisk};
use crate::host::download::{Digest, Fetched};
use crate::host::fusion::Fusion;
use crate::host::fusion::networks::Networks;
use crate::host::{
    Clone, GuestShell, GuestTarget, HostError, Hypervisor, LineSink, Output, Result, Stop, files,
};
use crate::lab::paths::{self, Home};
use crate::plan::step::{Action, Phase, Plan, Step, StepId};
use crate::stack::fixture;

use super::context::{Engine, Parts};
use super::event::Event;
use super::images::template::{Manifest, Stage, TemplateDir};

/// Size and CID of the template's disk, and the CID of its clones'.
const DISK_SIZE: u64 = 1 << 20;
const DISK_CID: u32 = 7;
const CLONE_CID: u32 = 8;

/// An engine with what a test looks at.
pub struct Bench {
    pub engine: Arc<Engine>,
    pub machines: Arc<Machines>,
    events: mpsc::UnboundedReceiver<Event>,
    /// Goes with the bench.
    _folder: TempDir,
}

impl Bench {
    /// The document's lab on an empty Mac, with a template's VMX.
    pub fn new(machines: Machines) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = files::canonicalize(folder.path()).unwrap();
        let machines = Arc::new(machines);
        let (sender, events) = mpsc::unbounded_channel();
        let fusion = fusion(&root);
        let engine = Engine::new(Parts {
            lab: fixture::lab(),
            networks: Networks::new(fusion.clone(), Home(root.join("home")).network()),
            home: Home(root.join("home")),
            vms: machines.clone(),
            fusion,
            shell: Arc::new(NobodyHome),
            host_cpus: 8,
            events: sender,
            cancel: CancellationToken::new(),
            verb: "up",
            journal: Home(root.join("home")).lab(&fixture::lab().name).journal(),
        })
        .unwrap();
        files::create_dir(engine.dir.root()).unwrap();
        let bench = Self { engine: Arc::new(engine), machines, events, _folder: folder };
        bench.file(&TemplateDir::of(&bench.engine).vmx(), "config.version = \"8\"\n");
        bench
    }

    /// Finishes the template, so that it can be cloned.
    pub fn freeze_template(&self) {
        let template = TemplateDir::of(&self.engine);
        let disk = files::create_new(&template.disk(), 0o644).unwrap();
        let nothing = &mut EmptyDisk { size: 0 };
        vmdk::write_sparse(nothing, DISK_SIZE, disk, paths::DISK_VMDK, DISK_CID).unwrap();
        let image = Fetched {
            path: template.vmx(),
            url: self.engine.lab.image.url.clone(),
            digest: Digest::Sha256("00".to_owned()),
            is_newest: false,
        };
        template.begin(&self.engine.lab.image, &image).unwrap();
        let manifest = template.read().unwrap().unwrap();
        template.write(&Manifest { stage: Stage::Frozen, ..manifest }).unwrap();
    }

    pub fn file(&self, path: &Path, text: &str) {
        files::create_dir(path.parent().unwrap()).unwrap();
        files::write_atomic(path, text.as_bytes(), 0o644).unwrap();
    }

    /// Puts a VM into the library that can be started.
    pub fn machine(&self, node: &str) {
        self.file(&self.engine.vmx(node), "config.version = \"8\"\n");
    }

    /// Returns the events so far.
    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }
}

fn fusion(root: &Path) -> Fusion {
    Fusion {
        root: root.to_owned(),
        app: root.join("Applications/VMware Fusion.app"),
        version: "13.6.3".to_owned(),
        build: "1".to_owned(),
        simulated: false,
        guests: String::new(),
        library: root.join("Virtual Machines.localized"),
    }
}

/// Returns a step that starts a VM, under no gate.
pub fn start(node: &str, needs: &[&str]) -> Step {
    Step { gate: None, ..step(Action::StartVm { node: node.to_owned() }, needs) }
}

/// Returns a step that clones a VM, under the gate of the parent.
pub fn clone(node: &str, needs: &[&str]) -> Step {
    step(Action::CloneVm { node: node.to_owned() }, needs)
}

fn step(action: Action, needs: &[&str]) -> Step {
    let text = action.id().to_string().replace('/', " ");
    let needs = needs.iter().map(|need| StepId::read(need)).collect();
    Step { needs, phase: Phase::Boot, cost_seconds: 1, ..Step::new(action, text, "a test wants it") }
}

pub fn plan(steps: impl IntoIterator<Item = Step>) -> Plan {
    Plan { steps: steps.into_iter().collect(), ..Plan::default() }
}

/// VMs that are names in a set.
pub struct Machines {
    /// Names of machines that Fusion refuses to start.
    pub refuse: BTreeSet<&'static str>,
    /// Starts that must be under way at once before one of them ends.
    pub together: Option<Barrier>,
    /// What every start waits for.
    pub hold_starts: Option<CancellationToken>,
    /// Whether a stop and a deletion do nothing, and fail or say that all is well.
    pub deaf: bool,
    /// The CID that a clone says its parent has.
    pub clones_parent: u32,
    pub state: Mutex<State>,
}

impl Default for Machines {
    fn default() -> Self {
        Self {
            refuse: BTreeSet::new(),
            together: None,
            hold_starts: None,
            deaf: false,
            clones_parent: DISK_CID,
            state: Mutex::default(),
        }
    }
}

#[derive(Default)]
pub struct State {
    running: BTreeSet<PathBuf>,
    clones_now: usize,
    clones_at_most: usize,
}

impl Machines {
    pub fn clones_at_most(&self) -> usize {
        self.state.lock().unwrap().clones_at_most
    }

    /// Makes a VM run without anybody having started it.
    pub fn run(&self, vmx: &Path) {
        self.state.lock().unwrap().running.insert(files::resolved(vmx));
    }
}

#[async_trait]
impl Hypervisor for Machines {
    async fn running(&self) -> Result<BTreeSet<PathBuf>> {
        Ok(self.state.lock().unwrap().running.clone())
    }

    async fn start(&self, vmx: &Path) -> Result<()> {
        let name = vmx.file_stem().unwrap().to_string_lossy();
        if let Some(together) = &self.together {
            together.wait().await;
        }
        if let Some(hold) = &self.hold_starts {
            hold.cancelled().await;
        }
        if self.refuse.contains(&*name) {
            let message = "The operation was canceled".to_owned();
            return Err(HostError::Fusion { operation: "start", vmx: vmx.to_owned(), message, cause: None });
        }
        self.run(vmx);
        Ok(())
    }

    async fn stop(&self, vmx: &Path, _how: Stop) -> Result<()> {
        if self.deaf {
            return Ok(());
        }
        self.state.lock().unwrap().running.remove(vmx);
        Ok(())
    }

    async fn snapshot(&self, _vmx: &Path, _name: &str) -> Result<()> {
        Ok(())
    }

    async fn snapshots(&self, _vmx: &Path) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn clone_vm(
        &self,
        _from: &Path,
        to: &Path,
        _how: Clone,
        _snapshot: &str,
        _name: &str,
    ) -> Result<()> {
        {
            let mut state = self.state.lock().unwrap();
            state.clones_now += 1;
            state.clones_at_most = state.clones_at_most.max(state.clones_now);
        }
        // Whoever may clone beside this one gets the chance to.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        files::write_atomic(to, b"config.version = \"8\"\n", 0o644)?;
        let disk = files::create_new(&to.with_file_name(paths::DISK_VMDK), 0o644)?;
        let parent = (self.clones_parent, "template.vmdk");
        vmdk::write_child(disk, DISK_SIZE, paths::DISK_VMDK, CLONE_CID, parent).unwrap();
        self.state.lock().unwrap().clones_now -= 1;
        Ok(())
    }

    async fn delete(&self, vmx: &Path) -> Result<()> {
        if self.deaf {
            let message = "The virtual machine is running".to_owned();
            return Err(HostError::Fusion { operation: "delete", vmx: vmx.to_owned(), message, cause: None });
        }
        files::remove_file(vmx)
    }

    async fn address(&self, _vmx: &Path, _mac: Mac) -> Result<Option<Ipv4Addr>> {
        Ok(None)
    }

    async fn variable(&self, _vmx: &Path, _name: &str) -> Result<Option<String>> {
        Ok(None)
    }
}

/// Guests that refuse every connection.
struct NobodyHome;

#[async_trait]
impl GuestShell for NobodyHome {
    async fn run(
        &self,
        target: &GuestTarget,
        _command: &Command,
        _limit: Duration,
        _lines: Option<LineSink>,
    ) -> Result<Output> {
        let address = (target.address, 22).into();
        Err(HostError::Connect { address, source: std::io::ErrorKind::ConnectionRefused.into() })
    }
}
