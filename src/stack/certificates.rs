//! Certificates that kubeadm and the kubelets live by: when they end, whom they name, and the commands that make them anew.
//!
//! kubeadm's own last five years in a lab (`stack::kubeadm`), a kubelet's one: it renews its own while it runs, and not
//! while its machine is off (facts/kubernetes-cilium.md §1.11).

use crate::formats::command::Command;
use crate::lab::{Lab, Node, Role};
use crate::stack::facts::GuestFacts;
use crate::stack::file::GuestFile;
use crate::stack::identity::Identity;
use crate::stack::kubeadm::{self, CONFIG, KUBELET_CONF, PKI};
use crate::stack::pki::{self, PkiError, Subject};
use crate::stack::validity::Validity;
use crate::stack::{kubeconfig, runtime};

/// Says on a control plane that its certificates are being renewed, and that what uses them has not restarted yet; the
/// facts call it [`RENEWING`].
pub const MARK: &str = "/etc/kubernetes/fusionlab/renewing";
/// The same of a kubelet's own; the facts call it [`RENEWING_KUBELET`].
pub const KUBELET_MARK: &str = "/etc/kubernetes/fusionlab/renewing-kubelet";
/// What the facts call the marks.
pub const RENEWING: &str = "renewing";
pub const RENEWING_KUBELET: &str = "renewing-kubelet";
/// Where a kubelet keeps the certificate that it renews by itself; without it, it begins with its kubeconfig's.
const ROTATED: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";
/// What the authorities' files are called: they last ten years, and a new one would be another cluster.
const AUTHORITIES: [&str; 3] = ["/ca.crt", "/front-proxy-ca.crt", "/etcd/ca.crt"];
/// The group of all kubelets, and what precedes a node's name in its user's.
const NODES: &str = "system:nodes";
const NODE_USER: &str = "system:node:";

/// What is to be done about a node's certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The first to end of those that kubeadm renews, if one is due.
    pub ends: Option<Validity>,
    /// The kubelet's own, if it is due: it did not renew it itself.
    pub kubelet_ends: Option<Validity>,
    /// Names that the API server's certificate lacks; all of them where a renewal that was cut short left none.
    pub names: Vec<String>,
    /// An earlier renewal was cut short.
    pub unfinished: bool,
    /// The same of the kubelet's own.
    pub kubelet_unfinished: bool,
}

impl Due {
    /// Says whether nothing is.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Says whether kubeadm's own are to be renewed or finished.
    pub fn of_control_plane(&self) -> bool {
        self.ends.is_some() || self.unfinished || !self.names.is_empty()
    }

    /// Says whether the kubelet's own is to be made anew, or to be taken up.
    pub fn of_kubelet(&self) -> bool {
        self.kubelet_ends.is_some() || self.kubelet_unfinished
    }
}

/// Finds what is due on a node now, in seconds since 1970. A node that kubeadm never finished on has nothing due.
pub fn due(lab: &Lab, node: &Node, facts: &GuestFacts, now: u64) -> Due {
    if !kubeadm::state(node.role, facts).is_complete() {
        return Due::default();
    }
    let due_now = |first: Option<Validity>| first.filter(|validity| validity.is_due(now));
    let mut due = Due {
        kubelet_ends: due_now(of_kubelet(facts)),
        kubelet_unfinished: facts.has(RENEWING_KUBELET),
        ..Due::default()
    };
    if node.role == Role::ControlPlane {
        due.ends = due_now(first_of_kubeadms(facts, now));
        due.unfinished = facts.has(RENEWING);
        // A certificate that could not be read lacks nothing that is known; but a renewal takes it away to make it anew.
        if !facts.api_names.is_empty() || due.unfinished {
            due.names = kubeadm::certificate_names(lab);
            due.names.retain(|name| !facts.api_names.contains(name));
        }
    }
    due
}

/// Returns the one that is good for the shortest time from now on, of those that kubeadm renews.
pub fn first_of_kubeadms(facts: &GuestFacts, now: u64) -> Option<Validity> {
    let is_authority = |path: &str| path.strip_prefix(PKI).is_some_and(|name| AUTHORITIES.contains(&name));
    let is_kubeadms = |path: &str| path != KUBELET_CONF && path != ROTATED && !is_authority(path);
    let kubeadms =
        facts.certificates.iter().filter(|(path, _)| is_kubeadms(path)).map(|(_, validity)| *validity);
    kubeadms.min_by_key(|validity| validity.good_until(now))
}

