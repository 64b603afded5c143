//! Every rule that a lab file can break, with the reason behind it; `fusionlab explain` prints them.

use serde::Serialize;

use crate::lab::problem::{Problem, Severity, Span};

/// One rule: its stable name, and what `fusionlab explain NAME` says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    pub name: &'static str,
    /// The severity of its findings; where a rule knows both, the worse.
    pub severity: Severity,
    /// One line.
    pub summary: &'static str,
    /// Why the rule exists, and how to satisfy it.
    pub explanation: &'static str,
}

impl Rule {
    /// Returns a finding of this rule.
    pub fn problem(&self, span: Option<Span>, message: impl Into<String>) -> Problem {
        Problem { rule: self.name, severity: self.severity, span, message: message.into(), help: None }
    }
}

/// Returns the rule of a name.
#[cfg(test)]
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name)
}

macro_rules! rules {
    ($($name:ident $text:literal $severity:ident: $summary:literal, $explanation:literal;)+) => {
        $(pub const $name: Rule = Rule {
            name: $text,
            severity: Severity::$severity,
            summary: $summary,
            explanation: $explanation,
        };)+

        /// All rules: first of the file's form, then of single values, then of the lab as a whole.
        pub const RULES: &[Rule] = &[$($name,)+];
    };
}

rules! {
    YAML_SYNTAX "yaml-syntax" Error: "the file cannot be read as lines of keys and values (YAML)",
        "The text cannot be read as YAML, so nothing else in it was looked at. Usual causes are a tab \
         used as indentation, a missing space after a colon, and an unclosed bracket or quote.";
    UNKNOWN_KEY "unknown-key" Error: "a key that fusionlab does not know",
        "A key that is not known has no effect, and a misspelt one would silently leave the default in \
         place; so it is refused. `docs/lab-file.md` and `fusionlab schema` list every key.";
    KEY_TWICE "key-twice" Error: "a key stands twice in one section",
        "Only one of the two values could count, and readers differ in which. Delete one.";
    WRONG_TYPE "wrong-type" Error: "a value of the wrong kind",
        "For example a list where one address is wanted, or a section of keys where a number is wanted.";
    BAD_VALUE "bad-value" Error: "a value that cannot be read, or is out of range",
        "The message says which form or range the key takes.";
    FILE_VERSION "file-version" Error: "`version` is missing or not 1",
        "The first key of a lab file is `version: 1`. It tells which form the file has, so that a later \
         fusionlab can still read it, and an older one can refuse a newer form instead of guessing.";
    UNKNOWN_NODE "unknown-node" Error: "`nodes` names a machine that the lab does not have",
        "Names follow from the counts: gateway1, gateway2, k8s-master1, …, k8s-worker1, … Raise the \
         count of the role, or correct the name.";
    UNKNOWN_IMAGE "unknown-image" Error: "`image` names no image of the catalogue",
        "Name an image of the catalogue, or describe your own with `url` and `digest`.";
    IMAGE_NEEDS_DIGEST "image-needs-digest" Error: "an image of your own without a digest",
        "The image becomes every machine of the lab, root included. The catalogue has \
         the digests of its own images; for any other the digest must stand in the lab file.";
    DISK_SIZE_DIFFERS "disk-size-differs" Error: "linked clones with different disk sizes",
        "A linked clone is a thin layer over the template's disk and has its size; Fusion refuses to \
         grow a disk that has a parent. Give all machines one size, or choose `clone: full` or \
         `clone: cow`, whose disks are their own. An unused part of a disk takes no room on the Mac.";
    NO_INGRESS_NODE "no-ingress-node" Error: "no machine would run pods",
        "Without workers, applications and the Gateway can only run on control planes that take \
         workloads: set `control_planes.schedulable: true` or `workers.count` to 1 or more.";
    ADDRESS_OUTSIDE_SUBNET "address-outside-subnet" Error: "an address is not in its network's subnet",
        "A machine with an address outside its card's subnet is reachable by nobody on it.";
    ADDRESS_IS_RESERVED "address-is-reserved" Error: "an address that already has an owner",
        "The first and last address of a subnet are its network and broadcast addresses. On the internal \
         network Fusion takes .1 for the Mac and .2 for NAT; each VIP moves between the gateways and the \
         LAN's router has its own.";
    ADDRESS_USED_TWICE "address-used-twice" Error: "two machines with one address",
        "Which of the two answers would be chance. If one of them is a default, give the other a place \
         of its own under `nodes`.";
    NETWORKS_OVERLAP "networks-overlap" Error: "two networks share addresses",
        "The LAN, the internal network, the pods and the Services must be disjoint, or a node cannot \
         tell where a packet should go. Cilium's own default pool, 10.0.0.0/8, contains 10.10.0.0/24, \
         which is why fusionlab never relies on it.";
    SUBNET_TOO_SMALL "subnet-too-small" Error: "a network has too few addresses",
        "The internal network needs room for the Mac, NAT, the VIP and every machine. Pods need a /24 \
         for each node of the cluster. The API server takes Service networks from /12 to /28.";
    RESERVATION_IN_DHCP_POOL "reservation-in-dhcp-pool" Warning: "fixed addresses inside the DHCP pool",
        "Fusion's DHCP server gives away the upper half of the subnet (.128 to .254 of a /24), and the \
         documented control planes (.131 to .133) and workers (.141, .142) lie in it. A reservation does \
         not keep a stranger out: with the pool narrowed to .131, an ISC dhcpd was seen leasing it to an \
         unknown MAC although a host entry owned it. Strangers are served from the low end, so the \
         fourth stray VM on the network would take the first control plane's address. fusionlab \
         reserves before the first boot, and `verify` proves that each machine holds its own address. \
         The remedy is to keep other VMs off this network, or to move the machines below the pool, such as \
         this one:\n\n    nodes:\n      k8s-master1: {address: 10.10.0.31}\n\nThe warning itself has the lines for all of them.";
    EVEN_CONTROL_PLANES "even-control-planes" Warning: "an even number of control planes",
        "etcd works while more than half of its members do. Two members tolerate no loss and fail twice \
         as often as one; four tolerate one loss, as three do.";
    LOCAL_DOMAIN "local-domain" Warning: "a name under .local",
        "macOS asks multicast DNS for `.local` names, not your DNS server or /etc/resolver, so such names \
         resolve slowly or not at all. Use `.test` or `.internal`, which are set aside for this.";
    CONTROL_PLANE_TOO_SMALL "control-plane-too-small" Error: "kubeadm would refuse a control plane this small",
        "kubeadm's preflight wants 2 CPUs and 1700 MB on a control plane.";
    WORKER_TOO_SMALL "worker-too-small" Warning: "a worker with little memory",
        "The kubelet, Cilium's agent and Envoy take about a gigabyte before the first pod runs.";
    MEMORY_EXCEEDS_HOST "memory-exceeds-host" Error: "the lab needs more memory than the Mac has",
        "Fusion reserves most of each machine's memory when it starts. Above three quarters of the Mac's \
         memory it swaps and etcd misses its deadlines (a warning); above all of it, machines are \
         refused (an error). Use preset `small` or `solo`, or smaller machines.";
    NODE_PORT_RANGE "node-port-range" Error: "a NodePort outside 30000 to 32767",
        "The API server hands out and accepts NodePorts of this range only.";
    PORT_USED_TWICE "port-used-twice" Error: "two services on one port",
        "The VIP can forward a port to one place only, and a NodePort belongs to one Service.";
    PORT_IS_RESERVED "port-is-reserved" Error: "a port that something else needs",
        "Gateways answer SSH on 22. On control planes etcd takes 2379 and 2380, the kubelet 10250, and \
         the controller manager and scheduler 10257 and 10259.";
    VERSIONS_UNSUPPORTED "versions-unsupported" Error: "versions that do not go together",
        "The pairs that are known to break are refused, the untested ones are a warning. The table is \
         `rules` in `vm-templates/catalogue.yaml`, each with its reason.";
    MACHINE_GONE "machine-gone" Warning: "a machine that was there is gone",
        "Its VM was deleted, or its folder was moved away, since the lab was last up. `up` makes the machine \
         anew and takes it into the cluster again; what was on its disk does not come back by that. As long \
         as one control plane stands, the cluster keeps its data. Where none does, a new cluster is made, and \
         the machines that stand are taken into that one: put a control plane's folder back before, if it is \
         in the Trash or in a backup.";
    WIFI_BRIDGE "wifi-bridge" Warning: "the gateways are bridged to Wi-Fi",
        "A bridged machine sends frames with its own MAC. Access points pass on only frames of the Mac's own \
         MAC, which they know, so Fusion translates; what cannot be translated is lost. The VIP moves from one \
         gateway to the other by gratuitous ARP, an announcement of whose MAC has the address now: over Wi-Fi \
         it may not arrive, and machines at home keep sending to the gateway that is gone until their \
         own tables forget it. The Mac itself reaches the VIP all the same. Use a cable, and name its card:\n\n    \
         lan: {interface: en4}\n\n`networksetup -listallhardwareports` lists them.";
    OTHER_LAN "other-lan" Warning: "this Mac is not in the lab's home network",
        "The gateways are bridged to the network that the Mac is in, and have addresses of `lan.subnet`: in another \
         network nobody reaches them, nor the VIP, and `up` ends at the proof after minutes of work. `plan` and `up` say so \
         until the lab has been whole once. Where there is no lab file, nobody has chosen that network, and `up` refuses \
         (`lan-elsewhere`). `fusionlab init` finds the network that is here and writes a lab file for it.";
    PUBLIC_NETWORK "public-network" Warning: "a private network with public addresses",
        "Addresses outside 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 and 100.64.0.0/10 belong to somebody \
         on the internet, whom the nodes could then not reach.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_kebab_case() {
        for (index, rule) in RULES.iter().enumerate() {
            assert!(rule.name.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase()), "{}", rule.name);
            assert!(RULES[..index].iter().all(|other| other.name != rule.name), "{} twice", rule.name);
            assert_eq!(super::rule(rule.name), Some(rule));
        }
    }

    #[test]
    fn every_rule_says_why() {
        for rule in RULES {
            assert!(rule.explanation.ends_with('.') && !rule.summary.ends_with('.'), "{}", rule.name);
        }
    }
}
