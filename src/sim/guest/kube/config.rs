//! kubeadm's configuration, v1beta4, read strictly (facts/kubernetes-cilium.md §1.1).

use std::net::Ipv4Addr;

use serde::Deserialize;
use serde_json::Value;

use crate::sim::guest::yaml;

const KUBEADM: &str = "kubeadm.k8s.io/v1beta4";

/// Every document of a kubeadm file.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    pub init: Option<InitConfiguration>,
    pub cluster: Option<ClusterConfiguration>,
    pub join: Option<JoinConfiguration>,
    pub kubelet: Option<Value>,
    /// The ClusterConfiguration as written, for the cluster's ConfigMap.
    pub cluster_document: Value,
}

macro_rules! strict {
    ($($(#[doc = $doc:literal])* $name:ident { $($(#[$attribute:meta])* $field:ident: $kind:ty,)* })+) => {
        $($(#[doc = $doc])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
        pub struct $name { $($(#[$attribute])* pub $field: $kind,)* })+
    };
}

strict! {
    InitConfiguration {
        api_version: String, kind: String,
        bootstrap_tokens: Vec<BootstrapToken>,
        node_registration: NodeRegistration,
        #[serde(rename = "localAPIEndpoint")]
        local_api_endpoint: LocalApiEndpoint,
        certificate_key: Option<String>,
        skip_phases: Vec<String>,
        patches: Option<Value>,
        timeouts: Timeouts,
        dry_run: bool,
    }
    BootstrapToken {
        token: String, ttl: Option<String>, expires: Option<String>, description: Option<String>,
        usages: Vec<String>, groups: Vec<String>,
    }
    NodeRegistration {
        name: Option<String>,
        cri_socket: Option<String>,
        taints: Option<Vec<Value>>,
        kubelet_extra_args: Vec<Argument>,
        ignore_preflight_errors: Vec<String>,
        image_pull_policy: Option<String>,
        image_pull_serial: Option<bool>,
    }
    Argument { name: String, value: String, }
    LocalApiEndpoint { advertise_address: Option<Ipv4Addr>, bind_port: Option<u16>, }
    Timeouts {
        control_plane_component_health_check: Option<String>,
        kubelet_health_check: Option<String>,
        #[serde(rename = "kubernetesAPICall")]
        kubernetes_api_call: Option<String>,
        #[serde(rename = "etcdAPICall")]
        etcd_api_call: Option<String>,
        tls_bootstrap: Option<String>,
        discovery: Option<String>,
        upgrade_manifests: Option<String>,
    }
    ClusterConfiguration {
        api_version: String, kind: String,
        kubernetes_version: Option<String>,
        cluster_name: Option<String>,
        control_plane_endpoint: Option<String>,
        networking: Networking,
        api_server: ApiServer,
        controller_manager: Component,
        scheduler: Component,
        etcd: Option<Value>,
        dns: Dns,
        proxy: Proxy,
        certificates_dir: Option<String>,
        image_repository: Option<String>,
        feature_gates: std::collections::BTreeMap<String, bool>,
        encryption_algorithm: Option<String>,
        certificate_validity_period: Option<String>,
        ca_certificate_validity_period: Option<String>,
    }
    Networking { pod_subnet: Option<ipnet::Ipv4Net>, service_subnet: Option<ipnet::Ipv4Net>, dns_domain: Option<String>, }
    ApiServer {
        #[serde(rename = "certSANs")]
        cert_sans: Vec<String>,
        extra_args: Vec<Argument>, extra_volumes: Vec<Value>, extra_envs: Vec<Value>,
    }
    Component { extra_args: Vec<Argument>, extra_volumes: Vec<Value>, extra_envs: Vec<Value>, }
    Dns { disabled: bool, image_repository: Option<String>, image_tag: Option<String>, }
    Proxy { disabled: bool, }
    JoinConfiguration {
        api_version: String, kind: String,
        node_registration: NodeRegistration,
        ca_cert_path: Option<String>,
        discovery: Discovery,
        control_plane: Option<JoinControlPlane>,
        skip_phases: Vec<String>,
        patches: Option<Value>,
        timeouts: Timeouts,
        dry_run: bool,
    }
    Discovery { bootstrap_token: Option<DiscoveryToken>, file: Option<Value>, tls_bootstrap_token: Option<String>, }
    DiscoveryToken {
        token: String,
        api_server_endpoint: String,
        ca_cert_hashes: Vec<String>,
        #[serde(rename = "unsafeSkipCAVerification")]
        unsafe_skip_ca_verification: bool,
    }
    JoinControlPlane {
        #[serde(rename = "localAPIEndpoint")]
        local_api_endpoint: LocalApiEndpoint,
        certificate_key: Option<String>,
    }
}

/// Top-level keys of a KubeletConfiguration that the model's kubelet knows.
const KUBELET_KEYS: &[&str] = &[
    "apiVersion",
    "kind",
    "authentication",
    "authorization",
    "cgroupDriver",
    "clusterDNS",
    "clusterDomain",
    "containerLogMaxFiles",
    "containerLogMaxSize",
    "containerRuntimeEndpoint",
    "cpuManagerPolicy",
    "enforceNodeAllocatable",
    "evictionHard",
    "evictionSoft",
    "failSwapOn",
    "featureGates",
    "fileCheckFrequency",
    "healthzBindAddress",
    "healthzPort",
    "httpCheckFrequency",
    "imageGCHighThresholdPercent",
    "imageGCLowThresholdPercent",
    "imageMaximumGCAge",
    "imageMinimumGCAge",
    "kubeReserved",
    "logging",
    "maxPods",
    "memorySwap",
    "nodeStatusReportFrequency",
    "nodeStatusUpdateFrequency",
    "podPidsLimit",
    "resolvConf",
    "rotateCertificates",
    "runtimeRequestTimeout",
    "serializeImagePulls",
    "serverTLSBootstrap",
    "shutdownGracePeriod",
    "shutdownGracePeriodCriticalPods",
    "staticPodPath",
    "streamingConnectionIdleTimeout",
    "syncFrequency",
    "systemReserved",
    "tlsMinVersion",
    "volumeStatsAggPeriod",
];

impl Documents {
    /// Reads a kubeadm file; the error is kubeadm's, with the field's name.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut all = Self::default();
        for document in
            yaml::documents(text).map_err(|why| format!("error converting YAML to JSON: {why}"))?
        {
            all.take(document)?;
        }
        Ok(all)
    }

    fn take(&mut self, document: Value) -> Result<(), String> {
        let (version, kind) = (document["apiVersion"].clone(), document["kind"].clone());
        match (version.as_str().unwrap_or_default(), kind.as_str().unwrap_or_default()) {
            (KUBEADM, "InitConfiguration") => self.init = Some(strict(document)?),
            (KUBEADM, "ClusterConfiguration") => {
                self.cluster_document = document.clone();
                self.cluster = Some(strict(document)?);
            }
            (KUBEADM, "JoinConfiguration") => self.join = Some(strict(document)?),
            ("kubelet.config.k8s.io/v1beta1", "KubeletConfiguration") => {
                let keys = document.as_object().into_iter().flatten().map(|(key, _)| key);
                if let Some(unknown) = keys.into_iter().find(|key| !KUBELET_KEYS.contains(&key.as_str())) {
                    return Err(decoding(&format!("unknown field \"{unknown}\"")));
                }
                self.kubelet = Some(document);
            }
            ("kubeproxy.config.k8s.io/v1alpha1", "KubeProxyConfiguration") => {}
            (version, kind) => {
                return Err(format!(
                    "no kind \"{kind}\" is registered for version \"{version}\" in scheme \"kubeadm\""
                ));
            }
        }
        Ok(())
    }

    /// Checks the values that kubeadm validates beyond their form.
    pub fn validate(&self) -> Result<(), String> {
        let mut problems = Vec::new();
        for token in self.init.iter().flat_map(|init| &init.bootstrap_tokens) {
            if !is_token(&token.token) {
                problems.push("bootstrapTokens: Invalid value: the bootstrap token is not of the form [a-z0-9]{6}.[a-z0-9]{16}".into());
            }
        }
        if let Some(cluster) = &self.cluster {
            problems.extend(cluster.problems());
        }
        if let Some(join) = &self.join {
            problems.extend(join.problems());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
    }
}

impl ClusterConfiguration {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(endpoint) =
            self.control_plane_endpoint.as_deref().filter(|endpoint| split_endpoint(endpoint).is_none())
        {
            problems
                .push(format!("controlPlaneEndpoint: Invalid value: \"{endpoint}\": invalid host or port"));
        }
        let known = ["RSA-2048", "RSA-3072", "RSA-4096", "ECDSA-P256", "ECDSA-P384"];
        if let Some(other) = self.encryption_algorithm.as_deref().filter(|name| !known.contains(name)) {
            problems.push(format!("encryptionAlgorithm: Invalid value: \"{other}\""));
        }
        if let Some(gate) = self.feature_gates.keys().next() {
            problems.push(format!("featureGates: Invalid value: \"{gate}\": unrecognized feature gate"));
        }
        let (pods, services) = (self.networking.pod_subnet, self.networking.service_subnet);
        if let (Some(pods), Some(services)) = (pods, services)
            && (pods.contains(&services) || services.contains(&pods))
        {
            problems.push(format!("networking: podSubnet {pods} and serviceSubnet {services} overlap"));
        }
        problems
    }
}

impl JoinConfiguration {
    fn problems(&self) -> Vec<String> {
        let Some(token) = &self.discovery.bootstrap_token else {
            return vec!["discovery: Invalid value: \"\": bootstrapToken or file must be set".into()];
        };
        let mut problems = Vec::new();
        if !is_token(&token.token) {
            problems
                .push("discovery.bootstrapToken.token: Invalid value: the bootstrap token is invalid".into());
        }
        if split_endpoint(&token.api_server_endpoint).is_none() {
            problems.push(
                "discovery.bootstrapToken.apiServerEndpoint: Invalid value: invalid host or port".into(),
            );
        }
        if token.ca_cert_hashes.is_empty() && !token.unsafe_skip_ca_verification {
            problems.push("discovery.bootstrapToken: using token-based discovery without caCertHashes can be unsafe. Set unsafeSkipCAVerification to continue".into());
        }
        problems
    }
}

/// Splits `host:port`.
pub fn split_endpoint(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    (!host.is_empty()).then_some((host, port.parse().ok()?))
}

fn is_token(token: &str) -> bool {
    let plain = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
    };
    token.split_once('.').is_some_and(|(id, secret)| plain(id, 6) && plain(secret, 16))
}

fn strict<T: serde::de::DeserializeOwned>(document: Value) -> Result<T, String> {
    serde_json::from_value(document).map_err(|error| {
        let text = error.to_string();
        let field = text.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
        decoding(&field.map_or(text.clone(), |field| format!("unknown field \"{field}\"")))
    })
}

fn decoding(why: &str) -> String {
    format!("strict decoding error: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_is_named() {
        let read = |text: &str| Documents::read(text).unwrap_err();
        let old = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\napiServer: {timeoutForControlPlane: 4m}\n";
        assert!(read(old).contains("unknown field \"timeoutForControlPlane\""));
        assert!(read("apiVersion: kubeadm.k8s.io/v1beta3\nkind: InitConfiguration\n").contains("v1beta3"));
        let map = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nnodeRegistration: {kubeletExtraArgs: {node-ip: 10.0.0.1}}\n";
        assert!(read(map).contains("invalid type"), "arguments are lists since v1beta4");
    }

    #[test]
    fn a_join_needs_a_hash_or_says_that_it_does_not_care() {
        let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery:\n  bootstrapToken: {token: abcdef.0123456789abcdef, apiServerEndpoint: 'a:6443'}\n";
        assert!(Documents::read(text).unwrap().validate().unwrap_err().contains("caCertHashes"));
    }
}
