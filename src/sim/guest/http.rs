//! HTTP/1.1 in the little that guests speak it: one request, one answer, both ends.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A head longer than this is refused.
const HEAD_LIMIT: usize = 32 * 1024;
/// A body longer than this is refused.
const BODY_LIMIT: usize = 8 * 1024 * 1024;

#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, host: &str, path: &str) -> Self {
        let headers =
            [("Host", host), ("User-Agent", "fusionlab-model"), ("Accept", "*/*"), ("Connection", "close")];
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Sets a header in place of one of the same name.
    pub fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// Returns the host it asks for, without a port.
    pub fn host(&self) -> &str {
        let host = self.header("host").unwrap_or_default();
        host.rsplit_once(':').map_or(host, |(name, _)| name)
    }

    fn keeps_alive(&self) -> bool {
        self.header("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"))
    }
}

impl Response {
    pub fn new(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers =
            if kind.is_empty() { Vec::new() } else { vec![("Content-Type".to_owned(), kind.to_owned())] };
        Self { status, headers, body: body.into() }
    }

    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Returns the status line and headers as they go over the wire.
    pub fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head + "\r\n"
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Unknown",
    }
}

/// Answers requests on a connection until the client is done.
pub async fn serve<S, A, F>(mut stream: S, answer: A) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Fn(Request) -> F,
    F: Future<Output = Response>,
{
    let mut pending = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut pending).await? {
        let (keep, head_only) = (request.keeps_alive(), request.method == "HEAD");
        let mut response = answer(request).await;
        response.headers.push(("Content-Length".into(), response.body.len().to_string()));
        if !keep {
            response.headers.push(("Connection".into(), "close".into()));
        }
        stream.write_all(response.head().as_bytes()).await?;
        if !head_only {
            stream.write_all(&response.body).await?;
        }
        stream.flush().await?;
        if !keep {
            break;
        }
    }
    stream.shutdown().await
}

async fn read_request<S: AsyncRead + Unpin>(
    stream: &mut S,
    pending: &mut Vec<u8>,
) -> io::Result<Option<Request>> {
    let Some(head) = read_head(stream, pending).await? else { return Ok(None) };
    let (first, headers) = parse_head(&head)?;
    let mut words = first.split(' ');
    let (Some(method), Some(path), Some(_)) = (words.next(), words.next(), words.next()) else {
        return Err(bad("a request line has a method, a path and a version"));
    };
    let request = Request { method: method.to_owned(), path: path.to_owned(), headers };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    read_body(stream, pending, length).await?;
    Ok(Some(request))
}

/// Sends one request and reads the whole answer.
pub async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    request: &Request,
) -> io::Result<Response> {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all((head + "\r\n").as_bytes()).await?;
    stream.flush().await?;
    let mut pending = Vec::new();
    let head = read_head(stream, &mut pending)
        .await?
        .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    let (first, headers) = parse_head(&head)?;
    let status =
        first.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| bad("no status"))?;
    let length = find(&headers, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let body =
        if request.method == "HEAD" { Vec::new() } else { read_body(stream, &mut pending, length).await? };
    Ok(Response { status, headers, body })
}

async fn read_head<S: AsyncRead + Unpin>(
    stream: &mut S,
    pending: &mut Vec<u8>,
) -> io::Result<Option<String>> {
    const END: &[u8] = b"\r\n\r\n";
    loop {
        if let Some(end) = pending.windows(END.len()).position(|window| window == END) {
            let head: Vec<u8> = pending.drain(..end + END.len()).collect();
            return String::from_utf8(head).map(Some).map_err(|_| bad("the head is not UTF-8"));
        }
        if pending.len() > HEAD_LIMIT {
            return Err(bad("the head is too long"));
        }
        if stream.read_buf(pending).await? == 0 {
            return if pending.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
}

async fn read_body<S: AsyncRead + Unpin>(
    stream: &mut S,
    pending: &mut Vec<u8>,
    length: usize,
) -> io::Result<Vec<u8>> {
    if length > BODY_LIMIT {
        return Err(bad("the body is too long"));
    }
    while pending.len() < length {
        if stream.read_buf(pending).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(pending.drain(..length).collect())
}

fn parse_head(head: &str) -> io::Result<(String, Vec<(String, String)>)> {
    let mut lines = head.trim_end().split("\r\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let pair =
        |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    let headers = lines.map(pair).collect::<Option<_>>().ok_or_else(|| bad("a header line has a colon"))?;
    Ok((first, headers))
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("bad HTTP: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_answered_and_the_connection_kept() {
        let (mut client, server) = tokio::io::duplex(1024);
        let echo = |request: Request| async move {
            Response::new(200, "text/plain", format!("{} {}", request.host(), request.path))
        };
        let server = tokio::spawn(serve(server, echo));
        let mut request = Request::new("GET", "a.test:8080", "/x");
        request.set("Connection", "keep-alive");
        assert_eq!(ask(&mut client, &request).await.unwrap().body, b"a.test /x");
        let last = ask(&mut client, &Request::new("GET", "b.test", "/y")).await.unwrap();
        assert_eq!((last.status, last.body.as_slice()), (200, b"b.test /y".as_slice()));
        server.await.unwrap().unwrap();
    }
}
