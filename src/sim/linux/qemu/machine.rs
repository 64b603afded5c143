//! One machine of QEMU: from the power button to the last of its process, tap devices and control group.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::arguments::{self, FIRMWARE_VARIABLES};
use super::console::{Console, Seen};
use super::qmp::{self, Event, Order};
use super::{Ground, QEMU};
use crate::formats::dhcp;
use crate::formats::vmx::Vmx;
use crate::sim::agent::{Dialler, Kube};
use crate::sim::guest::services::Stream;
use crate::sim::linux::cgroup;
use crate::sim::linux::net::Taps;
use crate::sim::places::{Places, vm_name};
use crate::sim::seam::{self, Body, Card, Chunk, Contents, Segment, SshFace, Surroundings, Wire};
use crate::sim::world::lock;
use crate::sim::{files, power, vmlog};

/// How long a system may take to shut down after its power button was pressed; translated code takes 20 s.
const SHUTDOWN: Duration = Duration::from_secs(180);
/// How long a killed QEMU may take to be gone.
const DYING: Duration = Duration::from_secs(5);
const READ: usize = 4096;
/// What a shell says of a command that cannot be run.
const CANNOT_RUN: i32 = 126;

pub struct Machine {
    ground: Arc<Ground>,
    kube: Arc<Kube>,
    body: Body,
    around: Arc<dyn Surroundings>,
    orders: mpsc::UnboundedSender<Order>,
    /// Taken by the machine's life.
    ordered: Mutex<Option<mpsc::UnboundedReceiver<Order>>>,
    up: AtomicBool,
    came_up: CancellationToken,
    unplugged: CancellationToken,
    panicked: CancellationToken,
    ended: CancellationToken,
}

impl Machine {
    pub fn new(ground: Arc<Ground>, body: Body, around: Arc<dyn Surroundings>) -> Arc<Self> {
        let (orders, ordered) = mpsc::unbounded_channel();
        let way = Arc::new(FromMac { ground: ground.clone(), cards: body.hardware.cards.clone() });
        let kube = Kube::new(body.hardware.clone(), around.clone(), way, ground.commons.clone());
        ground.machines.add(&body.hardware.uuid, &kube);
        Arc::new(Self {
            ground,
            kube,
            body,
            around,
            orders,
            ordered: Mutex::new(Some(ordered)),
            up: AtomicBool::new(false),
            came_up: CancellationToken::new(),
            unplugged: CancellationToken::new(),
            panicked: CancellationToken::new(),
            ended: CancellationToken::new(),
        })
    }

    pub fn kube(&self) -> Arc<Kube> {
        self.kube.clone()
    }

    /// Lives until the power is gone, whoever took it.
    async fn live(self: Arc<Self>) {
        if let Err(cause) = self.run().await {
            self.around.console(&format!("fusionlab: {cause}"));
            vmlog::error(&self.body.vmx, &cause);
        }
        self.kube.power_lost();
        self.ended.cancel();
        if !self.unplugged.is_cancelled() {
            self.around.powered_off();
        }
    }

    async fn run(&self) -> Result<(), String> {
        let config =
            power::open_vmx(&self.body.vmx).map_err(|_| format!("{} is gone", self.body.vmx.display()))?;
        let accelerator = self.ground.accelerator().await;
        let variables = variables(&self.body.vmx, &config).map_err(|error| error.to_string())?;
        let cards = &self.body.hardware.cards;
        let taps = self
            .ground
            .base
            .net
            .taps(&vm_name(&self.body.vmx), cards)
            .await
            .map_err(|error| format!("no network cards: {error}"))?;
        let ground = arguments::Ground {
            accelerator,
            taps: taps.names(),
            variables: variables.as_deref(),
            folder: self.body.vmx.parent().unwrap_or(Path::new("/")),
        };
        let ran = match arguments::arguments(&config, &self.body.hardware, &ground) {
            Ok(arguments) => {
                self.powered(&arguments, &taps).await.map_err(|error| format!("{QEMU}: {error}"))
            }
            Err(cause) => Err(cause),
        };
        taps.unplug().await;
        ran
    }

