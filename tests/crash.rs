//! A change of Fusion's networks is killed at each of its steps; whatever command comes next brings a consistent
//! network and the right bytes.
//!
//! Two knives: the simulated Fusion's programs kill who called them (before or after their effect), and strace kills
//! fusionlab at its n-th system call that changes a file.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::session::{Ended, Session};

/// System calls by which fusionlab changes files.
const CALLS: &str = "rename,renameat,renameat2,unlink,unlinkat,fsync,fdatasync,fchmod,mkdir,mkdirat,write";
/// A story has fewer points of one kind than this; more means that it does not end.
const MOST_POINTS: u32 = 400;
/// Moments at which `up` is to go on: the networks are stopped, and they are stopped with the new file in place.
const MOMENTS_FOR_UP: [u32; 2] = [13, 15];
/// A story has more points than this: two for each of stop, configure, start and status at the least.
const FEWEST_POINTS: u32 = 8;
/// How many of strace's points are left out between two that are tried, where there are hundreds.
const STRIDE: usize = 5;

/// One change, from a prepared Mac.
struct Story {
    name: &'static str,
    command: &'static [&'static str],
    /// The exit status of the command if nobody kills it.
    ends: i32,
    prepared: Session,
    /// The networking file before any of our changes.
    original: Vec<u8>,
}

/// Where the command is killed.
#[derive(Clone, Copy)]
enum Point {
    /// At the n-th moment that the programs around it give: each call has one before its effect and one after.
    Program { number: u32 },
    /// At the n-th system call of [`CALLS`] in one thread.
    System { number: u32 },
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program { number } => {
                let place = if number % 2 == 0 { "before" } else { "after" };
                write!(f, "{place} call {} of the host's programs", number / 2)
            }
            Self::System { number } => write!(f, "at file call {number}"),
        }
    }
}

/// What the user does next.
const NEXT: [&[&str]; 3] =
    [&["network", "apply", "--yes"], &["network", "restore", "--yes"], &["destroy", "--yes"]];

fn networking(session: &Session) -> PathBuf {
    session.simulated_mac().join("Library/Preferences/VMware Fusion/networking")
}

fn fresh() -> (Session, Vec<u8>) {
    let session = Session::new().file("fusionlab.yaml", "version: 1\npreset: small\n");
    session.clone().args(["sim", "start"]).run().exits(0);
    let original = fs::read(networking(&session)).expect("there is a networking file");
    (session, original)
}

fn applied() -> (Session, Vec<u8>) {
    let (session, original) = fresh();
    session.clone().args(["network", "apply", "--yes"]).run().exits(0);
    (session, original)
}

fn apply() -> Story {
    let (prepared, original) = fresh();
    Story { name: "apply", command: &["network", "apply", "--yes"], ends: 0, prepared, original }
}

/// Only reservations change, so only the network's DHCP restarts.
fn reservations() -> Story {
    let (prepared, original) = applied();
    let lab = "version: 1\npreset: small\nnodes:\n  k8s-worker1: {address: 10.10.0.77}\n";
    let prepared = prepared.file("fusionlab.yaml", lab);
    Story { name: "reservations", command: &["network", "apply", "--yes"], ends: 0, prepared, original }
}

fn restore() -> Story {
    let (prepared, original) = applied();
    Story { name: "restore", command: &["network", "restore", "--yes"], ends: 0, prepared, original }
}

/// A start that fails and says so only in words: the old file comes back.
fn rollback() -> Story {
    let (prepared, original) = fresh();
    let fault = ["sim", "fault", "network-start-fails-and-lies", "--times", "1"];
    prepared.clone().args(fault).run().exits(0);
    Story { name: "rollback", command: &["network", "apply", "--yes"], ends: 7, prepared, original }
}

/// The whole file as a backup has it.
fn put_back() -> Story {
    let (prepared, original) = applied();
    let backups = prepared.clone().args(["network", "backups", "--output", "json"]).run().exits(0).json();
    let name = backups["backups"][0]["name"].as_str().expect("there is one backup").to_owned();
    let command = Box::leak(Box::new(["network", "restore", Box::leak(name.into_boxed_str()), "--yes"]));
    Story { name: "put back", command, ends: 0, prepared, original }
}

impl Story {
    /// Runs the command in a copy of the prepared Mac and kills it at a point.
    fn killed_at(&self, point: Point) -> (Session, Ended) {
        let session = self.prepared.copy();
        let command = match point {
            Point::Program { number } => {
                let number = number.to_string();
                let fault = ["sim", "fault", "caller-dies", "--times", "1", "--after", &number];
                session.clone().args(fault).run().exits(0);
                session.clone().args(self.command)
            }
            Point::System { number } => {
                let inject = format!("inject={CALLS}:signal=SIGKILL:when={number}");
                let log = session.work().join("strace.log");
                let tracer = ["strace", "-f", "-q", "-b", "execve", "-o"].map(Into::into);
                let rest = [
                    log.into_os_string(),
                    "-e".into(),
                    format!("trace={CALLS}").into(),
                    "-e".into(),
                    inject.into(),
                ];
                session.clone().under(tracer.into_iter().chain(rest)).args(self.command)
            }
        };
        let ended = command.run();
        session.clone().args(["sim", "fault", "--clear"]).run().exits(0);
        (session, ended)
    }

