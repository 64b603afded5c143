//! `kubeadm init`: its phases, each leaving on disk what the real one leaves.

use std::net::Ipv4Addr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::config::{ClusterConfiguration, Documents, InitConfiguration, split_endpoint};
use super::data::{Data, EtcdOnDisk, Member};
use super::kubelet::{self, KUBECONFIG, MANIFESTS};
use super::pki::{self, PKI, Subject};
use super::{controllers, images, objects};
use crate::sim::guest::state::Disk;
use crate::sim::guest::tls::{self, Pair};
use crate::sim::guest::{Model, network, pace, units};
use crate::sim::now_ms;

pub const ADMIN: &str = "/etc/kubernetes/admin.conf";
/// Default wait for the control plane (facts/kubernetes-cilium.md §1.1 `timeouts`), in seconds.
pub const HEALTH_SECONDS: u64 = 240;

/// What an init or a join of a control plane works with.
pub struct Node<'a> {
    pub name: String,
    pub address: Ipv4Addr,
    pub cluster: &'a ClusterConfiguration,
}

impl<'a> Node<'a> {
    /// Reads the node's identity from its configuration, and checks it against the machine.
    pub fn new(
        model: &Model,
        name: Option<&String>,
        endpoint: &super::config::LocalApiEndpoint,
        cluster: &'a ClusterConfiguration,
    ) -> Result<Self, String> {
        let routed = || {
            model.live(|live| {
                live.interfaces
                    .iter()
                    .find(|one| one.router.is_some())
                    .and_then(|one| Some(one.addresses.first()?.0))
            })
        };
        let address =
            endpoint.advertise_address.or_else(routed).ok_or("unable to select an IP from default routes")?;
        if !network::is_own(model, address) {
            return Err(format!(
                "localAPIEndpoint.advertiseAddress: {address} is not an address of this machine"
            ));
        }
        if endpoint.bind_port.is_some_and(|port| port != crate::sim::guest::services::API) {
            return Err("localAPIEndpoint.bindPort: the model's API server has port 6443".into());
        }
        Ok(Self { name: name.cloned().unwrap_or_else(|| model.hostname()), address, cluster })
    }

    fn endpoint(&self) -> String {
        let local = || format!("{}:6443", self.address);
        self.cluster.control_plane_endpoint.clone().unwrap_or_else(local)
    }

    fn cluster_name(&self) -> &str {
        self.cluster.cluster_name.as_deref().unwrap_or("kubernetes")
    }

    /// Writes every certificate that kubeadm would, keeping the authorities that are there.
    pub fn certificates(&self, disk: &mut Disk) -> Result<Pair, String> {
        let ca = pki::ensure_authority(disk, "ca", "kubernetes")?;
        let front = pki::ensure_authority(disk, "front-proxy-ca", "front-proxy-ca")?;
        let etcd = pki::ensure_authority(disk, "etcd/ca", "etcd-ca")?;
        let api = self.api_names();
        let own = vec![self.name.clone(), "localhost".into(), self.address.to_string(), "127.0.0.1".into()];
        let client = |name, organization| Subject { name, organization, server: false, alternative: &[] };
        let server = |name, alternative| Subject { name, organization: None, server: true, alternative };
        let leaves = [
            ("apiserver", &ca, server("kube-apiserver", &api)),
            (
                "apiserver-kubelet-client",
                &ca,
                client("kube-apiserver-kubelet-client", Some("kubeadm:cluster-admins")),
            ),
            ("front-proxy-client", &front, client("front-proxy-client", None)),
            ("etcd/server", &etcd, server(&self.name, &own)),
            ("etcd/peer", &etcd, server(&self.name, &own)),
            ("etcd/healthcheck-client", &etcd, client("kube-etcd-healthcheck-client", None)),
            ("apiserver-etcd-client", &etcd, client("kube-apiserver-etcd-client", None)),
        ];
        for (file, authority, subject) in leaves {
            if disk.file(&format!("{PKI}/{file}.crt")).is_none() {
                let pair = pki::issue_until(authority, &subject, self.end_of_certificates())?;
                pki::put_pair(disk, file, &pair);
            }
        }
        if disk.file(&format!("{PKI}/sa.key")).is_none() {
            let keys = rcgen::KeyPair::generate().map_err(|error| error.to_string())?;
            disk.put(&format!("{PKI}/sa.key"), 0o600, keys.serialize_pem());
            disk.put(&format!("{PKI}/sa.pub"), 0o600, keys.public_key_pem());
        }
        Ok(ca)
    }

