//! One run's tools: the lab, the ports to the world, where things are kept, and who listens.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::formats::command::{Command, brief};
use crate::formats::printable;
use crate::host::fusion::Fusion;
use crate::host::fusion::networks::Networks;
use crate::host::fusion::verbs::Deadlines;
use crate::host::lock::Lock;
use crate::host::{GuestShell, GuestTarget, HostError, Hypervisor, LineSink, Output};
use crate::lab::limits::Limits;
use crate::lab::paths::{self, Home, LabDir};
use crate::lab::{Lab, Node, names};
use crate::plan::step::StepId;
use crate::stack::identity::Identity;
use crate::stack::secrets::Secrets;

use super::error::{EngineError, Result};
use super::event::Event;
use super::home::store;
use super::journal::Journal;
use super::observe::identities::Identities;
use super::output::{RunFolder, StepOutput};
use super::terminal::Terminal;

/// The verb that takes a lab down, as the journal has it.
pub const DESTROY: &str = "destroy";
/// Lines of a console or a command's output that an error shows.
const TAIL_LINES: usize = 12;

/// Everything that a run needs. Cheap to clone; steps run beside each other on it.
#[derive(Clone)]
pub struct Engine {
    pub lab: Arc<Lab>,
    pub home: Home,
    pub dir: LabDir,
    pub fusion: Fusion,
    pub vms: Arc<dyn Hypervisor>,
    pub networks: Networks,
    pub shell: Arc<dyn GuestShell>,
    pub host_cpus: u32,
    pub journal: Journal,
    pub events: mpsc::UnboundedSender<Event>,
    pub cancel: CancellationToken,
    pub terminal: Arc<Terminal>,
    /// This run's hold on the template, from the first step on it until it is frozen.
    pub template_turn: Arc<tokio::sync::Mutex<Option<Lock>>>,
    /// Which machine said that it is which.
    pub identities: Arc<Identities>,
    /// The lab's keys; filled by the step that makes them or when they are read.
    identity: Arc<RwLock<Option<Arc<Identity>>>>,
    /// What of the lab's keys must not be shown or logged.
    secrets: Arc<RwLock<Secrets>>,
    /// Where the output of steps is kept, for runs that keep it.
    run_folder: Arc<OnceLock<RunFolder>>,
    /// The output of the step that this engine works for.
    output: Option<Arc<StepOutput>>,
}

/// What [`Engine::new`] is given.
pub struct Parts {
    pub lab: Lab,
    pub home: Home,
    pub fusion: Fusion,
    pub vms: Arc<dyn Hypervisor>,
    pub networks: Networks,
    pub shell: Arc<dyn GuestShell>,
    pub host_cpus: u32,
    pub events: mpsc::UnboundedSender<Event>,
    pub cancel: CancellationToken,
    /// The verb, for the journal.
    pub verb: &'static str,
    /// The journal's file: in the lab's folder, but for verbs that make no lab.
    pub journal: PathBuf,
}

impl Engine {
    /// Puts the parts together and reads the lab's identity, if it has one.
    ///
    /// # Errors
    /// [`EngineError::Identity`] if that is of no use, but for `destroy`.
    pub fn new(parts: Parts) -> Result<Self> {
        let dir = parts.home.lab(&parts.lab.name);
        let identity = match store::load(&parts.lab, &dir) {
            // Taking a lab down asks no guest anything: broken keys must not keep it up.
            Err(EngineError::Identity(_)) if parts.verb == DESTROY => None,
            loaded => loaded?,
        };
        Ok(Self {
            journal: Journal::new(parts.journal, parts.verb),
            secrets: Arc::new(RwLock::new(identity.as_ref().map(Secrets::of).unwrap_or_default())),
            identity: Arc::new(RwLock::new(identity.map(Arc::new))),
            lab: Arc::new(parts.lab),
            home: parts.home,
            dir,
            fusion: parts.fusion,
            vms: parts.vms,
            networks: parts.networks,
            shell: parts.shell,
            host_cpus: parts.host_cpus,
            events: parts.events,
            cancel: parts.cancel,
            terminal: Arc::default(),
            identities: Arc::default(),
            template_turn: Arc::default(),
            run_folder: Arc::default(),
            output: None,
        })
    }

    /// Returns the same engine for work that must come to its end though the user said stop.
    pub fn sheltered(&self) -> Self {
        Self {
            cancel: CancellationToken::new(),
            template_turn: Arc::default(),
            identities: Arc::default(),
            ..self.clone()
        }
    }

    /// Returns the same engine, which keeps what the commands of a step print.
    pub fn recording(&self, step: &StepId) -> Self {
        let path = self.run_folder.get().map(|folder| folder.file_of(step));
        Self { output: Some(Arc::new(StepOutput::new(path, self.secrets.clone()))), ..self.clone() }
    }

    /// Keeps what the steps of this run print in a folder. The first one stays.
    pub fn keep_output(&self, folder: RunFolder) {
        let _ = self.run_folder.set(folder);
    }

    /// The output of the step that this engine works for.
    pub fn output(&self) -> Option<&Arc<StepOutput>> {
        self.output.as_ref()
    }

