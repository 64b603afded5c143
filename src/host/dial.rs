//! The way to the guests: straight, as on a Mac, or through a SOCKS5 proxy, as the simulated Fusion needs.

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream as BlockingStream};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fusion::Fusion;
use super::{HostError, Result, clock, files, stand_in};

/// A connection to a guest.
pub type Stream = Box<dyn Connection>;

/// Bytes both ways.
pub trait Connection: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Debug + Send + Unpin> Connection for T {}

/// How a TCP connection to a guest is made.
///
/// An unreachable host stays visible as [`io::ErrorKind::HostUnreachable`]: on macOS 15 and later it is what a
/// program without the Local Network permission sees (facts/vmrun-vmrest.md §1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dial {
    Direct,
    Socks5(SocketAddr),
}

impl Dial {
    /// Returns the way that this Fusion's dial file names; direct if there is none. Read at each call, since a
    /// simulated Fusion that is started again has another port.
    pub fn of(fusion: &Fusion) -> Result<Self> {
        let path = fusion.dial_file();
        match files::read_if_exists(&path)? {
            None => Ok(Self::Direct),
            Some(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                Self::parse(text.trim()).ok_or_else(|| HostError::Content {
                    path,
                    reason: "expected one line such as socks5://127.0.0.1:41077".to_owned(),
                })
            }
        }
    }

    /// Reads `direct` or `socks5://ADDRESS:PORT`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "direct" {
            return Some(Self::Direct);
        }
        text.strip_prefix("socks5://")?.parse().ok().map(Self::Socks5)
    }

    /// Returns the proxy as kubectl's and curl's settings spell it; none for the direct way.
    pub fn proxy_url(&self) -> Option<String> {
        match self {
            Self::Direct => None,
            Self::Socks5(proxy) => Some(format!("socks5://{proxy}")),
        }
    }

    /// Opens a connection to a guest's address.
    pub async fn connect(&self, address: SocketAddrV4, limit: Duration) -> Result<Stream> {
        let (first_hop, target) = self.hops(address);
        let attempt = async {
            if let Some(connecting) = stand_in::current().map(|computer| computer.connect(address)) {
                return connecting.await.map_err(|error| (address.into(), error));
            }
            let mut stream =
                TcpStream::connect(first_hop).await.map_err(|error| (first_hop, visible(error)))?;
            stream.set_nodelay(true).map_err(|error| (first_hop, error))?;
            if let Some(target) = target {
                negotiate(&mut stream, target).await.map_err(|error| (address.into(), error))?;
            }
            Ok(Box::new(stream) as Stream)
        };
        let outcome = tokio::time::timeout(limit, attempt).await;
        outcome
            .unwrap_or_else(|_| Err((address.into(), io::ErrorKind::TimedOut.into())))
            .map_err(|(address, source)| HostError::Connect { address, source })
    }

    /// Like [`Self::connect`], for threads that speak a blocking protocol.
    pub fn connect_blocking(&self, address: SocketAddrV4, limit: Duration) -> Result<BlockingStream> {
        let (first_hop, target) = self.hops(address);
        let failed = |address: SocketAddr| move |source| HostError::Connect { address, source };
        let started = clock::monotonic();
        let mut stream =
            BlockingStream::connect_timeout(&first_hop, limit).map_err(visible).map_err(failed(first_hop))?;
        let mut prepare = || {
            stream.set_nodelay(true)?;
            let Some(target) = target else { return Ok(()) };
            // One reply may not take longer than what is left; there are two.
            let left = limit.saturating_sub(started.elapsed()).max(Duration::from_millis(1));
            stream.set_read_timeout(Some(left))?;
            stream.set_write_timeout(Some(left))?;
            negotiate_blocking(&mut stream, target).map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
                _ => error,
            })?;
            stream.set_read_timeout(None)?;
            stream.set_write_timeout(None)
        };
        prepare().map_err(failed(address.into()))?;
        Ok(stream)
    }

    /// Returns where to connect to, and what to ask for there.
    fn hops(&self, address: SocketAddrV4) -> (SocketAddr, Option<SocketAddrV4>) {
        match *self {
            Self::Direct => (address.into(), None),
            Self::Socks5(proxy) => (proxy, Some(address)),
        }
    }
}

