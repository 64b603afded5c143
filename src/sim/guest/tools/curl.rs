//! curl: HTTP and HTTPS over the simulated networks.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;

use crate::sim::guest::http::{self, Request, Response};
use crate::sim::guest::services::{Stream, connect, connect_by};
use crate::sim::guest::shell::Call;
use crate::sim::guest::tls::{self, Pair, Trust};
use crate::sim::guest::{network, tools::coreutils};

/// curl's exit statuses.
const BAD_URL: i32 = 3;
pub const NO_HOST: i32 = 6;
pub const NOT_CONNECTED: i32 = 7;
pub const TIMED_OUT: i32 = 28;
pub const NOT_SECURE: i32 = 35;
const NO_INTERFACE: i32 = 45;
const BAD_CERTIFICATE: i32 = 58;
pub const NOT_TRUSTED: i32 = 60;
pub const BAD_CA_FILE: i32 = 77;
pub const NOTHING_RECEIVED: i32 = 52;

/// `FAILED` of `--fail`: the server answered with an error.
const HTTP_ERROR: i32 = 22;

/// What it was told.
#[derive(Default)]
pub struct Options {
    pub insecure: bool,
    fail: bool,
    pub head: bool,
    /// Speaks the PROXY protocol's line first.
    proxy_protocol: bool,
    max_time: Option<u64>,
    pub cacert: Option<String>,
    /// The client's own certificate and its key.
    own: (Option<String>, Option<String>),
    interface: Option<String>,
    resolve: Vec<String>,
    write_out: Option<String>,
    pub headers: Vec<(String, String)>,
    /// Places for what comes, of which each URL takes the next: true for nowhere.
    pub discard: Vec<bool>,
    pub urls: Vec<String>,
}

/// A URL's parts.
pub struct Url {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    pub path: String,
}

pub async fn run(call: &Call<'_>) -> i32 {
    let options = match options(&call.args) {
        Ok(options) => options,
        Err(why) => return call.fail(2, format!("curl: {why}")).await,
    };
    if options.urls.is_empty() {
        return call.fail(2, "curl: (2) no URL specified").await;
    }
    let mut status = 0;
    for (index, text) in options.urls.iter().enumerate() {
        let discard = options.discard.get(index).copied().unwrap_or_default();
        status = transfer(call, &options, text, discard).await;
    }
    status
}

