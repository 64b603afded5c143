//! The world: one process that holds every machine with power, and what the machines and the host reach.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::around::Around;
use super::control::{Power, Reply, Request, VmView, WorldView};
use super::dhcp;
use super::disk::Disk;
use super::faults;
use super::links::{Link, Links};
use super::locks;
use super::network::Networks;
use super::pace::{Operation, Pace};
use super::places::{Places, vm_name};
use super::power::{self, Occupied, Prepared};
use super::refusal::Refusal;
use super::seam::{Hardware, Kind, Machine, Made, Segment};
use super::settings::{Guests, Settings};

/// Everything that runs.
pub struct World {
    pub(super) places: Places,
    pub(super) settings: Settings,
    pub(super) pace: Pace,
    pub(super) kind: Arc<dyn Kind>,
    dial: OnceLock<SocketAddr>,
    vms: Mutex<BTreeMap<PathBuf, Arc<Vm>>>,
    /// Held while a VM's power-on is checked against those that run.
    admission: tokio::sync::Mutex<()>,
    /// Connections and work in progress: while there is any, the world stays.
    busy: AtomicUsize,
    leaving: CancellationToken,
}

/// One VM with power.
pub struct Vm {
    world: Arc<World>,
    pub vmx: PathBuf,
    pub name: String,
    pub hardware: Hardware,
    disk: Arc<Mutex<Disk>>,
    console: Option<PathBuf>,
    power: Mutex<Power>,
    made: OnceLock<Made>,
    power_lost: CancellationToken,
}