/// Gives the error of a host that does not answer ARP the kind that means it: nobody answers there. `EHOSTUNREACH` is another matter
/// on a Mac: it is what a program gets, at once, that may not reach the local network (XNU's `ip_output.c`).
fn visible(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EHOSTDOWN) => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

// SOCKS version 5, RFC 1928: no authentication, CONNECT to an IPv4 address.
const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const DOMAIN: u8 = 3;
const IPV6: u8 = 4;
const GREETING: [u8; 3] = [VERSION, 1, NO_AUTHENTICATION];
const ADDRESS_BYTES: usize = 4;
const ADDRESS_BYTES_V6: usize = 16;
const PORT_BYTES: usize = 2;

async fn negotiate(stream: &mut TcpStream, target: SocketAddrV4) -> io::Result<()> {
    stream.write_all(&GREETING).await?;
    let mut choice = [0; 2];
    stream.read_exact(&mut choice).await?;
    check_choice(choice)?;
    stream.write_all(&request(target)).await?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let mut rest = check_reply(head)?;
    if let Bound::Domain = rest {
        rest = Bound::Bytes(usize::from(stream.read_u8().await?));
    }
    stream.read_exact(&mut vec![0; rest.bytes() + PORT_BYTES]).await?;
    Ok(())
}

fn negotiate_blocking(stream: &mut BlockingStream, target: SocketAddrV4) -> io::Result<()> {
    stream.write_all(&GREETING)?;
    let mut choice = [0; 2];
    stream.read_exact(&mut choice)?;
    check_choice(choice)?;
    stream.write_all(&request(target))?;
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let mut rest = check_reply(head)?;
    if let Bound::Domain = rest {
        let mut length = [0];
        stream.read_exact(&mut length)?;
        rest = Bound::Bytes(usize::from(length[0]));
    }
    stream.read_exact(&mut vec![0; rest.bytes() + PORT_BYTES])
}

