//! The Mac slept, or was started anew: `up` makes the lab whole again, in the order that it needs.

use serde_json::Value;

use crate::proof::bench::Bench;

fn steps(bench: &Bench) -> Vec<Value> {
    let plan = bench.run(&["plan", "--output", "json"]).exits(0).json();
    plan["steps"].as_array().expect("a list of steps").clone()
}

fn why<'a>(steps: &'a [Value], id: &str) -> &'a str {
    let step = steps.iter().find(|step| step["id"] == id);
    let step = step.unwrap_or_else(|| panic!("{id} is not planned: {steps:#?}"));
    step["why"].as_str().expect("a reason")
}

fn is_whole(bench: &Bench) {
    bench.run(&["up", "--yes"]).exits(0);
    let left = bench.run(&["plan", "--detailed-exitcode", "--verbose"]);
    assert_eq!(left.status.code(), Some(0), "{}", left.shown());
}

#[test]
fn after_a_night_only_the_clocks_are_set() {
    let bench = Bench::up_as("version: 1\npreset: small\n");
    bench.run(&["sim", "sleep", "8h"]).exits(0);
    let steps = steps(&bench);
    assert_eq!(why(&steps, "guest.clock/k8s-worker1"), "its clock is 8 h behind this Mac's");
    assert!(!steps.iter().any(|step| step["id"].as_str().is_some_and(|id| id.contains("certificates"))));
    is_whole(&bench);
    bench.down();
}

#[test]
fn after_five_years_the_certificates_are_renewed_and_the_cluster_is_the_same() {
    let bench = Bench::up_as("version: 1\n");
    let before = bench.object("default", "services", "kubernetes")["metadata"]["uid"].clone();
    bench.run(&["sim", "sleep", "1800d"]).exits(0);
    let planned = steps(&bench);
    assert_eq!(why(&planned, "guest.clock/gateway1"), "its clock is 1800 days behind this Mac's");
    let master = why(&planned, "kube.certificates/k8s-master2");
    assert!(master.starts_with("its certificates end in 2"), "{master}");
    assert!(master.contains("its kubelet's certificate ended 1435 days ago"), "{master}");
    let worker = why(&planned, "kube.certificates/k8s-worker2");
    assert_eq!(worker, "its kubelet's certificate ended 1435 days ago");
    let doctor = bench.run(&["doctor"]).exits(0).stdout;
    let words = doctor.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("'s kubelet ended 1435 days ago, and 7 more"), "{doctor}");
    assert!(words.contains("it renews whatever ends soon: fusionlab up"), "{doctor}");
    is_whole(&bench);

    // Those of the control plane have ended, too: nobody can ask an API server any more.
    bench.run(&["sim", "sleep", "2000d"]).exits(0);
    let ended = steps(&bench);
    assert_eq!(
        why(&ended, "kube.certificates/k8s-master3"),
        "its certificates ended 175 days ago; its kubelet's certificate ended 1635 days ago"
    );
    is_whole(&bench);
    let after = bench.object("default", "services", "kubernetes")["metadata"]["uid"].clone();
    assert_eq!(after, before, "no cluster was begun anew");
    bench.down();
}

#[test]
fn after_a_reboot_the_networks_come_first_and_no_machine_is_made_anew() {
    let bench = Bench::up_as("version: 1\n");
    bench.run(&["sim", "reboot"]).exits(0);
    let planned = steps(&bench);
    let position = |id: &str| {
        planned.iter().position(|step| step["id"] == id).unwrap_or_else(|| panic!("{id} is not planned"))
    };
    assert!(position("network.apply") < position("vm.start/k8s-master1"));
    assert!(!planned.iter().any(|step| step["id"].as_str().is_some_and(|id| id.starts_with("vm.clone"))));
    is_whole(&bench);
    bench.down();
}
