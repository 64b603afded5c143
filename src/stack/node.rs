//! The files that we manage in a guest, by its role, and what must happen after one of them changed.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;

use crate::formats::command::Command;
use crate::lab::{Lab, Node, Role};
use crate::stack::file::GuestFile;
use crate::stack::gateway::{self, systemctl};
use crate::stack::identity::Identity;
use crate::stack::kubeadm;
use crate::stack::pki::Pair;
use crate::stack::render::render;

/// Clocks agree within this, in milliseconds: what is measured from outside, as chronyc's limit is from inside.
pub const CLOCK_WITHIN_MS: u64 = 1000;
/// chronyc's limits of what counts as set: seconds off, parts per million of skew (0 is any), seconds between two looks.
const CLOCK_WITHIN: &str = "1.0";
const ANY_SKEW: &str = "0";
const EVERY_SECOND: &str = "1";

const HOSTS: &str = "/etc/hosts";
const CHRONY: &str = "/etc/chrony/chrony.conf";
const MODULES: &str = "/etc/modules-load.d/fusionlab.conf";
const SYSCTL: &str = "/etc/sysctl.d/90-fusionlab.conf";
const NETWORKD: &str = "/etc/systemd/networkd.conf.d/fusionlab.conf";

/// Returns all managed files of a machine, whatever its role, in the order in which they are put in place.
pub fn files_of(lab: &Lab, identity: &Identity, node: &Node) -> Vec<GuestFile> {
    let mut files = vec![hosts(lab), chrony(lab, node)];
    files.extend(match node.role {
        Role::Gateway => gateway::files(lab, identity, node),
        Role::ControlPlane | Role::Worker => self::files(lab, identity, node),
    });
    files
}

/// Returns what only members of the cluster have.
pub fn files(lab: &Lab, identity: &Identity, node: &Node) -> Vec<GuestFile> {
    let mut files = system_files();
    if node.role == Role::ControlPlane {
        files.extend(authorities(identity));
    }
    files.extend(kubeadm::files(lab, identity, node));
    files
}

/// Returns what prepares the system; the template carries the same, so that a fresh clone needs no restart.
pub fn system_files() -> Vec<GuestFile> {
    vec![
        GuestFile::new(MODULES, 0o644, include_str!("../../cloud-init/guest/modules.conf")),
        GuestFile::new(SYSCTL, 0o644, include_str!("../../cloud-init/guest/sysctl-node.conf")),
        GuestFile::new(NETWORKD, 0o644, include_str!("../../cloud-init/guest/networkd.conf")),
    ]
}

/// Returns the authorities that kubeadm takes up instead of making its own (facts/kubernetes-cilium.md §1.3).
pub fn authorities(identity: &Identity) -> Vec<GuestFile> {
    let pairs: [(&str, &Pair); 3] = [
        ("ca", &identity.cluster_ca),
        ("front-proxy-ca", &identity.front_proxy_ca),
        ("etcd/ca", &identity.etcd_ca),
    ];
    let mut files = Vec::new();
    for (name, pair) in pairs {
        let path = |ending: &str| format!("{}/{name}.{ending}", kubeadm::PKI);
        files.push(GuestFile::new(path("crt"), 0o644, pair.certificate.as_bytes()));
        files.push(GuestFile::secret(path("key"), pair.key.expose_secret().as_bytes()));
    }
    let keys = &identity.service_account;
    let path = |name: &str| format!("{}/{name}", kubeadm::PKI);
    files.push(GuestFile::new(path("sa.pub"), 0o644, keys.public.as_bytes()));
    files.push(GuestFile::secret(path("sa.key"), keys.private.expose_secret().as_bytes()));
    files
}

/// Returns the commands that make a machine do what its changed files say; all may be run again.
pub fn activate(role: Role, changed: &[&str]) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut restart = |path: &str, unit: &str| {
        if changed.contains(&path) {
            commands.push(systemctl(&["restart", unit]));
        }
    };
    restart(CHRONY, "chrony");
    if role != Role::Gateway {
        // The bridge's settings exist once its module is loaded.
        restart(MODULES, "systemd-modules-load");
        restart(SYSCTL, "systemd-sysctl");
        restart(NETWORKD, "systemd-networkd");
    }
    commands.push(systemctl(&["enable", "--now", "chrony"]));
    match role {
        Role::Gateway => commands.extend(gateway::activate(changed)),
        Role::ControlPlane | Role::Worker => {
            commands.push(systemctl(&["enable", "--now", "containerd"]));
        }
    }
    commands
}

/// There while files of a guest change, until their services have followed: what a crash in between leaves would look
/// right, and its services would go on by the old files.
pub const PENDING: &str = "/var/lib/fusionlab/files-pending";

/// Returns the command that marks a guest's files as not followed by their services.
pub fn mark_pending() -> Command {
    let words = ["install", "-D", "-o", "root", "-g", "root", "-m", "0644", "/dev/stdin", PENDING];
    Command::new(words).as_root()
}

/// Returns the command that takes the mark away again.
pub fn settle_pending() -> Command {
    Command::new(["rm", "-f", PENDING]).as_root()
}

