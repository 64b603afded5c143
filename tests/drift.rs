//! What somebody changed by hand: `plan` names each change, `up` mends what is the lab's, and then there is nothing to do.
//!
//! Changes that do not hide one another are made together: each group costs one `up`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::proof::bench::Bench;
use crate::support::session::Session;

/// One change, and how the plan names it.
struct Drift {
    what: &'static str,
    bring: fn(&Bench),
    /// The step that mends it.
    step: &'static str,
    /// What that step's reason holds: what was found, and what is wanted.
    says: &'static str,
}

const LAB: &str = "version: 1\n";
const NETWORKING: &str = "Library/Preferences/VMware Fusion/networking";

const IN_THE_GUESTS: &[Drift] = &[
    Drift {
        what: "nginx edited in the guest",
        bring: |bench| append(bench, "gateway2", "/etc/nginx/nginx.conf"),
        step: "gateway.configure/gateway2",
        says: "/etc/nginx/nginx.conf differs from the lab's",
    },
    Drift {
        what: "a gateway's name server stopped",
        bring: |bench| drop(bench.guest("gateway1", "systemctl disable --now fusionlab-dns")),
        step: "gateway.configure/gateway1",
        says: "fusionlab-dns is inactive",
    },
    Drift {
        what: "the hosts file edited",
        bring: |bench| append(bench, "k8s-worker1", "/etc/hosts"),
        step: "node.prepare/k8s-worker1",
        says: "/etc/hosts differs from the lab's",
    },
    Drift {
        what: "the kubelet stopped and disabled",
        bring: |bench| drop(bench.guest("k8s-worker2", "systemctl disable --now kubelet")),
        step: "node.prepare/k8s-worker2",
        says: "kubelet is inactive",
    },
    Drift {
        what: "a static pod's manifest gone",
        bring: |bench| {
            bench.guest("k8s-master3", "rm /etc/kubernetes/manifests/kube-scheduler.yaml");
        },
        step: "kube.join/k8s-master3",
        says: "the manifest of kube-scheduler is gone",
    },
    Drift {
        what: "a renewal of certificates that was cut short when the API server's was taken away to be made anew",
        bring: |bench| {
            bench.guest("k8s-master1", "touch /etc/kubernetes/fusionlab/renewing");
            bench.guest(
                "k8s-master1",
                "rm /etc/kubernetes/pki/apiserver.crt /etc/kubernetes/pki/apiserver.key",
            );
        },
        step: "kube.certificates/k8s-master1",
        says: "a renewal of its certificates was cut short",
    },
    Drift {
        what: "a kubelet's new certificate that it may not have taken up",
        bring: |bench| drop(bench.guest("k8s-worker1", "touch /etc/kubernetes/fusionlab/renewing-kubelet")),
        step: "kube.certificates/k8s-worker1",
        says: "a renewal of its kubelet's certificate was cut short",
    },
    Drift {
        what: "etcd's manifest gone",
        bring: |bench| drop(bench.guest("k8s-master2", "rm /etc/kubernetes/manifests/etcd.yaml")),
        step: "kube.join/k8s-master2",
        says: "the manifest of etcd is gone",
    },
];

const IN_THE_CLUSTER: &[Drift] = &[
    Drift {
        what: "a worker removed from the cluster",
        bring: |bench| drop(bench.kubectl(&["delete", "nodes", "k8s-worker1"])),
        step: "kube.join/k8s-worker1",
        says: "the cluster does not know it, though its kubelet has joined",
    },
    Drift {
        what: "a control plane removed from the cluster",
        bring: |bench| drop(bench.kubectl(&["delete", "nodes", "k8s-master2"])),
        step: "kube.join/k8s-master2",
        says: "the cluster does not know it, though its kubelet has joined",
    },
    Drift {
        what: "the first control plane removed from the cluster",
        bring: |bench| drop(bench.kubectl(&["delete", "nodes", "k8s-master1"])),
        step: "kube.init/k8s-master1",
        says: "the cluster does not know it, though its kubelet has joined",
    },
    Drift {
        what: "a NodePort moved",
        bring: |bench| {
            bench.kubectl(&["-n", "lab-gateway", "delete", "services", "cilium-gateway-lab"]);
        },
        step: "ingress.configure",
        says: ", not 30443",
    },
    Drift {
        what: "one of Cilium's settings changed",
        bring: |bench| {
            let patch = r#"{"data":{"routing-mode":"tunnel"}}"#;
            bench.patch(("kube-system", "configmaps"), "cilium-config", patch);
        },
        step: "cilium.install",
        says: "routing-mode is tunnel, not native",
    },
];

