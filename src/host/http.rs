//! One HTTP request over a [`Dial`], plain or in TLS, as a proof that something answers: used by `verify`.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use x509_parser::extensions::GeneralName;

use super::dial::Dial;
use super::{HostError, Result, clock};

/// How much of a body is read; a longer one is cut.
const LARGEST_BODY: usize = 1024 * 1024;
const LARGEST_HEAD: usize = 64 * 1024;
const READ_BUFFER: usize = 16 * 1024;
const HEAD_END: &[u8] = b"\r\n\r\n";

/// How the server proves who it is.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The name that is asked for (SNI), and that its certificate must bear.
    pub server_name: String,
    /// The only authorities that are believed, in PEM.
    pub ca_pem: String,
}

/// One GET request.
#[derive(Clone, Debug)]
pub struct Probe {
    pub address: Ipv4Addr,
    pub port: u16,
    pub tls: Option<Tls>,
    pub host_header: String,
    /// Begins with a slash.
    pub path: String,
    pub limit: Duration,
}

/// What the server answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpAnswer {
    pub status: u16,
    /// Cut after a mebibyte.
    pub body: Vec<u8>,
    pub server_header: Option<String>,
    /// The DNS names and addresses of the server's certificate; none without TLS.
    pub certificate_names: Option<Vec<String>>,
}

/// Sends the request and reads the answer. A refused connection is [`HostError::Connect`]; a server that speaks
/// otherwise than wished is [`HostError::Download`] with the reason.
pub async fn probe(dial: &Dial, probe: &Probe) -> Result<HttpAnswer> {
    let attempt = attempt(dial, probe);
    tokio::time::timeout(probe.limit, attempt).await.unwrap_or_else(|_| {
        let what = format!("an answer from {}", url(probe));
        Err(HostError::Deadline { what, limit: probe.limit })
    })
}

async fn attempt(dial: &Dial, probe: &Probe) -> Result<HttpAnswer> {
    let failed = |reason: String| HostError::Download { url: url(probe), reason };
    let stream = dial.connect(SocketAddrV4::new(probe.address, probe.port), probe.limit).await?;
    let Some(tls) = &probe.tls else {
        return exchange(stream, probe).await.map_err(|error| failed(error.to_string()));
    };
    let (config, name) = client(tls).map_err(|reason| failed(format!("TLS: {reason}")))?;
    let connected = TlsConnector::from(config).connect(name, stream).await;
    let mut stream = connected.map_err(|error| failed(format!("TLS: {error}")))?;
    let names = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map(certificate_names);
    let answer = exchange(&mut stream, probe).await.map_err(|error| failed(error.to_string()))?;
    Ok(HttpAnswer { certificate_names: names, ..answer })
}

fn url(probe: &Probe) -> String {
    let scheme = if probe.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{}:{}{}", probe.address, probe.port, probe.path)
}

fn client(tls: &Tls) -> Result<(Arc<ClientConfig>, ServerName<'static>), String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(tls.ca_pem.as_bytes()) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_details(provider, Arc::new(OurClock))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(tls.server_name.clone()).map_err(|error| error.to_string())?;
    Ok((Arc::new(config), name))
}

/// The clock that certificates are judged by: the one that they were made by.
#[derive(Debug)]
pub struct OurClock;

impl TimeProvider for OurClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(clock::now())))
    }
}

fn certificate_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(certificate) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            <[u8; 4]>::try_from(*bytes).ok().map(|bytes| Ipv4Addr::from(bytes).to_string())
        }
        _ => None,
    };
    names.value.general_names.iter().filter_map(name).collect()
}

/// Sends the request on a connection and reads the answer until it is whole.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, probe: &Probe) -> io::Result<HttpAnswer> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: fusionlab\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        probe.path, probe.host_header
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(HEAD_END.len()).position(|window| window == HEAD_END) {
            break end;
        }
        if bytes.len() > LARGEST_HEAD || !more(&mut stream, &mut bytes).await? {
            return Err(malformed("no end of its headers"));
        }
    };
    let head = Head::parse(&bytes[..end])?;
    let mut body = bytes.split_off(end + HEAD_END.len());
    while !head.is_whole(&body) && body.len() < LARGEST_BODY {
        if !more(&mut stream, &mut body).await? {
            break;
        }
    }
    let body = head.decode(body)?;
    Ok(HttpAnswer { status: head.status, body, server_header: head.server, certificate_names: None })
}

/// Reads some bytes; false at the end. A server that closes TLS without a good-bye has ended too: lengths tell
/// whether anything is missing.
async fn more(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> io::Result<bool> {
    let start = bytes.len();
    bytes.resize(start + READ_BUFFER, 0);
    let count = match stream.read(&mut bytes[start..]).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        other => other,
    };
    bytes.truncate(start + *count.as_ref().unwrap_or(&0));
    Ok(count? > 0)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not an HTTP answer: {what}"))
}

