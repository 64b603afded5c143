//! The seam between the simulated Fusion and the machines it runs, so that machines can be of several kinds.

use std::any::Any;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::sync::mpsc;

use super::links::Links;
use super::network::Networks;
use super::settings::Stranger;
use crate::formats::mac::Mac;

/// One end of a TCP connection inside the simulated networks.
pub type Wire = DuplexStream;

/// Makes a wire of a connection that is real.
pub fn wire(mut real: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Wire {
    let (near, mut far) = tokio::io::duplex(WIRE_BUFFER);
    tokio::spawn(async move {
        // Either end's error is the end, and both see it.
        let _ = tokio::io::copy_bidirectional(&mut far, &mut real).await;
    });
    near
}

/// Bytes held in flight on a [`Wire`] in each direction.
pub const WIRE_BUFFER: usize = 64 * 1024;

/// Machines of one kind, and what they stand on.
#[async_trait]
pub trait Kind: Send + Sync {
    /// Makes a machine that does nothing yet.
    fn make(&self, body: Body, around: Arc<dyn Surroundings>) -> Made;

    /// Makes the networks under the machines what Fusion's services run now. Asked when the world begins and after
    /// every change; machines with power stay plugged in.
    async fn apply(&self, networks: &Networks) -> io::Result<()>;

    /// Cuts the links that are not whole, and mends the others. Asked as [`Self::apply`] is.
    async fn link(&self, links: &Links) -> io::Result<()> {
        let _ = links;
        Ok(())
    }

    /// Opens a TCP connection as the Mac. None if the world is to find the machine by its addresses.
    async fn dial(&self, to: SocketAddrV4) -> Option<io::Result<Wire>>;

    /// Takes everything down: the world leaves.
    async fn leave(&self);
}

/// A machine as its kind makes it: to run, and to be recognised by its neighbours of the same kind.
pub struct Made {
    pub machine: Arc<dyn Machine>,
    pub kind: Arc<dyn Any + Send + Sync>,
}

/// What a machine is made from.
#[derive(Clone, Debug)]
pub struct Body {
    pub hardware: Hardware,
    pub vmx: PathBuf,
    /// The boot disk's VMDK.
    pub disk: PathBuf,
    /// What a guest saved on that disk, or on one that it depends on.
    pub state: Option<Vec<u8>>,
    pub contents: Contents,
}

/// What the firmware finds on a disk that no guest has saved anything on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Nothing that boots.
    Nothing,
    /// The simulated cloud image, whose first words say what it is.
    Image(String),
    /// A partition table: a disk of somebody's own.
    Partitions,
}

/// What a machine is made of, as its VMX says and Fusion checked.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// `displayName`.
    pub name: String,
    pub cpus: u32,
    pub memory_mib: u32,
    /// What the boot disk holds at most.
    pub disk_bytes: u64,
    /// `uuid.bios`, which the guest reads as product_uuid.
    pub uuid: String,
    pub cards: Vec<Card>,
    /// The files of the attached seed image (`user-data`, `meta-data`, `network-config`), if one is attached.
    pub seed: Option<std::collections::BTreeMap<String, Vec<u8>>>,
}

/// One network card that Fusion connected.
#[derive(Clone, Debug)]
pub struct Card {
    pub mac: Mac,
    pub segment: Segment,
    /// The guest's name for it: `ens<slot>`.
    pub name: String,
}

/// What a card is plugged into.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Bridged to the home network.
    Lan,
    /// One of Fusion's own networks, by number.
    Vmnet(u8),
}

/// What Fusion's DHCP server (or the home router's) gave a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub router: Option<Ipv4Addr>,
    pub dns: Vec<Ipv4Addr>,
}

/// Who asks a DHCP server for an address, besides its card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    pub hostname: Option<String>,
    /// Its identifier as a leases file spells it: `ff:…` with a DUID. None for a 1 and the card's MAC.
    pub uid: Option<String>,
}

/// A piece of a command's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
}

/// What a guest's SSH server needs to know, once there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshFace {
    /// The host's private key in OpenSSH's PEM form, as the seed gave it.
    pub host_key: String,
    /// User name → public keys that may log in (OpenSSH one-line form).
    pub users: std::collections::BTreeMap<String, Vec<String>>,
}

