//! `up` and `destroy` on the simulated Fusion: the networking document's lab, from nothing and back to nothing.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::session::Session;

fn sha256(path: &Path) -> String {
    hex::encode(Sha256::digest(fs::read(path).expect("the file can be read")))
}

fn networking(session: &Session) -> PathBuf {
    session.simulated_mac().join("Library/Preferences/VMware Fusion/networking")
}

fn library(session: &Session) -> PathBuf {
    session.simulated_mac().join("Virtual Machines.localized")
}

/// Lays the simulated Fusion out and puts someone else's VM into its library.
fn with_a_strangers_vm() -> (Session, PathBuf) {
    let session = Session::new();
    session.clone().args(["sim", "start"]).run().exits(0);
    let bundle = library(&session).join("lab/stranger.vmwarevm");
    fs::create_dir_all(&bundle).expect("the library takes a folder");
    let vmx = bundle.join("stranger.vmx");
    fs::write(&vmx, ".encoding = \"UTF-8\"\nconfig.version = \"8\"\nvirtualHW.version = \"20\"\n")
        .expect("it can be written");
    (session, vmx)
}

#[test]
fn the_documents_lab_comes_up_and_goes_without_a_trace() {
    let (session, stranger) = with_a_strangers_vm();
    let (before, stranger_before) = (sha256(&networking(&session)), sha256(&stranger));

    let up = session.clone().args(["up", "--yes"]).run().exits(0);
    assert!(up.stderr.contains("simulated"), "a simulation says so:\n{}", up.stderr);
    the_lab_is_as_the_document_says(&session);

    let again = session.clone().args(["up", "--yes"]).run().exits(0);
    assert!(again.stderr.contains("nothing had to be done"), "{}", again.stderr);
    session.clone().args(["plan", "--detailed-exitcode"]).run().exits(0);

    session.clone().args(["destroy", "--yes"]).run().exits(0);
    assert_eq!(sha256(&networking(&session)), before, "the networking file is what it was, byte for byte");
    assert_eq!(sha256(&stranger), stranger_before);
    let left: Vec<_> =
        fs::read_dir(library(&session).join("lab")).expect("the stranger's folder stays").collect();
    assert_eq!(left.len(), 1, "only the stranger is left: {left:?}");
    assert!(!session.fusionlab_home().join("labs/lab").exists());
    session.clone().args(["plan", "--detailed-exitcode"]).run().exits(12);
}

