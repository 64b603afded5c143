//! kubeadm cut short at every point of facts/kubernetes-cilium.md §1.8: the next `up` ends with a whole cluster under the
//! same authority.

use std::fs;
use std::path::PathBuf;

use crate::heal::power_cut;
use crate::support::session::{Ended, Session};
use crate::up::Journal;

/// Two control planes and one worker: every row of the table, and no machine more. A control plane that never answers is
/// not waited for as long as on a slow laptop.
const LAB: &str = "\
version: 1
gateways: {count: 1}
control_planes: {count: 2}
workers: {count: 1}
limits: {api_endpoint: 8}
";

/// A lab that crashed, to be brought up again.
struct Crash {
    session: Session,
    authority: Option<Vec<u8>>,
}

impl Crash {
    fn new() -> Self {
        Self { session: Session::new().file("fusionlab.yaml", LAB), authority: None }
    }

    fn fusionlab(&self, arguments: &[&str]) -> Ended {
        self.session.clone().args(arguments).run()
    }

    fn authority(&self) -> PathBuf {
        self.session.fusionlab_home().join("labs/lab/identity/ca.crt")
    }

    /// Lets kubeadm die at the end of a phase as often as told; `up` then fails as Kubernetes' failures do.
    fn killed_at(mut self, point: &str, times: &str) -> Self {
        self.fusionlab(&["sim", "fault", "kubeadm-dies", "--on", point, "--times", times]).exits(0);
        self.fails();
        self
    }

    fn fails(&mut self) -> Ended {
        let ended = self.fusionlab(&["up", "--yes"]).exits(9);
        self.authority = Some(fs::read(self.authority()).expect("the identity is made before all else"));
        ended
    }

    /// Brings the lab up and looks whether all of it is right; returns what `up` said.
    fn recovers(self) -> String {
        let up = self.fusionlab(&["up", "--yes"]).exits(0);
        self.is_whole();
        up.stderr
    }

    fn is_whole(&self) {
        let authority = fs::read(self.authority()).expect("the identity stays");
        assert_eq!(Some(authority), self.authority, "the same authority");
        let verify = self.fusionlab(&["verify", "--output", "json"]).exits(0).json();
        assert_eq!(verify["passed"], true, "{verify:#}");
        let status = self.fusionlab(&["status", "--output", "json"]).exits(0).json();
        let nodes = status["nodes"].as_array().expect("a list of nodes");
        let ready = nodes.iter().filter(|node| node["kubernetes"] == "ready").count();
        assert_eq!(ready, 3, "{status:#}");
        self.fusionlab(&["plan", "--detailed-exitcode"]).exits(0);
        self.fusionlab(&["destroy", "--yes"]).exits(0);
    }
}

#[test]
fn row_1_init_before_the_kubelet_starts_is_reset_and_done_again() {
    let said = Crash::new().killed_at("k8s-master1:control-plane", "1").recovers();
    assert!(said.contains("the node is reset"), "{said}");
}

#[test]
fn row_2_an_init_whose_api_never_answered_begins_anew_since_nothing_is_in_it() {
    let mut crash = Crash::new();
    crash.fusionlab(&["sim", "fault", "api-server-crashes", "--on", "k8s-master1", "--times", "1"]).exits(0);
    let failed = crash.fails();
    assert!(failed.stderr.contains("wait-control-plane"), "{}", failed.stderr);
    assert!(
        failed.stderr.contains("kube-apiserver (CONTAINER_EXITED)"),
        "its logs are shown: {}",
        failed.stderr
    );
    let said = crash.recovers();
    assert!(said.contains("its API server never answered, and it holds nothing yet"), "{said}");
    assert!(said.contains("the node is reset"), "{said}");
}

#[test]
fn row_2_a_control_plane_that_held_pods_is_never_reset() {
    let crash = Crash {
        session: Session::new()
            .file("fusionlab.yaml", "version: 1\npreset: solo\nlimits: {api_endpoint: 4}\n"),
        authority: None,
    };
    crash.fusionlab(&["up", "--yes"]).exits(0);
    // It comes back from a power cut without its API server.
    crash.fusionlab(&["sim", "fault", "api-server-crashes", "--on", "k8s-master1"]).exits(0);
    power_cut(&crash.session);
    let failed = crash.fusionlab(&["up", "--yes"]).exits(9);
    assert!(failed.stderr.contains("cluster-data-kept"), "{}", failed.stderr);
    assert!(failed.stderr.contains("pods had a network there"), "{}", failed.stderr);
    assert!(!failed.stderr.contains("the node is reset"), "{}", failed.stderr);

    crash.fusionlab(&["sim", "fault", "--clear"]).exits(0);
    power_cut(&crash.session);
    crash.fusionlab(&["up", "--yes"]).exits(0);
    crash.fusionlab(&["destroy", "--yes"]).exits(0);
}