fn check_choice(choice: [u8; 2]) -> io::Result<()> {
    if choice == [VERSION, NO_AUTHENTICATION] {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the proxy does not speak SOCKS5 without a password"))
}

fn request(target: SocketAddrV4) -> [u8; 10] {
    let [a, b, c, d] = target.ip().octets();
    let [high, low] = target.port().to_be_bytes();
    [VERSION, CONNECT, 0, IPV4, a, b, c, d, high, low]
}

/// How many bytes of bound address follow a reply's head.
enum Bound {
    Bytes(usize),
    Domain,
}

impl Bound {
    fn bytes(&self) -> usize {
        match self {
            Self::Bytes(count) => *count,
            Self::Domain => 0,
        }
    }
}

fn check_reply([version, code, _, kind]: [u8; 4]) -> io::Result<Bound> {
    if version != VERSION {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the proxy does not speak SOCKS5"));
    }
    match code {
        0 => match kind {
            IPV4 => Ok(Bound::Bytes(ADDRESS_BYTES)),
            IPV6 => Ok(Bound::Bytes(ADDRESS_BYTES_V6)),
            DOMAIN => Ok(Bound::Domain),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the proxy's reply has no address")),
        },
        2 => Err(io::ErrorKind::PermissionDenied.into()),
        3 => Err(io::ErrorKind::NetworkUnreachable.into()),
        4 => Err(io::ErrorKind::HostUnreachable.into()),
        5 => Err(io::ErrorKind::ConnectionRefused.into()),
        6 => Err(io::ErrorKind::TimedOut.into()),
        other => Err(io::Error::other(format!("the proxy failed with SOCKS5 code {other}"))),
    }
}

/// Returns `address` if it is one that a guest can have: not a host's own, a link's, or nobody's.
pub fn guest_address(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V4(address) = address else { return None };
    let odd = address.is_loopback()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_broadcast();
    // Fusion's host side is .1 on each of its networks, and containers' bridges are .1 in the guest.
    (!odd && address.octets()[3] != 1).then_some(address)
}

#[cfg(test)]
pub(super) mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    /// Serves SOCKS5 on loopback, with one reply code for every request; code 0 leads to `backend`.
    pub async fn proxy(code: u8, backend: Option<SocketAddr>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut greeting = [0; 3];
                client.read_exact(&mut greeting).await.unwrap();
                assert_eq!(greeting, [5, 1, 0]);
                client.write_all(&[5, 0]).await.unwrap();
                let mut request = [0; 10];
                client.read_exact(&mut request).await.unwrap();
                assert_eq!(request, [5, 1, 0, 1, 10, 10, 0, 131, 0, 22]);
                client.write_all(&[5, code, 0, 1, 127, 0, 0, 1, 0, 7]).await.unwrap();
                if let Some(backend) = backend {
                    let mut server = TcpStream::connect(backend).await.unwrap();
                    tokio::spawn(async move {
                        drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
                    });
                }
            }
        });
        address
    }

    async fn greeter() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                client.write_all(b"hello").await.unwrap();
            }
        });
        address
    }

    fn guest() -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(10, 10, 0, 131), 22)
    }

    #[tokio::test]
    async fn a_connection_goes_through_the_proxy() {
        let dial = Dial::Socks5(proxy(0, Some(greeter().await)).await);
        let mut text = String::new();
        dial.connect(guest(), LIMIT).await.unwrap().read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
        let text = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            dial.connect_blocking(guest(), LIMIT).unwrap().read_to_string(&mut text).unwrap();
            text
        });
        assert_eq!(text.await.unwrap(), "hello");
    }

    #[tokio::test]
    async fn the_proxys_refusal_keeps_its_kind() {
        for (code, kind) in [
            (4, io::ErrorKind::HostUnreachable),
            (5, io::ErrorKind::ConnectionRefused),
            (6, io::ErrorKind::TimedOut),
        ] {
            let dial = Dial::Socks5(proxy(code, None).await);
            let HostError::Connect { address, source } = dial.connect(guest(), LIMIT).await.unwrap_err()
            else {
                panic!("a failed connection is a Connect error");
            };
            assert_eq!((address, source.kind()), (guest().into(), kind));
        }
    }

    #[tokio::test]
    async fn a_dead_proxy_is_named_itself() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = Dial::Socks5(gone).connect(guest(), LIMIT).await.unwrap_err();
        let HostError::Connect { address, source } = error else { panic!("expected a Connect error") };
        assert_eq!((address, source.kind()), (gone, io::ErrorKind::ConnectionRefused));
    }

    #[tokio::test]
    async fn a_silent_proxy_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dial = Dial::Socks5(listener.local_addr().unwrap());
        let limit = Duration::from_millis(100);
        let error = dial.connect(guest(), limit).await.unwrap_err();
        assert!(
            matches!(error, HostError::Connect { source, .. } if source.kind() == io::ErrorKind::TimedOut)
        );
        let error = tokio::task::spawn_blocking(move || dial.connect_blocking(guest(), limit).unwrap_err());
        let error = error.await.unwrap();
        assert!(
            matches!(error, HostError::Connect { source, .. } if source.kind() == io::ErrorKind::TimedOut)
        );
    }

    #[test]
    fn the_dial_file_decides_the_way() {
        let root = tempfile::tempdir().unwrap();
        let fusion = crate::host::fusion::tests::fusion(root.path());
        assert_eq!(Dial::of(&fusion).unwrap(), Dial::Direct);
        files::create_dir(&root.path().join("var/run")).unwrap();
        files::write_atomic(&fusion.dial_file(), b"socks5://127.0.0.1:41077\n", 0o644).unwrap();
        let dial = Dial::of(&fusion).unwrap();
        assert_eq!(dial.proxy_url().as_deref(), Some("socks5://127.0.0.1:41077"));
        files::write_atomic(&fusion.dial_file(), b"carrier pigeon", 0o644).unwrap();
        assert!(matches!(Dial::of(&fusion), Err(HostError::Content { .. })));
    }

    #[test]
    fn addresses_no_guest_has_are_left_out() {
        for text in ["127.0.0.1", "169.254.3.4", "0.0.0.0", "172.17.0.1", "10.10.0.1"] {
            assert_eq!(guest_address(text.parse().unwrap()), None, "{text}");
        }
        assert!(guest_address("10.10.0.131".parse().unwrap()).is_some());
    }
}
