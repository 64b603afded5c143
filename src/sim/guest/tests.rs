//! What the model guests promise, brought up the way fusionlab brings them up: seed, files, commands.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};

use super::fake::World;
use super::http::{self, Request};
use super::keepalived;
use super::lock;
use super::tls::{self, Pair, Trust};
use crate::sim::seam::{Card, Hardware, Machine, Segment};

const LAN_VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 68, 200);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 10);
const TOKEN: &str = "abcdef.0123456789abcdef";
const KUBECTL: &str = "sudo -n kubectl --kubeconfig /etc/kubernetes/admin.conf";
const IMAGE: &str = "docker.io/library/nginx:1.28-alpine";

const STEPS: &[(&str, &str)] = &[
    (
        "10-packages.sh",
        "apt-get install -q -y chrony open-vm-tools openssh-server containerd conntrack nginx libnginx-mod-stream keepalived\n",
    ),
    ("30-containerd.sh", "containerd config default >/etc/containerd/config.toml\n"),
    (
        "40-kubernetes.sh",
        "apt-get install \"kubeadm=$KUBERNETES-*\" \"kubelet=$KUBERNETES-*\" \"kubectl=$KUBERNETES-*\" cri-tools\n",
    ),
    ("50-helm.sh", "curl -O https://get.helm.sh/x\n"),
    ("60-charts.sh", "curl https://helm.cilium.io/cilium-$CILIUM.tgz\ncurl standard-install.yaml\n"),
    (
        "70-images.sh",
        "kubeadm config images pull\ncrictl pull \"registry.k8s.io/pause:$PAUSE\"\ncrictl pull \"$APPLICATION_IMAGE\"\nhelm template cilium\n",
    ),
    (
        "80-services.sh",
        "systemctl disable --now nginx keepalived\nsystemctl enable containerd kubelet chrony open-vm-tools\n",
    ),
    ("90-versions.sh", "jq >/opt/fusionlab/baked.json\n"),
    ("95-reset.sh", "truncate -s 0 /etc/machine-id\n"),
];

