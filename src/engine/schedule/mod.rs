//! The scheduler: runs a plan's steps as soon as what they need is done and a gate lets them in, the longest way first.
//!
//! ```text
//!          order.rs: longest remaining way first                policy.rs: deadline, tries
//!                         │                                          │
//! plan ─▶ needs done ─▶ ready ─▶ gates.rs ──in──▶ running: attempt.rs ─▶ Perform (real.rs | model.rs)
//!             ▲           └──held, and why                           │
//!             └──────────────────────── settle ◀──── done, failed ───┘
//! ```
//!
//! A failed step stops what depends on it and nothing else. At the user's wish to stop nothing new begins; what runs has
//! `limits.stop` to finish its atomic pieces, and is cut off then, as by a crash; only what holds something of others'
//! in pieces is brought to its end. One thread carries it all, since steps wait far more than they compute.

mod attempt;
pub mod gates;
pub mod model;
pub mod order;
pub mod policy;
mod real;
mod said;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet, LocalSet};
use tokio_util::sync::CancellationToken;

use crate::host::HostError;
use crate::host::clock::{self, Instant};
use crate::lab::limits::Limits;
use crate::plan::step::{Action, Plan, Step, StepId};

use crate::engine::error::{EngineError, Result, StepFailure};
use crate::engine::event::{Event, Held, PlannedStep};
use crate::engine::journal::State;
use gates::{Entry, Gates, Host};
use order::{Costs, Order};
pub use real::run;

/// How often the computer's memory is looked at while a machine is kept off for want of it.
const MEMORY_LOOK: Duration = Duration::from_secs(1);

/// Whoever does a plan's steps and writes down what became of them.
pub trait Perform: 'static {
    /// Does what a step says. Returns whether anything was changed.
    fn perform(&self, step: &Arc<Step>) -> impl Future<Output = Result<bool>>;

    /// Writes down, durably, that a step began or how it ended.
    fn record(
        &self,
        step: &StepId,
        state: State,
        took: Option<Duration>,
        message: Option<String>,
    ) -> Result<()>;

    fn send(&self, event: Event);

    /// Takes secrets out of what an error tells.
    fn clean(&self, error: EngineError) -> EngineError {
        error
    }
}

/// What a run of a plan goes by.
pub struct Terms {
    pub costs: Costs,
    pub limits: Limits,
    pub host: Host,
    /// How many nodes the cluster has.
    pub members: u32,
    /// The user's wish to stop.
    pub cancel: CancellationToken,
}

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Summary {
    pub done: BTreeMap<StepId, Duration>,
    pub changed: usize,
}

/// Carries out a sound plan.
///
/// # Errors
/// [`EngineError::Steps`] with every failure, or [`EngineError::Interrupted`]; what was done stays done.
pub async fn carry_out<P: Perform>(world: Rc<P>, plan: &Plan, terms: Terms) -> Result<Summary> {
    LocalSet::new().run_until(Schedule::new(world, plan, terms).work()).await
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// What it needs is not done yet.
    Waiting,
    /// It could run, if a gate lets it in.
    Ready,
    Running,
    Done,
    /// It failed, or is not run any more: what needs it is skipped.
    Lost,
}

struct Ended {
    place: usize,
    took: Duration,
    result: Result<bool>,
}

struct Schedule<P> {
    world: Rc<P>,
    terms: Rest,
    gates: Gates,
    order: Order,
    steps: Vec<Arc<Step>>,
    stages: Vec<Stage>,
    /// How many of each step's needs are not done.
    missing: Vec<usize>,
    /// Those that could run, the longest remaining way first.
    ready: BTreeSet<(Reverse<Duration>, usize)>,
    running: JoinSet<Ended>,
    tasks: HashMap<Id, (usize, AbortHandle)>,
    /// What was last said of why a step does not begin.
    said: HashMap<usize, Held>,
    /// When the user said stop.
    stopped: Option<Instant>,
    cut_off: bool,
    /// The step whose end could not be written to the journal, the first of them, and why.
    unwritten: Option<StepFailure>,
    summary: Summary,
    failures: Vec<StepFailure>,
    skipped: usize,
}

/// What is left of the terms once the gates have taken the computer.
struct Rest {
    costs: Costs,
    limits: Limits,
    members: u32,
    cancel: CancellationToken,
}

/// Why a step is skipped once the user has said stop.
const INTERRUPTED: &str = "interrupted";

/// What the scheduler waits for.
enum Turn {
    Ended(Result<(Id, Ended), JoinError>),
    Stop,
    CutOff,
    Memory,
}

