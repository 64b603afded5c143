//! Cilium: the chart's values and the Helm commands, run on the first control plane.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::formats::command::Command;
use crate::lab::Lab;
use crate::lab::names::{ADMIN_CONF, GUEST_ETC, GUEST_OPT};
use crate::stack::facts::HelmRelease;
use crate::stack::file::GuestFile;

/// The release's name and namespace.
pub const RELEASE: &str = "cilium";
pub const NAMESPACE: &str = "kube-system";
/// What precedes the values' digest in the release's description.
pub const DESCRIPTION: &str = "fusionlab:";
/// The DaemonSet of the agents.
pub const AGENTS: &str = "cilium";
/// The Deployment that looks at the Gateway API's definitions, once.
pub const OPERATOR: &str = "cilium-operator";
/// The Deployment of the cluster's DNS servers, which is kubeadm's and waits for the network.
pub const DNS: &str = "coredns";
/// What must be rolled out before the network is ready, with the DNS server that waits for it.
pub const ROLLOUTS: [&str; 6] = [AGENTS, "cilium-envoy", OPERATOR, DNS, "hubble-relay", "hubble-ui"];

/// The operator's annotation that tells which Gateway API it was started for.
const GATEWAY_API: &str = "fusionlab.dev/gateway-api";
/// Operators listen on host ports, so a second one needs a second node.
const OPERATORS: usize = 2;

/// How long the certificates of Hubble's programs last, as kubeadm's do in a lab, and the authority that signs them, as the lab's do.
const CERTIFICATE_DAYS: u32 = 5 * 365;
const AUTHORITY_DAYS: u32 = 10 * 365;

/// Returns the chart's values (facts/kubernetes-cilium.md §4.1).
pub fn values(lab: &Lab) -> Value {
    let api = lab.cluster.ports.api;
    let servers: Vec<_> =
        lab.control_planes().map(|node| format!("https://{}:{api}", node.address())).collect();
    json!({
        "kubeProxyReplacement": "true",
        // The address, not the name: pods of the host network keep a copy of the hosts file from their start.
        "k8sServiceHost": lab.internal.vip,
        "k8sServicePort": api,
        // Agents turn to the API servers themselves should both gateways be gone.
        "k8s": { "apiServerURLs": servers.join(" ") },
        "routingMode": "native",
        "autoDirectNodeRoutes": true,
        "ipv4NativeRoutingCIDR": lab.cluster.pods,
        // The other mode's default pool, 10.0.0.0/8, holds the nodes' own network.
        "ipam": { "mode": "kubernetes" },
        "enableIPv4Masquerade": true,
        "bpf": { "masquerade": true },
        "l7Proxy": true,
        "gatewayAPI": {
            "enabled": true,
            "gatewayClass": { "create": "true" },
            "enableProxyProtocol": lab.cluster.proxy_protocol,
        },
        "hubble": {
            "enabled": true,
            "relay": { "enabled": true },
            "ui": { "enabled": true },
            // The chart makes them once and keeps them through every upgrade, so that they last as long as the nodes' own.
            "tls": { "auto": { "certValidityDuration": CERTIFICATE_DAYS } },
        },
        "tls": { "ca": { "certValidityDuration": AUTHORITY_DAYS } },
        "operator": {
            "replicas": lab.members().count().min(OPERATORS),
            "rollOutPods": true,
            // It looks at the Gateway API's definitions when it starts and never again: other definitions are another pod.
            "podAnnotations": { GATEWAY_API: lab.versions.gateway_api },
        },
        "rollOutCiliumPods": true,
    })
}

/// Where Cilium's agents read their settings: a ConfigMap that the chart writes.
pub const SETTINGS: &str = "cilium-config";

