//! Checks of machines, ports, names and versions.

use super::{Subject, rules};
use crate::lab::catalogue::{Component, broken_rules};
use crate::lab::problem::{Problem, Severity};
use crate::lab::{Node, Role};

pub fn no_ingress_node(subject: &Subject<'_>) -> Vec<Problem> {
    if subject.lab.ingress_nodes().next().is_some() {
        return Vec::new();
    }
    let span = subject.span(&["control_planes.schedulable", "workers.count", "preset"]);
    vec![
        rules::NO_INGRESS_NODE
            .problem(span, "no workers, and control planes that take no workloads: no machine would run pods")
            .help("set control_planes.schedulable to true, or workers.count to 1 or more"),
    ]
}

pub fn even_control_planes(subject: &Subject<'_>) -> Vec<Problem> {
    let count = subject.lab.control_planes().count();
    if !count.is_multiple_of(2) {
        return Vec::new();
    }
    let message = format!("{count} control planes survive no more losses than {}", count - 1);
    let problem = rules::EVEN_CONTROL_PLANES.problem(subject.span(&["control_planes.count"]), message);
    vec![problem.help(format!("set control_planes.count to {} or {}", count - 1, count + 1))]
}

pub fn local_domain(subject: &Subject<'_>) -> Vec<Problem> {
    let cluster = &subject.lab.cluster;
    [("domain", &cluster.domain), ("kubernetes.api_name", &cluster.api_name)]
        .into_iter()
        .filter_map(|(path, name)| Some((path, name, name.strip_suffix(".local")?)))
        .map(|(path, name, bare)| {
            rules::LOCAL_DOMAIN
                .problem(
                    subject.span(&[path]),
                    format!("{name} ends in .local, for which macOS asks multicast DNS"),
                )
                .help(format!("set {path} to {bare}.test"))
        })
        .collect()
}

/// What kubeadm's preflight wants: 2 processors, and 1700 MB of which the guest's kernel takes none
/// (facts/kubernetes-cilium.md §1.7; the rest is room for that kernel).
const CONTROL_PLANE_CPUS: u8 = 2;
const CONTROL_PLANE_MEMORY_MIB: u32 = 1792;

pub fn control_plane_too_small(subject: &Subject<'_>) -> Vec<Problem> {
    let mut found = Vec::new();
    for node in subject.lab.control_planes() {
        if node.cpus < CONTROL_PLANE_CPUS {
            let message = format!("{} has {} CPU; kubeadm wants {CONTROL_PLANE_CPUS}", node.name, node.cpus);
            found.push((node, "cpus", message));
        }
        if node.memory_mib < CONTROL_PLANE_MEMORY_MIB {
            let message = format!(
                "{} has {}MiB; kubeadm wants {CONTROL_PLANE_MEMORY_MIB}MiB",
                node.name, node.memory_mib
            );
            found.push((node, "memory", message));
        }
    }
    once_a_key(found.into_iter().map(|(node, key, message)| {
        size_problem(subject, rules::CONTROL_PLANE_TOO_SMALL, node, key, message)
    }))
}

/// Below this the system's own pods leave nothing for the user's.
const WORKER_MEMORY_MIB: u32 = 1536;

pub fn worker_too_small(subject: &Subject<'_>) -> Vec<Problem> {
    once_a_key(subject.lab.workers().filter(|node| node.memory_mib < WORKER_MEMORY_MIB).map(|node| {
        let message =
            format!("{} has {}MiB, which Kubernetes' own pods nearly fill", node.name, node.memory_mib);
        size_problem(subject, rules::WORKER_TOO_SMALL, node, "memory", message)
    }))
}

fn size_problem(
    subject: &Subject<'_>,
    rule: rules::Rule,
    node: &Node,
    key: &str,
    message: String,
) -> Problem {
    let section = match node.role {
        Role::Gateway => "gateways",
        Role::ControlPlane => "control_planes",
        Role::Worker => "workers",
    };
    let own = format!("nodes.{}.{key}", node.name);
    rule.problem(subject.span(&[&own, &format!("{section}.{key}")]), message)
}

