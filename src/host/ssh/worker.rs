//! A thread that owns one SSH session: commands go in by a channel, outcomes come back.

use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::DialSource;
use super::connection::Connection;
use crate::formats::command::brief;
use crate::host::{ByteSink, GuestTarget, HostError, LineSink, Output};

/// How often an idle session shows that it lives.
pub const KEEPALIVE: Duration = Duration::from_secs(15);

/// One command for the guest.
pub struct Job {
    /// As the guest's shell is to read it.
    pub line: String,
    pub input: Vec<u8>,
    /// More input, while the command runs.
    pub feed: Option<Mutex<Receiver<Vec<u8>>>>,
    /// From when the command starts to its end.
    pub limit: Duration,
    pub listener: Listener,
}

/// Who hears what a command prints while it runs.
pub enum Listener {
    Nobody,
    Lines(LineSink),
    Bytes(ByteSink),
}

impl Listener {
    pub fn of_lines(&self) -> Option<&LineSink> {
        if let Self::Lines(sink) = self { Some(sink) } else { None }
    }
}

/// Why a command has no [`Output`].
#[derive(Debug)]
pub enum Failure {
    /// The guest has not seen the command: it may be given again.
    NotBegun(HostError),
    /// The guest may have seen the command, and done part or all of it.
    Broken(HostError),
}

type Reply = oneshot::Sender<Result<Output, Failure>>;

/// The handle of such a thread. Dropping it cuts the connection, whatever the thread is doing.
pub struct Worker {
    jobs: Sender<(Arc<Job>, Reply)>,
    cut: Arc<Cut>,
    node: String,
}

impl Worker {
    /// Starts the thread; it connects when the first command comes.
    pub fn start(target: GuestTarget, dial: DialSource, connect: Duration) -> Self {
        let (jobs, inbox) = channel();
        let cut = Arc::new(Cut::default());
        let node = target.node.clone();
        let theirs = Arc::clone(&cut);
        let name = format!("ssh {node}");
        let thread = std::thread::Builder::new().name(name);
        // If the system has no thread left, the inbox is gone and the first command says so.
        drop(thread.spawn(move || serve(&target, &dial, connect, &theirs, &inbox)));
        Self { jobs, cut, node }
    }

    /// Runs a command to its end, or says that not even its limits ended it by `last`.
    pub async fn run(&self, job: Arc<Job>, last: Duration) -> Result<Output, Failure> {
        let (reply, outcome) = oneshot::channel();
        let gone = |reason: &str| HostError::Ssh { node: self.node.clone(), reason: reason.to_owned() };
        let line = job.line.clone();
        if self.jobs.send((job, reply)).is_err() {
            return Err(Failure::NotBegun(gone("the session has ended")));
        }
        let Ok(outcome) = tokio::time::timeout(last, outcome).await else {
            let what = format!("the end of `{}` on {}", brief(&line), self.node);
            return Err(Failure::Broken(HostError::Deadline { what, limit: last }));
        };
        outcome.unwrap_or_else(|_| {
            let reason = "the session's thread ended".to_owned();
            Err(Failure::Broken(HostError::Lost { node: self.node.clone(), command: line, reason }))
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.cut.now();
    }
}

/// The socket under a session, to be cut from outside: libssh2's blocked calls then return at once.
#[derive(Default)]
pub struct Cut(Mutex<Socket>);

#[derive(Default)]
enum Socket {
    #[default]
    NotYet,
    Open(TcpStream),
    Closed,
}

impl Cut {
    /// Remembers the socket; one that was cut before it was there is shut at once.
    pub fn arm(&self, stream: TcpStream) {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*socket, Socket::Closed) {
            let _ = stream.shutdown(Shutdown::Both);
        } else {
            *socket = Socket::Open(stream);
        }
    }

    pub fn now(&self) {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Socket::Open(stream) = &*socket {
            let _ = stream.shutdown(Shutdown::Both);
        }
        *socket = Socket::Closed;
    }

    fn is_made(&self) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), Socket::Closed)
    }
}

fn serve(
    target: &GuestTarget,
    dial: &DialSource,
    connect: Duration,
    cut: &Cut,
    inbox: &Receiver<(Arc<Job>, Reply)>,
) {
    let mut connection: Option<Connection> = None;
    loop {
        match inbox.recv_timeout(KEEPALIVE) {
            Ok((job, reply)) => {
                let outcome = attempt(&mut connection, target, dial, connect, cut, &job);
                let over = outcome.is_err();
                if over {
                    // Before the session is dropped: that would wait for the guest's good-bye.
                    cut.now();
                }
                let _ = reply.send(outcome);
                if over {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                if connection.as_ref().is_some_and(|connection| !connection.keep_alive()) {
                    cut.now();
                    return;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn attempt(
    connection: &mut Option<Connection>,
    target: &GuestTarget,
    dial: &DialSource,
    connect: Duration,
    cut: &Cut,
    job: &Job,
) -> Result<Output, Failure> {
    if cut.is_made() {
        return Err(Failure::NotBegun(HostError::Interrupted));
    }
    let connection = match connection {
        Some(connection) => connection,
        None => {
            let open = dial().and_then(|dial| Connection::open(dial, target, connect, cut));
            connection.insert(open.map_err(Failure::NotBegun)?)
        }
    };
    connection.run(job, cut)
}
