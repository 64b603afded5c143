//! Stopping, by real signals: what runs is finished or cut off, what stands is said, and the next run goes on from there.

use std::fs;

use crate::support::session::{Running, Session};

/// A start that hangs for minutes, unless somebody ends it.
const HANGS: &str = "vmrun-start-hangs";

/// Begins an `up` of the smallest lab in which the first machine's start hangs, and waits until it does.
fn hanging(limits: &str) -> (Session, Running) {
    let lab = format!("version: 1\npreset: solo\n{limits}");
    let session = Session::new().file("fusionlab.yaml", &lab);
    session.clone().args(["sim", "fault", HANGS, "--on", "gateway1"]).run().exits(0);
    let journal = session.fusionlab_home().join("labs/lab/journal.jsonl");
    let mut up = session.clone().args(["up", "--yes"]).start();
    // Its own machine is ready by then, so that nothing but the hanging start is left.
    let ready = ["\"vm.start/gateway1\"", "\"node.prepare/k8s-master1\",\"state\":\"done\""];
    up.wait_until(|| {
        let text = fs::read_to_string(&journal).unwrap_or_default();
        ready.iter().all(|record| text.contains(record))
    });
    (session, up)
}

fn goes_on(session: Session) {
    session.clone().args(["sim", "fault", "--clear"]).run().exits(0);
    session.clone().args(["up", "--yes"]).run().exits(0);
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn what_hangs_is_cut_off_after_one_signal_and_what_stands_is_said() {
    let (session, up) = hanging("");
    up.signal("INT");
    let ended = up.wait().exits(130);
    for part in [
        "interrupted: cut off 5 s after the wish to stop",
        "steps are left",
        "fusionlab up",
        "gateway1: up to vm.configure; next is vm.start",
        "k8s-master1: up to node.prepare; next is kube.init",
    ] {
        assert!(ended.stderr.contains(part), "{part:?} is not in\n{}", ended.stderr);
    }
    goes_on(session);
}

#[test]
fn a_second_signal_leaves_at_once_whatever_runs() {
    let (session, up) = hanging("limits: {stop: 900}\n");
    up.signal("TERM");
    up.signal("INT");
    up.wait().exits(130);
    goes_on(session);
}

#[test]
fn a_terminal_that_is_closed_stops_it_like_ctrl_c() {
    let (session, up) = hanging("limits: {stop: 1}\n");
    up.signal("HUP");
    let ended = up.wait().exits(130);
    assert!(ended.stderr.contains("cut off 1 s after the wish to stop"), "{}", ended.stderr);
    goes_on(session);
}

#[test]
fn failures_of_two_kinds_are_partly_done_with_what_stands_and_what_to_run() {
    let lab = "version: 1\npreset: small\nlimits:\n  guest_ssh: 4\n";
    let session = Session::new().file("fusionlab.yaml", lab);
    session.clone().args(["sim", "fault", "start-canceled", "--on", "gateway1"]).run().exits(0);
    session.clone().args(["sim", "fault", "guest-hangs-at-boot", "--on", "k8s-worker1"]).run().exits(0);
    let ended = session.clone().args(["up", "--yes"]).run().exits(11);
    for part in [
        "waits for the template: one clone of it at a time",
        "gateway1: up to vm.configure; vm.start failed",
        "k8s-worker1: up to vm.start; guest.ready failed",
        "k8s-master1: up to node.prepare; next is kube.init",
        "steps are left for:",
        "fusionlab up",
    ] {
        assert!(ended.stderr.contains(part), "{part:?} is not in\n{}", ended.stderr);
    }
    session.clone().args(["sim", "fault", "--clear"]).run().exits(0);
    session.args(["destroy", "--yes"]).run().exits(0);
}
