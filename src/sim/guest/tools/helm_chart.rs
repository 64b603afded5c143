//! The Cilium chart: which values it knows, and the objects that they make (facts/kubernetes-cilium.md §4.1).

use serde_json::{Value, json};

use crate::sim::guest::kube::data::Data;
use crate::sim::guest::kube::images::cilium_image;
use crate::sim::guest::kube::init::workload;
use crate::sim::guest::kube::resources;

/// A chart file's identity.
pub struct Chart {
    pub name: String,
    pub version: String,
}

/// Top-level values of the chart.
const VALUES: &[&str] = &[
    "MTU",
    "affinity",
    "agent",
    "aksbyocni",
    "alibabacloud",
    "annotateK8sNode",
    "annotations",
    "apiRateLimit",
    "authentication",
    "autoDirectNodeRoutes",
    "azure",
    "bandwidthManager",
    "bgpControlPlane",
    "bpf",
    "certgen",
    "cgroup",
    "ciliumEndpointSlice",
    "cleanBpfState",
    "cleanState",
    "cluster",
    "clustermesh",
    "cni",
    "commonLabels",
    "conntrackGCInterval",
    "conntrackGCMaxInterval",
    "crdWaitTimeout",
    "customCalls",
    "daemon",
    "dashboards",
    "datapathMode",
    "debug",
    "devices",
    "directRoutingSkipUnreachable",
    "disableEndpointCRD",
    "dnsPolicy",
    "dnsProxy",
    "egressGateway",
    "enableCriticalPriorityClass",
    "enableIPv4BIGTCP",
    "enableIPv4Masquerade",
    "enableIPv6BIGTCP",
    "enableIPv6Masquerade",
    "enableInternalTrafficPolicy",
    "enableLBIPAM",
    "enableMasqueradeRouteSource",
    "enableNonDefaultDenyPolicies",
    "enableXTSocketFallback",
    "encryption",
    "endpointHealthChecking",
    "endpointLockdownOnMapOverflow",
    "endpointRoutes",
    "eni",
    "envoy",
    "envoyConfig",
    "etcd",
    "extraArgs",
    "extraConfig",
    "extraContainers",
    "extraEnv",
    "extraHostPathMounts",
    "extraInitContainers",
    "extraVolumeMounts",
    "extraVolumes",
    "forceDeviceDetection",
    "gatewayAPI",
    "gke",
    "healthChecking",
    "healthPort",
    "hostFirewall",
    "hubble",
    "identityAllocationMode",
    "identityChangeGracePeriod",
    "identityManagementMode",
    "image",
    "imagePullSecrets",
    "ingressController",
    "initResources",
    "installNoConntrackIptablesRules",
    "ipMasqAgent",
    "ipam",
    "ipv4",
    "ipv4NativeRoutingCIDR",
    "ipv6",
    "ipv6NativeRoutingCIDR",
    "k8s",
    "k8sClientExponentialBackoff",
    "k8sClientRateLimit",
    "k8sNetworkPolicy",
    "k8sServiceHost",
    "k8sServiceHostRef",
    "k8sServiceLookupConfigMapName",
    "k8sServiceLookupNamespace",
    "k8sServicePort",
    "keepDeprecatedLabels",
    "keepDeprecatedProbes",
    "kubeConfigPath",
    "kubeProxyReplacement",
    "kubeProxyReplacementHealthzBindAddr",
    "l2NeighDiscovery",
    "l2announcements",
    "l2podAnnouncements",
    "l7Proxy",
    "livenessProbe",
    "loadBalancer",
    "localRedirectPolicies",
    "localRedirectPolicy",
    "logSystemLoad",
    "maglev",
    "monitor",
    "name",
    "namespaceOverride",
    "nat",
    "nat46x64Gateway",
    "nativeRoutingCIDRFromClusterPool",
    "nodeIPAM",
    "nodePort",
    "nodeSelector",
    "nodeSelectorLabels",
    "nodeinit",
    "operator",
    "pmtuDiscovery",
    "podAnnotations",
    "podLabels",
    "podSecurityContext",
    "policyCIDRMatchMode",
    "policyEnforcementMode",
    "pprof",
    "preflight",
    "priorityClassName",
    "prometheus",
    "rbac",
    "readinessProbe",
    "resourceQuotas",
    "resources",
    "rollOutCiliumPods",
    "routingMode",
    "scheduling",
    "sctp",
    "securityContext",
    "serviceAccounts",
    "serviceNoBackendResponse",
    "sleepAfterInit",
    "socketLB",
    "standaloneDnsProxy",
    "startupProbe",
    "svcSourceRangeCheck",
    "synchronizeK8sNodes",
    "sysctlfix",
    "terminationGracePeriodSeconds",
    "tls",
    "tolerations",
    "tunnelPort",
    "tunnelProtocol",
    "tunnelSourcePortRange",
    "underlayProtocol",
    "updateStrategy",
    "upgradeCompatibility",
    "vtep",
    "waitForKubeProxy",
    "wellKnownIdentities",
];

