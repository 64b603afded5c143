//! How Fusion's small programs talk to the world: one JSON line asked, one answered, over a Unix socket.
#![expect(clippy::disallowed_methods, reason = "the first program that needs the world starts it, detached")]

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::files;
use super::inside;
use super::pace;
use super::places::Places;
use super::refusal::Refusal;

/// The argument that makes `vmware-vmx` the world.
pub const WORLD_ARGUMENT: &str = "--world";
/// What the world says to a connection that it has counted, so that it does not leave meanwhile.
pub const GREETING: &str = "ready";
/// How long a world may take to listen.
const WAKING: Duration = Duration::from_secs(20);
/// How often a starting world is looked for.
const WAKING_POLL: Duration = Duration::from_millis(10);

/// A question or an order to the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// The VMs that `vmrun list` shows.
    List,
    /// The world itself.
    Describe,
    Start {
        vmx: PathBuf,
    },
    Stop {
        vmx: PathBuf,
        soft: bool,
    },
    Reset {
        vmx: PathBuf,
        soft: bool,
    },
    Suspend {
        vmx: PathBuf,
    },
    Pause {
        vmx: PathBuf,
    },
    Unpause {
        vmx: PathBuf,
    },
    /// One VM's power, tools and addresses.
    Inspect {
        vmx: PathBuf,
    },
    /// Fusion's networks were configured, started or stopped.
    Networks,
    /// A card's link was cut or made whole.
    Links,
    /// The Mac slept for so many seconds.
    Sleep {
        seconds: u64,
    },
    /// Pulls every plug and leaves.
    Quit,
}

/// The world's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", content = "content", rename_all = "kebab-case")]
pub enum Reply {
    Done,
    Running(Vec<PathBuf>),
    World(WorldView),
    Vm(VmView),
    Refused(Refusal),
}

/// The world process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorldView {
    pub pid: u32,
    /// Where its SOCKS5 server listens.
    pub dial: SocketAddr,
    pub running: Vec<PathBuf>,
    /// Fusion's networks that a VM with power has a card on.
    pub vmnets: BTreeSet<u8>,
}

/// A VM's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    Off,
    On,
    Paused,
    Suspended,
}

/// One VM as the world knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmView {
    pub power: Power,
    pub tools: bool,
    /// Each card's MAC with the addresses on its segment.
    pub cards: Vec<(crate::formats::mac::Mac, Vec<std::net::Ipv4Addr>)>,
}

impl VmView {
    pub fn off() -> Self {
        Self { power: Power::Off, tools: false, cards: Vec::new() }
    }
}

/// Asks a world that runs; none if there is none.
pub async fn ask(places: &Places, request: &Request) -> io::Result<Option<Reply>> {
    if let Some(inside) = inside::current() {
        return Ok(inside.ask(request).await);
    }
    match UnixStream::connect(places.socket()).await {
        Ok(stream) => exchange(stream, request, None).await,
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Asks the world, and starts it before if need be.
pub async fn ask_awake(places: &Places, request: &Request) -> io::Result<Reply> {
    if let Some(inside) = inside::current() {
        return inside.ask_awake(request).await;
    }
    let lock = files::lock_aside(&places.world_lock()).await?;
    let stream = match UnixStream::connect(places.socket()).await {
        Ok(stream) => stream,
        Err(error) if is_absent(&error) => wake(places).await?,
        Err(error) => return Err(error),
    };
    exchange(stream, request, Some(lock)).await?.ok_or_else(|| io::Error::other("the world ended meanwhile"))
}

/// Sends one request and reads the answer; none if the world left without one. The lock is let go as soon as
/// the world has counted the connection.
async fn exchange(stream: UnixStream, request: &Request, lock: Option<File>) -> io::Result<Option<Reply>> {
    let mut stream = BufReader::new(stream);
    let mut greeting = String::new();
    if stream.read_line(&mut greeting).await.is_err() || greeting.trim() != GREETING {
        return Ok(None);
    }
    drop(lock);
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    let mut answer = String::new();
    let talk = async {
        stream.write_all(line.as_bytes()).await?;
        stream.read_line(&mut answer).await
    };
    match talk.await {
        Ok(_) if answer.is_empty() => Ok(None),
        Ok(_) => Ok(Some(serde_json::from_str(&answer)?)),
        Err(error) if has_left(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Says whether an error means that the world ended in the middle of the talk.
fn has_left(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
    )
}

/// Starts the world in a process group of its own, so that the user's Ctrl-C does not end it.
async fn wake(places: &Places) -> io::Result<UnixStream> {
    let log = File::options().create(true).append(true).open(places.world_log())?;
    let mut child = Command::new(places.program("vmware-vmx"))
        .arg(WORLD_ARGUMENT)
        .current_dir(places.root())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .spawn()?;
    let until = Instant::now() + WAKING;
    loop {
        if let Ok(stream) = UnixStream::connect(places.socket()).await {
            return Ok(stream);
        }
        if let Some(status) = child.try_wait()? {
            let log = places.world_log();
            return Err(io::Error::other(format!("the world ended ({status}); see {}", log.display())));
        }
        if Instant::now() > until {
            return Err(io::Error::other("the world does not answer"));
        }
        pace::wait(WAKING_POLL).await;
    }
}

/// Says whether nobody listens: a world that leaves resets those who were about to be heard.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_for_the_turn_lets_the_one_that_has_it_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(folder.path());
        let path = places.world_lock();
        let turn = || files::lock_aside(&path);
        let first = turn().await.unwrap();
        // Both on this one thread, as two calls of vmrest are.
        let ends = async {
            tokio::task::yield_now().await;
            drop(first);
        };
        let (second, ()) = tokio::join!(turn(), ends);
        second.unwrap();
    }
}