/// Keeps the world from leaving.
pub struct Stay(Arc<World>);

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves values that are whole: each is changed by one assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub fn new(places: Places, kind: Arc<dyn Kind>) -> io::Result<Arc<Self>> {
        let settings = Settings::load(&places)?;
        Ok(Arc::new(Self {
            pace: Pace::new(settings.speed),
            settings,
            places,
            kind,
            dial: OnceLock::new(),
            vms: Mutex::default(),
            admission: tokio::sync::Mutex::default(),
            busy: AtomicUsize::new(0),
            leaving: CancellationToken::new(),
        }))
    }

    /// Says where the SOCKS5 server listens.
    pub fn dialled_at(&self, address: SocketAddr) {
        // Said once, by the server that serves this world.
        let _ = self.dial.set(address);
    }

    pub fn stay(self: &Arc<Self>) -> Stay {
        self.busy.fetch_add(1, Ordering::SeqCst);
        Stay(self.clone())
    }

    /// Says whether nothing has power and nobody asks.
    pub fn is_idle(&self) -> bool {
        self.busy.load(Ordering::SeqCst) == 0 && lock(&self.vms).is_empty()
    }

    pub fn leaving(&self) -> &CancellationToken {
        &self.leaving
    }

    /// Answers one request.
    pub async fn answer(self: &Arc<Self>, request: Request) -> Reply {
        let done = match request {
            Request::List => return Reply::Running(self.running()),
            Request::Describe => {
                let dial = self.dial.get().copied().unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
                let (running, vmnets) = (self.running(), self.vmnets());
                return Reply::World(WorldView { pid: std::process::id(), dial, running, vmnets });
            }
            Request::Inspect { vmx } => {
                return Reply::Vm(self.with_power(&vmx).map_or_else(VmView::off, |vm| vm.view()));
            }
            Request::Start { vmx } => self.start(&vmx).await,
            Request::Stop { vmx, soft } => self.stop(&vmx, soft).await,
            Request::Reset { vmx, soft } => self.reset(&vmx, soft).await,
            Request::Suspend { vmx } => self.suspend(&vmx).await,
            Request::Pause { vmx } => self.change_power(&vmx, Power::On, Power::Paused),
            Request::Unpause { vmx } => self.change_power(&vmx, Power::Paused, Power::On),
            Request::Networks => {
                self.apply_networks().await.map_err(|error| Refusal::Unknown(error.to_string()))
            }
            Request::Links => self.apply_links().await.map_err(|error| Refusal::Unknown(error.to_string())),
            Request::Sleep { seconds } => {
                for vm in self.vms() {
                    vm.machine().sleep(Duration::from_secs(seconds));
                }
                Ok(())
            }
            Request::Quit => {
                self.quit();
                Ok(())
            }
        };
        done.map_or_else(Reply::Refused, |()| Reply::Done)
    }

    /// Pulls every plug.
    pub fn quit(self: &Arc<Self>) {
        for vm in self.vms() {
            self.take_off(&vm);
            locks::release(&vm.vmx);
        }
        self.leaving.cancel();
    }

    pub(super) fn vms(&self) -> Vec<Arc<Vm>> {
        lock(&self.vms).values().cloned().collect()
    }

    /// Returns what `vmrun list` shows: a paused VM is in it, a suspended one is not.
    fn running(&self) -> Vec<PathBuf> {
        let shown = |vm: &Arc<Vm>| matches!(vm.power(), Power::On | Power::Paused).then(|| vm.vmx.clone());
        self.vms().iter().filter_map(shown).collect()
    }

    /// Returns the networks that a VM with power has a card on: the Mac has an interface for each of these.
    fn vmnets(&self) -> BTreeSet<u8> {
        let vms = self.vms();
        let powered = vms.iter().filter(|vm| matches!(vm.power(), Power::On | Power::Paused));
        let segments = powered.flat_map(|vm| vm.hardware.cards.iter().map(|card| &card.segment));
        segments
            .filter_map(|segment| if let Segment::Vmnet(number) = segment { Some(*number) } else { None })
            .collect()
    }

    /// Returns the VM if it runs, is paused or is suspended.
    fn with_power(&self, vmx: &Path) -> Option<Arc<Vm>> {
        lock(&self.vms).get(vmx).cloned()
    }

    async fn start(self: &Arc<Self>, vmx: &Path) -> Result<(), Refusal> {
        if let Some(vm) = self.with_power(vmx) {
            return match vm.power() {
                Power::Suspended => {
                    self.pace.take(Operation::Suspend).await;
                    power::forget_suspension(vmx)?;
                    self.change_power(vmx, Power::Suspended, Power::On)
                }
                _ => Err(Refusal::AlreadyRunning),
            };
        }
        let vm = {
            let _admission = self.admission.lock().await;
            let prepared = power::prepare(&self.places, &self.settings, vmx, &self.occupied())?;
            self.switch_on(vmx, prepared)
        };
        self.pace.take(Operation::Start).await;
        if vm.power_lost.is_cancelled() { Err(Refusal::Canceled) } else { Ok(()) }
    }

    fn occupied(&self) -> Occupied {
        let vms = self.vms();
        Occupied {
            macs: vms.iter().flat_map(|vm| vm.hardware.cards.iter().map(|card| card.mac)).collect(),
            memory_mib: vms.iter().map(|vm| vm.hardware.memory_mib).sum(),
        }
    }

    fn switch_on(self: &Arc<Self>, vmx: &Path, prepared: Prepared) -> Arc<Vm> {
        let vm = Arc::new(Vm {
            world: self.clone(),
            vmx: vmx.to_owned(),
            name: vm_name(vmx),
            hardware: prepared.body.hardware.clone(),
            disk: Arc::new(Mutex::new(prepared.disk)),
            console: prepared.console,
            power: Mutex::new(Power::On),
            made: OnceLock::new(),
            power_lost: CancellationToken::new(),
        });
        let around = Arc::new(Around::new(self, &vm));
        let made = self.kind.make(prepared.body, around);
        let machine = made.machine.clone();
        assert!(vm.made.set(made).is_ok(), "a VM is made once");
        lock(&self.vms).insert(vmx.to_owned(), vm.clone());
        if prepared.bootable && !vm.fault(faults::BOOT_HANGS) {
            let power_lost = vm.power_lost.clone();
            tokio::spawn(async move { power_lost.run_until_cancelled_owned(machine.boot()).await });
        }
        vm
    }

    async fn stop(self: &Arc<Self>, vmx: &Path, soft: bool) -> Result<(), Refusal> {
        let vm = self.with_power(vmx).ok_or_else(|| Refusal::NotPoweredOn(vmx.to_owned()))?;
        match vm.power() {
            Power::Off | Power::Suspended => return Err(Refusal::NotPoweredOn(vmx.to_owned())),
            Power::Paused if soft => return Err(Refusal::NoTools(vmx.to_owned())),
            Power::On | Power::Paused => {}
        }
        if soft {
            if !vm.machine().tools_running() {
                return Err(Refusal::NoTools(vmx.to_owned()));
            }
            vm.machine().shut_down().await;
        } else {
            self.pace.take(Operation::StopHard).await;
        }
        self.switch_off(&vm, soft);
        Ok(())
    }

    /// Takes a VM's power away, and lets go of its files a little later as Fusion does.
    pub(super) fn switch_off(self: &Arc<Self>, vm: &Arc<Vm>, orderly: bool) {
        if !self.take_off(vm) {
            return;
        }
        power::record_power_off(&vm.vmx, orderly);
        // Real systems return their leases themselves, to a server that writes its file itself.
        if orderly && self.settings.guests == Guests::Model {
            vm.hardware.cards.iter().for_each(|card| dhcp::release(self, card));
        }
        let stay = self.stay();
        let (pace, vmx) = (self.pace, vm.vmx.clone());
        tokio::spawn(async move {
            pace.take(Operation::Unlock).await;
            locks::release(&vmx);
            drop(stay);
        });
    }

    /// Says whether it was this call that took the power.
    fn take_off(&self, vm: &Arc<Vm>) -> bool {
        let mut vms = lock(&self.vms);
        if !vms.get(&vm.vmx).is_some_and(|found| Arc::ptr_eq(found, vm)) {
            return false;
        }
        vms.remove(&vm.vmx);
        drop(vms);
        vm.set_power(Power::Off);
        vm.power_lost.cancel();
        vm.machine().pull_plug();
        true
    }

    async fn reset(self: &Arc<Self>, vmx: &Path, soft: bool) -> Result<(), Refusal> {
        let vm = self.with_power(vmx).ok_or_else(|| Refusal::NotPoweredOn(vmx.to_owned()))?;
        if soft {
            if !vm.machine().tools_running() {
                return Err(Refusal::NoTools(vmx.to_owned()));
            }
            vm.machine().shut_down().await;
        }
        self.take_off(&vm);
        locks::release(vmx);
        self.start(vmx).await
    }

    async fn suspend(&self, vmx: &Path) -> Result<(), Refusal> {
        let vm = self.with_power(vmx).ok_or_else(|| Refusal::NotPoweredOn(vmx.to_owned()))?;
        self.change_power(vmx, Power::On, Power::Suspended)?;
        self.pace.take(Operation::Suspend).await;
        power::record_suspension(&vm.vmx)?;
        Ok(())
    }

    fn change_power(&self, vmx: &Path, from: Power, to: Power) -> Result<(), Refusal> {
        let vm = self.with_power(vmx).ok_or_else(|| Refusal::NotPoweredOn(vmx.to_owned()))?;
        let mut power = lock(&vm.power);
        if *power != from {
            return Err(Refusal::NotPoweredOn(vmx.to_owned()));
        }
        *power = to;
        vm.machine().freeze(to != Power::On);
        Ok(())
    }

    /// Makes the networks that machines are on what the simulated Mac's services run now.
    pub(super) async fn apply_networks(&self) -> io::Result<()> {
        let applied = self.kind.apply(&Networks::load(&self.places)?).await;
        self.apply_links().await?;
        applied
    }

    async fn apply_links(&self) -> io::Result<()> {
        self.kind.link(&Links::load(&self.places)).await
    }

    /// Takes down what the machines stood on; nothing has power any more.
    pub(super) async fn leave(&self) {
        self.kind.leave().await;
    }

    /// Returns the other machines that run with a card whose link to a segment is whole.
    pub(super) fn on_segment(&self, segment: &Segment, except: &Path) -> Vec<Arc<Vm>> {
        let links = Links::load(&self.places);
        let there =
            |vm: &Arc<Vm>| vm.vmx != except && vm.power() == Power::On && vm.is_linked(&links, segment);
        self.vms().into_iter().filter(there).collect()
    }

    /// Returns every address that somebody holds on a segment.
    pub(super) fn addresses_on(&self, segment: &Segment) -> Vec<Ipv4Addr> {
        let machines = self.vms();
        let all = machines.iter().flat_map(|vm| vm.machine().addresses());
        all.filter(|(on, _)| on == segment).map(|(_, address)| address).collect()
    }

    pub(super) fn find(&self, vmx: &Path) -> Option<Arc<Vm>> {
        self.with_power(vmx)
    }
}

