//! Downloads into a cache by digest: resumable, verified while they arrive, shared by concurrent runs.
//!
//! A file `sha256-<hex>.img` in the cache is whole and right; everything else there is on its way (`.part`) or
//! kept aside because its digest was wrong (`.wrong`).

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{self, HeaderMap};
use reqwest::{Client, Response, StatusCode};
use sha2::{Digest as _, Sha256, Sha512};

use super::{HostError, Result, clock, files, lock};

const READ_BUFFER: usize = 1024 * 1024;
/// How often a run that waits for another one's download looks at it.
const SHARED_LOOK: Duration = Duration::from_millis(250);
/// A dropped connection is picked up again so often before the user is told.
const RESUMES: u32 = 3;
/// A list of checksums is some kilobytes.
const LARGEST_LIST: usize = 4 << 20;

/// What a file must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Digest {
    /// Hexadecimal.
    Sha256(String),
    /// Hexadecimal.
    Sha512(String),
    /// As the list at this URL says (`SHA256SUMS`, `SHA512SUMS`), under the file's own name.
    ListedAt(String),
}

/// Receives bytes so far and, if known, bytes in all.
pub type Progress<'a> = &'a mut (dyn FnMut(u64, Option<u64>) + Send);

impl Digest {
    /// Returns the digest that a hexadecimal text is, by its length.
    pub fn from_hex(text: &str) -> Option<Self> {
        const SHA256_DIGITS: usize = 64;
        const SHA512_DIGITS: usize = 128;
        let text = text.to_ascii_lowercase();
        let is_hex = text.bytes().all(|digit| digit.is_ascii_hexdigit());
        match text.len() {
            SHA256_DIGITS if is_hex => Some(Self::Sha256(text)),
            SHA512_DIGITS if is_hex => Some(Self::Sha512(text)),
            _ => None,
        }
    }
}

/// Returns where a file of this digest is, if it is in the cache. For a listed one, the list that was read when it
/// was downloaded counts.
pub fn cached(url: &str, digest: &Digest, cache: &Path) -> Option<PathBuf> {
    let digest = match digest {
        Digest::ListedAt(_) => {
            Digest::from_hex(files::read_text(&beside(cache, url, "digest")).ok()?.trim())?
        }
        known => known.clone(),
    };
    Some(place(cache, url, &digest)).filter(|path| files::exists(path))
}

/// Returns the file at `url` from the cache, after downloading it if need be.
///
/// `stall` is how long a download may go without a byte (`Limits::download_stall`). A file with another digest is
/// kept aside and is [`HostError::Digest`]. Proxies of the environment are honoured; `file://` is copied.
pub async fn fetch(
    url: &str,
    digest: &Digest,
    cache: &Path,
    stall: Duration,
    progress: Progress<'_>,
) -> Result<PathBuf> {
    files::create_dir(cache)?;
    let digest = match digest {
        Digest::ListedAt(list) => listed(url, list, cache, stall).await?,
        known => known.clone(),
    };
    let target = place(cache, url, &digest);
    if files::exists(&target) {
        return Ok(target);
    }
    let part = beside(cache, url, "part");
    let _lock = take_turn(&beside(cache, url, "lock"), &part, stall, progress).await?;
    // Whoever had the turn before may have finished it.
    if files::exists(&target) {
        return Ok(target);
    }
    let found = match url.strip_prefix("file://") {
        Some(path) => copy(Path::new(path), &part, &digest, progress)?,
        None => Transfer { url, part: &part, stall, digest: &digest }.run(progress).await?,
    };
    let expected = hex_of(&digest);
    if found != expected {
        let kept = beside(cache, url, "wrong");
        files::rename(&part, &kept)?;
        return Err(HostError::Digest { url: url.to_owned(), expected, found, kept });
    }
    files::rename(&part, &target)?;
    files::remove_file(&validator_of(&part))?;
    Ok(target)
}

/// Reads the digest that a list gives for a file, and remembers it for [`cached`].
async fn listed(url: &str, list: &str, cache: &Path, stall: Duration) -> Result<Digest> {
    let text = match list.strip_prefix("file://") {
        Some(path) => files::read_text(Path::new(path))?,
        None => get_text(list, stall).await?,
    };
    let digest = find_in_list(&text, file_name(url)).ok_or_else(|| HostError::Download {
        url: list.to_owned(),
        reason: format!("the list has no digest of {}", file_name(url)),
    })?;
    let remembered = beside(cache, url, "digest");
    files::write_atomic(&remembered, hex_of(&digest).as_bytes(), files::PUBLIC_FILE)?;
    Ok(digest)
}

