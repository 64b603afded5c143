//! `kubeadm join` and `kubeadm reset`: discovery through the endpoint, certificates, etcd's learner, and the way back.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::client;
use super::cluster::Cluster;
use super::config::{ClusterConfiguration, Documents, JoinConfiguration, split_endpoint};
use super::controllers;
use super::data::{EtcdOnDisk, Member};
use super::init::{ADMIN, Node, mark_control_plane, wait_for_node};
use super::kubelet::{self, KUBECONFIG};
use super::phases::{Ended, done};
use super::pki::{self, PKI, Subject};
use crate::sim::guest::tls::{self, Pair, Trust};
use crate::sim::guest::{Model, pace, units, yaml};
use crate::sim::inside;

const BOOTSTRAP: &str = "/etc/kubernetes/bootstrap-kubelet.conf";
const CLUSTER_INFO: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";

/// A cluster that was found and proved.
pub struct Discovered {
    pub cluster: Arc<Cluster>,
    pub ca: String,
    endpoint: String,
}

/// Finds the cluster behind the endpoint: its CA must have a pinned hash, its `cluster-info` be signed by the token.
pub async fn discover(model: &Arc<Model>, join: &JoinConfiguration) -> Result<Discovered, String> {
    let token =
        join.discovery.bootstrap_token.as_ref().ok_or("discovery by file is not part of the model")?;
    let place = split_endpoint(&token.api_server_endpoint).ok_or("bad apiServerEndpoint")?;
    model.pass(pace::API_CALL).await;
    let failed = |why: String| format!("couldn't validate the identity of the API Server: {why}");
    let answer = client::ask(model, place, &Trust::Anything, None, CLUSTER_INFO).await;
    let answer =
        answer.map_err(|why| failed(format!("failed to request the cluster-info ConfigMap: {why}")))?;
    if answer.status != 200 {
        return Err(failed(format!(
            "failed to request the cluster-info ConfigMap: status {}",
            answer.status
        )));
    }
    let map: serde_json::Value =
        serde_json::from_slice(&answer.body).map_err(|error| failed(error.to_string()))?;
    let config = yaml::document(map["data"]["kubeconfig"].as_str().unwrap_or_default()).map_err(failed)?;
    let found = &config["clusters"][0]["cluster"];
    let ca = pki::decode(&found["certificate-authority-data"]).map_err(failed)?;
    let hash = tls::public_key_hash(&ca).map_err(|error| failed(error.to_string()))?;
    if !token.unsafe_skip_ca_verification && !token.ca_cert_hashes.contains(&hash) {
        return Err(failed(format!(
            "cluster CA found in cluster-info ConfigMap is invalid: none of the public keys \"{hash}\" are pinned"
        )));
    }
    // Once more, trusting nothing but that CA.
    let answer =
        client::ask(model, place, &Trust::Authorities(ca.clone()), None, "/version").await.map_err(failed)?;
    let known = answer.header(client::CLUSTER_HEADER).and_then(|hash| Cluster::find(&model.commons, hash));
    let cluster = known.ok_or_else(|| failed("the API server did not answer".into()))?;
    check_token(&cluster, model, &token.token).map_err(failed)?;
    let endpoint = found["server"].as_str().unwrap_or_default().trim_start_matches("https://").to_owned();
    Ok(Discovered { cluster, ca, endpoint })
}

fn check_token(cluster: &Cluster, model: &Model, token: &str) -> Result<(), String> {
    let (id, secret) = token.split_once('.').unwrap_or_default();
    let data = cluster.read()?;
    let stored = data.get("secrets", "kube-system", &format!("bootstrap-token-{id}"));
    let field = |name: &str| {
        stored
            .and_then(|secret| STANDARD.decode(secret["data"][name].as_str()?).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok())
    };
    let expires: u64 = field("expiration").and_then(|text| text.parse().ok()).unwrap_or(0);
    if field("token-secret").as_deref() != Some(secret) || expires < model.around.clock_ms() {
        return Err(format!(
            "could not find a JWS signature in the cluster-info ConfigMap for token ID \"{id}\""
        ));
    }
    Ok(())
}

impl Discovered {
    /// Reads the ClusterConfiguration that init uploaded.
    pub fn configuration(&self) -> Result<ClusterConfiguration, String> {
        let data = self.cluster.read()?;
        let map = data
            .get("configmaps", "kube-system", "kubeadm-config")
            .ok_or("failed to get config map: configmaps \"kubeadm-config\" not found")?;
        let documents = Documents::read(map["data"]["ClusterConfiguration"].as_str().unwrap_or_default())?;
        documents.cluster.ok_or_else(|| "the cluster's configuration is damaged".to_owned())
    }

