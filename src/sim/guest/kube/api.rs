//! The API server's and etcd's ends of a connection.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use super::client::CLUSTER_HEADER;
use super::data::Data;
use super::pki::{PKI, authority};
use super::resources::{self, Resource};
use crate::sim::guest::Model;
use crate::sim::guest::http::{self, Request, Response};
use crate::sim::guest::state::Disk;
use crate::sim::guest::tls::{self, Clients, Pair};
use crate::sim::seam::Wire;

/// Serves one connection to port 6443.
pub async fn serve(model: &Arc<Model>, wire: Wire) {
    let config = model.disk(|disk| -> std::io::Result<_> {
        let ca = disk.text(&format!("{PKI}/ca.crt")).unwrap_or_default();
        tls::server(&pair(disk, "apiserver"), Clients::Optional(ca))
    });
    let config = match config {
        Ok(config) => config,
        Err(error) => return model.log("kubelet", format!("kube-apiserver: {error}")),
    };
    let Ok(stream) = TlsAcceptor::from(config).accept(wire).await else { return };
    let known = stream.get_ref().1.peer_certificates().is_some();
    let held = Arc::clone(model);
    let _ = http::serve(stream, |request| {
        let model = Arc::clone(&held);
        async move {
            let cluster = model.live(|live| live.cluster.clone());
            let hash = cluster.as_ref().map(|cluster| cluster.ca_hash.clone()).unwrap_or_default();
            answer(&model, &request, known).with(CLUSTER_HEADER, &hash)
        }
    })
    .await;
}

/// Serves one connection to etcd: clients need a certificate of its authority.
pub async fn serve_etcd(model: &Arc<Model>, wire: Wire) {
    let config = model.disk(|disk| {
        let ca = disk.text(&format!("{PKI}/etcd/ca.crt")).unwrap_or_default();
        tls::server(&pair(disk, "etcd/server"), Clients::Required(ca))
    });
    let Ok(config) = config else { return };
    let Ok(stream) = TlsAcceptor::from(config).accept(wire).await else { return };
    let _ = http::serve(stream, |request| async move {
        match request.path.as_str() {
            "/health" => Response::json(200, &json!({ "health": "true", "reason": "" })),
            _ => Response::new(404, "text/plain", "404 page not found\n"),
        }
    })
    .await;
}

fn pair(disk: &Disk, name: &str) -> Pair {
    authority(disk, name).unwrap_or(Pair { certificate: String::new(), key: String::new() })
}

/// Answers one request; without a client certificate only what anonymous users may see.
fn answer(model: &Model, request: &Request, known: bool) -> Response {
    let cluster = model.live(|live| live.cluster.clone());
    let data = cluster.map(|cluster| cluster.read()).unwrap_or_else(|| Err(super::cluster::NO_QUORUM.into()));
    let path = request.path.split('?').next().unwrap_or_default();
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        let status = if known { 405 } else { 403 };
        return failure(
            status,
            "MethodNotAllowed",
            "the model's API server is read by HTTP and changed by its own kubectl",
        );
    }
    match (path, data) {
        ("/livez" | "/readyz" | "/healthz", Ok(_)) => Response::new(200, "text/plain; charset=utf-8", "ok"),
        ("/livez" | "/readyz" | "/healthz", Err(_)) => Response::new(
            500,
            "text/plain; charset=utf-8",
            "[-]etcd failed: reason withheld\nhealthz check failed\n",
        ),
        ("/version", data) => Response::json(200, &version(&model_version(model, data.ok().as_deref()))),
        (path, _) if !known && !super::join::is_public(path) => {
            let why = format!("forbidden: User \"system:anonymous\" cannot get path \"{path}\"");
            failure(403, "Forbidden", &why)
        }
        (path, Ok(data)) => objects(&data, path),
        (_, Err(why)) => failure(500, "InternalError", &why),
    }
}

fn model_version(model: &Model, data: Option<&Data>) -> String {
    let installed = || model.disk(|disk| disk.packages.get("kubelet").cloned()).unwrap_or_default();
    data.map_or_else(installed, |data| data.version.clone())
}

fn version(git_version: &str) -> Value {
    let mut parts = git_version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    json!({ "major": major, "minor": minor, "gitVersion": git_version, "platform": "linux/fusionlab-model" })
}

fn failure(code: u16, reason: &str, message: &str) -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    Response::json(code, &status)
}

/// Answers `/api/v1/…` and `/apis/GROUP/VERSION/…`.
fn objects(data: &Data, path: &str) -> Response {
    let not_found = || failure(404, "NotFound", "the server could not find the requested resource");
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version, rest) = match &parts[..] {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return not_found(),
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
        rest => (None, rest),
    };
    let find = |plural: &str| {
        let same = |one: &Resource| one.plural == plural && one.group == group && one.version == version;
        resources::all(data).find(same)
    };
    match rest {
        [plural] => match find(plural) {
            Some(resource) => Response::json(200, &list(&resource, data.list(&resource.id(), namespace))),
            None => not_found(),
        },
        [plural, name] => {
            let object = find(plural)
                .and_then(|resource| data.get(&resource.id(), namespace.unwrap_or_default(), name));
            object.map_or_else(not_found, |object| Response::json(200, object))
        }
        _ => not_found(),
    }
}

/// Returns a list object.
pub fn list(resource: &Resource, items: Vec<&Value>) -> Value {
    json!({
        "apiVersion": resource.api_version(),
        "kind": format!("{}List", resource.kind),
        "metadata": { "resourceVersion": "" },
        "items": items,
    })
}
