//! A guest that is a folder: its stand-ins run as tasks, its systemd is a table of them, its addresses are loopback's.
#![expect(
    clippy::disallowed_methods,
    reason = "the test's guests are where time is made to pass and files are written"
)]

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::sim::agent::client::{self, Called, Place};
use crate::sim::agent::{Dialler, Kube, packages};
use crate::sim::guest::lab::{self, VIP, card, hardware};
use crate::sim::guest::services::Stream;
use crate::sim::guest::{Commons, lock};
use crate::sim::seam::{Card, Client, Lease, Segment, Surroundings, WIRE_BUFFER, Wire};

/// How much faster than reality the tests run.
const SPEED: u32 = 1000;
/// Each test has loopback networks of its own.
static NETWORKS: AtomicU8 = AtomicU8::new(1);

/// What the guests of one test share.
pub struct Bench {
    network: u8,
    commons: Arc<Commons>,
    pub internet: AtomicBool,
    /// Last byte of the guest that the VIP leads to.
    pub behind_vip: AtomicU8,
    random: AtomicU64,
    start: Instant,
}

impl Bench {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            network: NETWORKS.fetch_add(1, Ordering::Relaxed),
            commons: Arc::default(),
            internet: AtomicBool::new(true),
            behind_vip: AtomicU8::new(131),
            random: AtomicU64::new(1),
            start: Instant::now(),
        })
    }

    /// Returns the loopback address that stands for a guest's.
    pub fn loopback(&self, to: Ipv4Addr, own: u8) -> Ipv4Addr {
        match to {
            VIP => Ipv4Addr::new(127, 77, self.network, self.behind_vip.load(Ordering::Relaxed)),
            to if to.is_loopback() => Ipv4Addr::new(127, 78, self.network, own),
            to if to.is_unspecified() => Ipv4Addr::new(127, 77, self.network, own),
            to => Ipv4Addr::new(127, 77, self.network, to.octets()[3]),
        }
    }

    /// Makes a guest as the image leaves it, without a running unit.
    pub fn guest(self: &Arc<Self>, name: &str, last: u8) -> Arc<Guest> {
        let cards = vec![card(&format!("00:50:56:00:02:{last:02x}"), Segment::Vmnet(2), 160)];
        let guest = Arc::new_cyclic(|me: &Weak<Guest>| {
            let around = Arc::new(Around(Arc::clone(self)));
            let dialler = Arc::new(Line { bench: Arc::clone(self), last });
            let hardware = hardware(name, cards, None);
            Guest {
                bench: Arc::clone(self),
                last,
                folder: tempfile::tempdir().unwrap(),
                kube: Kube::new(hardware, around, dialler, Arc::clone(&self.commons)),
                units: Mutex::default(),
                journal: Mutex::default(),
                me: me.clone(),
            }
        });
        guest.furnish(name);
        guest
    }
}

struct Around(Arc<Bench>);

#[async_trait]
impl Surroundings for Around {
    async fn lease(&self, _: &Card, _: &Client) -> Option<Lease> {
        None
    }

    async fn connect(&self, _: &[Card], _: SocketAddrV4) -> io::Result<Wire> {
        panic!("a real guest's connections go through its dialler")
    }

    fn neighbours(&self, _: &Segment) -> Vec<(String, Arc<dyn Any + Send + Sync>)> {
        Vec::new()
    }

    fn internet(&self) -> bool {
        self.0.internet.load(Ordering::Relaxed)
    }

    async fn pass(&self, real: Duration) {
        tokio::time::sleep(real / SPEED).await;
    }

    fn clock_ms(&self) -> u64 {
        1_700_000_000_000 + u64::try_from(self.0.start.elapsed().as_millis()).unwrap() * u64::from(SPEED)
    }

    fn random(&self) -> u64 {
        let seed = self.0.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    fn console(&self, line: &str) {
        panic!("{line}");
    }

    fn save(&self, _: &[u8]) -> io::Result<()> {
        panic!("a real guest's disk is not the model's")
    }

    fn powered_off(&self) {}

    fn fault(&self, _: &str) -> bool {
        false
    }
}

struct Line {
    bench: Arc<Bench>,
    last: u8,
}

#[async_trait]
impl Dialler for Line {
    async fn connect(&self, to: SocketAddrV4) -> io::Result<Box<dyn Stream>> {
        let address = self.bench.loopback(*to.ip(), self.last);
        Ok(Box::new(TcpStream::connect(SocketAddrV4::new(address, to.port())).await?))
    }

    fn addresses(&self) -> Vec<(Segment, Ipv4Addr)> {
        vec![(Segment::Vmnet(2), lab::internal(self.last))]
    }
}

pub struct Guest {
    pub bench: Arc<Bench>,
    last: u8,
    folder: TempDir,
    pub kube: Arc<Kube>,
    units: Mutex<BTreeMap<String, JoinHandle<()>>>,
    /// What units said.
    pub journal: Mutex<String>,
    me: Weak<Guest>,
}

impl Guest {
    pub fn place(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    pub fn has(&self, path: &str) -> bool {
        self.place(path).exists()
    }

    pub fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.place(path)).unwrap()
    }