/// Reads lines such as `<hex> *name`, as sha256sum writes them, and `SHA256 (name) = <hex>`, as BSD's does.
fn find_in_list(text: &str, name: &str) -> Option<Digest> {
    text.lines().find_map(|line| {
        let line = line.trim();
        let (hex, listed) = match line.split_once(") = ") {
            Some((head, hex)) => (hex, head.split_once(" (")?.1),
            None => line.split_once(char::is_whitespace)?,
        };
        let listed = listed.trim_start().trim_start_matches('*').trim_start_matches("./");
        if listed == name { Digest::from_hex(hex) } else { None }
    })
}

async fn get_text(url: &str, stall: Duration) -> Result<String> {
    let failed = |reason: String| HostError::Download { url: url.to_owned(), reason };
    let mut response = client(stall)?
        .get(url)
        .send()
        .await
        .and_then(Response::error_for_status)
        .map_err(|error| failed(reason(&error)))?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(reason(&error)))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LARGEST_LIST {
            return Err(failed("it is too long for a list of digests".to_owned()));
        }
    }
    String::from_utf8(bytes).map_err(|_| failed("it is not text".to_owned()))
}

/// Waits for the lock of a download that another run has begun, as long as that goes on.
async fn take_turn(
    path: &Path,
    part: &Path,
    stall: Duration,
    progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
) -> Result<lock::Lock> {
    let mut seen = (0, clock::monotonic());
    loop {
        match lock::acquire(path, "the download", "download") {
            Err(error @ HostError::Locked { .. }) => {
                let size = files::size(part).unwrap_or(0);
                if size != seen.0 {
                    seen = (size, clock::monotonic());
                    progress(size, None);
                } else if seen.1.elapsed() > 2 * stall {
                    return Err(error);
                }
            }
            other => return other,
        }
        clock::pause(SHARED_LOOK).await;
    }
}

/// Copies a local file while hashing it.
fn copy(from: &Path, part: &Path, digest: &Digest, progress: Progress<'_>) -> Result<String> {
    let mut source = files::open(from)?;
    let total = files::size(from)?;
    files::remove_file(part)?;
    let mut target = files::create_new(part, files::PUBLIC_FILE)?;
    let mut hasher = Hasher::of(digest);
    let mut buffer = vec![0; READ_BUFFER];
    let mut done = 0;
    loop {
        let count = source.read(&mut buffer).map_err(HostError::file("read", from))?;
        if count == 0 {
            break;
        }
        target.write_all(&buffer[..count]).map_err(HostError::file("write", part))?;
        hasher.take(&buffer[..count]);
        done += count as u64;
        progress(done, Some(total));
    }
    target.sync_all().map_err(HostError::file("write", part))?;
    Ok(hasher.finish())
}

/// One download on its way.
struct Transfer<'a> {
    url: &'a str,
    part: &'a Path,
    stall: Duration,
    digest: &'a Digest,
}

