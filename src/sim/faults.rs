//! What can be made to go wrong, by name: where, how often, and on which VM.

use std::io;

use serde::{Deserialize, Serialize};

use super::places::Places;
use super::settings::Settings;

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $constant:ident = $name:literal,)+) => {
        $($(#[doc = $doc])+ pub const $constant: &str = $name;)+

        /// Every fault's name with what it does.
        pub const TABLE: &[(&str, &str)] = &[$(($name, concat!($($doc),+)),)+];
    };
}

faults! {
    /// Starting a VM never returns, and the VM does not start (facts/vmrun-vmrest.md §1.5).
    START_HANGS = "vmrun-start-hangs",
    /// Starting a VM says that Fusion cannot connect to it, but the VM runs.
    START_LIES = "start-lies",
    /// Starting a VM succeeds without a word, but nothing runs.
    START_SILENT = "start-silent",
    /// Starting a VM is canceled; vmware.log says why.
    START_CANCELED = "start-canceled",
    /// Starting a VM ends with an unknown error; vmware.log says why.
    START_UNKNOWN = "start-unknown",
    /// Starting a VM finds that Fusion cannot connect to the host.
    HOST_UNREACHABLE = "host-unreachable",
    /// A VM's folder takes no lock, and starting the VM says no more than that Fusion cannot connect to it.
    UNWRITABLE = "unwritable-folder",
    /// A soft stop never returns.
    STOP_SOFT_HANGS = "stop-soft-hangs",
    /// A hard stop never returns.
    STOP_HARD_HANGS = "stop-hard-hangs",
    /// A stop succeeds without a word, but the VM still runs.
    STOP_SILENT = "stop-silent",
    /// `vmrun snapshot` takes the snapshot, and says that there is one already.
    SNAPSHOT_EXISTS = "snapshot-exists",
    /// A clone finds its parent in use by another one.
    PARENT_BUSY = "parent-busy",
    /// `vmrun clone` is canceled; the parent's vmware.log says why.
    CLONE_CANCELED = "clone-canceled",
    /// `vmrun clone` finds the Mac's disk full.
    DISK_FULL = "disk-full",
    /// Deleting a VM succeeds without a word, but the VM is still there.
    DELETE_SILENT = "delete-silent",
    /// vmrun's answers begin with lines of macOS's libraries that do not belong there.
    NOISE_LINES = "noise-lines",
    /// `vmrun list` counts a VM that it does not name.
    LIST_MISCOUNTS = "list-miscounts",
    /// `vmrun getGuestIPAddress` names a container bridge's address.
    WRONG_ADDRESS = "wrong-nic",
    /// `vmrun getGuestIPAddress` does not know the address.
    UNKNOWN_ADDRESS = "address-unknown",
    /// `vmrun getGuestIPAddress` says that the tools do not run, unless it is told to wait.
    ADDRESS_DENIED = "address-denied",
    /// `vmrun getGuestIPAddress -wait` never returns.
    ADDRESS_HANGS = "address-hangs",
    /// `vmrun checkToolsState` does not know, and its exit status is that of an error.
    TOOLS_UNSURE = "tools-unsure",
    /// A VM's lock folder belongs to another Mac.
    STALE_LOCK = "stale-lock",
    /// `vmnet-cli --start` starts only some services, but exits with 0.
    NETWORK_START_LIES = "network-start-fails-and-lies",
    /// `vmnet-cli --configure` fails.
    NETWORK_CONFIGURE_FAILS = "network-configure-fails",
    /// The networks' tools do all that they should, but their exit status says the opposite.
    NETWORK_EXIT_LIES = "network-exit-lies",
    /// `vmnet-cli --status` says nothing.
    STATUS_SILENT = "status-silent",
    /// `vmnet-cli --configure` rewrites the networking file in an order of its own, without comments, repetitions
    /// and the descriptions of port forwards.
    COMPACTS = "compacts",
    /// `vmnet-cli --configure` empties the leases files.
    LEASES_LOST = "configure-loses-leases",
    /// Whoever calls a program of Fusion's is killed; `--on` takes the program, its argument and `before` or `after`,
    /// such as "vmnet-cli --stop before".
    CALLER_DIES = "caller-dies",
    /// A program of Fusion's never returns; `--on` takes the program, its argument and `before` or `after` its work, such
    /// as "vmrun clone before".
    PROGRAM_HANGS = "program-hangs",
    /// Fusion's window writes its own view over the networking file when the networks start.
    UI_OVERWRITES = "ui-overwrites-networking",
    /// Fusion's DHCP server does not answer a VM.
    DHCP_SILENT = "dhcp-silent",
    /// The guest never comes up after power-on.
    BOOT_HANGS = "guest-hangs-at-boot",
    /// macOS keeps programs from the machines as long as its owner has not allowed it: from the Mac there is no way to an address;
    /// `--on` takes the address.
    LOCAL_NETWORK_DENIED = "local-network-denied",
    /// A card loses its link and its carrier, until cleared; `--on` takes the machine and the card, such as
    /// gateway1/ens160.
    LINK_DOWN = "link-down",
    /// Nothing passes a card's link any more, but the card keeps its carrier, until cleared; `--on` as for link-down.
    LINK_SILENT = "link-silent",
    /// The SSH connection breaks in the middle of a command.
    SSH_DROPS = "ssh-drops",
    /// A guest command prints a hundred megabytes without a line's end before it does anything.
    GUEST_FLOODS = "guest-floods",
    /// A guest command prints bytes that are no text, and what a terminal would obey, before it does anything.
    GUEST_BABBLES = "guest-babbles",
    /// A guest command does nothing, prints nothing and never ends.
    GUEST_STALLS = "guest-stalls",
    /// The VM loses power in the middle of a command.
    POWER_LOST = "power-lost",
    /// The guest's disk takes no more data.
    GUEST_DISK_FULL = "guest-disk-full",
    /// Envoy refuses the configuration of an agent of Cilium's that starts on the machine.
    ENVOY_REFUSES = "envoy-nack",
    /// The home's router and the Mac lead the LAN into Fusion's networks, for connections of the machine.
    LAN_ROUTED = "lan-routed",
    /// Helm is killed in the middle of an upgrade.
    HELM_KILLED = "helm-killed",
    /// `kubeadm init` fails half-way: its API server does not become healthy in time.
    KUBEADM_INIT_FAILS = "kubeadm-init-fails",
    /// kubeadm is killed at the end of one of its phases; `--on` takes the machine and the phase, such as
    /// k8s-master2:etcd-join.
    KUBEADM_DIES = "kubeadm-dies",
    /// A control plane's API server ends as soon as it starts.
    API_SERVER_CRASHES = "api-server-crashes",
    /// vmrest says that the VM is locked, to whoever wants to clone it or change its power.
    REST_LOCKED = "rest-locked",
    /// vmrest does not know our password.
    REST_DENIED = "rest-denied",
    /// vmrest does not answer.
    REST_HANGS = "rest-hangs",
    /// vmrest answers with an error of its own that passes for none of its codes.
    REST_BREAKS = "rest-breaks",
}

/// A planted fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// One of [`TABLE`]'s names, or one that only a guest knows.
    pub name: String,
    /// The VM or network it is meant for; any, if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How often it still strikes; always, if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Occasions that it lets pass before it strikes.
    #[serde(default)]
    pub after: u32,
}

