//! The control plane: every API server, etcd, and the names by which members and users reach them.

use std::net::Ipv4Addr;

use crate::formats::command::Command;
use crate::lab::limits::CERTIFICATE_RENEWAL;
use crate::lab::{Lab, Node};
use crate::stack::validity::long;
use crate::stack::{kubeadm, kubectl};

use super::ask::{cluster, cluster_https, curl, curl_each, labelled};
use super::{Check, Expect, Hint, Hop, Labelled, Probe};

/// etcd's ports (facts/kubernetes-cilium.md §1.7): for clients and for one another.
pub const ETCD_CLIENT: u16 = 2379;
const ETCD_PEER: u16 = 2380;
pub const KUBELET: u16 = 10250;
const OK: u16 = 200;

pub fn checks(lab: &Lab) -> Vec<Check> {
    let mut checks: Vec<_> = lab.control_planes().map(|node| livez(lab, node)).collect();
    checks.extend(of_names(lab));
    checks.extend(of_members(lab));
    checks.extend(of_ports(lab));
    checks.extend(of_certificates());
    checks
}

fn check(id: &'static str, title: impl Into<String>, probe: Probe, expect: Expect, hint: Hint) -> Check {
    Check { id, title: title.into(), hop: Hop::ControlPlane, probe, expect, hint }
}

fn livez(lab: &Lab, node: &Node) -> Check {
    check(
        "api.livez",
        format!("the API of {} answers at {}", node.name, node.address()),
        Probe::Host { requests: vec![cluster_https(lab, node.address(), "/livez")] },
        Expect::Text("ok".into()),
        Hint {
            look: "on that control plane, whether its static pods run and what they say",
            command: "sudo crictl ps -a && journalctl -u kubelet -n 30",
        },
    )
}

fn of_names(lab: &Lab) -> Vec<Check> {
    let endpoint = lab.control_plane_endpoint();
    let authority = format!("{}/ca.crt", kubeadm::PKI);
    let ready = |node: &Node| {
        let url = format!("https://{endpoint}/readyz");
        labelled(&node.name, &endpoint, &node.name, curl(lab, &["--cacert", &authority, &url]))
    };
    let info = |_: &Node| kubectl::get("configmaps", "cluster-info", Some("kube-public"));
    vec![
        check(
            "api.endpoint",
            format!("every node reaches the API as {endpoint}, and trusts its certificate"),
            Probe::GuestEach { commands: lab.members().map(ready).collect() },
            Expect::Text("ok".into()),
            Hint {
                look: "on the node, where the name leads and who answers there",
                command: "cat /etc/hosts",
            },
        ),
        check(
            "api.certificate",
            "the API's certificate holds every name and address it is known by",
            cluster(lab, |node| certificate_names(lab, node)),
            Expect::Statuses(Some(OK)),
            Hint {
                look: "on a control plane, the names in its certificate",
                command: "openssl x509 -noout -ext subjectAltName -in /etc/kubernetes/pki/apiserver.crt",
            },
        ),
        check(
            "api.cluster-info",
            format!("who joins is sent to {endpoint}, not to one control plane"),
            cluster(lab, info),
            Expect::Contains(vec![format!("https://{endpoint}")]),
            Hint {
                look: "what the cluster tells those who join",
                command: "kubectl -n kube-public get configmap cluster-info -o yaml",
            },
        ),
    ]
}

fn of_members(lab: &Lab) -> Vec<Check> {
    vec![
        check(
            "etcd.members",
            match lab.control_planes().count() {
                1 => "etcd has one voting member, which leads".to_owned(),
                more => format!("etcd has {more} voting members and one leader"),
            },
            cluster(lab, |node| kubectl::etcd_status(&node.name)),
            Expect::Etcd { members: lab.control_planes().count() },
            Hint {
                look: "on the control plane whose member is missing, what its etcd says",
                command: "sudo crictl logs $(sudo crictl ps -aq --name etcd | head -n 1)",
            },
        ),
        check(
            "nodes.ready",
            "every node is Ready at its own address, all of one version",
            cluster(lab, |_| kubectl::list("nodes", None)),
            Expect::Nodes {
                addresses: lab.members().map(|node| (node.name.clone(), node.address())).collect(),
                version: format!("v{}", lab.versions.kubernetes),
            },
            Hint {
                look: "the node's conditions and events say what it lacks",
                command: "kubectl describe node NAME",
            },
        ),
    ]
}