/// Returns the settings that make the lab's network what it is, as the chart writes them: whoever changes one of them by
/// hand has another network, with the same release.
pub fn settings(lab: &Lab) -> BTreeMap<String, String> {
    [
        ("kube-proxy-replacement", "true".to_owned()),
        ("routing-mode", "native".to_owned()),
        ("auto-direct-node-routes", "true".to_owned()),
        ("ipv4-native-routing-cidr", lab.cluster.pods.to_string()),
        ("ipam", "kubernetes".to_owned()),
        ("enable-ipv4-masquerade", "true".to_owned()),
        ("enable-bpf-masquerade", "true".to_owned()),
        ("enable-gateway-api", "true".to_owned()),
        ("enable-hubble", "true".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Returns values that need the same images as any lab's: the template is not made for one lab's addresses.
pub fn image_values() -> Value {
    json!({
        "kubeProxyReplacement": "true",
        "gatewayAPI": { "enabled": true, "gatewayClass": { "create": "true" } },
        "hubble": { "enabled": true, "relay": { "enabled": true }, "ui": { "enabled": true } },
    })
}

/// Returns the values as the file that Helm reads.
pub fn values_file(lab: &Lab) -> GuestFile {
    GuestFile::new(format!("{GUEST_ETC}/cilium-values.yaml"), 0o644, format!("{:#}\n", values(lab)))
}

/// Returns the SHA-256 (hex) of the values file, which the release bears in its description.
pub fn digest(lab: &Lab) -> String {
    values_file(lab).digest()
}

/// Returns the chart's name with its version, as Helm lists it.
pub fn chart(lab: &Lab) -> String {
    format!("cilium-{}", lab.versions.cilium)
}

/// Returns the chart's place in the guests.
pub fn chart_path(lab: &Lab) -> String {
    format!("{GUEST_OPT}/charts/{}.tgz", chart(lab))
}

fn helm<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    Command::new(["helm", "--kubeconfig", ADMIN_CONF].into_iter().chain(arguments)).as_root()
}

/// Installs or upgrades; the rollouts are waited for separately.
pub fn install(lab: &Lab, limit: Duration) -> Command {
    let (chart, values) = (chart_path(lab), values_file(lab).path);
    let (description, limit) = (format!("{DESCRIPTION}{}", digest(lab)), format!("{}s", limit.as_secs()));
    let source = ["upgrade", "--install", RELEASE, &chart, "--namespace", NAMESPACE, "--values", &values];
    helm(source.into_iter().chain(["--description", &description, "--timeout", &limit]))
}

pub fn list() -> Command {
    helm(["list", "--namespace", NAMESPACE, "--all", "-o", "json"])
}

pub fn status() -> Command {
    helm(["status", RELEASE, "--namespace", NAMESPACE, "-o", "json"])
}

/// Returns the command that ends what a killed run left pending, if anything.
pub fn recover(release: &HelmRelease) -> Option<Command> {
    match release.status.as_str() {
        "pending-install" => Some(uninstall()),
        "pending-upgrade" | "pending-rollback" => Some(rollback()),
        _ => None,
    }
}

/// Ends a `pending-upgrade` that a killed run left, which would block the next one.
pub fn rollback() -> Command {
    helm(["rollback", RELEASE, "--namespace", NAMESPACE])
}

/// Ends a `pending-install`, which has nothing to roll back to.
pub fn uninstall() -> Command {
    helm(["uninstall", RELEASE, "--namespace", NAMESPACE])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::fixture;

    #[test]
    fn the_values_are_the_documents_network() {
        let lab = fixture::lab();
        let text = String::from_utf8(values_file(&lab).content).unwrap();
        let values: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(values["routingMode"], "native");
        assert_eq!(values["ipv4NativeRoutingCIDR"], "10.244.0.0/16");
        assert_eq!(values["kubeProxyReplacement"], "true");
        assert_eq!(values["operator"]["replicas"], 2);
        assert_eq!(
            values["k8s"]["apiServerURLs"],
            "https://10.10.0.131:6443 https://10.10.0.132:6443 https://10.10.0.133:6443"
        );
        fixture::assert_golden("cilium-values.yaml", &text);
    }

    #[test]
    fn a_release_bears_the_digest_of_its_values() {
        let mut lab = fixture::lab();
        let line = install(&lab, Duration::from_secs(300)).shell_line();
        assert!(line.contains(&format!("--description fusionlab:{}", digest(&lab))), "{line}");
        assert!(line.contains(" /opt/fusionlab/charts/cilium-1.20.3.tgz --namespace kube-system "), "{line}");
        let before = digest(&lab);
        lab.cluster.proxy_protocol = true;
        assert_ne!(digest(&lab), before);
    }
}
