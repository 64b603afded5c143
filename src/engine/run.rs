//! The scheduler: runs a plan's steps as soon as what they need is done, under the gates, until nothing is left.
//!
//! A failed step stops what depends on it and nothing else. An interruption lets the running steps
//! finish their atomic pieces and starts no new ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use crate::host::lock::{self, Lock};
use crate::host::{HostError, clock, files};
use crate::lab::paths;
use crate::plan::step::{Gate, Plan, Step, StepId};

use super::context::{Engine, last_lines};
use super::error::{EngineError, Requirement, Result, StepFailure};
use super::event::{Event, PlannedStep};
use super::journal::State;
use super::steps;
use super::terminal::Held;
use super::wait::{Probe, until};

/// SSH logins at once: OpenSSH starts to refuse at ten (facts/crates.md §3).
const GUESTS_AT_ONCE: usize = 8;
/// Clones of one parent at once: a clone writes the parent's records (facts/vmrun-vmrest.md §1.5).
const CLONES_AT_ONCE: usize = 1;

/// A step while it runs, with its way to the outside.
#[derive(Clone)]
pub struct StepContext {
    pub engine: Arc<Engine>,
    pub step: Arc<Step>,
}

impl StepContext {
    /// Returns the same step for what must come to its end though the user said stop.
    pub fn sheltered(&self) -> Self {
        Self { engine: Arc::new(self.engine.sheltered()), step: self.step.clone() }
    }

    pub fn send(&self, event: Event) {
        self.engine.send(event);
    }

    /// Says what the step waits for.
    pub fn waiting(&self, requirement: String) {
        self.send(Event::Waiting { step: self.step.id.clone(), requirement });
    }

    pub fn note(&self, text: impl Into<String>) {
        self.send(Event::Note { step: Some(self.step.id.clone()), text: text.into() });
    }

    pub fn progress(&self, done: u64, total: Option<u64>) {
        self.send(Event::Progress { step: self.step.id.clone(), done, total });
    }

    pub fn line(&self, line: &str) {
        self.send(Event::Line { step: self.step.id.clone(), line: self.engine.redact(line) });
    }

    /// Takes the terminal for a program that asks the user something, once nothing is drawn on it any more. It goes
    /// back when the result is dropped.
    pub async fn terminal(&self) -> Held {
        self.engine.terminal.hold(&self.engine.events).await
    }

    /// Fails once the user has said stop.
    pub fn check_interrupt(&self) -> Result<()> {
        if self.engine.cancel.is_cancelled() { Err(HostError::Interrupted.into()) } else { Ok(()) }
    }

    /// Pauses between two probes, or less if the user says stop.
    pub async fn pause(&self, pause: Duration) -> Result<()> {
        tokio::select! {
            () = clock::pause(pause) => Ok(()),
            () = self.engine.cancel.cancelled() => Err(HostError::Interrupted.into()),
        }
    }

    /// Waits for a lock that other runs may hold.
    pub async fn turn(&self, path: &Path, what: &str) -> Result<Lock> {
        let requirement = Requirement {
            what: format!("{what} is free"),
            limit_name: "turn",
            limit: self.engine.lab.limits.turn,
            hint: "another run of fusionlab works on it: wait for it, or end it",
        };
        until(self, requirement, async || match lock::acquire(path, what, &self.step.id.0) {
            Ok(lock) => Ok(Probe::Met(lock)),
            Err(held @ HostError::Locked { .. }) => Ok(Probe::NotYet(held.to_string())),
            Err(error) => Err(error.into()),
        })
        .await
    }

    /// Returns the last lines of the node's serial console, if it has one.
    pub fn console_tail(&self) -> Vec<String> {
        let Some(node) = &self.step.node else { return Vec::new() };
        let console = self.engine.bundle(node).join(paths::CONSOLE_LOG);
        let text = files::read(&console)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        last_lines(&text)
    }
}

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Summary {
    pub done: BTreeMap<StepId, Duration>,
    pub changed: usize,
}

