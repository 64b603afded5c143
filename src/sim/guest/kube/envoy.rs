//! Every node's Envoy: what answers on the NodePorts of a Gateway, which route takes a request, which pod answers it.

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsAcceptor;

use super::cluster::Cluster;
use super::data::{Data, condition};
use super::gateway::{
    CONFIGS, GATEWAYS, ROUTES, attaches, backends, certificate, listeners, service_of, text,
};
use super::{controllers, podnet, pods};
use crate::sim::guest::Model;
use crate::sim::guest::http::{self, Request, Response};
use crate::sim::guest::tls;
use crate::sim::seam::Wire;

/// A NodePort that Envoy answers on this node.
#[derive(Clone, Debug)]
pub struct Entry {
    gateway: Value,
    /// The port of the Gateway's listeners.
    port: u64,
}

/// Returns what a node port leads to on this machine: the data path lives on while the API is away.
pub fn listener(model: &Model, node_port: u16) -> Option<Entry> {
    let (cluster, node) = model.live(|live| (live.cluster.clone(), live.node.clone()));
    let (data, node) = (cluster?.data(), node?);
    let here = |label: &str| {
        data.list("pods", Some("kube-system")).into_iter().any(|pod| {
            pod["metadata"]["labels"]["k8s-app"] == label
                && pod["spec"]["nodeName"] == node.as_str()
                && condition(pod, "Ready")
        })
    };
    if !here("cilium") || !here("cilium-envoy") || refuses(&data, &node) {
        return None;
    }
    let service = data.list("services", None).into_iter().find_map(|service| {
        let port = service["spec"]["ports"].as_array()?.iter().find(|port| port["nodePort"] == node_port)?;
        Some((service, port["port"].as_u64()?))
    });
    let (service, port) = service?;
    let owner = &service["metadata"]["ownerReferences"][0];
    let gateway = data.get(GATEWAYS, text(&service["metadata"]["namespace"]), text(&owner["name"]))?;
    let configured =
        data.get(CONFIGS, text(&service["metadata"]["namespace"]), text(&service["metadata"]["name"]));
    (owner["kind"] == "Gateway" && condition(gateway, "Programmed") && configured.is_some())
        .then(|| Entry { gateway: gateway.clone(), port })
}

/// Says whether the node's Envoy refused what its agent gave it when that started.
fn refuses(data: &Data, node: &str) -> bool {
    let agents = data.list("pods", Some("kube-system")).into_iter();
    let own =
        |pod: &&Value| pod["metadata"]["labels"]["k8s-app"] == "cilium" && pod["spec"]["nodeName"] == node;
    agents.filter(own).any(|pod| pod["status"][pods::REFUSED] == true)
}

/// Returns the node ports that something answers on this machine.
pub fn node_ports(model: &Model) -> Vec<u16> {
    let Some(cluster) = model.live(|live| live.cluster.clone()) else { return Vec::new() };
    let data = cluster.data();
    let ports = data.list("services", None).into_iter().flat_map(|service| {
        let ports = service["spec"]["ports"].as_array().into_iter().flatten();
        ports.filter_map(|port| u16::try_from(port["nodePort"].as_u64()?).ok())
    });
    ports.filter(|port| listener(model, *port).is_some()).collect()
}

/// Serves one connection as the node's Envoy.
pub async fn serve(model: &Arc<Model>, entry: Entry, mut wire: Wire) {
    let (cluster, node) = model.live(|live| (live.cluster.clone(), live.node.clone().unwrap_or_default()));
    let Some(cluster) = cluster else { return };
    let data = cluster.data();
    if pods::setting(&data, "enable-gateway-api-proxy-protocol") == "true" && !proxy_line(&mut wire).await {
        return;
    }
    let here = |listener: &&Value| listener["port"].as_u64() == Some(entry.port);
    let listener: Vec<Value> = listeners(&entry.gateway).filter(here).cloned().collect();
    let answer = |request: Request| {
        let (cluster, node, gateway, listeners) = (Arc::clone(&cluster), &node, &entry.gateway, &listener);
        async move { route(&cluster, node, gateway, listeners, &request) }
    };
    let secure = listener.iter().any(|listener| listener["protocol"] == "HTTPS");
    if !secure {
        let _ = http::serve(wire, answer).await;
        return;
    }
    let certificates = listener.iter().filter_map(|listener| {
        let certified = certificate(&data, &entry.gateway, listener).ok()?.certified().ok()?;
        Some((listener["hostname"].as_str().map(str::to_owned), Arc::new(certified)))
    });
    let resolver = ByName(certificates.collect());
    let Ok(config) = tls::server_by_name(Arc::new(resolver)) else { return };
    let Ok(stream) = TlsAcceptor::from(config).accept(wire).await else { return };
    let _ = http::serve(stream, answer).await;
}

