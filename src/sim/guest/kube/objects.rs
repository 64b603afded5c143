//! How the API server lets objects change: admission, defaults, allocation of addresses and node ports.

use serde_json::{Map, Value, json};

use super::data::{Data, set_condition, timestamp};
use super::resources::{self, DEFINITIONS, Resource};

/// The default `service-node-port-range`; the first part is left to who names a port (facts/kubernetes-cilium.md §4.4 d).
const NODE_PORTS: std::ops::RangeInclusive<u64> = 30_000..=32_767;
const FIRST_AUTOMATIC: u64 = 30_086;

/// What an apply did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    Created,
    Changed,
    Unchanged,
}

/// Applies a manifest as server-side apply does: maps merge, lists are replaced.
pub fn apply(data: &mut Data, manifest: Value, now_ms: u64) -> Result<(Resource, Applied), String> {
    let (api_version, kind) = (text(&manifest["apiVersion"]), text(&manifest["kind"]));
    let resource = resources::by_manifest(data, api_version, kind).ok_or_else(|| {
        format!(
            "no matches for kind \"{kind}\" in version \"{api_version}\"\nensure CRDs are installed first"
        )
    })?;
    let name = text(&manifest["metadata"]["name"]).to_owned();
    if name.is_empty() {
        return Err(format!("{kind}: metadata.name: Required value: name or generateName is required"));
    }
    let namespace = if resource.namespaced { namespace_of(&manifest) } else { String::new() };
    if resource.namespaced && data.get("namespaces", "", &namespace).is_none() {
        return Err(format!("namespaces \"{namespace}\" not found"));
    }
    let old = data.get(&resource.id(), &namespace, &name).cloned();
    let mut new = old.clone().unwrap_or_else(|| json!({}));
    merge(&mut new, &manifest);
    if resource.namespaced {
        new["metadata"]["namespace"] = namespace.clone().into();
    }
    check(&resource, &new)?;
    if resource.id() == "services" {
        allocate(data, &mut new, old.as_ref())?;
    }
    let applied = match &old {
        None => Applied::Created,
        Some(old) if *old == new => return Ok((resource, Applied::Unchanged)),
        Some(_) => Applied::Changed,
    };
    stamp(data, &mut new, old.as_ref(), now_ms);
    if resource.id() == DEFINITIONS {
        let now = timestamp(now_ms);
        set_condition(&mut new, "NamesAccepted", true, "NoConflicts", "no conflicts found", &now);
        set_condition(
            &mut new,
            "Established",
            true,
            "InitialNamesAccepted",
            "the initial names have been accepted",
            &now,
        );
    }
    data.store(&resource.id(), new);
    Ok((resource, applied))
}

