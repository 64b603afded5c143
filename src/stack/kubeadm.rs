//! kubeadm: its configuration (v1beta4), its commands, and what its files say of a node.
//!
//! Every control plane has a file to initialise a cluster and one to join it, so that each can take any
//! part after an accident. All authorities and `sa.key` lie on every control plane beforehand, so nothing is uploaded to the cluster
//! and every join can be tried again (facts/kubernetes-cilium.md §1.3).

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::formats::command::Command;
use crate::lab::{Lab, Node, Role};
use crate::stack::facts::{ClusterFacts, GuestFacts};
use crate::stack::file::GuestFile;
use crate::stack::identity::Identity;

/// The cluster as its first control plane makes it; on every control plane.
pub const CONFIG: &str = "/etc/kubernetes/fusionlab/kubeadm.yaml";
/// How this node joins; on every member.
pub const JOIN_CONFIG: &str = "/etc/kubernetes/fusionlab/join.yaml";
/// The folder of authorities and keys.
pub const PKI: &str = "/etc/kubernetes/pki";

/// The file whose lock a running kubeadm holds.
const TURN: &str = "/run/fusionlab-kubeadm.lock";
const API_VERSION: &str = "kubeadm.k8s.io/v1beta4";
const CRI_SOCKET: &str = "unix:///run/containerd/containerd.sock";
const CONTROL_PLANE_TAINT: &str = "node-role.kubernetes.io/control-plane";
const TOKEN_LIFE: &str = "24h0m0s";
/// kubeadm waits twice at most on its way (kubelet, then components); the rest of the limit is for its work.
const HEALTH_CHECKS_PER_LIMIT: u32 = 3;

/// Returns the configuration files of a cluster member. They hold the bootstrap token.
pub fn files(lab: &Lab, identity: &Identity, node: &Node) -> Vec<GuestFile> {
    let mut files = vec![GuestFile::secret(JOIN_CONFIG, render(&[join_configuration(lab, identity, node)]))];
    if node.role == Role::ControlPlane {
        files.push(GuestFile::secret(CONFIG, render(&init_documents(lab, identity, node))));
    }
    files
}

/// Returns the names and addresses that the API server's certificate must hold besides kubeadm's own:
/// both VIPs, every gateway and control plane (facts/kubernetes-cilium.md §1.2).
pub fn certificate_names(lab: &Lab) -> Vec<String> {
    let mut names = vec![
        lab.cluster.api_name.clone(),
        lab.lan.vip.to_string(),
        lab.internal.vip.to_string(),
        "127.0.0.1".to_owned(),
    ];
    names.extend(lab.control_planes().chain(lab.gateways()).map(|node| node.address().to_string()));
    names
}

fn init_documents(lab: &Lab, identity: &Identity, node: &Node) -> Vec<Value> {
    let init = json!({
        "apiVersion": API_VERSION,
        "kind": "InitConfiguration",
        "bootstrapTokens": [{
            "token": identity.token.expose_secret(),
            "ttl": TOKEN_LIFE,
            "description": format!("fusionlab {}", lab.name),
            "usages": ["signing", "authentication"],
            "groups": ["system:bootstrappers:kubeadm:default-node-token"],
        }],
        "localAPIEndpoint": local_endpoint(lab, node),
        "nodeRegistration": registration(node),
        "timeouts": timeouts(lab.limits.kubeadm_init),
    });
    let kubelet = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "systemd",
        "rotateCertificates": true,
    });
    vec![init, cluster_configuration(lab), kubelet]
}

fn cluster_configuration(lab: &Lab) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": "ClusterConfiguration",
        "clusterName": lab.name,
        "kubernetesVersion": format!("v{}", lab.versions.kubernetes),
        "controlPlaneEndpoint": lab.control_plane_endpoint(),
        "encryptionAlgorithm": "ECDSA-P256",
        "networking": {
            "podSubnet": lab.cluster.pods,
            "serviceSubnet": lab.cluster.services,
            "dnsDomain": "cluster.local",
        },
        "apiServer": { "certSANs": certificate_names(lab) },
        "proxy": { "disabled": true },
    })
}

fn join_configuration(lab: &Lab, identity: &Identity, node: &Node) -> Value {
    let mut join = json!({
        "apiVersion": API_VERSION,
        "kind": "JoinConfiguration",
        "discovery": { "bootstrapToken": {
            "token": identity.token.expose_secret(),
            "apiServerEndpoint": lab.control_plane_endpoint(),
            "caCertHashes": [identity.ca_hash()],
        }},
        "nodeRegistration": registration(node),
        "timeouts": timeouts(lab.limits.kubeadm_join),
    });
    if node.role == Role::ControlPlane {
        join["controlPlane"] = json!({ "localAPIEndpoint": local_endpoint(lab, node) });
    }
    join
}