    /// Runs QEMU to its end.
    async fn powered(&self, arguments: &[String], taps: &Taps) -> io::Result<()> {
        if self.unplugged.is_cancelled() {
            return Ok(());
        }
        let group = Group::new(self.ground.cgroup()?)?;
        let mut child = start(&group.0, taps.namespace(), arguments)?;
        let ended = self.attend(&mut child).await;
        let _ = child.start_kill();
        group.kill();
        let gone = tokio::time::timeout(DYING, child.wait()).await;
        ended?;
        gone.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "it does not end"))?.map(drop)
    }

    /// Hears and orders QEMU until it has ended, or is to end.
    async fn attend(&self, child: &mut Child) -> io::Result<()> {
        let missing = || io::Error::other("it has no pipes");
        let input = child.stdin.take().ok_or_else(missing)?;
        let (events, console) =
            (child.stdout.take().ok_or_else(missing)?, child.stderr.take().ok_or_else(missing)?);
        let ordered = lock(&self.ordered).take().ok_or_else(|| io::Error::other("it was started before"))?;
        let hearing =
            async { tokio::join!(self.hear_console(console), self.hear_events(BufReader::new(events))) };
        let ordering = async {
            // QEMU that reads no more has ended, which the other side tells.
            let _ = qmp::order(input, ordered).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = hearing => {}
            () = ordering => {}
            () = self.unplugged.cancelled() => {}
            () = self.panicked.cancelled() => {}
        }
        Ok(())
    }

    async fn hear_console(&self, mut from: impl AsyncRead + Unpin) {
        let mut console = Console::default();
        let mut piece = vec![0; READ];
        while let Ok(read @ 1..) = from.read(&mut piece).await {
            for seen in console.feed(&piece[..read]) {
                match seen {
                    Seen::Line(line) => self.around.console(&line),
                    Seen::Up => {
                        self.up.store(true, Ordering::SeqCst);
                        self.came_up.cancel();
                    }
                    Seen::Panic(words) => {
                        self.around.console(&format!("fusionlab: {words}: the machine's power goes"));
                        vmlog::note(
                            &self.body.vmx,
                            &format!("The guest operating system has crashed: {words}"),
                        );
                        self.panicked.cancel();
                    }
                }
            }
        }
        if let Some(rest) = console.rest() {
            self.around.console(&rest);
        }
    }

    async fn hear_events(&self, mut from: BufReader<impl AsyncRead + Unpin>) {
        while let Some(event) = qmp::event(&mut from).await {
            match event {
                Event::Reset | Event::Off => {
                    self.up.store(false, Ordering::SeqCst);
                    self.kube.power_lost();
                }
                Event::Complaint(words) => vmlog::note(&self.body.vmx, &format!("QEMU: {words}")),
            }
        }
    }

    fn order(&self, order: Order) {
        // A machine without power hears nothing.
        let _ = self.orders.send(order);
    }
}

/// Returns what the DHCP servers have for these cards.
fn given(places: &Places, cards: &[Card]) -> Vec<(Segment, Ipv4Addr)> {
    let read = |path: PathBuf| files::read(&path).ok().flatten().unwrap_or_default();
    let given = |card: &Card| {
        let Segment::Vmnet(number) = card.segment else { return None };
        // A server does not write down the leases of addresses that are fixed.
        let fixed = dhcp::hosts(&read(places.vmnet(number).join("dhcpd.conf")));
        let fixed = fixed.into_iter().find(|host| host.mac == card.mac).map(|host| host.address);
        let leased =
            || dhcp::leases(&read(places.leases(number))).into_iter().rfind(|lease| lease.mac == card.mac);
        let address = fixed.or_else(|| leased().map(|lease| lease.address))?;
        Some((card.segment.clone(), address))
    };
    cards.iter().filter_map(given).collect()
}

/// How the model's own connections leave such a machine: nobody outside can send as it does, so the Mac sends for it,
/// on the same networks.
struct FromMac {
    ground: Arc<Ground>,
    cards: Vec<Card>,
}

#[async_trait]
impl Dialler for FromMac {
    async fn connect(&self, to: SocketAddrV4) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.ground.base.net.dial(to).await?))
    }

    fn addresses(&self) -> Vec<(Segment, Ipv4Addr)> {
        given(&self.ground.places, &self.cards)
    }
}