const OF_THE_VIP: &[Drift] = &[Drift {
    what: "Keepalived stopped on both gateways: nobody holds the VIP",
    bring: |bench| {
        for gateway in ["gateway1", "gateway2"] {
            bench.guest(gateway, "systemctl stop keepalived");
        }
    },
    step: "gateway.configure/gateway1",
    says: "keepalived is inactive",
}];

const OF_THE_MACHINES: &[Drift] = &[
    Drift {
        what: "a worker's memory changed in its window",
        bring: |bench| edit_vmx(bench, "k8s-worker2", "memsize = \"4096\"", "memsize = \"2048\""),
        step: "vm.configure/k8s-worker2",
        says: "its memory is 2048 MiB, not 4096",
    },
    Drift {
        what: "a gateway's card plugged into another network",
        bring: |bench| {
            let custom = "ethernet1.connectionType = \"custom\"";
            edit_vmx(bench, "gateway2", custom, "ethernet1.connectionType = \"nat\"");
        },
        step: "vm.configure/gateway2",
        says: "its card ens192 is on nat, not vmnet2",
    },
    Drift {
        what: "a reservation taken out of the networking file",
        bring: |bench| {
            let own = |line: &&str| !line.ends_with(" 10.10.0.141");
            bench.edit(NETWORKING, |text| text.lines().filter(own).map(|line| format!("{line}\n")).collect());
        },
        step: "network.apply",
        says: "the reservations on vmnet2 are not the lab's",
    },
    Drift {
        what: "a worker deleted in the Finder",
        bring: |bench| delete_in_finder(bench, "k8s-worker1"),
        step: "vm.clone/k8s-worker1",
        says: "there is no such VM",
    },
];

const OF_THE_NETWORK: &[Drift] = &[Drift {
    what: "NAT switched off in the networking file",
    bring: |bench| bench.edit(NETWORKING, |text| text.replace("VNET_2_NAT yes", "VNET_2_NAT no")),
    step: "network.apply",
    says: "lacks parts of vmnet2",
}];

fn append(bench: &Bench, node: &str, path: &str) {
    let text = bench.guest(node, &format!("cat {path}"));
    bench.put(node, path, "0644", &format!("{text}# by hand\n"));
}

fn edit_vmx(bench: &Bench, node: &str, from: &str, to: &str) {
    let path = bench.vmx(node);
    let text = fs::read_to_string(&path).expect("it can be read");
    assert!(text.contains(from), "{text}");
    fs::write(&path, text.replace(from, to)).expect("it can be written");
}

fn delete_in_finder(bench: &Bench, node: &str) {
    let vmx = bench.vmx(node);
    bench.program("vmrun", &["-T", "fusion", "stop", &vmx, "hard"]);
    let folder = std::path::Path::new(&vmx).parent().expect("a VMX has a folder");
    fs::remove_dir_all(folder).expect("it can be removed");
}

/// Returns the plan as programs read it.
fn plan(bench: &Bench) -> Value {
    bench.run(&["plan", "--output", "json"]).exits(0).json()
}

fn prove(bench: &Bench, group: &[Drift]) {
    for drift in group {
        (drift.bring)(bench);
    }
    let plan = plan(bench);
    let steps = plan["steps"].as_array().expect("a list of steps");
    for drift in group {
        let step = steps.iter().find(|step| step["id"] == drift.step);
        let step = step.unwrap_or_else(|| panic!("{}: {} is not planned: {plan:#}", drift.what, drift.step));
        let why = step["why"].as_str().expect("a reason");
        assert!(why.contains(drift.says), "{}: {why}", drift.what);
    }
    // It proves the lab when it is done.
    bench.run(&["up", "--yes"]).exits(0);
    let left = bench.run(&["plan", "--detailed-exitcode", "--verbose"]);
    assert_eq!(left.status.code(), Some(0), "{}", left.shown());
}

#[test]
fn what_was_changed_by_hand_is_named_by_plan_and_mended_by_up() {
    let bench = Bench::up_as(LAB);
    let listed = bench.kubectl(&["-n", "kube-system", "get", "pods", "-l", "k8s-app=kube-dns", "-o", "json"]);
    let pods: Value = serde_json::from_str(&listed).expect("a list");
    let items = pods["items"].as_array().expect("items");
    let nodes: BTreeSet<Option<&str>> = items.iter().map(|pod| pod["spec"]["nodeName"].as_str()).collect();
    assert_eq!(nodes.len(), 2, "the DNS servers do not go with one machine: {listed}");
    for group in [IN_THE_GUESTS, IN_THE_CLUSTER, OF_THE_VIP, OF_THE_MACHINES, OF_THE_NETWORK] {
        prove(&bench, group);
    }
    bench.down();
}

