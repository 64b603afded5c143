//! The model guest: a machine that believes nothing it was not told through its files, its seed and its commands.
//!
//! ```text
//! boot ─▶ cloud_init ─▶ units ─▶ services          what runs and which ports answer
//!            │            ▲         │
//! shell ─▶ tools/ ────────┘         ▼
//!            │                    kube/            one cluster's state, kept on its members' disks
//!            ▼
//!          state (the disk)
//! ```
//!
//! [`Model`] is one machine; [`Commons`] is what lets the machines of one world find each other. Time is spent only
//! through [`pace`], and all traffic between machines goes over [`Surroundings::connect`].

pub mod bake;
pub mod boot;
pub mod cloud_init;
pub mod dnsmasq;
pub mod host;
pub mod http;
pub mod keepalived;
pub mod kube;
pub mod live;
pub mod network;
pub mod nginx;
pub mod nginx_syntax;
pub mod pace;
pub mod routing;
pub mod services;
pub mod shell;
pub mod state;
pub mod tls;
pub mod tools;
pub mod units;
pub mod usage;
pub mod user_data;
pub mod vrrp;
pub mod yaml;

#[cfg(test)]
mod fake;
#[cfg(test)]
pub(crate) mod lab;
#[cfg(test)]
mod strict_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::sim::network::Networks;
use crate::sim::seam::{Body, Chunk, Hardware, Kind, Machine, Made, Segment, SshFace, Surroundings, Wire};
use host::{Host, Modelled};
use kube::cluster::Cluster;
use live::{Live, Phase};
use state::Disk;

/// Exit status of a command whose machine went away.
const KILLED: i32 = 137;

/// One model machine.
pub struct Model {
    pub(crate) hardware: Hardware,
    pub(crate) around: Arc<dyn Surroundings>,
    pub(crate) commons: Arc<Commons>,
    pub(crate) host: Arc<dyn Host>,
    disk: Mutex<DiskSlot>,
    live: Mutex<Live>,
    /// Cancelled when the power goes: everything that runs on the machine ends with it.
    pub(crate) power: CancellationToken,
    me: Weak<Model>,
}

/// The disk with what the kernel knows of it.
struct DiskSlot {
    disk: Disk,
    /// Why it cannot be used, if it cannot.
    broken: Option<String>,
    /// Changed since it was last saved.
    dirty: bool,
}

/// The kind of machines that are models: nothing but this process is under them.
#[derive(Default)]
pub struct Models {
    commons: Arc<Commons>,
}

#[async_trait]
impl Kind for Models {
    fn make(&self, body: Body, around: Arc<dyn Surroundings>) -> Made {
        let model = Model::new(body.hardware, body.state, around, self.commons.clone());
        Made { machine: model.clone(), kind: model }
    }

    async fn apply(&self, _: &Networks) -> io::Result<()> {
        Ok(())
    }

    async fn dial(&self, _: SocketAddrV4) -> Option<io::Result<Wire>> {
        None
    }

    async fn leave(&self) {}
}

/// What all model machines of one world share.
#[derive(Default)]
pub struct Commons {
    machines: Mutex<Vec<Weak<Model>>>,
    /// The clusters that some machine knows, by the digest of their CA's public key.
    pub(crate) clusters: Mutex<BTreeMap<String, Weak<Cluster>>>,
    /// Serialises VRRP elections, as the wire would.
    pub(crate) election: Mutex<()>,
    /// Told when anything changed that a neighbour might hear of.
    changed: Notify,
}

impl Commons {
    /// Returns the machines that run now.
    pub(crate) fn running(&self) -> Vec<Arc<Model>> {
        let mut machines = lock(&self.machines);
        machines.retain(|machine| machine.strong_count() > 0);
        machines.iter().filter_map(Weak::upgrade).filter(|machine| !machine.power.is_cancelled()).collect()
    }

    /// Wakes whoever watches the neighbourhood.
    pub(crate) fn announce(&self) {
        self.changed.notify_waiters();
    }

    /// Returns what waits for the next announcement, from this moment on.
    pub(crate) fn news(&self) -> Notified<'_> {
        self.changed.notified()
    }
}

