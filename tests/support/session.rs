//! Runs the built program as a user would, in a home of its own that leaves nothing behind.
//!
//! ```ignore
//! let session = Session::new();
//! session.clone().arg("up").arg("--yes").run().exits(0);
//! let status = session.arg("status").run();
//! ```

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::processes::{self, Process};
use super::shown::shown;

/// How long one command may take, unless a test says otherwise: a whole lab on a busy machine, unoptimised.
const COMMAND_LIMIT: Duration = Duration::from_secs(180);
/// How long `sim stop` and the processes it ends may take.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How long the output may stay open after the program's end: longer means that a process left behind holds it.
const OUTPUT_LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

/// One command of the program, in a private home that it shares with the sessions it was cloned from.
///
/// When the last of them goes, the simulated Fusion of the home is stopped, and a process that is then still left
/// fails the test.
#[derive(Clone)]
#[must_use = "a session does nothing until it is run"]
pub struct Session {
    home: Rc<Home>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    /// What runs the program, such as a tracer; the program itself if it is empty.
    wrapper: Vec<OsString>,
    input: Vec<u8>,
    limit: Duration,
}

impl Session {
    /// Makes an empty home.
    pub fn new() -> Self {
        Self {
            home: Rc::new(Home::new()),
            arguments: Vec::new(),
            environment: Vec::new(),
            wrapper: Vec::new(),
            input: Vec::new(),
            limit: COMMAND_LIMIT,
        }
    }

