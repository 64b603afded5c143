//! Cilium's Gateway API: what its operator makes of classes, Gateways and routes.

use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::data::{Data, condition, set_condition, timestamp};
use super::images::{BUNDLE_VERSION, GATEWAY_DEFINITIONS, GATEWAY_GROUP};
use super::resources::DEFINITIONS;
use super::{objects, pods};
use crate::sim::guest::tls::Pair;

/// What the operator installs at its start, not Helm (facts/kubernetes-cilium.md §4.4).
pub const CILIUM_DEFINITIONS: [(&str, &str, bool, &str); 5] = [
    ("ciliumgatewayclassconfigs", "CiliumGatewayClassConfig", true, "v2alpha1"),
    ("ciliumenvoyconfigs", "CiliumEnvoyConfig", true, "v2"),
    ("ciliumnetworkpolicies", "CiliumNetworkPolicy", true, "v2"),
    ("ciliumendpoints", "CiliumEndpoint", true, "v2"),
    ("ciliumnodes", "CiliumNode", false, "v2"),
];
const CONTROLLER: &str = "io.cilium/gateway-controller";
/// What the operator found at its start; a restart looks again.
const FOUND: &str = "model-gateway-api";
/// The oldest bundle that Cilium 1.20 takes (facts/kubernetes-cilium.md §4.2).
const OLDEST_BUNDLE: [u32; 3] = [1, 6, 1];

const CLASSES: &str = "gatewayclasses.gateway.networking.k8s.io";
pub const GATEWAYS: &str = "gateways.gateway.networking.k8s.io";
pub const ROUTES: &str = "httproutes.gateway.networking.k8s.io";
const CLASS_CONFIGS: &str = "ciliumgatewayclassconfigs.cilium.io";
/// What the operator makes of a Gateway, for the agents and their Envoys.
pub const CONFIGS: &str = "ciliumenvoyconfigs.cilium.io";

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The operator's one look for what it needs; the answer stays until its next start.
pub fn operator_looks(data: &mut Data, now_ms: u64) -> Result<(), String> {
    let enabled = pods::setting(data, "enable-gateway-api") == "true"
        && pods::setting(data, "kube-proxy-replacement") == "true";
    let whole = GATEWAY_DEFINITIONS.iter().all(|(plural, _)| {
        let definition = data.get(DEFINITIONS, "", &format!("{plural}.{GATEWAY_GROUP}"));
        definition.is_some_and(|one| bundle(one) >= OLDEST_BUNDLE.to_vec())
    });
    let found = if enabled && whole { "found" } else { "Required GatewayAPI resources are not found" };
    let record = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": FOUND, "namespace": "kube-system" },
        "data": { "state": found },
    });
    objects::apply(data, record, now_ms).map(drop)
}

fn bundle(definition: &Value) -> Vec<u32> {
    let version =
        text(&definition["metadata"]["annotations"][BUNDLE_VERSION]).trim_start_matches('v').to_owned();
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// Returns what the operator logs about the definitions that it looked for.
pub fn operator_log(data: &Data) -> Vec<String> {
    let Some(found) = data.get("configmaps", "kube-system", FOUND) else { return Vec::new() };
    match text(&found["data"]["state"]) {
        "found" => vec!["level=info msg=\"Starting Gateway API\" subsys=gateway-controller".to_owned()],
        why => vec![format!(
            "level=error msg=\"{why}, please refer to docs for installation instructions\" subsys=gateway-api"
        )],
    }
}

/// Says whether a running operator has a Gateway controller.
pub fn operator_serves(data: &Data) -> bool {
    let running = data
        .list("pods", Some("kube-system"))
        .into_iter()
        .any(|pod| pod["metadata"]["labels"]["name"] == "cilium-operator" && condition(pod, "Ready"));
    running
        && data.get("configmaps", "kube-system", FOUND).is_some_and(|found| found["data"]["state"] == "found")
}

/// Says whether the controller has something to do.
pub fn would_change(data: &Data, now_ms: u64) -> bool {
    let mut scratch = data.clone();
    reconcile(&mut scratch, now_ms);
    // Numbers may have been drawn; only objects count.
    scratch.number_as(data);
    scratch != *data
}

/// Brings classes, Gateways with their Services, and routes to where the operator would.
pub fn reconcile(data: &mut Data, now_ms: u64) {
    if !operator_serves(data) {
        return;
    }
    let now = timestamp(now_ms);
    let all = |data: &Data, id: &str| data.list(id, None).into_iter().cloned().collect::<Vec<_>>();
    for mut class in
        all(data, CLASSES).into_iter().filter(|class| class["spec"]["controllerName"] == CONTROLLER)
    {
        let problem = class_problem(data, &class);
        let reason = if problem.is_some() { "InvalidParameters" } else { "Accepted" };
        let message = problem.clone().unwrap_or_else(|| "Valid GatewayClass".into());
        set_condition(&mut class, "Accepted", problem.is_none(), reason, &message, &now);
        data.store(CLASSES, class);
    }
    for gateway in all(data, GATEWAYS) {
        reconcile_gateway(data, gateway, now_ms, &now);
    }
    for route in all(data, ROUTES) {
        reconcile_route(data, route, &now);
    }
}

fn class_problem(data: &Data, class: &Value) -> Option<String> {
    let reference = class["spec"].get("parametersRef")?;
    let known = reference["group"] == "cilium.io" && reference["kind"] == "CiliumGatewayClassConfig";
    if !known {
        return Some("parametersRef must name a CiliumGatewayClassConfig of cilium.io".into());
    }
    let config = data.get(CLASS_CONFIGS, text(&reference["namespace"]), text(&reference["name"]));
    config.is_none().then(|| "the referenced CiliumGatewayClassConfig does not exist".into())
}

/// Returns the accepted class of ours that a Gateway names.
fn class_of<'a>(data: &'a Data, gateway: &Value) -> Option<&'a Value> {
    let class = data.get(CLASSES, "", text(&gateway["spec"]["gatewayClassName"]))?;
    (class["spec"]["controllerName"] == CONTROLLER && condition(class, "Accepted")).then_some(class)
}

