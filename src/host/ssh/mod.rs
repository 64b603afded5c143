//! Commands in guests over SSH: one thread for each session, sessions kept and used again.
//!
//! ```text
//! SshShell ──▶ Guest (one for each target): at most SESSIONS sessions, the idle ones kept
//!                └─ worker.rs: a thread that owns one session and takes one command at a time
//!                     └─ connection.rs: libssh2, and what we learned not to do with it
//! ```
//!
//! A session that a future abandons is cut at its socket, so that nothing blocks (facts/crates.md §3).

mod connection;
pub mod output;
mod worker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::dial::Dial;
use super::{Flow, GuestShell, GuestTarget, LineSink, Output, Result};
use crate::formats::command::Command;
use worker::{Failure, Job, Listener, Worker};

/// Sessions to one guest at once. OpenSSH starts to refuse at ten logins in progress.
const SESSIONS: usize = 3;

/// Waits of at most the limit of a connection before a command begins: dialling, key exchange, login, channel. A hostile
/// server can hold libssh2 in one of them for ever, by never letting it wait.
const STAGES: u32 = 4;

/// Says how guests are dialled now; asked for each new session.
pub type DialSource = Arc<dyn Fn() -> Result<Dial> + Send + Sync>;

/// Runs commands in guests, as [`GuestShell`].
pub struct SshShell {
    dial: DialSource,
    /// Limit of one connection, and of each answer during the login (`Limits::guest_connect`).
    connect: Duration,
    guests: Mutex<HashMap<GuestTarget, Arc<Guest>>>,
}

struct Guest {
    target: GuestTarget,
    idle: Mutex<Vec<Worker>>,
    permits: Semaphore,
}

impl SshShell {
    pub fn new(dial: DialSource, connect: Duration) -> Self {
        Self { dial, connect, guests: Mutex::new(HashMap::new()) }
    }

    /// Runs a job on a session of the guest's, kept or new.
    async fn work(&self, target: &GuestTarget, job: Job) -> Result<Output> {
        let (guest, job) = (self.guest(target), Arc::new(job));
        let _permit = guest.permits.acquire().await.expect("the semaphore is never closed");
        loop {
            let kept = guest.idle().pop();
            let fresh = kept.is_none();
            let worker = kept
                .unwrap_or_else(|| Worker::start(guest.target.clone(), Arc::clone(&self.dial), self.connect));
            // Dropping this future drops the worker, which cuts its connection.
            match worker.run(Arc::clone(&job), self.connect * STAGES + job.limit).await {
                Ok(output) => {
                    guest.idle().push(worker);
                    return Ok(output);
                }
                // A kept session may have died of old age, of a reboot; the guest has seen nothing of the command.
                Err(Failure::NotBegun(_)) if !fresh => {}
                Err(Failure::NotBegun(error) | Failure::Broken(error)) => return Err(error),
            }
        }
    }

    fn guest(&self, target: &GuestTarget) -> Arc<Guest> {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        let guest = guests.entry(target.clone()).or_insert_with(|| {
            let (idle, permits) = (Mutex::default(), Semaphore::new(SESSIONS));
            Arc::new(Guest { target: target.clone(), idle, permits })
        });
        Arc::clone(guest)
    }
}

impl Guest {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Worker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl GuestShell for SshShell {
    async fn run(
        &self,
        target: &GuestTarget,
        command: &Command,
        limit: Duration,
        lines: Option<LineSink>,
    ) -> Result<Output> {
        let listener = lines.map_or(Listener::Nobody, Listener::Lines);
        let (line, input) = (command.shell_line(), command.input.clone());
        self.work(target, Job { line, input, feed: None, limit, listener }).await
    }

    async fn attend(
        &self,
        target: &GuestTarget,
        command: &Command,
        limit: Duration,
        flow: Flow,
    ) -> Result<Output> {
        let (line, input) = (command.shell_line(), command.input.clone());
        let (feed, listener) = (flow.input.map(Mutex::new), Listener::Bytes(flow.output));
        self.work(target, Job { line, input, feed, limit, listener }).await
    }

    fn forget(&self, node: &str) {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.retain(|target, _| target.node != node);
    }
}

#[cfg(all(test, feature = "sim"))]
mod hostile_tests;
#[cfg(all(test, feature = "sim"))]
mod tests;
