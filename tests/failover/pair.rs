//! The lab under test: two gateways of real guests, and what can be done to them from outside.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use fusionlab::host::linux::netns;
use fusionlab::sim::faults::{self, Fault};
use fusionlab::sim::install;
use fusionlab::sim::linux::prefix::{Prefix, namespace_path};
use fusionlab::sim::places::{Places, vm_name};

use super::load::Target;
use crate::support::session::Session;

/// The document's addresses, which the labs of this bench have.
pub const LAN_VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 68, 200);
pub const INTERNAL_VIP: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 10);
pub const GATEWAYS: [&str; 2] = ["gateway1", "gateway2"];
/// A gateway's card on each side.
pub const LAN_CARD: &str = "ens160";
pub const INTERNAL_CARD: &str = "ens192";
const API: u16 = 6443;
const HTTP: u16 = 80;

/// How long one command may take: an image from packages, or a lab of seven systems on two busy cores.
const COMMAND: Duration = Duration::from_secs(900);
/// How long a mended pair may take until it is a pair again, a gateway's boot included.
const MENDED: Duration = Duration::from_secs(180);
/// How long nothing may change before a pair counts as settled: longer than three good rounds of any check.
const STEADY: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);
/// Names a home whose lab is up: that one is measured, and stays.
const HOME: &str = "FUSIONLAB_BENCH_HOME";
const IMAGES: &str = "FUSIONLAB_SIM_IMAGES";
const LAB: &str = "lab";

/// A lab with two gateways.
pub struct Pair {
    home: PathBuf,
    places: Places,
    runtime: tokio::runtime::Runtime,
    /// None if somebody else's lab is measured. The last to go.
    session: Option<Session>,
}

impl Pair {
    /// Makes a lab with so many control planes, or takes the one that the environment names.
    pub fn up(control_planes: u32) -> Self {
        let (session, home) = match std::env::var_os(HOME) {
            Some(home) => (None, PathBuf::from(home)),
            None => {
                let session = made(control_planes);
                let home = session.fusionlab_home();
                (Some(session), home)
            }
        };
        let root = home.join("sim").canonicalize().expect("a simulated Mac is there");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self { home, places: Places::new(root), runtime: runtime.expect("a runtime"), session }
    }

    /// Takes the lab down, unless it was there before.
    pub fn down(self) {
        if let Some(session) = &self.session {
            session.clone().args(["destroy", "--yes"]).run().exits(0);
            session.clone().args(["sim", "wipe"]).run().exits(0);
        }
    }

    pub fn targets(&self) -> Vec<Target> {
        let authority = self.home.join("labs").join(LAB).join("identity/ca.crt");
        let at = |name, address, port, authority| Target {
            name,
            address: SocketAddrV4::new(address, port),
            authority,
        };
        vec![
            at("LAN VIP :6443", LAN_VIP, API, Some(authority.clone())),
            at("LAN VIP :80", LAN_VIP, HTTP, None),
            at("internal VIP :6443", INTERNAL_VIP, API, Some(authority)),
        ]
    }

    /// The target of plain HTTP, whose servers are the workers.
    pub fn http(&self) -> Target {
        self.targets().swap_remove(1)
    }

    /// Where the Mac's own connections come from.
    pub fn mac(&self) -> PathBuf {
        namespace_path(&Prefix::of(&self.places).expect("a simulated Mac is there").mac())
    }

    /// Returns where a machine's first process says its number.
    pub fn process_file(&self, machine: &str) -> PathBuf {
        self.places.run().join("guests").join(machine).join("pid")
    }

    fn process(&self, machine: &str) -> Option<String> {
        fs::read_to_string(self.process_file(machine)).ok().map(|pid| pid.trim().to_owned())
    }

    /// Runs a command inside a machine.
    pub fn inside(&self, machine: &str, words: &[&str]) -> Option<Output> {
        let process = self.process(machine)?;
        let mut command = Command::new("nsenter");
        command.args(["-t", &process, "-a"]).args(words).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.output().ok()
    }