fn namespace_of(manifest: &Value) -> String {
    manifest["metadata"]["namespace"].as_str().unwrap_or("default").to_owned()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Gives identity and counts generations: they change with the specification, not with status or labels.
fn stamp(data: &mut Data, new: &mut Value, old: Option<&Value>, now_ms: u64) {
    let number = data.number();
    let metadata = &mut new["metadata"];
    match old {
        None => {
            metadata["uid"] =
                format!("{number:08x}-0000-4000-8000-{:012x}", now_ms & 0xffff_ffff_ffff).into();
            metadata["creationTimestamp"] = timestamp(now_ms).into();
            metadata["generation"] = 1.into();
        }
        Some(old) if old["spec"] != new["spec"] => {
            let generation = old["metadata"]["generation"].as_u64().unwrap_or(1) + 1;
            new["metadata"]["generation"] = generation.into();
        }
        Some(_) => {}
    }
    new["metadata"]["resourceVersion"] = number.to_string().into();
}

/// Merges as a JSON merge patch does: null removes.
pub fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Some(map) = into.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            map.shift_remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Refuses what the API server's validation, or a definition's schema, would.
fn check(resource: &Resource, object: &Value) -> Result<(), String> {
    let spec = &object["spec"];
    let invalid = |what: &str| {
        Err(format!("{} \"{}\" is invalid: {what}", resource.kind, text(&object["metadata"]["name"])))
    };
    match resource.id().as_str() {
        "secrets" if object["type"] == "kubernetes.io/tls" => {
            let has = |key: &str| object["data"][key].is_string() || object["stringData"][key].is_string();
            if has("tls.crt") && has("tls.key") {
                Ok(())
            } else {
                invalid("data[tls.crt], data[tls.key]: Required value")
            }
        }
        "deployments.apps" | "daemonsets.apps" => {
            let wanted = spec["selector"]["matchLabels"].as_object();
            let labels = &spec["template"]["metadata"]["labels"];
            match wanted {
                Some(wanted) if wanted.iter().all(|(key, value)| labels[key] == *value) => {}
                _ => {
                    return invalid(
                        "spec.template.metadata.labels: `selector` does not match template `labels`",
                    );
                }
            }
            let containers = spec["template"]["spec"]["containers"].as_array();
            if containers.is_none_or(Vec::is_empty) {
                invalid("spec.template.spec.containers: Required value")
            } else {
                Ok(())
            }
        }
        "gatewayclasses.gateway.networking.k8s.io" if !spec["controllerName"].is_string() => {
            invalid("spec.controllerName: Required value")
        }
        "gateways.gateway.networking.k8s.io" => {
            let listeners = spec["listeners"].as_array();
            if !spec["gatewayClassName"].is_string() {
                return invalid("spec.gatewayClassName: Required value");
            }
            match listeners {
                Some(all) if !all.is_empty() => {
                    all.iter().try_for_each(|listener| check_listener(listener).or_else(&invalid))
                }
                _ => invalid("spec.listeners: Required value"),
            }
        }
        "ciliumgatewayclassconfigs.cilium.io" => match text(&spec["service"]["type"]) {
            "" | "LoadBalancer" | "NodePort" => {
                if spec["service"].get("ports").is_some() {
                    invalid("unknown field \"spec.service.ports\"")
                } else {
                    Ok(())
                }
            }
            other => invalid(&format!("spec.service.type: Unsupported value: \"{other}\"")),
        },
        _ => Ok(()),
    }
}

fn check_listener<'a>(listener: &Value) -> Result<(), &'a str> {
    if !listener["name"].is_string() || listener["port"].as_u64().is_none_or(|port| port > 65_535) {
        return Err("spec.listeners: name and port are required");
    }
    match (text(&listener["protocol"]), listener["tls"].is_object()) {
        ("HTTP" | "TCP" | "UDP", false) | ("HTTPS" | "TLS", true) => Ok(()),
        ("HTTP" | "TCP" | "UDP", true) => {
            Err("spec.listeners: tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']")
        }
        ("HTTPS" | "TLS", false) => Err("spec.listeners: tls mode must be set for protocol TLS or HTTPS"),
        _ => Err("spec.listeners: protocol: Unsupported value"),
    }
}

/// Gives a Service its address and node ports; a port without one keeps the port of the same name
/// (facts/kubernetes-cilium.md §4.4 c).
fn allocate(data: &mut Data, service: &mut Value, old: Option<&Value>) -> Result<(), String> {
    let name = text(&service["metadata"]["name"]).to_owned();
    let uid = service["metadata"]["uid"].clone();
    let kind = service["spec"]["type"].as_str().unwrap_or("ClusterIP").to_owned();
    service["spec"]["type"] = kind.clone().into();
    if service["spec"].get("clusterIP").is_none() {
        let number = 10 + data.number() % 60_000;
        service["spec"]["clusterIP"] = format!("10.96.{}.{}", number >> 8, number & 0xff).into();
    }
    let needs = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    let former = old
        .filter(|old| needs(text(&old["spec"]["type"])))
        .map(|old| old["spec"]["ports"].clone())
        .unwrap_or_default();
    let mut taken: Vec<u64> = Vec::new();
    for other in data
        .list("services", None)
        .into_iter()
        .filter(|other| uid.is_null() || other["metadata"]["uid"] != uid)
    {
        taken.extend(
            other["spec"]["ports"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|port| port["nodePort"].as_u64()),
        );
    }
    let ports = service["spec"]["ports"]
        .as_array_mut()
        .ok_or_else(|| format!("Service \"{name}\" is invalid: spec.ports: Required value"))?;
    for (index, port) in ports.iter_mut().enumerate() {
        if port.get("targetPort").is_none() {
            port["targetPort"] = port["port"].clone();
        }
        if port.get("protocol").is_none() {
            port["protocol"] = "TCP".into();
        }
        if !needs(&kind) {
            port.as_object_mut().map(|port| port.shift_remove("nodePort"));
            continue;
        }
        let kept = former
            .as_array()
            .into_iter()
            .flatten()
            .find(|one| one["name"] == port["name"])
            .and_then(|one| one["nodePort"].as_u64());
        let wished = port["nodePort"].as_u64().filter(|port| *port != 0).or(kept);
        let invalid = |wished: u64, why: &str| {
            format!(
                "Service \"{name}\" is invalid: spec.ports[{index}].nodePort: Invalid value: {wished}: {why}"
            )
        };
        let chosen = match wished {
            Some(port) if !NODE_PORTS.contains(&port) => {
                return Err(invalid(
                    port,
                    "provided port is not in the valid range. The range of valid ports is 30000-32767",
                ));
            }
            Some(port) if taken.contains(&port) => {
                return Err(invalid(port, "provided port is already allocated"));
            }
            Some(port) => port,
            None => (FIRST_AUTOMATIC + data_free(index, &taken)..)
                .find(|port| !taken.contains(port))
                .unwrap_or(FIRST_AUTOMATIC),
        };
        taken.push(chosen);
        port["nodePort"] = chosen.into();
    }
    Ok(())
}

/// Spreads automatic ports, so that nobody relies on one.
fn data_free(index: usize, taken: &[u64]) -> u64 {
    (index as u64 * 131 + taken.len() as u64 * 977 + 409) % 2_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Data {
        let mut data = Data::default();
        apply(&mut data, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lab"}}), 0)
            .unwrap();
        data
    }

    fn service(ports: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "lab"},
            "spec": {"type": "NodePort", "ports": ports}})
    }

    #[test]
    fn kinds_and_namespaces_must_exist() {
        let gateway = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "g", "namespace": "lab"}});
        assert!(apply(&mut data(), gateway, 0).unwrap_err().contains("no matches for kind \"Gateway\""));
        let map =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "none"}});
        assert_eq!(apply(&mut data(), map, 0).unwrap_err(), "namespaces \"none\" not found");
    }

    #[test]
    fn a_node_port_survives_an_update_that_does_not_name_it() {
        let mut data = data();
        apply(&mut data, service(json!([{"name": "port-80", "port": 80, "nodePort": 30080}])), 0).unwrap();
        apply(
            &mut data,
            service(json!([{"name": "port-80", "port": 80}, {"name": "port-443", "port": 443}])),
            1,
        )
        .unwrap();
        let ports = data.get("services", "lab", "s").unwrap()["spec"]["ports"].clone();
        assert_eq!(ports[0]["nodePort"], 30080);
        assert!(ports[1]["nodePort"].as_u64().unwrap() >= FIRST_AUTOMATIC);
        apply(&mut data, service(json!([{"name": "http", "port": 80}])), 2).unwrap();
        assert_ne!(
            data.get("services", "lab", "s").unwrap()["spec"]["ports"][0]["nodePort"],
            30080,
            "another name is another port"
        );
    }

    #[test]
    fn a_node_port_is_given_once() {
        let mut data = data();
        apply(&mut data, service(json!([{"name": "a", "port": 80, "nodePort": 30080}])), 0).unwrap();
        let mut other = service(json!([{"name": "a", "port": 80, "nodePort": 30080}]));
        other["metadata"]["name"] = "t".into();
        assert!(apply(&mut data, other.clone(), 0).unwrap_err().contains("already allocated"));
        other["spec"]["ports"][0]["nodePort"] = 8080.into();
        assert!(apply(&mut data, other, 0).unwrap_err().contains("not in the valid range"));
    }

    #[test]
    fn an_apply_that_changes_nothing_says_so() {
        let mut data = data();
        let ports = json!([{"name": "a", "port": 80, "nodePort": 30080}]);
        assert_eq!(apply(&mut data, service(ports.clone()), 0).unwrap().1, Applied::Created);
        assert_eq!(apply(&mut data, service(ports), 9).unwrap().1, Applied::Unchanged);
    }
}
