//! The Gateway API's definitions, which must be established before Cilium starts: its operator looks
//! once, says so once, and ignores every route afterwards (facts/kubernetes-cilium.md §4.2).

use crate::formats::command::Command;
use crate::stack::kubectl;

/// What the definitions' names end with.
pub const GROUP: &str = ".gateway.networking.k8s.io";
/// The annotation of each definition that tells its bundle's version, with a `v`.
pub const BUNDLE_VERSION: &str = "gateway.networking.k8s.io/bundle-version";
/// The definitions as the template carries them.
pub const MANIFEST: &str = "/opt/fusionlab/gateway-api/standard-install.yaml";
/// The kinds that Cilium insists on.
pub const KINDS: [&str; 7] = [
    "gatewayclasses",
    "gateways",
    "httproutes",
    "grpcroutes",
    "tlsroutes",
    "referencegrants",
    "backendtlspolicies",
];

/// Applies the definitions.
pub fn apply() -> Command {
    kubectl::apply(MANIFEST)
}

/// Returns the definitions that Cilium insists on and that are not among these.
pub fn missing(established: &[String]) -> Vec<String> {
    let names = KINDS.map(|kind| format!("{kind}{GROUP}"));
    names.into_iter().filter(|name| !established.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_definition_is_named() {
        let mut all: Vec<_> = KINDS.iter().map(|kind| format!("{kind}{GROUP}")).collect();
        assert!(missing(&all).is_empty());
        all.retain(|name| !name.starts_with("tlsroutes"));
        assert_eq!(missing(&all), ["tlsroutes.gateway.networking.k8s.io"]);
    }
}