    /// Returns until when certificates that are made now are valid, in seconds since 1970.
    pub fn end_of_certificates(&self) -> u64 {
        let period = self.cluster.certificate_validity_period.as_deref().and_then(parse_ttl);
        now_ms() / 1000 + period.unwrap_or(pki::YEAR_SECONDS)
    }

    /// Returns the API server's names: kubeadm's own and the configured ones.
    fn api_names(&self) -> Vec<String> {
        let domain = self.cluster.networking.dns_domain.as_deref().unwrap_or("cluster.local");
        let mut names: Vec<String> =
            ["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned).into();
        names.push(format!("kubernetes.default.svc.{domain}"));
        names.push(self.name.clone());
        let services = self
            .cluster
            .networking
            .service_subnet
            .unwrap_or_else(|| "10.96.0.0/12".parse().expect("a constant network"));
        names.push(Ipv4Addr::from(u32::from(services.network()) + 1).to_string());
        names.push(self.address.to_string());
        names.extend(split_endpoint(&self.endpoint()).map(|(host, _)| host.to_owned()));
        names.extend(self.cluster.api_server.cert_sans.iter().cloned());
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }

    /// Writes the kubeconfig files; one that exists must name the same server.
    pub fn kubeconfigs(&self, disk: &mut Disk, ca: &Pair) -> Result<(), String> {
        let (shared, local) =
            (format!("https://{}", self.endpoint()), format!("https://{}:6443", self.address));
        let node = format!("system:node:{}", self.name);
        // Since 1.35 a control plane's own components talk to their own API server (facts §1.4).
        let all: [(&str, &str, Option<&str>, &str); 5] = [
            (ADMIN, "kubernetes-admin", Some("kubeadm:cluster-admins"), &shared),
            ("/etc/kubernetes/super-admin.conf", "kubernetes-super-admin", Some("system:masters"), &local),
            (KUBECONFIG, &node, Some("system:nodes"), &local),
            ("/etc/kubernetes/controller-manager.conf", "system:kube-controller-manager", None, &local),
            ("/etc/kubernetes/scheduler.conf", "system:kube-scheduler", None, &local),
        ];
        for (path, name, organization, server) in all {
            if let Some(old) = disk.text(path) {
                let old = pki::Kubeconfig::read(&old)?;
                if format!("https://{}:{}", old.host, old.port) != server || old.ca != ca.certificate {
                    return Err(format!(
                        "a kubeconfig file \"{path}\" exists already but has got the wrong API Server URL or CA cert"
                    ));
                }
                continue;
            }
            let subject = Subject { name, organization, server: false, alternative: &[] };
            let pair = pki::issue_until(ca, &subject, self.end_of_certificates())?;
            disk.put(path, 0o600, pki::kubeconfig(self.cluster_name(), name, server, &ca.certificate, &pair));
        }
        Ok(())
    }

    /// Writes the control plane's static pods, without etcd's.
    pub fn manifests(&self, disk: &mut Disk) {
        for name in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
            self.manifest(disk, name);
        }
    }

    pub fn manifest(&self, disk: &mut Disk, name: &str) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": "kube-system", "labels": { "component": name, "tier": "control-plane" } },
            "spec": { "hostNetwork": true, "containers": [{ "name": name, "command": [name, format!("--advertise-address={}", self.address)] }] },
        });
        disk.put(&format!("{MANIFESTS}/{name}.yaml"), 0o600, format!("{pod:#}\n"));
    }
}

/// What init was told, whole.
pub struct Init<'a> {
    pub documents: &'a Documents,
    pub init: &'a InitConfiguration,
    pub node: Node<'a>,
}

impl<'a> Init<'a> {
    pub fn new(model: &Model, documents: &'a Documents) -> Result<Self, String> {
        let init = documents.init.as_ref().ok_or("no InitConfiguration found in the file")?;
        let cluster = documents.cluster.as_ref().ok_or("no ClusterConfiguration found in the file")?;
        let node = Node::new(model, init.node_registration.name.as_ref(), &init.local_api_endpoint, cluster)?;
        Ok(Self { documents, init, node })
    }

    /// Files up to the static pods' manifests.
    pub fn prepare(&self, model: &Model) -> Result<(), String> {
        model.change_disk(|disk| {
            let ca = self.node.certificates(disk)?;
            self.node.kubeconfigs(disk, &ca)?;
            self.node.manifest(disk, "etcd");
            self.node.manifests(disk);
            Ok(())
        })
    }

