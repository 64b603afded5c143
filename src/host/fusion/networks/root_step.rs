//! The one thing that takes root: our own program under `sudo`, with a request that it checks again from scratch.
//!
//! ```text
//! fusionlab (user)                      sudo             fusionlab network apply-as-root (root)
//! request.json, 0600  ─────────────────────────────────▶ reads it once, checks all of it (`request.rs`)
//!                     ◀───── "begun" ───────────────────  before the first thing is touched
//!                     ◀───── one line of JSON ──────────  what came of it
//! ```
//!
//! Both lines come on standard output; everything else that is said there is passed on. Without `begun` nothing was
//! touched; with it and without an answer nobody knows, so the change stays unfinished and the next run sees to it.

use std::ffi::OsString;
use std::fs::File;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::result::Result as StdResult;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::apply::{self, Failure, Job};
use super::request::{Ask, Request};
use super::{Applied, ChangeKind, refused};
use crate::host::fusion::Fusion;
use crate::host::process::{self, Options};
use crate::host::trust::Distrust;
use crate::host::{Aftermath, HostError, Result, files, lock, system};

const SUDO: &str = "/usr/bin/sudo";
const REQUEST: &str = "request.json";
const LOCK: &str = "request.lock";
/// The root step runs up to a dozen programs, each with its limit, and the user types a password first.
const LIMITS_OF_ROOT_STEP: u32 = 16;

/// What root says, a line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    /// From here on something is touched.
    Begun,
    /// All of the request would be accepted.
    Checked,
    Applied(Applied),
    Failed {
        reason: String,
        output: String,
        after: Aftermath,
    },
    /// All networks must be stopped for it, and may not.
    MustStop {
        reason: String,
        output: String,
        after: Aftermath,
    },
    /// Nothing was touched.
    Refused {
        reason: String,
    },
    /// Nothing was touched, since somebody other than root could change what root would run.
    Untrusted {
        path: PathBuf,
        user: u32,
        group: u32,
        mode: u32,
        reason: Distrust,
    },
}

impl From<Failure> for Word {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Untouched(HostError::Untrusted { path, user, group, mode, reason }) => {
                Self::Untrusted { path, user, group, mode, reason }
            }
            Failure::Untouched(error) => Self::Refused { reason: error.to_string() },
            Failure::Tried { reason, output, after } => Self::Failed { reason, output, after },
            Failure::MustStop { reason, output, after } => Self::MustStop { reason, output, after },
            Failure::Unknown { reason, output } => {
                Self::Failed { reason, output, after: Aftermath::Unsettled }
            }
        }
    }
}

