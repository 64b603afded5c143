//! What goes wrong while a verb runs: Fusion, guests, the programs' callers, files, the clock, and others at work.

use std::time::Duration;

use fusionlab::sim::faults::{self, Fault};
use fusionlab::sim::inside::{Death, FileFault, Inside, When};
use fusionlab::sim::install;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::chance::Chance;
use super::hands;
use super::mac::Mac;
use super::networking;

/// Faults of Fusion's and of guests', and whether they are meant for one machine.
const FAULTS: &[(&str, bool)] = &[
    (faults::START_HANGS, true),
    (faults::START_LIES, true),
    (faults::START_SILENT, true),
    (faults::START_CANCELED, true),
    (faults::START_UNKNOWN, true),
    (faults::HOST_UNREACHABLE, true),
    (faults::UNWRITABLE, true),
    (faults::STALE_LOCK, true),
    (faults::STOP_SOFT_HANGS, true),
    (faults::STOP_HARD_HANGS, true),
    (faults::STOP_SILENT, true),
    (faults::SNAPSHOT_EXISTS, false),
    (faults::PARENT_BUSY, true),
    (faults::CLONE_CANCELED, true),
    (faults::DISK_FULL, true),
    (faults::DELETE_SILENT, true),
    (faults::NOISE_LINES, false),
    (faults::LIST_MISCOUNTS, false),
    (faults::WRONG_ADDRESS, true),
    (faults::UNKNOWN_ADDRESS, true),
    (faults::ADDRESS_DENIED, true),
    (faults::ADDRESS_HANGS, true),
    (faults::TOOLS_UNSURE, true),
    (faults::NETWORK_START_LIES, false),
    (faults::NETWORK_CONFIGURE_FAILS, false),
    (faults::NETWORK_EXIT_LIES, false),
    (faults::STATUS_SILENT, false),
    (faults::LEASES_LOST, false),
    (faults::COMPACTS, false),
    (faults::UI_OVERWRITES, false),
    (faults::DHCP_SILENT, true),
    (faults::BOOT_HANGS, true),
    (faults::SSH_DROPS, true),
    (faults::GUEST_BABBLES, true),
    (faults::GUEST_STALLS, true),
    (faults::POWER_LOST, true),
    (faults::GUEST_DISK_FULL, true),
    (faults::ENVOY_REFUSES, true),
    (faults::LAN_ROUTED, true),
    (faults::HELM_KILLED, false),
    (faults::KUBEADM_INIT_FAILS, false),
    (faults::API_SERVER_CRASHES, true),
];

/// Ends of kubeadm's phases at which it may be killed.
const PHASES: &[&str] = &[
    "control-plane",
    "etcd-join",
    "kubelet-start",
    "kubelet-wait-bootstrap",
    "etcd-promote",
    "control-plane-prepare",
];

/// Calls of Fusion's programs that may hang, or whose caller may be killed.
const CALLS: &[&str] = &[
    "vmnet-cli --stop",
    "vmnet-cli --configure",
    "vmnet-cli --start",
    "vmnet-cli --status",
    "vmrun list",
    "vmrun start",
    "vmrun stop",
    "vmrun clone",
    "vmrun snapshot",
    "vmrun deleteVM",
    "vmrun listSnapshots",
    "vmnet-cfgcli servicestop",
    "vmnet-cfgcli updatedhcpfromconfig",
    "vmnet-cfgcli servicestart",
    "vmware-vdiskmanager -x",
];

/// Steps in whose middle a death is worth aiming at: what they leave half done is the next run's business.
const STEPS: &[&str] = &[
    "network.apply",
    "network.restore",
    "identity.create",
    "image.convert",
    "template.bake",
    "template.freeze",
    "vm.clone",
    "vm.configure",
    "vm.start",
    "vm.stop",
    "vm.delete",
    "gateway.configure",
    "kube.certificates",
    "kube.init",
    "kube.join",
    "ingress.configure",
    "lab.forget",
];