impl Fault {
    fn concerns(&self, name: &str, target: &str) -> bool {
        self.name == name && self.target.as_deref().is_none_or(|wanted| wanted == target)
    }
}

/// Plants a fault.
pub fn plant(places: &Places, fault: Fault) -> io::Result<()> {
    Settings::update(places, |settings| settings.faults.push(fault))
}

/// Takes all planted faults away.
pub fn clear(places: &Places) -> io::Result<()> {
    clear_those(places, None, None).map(drop)
}

/// Takes those faults away that are of a name and a target, where these are given. Returns how many they were.
pub fn clear_those(places: &Places, name: Option<&str>, target: Option<&str>) -> io::Result<usize> {
    let is_meant = |fault: &Fault| {
        name.is_none_or(|name| fault.name == name)
            && target.is_none_or(|target| fault.target.as_deref() == Some(target))
    };
    Settings::update(places, |settings| {
        let before = settings.faults.len();
        settings.faults.retain(|fault| !is_meant(fault));
        before - settings.faults.len()
    })
}

/// Says whether a fault strikes now, and counts it. Broken settings plant no fault.
pub fn strikes(places: &Places, name: &str, target: &str) -> bool {
    let planted = |settings: &Settings| settings.faults.iter().any(|fault| fault.concerns(name, target));
    // Most occasions find nothing planted, and then need no lock.
    if !Settings::load(places).is_ok_and(|settings| planted(&settings)) {
        return false;
    }
    Settings::update(places, |settings| count(&mut settings.faults, name, target)).unwrap_or(false)
}

