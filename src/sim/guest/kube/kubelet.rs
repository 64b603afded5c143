//! The kubelet: crash-loops until configured, runs static pods, registers its node, and is missed when it is silent.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use super::client;
use super::cluster::Cluster;
use super::controllers;
use super::data::{set_condition, timestamp};
use super::pki::{self, Subject};
use crate::sim::guest::http::{self, Response};
use crate::sim::guest::live::UnitState;
use crate::sim::guest::tls::{self, Clients, Pair};
use crate::sim::guest::{Model, network, pace, yaml};
use crate::sim::seam::Wire;

pub const CONFIG: &str = "/var/lib/kubelet/config.yaml";
pub const FLAGS: &str = "/var/lib/kubelet/kubeadm-flags.env";
pub const KUBECONFIG: &str = "/etc/kubernetes/kubelet.conf";
pub const MANIFESTS: &str = "/etc/kubernetes/manifests";
/// The static pod that others reach the cluster by.
pub const API_SERVER: &str = "kube-apiserver";
/// The kubelet's own certificate and key, without their endings.
const SERVING: &str = "/var/lib/kubelet/pki/kubelet";
/// Where a CNI plugin says that it is there; Cilium's agent writes it.
pub const CNI: &str = "/etc/cni/net.d/05-cilium.conflist";

/// Returns what the kubelet ends with at once, if anything.
pub fn obstacle(model: &Model) -> Option<String> {
    if model.disk(|disk| disk.file(CONFIG).is_none()) {
        return Some(format!(
            "failed to load Kubelet config file {CONFIG}, error: open {CONFIG}: no such file or directory"
        ));
    }
    (!model.live(|live| live.unit_active("containerd"))).then(|| {
        "validate CRI v1 runtime API for endpoint \"unix:///run/containerd/containerd.sock\": connection refused".into()
    })
}

/// Starts the unit. It always "starts": what is missing shows as a restart loop.
pub fn start(model: &Arc<Model>) {
    let obstacle = obstacle(model);
    let run = model.live(|live| {
        live.kubelet_run += 1;
        live.kubelet_run
    });
    let Some(why) = obstacle else {
        model.live(|live| live.set_unit("kubelet", UnitState::Active));
        model.log("kubelet", "Started kubelet.");
        let held = Arc::clone(model);
        model.spawn(async move { work(&held, run).await });
        return;
    };
    model.live(|live| live.set_unit("kubelet", UnitState::Activating));
    model.log("kubelet", format!("E command failed: {why}"));
    let held = Arc::clone(model);
    model.spawn(async move { held.look_again(pace::KUBELET_RESTART).await });
}

/// containerd came up: a kubelet that waited for it starts.
pub fn containerd_up(model: &Arc<Model>) {
    if model.live(|live| live.unit("kubelet")) == UnitState::Activating
        && model.disk(|disk| disk.file(CONFIG).is_some())
    {
        start(model);
    }
}

/// Stops the kubelet; containers go on running.
pub fn stop(model: &Model) {
    model.live(|live| live.kubelet_run += 1);
    lost(model);
}

/// Says to the cluster that this node went silent: after the grace period it is NotReady.
pub fn lost(model: &Model) {
    let (cluster, node, member) =
        model.live(|live| (live.cluster.clone(), live.node.clone(), live.static_pods.contains("etcd")));
    let (Some(cluster), Some(node)) = (cluster, node) else { return };
    if member && model.power.is_cancelled() {
        cluster.member_down(&node);
    }
    cluster.silent(&node);
    watch(&cluster);
}

/// Misses the nodes that are silent now and still are after their grace. Every control plane that runs does so, since each may
/// be gone before; whoever is left gives them their grace anew.
fn watch(cluster: &Arc<Cluster>) {
    let silences = cluster.silences();
    for (_, member) in cluster.members_up() {
        let (held, cluster, silences) = (Arc::clone(&member), Arc::clone(cluster), silences.clone());
        member.spawn(async move {
            held.pass(pace::NODE_GRACE).await;
            cluster.missed(&silences);
            controllers::settle(&cluster);
        });
    }
}

