//! kubeadm: its configuration (v1beta4), its commands, and what its files say of a node.
//!
//! Every control plane has a file to initialise a cluster and one to join it, so that each can take any
//! part after an accident. All authorities and `sa.key` lie on every control plane beforehand, so nothing is uploaded to the cluster
//! and every join can be tried again (facts/kubernetes-cilium.md §1.3). There is no certificate key for the same reason.
//!
//! `init`, `join` and `reset` run as a unit of the guest's (`cloud-init/guest/fusionlab-kubeadm.sh`): they go on when the
//! host, or the way to it, is lost, and the next run follows the one that is under way.

mod config;

use std::time::Duration;

use serde_json::Value;

use crate::formats::command::Command;
use crate::lab::{Lab, Node, Role};
use crate::stack::facts::{ClusterFacts, GuestFacts};
use crate::stack::file::GuestFile;
use crate::stack::identity::Identity;

pub use config::{CLUSTER_DOMAIN, certificate_names};

/// The cluster as its first control plane makes it; on every control plane.
pub const CONFIG: &str = "/etc/kubernetes/fusionlab/kubeadm.yaml";
/// How this node joins; on every member.
pub const JOIN_CONFIG: &str = "/etc/kubernetes/fusionlab/join.yaml";
/// The folder of authorities and keys.
pub const PKI: &str = "/etc/kubernetes/pki";
/// The kubeconfig by which a kubelet is the cluster's.
pub const KUBELET_CONF: &str = "/etc/kubernetes/kubelet.conf";

/// Runs kubeadm so that it outlives whoever called; on every member.
pub const PROGRAM: &str = "/usr/local/sbin/fusionlab-kubeadm";

/// The file whose lock a running kubeadm holds.
const TURN: &str = "/run/fusionlab-kubeadm.lock";

/// Returns the configuration files of a cluster member. They hold the bootstrap token.
pub fn files(lab: &Lab, identity: &Identity, node: &Node) -> Vec<GuestFile> {
    let mut files = vec![
        GuestFile::new(PROGRAM, 0o755, include_str!("../../../cloud-init/guest/fusionlab-kubeadm.sh")),
        GuestFile::secret(JOIN_CONFIG, config::join_file(lab, identity, node)),
    ];
    if node.role == Role::ControlPlane {
        files.push(GuestFile::secret(CONFIG, config::init_file(lab, identity, node)));
    }
    files
}

fn kubeadm<const N: usize>(arguments: [&str; N]) -> Command {
    Command::new(["kubeadm"].into_iter().chain(arguments)).as_root()
}

/// Runs kubeadm as a unit of the guest's: see the module's head.
fn detached<const N: usize>(arguments: [&str; N]) -> Command {
    Command::new([PROGRAM].into_iter().chain(arguments)).as_root()
}

/// Checks a configuration file, which may lie beside its place still.
pub fn validate(path: &str) -> Command {
    kubeadm(["config", "validate", "--config", path])
}

pub fn init() -> Command {
    detached(["init", "--config", CONFIG])
}

/// Joins a member, by its own file.
pub fn join() -> Command {
    detached(["join", "--config", JOIN_CONFIG])
}

/// Makes a half-joined node fresh again. kubeadm leaves CNI files, Cilium's links and, when it was stopped early, etcd's
/// data behind: the program clears that away too (facts/kubernetes-cilium.md §1.8). It also removes the authorities, so
/// the node's files must be put in place again.
pub fn reset() -> Command {
    detached(["reset", "--force"])
}

/// Returns the phases that follow a healthy API server; each may be run again. They finish an `init`
/// that was cut short after that point, which must not be reset (facts/kubernetes-cilium.md §1.8).
pub fn finish_init() -> Vec<Command> {
    let phases: [&[&str]; 5] = [
        &["upload-config", "all"],
        &["mark-control-plane"],
        &["bootstrap-token"],
        &["kubelet-finalize", "all"],
        &["addon", "coredns"],
    ];
    let phase = |phase: &[&str]| {
        let head = ["kubeadm", "init", "phase"].into_iter();
        Command::new(head.chain(phase.iter().copied()).chain(["--config", CONFIG])).as_root()
    };
    phases.into_iter().map(phase).collect()
}

