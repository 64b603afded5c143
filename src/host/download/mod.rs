//! Downloads into a cache by digest: resumable, verified while they arrive, shared by concurrent runs.
//!
//! ```text
//! fetch ──▶ in the cache? ──▶ the pinned file ──gone──▶ list::digest (signature) ──▶ the newest file
//!                                   └──────── turn (one run at a time) ─ Transfer ─┘
//! ```
//!
//! In the cache, `sha256-<hex>.img` is whole and right: it got its name when its digest was seen to be that. What is on
//! its way has the same name with `.part`, so that another server, or a later run, goes on with it; `.mark` is what the
//! server called that version. A file that turned out wrong is kept as `.wrong`, the latest only. `<name>.newest`
//! remembers what a distribution's list said, which is what makes a moving image usable offline.

mod cache;
mod client;
mod list;
#[cfg(test)]
mod tests;
mod transfer;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use cache::{Cache, Leftover};
pub use client::install_crypto;
pub(super) use client::reason;

use super::{HostError, Result, clock, files, lock};
use client::Failure;
use transfer::Transfer;

/// How often a run that waits for another one's download looks at it.
const SHARED_LOOK: Duration = Duration::from_millis(250);

/// A file to be had, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `https://…`, `http://…`, or `file://` and a path.
    pub url: String,
    /// None if only `newest` tells.
    pub digest: Option<Digest>,
    /// Bytes, if they are known.
    pub size: Option<u64>,
    /// What takes its place once the server has it no longer.
    pub newest: Option<Newest>,
}

/// A file that is replaced at every release, and the list that says what it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// What it is remembered by: a file name.
    pub name: String,
    pub url: String,
    /// Where `SHA256SUMS` or `SHA512SUMS` is.
    pub list: String,
    /// Without one, the list is read over HTTPS only.
    pub signature: Option<Signature>,
}

/// Where a list's detached signature is, and whose it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub url: String,
    /// The key's fingerprint in hexadecimal.
    pub key: String,
    pub keyring: &'static [u8],
}

/// What a file must be, in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Digest {
    Sha256(String),
    Sha512(String),
}

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

    pub fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::Sha512(hex) => hex,
        }
    }
}

/// A file that is in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub path: PathBuf,
    /// Where it is from, or would be.
    pub url: String,
    pub digest: Digest,
    /// Whether it is the newest in place of the pinned one.
    pub is_newest: bool,
}

/// What is told on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Bytes so far, and in all if that is known.
    Bytes { done: u64, total: Option<u64> },
    /// What is waited for, and what is seen meanwhile: another run, a server.
    Waiting { what: &'static str, seen: String },
    /// Something worth saying that stops nothing.
    Note(String),
}

/// Receives what is told.
pub type Tell<'a> = &'a mut (dyn FnMut(Told) + Send);

/// One file of a source.
struct Item<'a> {
    url: &'a str,
    digest: &'a Digest,
    size: Option<u64>,
}

/// Returns the file, if it is in the cache; never asks a server. In place of a pinned one, the newest counts that was
/// fetched once because that one was gone.
pub fn cached(source: &Source, cache: &Cache) -> Option<Fetched> {
    let found = |url: &str, digest: &Digest, is_newest| {
        let path = cache.place(digest);
        let there = files::exists(&path);
        there.then(|| Fetched { path, url: url.to_owned(), digest: digest.clone(), is_newest })
    };
    let pinned = source.digest.as_ref().and_then(|digest| found(&source.url, digest, false));
    pinned.or_else(|| {
        let newest = source.newest.as_ref()?;
        found(&newest.url, &cache.remembered(&newest.name, source.digest.as_ref())?, true)
    })
}