fn current(model: &Model, run: u64) -> bool {
    model.live(|live| live.kubelet_run == run && live.unit_active("kubelet"))
}

async fn work(model: &Arc<Model>, run: u64) {
    start_static_pods(model).await;
    let name = node_name(model);
    while current(model, run) {
        let news = model.commons.news();
        match register(model, &name).await {
            Ok(cluster) => {
                model.live(|live| {
                    live.node = Some(name.clone());
                    live.cluster = Some(Arc::clone(&cluster));
                });
                model.log("kubelet", format!("Successfully registered node {name}"));
                model.commons.announce();
                super::pods::restart_on(&cluster, &name);
                return controllers::settle(&cluster);
            }
            Err(why) => model.log("kubelet", format!("E Unable to register node with API server: {why}")),
        }
        tokio::select! {
            () = news => {}
            () = model.look_again(pace::KUBELET_RESTART) => {}
        }
        tokio::task::yield_now().await;
    }
}

/// Starts what lies in the manifests folder, etcd first.
pub async fn start_static_pods(model: &Arc<Model>) {
    let manifests = model.disk(|disk| disk.glob(MANIFESTS, ".yaml"));
    let name =
        |path: &String| path.rsplit('/').next().unwrap_or_default().trim_end_matches(".yaml").to_owned();
    let missing: Vec<String> = manifests
        .iter()
        .map(name)
        .filter(|name| !model.live(|live| live.static_pods.contains(name)))
        .collect();
    if missing.iter().any(|name| name == "etcd") {
        model.pass(pace::ETCD_START).await;
        start_etcd(model);
    }
    if missing.iter().any(|name| name != "etcd") {
        model.pass(pace::CONTROL_PLANE_START).await;
        // A reset may have taken their manifests meanwhile.
        let stays = |name: &String| {
            name != "etcd" && model.disk(|disk| disk.file(&format!("{MANIFESTS}/{name}.yaml")).is_some())
        };
        // A real one tries again after its back-off; here, when it or its machine starts again.
        let crashes =
            missing.iter().any(|name| name == API_SERVER) && model.around.fault("api-server-crashes");
        if crashes {
            model.log("kubelet", "E CrashLoopBackOff: back-off restarting failed container=kube-apiserver");
        }
        let started: Vec<_> =
            missing.into_iter().filter(stays).filter(|name| !(crashes && name == API_SERVER)).collect();
        model.live(|live| live.static_pods.extend(started));
        model.commons.announce();
        if let Some(cluster) = model.live(|live| live.cluster.clone()) {
            controllers::settle(&cluster);
        }
    }
}

/// Does what a kubelet that runs does when its manifests changed: ends pods whose manifest is gone, starts new ones.
pub async fn manifests_changed(model: &Arc<Model>) {
    manifests_gone(model);
    if model.live(|live| live.unit_active("kubelet")) {
        start_static_pods(model).await;
    }
}

/// Ends the static pods whose manifests are gone, if the kubelet runs that would.
pub fn manifests_gone(model: &Model) {
    if !model.live(|live| live.unit_active("kubelet")) {
        return;
    }
    let there = model.disk(|disk| disk.glob(MANIFESTS, ".yaml"));
    let stays = |name: &String| there.contains(&format!("{MANIFESTS}/{name}.yaml"));
    let gone: Vec<String> =
        model.live(|live| live.static_pods.iter().filter(|name| !stays(name)).cloned().collect());
    for name in gone {
        end_static_pod(model, &name);
    }
}

/// Ends one static pod's container; the kubelet starts another while its manifest is there.
pub fn end_static_pod(model: &Model, name: &str) {
    model.live(|live| live.static_pods.remove(name));
    let member = model.disk(|disk| disk.etcd.as_ref().map(|etcd| etcd.name.clone()));
    if let (Some(cluster), Some(member), "etcd") = (model.live(|live| live.cluster.clone()), member, name) {
        cluster.member_down(&member);
    }
    model.log("kubelet", format!("Stopped container {name}"));
    model.commons.announce();
}

