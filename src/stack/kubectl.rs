//! `kubectl` on a control plane, as root, with kubeadm's kubeconfig.

use std::time::Duration;

use crate::formats::command::Command;
use crate::lab::names::{ADMIN_CONF, FIELD_MANAGER};

/// Runs `kubectl` with these arguments.
pub fn kubectl<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    Command::new(["kubectl", "--kubeconfig", ADMIN_CONF].into_iter().chain(arguments)).as_root()
}

/// Asks the API server for a path such as `/readyz`.
pub fn get_raw(path: &str) -> Command {
    kubectl(["get", "--raw", path])
}

/// Asks one API server whether it is ready, past the endpoint that all share.
pub fn ready_at(address: std::net::Ipv4Addr, port: u16) -> Command {
    kubectl(["--server", &format!("https://{address}:{port}"), "get", "--raw", "/readyz"])
}

/// Lists a kind in one namespace, or cluster-wide things without one, as JSON.
pub fn list(kind: &str, namespace: Option<&str>) -> Command {
    kubectl(["get", kind].into_iter().chain(in_namespace(namespace)).chain(["-o", "json"]))
}

/// What the API server says of a NodePort that another Service has (facts/kubernetes-cilium.md §4.4).
pub const PORT_TAKEN: &str = "provided port is already allocated";

/// Lists a kind in all namespaces, as JSON.
pub fn list_everywhere(kind: &str) -> Command {
    kubectl(["get", kind, "--all-namespaces", "-o", "json"])
}

/// Gets one object as JSON; prints nothing, and succeeds, if it does not exist.
pub fn get(kind: &str, name: &str, namespace: Option<&str>) -> Command {
    let output = ["-o", "json", "--ignore-not-found"];
    kubectl(["get", kind, name].into_iter().chain(in_namespace(namespace)).chain(output))
}

/// Applies a file on the server's side: a client-side apply fails on the Gateway API's large definitions,
/// and taking over fields is what "run it again" means (facts/kubernetes-cilium.md §4.2).
pub fn apply(file: &str) -> Command {
    let manager = ["--field-manager", FIELD_MANAGER];
    kubectl(["apply", "--server-side", "--force-conflicts"].into_iter().chain(manager).chain(["-f", file]))
}

/// Waits until a rollout such as `daemonset/cilium` is complete.
pub fn rollout_status(object: &str, namespace: &str, limit: Duration) -> Command {
    kubectl(["rollout", "status", object, "-n", namespace, &timeout(limit)])
}

pub fn rollout_restart(object: &str, namespace: &str) -> Command {
    kubectl(["rollout", "restart", object, "-n", namespace])
}

pub fn delete(kind: &str, name: &str, namespace: Option<&str>) -> Command {
    let arguments = ["delete", kind, name];
    kubectl(arguments.into_iter().chain(in_namespace(namespace)).chain(["--ignore-not-found"]))
}

/// Sets an annotation of a cluster-wide object.
pub fn annotate(kind: &str, name: &str, key: &str, value: &str) -> Command {
    kubectl(["annotate", kind, name, &format!("{key}={value}"), "--overwrite"])
}

/// Runs a program in a pod of `kube-system`.
fn exec<'a>(target: &'a [&'a str], program: &'a [&'a str]) -> Command {
    let exec = ["-n", "kube-system", "exec"];
    kubectl(exec.into_iter().chain(target.iter().copied()).chain(["--"]).chain(program.iter().copied()))
}

/// Runs `etcdctl` in the etcd pod of a control plane.
pub fn etcdctl(control_plane: &str, arguments: &[&str]) -> Command {
    let pod = format!("etcd-{control_plane}");
    let certificates = [
        "etcdctl",
        "--endpoints=https://127.0.0.1:2379",
        "--cacert=/etc/kubernetes/pki/etcd/ca.crt",
        "--cert=/etc/kubernetes/pki/etcd/healthcheck-client.crt",
        "--key=/etc/kubernetes/pki/etcd/healthcheck-client.key",
    ];
    exec(&[&pod], &[&certificates, arguments].concat())
}

/// Lists etcd's members as JSON: see [`EtcdMember::parse_list`].
pub fn etcd_members(control_plane: &str) -> Command {
    etcdctl(control_plane, &["member", "list", "-w", "json"])
}

/// Asks every member of etcd for its status, as JSON.
pub fn etcd_status(control_plane: &str) -> Command {
    etcdctl(control_plane, &["endpoint", "status", "--cluster", "-w", "json"])
}

pub fn etcd_remove(control_plane: &str, member: &EtcdMember) -> Command {
    etcdctl(control_plane, &["member", "remove", &format!("{:x}", member.id)])
}

/// One member of etcd as `member list -w json` tells.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct EtcdMember {
    #[serde(rename = "ID")]
    pub id: u64,
    /// Empty for a member that was added and never started.
    #[serde(default)]
    pub name: String,
    #[serde(rename = "peerURLs", default)]
    pub peer_urls: Vec<String>,
    #[serde(rename = "isLearner", default)]
    pub learner: bool,
}

impl EtcdMember {
    /// Reads the answer of [`etcd_members`].
    pub fn parse_list(text: &str) -> Result<Vec<Self>, serde_json::Error> {
        #[derive(serde::Deserialize)]
        struct List {
            members: Vec<EtcdMember>,
        }
        Ok(serde_json::from_str::<List>(text)?.members)
    }

    /// Says whether this is the member at a node's address.
    pub fn is_at(&self, address: std::net::Ipv4Addr) -> bool {
        let host = format!("https://{address}:");
        self.peer_urls.iter().any(|url| url.starts_with(&host))
    }
}

fn in_namespace(namespace: Option<&str>) -> impl Iterator<Item = &str> {
    namespace.into_iter().flat_map(|namespace| ["-n", namespace])
}

fn timeout(limit: Duration) -> String {
    format!("--timeout={}s", limit.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reads_as_one_would_type_it() {
        assert_eq!(
            get("gateways", "lab", Some("lab-gateway")).shell_line(),
            "sudo -n kubectl --kubeconfig /etc/kubernetes/admin.conf get gateways lab -n lab-gateway -o json \
             --ignore-not-found"
        );
        assert_eq!(
            rollout_status("daemonset/cilium", "kube-system", Duration::from_secs(600)).argv[5..].join(" "),
            "rollout status daemonset/cilium -n kube-system --timeout=600s"
        );
    }

    #[test]
    fn the_member_to_remove_is_found_by_its_address() {
        let text = r#"{"header":{},"members":[
            {"ID":9372538179322589801,"name":"k8s-master1","peerURLs":["https://10.10.0.131:2380"]},
            {"ID":255,"peerURLs":["https://10.10.0.132:2380"],"isLearner":true}]}"#;
        let members = EtcdMember::parse_list(text).unwrap();
        let stray = members.iter().find(|member| member.is_at([10, 10, 0, 132].into())).unwrap();
        assert!(stray.learner && stray.name.is_empty());
        assert!(etcd_remove("k8s-master1", stray).shell_line().ends_with("member remove ff"));
        assert!(!members[0].is_at([10, 10, 0, 13].into()));
    }
}
