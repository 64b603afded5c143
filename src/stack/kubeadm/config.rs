//! kubeadm's configuration files: the fields of its API v1beta4 that a lab uses, as types, and what stands in them.
//!
//! Names and meaning are kubeadm's own (facts/kubernetes-cilium.md §1.2, §1.4). A field that is not here cannot be
//! written; that kubeadm knows those that are is held to a schema by `tests/programs.rs`.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};

use crate::lab::{Lab, Node, Role};
use crate::stack::identity::Identity;

const API_VERSION: &str = "kubeadm.k8s.io/v1beta4";
const KUBELET_API_VERSION: &str = "kubelet.config.k8s.io/v1beta1";
const CRI_SOCKET: &str = "unix:///run/containerd/containerd.sock";
const CONTROL_PLANE_TAINT: &str = "node-role.kubernetes.io/control-plane";
const TOKEN_GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";
const TOKEN_LIFE: &str = "24h0m0s";
/// Five years, so that a lab that was put away for one still starts. kubeadm's own certificates last a year; the price
/// is that a key that leaks from a lab is good for longer (facts/kubernetes-cilium.md §1.2).
const CERTIFICATE_LIFE: &str = "43800h0m0s";
/// The domain of the cluster's own names, such as those of Services.
pub const CLUSTER_DOMAIN: &str = "cluster.local";
/// kubeadm waits twice at most on its way, for the kubelet and for the components: each may take two fifths of the limit,
/// and the rest is for its work.
const HEALTH_CHECK_SHARE: (u32, u32) = (2, 5);

/// What a document is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TypeMeta {
    api_version: &'static str,
    kind: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InitConfiguration<'a> {
    #[serde(flatten)]
    meta: TypeMeta,
    bootstrap_tokens: [BootstrapToken<'a>; 1],
    #[serde(rename = "localAPIEndpoint")]
    local_api_endpoint: ApiEndpoint,
    node_registration: NodeRegistration<'a>,
    timeouts: Timeouts,
}

