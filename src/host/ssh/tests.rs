//! The shell against a real SSH server of another make (russh), in this process, behind a SOCKS5 proxy.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::ssh_key::{LineEnding, PrivateKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, Sig};
use tokio::net::TcpListener;

use super::*;
use crate::host::{HostError, clock, files};

const LIMIT: Duration = Duration::from_secs(20);

fn key(seed: u8) -> PrivateKey {
    PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&[seed; 32])), "lab").unwrap()
}

/// A guest with three commands: what it was sent comes back; so many bytes on both streams; an hour's sleep.
struct Guest {
    logins: Arc<AtomicUsize>,
    line: String,
    input: Vec<u8>,
}

impl Handler for Guest {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        user: &str,
        shown: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        if user == "fusionlab" && shown.public_key.key_data() == key(2).public_key().key_data() {
            self.logins.fetch_add(1, Ordering::SeqCst);
            return Ok(Auth::Accept);
        }
        Ok(Auth::reject())
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.line = String::from_utf8_lossy(data).into_owned();
        session.channel_success(channel)?;
        let handle = session.handle();
        let line = self.line.clone();
        tokio::spawn(async move {
            match line.as_str() {
                "flood" => {
                    for _ in 0..64 {
                        handle.extended_data(channel, 1, vec![b'e'; 65_536]).await.unwrap();
                        handle.data(channel, vec![b'o'; 65_536]).await.unwrap();
                    }
                    end(&handle, channel, 3).await;
                }
                "endless" => while handle.data(channel, vec![b'x'; 65_536]).await.is_ok() {},
                "megabytes" => {
                    for _ in 0..3 * output::KEPT / 65_536 {
                        handle.data(channel, vec![b'x'; 65_536]).await.unwrap();
                    }
                    handle.data(channel, b"\xff\0\x1b[2J end".to_vec()).await.unwrap();
                    end(&handle, channel, 0).await;
                }
                "half" => {
                    handle.data(channel, b"half".to_vec()).await.unwrap();
                    handle.eof(channel).await.unwrap();
                }
                "die" => {
                    let text = || String::new();
                    handle.exit_signal_request(channel, Sig::KILL, false, text(), text()).await.unwrap();
                    handle.eof(channel).await.unwrap();
                    handle.close(channel).await.unwrap();
                }
                "reboot" => {
                    let by = russh::Disconnect::ByApplication;
                    handle.disconnect(by, String::new(), String::new()).await.unwrap();
                }
                "lines" => {
                    handle.data(channel, b"first\nsec".to_vec()).await.unwrap();
                    handle.data(channel, b"ond\n".to_vec()).await.unwrap();
                    end(&handle, channel, 0).await;
                }
                // cat answers at the end of its input; sleep never does.
                _ => {}
            }
        });
        Ok(())
    }

    async fn data(&mut self, _: ChannelId, data: &[u8], _: &mut Session) -> Result<(), Self::Error> {
        self.input.extend_from_slice(data);
        Ok(())
    }

    async fn channel_eof(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        let handle = session.handle();
        let input = std::mem::take(&mut self.input);
        if self.line == "cat" {
            tokio::spawn(async move {
                handle.data(channel, input).await.unwrap();
                end(&handle, channel, 0).await;
            });
        }
        Ok(())
    }
}

async fn end(handle: &russh::server::Handle, channel: ChannelId, status: u32) {
    handle.exit_status_request(channel, status).await.unwrap();
    handle.eof(channel).await.unwrap();
    handle.close(channel).await.unwrap();
}

/// A guest's SSH server on loopback, a proxy that leads to it, and a shell that dials through that.
pub(super) struct Lab {
    _folder: tempfile::TempDir,
    target: GuestTarget,
    shell: Arc<SshShell>,
    logins: Arc<AtomicUsize>,
}

