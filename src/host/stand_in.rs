//! What may stand in for this computer, so that a whole run happens inside one thread of a test: its clock, its programs,
//! its way to the guests, and whatever may become of a file that is written.
//!
//! ```text
//! clock ──now_ms──┐
//! process ──run───┤                        ┌─▶ sim::inside: the simulated Fusion's programs and world, virtual time,
//! dial ─connect───┼─▶ current() ─ Computer ┤   faults drawn from a seed, and death at any point
//! files ──before──┤   (of this thread)     │
//! lock ───────────┘                        └─▶ nobody: the computer itself
//! ```
//!
//! Without the simulated Fusion in the build nobody can stand in, and every question here has a constant answer.

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use super::dial::Stream;
use super::process::{Finished, Options};

/// What a stand-in does meanwhile.
pub type Doing<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A change of a file or folder that is about to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    Create(&'a Path),
    /// So many bytes are put into a file.
    Write(&'a Path, usize),
    /// A file's bytes are made to last.
    Sync(&'a Path),
    Rename {
        from: &'a Path,
        to: &'a Path,
    },
    /// The names in a folder are made to last.
    SyncFolder(&'a Path),
    Remove(&'a Path),
    SetMode(&'a Path),
}

/// Why an effect does not happen.
#[derive(Debug)]
pub struct Refused {
    /// How many bytes of a write are there all the same.
    pub torn_after: usize,
    pub error: io::Error,
}

/// Whoever stands in, if anybody does.
pub type Current = Option<Arc<dyn Computer>>;

/// Takes the computer's place.
pub trait Computer: Send + Sync {
    /// Returns milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// Says whether an effect may happen, and takes note of it.
    fn before(&self, effect: Effect<'_>) -> Result<(), Refused>;

    /// Runs a program to its end, or fails as a program that cannot be started does. Its deadline is the caller's to
    /// keep; when what is returned is dropped, the program is killed.
    fn run(&self, program: PathBuf, args: Vec<OsString>, options: &Options) -> Doing<io::Result<Finished>>;

    /// Opens a connection to a guest's address.
    fn connect(&self, to: SocketAddrV4) -> Doing<io::Result<Stream>>;

    /// Says whether the process that runs was killed: nothing that it still does has an effect, not even what
    /// destructors do.
    fn is_dead(&self) -> bool;
}

#[cfg(any(test, feature = "sim"))]
mod here {
    use std::cell::RefCell;
    use std::sync::Arc;

    use super::{Computer, Current};

    thread_local! {
        static CURRENT: RefCell<Current> = const { RefCell::new(None) };
    }

    /// Whoever stands in until this is dropped.
    #[must_use = "nobody stands in any more once it is dropped"]
    pub struct Standing(Current);

    /// Lets a computer stand in for this one on this thread.
    pub fn stand_in(computer: Arc<dyn Computer>) -> Standing {
        Standing(CURRENT.with(|current| current.replace(Some(computer))))
    }

    impl Drop for Standing {
        fn drop(&mut self) {
            let before = self.0.take();
            CURRENT.with(|current| current.replace(before));
        }
    }

    /// Returns whoever stands in on this thread.
    pub fn current() -> Current {
        CURRENT.with(|current| current.borrow().clone())
    }
}

#[cfg(any(test, feature = "sim"))]
pub use here::{Standing, current, stand_in};

/// Returns nobody.
#[cfg(not(any(test, feature = "sim")))]
pub fn current() -> Current {
    None
}

/// Says whether an effect may happen.
pub fn before(effect: Effect<'_>) -> io::Result<()> {
    current().map_or(Ok(()), |computer| computer.before(effect).map_err(|refused| refused.error))
}

/// Puts bytes into a file, all of them unless a stand-in lets it break off.
pub fn write(file: &mut impl io::Write, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let Some(computer) = current() else { return file.write_all(bytes) };
    match computer.before(Effect::Write(path, bytes.len())) {
        Ok(()) => file.write_all(bytes),
        Err(Refused { torn_after, error }) => {
            file.write_all(&bytes[..torn_after.min(bytes.len())])?;
            Err(error)
        }
    }
}

/// Says whether the process that runs was killed.
pub fn is_dead() -> bool {
    current().is_some_and(|computer| computer.is_dead())
}

/// Does work that holds its thread up: on a thread of its own, or at once where somebody stands in, whose time stands
/// still meanwhile.
///
/// # Panics
/// If the work panics.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    if current().is_some() {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