/// Says whether `init` came to its end on its node: CoreDNS is the last thing it makes, the mark the last on the node.
/// If not, and the API answers, [`finish_init`] is due.
pub fn init_complete(cluster: &ClusterFacts, node: &str) -> bool {
    let marked = cluster.nodes.get(node).is_some_and(|node| node.control_plane);
    marked && cluster.rollouts.contains_key("coredns")
}

/// Marks a control plane whose join ended before that: its label and its taint.
pub fn mark_control_plane() -> Command {
    kubeadm(["join", "phase", "control-plane-join", "mark-control-plane", "--config", JOIN_CONFIG])
}

/// Puts the bootstrap token back after its day is over; on any control plane of a living cluster.
/// The phase takes the token from the file, `kubeadm token create` would want it in the arguments.
pub fn create_token() -> Command {
    kubeadm(["init", "phase", "bootstrap-token", "--config", CONFIG])
}

/// Waits until no kubeadm of an earlier run works on the node any more; [`BUSY`] if one still does at the end. Runs of
/// kubeadm hold this lock for their life: a host that was killed leaves its kubeadm working in the guest.
pub fn await_turn(limit: Duration) -> Command {
    Command::new(["flock", "--timeout", &limit.as_secs().to_string(), TURN, "true"]).as_root()
}

/// Looks whether a kubeadm works on the node: [`BUSY`] if one does.
pub fn is_idle() -> Command {
    Command::new(["flock", "--nonblock", TURN, "true"]).as_root()
}

/// The exit status of [`is_idle`] and [`await_turn`] while a kubeadm works.
pub const BUSY: i32 = 1;

/// Returns the server that the ConfigMap `cluster-info`, as JSON, tells joining nodes of.
pub fn told_server(config_map: &str) -> Option<String> {
    let map: Value = serde_json::from_str(config_map).ok()?;
    let config: Value = serde_saphyr::from_str(map["data"]["kubeconfig"].as_str()?).ok()?;
    config["clusters"][0]["cluster"]["server"].as_str().map(str::to_owned)
}

/// What kubeadm left on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Nothing: `init` or `join` may run.
    Fresh,
    /// A whole control plane: kubelet, API server and etcd with data. Its API answers, comes back by itself, or, after an
    /// `init` that timed out, never came: then it holds nothing yet.
    Initialised,
    /// A worker whose kubelet has its own certificate.
    Joined,
    /// Cut short: [`reset`], then again. With `etcd_member`, etcd may count it among its members:
    /// remove that first (facts/kubernetes-cilium.md §1.8).
    HalfJoined { etcd_member: bool },
}

impl NodeState {
    /// Says whether nothing is left to do for kubeadm on this node.
    pub fn is_complete(self) -> bool {
        matches!(self, Self::Initialised | Self::Joined)
    }
}

/// Reads a node's state from the facts it gathered about itself.
pub fn state(role: Role, facts: &GuestFacts) -> NodeState {
    let has = |name: &str| facts.has(name);
    let etcd_member = has("etcd-member");
    let marks =
        ["kubelet.conf", "bootstrap-kubelet.conf", "admin.conf", "manifest-kube-apiserver", "manifest-etcd"];
    if !etcd_member && !marks.iter().any(|mark| has(mark)) {
        return NodeState::Fresh;
    }
    let bootstrapped = has("kubelet.conf") && !has("bootstrap-kubelet.conf");
    let control_plane = ["admin.conf", "manifest-kube-apiserver", "manifest-etcd", "etcd-member"];
    match role {
        Role::ControlPlane if bootstrapped && control_plane.iter().all(|mark| has(mark)) => {
            NodeState::Initialised
        }
        Role::Worker if bootstrapped => NodeState::Joined,
        _ => NodeState::HalfJoined { etcd_member },
    }
}