fn of_ports(lab: &Lab) -> Vec<Check> {
    let to = |from: &Node, what: &str, command| labelled(&from.name, what, &from.name, command);
    let kubelets: Vec<String> =
        lab.members().map(|node| format!("https://{}:{KUBELET}/healthz", node.address())).collect();
    vec![
        check(
            "ports.etcd",
            format!("every control plane reaches {ETCD_CLIENT} and {ETCD_PEER} of all, with its certificate"),
            Probe::GuestEach { commands: lab.control_planes().map(|from| etcd_ports(lab, from)).collect() },
            Expect::Statuses(None),
            Hint {
                look: "on the control plane that is not reached, who listens there",
                command: "sudo ss -ltnp",
            },
        ),
        check(
            "ports.kubelet",
            format!("every control plane reaches every node's kubelet at {KUBELET}"),
            Probe::GuestEach {
                commands: lab
                    .control_planes()
                    .map(|from| to(from, "kubelets", curl_each(lab, &["--insecure"], &kubelets)))
                    .collect(),
            },
            Expect::Statuses(None),
            Hint {
                look: "on the node that is not reached, whether its kubelet runs",
                command: "systemctl status kubelet; journalctl -u kubelet -n 30",
            },
        ),
    ]
}

fn of_certificates() -> Vec<Check> {
    let days = long(CERTIFICATE_RENEWAL.as_secs());
    vec![
        check(
            "certificates.cluster",
            format!("the certificates of every control plane and kubelet last another {days}"),
            Probe::Facts,
            Expect::Lasting,
            Hint {
                look: "up renews what ends soon; this shows what is due",
                command: "fusionlab plan --verbose",
            },
        ),
        check(
            "certificates.lab",
            format!("the user's certificate and that of the lab's sites last another {days}"),
            Probe::Identity,
            Expect::Lasting,
            Hint {
                look: "up renews what ends soon; this shows what is due",
                command: "fusionlab plan --verbose",
            },
        ),
    ]
}

fn etcd_ports(lab: &Lab, from: &Node) -> Labelled {
    let path = |name: &str| format!("{}/etcd/{name}", kubeadm::PKI);
    let (authority, certificate) = (path("ca.crt"), path("healthcheck-client.crt"));
    let key = path("healthcheck-client.key");
    let own = ["--cacert", &authority, "--cert", &certificate, "--key", &key];
    let url = |address: Ipv4Addr| {
        [format!("https://{address}:{ETCD_CLIENT}/health"), format!("https://{address}:{ETCD_PEER}/version")]
    };
    let urls: Vec<String> = lab.control_planes().flat_map(|node| url(node.address())).collect();
    labelled(&from.name, "etcd", &from.name, curl_each(lab, &own, &urls).as_root())
}

/// A certificate's names are proven by using them, on a control plane. The LAN VIP is proven
/// from the host: seen from inside it lies beyond Fusion's NAT.
fn certificate_names(lab: &Lab, _: &Node) -> Command {
    let port = lab.cluster.ports.api;
    let lan = lab.lan.vip.to_string();
    let authority = format!("{}/ca.crt", kubeadm::PKI);
    let names = kubeadm::certificate_names(lab).into_iter().filter(|name| *name != lan);
    let urls: Vec<String> = names.map(|name| format!("https://{name}:{port}/livez")).collect();
    // The names that the lab file adds are known where the users are, not in the guests.
    let added = lab.cluster.api_names.iter().filter(|name| **name != lab.cluster.api_name);
    let pinned: Vec<String> = added.map(|name| format!("{name}:{port}:{}", lab.internal.vip)).collect();
    let resolve = pinned.iter().flat_map(|pin| ["--resolve", pin.as_str()]);
    let arguments: Vec<&str> = ["--cacert", &authority].into_iter().chain(resolve).collect();
    curl_each(lab, &arguments, &urls)
}
