//! One process of the product: it lives until its work is done, or until it is killed, at a poll or at a file.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Inside, State, pace};

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
    /// In a step whose name begins so: at this poll or file, counted together from 0 since [`Inside::step_began`] was told of it.
    Within(&'static str, u64),
    /// By whoever calls [`Inside::kill`].
    Never,
}

/// What became of a process.
#[derive(Debug, PartialEq, Eq)]
pub enum Lived<T> {
    Done(T),
    Killed,
}

impl Inside {
    /// Runs work as one process.
    pub async fn live<T>(&self, work: impl Future<Output = T>, death: Option<Death>) -> Lived<T> {
        {
            let mut state = self.state();
            state.died = CancellationToken::new();
            state.death = death;
            state.polls = 0;
            state.effects = 0;
            state.within = None;
        }
        let lived = {
            let work = pin!(work);
            Mortal { inside: self, work }.await
            // What it held is dropped here, while it counts as dead: destructors change nothing.
        };
        if lived.is_some() {
            self.state().death = None;
        } else {
            // Tasks that it left behind notice that they are dead.
            pace::wait(AFTERMATH).await;
            let power_cut = self.state().death.take().is_some_and(|death| death.power_cut);
            if power_cut {
                self.power_cut().await.expect("the simulated Mac's own files can be written");
            }
            self.state().died = CancellationToken::new();
        }
        lived.map_or(Lived::Killed, Lived::Done)
    }

    /// Kills the process that runs.
    pub fn kill(&self, why: &str) {
        if !self.has_died() {
            self.note(format!("killed: {why}"));
            self.state().died.cancel();
        }
    }

    pub(super) fn has_died(&self) -> bool {
        self.state().died.is_cancelled()
    }

    pub(super) fn died(&self) -> CancellationToken {
        self.state().died.clone()
    }

    /// Notes that the process has begun a step.
    pub fn step_began(&self, step: &str) {
        let mut state = self.state();
        if matches!(state.death, Some(Death { when: When::Within(name, _), .. }) if step.starts_with(name)) {
            state.within.get_or_insert(0);
        }
    }

    /// Counts a poll; says whether the process dies of it.
    fn is_last_poll(&self) -> bool {
        let mut state = self.state();
        let now = state.polls;
        state.polls += 1;
        matches!(state.death, Some(Death { when: When::Poll(last), .. }) if now == last)
            || state.is_last_within()
    }

    /// Returns how often the last process was given the processor.
    pub fn polls(&self) -> u64 {
        self.state().polls
    }
}

impl State {
    /// Counts a poll or a file within the step in which the process is to die; says whether it dies of it.
    pub(super) fn is_last_within(&mut self) -> bool {
        let Some(now) = self.within.as_mut() else { return false };
        let is_last = matches!(self.death, Some(Death { when: When::Within(_, last), .. }) if *now == last);
        *now += 1;
        is_last
    }
}

/// A process's work, which ends without a result once the process is dead.
struct Mortal<'a, F> {
    inside: &'a Inside,
    work: Pin<&'a mut F>,
}

impl<F: Future> Future for Mortal<'_, F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.inside.is_last_poll() {
            this.inside.kill("at an await");
        }
        if this.inside.has_died() {
            return Poll::Ready(None);
        }
        let polled = this.work.as_mut().poll(context);
        // It may have died of a file that it touched; whatever it made of that is void.
        if this.inside.has_died() {
            return Poll::Ready(None);
        }
        polled.map(Some)
    }
}
