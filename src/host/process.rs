//! Programs of the host: an argv, a deadline, captured output, never a shell.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::lock::Share;
use super::stand_in::{self, Computer};
use super::{HostError, Result};
use crate::formats::command as formats;

/// How much of each output stream is kept; of a longer one, its end.
const KEPT_OUTPUT: usize = 1024 * 1024;
/// How long a stream may stay open after its program ended: programs leave children behind that hold it.
const DRAIN: Duration = Duration::from_millis(200);
const READ_BUFFER: usize = 16 * 1024;

/// What a program is given besides its arguments.
#[derive(Clone, Debug)]
pub struct Options {
    /// When it has to be done; then it is killed.
    pub limit: Duration,
    /// Bytes for its standard input.
    pub stdin: Vec<u8>,
    /// Variables added to ours, or with `bare` all that there are.
    pub env: Vec<(OsString, OsString)>,
    pub bare: bool,
    pub cwd: Option<PathBuf>,
    /// Kill only the program itself, not its process group: what `vmrun start` starts outlives it.
    pub spare_children: bool,
    /// It works on what others may want when we are killed: it keeps the share of [`outlived`], if there is one.
    pub outlives: bool,
    /// That share, which [`run`] finds.
    pub share: Option<Arc<Share>>,
    /// The folder to run in, by its descriptor, whatever its path means by then (`host::trust`).
    pub folder: Option<Arc<OwnedFd>>,
    /// The rights that files it makes never get, instead of those that ours never get.
    pub umask: Option<libc::mode_t>,
    /// The name that the program is called by (`argv[0]`), if not the one that it is run by.
    pub called: Option<OsString>,
}

impl Options {
    pub fn limit(limit: Duration) -> Self {
        Self {
            limit,
            stdin: Vec::new(),
            env: Vec::new(),
            bare: false,
            cwd: None,
            spare_children: false,
            outlives: false,
            share: None,
            folder: None,
            umask: None,
            called: None,
        }
    }
}

/// What a program left.
#[derive(Clone, Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Finished {
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// Returns the standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Returns both streams as text for a message, trimmed.
    pub fn output(&self) -> String {
        let streams = [&self.stdout, &self.stderr];
        let texts = streams.map(|stream| String::from_utf8_lossy(stream).trim().to_owned());
        texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// Returns the error that says how this program failed.
    pub fn error<A: AsRef<OsStr>>(&self, program: &Path, args: impl IntoIterator<Item = A>) -> HostError {
        HostError::Program {
            program: program.to_owned(),
            args: args.into_iter().map(|arg| arg.as_ref().to_string_lossy().into_owned()).collect(),
            status: describe(self.status),
            output: self.output(),
        }
    }
}

/// Takes note of a program that begins, and is then told how it ended; dropped if nobody waits for that.
pub type Witness = Arc<dyn Fn(&formats::Command) -> Told + Send + Sync>;
/// Takes how a program ended.
pub type Told = Box<dyn FnOnce(&Result<Finished>) + Send>;

tokio::task_local! {
    static WITNESS: Witness;
}

/// Does some work, whose programs a witness is told of: they are run far below, where nobody knows for which work.
pub async fn witnessed<T>(witness: Witness, work: impl Future<Output = T>) -> T {
    WITNESS.scope(witness, work).await
}

tokio::task_local! {
    static SHARE: Arc<Share>;
}

/// Does some work, whose programs that may outlive us ([`Options::outlives`]) have a share in a lock until they end. The
/// kernel takes it from them, so that also whoever comes after a killed run of ours knows when they have.
pub async fn outlived<T>(share: Arc<Share>, work: impl Future<Output = T>) -> T {
    SHARE.scope(share, work).await
}

fn begun(program: &Path, args: &[OsString]) -> Option<Told> {
    let words = [program.as_os_str()].into_iter().chain(args.iter().map(OsString::as_os_str));
    let command = formats::Command::new(words.map(|word| word.to_string_lossy().into_owned()));
    WITNESS.try_with(|witness| witness(&command)).ok()
}

/// Runs a program to its end. Its exit status is not judged: Fusion's programs lie about it.
///
/// It gets a process group of its own, so that Ctrl-C in our terminal does not hit it half-way. When the
/// deadline passes or the future is dropped, the group is killed.
pub async fn run<A: AsRef<OsStr>>(
    program: &Path,
    args: impl IntoIterator<Item = A>,
    mut options: Options,
) -> Result<Finished> {
    let args = owned(args);
    if options.outlives {
        options.share = SHARE.try_with(Arc::clone).ok();
    }
    let told = begun(program, &args);
    let outcome = run_captured(program, args, options).await;
    told.into_iter().for_each(|told| told(&outcome));
    outcome
}