/// Locks a mutex whose holder never leaves its value half changed, so a panic elsewhere does not matter.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Model {
    /// Makes a machine of this hardware, its disk as last saved; it does nothing until [`Machine::boot`].
    pub fn new(
        hardware: Hardware,
        state: Option<Vec<u8>>,
        surroundings: Arc<dyn Surroundings>,
        commons: Arc<Commons>,
    ) -> Arc<Self> {
        let (disk, broken) = match Disk::read(state.as_deref()) {
            Ok(disk) => (disk, None),
            Err(error) => (Disk::read(None).expect("a fresh image reads"), Some(error.to_string())),
        };
        let slot = DiskSlot { disk, broken, dirty: false };
        Self::on(slot, hardware, surroundings, commons, Arc::new(Modelled))
    }

    /// Makes the shadow of a machine that is real: it has power, knows nothing, and acts through the host.
    pub fn shadow(
        hardware: Hardware,
        surroundings: Arc<dyn Surroundings>,
        commons: Arc<Commons>,
        host: Arc<dyn Host>,
    ) -> Arc<Self> {
        let slot = DiskSlot { disk: Disk::empty(), broken: None, dirty: false };
        let model = Self::on(slot, hardware, surroundings, commons, host);
        model.live(|live| live.phase = Phase::Running);
        model
    }

    fn on(
        slot: DiskSlot,
        hardware: Hardware,
        surroundings: Arc<dyn Surroundings>,
        commons: Arc<Commons>,
        host: Arc<dyn Host>,
    ) -> Arc<Self> {
        let model = Arc::new_cyclic(|me| Self {
            hardware,
            around: surroundings,
            commons,
            host,
            disk: Mutex::new(slot),
            live: Mutex::new(Live::default()),
            power: CancellationToken::new(),
            me: me.clone(),
        });
        lock(&model.commons.machines).push(Arc::downgrade(&model));
        model
    }

    /// Returns this machine as the owner holds it.
    pub(crate) fn arc(&self) -> Arc<Self> {
        self.me.upgrade().expect("a machine whose methods run is owned by someone")
    }

    /// Reads from the disk.
    pub(crate) fn disk<T>(&self, read: impl FnOnce(&Disk) -> T) -> T {
        read(&lock(&self.disk).disk)
    }

    /// Writes to the disk's cache; [`Self::sync`] makes it last.
    pub(crate) fn change_disk<T>(&self, change: impl FnOnce(&mut Disk) -> T) -> T {
        let mut slot = lock(&self.disk);
        slot.dirty = true;
        change(&mut slot.disk)
    }

    /// Takes over what a real machine's disk says: it is there, so nothing is to be saved.
    pub(crate) fn learn<T>(&self, learn: impl FnOnce(&mut Disk) -> T) -> T {
        learn(&mut lock(&self.disk).disk)
    }

    /// Returns why the disk cannot be read, if it cannot.
    pub(crate) fn broken_disk(&self) -> Option<String> {
        lock(&self.disk).broken.clone()
    }

    /// Saves the disk if it changed. A machine without power saves nothing.
    pub(crate) fn sync(&self) {
        if let Err(error) = self.saved() {
            self.around.console(&format!("EXT4-fs error (device nvme0n1p1): I/O error: {error}"));
        }
    }

    /// Like [`Self::sync`], for who looks whether it went well.
    pub(crate) fn saved(&self) -> io::Result<()> {
        let mut slot = lock(&self.disk);
        if slot.dirty && slot.broken.is_none() && !self.power.is_cancelled() {
            self.host.save(self, &slot.disk)?;
            slot.dirty = false;
        }
        Ok(())
    }

    pub(crate) fn live<T>(&self, with: impl FnOnce(&mut Live) -> T) -> T {
        with(&mut lock(&self.live))
    }

    /// Lets real time pass, unless the power goes first; then it never returns.
    pub(crate) async fn pass(&self, real: Duration) {
        tokio::select! {
            () = self.around.pass(real) => tokio::task::yield_now().await,
            () = self.power.cancelled() => std::future::pending().await,
        }
    }

    /// Waits between two looks at something that others bring about. However fast the simulation runs, they need
    /// some of the computer's own time for it.
    pub(crate) async fn look_again(&self, real: Duration) {
        tokio::join!(self.pass(real), pace::grain());
    }

    /// Waits until a deadline of something that takes the computer's own time as well.
    pub(crate) async fn deadline(&self, real: Duration) {
        tokio::join!(self.pass(real), pace::least_deadline());
    }

    /// Runs something in the background for as long as the machine has power.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let power = self.power.clone();
        tokio::spawn(async move { power.run_until_cancelled(task).await });
    }

    /// Writes a line to a unit's journal, with the time.
    pub(crate) fn log(&self, unit: &str, line: impl Into<String>) {
        let (line, now) = (line.into(), self.around.clock_ms());
        self.host.logged(unit, &line);
        self.live(|live| live.log(unit, now, line));
    }

    /// Returns the node's name: what the kernel says.
    pub(crate) fn hostname(&self) -> String {
        self.live(|live| live.hostname.clone())
    }

    /// Returns the running model machines it can hear on a segment.
    pub(crate) fn hears(&self, segment: &Segment) -> Vec<Arc<Model>> {
        let neighbours = self.around.neighbours(segment).into_iter();
        neighbours
            .filter_map(|(_, machine)| machine.downcast::<Model>().ok())
            .filter(|machine| !machine.power.is_cancelled() && !std::ptr::eq(Arc::as_ptr(machine), self))
            .collect()
    }

    fn power_down(&self) {
        self.sync();
        self.power.cancel();
        self.live(|live| live.phase = Phase::Off);
        self.commons.announce();
    }
}

