//! The programs that make networks, `ip` and `nft`, each run once for a batch of work; and kernel settings.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tokio::net::{TcpSocket, TcpStream};

use super::limits;
use crate::host::linux::netns;
use crate::host::process::{self, Options};
use crate::sim::files;
use crate::sim::linux::needs;
use crate::sim::linux::prefix::namespace_path;

/// Returns a program's path.
///
/// # Errors
/// If it is not installed; `needs` says beforehand how to get it.
pub fn program(name: &str) -> io::Result<PathBuf> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name} is not installed"));
    needs::find(name).ok_or_else(missing)
}

/// Runs lines of `ip`'s language in one process, in a namespace or, with none, in the computer's own, where only
/// namespaces are made and removed. The first line that fails ends it.
pub async fn ip(namespace: Option<&str>, lines: &[String]) -> io::Result<()> {
    batch(namespace, lines, &[]).await
}

/// Like [`ip`], but lines that fail, since what they remove is gone already, do not keep the others from being run.
pub async fn ip_remove(namespace: Option<&str>, lines: &[String]) {
    // Whether all is gone is looked at by whoever has to know.
    let _ = batch(namespace, lines, &["-force"]).await;
}

async fn batch(namespace: Option<&str>, lines: &[String], options: &[&str]) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut args: Vec<&str> = namespace.map(|name| vec!["-n", name]).unwrap_or_default();
    args.extend(options);
    args.extend(["-batch", "-"]);
    run("ip", &args, lines.join("\n") + "\n").await
}

/// Loads rules into a namespace's packet filter.
pub async fn nft(namespace: &str, rules: String) -> io::Result<()> {
    let nft = program("nft")?;
    run("ip", &["netns", "exec", namespace, &nft.to_string_lossy(), "-f", "-"], rules).await
}

async fn run(name: &str, args: &[&str], input: String) -> io::Result<()> {
    let program = program(name)?;
    let mut options = Options::limit(limits::PROGRAM);
    let shown = input.clone();
    options.stdin = input.into_bytes();
    let finished = process::run(&program, args, options).await.map_err(io::Error::other)?;
    if finished.success() {
        return Ok(());
    }
    let error = finished.error(&program, args);
    Err(io::Error::other(format!("{error}; its input was:\n{shown}")))
}

/// Sets kernel settings of a namespace, each by its path under `/proc/sys/net`. One that this kernel does not have is as
/// good as set.
pub fn set(namespace: &str, settings: &[(&str, &str)]) -> io::Result<()> {
    netns::inside(&namespace_path(namespace), || {
        for (key, value) in settings {
            let path = Path::new("/proc/sys/net").join(key);
            match files::open(&path, true) {
                Ok(mut file) => file.write_all(value.as_bytes()).map_err(|error| {
                    io::Error::new(error.kind(), format!("write {value} to {}: {error}", path.display()))
                })?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    })
}

/// Opens a TCP connection in a namespace: its socket is made there, and belongs to it for good.
pub async fn connect(namespace: &Path, to: std::net::SocketAddrV4) -> io::Result<TcpStream> {
    let socket = netns::inside(namespace, TcpSocket::new_v4)?;
    let connected = tokio::time::timeout(limits::CONNECT, socket.connect(to.into())).await;
    let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(as_seen)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Gives a network without a way there the kind of a host that does not answer: who dials tells only these apart from
/// a refusal.
fn as_seen(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            io::ErrorKind::HostUnreachable.into()
        }
        _ => error,
    }
}