impl Vm {
    pub fn machine(&self) -> Arc<dyn Machine> {
        self.made().machine.clone()
    }

    pub(super) fn kind(&self) -> Arc<dyn Any + Send + Sync> {
        self.made().kind.clone()
    }

    fn made(&self) -> &Made {
        self.made.get().expect("a VM is in the world only after it was made")
    }

    pub fn power(&self) -> Power {
        *lock(&self.power)
    }

    fn set_power(&self, power: Power) {
        *lock(&self.power) = power;
    }

    /// Cancelled when the VM's power goes.
    pub fn power_lost(&self) -> &CancellationToken {
        &self.power_lost
    }

    /// Pulls the plug, as a fault does.
    pub fn lose_power(self: &Arc<Self>) {
        self.world.switch_off(self, false);
    }

    pub fn fault(&self, name: &str) -> bool {
        faults::strikes(&self.world.places, name, &self.name)
    }

    /// Says whether a card of its on this segment has a link that is whole.
    pub(super) fn is_linked(&self, links: &Links, segment: &Segment) -> bool {
        let mut cards = self.hardware.cards.iter().filter(|card| card.segment == *segment);
        cards.any(|card| links.of(&self.name, &card.name) == Link::Whole)
    }

    pub async fn pass(&self, real: Duration) {
        self.world.pace.pass(real).await;
    }

    pub(super) fn disk(&self) -> Arc<Mutex<Disk>> {
        self.disk.clone()
    }

    pub(super) fn console(&self) -> Option<PathBuf> {
        self.console.clone()
    }

    fn view(&self) -> VmView {
        let machine = self.machine();
        let addresses = machine.addresses();
        let on = |wanted: &Segment| {
            let matching = addresses.iter().filter(|(segment, _)| segment == wanted);
            matching.map(|(_, address)| *address).collect()
        };
        VmView {
            power: self.power(),
            tools: self.power() == Power::On && machine.tools_running(),
            cards: self.hardware.cards.iter().map(|card| (card.mac, on(&card.segment))).collect(),
        }
    }
}
