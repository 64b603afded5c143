//! What surrounds one machine: the world through the seam's eyes.

use std::any::Any;
use std::io;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;

use super::disk::Disk;
use super::links::{Link, Links};
use super::network::Networks;
use super::pace::Operation;
use super::seam::{Card, Client, Lease, Segment, Surroundings, Wire};
use super::settings::{Settings, Stranger};
use super::world::{Vm, World, lock};
use super::{dhcp, faults, files, now_ms, power};

/// One machine's surroundings. It outlives neither the world nor the VM, and keeps neither alive.
pub struct Around {
    world: Weak<World>,
    vmx: PathBuf,
    name: String,
    disk: Arc<Mutex<Disk>>,
    console: Option<PathBuf>,
    /// The state of this machine's own generator, so that draws do not depend on other machines.
    draws: AtomicU64,
}

impl Around {
    pub fn new(world: &Arc<World>, vm: &Vm) -> Self {
        let seed = world.settings.seed ^ digest(&vm.name);
        Self {
            world: Arc::downgrade(world),
            vmx: vm.vmx.clone(),
            name: vm.name.clone(),
            disk: vm.disk(),
            console: vm.console(),
            draws: AtomicU64::new(seed),
        }
    }

    fn link(&self, card: &str) -> Link {
        let world = self.world.upgrade();
        world.map_or(Link::Whole, |world| Links::load(&world.places).of(&self.name, card))
    }

    fn networks(&self) -> Networks {
        let world = self.world.upgrade();
        world.and_then(|world| Networks::load(&world.places).ok()).unwrap_or_default()
    }
}

/// FNV-1a, so that a name's draws are the same on every machine and in every release.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// SplitMix64's step and output (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
const SPLITMIX_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

fn splitmix(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[async_trait]
impl Surroundings for Around {
    async fn lease(&self, card: &Card, client: &Client) -> Option<Lease> {
        let world = self.world.upgrade()?;
        world.pace.take(Operation::Lease).await;
        if self.link(&card.name) != Link::Whole || self.fault(faults::DHCP_SILENT) {
            return None;
        }
        dhcp::lease(&world, card, client)
    }

    async fn connect(&self, from: &[Card], to: SocketAddrV4) -> io::Result<Wire> {
        let world = self.world.upgrade().ok_or(io::ErrorKind::HostUnreachable)?;
        let networks = self.networks();
        let links = Links::load(&world.places);
        let is_whole = |card: &&Card| links.of(&self.name, &card.name) == Link::Whole;
        let from: Vec<&Card> = from.iter().filter(is_whole).collect();
        let up = |segment: &Segment| match segment {
            Segment::Lan => true,
            Segment::Vmnet(number) => networks.running(*number).is_some(),
        };
        // Fusion's NAT carries a guest to the LAN; nothing carries the LAN into Fusion's networks.
        let natted = from.iter().any(|card| match card.segment {
            Segment::Lan => false,
            Segment::Vmnet(number) => networks.running(number).is_some_and(|network| network.nat),
        });
        let is_near = |segment: &Segment| {
            let shared = from.iter().any(|card| card.segment == *segment);
            (shared && up(segment)) || (natted && *segment == Segment::Lan)
        };
        // Only a connection that it leads somewhere uses the fault up: Keepalived asks its witnesses all the time.
        let routed = from.iter().any(|card| card.segment == Segment::Lan)
            && world.holder(*to.ip(), is_near).is_none()
            && world.holder(*to.ip(), up).is_some()
            && self.fault(faults::LAN_ROUTED);
        let reaches = |segment: &Segment| is_near(segment) || (routed && up(segment));
        world.connect(to, reaches).await.map(|(wire, _)| wire)
    }

    fn neighbours(&self, segment: &Segment) -> Vec<(String, Arc<dyn Any + Send + Sync>)> {
        let Some(world) = self.world.upgrade() else { return Vec::new() };
        if let Segment::Vmnet(number) = segment
            && self.networks().running(*number).is_none()
        {
            return Vec::new();
        }
        let links = Links::load(&world.places);
        if !world.find(&self.vmx).is_some_and(|own| own.is_linked(&links, segment)) {
            return Vec::new();
        }
        let near = world.on_segment(segment, &self.vmx);
        near.iter().map(|vm| (vm.hardware.name.clone(), vm.kind())).collect()
    }

    fn strangers(&self) -> Vec<Stranger> {
        // As they are now: a hazard may have come since the world began.
        let settings = self.world.upgrade().and_then(|world| Settings::load(&world.places).ok());
        settings.map(|settings| settings.strangers).unwrap_or_default()
    }

    fn carrier(&self, card: &str) -> bool {
        self.link(card) != Link::Down
    }

    fn internet(&self) -> bool {
        let Some(world) = self.world.upgrade() else { return false };
        let networks = self.networks();
        let leads = |card: &Card| match card.segment {
            Segment::Lan => true,
            Segment::Vmnet(number) => networks.running(number).is_some_and(|network| network.nat),
        };
        world.settings.internet && world.find(&self.vmx).is_some_and(|vm| vm.hardware.cards.iter().any(leads))
    }

    async fn pass(&self, real: Duration) {
        let pace = self.world.upgrade().map(|world| world.pace);
        match pace {
            Some(pace) => pace.pass(real).await,
            None => std::future::pending().await,
        }
    }

    fn clock_ms(&self) -> u64 {
        now_ms()
    }

    fn random(&self) -> u64 {
        splitmix(self.draws.fetch_add(SPLITMIX_STEP, Ordering::SeqCst).wrapping_add(SPLITMIX_STEP))
    }

    fn console(&self, line: &str) {
        if let Some(console) = &self.console {
            // A console that cannot be written must not stop the machine.
            let _ = files::append(console, format!("{line}\r\n"));
        }
    }

    fn save(&self, state: &[u8]) -> io::Result<()> {
        if self.fault(faults::GUEST_DISK_FULL) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        lock(&self.disk).save(state)
    }

    fn set_variable(&self, name: &str, value: &str) -> io::Result<()> {
        let mut config =
            power::open_vmx(&self.vmx).map_err(|refusal| io::Error::other(refusal.to_string()))?;
        config.set(&format!("guestinfo.{name}"), value);
        files::write(&self.vmx, config.render())
    }

    fn variable(&self, name: &str) -> Option<String> {
        let value = power::open_vmx(&self.vmx).ok()?.get(&format!("guestinfo.{name}"))?;
        Some(value.to_string()).filter(|value| !value.is_empty())
    }

    fn powered_off(&self) {
        let Some(world) = self.world.upgrade() else { return };
        if let Some(vm) = world.find(&self.vmx) {
            world.switch_off(&vm, true);
        }
    }

    fn fault(&self, name: &str) -> bool {
        self.world.upgrade().is_some_and(|world| faults::strikes(&world.places, name, &self.name))
    }

    fn fault_at(&self, name: &str, point: &str) -> bool {
        let target = format!("{}:{point}", self.name);
        self.world.upgrade().is_some_and(|world| faults::strikes(&world.places, name, &target))
    }
}
