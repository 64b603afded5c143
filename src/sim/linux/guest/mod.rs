//! A guest in namespaces: systemd as its first process, over an overlay of the image.
//!
//! ```text
//! boot ─▶ layers ─▶ plug ─▶ room ─▶ start ──▶ init.sh ─▶ systemd          namespaces, capabilities, control group
//!          (disk)   (cards)  (folder)  │         │
//!                                      │         ├─ console ─▶ the VMX's serial file
//!                                      │         └─ /run/fusionlab-sim: world.sock ─▶ Kube; `up` ─▶ tools run
//!                                      ▼
//!                     ended: power off, reboot (begins again), died, or power lost
//! ```
//!
//! A guest is one task from the moment it boots until nothing of it is left; whoever takes its power only tells it.

mod console;
mod ground;
mod room;
mod start;

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::layers::{self, Refused, Stack};
use super::net::Plug;
use crate::host::linux::terminal;
use crate::sim::agent::{Dialler, Kube};
use crate::sim::guest::lock;
use crate::sim::pace;
use crate::sim::places::vm_name;
use crate::sim::seam::{Body, Chunk, Machine, Segment, SshFace, Surroundings, Wire};
pub use ground::Ground;
use ground::Wiring;
use room::Room;
use start::Ended;
pub use start::image_link;

/// How long a disk's layers may be held by a machine that is on its way down.
const HELD: Duration = Duration::from_secs(15);
/// How long guests may take to go when the world leaves.
pub const LEAVING: Duration = Duration::from_secs(20);
/// How long the last words of a console may take, once nothing prints any more.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Exit status of a command whose machine is not there.
const GONE: i32 = 255;

/// One guest.
pub struct Guest {
    body: Body,
    around: Arc<dyn Surroundings>,
    ground: Arc<Ground>,
    kube: Arc<Kube>,
    wiring: Arc<Wiring>,
    now: Mutex<Now>,
    /// Cancelled when the power goes.
    off: CancellationToken,
    frozen: watch::Sender<bool>,
    /// True once nothing of it is left.
    ended: watch::Sender<bool>,
}

#[derive(Default)]
struct Now {
    room: Option<Arc<Room>>,
    /// Somebody asked it to shut down, and takes its power then.
    asked: bool,
}

impl Guest {
    pub fn new(body: Body, around: Arc<dyn Surroundings>, ground: Arc<Ground>) -> Arc<Self> {
        let wiring = Arc::new(Wiring::default());
        let kube = Kube::new(body.hardware.clone(), around.clone(), wiring.clone(), ground.commons.clone());
        Arc::new(Self {
            body,
            around,
            ground,
            kube,
            wiring,
            now: Mutex::default(),
            off: CancellationToken::new(),
            frozen: watch::Sender::new(false),
            ended: watch::Sender::new(false),
        })
    }

    pub fn kube(&self) -> Arc<Kube> {
        self.kube.clone()
    }

    /// Lives from power-on until nothing is left.
    async fn live(self: Arc<Self>) {
        let _seat = self.ground.seat(&self.body.vmx).await;
        let ended = match self.off.run_until_cancelled(self.open()).await {
            None => Ended::PowerLost,
            Some(Err(refused)) => {
                self.around.console(&refused.to_string());
                // As with any firmware that finds nothing: the machine stays on and does nothing.
                self.ended.send_replace(true);
                return;
            }
            Some(Ok(stack)) => self.sessions(&stack).await,
        };
        self.ended.send_replace(true);
        if ended != Ended::PowerLost && !lock(&self.now).asked {
            self.around.powered_off();
        }
    }

    /// Finds the layers of its disk; waits for those that another machine is about to let go.
    async fn open(&self) -> Result<Stack, Refused> {
        let waited = tokio::time::Instant::now();
        loop {
            let released = self.ground.layers.released();
            let disk = layers::Disk {
                vmdk: &self.body.disk,
                state: self.body.state.as_deref(),
                contents: &self.body.contents,
            };
            match self.ground.layers.open(&self.ground.image, &disk, |state| self.around.save(state)) {
                Err(Refused::InUse(id)) => {
                    let left = HELD.saturating_sub(waited.elapsed());
                    if tokio::time::timeout(left, released).await.is_err() {
                        return Err(Refused::InUse(id));
                    }
                }
                opened => return opened,
            }
        }
    }

    /// Runs again and again while the guest only reboots.
    async fn sessions(&self, stack: &Stack) -> Ended {
        loop {
            let ended = self.session(stack).await.unwrap_or_else(|error| {
                self.around.console(&format!("The simulated machine cannot run: {error}"));
                Ended::PowerOff
            });
            match ended {
                Ended::Reboot => {}
                Ended::Died(status) => {
                    let words =
                        format!("The guest's first process is gone ({status}): the machine powers off.");
                    self.around.console(&words);
                    return ended;
                }
                Ended::PowerOff | Ended::PowerLost => return ended,
            }
        }
    }