/// What kubeadm's manifests run on a control plane.
pub const CONTROL_PLANE: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// Returns which manifests are gone from a control plane that was whole: its kubelet has joined and its etcd has data. A join
/// that was cut short leaves no such node: it writes its manifests before etcd has any.
pub fn missing_manifests(role: Role, facts: &GuestFacts) -> Vec<&'static str> {
    let stood = ["kubelet.conf", "admin.conf", "etcd-member"].iter().all(|mark| facts.has(mark));
    if role != Role::ControlPlane || !stood || facts.has("bootstrap-kubelet.conf") {
        return Vec::new();
    }
    CONTROL_PLANE.into_iter().filter(|name| !facts.has(&format!("manifest-{name}"))).collect()
}

/// Writes the manifests of a control plane again, from the node's own file; etcd goes on with the data that it has.
pub fn write_manifests(missing: &[&str]) -> Vec<Command> {
    let phase = |name: &&str| {
        let phase: [&str; 2] = match *name {
            "etcd" => ["etcd", "local"],
            "kube-apiserver" => ["control-plane", "apiserver"],
            "kube-controller-manager" => ["control-plane", "controller-manager"],
            _ => ["control-plane", "scheduler"],
        };
        kubeadm(["init", "phase", phase[0], phase[1], "--config", CONFIG])
    };
    missing.iter().map(phase).collect()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use serde_json::json;

    use super::*;
    use crate::stack::facts::KubeNode;
    use crate::stack::fixture;

    fn documents(node: &str, path: &str) -> Vec<Value> {
        let (lab, identity) = fixture::document();
        let files = files(&lab, &identity, lab.node(node).unwrap());
        let file = files.iter().find(|file| file.path == path).unwrap();
        serde_saphyr::from_multiple(std::str::from_utf8(&file.content).unwrap()).unwrap()
    }

    fn left(names: &[&str]) -> GuestFacts {
        GuestFacts { kubernetes: names.iter().map(|&name| name.to_owned()).collect(), ..Default::default() }
    }

    #[test]
    fn the_first_control_plane_initialises_the_documents_cluster() {
        let documents = documents("k8s-master1", CONFIG);
        let kinds: Vec<_> = documents.iter().map(|document| document["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["InitConfiguration", "ClusterConfiguration", "KubeletConfiguration"]);
        let cluster = &documents[1];
        assert_eq!(cluster["controlPlaneEndpoint"], "k8s-api.lab.internal:6443");
        assert_eq!(cluster["networking"]["podSubnet"], "10.244.0.0/16");
        assert_eq!(cluster["proxy"]["disabled"], true);
        for name in ["192.168.68.200", "10.10.0.10", "10.10.0.133", "10.10.0.11", "k8s-api.lab.internal"] {
            assert!(cluster["apiServer"]["certSANs"].as_array().unwrap().contains(&name.into()), "{name}");
        }
        assert_eq!(documents[0]["localAPIEndpoint"]["advertiseAddress"], "10.10.0.131");
    }

    #[test]
    fn the_files_are_what_kubeadm_reads() {
        let (lab, identity) = fixture::document();
        for (node, path, name) in [
            ("k8s-master1", CONFIG, "k8s-master1.kubeadm.yaml"),
            ("k8s-master2", JOIN_CONFIG, "k8s-master2.join.yaml"),
            ("k8s-worker1", JOIN_CONFIG, "k8s-worker1.join.yaml"),
        ] {
            let files = files(&lab, &identity, lab.node(node).unwrap());
            let file = files.into_iter().find(|file| file.path == path).unwrap();
            let text = String::from_utf8(file.content).unwrap();
            let text =
                text.replace(&identity.ca_hash(), "CA-HASH").replace(identity.token.expose_secret(), "TOKEN");
            fixture::assert_golden(name, &text);
        }
    }

    #[test]
    fn the_others_join_through_the_endpoint_and_pin_the_authority() {
        let (_, identity) = fixture::document();
        let worker = &documents("k8s-worker1", JOIN_CONFIG)[0];
        let discovery = &worker["discovery"]["bootstrapToken"];
        assert_eq!(discovery["caCertHashes"][0], identity.ca_hash());
        assert_eq!(discovery["apiServerEndpoint"], "k8s-api.lab.internal:6443");
        assert!(worker.get("controlPlane").is_none());
        let args = &worker["nodeRegistration"]["kubeletExtraArgs"];
        assert_eq!(args, &json!([{ "name": "node-ip", "value": "10.10.0.141" }]));
        let master = &documents("k8s-master2", JOIN_CONFIG)[0];
        assert_eq!(master["controlPlane"]["localAPIEndpoint"]["advertiseAddress"], "10.10.0.132");
    }

    #[test]
    fn an_init_without_coredns_is_finished_not_repeated() {
        let mut cluster = ClusterFacts::default();
        cluster.rollouts.insert("coredns".into(), false);
        assert!(!init_complete(&cluster, "k8s-master1"), "not marked yet");
        let marked = KubeNode { control_plane: true, ..KubeNode::default() };
        cluster.nodes.insert("k8s-master1".into(), marked);
        assert!(init_complete(&cluster, "k8s-master1"));
        cluster.rollouts.clear();
        assert!(!init_complete(&cluster, "k8s-master1"), "without CoreDNS");
        let lines: Vec<_> = finish_init().iter().map(Command::shell_line).collect();
        let config = format!("addon coredns --config {CONFIG}");
        assert!(lines.last().unwrap().ends_with(&config) && lines.iter().all(|line| !line.contains("reset")));
    }

    #[test]
    fn the_lab_file_adds_names_to_the_certificate() {
        let (mut lab, _) = fixture::document();
        let before = certificate_names(&lab).len();
        lab.cluster.api_names = vec!["k8s.example.org".to_owned(), lab.cluster.api_name.clone()];
        let names = certificate_names(&lab);
        assert_eq!((names.len(), names.last().unwrap().as_str()), (before + 1, "k8s.example.org"));
    }

    #[test]
    fn what_joining_nodes_are_told_is_read_off_cluster_info() {
        let kubeconfig = "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: eA==\n    server: https://k8s-api.lab.internal:6443\n  name: \"\"\nkind: Config\n";
        let map = json!({ "data": { "jws-kubeconfig-abcdef": "x", "kubeconfig": kubeconfig } }).to_string();
        assert_eq!(told_server(&map).as_deref(), Some("https://k8s-api.lab.internal:6443"));
        assert_eq!(told_server(""), None);
    }

    #[test]
    fn any_control_plane_can_renew_the_token_without_showing_it() {
        let (_, identity) = fixture::document();
        assert!(!create_token().shell_line().contains(identity.token.expose_secret()));
        let token = &documents("k8s-master3", CONFIG)[0]["bootstrapTokens"][0]["token"];
        assert_eq!(token, identity.token.expose_secret());
    }

    #[test]
    fn kubeadms_own_checks_end_before_ours_and_later_than_its_defaults() {
        let (lab, _) = fixture::document();
        for limit in [lab.limits.kubeadm_init, lab.limits.kubeadm_join] {
            let check = config::timeouts(limit).kubelet_health_check;
            let check = Duration::from_secs(check.trim_end_matches('s').parse().unwrap());
            assert!(check >= Duration::from_secs(480) && check * 2 < limit, "{check:?} of {limit:?}");
        }
    }

    #[test]
    fn a_crash_leaves_a_state_that_says_what_to_do() {
        use NodeState::{Fresh, HalfJoined, Initialised, Joined};
        let whole = ["kubelet.conf", "admin.conf", "manifest-kube-apiserver", "manifest-etcd", "etcd-member"];
        for (role, found, expected) in [
            (Role::ControlPlane, &[][..], Fresh),
            (Role::ControlPlane, &whole, Initialised),
            (Role::ControlPlane, &["admin.conf", "manifest-etcd"], HalfJoined { etcd_member: false }),
            (
                Role::ControlPlane,
                &["kubelet.conf", "admin.conf", "etcd-member"],
                HalfJoined { etcd_member: true },
            ),
            (Role::Worker, &["kubelet.conf"], Joined),
            (Role::Worker, &["bootstrap-kubelet.conf"], HalfJoined { etcd_member: false }),
            (Role::Worker, &["kubelet.conf", "bootstrap-kubelet.conf"], HalfJoined { etcd_member: false }),
        ] {
            assert_eq!(state(role, &left(found)), expected, "{role:?} {found:?}");
        }
    }
}
