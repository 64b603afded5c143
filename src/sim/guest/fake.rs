//! A world just big enough for the model's tests: segments, leases, consoles, disks, and time that is made up.
//!
//! Nothing here leaves the process, so that tokio's paused clock goes on exactly when nobody has anything to do:
//! a slow computer changes no outcome.
#![expect(clippy::disallowed_methods, reason = "the test's world is where time is made to pass")]

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Commons, Model, lock};
use crate::sim::seam::{
    Card, Chunk, Client, Hardware, Lease, Machine, Segment, Surroundings, WIRE_BUFFER, Wire,
};

/// All machines and what they share.
pub struct World {
    commons: Arc<Commons>,
    machines: Mutex<BTreeMap<String, Arc<Model>>>,
    pub disks: Mutex<BTreeMap<String, Vec<u8>>>,
    pub consoles: Mutex<BTreeMap<String, Vec<String>>>,
    /// MAC → address.
    reservations: Mutex<BTreeMap<String, Ipv4Addr>>,
    /// Machines whose cards are silently cut.
    pub cut: Mutex<BTreeSet<String>>,
    pub internet: AtomicBool,
    random: AtomicU64,
    start: Instant,
}

struct Around {
    world: Arc<World>,
    name: String,
}

impl World {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            commons: Arc::default(),
            machines: Mutex::default(),
            disks: Mutex::default(),
            consoles: Mutex::default(),
            reservations: Mutex::default(),
            cut: Mutex::default(),
            internet: AtomicBool::new(true),
            random: AtomicU64::new(1),
            start: Instant::now(),
        })
    }

    /// Makes a machine with what its disk last held, and boots it to the end.
    pub async fn boot(self: &Arc<Self>, hardware: Hardware) -> Arc<Model> {
        let (name, around) =
            (hardware.name.clone(), Around { world: Arc::clone(self), name: hardware.name.clone() });
        let disk = lock(&self.disks).get(&name).cloned();
        let model = Model::new(hardware, disk, Arc::new(around), Arc::clone(&self.commons));
        lock(&self.machines).insert(name, Arc::clone(&model));
        Arc::clone(&model).boot().await;
        model
    }

    pub fn reserve(&self, mac: &str, address: Ipv4Addr) {
        lock(&self.reservations).insert(mac.to_owned(), address);
    }

    pub fn machine(&self, name: &str) -> Arc<Model> {
        Arc::clone(&lock(&self.machines)[name])
    }

    pub fn pull_plug(&self, name: &str) {
        let model = lock(&self.machines).remove(name).unwrap();
        model.pull_plug();
    }

    /// Runs a command as the lab's user.
    pub async fn run(&self, name: &str, line: &str) -> (i32, String) {
        self.run_with(name, line, "").await
    }

    pub async fn run_with(&self, name: &str, line: &str, input: &str) -> (i32, String) {
        let model = self.machine(name);
        let (sender, mut receiver) = mpsc::channel(64);
        let gather = async {
            let mut text = Vec::new();
            while let Some(Chunk::Stdout(bytes) | Chunk::Stderr(bytes)) = receiver.recv().await {
                text.extend(bytes);
            }
            String::from_utf8(text).unwrap()
        };
        let work = async { model.exec("fusionlab", line, input.as_bytes().to_vec(), sender).await };
        tokio::join!(work, gather)
    }

    /// Runs a command that must succeed.
    pub async fn good(&self, name: &str, line: &str) -> String {
        let (status, text) = self.run(name, line).await;
        assert_eq!(status, 0, "{name}: {line}\n{text}");
        text
    }

    /// Runs a command that must fail and returns what it said.
    pub async fn bad(&self, name: &str, line: &str) -> String {
        let (status, text) = self.run(name, line).await;
        assert_ne!(status, 0, "{name}: {line}\n{text}");
        text
    }

    /// Waits until something holds, or fails the test.
    pub async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        for _ in 0..3000 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        panic!("never: {what}");
    }

    /// Returns the running machines that hold an address.
    pub fn holders(&self, address: Ipv4Addr) -> Vec<String> {
        let machines = lock(&self.machines).clone();
        let holds = |model: &Arc<Model>| model.addresses().iter().any(|(_, held)| *held == address);
        machines.into_iter().filter(|(_, model)| holds(model)).map(|(name, _)| name).collect()
    }

    /// Connects from the LAN, as a user does.
    pub fn dial(&self, from: &[Segment], to: SocketAddrV4) -> io::Result<Wire> {
        let machines: Vec<_> =
            lock(&self.machines).iter().map(|(name, model)| (name.clone(), Arc::clone(model))).collect();
        for (name, model) in machines.into_iter().filter(|(name, _)| !lock(&self.cut).contains(name)) {
            let here =
                |(segment, address): &(Segment, Ipv4Addr)| from.contains(segment) && address == to.ip();
            if model.addresses().iter().any(here) {
                let _ = name;
                let (near, far) = tokio::io::duplex(WIRE_BUFFER);
                model.accept(to, far)?;
                return Ok(near);
            }
        }
        let [.., last] = to.ip().octets();
        let host = matches!(last, 1 | 2);
        Err(if host { io::ErrorKind::ConnectionRefused } else { io::ErrorKind::HostUnreachable }.into())
    }
}

#[async_trait]
impl Surroundings for Around {
    async fn lease(&self, card: &Card, _: &Client) -> Option<Lease> {
        let address = *lock(&self.world.reservations).get(&card.mac.to_string())?;
        let router = Some(Ipv4Addr::new(10, 10, 0, 2));
        Some(Lease { address, prefix: 24, router, dns: vec![Ipv4Addr::new(10, 10, 0, 2)] })
    }

    async fn connect(&self, from: &[Card], to: SocketAddrV4) -> io::Result<Wire> {
        if lock(&self.world.cut).contains(&self.name) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if from.is_empty() {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let segments: Vec<Segment> = from.iter().map(|card| card.segment.clone()).collect();
        self.world.dial(&segments, to)
    }

    fn neighbours(&self, segment: &Segment) -> Vec<(String, Arc<dyn Any + Send + Sync>)> {
        let cut = lock(&self.world.cut).clone();
        if cut.contains(&self.name) {
            return Vec::new();
        }
        let machines = lock(&self.world.machines).clone();
        let near = |(name, model): &(String, Arc<Model>)| {
            *name != self.name
                && !cut.contains(name)
                && model.hardware.cards.iter().any(|card| card.segment == *segment)
        };
        machines
            .into_iter()
            .filter(near)
            .map(|(name, model)| (name, model as Arc<dyn Any + Send + Sync>))
            .collect()
    }

    fn internet(&self) -> bool {
        self.world.internet.load(Ordering::Relaxed)
    }

    async fn pass(&self, real: Duration) {
        tokio::time::sleep(real).await;
    }

    fn clock_ms(&self) -> u64 {
        1_700_000_000_000 + u64::try_from(self.world.start.elapsed().as_millis()).unwrap()
    }

    fn random(&self) -> u64 {
        let seed = self.world.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    fn console(&self, line: &str) {
        lock(&self.world.consoles).entry(self.name.clone()).or_default().push(line.to_owned());
    }

    fn save(&self, state: &[u8]) -> io::Result<()> {
        lock(&self.world.disks).insert(self.name.clone(), state.to_vec());
        Ok(())
    }

    fn powered_off(&self) {
        lock(&self.world.machines).remove(&self.name);
    }

    fn fault(&self, _: &str) -> bool {
        false
    }
}