/// Carries out a plan.
///
/// # Errors
/// [`EngineError::Steps`] with every failure, or [`EngineError::Interrupted`]; what was done stays done.
pub async fn run(engine: &Arc<Engine>, plan: &Plan) -> Result<Summary> {
    // Steps wait far more than they compute, so one thread carries them all.
    LocalSet::new().run_until(carry_out(engine, plan)).await
}

async fn carry_out(engine: &Arc<Engine>, plan: &Plan) -> Result<Summary> {
    let mut schedule = Schedule::new(engine.clone(), plan);
    schedule.announce(plan);
    schedule.start_ready();
    while let Some(ended) = schedule.running.join_next().await {
        let ended = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        schedule.settle(ended)?;
        schedule.start_ready();
    }
    schedule.finish(plan.steps.len())
}

struct Ended {
    step: Arc<Step>,
    took: Duration,
    result: Result<bool>,
}

struct Schedule {
    engine: Arc<Engine>,
    /// Not started, in the plan's order.
    waiting: Vec<Arc<Step>>,
    running: JoinSet<Ended>,
    summary: Summary,
    failures: Vec<StepFailure>,
    /// Failed or skipped steps: what needs them is skipped.
    lost: BTreeSet<StepId>,
    skipped: usize,
    interrupted: bool,
    gates: BTreeMap<Gate, Arc<Semaphore>>,
}

impl Schedule {
    fn new(engine: Arc<Engine>, plan: &Plan) -> Self {
        let power = usize::try_from(engine.host_cpus).unwrap_or(1).max(2);
        let gates = [(Gate::Parent, CLONES_AT_ONCE), (Gate::PowerOn, power), (Gate::Guest, GUESTS_AT_ONCE)];
        Self {
            engine,
            waiting: plan.steps.iter().cloned().map(Arc::new).collect(),
            running: JoinSet::new(),
            summary: Summary::default(),
            failures: Vec::new(),
            lost: BTreeSet::new(),
            skipped: 0,
            interrupted: false,
            gates: gates.into_iter().map(|(gate, size)| (gate, Arc::new(Semaphore::new(size)))).collect(),
        }
    }

    fn announce(&self, plan: &Plan) {
        let costs = self.engine.journal.costs();
        let cost =
            |step: &Step| costs.get(&step.id.0).map_or(step.cost_seconds, |seconds| seconds.ceil() as u32);
        let steps = plan.steps.iter().map(|step| PlannedStep {
            id: step.id.clone(),
            node: step.node.clone(),
            phase: step.phase,
            text: step.text.clone(),
            cost_seconds: cost(step),
        });
        self.engine.send(Event::Planned { steps: steps.collect() });
    }

    /// Starts every step whose needs are done; skips those whose needs are lost.
    fn start_ready(&mut self) {
        let mut still_waiting = Vec::new();
        for step in std::mem::take(&mut self.waiting) {
            if let Some(lost) = step.needs.iter().find(|need| self.lost.contains(need)) {
                self.skip(&step, format!("{lost} failed"));
            } else if self.interrupted || self.engine.cancel.is_cancelled() {
                self.interrupted = true;
                self.skip(&step, "interrupted".to_owned());
            } else if step.needs.iter().all(|need| self.summary.done.contains_key(need)) {
                self.start(step);
            } else {
                still_waiting.push(step);
            }
        }
        self.waiting = still_waiting;
    }

    fn skip(&mut self, step: &Step, because: String) {
        self.lost.insert(step.id.clone());
        self.skipped += 1;
        self.engine.send(Event::StepSkipped { step: step.id.clone(), because });
    }

