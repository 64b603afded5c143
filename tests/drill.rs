//! `drill`: what is lost is put back, whoever is interrupted, and an outage over its limit is said.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::session::Session;
use crate::up::planned;

/// The least lab that can do without one of everything.
const PAIRS: &str = "version: 1\n";
/// Two gateways, and nothing else twice.
const GATEWAYS: &str =
    "version: 1\ncontrol_planes: {count: 1, schedulable: true}\nworkers: {count: 0}\ngateways: {count: 2}\n";

fn up(lab: &str) -> Session {
    let session = Session::new().file("fusionlab.yaml", lab);
    session.clone().args(["up", "--yes"]).run().exits(0);
    session
}

fn record(session: &Session) -> PathBuf {
    session.fusionlab_home().join("labs/lab/drill.json")
}

/// The lab is as it was: proven, with nothing to do and no record.
fn is_whole(session: &Session) {
    assert!(!record(session).exists());
    session.clone().args(["verify"]).run().exits(0);
    session.clone().args(["plan", "--detailed-exitcode"]).run().exits(0);
}

/// Reads the object of a schema out of the lines of a run.
fn of_schema(stdout: &str, schema: &str) -> Value {
    let objects = stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut wanted = objects.filter(|object| object["schema"] == schema);
    wanted.next().unwrap_or_else(|| panic!("no {schema} in\n{stdout}"))
}

