//! Where a stand-in runs: the guest around it, or a test's folder in its stead.
#![expect(
    clippy::disallowed_methods,
    reason = "a stand-in is a program of the guest's: it starts what it is told to"
)]

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddrV4;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use async_trait::async_trait;
use tokio::net::{TcpListener, UnixStream};
use tokio::process::Command;

use crate::sim::agent::{SOCKET, away};
use crate::sim::guest::services::Stream;

/// What a stand-in needs of the machine that it runs on.
#[async_trait]
pub trait Place: Send + Sync {
    /// The folder that is the machine's root.
    fn root(&self) -> &Path;

    fn is_root(&self) -> bool;

    fn folder(&self) -> PathBuf;

    fn variable(&self, name: &str) -> Option<String>;

    /// Reads standard input to its end.
    fn input(&self) -> io::Result<Vec<u8>>;

    fn out(&self, bytes: &[u8]) -> io::Result<()>;

    fn err(&self, bytes: &[u8]) -> io::Result<()>;

    /// Opens a connection to the world.
    async fn connect(&self) -> io::Result<Box<dyn Stream>>;

    async fn bind(&self, address: SocketAddrV4) -> io::Result<TcpListener>;

    /// Runs a program to its end; returns its exit status and all that it said.
    async fn run(&self, argv: &[String]) -> io::Result<(i32, String)>;

    /// Starts a program that outlives this one.
    fn spawn(&self, program: &str) -> io::Result<()>;

    /// Tells systemd that the unit has started.
    fn ready(&self);
}

/// The machine that this process runs on.
pub struct Here;

#[async_trait]
impl Place for Here {
    fn root(&self) -> &Path {
        Path::new("/")
    }

    fn is_root(&self) -> bool {
        // SAFETY: it reads one number of this process and cannot fail.
        unsafe { libc::geteuid() == 0 }
    }

    fn folder(&self) -> PathBuf {
        std::env::current_dir().unwrap_or_else(|_| "/".into())
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn input(&self) -> io::Result<Vec<u8>> {
        let mut input = Vec::new();
        io::stdin().lock().read_to_end(&mut input)?;
        Ok(input)
    }

    fn out(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    fn err(&self, bytes: &[u8]) -> io::Result<()> {
        io::stderr().lock().write_all(bytes)
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let error = match UnixStream::connect(SOCKET).await {
            Ok(stream) => return Ok(Box::new(stream)),
            Err(error) => error,
        };
        match away::connect(self.root()).await {
            Some(connected) => Ok(Box::new(connected?)),
            None => Err(error),
        }
    }

    async fn bind(&self, address: SocketAddrV4) -> io::Result<TcpListener> {
        TcpListener::bind(address).await
    }

    async fn run(&self, argv: &[String]) -> io::Result<(i32, String)> {
        let (program, args) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let ended = Command::new(program).args(args).stdin(Stdio::null()).output().await?;
        let mut text = String::from_utf8_lossy(&ended.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&ended.stderr));
        const KILLED: i32 = 137;
        Ok((ended.status.code().unwrap_or(KILLED), text))
    }

    fn spawn(&self, program: &str) -> io::Result<()> {
        // A group of its own: what is sent to the unit's group is not for the pods.
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0).env_remove("NOTIFY_SOCKET");
        let mut child = command.spawn()?;
        tokio::spawn(async move { child.wait().await });
        Ok(())
    }

    fn ready(&self) {
        let told = || -> io::Result<()> {
            let Some(socket) = self.variable("NOTIFY_SOCKET") else { return Ok(()) };
            UnixDatagram::unbound()?.send_to(b"READY=1", socket).map(drop)
        };
        // systemd's own time-out tells whoever waits.
        let _ = told();
    }
}