/// Reads a PROXY protocol line (version 1); Envoy takes nothing else once it expects one.
async fn proxy_line(wire: &mut Wire) -> bool {
    const LONGEST: usize = 107;
    let mut line = Vec::new();
    while line.len() < LONGEST && !line.ends_with(b"\r\n") {
        match wire.read_u8().await {
            Ok(byte) => line.push(byte),
            Err(_) => return false,
        }
    }
    line.starts_with(b"PROXY ") && line.ends_with(b"\r\n")
}

/// Certificates by the listener's host name; one without a name serves any.
#[derive(Debug)]
struct ByName(Vec<(Option<String>, Arc<CertifiedKey>)>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let wanted = hello.server_name().unwrap_or_default();
        let named =
            self.0.iter().find(|(name, _)| name.as_deref().is_some_and(|name| matches_host(name, wanted)));
        named.or_else(|| self.0.iter().find(|(name, _)| name.is_none())).map(|(_, key)| Arc::clone(key))
    }
}

fn matches_host(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(rest) => host.split_once('.').is_some_and(|(_, parent)| parent.eq_ignore_ascii_case(rest)),
        None => pattern.eq_ignore_ascii_case(host),
    }
}

/// Finds the route of a request and lets one of its pods answer, as far as this node's packets get there.
fn route(cluster: &Cluster, node: &str, gateway: &Value, listeners: &[Value], request: &Request) -> Response {
    let data = cluster.data();
    let envoy = |response: Response| response.with("server", "envoy");
    let found =
        data.list(ROUTES, None).into_iter().find(|route| takes(route, gateway, listeners, request.host()));
    let Some(found) = found else { return envoy(Response::new(404, "", "")) };
    if let Some(redirect) = redirect(found, request) {
        return envoy(redirect);
    }
    let namespace = text(&found["metadata"]["namespace"]);
    let ready: Vec<(&Value, u16)> = backends(found)
        .filter_map(|backend| Some((service_of(&data, backend, namespace)?, &backend["port"])))
        .flat_map(|(service, port)| {
            let target = podnet::target(service, port);
            controllers::selected(&data, service).into_iter().map(move |pod| (pod, target))
        })
        .collect();
    let turn = cluster.turn(node);
    let lost = || {
        envoy(Response::new(503, "text/plain", "upstream connect error or disconnect/reset before headers"))
    };
    match ready.get(turn % ready.len().max(1)) {
        None => envoy(Response::new(503, "text/plain", "no healthy upstream")),
        Some((pod, _)) if !podnet::leads(cluster, &data, node, pod) => lost(),
        Some((pod, port)) if !podnet::allows(&data, None, pod, *port) => lost(),
        Some((pod, port)) => podnet::answer(&data, pod, *port, request).map_or_else(lost, envoy),
    }
}

fn takes(route: &Value, gateway: &Value, here: &[Value], host: &str) -> bool {
    let namespace = text(&route["metadata"]["namespace"]);
    let parents = route["spec"]["parentRefs"].as_array().into_iter().flatten();
    let ours = |parent: &&Value| {
        parent["name"] == gateway["metadata"]["name"]
            && parent["namespace"].as_str().unwrap_or(namespace) == text(&gateway["metadata"]["namespace"])
    };
    let attached = parents
        .filter(ours)
        .any(|parent| here.iter().any(|listener| attaches(parent, listener, gateway, namespace)));
    let accepted = route["status"]["parents"].as_array().into_iter().flatten().any(|parent| {
        parent["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|one| one["type"] == "Accepted" && one["status"] == "True")
    });
    let names = route["spec"]["hostnames"].as_array().filter(|names| !names.is_empty());
    attached && accepted && names.is_none_or(|names| names.iter().any(|name| matches_host(text(name), host)))
}

fn redirect(route: &Value, request: &Request) -> Option<Response> {
    let filters = route["spec"]["rules"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|rule| rule["filters"].as_array().into_iter().flatten());
    let redirect =
        &filters.into_iter().find(|filter| filter["type"] == "RequestRedirect")?["requestRedirect"];
    let scheme = redirect["scheme"].as_str().unwrap_or("http");
    let status = redirect["statusCode"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(302);
    let place = format!("{scheme}://{}{}", request.host(), request.path);
    Some(Response::new(status, "", "").with("Location", &place))
}