fn reconcile_gateway(data: &mut Data, mut gateway: Value, now_ms: u64, now: &str) {
    let Some(class) = class_of(data, &gateway) else { return };
    let reference = &class["spec"]["parametersRef"];
    let config = data.get(CLASS_CONFIGS, text(&reference["namespace"]), text(&reference["name"]));
    let kind = config
        .and_then(|config| config["spec"]["service"]["type"].as_str())
        .unwrap_or("LoadBalancer")
        .to_owned();
    let service = service(&gateway, &kind);
    let stored = objects::apply(data, service, now_ms);
    // Where its definition is not installed yet, the next round makes it.
    let _ = objects::apply(data, config_for_envoy(&gateway), now_ms);
    let listeners: Vec<Value> =
        listeners(&gateway).map(|listener| listener_status(data, &gateway, listener, now)).collect();
    set_condition(&mut gateway, "Accepted", true, "Accepted", "Gateway successfully scheduled", now);
    match (&stored, kind.as_str()) {
        (Err(why), _) => set_condition(&mut gateway, "Programmed", false, "Invalid", why, now),
        (Ok(_), "NodePort") => {
            set_condition(
                &mut gateway,
                "Programmed",
                true,
                "Programmed",
                "Gateway successfully reconciled",
                now,
            );
            let addresses: Vec<Value> = data
                .list("nodes", None)
                .into_iter()
                .take(16)
                .map(
                    |node| json!({ "type": "IPAddress", "value": node["status"]["addresses"][0]["address"] }),
                )
                .collect();
            gateway["status"]["addresses"] = addresses.into();
        }
        (Ok(_), _) => set_condition(
            &mut gateway,
            "Programmed",
            false,
            "AddressNotAssigned",
            "Gateway waiting for address",
            now,
        ),
    }
    gateway["status"]["listeners"] = listeners.into();
    data.store(GATEWAYS, gateway);
}

pub fn listeners(gateway: &Value) -> impl Iterator<Item = &Value> {
    gateway["spec"]["listeners"].as_array().into_iter().flatten()
}

/// Returns the Service that the operator wants: its ports have no node ports (facts/kubernetes-cilium.md §4.4 b).
fn service(gateway: &Value, kind: &str) -> Value {
    let mut ports: Vec<u64> = listeners(gateway).filter_map(|listener| listener["port"].as_u64()).collect();
    ports.sort_unstable();
    ports.dedup();
    let port = |port: &u64| json!({ "name": format!("port-{port}"), "port": port, "protocol": "TCP" });
    let name = text(&gateway["metadata"]["name"]);
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": format!("cilium-gateway-{name}"), "namespace": gateway["metadata"]["namespace"],
            "labels": { "gateway.networking.k8s.io/gateway-name": name, "io.cilium.gateway/owning-gateway": name },
            "ownerReferences": [{
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "name": name,
                "uid": gateway["metadata"]["uid"], "controller": true,
            }],
        },
        "spec": { "type": kind, "ports": ports.iter().map(port).collect::<Vec<_>>() },
    })
}

fn config_for_envoy(gateway: &Value) -> Value {
    let name = text(&gateway["metadata"]["name"]);
    let service =
        json!({ "name": format!("cilium-gateway-{name}"), "namespace": gateway["metadata"]["namespace"] });
    json!({
        "apiVersion": "cilium.io/v2", "kind": "CiliumEnvoyConfig",
        "metadata": {
            "name": format!("cilium-gateway-{name}"), "namespace": gateway["metadata"]["namespace"],
            "ownerReferences": [{
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "name": name,
                "uid": gateway["metadata"]["uid"], "controller": true,
            }],
        },
        "spec": { "services": [service], "resources": [] },
    })
}