/// A machine that runs.
#[async_trait]
pub trait Machine: Send + Sync {
    /// Goes through its boot: console lines, lease, cloud-init. Returns when the machine is up, or never
    /// if it hangs; the world drops it at power-off.
    async fn boot(self: Arc<Self>);

    /// Returns the SSH server's keys; none until sshd runs.
    fn ssh(&self) -> Option<SshFace>;

    /// Runs one command line as a user; the machine's tools decide what it means.
    async fn exec(&self, user: &str, line: &str, input: Vec<u8>, output: mpsc::Sender<Chunk>) -> i32;

    /// Returns every address it holds now on a segment: leases, static ones, VIPs.
    fn addresses(&self) -> Vec<(Segment, Ipv4Addr)>;

    /// Serves a TCP connection that arrived for one of its addresses (not port 22, which the world serves
    /// through [`Self::ssh`] and [`Self::exec`]). Returns at once: refused, or accepted and served on.
    fn accept(self: Arc<Self>, to: SocketAddrV4, wire: Wire) -> io::Result<()>;

    /// Says whether its tools run, so that a soft stop works.
    fn tools_running(&self) -> bool;

    /// Shuts down in an orderly way.
    async fn shut_down(&self);

    /// Stops the machine's time, or lets it go on: it is paused or suspended.
    fn freeze(&self, frozen: bool) {
        let _ = frozen;
    }

    /// The Mac slept for so long, and the machine's time stood still meanwhile: what it holds is that much older now.
    fn sleep(&self, slept: Duration) {
        let _ = slept;
    }

    /// Power is gone: what was not saved is lost, nothing runs afterwards.
    fn pull_plug(&self);
}

/// The world as a machine sees it.
#[async_trait]
pub trait Surroundings: Send + Sync {
    /// Asks the segment's DHCP server; none if there is none or it does not answer.
    async fn lease(&self, card: &Card, client: &Client) -> Option<Lease>;

    /// Opens a TCP connection from one of the machine's addresses: host unreachable, refused, or connected.
    async fn connect(&self, from: &[Card], to: SocketAddrV4) -> io::Result<Wire>;

    /// Returns the running machines of the same kind whose card is on a segment, by name, so that they can talk
    /// in ways that are not TCP (VRRP, ARP, etcd's own protocol).
    fn neighbours(&self, segment: &Segment) -> Vec<(String, Arc<dyn std::any::Any + Send + Sync>)>;

    /// Returns the machines of the home's own on the LAN that answer for an address or send VRRP adverts.
    fn strangers(&self) -> Vec<Stranger> {
        Vec::new()
    }

    /// Says whether a card has its carrier.
    fn carrier(&self, card: &str) -> bool {
        let _ = card;
        true
    }

    /// Says whether the simulated internet answers.
    fn internet(&self) -> bool;

    /// Lets the time pass that an operation takes on a real machine, scaled by the simulation's speed.
    async fn pass(&self, real: Duration);

    /// Returns milliseconds since 1970.
    fn clock_ms(&self) -> u64;

    /// Draws from the world's seeded generator, so that a run can be repeated.
    fn random(&self) -> u64;

    /// Appends to the serial console's file, if the VMX has one.
    fn console(&self, line: &str);

    /// Writes the machine's state into its disk (the VMDK), durably.
    fn save(&self, state: &[u8]) -> io::Result<()>;

    /// Sets one of the guest's variables (`guestinfo.NAME`), which the host reads by `vmrun readVariable`.
    fn set_variable(&self, name: &str, value: &str) -> io::Result<()> {
        let _ = (name, value);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Returns one of the guest's variables; none if nobody set it.
    fn variable(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }

    /// The guest powered itself off.
    fn powered_off(&self);

    /// Says whether a fault of this name is to strike now: see `sim::faults`.
    fn fault(&self, name: &str) -> bool;

    /// Says whether a fault is to strike at a point of this machine's work, such as a phase of kubeadm's: its target is
    /// `MACHINE:POINT`.
    fn fault_at(&self, name: &str, point: &str) -> bool {
        let _ = (name, point);
        false
    }
}