    fn start(&mut self, step: Arc<Step>) {
        let gate = step.gate.as_ref().and_then(|gate| self.gates.get(gate)).cloned();
        let context = StepContext { engine: self.engine.clone(), step };
        self.running.spawn_local(async move {
            let _permit = match gate {
                Some(gate) => Some(gate.acquire_owned().await.expect("gates are never closed")),
                None => None,
            };
            let started = clock::monotonic();
            let result = attempt(&context).await;
            Ended { step: context.step, took: started.elapsed(), result }
        });
    }

    /// Books how a step ended.
    fn settle(&mut self, ended: Ended) -> Result<()> {
        let Ended { step, took, result } = ended;
        let id = step.id.clone();
        match result {
            Ok(changed) => {
                self.engine.journal.write(&id, State::Done, Some(took), None)?;
                self.engine.send(Event::StepDone { step: id.clone(), took, changed });
                self.summary.changed += usize::from(changed);
                self.summary.done.insert(id, took);
            }
            Err(EngineError::Host(HostError::Interrupted)) => {
                self.interrupted = true;
                self.skip(&step, "interrupted".to_owned());
            }
            Err(error) => {
                let error = error.with_tail(|line| self.engine.redact(line));
                let message = error.to_string();
                self.engine.journal.write(&id, State::Failed, Some(took), Some(message.clone()))?;
                self.engine.send(Event::StepFailed { step: id.clone(), took, message });
                self.lost.insert(id.clone());
                self.failures.push(StepFailure { step: id, node: step.node.clone(), error });
            }
        }
        Ok(())
    }

    fn finish(self, planned: usize) -> Result<Summary> {
        let done = self.summary.done.len();
        if !self.failures.is_empty() {
            return Err(EngineError::Steps { failures: self.failures, done, skipped: self.skipped, planned });
        }
        if self.interrupted {
            return Err(EngineError::Interrupted { done, planned });
        }
        Ok(self.summary)
    }
}

async fn attempt(context: &StepContext) -> Result<bool> {
    context.check_interrupt()?;
    context.engine.journal.write(&context.step.id, State::Started, None, None)?;
    context.send(Event::StepStarted { step: context.step.id.clone() });
    steps::perform(context).await
}

#[cfg(test)]
mod tests {
    use tokio::sync::Barrier;

    use super::super::fixture::{Bench, Machines, clone, plan, start};
    use super::super::journal::Record;
    use super::*;

    const NODES: [&str; 3] = ["gateway1", "gateway2", "k8s-master1"];

    fn bench(machines: Machines) -> Bench {
        let bench = Bench::new(machines);
        NODES.iter().for_each(|node| bench.machine(node));
        bench
    }

    fn journal(bench: &Bench) -> Vec<(String, State)> {
        let records = bench.engine.journal.read().unwrap();
        records.into_iter().map(|Record { step, state, .. }| (step, state)).collect()
    }

    #[tokio::test]
    async fn a_failed_step_stops_what_needs_it_and_nothing_else() {
        let mut bench = bench(Machines { refuse: ["gateway1"].into(), ..Machines::default() });
        let plan = plan([
            start("gateway1", &[]),
            start("gateway2", &["vm.start/gateway1"]),
            clone("k8s-master2", &["vm.start/gateway2"]),
            start("k8s-master1", &[]),
        ]);
        let error = run(&bench.engine, &plan).await.unwrap_err();
        let EngineError::Steps { failures, done, skipped, planned } = error else { panic!("{error:?}") };
        assert_eq!((done, skipped, planned), (1, 2, 4));
        let [StepFailure { step, node, error }] = failures.as_slice() else { panic!("{failures:?}") };
        assert_eq!((step.0.as_str(), node.as_deref()), ("vm.start/gateway1", Some("gateway1")));
        assert!(error.to_string().contains("The operation was canceled"), "{error}");
        let skips: Vec<_> = bench
            .events()
            .into_iter()
            .filter_map(|event| match event {
                Event::StepSkipped { step, because } => Some((step.0, because)),
                _ => None,
            })
            .collect();
        let because = |step: &str, lost: &str| (step.to_owned(), format!("{lost} failed"));
        assert_eq!(
            skips,
            [
                because("vm.start/gateway2", "vm.start/gateway1"),
                because("vm.clone/k8s-master2", "vm.start/gateway2")
            ]
        );
        let failed: Vec<_> =
            journal(&bench).into_iter().filter(|(_, state)| *state == State::Failed).collect();
        assert_eq!(failed, [("vm.start/gateway1".to_owned(), State::Failed)]);
    }