    /// Tells what happened. Of what guests and programs printed, only what can be shown.
    pub fn send(&self, event: Event) {
        // Nobody listens any more only when the program ends.
        let _ = self.events.send(event.cleaned(|text| self.redact(text)));
    }

    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.read().expect("no holder of this lock panics").clone()
    }

    pub fn set_identity(&self, identity: Identity) {
        *self.secrets.write().unwrap_or_else(PoisonError::into_inner) = Secrets::of(&identity);
        *self.identity.write().expect("no holder of this lock panics") = Some(Arc::new(identity));
    }

    /// Returns the identity that a step of the plan has made by now.
    pub fn need_identity(&self) -> Result<Arc<Identity>> {
        self.identity().ok_or_else(|| EngineError::Defect {
            reason: "the lab's identity is missing; identity.create must come first".to_owned(),
        })
    }

    /// Returns a text as one line that can be shown and logged: without the lab's secrets, without what a terminal
    /// would obey, of a bearable length.
    pub fn redact(&self, text: &str) -> String {
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        printable::line(&secrets.conceal(&printable::printable(text)))
    }

    /// Returns the folder of a node's VM.
    pub fn bundle(&self, node: &str) -> PathBuf {
        paths::vm_bundle(&self.fusion.library, &self.lab.name, node)
    }

    pub fn vmx(&self, node: &str) -> PathBuf {
        paths::vmx_of(&self.bundle(node))
    }

    /// Returns a node of the lab by the name that a step carries.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.lab
            .node(name)
            .ok_or_else(|| EngineError::Defect { reason: format!("{name} is not in this lab") })
    }

    /// Returns where and as whom to log in to a node.
    pub fn target(&self, node: &Node) -> Result<GuestTarget> {
        let identity = self.need_identity()?;
        let host_key = identity
            .host(&node.name)
            .map(|key| key.public_line.clone())
            .ok_or_else(|| EngineError::guest(&node.name, "has no SSH host key in the lab's identity"))?;
        Ok(GuestTarget {
            node: node.name.clone(),
            address: node.address(),
            user: names::GUEST_USER.to_owned(),
            host_key,
            identity: self.dir.identity().join(store::USER_KEY),
        })
    }

    /// Runs a command in a guest, whatever its exit status.
    pub async fn run(&self, node: &Node, command: &Command, limit: Duration) -> Result<Output> {
        self.carry_out(node, command, limit, None).await
    }

    /// Runs a command as [`Self::run`] does, for who takes its lines and hands them to the step, which keeps them.
    pub async fn run_with_lines(
        &self,
        node: &Node,
        command: &Command,
        limit: Duration,
        lines: LineSink,
    ) -> Result<Output> {
        self.carry_out(node, command, limit, Some(lines)).await
    }

    async fn carry_out(
        &self,
        node: &Node,
        command: &Command,
        limit: Duration,
        lines: Option<LineSink>,
    ) -> Result<Output> {
        let target = self.target(node)?;
        let entry = self.output.as_ref().map(|output| output.command(&node.name, command));
        let lines = match (lines, &entry) {
            (Some(lines), entry) => {
                entry.iter().for_each(|entry| entry.stream());
                Some(lines)
            }
            (None, Some(entry)) => Some(entry.sink()),
            (None, None) => None,
        };
        let output = tokio::select! {
            output = self.shell.run(&target, command, limit, lines) => output,
            () = self.cancel.cancelled() => Err(HostError::Interrupted),
        };
        entry.iter().for_each(|entry| entry.end(&output));
        Ok(output?)
    }

    /// Runs a short command that must succeed, and returns its output.
    pub async fn must(&self, node: &Node, command: &Command) -> Result<Output> {
        self.must_within(node, command, self.lab.limits.guest_command).await
    }

    /// Runs a command that must succeed within a limit, and returns its output, of which nothing may be left out.
    pub async fn must_within(&self, node: &Node, command: &Command, limit: Duration) -> Result<Output> {
        let output = self.run(node, command, limit).await?;
        if !output.success() || output.left_out > 0 {
            return Err(command_failed(&node.name, command, &output));
        }
        Ok(output)
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

/// Returns the error of a command that ended badly, with the end of what it printed.
pub fn command_failed(node: &str, command: &Command, output: &Output) -> EngineError {
    let reason = match (&output.signal, output.status) {
        (Some(signal), _) => format!("ended by signal {signal}"),
        (None, _) if output.left_out > 0 => {
            format!("printed so much that the first {} bytes were not kept", output.left_out)
        }
        (None, Some(status)) => format!("exit status {status}"),
        (None, None) => "ended without a status".to_owned(),
    };
    EngineError::Command {
        node: node.to_owned(),
        program: command.program().to_owned(),
        command: brief(&command.shell_line()),
        reason,
        tail: tail(output),
    }
}

/// Returns a text's last lines that are not empty: what an error shows of a console or a command.
pub fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| (*line).to_owned()).collect()
}

/// Returns the last lines of standard error, or of standard output if that is empty.
pub fn tail(output: &Output) -> Vec<String> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let text = if stderr.trim().is_empty() { stdout } else { stderr };
    last_lines(&text)
}
