//! The simulated Mac inside the thread that works on it: no process, no socket, no real time, and death at any point.
//!
//! ```text
//! a test's thread ── one tokio runtime, its time paused: it jumps to the next timer once nothing else is to be done
//!   ├── the product's own engine, as a process that may be killed (process.rs)
//!   │     └─ host::stand_in ─▶ computer.rs   clock, programs, connections, files
//!   │                            ├─ disk.rs  what of the files would outlive a power cut
//!   │                            └─ shell.rs commands in guests, without SSH's cryptography
//!   ├── people: power, sleep, clock, consoles (hands.rs)
//!   └── the world (world.rs) with its machines
//!         └─ kept.rs  what their disks hold
//! ```
//!
//! What happens is written down with its virtual time, and is the same each time that the seed is.

mod computer;
mod disk;
mod hands;
mod kept;
mod process;
mod shell;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::control::{Reply, Request};
use super::guest::Models;
use super::guest::state::Disk;
use super::network::{Network, Networks};
use super::pace;
use super::places::Places;
use super::seam::Segment;
use super::world::{Vm, World};
use crate::formats::mac::Mac;
use crate::host::stand_in;
use disk::Unsynced;
use kept::Kept;
pub use process::{Death, Lived, Process, When};
pub use shell::InsideShell;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Inside>>> = const { RefCell::new(None) };
}

/// Returns this thread's simulated Mac, if it has one.
pub fn current() -> Option<Arc<Inside>> {
    CURRENT.with(|current| current.borrow().clone())
}

/// Writes down something that must not have come to be asked for; a simulation that finds it has found a mistake.
pub fn witness(what: &str) {
    if let Some(inside) = current() {
        inside.note(format!("{WITNESS}{what}"));
    }
}

/// Tells a simulation that somebody else wrote Fusion's networking file: Fusion itself, its window, or a person.
pub fn networking_rewritten(before: &[u8], after: &[u8]) {
    if let Some(inside) = current() {
        inside.state().rewrites.push((before.to_vec(), after.to_vec()));
    }
}

/// What the words of a witness begin with.
pub const WITNESS: &str = "asked in vain: ";

/// A simulated Mac inside this thread.
pub struct Inside {
    pub places: Places,
    me: Weak<Self>,
    began: Instant,
    /// The time of day at the beginning, in milliseconds since 1970.
    epoch_ms: u64,
    state: Mutex<State>,
}

struct State {
    world: Option<Arc<World>>,
    /// By how much the Mac's clock was set, in milliseconds.
    jumped_ms: i64,
    /// Cancelled when the Mac's power goes.
    power: CancellationToken,
    /// Cancelled when somebody ends the programs that hang.
    patience: CancellationToken,
    /// Those that have begun and are not quite gone.
    processes: Vec<Process>,
    /// The one that has the processor.
    current: Option<Process>,
    refusal: Option<FileFault>,
    unsynced: Unsynced,
    trace: Vec<(Duration, String)>,
    /// Fusion's networking file before and after each time that somebody else wrote it.
    rewrites: Vec<(Vec<u8>, Vec<u8>)>,
    draws: u64,
    kept: Kept,
}

/// A machine that has power.
#[derive(Clone, Debug)]
pub struct Running {
    pub vmx: PathBuf,
    pub macs: Vec<Mac>,
    pub holds: Vec<(Segment, Ipv4Addr)>,
}

/// File operations that fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFault {
    /// The error's number, such as `libc::ENOSPC`.
    pub errno: i32,
    /// How many effects succeed before.
    pub after: u64,
    /// How many fail.
    pub times: u64,
}

/// The simulated Mac of this thread until it is dropped.
#[must_use = "the thread's simulated Mac goes when this is dropped"]
pub struct Standing {
    _computer: stand_in::Standing,
}

impl Drop for Standing {
    fn drop(&mut self) {
        CURRENT.with(|current| current.replace(None));
    }
}