/// Returns the command that tests a staged file before it takes its place, if its program can.
pub fn test(file: &GuestFile) -> Option<Command> {
    match file.path.as_str() {
        kubeadm::CONFIG | kubeadm::JOIN_CONFIG => Some(kubeadm::validate(&file.staged())),
        _ => gateway::test(file),
    }
}

/// Waits until the clock is within a second; kubeadm's certificates are valid from now on, not from later. It looks once a
/// second: chronyc's own interval would outlast the limit.
pub fn await_clock(limit: Duration) -> Command {
    let tries = limit.as_secs().to_string();
    Command::new(["chronyc", "waitsync", &tries, CLOCK_WITHIN, ANY_SKEW, EVERY_SECOND])
}

/// Asks the time servers several times now, instead of at the next turn: a machine that stood still does not know of it until it
/// asks. Their answers take some seconds.
pub fn ask_time() -> Command {
    Command::new(["chronyc", "burst", "4/4"]).as_root()
}

/// Steps the clock to what the time servers have answered so far.
pub fn step_clock() -> Command {
    Command::new(["chronyc", "makestep"]).as_root()
}

/// Starts a kubelet that has something to do, now and at each boot.
pub fn start_kubelet() -> Command {
    systemctl(&["enable", "--now", "kubelet"])
}

/// Lets a kubelet that has nothing to do yet start at each boot: kubeadm starts it, and enables nothing.
pub fn enable_kubelet() -> Command {
    systemctl(&["enable", "kubelet"])
}

/// Starts a kubelet anew: it registers its node again, which somebody took out of the cluster.
pub fn restart_kubelet() -> Command {
    systemctl(&["restart", "kubelet"])
}

/// All nodes know one another and the API by name, without a DNS server.
fn hosts(lab: &Lab) -> GuestFile {
    hosts_with(lab, &lab.nodes)
}

/// Returns a hosts file with the API's name and these nodes.
pub(super) fn hosts_with(lab: &Lab, nodes: &[Node]) -> GuestFile {
    let names: Vec<_> =
        nodes.iter().map(|node| json!({ "address": node.address(), "name": node.name })).collect();
    let values = json!({ "vip": lab.internal.vip, "api_name": lab.cluster.api_name, "nodes": names });
    let source = include_str!("../../cloud-init/guest/hosts.j2");
    GuestFile::new(HOSTS, 0o644, render("guest/hosts.j2", source, values))
}

/// Gateways serve time to the others, so that the lab agrees with itself without the internet.
fn chrony(lab: &Lab, node: &Node) -> GuestFile {
    let gateways: Vec<_> =
        lab.gateways().filter(|gateway| gateway.name != node.name).map(Node::address).collect();
    let allow = (node.role == Role::Gateway).then_some(lab.internal.subnet);
    let source = include_str!("../../cloud-init/guest/chrony.conf.j2");
    let values = json!({ "gateways": gateways, "allow": allow });
    GuestFile::new(CHRONY, 0o644, render("guest/chrony.conf.j2", source, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::fixture;

    fn paths(node: &str) -> Vec<String> {
        let (lab, identity) = fixture::document();
        files_of(&lab, &identity, lab.node(node).unwrap()).into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn authorities_lie_on_every_control_plane_and_nowhere_else() {
        for (node, expected) in [("k8s-master1", true), ("k8s-master3", true), ("k8s-worker1", false)] {
            let keys = paths(node).iter().filter(|path| path.starts_with(kubeadm::PKI)).count();
            assert_eq!(keys > 0, expected, "{node}");
        }
        assert!(paths("k8s-master2").contains(&"/etc/kubernetes/pki/etcd/ca.key".to_owned()));
    }

    #[test]
    fn private_keys_are_roots_alone_and_never_shown() {
        let (lab, identity) = fixture::document();
        for node in &lab.nodes {
            for file in files_of(&lab, &identity, node) {
                let text = String::from_utf8(file.content.clone()).unwrap();
                let token = identity.token.expose_secret();
                if text.contains("PRIVATE KEY") || text.contains(token) {
                    assert!(file.secret && file.mode == 0o600, "{}", file.path);
                }
            }
        }
    }

    #[test]
    fn no_path_is_managed_twice() {
        for node in ["gateway1", "k8s-master1", "k8s-worker1"] {
            let mut paths = paths(node);
            paths.sort();
            let count = paths.len();
            paths.dedup();
            assert_eq!(paths.len(), count, "{node}");
        }
    }

    #[test]
    fn the_api_name_leads_to_the_internal_vip() {
        let (lab, identity) = fixture::document();
        let files = files_of(&lab, &identity, lab.node("k8s-worker2").unwrap());
        let hosts = String::from_utf8(files[0].content.clone()).unwrap();
        assert!(hosts.contains("10.10.0.10 k8s-api.lab.internal\n"), "{hosts}");
        assert!(hosts.contains("10.10.0.142 k8s-worker2\n") && hosts.contains("127.0.0.1 localhost\n"));
    }

    #[test]
    fn a_second_time_nothing_is_restarted() {
        for role in [Role::Gateway, Role::ControlPlane, Role::Worker] {
            let lines: Vec<_> = activate(role, &[]).iter().map(Command::shell_line).collect();
            assert!(
                lines.iter().all(|line| !line.contains("restart") && !line.contains("reload")),
                "{lines:?}"
            );
        }
    }
}