async fn run_captured(program: &Path, args: Vec<OsString>, options: Options) -> Result<Finished> {
    if let Some(computer) = stand_in::current() {
        return stood_in(computer, program, args, &options).await;
    }
    let mut command = command(program, args, &options);
    command.stdin(if options.stdin.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = spawn(program, &mut command)?;
    let mut running = Running::new(child, options.spare_children);
    let stdout = capture(running.child.stdout.take());
    let stderr = capture(running.child.stderr.take());
    if let Some(mut pipe) = running.child.stdin.take() {
        let bytes = options.stdin;
        // A program that does not read its input closes the pipe; that is its right.
        tokio::spawn(async move { drop(pipe.write_all(&bytes).await) });
    }
    let Ok(status) = tokio::time::timeout(options.limit, running.child.wait()).await else {
        let what = format!("the end of {}", program.display());
        return Err(HostError::Deadline { what, limit: options.limit });
    };
    let status = status.map_err(HostError::file("wait for", program))?;
    running.finished = true;
    Ok(Finished { status, stdout: stdout.finish().await, stderr: stderr.finish().await })
}

/// Runs a program that talks to the user, such as `sudo` asking for a password: it shares our terminal
/// and process group; only its standard output is captured.
pub async fn run_attached<A: AsRef<OsStr>>(
    program: &Path,
    args: impl IntoIterator<Item = A>,
    limit: Duration,
) -> Result<Finished> {
    if let Some(computer) = stand_in::current() {
        return stood_in(computer, program, owned(args), &Options::limit(limit)).await;
    }
    let mut command = command(program, args, &Options::limit(limit));
    command.stdin(Stdio::inherit()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = spawn(program, &mut command)?;
    let stdout = capture(child.stdout.take());
    let Ok(status) = tokio::time::timeout(limit, child.wait()).await else {
        return Err(HostError::Deadline { what: format!("the end of {}", program.display()), limit });
    };
    let status = status.map_err(HostError::file("wait for", program))?;
    Ok(Finished { status, stdout: stdout.finish().await, stderr: Vec::new() })
}

/// Lets whoever stands in for this computer run a program.
async fn stood_in(
    computer: Arc<dyn Computer>,
    program: &Path,
    args: Vec<OsString>,
    options: &Options,
) -> Result<Finished> {
    let (running, limit) = (computer.run(program.to_owned(), args, options), options.limit);
    let Ok(finished) = tokio::time::timeout(limit, running).await else {
        return Err(HostError::Deadline { what: format!("the end of {}", program.display()), limit });
    };
    finished.map_err(|source| HostError::Spawn { program: program.to_owned(), source })
}

fn owned<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Vec<OsString> {
    args.into_iter().map(|arg| arg.as_ref().to_owned()).collect()
}

/// Starts a program that serves us until it is dropped; its standard output is piped.
pub fn spawn_serving<A: AsRef<OsStr>>(
    program: &Path,
    args: impl IntoIterator<Item = A>,
    options: &Options,
) -> Result<Child> {
    let mut command = command(program, args, options);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    spawn(program, &mut command)
}

/// Becomes another program, with our streams, our terminal and our process id. Returns only if that fails.
pub fn replace_us<A: AsRef<OsStr>>(program: &Path, args: impl IntoIterator<Item = A>) -> HostError {
    use std::os::unix::process::CommandExt;
    #[expect(clippy::disallowed_methods, reason = "the one place that becomes another program")]
    let source = std::process::Command::new(program).args(args).exec();
    HostError::Spawn { program: program.to_owned(), source }
}

fn command<A: AsRef<OsStr>>(program: &Path, args: impl IntoIterator<Item = A>, options: &Options) -> Command {
    #[expect(clippy::disallowed_methods, reason = "this is where the program starts programs")]
    let mut command = Command::new(program);
    if options.bare {
        command.env_clear();
    }
    command.args(args).envs(options.env.iter().cloned()).kill_on_drop(true);
    if let Some(folder) = &options.cwd {
        command.current_dir(folder);
    }
    if let Some(called) = &options.called {
        command.arg0(called);
    }
    if let Some(folder) = &options.folder {
        let folder = Arc::clone(folder);
        let enter = move || match enter_folder(&folder) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        };
        // SAFETY: between fork and exec the closure makes one system call that is safe there, and allocates nothing.
        unsafe {
            command.pre_exec(enter);
        }
    }
    if let Some(share) = &options.share {
        let share = Arc::clone(share);
        let keep = move || match keep_open(share.file()) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        };
        // SAFETY: between fork and exec the closure makes one system call that is safe there, and allocates nothing.
        unsafe {
            command.pre_exec(keep);
        }
    }
    if let Some(umask) = options.umask {
        let set = move || {
            // SAFETY: umask takes a number and cannot fail.
            unsafe { libc::umask(umask) };
            Ok(())
        };
        // SAFETY: between fork and exec the closure makes one system call that is safe there, and allocates nothing.
        unsafe {
            command.pre_exec(set);
        }
    }
    command
}