/// Steps that talk to the guests of the whole cluster, one after the other or at once.
const OF_THE_CLUSTER: &[&str] = &[
    "node.prepare",
    "gateway.configure",
    "gateway.vips",
    "kube.certificates",
    "kube.init",
    "kube.endpoint",
    "kube.join",
    "cilium.install",
    "gateway-api.install",
    "kube.nodes",
    "ingress.configure",
    "kubeconfig.write",
];

/// A verb's length in seconds, as far as what comes in its middle is concerned.
pub const MIDDLE: u64 = 420;

/// What is to befall a verb, and what befalls it by the clock.
#[derive(Default)]
pub struct Mishaps {
    pub death: Option<Death>,
    /// Cancelled at Ctrl-C.
    pub cancel: CancellationToken,
    /// Whether an API server was to crash.
    crashes: bool,
    timers: Vec<JoinHandle<()>>,
}

impl Mishaps {
    /// Returns nothing but a death.
    pub fn of(death: Death) -> Self {
        Self { death: Some(death), ..Self::default() }
    }

    /// Adds one; false if it is to be a second run beside the first, which is the story's business.
    pub fn draw(&mut self, mac: &Mac, chance: &mut Chance) -> bool {
        match chance.below(25) {
            0..=9 => {
                let death = death(chance);
                mac.inside.note(format!("to be killed: {death:?}"));
                self.death = Some(death);
            }
            10..=14 => self.plant(mac, chance),
            15 => kubeadm_dies(mac, chance),
            16 => of_a_call(mac, chance, faults::CALLER_DIES),
            17 => of_a_call(mac, chance, faults::PROGRAM_HANGS),
            18 => files_fail(mac, chance),
            19 => {
                let (cancel, second) = (self.cancel.clone(), chance.below(MIDDLE) * 1000);
                self.at(mac, second, move |inside| {
                    inside.note("Ctrl-C");
                    cancel.cancel();
                });
            }
            20 => self.clock_jumps(mac, chance),
            21 => {
                // As likely as not while the networks change, which is at the beginning.
                let (at, what) = (chance.of_any_size(19), chance.draw());
                self.at(mac, at, move |inside| networking::others_write(inside, what));
            }
            22 if chance.percent(50) => link(mac, chance),
            22 if chance.percent(15) => flood(mac, chance),
            23 => drops_within_a_step(mac, chance),
            _ => return false,
        }
        true
    }

    fn plant(&mut self, mac: &Mac, chance: &mut Chance) {
        let (name, of_machine) = *chance.pick(FAULTS);
        self.crashes |= name == faults::API_SERVER_CRASHES;
        let target = of_machine.then(|| machine(mac, chance)).flatten();
        put(mac, Fault { name: name.to_owned(), target, times: Some(times(chance)), after: after(chance) });
    }

    /// Lets something happen so many milliseconds after the verb began.
    fn at(&mut self, mac: &Mac, ms: u64, deed: impl FnOnce(&Inside) + Send + 'static) {
        let inside = mac.inside.clone();
        self.timers.push(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            deed(&inside);
        }));
    }

    fn clock_jumps(&mut self, mac: &Mac, chance: &mut Chance) {
        const HOUR_MS: i64 = 3_600_000;
        // Our certificates begin a day before they were made: a clock that was more wrong than that is its owner's to set.
        const MOST_BACK: i64 = 24;
        let hours = i64::try_from(1 + chance.below(48)).expect("it is small");
        let back = hours.min(MOST_BACK - mac.set_back.get());
        let by = if chance.percent(50) || back == 0 {
            hours * HOUR_MS
        } else {
            mac.set_back.set(mac.set_back.get() + back);
            -back * HOUR_MS
        };
        self.at(mac, chance.below(MIDDLE) * 1000, move |inside| inside.set_clock(by));
    }

    /// Lets nothing go wrong any more. What nobody but a person can put right is put right, and the model's kubelets are told to
    /// try again what crashed, as real ones do by themselves.
    pub async fn end(self, mac: &Mac) {
        self.timers.iter().for_each(JoinHandle::abort);
        mac.inside.refuse_files(None);
        mac.arm(None);
        faults::clear(&mac.inside.places).expect("settings can be written");
        install::links_changed(mac.inside.places.root()).await.expect("the world answers");
        hands::remove_stale_locks(mac);
        if self.crashes {
            hands::restart_kubelets(mac).await;
        }
    }
}

