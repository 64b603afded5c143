//! The world as a process: its control socket, its SOCKS5 server, and when it leaves.

use std::io;
use std::net::Ipv4Addr;
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
    let dialling = tokio::spawn(dial::serve(world.clone(), dialled));
    let leaving = world.leaving().clone();
    let mut terminated = signal(SignalKind::terminate())?;
    let ended = tokio::select! {
        ended = accept(&world, listener) => ended,
        () = stay_while_needed(&world) => Ok(()),
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
    files::remove(&socket)?;
    if places.root().is_dir() {
        files::write(&places.dial_file(), NOWHERE)?;
    }
    ended
}

async fn accept(world: &Arc<World>, listener: UnixListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
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
async fn stay_while_needed(world: &Arc<World>) {
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
            files::remove(&world.places.socket()).ok();
            return;
        }
    }
}
