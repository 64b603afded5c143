//! A steady load from the Mac: new connections at a fixed rate to each target, each with its own time-out.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fusionlab::host::linux::netns;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Between two connections to one target: 50 a second (facts/test-bench.md §6).
pub const SPACING: Duration = Duration::from_millis(20);
/// How long a request may take.
const TIME_OUT: Duration = Duration::from_secs(1);

/// What connections are made to.
#[derive(Clone)]
pub struct Target {
    pub name: &'static str,
    pub address: SocketAddrV4,
    /// The API server's authority; without it there is no TLS.
    pub authority: Option<PathBuf>,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub sent: Instant,
    pub ended: Instant,
    pub answered: bool,
}

/// A load that goes on until it is told to end.
pub struct Load {
    ending: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Vec<Request>>>,
}

impl Load {
    /// Starts to ask from a network namespace.
    pub fn start(namespace: &Path, targets: Vec<Target>) -> Self {
        let ending = Arc::new(AtomicBool::new(false));
        let (told, namespace) = (ending.clone(), namespace.to_owned());
        // A thread in the namespace has all its sockets there, so the runtime gets no other.
        let asked = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(ask_all(&targets, &told)))
        };
        let thread = std::thread::spawn(move || netns::inside(&namespace, asked).expect("the Mac can ask"));
        Self { ending, thread }
    }

    /// Returns each target's requests, in the order in which they were sent.
    pub fn end(self) -> Vec<Vec<Request>> {
        self.ending.store(true, Ordering::Relaxed);
        self.thread.join().expect("it only asks")
    }
}

async fn ask_all(targets: &[Target], ending: &AtomicBool) -> Vec<Vec<Request>> {
    let asked: Vec<Arc<Mutex<Vec<Request>>>> = targets.iter().map(|_| Arc::default()).collect();
    let askers: Vec<Arc<Asker>> = targets.iter().map(|target| Arc::new(Asker::of(target))).collect();
    let mut ticks = tokio::time::interval(SPACING);
    // On a busy computer a late tick is not made good by two at once.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !ending.load(Ordering::Relaxed) {
        ticks.tick().await;
        for (asker, asked) in askers.iter().zip(&asked) {
            let (asker, asked) = (asker.clone(), asked.clone());
            tokio::spawn(async move {
                let sent = Instant::now();
                let answered = tokio::time::timeout(TIME_OUT, asker.ask()).await;
                let answered = matches!(answered, Ok(Ok(())));
                asked.lock().expect("no thread panics with it").push(Request {
                    sent,
                    ended: Instant::now(),
                    answered,
                });
            });
        }
    }
    tokio::time::sleep(TIME_OUT + SPACING).await;
    let in_order = |asked: &Arc<Mutex<Vec<Request>>>| {
        let mut asked = asked.lock().expect("no thread panics with it").clone();
        asked.sort_by_key(|request| request.sent);
        asked
    };
    asked.iter().map(in_order).collect()
}

/// One target, with what TLS needs.
struct Asker {
    address: SocketAddrV4,
    tls: Option<TlsConnector>,
}

impl Asker {
    fn of(target: &Target) -> Self {
        let connector = |authority: &PathBuf| {
            let mut roots = rustls::RootCertStore::empty();
            let certificate = CertificateDer::from_pem_file(authority).expect("fusionlab wrote it");
            roots.add(certificate).expect("it is an authority");
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("ring knows them")
                .with_root_certificates(roots)
                .with_no_client_auth();
            TlsConnector::from(Arc::new(config))
        };
        Self { address: target.address, tls: target.authority.as_ref().map(connector) }
    }

    async fn ask(&self) -> std::io::Result<()> {
        let stream = TcpStream::connect(self.address).await?;
        match &self.tls {
            None => talk(stream).await,
            Some(tls) => {
                let name = ServerName::from(std::net::IpAddr::V4(*self.address.ip()));
                talk(tls.connect(name, stream).await?).await
            }
        }
    }
}

/// Any answer will do: what it says is the proof's to judge, not the load's.
async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n").await?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await?;
    if answer.starts_with(b"HTTP/1.1 ") { Ok(()) } else { Err(std::io::ErrorKind::InvalidData.into()) }
}