/// Draws how a process ends before its work does.
pub fn death(chance: &mut Chance) -> Death {
    let (when, power_cuts) = match chance.below(10) {
        0..=4 => (When::Poll(chance.of_any_size(13)), 30),
        5..=7 => (When::Effect(chance.of_any_size(9)), 40),
        _ => (When::Within(chance.pick::<&str>(STEPS), chance.of_any_size(7)), 40),
    };
    Death { when, power_cut: chance.percent(power_cuts) }
}

/// The way to guests breaks as a step of the cluster's begins, for some commands of any machine's or of one.
fn drops_within_a_step(mac: &Mac, chance: &mut Chance) {
    let step = *chance.pick(OF_THE_CLUSTER);
    let target = if chance.percent(50) { None } else { machine(mac, chance) };
    let fault = Fault {
        name: faults::SSH_DROPS.to_owned(),
        target,
        times: Some(times(chance)),
        after: after(chance),
    };
    mac.inside.note(format!("as {step} begins: {fault:?}"));
    mac.arm(Some((step, fault)));
}

/// A hundred megabytes take their time here, too: it is rare.
fn flood(mac: &Mac, chance: &mut Chance) {
    let (name, target) = (faults::GUEST_FLOODS.to_owned(), machine(mac, chance));
    put(mac, Fault { name, target, times: Some(1), after: after(chance) });
}

fn kubeadm_dies(mac: &Mac, chance: &mut Chance) {
    let Some(machine) = machine(mac, chance) else { return };
    let target = Some(format!("{machine}:{}", chance.pick(PHASES)));
    put(mac, Fault { name: faults::KUBEADM_DIES.to_owned(), target, times: Some(times(chance)), after: 0 });
}

/// A call's caller dies, or it hangs.
fn of_a_call(mac: &Mac, chance: &mut Chance, fault: &str) {
    let moment = if chance.percent(50) { "before" } else { "after" };
    let target = Some(format!("{} {moment}", chance.pick(CALLS)));
    put(mac, Fault { name: fault.to_owned(), target, times: Some(1), after: after(chance) });
}

/// A card's cable is pulled, or a switch loses what comes through it, until all is well again.
fn link(mac: &Mac, chance: &mut Chance) {
    let name = (*chance.pick(&[faults::LINK_DOWN, faults::LINK_SILENT])).to_owned();
    let node = chance.pick(&mac.lab().nodes);
    let target = Some(format!("{}/{}", node.name, chance.pick(&node.nics).guest_name()));
    put(mac, Fault { name, target, times: None, after: 0 });
}

fn put(mac: &Mac, fault: Fault) {
    mac.inside.note(format!(
        "planted: {} on {}, after {}, {} times",
        fault.name,
        fault.target.as_deref().unwrap_or("any"),
        fault.after,
        fault.times.unwrap_or_default(),
    ));
    faults::plant(&mac.inside.places, fault).expect("settings can be written");
}

/// Draws a machine of the lab, the template's, or none in particular.
fn machine(mac: &Mac, chance: &mut Chance) -> Option<String> {
    if chance.percent(15) {
        return None;
    }
    if chance.percent(15) {
        return Some("template".to_owned());
    }
    Some(chance.pick(&mac.lab().nodes).name.clone())
}

fn times(chance: &mut Chance) -> u32 {
    1 + u32::try_from(chance.of_any_size(3)).expect("it is small")
}

fn after(chance: &mut Chance) -> u32 {
    if chance.percent(60) { 0 } else { u32::try_from(chance.of_any_size(4)).expect("it is small") }
}

fn files_fail(mac: &Mac, chance: &mut Chance) {
    let errno = *chance.pick(&[libc::ENOSPC, libc::EROFS, libc::EIO]);
    let (after, times) = (chance.of_any_size(9), 1 + chance.of_any_size(5));
    mac.inside.note(format!("file operation {after} and {times} more fail: error {errno}"));
    mac.inside.refuse_files(Some(FileFault { errno, after, times }));
}