const GATEWAY_KEYS: &[&str] = &[
    "enableAlpn",
    "enableAppProtocol",
    "enableProxyProtocol",
    "enabled",
    "externalTrafficPolicy",
    "gatewayClass",
    "hostNetwork",
    "secretsNamespace",
    "useRemoteAddress",
    "xffNumTrustedHops",
];

/// Refuses what the chart would, or would silently ignore.
pub fn check(chart: &Chart, values: &Value) -> Result<(), String> {
    if chart.name != "cilium" {
        return Err(format!("the model knows the chart of cilium, not of {}", chart.name));
    }
    let unknown = |value: &Value, known: &[&str]| {
        value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.clone())
            .find(|key| !known.contains(&key.as_str()))
    };
    if let Some(key) = unknown(values, VALUES) {
        return Err(format!(
            "values don't meet the specifications of the schema(s) in the following chart(s):\ncilium:\n- (root): Additional property {key} is not allowed"
        ));
    }
    if let Some(key) = unknown(&values["gatewayAPI"], GATEWAY_KEYS) {
        return Err(format!(
            "values don't meet the specifications of the schema(s) in the following chart(s):\ncilium:\n- gatewayAPI: Additional property {key} is not allowed"
        ));
    }
    let hubble = &values["hubble"];
    if hubble["ui"]["enabled"] == true && hubble["relay"]["enabled"] != true {
        return Err("execution error at (cilium/templates/validate.yaml): Hubble UI requires .Values.hubble.relay.enabled=true".into());
    }
    Ok(())
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Renders the chart's objects.
pub fn render(chart: &Chart, values: &Value, namespace: &str, data: &Data) -> Vec<Value> {
    let mut objects = vec![settings(chart, values, namespace)];
    let everywhere = json!([{ "operator": "Exists" }]);
    let version = &chart.version;
    let rolled = |flag: &Value| {
        if *flag == true {
            json!({ "cilium.io/cilium-configmap-checksum": settings(chart, values, namespace)["data"].to_string() })
        } else {
            json!({})
        }
    };
    let pod = |labels: Value, annotations: Value, host: bool, containers: Value, tolerations: &Value| {
        json!({
            "metadata": { "labels": labels, "annotations": annotations },
            "spec": { "hostNetwork": host, "tolerations": tolerations, "containers": containers },
        })
    };
    let daemon = |name: &str, container: &str, annotations: Value| {
        let labels = json!({ "k8s-app": name });
        let containers = json!([{ "name": container, "image": cilium_image(name, version) }]);
        workload(
            "DaemonSet",
            name,
            json!({ "selector": { "matchLabels": labels.clone() }, "template": pod(labels, annotations, true, containers, &everywhere) }),
        )
    };
    objects.push(daemon("cilium", "cilium-agent", rolled(&values["rollOutCiliumPods"])));
    if values["envoy"]["enabled"] != false {
        objects.push(daemon("cilium-envoy", "cilium-envoy", json!({})));
    }
    let replicas = values["operator"]["replicas"].as_u64().unwrap_or(2);
    let labels = json!({ "name": "cilium-operator", "io.cilium/app": "operator" });
    let containers =
        json!([{ "name": "cilium-operator", "image": cilium_image("operator-generic", version) }]);
    let mut annotations = rolled(&values["operator"]["rollOutPods"]);
    for (key, value) in values["operator"]["podAnnotations"].as_object().into_iter().flatten() {
        annotations[key] = value.clone();
    }
    let operator = pod(labels.clone(), annotations, true, containers, &everywhere);
    objects.push(workload(
        "Deployment",
        "cilium-operator",
        json!({ "replicas": replicas, "selector": { "matchLabels": labels }, "template": operator }),
    ));
    for (name, images) in [("relay", &["hubble-relay"][..]), ("ui", &["hubble-ui", "hubble-ui-backend"][..])]
    {
        if values["hubble"][name]["enabled"] == true {
            let labels = json!({ "k8s-app": format!("hubble-{name}") });
            let containers: Vec<Value> = images
                .iter()
                .map(|image| json!({ "name": image, "image": cilium_image(image, version) }))
                .collect();
            let template = pod(labels.clone(), json!({}), false, containers.into(), &json!([]));
            objects.push(workload(
                "Deployment",
                &format!("hubble-{name}"),
                json!({ "replicas": 1, "selector": { "matchLabels": labels.clone() }, "template": template }),
            ));
            objects.push(json!({
                "apiVersion": "v1", "kind": "Service", "metadata": { "name": format!("hubble-{name}"), "namespace": namespace },
                "spec": { "selector": labels, "ports": [{ "name": "main", "port": 80 }] },
            }));
        }
    }
    if values["gatewayAPI"]["enabled"] == true {
        objects.insert(
            0,
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "cilium-secrets" } }),
        );
        objects.extend(gateway_class(values, data));
    }
    for object in &mut objects {
        if object["kind"] != "Namespace" && object["kind"] != "GatewayClass" {
            object["metadata"]["namespace"] = namespace.into();
        }
        object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm".into();
    }
    objects
}

