//! What the stand-ins promise: the model's answers, on the guest's own files, ports and units.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;
use tokio::net::TcpStream;

use super::guest::{Bench, Guest};
use crate::sim::agent::protocol::ETCD;
use crate::sim::guest::http::{self, Request};
use crate::sim::guest::lab::{
    Identity, MASTERS, WORKERS, ingress, init_config, internal, join_config, values,
};

const KUBECTL: &str = "kubectl --kubeconfig /etc/kubernetes/admin.conf";
const INIT: &str = "kubeadm init --config /etc/kubernetes/fusionlab/kubeadm.yaml";
const JOIN: &str = "kubeadm join --config /etc/kubernetes/fusionlab/join.yaml";
const DEFINITIONS: &str = "/opt/fusionlab/gateway-api/standard-install.yaml";

fn identity(guest: &Guest, identity: &Identity) {
    for (name, pair) in
        [("ca", &identity.ca), ("front-proxy-ca", &identity.front), ("etcd/ca", &identity.etcd)]
    {
        guest.put(&format!("/etc/kubernetes/pki/{name}.crt"), 0o644, &pair.certificate);
        guest.put(&format!("/etc/kubernetes/pki/{name}.key"), 0o600, &pair.key);
    }
    guest.put("/etc/kubernetes/pki/sa.key", 0o600, "key");
    guest.put("/etc/kubernetes/pki/sa.pub", 0o644, "key");
}

async fn first_master(bench: &Arc<Bench>, known: &Identity) -> Arc<Guest> {
    let master = bench.guest("k8s-master1", 131);
    identity(&master, known);
    master.put("/etc/kubernetes/fusionlab/kubeadm.yaml", 0o600, &init_config());
    master.boot();
    master.until("containerd runs", async || master.run_as(true, "crictl info", "").await.0 == 0).await;
    let said = master.good(INIT).await;
    assert!(said.contains("initialized successfully"), "{said}");
    master
}

async fn join(bench: &Arc<Bench>, known: &Identity, name: &str, last: u8, control_plane: bool) -> Arc<Guest> {
    let guest = bench.guest(name, last);
    if control_plane {
        identity(&guest, known);
    }
    guest.put(
        "/etc/kubernetes/fusionlab/join.yaml",
        0o600,
        &join_config(name, last, &known.hash(), control_plane),
    );
    guest.boot();
    guest.until("containerd runs", async || guest.run_as(true, "crictl info", "").await.0 == 0).await;
    guest.good(JOIN).await;
    guest
}

async fn json(guest: &Guest, line: &str) -> Value {
    serde_json::from_str(&guest.good(&format!("{KUBECTL} {line} -o json")).await).unwrap()
}

async fn reach(guest: &Guest, last: u8, port: u16) -> std::io::Result<TcpStream> {
    TcpStream::connect(SocketAddrV4::new(guest.bench.loopback(internal(last), last), port)).await
}