/// A CA as the host makes it.
fn authority(name: &str) -> Pair {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Pair { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

fn signed(authority: &Pair, name: &str) -> Pair {
    let issuer =
        Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key).unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    Pair { certificate: params.signed_by(&key, &issuer).unwrap().pem(), key: key.serialize_pem() }
}

fn seed(user_data: Value, instance: &str, network: Value) -> Option<BTreeMap<String, Vec<u8>>> {
    let user_data = format!("#cloud-config\n{user_data}\n").into_bytes();
    let meta = format!("instance-id: {instance}\nlocal-hostname: {instance}\n").into_bytes();
    Some(
        [
            ("user-data".into(), user_data),
            ("meta-data".into(), meta),
            ("network-config".into(), network.to_string().into_bytes()),
        ]
        .into(),
    )
}

fn card(mac: &str, segment: Segment, slot: u16) -> Card {
    Card { mac: mac.parse().unwrap(), segment, name: format!("ens{slot}") }
}

fn hardware(name: &str, cards: Vec<Card>, seed: Option<BTreeMap<String, Vec<u8>>>) -> Hardware {
    let uuid = "56 4d 00 00 00 00 00 00-00 00 00 00 00 00 00 01".to_owned();
    Hardware { name: name.into(), cpus: 2, memory_mib: 4096, uuid, cards, seed }
}

/// Bakes the template and keeps its disk under its name.
async fn bake(world: &Arc<World>) {
    let mut files = vec![
        json!({"path": "/opt/fusionlab/bake/run.sh", "content": "#!/bin/sh\n", "permissions": "0755"}),
        json!({"path": "/etc/fusionlab/versions.env", "content": format!(
            "KUBERNETES=1.36.4\nCILIUM=1.20.3\nGATEWAY_API=1.6.1\nHELM=3.18.6\nCONTAINERD=2.2.0\nPAUSE=3.10.2\nAPPLICATION_IMAGE={IMAGE}\n"
        )}),
        json!({"path": "/usr/local/sbin/fusionlab-facts", "content": "#!/bin/sh\n", "permissions": "0755"}),
        json!({"path": "/etc/sysctl.d/90.conf", "content": "net.ipv4.ip_forward = 1\n"}),
        json!({"path": "/etc/modules-load.d/k.conf", "content": "overlay\nbr_netfilter\n"}),
    ];
    for (name, code) in STEPS {
        files.push(json!({"path": format!("/opt/fusionlab/bake/{name}"), "content": format!("#!/bin/sh\nset -eu\n{code}"), "permissions": "0755"}));
    }
    let mac = "00:50:56:00:00:99";
    world.reserve(mac, Ipv4Addr::new(10, 10, 0, 200));
    let network = json!({"version": 2, "ethernets": {"one": {"match": {"macaddress": mac}, "dhcp4": true}}});
    let user_data = json!({"hostname": "template", "users": [], "write_files": files, "runcmd": [["/opt/fusionlab/bake/run.sh"]]});
    world
        .boot(hardware("template", vec![card(mac, Segment::Vmnet(2), 160)], seed(user_data, "bake", network)))
        .await;
    world
        .until("the template powers off", || lock(&world.disks).contains_key("template") && baked(world))
        .await;
}

fn baked(world: &World) -> bool {
    let consoles = lock(&world.consoles);
    consoles["template"].iter().any(|line| line.starts_with("fusionlab-bake: done {\"version\":1"))
        && consoles["template"].last().unwrap().contains("Power down")
}

/// Clones the template's disk and boots it with a seed of its own.
async fn clone(world: &Arc<World>, name: &str, cards: Vec<(Card, Ipv4Addr)>) {
    let disk = lock(&world.disks)["template"].clone();
    lock(&world.disks).insert(name.into(), disk);
    let hardware = clone_hardware(world, name, cards);
    world.boot(hardware).await;
}

fn clone_hardware(world: &Arc<World>, name: &str, cards: Vec<(Card, Ipv4Addr)>) -> Hardware {
    let mut ethernets = json!({});
    for (card, address) in &cards {
        let mac = card.mac.to_string();
        ethernets[&card.name] = if card.segment == Segment::Lan {
            json!({"match": {"macaddress": mac}, "addresses": [format!("{address}/24")], "routes": [{"to": "default", "via": "192.168.68.1"}]})
        } else if cards.len() == 1 {
            world.reserve(&mac, *address);
            json!({"match": {"macaddress": mac}, "dhcp4": true, "dhcp-identifier": "mac"})
        } else {
            json!({"match": {"macaddress": mac}, "addresses": [format!("{address}/24")], "optional": true})
        };
    }
    let user_data = json!({
        "hostname": name, "manage_etc_hosts": false,
        "users": [{"name": "fusionlab", "sudo": "ALL=(ALL) NOPASSWD:ALL", "ssh_authorized_keys": ["ssh-ed25519 AAAA us"]}],
        "ssh_keys": {"ed25519_private": "KEY", "ed25519_public": "PUB"},
    });
    hardware(
        name,
        cards.into_iter().map(|(card, _)| card).collect(),
        seed(user_data, name, json!({"version": 2, "ethernets": ethernets})),
    )
}

async fn put(world: &World, name: &str, path: &str, mode: &str, content: &str) {
    let line = format!("sudo -n install -D -o root -g root -m {mode} /dev/stdin {path}.fusionlab-new");
    let (status, text) = world.run_with(name, &line, content).await;
    assert_eq!(status, 0, "{text}");
    world.good(name, &format!("sudo -n mv -f {path}.fusionlab-new {path}")).await;
}

const MASTERS: [(&str, u8); 3] = [("k8s-master1", 131), ("k8s-master2", 132), ("k8s-master3", 133)];
const WORKERS: [(&str, u8); 2] = [("k8s-worker1", 141), ("k8s-worker2", 142)];

fn internal(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 10, 0, last)
}

fn gateway_cards(last: u8) -> Vec<(Card, Ipv4Addr)> {
    let lan = card(&format!("00:50:56:00:01:{last:02x}"), Segment::Lan, 160);
    let lab = card(&format!("00:50:56:00:02:{last:02x}"), Segment::Vmnet(2), 192);
    vec![(lan, Ipv4Addr::new(192, 168, 68, 45 + last)), (lab, internal(last))]
}

fn node_cards(last: u8) -> Vec<(Card, Ipv4Addr)> {
    vec![(card(&format!("00:50:56:00:02:{last:02x}"), Segment::Vmnet(2), 160), internal(last))]
}

