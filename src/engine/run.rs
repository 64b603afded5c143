//! A step while it runs, with its way to the outside: events, the terminal, locks, and the user's wish to stop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::host::lock::{self, Lock};
use crate::host::{HostError, clock, files};
use crate::lab::paths;
use crate::plan::step::{Phase, Step};

use super::context::{Engine, last_lines};
use super::error::{Requirement, Result};
use super::event::{Event, Unmet};
use super::output::CONSOLE_READ;
use super::terminal::Held;
use super::wait::{Probe, until};

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

    /// Says what the step waits for, and what was seen instead.
    pub fn waiting(&self, what: &str, seen: &str) {
        let requirement = Unmet { what: what.to_owned(), seen: seen.to_owned() };
        self.send(Event::Waiting { step: self.step.id.clone(), requirement });
    }

    /// Says that a machine has come through a phase.
    pub fn reached(&self, node: &str, phase: Phase) {
        self.send(Event::Reached { step: self.step.id.clone(), node: node.to_owned(), phase });
    }

    pub fn note(&self, text: impl Into<String>) {
        self.send(Event::Note { step: Some(self.step.id.clone()), text: text.into() });
    }

    pub fn progress(&self, done: u64, total: Option<u64>) {
        self.send(Event::Progress { step: self.step.id.clone(), done, total });
    }

    /// Keeps a line of the step's output and tells it, unless there are too many.
    pub fn line(&self, line: &str) {
        let output = self.engine.output();
        output.iter().for_each(|output| output.line(line));
        if output.is_none_or(|output| output.may_tell(line)) {
            self.send(Event::Line { step: self.step.id.clone(), line: line.to_owned() });
        }
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

    /// Waits for a lock that other runs may hold; says whose it was, if that one was killed with it.
    pub async fn turn(&self, path: &Path, what: &str) -> Result<Lock> {
        let requirement = Requirement {
            what: format!("{what} is free"),
            limit: self.engine.lab.limits.turn(),
            hint: "another run of fusionlab works on it: wait for it, or end it",
        };
        let work = format!("{}, in {}", self.engine.journal.verb(), self.step.id);
        let lock = until(self, requirement, async || match lock::acquire(path, what, &work) {
            Ok(lock) => Ok(Probe::Met(lock)),
            Err(held @ HostError::Locked { .. }) => Ok(Probe::NotYet(held.to_string())),
            Err(error) => Err(error.into()),
        })
        .await?;
        if let Some(trace) = &lock.taken_over {
            self.note(format!("{what}: {} was killed with it; going on from what stands", trace.holder));
        }
        Ok(lock)
    }

    /// Returns the last lines of the node's serial console, if it has one.
    pub fn console_tail(&self) -> Vec<String> {
        let Some(node) = &self.step.node else { return Vec::new() };
        let console = self.engine.bundle(node).join(paths::CONSOLE_LOG);
        let text = files::read_end(&console, CONSOLE_READ)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        last_lines(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{self, Bench, Machines};
    use crate::host::lock::Holder;

    #[tokio::test]
    async fn who_was_killed_with_a_lock_that_labs_share_is_said_by_the_next() {
        let mut bench = Bench::new(Machines::default());
        let step = Arc::new(fixture::start("gateway1", &[]));
        let context = StepContext { engine: bench.engine.clone(), step };
        let path = bench.engine.home.network_lock();
        let ours = context.turn(&path, "the networks").await.unwrap();
        let holder = lock::holder(&path).unwrap().unwrap();
        assert_eq!(holder.verb, "up, in vm.start/gateway1");
        drop(ours);
        assert!(bench.events().is_empty(), "nobody was killed");
        let dead = Holder { pid: 4711, boot: "an earlier boot".to_owned(), ..holder };
        files::write_atomic(&path, &serde_json::to_vec(&dead).unwrap(), files::PRIVATE_FILE).unwrap();
        context.turn(&path, "the networks").await.unwrap();
        let events = bench.events();
        let [Event::Note { text, .. }] = events.as_slice() else { panic!("{events:?}") };
        assert!(text.starts_with("the networks: process 4711 (up, in vm.start/gateway1, since "), "{text}");
        assert!(text.ends_with(" was killed with it; going on from what stands"), "{text}");
    }
}