fn start_etcd(model: &Arc<Model>) {
    let Some(etcd) = model.disk(|disk| disk.etcd.clone()) else {
        return model
            .log("kubelet", "etcd: the data directory is empty and the manifest names no new cluster");
    };
    let cluster = Cluster::of(&model.commons, &etcd.data);
    model.live(|live| {
        live.static_pods.insert("etcd".into());
        live.cluster = Some(Arc::clone(&cluster));
    });
    member_up(&cluster, &etcd.name, model);
    model.commons.announce();
}

/// A member's etcd answers. Where the cluster lives by it, its controllers begin anew.
pub fn member_up(cluster: &Arc<Cluster>, member: &str, model: &Arc<Model>) {
    if cluster.member_up(member, model) {
        watch(cluster);
    }
}

/// Returns the node's name: kubeadm's flag, or the host name.
pub fn node_name(model: &Model) -> String {
    flag(model, "hostname-override").unwrap_or_else(|| model.hostname())
}

/// Reads a flag that kubeadm wrote for the kubelet.
fn flag(model: &Model, name: &str) -> Option<String> {
    let text = model.disk(|disk| disk.text(FLAGS))?;
    let prefix = format!("--{name}=");
    text.split(['"', ' ', '\n']).find_map(|word| word.strip_prefix(&prefix)).map(str::to_owned)
}

async fn register(model: &Arc<Model>, name: &str) -> Result<Arc<Cluster>, String> {
    let config = client::kubeconfig(model, KUBECONFIG)?;
    let cluster = client::cluster(model, &config).await?;
    let address = node_address(model)?;
    let node = node_object(model, name, address);
    let now_ms = model.around.clock_ms();
    let now = timestamp(now_ms);
    cluster.change(|data| {
        super::objects::apply(data, node, now_ms)?;
        if let Some(node) = data.get_mut("nodes", "", name)
            && node["status"]["conditions"].is_null()
        {
            let why = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady";
            set_condition(node, "Ready", false, "KubeletNotReady", why, &now);
        }
        Ok(())
    })?;
    Ok(cluster)
}

fn node_address(model: &Model) -> Result<Ipv4Addr, String> {
    if let Some(text) = flag(model, "node-ip") {
        let address: Ipv4Addr = text.parse().map_err(|_| format!("bad --node-ip {text}"))?;
        let own = network::is_own(model, address) && !address.is_loopback();
        return if own {
            Ok(address)
        } else {
            Err(format!("node IP: {address} not found in the host's network interfaces"))
        };
    }
    let routed = model.live(|live| {
        live.interfaces.iter().find(|one| one.router.is_some()).and_then(|one| one.addresses.first().copied())
    });
    routed
        .map(|(address, _)| address)
        .ok_or_else(|| "no default routes found: can't get the node's IP".into())
}

fn node_object(model: &Model, name: &str, address: Ipv4Addr) -> Value {
    let packages = model.disk(|disk| disk.packages.clone());
    let version = |program: &str| packages.get(program).cloned().unwrap_or_default();
    let taints =
        flag(model, "register-with-taints").map(|text| text.split(',').filter_map(taint).collect::<Vec<_>>());
    let mut node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" },
            "annotations": { "node.alpha.kubernetes.io/ttl": "0" },
        },
        "spec": {},
        "status": {
            "addresses": [{ "type": "InternalIP", "address": address }, { "type": "Hostname", "address": name }],
            "capacity": { "cpu": model.hardware.cpus.to_string(), "memory": format!("{}Mi", model.hardware.memory_mib) },
            "nodeInfo": {
                "kubeletVersion": version("kubelet"),
                "containerRuntimeVersion": format!("containerd://{}", version("containerd")),
                "osImage": format!("{} (fusionlab model, simulated)", system(model)),
                "kernelVersion": "6.8.0-fusionlab-model",
                "bootID": model.live(|live| live.boot_id.clone()),
                "machineID": model.disk(|disk| disk.text("/etc/machine-id")).unwrap_or_default().trim(),
                "systemUUID": crate::sim::guest::boot::product_uuid(model),
            },
        },
    });
    if let Some(taints) = taints.filter(|taints| !taints.is_empty()) {
        node["spec"]["taints"] = taints.into();
    }
    node
}

