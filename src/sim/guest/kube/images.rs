//! Container images by version, and the files that the template carries for Cilium and the Gateway API.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

/// The definitions of the standard channel (facts/kubernetes-cilium.md §4.2): plural, kind.
pub const GATEWAY_DEFINITIONS: [(&str, &str); 10] = [
    ("backendtlspolicies", "BackendTLSPolicy"),
    ("gatewayclasses", "GatewayClass"),
    ("gateways", "Gateway"),
    ("grpcroutes", "GRPCRoute"),
    ("httproutes", "HTTPRoute"),
    ("listenersets", "ListenerSet"),
    ("referencegrants", "ReferenceGrant"),
    ("tcproutes", "TCPRoute"),
    ("tlsroutes", "TLSRoute"),
    ("udproutes", "UDPRoute"),
];
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
pub const BUNDLE_VERSION: &str = "gateway.networking.k8s.io/bundle-version";

/// Returns what `kubeadm config images list` names.
pub fn kubernetes(version: &str) -> Vec<String> {
    let components = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
    let mut images: Vec<String> =
        components.iter().map(|name| format!("registry.k8s.io/{name}:v{version}")).collect();
    images.extend(
        ["coredns/coredns:v1.13.1", "pause:3.10.2", "etcd:3.6.8-0"]
            .map(|image| format!("registry.k8s.io/{image}")),
    );
    images
}

pub fn coredns() -> String {
    "registry.k8s.io/coredns/coredns:v1.13.1".into()
}

/// Returns what the chart needs with Envoy, Hubble's relay and UI (facts/kubernetes-cilium.md §4.1).
pub fn cilium(version: &str) -> Vec<String> {
    ["cilium", "operator-generic", "hubble-relay", "cilium-envoy", "hubble-ui", "hubble-ui-backend"]
        .iter()
        .map(|name| cilium_image(name, version))
        .collect()
}

pub fn cilium_image(name: &str, version: &str) -> String {
    match name {
        "cilium-envoy" => "quay.io/cilium/cilium-envoy:v1.37.5".into(),
        "hubble-ui" | "hubble-ui-backend" => format!("quay.io/cilium/{name}:v0.13.5"),
        _ => format!("quay.io/cilium/{name}:v{version}"),
    }
}

/// Returns the chart's description of itself.
pub fn chart_yaml(version: &str) -> String {
    format!("apiVersion: v2\nname: cilium\nversion: {version}\nappVersion: {version}\n")
}

/// Makes the chart file: its `Chart.yaml`, packed.
pub fn chart(version: &str) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer
        .write_all(chart_yaml(version).as_bytes())
        .and_then(|()| packer.finish())
        .expect("writing to memory does not fail")
}

/// Makes the Gateway API's standard-install.yaml.
pub fn gateway_api(version: &str) -> String {
    let documents = GATEWAY_DEFINITIONS.iter().map(|(plural, kind)| {
        let mut definition = definition(GATEWAY_GROUP, plural, kind, *plural != "gatewayclasses", "v1");
        definition["metadata"]["annotations"] = json!({
            BUNDLE_VERSION: format!("v{version}"),
            "gateway.networking.k8s.io/channel": "standard",
        });
        format!("---\n{definition:#}\n")
    });
    format!("# {BUNDLE_VERSION}: v{version}\n{}", documents.collect::<String>())
}

/// Returns a CustomResourceDefinition.
pub fn definition(
    group: &str,
    plural: &str,
    kind: &str,
    namespaced: bool,
    version: &str,
) -> serde_json::Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group,
            "names": { "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List") },
            "scope": if namespaced { "Namespaced" } else { "Cluster" },
            "versions": [{ "name": version, "served": true, "storage": true }],
        },
    })
}