fn nginx_conf() -> String {
    let servers = |lasts: &[(&str, u8)], port: u16| {
        lasts
            .iter()
            .map(|(_, last)| format!("server 10.10.0.{last}:{port} max_fails=1 fail_timeout=5s; "))
            .collect::<String>()
    };
    format!(
        "include /etc/nginx/modules-enabled/*.conf;\nevents {{ worker_connections 4096; }}\nstream {{\n\
         upstream api {{ least_conn; {} }}\nupstream https {{ least_conn; {} }}\nupstream http {{ least_conn; {} }}\n\
         proxy_connect_timeout 1s;\nproxy_next_upstream_tries 3;\n\
         server {{ listen 6443; proxy_pass api; proxy_timeout 15m; }}\nserver {{ listen 443; proxy_pass https; }}\n\
         server {{ listen 80; proxy_pass http; }}\nserver {{ listen 127.0.0.1:8099; return \"ok\\n\"; }}\n}}\n",
        servers(&MASTERS, 6443),
        servers(&WORKERS, 30443),
        servers(&WORKERS, 30080)
    )
}

async fn gateways(world: &Arc<World>) {
    for (name, own, peer) in [("gateway1", 11, 12), ("gateway2", 12, 11)] {
        clone(world, name, gateway_cards(own)).await;
        put(
            world,
            name,
            "/usr/local/sbin/check-gateway",
            "0755",
            "#!/bin/bash\nexec 3<>/dev/tcp/127.0.0.1/8099\n",
        )
        .await;
        put(world, name, "/etc/nginx/nginx.conf", "0644", &nginx_conf()).await;
        let config = keepalived::tests::config(&internal(own).to_string(), &internal(peer).to_string());
        put(world, name, keepalived::tests::PATH, "0644", &config).await;
        world.good(name, "sudo -n nginx -t -q -c /etc/nginx/nginx.conf").await;
        world.good(name, "sudo -n keepalived -t -f /etc/keepalived/keepalived.conf").await;
        world.good(name, "sudo -n systemctl disable --now kubelet containerd").await;
        world.good(name, "sudo -n systemctl enable --now nginx").await;
        world.good(name, "sudo -n systemctl enable --now keepalived").await;
    }
    world
        .until("one gateway holds both VIPs", || {
            world.holders(VIP).len() == 1 && world.holders(VIP) == world.holders(LAN_VIP)
        })
        .await;
}

/// The lab's authorities.
struct Identity {
    ca: Pair,
    front: Pair,
    etcd: Pair,
    web: Pair,
}

impl Identity {
    fn new() -> Self {
        Self {
            ca: authority("kubernetes"),
            front: authority("front-proxy-ca"),
            etcd: authority("etcd-ca"),
            web: authority("lab"),
        }
    }

    fn hash(&self) -> String {
        tls::public_key_hash(&self.ca.certificate).unwrap()
    }

    async fn put(&self, world: &World, node: &str) {
        for (name, pair) in [("ca", &self.ca), ("front-proxy-ca", &self.front), ("etcd/ca", &self.etcd)] {
            put(world, node, &format!("/etc/kubernetes/pki/{name}.crt"), "0644", &pair.certificate).await;
            put(world, node, &format!("/etc/kubernetes/pki/{name}.key"), "0600", &pair.key).await;
        }
        put(world, node, "/etc/kubernetes/pki/sa.key", "0600", "key").await;
        put(world, node, "/etc/kubernetes/pki/sa.pub", "0644", "key").await;
    }
}

fn registration(name: &str, last: u8) -> Value {
    json!({"name": name, "criSocket": "unix:///run/containerd/containerd.sock", "kubeletExtraArgs": [{"name": "node-ip", "value": internal(last)}]})
}

fn init_config() -> String {
    let init = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "InitConfiguration",
        "bootstrapTokens": [{"token": TOKEN, "ttl": "24h0m0s"}],
        "localAPIEndpoint": {"advertiseAddress": internal(131), "bindPort": 6443},
        "nodeRegistration": registration("k8s-master1", 131),
    });
    let cluster = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "ClusterConfiguration", "kubernetesVersion": "v1.36.4",
        "controlPlaneEndpoint": "k8s-api.lab.internal:6443", "encryptionAlgorithm": "ECDSA-P256",
        "networking": {"podSubnet": "10.244.0.0/16", "serviceSubnet": "10.96.0.0/12"},
        "apiServer": {"certSANs": [LAN_VIP, VIP]}, "proxy": {"disabled": true},
    });
    format!("---\n{init:#}\n---\n{cluster:#}\n")
}

