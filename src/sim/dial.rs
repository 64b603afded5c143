//! The way from the host into the simulated networks: a SOCKS5 server on loopback (RFC 1928, CONNECT to IPv4).

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::world::World;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const DOMAIN: u8 = 3;
const IPV6: u8 = 4;

/// RFC 1928 §6's replies.
#[derive(Clone, Copy)]
enum Answer {
    Connected = 0,
    Failed = 1,
    Unreachable = 4,
    Refused = 5,
    NobodyAnswers = 6,
    NoCommand = 7,
    NoAddressType = 8,
}

/// Accepts connections for ever.
pub async fn serve(world: Arc<World>, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let world = world.clone();
        tokio::spawn(async move {
            // A client that breaks off is no concern of anybody else.
            let _ = connect(&world, stream).await;
        });
    }
}

async fn connect(world: &Arc<World>, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let to = match greet(&mut stream).await? {
        Ok(to) => to,
        Err(answer) => return reply(&mut stream, answer).await,
    };
    match world.connect_from_host(to).await {
        Ok((mut wire, power_lost)) => {
            reply(&mut stream, Answer::Connected).await?;
            tokio::select! {
                copied = copy_bidirectional(&mut stream, &mut wire) => copied.map(drop),
                () = power_lost.cancelled() => Ok(()),
            }
        }
        Err(error) => {
            let answer = match error.kind() {
                io::ErrorKind::ConnectionRefused => Answer::Refused,
                io::ErrorKind::HostUnreachable => Answer::Unreachable,
                io::ErrorKind::TimedOut => Answer::NobodyAnswers,
                _ => Answer::Failed,
            };
            reply(&mut stream, answer).await
        }
    }
}

/// Reads the greeting and the request.
async fn greet(stream: &mut TcpStream) -> io::Result<Result<SocketAddrV4, Answer>> {
    let [version, count] = read(stream).await?;
    if version != VERSION {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not SOCKS5"));
    }
    let mut methods = vec![0; usize::from(count)];
    stream.read_exact(&mut methods).await?;
    if !methods.contains(&NO_AUTHENTICATION) {
        stream.write_all(&[VERSION, NO_METHOD]).await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no common method"));
    }
    stream.write_all(&[VERSION, NO_AUTHENTICATION]).await?;
    let [_, command, _, kind] = read(stream).await?;
    let address = match kind {
        IPV4 => Some(Ipv4Addr::from(read::<4>(stream).await?)),
        // curl and Python send an address as text when they are told to resolve names at the far end.
        DOMAIN => {
            let [length] = read(stream).await?;
            let mut name = vec![0; usize::from(length)];
            stream.read_exact(&mut name).await?;
            String::from_utf8_lossy(&name).parse().ok()
        }
        IPV6 => read::<16>(stream).await.map(|_| None)?,
        _ => None,
    };
    let port = u16::from_be_bytes(read(stream).await?);
    Ok(match (command, address) {
        (CONNECT, Some(address)) => Ok(SocketAddrV4::new(address, port)),
        (CONNECT, None) => Err(Answer::NoAddressType),
        _ => Err(Answer::NoCommand),
    })
}

async fn read<const N: usize>(stream: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn reply(stream: &mut TcpStream, answer: Answer) -> io::Result<()> {
    stream.write_all(&[VERSION, answer as u8, 0, IPV4, 0, 0, 0, 0, 0, 0]).await
}