    /// Puts etcd's first data, which etcd makes when the kubelet starts it.
    fn first_data(&self, model: &Model) -> Result<(), String> {
        let version = self.version(model);
        let id = model.around.random() | 1;
        model.change_disk(|disk| {
            let ca = disk.text(&format!("{PKI}/ca.crt")).ok_or("couldn't load the CA certificate")?;
            let member = Member { id, peer: self.node.address, learner: false, started: true };
            let mut data = Data::default();
            data.ca_hash = tls::public_key_hash(&ca).map_err(|error| error.to_string())?;
            data.version = version;
            data.members.insert(self.node.name.clone(), member);
            first_objects(&mut data, model.around.clock_ms())?;
            disk.etcd = Some(EtcdOnDisk { name: self.node.name.clone(), data: Arc::new(data) });
            Ok(())
        })
    }

    fn version(&self, model: &Model) -> String {
        let installed = || model.disk(|disk| disk.packages.get("kubeadm").cloned()).unwrap_or_default();
        self.documents
            .cluster
            .as_ref()
            .and_then(|cluster| cluster.kubernetes_version.clone())
            .unwrap_or_else(installed)
    }

    /// Starts the kubelet, and by it etcd and the rest of the control plane.
    pub async fn start(&self, model: &Arc<Model>) -> Result<(), String> {
        self.first_data(model)?;
        kubelet::configure(model, &self.init.node_registration, self.documents.kubelet.as_ref(), true);
        if let Some(etcd) = model.disk(|disk| disk.etcd.clone()) {
            let cluster = Cluster::begin(&model.commons, Data::clone(&etcd.data));
            model.live(|live| live.cluster = Some(cluster));
        }
        units::stop(model, "kubelet").await;
        units::start(model, "kubelet").await
    }

    pub fn upload_config(&self, cluster: &Cluster, model: &Model) -> Result<(), String> {
        let text = format!("{:#}", self.documents.cluster_document);
        let pods = self.node.cluster.networking.pod_subnet;
        let map = |name: &str, data: Value| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": "kube-system" }, "data": data });
        cluster.put(model, map("kubeadm-config", json!({ "ClusterConfiguration": text })))?;
        cluster.put(
            model,
            map(
                "kubelet-config",
                json!({ "kubelet": format!("{:#}", self.documents.kubelet.clone().unwrap_or_default()) }),
            ),
        )?;
        match pods {
            Some(pods) => cluster.put(model, map("model-cluster-cidr", json!({ "podSubnet": pods }))),
            None => Ok(()),
        }
    }

    pub fn mark_control_plane(&self, cluster: &Cluster) -> Result<(), String> {
        mark_control_plane(cluster, &self.node.name)
    }

    /// Returns the bootstrap tokens that the configuration names.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.init.bootstrap_tokens.iter().map(|token| token.token.as_str())
    }

    /// Puts the tokens and `cluster-info`, which names the shared endpoint (facts/kubernetes-cilium.md §1.3).
    pub fn bootstrap_token(&self, cluster: &Cluster, model: &Model) -> Result<(), String> {
        for token in &self.init.bootstrap_tokens {
            create_token(cluster, model, &token.token, token.ttl.as_deref().unwrap_or("24h0m0s"))?;
        }
        let ca = model
            .disk(|disk| disk.text(&format!("{PKI}/ca.crt")))
            .ok_or("couldn't load the CA certificate")?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config",
            "clusters": [{ "name": "", "cluster": {
                "server": format!("https://{}", self.node.endpoint()), "certificate-authority-data": STANDARD.encode(ca),
            } }],
        });
        cluster.put(model, json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "cluster-info", "namespace": "kube-public" },
            "data": { "kubeconfig": format!("{config:#}") },
        }))
    }

    pub fn coredns(&self, cluster: &Arc<Cluster>, model: &Model) -> Result<(), String> {
        if self.node.cluster.dns.disabled {
            return Ok(());
        }
        let labels = json!({ "k8s-app": "kube-dns" });
        let tolerations = json!([{ "key": "CriticalAddonsOnly", "operator": "Exists" }, { "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" }]);
        let template = json!({ "metadata": { "labels": labels }, "spec": { "tolerations": tolerations, "containers": [{ "name": "coredns", "image": images::coredns() }] } });
        cluster.put(
            model,
            workload(
                "Deployment",
                "coredns",
                json!({ "replicas": 2, "selector": { "matchLabels": labels }, "template": template }),
            ),
        )?;
        let ports = json!([{ "name": "dns", "port": 53, "protocol": "UDP" }, { "name": "dns-tcp", "port": 53, "protocol": "TCP" }]);
        cluster.put(model, json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "kube-dns", "namespace": "kube-system", "labels": labels },
            "spec": { "selector": labels, "clusterIP": "10.96.0.10", "ports": ports },
        }))?;
        controllers::settle(cluster);
        Ok(())
    }

    /// Installs kube-proxy, unless the configuration says that something replaces it.
    pub fn kube_proxy(&self, cluster: &Arc<Cluster>, model: &Model) -> Result<bool, String> {
        if self.node.cluster.proxy.disabled {
            return Ok(false);
        }
        let labels = json!({ "k8s-app": "kube-proxy" });
        let image = format!("registry.k8s.io/kube-proxy:{}", self.version(model));
        let template = json!({ "metadata": { "labels": labels }, "spec": { "hostNetwork": true, "tolerations": [{ "operator": "Exists" }], "containers": [{ "name": "kube-proxy", "image": image }] } });
        cluster.put(
            model,
            workload(
                "DaemonSet",
                "kube-proxy",
                json!({ "selector": { "matchLabels": labels }, "template": template }),
            ),
        )?;
        controllers::settle(cluster);
        Ok(true)
    }
}

