//! One SSH session of libssh2, used by the rules of facts/crates.md §3.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ssh2::{BlockDirections, Channel, ErrorCode, HostKeyType, MethodType, Session};

use super::output::Stream;
use super::worker::{Cut, Failure, Job, KEEPALIVE, Listener};
use crate::formats::command::brief;
use crate::host::dial::Dial;
use crate::host::{GuestTarget, HostError, Output, Pipe, Result, clock, files};

const SSH_PORT: u16 = 22;
const STDOUT: i32 = 0;
const STDERR: i32 = 1;
const READ_BUFFER: usize = 64 * 1024;
/// How long to wait for the socket before looking at the clock again.
const LONGEST_WAIT: Duration = Duration::from_millis(200);
/// How long to wait for it at the most while more input may come, of which the socket tells nothing.
const FED_WAIT: Duration = Duration::from_millis(10);
/// How long to leave a server that has said half a word.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);
/// What an SSH server's first line begins with (RFC 4253 §4.2).
const GREETING: &[u8] = b"SSH-";
/// libssh2's codes (libssh2.h) that tell a refused key from a broken connection.
const AUTHENTICATION_FAILED: i32 = -18;
const PUBLICKEY_UNVERIFIED: i32 = -19;
const WOULD_BLOCK: i32 = -37;

/// A session that is logged in.
pub struct Connection {
    session: Session,
    socket: RawFd,
    node: String,
}

impl Connection {
    /// Connects, checks the host key against the pinned one, and logs in. No step takes longer than `limit`.
    pub fn open(dial: Dial, target: &GuestTarget, limit: Duration, cut: &Cut) -> Result<Self> {
        let stream = dial.connect_blocking(SocketAddrV4::new(target.address, SSH_PORT), limit)?;
        let twin: TcpStream = stream.try_clone().map_err(|error| refusal(target, &error.to_string()))?;
        cut.arm(twin);
        await_greeting(&stream, limit).map_err(|error| refusal(target, &error.to_string()))?;
        let failed = |what: &str| {
            let what = what.to_owned();
            move |error: ssh2::Error| refusal(target, &format!("{what}: {}", error.message()))
        };
        let mut session = Session::new().map_err(failed("no session"))?;
        session.set_timeout(u32::try_from(limit.as_millis()).unwrap_or(u32::MAX));
        let (algorithm, key) = pinned(target)?;
        session.method_pref(MethodType::HostKey, algorithm).map_err(failed("host key algorithm"))?;
        let socket = stream.as_raw_fd();
        session.set_tcp_stream(stream);
        session.handshake().map_err(failed("handshake"))?;
        check_host_key(&session, target, &key)?;
        log_in(&session, target)?;
        session.set_keepalive(true, u32::try_from(KEEPALIVE.as_secs()).unwrap_or(u32::MAX));
        Ok(Self { session, socket, node: target.node.clone() })
    }

    /// Shows the guest that we live; false if it does not any more.
    pub fn keep_alive(&self) -> bool {
        self.session.keepalive_send().is_ok()
    }

    /// Runs one command to its end. After a failure the connection is of no use.
    pub fn run(&self, job: &Job, cut: &Cut) -> Result<Output, Failure> {
        self.session.set_blocking(true);
        let mut channel = self
            .session
            .channel_session()
            .map_err(|error| Failure::NotBegun(self.broken("no channel", &error)))?;
        let outcome = self.drive(&mut channel, job);
        if outcome.is_err() {
            // Dropping the channel says good-bye to the guest and waits for an answer: not on a cut socket.
            cut.now();
        }
        self.session.set_blocking(true);
        drop(channel);
        outcome.map_err(Failure::Broken)
    }

    fn drive(&self, channel: &mut Channel, job: &Job) -> Result<Output> {
        let deadline = clock::monotonic() + job.limit;
        channel.exec(&job.line).map_err(|error| self.lost(job, error.message()))?;
        self.session.set_blocking(false);
        let mut pump = Pump::new(job);
        while !channel.eof() {
            if !pump.turn(self, channel, job)? {
                self.wait(deadline, job)?;
            } else if clock::monotonic() >= deadline {
                return Err(self.late(job));
            }
        }
        // The status is 0 until the guest has closed the channel, which it may do long after the last output.
        while let Err(error) = channel.wait_close() {
            if error.code() != ErrorCode::Session(WOULD_BLOCK) {
                return Err(self.lost(job, error.message()));
            }
            self.wait(deadline, job)?;
        }
        let ended = |error: ssh2::Error| self.lost(job, error.message());
        let signal = channel.exit_signal().map_err(ended)?.exit_signal;
        let status = channel.exit_status().map_err(ended)?;
        let ((stdout, before_stdout), (stderr, before_stderr)) = pump.finish(job);
        // A command that a signal ended has status 0 as well.
        let status = signal.is_none().then_some(status);
        Ok(Output { status, signal, stdout, stderr, left_out: before_stdout + before_stderr })
    }

