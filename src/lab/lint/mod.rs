//! Looks at a whole lab and says what will not work, or not well.
//!
//! [`CHECKS`] is the list; each check is one small function that returns its findings. The rules
//! behind them, with their reasons, are in [`rules`].

mod addresses;
mod machines;
pub mod rules;

use super::Lab;
use super::problem::{Problem, Severity, Span};
use super::spec::Origin;
pub use machines::COMFORTABLE_PERCENT;
pub use rules::{RULES, Rule};

/// What the lab will run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostSize {
    pub memory_mib: u64,
}

/// A lab, and where its values came from.
pub struct Subject<'a> {
    pub lab: &'a Lab,
    pub origin: &'a Origin,
    /// None where the host was not asked.
    pub host: Option<HostSize>,
}

/// A function that looks for one kind of mistake.
pub type Check = fn(&Subject<'_>) -> Vec<Problem>;

/// Every check, in the order of [`RULES`].
pub const CHECKS: &[(Rule, Check)] = &[
    (rules::NO_INGRESS_NODE, machines::no_ingress_node),
    (rules::ADDRESS_OUTSIDE_SUBNET, addresses::outside_subnet),
    (rules::ADDRESS_IS_RESERVED, addresses::reserved),
    (rules::ADDRESS_USED_TWICE, addresses::used_twice),
    (rules::NETWORKS_OVERLAP, addresses::networks_overlap),
    (rules::SUBNET_TOO_SMALL, addresses::subnet_too_small),
    (rules::RESERVATION_IN_DHCP_POOL, addresses::in_dhcp_pool),
    (rules::EVEN_CONTROL_PLANES, machines::even_control_planes),
    (rules::LOCAL_DOMAIN, machines::local_domain),
    (rules::CONTROL_PLANE_TOO_SMALL, machines::control_plane_too_small),
    (rules::WORKER_TOO_SMALL, machines::worker_too_small),
    (rules::MEMORY_EXCEEDS_HOST, machines::memory_exceeds_host),
    (rules::NODE_PORT_RANGE, machines::node_port_range),
    (rules::PORT_USED_TWICE, machines::port_used_twice),
    (rules::PORT_IS_RESERVED, machines::port_is_reserved),
    (rules::VERSIONS_UNSUPPORTED, machines::versions_unsupported),
    (rules::PUBLIC_NETWORK, addresses::public_network),
];

/// Checks a lab. `origin` gives findings their places in the lab file; an empty one will do.
pub fn lint(lab: &Lab, origin: &Origin, host: Option<HostSize>) -> Vec<Problem> {
    let subject = Subject { lab, origin, host };
    CHECKS.iter().flat_map(|(_, check)| check(&subject)).collect()
}

impl Subject<'_> {
    /// Returns the place of the first of these keys that the file has.
    fn span(&self, paths: &[&str]) -> Option<Span> {
        paths.iter().find_map(|path| self.origin.span(path))
    }

    /// Says whether all these keys hold what the user meant: one that could not be read was reported
    /// already, and its default must not cause a second finding.
    fn known(&self, paths: &[&str]) -> bool {
        !paths.iter().any(|path| self.origin.is_unusable(path))
    }
}

impl Problem {
    fn with_severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::lab::catalogue::Arch;
    use crate::lab::resolve::resolve;

    /// Returns all findings about a lab file, each as `rule@line`.
    pub fn findings(body: &str) -> Vec<String> {
        let text = format!("version: 1\n{body}");
        let problems = match resolve(Some(&text), None, Arch::Arm64) {
            Ok(resolved) => resolved.warnings,
            Err(problems) => problems,
        };
        problems
            .into_iter()
            .filter(|found| found.rule != rules::RESERVATION_IN_DHCP_POOL.name)
            .map(|found| format!("{}@{}", found.rule, found.span.map_or(0, |span| span.line)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::catalogue::Arch;
    use crate::lab::resolve::resolve;

    /// What only the world gives reason for: found by `plan`, which knows what stands.
    const OF_PLANS: [Rule; 3] = [rules::MACHINE_GONE, rules::WIFI_BRIDGE, rules::OTHER_LAN];

    #[test]
    fn every_rule_is_reached_by_some_lab_file() {
        let files = [
            ("yaml-syntax", "version: 1\nlan: [\n"),
            ("unknown-key", "version: 1\nwibble: 1\n"),
            ("key-twice", "version: 1\nname: a\nname: b\n"),
            ("wrong-type", "version: 1\nworkers: 3\n"),
            ("bad-value", "version: 1\nname: A\n"),
            ("file-version", "version: 2\n"),
            ("unknown-node", "version: 1\nnodes: {k8s-worker9: {cpus: 2}}\n"),
            ("unknown-image", "version: 1\nimage: debian-99\n"),
            ("image-needs-digest", "version: 1\nimage: {url: 'https://example.org/own.img'}\n"),
            ("disk-size-differs", "version: 1\ngateways: {disk: 10GiB}\n"),
            ("no-ingress-node", "version: 1\nworkers: {count: 0}\ncontrol_planes: {schedulable: false}\n"),
            ("address-outside-subnet", "version: 1\nlan: {vip: 192.168.1.200}\n"),
            ("address-is-reserved", "version: 1\nlan: {vip: 192.168.68.1}\n"),
            ("address-used-twice", "version: 1\nnodes: {gateway1: {address: 10.10.0.141}}\n"),
            ("networks-overlap", "version: 1\nkubernetes: {pods: 10.0.0.0/8}\n"),
            ("subnet-too-small", "version: 1\nkubernetes: {pods: 10.244.0.0/23}\n"),
            ("reservation-in-dhcp-pool", "version: 1\n"),
            ("even-control-planes", "version: 1\ncontrol_planes: {count: 2}\n"),
            ("local-domain", "version: 1\ndomain: lab.local\n"),
            ("control-plane-too-small", "version: 1\ncontrol_planes: {memory: 1GiB}\n"),
            ("worker-too-small", "version: 1\nworkers: {memory: 1GiB}\n"),
            ("memory-exceeds-host", "version: 1\n"),
            ("node-port-range", "version: 1\nports: {http_node_port: 8080}\n"),
            ("port-used-twice", "version: 1\nports: {http: 443}\n"),
            ("port-is-reserved", "version: 1\nports: {http: 22}\n"),
            ("versions-unsupported", "version: 1\nkubernetes: {gateway_api: 1.6.0}\n"),
            ("public-network", "version: 1\nkubernetes: {pods: 11.0.0.0/16}\n"),
        ];
        for (rule, text) in files {
            let found = match resolve(Some(text), None, Arch::Arm64) {
                Ok(resolved) => {
                    let small = HostSize { memory_mib: 1024 };
                    let of_host = lint(&resolved.lab, &resolved.origin, Some(small));
                    [resolved.warnings, of_host].concat()
                }
                Err(problems) => problems,
            };
            assert!(found.iter().any(|found| found.rule == rule), "{rule}: {found:?}");
        }
        let reached: Vec<&str> =
            files.iter().map(|(rule, _)| *rule).chain(OF_PLANS.map(|rule| rule.name)).collect();
        let unreached: Vec<&str> =
            RULES.iter().map(|rule| rule.name).filter(|name| !reached.contains(name)).collect();
        assert_eq!(unreached, [""; 0], "no lab file breaks them");
    }

    #[test]
    fn checks_stand_in_the_order_of_the_rules() {
        let place = |rule: &Rule| RULES.iter().position(|known| known == rule).unwrap();
        assert!(CHECKS.is_sorted_by_key(|(rule, _)| place(rule)));
    }
}