fn enter_folder(folder: &OwnedFd) -> libc::c_int {
    // SAFETY: fchdir takes a descriptor that is open for the whole call.
    unsafe { libc::fchdir(folder.as_raw_fd()) }
}

fn keep_open(file: &File) -> libc::c_int {
    // SAFETY: fcntl takes a descriptor that is open for the whole call, and only this process's own flags of it change.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) }
}

fn spawn(program: &Path, command: &mut Command) -> Result<Child> {
    command.spawn().map_err(|source| HostError::Spawn { program: program.to_owned(), source })
}

/// A child whose whole process group is killed if it is dropped before its end.
struct Running {
    child: Child,
    spare_children: bool,
    finished: bool,
}

impl Running {
    fn new(child: Child, spare_children: bool) -> Self {
        Self { child, spare_children, finished: false }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.finished || self.spare_children {
            // The program itself, if it still runs, is killed by `kill_on_drop`.
            return;
        }
        if let Some(group) = self.child.id().and_then(|id| libc::pid_t::try_from(id).ok()) {
            // SAFETY: kill takes numbers. The child has not been waited for, so its id is still its own.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
    }
}

/// Reads a stream beside the program, so that a full pipe never stops it.
pub(super) struct Capture {
    kept: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

pub(super) fn capture(stream: Option<impl AsyncRead + Unpin + Send + 'static>) -> Capture {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&kept);
    let reader = tokio::spawn(async move {
        let Some(mut stream) = stream else { return };
        let mut buffer = vec![0; READ_BUFFER];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            let mut kept = sink.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(&buffer[..count]);
            trim_to_end(&mut kept, KEPT_OUTPUT);
        }
    });
    Capture { kept, reader }
}

impl Capture {
    /// Returns what has come so far, as text.
    pub(super) fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.kept.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    async fn finish(mut self) -> Vec<u8> {
        if tokio::time::timeout(DRAIN, &mut self.reader).await.is_err() {
            self.reader.abort();
        }
        let mut kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        let excess = kept.len().saturating_sub(KEPT_OUTPUT);
        kept.drain(..excess);
        kept
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Cuts a growing buffer to its last `kept` bytes, now and then rather than each time.
fn trim_to_end(buffer: &mut Vec<u8>, kept: usize) {
    if buffer.len() > 2 * kept {
        buffer.drain(..buffer.len() - kept);
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown status".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::files;
    use super::*;

    const SHELL: &str = "/bin/sh";

    async fn shell(script: &str, options: Options) -> Result<Finished> {
        run(Path::new(SHELL), ["-c", script], options).await
    }

    #[tokio::test]
    async fn input_output_and_status_come_through() {
        let mut options = Options::limit(Duration::from_secs(10));
        options.stdin = vec![b'x'; 300_000];
        options.env = vec![("LAB".into(), "one".into())];
        options.cwd = Some("/".into());
        options.umask = Some(0o027);
        let finished =
            shell("wc -c | tr -d ' '; pwd; echo $LAB; umask; echo oops >&2; exit 3", options).await.unwrap();
        assert_eq!(finished.text(), "300000\n/\none\n0027\n");
        assert_eq!(finished.status.code(), Some(3));
        let error = finished.error(Path::new(SHELL), ["-c"]).to_string();
        assert_eq!(error, "/bin/sh failed (exit status 3): 300000\n/\none\n0027\noops");
    }

    #[tokio::test]
    async fn a_program_and_its_children_end_at_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}; wait", pid.display());
        let limit = Duration::from_millis(500);
        let error = shell(&script, Options::limit(limit)).await.unwrap_err();
        assert!(matches!(error, HostError::Deadline { .. }));
        let child: libc::pid_t = files::read_text(&pid).unwrap().trim().parse().unwrap();
        for _ in 0..200 {
            // A killed orphan is a zombie until its new parent looks; both count as ended.
            let state = files::read_text(Path::new(&format!("/proc/{child}/stat"))).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") {
                return;
            }
            crate::host::clock::pause(Duration::from_millis(10)).await;
        }
        panic!("the grandchild still runs");
    }

    #[tokio::test]
    async fn a_child_that_holds_the_pipes_does_not_hold_us() {
        let started = std::time::Instant::now();
        let finished = shell("echo up; sleep 5 &", Options::limit(Duration::from_secs(30))).await.unwrap();
        assert_eq!(finished.text(), "up\n");
        assert!(started.elapsed() < Duration::from_secs(4));
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = run(Path::new("/nonexistent/vmrun"), ["list"], Options::limit(Duration::from_secs(1)));
        let text = error.await.unwrap_err().to_string();
        assert!(text.starts_with("start /nonexistent/vmrun: "), "{text}");
    }
}