    /// kubeadm takes no name that a living node has.
    fn name_is_free(&self, name: &str) -> Result<(), String> {
        let data = self.cluster.read()?;
        match data.get("nodes", "", name) {
            Some(node) if super::data::condition(node, "Ready") => Err(format!(
                "error execution phase kubelet-start: a Node with name \"{name}\" and status \"Ready\" already exists in the \
                 cluster. You must delete the existing Node or change the name of this new joining Node"
            )),
            _ => Ok(()),
        }
    }

    /// Marks a control plane that joined: kubeadm's phase `control-plane-join mark-control-plane`.
    pub fn mark(&self, join: &JoinConfiguration, model: &Model) -> Result<(), String> {
        mark_control_plane(
            &self.cluster,
            &join.node_registration.name.clone().unwrap_or_else(|| model.hostname()),
        )
    }

    /// Writes what the kubelet bootstraps with, starts it, and waits for its own certificate.
    async fn bootstrap_kubelet(
        &self,
        model: &Arc<Model>,
        join: &JoinConfiguration,
        node: &str,
        server: &str,
    ) -> Result<(), String> {
        let nobody = Pair { certificate: String::new(), key: String::new() };
        let bootstrap = pki::kubeconfig("kubernetes", "tls-bootstrap-token-user", server, &self.ca, &nobody);
        model.change_disk(|disk| {
            disk.put(BOOTSTRAP, 0o600, bootstrap);
            disk.put(&format!("{PKI}/ca.crt"), 0o644, self.ca.clone());
        });
        let kubelet = self.kubelet_configuration();
        kubelet::configure(model, &join.node_registration, kubelet.as_ref(), join.control_plane.is_some());
        model.pass(pace::TLS_BOOTSTRAP).await;
        let signer = self.cluster.leader().and_then(|leader| leader.disk(|disk| pki::authority(disk, "ca")));
        let signer =
            signer.ok_or("error execution phase kubelet-start: timed out waiting for the TLS bootstrap")?;
        let name = format!("system:node:{node}");
        let pair = pki::issue(
            &signer,
            &Subject { name: &name, organization: Some("system:nodes"), server: false, alternative: &[] },
        )?;
        model.change_disk(|disk| {
            disk.put(KUBECONFIG, 0o600, pki::kubeconfig("kubernetes", &name, server, &self.ca, &pair));
            disk.remove(BOOTSTRAP);
        });
        Ok(())
    }

    fn kubelet_configuration(&self) -> Option<serde_json::Value> {
        let data = self.cluster.data();
        let text =
            data.get("configmaps", "kube-system", "kubelet-config")?["data"]["kubelet"].as_str()?.to_owned();
        yaml::document(&text).ok().filter(serde_json::Value::is_object)
    }
}

/// Joins a worker.
pub async fn worker(model: &Arc<Model>, join: &JoinConfiguration, found: &Discovered) -> Result<(), Ended> {
    let name = join.node_registration.name.clone().unwrap_or_else(|| model.hostname());
    let server = format!("https://{}", found.endpoint);
    found.name_is_free(&name)?;
    found.bootstrap_kubelet(model, join, &name, &server).await?;
    restart_kubelet(model).await?;
    done(model, "kubelet-start").await?;
    for _ in 0..super::init::HEALTH_SECONDS {
        if model.live(|live| live.node.is_some()) {
            return Ok(());
        }
        model.look_again(pace::POLL).await;
    }
    Err("error execution phase kubelet-wait-bootstrap: the kubelet did not register".into())
}

/// Joins a control plane: its authorities must lie on its disk already.
pub async fn control_plane(
    model: &Arc<Model>,
    join: &JoinConfiguration,
    found: &Discovered,
) -> Result<(), Ended> {
    let configuration = found.configuration()?;
    let local = &join.control_plane.as_ref().ok_or("not a control plane")?.local_api_endpoint;
    let node = Node::new(model, join.node_registration.name.as_ref(), local, &configuration)?;
    for name in ["ca", "front-proxy-ca", "etcd/ca"] {
        if model.disk(|disk| pki::authority(disk, name).is_none()) {
            return Err(format!(
                "error execution phase control-plane-prepare/certs: failure loading certificate for {name}: couldn't load the certificate file {PKI}/{name}.crt and its key"
            )
            .into());
        }
    }
    if model.disk(|disk| disk.file(&format!("{PKI}/sa.key")).is_none()) {
        return Err(format!(
            "failure loading key for service account: couldn't load the private key file {PKI}/sa.key"
        )
        .into());
    }
    let own = model.disk(|disk| pki::authority(disk, "ca")).map(|pair| pair.certificate).unwrap_or_default();
    if tls::public_key_hash(&own).ok() != tls::public_key_hash(&found.ca).ok() {
        return Err(
            "error execution phase control-plane-prepare/certs: the local CA is not the cluster's".into()
        );
    }
    model.pass(pace::KUBEADM_CERTS).await;
    model.change_disk(|disk| -> Result<(), String> {
        let ca = node.certificates(disk)?;
        node.kubeconfigs(disk, &ca)?;
        node.manifests(disk);
        Ok(())
    })?;
    done(model, "control-plane-prepare").await?;
    found.name_is_free(&node.name)?;
    let server = format!("https://{}:6443", node.address);
    found.bootstrap_kubelet(model, join, &node.name, &server).await?;
    done(model, "kubelet-start").await?;
    join_etcd(model, &node, &found.cluster).await?;
    done(model, "etcd-join").await?;
    restart_kubelet(model).await?;
    wait_for_node(model).await?;
    done(model, "kubelet-wait-bootstrap").await?;
    promote(model, &node.name, &found.cluster).await?;
    found.cluster.sync();
    done(model, "etcd-promote").await?;
    mark_control_plane(&found.cluster, &node.name)?;
    controllers::settle(&found.cluster);
    Ok(())
}