    /// Runs from one boot to its end, and takes everything down.
    async fn session(&self, stack: &Stack) -> io::Result<Ended> {
        let name = self.ground.name(&self.body.vmx);
        let plug = Arc::new(self.ground.net.plug(&vm_name(&self.body.vmx), &self.body.hardware.cards).await?);
        self.wiring.set(Some(plug.clone()));
        let ran = match Room::make(&self.ground, &name.name, &self.body.hardware) {
            Ok(room) => {
                let room = Arc::new(room);
                lock(&self.now).room = Some(room.clone());
                let ran = self.off.run_until_cancelled(self.run(stack, &room, &plug)).await;
                lock(&self.now).room = None;
                let cleared = room.clear().await;
                ran.unwrap_or(Ok(Ended::PowerLost)).and_then(|ended| cleared.map(|()| ended))
            }
            Err(error) => Err(error),
        };
        self.kube.power_lost();
        self.wiring.set(None);
        plug.unplug().await;
        ran
    }

    /// Runs until the first process ends. Dropped when the power goes.
    async fn run(&self, stack: &Stack, room: &Arc<Room>, plug: &Plug) -> io::Result<Ended> {
        let agent = listen(&room.shared())?;
        let (mut child, master) = start::start(&self.ground, room, stack, plug.namespace())?;
        if *self.frozen.borrow() {
            room.freeze(true)?;
        }
        let console = console::copy(master, self.around.clone())?;
        let serving = CancellationToken::new();
        let _stop = serving.clone().drop_guard();
        let serve = serve(agent, self.kube.clone(), serving);
        let status = tokio::select! {
            status = child.wait() => status?,
            () = serve => unreachable!("a socket is listened to for ever"),
            () = self.silence_while_frozen(plug) => unreachable!("this guest holds the sender"),
        };
        room.kill();
        // A process that was killed may still hold the terminal for a moment.
        let _ = tokio::time::timeout(LAST_WORDS, console).await;
        Ok(Ended::from(status))
    }

    /// A guest whose time stands still answers nobody, for ever; its kernel, which is the computer's, would.
    async fn silence_while_frozen(&self, plug: &Plug) {
        let mut frozen = self.frozen.subscribe();
        let mut silent = false;
        loop {
            let wished = *frozen.borrow_and_update();
            if wished != silent {
                plug.silence(wished).await;
                silent = wished;
            }
            if frozen.changed().await.is_err() {
                return;
            }
        }
    }

    fn room(&self) -> Option<Arc<Room>> {
        lock(&self.now).room.clone()
    }
}

/// Makes the socket by which a guest's stand-ins reach the world. Everybody in the guest may use it.
fn listen(folder: &Path) -> io::Result<UnixListener> {
    // A socket's address is short, and the folder's path may be long.
    let folder = std::fs::OpenOptions::new().read(true).open(folder)?;
    let socket = format!("/proc/self/fd/{}/world.sock", folder.as_raw_fd());
    let listener = UnixListener::bind(&socket)?;
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Gives every connection to Kubernetes, for ever.
async fn serve(listener: UnixListener, kube: Arc<Kube>, serving: CancellationToken) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (kube, serving) = (kube.clone(), serving.clone());
                tokio::spawn(async move { serving.run_until_cancelled(kube.serve(stream)).await });
            }
            // Out of descriptors: others close some.
            Err(_) => pace::wait(LAST_WORDS).await,
        }
    }
}

#[async_trait]
impl Machine for Guest {
    async fn boot(self: Arc<Self>) {
        let life = self.ground.tasks.spawn(self.clone().live());
        // It outlives this call's future, since it takes down what it made.
        let _ = life.await;
    }

    fn ssh(&self) -> Option<SshFace> {
        None
    }

    async fn exec(&self, user: &str, line: &str, input: Vec<u8>, output: mpsc::Sender<Chunk>) -> i32 {
        let Some(room) = self.room() else { return GONE };
        let Some(process) = room.process() else { return GONE };
        let mut command = start::inside(&room, process);
        command.args(["runuser", "-u", user, "--", "sh", "-c", line]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let Ok(mut child) = command.spawn() else { return GONE };
        if let Some(mut stdin) = child.stdin.take() {
            // A command that reads nothing may close its input.
            tokio::spawn(async move { stdin.write_all(&input).await });
        }
        let Ok(outcome) = child.wait_with_output().await else { return GONE };
        // Whoever asked may have stopped listening.
        let _ = output.send(Chunk::Stdout(outcome.stdout)).await;
        let _ = output.send(Chunk::Stderr(outcome.stderr)).await;
        outcome.status.code().unwrap_or(GONE)
    }

    fn addresses(&self) -> Vec<(Segment, Ipv4Addr)> {
        self.wiring.addresses()
    }

    fn accept(self: Arc<Self>, _: SocketAddrV4, _: Wire) -> io::Result<()> {
        // The world dials into the networks themselves.
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    fn tools_running(&self) -> bool {
        self.room().is_some_and(|room| room.is_up())
    }

    async fn shut_down(&self) {
        lock(&self.now).asked = true;
        let asked = self.room().and_then(|room| room.process()).map(terminal::ask_to_power_off);
        if let Some(Ok(())) = asked {
            // The sender lives as long as this guest.
            let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
        }
    }

    fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
        if let Some(room) = self.room()
            && let Err(error) = room.freeze(frozen)
        {
            self.around.console(&format!("The simulated machine cannot be paused: {error}"));
        }
    }

    fn pull_plug(&self) {
        self.off.cancel();
        if let Some(room) = self.room() {
            room.kill();
        }
        self.kube.power_lost();
    }
}