/// Returns the machine's own UEFI variables, made at its first start; none if its firmware is a BIOS.
fn variables(vmx: &Path, config: &Vmx) -> io::Result<Option<PathBuf>> {
    if config.get("firmware").as_deref() != Some("efi") {
        return Ok(None);
    }
    let own = match config.get("nvram") {
        Some(name) => power::beside(vmx, &name),
        None => vmx.with_extension("nvram"),
    };
    let size = |path: &Path| files::open(path, false)?.metadata().map(|metadata| metadata.len());
    let template = Path::new(FIRMWARE_VARIABLES);
    // The simulated Fusion leaves a few bytes there, which no firmware wrote.
    if size(&own).ok() != Some(size(template)?) {
        files::write(&own, files::read_bytes(template)?)?;
    }
    Ok(Some(own))
}

/// Starts QEMU in a control group, with which it ends if the world is killed, and in the Mac's network.
fn start(group: &Path, namespace: &Path, arguments: &[String]) -> io::Result<Child> {
    let mut network = std::ffi::OsString::from("--net=");
    network.push(namespace);
    #[expect(
        clippy::disallowed_methods,
        reason = "a machine lives as long as its power, and talks meanwhile"
    )]
    let mut command = Command::new("sh");
    command.arg("-c").arg(cgroup::JOIN).arg(group);
    command.arg("nsenter").arg(network).arg(QEMU).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn()
}

/// A control group that is removed when nothing runs in it any more.
struct Group(PathBuf);

impl Group {
    fn new(folder: PathBuf) -> io::Result<Self> {
        files::make_folder(&folder)?;
        Ok(Self(folder))
    }

    fn kill(&self) {
        // It may be empty already.
        let _ = cgroup::kill(&self.0);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // One that is still busy is collected with all of its prefix.
        let _ = cgroup::remove(&self.0);
    }
}

#[async_trait]
impl seam::Machine for Machine {
    async fn boot(self: Arc<Self>) {
        let foreign = match (&self.body.state, &self.body.contents) {
            (None, Contents::Partitions | Contents::Nothing) => None,
            (Some(_), _) => Some("a guest of another kind has saved its state on it"),
            (None, Contents::Image(_)) => Some("it is the simulated image, which has no system on it"),
        };
        if let Some(why) = foreign {
            let disk = self.body.disk.display();
            let how = "make the template anew with the image's disk: fusionlab sim image build --disk";
            self.around.console(&format!("fusionlab: {disk} does not boot in QEMU: {why}; {how}"));
            return std::future::pending().await;
        }
        self.ground.lives.spawn(self.clone().live());
        self.came_up.cancelled().await;
    }

    fn ssh(&self) -> Option<SshFace> {
        None
    }

    async fn exec(&self, _: &str, _: &str, _: Vec<u8>, output: mpsc::Sender<Chunk>) -> i32 {
        let words = "a machine of QEMU runs commands for nobody but its SSH server's clients\n";
        // Who asked may not wait for the answer.
        let _ = output.send(Chunk::Stderr(words.into())).await;
        CANNOT_RUN
    }

    /// Returns what the DHCP servers have for its cards once it is up: nothing else of it is known outside.
    fn addresses(&self) -> Vec<(Segment, Ipv4Addr)> {
        if !self.tools_running() {
            return Vec::new();
        }
        given(&self.ground.places, &self.body.hardware.cards)
    }

    fn accept(self: Arc<Self>, _: SocketAddrV4, _: Wire) -> io::Result<()> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    fn tools_running(&self) -> bool {
        self.up.load(Ordering::SeqCst)
    }

    async fn shut_down(&self) {
        self.order(Order::PowerButton);
        // One that does not heed its button loses its power.
        let _ = tokio::time::timeout(SHUTDOWN, self.ended.cancelled()).await;
    }

    fn freeze(&self, frozen: bool) {
        self.order(if frozen { Order::Pause } else { Order::Resume });
        self.kube.freeze(frozen);
    }

    fn pull_plug(&self) {
        self.unplugged.cancel();
        self.kube.power_lost();
    }
}
