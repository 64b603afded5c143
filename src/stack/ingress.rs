//! The way in: a Gateway on fixed NodePorts, its certificate, and a test application behind it.
//!
//! Cilium has no setting for NodePorts. But a Service that exists under the name Cilium would give it
//! is adopted, and the API server keeps its ports on every later update: so the Service comes first, then
//! the Gateway (facts/kubernetes-cilium.md §4.4, way 1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::formats::command::Command;
use crate::lab::names::{GATEWAY, GATEWAY_CLASS, GATEWAY_NAMESPACE, GUEST_ETC};
use crate::lab::{Lab, Node};
use crate::stack::facts::{condition, items};
use crate::stack::file::GuestFile;
use crate::stack::identity::Identity;
use crate::stack::kubectl;

/// The annotation of the Gateway's namespace that says which manifests were applied last.
pub const ANNOTATION: &str = "fusionlab.dev/ingress";
/// The definition that must exist before the manifests: Cilium's operator installs it, not its chart.
pub const CLASS_CONFIG_DEFINITION: &str = "ciliumgatewayclassconfigs.cilium.io";
/// The test application, which answers for `echo.<domain>`.
pub const APPLICATION: &str = "echo";

/// Where it answers.
pub const APPLICATION_PORT: u16 = 80;
/// Where it would answer as well, did the policy not stop everybody else.
pub const CLOSED_PORT: u16 = 8081;

const SECRET: &str = "lab-tls";
/// The listeners of the Gateway, each with a route of its own.
const LISTENERS: [&str; 2] = ["http", "https"];
/// The annotation of the test application's pods that says over how many nodes they were spread.
const NODES: &str = "fusionlab.dev/ingress-nodes";
/// The label by which a node is known.
const HOSTNAME: &str = "kubernetes.io/hostname";
/// So many pods at least, so that there is another one to be reached.
const LEAST_PODS: usize = 2;
/// The test application's image; the template carries it (`cloud-init/bake/70-images.sh`).
pub const APPLICATION_IMAGE: &str = "docker.io/library/nginx:1.28-alpine";

/// Returns the Service's name, which is Cilium's rule.
pub fn service_name() -> String {
    format!("cilium-gateway-{GATEWAY}")
}

/// Returns the names of the HTTPRoutes.
pub fn routes() -> Vec<String> {
    LISTENERS.iter().map(|listener| route_name(listener)).collect()
}

fn route_name(listener: &str) -> String {
    format!("{APPLICATION}-{listener}")
}

/// Returns the test application's host name.
pub fn application_host(lab: &Lab) -> String {
    format!("{APPLICATION}.{}", lab.cluster.domain)
}

/// Returns the manifests in the order in which they must be applied.
pub fn manifests(lab: &Lab, identity: &Identity) -> Vec<Value> {
    let mut manifests =
        vec![namespace(), class_config(), class(), service(lab), secret(identity), gateway(lab)];
    manifests.extend([page(), deployment(lab), application_service(), policy()]);
    manifests.extend(LISTENERS.map(|listener| route(lab, listener)));
    manifests
}

/// Returns the manifests as one file to apply; it holds the certificate's private key.
pub fn file(lab: &Lab, identity: &Identity) -> GuestFile {
    let documents = manifests(lab, identity);
    let text: String = documents.iter().map(|document| format!("---\n{document:#}\n")).collect();
    GuestFile::secret(format!("{GUEST_ETC}/ingress.yaml"), text)
}

/// Returns the SHA-256 (hex) of the manifests.
pub fn digest(lab: &Lab, identity: &Identity) -> String {
    hex::encode(Sha256::digest(file(lab, identity).content))
}

/// Says whether an answer of [`kubectl::get`] is a class that its controller accepted.
pub fn is_accepted(class: &str) -> bool {
    serde_json::from_str::<Value>(class).is_ok_and(|class| condition(&class, "Accepted"))
}

/// Returns the command that applies the file, in its order.
pub fn apply(lab: &Lab, identity: &Identity) -> Command {
    kubectl::apply(&file(lab, identity).path)
}

/// Returns the command that records the digest; the last of all, so that it never tells of half a way in.
pub fn record(lab: &Lab, identity: &Identity) -> Command {
    kubectl::annotate("namespaces", GATEWAY_NAMESPACE, ANNOTATION, &digest(lab, identity))
}

fn object(api_version: &str, kind: &str, name: &str, namespaced: bool) -> Value {
    let mut metadata = json!({ "name": name });
    if namespaced {
        metadata["namespace"] = GATEWAY_NAMESPACE.into();
    }
    json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata })
}

fn with(mut object: Value, key: &str, value: Value) -> Value {
    object[key] = value;
    object
}

fn namespace() -> Value {
    object("v1", "Namespace", GATEWAY_NAMESPACE, false)
}