    #[tokio::test]
    async fn what_need_not_wait_runs_at_once() {
        // None of the starts ends before all three are under way.
        let bench = bench(Machines { together: Some(Barrier::new(3)), ..Machines::default() });
        let plan = plan(NODES.map(|node| start(node, &[])));
        let all = tokio::time::timeout(Duration::from_secs(20), run(&bench.engine, &plan)).await;
        let summary = all.expect("they run beside each other").unwrap();
        assert_eq!((summary.done.len(), summary.changed), (3, 3));
    }

    #[tokio::test]
    async fn two_clones_of_one_parent_never_run_at_once() {
        let bench = bench(Machines::default());
        bench.freeze_template();
        let plan = plan(["k8s-master2", "k8s-master3", "k8s-worker1"].map(|node| clone(node, &[])));
        run(&bench.engine, &plan).await.unwrap();
        assert_eq!(bench.machines.clones_at_most(), 1);
    }

    #[tokio::test]
    async fn a_step_that_finds_its_work_done_changes_nothing() {
        let bench = bench(Machines::default());
        bench.machines.run(&bench.engine.vmx("gateway1"));
        let summary = run(&bench.engine, &plan([start("gateway1", &[])])).await.unwrap();
        assert_eq!((summary.done.len(), summary.changed), (1, 0));
        let both = [State::Started, State::Done].map(|state| ("vm.start/gateway1".to_owned(), state));
        assert_eq!(journal(&bench), both);
    }

    #[tokio::test]
    async fn an_interruption_lets_what_runs_come_to_its_end_and_begins_nothing_new() {
        let release = tokio_util::sync::CancellationToken::new();
        let bench = bench(Machines { hold_starts: Some(release.clone()), ..Machines::default() });
        let plan = plan([start("gateway1", &[]), start("gateway2", &["vm.start/gateway1"])]);
        let engine = bench.engine.clone();
        let user = async {
            while bench.engine.journal.read().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            engine.cancel.cancel();
            release.cancel();
        };
        let (ended, ()) = tokio::join!(run(&bench.engine, &plan), user);
        assert!(matches!(ended, Err(EngineError::Interrupted { done: 1, planned: 2 })), "{ended:?}");
        let both = [State::Started, State::Done].map(|state| ("vm.start/gateway1".to_owned(), state));
        assert_eq!(journal(&bench), both);
    }

    #[tokio::test]
    async fn what_was_interrupted_before_it_began_does_nothing() {
        let bench = bench(Machines::default());
        bench.engine.cancel.cancel();
        let ended = run(&bench.engine, &plan(NODES.map(|node| start(node, &[])))).await;
        assert!(matches!(ended, Err(EngineError::Interrupted { done: 0, planned: 3 })), "{ended:?}");
        assert_eq!(journal(&bench), []);
    }

    #[tokio::test]
    async fn estimates_come_from_what_steps_took_last() {
        let mut bench = bench(Machines::default());
        let slow = StepId("vm.start/gateway1".to_owned());
        bench.engine.journal.write(&slow, State::Done, Some(Duration::from_millis(41_200)), None).unwrap();
        let plan = plan([start("gateway1", &[]), start("gateway2", &[])]);
        run(&bench.engine, &plan).await.unwrap();
        let Some(Event::Planned { steps }) = bench.events().into_iter().next() else {
            panic!("the plan is said first");
        };
        assert_eq!(steps.iter().map(|step| step.cost_seconds).collect::<Vec<_>>(), [42, 1]);
    }
}