fn the_lab_is_as_the_document_says(session: &Session) {
    let status = session.clone().args(["status", "--output", "json"]).run().exits(0).json();
    let nodes = status["nodes"].as_array().expect("a list of nodes");
    let addresses: Vec<&str> = nodes.iter().filter_map(|node| node["address"].as_str()).collect();
    let document = [
        "10.10.0.11",
        "10.10.0.12",
        "10.10.0.131",
        "10.10.0.132",
        "10.10.0.133",
        "10.10.0.141",
        "10.10.0.142",
    ];
    assert_eq!(addresses, document);
    assert!(nodes.iter().all(|node| node["vm"] == "running"), "{status:#}");
    let ready = nodes.iter().filter(|node| node["kubernetes"] == "ready").count();
    assert_eq!(ready, 5, "{status:#}");
    assert_eq!(status["simulated"], true);
    let kubeconfig = session.fusionlab_home().join("labs/lab/kubeconfig");
    let text = fs::read_to_string(&kubeconfig).expect("there is a kubeconfig");
    assert!(text.contains("https://192.168.68.200:6443"), "users come through the LAN VIP");
    assert_eq!(mode(&kubeconfig), 0o600);
    assert_eq!(mode(&session.fusionlab_home().join("labs/lab/identity")), 0o700);
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

/// A lab of the smallest size, for what does not depend on size.
const SOLO: &str = "version: 1\npreset: solo\n";

#[test]
fn copied_and_fully_cloned_machines_come_up_too() {
    for clone in ["full", "cow"] {
        let session = Session::new().file("fusionlab.yaml", format!("{SOLO}clone: {clone}\n"));
        session.clone().args(["up", "--yes"]).run().exits(0);
        session.clone().args(["plan", "--detailed-exitcode"]).run().exits(0);
        session.args(["destroy", "--yes"]).run().exits(0);
    }
}

#[test]
fn the_rest_driver_brings_the_lab_up_too() {
    let session = Session::new().file("fusionlab.yaml", format!("{SOLO}driver: rest\n"));
    session.clone().args(["up", "--yes"]).run().exits(0);
    session.clone().args(["verify"]).run().exits(0);
    session.args(["destroy", "--yes"]).run().exits(0);
}

/// What the journal tells: steps that were begun, each time that they were.
pub struct Journal(PathBuf);

impl Journal {
    pub fn of(session: &Session) -> Self {
        Self::of_lab(session, "lab")
    }

    pub fn of_lab(session: &Session, lab: &str) -> Self {
        Self(session.fusionlab_home().join(format!("labs/{lab}/journal.jsonl")))
    }

    pub fn starts_of(&self, step: &str) -> usize {
        let started = format!("\"step\":\"{step}\",\"state\":\"started\"");
        fs::read_to_string(&self.0).unwrap_or_default().matches(&started).count()
    }
}

/// Returns the ids of the steps that are missing.
pub fn planned(session: &Session) -> Vec<String> {
    let plan = session.clone().args(["plan", "--output", "json"]).run().exits(0).json();
    let steps = plan["steps"].as_array().expect("a list of steps");
    steps.iter().map(|step| step["id"].as_str().expect("an id").to_owned()).collect()
}

/// Runs `up` and kills it as soon as it begins a step. Says whether it did: what a killed run has set going, such as Keepalived,
/// goes on without it, and may have left the next one nothing to do.
fn kill_up_at(session: &Session, step: &str) -> bool {
    let journal = Journal::of(session);
    let before = journal.starts_of(step);
    let mut running = session.clone().args(["up", "--yes"]).start();
    if !running.wait_until_or_end(|| journal.starts_of(step) > before) {
        running.wait().exits(0);
        return false;
    }
    running.signal("KILL");
    assert_eq!(running.wait().status.code(), None, "killed at {step}");
    true
}

#[test]
fn killed_at_any_step_the_next_up_goes_on() {
    let session = Session::new().file("fusionlab.yaml", SOLO);
    let all = planned(&session);
    let mut killed = 0;
    for step in &all {
        // What runs beside a step may be done by the time that the program is killed at it.
        if planned(&session).contains(step) && kill_up_at(&session, step) {
            killed += 1;
        }
    }
    assert!(killed > all.len() / 2, "{killed} of {}", all.len());
    session.clone().args(["up", "--yes"]).run().exits(0);
    session.clone().args(["plan", "--detailed-exitcode"]).run().exits(0);
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn killed_while_a_worker_is_cloned_or_joins_the_next_up_goes_on() {
    let session = Session::new().file("fusionlab.yaml", "version: 1\npreset: small\n");
    for step in ["vm.clone/k8s-worker1", "vm.configure/k8s-worker1", "kube.join/k8s-worker1"] {
        assert!(kill_up_at(&session, step), "{step} was not begun");
    }
    session.clone().args(["up", "--yes"]).run().exits(0);
    session.clone().args(["plan", "--detailed-exitcode"]).run().exits(0);
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn a_destroy_killed_at_any_step_is_finished_by_the_next() {
    let session = Session::new().file("fusionlab.yaml", SOLO);
    session.clone().args(["sim", "start"]).run().exits(0);
    let before = sha256(&networking(&session));
    session.clone().args(["up", "--yes"]).run().exits(0);
    let journal = Journal::of(&session);
    for step in ["vm.stop/gateway1", "vm.delete/gateway1", "vm.delete/k8s-master1", "network.restore"] {
        let mut running = session.clone().args(["destroy", "--yes"]).start();
        running.wait_until(|| journal.starts_of(step) > 0);
        running.signal("KILL");
        assert_eq!(running.wait().status.code(), None, "killed at {step}");
    }
    session.clone().args(["destroy", "--yes"]).run().exits(0);
    assert_eq!(sha256(&networking(&session)), before);
    assert!(!library(&session).join("lab").exists(), "no machine is left");
    assert!(!session.fusionlab_home().join("labs/lab").exists());
}

#[test]
fn an_interrupted_up_says_what_stands() {
    let session = Session::new().file("fusionlab.yaml", SOLO);
    let journal = session.fusionlab_home().join("labs/lab/journal.jsonl");
    let mut running = session.clone().args(["up", "--yes"]).start();
    running.wait_until(|| fs::read_to_string(&journal).unwrap_or_default().contains("template.bake"));
    running.signal("INT");
    let ended = running.wait().exits(130);
    assert!(ended.stderr.contains("steps done"), "{}", ended.stderr);
    session.clone().args(["up", "--yes"]).run().exits(0);
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn a_guest_that_never_answers_stops_only_what_needs_it() {
    let lab = "version: 1\npreset: small\nlimits:\n  guest_ssh: 4\n";
    let session = Session::new().file("fusionlab.yaml", lab);
    session.clone().args(["sim", "fault", "guest-hangs-at-boot", "--on", "k8s-worker1"]).run().exits(0);
    let ended = session.clone().args(["up", "--yes"]).run().exits(8);
    for part in ["k8s-worker1", "takes our SSH key", "guest_ssh", "4 s"] {
        assert!(ended.stderr.contains(part), "the report lacks {part:?}:\n{}", ended.stderr);
    }
    let status = session.clone().args(["status", "--output", "json"]).run().exits(0).json();
    let of = |name: &str| -> Value {
        let nodes = status["nodes"].as_array().expect("a list of nodes");
        nodes.iter().find(|node| node["name"] == name).expect("the node is listed").clone()
    };
    assert_eq!(of("gateway1")["guest"], "done", "{status:#}");
    assert_eq!(of("k8s-master1")["vm"], "running", "{status:#}");
    session.clone().args(["sim", "fault", "--clear"]).run().exits(0);
    session.args(["destroy", "--yes"]).run().exits(0);
}