#[test]
fn a_cluster_that_lost_its_majority_is_kept_and_named_and_a_destroy_makes_room() {
    let crash = Crash {
        session: Session::new().file(
            "fusionlab.yaml",
            "version: 1\ngateways: {count: 1}\ncontrol_planes: {count: 2}\nworkers: {count: 0}\nlimits: {api_endpoint: 8}\n",
        ),
        authority: None,
    };
    crash.fusionlab(&["up", "--yes"]).exits(0);
    power_cut(&crash.session);
    let library = crash.session.simulated_mac().join("Virtual Machines.localized/lab");
    fs::remove_dir_all(library.join("k8s-master1.vmwarevm")).expect("it can be removed");
    let failed = crash.fusionlab(&["up", "--yes"]).exits(9);
    for said in [
        "cluster-data-kept",
        "k8s-master2",
        "etcd needs more than half of its members",
        "no data on k8s-master1",
    ] {
        assert!(failed.stderr.contains(said), "{said}: {}", failed.stderr);
    }
    crash.fusionlab(&["destroy", "--yes"]).exits(0);
    crash.fusionlab(&["up", "--yes"]).exits(0);
    crash.fusionlab(&["destroy", "--yes"]).exits(0);
}

#[test]
fn what_is_left_of_a_cluster_that_is_begun_anew_is_cleared_before_anybody_asks_it() {
    let crash = Crash::new().killed_at("k8s-master2:kubelet-start", "2");
    power_cut(&crash.session);
    let library = crash.session.simulated_mac().join("Virtual Machines.localized/lab");
    fs::remove_dir_all(library.join("k8s-master1.vmwarevm")).expect("it can be removed");
    let said = crash.recovers();
    let cleared = said.lines().find(|line| line.contains("k8s-master2: an earlier run stopped half way"));
    assert!(cleared.is_some_and(|line| line.contains("kube.init")), "{said}");
}

#[test]
fn row_3_an_init_cut_after_its_api_answered_is_finished_not_reset() {
    for phase in ["wait-control-plane", "upload-config", "bootstrap-token"] {
        let said = Crash::new().killed_at(&format!("k8s-master1:{phase}"), "1").recovers();
        assert!(said.contains("its later phases run again"), "{phase}: {said}");
        assert!(!said.contains("the node is reset"), "{phase}: {said}");
    }
}

#[test]
fn row_3_an_init_whose_wait_was_too_short_is_finished_once_the_api_came() {
    let mut crash = Crash::new();
    crash.fusionlab(&["sim", "fault", "kubeadm-init-fails", "--times", "1"]).exits(0);
    crash.fails();
    let said = crash.recovers();
    assert!(said.contains("its later phases run again") && !said.contains("the node is reset"), "{said}");
}

/// A control plane's join is tried twice in one run, so that two deaths make a crash.
#[test]
fn row_4_a_control_planes_join_before_etcd_is_reset_and_done_again() {
    for phase in ["control-plane-prepare", "kubelet-start"] {
        let said = Crash::new().killed_at(&format!("k8s-master2:{phase}"), "2").recovers();
        assert!(said.contains("the node is reset"), "{phase}: {said}");
        assert!(!said.contains("the etcd member"), "{phase}: {said}");
    }
}

#[test]
fn row_5_a_control_planes_join_after_etcd_leaves_no_member_and_no_node_behind() {
    let said = Crash::new().killed_at("k8s-master2:etcd-join", "2").recovers();
    assert!(said.contains("the etcd member that an earlier join left is removed"), "{said}");
    assert!(said.contains("the node is reset"), "{said}");
    let said = Crash::new().killed_at("k8s-master2:kubelet-wait-bootstrap", "2").recovers();
    assert!(said.contains("the etcd member that an earlier join left is removed"), "{said}");
    assert!(said.contains("the Node that an earlier join left is removed"), "{said}");
}

#[test]
fn row_5_a_join_that_died_once_is_mended_in_the_same_run() {
    let mut crash = Crash::new();
    crash
        .fusionlab(&["sim", "fault", "kubeadm-dies", "--on", "k8s-master2:etcd-join", "--times", "1"])
        .exits(0);
    let up = crash.fusionlab(&["up", "--yes"]).exits(0);
    assert!(up.stderr.contains("it is looked at and tried once more"), "{}", up.stderr);
    crash.authority = fs::read(crash.authority()).ok();
    crash.is_whole();
}

#[test]
fn row_5_a_member_that_votes_is_marked_not_reset() {
    let mut crash = Crash::new();
    let fault = ["sim", "fault", "kubeadm-dies", "--on", "k8s-master2:etcd-promote", "--times", "1"];
    crash.fusionlab(&fault).exits(0);
    let up = crash.fusionlab(&["up", "--yes"]).exits(0);
    assert!(up.stderr.contains("its last phase, which runs again"), "{}", up.stderr);
    assert!(!up.stderr.contains("the node is reset"), "{}", up.stderr);
    crash.authority = fs::read(crash.authority()).ok();
    crash.is_whole();
}

#[test]
fn row_6_a_workers_join_is_reset_and_done_again() {
    let said = Crash::new().killed_at("k8s-worker1:kubelet-start", "1").recovers();
    assert!(!said.contains("the etcd member"), "{said}");
}

#[test]
fn kubeadm_goes_on_when_the_host_dies_and_the_next_up_follows_it() {
    let session = Session::new().file("fusionlab.yaml", LAB);
    let journal = Journal::of(&session);
    let mut up = session.clone().args(["up", "--yes"]).start();
    up.wait_until(|| journal.starts_of("kube.init/k8s-master1") > 0);
    up.signal("KILL");
    up.wait();
    let again = session.clone().args(["up", "--yes"]).run().exits(0);
    assert!(!again.stderr.contains("the node is reset"), "{}", again.stderr);
    session.clone().args(["plan", "--detailed-exitcode"]).run().exits(0);
    session.args(["destroy", "--yes"]).run().exits(0);
}
