//! Commands in guests, straight to the machine: with the questions that SSH asks, and without its cryptography.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use russh::keys::{PrivateKey, PublicKey};
use tokio::sync::mpsc;

use super::{Inside, Process};
use crate::formats::command::{Command, brief};
use crate::host::ssh::output::Stream;
use crate::host::{GuestShell, GuestTarget, HostError, LineSink, Output, Result, files};
use crate::sim::command::{self, Listener};
use crate::sim::pace::{Operation, Pace};
use crate::sim::recent::Recent;
use crate::sim::seam::{Chunk, SshFace};
use crate::sim::world::Vm;

/// What of a command may wait until it is read.
const NEWS_BUFFER: usize = 64;
const SSH_PORT: u16 = 22;

/// Runs commands in the guests of this thread's simulated Mac.
pub struct InsideShell {
    inside: Arc<Inside>,
    /// Whose it is.
    process: Option<Process>,
    /// Limit of one connection.
    connect: Duration,
}

/// What comes from a command on its way.
enum News {
    Chunk(Chunk),
    Ended(i32),
    Broken(&'static str),
}

impl InsideShell {
    /// Returns the shell of the process that makes it.
    pub fn new(inside: Arc<Inside>, connect: Duration) -> Self {
        Self { process: inside.process(), inside, connect }
    }

    /// Connects and logs in.
    async fn log_in(&self, target: &GuestTarget) -> Result<Arc<Vm>> {
        let address = (target.address, SSH_PORT).into();
        let refused = |source| HostError::Connect { address, source };
        let Some(world) = self.inside.world() else {
            Pace::new(1.0).take(Operation::Unreachable).await;
            return Err(refused(std::io::ErrorKind::TimedOut.into()));
        };
        let connecting = world.ssh_from_host(target.address);
        let connected = tokio::time::timeout(self.connect, connecting).await;
        let (vm, face) =
            connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(refused)?;
        check_host_key(target, &face)?;
        check_user(target, &face)?;
        Ok(vm)
    }
}

thread_local! {
    static PUBLIC_PARTS: Recent<String, PublicKey> = const { Recent::new() };
}

/// Returns what others know of a private key.
fn public_part(private: String) -> russh::keys::ssh_key::Result<PublicKey> {
    let read = |private: &String| Ok(PrivateKey::from_openssh(private)?.public_key().clone());
    PUBLIC_PARTS.with(|known| known.answer(private, read))
}

fn check_host_key(target: &GuestTarget, face: &SshFace) -> Result<()> {
    let unreadable = |reason: &str| HostError::Ssh { node: target.node.clone(), reason: reason.to_owned() };
    let shown = public_part(face.host_key.clone()).map_err(|_| unreadable("handshake"))?;
    let pinned = PublicKey::from_openssh(&target.host_key).map_err(|_| unreadable("the pinned host key"))?;
    if shown.key_data() == pinned.key_data() {
        return Ok(());
    }
    let found = shown.to_openssh().unwrap_or_default();
    Err(HostError::HostKey { node: target.node.clone(), expected: target.host_key.clone(), found })
}

fn check_user(target: &GuestTarget, face: &SshFace) -> Result<()> {
    let login = || HostError::Login { node: target.node.clone(), user: target.user.clone() };
    let key = public_part(files::read_text(&target.identity)?).map_err(|_| login())?;
    let allowed = face.users.get(&target.user).map(Vec::as_slice).unwrap_or_default();
    let allowed = allowed.iter().filter_map(|line| PublicKey::from_openssh(line).ok());
    let mut allowed = allowed.filter(|allowed| allowed.key_data() == key.key_data());
    allowed.next().map(drop).ok_or_else(login)
}

#[async_trait]
impl GuestShell for InsideShell {
    async fn run(
        &self,
        target: &GuestTarget,
        command: &Command,
        limit: Duration,
        lines: Option<LineSink>,
    ) -> Result<Output> {
        if self.process.as_ref().is_some_and(Process::has_died) {
            return Err(HostError::Interrupted);
        }
        let vm = self.log_in(target).await?;
        let line = command.shell_line();
        let mut news = begin(vm, target.user.clone(), line.clone(), command.input.clone());
        let (mut stdout, mut stderr) = (Stream::default(), Stream::default());
        let lost = |reason: &str| HostError::Lost {
            node: target.node.clone(),
            command: brief(&line),
            reason: reason.to_owned(),
        };
        let reading = async {
            loop {
                match news.recv().await {
                    Some(News::Chunk(Chunk::Stdout(bytes))) => stdout.take(&bytes, lines.as_ref()),
                    Some(News::Chunk(Chunk::Stderr(bytes))) => stderr.take(&bytes, lines.as_ref()),
                    Some(News::Ended(status)) => return Ok(status),
                    Some(News::Broken(why)) => return Err(lost(why)),
                    None => return Err(lost("connection lost")),
                }
            }
        };
        let ended = tokio::time::timeout(limit, reading).await;
        let what = format!("the end of `{}` on {}", brief(&line), target.node);
        let status = ended.unwrap_or(Err(HostError::Deadline { what, limit }))?;
        let (stdout, before_stdout) = stdout.finish(lines.as_ref());
        let (stderr, before_stderr) = stderr.finish(lines.as_ref());
        let left_out = before_stdout + before_stderr;
        Ok(Output { status: Some(status), signal: None, stdout, stderr, left_out })
    }
}

/// Lets a command run in a guest. It goes on if nobody listens any more, as under a real SSH server.
fn begin(vm: Arc<Vm>, user: String, line: String, input: Vec<u8>) -> mpsc::Receiver<News> {
    let (tell, news) = mpsc::channel(NEWS_BUFFER);
    tokio::spawn(async move {
        let power_lost = vm.power_lost().clone();
        let ended = tokio::select! {
            biased;
            () = power_lost.cancelled() => News::Broken("connection lost"),
            () = command::broken(&vm) => News::Broken("connection lost"),
            status = exec(&vm, &user, &line, input, &tell) => News::Ended(status),
        };
        // Nobody may listen any more: then nobody is told.
        let _ = tell.send(ended).await;
    });
    news
}

async fn exec(vm: &Arc<Vm>, user: &str, line: &str, input: Vec<u8>, tell: &mpsc::Sender<News>) -> i32 {
    command::misbehave(vm, tell).await;
    command::run(vm, user, line, input, tell).await
}

impl Listener for mpsc::Sender<News> {
    async fn hear(&self, chunk: Chunk) -> bool {
        self.send(News::Chunk(chunk)).await.is_ok()
    }
}
