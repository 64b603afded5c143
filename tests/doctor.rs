//! `doctor`: each check in each of its states, and the page that explains them.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::session::Session;

/// Returns what `doctor` says as JSON, whatever its exit status.
fn doctor(session: &Session, words: &[&str]) -> Value {
    let ended = session.clone().args(words).args(["doctor", "--output", "json"]).run();
    let first = ended.stdout.lines().next().unwrap_or_else(|| panic!("nothing is said:\n{}", ended.shown()));
    serde_json::from_str(first).unwrap_or_else(|error| panic!("no JSON ({error}):\n{}", ended.shown()))
}

fn check(told: &Value, id: &str) -> Value {
    let checks = told["checks"].as_array().expect("a list of checks");
    checks.iter().find(|check| check["id"] == id).cloned().unwrap_or_else(|| panic!("no {id} in {told:#}"))
}

/// A state of the simulated Mac, and what a check says of it.
struct Row {
    hazard: &'static str,
    id: &'static str,
    state: &'static str,
    says: &'static str,
}

const fn row(hazard: &'static str, id: &'static str, state: &'static str, says: &'static str) -> Row {
    Row { hazard, id, state, says }
}

const ROWS: &[Row] = &[
    row("small-mac", "mac.memory", "fail", "of 16 GiB"),
    row("mac-sleeps", "mac.sleep", "warn", "after 1 minute without work"),
    row("other-lan", "network.lan", "warn", "en0 is in 192.168.1.0/24, the lab wants 192.168.68.0/24"),
    row("stranger-runs", "mac.memory", "ok", " has "),
    row("window-open", "network.window", "warn", "it is open"),
    row("wifi", "network.wifi", "warn", "which is Wi-Fi"),
    row("subnet-routed", "network.routes", "fail", "10.0.0.0/8 leads to utun4"),
];

#[test]
fn each_state_of_a_mac_is_seen_by_its_check_and_has_a_way_out() {
    for row in ROWS {
        let session = Session::new();
        session.clone().args(["sim", "hazard", row.hazard]).run().exits(0);
        let check = check(&doctor(&session, &[]), row.id);
        assert_eq!(check["state"], row.state, "{}: {check:#}", row.hazard);
        let detail = check["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(row.says), "{}: {check:#}", row.hazard);
        let fixes = check["fix"].as_array().map_or(0, Vec::len);
        assert_eq!(fixes > 0, row.state != "ok", "{}: {check:#}", row.hazard);
    }
}

#[test]
fn the_simulated_mac_tells_of_itself_and_its_release_has_a_flaw() {
    let told = doctor(&Session::new(), &[]);
    assert_eq!((&told["passed"], &told["simulated"]), (&true.into(), &true.into()));
    let state = |id| check(&told, id)["state"].clone();
    for id in ["fusion.tools", "mac.version", "mac.memory", "mac.cpus", "mac.sleep", "network.lan"] {
        assert_eq!(state(id), "ok", "{id}: {:#}", check(&told, id));
    }
    let flaw = check(&told, "fusion.advisories");
    assert_eq!((&flaw["state"], &flaw["group"]), (&"warn".into(), &"VMware Fusion".into()), "{flaw:#}");
    assert!(flaw["fix"][0]["say"].as_str().is_some_and(|say| say.contains("26H1u1")), "{flaw:#}");
}

#[test]
fn a_lab_that_does_not_fit_is_told_and_so_are_programs_that_are_gone() {
    let lab = "version: 1\nworkers: {disk: 2TiB, cpus: 16}\n";
    let session = Session::new().file("fusionlab.yaml", lab);
    let told = doctor(&session, &[]);
    assert_eq!(check(&told, "mac.disk")["state"], "warn", "{told:#}");
    assert_eq!(check(&told, "mac.cpus")["state"], "warn", "{told:#}");
    // Where Fusion is named, nobody lays it out anew.
    let mac = session.simulated_mac();
    for name in ["Applications/VMware Fusion.app/Contents/Library/vmnet-cfgcli", "usr/bin/pmset"] {
        fs::remove_file(mac.join(name)).expect("the program was there");
    }
    let root = mac.display().to_string();
    let told = doctor(&session, &["--fusion", &root]);
    let tools = check(&told, "fusion.tools");
    assert_eq!((&tools["state"], &tools["detail"]), (&"fail".into(), &"vmnet-cfgcli is missing".into()));
    assert_eq!(check(&told, "mac.sleep")["state"], "unknown");
    assert!(told["unknown"].as_u64() >= Some(1), "{told:#}");
}

#[test]
fn what_a_killed_run_left_is_put_away_after_a_question() {
    let session = Session::new();
    doctor(&session, &[]);
    let home = session.fusionlab_home();
    let half = home.join("labs/lab/.fusionlab-aB3dE6");
    let lock = home.join("locks/lab-lab");
    for (path, text) in [
        (&half, ""),
        (&lock, r#"{"pid":4194000,"boot":"b","verb":"up","since":"2026-11-23T14:23:55Z"}"#),
        (
            &home.join("labs/lab/journal.jsonl"),
            "{\"version\":2,\"at_ms\":32503680000000,\"verb\":\"up\",\"step\":\"a\",\"state\":\"done\"}\n",
        ),
    ] {
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("the folder can be made");
        fs::write(path, text).expect("the file can be written");
    }
    let told = doctor(&session, &[]);
    let state = |told: &Value, id| check(told, id)["state"].clone();
    assert_eq!(state(&told, "mac.clock"), "fail", "{told:#}");
    for id in ["lab.locks", "lab.half-written"] {
        assert_eq!(state(&told, id), "warn", "{told:#}");
    }
    // Nobody can answer here, so nothing is done.
    let refused = session.clone().args(["doctor", "--fix"]).run().exits(2);
    assert!(half.exists() && refused.stderr.contains("process 4194000"), "{}", refused.shown());
    let fixed = session.clone().args(["doctor", "--fix", "--yes"]).run().exits(4);
    assert!(fixed.stderr.contains("This was done:"), "{}", fixed.shown());
    assert!(!half.exists());
    assert_eq!(fs::read_to_string(&lock).expect("the lock stays"), "");
    let told = doctor(&session, &[]);
    for id in ["lab.locks", "lab.half-written"] {
        assert_eq!(state(&told, id), "ok", "{told:#}");
    }
}

/// Returns the ids that begin the rows of a page's tables.
fn documented(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    rows.filter(|id| id.contains('.')).map(str::to_owned).collect()
}

#[test]
fn the_page_has_a_row_for_each_check_and_for_no_other() {
    let told = doctor(&Session::new(), &[]);
    let checks = told["checks"].as_array().expect("a list of checks");
    let made: BTreeSet<String> =
        checks.iter().map(|check| check["id"].as_str().expect("a check has an id").to_owned()).collect();
    assert_eq!(documented(include_str!("../docs/doctor.md")), made);
}