#[test]
fn where_no_api_server_can_be_asked_one_check_waits_for_all_and_the_plan_does_not_guess() {
    let bench = Bench::up_as("version: 1\npreset: solo\nlimits: {verify_check: 5}\n");
    bench.guest("gateway1", "systemctl stop keepalived");
    let told = bench.run(&["verify", "--output", "json"]).exits(10).first_json();
    let checks = told["checks"].as_array().expect("a list of checks");
    let (asked, silent): (Vec<&Value>, Vec<&Value>) = checks.iter().partition(|check| check["asked"] == true);
    assert!(silent.len() > 10, "most of what is asked is asked of an API server: {told:#}");
    for check in &silent {
        let seen = check["seen"].as_str().expect("a reason");
        assert!(seen.starts_with("no API server is ready: "), "{}: {seen}", check["id"]);
        assert_eq!(check["passed"], false, "{}", check["id"]);
    }
    let failed = |id: &str| asked.iter().any(|check| check["id"] == id && check["passed"] == false);
    assert!(failed("gateway.vips"), "what the others hang on is asked and fails: {told:#}");
    // In words it is said once, and only what failed is worth another look.
    let told = bench.run(&["verify"]).exits(10);
    assert_eq!(told.stdout.matches("no API server is ready").count(), 1, "{}", told.shown());
    assert!(told.stdout.contains(&format!("{} could not be asked", silent.len())), "{}", told.shown());
    let plan = plan(&bench);
    assert!(plan["unseen"].as_array().expect("a list").contains(&"cilium.install".into()), "{plan:#}");
    let text = bench.run(&["plan"]).exits(0);
    assert!(
        text.stdout.contains("  ? install Cilium ") && !text.stdout.contains("kubeadm init,"),
        "{}",
        text.shown()
    );
    bench.run(&["up", "--yes"]).exits(0);
    bench.run(&["plan", "--detailed-exitcode"]).exits(0);
    bench.down();
}

/// Returns when each machine was without power, as the journal has it since a line of it: from the step that stops it to
/// the one that finds it whole.
fn absences(bench: &Bench, since: usize) -> BTreeMap<String, (usize, usize)> {
    let journal = fs::read_to_string(bench.lab_file("journal.jsonl")).expect("there is a journal");
    let records = journal.lines().enumerate().skip(since);
    let mut absences = BTreeMap::new();
    for (at, line) in records {
        let record: Value = serde_json::from_str(line).expect("a record");
        let Some((verb, node)) = record["step"].as_str().and_then(|step| step.split_once('/')) else {
            continue;
        };
        match (verb, record["state"].as_str()) {
            ("vm.stop", Some("started")) => drop(absences.insert(node.to_owned(), (at, usize::MAX))),
            ("node.back", Some("done")) => absences.get_mut(node).expect("it was stopped").1 = at,
            _ => {}
        }
    }
    absences
}

#[test]
fn of_machines_whose_memory_was_changed_one_control_plane_and_one_gateway_is_away_at_most() {
    let bench = Bench::up_as(LAB);
    let nodes =
        ["gateway1", "gateway2", "k8s-master1", "k8s-master2", "k8s-master3", "k8s-worker1", "k8s-worker2"];
    for node in nodes {
        let vmx = fs::read_to_string(bench.vmx(node)).expect("it can be read");
        let is = vmx.lines().find(|line| line.starts_with("memsize = ")).expect("it has memory");
        edit_vmx(&bench, node, is, "memsize = \"1536\"");
    }
    let before = fs::read_to_string(bench.lab_file("journal.jsonl")).expect("there is one").lines().count();
    bench.run(&["up", "--yes"]).exits(0);
    bench.run(&["plan", "--detailed-exitcode"]).exits(0);
    let absences = absences(&bench, before);
    assert_eq!(absences.keys().map(String::as_str).collect::<Vec<_>>(), nodes, "all were restarted");
    for (node, (gone, back)) in &absences {
        let role = node.trim_end_matches(char::is_numeric);
        let others = absences.iter().filter(|(other, _)| *other != node && other.starts_with(role));
        for (other, (also_gone, also_back)) in others {
            assert!(
                back < also_gone || also_back < gone,
                "{node} and {other} were away together: {absences:?}"
            );
        }
    }
    bench.down();
}

