//! A lab that grows by its lab file: what is new is made, what stands follows, nothing is made anew.

use crate::support::session::Session;
use crate::up::planned;

#[test]
fn a_second_worker_is_added_and_no_other_machine_is_touched() {
    let session = Session::new().file("fusionlab.yaml", "version: 1\npreset: small\n");
    session.clone().args(["up", "--yes"]).run().exits(0);
    let before = running(&session);

    let session = session.file("fusionlab.yaml", "version: 1\npreset: small\nworkers: {count: 2}\n");
    let steps = planned(&session);
    let of_machines: Vec<&String> = steps.iter().filter(|id| id.starts_with("vm.")).collect();
    assert_eq!(
        of_machines,
        ["vm.clone/k8s-worker2", "vm.configure/k8s-worker2", "vm.start/k8s-worker2"],
        "{steps:#?}"
    );
    let joins: Vec<&String> = steps.iter().filter(|id| id.starts_with("kube.join")).collect();
    assert_eq!(joins, ["kube.join/k8s-worker2"]);
    assert!(!steps.iter().any(|id| id.starts_with("kube.init") || id.starts_with("template")), "{steps:#?}");
    // Its reservation, its key, and the files in which every machine stands.
    for step in ["identity.create", "network.apply", "gateway.configure/gateway1", "node.prepare/k8s-worker1"]
    {
        assert!(steps.iter().any(|id| id == step), "{step} is not in {steps:#?}");
    }

    session.clone().args(["up", "--yes"]).run().exits(0);
    let proof = session.clone().args(["verify", "--output", "json"]).run().exits(0).stdout;
    assert!(proof.contains("3 Ready"), "{proof}");
    session.clone().args(["plan", "--detailed-exitcode"]).run().exits(0);
    let after = running(&session);
    assert_eq!(after.len(), before.len() + 1);

    // Taking a machine out is not something that `up` does by itself, nor something that it passes over.
    let session = session.file("fusionlab.yaml", "version: 1\npreset: small\n");
    let refused = session.clone().args(["up", "--yes"]).run().exits(6);
    assert!(refused.stderr.contains("k8s-worker2 bears this lab's mark"), "{}", refused.stderr);
    session.clone().args(["destroy", "--yes"]).run().exits(0);
    assert!(!session.simulated_mac().join("Virtual Machines.localized/lab").exists());
}

fn running(session: &Session) -> Vec<String> {
    let status = session.clone().args(["status", "--output", "json"]).run().exits(0).json();
    let nodes = status["nodes"].as_array().expect("a list of nodes");
    let runs = nodes.iter().filter(|node| node["vm"] == "running");
    runs.map(|node| node["name"].as_str().expect("a name").to_owned()).collect()
}