/// Returns the system's name, as its os-release says.
fn system(model: &Model) -> String {
    let text = model.disk(|disk| disk.text("/etc/os-release")).unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux");
    name.trim_matches('"').to_owned()
}

fn taint(text: &str) -> Option<Value> {
    let (key, effect) = text.split_once(':')?;
    let key = key.trim_end_matches('=');
    Some(json!({ "key": key, "effect": effect }))
}

/// Writes what `kubelet-start` leaves: the configuration and the flags.
pub fn configure(
    model: &Model,
    registration: &super::config::NodeRegistration,
    kubelet: Option<&Value>,
    control_plane: bool,
) {
    let mut flags = Vec::new();
    if let Some(name) = &registration.name {
        flags.push(format!("--hostname-override={name}"));
    }
    flags.extend(
        registration
            .kubelet_extra_args
            .iter()
            .map(|argument| format!("--{}={}", argument.name, argument.value)),
    );
    let default = || {
        if control_plane {
            vec![json!({"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"})]
        } else {
            Vec::new()
        }
    };
    let taints = registration.taints.clone().unwrap_or_else(default);
    let words: Vec<String> = taints
        .iter()
        .map(|taint| {
            format!(
                "{}:{}",
                taint["key"].as_str().unwrap_or_default(),
                taint["effect"].as_str().unwrap_or_default()
            )
        })
        .collect();
    if !words.is_empty() {
        flags.push(format!("--register-with-taints={}", words.join(",")));
    }
    let config = kubelet.cloned().unwrap_or_else(
        || json!({"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}),
    );
    model.change_disk(|disk| {
        disk.put(CONFIG, 0o644, format!("{config:#}\n"));
        disk.put(FLAGS, 0o644, format!("KUBELET_KUBEADM_ARGS=\"{}\"\n", flags.join(" ")));
    });
    debug_assert!(model.disk(|disk| disk.text(CONFIG)).is_some_and(|text| yaml::document(&text).is_ok()));
}

/// Serves port 10250: TLS with a certificate of its own, and nothing for strangers.
pub async fn serve(model: &Arc<Model>, wire: Wire) {
    let pair = model.disk(|disk| pki::pair(disk, SERVING));
    let pair = match pair {
        Some(pair) => pair,
        None => match own_certificate(model) {
            Ok(pair) => pair,
            Err(why) => return model.log("kubelet", why),
        },
    };
    let Ok(config) = tls::server(&pair, Clients::Unknown) else { return };
    let Ok(stream) = TlsAcceptor::from(config).accept(wire).await else { return };
    let _ = http::serve(stream, |_| async { Response::new(401, "text/plain", "Unauthorized") }).await;
}

/// Makes the certificate that the kubelet shows: signed by nobody whom others know.
fn own_certificate(model: &Model) -> Result<Pair, String> {
    let (ca, name) = (pki::new_authority("kubelet-ca")?, node_name(model));
    model.change_disk(|disk| {
        let subject = Subject { name: &name, organization: None, server: true, alternative: &[] };
        let pair = pki::issue(&ca, &subject)?;
        disk.put(&format!("{SERVING}.crt"), 0o644, pair.certificate.clone());
        disk.put(&format!("{SERVING}.key"), 0o600, pair.key.clone());
        Ok(pair)
    })
}

/// Serves `127.0.0.1:10248/healthz`.
pub async fn serve_health(wire: Wire) {
    let _ = http::serve(wire, |request| async move {
        match request.path.as_str() {
            "/healthz" => Response::new(200, "text/plain", "ok"),
            _ => Response::new(404, "text/plain", "404 page not found\n"),
        }
    })
    .await;
}