    pub fn put(&self, path: &str, mode: u32, content: &str) {
        let place = self.place(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(&place, content).unwrap();
        std::fs::set_permissions(place, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn remove(&self, path: &str) {
        std::fs::remove_dir_all(self.place(path)).unwrap();
    }

    fn furnish(&self, name: &str) {
        let package = |name: &str, version: &str| {
            format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\n\n")
        };
        let versions = packages::Versions { kubernetes: "1.36.4".into(), containerd: "2.2.1".into() };
        let mut status = package("conntrack", "1:1.4.8-2");
        packages::all(&versions).iter().for_each(|one| status.push_str(&package(one.name, &one.version)));
        self.put("/var/lib/dpkg/status", 0o644, &status);
        self.put("/usr/local/bin/helm", 0o755, &packages::helm("3.18.6"));
        self.put("/etc/hosts", 0o644, &format!("127.0.0.1 localhost\n{VIP} k8s-api.lab.internal\n"));
        self.put("/etc/modules-load.d/k8s.conf", 0o644, "overlay\nbr_netfilter\n");
        self.put("/proc/sys/net/ipv4/ip_forward", 0o644, "1\n");
        self.put("/proc/sys/kernel/hostname", 0o644, &format!("{name}\n"));
        self.put("/proc/net/route", 0o644, client::look::tests::ROUTES);
        let trie = client::look::tests::TRIE.replace("10.10.0.131", &lab::internal(self.last).to_string());
        self.put("/proc/net/fib_trie", 0o644, &trie.replace("|-- 10.10.0.10\n", "|-- 127.0.0.2\n"));
    }

    fn seat(&self, root: bool, input: &[u8], unit: bool) -> Arc<Seat> {
        let guest = self.me.upgrade().unwrap();
        Arc::new(Seat { guest, root, input: input.to_vec(), unit, said: Mutex::default() })
    }

    /// Runs a command of somebody's; returns its exit status and all that it said.
    pub async fn run_as(&self, root: bool, line: &str, input: &str) -> (i32, String) {
        let mut words = crate::formats::command::split(line).unwrap();
        let program = words.remove(0);
        let version = (program == "helm").then(|| "v3.18.6".to_owned());
        let seat = self.seat(root, input.as_bytes(), false);
        let status = client::run(seat.clone(), Called { program, version, args: words }).await;
        (status, std::mem::take(&mut *lock(&seat.said)))
    }

    pub async fn good(&self, line: &str) -> String {
        let (status, text) = self.run_as(true, line, "").await;
        assert_eq!(status, 0, "{line}\n{text}{}", lock(&self.journal));
        text
    }

    pub async fn bad(&self, line: &str) -> String {
        let (status, text) = self.run_as(true, line, "").await;
        assert_ne!(status, 0, "{line}\n{text}");
        text
    }

    /// Starts a unit as systemd does: again and again.
    pub fn start(&self, unit: &str) {
        let (seat, program) = (self.seat(true, b"", true), unit.to_owned());
        let forever = async move {
            loop {
                let called = Called { program: program.clone(), version: None, args: Vec::new() };
                client::run(seat.clone(), called).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let mut units = lock(&self.units);
        if units.get(unit).is_none_or(JoinHandle::is_finished) {
            units.insert(unit.to_owned(), tokio::spawn(forever));
        }
    }

    pub async fn stop(&self, unit: &str) {
        let unit = lock(&self.units).remove(unit);
        if let Some(unit) = unit {
            unit.abort();
            let _ = unit.await;
        }
    }

    /// Pulls the plug: every process ends at once.
    pub async fn lose_power(&self) {
        let units = std::mem::take(&mut *lock(&self.units));
        for unit in units.values() {
            unit.abort();
        }
        for unit in units.into_values() {
            let _ = unit.await;
        }
        self.kube.power_lost();
    }

    /// Starts the units that the template enables.
    pub fn boot(&self) {
        self.start("containerd");
        self.start("kubelet");
    }

    /// Waits until something holds, or fails the test.
    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        for _ in 0..2000 {
            if holds().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never: {what}\n{}", lock(&self.journal));
    }
}

/// One process's view of a guest.
struct Seat {
    guest: Arc<Guest>,
    root: bool,
    input: Vec<u8>,
    /// Whether it is a unit's process, whose words go to the journal.
    unit: bool,
    said: Mutex<String>,
}

#[async_trait]
impl Place for Seat {
    fn root(&self) -> &Path {
        self.guest.folder.path()
    }

    fn is_root(&self) -> bool {
        self.root
    }

    fn folder(&self) -> PathBuf {
        "/root".into()
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    fn input(&self) -> io::Result<Vec<u8>> {
        Ok(self.input.clone())
    }

    fn out(&self, bytes: &[u8]) -> io::Result<()> {
        let said = if self.unit { &self.guest.journal } else { &self.said };
        lock(said).push_str(std::str::from_utf8(bytes).unwrap());
        Ok(())
    }

    fn err(&self, bytes: &[u8]) -> io::Result<()> {
        self.out(bytes)
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let (near, far) = tokio::io::duplex(WIRE_BUFFER);
        tokio::spawn(Arc::clone(&self.guest.kube).serve(far));
        Ok(Box::new(near))
    }

    async fn bind(&self, address: SocketAddrV4) -> io::Result<TcpListener> {
        let own = self.guest.bench.loopback(*address.ip(), self.guest.last);
        TcpListener::bind(SocketAddrV4::new(own, address.port())).await
    }

    async fn run(&self, argv: &[String]) -> io::Result<(i32, String)> {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        match words[..] {
            ["systemctl", "daemon-reload"] => {}
            ["systemctl", "start", unit] => self.guest.start(unit),
            ["systemctl", "stop", unit] => self.guest.stop(unit).await,
            // Pods' routes are the kernel's own business.
            ["ip", "-4", "route", "replace" | "del", ..] => {}
            _ => panic!("{argv:?}"),
        }
        Ok((0, String::new()))
    }

    fn spawn(&self, program: &str) -> io::Result<()> {
        let called = Called { program: program.to_owned(), version: None, args: Vec::new() };
        let seat = self.guest.seat(true, b"", true);
        let task = tokio::spawn(async move {
            client::run(seat, called).await;
        });
        lock(&self.guest.units).insert(program.to_owned(), task);
        Ok(())
    }

    fn ready(&self) {}
}