fn class_config() -> Value {
    let config = object("cilium.io/v2alpha1", "CiliumGatewayClassConfig", GATEWAY_CLASS, true);
    with(config, "spec", json!({ "service": { "type": "NodePort", "externalTrafficPolicy": "Cluster" } }))
}

fn class() -> Value {
    let spec = json!({
        "controllerName": "io.cilium/gateway-controller",
        "parametersRef": {
            "group": "cilium.io",
            "kind": "CiliumGatewayClassConfig",
            "name": GATEWAY_CLASS,
            "namespace": GATEWAY_NAMESPACE,
        },
    });
    with(object("gateway.networking.k8s.io/v1", "GatewayClass", GATEWAY_CLASS, false), "spec", spec)
}

/// Port names are Cilium's: the API server keeps a NodePort for the port of the same name.
fn service(lab: &Lab) -> Value {
    let port = |port: u16, node_port: u16| json!({ "name": format!("port-{port}"), "port": port, "protocol": "TCP", "nodePort": node_port });
    let ports = &lab.cluster.ports;
    let spec = json!({
        "type": "NodePort",
        "ports": [port(ports.http, ports.http_node_port), port(ports.https, ports.https_node_port)],
    });
    with(object("v1", "Service", &service_name(), true), "spec", spec)
}

fn secret(identity: &Identity) -> Value {
    let data = json!({
        "tls.crt": STANDARD.encode(&identity.lab_server.certificate),
        "tls.key": STANDARD.encode(identity.lab_server.key.expose_secret()),
    });
    let secret = with(object("v1", "Secret", SECRET, true), "type", "kubernetes.io/tls".into());
    with(secret, "data", data)
}

/// No listener names a host: the certificate then also answers clients that send no name.
fn gateway(lab: &Lab) -> Value {
    let everyone = json!({ "namespaces": { "from": "All" } });
    let ports = &lab.cluster.ports;
    let spec = json!({
        "gatewayClassName": GATEWAY_CLASS,
        "listeners": [
            { "name": "http", "port": ports.http, "protocol": "HTTP", "allowedRoutes": everyone },
            {
                "name": "https",
                "port": ports.https,
                "protocol": "HTTPS",
                "tls": { "mode": "Terminate", "certificateRefs": [{ "kind": "Secret", "name": SECRET }] },
                "allowedRoutes": everyone,
            },
        ],
    });
    with(object("gateway.networking.k8s.io/v1", "Gateway", GATEWAY, true), "spec", spec)
}

/// The application's answer; the image fills in the pod's own variables and leaves nginx's.
fn page() -> Value {
    let answer = r#"{"pod":"${POD_NAME}","node":"${NODE_NAME}","host":"$host","path":"$uri"}"#;
    let server = format!(
        "server {{\n    listen {APPLICATION_PORT};\n    default_type application/json;\n    location / {{ return 200 '{answer}'; }}\n}}\n\
         server {{\n    listen {CLOSED_PORT};\n    location / {{ return 200 'closed'; }}\n}}\n"
    );
    with(object("v1", "ConfigMap", APPLICATION, true), "data", json!({ "default.conf.template": server }))
}

/// Everybody reaches the application, and nobody but the pod itself its other port: so a policy is seen to stop
/// something that answers.
fn policy() -> Value {
    let spec = json!({
        "podSelector": { "matchLabels": { "app": APPLICATION } },
        "policyTypes": ["Ingress"],
        "ingress": [{ "ports": [{ "protocol": "TCP", "port": APPLICATION_PORT }] }],
    });
    with(object("networking.k8s.io/v1", "NetworkPolicy", APPLICATION, true), "spec", spec)
}

/// One pod on each ingress node, so that both "here" and "over there" are proven; of the same revision, or a rollout
/// could leave two on one node. On these alone: control planes that took pods until the lab got its first worker still would.
fn deployment(lab: &Lab) -> Value {
    let (labels, nodes) = (json!({ "app": APPLICATION }), lab.ingress_nodes().count());
    let names: Vec<&str> = lab.ingress_nodes().map(|node| node.name.as_str()).collect();
    let here = json!({ "matchExpressions": [{ "key": HOSTNAME, "operator": "In", "values": names }] });
    let affinity = json!({
        "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [here] } }
    });
    let field =
        |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let container = json!({
        "name": APPLICATION,
        "image": APPLICATION_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "env": [field("POD_NAME", "metadata.name"), field("NODE_NAME", "spec.nodeName")],
        "ports": [{ "containerPort": APPLICATION_PORT }, { "containerPort": CLOSED_PORT }],
        "readinessProbe": { "httpGet": { "path": "/", "port": APPLICATION_PORT } },
        "volumeMounts": [{ "name": "page", "mountPath": "/etc/nginx/templates" }],
    });
    let spread = json!({
        "maxSkew": 1,
        "topologyKey": HOSTNAME,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": { "matchLabels": labels },
        "matchLabelKeys": ["pod-template-hash"],
    });
    let spec = json!({
        "replicas": nodes.max(LEAST_PODS),
        "selector": { "matchLabels": labels },
        "template": {
            // Another number of nodes is another revision: its pods are spread anew, over those that came as well.
            "metadata": { "labels": labels, "annotations": { NODES: nodes.to_string() } },
            "spec": {
                "affinity": affinity,
                "topologySpreadConstraints": [spread],
                "containers": [container],
                "volumes": [{ "name": "page", "configMap": { "name": APPLICATION } }],
            },
        },
    });
    with(object("apps/v1", "Deployment", APPLICATION, true), "spec", spec)
}

