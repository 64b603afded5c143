//! The whole job on real guests: every program in a machine but Kubernetes' is the one that will run in the user's.
//!
//! It takes root, Linux and a few minutes, so it is switched on by a variable of its own: see [`SWITCH`]. Then what is
//! missing is a failure, not a skip. One test holds all parts, since they share the image, the template and the cores.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::support::session::{Ended, Running, Session};
use crate::up::Journal;

/// Set by `.ci/run`: without it the test says that it is skipped.
const SWITCH: &str = "FUSIONLAB_TEST_GUESTS";
/// The folder of guest images; without it they are kept below `target/`.
const IMAGES: &str = "FUSIONLAB_SIM_IMAGES";
/// How long one command may take: an image from packages, or a lab of seven systems on two busy cores.
const LIMIT: Duration = Duration::from_secs(600);
/// How often something is looked at that others bring about, and how often memory is.
const LOOK: Duration = Duration::from_millis(100);
const MEMORY_LOOK: Duration = Duration::from_secs(2);
/// How long a world without machines may take to leave.
const LEAVING: Duration = Duration::from_secs(30);

/// Other subnets, other names, other numbers than the document's, and a node with two cards.
const ANOTHER: &str = "\
version: 1
name: other
lan: {subnet: 172.21.9.0/24, vip: 172.21.9.240}
internal: {vmnet: 3, subnet: 10.77.3.0/24}
gateways: {count: 1}
control_planes: {count: 1}
workers: {count: 3}
nodes:
  k8s-worker2: {lan_address: 172.21.9.77}
kubernetes: {pods: 10.200.0.0/16, api_name: api.other.internal}
domain: apps.test
";

#[test]
fn the_whole_job_runs_on_real_systems() {
    if std::env::var_os(SWITCH).is_none() {
        println!("skipped: {SWITCH} is not set");
        return;
    }
    let bench = Bench::new();
    bench.timed("sim image build", &["sim", "image", "build"]);
    documents_lab(&bench);
    bench.nothing_is_left();
    another_lab(&bench);
    bench.nothing_is_left();
    bench.run(&["sim", "wipe"]);
}

/// The document's lab from nothing, its proof, nothing to do the second time, and back to nothing.
fn documents_lab(bench: &Bench) {
    bench.run(&["sim", "start"]);
    let networking = bench.networking();
    let memory = Memory::watch(bench.prefix());
    let up = bench.timed("up, 7 machines and the bake", &["up", "--yes"]);
    assert!(up.stderr.contains("Debian systems"), "it says what its machines are:\n{}", up.stderr);
    let verify = bench.timed("verify", &["verify", "--output", "json"]).json();
    assert_eq!(verify["passed"], true, "{verify:#}");
    identities_differ(bench);
    let again = bench.timed("up again", &["up", "--yes"]);
    assert!(again.stderr.contains("nothing had to be done"), "{}", again.stderr);
    bench.run(&["plan", "--detailed-exitcode"]);
    bench.timed("destroy", &["destroy", "--yes"]);
    println!("memory of all guests and the world at the most: {} MiB", memory.end() >> 20);
    assert_eq!(bench.networking(), networking, "the networking file is what it was, byte for byte");
}

/// Clones of one template are machines of their own.
fn identities_differ(bench: &Bench) {
    let status = bench.run(&["status", "--output", "json"]).json();
    let nodes = status["nodes"].as_array().expect("a list of nodes");
    assert_eq!(nodes.len(), 7);
    let guests = bench.guests();
    assert_eq!(guests.len(), 7, "each machine has a first process: {guests:?}");
    let of_each = |path: &str| -> BTreeSet<String> {
        guests.values().map(|first| in_guest(*first, path).expect("each has it")).collect()
    };
    let (ids, keys) = (of_each("etc/machine-id"), of_each("etc/ssh/ssh_host_ed25519_key.pub"));
    assert_eq!((ids.len(), keys.len()), (7, 7), "machine ids and host keys are each machine's own");
}

/// A lab that shares nothing with the document's but the template, while everything is killed once.
fn another_lab(bench: &Bench) {
    let lab = Bench { session: bench.session.clone().file("fusionlab.yaml", ANOTHER) };
    lab.kill_at("vm.start/k8s-worker1", |up| up.signal("KILL"));
    lab.kill_at("kube.init/k8s-master1", |_| kill(lab.world()));
    lab.kill_at("node.prepare/k8s-worker1", |_| kill(lab.guests()["k8s-worker2"]));
    lab.timed("up, 5 machines, after three kills", &["up", "--yes"]);
    let verify = lab.timed("verify", &["verify", "--output", "json"]).json();
    assert_eq!(verify["passed"], true, "{verify:#}");
    lab.run(&["plan", "--detailed-exitcode"]);
    lab.timed("destroy", &["destroy", "--yes"]);
}

/// The program in one private home.
struct Bench {
    session: Session,
}