/// Fetches one URL and says what `--write-out` wants of it.
async fn transfer(call: &Call<'_>, options: &Options, text: &str, discard: bool) -> i32 {
    let limit = async {
        match options.max_time {
            Some(seconds) => call.model.deadline(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    let outcome = tokio::select! {
        outcome = async {
            let url = url(text).ok_or_else(malformed)?;
            fetch(call, options, &url).await
        } => outcome,
        () = limit => Err((TIMED_OUT, "Operation timed out".to_owned())),
    };
    let ended = told(options, text, discard, outcome);
    if !ended.stderr.is_empty() {
        call.complain(ended.stderr).await;
    }
    call.print(ended.stdout).await;
    ended.status
}

pub fn malformed() -> (i32, String) {
    (BAD_URL, "URL rejected: Malformed input to a URL function".to_owned())
}

/// How a transfer ended, and what it printed.
pub struct Ended {
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

/// Returns what curl prints of a transfer that ended so.
pub fn told(options: &Options, text: &str, discard: bool, outcome: Result<Response, (i32, String)>) -> Ended {
    let (mut stdout, mut stderr) = (Vec::new(), String::new());
    let (code, status) = match outcome {
        Ok(response) => {
            match (discard, options.head) {
                (true, _) => {}
                (false, true) => stdout.extend(response.head().into_bytes()),
                (false, false) => stdout.extend(&response.body),
            }
            (response.status, if options.fail && response.status >= 400 { HTTP_ERROR } else { 0 })
        }
        Err((status, why)) => {
            stderr = format!("curl: ({status}) {why}");
            (0, status)
        }
    };
    if let Some(format) = &options.write_out {
        let words = format
            .replace("%{http_code}", &format!("{code:03}"))
            .replace("%{exitcode}", &status.to_string())
            .replace("%{url_effective}", text)
            .replace("\\n", "\n");
        stdout.extend(words.into_bytes());
    }
    Ended { status, stdout, stderr }
}

pub fn options(args: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().cloned().ok_or_else(|| format!("option {word}: requires parameter"));
        match word.as_str() {
            "-s" | "-S" | "-sS" | "--silent" | "--show-error" | "--parallel" => {}
            "-fsS" | "-f" | "--fail" => options.fail = true,
            "--insecure" | "-k" => options.insecure = true,
            "-I" | "--head" => options.head = true,
            "--haproxy-protocol" => options.proxy_protocol = true,
            "-o" => options.discard.push(value()? == "/dev/null"),
            "-w" => options.write_out = Some(value()?),
            "--max-time" | "-m" | "--connect-timeout" => {
                options.max_time =
                    Some(value()?.parse().map_err(|_| format!("option {word}: expected a number"))?);
            }
            "--cacert" => options.cacert = Some(value()?),
            "--cert" => options.own.0 = Some(value()?),
            "--key" => options.own.1 = Some(value()?),
            "--interface" => options.interface = Some(value()?),
            "--resolve" => options.resolve.push(value()?),
            "-H" | "--header" => {
                let header = value()?;
                let (name, text) = header.split_once(':').ok_or("a header has a colon")?;
                options.headers.push((name.trim().to_owned(), text.trim().to_owned()));
            }
            flag if flag.starts_with('-') => return Err(format!("option {flag}: is unknown")),
            url => options.urls.push(url.to_owned()),
        }
    }
    Ok(options)
}

pub fn url(text: &str) -> Option<Url> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let tls = match scheme {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (place, if tls { 443 } else { 80 }),
    };
    (!host.is_empty()).then(|| Url { tls, host: host.to_owned(), port, path: format!("/{path}") })
}

async fn fetch(call: &Call<'_>, options: &Options, url: &Url) -> Result<Response, (i32, String)> {
    let Some(address) = address(call, options, url) else {
        let unresolved = || (NO_HOST, format!("Could not resolve host: {}", url.host));
        return internet(call).ok_or_else(unresolved);
    };
    let to = SocketAddrV4::new(address, url.port);
    let refused =
        |error| (NOT_CONNECTED, format!("Failed to connect to {} port {}: {error}", url.host, url.port));
    let mut wire = match &options.interface {
        None => connect(call.model, to).await,
        Some(name) if call.model.hardware.cards.iter().any(|card| card.name == *name) => {
            connect_by(call.model, Some(name), to).await
        }
        Some(name) => return Err((NO_INTERFACE, format!("Couldn't bind to '{name}'"))),
    }
    .map_err(refused)?;
    if options.proxy_protocol {
        let line = format!("PROXY TCP4 {address} {address} {0} {0}\r\n", url.port);
        wire.write_all(line.as_bytes()).await.map_err(refused)?;
    }
    let mut stream: Box<dyn Stream> = Box::new(wire);
    if url.tls {
        stream = secure(call, options, url, stream).await?;
    }
    let standard = if url.tls { 443 } else { 80 };
    let host = if url.port == standard { url.host.clone() } else { format!("{}:{}", url.host, url.port) };
    let mut request = Request::new(if options.head { "HEAD" } else { "GET" }, &host, &url.path);
    options.headers.iter().for_each(|(name, value)| request.set(name, value));
    let answer = http::ask(&mut stream, &request).await;
    answer.map_err(|error| (NOTHING_RECEIVED, format!("Empty reply from server ({error})")))
}

/// Any name that the hosts file does not know is somewhere in the simulated internet, for who has a router, a name
/// server and the world's leave; it says no more than that it is there.
fn internet(call: &Call<'_>) -> Option<Response> {
    let routed = call.model.live(|live| live.up().any(|one| one.router.is_some()));
    let named = call.model.live(|live| live.up().any(|one| !one.dns.is_empty()));
    let there = routed && named && call.model.around.internet();
    there.then(|| Response::new(301, "", "").with("server", "fusionlab-simulated-internet"))
}

fn address(call: &Call<'_>, options: &Options, url: &Url) -> Option<Ipv4Addr> {
    let key = format!("{}:{}:", url.host, url.port);
    let pinned = options.resolve.iter().find_map(|entry| entry.strip_prefix(&key));
    pinned.map_or_else(|| network::resolve(call.model, &url.host), |address| address.parse().ok())
}

/// Reads a file that this user may read.
fn readable(call: &Call<'_>, path: &str) -> Option<String> {
    let found = coreutils::read(call.model, path).filter(|(mode, _)| call.root || mode & 0o004 != 0);
    found.and_then(|(_, content)| String::from_utf8(content).ok())
}

async fn secure(
    call: &Call<'_>,
    options: &Options,
    url: &Url,
    stream: Box<dyn Stream>,
) -> Result<Box<dyn Stream>, (i32, String)> {
    let trust = match (&options.cacert, options.insecure) {
        (_, true) => Trust::Anything,
        (Some(path), false) => {
            let pem = readable(call, path);
            Trust::Authorities(
                pem.ok_or_else(|| (BAD_CA_FILE, format!("error adding trust anchors from file: {path}")))?,
            )
        }
        (None, false) => {
            return Err((
                NOT_TRUSTED,
                "SSL certificate problem: unable to get local issuer certificate".into(),
            ));
        }
    };
    let own = match &options.own {
        (Some(certificate), Some(key)) => {
            let pair = readable(call, certificate).zip(readable(call, key));
            let (certificate, key) =
                pair.ok_or((BAD_CERTIFICATE, "could not load PEM client certificate".to_owned()))?;
            Some(Pair { certificate, key })
        }
        _ => None,
    };
    let config = tls::client(&trust, own.as_ref()).map_err(|error| (BAD_CA_FILE, error.to_string()))?;
    let name = ServerName::try_from(url.host.clone()).map_err(|_| (BAD_URL, "bad host name".to_owned()))?;
    let secured = tokio_rustls::TlsConnector::from(config).connect(name, stream).await;
    secured.map(|stream| Box::new(stream) as Box<dyn Stream>).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => (NOT_TRUSTED, format!("SSL certificate problem: {error}")),
        _ => (NOT_SECURE, format!("TLS connect error: {error}")),
    })
}