    /// Waits until the socket is ready for what libssh2 wants to do with it.
    fn wait(&self, deadline: clock::Instant, job: &Job) -> Result<()> {
        let left = deadline.saturating_duration_since(clock::monotonic());
        if left.is_zero() {
            return Err(self.late(job));
        }
        let events = match self.session.block_directions() {
            BlockDirections::Outbound => libc::POLLOUT,
            BlockDirections::Both => libc::POLLIN | libc::POLLOUT,
            BlockDirections::Inbound | BlockDirections::None => libc::POLLIN,
        };
        let mut poll = libc::pollfd { fd: self.socket, events, revents: 0 };
        let longest = if job.feed.is_some() { FED_WAIT } else { LONGEST_WAIT };
        let patience = left.min(longest).as_millis().max(1);
        let patience = libc::c_int::try_from(patience).unwrap_or(1);
        // SAFETY: poll reads and writes the one record it is given; the session keeps the socket open.
        unsafe { libc::poll(&raw mut poll, 1, patience) };
        Ok(())
    }

    fn late(&self, job: &Job) -> HostError {
        let what = format!("the end of `{}` on {}", brief(&job.line), self.node);
        HostError::Deadline { what, limit: job.limit }
    }

    fn lost(&self, job: &Job, reason: &str) -> HostError {
        let (node, command) = (self.node.clone(), brief(&job.line));
        HostError::Lost { node, command, reason: reason.to_owned() }
    }

    fn broken(&self, what: &str, error: &ssh2::Error) -> HostError {
        HostError::Ssh { node: self.node.clone(), reason: format!("{what}: {}", error.message()) }
    }
}

/// Moves bytes both ways without ever waiting for one stream: a full window on another would stop all.
struct Pump<'a> {
    input: Input<'a>,
    stdout: Stream,
    stderr: Stream,
    buffer: Vec<u8>,
}

/// The command's input: the piece at hand, and where more comes from.
struct Input<'a> {
    piece: Cow<'a, [u8]>,
    sent: usize,
    more: Option<MutexGuard<'a, Receiver<Vec<u8>>>>,
    ended: bool,
}

impl<'a> Input<'a> {
    fn of(job: &'a Job) -> Self {
        let more = job.feed.as_ref().map(|feed| feed.lock().unwrap_or_else(PoisonError::into_inner));
        Self { piece: Cow::Borrowed(&job.input), sent: 0, more, ended: false }
    }

    /// Returns what is to be sent now, nothing at the end of all input; none if there is nothing to do.
    fn next(&mut self) -> Option<&[u8]> {
        if self.ended {
            return None;
        }
        while self.sent == self.piece.len()
            && let Some(more) = &self.more
        {
            match more.try_recv() {
                Ok(piece) => (self.piece, self.sent) = (Cow::Owned(piece), 0),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => self.more = None,
            }
        }
        Some(&self.piece[self.sent..])
    }

    /// Says whether there is something that libssh2 may have begun to send.
    fn is_under_way(&self) -> bool {
        !self.ended && (self.sent < self.piece.len() || self.more.is_none())
    }
}

impl<'a> Pump<'a> {
    fn new(job: &'a Job) -> Self {
        let (stdout, stderr) = (Stream::default(), Stream::default());
        Self { input: Input::of(job), stdout, stderr, buffer: vec![0; READ_BUFFER] }
    }