/// Returns the words of our own verb for a kind of change, up to the request's path. Each kind and each network has its
/// own, so that a sudoers line for one never covers another.
pub(super) fn verb(kind: ChangeKind, vmnet: u8) -> Vec<String> {
    let number = vmnet.to_string();
    let words: &[&str] = match kind {
        ChangeKind::OfOneNetwork => &["network", "apply-as-root", "--vmnet", &number, "--request"],
        ChangeKind::WholeFile => &["network", "restore-as-root", "--request"],
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Returns the file that holds the request.
pub(super) fn request_file(folder: &Path) -> PathBuf {
    folder.join(REQUEST)
}

/// Returns the command that changes the networks as root.
pub(super) fn command(folder: &Path, kind: ChangeKind, vmnet: u8) -> Result<Vec<OsString>> {
    let mut words = vec![SUDO.into(), own_program()?.into_os_string()];
    words.extend(verb(kind, vmnet).into_iter().map(Into::into));
    words.push(request_file(folder).into_os_string());
    Ok(words)
}

/// Returns our own program without links, as sudo and a sudoers line name it.
pub(super) fn own_program() -> Result<PathBuf> {
    files::canonicalize(&system::own_program()?)
}

/// Says whether `sudo` lets us in without asking: a check is asked for, and nothing done. `sudo -n -v` would not tell,
/// since it wants a password even where a sudoers line for exactly our command needs none.
///
/// # Errors
/// If it lets us in, and root refuses to change these networks.
pub(super) async fn lets_in(folder: &Path, fusion: &Fusion, job: &Job) -> Result<bool> {
    let _request = Written::new(folder, &Request::new(Ask::Check, fusion, job), job.limit).await?;
    let ran = run(folder, job, Asking::Never).await?;
    match ran.words.into_iter().next_back() {
        Some(Word::Checked) => Ok(true),
        Some(word) => Err(understand(word, ran.rest).map_or_else(HostError::from, |_| not_an_answer())),
        None => Ok(false),
    }
}

/// Lets `sudo` ask for the password now, so that it need not while something else draws on the terminal. Says whether it
/// lets us in.
pub(super) async fn ask_password(limit: Duration) -> Result<bool> {
    let finished = process::run_attached(Path::new(SUDO), ["-v"], limit * LIMITS_OF_ROOT_STEP).await?;
    Ok(finished.success())
}

/// Runs ourselves under `sudo` with a request, and returns what that says.
pub(super) async fn ask_root(folder: &Path, fusion: &Fusion, job: &Job) -> StdResult<Applied, Failure> {
    let _request = Written::new(folder, &Request::new(Ask::Apply, fusion, job), job.limit).await?;
    // Where nobody could type a password, `sudo` must not wait for one on any terminal that it finds.
    let asking = if std::io::stdin().is_terminal() { Asking::InTerminal } else { Asking::Never };
    let ran = match run(folder, job, asking).await {
        Err(HostError::Deadline { what, limit }) => {
            let reason = format!("{what} did not come within {} s", limit.as_secs());
            return Err(Failure::Unknown { reason, output: String::new() });
        }
        other => other?,
    };
    match ran.words.into_iter().next_back() {
        Some(Word::Begun) => {
            let reason = "the root step was killed at its work".to_owned();
            Err(Failure::Unknown { reason, output: ran.rest })
        }
        Some(word) => understand(word, ran.rest),
        None => Err(Failure::Untouched(HostError::Network {
            reason: "sudo did not let us change Fusion's networks".to_owned(),
            output: ran.rest,
            after: Aftermath::Untouched,
        })),
    }
}

fn understand(word: Word, rest: String) -> StdResult<Applied, Failure> {
    match word {
        Word::Applied(applied) if rest.is_empty() => Ok(applied),
        Word::Applied(applied) => Ok(Applied { output: format!("{rest}\n{}", applied.output), ..applied }),
        Word::Failed { reason, output, after } => Err(Failure::Tried { reason, output, after }),
        Word::MustStop { reason, output, after } => Err(Failure::MustStop { reason, output, after }),
        Word::Refused { reason } => Err(refused(&reason).into()),
        Word::Untrusted { path, user, group, mode, reason } => {
            Err(HostError::Untrusted { path, user, group, mode, reason }.into())
        }
        Word::Begun | Word::Checked => Err(not_an_answer().into()),
    }
}

fn not_an_answer() -> HostError {
    refused("the root step gave an answer to another question")
}

/// Who types a password.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asking {
    InTerminal,
    Never,
}

/// What a run under `sudo` said.
struct Ran {
    words: Vec<Word>,
    /// Everything else, such as sudo's own complaints where nobody watches.
    rest: String,
}

/// Runs ourselves under `sudo`, with a request that is written.
async fn run(folder: &Path, job: &Job, asking: Asking) -> Result<Ran> {
    let command = command(folder, job.kind, job.vmnet)?;
    let limit = job.limit * LIMITS_OF_ROOT_STEP;
    let finished = match asking {
        Asking::InTerminal => process::run_attached(Path::new(SUDO), &command[1..], limit).await,
        Asking::Never => {
            let args = std::iter::once(OsString::from("-n")).chain(command[1..].iter().cloned());
            process::run(Path::new(SUDO), args, Options::limit(limit)).await
        }
    };
    let finished = finished?;
    let mut ran = Ran { words: Vec::new(), rest: String::new() };
    let mut other = Vec::new();
    for line in finished.output().lines() {
        match serde_json::from_str(line) {
            Ok(word) => ran.words.push(word),
            Err(_) => other.push(line.to_owned()),
        }
    }
    ran.rest = other.join("\n");
    Ok(ran)
}

/// A request file, which is gone when this is.
struct Written {
    path: PathBuf,
    /// Runs share the file that a sudoers line names, so only one has a request there.
    _turn: File,
}

impl Written {
    async fn new(folder: &Path, request: &Request, limit: Duration) -> Result<Self> {
        files::create_private_dir(folder)?;
        let lock_file = folder.join(LOCK);
        files::append(&lock_file, b"", files::PRIVATE_FILE)?;
        let turn = lock::wait(&lock_file, "the end of another run's step as root", limit).await?;
        let written = Self { path: request_file(folder), _turn: turn };
        let text = serde_json::to_vec_pretty(request).expect("a request is plain data");
        files::write_atomic(&written.path, &text, files::PRIVATE_FILE)?;
        Ok(written)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // One that stays says nothing secret, and the next request replaces it.
        let _ = files::remove_file(&self.path);
    }
}

/// Does what a request asks, as root, and says whether it went well. `vmnet` is the network that the command line, and so
/// perhaps a sudoers line, is about; none for the whole file. `say` prints a line; whoever reads them may be gone.
pub async fn answer(vmnet: Option<u8>, request: &Path, say: impl Fn(&str)) -> bool {
    let say = |word: &Word| say(&serde_json::to_string(word).expect("a word is plain data"));
    let word = match as_root(vmnet, request, || say(&Word::Begun)).await {
        Ok(word) => word,
        Err(failure) => failure.into(),
    };
    say(&word);
    matches!(word, Word::Checked | Word::Applied(_))
}

async fn as_root(vmnet: Option<u8>, request: &Path, begun: impl FnOnce()) -> StdResult<Word, Failure> {
    if !system::is_root() {
        return Err(refused("this step is for root: fusionlab runs it through sudo").into());
    }
    system::make_for_everybody();
    let request = Request::read(request, asker())?;
    let kind = if vmnet.is_some() { ChangeKind::OfOneNetwork } else { ChangeKind::WholeFile };
    let (programs, job) = request.check(kind)?;
    if let Some(vmnet) = vmnet.filter(|vmnet| *vmnet != job.vmnet) {
        return Err(refused(&format!("the request is about vmnet{}, not vmnet{vmnet}", job.vmnet)).into());
    }
    if request.ask == Ask::Check {
        return Ok(Word::Checked);
    }
    Ok(Word::Applied(apply::perform(&programs, &job, begun).await?))
}

/// Returns the user who called `sudo`; none if it was not called.
fn asker() -> Option<u32> {
    std::env::var("SUDO_UID").ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_is_shown_is_the_one_that_runs() {
        let folder = Path::new("/Users/me/.fusionlab/network");
        for (kind, verb) in
            [(ChangeKind::OfOneNetwork, "apply-as-root"), (ChangeKind::WholeFile, "restore-as-root")]
        {
            let words = command(folder, kind, 2).unwrap();
            assert_eq!((words[0].to_str(), words[3].to_str()), (Some(SUDO), Some(verb)));
            assert_eq!(words.last().unwrap(), "/Users/me/.fusionlab/network/request.json");
        }
    }

    #[tokio::test]
    async fn a_request_is_private_and_gone_when_it_was_answered() {
        let folder = tempfile::tempdir().unwrap();
        let fusion = crate::host::fusion::fake::Fake::new().fusion();
        let limit = Duration::from_millis(200);
        let job = Job {
            new: None,
            before: None,
            rollback: None,
            resumed: None,
            may_stop: true,
            vmnet: 2,
            kind: ChangeKind::OfOneNetwork,
            limit,
        };
        let request = Request::new(Ask::Check, &fusion, &job);
        let written = Written::new(folder.path(), &request, limit).await.unwrap();
        assert_eq!(files::ownership(&written.path).unwrap().mode, files::PRIVATE_FILE);
        let second = Written::new(folder.path(), &request, limit).await;
        assert!(matches!(second, Err(HostError::Deadline { .. })), "one at a time");
        let path = written.path.clone();
        assert!(files::exists(&path));
        drop(written);
        assert!(!files::exists(&path));
        Written::new(folder.path(), &request, limit).await.unwrap();
    }

    #[tokio::test]
    async fn what_root_says_is_one_line_and_is_understood() {
        let said = std::cell::RefCell::new(Vec::new());
        let say = |line: &str| said.borrow_mut().push(line.to_owned());
        assert!(!answer(Some(2), Path::new("/nonexistent/request"), say).await);
        let said = said.into_inner();
        assert!(said.len() == 1 && !said[0].contains('\n'), "{said:?}");
        let word: Word = serde_json::from_str(&said[0]).unwrap();
        let failure = understand(word, String::new()).unwrap_err();
        assert!(matches!(
            failure,
            Failure::Untouched(HostError::Network { after: Aftermath::Untouched, .. })
        ));
    }

    #[test]
    fn every_answer_means_to_us_what_it_meant_to_root() {
        let path = PathBuf::from("/Applications");
        let reason = || "text".to_owned();
        let untrusted =
            HostError::Untrusted { path, user: 501, group: 20, mode: 0o775, reason: Distrust::GroupWrites };
        for failure in [
            Failure::Untouched(untrusted),
            Failure::Untouched(refused("text")),
            Failure::Tried { reason: reason(), output: reason(), after: Aftermath::AsBefore },
            Failure::Tried { reason: reason(), output: reason(), after: Aftermath::Unsettled },
            Failure::MustStop { reason: reason(), output: reason(), after: Aftermath::AsBefore },
        ] {
            let before = format!("{failure:?}");
            let line = serde_json::to_string(&Word::from(failure)).unwrap();
            let after = understand(serde_json::from_str(&line).unwrap(), String::new()).unwrap_err();
            assert_eq!(format!("{after:?}"), before);
        }
        let applied = Applied { output: "fine".to_owned(), restarted: super::super::Restarted::Dhcp };
        let line = serde_json::to_string(&Word::Applied(applied)).unwrap();
        let word = serde_json::from_str(&line).unwrap();
        let understood = understand(word, "a word of sudo's".to_owned()).unwrap();
        assert_eq!(understood.output, "a word of sudo's\nfine", "nothing that sudo says is lost");
    }
}