impl Bench {
    fn new() -> Self {
        let images = std::env::var_os(IMAGES)
            .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("sim-images"), PathBuf::from);
        let session = Session::new().env("FUSIONLAB_SIM_GUESTS", "linux").env(IMAGES, images).limit(LIMIT);
        Self { session }
    }

    /// Runs the program to its good end.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ended {
        self.session.clone().args(arguments).run().exits(0)
    }

    /// As [`Self::run`], and prints how long it took.
    #[track_caller]
    fn timed(&self, what: &str, arguments: &[&str]) -> Ended {
        let ended = self.run(arguments);
        println!("{what}: {:.1} s", ended.took.as_secs_f64());
        ended
    }

    fn networking(&self) -> String {
        let file = self.session.simulated_mac().join("Library/Preferences/VMware Fusion/networking");
        fs::read_to_string(file).expect("it can be read")
    }

    /// Starts `up`, kills something as soon as a step begins, and waits for the end of it, whatever that is.
    fn kill_at(&self, step: &str, kill: impl FnOnce(&Running)) {
        let journal = Journal::of_lab(&self.session, "other");
        let before = journal.starts_of(step);
        let mut up = self.session.clone().args(["up", "--yes"]).start();
        up.wait_until(|| journal.starts_of(step) > before);
        kill(&up);
        let ended = up.wait();
        println!("killed at {step}: up ended with {} after {:.1} s", ended.status, ended.took.as_secs_f64());
    }

    /// What namespaces, links and cgroups of this home's are named by.
    fn prefix(&self) -> String {
        let root = self.session.simulated_mac().canonicalize().expect("it is laid out");
        format!("fl{}", &hex::encode(Sha256::digest(root.as_os_str().as_encoded_bytes()))[..6])
    }

    /// Returns the process that is the world.
    fn world(&self) -> u32 {
        let status = self.run(&["sim", "status", "--output", "json"]).json();
        u32::try_from(status["pid"].as_u64().expect("the world runs")).expect("a process id")
    }

    /// Returns the first process of each running machine, by the machine's name.
    fn guests(&self) -> BTreeMap<String, u32> {
        let prefix = self.prefix();
        let first = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
            ids.split_whitespace().count() > 1 && ids.ends_with("\t1")
        };
        // One that only begins has no files yet.
        let named = |pid: u32| Some((in_guest(pid, "etc/hostname")?.trim().to_owned(), pid));
        processes_of(&prefix).into_iter().filter(first).filter_map(named).collect()
    }

    /// Waits until the world has left, and looks for whatever it could have left.
    fn nothing_is_left(&self) {
        let until = Instant::now() + LEAVING;
        while Instant::now() < until && !self.left().is_empty() {
            std::thread::sleep(LOOK);
        }
        assert_eq!(self.left(), Vec::<String>::new(), "nothing of the lab is left");
    }

    /// Returns every namespace, link, cgroup, mount and process of this home's.
    fn left(&self) -> Vec<String> {
        let prefix = self.prefix();
        let lines = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().expect("ip runs");
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let mut left = lines("ip", &["netns", "list"]);
        left.extend(lines("ip", &["-brief", "link"]));
        left.extend(lines("find", &["/sys/fs/cgroup", "-maxdepth", "3", "-name", &format!("{prefix}*")]));
        left.retain(|line| line.contains(&prefix));
        let home = self.session.fusionlab_home();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        left.extend(mounts.lines().filter(|line| line.contains(&*home.to_string_lossy())).map(str::to_owned));
        left.extend(processes_of(&prefix).into_iter().map(|pid| format!("process {pid}")));
        left.extend(self.session.processes().into_iter().map(|process| process.command));
        left
    }
}

/// Returns the processes in the cgroups of a home.
fn processes_of(prefix: &str) -> Vec<u32> {
    let ids = fs::read_dir("/proc").expect("Linux has it").flatten();
    ids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            cgroups.contains(&format!("/{prefix}/"))
        })
        .collect()
}

/// Reads a file of a machine, by its first process.
fn in_guest(first: u32, path: &str) -> Option<String> {
    fs::read_to_string(PathBuf::from(format!("/proc/{first}/root")).join(path)).ok()
}

fn kill(pid: u32) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill runs");
    assert!(killed.success(), "process {pid} is there to be killed");
}

/// Looks at the memory of all processes of the home until it is told to end.
struct Memory {
    ended: Arc<AtomicBool>,
    watch: JoinHandle<u64>,
}

impl Memory {
    fn watch(prefix: String) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let told = ended.clone();
        let watch = std::thread::spawn(move || {
            let mut most = 0;
            while !told.load(Ordering::Relaxed) {
                most = most.max(processes_of(&prefix).into_iter().map(proportional).sum());
                std::thread::sleep(MEMORY_LOOK);
            }
            most
        });
        Self { ended, watch }
    }

    /// Returns the most that was seen, in bytes.
    fn end(self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        self.watch.join().expect("it only looks")
    }
}

/// Returns a process's share of memory in bytes: what it shares is counted for each by its part.
fn proportional(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kib = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.trim().parse().ok());
    kib.unwrap_or(0_u64) << 10
}
