//! Serves the sites over HTTP and HTTPS.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HOST, LOCATION};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::sites::{Answer, Sites};
use crate::sim::guest::tls;

/// Connections whose handshake is done and that wait to be served.
const WAITING: usize = 16;

/// Serves HTTP until the token is cancelled.
pub async fn plain(sites: Arc<Sites>, listener: TcpListener, until: CancellationToken) -> io::Result<()> {
    axum::serve(listener, router(sites)).with_graceful_shutdown(until.cancelled_owned()).await
}

/// Serves HTTPS until the token is cancelled.
pub async fn encrypted(sites: Arc<Sites>, listener: TcpListener, until: CancellationToken) -> io::Result<()> {
    let address = listener.local_addr()?;
    let resolver = Certificates { sites: Arc::clone(&sites), made: Mutex::default() };
    let acceptor = TlsAcceptor::from(tls::server_by_name(Arc::new(resolver))?);
    let (done, connections) = mpsc::channel(WAITING);
    // Ends with this future.
    let mut shaking = JoinSet::new();
    shaking.spawn(shake_hands(listener, acceptor, done));
    let listener = Encrypted { address, connections };
    axum::serve(listener, router(sites)).with_graceful_shutdown(until.cancelled_owned()).await
}

/// Accepts connections; a client that is slow in its handshake does not keep others waiting.
async fn shake_hands(
    mut listener: TcpListener,
    acceptor: TlsAcceptor,
    done: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let mut shaking = JoinSet::new();
    loop {
        let (stream, from) = Listener::accept(&mut listener).await;
        while shaking.try_join_next().is_some() {}
        let (acceptor, done) = (acceptor.clone(), done.clone());
        shaking.spawn(async move {
            // Whoever does not believe the certificate goes away, and says so itself.
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = done.send((stream, from)).await;
            }
        });
    }
}

/// Connections that are encrypted already.
struct Encrypted {
    address: SocketAddr,
    connections: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.connections.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// Certificates by name, made when somebody asks for the name.
struct Certificates {
    sites: Arc<Sites>,
    made: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates")
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = made.get(name) {
            return Some(Arc::clone(key));
        }
        let key = Arc::new(self.sites.keys().issue(name).ok()?.certified().ok()?);
        made.insert(name.to_owned(), Arc::clone(&key));
        Some(key)
    }
}

fn router(sites: Arc<Sites>) -> Router {
    Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap| {
        let sites = Arc::clone(&sites);
        // A repository is made when it is first asked for, which takes a moment.
        async move {
            let answered = tokio::task::spawn_blocking(move || answer(&sites, &method, &uri, &headers));
            answered.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
        }
    })
}

fn answer(sites: &Sites, method: &Method, uri: &Uri, headers: &HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
    match sites.get(&host, &unescaped(uri.path())) {
        Answer::Found(content) => {
            ([(CONTENT_TYPE, "application/octet-stream")], Body::from(content)).into_response()
        }
        Answer::Elsewhere(address) => (StatusCode::FOUND, [(LOCATION, address)]).into_response(),
        Answer::Missing => {
            (StatusCode::NOT_FOUND, format!("the simulated internet has nothing at {host}{}\n", uri.path()))
                .into_response()
        }
    }
}

/// Reads `%3a` as `:`; apt writes some characters so.
fn unescaped(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.get(..2)).flatten();
        match escaped.and_then(|digits| hex::decode(digits).ok()) {
            Some(byte) => {
                bytes.extend(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read() {
        assert_eq!(unescaped("/core%3a/stable:/v1%2E36/%"), "/core:/stable:/v1.36/%");
    }
}