#[derive(Serialize)]
struct BootstrapToken<'a> {
    #[serde(serialize_with = "exposed")]
    token: &'a SecretString,
    ttl: &'static str,
    description: String,
    usages: [&'static str; 2],
    groups: [&'static str; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterConfiguration<'a> {
    #[serde(flatten)]
    meta: TypeMeta,
    cluster_name: &'a str,
    kubernetes_version: String,
    control_plane_endpoint: String,
    encryption_algorithm: &'static str,
    certificate_validity_period: &'static str,
    networking: Networking,
    api_server: ApiServer,
    proxy: Proxy,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Networking {
    pod_subnet: Ipv4Net,
    service_subnet: Ipv4Net,
    dns_domain: &'static str,
}

#[derive(Serialize)]
struct ApiServer {
    #[serde(rename = "certSANs")]
    cert_sans: Vec<String>,
}

/// kube-proxy: Cilium takes its place.
#[derive(Serialize)]
struct Proxy {
    disabled: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KubeletConfiguration {
    #[serde(flatten)]
    meta: TypeMeta,
    cgroup_driver: &'static str,
    rotate_certificates: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JoinConfiguration<'a> {
    #[serde(flatten)]
    meta: TypeMeta,
    discovery: Discovery<'a>,
    node_registration: NodeRegistration<'a>,
    timeouts: Timeouts,
    /// Of a control plane; its presence makes the node one.
    #[serde(skip_serializing_if = "Option::is_none")]
    control_plane: Option<JoinControlPlane>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Discovery<'a> {
    bootstrap_token: BootstrapTokenDiscovery<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BootstrapTokenDiscovery<'a> {
    #[serde(serialize_with = "exposed")]
    token: &'a SecretString,
    api_server_endpoint: String,
    /// `sha256:…` of the authorities' public keys that are believed.
    ca_cert_hashes: [String; 1],
}

#[derive(Serialize)]
struct JoinControlPlane {
    #[serde(rename = "localAPIEndpoint")]
    local_api_endpoint: ApiEndpoint,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiEndpoint {
    advertise_address: Ipv4Addr,
    bind_port: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeRegistration<'a> {
    name: &'a str,
    cri_socket: &'static str,
    kubelet_extra_args: [ExtraArg; 1],
    /// None leaves kubeadm's own; an empty list is no taint at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    taints: Option<Vec<Taint>>,
}

#[derive(Serialize)]
struct ExtraArg {
    name: &'static str,
    value: Ipv4Addr,
}

#[derive(Serialize)]
struct Taint {
    key: &'static str,
    effect: &'static str,
}

/// How long kubeadm waits for what.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Timeouts {
    control_plane_component_health_check: String,
    pub(super) kubelet_health_check: String,
}

fn meta(kind: &'static str) -> TypeMeta {
    TypeMeta { api_version: API_VERSION, kind }
}

fn exposed<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

/// Returns the file that initialises the cluster on this control plane.
pub(super) fn init_file(lab: &Lab, identity: &Identity, node: &Node) -> String {
    let init = InitConfiguration {
        meta: meta("InitConfiguration"),
        bootstrap_tokens: [BootstrapToken {
            token: &identity.token,
            ttl: TOKEN_LIFE,
            description: format!("fusionlab {}", lab.name),
            usages: ["signing", "authentication"],
            groups: [TOKEN_GROUP],
        }],
        local_api_endpoint: local_endpoint(lab, node),
        node_registration: registration(node),
        timeouts: timeouts(lab.limits.kubeadm_init),
    };
    let kubelet = KubeletConfiguration {
        meta: TypeMeta { api_version: KUBELET_API_VERSION, kind: "KubeletConfiguration" },
        cgroup_driver: "systemd",
        rotate_certificates: true,
    };
    [document(&init), document(&cluster(lab)), document(&kubelet)].concat()
}

/// Returns the file by which this member joins.
pub(super) fn join_file(lab: &Lab, identity: &Identity, node: &Node) -> String {
    let control_plane = node.role == Role::ControlPlane;
    let join = JoinConfiguration {
        meta: meta("JoinConfiguration"),
        discovery: Discovery {
            bootstrap_token: BootstrapTokenDiscovery {
                token: &identity.token,
                api_server_endpoint: lab.control_plane_endpoint(),
                ca_cert_hashes: [identity.ca_hash()],
            },
        },
        node_registration: registration(node),
        timeouts: timeouts(lab.limits.kubeadm_join),
        control_plane: control_plane
            .then(|| JoinControlPlane { local_api_endpoint: local_endpoint(lab, node) }),
    };
    document(&join)
}

/// Returns the names and addresses that the API server's certificate must hold besides kubeadm's own:
/// both VIPs, every gateway and control plane, and what the lab file adds (facts/kubernetes-cilium.md §1.2).
pub fn certificate_names(lab: &Lab) -> Vec<String> {
    let mut names = vec![
        lab.cluster.api_name.clone(),
        lab.lan.vip.to_string(),
        lab.internal.vip.to_string(),
        "127.0.0.1".to_owned(),
    ];
    names.extend(lab.control_planes().chain(lab.gateways()).map(|node| node.address().to_string()));
    names.extend(lab.cluster.api_names.iter().filter(|name| **name != lab.cluster.api_name).cloned());
    names
}

fn cluster(lab: &Lab) -> ClusterConfiguration<'_> {
    ClusterConfiguration {
        meta: meta("ClusterConfiguration"),
        cluster_name: &lab.name,
        kubernetes_version: format!("v{}", lab.versions.kubernetes),
        control_plane_endpoint: lab.control_plane_endpoint(),
        encryption_algorithm: "ECDSA-P256",
        certificate_validity_period: CERTIFICATE_LIFE,
        networking: Networking {
            pod_subnet: lab.cluster.pods,
            service_subnet: lab.cluster.services,
            dns_domain: CLUSTER_DOMAIN,
        },
        api_server: ApiServer { cert_sans: certificate_names(lab) },
        proxy: Proxy { disabled: true },
    }
}

fn local_endpoint(lab: &Lab, node: &Node) -> ApiEndpoint {
    ApiEndpoint { advertise_address: node.address(), bind_port: lab.cluster.ports.api }
}

/// The node's name and address are said, not guessed: the kubelet would take the default route's card.
fn registration(node: &Node) -> NodeRegistration<'_> {
    let taint = Taint { key: CONTROL_PLANE_TAINT, effect: "NoSchedule" };
    let taints = if node.schedulable { Vec::new() } else { vec![taint] };
    NodeRegistration {
        name: &node.name,
        cri_socket: CRI_SOCKET,
        kubelet_extra_args: [ExtraArg { name: "node-ip", value: node.address() }],
        taints: (node.role == Role::ControlPlane).then_some(taints),
    }
}

/// kubeadm's own health checks end before ours, so that its message is the one the user sees.
pub(super) fn timeouts(limit: Duration) -> Timeouts {
    let (part, whole) = HEALTH_CHECK_SHARE;
    let check = format!("{}s", (limit * part / whole).as_secs());
    Timeouts { control_plane_component_health_check: check.clone(), kubelet_health_check: check }
}

/// Writes a document as YAML that is JSON as well.
fn document(document: &impl Serialize) -> String {
    let json = serde_json::to_string_pretty(document).expect("a document is plain data");
    format!("---\n{json}\n")
}
