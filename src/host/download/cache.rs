//! The folder of images: what each file in it is called, and what can go.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Digest;
use crate::host::{Result, files, lock};

/// A download that nobody went on with for so long is abandoned: a later release has taken its place.
const ABANDONED_AFTER: Duration = Duration::from_secs(14 * 24 * 3600);

const PART: &str = "part";
const MARK: &str = "mark";
const WRONG: &str = "wrong";
const REMEMBERED: &str = "newest";

/// Where images are kept, and where the locks are of those who download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    pub images: PathBuf,
    pub locks: PathBuf,
}

/// A file of the cache that is no image: begun and not gone on with, or found to be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    pub path: PathBuf,
    pub bytes: u64,
}

impl Cache {
    pub(super) fn create(&self) -> Result<()> {
        files::create_dir(&self.images)
    }

    /// Returns where a whole file of this digest is.
    pub fn place(&self, digest: &Digest) -> PathBuf {
        self.named(digest, "img")
    }

    pub(super) fn part(&self, digest: &Digest) -> PathBuf {
        self.named(digest, PART)
    }

    /// Returns where the server's mark of a part's version is kept.
    pub(super) fn mark(&self, digest: &Digest) -> PathBuf {
        self.named(digest, MARK)
    }

    fn named(&self, digest: &Digest, ending: &str) -> PathBuf {
        self.images.join(format!("{}.{ending}", stem(digest)))
    }

    pub(super) fn lock(&self, digest: &Digest) -> PathBuf {
        self.lock_of(&stem(digest))
    }

    fn lock_of(&self, stem: &str) -> PathBuf {
        /// The kind, and as many digits as tell one image from another.
        const ENOUGH: usize = 24;
        self.locks.join(format!("image-{}", stem.get(..ENOUGH).unwrap_or(stem)))
    }

    /// Returns the digest that a distribution's list gave for a file when it was fetched last. It stood in for a pinned
    /// one; for another pinned one, which a later catalogue has, it says nothing.
    pub(super) fn remembered(&self, name: &str, pinned: Option<&Digest>) -> Option<Digest> {
        let text = files::read_text(&self.remembered_in(name)).ok()?;
        let (digest, stood_in_for) = text.split_once('\n')?;
        let same = stood_in_for.trim() == pinned.map_or("", Digest::hex);
        Digest::from_hex(digest).filter(|_| same)
    }

    pub(super) fn remember(&self, name: &str, digest: &Digest, pinned: Option<&Digest>) -> Result<()> {
        let text = format!("{}\n{}\n", digest.hex(), pinned.map_or("", Digest::hex));
        files::write_atomic(&self.remembered_in(name), text.as_bytes(), files::PUBLIC_FILE)
    }

    fn remembered_in(&self, name: &str) -> PathBuf {
        self.images.join(format!("{name}.{REMEMBERED}"))
    }

    /// Puts a part that turned out wrong aside, in place of any such before, and returns where it is.
    pub(super) fn keep_wrong(&self, digest: &Digest) -> Result<PathBuf> {
        for earlier in self.with_ending(&[WRONG])? {
            files::remove_file(&earlier)?;
        }
        let kept = self.named(digest, WRONG);
        files::remove_file(&self.mark(digest))?;
        files::rename(&self.part(digest), &kept)?;
        Ok(kept)
    }

    /// Removes the parts of other files that were abandoned long ago.
    pub(super) fn collect(&self, current: &Digest) -> Result<()> {
        let own = stem(current);
        let leftovers = self.leftovers()?.into_iter().map(|leftover| leftover.path);
        for path in leftovers.filter(|path| stem_of(path) != own).chain(self.half_written()?) {
            let modified = files::modified(&path);
            if modified.is_ok_and(|then| then.elapsed().is_ok_and(|passed| passed > ABANDONED_AFTER)) {
                files::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Returns the files that no run works on and that no run needs: removing them costs only what had come already.
    pub fn leftovers(&self) -> Result<Vec<Leftover>> {
        let mut found = Vec::new();
        for path in self.with_ending(&[PART, MARK, WRONG])? {
            if lock::holder(&self.lock_of(&stem_of(&path)))?.is_none() {
                found.push(Leftover { bytes: files::size(&path)?, path });
            }
        }
        Ok(found)
    }

    /// Returns what a run left that was killed while it wrote a small file.
    fn half_written(&self) -> Result<Vec<PathBuf>> {
        let is_temporary = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(files::TEMPORARY))
        };
        Ok(files::list(&self.images)?.into_iter().filter(is_temporary).collect())
    }

    fn with_ending(&self, endings: &[&str]) -> Result<Vec<PathBuf>> {
        let has = |path: &PathBuf| {
            path.extension().is_some_and(|ending| endings.iter().any(|wanted| ending == *wanted))
        };
        Ok(files::list(&self.images)?.into_iter().filter(has).collect())
    }
}

/// Returns the name of a digest's files without their ending.
fn stem(digest: &Digest) -> String {
    match digest {
        Digest::Sha256(hex) => format!("sha256-{hex}"),
        Digest::Sha512(hex) => format!("sha512-{hex}"),
    }
}

fn stem_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