/// Keeps one finding of those at the same place: one value that is wrong for three machines is one mistake.
fn once_a_key(found: impl Iterator<Item = Problem>) -> Vec<Problem> {
    let mut kept: Vec<Problem> = Vec::new();
    for problem in found {
        if problem.span.is_none() || kept.iter().all(|other| other.span != problem.span) {
            kept.push(problem);
        }
    }
    kept
}

/// Percent of the Mac's memory above which macOS starts to swap (a judgement, not measured).
pub const COMFORTABLE_PERCENT: u64 = 75;

pub fn memory_exceeds_host(subject: &Subject<'_>) -> Vec<Problem> {
    let Some(host) = subject.host else { return Vec::new() };
    let sum: u64 = subject.lab.nodes.iter().map(|node| u64::from(node.memory_mib)).sum();
    let comfortable = host.memory_mib * COMFORTABLE_PERCENT / 100;
    if sum <= comfortable {
        return Vec::new();
    }
    let machines = subject.lab.nodes.len();
    let message = format!("{machines} machines want {sum}MiB of the Mac's {}MiB of memory", host.memory_mib);
    let severity = if sum > host.memory_mib { Severity::Error } else { Severity::Warning };
    let span = subject.span(&[
        "workers.memory",
        "control_planes.memory",
        "workers.count",
        "control_planes.count",
        "preset",
    ]);
    let help = format!(
        "up to {comfortable}MiB runs well: try preset small or solo, or less memory for each machine"
    );
    vec![rules::MEMORY_EXCEEDS_HOST.problem(span, message).with_severity(severity).help(help)]
}

/// The API server's default `--service-node-port-range`.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

pub fn node_port_range(subject: &Subject<'_>) -> Vec<Problem> {
    let ports = &subject.lab.cluster.ports;
    [("ports.http_node_port", ports.http_node_port), ("ports.https_node_port", ports.https_node_port)]
        .into_iter()
        .filter(|(_, port)| !NODE_PORTS.contains(port))
        .map(|(path, port)| {
            rules::NODE_PORT_RANGE
                .problem(subject.span(&[path]), format!("{port} is not a NodePort: 30000 to 32767"))
        })
        .collect()
}

pub fn port_used_twice(subject: &Subject<'_>) -> Vec<Problem> {
    let ports = &subject.lab.cluster.ports;
    let vip = [("ports.api", ports.api), ("ports.http", ports.http), ("ports.https", ports.https)];
    let node =
        [("ports.http_node_port", ports.http_node_port), ("ports.https_node_port", ports.https_node_port)];
    let mut found = Vec::new();
    for group in [&vip[..], &node[..]] {
        for (index, (path, port)) in group.iter().enumerate() {
            if let Some((other, _)) =
                group[..index].iter().find(|(other, same)| same == port && subject.known(&[path, other]))
            {
                let message = format!("{port} is both {other} and {path}");
                found.push(rules::PORT_USED_TWICE.problem(subject.span(&[path, other]), message));
            }
        }
    }
    found
}

/// What listens on a gateway, or beside the API server on a control plane.
const ON_GATEWAYS: [(u16, &str); 1] = [(22, "SSH on the gateways")];
const ON_CONTROL_PLANES: [(u16, &str); 6] = [
    (22, "SSH on the control planes"),
    (2379, "etcd"),
    (2380, "etcd"),
    (10_250, "the kubelet"),
    (10_257, "the controller manager"),
    (10_259, "the scheduler"),
];

pub fn port_is_reserved(subject: &Subject<'_>) -> Vec<Problem> {
    let ports = &subject.lab.cluster.ports;
    [
        ("ports.api", ports.api, &ON_CONTROL_PLANES[..]),
        ("ports.http", ports.http, &ON_GATEWAYS[..]),
        ("ports.https", ports.https, &ON_GATEWAYS[..]),
    ]
    .into_iter()
    .filter_map(|(path, port, taken)| Some((path, taken.iter().find(|(other, _)| *other == port)?)))
    .map(|(path, (port, owner))| {
        rules::PORT_IS_RESERVED.problem(subject.span(&[path]), format!("{port} is the port of {owner}"))
    })
    .collect()
}