async fn serve(logins: Arc<AtomicUsize>) -> SocketAddr {
    let config = Arc::new(Config {
        keys: vec![key(1)],
        auth_rejection_time: Duration::ZERO,
        nodelay: true,
        ..Config::default()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let guest = Guest { logins: Arc::clone(&logins), line: String::new(), input: Vec::new() };
            let config = Arc::clone(&config);
            tokio::spawn(async move {
                if let Ok(session) = russh::server::run_stream(config, stream, guest).await {
                    let _ = session.await;
                }
            });
        }
    });
    address
}

async fn lab() -> Lab {
    let logins = Arc::new(AtomicUsize::new(0));
    let backend = serve(Arc::clone(&logins)).await;
    lab_at(backend, logins, LIMIT).await
}

/// A shell that dials a server of the test's own.
pub(super) async fn lab_at(backend: SocketAddr, logins: Arc<AtomicUsize>, connect: Duration) -> Lab {
    let folder = tempfile::tempdir().unwrap();
    let identity = folder.path().join("id_ed25519");
    let pem = key(2).to_openssh(LineEnding::LF).unwrap();
    files::write_atomic(&identity, pem.as_bytes(), files::PRIVATE_FILE).unwrap();
    let proxy = crate::host::dial::tests::proxy(0, Some(backend)).await;
    let target = GuestTarget {
        node: "k8s-master1".to_owned(),
        address: Ipv4Addr::new(10, 10, 0, 131),
        user: "fusionlab".to_owned(),
        host_key: key(1).public_key().to_openssh().unwrap(),
        identity,
    };
    let dial: DialSource = Arc::new(move || Ok(Dial::Socks5(proxy)));
    Lab { _folder: folder, target, shell: Arc::new(SshShell::new(dial, connect)), logins }
}

impl Lab {
    pub(super) async fn run(&self, command: Command, limit: Duration) -> Result<Output> {
        self.shell.run(&self.target, &command, limit, None).await
    }
}

