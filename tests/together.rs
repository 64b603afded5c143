//! Two runs at once: of one lab, the second gives way or waits; of two labs, both go on.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::support::session::{Running, Session};

const SOLO: &str = "version: 1\npreset: solo\n";

/// A second lab on the same Mac: its own names and addresses, the same network and template.
const OTHER: &str = "\
version: 1
preset: solo
name: other
lan: {vip: 192.168.68.210}
internal: {vip: 10.10.0.20}
nodes:
  gateway1: {lan_address: 192.168.68.66, address: 10.10.0.21}
  k8s-master1: {address: 10.10.0.151}
";

fn networking(session: &Session) -> PathBuf {
    session.simulated_mac().join("Library/Preferences/VMware Fusion/networking")
}

/// Returns a text without its line breaks, which go by the terminal's width.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Starts a verb and waits until it has the lab.
fn at_work(session: &Session, arguments: &[&str], lab: &str) -> Running {
    let lock = session.fusionlab_home().join(format!("locks/lab-{lab}"));
    let mut running = session.clone().args(arguments).start();
    running.wait_until(|| fs::read_to_string(&lock).is_ok_and(|text| !text.is_empty()));
    running
}

/// As [`at_work`], and has begun to change something.
fn begun(session: &Session, arguments: &[&str], lab: &str) -> Running {
    let journal = session.fusionlab_home().join(format!("labs/{lab}/journal.jsonl"));
    let mut running = at_work(session, arguments, lab);
    running.wait_until(|| fs::read_to_string(&journal).is_ok_and(|text| text.contains("\"started\"}")));
    running
}

#[test]
fn of_two_runs_on_one_lab_the_second_gives_way_or_waits_and_nothing_is_lost() {
    let session = Session::new().file("fusionlab.yaml", SOLO);
    session.clone().args(["sim", "start"]).run().exits(0);
    let before = fs::read(networking(&session)).expect("there is a networking file");
    let up = begun(&session, &["up", "--yes"], "lab");
    let holder = format!("process {} (fusionlab up)", up.id());
    for second in [["up", "--yes"], ["destroy", "--yes"], ["drill", "--yes"]] {
        let ended = session.clone().args(second).run().exits(5);
        let said = words(&ended.stderr);
        assert!(said.contains("the lab \"lab\" is in use by") && said.contains(&holder), "{said}");
        assert!(said.contains("--wait"), "{said}");
    }
    let short = session.clone().args(["destroy", "--yes", "--wait=1s"]).run().exits(5);
    assert!(words(&short.stderr).contains("waiting for it, at most 1.0 s"), "{}", short.stderr);
    let status = session.clone().args(["status", "--output", "json"]).run().exits(0).json();
    assert_eq!(status["at_work"]["pid"], up.id(), "{status:#}");

    let waiting = session.clone().args(["up", "--yes", "--wait"]).start();
    up.wait().exits(0);
    let waited = waiting.wait().exits(0);
    assert!(waited.stderr.contains("nothing had to be done"), "it looks anew after it: {}", waited.stderr);
    assert!(!waited.stderr.contains("was cut off"), "{}", waited.stderr);

    let destroy = begun(&session, &["destroy", "--yes"], "lab");
    let up = session.clone().args(["up", "--yes", "--wait=10m"]).run().exits(0);
    assert!(up.stderr.contains("lab is up"), "{}", up.stderr);
    destroy.wait().exits(0);
    session.clone().args(["verify"]).run().exits(0);
    session.clone().args(["destroy", "--yes"]).run().exits(0);
    assert_eq!(fs::read(networking(&session)).expect("it is there"), before);
}

#[test]
fn a_run_that_was_stopped_keeps_the_lab_and_is_said_to_be_stopped() {
    let session = Session::new().file("fusionlab.yaml", SOLO);
    let up = begun(&session, &["up", "--yes"], "lab");
    up.signal("STOP");
    let lock = session.fusionlab_home().join("locks/lab-lab");
    let long_ago = SystemTime::now() - Duration::from_secs(200);
    let touched = File::options().write(true).open(lock).and_then(|file| file.set_modified(long_ago));
    touched.expect("the test's user owns the lock");
    let ended = session.clone().args(["destroy", "--yes"]).run().exits(5);
    let said = words(&ended.stderr);
    for part in ["has not been heard of for 3 min 2", "this one is stopped", "`fg`", "kill -9 "] {
        assert!(said.contains(part), "the report lacks {part:?}:\n{}", ended.stderr);
    }
    up.signal("CONT");
    up.wait().exits(0);
    session.clone().args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn whoever_waits_comes_after_a_run_that_is_killed_and_says_so() {
    let session = Session::new().file("fusionlab.yaml", SOLO);
    let up = begun(&session, &["up", "--yes"], "lab");
    let killed = format!("the last `up` (process {}) was cut off at", up.id());
    let waiting = session.clone().args(["destroy", "--yes", "--wait"]).start();
    up.signal("KILL");
    up.wait();
    let ended = waiting.wait().exits(0);
    assert!(words(&ended.stderr).contains(&killed), "{}", ended.stderr);
    assert!(!session.fusionlab_home().join("labs/lab").exists());
}

#[test]
fn two_labs_come_up_and_go_at_once_on_one_mac() {
    let session = Session::new().file("fusionlab.yaml", SOLO).file("other.yaml", OTHER);
    session.clone().args(["sim", "start"]).run().exits(0);
    let before = fs::read(networking(&session)).expect("there is a networking file");
    let other = |verb: &[&str]| session.clone().args(["--lab", "other.yaml"]).args(verb);
    let (first, second) = (session.clone().args(["up", "--yes"]).start(), other(&["up", "--yes"]).start());
    first.wait().exits(0);
    second.wait().exits(0);
    session.clone().args(["verify"]).run().exits(0);
    other(&["verify"]).run().exits(0);
    let (first, second) =
        (session.clone().args(["up", "--yes"]).start(), other(&["destroy", "--yes"]).start());
    second.wait().exits(0);
    first.wait().exits(0);
    session.clone().args(["verify"]).run().exits(0);
    session.clone().args(["destroy", "--yes"]).run().exits(0);
    assert_eq!(fs::read(networking(&session)).expect("it is there"), before, "byte for byte");
}