/// Returns the validity of the certificate by which the kubelet is the cluster's.
pub fn of_kubelet(facts: &GuestFacts) -> Option<Validity> {
    facts.certificates.get(ROTATED).or_else(|| facts.certificates.get(KUBELET_CONF)).copied()
}

/// Returns what ends first on a machine of those that kubeadm renews, and its kubelet's own, each with whose it is.
pub fn first(node: &str, facts: &GuestFacts, now: u64) -> impl Iterator<Item = (String, Validity)> {
    let kubeadms = first_of_kubeadms(facts, now).map(|first| (format!("a certificate of {node}"), first));
    let kubelets = of_kubelet(facts).map(|own| (format!("the certificate of {node}'s kubelet"), own));
    kubeadms.into_iter().chain(kubelets)
}

/// Says by a mark that a renewal has begun.
pub fn begin(mark: &str) -> Command {
    Command::new(["touch", mark]).as_root()
}

/// Says that it is done.
pub fn end(mark: &str) -> Command {
    Command::new(["rm", "-f", mark]).as_root()
}

/// Renews all that kubeadm made but the kubelet's, names and keys' owners as they were; valid as long as its file says.
pub fn renew() -> Command {
    Command::new(["kubeadm", "certs", "renew", "all", "--config", CONFIG]).as_root()
}

/// Makes the API server's certificate anew, with the names that the node's file has now: kubeadm keeps one that is there
/// (facts/kubernetes-cilium.md §1.11).
pub fn rename() -> [Command; 2] {
    let path = |ending: &str| format!("{PKI}/apiserver.{ending}");
    [
        Command::new(["rm", "-f", &path("crt"), &path("key")]).as_root(),
        Command::new(["kubeadm", "init", "phase", "certs", "apiserver", "--config", CONFIG]).as_root(),
    ]
}

/// Puts the node's file into the cluster, where who joins later finds the names.
pub fn upload() -> Command {
    Command::new(["kubeadm", "init", "phase", "upload-config", "kubeadm", "--config", CONFIG]).as_root()
}

/// What uses kubeadm's certificates on a control plane, in the order in which it is restarted.
pub const USERS: [&str; 4] = kubeadm::CONTROL_PLANE;

/// Stops a container of a control plane's; the kubelet starts another at once.
pub fn restart(container: &str) -> Command {
    runtime::stop(container)
}

/// Returns a kubeconfig for a kubelet whose own certificate has ended or is about to, signed by the cluster's authority on
/// this machine. The kubelet renews it by itself from then on.
pub fn kubelet_file(lab: &Lab, identity: &Identity, node: &Node, now: u64) -> Result<GuestFile, PkiError> {
    let name = format!("{NODE_USER}{}", node.name);
    let subject = Subject { common_name: &name, organisation: Some(NODES), names: &[] };
    let pair = pki::issue(&identity.cluster_ca, &subject, now)?;
    // A control plane's kubelet talks to its own API server (facts/kubernetes-cilium.md §1.4).
    let server = match node.role {
        Role::ControlPlane => format!("https://{}:{}", node.address(), lab.cluster.ports.api),
        Role::Worker | Role::Gateway => format!("https://{}", lab.control_plane_endpoint()),
    };
    let ca = &identity.cluster_ca.certificate;
    Ok(GuestFile::secret(KUBELET_CONF, kubeconfig::of_user(&lab.name, &name, &server, ca, &pair)))
}