/// Returns the file from the cache, after downloading it if need be.
///
/// `stall` is how long a download may go without a byte (`Limits::download_stall`). Proxies of the environment are
/// honoured (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`).
///
/// # Errors
/// [`HostError::Digest`] for another file than the wished one, which is kept aside; [`HostError::Unsigned`] for a list
/// whose signature is missing or wrong; [`HostError::NoRoom`]; [`HostError::Download`] for the rest.
pub async fn fetch(source: &Source, cache: &Cache, stall: Duration, tell: Tell<'_>) -> Result<Fetched> {
    if let Some(found) = cached(source, cache) {
        return Ok(found);
    }
    if let Some(digest) = &source.digest {
        let item = Item { url: &source.url, digest, size: source.size };
        match (have(&item, cache, stall, tell).await, &source.newest) {
            (Ok(path), _) => {
                return Ok(Fetched {
                    path,
                    url: source.url.clone(),
                    digest: digest.clone(),
                    is_newest: false,
                });
            }
            (Err(Failure::Gone(_)), Some(newest)) => tell(Told::Note(format!(
                "{} is not there any more; {} is taken in its place",
                source.url, newest.url
            ))),
            (Err(failure), _) => return Err(failure.into_error()),
        }
    }
    let Some(newest) = &source.newest else {
        let reason = "nothing says what the file must be".to_owned();
        return Err(HostError::Download { url: source.url.clone(), reason });
    };
    let digest = list::digest(newest, stall, tell).await?;
    let item = Item { url: &newest.url, digest: &digest, size: None };
    let path = have(&item, cache, stall, tell).await.map_err(Failure::into_error)?;
    cache.remember(&newest.name, &digest, source.digest.as_ref())?;
    Ok(Fetched { path, url: newest.url.clone(), digest, is_newest: true })
}

/// Brings one file into the cache, or finds it there.
async fn have(item: &Item<'_>, cache: &Cache, stall: Duration, tell: Tell<'_>) -> Result<PathBuf, Failure> {
    let target = cache.place(item.digest);
    cache.create()?;
    let part = cache.part(item.digest);
    let _turn = take_turn(&cache.lock(item.digest), &part, item.size, stall, tell).await?;
    // Whoever had the turn before may have finished it.
    if files::exists(&target) {
        return Ok(target);
    }
    cache.collect(item.digest)?;
    let transfer = Transfer { item, part: &part, mark: &cache.mark(item.digest), stall };
    let found = match item.url.strip_prefix("file://") {
        Some(path) => transfer.copy(Path::new(path), tell).await?,
        None => transfer.run(tell).await?,
    };
    let expected = item.digest.hex();
    if found != expected {
        let kept = cache.keep_wrong(item.digest)?;
        let (url, expected) = (item.url.to_owned(), expected.to_owned());
        return Err(HostError::Digest { url, expected, found, kept }.into());
    }
    transfer.settle()?;
    // First the mark: a run that is killed in between leaves nothing that the next one does not take up.
    files::remove_file(&cache.mark(item.digest))?;
    files::rename(&part, &target)?;
    Ok(target)
}

/// Waits for the lock of a download that another run has begun, as long as that goes on.
async fn take_turn(
    path: &Path,
    part: &Path,
    total: Option<u64>,
    stall: Duration,
    tell: Tell<'_>,
) -> Result<lock::Lock> {
    let mut seen = (None, clock::monotonic());
    loop {
        match lock::acquire(path, "the download", "download") {
            Err(HostError::Locked { what, by }) => {
                let size = files::size(part).unwrap_or(0);
                if seen.0.is_none() {
                    let who = by.holder.as_ref().map_or(0, |holder| holder.pid);
                    tell(Told::Waiting {
                        what: "the image is here",
                        seen: format!("process {who} downloads it"),
                    });
                }
                if seen.0 != Some(size) {
                    seen = (Some(size), clock::monotonic());
                    tell(Told::Bytes { done: size, total });
                } else if seen.1.elapsed() > 2 * stall {
                    return Err(HostError::Locked { what, by });
                }
            }
            other => return other,
        }
        clock::pause(SHARED_LOOK).await;
    }
}