fn join_config(name: &str, last: u8, hash: &str, control_plane: bool) -> String {
    let mut join = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "JoinConfiguration",
        "discovery": {"bootstrapToken": {"token": TOKEN, "apiServerEndpoint": "k8s-api.lab.internal:6443", "caCertHashes": [hash]}},
        "nodeRegistration": registration(name, last),
    });
    if control_plane {
        join["controlPlane"] = json!({"localAPIEndpoint": {"advertiseAddress": internal(last)}});
    }
    format!("{join:#}\n")
}

async fn node(world: &Arc<World>, name: &str, last: u8) {
    clone(world, name, node_cards(last)).await;
    put(world, name, "/etc/hosts", "0644", &format!("127.0.0.1 localhost\n{VIP} k8s-api.lab.internal\n"))
        .await;
    world.good(name, "sudo -n systemctl enable --now containerd").await;
}

async fn first_master(world: &Arc<World>, identity: &Identity) {
    node(world, "k8s-master1", 131).await;
    identity.put(world, "k8s-master1").await;
    put(world, "k8s-master1", "/etc/kubernetes/fusionlab/kubeadm.yaml", "0600", &init_config()).await;
    world
        .good(
            "k8s-master1",
            "sudo -n kubeadm config validate --config /etc/kubernetes/fusionlab/kubeadm.yaml",
        )
        .await;
    let text = world
        .good("k8s-master1", "sudo -n kubeadm init --config /etc/kubernetes/fusionlab/kubeadm.yaml")
        .await;
    assert!(text.contains("initialized successfully"), "{text}");
}

async fn prepare_join(world: &Arc<World>, identity: &Identity, name: &str, last: u8, control_plane: bool) {
    node(world, name, last).await;
    if control_plane {
        identity.put(world, name).await;
    }
    put(
        world,
        name,
        "/etc/kubernetes/fusionlab/join.yaml",
        "0600",
        &join_config(name, last, &identity.hash(), control_plane),
    )
    .await;
}

const JOIN: &str = "sudo -n kubeadm join --config /etc/kubernetes/fusionlab/join.yaml";

fn values() -> Value {
    json!({
        "kubeProxyReplacement": "true", "k8sServiceHost": VIP, "k8sServicePort": 6443, "routingMode": "native",
        "autoDirectNodeRoutes": true, "ipv4NativeRoutingCIDR": "10.244.0.0/16", "ipam": {"mode": "kubernetes"},
        "bpf": {"masquerade": true}, "gatewayAPI": {"enabled": true, "gatewayClass": {"create": "true"}},
        "hubble": {"relay": {"enabled": true}, "ui": {"enabled": true}}, "operator": {"replicas": 2, "rollOutPods": true},
        "rollOutCiliumPods": true,
    })
}

const HELM: &str = "sudo -n helm --kubeconfig /etc/kubernetes/admin.conf upgrade --install cilium /opt/fusionlab/charts/cilium-1.20.3.tgz \
                    --namespace kube-system --values /etc/fusionlab/cilium-values.yaml --description fusionlab:abc --timeout 300s";
const DEFINITIONS: &str = "apply --server-side --force-conflicts --field-manager fusionlab -f /opt/fusionlab/gateway-api/standard-install.yaml";

async fn cilium(world: &World, values: &Value) {
    put(world, "k8s-master1", "/etc/fusionlab/cilium-values.yaml", "0644", &format!("{values:#}\n")).await;
    world.good("k8s-master1", HELM).await;
}

async fn rollouts(world: &World) {
    for object in ["daemonset/cilium", "daemonset/cilium-envoy", "deployment/cilium-operator"] {
        world
            .good("k8s-master1", &format!("{KUBECTL} rollout status {object} -n kube-system --timeout=600s"))
            .await;
    }
}