pub fn versions_unsupported(subject: &Subject<'_>) -> Vec<Problem> {
    let versions = &subject.lab.versions;
    broken_rules(versions)
        .filter(|rule| rule.when.keys().all(|component| subject.known(&[component.key()])))
        .map(|rule| {
            let what: Vec<_> =
                rule.when.keys().map(|part| format!("{} {}", part.title(), versions.of(*part))).collect();
            let paths: Vec<_> = rule.when.keys().copied().map(Component::key).collect();
            rules::VERSIONS_UNSUPPORTED
                .problem(subject.span(&paths), format!("{}: {}", what.join(" with "), rule.reason))
                .with_severity(rule.severity)
                .help(rule.help.clone())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::findings;
    use super::super::{HostSize, lint};
    use crate::lab::catalogue::Arch;
    use crate::lab::problem::Severity;
    use crate::lab::resolve::resolve;

    #[test]
    fn somebody_must_run_pods() {
        assert_eq!(findings("workers: {count: 0}\n"), [""; 0], "the control planes take workloads then");
        let body = "workers: {count: 0}\ncontrol_planes: {schedulable: false}\n";
        assert_eq!(findings(body), ["no-ingress-node@3"]);
    }

    #[test]
    fn even_control_planes_are_a_warning() {
        assert_eq!(findings("control_planes: {count: 2}\n"), ["even-control-planes@2"]);
        assert_eq!(findings("control_planes: {count: 5}\n"), [""; 0]);
    }

    #[test]
    fn local_names_are_a_warning() {
        assert_eq!(findings("domain: lab.local\n"), ["local-domain@2"]);
        assert_eq!(findings("domain: local.test\n"), [""; 0]);
    }

    #[test]
    fn one_size_that_is_too_small_is_one_finding() {
        assert_eq!(findings("control_planes: {memory: 1GiB}\n"), ["control-plane-too-small@2"]);
        assert_eq!(findings("nodes:\n  k8s-master2:\n    cpus: 1\n"), ["control-plane-too-small@4"]);
        assert_eq!(findings("workers: {memory: 1GiB}\n"), ["worker-too-small@2"]);
    }

    #[test]
    fn memory_is_measured_against_the_host() {
        let resolved = resolve(None, None, Arch::Arm64).unwrap();
        let severity = |memory_mib| {
            let found = lint(&resolved.lab, &resolved.origin, Some(HostSize { memory_mib }));
            found.into_iter().find(|found| found.rule == "memory-exceeds-host").map(|found| found.severity)
        };
        // The document's lab: 2 gateways of 1 GiB and 5 nodes of 4 GiB are 22 GiB.
        assert_eq!(severity(16 * 1024), Some(Severity::Error));
        assert_eq!(severity(24 * 1024), Some(Severity::Warning));
        assert_eq!(severity(32 * 1024), None);
    }

    #[test]
    fn ports_are_usable_and_distinct() {
        assert_eq!(findings("ports: {http_node_port: 8080}\n"), ["node-port-range@2"]);
        assert_eq!(findings("ports: {http: 443}\n"), ["port-used-twice@2"]);
        assert_eq!(findings("ports: {http_node_port: 30443}\n"), ["port-used-twice@2"]);
        assert_eq!(findings("ports: {api: 2379}\n"), ["port-is-reserved@2"]);
        assert_eq!(findings("ports: {http: 22}\n"), ["port-is-reserved@2"]);
    }

    #[test]
    fn version_pairs_are_judged_by_the_catalogue() {
        assert_eq!(findings("kubernetes: {gateway_api: 1.6.0}\n"), ["versions-unsupported@2"]);
        assert_eq!(findings("kubernetes: {version: 1.37.1}\n"), ["versions-unsupported@2"]);
        assert_eq!(findings("kubernetes: {version: v1.35.9}\n"), [""; 0]);
    }
}
