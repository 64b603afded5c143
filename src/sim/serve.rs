//! The world as a process: its control socket, its SOCKS5 server, and when it leaves.

use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};

use super::control::{GREETING, Request};
use super::places::Places;
use super::world::World;
use super::{dial, files, pace};

/// The dial file's content while there is no world: a port where nobody listens, so that every guest is
/// unreachable and nobody mistakes the computer's own networks for the simulated ones.
pub const NOWHERE: &str = "socks5://127.0.0.1:1\n";
/// How long nothing must have power before the world leaves.
const IDLE: Duration = Duration::from_millis(300);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(100);

/// Listens where the last world of this Mac did, if that is free: a user's kubeconfig names the port.
async fn listen(places: &Places) -> io::Result<TcpListener> {
    let last = files::read(&places.dial_port())?.and_then(|port| port.trim().parse().ok()).unwrap_or(0);
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, last)).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
    };
    files::write(&places.dial_port(), format!("{}\n", listener.local_addr()?.port()))?;
    Ok(listener)
}

/// Serves a world until it is idle, told to quit, or its root is gone. Nothing of it is left then.
///
/// # Errors
/// If it cannot listen.
pub async fn serve(world: Arc<World>) -> io::Result<()> {
    let places = world.places.clone();
    files::make_folder(&places.run())?;
    let socket = places.socket();
    files::remove(&socket)?;
    let dialled = listen(&places).await?;
    let address = dialled.local_addr()?;
    world.dialled_at(address);
    files::write(&places.dial_file(), format!("socks5://{address}\n"))?;
    world.apply_networks().await?;
    let listener = UnixListener::bind(&socket)?;
    let own = Own::of(&places)?;
    let dialling = tokio::spawn(dial::serve(world.clone(), dialled));
    let leaving = world.leaving().clone();
    let mut terminated = signal(SignalKind::terminate())?;
    let ended = tokio::select! {
        () = accept(&world, listener) => Ok(()),
        () = stay_while_needed(&world, &own) => Ok(()),
        _ = terminated.recv() => {
            world.quit();
            Ok(())
        }
        () = leaving.cancelled() => {
            pace::wait(LOOK).await;
            Ok(())
        }
    };
    dialling.abort();
    world.leave().await;
    own.withdraw(&places)?;
    ended
}

/// The socket that this world made, by its place on the disk: another world may have put its own there since.
struct Own {
    device: u64,
    inode: u64,
}

impl Own {
    fn of(places: &Places) -> io::Result<Self> {
        let facts = std::fs::symlink_metadata(places.socket())?;
        Ok(Self { device: facts.dev(), inode: facts.ino() })
    }

    /// Says of this world that nobody finds it any more, unless another one is found in its place.
    fn withdraw(&self, places: &Places) -> io::Result<()> {
        let is_there = Self::of(places).is_ok_and(|now| (now.device, now.inode) == (self.device, self.inode));
        if is_there {
            files::write(&places.dial_file(), NOWHERE)?;
            files::remove(&places.socket())?;
        }
        Ok(())
    }
}

async fn accept(world: &Arc<World>, listener: UnixListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of files, or a program that went away: machines do not lose their power over it.
            pace::wait(LOOK).await;
            continue;
        };
        let stay = world.stay();
        let world = world.clone();
        tokio::spawn(async move {
            // A program that was killed in the middle asks no more.
            let _ = converse(&world, stream).await;
            drop(stay);
        });
    }
}

async fn converse(world: &Arc<World>, stream: UnixStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(format!("{GREETING}\n").as_bytes()).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    if line.is_empty() {
        return Ok(());
    }
    let request: Request = serde_json::from_str(&line)?;
    let reply = world.answer(request).await;
    let mut answer = serde_json::to_string(&reply)?;
    answer.push('\n');
    stream.write_all(answer.as_bytes()).await
}

/// Returns when nobody has needed the world for a while, or its root has vanished.
async fn stay_while_needed(world: &Arc<World>, own: &Own) {
    let mut idle = Duration::ZERO;
    loop {
        pace::wait(LOOK).await;
        if !world.places.app().is_dir() {
            world.quit();
            return;
        }
        idle = if world.is_idle() { idle + LOOK } else { Duration::ZERO };
        if idle < IDLE {
            continue;
        }
        // Whoever starts a world holds this lock until its connection is counted.
        if let Some(_lock) = files::try_lock(&world.places.world_lock())
            && world.is_idle()
        {
            own.withdraw(&world.places).ok();
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_world_that_leaves_takes_only_its_own_socket_away() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(folder.path());
        files::make_folder(&places.run()).unwrap();
        let socket = places.socket();
        let _first = UnixListener::bind(&socket).unwrap();
        let first = Own::of(&places).unwrap();
        // Whoever comes next removes what lies there before it listens.
        files::remove(&socket).unwrap();
        let _second = UnixListener::bind(&socket).unwrap();
        files::write(&places.dial_file(), "socks5://127.0.0.1:9\n").unwrap();
        let second = Own::of(&places).unwrap();
        first.withdraw(&places).unwrap();
        assert!(UnixStream::connect(&socket).await.is_ok());
        assert_eq!(files::read(&places.dial_file()).unwrap().unwrap(), "socks5://127.0.0.1:9\n");
        second.withdraw(&places).unwrap();
        assert!(!socket.exists());
        assert_eq!(files::read(&places.dial_file()).unwrap().unwrap(), NOWHERE);
    }
}