#[async_trait]
impl Machine for Model {
    async fn boot(self: Arc<Self>) {
        let power = self.power.clone();
        let _ = power.run_until_cancelled(boot::boot(&self)).await;
    }

    fn ssh(&self) -> Option<SshFace> {
        boot::ssh_face(self)
    }

    async fn exec(&self, user: &str, line: &str, input: Vec<u8>, output: mpsc::Sender<Chunk>) -> i32 {
        let model = self.arc();
        let run = shell::run_line(&model, user, line, input, &output);
        let status = self.power.run_until_cancelled(run).await.unwrap_or(KILLED);
        kube::kubelet::manifests_gone(self);
        self.sync();
        status
    }

    fn addresses(&self) -> Vec<(Segment, Ipv4Addr)> {
        if self.power.is_cancelled() {
            return Vec::new();
        }
        network::addresses(self).into_iter().map(|held| (held.segment, held.address)).collect()
    }

    fn accept(self: Arc<Self>, to: SocketAddrV4, wire: Wire) -> io::Result<()> {
        services::accept(&self, to, wire)
    }

    fn tools_running(&self) -> bool {
        !self.power.is_cancelled() && self.live(|live| live.unit_active("open-vm-tools"))
    }

    async fn shut_down(&self) {
        if self.power.run_until_cancelled(boot::shut_down(self)).await.is_none() {
            return;
        }
        self.power_down();
    }

    fn sleep(&self, slept: Duration) {
        let behind = i64::try_from(slept.as_millis()).unwrap_or(i64::MAX);
        self.live(|live| live.clock_ahead_ms = live.clock_ahead_ms.saturating_sub(behind));
        let others: Vec<_> = self.commons.running().iter().map(|one| one.disk(|disk| disk.clone())).collect();
        // Who is in no cluster has nothing on its disk that ages.
        if let Some(authorities) = self.disk(|disk| kube::aging::signer(disk, &others).cloned()) {
            self.change_disk(|disk| kube::aging::age(disk, &authorities, slept));
        }
        if let Some(cluster) = self.live(|live| live.cluster.clone()) {
            cluster.sleep(slept);
        }
        self.sync();
    }

    fn pull_plug(&self) {
        self.power.cancel();
        self.live(|live| live.phase = Phase::Off);
        kube::kubelet::lost(self);
        self.commons.announce();
    }
}