impl Inside {
    /// Lets the Mac that is laid out under a root run inside this thread, from a time of day on. `seed` decides what is
    /// left to chance.
    pub fn begin(root: &Path, epoch_ms: u64, seed: u64) -> (Arc<Self>, Standing) {
        let inside = Arc::new_cyclic(|me| Self {
            places: Places::new(root),
            me: me.clone(),
            began: Instant::now(),
            epoch_ms,
            state: Mutex::new(State {
                world: None,
                jumped_ms: 0,
                power: CancellationToken::new(),
                patience: CancellationToken::new(),
                processes: Vec::new(),
                current: None,
                refusal: None,
                unsynced: Unsynced::default(),
                trace: Vec::new(),
                rewrites: Vec::new(),
                draws: seed,
                kept: Kept::default(),
            }),
        });
        CURRENT.with(|current| current.replace(Some(inside.clone())));
        let computer = stand_in::stand_in(inside.clone());
        (inside, Standing { _computer: computer })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arc(&self) -> Arc<Self> {
        self.me.upgrade().expect("whoever calls its methods holds it")
    }

    /// Returns the world, if anything has been started since the Mac has power.
    pub fn world(&self) -> Option<Arc<World>> {
        self.state().world.clone()
    }

    /// Asks the world; none if there is none.
    pub(super) async fn ask(&self, request: &Request) -> Option<Reply> {
        let world = self.world()?;
        Some(world.answer(request.clone()).await)
    }

    /// Asks the world, and lets it begin before if need be.
    pub(super) async fn ask_awake(&self, request: &Request) -> io::Result<Reply> {
        let world = match self.world() {
            Some(world) => world,
            None => {
                let world = World::new(self.places.clone(), Arc::new(Models::default()))?;
                world.apply_networks().await?;
                self.state().world = Some(world.clone());
                world
            }
        };
        Ok(world.answer(request.clone()).await)
    }

    /// Keeps what a guest has on its disk and returns the bytes that stand for it there.
    pub(super) fn keep(&self, disk: Disk) -> Vec<u8> {
        self.state().kept.keep(disk)
    }

    /// Returns what bytes on a disk stand for, if they came from [`Self::keep`].
    pub(super) fn kept(&self, bytes: &[u8]) -> Option<Disk> {
        self.state().kept.find(bytes)
    }

    /// Writes down what happens.
    pub fn note(&self, text: impl Into<String>) {
        let at = self.began.elapsed();
        let home = self.places.root().parent().unwrap_or(Path::new("/")).display().to_string();
        self.state().trace.push((at, without_chance(&text.into().replace(&home, "~"))));
    }

    /// Returns what happened so far, each with the virtual time since the beginning.
    pub fn trace(&self) -> Vec<(Duration, String)> {
        self.state().trace.clone()
    }

    /// Returns the machines with power: their VMX files, and what they hold on which segment.
    pub fn machines(&self) -> Vec<Running> {
        let vms = self.world().map(|world| world.vms()).unwrap_or_default();
        let running = |vm: Arc<Vm>| Running {
            vmx: vm.vmx.clone(),
            macs: vm.hardware.cards.iter().map(|card| card.mac).collect(),
            holds: vm.machine().addresses(),
        };
        vms.into_iter().map(running).collect()
    }

    /// Returns what runs of Fusion's networks: each network's number with its NAT, adapter and DHCP.
    ///
    /// # Errors
    /// If the networks' state cannot be read.
    pub fn services(&self) -> io::Result<BTreeMap<u8, [bool; 3]>> {
        let running = Networks::load(&self.places)?;
        let of = |(number, network): (&u8, &Network)| (*number, [network.nat, network.adapter, network.dhcp]);
        Ok(running.all_running().iter().map(of).collect())
    }

    /// Says whether others have written into Fusion's networking file since [`Self::rewrites`] was asked last.
    pub fn was_rewritten(&self) -> bool {
        !self.state().rewrites.is_empty()
    }

    /// Returns what others wrote into Fusion's networking file since this was asked last: the file before and after, each.
    pub fn rewrites(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        std::mem::take(&mut self.state().rewrites)
    }

    /// Lets file operations fail from now on.
    pub fn refuse_files(&self, fault: Option<FileFault>) {
        self.state().refusal = fault;
    }
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Returns a text without what differs from run to run though it means the same: names of temporary files. So is told what happens.
pub fn without_chance(text: &str) -> String {
    const LETTERS: usize = 6;
    let mark = crate::host::files::TEMPORARY;
    let mut rest = text;
    let mut kept = String::new();
    while let Some(at) = rest.find(mark) {
        let after = at + mark.len();
        kept.push_str(&rest[..after]);
        rest = &rest[after..];
        if rest.len() >= LETTERS && rest.bytes().take(LETTERS).all(|byte| byte.is_ascii_alphanumeric()) {
            kept.push('*');
            rest = &rest[LETTERS..];
        }
    }
    kept.push_str(rest);
    kept
}
