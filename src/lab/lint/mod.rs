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
pub use rules::{RULES, Rule, rule};

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

    #[test]
    fn checks_stand_in_the_order_of_the_rules() {
        let place = |rule: &Rule| RULES.iter().position(|known| known == rule).unwrap();
        assert!(CHECKS.is_sorted_by_key(|(rule, _)| place(rule)));
    }
}