impl Transfer<'_> {
    /// Downloads to the end, resuming after dropped connections, and returns the digest.
    async fn run(&self, progress: Progress<'_>) -> Result<String> {
        let client = client(self.stall)?;
        let (mut hasher, mut done) = self.hash_part(progress)?;
        let mut resumes = 0;
        loop {
            let before = done;
            match self.stretch(&client, &mut hasher, &mut done, progress).await {
                Ok(()) => return Ok(hasher.finish()),
                Err(error @ Broken::Final(_)) => return Err(error.into_inner()),
                Err(error) => {
                    // Progress earns new patience.
                    resumes = if done > before { 1 } else { resumes + 1 };
                    if resumes > RESUMES {
                        return Err(error.into_inner());
                    }
                }
            }
        }
    }

    /// Hashes what an earlier run left.
    fn hash_part(&self, progress: &mut (dyn FnMut(u64, Option<u64>) + Send)) -> Result<(Hasher, u64)> {
        let mut hasher = Hasher::of(self.digest);
        // Without the server's mark of that version, the rest could be of another one.
        if !files::exists(self.part) || !files::exists(&validator_of(self.part)) {
            files::remove_file(self.part)?;
            return Ok((hasher, 0));
        }
        let mut file = files::open(self.part)?;
        let mut buffer = vec![0; READ_BUFFER];
        let mut done = 0;
        loop {
            let count = file.read(&mut buffer).map_err(HostError::file("read", self.part))?;
            if count == 0 {
                progress(done, None);
                return Ok((hasher, done));
            }
            hasher.take(&buffer[..count]);
            done += count as u64;
        }
    }

    /// Downloads on one connection, from where we are.
    async fn stretch(
        &self,
        client: &Client,
        hasher: &mut Hasher,
        done: &mut u64,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<(), Broken> {
        let mut request = client.get(self.url);
        // Without a mark there is no range in the request, and the server starts from the beginning.
        let mark = files::read_text(&validator_of(self.part)).ok().filter(|_| *done > 0);
        if let Some(mark) = mark {
            request = request.header(header::RANGE, format!("bytes={done}-")).header(header::IF_RANGE, mark);
        }
        let mut response = request.send().await.map_err(|error| self.broken(&error))?;
        let mut file = match response.status() {
            StatusCode::PARTIAL_CONTENT if *done > 0 => self.open(true).map_err(Broken::Final)?,
            // All of it is here already, or the part is of another version; the digest tells which.
            StatusCode::RANGE_NOT_SATISFIABLE if *done > 0 => return Ok(()),
            status if status.is_success() => {
                (*hasher, *done) = (Hasher::of(self.digest), 0);
                self.remember(response.headers()).map_err(Broken::Final)?;
                self.open(false).map_err(Broken::Final)?
            }
            status if status.is_server_error() => return Err(Broken::Perhaps(self.failed(&status))),
            status => return Err(Broken::Final(self.failed(&status))),
        };
        let total = response.content_length().map(|left| left + *done);
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(&error))? {
            let written = file.write_all(&chunk).map_err(HostError::file("write", self.part));
            written.map_err(Broken::Final)?;
            hasher.take(&chunk);
            *done += chunk.len() as u64;
            progress(*done, total);
        }
        file.sync_all().map_err(HostError::file("write", self.part)).map_err(Broken::Final)
    }

    fn open(&self, append: bool) -> Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).mode(files::PUBLIC_FILE);
        if append {
            options.append(true)
        } else {
            options.write(true).truncate(true)
        };
        options.open(self.part).map_err(HostError::file("open", self.part))
    }

    /// Keeps the server's mark of this version. A weak tag does not promise equal bytes, so it is none.
    fn remember(&self, headers: &HeaderMap) -> Result<()> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let tag = text(header::ETAG).filter(|tag| !tag.starts_with("W/"));
        let validator = validator_of(self.part);
        match tag.or_else(|| text(header::LAST_MODIFIED)) {
            Some(mark) => files::write_atomic(&validator, mark.as_bytes(), files::PUBLIC_FILE),
            None => files::remove_file(&validator),
        }
    }

    fn failed(&self, status: &StatusCode) -> HostError {
        HostError::Download { url: self.url.to_owned(), reason: format!("the server answers {status}") }
    }

    fn broken(&self, error: &reqwest::Error) -> Broken {
        Broken::Perhaps(HostError::Download { url: self.url.to_owned(), reason: reason(error) })
    }
}

/// Why a stretch ended early.
enum Broken {
    /// Trying again may help.
    Perhaps(HostError),
    Final(HostError),
}

impl Broken {
    fn into_inner(self) -> HostError {
        match self {
            Self::Perhaps(error) | Self::Final(error) => error,
        }
    }
}

fn client(stall: Duration) -> Result<Client> {
    install_crypto();
    let client = Client::builder().user_agent("fusionlab").connect_timeout(stall).read_timeout(stall).build();
    client.map_err(|error| HostError::Download { url: "(any)".to_owned(), reason: reason(&error) })
}