async fn restart_kubelet(model: &Arc<Model>) -> Result<(), String> {
    units::stop(model, "kubelet").await;
    units::start(model, "kubelet").await
}

/// Adds this machine to etcd as a learner and gives it the data.
async fn join_etcd(model: &Arc<Model>, node: &Node<'_>, cluster: &Arc<Cluster>) -> Result<(), String> {
    let member = Member { id: model.around.random() | 1, peer: node.address, learner: true, started: false };
    let added = cluster.add_learner(&node.name, member);
    added.map_err(|why| {
        format!("error execution phase etcd-join: error creating local etcd static pod manifest file: {why}")
    })?;
    cluster.sync();
    let etcd = EtcdOnDisk { name: node.name.clone(), data: cluster.data() };
    model.change_disk(|disk| {
        node.manifest(disk, "etcd");
        disk.etcd = Some(etcd);
    });
    Ok(())
}

/// Makes the learner a voter once it caught up.
async fn promote(model: &Arc<Model>, name: &str, cluster: &Arc<Cluster>) -> Result<(), String> {
    model.pass(pace::ETCD_PROMOTE).await;
    if !cluster.members_up().iter().any(|(member, _)| member == name) {
        return Err(
            "error execution phase etcd-join: can only promote a learner member which is in sync with leader"
                .into(),
        );
    }
    cluster.change(|data| {
        let member = data.members.get_mut(name).ok_or("etcdserver: member not found")?;
        (member.learner, member.started) = (false, true);
        Ok(())
    })
}

/// `kubeadm reset --force`: etcd is told while it can be, then the node's files go; CNI's stay (facts §1.8).
pub async fn reset(model: &Arc<Model>) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(etcd) = model.disk(|disk| disk.etcd.clone()) {
        let votes = etcd.data.members.get(&etcd.name).is_some_and(|member| !member.learner);
        let pods_ran = model.disk(|disk| disk.file(kubelet::CNI).is_some());
        if votes && etcd.data.voters() == 1 && pods_ran {
            inside::witness("a reset of the only member that has a cluster's data");
        }
        let told = match client::kubeconfig(model, ADMIN) {
            Ok(config) => client::cluster(model, &config).await,
            Err(why) => Err(why),
        };
        let member = etcd.data.members.get(&etcd.name).map(|member| member.id);
        match (told, member) {
            (Ok(cluster), Some(id)) if cluster.data().members.len() > 1 => {
                warnings.extend(cluster.remove_member(id).err());
                cluster.sync();
            }
            (Ok(_), _) => {}
            (Err(why), _) => warnings.push(format!("[reset] Failed to remove etcd member: {why}")),
        }
    }
    units::stop(model, "kubelet").await;
    model.pass(pace::KUBEADM_RESET).await;
    let cluster = model.live(|live| {
        live.static_pods.clear();
        live.node = None;
        live.cluster.take()
    });
    let name = model.disk(|disk| disk.etcd.as_ref().map(|etcd| etcd.name.clone()));
    if let (Some(cluster), Some(name)) = (cluster, name) {
        cluster.member_down(&name);
    }
    model.change_disk(|disk| {
        disk.etcd = None;
        for path in [kubelet::MANIFESTS, "/var/lib/kubelet", PKI, BOOTSTRAP, KUBECONFIG, ADMIN] {
            disk.remove(path);
        }
        for name in ["super-admin", "controller-manager", "scheduler"] {
            disk.remove(&format!("/etc/kubernetes/{name}.conf"));
        }
    });
    model.commons.announce();
    warnings
}

/// Returns the path that strangers may read besides the health checks.
pub fn is_public(path: &str) -> bool {
    path == CLUSTER_INFO
}
