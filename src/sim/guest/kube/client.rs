//! How kubectl, helm, kubeadm and the kubelet reach the API: a real connection with TLS, and then the cluster behind it.

use std::net::SocketAddrV4;
use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::cluster::Cluster;
use super::pki::Kubeconfig;
use crate::sim::guest::http::{self, Request, Response};
use crate::sim::guest::services::connect;
use crate::sim::guest::tls::{self, Pair, Trust};
use crate::sim::guest::{Model, network, pace};

/// The answer's header that names the cluster, so that the model's clients work on the one they really reached.
pub const CLUSTER_HEADER: &str = "X-Fusionlab-Model-Cluster";

/// Asks the API server at a place; the connection goes through whatever stands there.
pub async fn ask(
    model: &Arc<Model>,
    (host, port): (&str, u16),
    trust: &Trust,
    own: Option<&Pair>,
    path: &str,
) -> Result<Response, String> {
    let address =
        network::resolve(model, host).ok_or_else(|| format!("dial tcp: lookup {host}: no such host"))?;
    let wire = connect(model, SocketAddrV4::new(address, port)).await;
    let wire = wire.map_err(|error| format!("dial tcp {address}:{port}: connect: {error}"))?;
    let config = tls::client(trust, own).map_err(|error| format!("tls: {error}"))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is not a host"))?;
    let connector = tokio_rustls::TlsConnector::from(config);
    let mut stream = connector
        .connect(name, wire)
        .await
        .map_err(|error| format!("tls: failed to verify certificate: {error}"))?;
    let request = Request::new("GET", host, path);
    http::ask(&mut stream, &request)
        .await
        .map_err(|error| format!("Get \"https://{host}:{port}{path}\": {error}"))
}

/// Reads a kubeconfig from the disk.
pub fn kubeconfig(model: &Model, path: &str) -> Result<Kubeconfig, String> {
    let text = model
        .disk(|disk| disk.text(path))
        .ok_or_else(|| format!("stat {path}: no such file or directory"))?;
    Kubeconfig::read(&text)
}

/// Connects as a kubeconfig's user and returns the cluster that answered.
pub async fn cluster(model: &Arc<Model>, config: &Kubeconfig) -> Result<Arc<Cluster>, String> {
    model.pass(pace::API_CALL).await;
    let trust = Trust::Authorities(config.ca.clone());
    let response = ask(model, (&config.host, config.port), &trust, Some(&config.pair), "/readyz").await?;
    let hash = response
        .header(CLUSTER_HEADER)
        .ok_or("the server does not allow access to the requested resource")?;
    let cluster =
        Cluster::find(&model.commons, hash).ok_or("the server is currently unable to handle the request")?;
    if response.status == 200 {
        Ok(cluster)
    } else {
        Err(format!("Error from server (Timeout): {}", super::cluster::NO_QUORUM))
    }
}
