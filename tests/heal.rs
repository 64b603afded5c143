//! What was up and is not any more comes up again, and nothing that holds data is begun anew.

use std::fs;
use std::process::Command;

use crate::support::session::Session;
use crate::up::Journal;

/// Pulls the plug of every machine: the process that stands for Fusion's is killed.
pub fn power_cut(session: &Session) {
    for process in session.processes() {
        let killed = Command::new("kill").args(["-9", &process.id.to_string()]).status().expect("kill runs");
        assert!(killed.success());
    }
}

/// Runs the simulated Fusion's vmrun, as the user's own hands would.
fn vmrun(session: &Session, arguments: &[&str]) {
    let program = session.simulated_mac().join("Applications/VMware Fusion.app/Contents/Library/vmrun");
    let output = Command::new(program).args(["-T", "fusion"]).args(arguments).output().expect("vmrun runs");
    assert!(output.status.success(), "vmrun {arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
}

/// Pulls the plug of one machine of the lab.
pub fn stop(session: &Session, node: &str) {
    let vmx =
        session.simulated_mac().join(format!("Virtual Machines.localized/lab/{node}.vmwarevm/{node}.vmx"));
    vmrun(session, &["stop", vmx.to_str().expect("the path is text"), "hard"]);
}

#[test]
fn after_a_power_cut_up_starts_what_was_there() {
    let session = Session::new().file("fusionlab.yaml", "version: 1\npreset: small\n");
    session.clone().args(["up", "--yes"]).run().exits(0);
    power_cut(&session);
    let again = session.clone().args(["up", "--yes"]).run().exits(0);
    assert!(!again.stderr.contains("the node is reset"), "{}", again.stderr);
    assert!(!again.stderr.contains("vm.clone"), "{}", again.stderr);
    session.clone().args(["plan", "--detailed-exitcode"]).run().exits(0);
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn a_machine_that_loses_its_power_while_it_is_waited_for_is_started_again() {
    let session = Session::new().file("fusionlab.yaml", "version: 1\npreset: small\n");
    session.clone().args(["sim", "fault", "guest-hangs-at-boot", "--on", "k8s-worker1"]).run().exits(0);
    let journal = Journal::of(&session);
    let mut up = session.clone().args(["up", "--yes"]).start();
    up.wait_until(|| journal.starts_of("guest.ready/k8s-worker1") > 0);
    session.clone().args(["sim", "fault", "--clear"]).run().exits(0);
    stop(&session, "k8s-worker1");
    let ended = up.wait().exits(0);
    let told = "k8s-worker1 lost its power while it was waited for; it is started again, once";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn a_lost_first_control_plane_goes_back_into_its_cluster() {
    let session = Session::new();
    session.clone().args(["up", "--yes"]).run().exits(0);
    let vmx =
        session.simulated_mac().join("Virtual Machines.localized/lab/k8s-master1.vmwarevm/k8s-master1.vmx");
    let vmx = vmx.to_str().expect("the path is text");
    vmrun(&session, &["stop", vmx, "hard"]);
    vmrun(&session, &["deleteVM", vmx]);
    assert!(fs::metadata(vmx).is_err());

    let again = session.clone().args(["up", "--yes"]).run().exits(0);
    assert!(again.stderr.contains("k8s-master1 joins it again"), "{}", again.stderr);
    let proof = session.clone().args(["verify", "--output", "json"]).run().exits(0).stdout;
    assert!(proof.contains("3 members, 1 leader, 0 learners"), "{proof}");
    session.clone().args(["plan", "--detailed-exitcode"]).run().exits(0);
    session.args(["destroy", "--yes"]).run().exits(0);
}