    /// Kills at every point of one kind, and recovers. Returns how many points there were.
    fn every(&self, stride: usize, point: impl Fn(u32) -> Point) -> u32 {
        let mut tried = 0;
        for number in (0..MOST_POINTS).step_by(stride) {
            let point = point(number);
            let (session, ended) = self.killed_at(point);
            let survived = ended.status.code() == Some(self.ends);
            self.recovers(&session, point, NEXT[number as usize % NEXT.len()]);
            if survived {
                return tried;
            }
            tried += 1;
        }
        panic!("{}: killed {tried} times and still not done", self.name);
    }

    fn recovers(&self, session: &Session, point: Point, next: &[&str]) {
        let place = format!("{}, killed {point}, then {}", self.name, next.join(" "));
        let again = session.clone().args(next).run();
        assert_eq!(again.status.code(), Some(0), "{place}:\n{}", again.shown());
        let now = fs::read(networking(session)).expect("there is a networking file");
        if next[1] == "apply" {
            let plan = session.clone().args(["network", "plan", "--detailed-exitcode"]).run();
            assert_eq!(plan.status.code(), Some(0), "{place}: something is left to do:\n{}", plan.shown());
            assert!(lines_kept(&self.original, &now), "{place}: foreign lines changed");
            session.clone().args(["network", "restore", "--yes"]).run().exits(0);
        }
        let bytes = fs::read(networking(session)).expect("there is a networking file");
        assert_eq!(
            String::from_utf8_lossy(&bytes),
            String::from_utf8_lossy(&self.original),
            "{place}: not the original bytes"
        );
        assert!(all_networks_run(session), "{place}: Fusion's networks do not run");
        let beside = names_in(networking(session).parent().expect("it lies in a folder"));
        assert!(
            !beside.iter().any(|name| name.starts_with(".fusionlab")),
            "{place}: left beside: {beside:?}"
        );
        let pending = session.fusionlab_home().join("network/pending.json");
        assert!(!pending.exists(), "{place}: the change still counts as under way");
    }
}

fn lines_kept(original: &[u8], now: &[u8]) -> bool {
    let now = String::from_utf8_lossy(now);
    let mut left = now.lines();
    String::from_utf8_lossy(original).lines().all(|line| left.any(|other| other == line))
}

fn all_networks_run(session: &Session) -> bool {
    let program = session.simulated_mac().join("Applications/VMware Fusion.app/Contents/Library/vmnet-cli");
    let output = Command::new(program).arg("--status").output().expect("vmnet-cli runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.contains("DHCP service on vmnet8 is running") && !text.contains("not running")
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

fn killed_by_fusions_programs(story: &Story) {
    let points = story.every(1, |number| Point::Program { number });
    println!("{}: killed at {points} moments of the host's programs, all recovered", story.name);
    assert!(points > FEWEST_POINTS, "{}: {points} are too few to be true", story.name);
}

#[test]
fn killed_while_the_network_is_made() {
    killed_by_fusions_programs(&apply());
}

#[test]
fn killed_while_reservations_change() {
    killed_by_fusions_programs(&reservations());
}

#[test]
fn killed_while_the_network_is_taken_down() {
    killed_by_fusions_programs(&restore());
}

#[test]
fn killed_while_a_failed_change_is_rolled_back() {
    killed_by_fusions_programs(&rollback());
}

#[test]
fn killed_while_a_backup_is_put_back() {
    killed_by_fusions_programs(&put_back());
}

/// Says whether tests with other programs are to be run; then they must be there.
fn with_tools() -> bool {
    let wanted = std::env::var_os("FUSIONLAB_TEST_TOOLS").is_some();
    if !wanted {
        println!("skipped: FUSIONLAB_TEST_TOOLS is not set");
    }
    wanted
}

#[test]
fn killed_at_every_change_of_a_file() {
    if !with_tools() {
        return;
    }
    for story in [apply(), reservations(), restore(), rollback()] {
        let points = story.every(STRIDE, |number| Point::System { number: number + 1 });
        println!("{}: killed at {points} file calls, all recovered", story.name);
        assert!(points > FEWEST_POINTS, "{}: {points} are too few to be true", story.name);
    }
}

#[test]
fn after_a_kill_up_brings_the_lab_and_destroy_the_old_bytes() {
    let story = apply();
    for number in MOMENTS_FOR_UP {
        let (session, ended) = story.killed_at(Point::Program { number });
        assert_eq!(ended.status.code(), None, "it was to be killed:\n{}", ended.shown());
        session.clone().args(["up", "--yes"]).run().exits(0);
        session.clone().args(["destroy", "--yes"]).run().exits(0);
        assert_eq!(fs::read(networking(&session)).expect("it is there"), story.original);
        assert!(all_networks_run(&session));
    }
}