    /// Makes a home with a copy of all that fusionlab, its simulated Mac and the user's folder hold in this one. Nothing
    /// may run in it.
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        for folder in ["f", "work"] {
            let (from, to) = (self.home.path(folder), copy.home.root());
            let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
            assert!(copied.success(), "{folder} cannot be copied");
        }
        copy
    }

    /// Runs the program by another one, such as a tracer, whose words come first.
    pub fn under<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, wrapper: I) -> Self {
        self.wrapper = wrapper.into_iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub fn args<I: IntoIterator<Item: AsRef<OsStr>>>(self, arguments: I) -> Self {
        arguments.into_iter().fold(self, Session::arg)
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Gives the program its standard input; without this it is empty.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Writes a file into the folder that the program is started in, such as a lab file.
    pub fn file(self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Self {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("the folder can be made");
        fs::write(path, content).expect("the file can be written");
        self
    }

    /// The folder that holds all others of this session.
    pub fn root(&self) -> &Path {
        self.home.root()
    }

    /// The folder that the program is started in.
    pub fn work(&self) -> PathBuf {
        self.home.path("work")
    }

    /// The folder of everything of fusionlab's: `FUSIONLAB_HOME`.
    pub fn fusionlab_home(&self) -> PathBuf {
        self.home.path("f")
    }

    /// The folder that stands for the Mac's root, once the simulated Fusion is there.
    pub fn simulated_mac(&self) -> PathBuf {
        self.fusionlab_home().join("sim")
    }

    /// Returns the processes that work in this home now.
    pub fn processes(&self) -> Vec<Process> {
        processes::working_in(self.home.root())
    }

    /// Runs the program to its end.
    pub fn run(self) -> Ended {
        self.start().wait()
    }

    /// Returns `script`, which runs a shell's line in a terminal of its own, with the environment that the program is given.
    /// It ends with the line's exit status.
    pub fn terminal(&self, line: &str) -> Command {
        let mut command = self.home.command(OsStr::new("/usr/bin/script"));
        if cfg!(target_os = "macos") {
            command.args(["-q", "/dev/null", "/bin/sh", "-c", line]);
        } else {
            command.args(["-q", "-e", "-c", line, "/dev/null"]);
        }
        command.env("TERM", "xterm").envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts the program and lets it run, for tests that interrupt it.
    pub fn start(self) -> Running {
        let mut program = self.home.program_under(&self.wrapper);
        // SAFETY: between fork and exec the closure makes one system call that is safe there, and allocates nothing.
        unsafe {
            program.pre_exec(hear_hangups);
        }
        let mut child = program
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the built program starts");
        let mut stdin = child.stdin.take().expect("the input is a pipe");
        let input = self.input.clone();
        // A program need not read its input: then the pipe breaks, and that is fine.
        std::thread::spawn(move || drop(stdin.write_all(&input)));
        let stdout = collect(child.stdout.take().expect("the output is a pipe"));
        let stderr = collect(child.stderr.take().expect("the errors are a pipe"));
        Running { child, stdout, stderr, began: Instant::now(), session: self }
    }
}

/// Tests may have been started under `nohup`, whose deafness is inherited; what they start has a terminal that may close.
fn hear_hangups() -> std::io::Result<()> {
    // SAFETY: signal takes two numbers.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_DFL) };
    Ok(())
}

/// A command on its way.
#[must_use = "a running program is to be waited for"]
pub struct Running {
    child: Child,
    stdout: mpsc::Receiver<Vec<u8>>,
    stderr: mpsc::Receiver<Vec<u8>>,
    began: Instant,
    session: Session,
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until something is seen; a program that ends before, or takes longer than its limit, fails the test.
    pub fn wait_until(&mut self, seen: impl Fn() -> bool) {
        assert!(self.wait_until_or_end(seen), "it ended before that was seen");
    }

    /// As [`Self::wait_until`]; says whether it was seen before the program's end.
    pub fn wait_until_or_end(&mut self, seen: impl Fn() -> bool) -> bool {
        while !seen() {
            if self.child.try_wait().expect("the child is ours").is_some() {
                return seen();
            }
            assert!(self.began.elapsed() < self.session.limit, "not seen within {:?}", self.session.limit);
            std::thread::sleep(POLL);
        }
        true
    }

    /// Sends a signal by its name without SIG: `INT`, `TERM`, `KILL`.
    pub fn signal(&self, name: &str) {
        let done =
            Command::new("kill").args(["-s", name, &self.id().to_string()]).status().expect("kill runs");
        assert!(done.success(), "kill -s {name} {}", self.id());
    }

    /// Waits for the end; a program that takes longer than its limit is ended, and the test fails.
    pub fn wait(mut self) -> Ended {
        let status = loop {
            match self.child.try_wait().expect("the child is ours") {
                Some(status) => break Some(status),
                None if self.began.elapsed() > self.session.limit => break None,
                None => std::thread::sleep(POLL),
            }
        };
        let took = self.began.elapsed();
        if status.is_none() {
            self.child.kill().expect("the child is ours");
            self.child.wait().expect("the child is ours");
        }
        let what = self.session.arguments.clone();
        let stdout = self.stdout.recv_timeout(OUTPUT_LIMIT);
        let stderr = self.stderr.recv_timeout(OUTPUT_LIMIT);
        let ended = Ended {
            stdout: String::from_utf8_lossy(stdout.as_deref().unwrap_or_default()).into_owned(),
            stderr: String::from_utf8_lossy(stderr.as_deref().unwrap_or_default()).into_owned(),
            status: status.unwrap_or_default(),
            took,
            session: Session {
                arguments: Vec::new(),
                environment: Vec::new(),
                wrapper: Vec::new(),
                input: Vec::new(),
                ..self.session
            },
            arguments: what,
        };
        assert!(status.is_some(), "not done after {:?}:\n{}", ended.session.limit, ended.shown());
        assert!(
            stdout.is_ok() && stderr.is_ok(),
            "{} ended, but a process it left behind holds its output, so `fusionlab … | cat` would hang: {:#?}",
            ended.command_line(),
            ended.session.processes()
        );
        ended
    }
}

/// What a command left.
pub struct Ended {
    pub stdout: String,
    pub stderr: String,
    pub status: ExitStatus,
    pub took: Duration,
    /// The next command in the same home.
    pub session: Session,
    arguments: Vec<OsString>,
}

impl Ended {
    /// Fails the test, with all that was printed, unless the program ended with this exit status.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{}", self.shown());
        self
    }

    /// Returns the standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}):\n{}", self.shown()))
    }

    /// Returns the first of the lines of JSON that it wrote: what it found, before the error that it ends with.
    pub fn first_json(&self) -> serde_json::Value {
        let first = self.stdout.lines().next().unwrap_or_default();
        serde_json::from_str(first).unwrap_or_else(|error| panic!("no JSON ({error}):\n{}", self.shown()))
    }

    /// Returns the whole command as a terminal would show it, with what varies replaced: for snapshots.
    pub fn shown(&self) -> String {
        let mut text = format!("$ {}\n{}", self.command_line(), self.stdout);
        if !self.stderr.is_empty() {
            text.push_str("--- stderr ---\n");
            text.push_str(&self.stderr);
        }
        text.push_str(&format!("--- {} ---\n", self.status));
        shown(&text, self.session.home.root())
    }

    fn command_line(&self) -> String {
        let words = self.arguments.iter().map(|word| word.to_string_lossy().into_owned());
        std::iter::once("fusionlab".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// The private folders: `home`, `work`, `tmp` and `f`, fusionlab's own. Their paths are short, because a Unix
/// socket's address is.
struct Home {
    folder: TempDir,
    /// How long its processes may take to leave.
    patience: Duration,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("fl-").tempdir_in("/tmp").expect("/tmp takes a folder");
        let home = Self { folder, patience: STOP_LIMIT };
        for name in ["home", "work", "tmp"] {
            fs::create_dir(home.path(name)).expect("a new folder takes another");
        }
        home
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    fn program(&self) -> Command {
        self.program_under(&[])
    }

    fn program_under(&self, wrapper: &[OsString]) -> Command {
        let program = OsString::from(env!("CARGO_BIN_EXE_fusionlab"));
        let mut words = wrapper.iter().chain([&program]);
        let mut command = self.command(words.next().expect("there is the program at least"));
        command.args(words);
        command
    }

    /// Returns a program with nothing of the tester's environment but where the system's programs are.
    fn command(&self, program: &OsStr) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.path("work"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("FUSIONLAB_HOME", self.path("f"))
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC");
        command
    }

    fn stop_simulation(&self) {
        let stop = self.program().args(["sim", "stop"]).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let until = Instant::now() + self.patience;
        let Ok(mut stop) = stop else { return };
        while stop.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() > until {
                // What it did not stop is found below.
                let _ = stop.kill().and_then(|()| stop.wait());
                return;
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.path("f/sim").exists() {
            self.stop_simulation();
        }
        let left = processes::wait_until_none(self.root(), self.patience);
        left.iter().for_each(processes::kill);
        // Who fails already shows a better reason.
        assert!(left.is_empty() || std::thread::panicking(), "processes were left behind: {left:#?}");
    }
}

/// Reads a stream to its end beside us.
fn collect(mut stream: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is what there is to show; nobody waits for it once the test has failed.
        let _ = stream.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "processes were left behind")]
    fn a_process_left_behind_fails_the_test_and_is_ended() {
        let mut home = Home::new();
        home.patience = Duration::ZERO;
        let shell =
            Command::new("sh").args(["-c", "sleep 60 >&- 2>&- &"]).current_dir(home.path("work")).status();
        assert!(shell.expect("sh runs").success());
    }

    #[test]
    fn a_session_leaves_no_folder_behind() {
        let session = Session::new().file("labs/lab.yaml", "version: 1\n");
        let (work, again) = (session.work(), session.clone());
        assert_eq!(fs::read_to_string(work.join("labs/lab.yaml")).expect("it was written"), "version: 1\n");
        drop(session);
        assert!(work.exists(), "another session still works in it");
        drop(again);
        assert!(!work.exists());
    }

    #[test]
    fn the_program_tells_its_version_and_needs_no_environment_for_it() {
        let ended = Session::new().arg("--version").run().exits(0);
        assert_eq!(ended.stdout, format!("fusionlab {}\n", env!("CARGO_PKG_VERSION")));
        assert_eq!(ended.stderr, "");
    }
}