impl<P: Perform> Schedule<P> {
    fn new(world: Rc<P>, plan: &Plan, terms: Terms) -> Self {
        let order = Order::of(plan, &terms.costs);
        let Terms { costs, limits, host, members, cancel } = terms;
        Self {
            world,
            terms: Rest { costs, limits, members, cancel },
            gates: Gates::new(host),
            missing: order.needs.iter().map(Vec::len).collect(),
            stages: vec![Stage::Waiting; plan.steps.len()],
            steps: plan.steps.iter().cloned().map(Arc::new).collect(),
            order,
            ready: BTreeSet::new(),
            running: JoinSet::new(),
            tasks: HashMap::new(),
            said: HashMap::new(),
            stopped: None,
            cut_off: false,
            unwritten: None,
            summary: Summary::default(),
            failures: Vec::new(),
            skipped: 0,
        }
    }

    async fn work(mut self) -> Result<Summary> {
        self.announce();
        for place in 0..self.steps.len() {
            if self.missing[place] == 0 {
                self.make_ready(place);
            }
        }
        if self.terms.cancel.is_cancelled() {
            self.stop(INTERRUPTED);
        }
        self.start_ready();
        while !self.running.is_empty() || !self.ready.is_empty() {
            match self.next().await {
                Turn::Ended(ended) => self.ended(ended),
                Turn::Stop => self.stop(INTERRUPTED),
                Turn::CutOff => self.cut_off(),
                Turn::Memory => {}
            }
            self.start_ready();
        }
        self.finish()
    }

    async fn next(&mut self) -> Turn {
        let stopped = self.stopped;
        let left = stopped.map(|at| self.terms.limits.stop.saturating_sub(at.elapsed()));
        tokio::select! {
            // In this order: what came to its end in time counts as done.
            biased;
            Some(ended) = self.running.join_next_with_id() => Turn::Ended(ended),
            () = self.terms.cancel.cancelled(), if stopped.is_none() => Turn::Stop,
            () = clock::pause(left.unwrap_or_default()), if left.is_some() && !self.cut_off => Turn::CutOff,
            () = clock::pause(MEMORY_LOOK), if self.gates.waits_for_memory() => Turn::Memory,
        }
    }

    fn announce(&self) {
        let steps = self.steps.iter().map(|step| PlannedStep {
            id: step.id.clone(),
            node: step.node.clone(),
            phase: step.phase,
            text: step.text.clone(),
            needs: step.needs.clone(),
            reaches: step.milestones(),
            cost_seconds: self.terms.costs.of(step).as_secs_f64().ceil() as u32,
            known: self.terms.costs.knows(step),
        });
        self.world.send(Event::Planned { steps: steps.collect() });
    }

    fn make_ready(&mut self, place: usize) {
        self.stages[place] = Stage::Ready;
        self.ready.insert((Reverse(self.order.remaining[place]), place));
    }

    /// Starts every step that is ready and that its gate lets in.
    fn start_ready(&mut self) {
        for entry in self.ready.clone() {
            let place = entry.1;
            match self.gates.enter(&self.steps[place]) {
                Entry::In => {}
                Entry::InAllTheSame(text) => {
                    self.world.send(Event::Note { step: Some(self.steps[place].id.clone()), text });
                }
                Entry::Held(because) => {
                    self.say_held(place, because);
                    continue;
                }
            }
            self.ready.remove(&entry);
            self.start(place);
        }
    }

    fn say_held(&mut self, place: usize, because: Held) {
        if self.said.get(&place) != Some(&because) {
            self.world.send(Event::StepHeld { step: self.steps[place].id.clone(), because: because.clone() });
            self.said.insert(place, because);
        }
    }

    fn start(&mut self, place: usize) {
        self.stages[place] = Stage::Running;
        let (world, step) = (self.world.clone(), self.steps[place].clone());
        let policy = policy::of(&step.action, &self.terms.limits, self.terms.members);
        let cancel = self.terms.cancel.clone();
        let task = self.running.spawn_local(async move {
            let started = clock::monotonic();
            let result = attempt::attempt(world.as_ref(), &step, &policy, &cancel).await;
            Ended { place, took: started.elapsed(), result }
        });
        self.tasks.insert(task.id(), (place, task));
    }

    /// Books how a step ended.
    fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let (id, ended) = match ended {
            Ok((id, ended)) => (id, Some(ended)),
            Err(error) if error.is_cancelled() => (error.id(), None),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        let (place, _) = self.tasks.remove(&id).expect("every task was noted when it began");
        let boots = matches!(ended, Some(Ended { result: Ok(_), .. })) && self.boots(place);
        self.gates.leave(&self.steps[place], boots);
        match ended {
            Some(Ended { place, took, result }) => {
                if let Err(error) = self.settle(place, took, result) {
                    self.go_unwritten(place, error);
                }
            }
            None => {
                let limit = self.terms.limits.stop.as_secs();
                self.skip(place, format!("interrupted: cut off {limit} s after the wish to stop"));
            }
        }
    }

    /// Ends a run whose journal cannot be written: whoever works is given the time to come to a whole state, as if the user
    /// had said stop.
    fn go_unwritten(&mut self, place: usize, error: EngineError) {
        let Step { id, node, .. } = &*self.steps[place];
        self.unwritten.get_or_insert(StepFailure { step: id.clone(), node: node.clone(), error });
        self.stop("the journal cannot be written");
    }