/// Returns a workload of the apps group in kube-system.
pub fn workload(kind: &str, name: &str, spec: Value) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": name, "namespace": "kube-system" }, "spec": spec })
}

/// Puts what every cluster begins with.
fn first_objects(data: &mut Data, now_ms: u64) -> Result<(), String> {
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        objects::apply(
            data,
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name }, "status": { "phase": "Active" } }),
            now_ms,
        )?;
    }
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "kubernetes", "namespace": "default" },
        "spec": { "clusterIP": "10.96.0.1", "ports": [{ "name": "https", "port": 443, "targetPort": 6443 }] },
    });
    objects::apply(data, service, now_ms).map(drop)
}

pub fn mark_control_plane(cluster: &Cluster, name: &str) -> Result<(), String> {
    cluster.change(|data| {
        let node = data.get_mut("nodes", "", name).ok_or_else(|| format!("nodes \"{name}\" not found"))?;
        node["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] = "".into();
        Ok(())
    })
}

/// Stores a bootstrap token as its Secret.
pub fn create_token(cluster: &Cluster, model: &Model, token: &str, ttl: &str) -> Result<(), String> {
    let (id, secret) = token.split_once('.').ok_or("the bootstrap token is invalid")?;
    let life = parse_ttl(ttl).ok_or_else(|| format!("invalid ttl {ttl}"))?;
    let expires = if life == 0 { u64::MAX } else { model.around.clock_ms() + life * 1000 };
    let encode = |text: &str| STANDARD.encode(text);
    cluster.put(model, json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": { "name": format!("bootstrap-token-{id}"), "namespace": "kube-system" },
        "data": {
            "token-id": encode(id), "token-secret": encode(secret), "expiration": encode(&expires.to_string()),
            "usage-bootstrap-authentication": encode("true"), "usage-bootstrap-signing": encode("true"),
        },
    }))
}

/// Reads Go's durations in whole seconds: `24h0m0s`, `24h`, `0`.
fn parse_ttl(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let (mut total, mut digits) = (0, String::new());
    for char in text.chars() {
        let unit = match char {
            '0'..='9' => {
                digits.push(char);
                continue;
            }
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        total += std::mem::take(&mut digits).parse::<u64>().ok()? * unit;
    }
    digits.is_empty().then_some(total)
}

/// Waits until this machine's API server answers and its node is registered.
pub async fn wait_for_node(model: &Arc<Model>) -> Result<Arc<Cluster>, String> {
    for _ in 0..HEALTH_SECONDS {
        let state = model.live(|live| {
            (live.static_pods.contains("kube-apiserver"), live.node.clone(), live.cluster.clone())
        });
        if let (true, Some(node), Some(cluster)) = state
            && cluster.data().get("nodes", "", &node).is_some()
        {
            return Ok(cluster);
        }
        model.look_again(pace::POLL).await;
    }
    Err("a required Kubernetes component is not healthy: context deadline exceeded".into())
}