/// Waits until nobody listens any more: an aborted task lets its socket go when its thread comes round to it.
async fn closes(guest: &Guest, last: u8, port: u16) {
    guest.until("the port is closed", async || reach(guest, last, port).await.is_err()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kubelet_without_its_configuration_ends_with_the_real_message() {
    let bench = Bench::new();
    let guest = bench.guest("k8s-worker1", 141);
    guest.boot();
    let said = "failed to load Kubelet config file /var/lib/kubelet/config.yaml";
    guest.until("it says why", async || crate::sim::guest::lock(&guest.journal).contains(said)).await;
    assert_eq!(guest.good("kubeadm version -o short").await, "v1.36.4\n");
    assert!(guest.run_as(false, INIT, "").await.1.contains("IsPrivilegedUser"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_leaves_its_files_its_ports_and_a_cluster_that_outlives_lost_power() {
    let bench = Bench::new();
    let known = Identity::new();
    let master = first_master(&bench, &known).await;
    for path in [
        "/etc/kubernetes/admin.conf",
        "/etc/kubernetes/manifests/etcd.yaml",
        "/var/lib/kubelet/config.yaml",
        ETCD,
    ] {
        assert!(master.has(path), "{path}");
    }
    reach(&master, 131, 6443).await.unwrap();
    reach(&master, 131, 2379).await.unwrap();
    reach(&master, 131, 10250).await.unwrap();
    // What the command's end promises is in the guest: the power may go now.
    let manifest = "apiVersion: v1\nkind: Namespace\nmetadata: {name: kept}\n";
    assert_eq!(master.run_as(true, &format!("{KUBECTL} apply --server-side -f -"), manifest).await.0, 0);
    assert!(master.text(ETCD).contains("\"kept\""));
    master.lose_power().await;
    closes(&master, 131, 6443).await;
    master.boot();
    master
        .until("the API is back", async || {
            master.run_as(true, &format!("{KUBECTL} get --raw /readyz"), "").await.0 == 0
        })
        .await;
    assert_eq!(json(&master, "get namespaces kept").await["metadata"]["name"], "kept");
    // A second init finds what the first left.
    let again = master.bad(INIT).await;
    for name in
        ["Port-6443", "FileAvailable--etc-kubernetes-manifests-etcd.yaml", "DirAvailable--var-lib-etcd"]
    {
        assert!(again.contains(&format!("[ERROR {name}]")), "{again}");
    }
    master.good("kubeadm reset --force").await;
    assert!(!master.has("/var/lib/etcd/member") && !master.has("/etc/kubernetes/admin.conf"));
    closes(&master, 131, 6443).await;
    closes(&master, 131, 10250).await;
    identity(&master, &known);
    master.good(INIT).await;
    assert!(master.run_as(true, &format!("{KUBECTL} get namespaces kept"), "").await.1.contains("NotFound"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containerd_may_restart_and_pods_may_die() {
    let bench = Bench::new();
    let master = first_master(&bench, &Identity::new()).await;
    master.stop("containerd").await;
    master.good(&format!("{KUBECTL} get --raw /readyz")).await;
    assert!(master.bad("crictl info").await.contains("no such file or directory"));
    master.start("containerd");
    master.until("containerd runs", async || master.run_as(true, "crictl info", "").await.0 == 0).await;
    master.stop("containerd-shim-runc-v2").await;
    master.until("its ports are gone", async || reach(&master, 131, 6443).await.is_err()).await;
    master.until("the kubelet starts its pods again", async || reach(&master, 131, 6443).await.is_ok()).await;
    master.good(&format!("{KUBECTL} get --raw /readyz")).await;
    // The kubelet goes, its pods stay.
    master.stop("kubelet").await;
    closes(&master, 131, 10250).await;
    master.good(&format!("{KUBECTL} get --raw /readyz")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_removed_by_hand_is_gone_for_the_model() {
    let bench = Bench::new();
    let known = Identity::new();
    let master = first_master(&bench, &known).await;
    let second = join(&bench, &known, MASTERS[1].0, MASTERS[1].1, true).await;
    second.stop("kubelet").await;
    second.lose_power().await;
    second.remove("/var/lib/etcd");
    second.boot();
    let said = "etcd: the data directory is empty";
    second
        .until("etcd misses its data", async || crate::sim::guest::lock(&second.journal).contains(said))
        .await;
    let members = master.bad(&format!("{KUBECTL} get nodes -o json")).await;
    assert!(members.contains("timed out"), "two members are one vote short: {members}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_member_is_none_that_answers() {
    let bench = Bench::new();
    let known = Identity::new();
    let master = first_master(&bench, &known).await;
    let second = join(&bench, &known, MASTERS[1].0, MASTERS[1].1, true).await;
    second.kube.freeze(true);
    assert!(master.bad(&format!("{KUBECTL} get nodes -o json")).await.contains("timed out"));
    second.kube.freeze(false);
    assert_eq!(json(&master, "get nodes").await["items"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_root_sees_and_writes_only_what_is_his() {
    let bench = Bench::new();
    let master = first_master(&bench, &Identity::new()).await;
    // The test's reader is root and may read everything: what he cannot read is told by what he does not name.
    assert!(master.run_as(false, "kubectl get nodes", "").await.1.contains("no such file"));
    let admin = master.text("/etc/kubernetes/admin.conf");
    master.put("/home/lab/.kube/config", 0o600, &admin);
    let (status, text) =
        master.run_as(false, "kubectl --kubeconfig /home/lab/.kube/config get nodes", "").await;
    assert_eq!((status, text.as_str()), (0, "k8s-master1\n"));
    assert!(master.run_as(false, "kubeadm reset --force", "").await.1.contains("not running as root"));
    assert!(master.has(ETCD) && master.text("/etc/kubernetes/admin.conf") == admin);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kubeadm_that_is_killed_stops_where_it_was() {
    let bench = Bench::new();
    let known = Identity::new();
    let master = bench.guest("k8s-master1", 131);
    identity(&master, &known);
    master.put("/etc/kubernetes/fusionlab/kubeadm.yaml", 0o600, &init_config());
    master.boot();
    master.until("containerd runs", async || master.run_as(true, "crictl info", "").await.0 == 0).await;
    let (held, killed) = (Arc::clone(&master), Arc::clone(&master));
    let running = tokio::spawn(async move { held.run_as(true, INIT, "").await });
    master.until("it writes", async || killed.has("/etc/kubernetes/manifests/etcd.yaml")).await;
    running.abort();
    assert!(running.await.is_err(), "it had ended already");
    master.good("kubeadm reset --force").await;
    assert!(!master.has("/var/lib/etcd/member"));
    identity(&master, &known);
    // What reset ended lets go of its ports a moment later.
    master.until("it comes up anew", async || master.run_as(true, INIT, "").await.0 == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lab_comes_up_over_real_sockets_and_a_pod_answers_on_its_node_port() {
    let bench = Bench::new();
    let known = Identity::new();
    let master = first_master(&bench, &known).await;
    let mut guests = vec![Arc::clone(&master)];
    for (name, last) in &MASTERS[1..] {
        guests.push(join(&bench, &known, name, *last, true).await);
    }
    for (name, last) in WORKERS {
        guests.push(join(&bench, &known, name, last, false).await);
    }
    for guest in &guests[..3] {
        assert!(
            guest.text(ETCD).contains("k8s-worker2"),
            "every member's disk holds what the last join wrote"
        );
    }
    bake(&master).await;
    master
        .good(&format!(
            "{KUBECTL} apply --server-side --force-conflicts --field-manager fusionlab -f {DEFINITIONS}"
        ))
        .await;
    master.put("/etc/fusionlab/cilium-values.yaml", 0o644, &values().to_string());
    let helm = "helm --kubeconfig=/etc/kubernetes/admin.conf upgrade --install cilium /opt/fusionlab/charts/cilium-1.20.3.tgz \
                --namespace kube-system --values /etc/fusionlab/cilium-values.yaml --description fusionlab:abc --timeout 300s";
    master.good(helm).await;
    for object in ["daemonset/cilium", "daemonset/cilium-envoy", "deployment/cilium-operator"] {
        master.good(&format!("{KUBECTL} rollout status {object} -n kube-system --timeout=600s")).await;
    }
    for guest in &guests {
        assert!(
            guest.has("/etc/cni/net.d/05-cilium.conflist"),
            "an agent writes its file into its own guest"
        );
    }
    master.put("/etc/fusionlab/ingress.yaml", 0o600, &ingress(&known));
    let apply =
        "apply --server-side --force-conflicts --field-manager fusionlab -f /etc/fusionlab/ingress.yaml";
    master.good(&format!("{KUBECTL} {apply}")).await;
    master
        .good(&format!(
            "{KUBECTL} wait --for=condition=Programmed gateways/lab -n lab-gateway --timeout=180s"
        ))
        .await;
    master.good(&format!("{KUBECTL} rollout status deployment/echo -n lab-gateway --timeout=180s")).await;
    master.until("a node port answers", async || reach(&master, 141, 30080).await.is_ok()).await;
    let mut stream = reach(&master, 141, 30080).await.unwrap();
    let response = http::ask(&mut stream, &Request::new("GET", "echo.lab.test", "/where")).await.unwrap();
    assert_eq!(response.status, 200);
    // Without its internet an image that is not there does not come.
    bench.internet.store(false, Ordering::Relaxed);
    assert!(master.bad("crictl pull docker.io/library/redis:8").await.contains("name resolution"));
    // Through another control plane, after the first lost its power.
    master.lose_power().await;
    bench.behind_vip.store(132, Ordering::Relaxed);
    let nodes = json(&guests[1], "get nodes").await;
    assert_eq!(nodes["items"].as_array().unwrap().len(), 5);
}

/// Puts what the template carries, by the bake's own commands where those are ours.
async fn bake(guest: &Guest) {
    use crate::sim::guest::kube::images;
    let chart = "/opt/fusionlab/charts/cilium-1.20.3.tgz";
    guest.put(DEFINITIONS, 0o644, &images::gateway_api("1.6.1"));
    guest.put(chart, 0o644, "");
    #[expect(clippy::disallowed_methods, reason = "a chart is no text")]
    std::fs::write(guest.place(chart), images::chart("1.20.3")).unwrap();
    assert!(guest.good(&format!("helm show chart {chart}")).await.contains("\nversion: 1.20.3\n"));
    guest.good("kubeadm config images pull --kubernetes-version v1.36.4").await;
    guest.good("crictl config --set runtime-endpoint=unix:///run/containerd/containerd.sock").await;
    assert!(guest.text("/etc/crictl.yaml").contains("containerd.sock"));
    let defaults = guest.good("containerd config default").await;
    assert!(defaults.contains("SystemdCgroup = false") && defaults.contains("sandbox = '"), "{defaults}");
    guest.put("/opt/fusionlab/bake/cilium-values.yaml", 0o644, &values().to_string());
    let template = format!(
        "helm template cilium {chart} --namespace kube-system --kube-version v1.36.4 --api-versions \
         gateway.networking.k8s.io/v1/GatewayClass --values /opt/fusionlab/bake/cilium-values.yaml"
    );
    let text = guest.good(&template).await;
    let images: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("image: ")).collect();
    assert_eq!(images.len(), 6, "{text}");
    for image in images {
        guest.good(&format!("crictl pull {image}")).await;
    }
    assert!(guest.good("crictl images").await.contains("quay.io/cilium/cilium:v1.20.3"));
}
