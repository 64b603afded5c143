//! curl in a pod: over the pod network of the model, to pods, Services, names and the internet.

use std::net::{Ipv4Addr, SocketAddrV4};

use rustls::pki_types::ServerName;
use serde_json::Value;

use super::curl::{
    self, BAD_CA_FILE, Ended, NO_HOST, NOT_CONNECTED, NOT_SECURE, NOT_TRUSTED, NOTHING_RECEIVED, Options,
    TIMED_OUT, Url,
};
use crate::sim::guest::http::{self, Request, Response};
use crate::sim::guest::kube::cluster::Cluster;
use crate::sim::guest::kube::controllers;
use crate::sim::guest::kube::data::Data;
use crate::sim::guest::kube::pki::PKI;
use crate::sim::guest::kube::podnet;
use crate::sim::guest::services::{API, connect};
use crate::sim::guest::tls::{self, Trust};

/// The cluster's authority, as every pod finds it.
const POD_AUTHORITY: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

type Outcome = Result<Response, (i32, String)>;

/// A pod that asks.
struct Asker<'a> {
    cluster: &'a Cluster,
    data: &'a Data,
    pod: &'a Value,
    node: &'a str,
}

/// Runs curl with these arguments in a pod.
pub async fn run(cluster: &Cluster, data: &Data, pod: &Value, args: &[String]) -> Result<Ended, String> {
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    let asker = Asker { cluster, data, pod, node };
    let options = match curl::options(args) {
        Ok(options) => options,
        Err(why) => return Ok(Ended { status: 2, stdout: Vec::new(), stderr: format!("curl: {why}\n") }),
    };
    let mut all = Ended { status: 0, stdout: Vec::new(), stderr: String::new() };
    for (index, text) in options.urls.iter().enumerate() {
        let outcome = match curl::url(text) {
            Some(url) => asker.fetch(&options, &url).await,
            None => Err(curl::malformed()),
        };
        let discard = options.discard.get(index).copied().unwrap_or_default();
        let ended = curl::told(&options, text, discard, outcome);
        all.status = ended.status;
        all.stdout.extend(ended.stdout);
        if !ended.stderr.is_empty() {
            all.stderr.push_str(&format!("{}\n", ended.stderr));
        }
    }
    Ok(all)
}

impl Asker<'_> {
    async fn fetch(&self, options: &Options, url: &Url) -> Outcome {
        let address = match url.host.parse::<Ipv4Addr>() {
            Ok(address) => address,
            Err(_) if url.host.ends_with(".cluster.local") => {
                podnet::resolve(self.cluster, self.data, self.node, &url.host)
                    .ok_or_else(|| unresolved(url))?
            }
            Err(_) => return self.internet(url),
        };
        if address.is_loopback() {
            return self.at(self.pod, url.port, url);
        }
        if let Some(service) = podnet::service_at(self.data, address) {
            return self.service(options, service, url).await;
        }
        let pod = podnet::pod_at(self.data, address).ok_or_else(timed_out)?;
        self.reach(pod, url.port, url)
    }

    /// Asks a pod over the network, as far as routes and policies let it.
    fn reach(&self, pod: &Value, port: u16, url: &Url) -> Outcome {
        let own = pod["metadata"]["uid"] == self.pod["metadata"]["uid"];
        let leads = podnet::leads(self.cluster, self.data, self.node, pod);
        if !own && (!leads || !podnet::allows(self.data, Some(self.pod), pod, port)) {
            return Err(timed_out());
        }
        self.at(pod, port, url)
    }

    fn at(&self, pod: &Value, port: u16, url: &Url) -> Outcome {
        let request = Request::new("GET", &url.host, &url.path);
        let refused =
            || (NOT_CONNECTED, format!("Failed to connect to {} port {port}: Connection refused", url.host));
        podnet::answer(self.data, pod, port, &request).ok_or_else(refused)
    }

    /// Asks one of a Service's backends, which the node's agent chooses.
    async fn service(&self, options: &Options, service: &Value, url: &Url) -> Outcome {
        if !podnet::has_agent(self.data, self.node) {
            return Err(timed_out());
        }
        if service["metadata"]["name"] == "kubernetes" && service["metadata"]["namespace"] == "default" {
            return self.api(options, url).await;
        }
        let port = Value::from(url.port);
        let pods = controllers::selected(self.data, service);
        let turn = self.cluster.turn(self.node);
        let refused = || (NOT_CONNECTED, format!("Failed to connect to {}: Connection refused", url.host));
        let pod = pods.get(turn % pods.len().max(1)).ok_or_else(refused)?;
        self.reach(pod, podnet::target(service, &port), url)
    }

    /// Asks an API server, over TLS by the Service's own name.
    async fn api(&self, options: &Options, url: &Url) -> Outcome {
        let refused = |why: String| (NOT_CONNECTED, format!("Failed to connect to {}: {why}", url.host));
        let machine = self.cluster.machine(self.node).ok_or_else(timed_out)?;
        let (name, server) =
            self.cluster.members_up().into_iter().next().ok_or_else(|| refused("no endpoints".into()))?;
        let address = self.data.members.get(&name).map(|member| member.peer).ok_or_else(timed_out)?;
        let wire = connect(&machine, SocketAddrV4::new(address, API)).await;
        let wire = wire.map_err(|error| refused(error.to_string()))?;
        let trust = match options.cacert.as_deref() {
            Some(POD_AUTHORITY) => {
                let pem = server.disk(|disk| disk.text(&format!("{PKI}/ca.crt"))).unwrap_or_default();
                Trust::Authorities(pem)
            }
            Some(path) => return Err((BAD_CA_FILE, format!("error adding trust anchors from file: {path}"))),
            None if options.insecure => Trust::Anything,
            None => {
                return Err((
                    NOT_TRUSTED,
                    "SSL certificate problem: unable to get local issuer certificate".into(),
                ));
            }
        };
        let config = tls::client(&trust, None).map_err(|error| (BAD_CA_FILE, error.to_string()))?;
        let host = ServerName::try_from(url.host.clone()).map_err(|_| curl::malformed())?;
        let connected = tokio_rustls::TlsConnector::from(config).connect(host, wire).await;
        let mut stream = connected.map_err(|error| (NOT_SECURE, format!("TLS connect error: {error}")))?;
        let request = Request::new("GET", &url.host, &url.path);
        http::ask(&mut stream, &request)
            .await
            .map_err(|error| (NOTHING_RECEIVED, format!("Empty reply ({error})")))
    }

    /// Out of the cluster pods go under their node's address, or nowhere: nobody out there knows theirs.
    fn internet(&self, url: &Url) -> Outcome {
        if !podnet::dns_answers(self.cluster, self.data, self.node) {
            return Err(unresolved(url));
        }
        let machine = self.cluster.machine(self.node).ok_or_else(timed_out)?;
        let routed = machine.live(|live| live.interfaces.iter().any(|one| one.router.is_some()));
        if !routed || !podnet::masquerades(self.data) || !machine.around.internet() {
            return Err(timed_out());
        }
        Ok(Response::new(301, "", "").with("server", "fusionlab-simulated-internet"))
    }
}

fn timed_out() -> (i32, String) {
    (TIMED_OUT, "Connection timed out".to_owned())
}

fn unresolved(url: &Url) -> (i32, String) {
    (NO_HOST, format!("Could not resolve host: {}", url.host))
}
