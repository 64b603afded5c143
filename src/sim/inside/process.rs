//! Processes of the product, one or several beside each other: each lives until its work is done, or until it is killed, at
//! a poll or at a file.
//!
//! Whoever does something while a process has the processor is that process. Tasks of tokio's are polled by nobody's process:
//! what they ask counts as asked by the one that lives, and the product's tasks only look at things.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{Inside, pace};

/// How long after a process was killed the next one begins, at least.
const AFTERMATH: Duration = Duration::from_secs(1);

/// How a process ends before its work does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    pub when: When,
    /// Whether the whole Mac loses power.
    pub power_cut: bool,
}

/// When a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// As it is given the processor for this time, counted from 0.
    Poll(u64),
    /// As it is about to change a file for this time, counted from 0.
    Effect(u64),
    /// In a step whose name begins so: at this poll or file, counted together from 0 since [`Process::step_began`] was told of it.
    Within(&'static str, u64),
    /// By whoever calls `Inside::kill`.
    Never,
}

/// What became of a process.
#[derive(Debug, PartialEq, Eq)]
pub enum Lived<T> {
    Done(T),
    Killed,
}

/// One process: what is to end it, and how far it is.
#[derive(Clone, Debug)]
pub struct Process {
    /// Cancelled when it is killed.
    died: CancellationToken,
    life: Arc<Mutex<Life>>,
}

#[derive(Debug)]
struct Life {
    /// What is to end the process.
    death: Option<Death>,
    polls: u64,
    effects: u64,
    /// Polls and files since the step began in which the process is to die.
    within: Option<u64>,
}

impl Process {
    fn new(death: Option<Death>) -> Self {
        let life = Life { death, polls: 0, effects: 0, within: None };
        Self { died: CancellationToken::new(), life: Arc::new(Mutex::new(life)) }
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether it was killed.
    pub(super) fn has_died(&self) -> bool {
        self.died.is_cancelled()
    }

    /// Returns what is cancelled when it is killed.
    pub(super) fn died(&self) -> CancellationToken {
        self.died.clone()
    }

    fn power_cut(&self) -> bool {
        self.life().death.is_some_and(|death| death.power_cut)
    }

    /// Notes that it has begun a step.
    pub fn step_began(&self, step: &str) {
        let mut life = self.life();
        if matches!(life.death, Some(Death { when: When::Within(name, _), .. }) if step.starts_with(name)) {
            life.within.get_or_insert(0);
        }
    }

    /// Counts a poll; says whether it dies of it.
    fn is_last_poll(&self) -> bool {
        let mut life = self.life();
        let now = life.polls;
        life.polls += 1;
        matches!(life.death, Some(Death { when: When::Poll(last), .. }) if now == last)
            || life.is_last_within()
    }

    /// Counts an effect; says whether it dies of it.
    pub(super) fn is_last_effect(&self) -> bool {
        let mut life = self.life();
        let now = life.effects;
        life.effects += 1;
        matches!(life.death, Some(Death { when: When::Effect(last), .. }) if now == last)
            || life.is_last_within()
    }
}

impl Life {
    /// Counts a poll or a file within the step in which the process is to die; says whether it dies of it.
    fn is_last_within(&mut self) -> bool {
        let Some(now) = self.within.as_mut() else { return false };
        let is_last = matches!(self.death, Some(Death { when: When::Within(_, last), .. }) if *now == last);
        *now += 1;
        is_last
    }
}

impl Inside {
    /// Runs work as one process, beside others that may run.
    pub async fn live<T>(&self, work: impl Future<Output = T>, death: Option<Death>) -> Lived<T> {
        let process = Process::new(death);
        let leaves = Leaves { inside: self, process: process.clone() };
        self.state().processes.push(process.clone());
        let mut work = Box::pin(work);
        let died = Box::pin(process.died().cancelled_owned());
        let lived = Mortal { inside: self, process: &process, died, work: work.as_mut() }.await;
        {
            // What it held goes while it counts as dead, and as itself: destructors change nothing.
            let _turn = Turn::of(self, &process);
            drop(work);
        }
        if lived.is_none() {
            // Tasks that it left behind notice that they are dead.
            pace::wait(AFTERMATH).await;
            if process.power_cut() {
                self.power_cut().await.expect("the simulated Mac's own files can be written");
            }
        }
        drop(leaves);
        lived.map_or(Lived::Killed, Lived::Done)
    }

    /// Kills a process. If it takes the Mac's power with it, all others end as well.
    pub(super) fn kill(&self, process: &Process, why: &str) {
        if process.has_died() {
            return;
        }
        self.note(format!("killed: {why}"));
        process.died.cancel();
        if process.power_cut() {
            self.kill_all();
        }
    }

    /// Kills every process.
    pub(super) fn kill_all(&self) {
        let all = self.state().processes.clone();
        all.iter().for_each(|process| process.died.cancel());
    }

    /// Returns the process that has the processor, or otherwise the first that lives, or that died just now.
    #[must_use]
    pub fn process(&self) -> Option<Process> {
        let state = self.state();
        let lives = || state.processes.iter().find(|process| !process.has_died());
        state.current.as_ref().or_else(lives).or_else(|| state.processes.first()).cloned()
    }

    pub(super) fn has_died(&self) -> bool {
        self.process().is_some_and(|process| process.has_died())
    }
}

/// Takes a process off the list when it is no more.
struct Leaves<'a> {
    inside: &'a Inside,
    process: Process,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        let mut state = self.inside.state();
        state.processes.retain(|process| !Arc::ptr_eq(&process.life, &self.process.life));
    }
}

/// While there is one, its process has the processor.
struct Turn<'a> {
    inside: &'a Inside,
    before: Option<Process>,
}

impl<'a> Turn<'a> {
    fn of(inside: &'a Inside, process: &Process) -> Self {
        let before = inside.state().current.replace(process.clone());
        Self { inside, before }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let before = self.before.take();
        self.inside.state().current = before;
    }
}

/// A process's work, which ends without a result once the process is dead.
struct Mortal<'a, F> {
    inside: &'a Inside,
    process: &'a Process,
    /// Wakes it when somebody else kills it.
    died: Pin<Box<WaitForCancellationFutureOwned>>,
    work: Pin<&'a mut F>,
}

impl<F: Future> Future for Mortal<'_, F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.process.is_last_poll() {
            this.inside.kill(this.process, "at an await");
        }
        if this.died.as_mut().poll(context).is_ready() || this.process.has_died() {
            return Poll::Ready(None);
        }
        let _turn = Turn::of(this.inside, this.process);
        let polled = this.work.as_mut().poll(context);
        // It may have died of a file that it touched; whatever it made of that is void.
        if this.process.has_died() {
            return Poll::Ready(None);
        }
        polled.map(Some)
    }
}