#[tokio::test]
async fn input_comes_back_and_the_session_is_used_again() {
    let lab = lab().await;
    let input: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    for _ in 0..3 {
        let output = lab.run(Command::new(["cat"]).with_input(input.clone()), LIMIT).await.unwrap();
        assert!(output.success());
        assert!(output.stdout == input, "{} bytes came back", output.stdout.len());
    }
    assert_eq!(lab.logins.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn both_streams_flow_and_a_status_is_no_error() {
    let lab = lab().await;
    let output = lab.run(Command::new(["flood"]), LIMIT).await.unwrap();
    assert_eq!((output.status, output.success()), (Some(3), false));
    assert_eq!((output.stdout.len(), output.stderr.len()), (4 << 20, 4 << 20));
}

#[tokio::test]
async fn a_flood_without_a_newline_is_cut_to_its_end_and_the_session_is_used_again() {
    let lab = lab().await;
    let lengths = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lengths);
    let sink: LineSink = Box::new(move |line| seen.lock().unwrap().push(line.len()));
    let output = lab.shell.run(&lab.target, &Command::new(["megabytes"]), LIMIT, Some(sink)).await.unwrap();
    assert_eq!(output.stdout.len(), output::KEPT);
    assert_eq!(output.left_out, 2 * output::KEPT as u64 + 10);
    assert!(output.stdout.ends_with(b"x\xff\0\x1b[2J end"), "bytes come as they are");
    let lengths = std::mem::take(&mut *lengths.lock().unwrap());
    assert!(lengths.len() > 100 && lengths.iter().all(|length| *length < 200_000), "in pieces");
    assert!(lab.run(Command::new(["cat"]), LIMIT).await.unwrap().success());
    assert_eq!(lab.logins.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_endless_flood_ends_at_the_deadline_and_others_go_on_meanwhile() {
    let lab = lab().await;
    let (shell, target) = (Arc::clone(&lab.shell), lab.target.clone());
    let limit = Duration::from_secs(2);
    let flood =
        tokio::spawn(async move { shell.run(&target, &Command::new(["endless"]), limit, None).await });
    while !flood.is_finished() {
        assert!(lab.run(Command::new(["cat"]).with_input("x"), LIMIT).await.unwrap().success());
    }
    let error = flood.await.unwrap().unwrap_err();
    assert!(matches!(error, HostError::Deadline { .. }), "{error}");
}

#[tokio::test]
async fn output_that_ends_without_a_status_ends_at_the_deadline() {
    let lab = lab().await;
    let error = lab.run(Command::new(["half"]), Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(error, HostError::Deadline { .. }), "{error}");
}

#[tokio::test]
async fn a_signal_is_not_success() {
    let lab = lab().await;
    let output = lab.run(Command::new(["die"]), LIMIT).await.unwrap();
    assert_eq!((output.status, output.signal.as_deref()), (None, Some("KILL")));
    assert!(!output.success());
}

#[tokio::test]
async fn lines_arrive_whole_while_the_command_runs() {
    let lab = lab().await;
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    let sink: LineSink = Box::new(move |line| seen.lock().unwrap().push(line.to_owned()));
    lab.shell.run(&lab.target, &Command::new(["lines"]), LIMIT, Some(sink)).await.unwrap();
    assert_eq!(*lines.lock().unwrap(), ["first", "second"]);
}

#[tokio::test]
async fn busy_sessions_do_not_hold_up_others() {
    let lab = lab().await;
    let shell = Arc::clone(&lab.shell);
    let target = lab.target.clone();
    let sleeper =
        tokio::spawn(async move { shell.run(&target, &Command::new(["sleep", "3600"]), LIMIT, None).await });
    while lab.logins.load(Ordering::SeqCst) == 0 {
        clock::pause(Duration::from_millis(5)).await;
    }
    assert!(lab.run(Command::new(["cat"]).with_input("x"), LIMIT).await.unwrap().success());
    assert_eq!(lab.logins.load(Ordering::SeqCst), 2);
    sleeper.abort();
}

#[tokio::test]
async fn a_command_ends_at_its_deadline_and_the_next_one_works() {
    let lab = lab().await;
    let limit = Duration::from_millis(300);
    let started = Instant::now();
    let error = lab.run(Command::new(["sleep", "3600"]), limit).await.unwrap_err();
    assert!(matches!(error, HostError::Deadline { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(lab.run(Command::new(["cat"]), LIMIT).await.unwrap().success());
}

#[tokio::test]
async fn a_guest_that_goes_down_is_told_from_one_that_refuses() {
    let lab = lab().await;
    let error = lab.run(Command::new(["reboot"]), LIMIT).await.unwrap_err();
    assert!(matches!(error, HostError::Lost { .. }), "{error}");
    assert!(lab.run(Command::new(["cat"]), LIMIT).await.unwrap().success(), "it is dialled anew");
}

#[tokio::test]
async fn another_host_key_is_refused_before_ours_is_shown() {
    let mut lab = lab().await;
    lab.target.host_key = key(9).public_key().to_openssh().unwrap();
    let error = lab.run(Command::new(["cat"]), LIMIT).await.unwrap_err();
    assert!(matches!(error, HostError::HostKey { .. }), "{error}");
    assert_eq!(lab.logins.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_key_that_the_guest_does_not_know_is_a_login_refused() {
    let lab = lab().await;
    let pem = key(8).to_openssh(LineEnding::LF).unwrap();
    files::write_atomic(&lab.target.identity, pem.as_bytes(), files::PRIVATE_FILE).unwrap();
    let error = lab.run(Command::new(["cat"]), LIMIT).await.unwrap_err();
    assert!(matches!(error, HostError::Login { .. }), "{error}");
}

#[tokio::test]
async fn a_guest_that_is_not_there_is_a_failed_connection() {
    let mut lab = lab().await;
    let proxy = crate::host::dial::tests::proxy(4, None).await;
    lab.shell = Arc::new(SshShell::new(Arc::new(move || Ok(Dial::Socks5(proxy))), LIMIT));
    let error = lab.run(Command::new(["cat"]), LIMIT).await.unwrap_err();
    let HostError::Connect { source, .. } = error else { panic!("expected a Connect error, not {error}") };
    assert_eq!(source.kind(), std::io::ErrorKind::HostUnreachable);
}
