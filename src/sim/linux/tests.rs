//! A guest of a built image, by itself: from power-on to nothing left.
//!
//! It needs root, the programs of [`super::needs`] and an image: `FUSIONLAB_SIM_IMAGES` names a folder of images.
//! `FUSIONLAB_TEST_GUESTS` asks for it; without that it is skipped.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::{Linux, image, needs, prefix};
use crate::sim::network::Networks;
use crate::sim::places::Places;
use crate::sim::seam::{
    Body, Card, Chunk, Client, Contents, Hardware, Kind, Lease, Machine, Segment, Surroundings, Wire,
};
use crate::sim::settings::{Guests, Settings};
use crate::sim::{files, now_ms, pace};

const MAC: &str = "00:50:56:00:00:11";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 68, 56);
const UUID: &str = "564d1f00-1122-3344-5566-778899aabbcc";
/// A first boot, with room for a busy computer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a guest says and saves.
#[derive(Default)]
struct Around {
    console: Mutex<Vec<String>>,
    state: Mutex<Option<Vec<u8>>>,
    powered_off: AtomicUsize,
}

impl Around {
    fn console_text(&self) -> String {
        self.console.lock().unwrap().join("\n")
    }

    fn state(&self) -> Option<Vec<u8>> {
        self.state.lock().unwrap().clone()
    }
}

#[async_trait]
impl Surroundings for Around {
    async fn lease(&self, _: &Card, _: &Client) -> Option<Lease> {
        None
    }

    async fn connect(&self, _: &[Card], _: SocketAddrV4) -> io::Result<Wire> {
        Err(io::ErrorKind::HostUnreachable.into())
    }

    fn neighbours(&self, _: &Segment) -> Vec<(String, Arc<dyn Any + Send + Sync>)> {
        Vec::new()
    }

    fn internet(&self) -> bool {
        false
    }

    async fn pass(&self, real: Duration) {
        pace::wait(real).await;
    }

    fn clock_ms(&self) -> u64 {
        now_ms()
    }

    fn random(&self) -> u64 {
        4
    }

    fn console(&self, line: &str) {
        self.console.lock().unwrap().push(line.to_owned());
    }

    fn save(&self, state: &[u8]) -> io::Result<()> {
        *self.state.lock().unwrap() = Some(state.to_vec());
        Ok(())
    }

    fn powered_off(&self) {
        self.powered_off.fetch_add(1, Ordering::SeqCst);
    }

    fn fault(&self, _: &str) -> bool {
        false
    }
}

/// Returns the newest image, or why there is no test.
fn an_image() -> Result<PathBuf, String> {
    needs::check(Guests::Linux).map_err(|missing| needs::sentence(&missing))?;
    let images = std::env::var_os("FUSIONLAB_SIM_IMAGES").ok_or("FUSIONLAB_SIM_IMAGES is not set")?;
    let found = image::list(Path::new(&images)).into_iter().flatten().next_back();
    found.map(|image| image.folder).ok_or_else(|| "no guest image".to_owned())
}

/// Its card's name comes before that of the image's own configuration, which would win otherwise: see the bake's last
/// step.
fn seed() -> BTreeMap<String, Vec<u8>> {
    let network = format!(
        "version: 2\nethernets:\n  a-card:\n    match: {{macaddress: \"{MAC}\"}}\n    addresses: [{ADDRESS}/24]\n    \
         routes: [{{to: default, via: 192.168.68.1}}]\n"
    );
    [
        ("meta-data", "instance-id: one\nlocal-hostname: tested\n"),
        ("user-data", "#cloud-config\nhostname: tested\n"),
        ("network-config", &network),
    ]
    .map(|(name, content)| (name.to_owned(), content.as_bytes().to_vec()))
    .into()
}

struct Bench {
    linux: Arc<Linux>,
    places: Places,
    key: String,
    vmdk: PathBuf,
    around: Arc<Around>,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new(image: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(folder.path().canonicalize().unwrap());
        let settings =
            Settings { guests: Guests::Linux, image: Some(image.to_owned()), ..Settings::default() };
        let linux = Linux::begin(&places, &settings).await.unwrap();
        linux.apply(&Networks::default()).await.unwrap();
        let vmdk = places.library().join("tested.vmwarevm/disk.vmdk");
        files::write(&vmdk, "").unwrap();
        let key = image::GuestImage::open(image).unwrap().key;
        Self { linux, places, key, vmdk, around: Arc::default(), _folder: folder }
    }

    /// Switches a machine on, as the world does.
    fn start(&self) -> Arc<dyn Machine> {
        let hardware = Hardware {
            name: "tested".to_owned(),
            cpus: 1,
            memory_mib: 512,
            disk_bytes: 20 << 30,
            uuid: UUID.to_owned(),
            cards: vec![Card { mac: MAC.parse().unwrap(), segment: Segment::Lan, name: "ens160".to_owned() }],
            seed: Some(seed()),
        };
        let body = Body {
            hardware,
            vmx: self.vmdk.with_file_name("tested.vmx"),
            disk: self.vmdk.clone(),
            state: self.around.state(),
            contents: Contents::Image(format!("system {}", self.key)),
        };
        let made = self.linux.make(body, self.around.clone());
        tokio::spawn(made.machine.clone().boot());
        made.machine
    }

