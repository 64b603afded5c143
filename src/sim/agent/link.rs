//! The world's end of one stand-in's connection: says what to do, and hears when it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::protocol::{self, Ask, Effect, Observation, Reply, ToGuest, ToWorld};

/// Replies that may wait to be taken: there is one for each question, and one question at a time.
const REPLIES: usize = 4;

/// One connection.
pub struct Link {
    writer: Arc<Mutex<Box<dyn AsyncWrite + Send + Unpin>>>,
    /// Held from a question to its answer.
    replies: Mutex<mpsc::Receiver<ToWorld>>,
    next: AtomicU64,
    closed: CancellationToken,
}

impl Link {
    /// Takes over a connection whose Hello was read. It ends when the other side does.
    pub fn new<S>(stream: S) -> Arc<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut reader, writer) = tokio::io::split(stream);
        let (sender, receiver) = mpsc::channel(REPLIES);
        let closed = CancellationToken::new();
        let ended = closed.clone();
        tokio::spawn(async move {
            let read = async {
                while let Ok(reply) = protocol::read::<_, ToWorld>(&mut reader).await {
                    if sender.send(reply).await.is_err() {
                        break;
                    }
                }
            };
            ended.run_until_cancelled(read).await;
            ended.cancel();
        });
        Arc::new(Self {
            writer: Arc::new(Mutex::new(Box::new(writer))),
            replies: Mutex::new(receiver),
            next: AtomicU64::new(1),
            closed,
        })
    }

    /// Waits until the stand-in is gone.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Ends the connection from this side.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Says something that is not answered. A stand-in that is gone hears nothing: its end is told by [`Self::closed`].
    pub async fn tell(&self, frame: ToGuest) {
        let (writer, closed) = (Arc::clone(&self.writer), self.closed.clone());
        // A task of its own: whoever waits may be cancelled, and half a frame would spoil those that follow.
        let write = tokio::spawn(async move {
            let write = async { protocol::write(&mut *writer.lock().await, &frame).await };
            if !matches!(closed.run_until_cancelled(write).await, Some(Ok(()))) {
                closed.cancel();
            }
        });
        let _ = write.await;
    }

    /// Writes a line to the stand-in's standard error: a unit's journal.
    pub async fn complain(&self, line: &str) {
        self.tell(ToGuest::Err(format!("{line}\n").into_bytes())).await;
    }

    async fn ask(&self, ask: Ask) -> io::Result<Reply> {
        let mut replies = self.replies.lock().await;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.tell(ToGuest::Ask { id, ask }).await;
        loop {
            let reply = self.closed.run_until_cancelled(replies.recv()).await.flatten();
            match reply.ok_or(io::ErrorKind::ConnectionAborted)? {
                ToWorld { id: answered, reply: Reply::Failed(why) } if answered == id => {
                    return Err(io::Error::other(why));
                }
                ToWorld { id: answered, reply } if answered == id => return Ok(reply),
                // The answer to a question whose asker went away.
                _ => {}
            }
        }
    }

    pub async fn observe(
        &self,
        paths: Vec<String>,
        known: BTreeMap<String, String>,
    ) -> io::Result<Observation> {
        match self.ask(Ask::Observe { paths, known }).await? {
            Reply::Seen(observation) => Ok(*observation),
            other => Err(unexpected(&other)),
        }
    }

    pub async fn apply(&self, effects: Vec<Effect>) -> io::Result<()> {
        match self.ask(Ask::Apply(effects)).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Runs a program in the guest; returns its exit status and what it said.
    pub async fn run<const N: usize>(&self, argv: [&str; N]) -> io::Result<(i32, String)> {
        match self.ask(Ask::Run(argv.map(str::to_owned).into())).await? {
            Reply::Ran(status, text) => Ok((status, text)),
            other => Err(unexpected(&other)),
        }
    }

    /// Listens on exactly these addresses; returns those that could not be had.
    pub async fn listen(
        &self,
        addresses: BTreeSet<SocketAddrV4>,
    ) -> io::Result<BTreeMap<SocketAddrV4, String>> {
        match self.ask(Ask::Listen(addresses)).await? {
            Reply::Listening(failed) => Ok(failed),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(reply: &Reply) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a stand-in answered out of turn: {reply:?}"))
}