    /// Moves what can be moved now; false if nothing could.
    fn turn(&mut self, connection: &Connection, channel: &mut Channel, job: &Job) -> Result<bool> {
        let mut moved = self.send(channel);
        if !moved && self.half_sent(connection) {
            // libssh2 must be given the very same bytes again before it is asked for anything else.
            return Ok(false);
        }
        for id in [STDOUT, STDERR] {
            match channel.stream(id).read(&mut self.buffer) {
                Ok(0) => {}
                Ok(count) => {
                    let bytes = &self.buffer[..count];
                    let (pipe, stream) = match id {
                        STDOUT => (Pipe::Stdout, &mut self.stdout),
                        _ => (Pipe::Stderr, &mut self.stderr),
                    };
                    if let Listener::Bytes(sink) = &job.listener {
                        sink(pipe, bytes);
                    }
                    stream.take(bytes, job.listener.of_lines());
                    moved = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(connection.lost(job, &error.to_string())),
            }
        }
        Ok(moved)
    }

    fn half_sent(&self, connection: &Connection) -> bool {
        let outbound = matches!(
            connection.session.block_directions(),
            BlockDirections::Outbound | BlockDirections::Both
        );
        outbound && self.input.is_under_way()
    }

    /// Sends some of the input, or its end.
    fn send(&mut self, channel: &mut Channel) -> bool {
        let Some(left) = self.input.next() else { return false };
        if left.is_empty() {
            return match channel.send_eof() {
                Err(error) if error.code() == ErrorCode::Session(WOULD_BLOCK) => false,
                // A command that ended without reading needs no end of input.
                _ => {
                    self.input.ended = true;
                    true
                }
            };
        }
        match channel.write(left) {
            Ok(count) => {
                self.input.sent += count;
                count > 0
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            // It closed its input, which is its right; a broken connection shows in reading.
            Err(_) => {
                self.input.ended = true;
                true
            }
        }
    }

    fn finish(self, job: &Job) -> ((Vec<u8>, u64), (Vec<u8>, u64)) {
        if let Listener::Bytes(sink) = &job.listener {
            sink(Pipe::Stdout, &[]);
            sink(Pipe::Stderr, &[]);
        }
        let lines = job.listener.of_lines();
        (self.stdout.finish(lines), self.stderr.finish(lines))
    }
}

/// Waits until the server has said how it begins, without taking the bytes from libssh2. That one would read lines before
/// the greeting for as long as they come, without ever looking at the clock; OpenSSH sends none.
fn await_greeting(stream: &TcpStream, limit: Duration) -> io::Result<()> {
    let started = clock::monotonic();
    let mut seen = [0; GREETING.len()];
    loop {
        let left = limit.saturating_sub(started.elapsed()).max(SHORTEST_WAIT);
        stream.set_read_timeout(Some(left))?;
        let count = stream.peek(&mut seen)?;
        if !GREETING.starts_with(&seen[..count]) {
            return Err(io::Error::other("what answers there is no SSH server"));
        }
        match count {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ if count == GREETING.len() => return stream.set_read_timeout(None),
            _ if started.elapsed() >= limit => return Err(io::ErrorKind::TimedOut.into()),
            _ => clock::pause_blocking(SHORTEST_WAIT),
        }
    }
}

fn refusal(target: &GuestTarget, reason: &str) -> HostError {
    HostError::Ssh { node: target.node.clone(), reason: reason.to_owned() }
}

/// Returns algorithm and raw key of the line `ssh-ed25519 AAAA… comment`.
fn pinned(target: &GuestTarget) -> Result<(&str, Vec<u8>)> {
    let mut words = target.host_key.split_ascii_whitespace();
    let key = words.next().zip(words.next());
    key.and_then(|(algorithm, key)| Some((algorithm, BASE64_STANDARD.decode(key).ok()?)))
        .ok_or_else(|| refusal(target, "the pinned host key is not one in OpenSSH's form"))
}

fn check_host_key(session: &Session, target: &GuestTarget, pinned: &[u8]) -> Result<()> {
    let Some((shown, kind)) = session.host_key() else {
        return Err(refusal(target, "the server shows no host key"));
    };
    if shown == pinned {
        return Ok(());
    }
    let algorithm = match kind {
        HostKeyType::Ed25519 => "ssh-ed25519",
        HostKeyType::Rsa => "ssh-rsa",
        _ => "(another kind)",
    };
    Err(HostError::HostKey {
        node: target.node.clone(),
        expected: target.host_key.clone(),
        found: format!("{algorithm} {}", BASE64_STANDARD.encode(shown)),
    })
}

fn log_in(session: &Session, target: &GuestTarget) -> Result<()> {
    let key = files::read_text(&target.identity)?;
    session.userauth_pubkey_memory(&target.user, None, &key, None).map_err(|error| match error.code() {
        ErrorCode::Session(AUTHENTICATION_FAILED | PUBLICKEY_UNVERIFIED) => {
            HostError::Login { node: target.node.clone(), user: target.user.clone() }
        }
        _ => refusal(target, &format!("login: {}", error.message())),
    })
}