fn application_service() -> Value {
    let spec = json!({
        "selector": { "app": APPLICATION },
        "ports": [{ "name": "http", "port": APPLICATION_PORT, "targetPort": APPLICATION_PORT, "protocol": "TCP" }],
    });
    with(object("v1", "Service", APPLICATION, true), "spec", spec)
}

fn route(lab: &Lab, listener: &str) -> Value {
    let spec = json!({
        "parentRefs": [{ "name": GATEWAY, "sectionName": listener }],
        "hostnames": [application_host(lab)],
        "rules": [{ "backendRefs": [{ "name": APPLICATION, "port": APPLICATION_PORT }] }],
    });
    with(object("gateway.networking.k8s.io/v1", "HTTPRoute", &route_name(listener), true), "spec", spec)
}

/// Returns the ingress nodes that have no ready pod of the test application, by the list of the namespace's pods.
pub fn bare_nodes(lab: &Lab, pods: &str) -> Result<Vec<String>, serde_json::Error> {
    let pods: Value = serde_json::from_str(pods)?;
    let serves = |node: &Node, pod: &Value| {
        pod["metadata"]["labels"]["app"] == APPLICATION
            && pod["spec"]["nodeName"] == node.name
            && condition(pod, "Ready")
    };
    let bare = |node: &&Node| !items(&pods).any(|pod| serves(node, pod));
    Ok(lab.ingress_nodes().filter(bare).map(|node| node.name.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Role;
    use crate::stack::fixture;

    #[test]
    fn the_service_with_fixed_ports_comes_before_the_gateway() {
        let (lab, identity) = fixture::document();
        let kinds: Vec<_> = manifests(&lab, &identity)
            .iter()
            .map(|document| document["kind"].as_str().unwrap().to_owned())
            .collect();
        let place = |kind: &str| kinds.iter().position(|found| found == kind).unwrap();
        assert!(place("CiliumGatewayClassConfig") < place("GatewayClass"));
        assert!(place("Service") < place("Gateway") && place("Gateway") < place("HTTPRoute"));
        let service = &manifests(&lab, &identity)[place("Service")];
        assert_eq!(service["metadata"]["name"], "cilium-gateway-lab");
        let pinned = |index: usize| service["spec"]["ports"][index]["nodePort"].as_u64().unwrap();
        assert_eq!([pinned(0), pinned(1)], [30080, 30443]);
    }

    #[test]
    fn the_application_stands_on_ingress_nodes_alone() {
        let spec = |lab: &Lab| deployment(lab)["spec"]["template"]["spec"].clone();
        let hosts = |lab: &Lab| {
            let required =
                &spec(lab)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
            required["nodeSelectorTerms"][0]["matchExpressions"][0].clone()
        };
        let (mut lab, _) = fixture::document();
        let expected = json!({ "key": HOSTNAME, "operator": "In", "values": ["k8s-worker1", "k8s-worker2"] });
        assert_eq!(hosts(&lab), expected);
        // Without workers the control planes take pods; they go on to do so when the lab gets one.
        lab.nodes.retain(|node| node.role != Role::Worker);
        lab.nodes.iter_mut().for_each(|node| node.schedulable = node.role == Role::ControlPlane);
        assert_eq!(hosts(&lab)["values"], json!(["k8s-master1", "k8s-master2", "k8s-master3"]));
    }

    #[test]
    fn the_file_is_yaml_and_secret() {
        let (lab, identity) = fixture::document();
        let file = file(&lab, &identity);
        assert!(file.secret && file.mode == 0o600);
        let text = String::from_utf8(file.content).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        assert_eq!(documents, manifests(&lab, &identity));
    }

    #[test]
    fn the_digest_follows_what_is_applied() {
        let (mut lab, identity) = fixture::document();
        let before = digest(&lab, &identity);
        lab.cluster.ports.http_node_port = 30081;
        assert_ne!(digest(&lab, &identity), before);
    }
}