fn local_endpoint(lab: &Lab, node: &Node) -> Value {
    json!({ "advertiseAddress": node.address(), "bindPort": lab.cluster.ports.api })
}

/// The node's name and address are said, not guessed: the kubelet would take the default route's card.
fn registration(node: &Node) -> Value {
    let mut registration = json!({
        "name": node.name,
        "criSocket": CRI_SOCKET,
        "kubeletExtraArgs": [{ "name": "node-ip", "value": node.address() }],
    });
    if node.role == Role::ControlPlane {
        let taint = json!({ "key": CONTROL_PLANE_TAINT, "effect": "NoSchedule" });
        registration["taints"] = if node.schedulable { json!([]) } else { json!([taint]) };
    }
    registration
}

/// kubeadm's own health checks end before ours, so that its message is the one the user sees.
fn timeouts(limit: Duration) -> Value {
    let check = format!("{}s", (limit / HEALTH_CHECKS_PER_LIMIT).as_secs());
    json!({ "controlPlaneComponentHealthCheck": check, "kubeletHealthCheck": check })
}

fn render(documents: &[Value]) -> String {
    documents.iter().map(|document| format!("---\n{document:#}\n")).collect()
}

fn kubeadm<const N: usize>(arguments: [&str; N]) -> Command {
    Command::new(["kubeadm"].into_iter().chain(arguments)).as_root()
}

/// Runs kubeadm under the node's lock: see [`await_turn`].
fn in_turn<const N: usize>(arguments: [&str; N]) -> Command {
    Command::new(["flock", "--nonblock", TURN, "kubeadm"].into_iter().chain(arguments)).as_root()
}

/// Checks a configuration file, which may lie beside its place still.
pub fn validate(path: &str) -> Command {
    kubeadm(["config", "validate", "--config", path])
}

pub fn init() -> Command {
    in_turn(["init", "--config", CONFIG])
}

/// Joins a member, by its own file.
pub fn join() -> Command {
    in_turn(["join", "--config", JOIN_CONFIG])
}

/// Returns the commands that make a half-joined node fresh again. kubeadm leaves CNI files and, when
/// it was stopped early, etcd's data behind (facts/kubernetes-cilium.md §1.8); it also removes the
/// authorities, so the node's files must be put in place again.
pub fn reset() -> Vec<Command> {
    let leftovers = ["/etc/cni/net.d", "/var/lib/etcd", "/var/lib/kubelet/pki", PKI];
    vec![kubeadm(["reset", "--force"]), Command::new(["rm", "-rf"].into_iter().chain(leftovers)).as_root()]
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

/// Says whether `init` came to its end: CoreDNS is the last thing it makes. If not, and the API answers,
/// [`finish_init`] is due.
pub fn init_complete(cluster: &ClusterFacts) -> bool {
    cluster.rollouts.contains_key("coredns")
}

/// Puts the bootstrap token back after its day is over; on any control plane of a living cluster.
/// The phase takes the token from the file, `kubeadm token create` would want it in the arguments.
pub fn create_token() -> Command {
    kubeadm(["init", "phase", "bootstrap-token", "--config", CONFIG])
}

/// Waits until no kubeadm of an earlier run works on the node any more. Runs of kubeadm hold this lock
/// for their life: a host that was killed leaves its kubeadm working in the guest.
pub fn await_turn(limit: Duration) -> Command {
    Command::new(["flock", "--timeout", &limit.as_secs().to_string(), TURN, "true"]).as_root()
}

/// Prints `v1.36.4`.
pub fn version() -> Command {
    kubeadm(["version", "-o", "short"])
}

/// What kubeadm left on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Nothing: `init` or `join` may run.
    Fresh,
    /// A whole control plane: kubelet, API server and etcd with data. Its API answers or comes back by itself.
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
    let has = |name: &str| facts.kubernetes.iter().any(|found| found == name);
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

#[cfg(test)]
mod tests {
    use super::*;
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
        assert!(!init_complete(&cluster));
        cluster.rollouts.insert("coredns".into(), false);
        assert!(init_complete(&cluster));
        let lines: Vec<_> = finish_init().iter().map(Command::shell_line).collect();
        let config = format!("addon coredns --config {CONFIG}");
        assert!(lines.last().unwrap().ends_with(&config) && lines.iter().all(|line| !line.contains("reset")));
    }

    #[test]
    fn any_control_plane_can_renew_the_token_without_showing_it() {
        let (_, identity) = fixture::document();
        assert!(!create_token().shell_line().contains(identity.token.expose_secret()));
        let token = &documents("k8s-master3", CONFIG)[0]["bootstrapTokens"][0]["token"];
        assert_eq!(token, identity.token.expose_secret());
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