    /// Runs systemctl inside a machine, where it must succeed.
    #[track_caller]
    pub fn systemctl(&self, machine: &str, words: &[&str]) {
        let output = self.inside(machine, &[&["systemctl"], words].concat());
        let output = output.unwrap_or_else(|| panic!("{machine} runs no commands"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{machine}: systemctl {words:?}: {said}");
    }

    /// Asks the simulated Fusion for a machine's power.
    #[track_caller]
    pub fn vmrun(&self, verb: &str, machine: &str, words: &[&str]) {
        let machines = install::machines(self.places.root());
        let vmx = machines.iter().find(|vmx| vm_name(vmx) == machine).expect("the lab has this machine");
        let mut command = Command::new(self.places.program("vmrun"));
        let output = command.args(["-T", "fusion", verb]).arg(vmx).args(words).output().expect("vmrun runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "vmrun {verb} {machine}: {said}");
    }

    /// Cuts links at one moment, each by its fault and `machine/card`.
    pub fn cut(&self, links: &[(&str, String)]) {
        for (name, target) in links {
            let fault =
                Fault { name: (*name).to_owned(), target: Some(target.clone()), times: None, after: 0 };
            faults::plant(&self.places, fault).expect("the settings can be written");
        }
        self.links_changed();
    }

    /// Makes every link whole.
    pub fn mend(&self) {
        faults::clear(&self.places).expect("the settings can be written");
        self.links_changed();
    }

    fn links_changed(&self) {
        let changed = self.runtime.block_on(install::links_changed(self.places.root()));
        changed.expect("the world does as it is told");
    }

    /// Returns the VIPs that a machine holds now; none if it is off.
    pub fn holds(&self, machine: &str) -> Holds {
        Holds::of(&self.process_file(machine))
    }

    /// Waits until one gateway holds both VIPs and the other could: nothing moves, and the services of both run.
    #[track_caller]
    pub fn settle(&self) -> usize {
        let began = Instant::now();
        let mut since = Instant::now();
        let mut last = None;
        loop {
            let now = self.holder().filter(|_| self.serves());
            if now.is_none() || now != last {
                (last, since) = (now, Instant::now());
            }
            match now {
                Some(holder) if since.elapsed() >= STEADY => return holder,
                _ => assert!(began.elapsed() < MENDED, "the gateways are no pair: {}", self.shown()),
            }
            std::thread::sleep(LOOK);
        }
    }

    fn holder(&self) -> Option<usize> {
        let both = Holds { lan: true, internal: true };
        match GATEWAYS.map(|gateway| self.holds(gateway)) {
            [one, other] if one == both && other == Holds::default() => Some(0),
            [one, other] if other == both && one == Holds::default() => Some(1),
            _ => None,
        }
    }

    fn serves(&self) -> bool {
        let active = ["systemctl", "is-active", "--quiet", "nginx", "keepalived"];
        let runs = |gateway| self.inside(gateway, &active).is_some_and(|output| output.status.success());
        GATEWAYS.into_iter().all(runs)
    }

    /// Returns what the gateways hold and log, for whoever has to find out why they do not agree.
    fn shown(&self) -> String {
        let log = ["journalctl", "--no-pager", "-n", "30", "-u", "keepalived", "-u", "nginx"];
        let of = |gateway| {
            let said = self.inside(gateway, &log).map(|output| output.stdout).unwrap_or_default();
            format!("{gateway}: {:?}\n{}", self.holds(gateway), String::from_utf8_lossy(&said))
        };
        GATEWAYS.map(of).join("\n")
    }
}

/// Which VIPs a gateway holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    pub lan: bool,
    pub internal: bool,
}

impl Holds {
    /// Looks into the namespace of the process that a file names.
    pub fn of(process_file: &Path) -> Self {
        let process = fs::read_to_string(process_file).unwrap_or_default();
        let namespace = PathBuf::from(format!("/proc/{}/ns/net", process.trim()));
        let held = netns::addresses(&namespace).unwrap_or_default();
        let held: BTreeSet<Ipv4Addr> = held.into_iter().map(|(_, address)| address).collect();
        Self { lan: held.contains(&LAN_VIP), internal: held.contains(&INTERNAL_VIP) }
    }
}

fn made(control_planes: u32) -> Session {
    let images = std::env::var_os(IMAGES)
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("sim-images"), PathBuf::from);
    let session = Session::new().env("FUSIONLAB_SIM_GUESTS", "linux").env(IMAGES, images).limit(COMMAND);
    let lab = format!("version: 1\ncontrol_planes: {{count: {control_planes}}}\n");
    let session = session.file("fusionlab.yaml", lab);
    session.clone().args(["sim", "image", "build"]).run().exits(0);
    let up = session.clone().args(["up", "--yes"]).run().exits(0);
    println!("up, {} machines: {:.0} s", 4 + control_planes, up.took.as_secs_f64());
    session
}
