//! A guest's SSH server: russh in front of the machine, with the host key and the users that the seed gave it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{PrivateKey, PublicKey};
use russh::server::{self, Auth, ChannelOpenHandle, Handle, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, MethodKind, MethodSet, Pty};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::command;
use super::pace;
use super::seam::{Chunk, SshFace};
use super::shell;
use super::world::Vm;

/// A client that sends nothing and does not end its input either, like `ssh` at a terminal, has none to send.
const INPUT_SILENCE: Duration = Duration::from_secs(2);
/// Key extension bytes: RFC 4254 §5.2's code for standard error.
const STDERR: u32 = 1;

/// Serves one connection until it ends or the power goes.
pub async fn serve<S>(vm: Arc<Vm>, face: SshFace, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(key) = PrivateKey::from_openssh(&face.host_key) else { return };
    let config = Arc::new(server::Config {
        keys: vec![key],
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        inactivity_timeout: None,
        ..server::Config::default()
    });
    let cut = vm.power_lost().child_token();
    let guest = Guest {
        vm,
        face,
        user: String::new(),
        cut: cut.clone(),
        commands: HashMap::new(),
        terminals: HashSet::new(),
    };
    tokio::select! {
        () = cut.cancelled() => {}
        session = server::run_stream(config, stream, guest) => {
            let Ok(session) = session else { return };
            let handle = session.handle();
            tokio::select! {
                _ = session => {}
                () = cut.cancelled() => {
                    let lost = "connection lost".to_owned();
                    let _ = handle.disconnect(russh::Disconnect::ByApplication, lost, String::new()).await;
                }
            }
        }
    }
}

/// What a client sends to a command or a shell.
type Input = mpsc::UnboundedReceiver<Vec<u8>>;

/// One connection to one guest.
struct Guest {
    vm: Arc<Vm>,
    face: SshFace,
    user: String,
    /// Cancelled when the connection breaks or the power goes.
    cut: CancellationToken,
    /// Input on its way to each channel's command; dropping the sender ends the input.
    commands: HashMap<ChannelId, mpsc::UnboundedSender<Vec<u8>>>,
    /// Channels with a terminal: somebody types there, and does not end the input.
    terminals: HashSet<ChannelId>,
}

impl Guest {
    /// Prepares what runs on a channel, with its input.
    fn begin(&mut self, channel: ChannelId, handle: Handle, line: &[u8]) -> (Running, Input) {
        let (input, incoming) = mpsc::unbounded_channel();
        self.commands.insert(channel, input);
        let running = Running {
            vm: self.vm.clone(),
            user: self.user.clone(),
            line: String::from_utf8_lossy(line).into_owned(),
            channel,
            handle,
            cut: self.cut.clone(),
        };
        (running, incoming)
    }

    fn may_log_in(&self, user: &str, key: &PublicKey) -> bool {
        let keys = self.face.users.get(user).map(Vec::as_slice).unwrap_or_default();
        keys.iter()
            .filter_map(|line| PublicKey::from_openssh(line).ok())
            .any(|allowed| allowed.key_data() == key.key_data())
    }
}

impl server::Handler for Guest {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: server::PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(if self.may_log_in(user, offer.public_key) { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        if !self.may_log_in(user, key.public_key) {
            return Ok(Auth::reject());
        }
        user.clone_into(&mut self.user);
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        line: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)?;
        let (command, incoming) = self.begin(channel, session.handle(), line);
        let at_terminal = self.terminals.contains(&channel);
        tokio::spawn(command.run(incoming, at_terminal));
        Ok(())
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        session.channel_success(channel)?;
        let (shell, incoming) = self.begin(channel, session.handle(), b"");
        tokio::spawn(shell.converse(incoming));
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.terminals.insert(channel);
        session.channel_success(channel)
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], _: &mut Session) -> Result<(), Self::Error> {
        if let Some(input) = self.commands.get(&channel) {
            // A command that ended reads no more.
            let _ = input.send(data.to_vec());
        }
        Ok(())
    }

    async fn channel_eof(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.commands.remove(&channel);
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.commands.remove(&channel);
        Ok(())
    }
}

/// A command that runs in a guest for one channel.
struct Running {
    vm: Arc<Vm>,
    user: String,
    line: String,
    channel: ChannelId,
    handle: Handle,
    cut: CancellationToken,
}

impl Running {
    async fn run(self, incoming: Input, at_terminal: bool) {
        let cut = self.cut.clone();
        tokio::select! {
            () = cut.cancelled() => {}
            () = command::broken(&self.vm) => self.cut.cancel(),
            () = self.exec(incoming, at_terminal) => {}
        }
    }

    /// Is a login shell.
    async fn converse(self, typed: Input) {
        let cut = self.cut.clone();
        tokio::select! {
            () = cut.cancelled() => {}
            status = shell::run(self.vm.clone(), &self.user, typed, &self) => self.end(status).await,
        }
    }

    async fn exec(&self, incoming: Input, at_terminal: bool) {
        command::misbehave(&self.vm, self).await;
        let input = if at_terminal { Vec::new() } else { collect(incoming).await };
        let status = command::run(&self.vm, &self.user, &self.line, input, self).await;
        self.end(status).await;
    }

    async fn end(&self, status: i32) {
        // A client that is gone is told nothing.
        let _ = self.handle.exit_status_request(self.channel, status.cast_unsigned()).await;
        let _ = self.handle.eof(self.channel).await;
        let _ = self.handle.close(self.channel).await;
    }
}

impl command::Listener for Running {
    async fn hear(&self, chunk: Chunk) -> bool {
        match chunk {
            Chunk::Stdout(bytes) => self.handle.data(self.channel, bytes).await.is_ok(),
            Chunk::Stderr(bytes) => self.handle.extended_data(self.channel, STDERR, bytes).await.is_ok(),
        }
    }
}

impl shell::Terminal for Running {
    async fn show(&self, bytes: Vec<u8>) -> bool {
        self.handle.data(self.channel, bytes).await.is_ok()
    }
}

/// Gathers a command's input until its end.
async fn collect(mut incoming: Input) -> Vec<u8> {
    let mut input = Vec::new();
    loop {
        tokio::select! {
            piece = incoming.recv() => match piece {
                Some(piece) => input.extend(piece),
                None => return input,
            },
            () = pace::wait(INPUT_SILENCE) => return input,
        }
    }
}