    /// Says whether a step started a machine that a later step waits for.
    fn boots(&self, place: usize) -> bool {
        let waits = |next: &usize| matches!(self.steps[*next].action, Action::AwaitGuest { .. });
        self.order.needed_by[place].iter().any(waits)
    }

    fn settle(&mut self, place: usize, took: Duration, result: Result<bool>) -> Result<()> {
        let step = self.steps[place].clone();
        let id = step.id.clone();
        match result {
            Ok(changed) => {
                self.world.record(&id, State::Done, Some(took), None)?;
                self.world.send(Event::StepDone { step: id.clone(), took, changed });
                self.summary.changed += usize::from(changed);
                self.summary.done.insert(id, took);
                self.done(place);
            }
            Err(EngineError::Host(HostError::Interrupted)) => {
                self.skip(place, INTERRUPTED.to_owned());
                self.stop(INTERRUPTED);
            }
            Err(error) => {
                let error = self.world.clean(error);
                let message = error.to_string();
                // That it failed is told also where it cannot be written down.
                let written = self.world.record(&id, State::Failed, Some(took), Some(message.clone()));
                self.world.send(Event::StepFailed { step: id.clone(), took, message });
                self.stages[place] = Stage::Lost;
                self.failures.push(StepFailure { step: id.clone(), node: step.node.clone(), error });
                self.lose_dependents(place, &format!("{id} failed"));
                written?;
            }
        }
        Ok(())
    }

    fn done(&mut self, place: usize) {
        self.stages[place] = Stage::Done;
        for next in self.order.needed_by[place].clone() {
            self.missing[next] -= 1;
            match (self.stages[next], self.missing[next]) {
                (Stage::Waiting, 0) => self.make_ready(next),
                (Stage::Waiting, _) => self.say_waits(next),
                _ => {}
            }
        }
    }

    /// Says what a machine's step waits for elsewhere, once all that its own machine needs for it is done.
    fn say_waits(&mut self, place: usize) {
        let (step, needs) = (&self.steps[place], &self.order.needs[place]);
        let is_own = |need: &&usize| step.node.is_some() && self.steps[**need].node == step.node;
        let open = |need: &&usize| self.stages[**need] != Stage::Done;
        let mut own = needs.iter().filter(is_own).peekable();
        if own.peek().is_none() || own.any(|need| open(&need)) {
            return;
        }
        // The one that stands last in the plan is most likely the last to be done.
        let Some(last) = needs.iter().filter(open).max() else { return };
        let because = said::held_by(step, &self.steps[*last]);
        self.say_held(place, because);
    }

    /// Skips everything that needs a lost step, directly or not, in the plan's order.
    fn lose_dependents(&mut self, lost: usize, because: &str) {
        let mut behind: BTreeSet<usize> = self.order.needed_by[lost].iter().copied().collect();
        while let Some(place) = behind.pop_first() {
            if self.stages[place] == Stage::Waiting {
                self.skip(place, because.to_owned());
                behind.extend(&self.order.needed_by[place]);
            }
        }
    }

    fn skip(&mut self, place: usize, because: String) {
        self.stages[place] = Stage::Lost;
        self.skipped += 1;
        self.world.send(Event::StepSkipped { step: self.steps[place].id.clone(), because });
    }

    /// Begins nothing new from here on.
    fn stop(&mut self, because: &str) {
        if self.stopped.is_some() {
            return;
        }
        self.stopped = Some(clock::monotonic());
        self.ready.clear();
        for place in 0..self.steps.len() {
            if matches!(self.stages[place], Stage::Waiting | Stage::Ready) {
                self.skip(place, because.to_owned());
            }
        }
    }

    /// Ends what did not come to its end in time, as a crash would; says what is brought to its end all the same.
    fn cut_off(&mut self) {
        self.cut_off = true;
        for (place, task) in self.tasks.values() {
            let step = &self.steps[*place];
            if policy::of(&step.action, &self.terms.limits, self.terms.members).sheltered {
                let text = "it is brought to its end first, so that nothing is left in pieces".to_owned();
                self.world.send(Event::Note { step: Some(step.id.clone()), text });
            } else {
                task.abort();
            }
        }
    }

    fn finish(self) -> Result<Summary> {
        let mut failures = self.failures;
        match self.unwritten {
            Some(unwritten) if failures.is_empty() => return Err(unwritten.error),
            Some(unwritten) => failures.push(unwritten),
            None => {}
        }
        let (done, planned) = (self.summary.done.len(), self.steps.len());
        if !failures.is_empty() {
            return Err(EngineError::Steps { failures, done, skipped: self.skipped, planned });
        }
        if self.stopped.is_some() && done < planned {
            return Err(EngineError::Interrupted { done, planned });
        }
        Ok(self.summary)
    }
}