/// What the headers say.
struct Head {
    status: u16,
    server: Option<String>,
    length: Option<usize>,
    chunked: bool,
}

impl Head {
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).map(str::parse);
        let Some(Ok(status)) = status else { return Err(malformed(first)) };
        let mut head = Self { status, server: None, length: None, chunked: false };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "server" => head.server = Some(value.to_owned()),
                "content-length" => head.length = Some(value.parse().map_err(|_| malformed("its length"))?),
                "transfer-encoding" => head.chunked = value.to_ascii_lowercase().contains("chunked"),
                _ => {}
            }
        }
        Ok(head)
    }

    /// Says whether a body that has come so far is all of it; without a length, only the end tells.
    fn is_whole(&self, body: &[u8]) -> bool {
        const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
        match self.length {
            _ if self.chunked => body.ends_with(LAST_CHUNK),
            Some(length) => body.len() >= length,
            None => false,
        }
    }

    fn decode(&self, mut body: Vec<u8>) -> io::Result<Vec<u8>> {
        let cut = body.len() >= LARGEST_BODY;
        if self.chunked {
            body = unchunk(&body, cut)?;
        } else if let Some(length) = self.length {
            if body.len() < length && !cut {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer broke off"));
            }
            body.truncate(length);
        }
        body.truncate(LARGEST_BODY);
        Ok(body)
    }
}

/// Joins chunks (RFC 9112 §7.1). A body that we cut ourselves may end anywhere.
fn unchunk(mut rest: &[u8], cut: bool) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else {
            return if cut { Ok(body) } else { Err(malformed("a chunk without a size")) };
        };
        let size = String::from_utf8_lossy(&rest[..end]);
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| malformed("a chunk's size"))?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        match rest.get(size.saturating_add(2)..) {
            Some(next) => rest = next,
            None if cut => return Ok(body),
            None => return Err(malformed("a chunk broke off")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn serve_plain(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let count = stream.read(&mut request).await.unwrap();
                assert!(request[..count].starts_with(b"GET /healthz HTTP/1.1\r\nHost: app.lab.test\r\n"));
                stream.write_all(answer).await.unwrap();
            }
        });
        address
    }

    fn request(address: SocketAddr, tls: Option<Tls>) -> Probe {
        Probe {
            address: Ipv4Addr::LOCALHOST,
            port: address.port(),
            tls,
            host_header: "app.lab.test".to_owned(),
            path: "/healthz".to_owned(),
            limit: LIMIT,
        }
    }

    async fn answer(bytes: &'static [u8]) -> Result<HttpAnswer> {
        probe(&Dial::Direct, &request(serve_plain(bytes).await, None)).await
    }

    #[tokio::test]
    async fn bodies_are_read_by_length_by_chunks_and_to_the_end() {
        for bytes in [
            &b"HTTP/1.1 404 Not Found\r\nServer: envoy\r\nContent-Length: 5\r\n\r\nhello"[..],
            b"HTTP/1.1 404 Not Found\r\nserver: envoy\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\n\r\n",
            b"HTTP/1.0 404 Not Found\r\nserver:envoy\r\n\r\nhello",
        ] {
            let answer = answer(bytes).await.unwrap();
            assert_eq!((answer.status, answer.body.as_slice()), (404, &b"hello"[..]));
            assert_eq!(answer.server_header.as_deref(), Some("envoy"));
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_an_error() {
        for bytes in [
            &b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            b"",
        ] {
            assert!(matches!(answer(bytes).await, Err(HostError::Download { .. })));
        }
    }

    #[tokio::test]
    async fn a_certificate_is_believed_only_from_the_labs_authority() {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
        let issuer = Issuer::new(ca, ca_key);
        let key = KeyPair::generate().unwrap();
        let names = vec!["*.lab.test".to_owned(), "192.168.68.200".to_owned()];
        let certificate = CertificateParams::new(names.clone()).unwrap().signed_by(&key, &issuer).unwrap();

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.read(&mut [0; 4096]).await.unwrap();
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                }
            }
        });

        let tls = |name: &str, ca_pem: &str| Tls { server_name: name.to_owned(), ca_pem: ca_pem.to_owned() };
        let good = request(address, Some(tls("app.lab.test", &ca_pem)));
        let answer = probe(&Dial::Direct, &good).await.unwrap();
        assert_eq!((answer.status, answer.certificate_names), (200, Some(names)));

        let other = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
        for bad in [tls("app.lab.test", &other), tls("app.example.org", &ca_pem)] {
            let error = probe(&Dial::Direct, &request(address, Some(bad))).await.unwrap_err();
            assert!(error.to_string().contains("TLS: "), "{error}");
        }
    }

    #[tokio::test]
    async fn a_silent_server_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut silent = request(listener.local_addr().unwrap(), None);
        silent.limit = Duration::from_millis(100);
        let error = probe(&Dial::Direct, &silent).await.unwrap_err();
        assert!(matches!(error, HostError::Deadline { .. } | HostError::Connect { .. }));
    }
}