/// Lets a kubelet begin with its kubeconfig's certificate.
pub fn kubelet_anew() -> [Command; 2] {
    [
        Command::new(["rm", "-f", ROTATED]).as_root(),
        Command::new(["systemctl", "restart", "kubelet"]).as_root(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::fixture;

    const DAY: u64 = 24 * 3600;
    const NOW: u64 = 1_790_000_000;

    /// One that began long ago.
    fn until(ends: u64) -> Validity {
        Validity { begins: 0, ends }
    }

    fn facts(role: Role, certificates: &[(&str, u64)]) -> GuestFacts {
        let marks: &[&str] = match role {
            Role::ControlPlane => {
                &["kubelet.conf", "admin.conf", "manifest-kube-apiserver", "manifest-etcd", "etcd-member"]
            }
            _ => &["kubelet.conf"],
        };
        GuestFacts {
            kubernetes: marks.iter().map(|mark| (*mark).to_owned()).collect(),
            certificates: certificates
                .iter()
                .map(|(path, ends)| ((*path).to_owned(), until(*ends)))
                .collect(),
            ..GuestFacts::default()
        }
    }

    #[test]
    fn what_ends_within_thirty_days_is_due_and_authorities_never_are() {
        let lab = fixture::lab();
        let node = lab.node("k8s-master2").unwrap();
        let due = |ends: u64| {
            let own = [("/etc/kubernetes/pki/apiserver.crt", ends), ("/etc/kubernetes/pki/etcd/ca.crt", NOW)];
            super::due(&lab, node, &facts(Role::ControlPlane, &own), NOW).ends
        };
        assert_eq!(due(NOW + 31 * DAY), None);
        assert_eq!(due(NOW + 29 * DAY), Some(until(NOW + 29 * DAY)));
        assert_eq!(due(NOW - DAY), Some(until(NOW - DAY)));
    }

    #[test]
    fn what_a_clock_made_that_ran_ahead_is_due_until_its_time_has_come() {
        let lab = fixture::lab();
        let node = lab.node("k8s-master2").unwrap();
        let ahead = Validity { begins: NOW + 3 * DAY, ends: NOW + 500 * DAY };
        let mut facts = facts(Role::ControlPlane, &[("/etc/kubernetes/pki/apiserver.crt", NOW + 300 * DAY)]);
        for path in ["/etc/kubernetes/controller-manager.conf", ROTATED] {
            facts.certificates.insert(path.to_owned(), ahead);
        }
        let due = super::due(&lab, node, &facts, NOW);
        assert_eq!((due.ends, due.kubelet_ends), (Some(ahead), Some(ahead)));
        assert!(super::due(&lab, node, &facts, NOW + 4 * DAY).is_nothing());
    }

    #[test]
    fn a_kubelet_that_renewed_its_own_is_not_judged_by_what_it_began_with() {
        let lab = fixture::lab();
        let node = lab.node("k8s-worker1").unwrap();
        let (conf, rotated) = ((KUBELET_CONF, NOW - DAY), (ROTATED, NOW + 300 * DAY));
        assert!(due(&lab, node, &facts(Role::Worker, &[conf, rotated]), NOW).is_nothing());
        assert_eq!(due(&lab, node, &facts(Role::Worker, &[conf]), NOW).kubelet_ends, Some(until(NOW - DAY)));
        assert!(due(&lab, node, &GuestFacts::default(), NOW).is_nothing(), "kubeadm has not run there");
        let mut cut = facts(Role::Worker, &[(KUBELET_CONF, NOW + 300 * DAY)]);
        assert!(!due(&lab, node, &cut, NOW).of_kubelet());
        cut.kubernetes.push(RENEWING_KUBELET.to_owned());
        let due = due(&lab, node, &cut, NOW);
        assert!(due.of_kubelet() && !due.is_nothing(), "it may go on with the old one");
    }

    #[test]
    fn a_certificate_lacks_what_the_lab_file_adds_and_nothing_if_it_could_not_be_read() {
        let mut lab = fixture::lab();
        let mut facts = facts(Role::ControlPlane, &[]);
        let names =
            |lab: &Lab, facts: &GuestFacts| due(lab, lab.node("k8s-master1").unwrap(), facts, NOW).names;
        assert_eq!(names(&lab, &facts), Vec::<String>::new());
        let mut cut = facts.clone();
        cut.kubernetes.push(RENEWING.to_owned());
        assert_eq!(names(&lab, &cut), kubeadm::certificate_names(&lab), "it was taken away to be made anew");
        facts.api_names = kubeadm::certificate_names(&lab);
        assert_eq!(names(&lab, &facts), Vec::<String>::new());
        lab.cluster.api_names = vec!["k8s.example.org".to_owned()];
        assert_eq!(names(&lab, &facts), ["k8s.example.org"]);
    }

    #[test]
    fn a_kubelets_new_kubeconfig_is_its_own_and_signed_by_the_cluster() {
        let (lab, identity) = fixture::document();
        for (node, server) in [
            ("k8s-master1", "https://10.10.0.131:6443"),
            ("k8s-worker1", "https://k8s-api.lab.internal:6443"),
        ] {
            let file = kubelet_file(&lab, &identity, lab.node(node).unwrap(), NOW).unwrap();
            assert!(file.secret && file.path == KUBELET_CONF);
            let config: serde_json::Value = serde_json::from_slice(&file.content).unwrap();
            assert_eq!(config["clusters"][0]["cluster"]["server"], server);
            assert_eq!(config["users"][0]["name"], format!("system:node:{node}"));
        }
    }
}
