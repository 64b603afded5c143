//! One download on its way: hashed while it arrives, resumed where a connection broke.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderName};
use reqwest::{Client, Response, StatusCode};
use sha2::{Digest as _, Sha256, Sha512};

use super::client::{Cause, Failure, Patience, client};
use super::{Digest, Item, Tell, Told};
use crate::host::stand_in::{self, Effect};
use crate::host::{HostError, Result, clock, files, sync, system};

const READ_BUFFER: usize = 1024 * 1024;
const BYTES_PER_MIB: u64 = 1 << 20;
/// How often a reader is told how far it is.
const TOLD_EVERY: Duration = Duration::from_millis(100);
/// What must stay free on the disk after a download, for everything else that writes to it.
const SPARE_MIB: u64 = 512;

/// One download on its way.
pub struct Transfer<'a> {
    pub item: &'a Item<'a>,
    pub part: &'a Path,
    /// Where the server's mark of the part's version is kept, after a line with the URL.
    pub mark: &'a Path,
    /// How long it may go without a byte.
    pub stall: Duration,
}

/// What has come so far.
struct Arrived {
    hasher: Hasher,
    bytes: u64,
    /// Whether the server may be asked for the rest only.
    may_resume: bool,
}

impl Arrived {
    fn nothing(digest: &Digest) -> Self {
        Self { hasher: Hasher::of(digest), bytes: 0, may_resume: true }
    }
}