fn ingress(identity: &Identity) -> String {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let web = signed(&identity.web, "echo.lab.test");
    let home = |name: &str| json!({"name": name, "namespace": "lab-gateway"});
    let everyone = json!({"namespaces": {"from": "All"}});
    let labels = json!({"app": "echo"});
    let route = |section: &str| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": home(&format!("echo-{section}")),
            "spec": {"parentRefs": [{"name": "lab", "sectionName": section}], "hostnames": ["echo.lab.test"], "rules": [{"backendRefs": [{"name": "echo", "port": 80}]}]},
        })
    };
    let all = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lab-gateway"}}),
        json!({"apiVersion": "cilium.io/v2alpha1", "kind": "CiliumGatewayClassConfig", "metadata": home("cilium-nodeport"), "spec": {"service": {"type": "NodePort"}}}),
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "cilium-nodeport"}, "spec": {
            "controllerName": "io.cilium/gateway-controller",
            "parametersRef": {"group": "cilium.io", "kind": "CiliumGatewayClassConfig", "name": "cilium-nodeport", "namespace": "lab-gateway"}}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": home("cilium-gateway-lab"), "spec": {"type": "NodePort", "ports": [
            {"name": "port-80", "port": 80, "protocol": "TCP", "nodePort": 30080}, {"name": "port-443", "port": 443, "protocol": "TCP", "nodePort": 30443}]}}),
        json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": home("lab-tls"), "data": {"tls.crt": encode(&web.certificate), "tls.key": encode(&web.key)}}),
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": home("lab"), "spec": {"gatewayClassName": "cilium-nodeport", "listeners": [
            {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": everyone},
            {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"mode": "Terminate", "certificateRefs": [{"kind": "Secret", "name": "lab-tls"}]}, "allowedRoutes": everyone}]}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": home("echo"), "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "echo", "image": IMAGE}]}}}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": home("echo"), "spec": {"selector": labels, "ports": [{"name": "http", "port": 80}]}}),
        route("http"),
        route("https"),
    ];
    all.iter().map(|document| format!("---\n{document:#}\n")).collect()
}