fn count(faults: &mut Vec<Fault>, name: &str, target: &str) -> bool {
    let Some(at) = faults.iter().position(|fault| fault.concerns(name, target)) else { return false };
    let fault = &mut faults[at];
    if fault.after > 0 {
        fault.after -= 1;
        return false;
    }
    match &mut fault.times {
        None => true,
        Some(0) => {
            faults.remove(at);
            false
        }
        Some(times) => {
            *times -= 1;
            if *times == 0 {
                faults.remove(at);
            }
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(name: &str, target: Option<&str>, times: Option<u32>, after: u32) -> Fault {
        Fault { name: name.to_owned(), target: target.map(str::to_owned), times, after }
    }

    #[test]
    fn a_fault_strikes_its_target_as_often_as_told() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(folder.path());
        assert!(!strikes(&places, SSH_DROPS, "gateway1"));
        plant(&places, fault(SSH_DROPS, Some("gateway1"), Some(2), 1)).unwrap();
        assert!(!strikes(&places, SSH_DROPS, "gateway2"), "another VM");
        assert!(!strikes(&places, POWER_LOST, "gateway1"), "another fault");
        let struck: Vec<bool> = (0..4).map(|_| strikes(&places, SSH_DROPS, "gateway1")).collect();
        assert_eq!(struck, [false, true, true, false]);
        assert_eq!(Settings::load(&places).unwrap().faults, []);
    }

    #[test]
    fn a_fault_without_a_count_stays_until_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(folder.path());
        plant(&places, fault(DHCP_SILENT, None, None, 0)).unwrap();
        assert!((0..3).all(|_| strikes(&places, DHCP_SILENT, "any")));
        clear(&places).unwrap();
        assert!(!strikes(&places, DHCP_SILENT, "any"));
    }

    #[test]
    fn one_fault_is_cleared_and_the_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(folder.path());
        for target in ["gateway1/ens160", "gateway2/ens160"] {
            plant(&places, fault(LINK_DOWN, Some(target), None, 0)).unwrap();
        }
        plant(&places, fault(LINK_SILENT, Some("gateway1/ens160"), None, 0)).unwrap();
        assert_eq!(clear_those(&places, Some(LINK_DOWN), Some("gateway1/ens160")).unwrap(), 1);
        assert_eq!(clear_those(&places, Some(LINK_DOWN), Some("gateway1/ens160")).unwrap(), 0);
        assert_eq!(Settings::load(&places).unwrap().faults.len(), 2);
        assert_eq!(clear_those(&places, Some(LINK_DOWN), None).unwrap(), 1);
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = TABLE.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), TABLE.len());
    }
}
