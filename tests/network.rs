//! Fusion's networks through the `network` verbs and `doctor`, on the simulated Fusion.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::session::Session;

/// The document's networks with as few machines as there can be.
const LAB: &str = "version: 1\npreset: solo\n";

fn session() -> Session {
    Session::new().file("fusionlab.yaml", LAB)
}

fn networking(session: &Session) -> PathBuf {
    session.simulated_mac().join("Library/Preferences/VMware Fusion/networking")
}

fn text(session: &Session) -> String {
    fs::read_to_string(networking(session)).expect("the simulated Mac has a networking file")
}

fn json(session: &Session, words: &[&str]) -> Value {
    session.clone().args(words).args(["--output", "json"]).run().exits(0).json()
}

/// Returns the last object of a run that also tells its events.
fn last(session: &Session, words: &[&str]) -> Value {
    let ended = session.clone().args(words).args(["--output", "json"]).run().exits(0);
    serde_json::from_str(ended.stdout.lines().last().expect("it says something")).expect("it is JSON")
}

fn names(value: &Value) -> Vec<&str> {
    value["networks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["name"].as_str().expect("a name"))
        .collect()
}

#[test]
fn show_tells_all_networks_and_one_alone() {
    let session = session();
    let fresh = json(&session, &["network", "show"]);
    assert_eq!(fresh["schema"], "fusionlab.networks/2");
    assert_eq!(names(&fresh), ["vmnet1", "vmnet8"]);
    session.clone().args(["network", "apply", "--yes"]).run().exits(0);
    let made = json(&session, &["network", "show", "--vmnet", "2"]);
    assert_eq!(names(&made), ["vmnet2"]);
    let ours = &made["networks"][0];
    assert_eq!((&ours["subnet"], &ours["nat"]), (&"10.10.0.0/24".into(), &true.into()));
    let services = ours["services"].as_array().expect("a list");
    assert!(services.len() == 2 && services.iter().all(|service| service["running"] == true), "{services:?}");
    let reservations = ours["reservations"].as_array().expect("a list");
    assert!(reservations.iter().any(|one| one["machine"] == "k8s-master1"), "{reservations:?}");
    let fixed = ours["fixed"].as_array().expect("the network has a dhcpd.conf");
    let is_fixed = |one: &&Value| fixed.iter().any(|host| host["address"] == one["address"]);
    assert!(reservations.iter().all(|one| is_fixed(&one)), "{ours}");
    let shown = session.clone().args(["network", "show"]).run().exits(0).stdout;
    assert!(shown.starts_with("NETWORK") && shown.contains("\nvmnet2   10.10.0.0/24"), "{shown}");
    let ended = session.args(["network", "show", "--vmnet", "5"]).run().exits(2);
    assert!(ended.stderr.contains("there is no vmnet5"), "{}", ended.shown());
}

#[test]
fn plan_shows_the_change_and_makes_none() {
    let session = session();
    let plan = session.clone().args(["network", "plan", "--detailed-exitcode"]).run().exits(12);
    assert!(plan.stdout.contains("\n  +answer VNET_2_HOSTONLY_SUBNET 10.10.0.0\n"), "{}", plan.shown());
    assert!(plan.stdout.contains("All of Fusion's networks restart"), "{}", plan.shown());
    assert!(!text(&session).contains("VNET_2"));
    let value = json(&session, &["network", "plan"]);
    assert_eq!((&value["verb"], &value["change"]["scope"]), (&"apply".into(), &"networks".into()));
    session.clone().args(["network", "apply", "--yes"]).run().exits(0);
    let nothing = session.clone().args(["network", "plan", "--detailed-exitcode"]).run().exits(0);
    assert!(nothing.stdout.contains("Nothing to do"), "{}", nothing.shown());
    let undo = session.args(["network", "plan", "--undo", "--detailed-exitcode"]).run().exits(12);
    assert!(undo.stdout.contains("\n  -answer VNET_2_HOSTONLY_SUBNET 10.10.0.0\n"), "{}", undo.shown());
}

#[test]
fn apply_asks_unless_told_and_restore_gives_the_bytes_back() {
    let session = session();
    json(&session, &["network", "show"]);
    let before = text(&session);
    let asked = session.clone().args(["network", "apply"]).run().exits(2);
    assert!(asked.stderr.contains("--yes"), "{}", asked.shown());
    assert_eq!(text(&session), before);
    let applied = session.clone().args(["network", "apply", "--yes"]).run().exits(0);
    assert!(applied.stderr.contains("vmnet2 10.10.0.0/24: DHCP and NAT run"), "{}", applied.shown());
    let again = last(&session, &["network", "apply", "--yes"]);
    assert_eq!((&again["schema"], &again["changed"]), (&"fusionlab.networkapply/1".into(), &0.into()));
    session.clone().args(["network", "restore", "--yes"]).run().exits(0);
    assert_eq!(text(&session), before);
    let nothing = last(&session, &["network", "restore", "--yes"]);
    assert_eq!((&nothing["schema"], &nothing["changed"]), (&"fusionlab.networkrestore/1".into(), &0.into()));
}

#[test]
fn a_backup_can_be_named_by_its_beginning_and_comes_back_whole() {
    let session = session();
    let none = session.clone().args(["network", "backups"]).run().exits(0);
    assert_eq!(none.stdout, "");
    let before = text(&session);
    session.clone().args(["network", "apply", "--yes"]).run().exits(0);
    let backups = json(&session, &["network", "backups"]);
    let [backup] = backups["backups"].as_array().expect("a list").as_slice() else { panic!("{backups}") };
    assert_eq!(backup["differs"], "networks");
    let table = session.clone().args(["network", "backups"]).run().exits(0).stdout;
    assert!(table.starts_with("BACKUP") && table.contains("networks"), "{table}");
    let digest = &backup["digest"].as_str().expect("a digest")[..8];
    let restored = session.clone().args(["network", "restore", digest, "--yes"]).run().exits(0);
    assert!(restored.stderr.contains("-answer VNET_2_HOSTONLY_SUBNET"), "{}", restored.shown());
    assert_eq!(text(&session), before);
    let unknown = session.args(["network", "restore", "ffffffffffffffff", "--yes"]).run();
    assert!(!unknown.status.success() && unknown.stderr.contains("ffffffffffffffff"), "{}", unknown.shown());
}

#[test]
fn a_vmnet_that_is_taken_stops_plan_and_doctor_names_it() {
    let session = session();
    json(&session, &["network", "show"]);
    fs::write(networking(&session), text(&session) + "add_bridge_mapping en0 2\n")
        .expect("it can be written");
    let refused = session.clone().args(["network", "plan"]).run().exits(7);
    assert!(refused.stderr.contains("en0") && refused.stderr.contains("vmnet: 3"), "{}", refused.shown());
    let found = session.clone().arg("doctor").run().exits(4);
    assert!(found.stdout.contains("it is the bridge to en0"), "{}", found.shown());
    let ended = session.args(["doctor", "--output", "json"]).run().exits(4);
    let lines: Vec<Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    assert_eq!((&lines[0]["schema"], &lines[0]["passed"]), (&"fusionlab.doctor/1".into(), &false.into()));
    let is_taken = |check: &&Value| check["id"] == "network.vmnet";
    let check = lines[0]["checks"].as_array().expect("a list").iter().find(is_taken).expect("the check");
    assert_eq!(check["state"], "fail");
    assert!(check["fix"][0]["say"].as_str().is_some_and(|fix| fix.contains("vmnet: 3")), "{check}");
    assert_eq!(lines[1]["schema"], "fusionlab.error/1");
}

#[test]
fn a_file_of_another_version_is_told_with_its_line_and_left_alone() {
    let session = session();
    json(&session, &["network", "show"]);
    fs::write(networking(&session), "VERSION=2,0\n").expect("it can be written");
    for (words, code) in [(&["network", "show"][..], 4), (&["network", "plan"][..], 7), (&["doctor"][..], 4)]
    {
        let ended = session.clone().args(words).run().exits(code);
        assert!(ended.shown().contains("line 1: expected VERSION=1,0"), "{}", ended.shown());
    }
    assert_eq!(text(&session), "VERSION=2,0\n");
}

#[test]
fn doctor_passes_before_and_after_the_network_is_made_without_a_lab_file() {
    let session = Session::new();
    for _ in 0..2 {
        let value = json(&session, &["doctor"]);
        let failed: Vec<&Value> = value["checks"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|check| check["state"] == "fail")
            .collect();
        assert!(failed.is_empty() && value["passed"] == true, "{failed:#?}");
        session.clone().args(["network", "apply", "--yes"]).run().exits(0);
    }
    let shown = session.arg("doctor").run().exits(0).stdout;
    assert!(shown.contains("✓ the networking file "), "{shown}");
}

#[test]
fn a_sudoers_line_is_printed_alone_and_compared_with_what_is_installed() {
    let session = Session::new();
    let printed = session.clone().args(["network", "sudoers"]).run();
    if !printed.status.success() {
        // Whoever runs this test could change the program that they built, unless they are root.
        assert!(printed.stderr.contains("no sudoers line can be given"), "{}", printed.exits(4).shown());
        return;
    }
    let line = printed.stdout.lines().last().expect("it printed a line");
    assert!(line.contains("NOPASSWD") && line.ends_with("network/request.json"), "{line}");
    assert!(
        printed.stderr.contains("network sudoers | sudo tee /etc/sudoers.d/fusionlab"),
        "{}",
        printed.shown()
    );
    let check = |installed: &str| {
        session.clone().args(["network", "sudoers", "--check", "-"]).input(installed.to_owned()).run()
    };
    check(&printed.stdout).exits(0);
    assert!(check("").exits(4).stderr.contains("no sudoers line is installed"));
    let other = check(&printed.stdout.replace("NOSETENV", "SETENV")).exits(4);
    assert!(other.stderr.contains("not the one that is wanted"), "{}", other.shown());
}

#[test]
fn root_accepts_no_request_that_is_not_there() {
    for verb in [&["apply-as-root", "--vmnet", "2"][..], &["restore-as-root"]] {
        let ended = Session::new().arg("network").args(verb).args(["--request", "/nowhere"]).run().exits(7);
        assert!(ended.stdout.contains("refused"), "{}", ended.shown());
    }
}

#[test]
fn networks_do_not_restart_under_a_machine_of_somebody_else() {
    let session = Session::new();
    session.clone().args(["network", "apply", "--yes"]).run().exits(0);
    session.clone().args(["sim", "hazard", "stranger-runs"]).run().exits(0);
    let file = session.simulated_mac().join("Library/Preferences/VMware Fusion/networking");
    let before = std::fs::read(&file).expect("there is a networking file");
    for verb in [&["network", "restore", "--yes"][..], &["destroy", "--yes"]] {
        let ended = session.clone().args(verb).run().exits(4);
        assert!(ended.stderr.contains("is not this lab's"), "{}", ended.shown());
        assert_eq!(std::fs::read(&file).expect("it stays"), before);
    }
    // One more address on a network that stands restarts that network's DHCP alone, which cuts nobody off.
    let session =
        session.file("fusionlab.yaml", "version: 1\nnodes:\n  k8s-worker1: {address: 10.10.0.77}\n");
    let ended = session.clone().args(["network", "apply", "--yes"]).run().exits(0);
    assert!(ended.stderr.contains("10.10.0.77"), "{}", ended.shown());
}

#[test]
fn two_labs_share_a_network_and_the_last_one_gives_the_old_bytes_back() {
    let other = "version: 1\nname: other\npreset: solo\nlan: {vip: 192.168.68.210}\ninternal: {vip: 10.10.0.20}\n\
        nodes:\n  gateway1: {address: 10.10.0.21, lan_address: 192.168.68.66}\n  k8s-master1: {address: 10.10.0.151}\n";
    let session = Session::new().file("a.yaml", "version: 1\npreset: solo\n").file("b.yaml", other);
    session.clone().args(["sim", "start"]).run().exits(0);
    let file = session.simulated_mac().join("Library/Preferences/VMware Fusion/networking");
    let read = || std::fs::read_to_string(&file).expect("there is a networking file");
    let run = |lab: &str, verb: &str| {
        session.clone().args(["--lab", lab, "network", verb, "--yes"]).run().exits(0);
    };
    let before = read();
    run("a.yaml", "apply");
    run("b.yaml", "apply");
    assert!(read().contains(" 10.10.0.131\n") && read().contains(" 10.10.0.151\n"), "{}", read());
    run("a.yaml", "restore");
    assert!(!read().contains(" 10.10.0.131\n") && read().contains(" 10.10.0.151\n"), "{}", read());
    assert!(read().contains("VNET_2_NAT yes"), "the network stays for the other: {}", read());
    run("b.yaml", "restore");
    assert_eq!(read(), before);
}
