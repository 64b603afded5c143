//! The program in a real terminal (that of `script`): keys go in, the screen comes out.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::session::Session;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fusionlab");
/// How long something may take to be shown.
const LIMIT: Duration = Duration::from_secs(120);

pub const ENTER: &str = "\r";
pub const ESCAPE: &str = "\u{1b}";
pub const CTRL_C: &str = "\u{3}";

/// The program in a terminal.
pub struct Dialogue {
    pub session: Session,
    child: Child,
    keys: ChildStdin,
    screen: mpsc::Receiver<Vec<u8>>,
    pub seen: String,
    /// The beginning of a character whose end has not come yet.
    pending: Vec<u8>,
    /// What was seen already when the last key was pressed.
    answered: usize,
}

impl Dialogue {
    pub fn begin(session: Session, words: &str, rows: u16, columns: u16) -> Self {
        Self::run(session, &format!("exec '{PROGRAM}' {words}"), rows, columns)
    }

    /// Runs a shell's line in the terminal.
    pub fn run(session: Session, line: &str, rows: u16, columns: u16) -> Self {
        let line = format!("stty rows {rows} cols {columns}; {line}");
        let mut child = session
            .terminal(&line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script starts");
        let keys = child.stdin.take().expect("it is a pipe");
        let mut stream = child.stdout.take().expect("it is a pipe");
        let (sender, screen) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { session, child, keys, screen, seen: String::new(), pending: Vec::new(), answered: 0 }
    }

    /// Waits until something is shown that was not there at the last key.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> &mut Self {
        let end = Instant::now() + LIMIT;
        while !self.seen[self.answered..].contains(text) {
            let left = end.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.take(bytes),
                Err(_) => panic!("{text:?} was not shown:\n{}", self.seen),
            }
        }
        self
    }

    fn take(&mut self, bytes: Vec<u8>) {
        self.pending.extend(bytes);
        let whole = match str::from_utf8(&self.pending) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.pending.len(),
        };
        let rest = self.pending.split_off(whole);
        self.seen.push_str(&String::from_utf8_lossy(&self.pending));
        self.pending = rest;
    }

    /// Takes what was shown until now as seen: what is waited for next must come after it.
    pub fn noted(&mut self) -> &mut Self {
        self.answered = self.seen.len();
        self
    }

    pub fn press(&mut self, keys: &str) -> &mut Self {
        self.noted();
        self.keys.write_all(keys.as_bytes()).expect("the terminal takes keys");
        self
    }

    /// Waits for the end; returns the exit status and the screen. What goes on in silence fails the test.
    #[track_caller]
    pub fn end(mut self) -> (Option<i32>, String, Session) {
        loop {
            match self.screen.recv_timeout(LIMIT) {
                Ok(bytes) => self.take(bytes),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    self.child.kill().expect("the child is ours");
                    panic!("it did not end:\n{}", self.seen);
                }
            }
        }
        let status = self.child.wait().expect("it ends");
        (status.code(), self.seen, self.session)
    }
}