/// Asks from the LAN; the answer's status, server and body.
async fn from_lan(world: &World, port: u16, trust: Option<&Pair>, host: &str) -> (u16, Value) {
    let wire = world.dial(&[Segment::Lan], SocketAddrV4::new(LAN_VIP, port)).unwrap();
    let request = Request::new("GET", host, "/where");
    let response = match trust {
        None => http::ask(&mut { wire }, &request).await.unwrap(),
        Some(pair) => {
            let config = tls::client(&Trust::Authorities(pair.certificate.clone()), None).unwrap();
            let name = ServerName::try_from(host.to_owned()).unwrap();
            let mut stream = tokio_rustls::TlsConnector::from(config).connect(name, wire).await.unwrap();
            http::ask(&mut stream, &request).await.unwrap()
        }
    };
    (response.status, serde_json::from_slice(&response.body).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_lab_comes_up_and_a_pod_answers_through_the_vip() {
    let world = World::new();
    bake(&world).await;
    gateways(&world).await;
    let identity = Identity::new();
    first_master(&world, &identity).await;
    world.good("gateway1", "curl -sS --max-time 5 --insecure https://10.10.0.10:6443/readyz").await;
    let (_, version) = from_lan(&world, 6443, Some(&identity.ca), "192.168.68.200").await;
    assert_ne!(version["code"], 200, "strangers see no objects: {version}");
    for (name, last) in &MASTERS[1..] {
        prepare_join(&world, &identity, name, *last, true).await;
        world.good(name, JOIN).await;
    }
    for (name, last) in WORKERS {
        prepare_join(&world, &identity, name, last, false).await;
        world.good(name, JOIN).await;
    }
    let nodes: Value =
        serde_json::from_str(&world.good("k8s-master1", &format!("{KUBECTL} get nodes -o json")).await)
            .unwrap();
    assert_eq!(nodes["items"].as_array().unwrap().len(), 5);
    assert!(
        nodes["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|node| node["status"]["conditions"][0]["status"] == "False"),
        "NotReady without a CNI"
    );
    world.good("k8s-master1", &format!("{KUBECTL} {DEFINITIONS}")).await;
    cilium(&world, &values()).await;
    rollouts(&world).await;
    for (name, _) in MASTERS.iter().chain(&WORKERS) {
        world
            .good("k8s-master1", &format!("{KUBECTL} wait --for=condition=Ready nodes/{name} --timeout=300s"))
            .await;
    }
    put(&world, "k8s-master1", "/etc/fusionlab/ingress.yaml", "0600", &ingress(&identity)).await;
    world.good("k8s-master1", &format!("{KUBECTL} apply --server-side --force-conflicts --field-manager fusionlab -f /etc/fusionlab/ingress.yaml")).await;
    world
        .good(
            "k8s-master1",
            &format!("{KUBECTL} wait --for=condition=Programmed gateways/lab -n lab-gateway --timeout=180s"),
        )
        .await;
    world
        .good(
            "k8s-master1",
            &format!("{KUBECTL} rollout status deployment/echo -n lab-gateway --timeout=180s"),
        )
        .await;
    let service: Value = serde_json::from_str(
        &world
            .good("k8s-master1", &format!("{KUBECTL} get services cilium-gateway-lab -n lab-gateway -o json"))
            .await,
    )
    .unwrap();
    assert_eq!(
        [&service["spec"]["ports"][0]["nodePort"], &service["spec"]["ports"][1]["nodePort"]],
        [&json!(30080), &json!(30443)],
        "adopted, ports kept"
    );
    let (status, body) = from_lan(&world, 80, None, "echo.lab.test").await;
    assert_eq!((status, &body["host"]), (200, &json!("echo.lab.test")), "{body}");
    let (status, body) = from_lan(&world, 443, Some(&identity.web), "echo.lab.test").await;
    assert!(
        status == 200 && body["pod"].as_str().unwrap().starts_with("echo-") && body["path"] == "/where",
        "{body}"
    );
    assert_eq!(from_lan(&world, 80, None, "other.lab.test").await.0, 404);
    let facts = world.good("k8s-worker1", "sudo -n /usr/local/sbin/fusionlab-facts /etc/hosts /none").await;
    for part in [
        "hostname=k8s-worker1\n",
        "cloud_init=done\n",
        "address=ens160 10.10.0.141\n",
        "unit=kubelet active\n",
        "version=kubeadm v1.36.4\n",
        "version=cilium-chart 1.20.3\n",
        "kubernetes=kubelet.conf\n",
    ] {
        assert!(facts.contains(part), "{part}{facts}");
    }
    assert!(
        world
            .good(
                "k8s-master1",
                &format!("{KUBECTL} -n kube-system exec ds/cilium -c cilium-agent -- cilium-dbg status")
            )
            .await
            .contains("Cluster health:          5/5")
    );
    survives(&world, &identity).await;
}

/// What a lab that stands must live through.
async fn survives(world: &Arc<World>, identity: &Identity) {
    // A gateway's keepalived stops: the other takes both addresses, and never two hold one.
    let first = world.holders(VIP).remove(0);
    world.good(&first, "sudo -n systemctl stop keepalived").await;
    world
        .until("the other gateway takes the VIPs", || {
            world.holders(VIP).len() == 1 && world.holders(VIP)[0] != first
        })
        .await;
    assert_eq!(from_lan(world, 443, Some(&identity.web), "echo.lab.test").await.0, 200);
    world.good(&first, "sudo -n systemctl start keepalived").await;
    assert_eq!(world.holders(LAN_VIP).len(), 1, "equal priority does not take it back");
    // One master less is a majority, two are not.
    world.pull_plug("k8s-master3");
    world.good("k8s-master1", &format!("{KUBECTL} get --raw /readyz")).await;
    world.pull_plug("k8s-master2");
    world.bad("k8s-master1", &format!("{KUBECTL} get nodes -o json")).await;
    // It comes back from its disk.
    world.boot(clone_hardware(world, "k8s-master2", node_cards(132))).await;
    world
        .until("the API is back", || {
            world.machine("k8s-master2").live(|live| live.static_pods.contains("kube-apiserver"))
        })
        .await;
    world.good("k8s-master1", &format!("{KUBECTL} get gateways lab -n lab-gateway -o json")).await;
    let member: Value = serde_json::from_str(&world.good("k8s-master1", &format!("{KUBECTL} -n kube-system exec etcd-k8s-master1 -- etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/a --cert=/b --key=/c member list -w json").replace("--cacert=/a", "--cacert=/etc/kubernetes/pki/etcd/ca.crt")).await).unwrap();
    assert_eq!(member["members"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_that_kubeadm_would_refuse_are_refused() {
    let world = World::new();
    bake(&world).await;
    gateways(&world).await;
    let identity = Identity::new();
    first_master(&world, &identity).await;
    let again = world
        .bad("k8s-master1", "sudo -n kubeadm init --config /etc/kubernetes/fusionlab/kubeadm.yaml")
        .await;
    for name in [
        "Port-6443",
        "FileAvailable--etc-kubernetes-manifests-kube-apiserver.yaml",
        "DirAvailable--var-lib-etcd",
    ] {
        assert!(again.contains(&format!("[ERROR {name}]")), "{again}");
    }
    prepare_join(&world, &identity, "k8s-worker1", 141, false).await;
    let wrong = join_config("k8s-worker1", 141, &format!("sha256:{}", "0".repeat(64)), false);
    put(&world, "k8s-worker1", "/etc/kubernetes/fusionlab/join.yaml", "0600", &wrong).await;
    assert!(world.bad("k8s-worker1", JOIN).await.contains("none of the public keys"));
    // Without its authorities a control plane does not join.
    node(&world, "k8s-master2", 132).await;
    put(
        &world,
        "k8s-master2",
        "/etc/kubernetes/fusionlab/join.yaml",
        "0600",
        &join_config("k8s-master2", 132, &identity.hash(), true),
    )
    .await;
    assert!(world.bad("k8s-master2", JOIN).await.contains("failure loading certificate"));
    // Two learners at once.
    identity.put(&world, "k8s-master2").await;
    prepare_join(&world, &identity, "k8s-master3", 133, true).await;
    let (one, two) = tokio::join!(world.run("k8s-master2", JOIN), world.run("k8s-master3", JOIN));
    let refused = [&one, &two].into_iter().filter(|(status, _)| *status != 0).collect::<Vec<_>>();
    assert_eq!(refused.len(), 1, "{one:?} {two:?}");
    assert!(refused[0].1.contains("too many learner members in cluster"), "{}", refused[0].1);
    let loser = if one.0 != 0 { "k8s-master2" } else { "k8s-master3" };
    world.good(loser, "sudo -n kubeadm reset --force").await;
    identity.put(&world, loser).await;
    world.good(loser, JOIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_wants_a_prepared_machine_and_a_strict_file() {
    let world = World::new();
    bake(&world).await;
    clone(&world, "k8s-master1", node_cards(131)).await;
    let path = "/etc/kubernetes/fusionlab/kubeadm.yaml";
    put(&world, "k8s-master1", path, "0600", &init_config().replace("certSANs", "certificateNames")).await;
    assert!(
        world
            .bad("k8s-master1", &format!("sudo -n kubeadm init --config {path}"))
            .await
            .contains("certificateNames")
    );
    put(&world, "k8s-master1", path, "0600", &init_config()).await;
    world.good("k8s-master1", "sudo -n systemctl stop containerd").await;
    assert!(
        world
            .bad("k8s-master1", &format!("sudo -n kubeadm init --config {path}"))
            .await
            .contains("[ERROR CRI]")
    );
    world.good("k8s-master1", "sudo -n systemctl start containerd").await;
    assert!(
        world
            .bad("k8s-master1", &format!("sudo -n kubeadm init --config {path}"))
            .await
            .contains("no such host")
    );
    assert!(
        world.bad("k8s-master1", &format!("kubeadm init --config {path}")).await.contains("IsPrivilegedUser")
    );
    assert_eq!(
        world.run("k8s-master1", "frobnicate").await,
        (127, "bash: line 1: frobnicate: command not found\n".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cilium_is_believed_only_with_values_that_work() {
    let world = World::new();
    bake(&world).await;
    gateways(&world).await;
    let identity = Identity::new();
    first_master(&world, &identity).await;
    put(&world, "k8s-master1", "/etc/fusionlab/cilium-values.yaml", "0644", &values().to_string()).await;
    assert!(world.bad("k8s-master1", HELM).await.contains("no matches for kind \"GatewayClass\""));
    let mut wrong = values();
    wrong["gatewayAPI"]["gatewayClass"]["create"] = "auto".into();
    wrong["ipv4NativeRoutingCIDR"] = "".into();
    cilium(&world, &wrong).await;
    let waited = format!("{KUBECTL} rollout status daemonset/cilium -n kube-system --timeout=60s");
    assert!(world.bad("k8s-master1", &waited).await.contains("timed out"));
    // The definitions come too late: the operator looked once.
    let mut good = values();
    good["gatewayAPI"]["gatewayClass"]["create"] = "auto".into();
    good["operator"]["replicas"] = 1.into();
    cilium(&world, &good).await;
    rollouts(&world).await;
    world.good("k8s-master1", &format!("{KUBECTL} {DEFINITIONS}")).await;
    let class = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: cilium}\nspec: {controllerName: io.cilium/gateway-controller}\n";
    put(&world, "k8s-master1", "/tmp/class.yaml", "0644", class).await;
    world.good("k8s-master1", &format!("{KUBECTL} apply --server-side -f /tmp/class.yaml")).await;
    let accepted = format!("{KUBECTL} wait --for=condition=Accepted gatewayclasses/cilium --timeout=20s");
    world.bad("k8s-master1", &accepted).await;
    world
        .good("k8s-master1", &format!("{KUBECTL} rollout restart deployment/cilium-operator -n kube-system"))
        .await;
    world
        .good(
            "k8s-master1",
            &format!("{KUBECTL} rollout status deployment/cilium-operator -n kube-system --timeout=60s"),
        )
        .await;
    world.good("k8s-master1", &accepted).await;
    let releases: Value = serde_json::from_str(&world.good("k8s-master1", "sudo -n helm --kubeconfig /etc/kubernetes/admin.conf list --namespace kube-system --all -o json").await).unwrap();
    assert_eq!(
        (&releases[0]["status"], &releases[0]["chart"]),
        (&json!("deployed"), &json!("cilium-1.20.3"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_gateway_file_is_refused_and_what_runs_stays() {
    let world = World::new();
    bake(&world).await;
    gateways(&world).await;
    let bad = nginx_conf().replace("proxy_pass api;", "proxy_pas api;");
    let line = "sudo -n install -D -o root -g root -m 0644 /dev/stdin /etc/nginx/nginx.conf.fusionlab-new";
    assert_eq!(world.run_with("gateway1", line, &bad).await.0, 0);
    assert!(
        world
            .bad("gateway1", "sudo -n nginx -t -q -c /etc/nginx/nginx.conf.fusionlab-new")
            .await
            .contains("proxy_pas")
    );
    put(&world, "gateway1", "/etc/nginx/nginx.conf", "0644", &bad).await;
    world.bad("gateway1", "sudo -n systemctl reload nginx").await;
    assert!(
        world.good("gateway1", "systemctl is-active nginx").await.contains("active"),
        "a failed reload keeps the old workers"
    );
    let holder = world.holders(VIP).remove(0);
    world.pull_plug(&holder);
    world.until("the other takes over", || world.holders(VIP).len() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_that_is_wrong_shows_in_cloud_inits_status() {
    let world = World::new();
    bake(&world).await;
    let disk = lock(&world.disks)["template"].clone();
    lock(&world.disks).insert("a".into(), disk);
    let user_data = json!({
        "hostnme": "a", "users": [{"name": "fusionlab", "sudo": "ALL=(ALL) NOPASSWD:ALL", "ssh_authorized_keys": ["k"]}],
        "runcmd": [["false"]],
    });
    world.reserve("00:50:56:00:02:01", internal(150));
    let network = json!({"version": 2, "ethernets": {"a": {"match": {"macaddress": "00:50:56:00:02:01"}, "dhcp4": true}}});
    let mut machine = hardware(
        "a",
        vec![card("00:50:56:00:02:01", Segment::Vmnet(2), 160)],
        seed(user_data, "one", network),
    );
    let model = world.boot(machine.clone()).await;
    let (status, text) = world.run("a", "cloud-init status --format json").await;
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &told["status"]), (1, &json!("error")), "{text}");
    assert!(told["recoverable_errors"]["WARNING"][0].as_str().unwrap().contains("hostnme"));
    let id = world.good("a", "cat /etc/machine-id").await;
    assert!(
        model.ssh().unwrap().host_key.contains("OPENSSH PRIVATE KEY"),
        "without ssh_keys it makes its own"
    );
    // The same instance boots again: nothing runs twice, the machine id stays.
    model.shut_down().await;
    world.boot(machine.clone()).await;
    let (status, text) = world.run("a", "cloud-init status --format json").await;
    assert!(status != 1 && text.contains("\"done\""), "{text}");
    assert_eq!(world.good("a", "cat /etc/machine-id").await, id);
    // Without a seed and without a rule for it, cloud-init does nothing and the network stays.
    world.machine("a").shut_down().await;
    machine.seed = None;
    world.boot(machine).await;
    assert!(world.good("a", "cloud-init status --format json").await.contains("disabled"));
    assert_eq!(world.holders(internal(150)), ["a"]);
}