/// Returns the chart's own class: wished for, or `auto` with the definition there at render time.
fn gateway_class(values: &Value, data: &Data) -> Option<Value> {
    let known = resources::by_manifest(data, "gateway.networking.k8s.io/v1", "GatewayClass").is_some();
    let wish = word(&values["gatewayAPI"]["gatewayClass"]["create"]);
    (wish == "true" || wish != "false" && known).then(|| json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": { "name": "cilium" },
        "spec": { "controllerName": "io.cilium/gateway-controller" },
    }))
}

/// Returns the agents' ConfigMap.
fn settings(chart: &Chart, values: &Value, namespace: &str) -> Value {
    let or = |value: &Value, default: &str| if value.is_null() { default.to_owned() } else { word(value) };
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "cilium-config", "namespace": namespace },
        "data": {
            "cilium-version": chart.version,
            "kube-proxy-replacement": or(&values["kubeProxyReplacement"], "false"),
            "k8s-service-host": word(&values["k8sServiceHost"]),
            "k8s-service-port": or(&values["k8sServicePort"], "6443"),
            "k8s-api-server-urls": word(&values["k8s"]["apiServerURLs"]),
            "routing-mode": or(&values["routingMode"], "tunnel"),
            "auto-direct-node-routes": or(&values["autoDirectNodeRoutes"], "false"),
            "ipv4-native-routing-cidr": word(&values["ipv4NativeRoutingCIDR"]),
            "ipam": or(&values["ipam"]["mode"], "cluster-pool"),
            "enable-bpf-masquerade": or(&values["bpf"]["masquerade"], "false"),
            "enable-ipv4-masquerade": or(&values["enableIPv4Masquerade"], "true"),
            "enable-l7-proxy": or(&values["l7Proxy"], "true"),
            "enable-gateway-api": or(&values["gatewayAPI"]["enabled"], "false"),
            "enable-gateway-api-proxy-protocol": or(&values["gatewayAPI"]["enableProxyProtocol"], "false"),
            "enable-hubble": or(&values["hubble"]["enabled"], "true"),
        },
    })
}

/// Removes a rendered object; namespaces stay, as Helm leaves what others may use.
pub fn remove(data: &mut Data, object: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(resource) = resources::by_manifest(data, &text(&object["apiVersion"]), &text(&object["kind"]))
    {
        let namespace =
            if resource.namespaced { text(&object["metadata"]["namespace"]) } else { String::new() };
        data.remove(&resource.id(), &namespace, &text(&object["metadata"]["name"]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_the_chart_does_not_know_are_refused() {
        let chart = Chart { name: "cilium".into(), version: "1.20.3".into() };
        assert!(
            check(&chart, &json!({"kubeProxyReplacment": true})).unwrap_err().contains("kubeProxyReplacment")
        );
        assert!(
            check(&chart, &json!({"gatewayAPI": {"service": {"type": "NodePort"}}}))
                .unwrap_err()
                .contains("service")
        );
        assert!(check(&chart, &json!({"hubble": {"ui": {"enabled": true}}})).unwrap_err().contains("relay"));
        assert_eq!(check(&chart, &json!({"routingMode": "native"})), Ok(()));
    }
}