    async fn until(&self, what: &str, mut wish: impl AsyncFnMut() -> bool) {
        let patience = tokio::time::timeout(PATIENCE, async {
            while !wish().await {
                pace::wait(Duration::from_millis(20)).await;
            }
        });
        assert!(patience.await.is_ok(), "{what}; its console:\n{}", self.around.console_text());
    }

    async fn until_up(&self, machine: &Arc<dyn Machine>) {
        self.until("it comes up", async || machine.tools_running()).await;
    }

    async fn until_off(&self, times: usize) {
        let off = &self.around.powered_off;
        self.until("it powers off", async || off.load(Ordering::SeqCst) == times).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "one small program")]
fn kill(process: &str) {
    let status = std::process::Command::new("kill").args(["-9", process]).status();
    assert!(status.unwrap().success());
}

async fn said(machine: &Arc<dyn Machine>, line: &str) -> String {
    let (sender, mut chunks) = mpsc::channel(8);
    let status = machine.exec("root", line, Vec::new(), sender).await;
    let mut text = String::new();
    while let Some(Chunk::Stdout(bytes) | Chunk::Stderr(bytes)) = chunks.recv().await {
        text += &String::from_utf8_lossy(&bytes);
    }
    assert_eq!(status, 0, "{line}: {text}");
    text.trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_lives_from_power_on_to_nothing_left() {
    if std::env::var_os("FUSIONLAB_TEST_GUESTS").is_none() {
        eprintln!("skipped: FUSIONLAB_TEST_GUESTS is not set");
        return;
    }
    let image = an_image().unwrap();
    let bench = Bench::new(&image).await;
    let machine = bench.start();
    bench.until_up(&machine).await;
    it_is_what_its_hardware_and_seed_say(&bench, &machine).await;
    it_reboots_and_powers_off_by_itself(&bench, &machine).await;
    its_files_are_there_again(&bench).await;
    bench.linux.leave().await;
    let prefix = prefix::Prefix::of(&bench.places).unwrap();
    assert_eq!(prefix.namespaces(), Vec::<PathBuf>::new());
    assert!(!prefix.cgroup().unwrap().exists());
    assert_eq!(files::entries(&bench.places.run().join("guests")), Vec::<PathBuf>::new());
}

async fn it_is_what_its_hardware_and_seed_say(bench: &Bench, machine: &Arc<dyn Machine>) {
    said(machine, "cloud-init status --wait").await;
    assert_eq!(said(machine, "hostname").await, "tested");
    assert_eq!(said(machine, "cat /sys/class/dmi/id/product_uuid").await, UUID);
    assert_eq!(said(machine, "cat /sys/class/net/ens160/address").await, MAC);
    assert_eq!(machine.addresses(), [(Segment::Lan, ADDRESS)]);
    said(machine, "sysctl -qw net.ipv4.ip_forward=1 && ! sysctl -qw kernel.panic=5 2>/dev/null").await;
    let failed = said(machine, "systemctl --failed --no-legend --plain").await;
    assert_eq!(failed, "");
    let mut sshd = bench.linux.dial(SocketAddrV4::new(ADDRESS, 22)).await.unwrap().unwrap();
    let mut banner = [0; 8];
    sshd.read_exact(&mut banner).await.unwrap();
    assert_eq!(&banner, b"SSH-2.0-");
    machine.freeze(true);
    let frozen = tokio::time::timeout(Duration::from_millis(300), said(machine, "true")).await;
    assert!(frozen.is_err(), "a frozen guest answers nobody");
    let port = SocketAddrV4::new(ADDRESS, 22);
    let dialled = tokio::time::timeout(Duration::from_millis(500), bench.linux.dial(port)).await;
    assert!(dialled.is_err(), "nor does the kernel that it shares with the Mac");
    machine.freeze(false);
    said(machine, "true").await;
}

async fn it_reboots_and_powers_off_by_itself(bench: &Bench, machine: &Arc<dyn Machine>) {
    let boot = said(machine, "cat /proc/sys/kernel/random/boot_id; echo kept >/root/kept").await;
    said(machine, "systemctl --no-block reboot").await;
    bench.until("it goes down", async || !machine.tools_running()).await;
    bench.until_up(machine).await;
    assert_ne!(said(machine, "cat /proc/sys/kernel/random/boot_id").await, boot);
    said(machine, "systemctl --no-block poweroff").await;
    bench.until_off(1).await;
    machine.pull_plug();
}

async fn its_files_are_there_again(bench: &Bench) {
    let machine = bench.start();
    bench.until_up(&machine).await;
    assert_eq!(said(&machine, "cat /root/kept").await, "kept");
    machine.shut_down().await;
    machine.pull_plug();
    let machine = bench.start();
    bench.until_up(&machine).await;
    // The first process is killed: as a real machine's kernel would panic.
    let process = said(&machine, "true && cat /run/fusionlab-sim/up").await;
    assert_eq!(process, "");
    let pid = files::read(&bench.places.run().join("guests/tested/pid")).unwrap().unwrap();
    kill(pid.trim());
    bench.until_off(2).await;
    assert!(bench.around.console_text().contains("first process is gone"));
    machine.pull_plug();
    let machine = bench.start();
    bench.until_up(&machine).await;
    machine.pull_plug();
}