fn listener_status(data: &Data, gateway: &Value, listener: &Value, now: &str) -> Value {
    let problem = match text(&listener["protocol"]) {
        "HTTPS" => certificate(data, gateway, listener).err(),
        _ => None,
    };
    let mut status = json!({ "metadata": { "generation": gateway["metadata"]["generation"] } });
    let (reason, message) =
        problem.as_ref().map_or(("ResolvedRefs", ""), |why| ("InvalidCertificateRef", why.as_str()));
    set_condition(&mut status, "ResolvedRefs", problem.is_none(), reason, message, now);
    set_condition(&mut status, "Accepted", true, "Accepted", "Listener Accepted", now);
    set_condition(
        &mut status,
        "Programmed",
        problem.is_none(),
        if problem.is_none() { "Programmed" } else { "Invalid" },
        "",
        now,
    );
    json!({ "name": listener["name"], "attachedRoutes": 0, "supportedKinds": [{ "group": GATEWAY_GROUP, "kind": "HTTPRoute" }], "conditions": status["status"]["conditions"] })
}

/// Returns the certificate that a listener terminates TLS with.
pub fn certificate(data: &Data, gateway: &Value, listener: &Value) -> Result<Pair, String> {
    let references = listener["tls"]["certificateRefs"].as_array().filter(|all| all.len() == 1);
    let reference = &references.ok_or("exactly one certificateRef is allowed")?[0];
    let namespace = reference["namespace"].as_str().unwrap_or(text(&gateway["metadata"]["namespace"]));
    let name = text(&reference["name"]);
    let secret =
        data.get("secrets", namespace, name).ok_or_else(|| format!("secret {namespace}/{name} not found"))?;
    let field = |key: &str| {
        let bytes = STANDARD.decode(text(&secret["data"][key])).map_err(|error| error.to_string())?;
        String::from_utf8(bytes).map_err(|_| format!("{key} is not PEM"))
    };
    let pair = Pair { certificate: field("tls.crt")?, key: field("tls.key")? };
    pair.certified().map_err(|error| format!("secret {namespace}/{name}: {error}"))?;
    Ok(pair)
}

fn reconcile_route(data: &mut Data, mut route: Value, now: &str) {
    let namespace = text(&route["metadata"]["namespace"]).to_owned();
    let parents: Vec<Value> = route["spec"]["parentRefs"].as_array().cloned().unwrap_or_default();
    let mut statuses = Vec::new();
    for parent in &parents {
        let home = parent["namespace"].as_str().unwrap_or(&namespace);
        let Some(gateway) = data.get(GATEWAYS, home, text(&parent["name"])) else { continue };
        if class_of(data, gateway).is_none() {
            continue;
        }
        let attached = listeners(gateway).any(|listener| attaches(parent, listener, gateway, &namespace));
        let missing = backends(&route)
            .find(|backend| service_of(data, backend, &namespace).is_none())
            .map(|backend| text(&backend["name"]).to_owned());
        let old = route["status"]["parents"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|one| one["parentRef"] == *parent);
        let mut holder = json!({ "metadata": { "generation": route["metadata"]["generation"] }, "status": { "conditions": old.map(|old| old["conditions"].clone()).unwrap_or(json!([])) } });
        let reason = if attached { "Accepted" } else { "NoMatchingParent" };
        set_condition(
            &mut holder,
            "Accepted",
            attached,
            reason,
            if attached { "Accepted HTTPRoute" } else { "no listener takes this route" },
            now,
        );
        let message = missing
            .as_ref()
            .map_or("Service reference is valid".to_owned(), |name| format!("service {name} not found"));
        set_condition(
            &mut holder,
            "ResolvedRefs",
            missing.is_none(),
            if missing.is_none() { "ResolvedRefs" } else { "BackendNotFound" },
            &message,
            now,
        );
        statuses.push(json!({ "parentRef": parent, "controllerName": CONTROLLER, "conditions": holder["status"]["conditions"] }));
    }
    if !statuses.is_empty() {
        route["status"]["parents"] = statuses.into();
        data.store(ROUTES, route);
    }
}

/// Says whether a route's parent reference reaches a listener that allows it.
pub fn attaches(parent: &Value, listener: &Value, gateway: &Value, namespace: &str) -> bool {
    let section = parent.get("sectionName").is_none_or(|name| *name == listener["name"]);
    let port = parent.get("port").is_none_or(|port| *port == listener["port"]);
    let from = listener["allowedRoutes"]["namespaces"]["from"].as_str().unwrap_or("Same");
    section && port && (from == "All" || gateway["metadata"]["namespace"] == namespace)
}

pub fn backends(route: &Value) -> impl Iterator<Item = &Value> {
    let rules = route["spec"]["rules"].as_array().into_iter().flatten();
    rules.flat_map(|rule| rule["backendRefs"].as_array().into_iter().flatten())
}

pub fn service_of<'a>(data: &'a Data, backend: &Value, namespace: &str) -> Option<&'a Value> {
    let service =
        data.get("services", backend["namespace"].as_str().unwrap_or(namespace), text(&backend["name"]))?;
    let has = |port: &Value| port["port"] == backend["port"];
    service["spec"]["ports"].as_array()?.iter().any(has).then_some(service)
}

/// Returns the first address of a node, as other machines know it.
pub fn node_address(data: &Data, node: &str) -> Option<Ipv4Addr> {
    data.get("nodes", "", node)?["status"]["addresses"][0]["address"].as_str()?.parse().ok()
}