#[test]
fn everything_is_lost_once_and_put_back() {
    let session = up(PAIRS);
    let drill = session.clone().args(["drill", "--yes", "--output", "json"]).run().exits(0);
    let report = of_schema(&drill.stdout, "fusionlab.drill/1");
    assert_eq!((&report["passed"], &report["simulated"]), (&true.into(), &true.into()));
    let scenarios = report["scenarios"].as_array().expect("a list");
    let names: Vec<&str> = scenarios.iter().filter_map(|one| one["scenario"].as_str()).collect();
    let all = [
        "gateway-nginx",
        "gateway-keepalived",
        "gateway-network",
        "gateway-vm",
        "worker-vm",
        "control-plane-vm",
    ];
    assert_eq!(names, all);
    for scenario in scenarios {
        let ways = scenario["ways"].as_array().expect("a list");
        assert_eq!(ways.len(), 4, "{scenario:#}");
        // A way is asked ten times a second for some seconds.
        assert!(ways.iter().all(|way| way["sent"].as_u64().is_some_and(|sent| sent > 20)), "{scenario:#}");
    }
    let lost_on = |name: &str| {
        let node = scenarios.iter().find(|one| one["scenario"] == name).map(|one| one["node"].clone());
        node.expect("it is in the report")
    };
    assert_ne!(lost_on("gateway-nginx"), lost_on("gateway-keepalived"), "the holder moves with each loss");
    is_whole(&session);
    let again =
        session.clone().args(["drill", "control-plane-vm", "--on", "k8s-master2", "--yes"]).run().exits(0);
    assert!(again.stdout.contains("k8s-master2"), "{}", again.stdout);
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn what_the_lab_cannot_do_without_is_left_out_and_refused_by_name() {
    let session = up("version: 1\npreset: small\n");
    let drill = session.clone().args(["drill", "--yes"]).run().exits(0);
    assert!(drill.stderr.contains("there is one gateway"), "{}", drill.stderr);
    assert!(drill.stderr.contains("there is one worker"), "{}", drill.stderr);
    let refused = session.clone().args(["drill", "gateway-vm", "--yes"]).run().exits(10);
    assert!(refused.stderr.contains("drill-impossible"), "{}", refused.stderr);
    let list = session.clone().args(["drill", "--list"]).run().exits(0);
    assert!(list.stdout.contains("not here: there is one control plane"), "{}", list.stdout);
    session.clone().args(["drill", "gateway-wm"]).run().exits(2);
    session.clone().args(["drill", "--on", "k8s-worker7", "--yes"]).run().exits(2);
    let asked = session.clone().args(["drill"]).run().exits(0);
    assert!(asked.stderr.contains("Nothing is lost"), "{}", asked.stderr);
    is_whole(&session);
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn a_lab_that_is_not_whole_is_not_broken_further() {
    let session = Session::new().file("fusionlab.yaml", format!("{GATEWAYS}limits: {{verify_check: 3}}\n"));
    let nothing = session.clone().args(["drill", "--yes"]).run().exits(10);
    assert!(nothing.stderr.contains("is not up"), "{}", nothing.stderr);
    session.clone().args(["up", "--yes"]).run().exits(0);
    crate::heal::stop(&session, "gateway2");
    let refused = session.clone().args(["drill", "gateway-nginx", "--yes"]).run().exits(10);
    assert!(refused.stderr.contains("gateway2 does not answer"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("note: gateway"), "nothing was lost:\n{}", refused.stderr);
    assert!(!record(&session).exists());
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn an_outage_over_its_limit_is_put_back_and_exits_10() {
    // Adverts every 40 s: at the simulation's speed nobody takes over for two seconds.
    let slow = "gateways: {count: 2, advert: 40}\nlimits: {drill_gateway: 1}\n";
    let lab = GATEWAYS.replace("gateways: {count: 2}\n", slow);
    let session = up(&lab);
    let drill = session.clone().args(["drill", "gateway-vm", "--yes", "--output", "json"]).run().exits(10);
    let report = of_schema(&drill.stdout, "fusionlab.drill/1");
    assert_eq!(report["passed"], false);
    let ways = report["scenarios"][0]["ways"].as_array().expect("a list");
    let worst = ways.iter().filter_map(|way| way["outage"].as_f64()).fold(0.0, f64::max);
    assert!(worst > 1.0, "{report:#}");
    assert!(ways.iter().any(|way| way["lost"].as_u64() > Some(0)), "{report:#}");
    let error = of_schema(&drill.stdout, "fusionlab.error/1");
    assert_eq!(error["error"]["id"], "drill-outage");
    is_whole(&session);
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn what_cannot_be_put_back_is_said_with_the_way_to_do_it_and_is_tried_again() {
    let session = up(GATEWAYS);
    session.clone().args(["sim", "fault", "start-canceled"]).run().exits(0);
    let drill = session.clone().args(["drill", "gateway-vm", "gateway-nginx", "--yes"]).run().exits(10);
    assert!(drill.stderr.contains("gateway-vm is not put back"), "{}", drill.stderr);
    assert!(drill.stderr.contains("in Fusion, or with `vmrun start`"), "{}", drill.stderr);
    assert!(drill.stdout.contains("gateway-nginx"), "what was measured before is shown:\n{}", drill.stdout);
    assert!(record(&session).exists());
    session.clone().args(["sim", "fault", "--clear"]).run().exits(0);
    session.clone().args(["up", "--yes"]).run().exits(0);
    is_whole(&session);
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn an_interrupted_drill_puts_back_before_it_ends() {
    let session = up(GATEWAYS);
    let record = record(&session);
    for scenario in ["gateway-nginx", "gateway-vm"] {
        let mut drill = session.clone().args(["drill", scenario, "--yes"]).start();
        drill.wait_until(|| record.exists());
        drill.signal("INT");
        let ended = drill.wait().exits(130);
        assert!(ended.stderr.contains("gets back what it lost"), "{}", ended.stderr);
        is_whole(&session);
    }
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn what_a_killed_drill_left_is_put_back_by_the_next_drill_or_by_up() {
    let session = up(GATEWAYS);
    let record = record(&session);
    let killed_in = |scenario: &str| {
        let mut drill = session.clone().args(["drill", scenario, "--yes"]).start();
        drill.wait_until(|| record.exists());
        drill.signal("KILL");
        drill.wait();
        assert!(record.exists());
    };
    killed_in("gateway-network");
    assert!(
        planned(&session).iter().any(|step| step.starts_with("drill.restore/")),
        "{:?}",
        planned(&session)
    );
    session.clone().args(["up", "--yes"]).run().exits(0);
    is_whole(&session);

    killed_in("gateway-vm");
    let next = session.clone().args(["drill", "gateway-keepalived", "--yes"]).run().exits(0);
    assert!(next.stderr.contains("put back what gateway"), "{}", next.stderr);
    is_whole(&session);

    killed_in("gateway-nginx");
    session.clone().args(["destroy", "--yes"]).run().exits(0);
    assert!(!record.exists(), "it goes with the lab");
}