impl Transfer<'_> {
    /// Downloads to the end, resuming after dropped connections, and returns the digest.
    ///
    /// A part that an earlier run left, or another server began, may be of another file. So one that turns out wrong is
    /// downloaded once more from the beginning before anybody is blamed.
    pub async fn run(&self, tell: Tell<'_>) -> Result<String, Failure> {
        let client = client(self.stall, false)?;
        let arrived = self.hash_part(tell).await?;
        let was_begun = arrived.bytes > 0;
        let found = self.rest(&client, arrived, tell).await?;
        if found == self.item.digest.hex() || !was_begun {
            return Ok(found);
        }
        tell(Told::Note(
            "what was there of the image did not fit; it is downloaded from the beginning".to_owned(),
        ));
        self.forget()?;
        self.rest(&client, Arrived::nothing(self.item.digest), tell).await
    }

    async fn rest(&self, client: &Client, mut arrived: Arrived, tell: Tell<'_>) -> Result<String, Failure> {
        let mut patience = Patience::default();
        loop {
            let before = arrived.bytes;
            match self.stretch(client, &mut arrived, tell).await {
                Ok(()) => return Ok(arrived.hasher.finish()),
                Err(failure) => {
                    if arrived.bytes > before {
                        patience.renew();
                    }
                    patience.bear(failure, tell).await?;
                }
            }
        }
    }

    /// Copies a local file while hashing it, and returns the digest.
    pub async fn copy(&self, from: &Path, tell: Tell<'_>) -> Result<String> {
        let mut source = files::open(from)?;
        let total = files::size(from)?;
        self.forget()?;
        self.check_room(total)?;
        let mut target = self.open(false)?;
        let mut arrived = Arrived::nothing(self.item.digest);
        let mut buffer = vec![0; READ_BUFFER];
        let mut pace = Pace::default();
        loop {
            let count = source.read(&mut buffer).map_err(HostError::file("read", from))?;
            if count == 0 {
                break;
            }
            self.take(&buffer[..count], &mut target, &mut arrived)?;
            pace.tell(arrived.bytes, Some(total), tell);
            // Whoever is told to stop is dropped here.
            tokio::task::yield_now().await;
        }
        self.sync(&target)?;
        Ok(arrived.hasher.finish())
    }

    /// Hashes what an earlier run left.
    async fn hash_part(&self, tell: Tell<'_>) -> Result<Arrived> {
        let mut arrived = Arrived::nothing(self.item.digest);
        if !files::exists(self.part) {
            return Ok(arrived);
        }
        let length = files::size(self.part)?;
        if self.item.size.is_some_and(|size| length > size) {
            self.forget()?;
            return Ok(arrived);
        }
        let mut file = files::open(self.part)?;
        let mut buffer = vec![0; READ_BUFFER];
        loop {
            let count = file.read(&mut buffer).map_err(HostError::file("read", self.part))?;
            if count == 0 {
                tell(Told::Bytes { done: arrived.bytes, total: self.item.size });
                return Ok(arrived);
            }
            arrived.hasher.take(&buffer[..count]);
            arrived.bytes += count as u64;
            tokio::task::yield_now().await;
        }
    }

    /// Downloads on one connection, from where we are.
    async fn stretch(&self, client: &Client, arrived: &mut Arrived, tell: Tell<'_>) -> Result<(), Failure> {
        if self.item.size == Some(arrived.bytes) {
            return Ok(());
        }
        let Some(mut response) = self.ask(client, arrived).await? else { return Ok(()) };
        let total = self.check(&response, arrived.bytes)?;
        let mut file = self.begin(response.headers(), arrived)?;
        let mut pace = Pace::default();
        pace.tell(arrived.bytes, total, tell);
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(&error))? {
            self.take(&chunk, &mut file, arrived)?;
            if total.is_some_and(|total| arrived.bytes > total) {
                return Err(self.failed("the server sends more than it said").into());
            }
            pace.tell(arrived.bytes, total, tell);
        }
        self.sync(&file)?;
        match total.filter(|total| arrived.bytes < *total) {
            None => Ok(()),
            Some(total) => {
                let error =
                    self.failed(format!("the connection ended after {} of {total} bytes", arrived.bytes));
                Err(Failure::Perhaps { cause: Cause::Broken, after: None, error })
            }
        }
    }

    /// Sends the request. What has arrived counts from nothing if the server begins from the beginning; no answer means
    /// that all of it is here.
    async fn ask(&self, client: &Client, arrived: &mut Arrived) -> Result<Option<Response>, Failure> {
        let url = self.item.url;
        // A server or a proxy that compresses would make other bytes of it.
        let mut request = client.get(url).header(header::ACCEPT_ENCODING, "identity");
        let resumes = arrived.bytes > 0 && arrived.may_resume;
        if resumes {
            request = request.header(header::RANGE, format!("bytes={}-", arrived.bytes));
            // A mark of another server says nothing to this one; then the digest tells.
            if let Some(mark) = self.mark_of(url) {
                request = request.header(header::IF_RANGE, mark);
            }
        }
        let response = request.send().await.map_err(|error| self.broken(&error))?;
        let range = response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
        match response.status() {
            StatusCode::PARTIAL_CONTENT if resumes => {
                let starts = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next());
                if starts == Some(&arrived.bytes.to_string()) {
                    return Ok(Some(response));
                }
                self.begin_anew(arrived, "the server sends another part than was asked for")
            }
            StatusCode::RANGE_NOT_SATISFIABLE if resumes => {
                let length = range.and_then(|range| range.strip_prefix("bytes */"));
                if length == Some(&arrived.bytes.to_string()) {
                    return Ok(None);
                }
                self.begin_anew(arrived, "the server's file is shorter than what is here of it")
            }
            status if status.is_success() && status != StatusCode::PARTIAL_CONTENT => {
                *arrived = Arrived { may_resume: arrived.may_resume, ..Arrived::nothing(self.item.digest) };
                Ok(Some(response))
            }
            status => Err(Failure::of_status(url, status, response.headers())),
        }
    }

    /// Lets the next request be for all of it.
    fn begin_anew(&self, arrived: &mut Arrived, why: &str) -> Result<Option<Response>, Failure> {
        self.forget()?;
        *arrived = Arrived { may_resume: false, ..Arrived::nothing(self.item.digest) };
        Err(Failure::Perhaps { cause: Cause::Broken, after: None, error: self.failed(why) })
    }

    /// Says how long the whole will be, if it can be what is wished.
    fn check(&self, response: &Response, before: u64) -> Result<Option<u64>, Failure> {
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html")) {
            let why = "the server answers with a web page, not with a file: the sign-in page of a network, or a \
                       folder's listing";
            return Err(self.failed(why).into());
        }
        let said = response.content_length().map(|rest| rest.saturating_add(before));
        if let (Some(said), Some(size)) = (said, self.item.size)
            && said != size
        {
            let why = format!("it is another file: {said} bytes long, where {size} are right");
            return Err(self.failed(why).into());
        }
        let total = said.or(self.item.size);
        self.check_room(total.unwrap_or(0).saturating_sub(before))?;
        Ok(total)
    }

    fn check_room(&self, bytes: u64) -> Result<()> {
        let needed_mib = bytes.div_ceil(BYTES_PER_MIB) + SPARE_MIB;
        let free_mib = system::free_mib(self.part)?;
        if needed_mib <= free_mib {
            return Ok(());
        }
        let folder = self.part.parent().unwrap_or(self.part).to_owned();
        Err(HostError::NoRoom { folder, needed_mib, free_mib })
    }

    /// Opens the part to write to. Where nothing counts that is in it, it is emptied before the mark of the new version
    /// is written, so that no mark ever stands for other bytes than its own.
    fn begin(&self, headers: &HeaderMap, arrived: &Arrived) -> Result<File> {
        if arrived.bytes > 0 {
            return self.open(true);
        }
        self.forget()?;
        let file = self.open(false)?;
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        // A weak tag does not promise equal bytes, so it is none.
        let tag = text(header::ETAG).filter(|tag| !tag.starts_with("W/"));
        if let Some(mark) = tag.or_else(|| text(header::LAST_MODIFIED)) {
            // Half a mark fits no version, so that it need not be written at once.
            let kept = format!("{}\n{mark}", self.item.url);
            let mut file = files::create_new(self.mark, files::PUBLIC_FILE)?;
            stand_in::write(&mut file, self.mark, kept.as_bytes())
                .map_err(HostError::file("write", self.mark))?;
        }
        Ok(file)
    }

    fn mark_of(&self, url: &str) -> Option<String> {
        let text = files::read_text(self.mark).ok()?;
        let (of, mark) = text.split_once('\n')?;
        (of == url).then(|| mark.to_owned())
    }

    fn forget(&self) -> Result<()> {
        files::remove_file(self.mark)?;
        files::remove_file(self.part)
    }

    fn open(&self, append: bool) -> Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).mode(files::PUBLIC_FILE);
        if append {
            options.append(true)
        } else {
            options.write(true).truncate(true)
        };
        let open = || stand_in::before(Effect::Write(self.part, 0)).and_then(|()| options.open(self.part));
        open().map_err(HostError::file("open", self.part))
    }

    /// Has all of it on the disk, also what a run wrote that was killed before it could see to that.
    pub fn settle(&self) -> Result<()> {
        self.sync(&files::open(self.part)?)
    }

    fn sync(&self, file: &File) -> Result<()> {
        let sync = || stand_in::before(Effect::Sync(self.part)).and_then(|()| sync::to_disk(file));
        sync().map_err(HostError::file("write", self.part))
    }

    fn take(&self, bytes: &[u8], file: &mut File, arrived: &mut Arrived) -> Result<()> {
        stand_in::write(file, self.part, bytes).map_err(HostError::file("write", self.part))?;
        arrived.hasher.take(bytes);
        arrived.bytes += bytes.len() as u64;
        Ok(())
    }

    fn failed(&self, reason: impl Into<String>) -> HostError {
        HostError::Download { url: self.item.url.to_owned(), reason: reason.into() }
    }

    fn broken(&self, error: &reqwest::Error) -> Failure {
        Failure::of_request(self.item.url, error)
    }
}

/// Tells how far it is, but not of every packet.
#[derive(Default)]
struct Pace {
    last: Option<clock::Instant>,
}

impl Pace {
    fn tell(&mut self, done: u64, total: Option<u64>, tell: Tell<'_>) {
        let is_time = self.last.is_none_or(|last| last.elapsed() >= TOLD_EVERY);
        if is_time || total == Some(done) {
            self.last = Some(clock::monotonic());
            tell(Told::Bytes { done, total });
        }
    }
}

/// Hashes in the way that a digest wants.
enum Hasher {
    Sha256(Box<Sha256>),
    Sha512(Box<Sha512>),
}

impl Hasher {
    fn of(digest: &Digest) -> Self {
        match digest {
            Digest::Sha256(_) => Self::Sha256(Box::default()),
            Digest::Sha512(_) => Self::Sha512(Box::default()),
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
