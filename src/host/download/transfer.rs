//! One download on its way: hashed while it arrives, resumed where a connection broke.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{self, HeaderMap};
use reqwest::{Client, StatusCode};
use sha2::{Digest as _, Sha256, Sha512};

use super::{Digest, Progress, READ_BUFFER, client, reason};
use crate::host::{HostError, Result, files};

/// A dropped connection is picked up again so often before the user is told.
const RESUMES: u32 = 3;

/// One download on its way.
pub struct Transfer<'a> {
    pub url: &'a str,
    pub part: &'a Path,
    /// How long it may go without a byte.
    pub stall: Duration,
    pub digest: &'a Digest,
}

impl Transfer<'_> {
    /// Downloads to the end, resuming after dropped connections, and returns the digest.
    pub async fn run(&self, progress: Progress<'_>) -> Result<String> {
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

/// Hashes in the way that a digest wants.
pub enum Hasher {
    Sha256(Box<Sha256>),
    Sha512(Box<Sha512>),
}

impl Hasher {
    pub fn of(digest: &Digest) -> Self {
        match digest {
            Digest::Sha512(_) => Self::Sha512(Box::default()),
            Digest::Sha256(_) | Digest::ListedAt(_) => Self::Sha256(Box::default()),
        }
    }

    pub fn take(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub fn finish(self) -> String {
        match self {
            Self::Sha256(hasher) => hex::encode(hasher.finalize()),
            Self::Sha512(hasher) => hex::encode(hasher.finalize()),
        }
    }
}

/// Returns where the server's mark of a part's version is kept.
pub fn validator_of(part: &Path) -> PathBuf {
    part.with_extension("version")
}