/// Makes ring the process's provider of cryptography, once: rustls panics without one.
pub fn install_crypto() {
    // An error says that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Returns an error with its causes: reqwest's own words leave out why.
pub(super) fn reason(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

enum Hasher {
    Sha256(Box<Sha256>),
    Sha512(Box<Sha512>),
}

impl Hasher {
    fn of(digest: &Digest) -> Self {
        match digest {
            Digest::Sha512(_) => Self::Sha512(Box::default()),
            Digest::Sha256(_) | Digest::ListedAt(_) => Self::Sha256(Box::default()),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Sha256(hasher) => hex::encode(hasher.finalize()),
            Self::Sha512(hasher) => hex::encode(hasher.finalize()),
        }
    }
}

fn hex_of(digest: &Digest) -> String {
    match digest {
        Digest::Sha256(hex) | Digest::Sha512(hex) => hex.to_ascii_lowercase(),
        Digest::ListedAt(url) => url.clone(),
    }
}

/// Returns the cache's name of a whole file.
fn place(cache: &Path, url: &str, digest: &Digest) -> PathBuf {
    let kind = if matches!(digest, Digest::Sha512(_)) { "sha512" } else { "sha256" };
    let extension = Path::new(file_name(url)).extension().and_then(|extension| extension.to_str());
    let extension = extension.filter(|text| text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    cache.join(format!("{kind}-{}.{}", hex_of(digest), extension.unwrap_or("img")))
}

/// Returns the cache's name of something that belongs to a URL.
fn beside(cache: &Path, url: &str, what: &str) -> PathBuf {
    const ENOUGH: usize = 24;
    let name = hex::encode(Sha256::digest(url));
    cache.join(format!("url-{}.{what}", &name[..ENOUGH]))
}

fn validator_of(part: &Path) -> PathBuf {
    part.with_extension("version")
}

/// Returns the last segment of a URL's path.
fn file_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const STALL: Duration = Duration::from_secs(5);
    const SIZE: usize = 300_000;

    fn content() -> Vec<u8> {
        (0..SIZE).map(|number| number.to_le_bytes()[0] ^ number.to_le_bytes()[1]).collect()
    }

    fn sha256(bytes: &[u8]) -> Digest {
        Digest::Sha256(hex::encode(Sha256::digest(bytes)))
    }

    /// A server with one version of one file; each answer ends after `cut` bytes, if that is set.
    struct Server {
        url: String,
        requests: Arc<Mutex<Vec<String>>>,
        version: Arc<Mutex<&'static str>>,
        cut: Arc<Mutex<Option<usize>>>,
    }

    impl Server {
        async fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let server = Self {
                url: format!("http://{}/noble.img", listener.local_addr().unwrap()),
                requests: Arc::default(),
                version: Arc::new(Mutex::new("\"v1\"")),
                cut: Arc::default(),
            };
            let (requests, version, cut) =
                (Arc::clone(&server.requests), Arc::clone(&server.version), Arc::clone(&server.cut));
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let mut request = vec![0; 8192];
                    let count = stream.read(&mut request).await.unwrap();
                    let request = String::from_utf8_lossy(&request[..count]).to_lowercase();
                    let (tag, cut) = (*version.lock().unwrap(), *cut.lock().unwrap());
                    requests.lock().unwrap().push(request.clone());
                    let answer = respond(&request, tag, cut);
                    stream.write_all(&answer).await.unwrap();
                }
            });
            server
        }

        fn ranges(&self) -> Vec<Option<String>> {
            let range = |request: &String| {
                request.lines().find_map(|line| line.strip_prefix("range: bytes=").map(str::to_owned))
            };
            self.requests.lock().unwrap().iter().map(range).collect()
        }
    }

    fn respond(request: &str, tag: &str, cut: Option<usize>) -> Vec<u8> {
        if request.starts_with("get /sums") {
            let Digest::Sha256(hex) = sha256(&content()) else { unreachable!() };
            let list = format!("{} *other.img\n{hex} *noble.img\n", "0".repeat(64));
            return format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{list}",
                list.len()
            )
            .into_bytes();
        }
        let same = request.contains(&format!("if-range: {tag}"));
        let from = request.lines().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-'));
        let from = from.filter(|_| same).map_or(0, |from| from.parse().unwrap());
        let body = &content()[from..];
        let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: {tag}\r\nConnection: close\r\n\r\n",
            body.len()
        )
        .into_bytes();
        answer.extend_from_slice(&body[..cut.unwrap_or(body.len()).min(body.len())]);
        answer
    }

    async fn get(server: &Server, digest: &Digest, cache: &Path) -> Result<PathBuf> {
        fetch(&server.url, digest, cache, STALL, &mut |_, _| {}).await
    }

    #[tokio::test]
    async fn a_file_is_downloaded_once_and_verified() {
        let cache = tempfile::tempdir().unwrap();
        let server = Server::start().await;
        let digest = sha256(&content());
        assert_eq!(cached(&server.url, &digest, cache.path()), None);
        let mut last = (0, None);
        let mut note = |done, total| last = (done, total);
        let path = fetch(&server.url, &digest, cache.path(), STALL, &mut note).await.unwrap();
        assert_eq!(last, (SIZE as u64, Some(SIZE as u64)));
        assert!(files::read(&path).unwrap() == content());
        assert_eq!(cached(&server.url, &digest, cache.path()), Some(path.clone()));
        assert_eq!(get(&server, &digest, cache.path()).await.unwrap(), path);
        assert_eq!(server.requests.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_dropped_connection_is_picked_up_where_it_broke() {
        let cache = tempfile::tempdir().unwrap();
        let server = Server::start().await;
        *server.cut.lock().unwrap() = Some(120_000);
        let path = get(&server, &sha256(&content()), cache.path()).await.unwrap();
        assert!(files::read(&path).unwrap() == content());
        let ranges = server.ranges();
        assert_eq!(ranges, [None, Some("120000-".to_owned()), Some("240000-".to_owned())]);
    }

    #[tokio::test]
    async fn an_earlier_runs_part_is_continued_only_if_the_server_has_the_same_version() {
        let cache = tempfile::tempdir().unwrap();
        let server = Server::start().await;
        let part = beside(cache.path(), &server.url, "part");
        for (tag, sent) in [("\"v1\"", SIZE - 1000), ("\"v0\"", SIZE)] {
            files::write_atomic(&part, &content()[..1000], 0o644).unwrap();
            files::write_atomic(&validator_of(&part), tag.as_bytes(), 0o644).unwrap();
            let path = get(&server, &sha256(&content()), cache.path()).await.unwrap();
            assert!(files::read(&path).unwrap() == content(), "{tag}: {sent} bytes sent");
            files::remove_file(&path).unwrap();
        }
        assert_eq!(server.ranges(), [Some("1000-".to_owned()), Some("1000-".to_owned())]);
    }

    #[tokio::test]
    async fn a_wrong_file_is_kept_aside_and_never_used() {
        let cache = tempfile::tempdir().unwrap();
        let server = Server::start().await;
        let Err(HostError::Digest { expected, found, kept, .. }) =
            get(&server, &sha256(b"another"), cache.path()).await
        else {
            panic!("a wrong digest must be refused");
        };
        assert_ne!(expected, found);
        assert!(files::read(&kept).unwrap() == content());
        assert_eq!(cached(&server.url, &sha256(b"another"), cache.path()), None);
    }

    #[tokio::test]
    async fn a_published_list_says_the_digest() {
        let cache = tempfile::tempdir().unwrap();
        let server = Server::start().await;
        let listed = Digest::ListedAt(server.url.replace("noble.img", "SUMS"));
        let path = get(&server, &listed, cache.path()).await.unwrap();
        assert_eq!(cached(&server.url, &listed, cache.path()), Some(path.clone()));
        let Digest::Sha256(hex) = sha256(&content()) else { unreachable!() };
        assert!(path.ends_with(format!("sha256-{hex}.img")));
    }

    #[tokio::test]
    async fn two_runs_share_one_download() {
        let cache = tempfile::tempdir().unwrap();
        let server = Server::start().await;
        let digest = sha256(&content());
        let (one, two) =
            tokio::join!(get(&server, &digest, cache.path()), get(&server, &digest, cache.path()));
        assert_eq!(one.unwrap(), two.unwrap());
        assert_eq!(server.requests.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_local_file_is_copied_and_verified_too() {
        let cache = tempfile::tempdir().unwrap();
        let image = cache.path().join("mine.qcow2");
        files::write_atomic(&image, b"QFI", 0o644).unwrap();
        let url = format!("file://{}", image.display());
        let sha512 = Digest::from_hex(&hex::encode(Sha512::digest(b"QFI"))).unwrap();
        let path = fetch(&url, &sha512, cache.path(), STALL, &mut |_, _| {}).await.unwrap();
        assert!(path.to_string_lossy().contains("/sha512-") && path.extension().unwrap() == "qcow2");
        let wrong = fetch(&url, &sha256(b""), cache.path(), STALL, &mut |_, _| {}).await;
        assert!(matches!(wrong, Err(HostError::Digest { .. })));
        assert!(files::exists(&image));
    }

    #[tokio::test]
    async fn a_server_that_has_no_such_file_is_quoted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/none.img", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        });
        let cache = tempfile::tempdir().unwrap();
        let error = fetch(&url, &sha256(b""), cache.path(), STALL, &mut |_, _| {}).await.unwrap_err();
        assert!(error.to_string().ends_with("the server answers 404 Not Found"), "{error}");
    }

    #[test]
    fn both_kinds_of_lists_are_read() {
        let hex = "a".repeat(64);
        for line in [format!("{hex}  x.img"), format!("{hex} *x.img"), format!("SHA256 (x.img) = {hex}")] {
            assert_eq!(find_in_list(&line, "x.img"), Some(Digest::Sha256(hex.clone())), "{line}");
            assert_eq!(find_in_list(&line, "y.img"), None);
        }
    }
}