#[test]
fn a_certificate_gets_the_names_that_the_lab_file_adds_later() {
    let small = "version: 1\npreset: small\n";
    let bench = Bench::up_as(small);
    bench.write_lab(&format!(
        "{small}lan: {{vip: 192.168.68.201}}\nkubernetes: {{api_names: [k8s.example.org]}}\n"
    ));
    let plan = plan(&bench);
    let steps = plan["steps"].as_array().expect("a list of steps");
    let step =
        steps.iter().find(|step| step["id"] == "kube.certificates/k8s-master1").expect("it is planned");
    let why = step["why"].as_str().expect("a reason");
    assert!(why.contains("192.168.68.201") && why.contains("k8s.example.org"), "{why}");
    bench.run(&["up", "--yes"]).exits(0);
    bench.run(&["plan", "--detailed-exitcode"]).exits(0);
    let map = bench.object("kube-system", "configmaps", "kubeadm-config");
    let config = map["data"]["ClusterConfiguration"].as_str().expect("it is there");
    assert!(config.contains("k8s.example.org"), "who joins later has the names too: {config}");
    bench.down();
}

#[test]
fn a_lone_control_plane_that_is_gone_is_told_before_anybody_says_yes() {
    let bench = Bench::up_as("version: 1\npreset: solo\n");
    delete_in_finder(&bench, "k8s-master1");
    let told = bench.run(&["plan"]).exits(0);
    let words = told.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("k8s-master1 is gone, and all that the cluster held with it"), "{}", told.shown());
    assert!(words.contains("Trash"), "{}", told.shown());
    let asked = bench.run(&["up"]).exits(2);
    assert!(asked.stderr.contains("say --yes if you mean it"), "{}", asked.shown());
    bench.run(&["up", "--yes"]).exits(0);
    bench.run(&["plan", "--detailed-exitcode"]).exits(0);
    bench.down();
}

#[test]
fn a_lone_control_plane_without_manifests_keeps_what_it_holds() {
    let bench = Bench::up_as("version: 1\npreset: solo\n");
    bench.apply(r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mine"}}"#);
    bench.guest("k8s-master1", "rm -r /etc/kubernetes/manifests");
    let plan = plan(&bench);
    let steps = plan["steps"].as_array().expect("a list of steps");
    let step = steps.iter().find(|step| step["id"] == "kube.init/k8s-master1").expect("it is planned");
    assert!(step["why"].as_str().is_some_and(|why| why.starts_with("the manifest of etcd and")), "{step:#}");
    bench.run(&["up", "--yes"]).exits(0);
    bench.run(&["plan", "--detailed-exitcode"]).exits(0);
    let kept = bench.kubectl(&["get", "namespaces", "mine", "-o", "json", "--ignore-not-found"]);
    assert!(kept.contains("mine"), "its cluster was begun anew");
    bench.down();
}

#[test]
fn control_planes_without_manifests_keep_what_they_hold_when_the_first_one_is_gone() {
    let bench = Bench::up_as("version: 1\ngateways: {count: 1}\nworkers: {count: 0}\n");
    bench.apply(r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mine"}}"#);
    for node in ["k8s-master2", "k8s-master3"] {
        bench.guest(node, "rm -r /etc/kubernetes/manifests");
    }
    delete_in_finder(&bench, "k8s-master1");
    let up = bench.run(&["up", "--yes"]).exits(0);
    assert!(!up.stderr.contains("the node is reset"), "{}", up.shown());
    bench.run(&["plan", "--detailed-exitcode"]).exits(0);
    let kept = bench.kubectl(&["get", "namespaces", "mine", "-o", "json", "--ignore-not-found"]);
    assert!(kept.contains("mine"), "its cluster was begun anew");
    bench.down();
}

#[test]
fn a_machine_whose_disk_is_gone_is_not_started_and_not_made_anew_unasked() {
    let session = Session::new().file("fusionlab.yaml", "version: 1\npreset: solo\n");
    session.clone().args(["up", "--yes"]).run().exits(0);
    crate::heal::stop(&session, "k8s-master1");
    let templates = session.fusionlab_home().join("templates");
    let aside = session.work().join("aside");
    fs::rename(&templates, &aside).expect("it can be moved");
    let refused = session.clone().args(["up", "--yes"]).run().exits(6);
    let words = refused.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("the disk of k8s-master1 with it"), "{}", refused.shown());
    assert!(words.contains("from the Trash or a backup"), "{}", refused.shown());
    fs::rename(&aside, &templates).expect("it can be moved back");
    session.clone().args(["up", "--yes"]).run().exits(0);
    session.args(["destroy", "--yes"]).run().exits(0);
}
