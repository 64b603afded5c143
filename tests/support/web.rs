//! A small web server for tests of downloads, in threads of its own: it serves pages, breaks off, holds back, and writes
//! down what it was asked. As a proxy it is asked for whole URLs.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often a thread that holds a page back looks whether it may go on.
const LOOK: Duration = Duration::from_millis(5);

/// What is served under one path.
#[derive(Clone, Debug)]
pub struct Page {
    body: Arc<Vec<u8>>,
    status: &'static str,
    tag: Option<&'static str>,
    kind: &'static str,
    knows_ranges: bool,
    says_length: bool,
    length: Option<u64>,
    skew: usize,
    breaks_after: Option<usize>,
    holds_after: Option<usize>,
    headers: String,
    times: Option<usize>,
}

impl Page {
    /// A page with a strong tag, whose server knows ranges.
    pub fn of(body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: Arc::new(body.into()),
            status: "200 OK",
            tag: Some("\"v1\""),
            kind: "application/octet-stream",
            knows_ranges: true,
            says_length: true,
            length: None,
            skew: 0,
            breaks_after: None,
            holds_after: None,
            headers: String::new(),
            times: None,
        }
    }

    /// An answer without a page.
    pub fn status(status: &'static str) -> Self {
        Self { status, ..Self::of("") }
    }

    pub fn moved(to: &str) -> Self {
        Self::status("302 Found").header("Location", to)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub fn tag(self, tag: Option<&'static str>) -> Self {
        Self { tag, ..self }
    }

    pub fn kind(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }

    pub fn without_ranges(self) -> Self {
        Self { knows_ranges: false, ..self }
    }

    /// The end of the connection is the end of the page.
    pub fn without_length(self) -> Self {
        Self { says_length: false, ..self }
    }

    /// Says another length than the page has.
    pub fn lies_about_length(self, length: u64) -> Self {
        Self { length: Some(length), ..self }
    }

    /// Sends another part than it is asked for, and says so.
    pub fn sends_other_parts(self) -> Self {
        Self { skew: 1, ..self }
    }

    /// Closes each connection after so many bytes.
    pub fn breaks_after(self, bytes: usize) -> Self {
        Self { breaks_after: Some(bytes), ..self }
    }

    /// Sends so many bytes and then no more, with the connection open, until another page stands under this path; then
    /// the rest of this one.
    pub fn holds_after(self, bytes: usize) -> Self {
        Self { holds_after: Some(bytes), ..self }
    }

    /// Is served so often; then the page that was there before it is.
    pub fn times(self, times: usize) -> Self {
        Self { times: Some(times), ..self }
    }
}

/// One request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, or `CONNECT` of a proxy.
    pub method: String,
    /// A path; of a proxy, a whole URL or `host:port`.
    pub target: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[derive(Default)]
struct State {
    /// The last page of each is the one that is served.
    pages: BTreeMap<String, Vec<(usize, Page)>>,
    next: usize,
    requests: Vec<Request>,
}

/// The server; it ends when this is dropped.
pub struct Web {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    ends: Arc<AtomicBool>,
}

impl Web {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let web = Self {
            address: listener.local_addr().expect("it has an address"),
            state: Arc::default(),
            ends: Arc::default(),
        };
        let (state, ends) = (Arc::clone(&web.state), Arc::clone(&web.ends));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let (state, ends) = (Arc::clone(&state), Arc::clone(&ends));
                // Whoever asked may go away at any time: that is no error of the server's.
                std::thread::spawn(move || drop(answer(stream, &state, &ends)));
            }
        });
        web
    }

    /// Puts a page under a path, or under a whole URL for those who ask a proxy.
    pub fn page(&self, path: &str, page: Page) -> &Self {
        let mut state = self.state.lock().expect("no thread fails");
        let number = state.next;
        state.next += 1;
        let pages = state.pages.entry(path.to_owned()).or_default();
        if page.times.is_none() {
            pages.clear();
        }
        pages.push((number, page));
        drop(state);
        self
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().expect("no thread fails").requests.clone()
    }

    /// Returns the `Range` of each request so far.
    pub fn ranges(&self) -> Vec<Option<String>> {
        let range = |request: &Request| request.header("range").map(str::to_owned);
        self.requests().iter().map(range).collect()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>, ends: &AtomicBool) -> std::io::Result<()> {
    let request = read(&stream)?;
    let (number, page) = {
        let mut state = state.lock().expect("no thread fails");
        state.requests.push(request.clone());
        take(&mut state, &request.target)
    };
    let body = page.body.as_slice();
    let asked = request.header("range").filter(|_| page.knows_ranges && page.status.starts_with("200"));
    let same = request.header("if-range").is_none_or(|tag| Some(tag) == page.tag);
    let from = asked
        .filter(|_| same)
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let (mut status, mut headers, mut from) = (page.status, page.headers.clone(), from.unwrap_or(0_usize));
    if from > 0 && from >= body.len() {
        (status, from) = ("416 Range Not Satisfiable", body.len());
        headers.push_str(&format!("Content-Range: bytes */{}\r\n", body.len()));
    } else if from > 0 {
        (status, from) = ("206 Partial Content", from - page.skew);
        headers.push_str(&format!("Content-Range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len()));
    }
    let rest = &body[from..];
    if page.says_length {
        headers.push_str(&format!("Content-Length: {}\r\n", page.length.unwrap_or(rest.len() as u64)));
    }
    if let Some(tag) = page.tag {
        headers.push_str(&format!("ETag: {tag}\r\n"));
    }
    let kind = page.kind;
    write!(stream, "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{headers}Connection: close\r\n\r\n")?;
    let sent = page.breaks_after.or(page.holds_after).unwrap_or(rest.len()).min(rest.len());
    stream.write_all(&rest[..sent])?;
    stream.flush()?;
    if page.holds_after.is_some() {
        while !ends.load(Ordering::Relaxed) && is_current(state, &request.target, number) {
            std::thread::sleep(LOOK);
        }
        stream.write_all(&rest[sent..])?;
    }
    Ok(())
}

fn read(stream: &TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream.take(1 << 16));
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok(Request { method, target, headers })
}

fn take(state: &mut State, target: &str) -> (usize, Page) {
    let Some(pages) = state.pages.get_mut(target) else { return (0, Page::status("404 Not Found")) };
    let Some((number, page)) = pages.last_mut() else { return (0, Page::status("404 Not Found")) };
    let served = (*number, page.clone());
    if let Some(times) = &mut page.times {
        *times -= 1;
        if *times == 0 {
            pages.pop();
        }
    }
    served
}

fn is_current(state: &Mutex<State>, target: &str, number: usize) -> bool {
    let state = state.lock().expect("no thread fails");
    state.pages.get(target).and_then(|pages| pages.last()).is_some_and(|(current, _)| *current == number)
}
