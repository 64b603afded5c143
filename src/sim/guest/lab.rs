//! A lab for the model's tests: the document's machines, brought up by the commands that fusionlab would send.

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
use crate::sim::seam::{Card, Hardware, Segment};

pub const LAN_VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 68, 200);
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 10);
pub const TOKEN: &str = "abcdef.0123456789abcdef";
pub const KUBECTL: &str = "sudo -n kubectl --kubeconfig /etc/kubernetes/admin.conf";
pub const IMAGE: &str = "docker.io/library/nginx:1.28-alpine";

pub const STEPS: &[(&str, &str)] = &[
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
pub fn authority(name: &str) -> Pair {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Pair { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

pub fn signed(authority: &Pair, name: &str) -> Pair {
    let issuer =
        Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key).unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    Pair { certificate: params.signed_by(&key, &issuer).unwrap().pem(), key: key.serialize_pem() }
}

pub fn seed(user_data: Value, instance: &str, network: Value) -> Option<BTreeMap<String, Vec<u8>>> {
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

pub fn card(mac: &str, segment: Segment, slot: u16) -> Card {
    Card { mac: mac.parse().unwrap(), segment, name: format!("ens{slot}") }
}

pub fn hardware(name: &str, cards: Vec<Card>, seed: Option<BTreeMap<String, Vec<u8>>>) -> Hardware {
    let uuid = "56 4d 00 00 00 00 00 00-00 00 00 00 00 00 00 01".to_owned();
    Hardware { name: name.into(), cpus: 2, memory_mib: 4096, disk_bytes: 20 << 30, uuid, cards, seed }
}

/// Bakes the template and keeps its disk under its name.
pub async fn bake(world: &Arc<World>) {
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

pub fn baked(world: &World) -> bool {
    let consoles = lock(&world.consoles);
    consoles["template"].iter().any(|line| line.starts_with("fusionlab-bake: done {"))
        && consoles["template"].last().unwrap().contains("Power down")
}

/// Clones the template's disk and boots it with a seed of its own.
pub async fn clone(world: &Arc<World>, name: &str, cards: Vec<(Card, Ipv4Addr)>) {
    let disk = lock(&world.disks)["template"].clone();
    lock(&world.disks).insert(name.into(), disk);
    let hardware = clone_hardware(world, name, cards);
    world.boot(hardware).await;
}

pub fn clone_hardware(world: &Arc<World>, name: &str, cards: Vec<(Card, Ipv4Addr)>) -> Hardware {
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

pub async fn put(world: &World, name: &str, path: &str, mode: &str, content: &str) {
    let line = format!("sudo -n install -D -o root -g root -m {mode} /dev/stdin {path}.fusionlab-new");
    let (status, text) = world.run_with(name, &line, content).await;
    assert_eq!(status, 0, "{text}");
    world.good(name, &format!("sudo -n mv -f {path}.fusionlab-new {path}")).await;
}

pub const MASTERS: [(&str, u8); 3] = [("k8s-master1", 131), ("k8s-master2", 132), ("k8s-master3", 133)];
pub const WORKERS: [(&str, u8); 2] = [("k8s-worker1", 141), ("k8s-worker2", 142)];

pub fn internal(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 10, 0, last)
}

pub fn gateway_cards(last: u8) -> Vec<(Card, Ipv4Addr)> {
    let lan = card(&format!("00:50:56:00:01:{last:02x}"), Segment::Lan, 160);
    let lab = card(&format!("00:50:56:00:02:{last:02x}"), Segment::Vmnet(2), 192);
    vec![(lan, Ipv4Addr::new(192, 168, 68, 45 + last)), (lab, internal(last))]
}

pub fn node_cards(last: u8) -> Vec<(Card, Ipv4Addr)> {
    vec![(card(&format!("00:50:56:00:02:{last:02x}"), Segment::Vmnet(2), 160), internal(last))]
}

pub fn nginx_conf() -> String {
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

pub async fn gateways(world: &Arc<World>) {
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
pub struct Identity {
    pub ca: Pair,
    pub front: Pair,
    pub etcd: Pair,
    pub web: Pair,
}

impl Identity {
    pub fn new() -> Self {
        Self {
            ca: authority("kubernetes"),
            front: authority("front-proxy-ca"),
            etcd: authority("etcd-ca"),
            web: authority("lab"),
        }
    }

    pub fn hash(&self) -> String {
        tls::public_key_hash(&self.ca.certificate).unwrap()
    }

    pub async fn put(&self, world: &World, node: &str) {
        for (name, pair) in [("ca", &self.ca), ("front-proxy-ca", &self.front), ("etcd/ca", &self.etcd)] {
            put(world, node, &format!("/etc/kubernetes/pki/{name}.crt"), "0644", &pair.certificate).await;
            put(world, node, &format!("/etc/kubernetes/pki/{name}.key"), "0600", &pair.key).await;
        }
        put(world, node, "/etc/kubernetes/pki/sa.key", "0600", "key").await;
        put(world, node, "/etc/kubernetes/pki/sa.pub", "0644", "key").await;
    }
}

pub fn registration(name: &str, last: u8) -> Value {
    json!({"name": name, "criSocket": "unix:///run/containerd/containerd.sock", "kubeletExtraArgs": [{"name": "node-ip", "value": internal(last)}]})
}

pub fn init_config() -> String {
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

pub fn join_config(name: &str, last: u8, hash: &str, control_plane: bool) -> String {
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

pub async fn node(world: &Arc<World>, name: &str, last: u8) {
    clone(world, name, node_cards(last)).await;
    put(world, name, "/etc/hosts", "0644", &format!("127.0.0.1 localhost\n{VIP} k8s-api.lab.internal\n"))
        .await;
    world.good(name, "sudo -n systemctl enable --now containerd").await;
}

pub async fn first_master(world: &Arc<World>, identity: &Identity) {
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

pub async fn prepare_join(
    world: &Arc<World>,
    identity: &Identity,
    name: &str,
    last: u8,
    control_plane: bool,
) {
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

pub const JOIN: &str = "sudo -n kubeadm join --config /etc/kubernetes/fusionlab/join.yaml";

pub fn values() -> Value {
    json!({
        "kubeProxyReplacement": "true", "k8sServiceHost": VIP, "k8sServicePort": 6443, "routingMode": "native",
        "autoDirectNodeRoutes": true, "ipv4NativeRoutingCIDR": "10.244.0.0/16", "ipam": {"mode": "kubernetes"},
        "bpf": {"masquerade": true}, "gatewayAPI": {"enabled": true, "gatewayClass": {"create": "true"}},
        "hubble": {"relay": {"enabled": true}, "ui": {"enabled": true}}, "operator": {"replicas": 2, "rollOutPods": true},
        "rollOutCiliumPods": true,
    })
}

pub const HELM: &str = "sudo -n helm --kubeconfig /etc/kubernetes/admin.conf upgrade --install cilium /opt/fusionlab/charts/cilium-1.20.3.tgz \
                    --namespace kube-system --values /etc/fusionlab/cilium-values.yaml --description fusionlab:abc --timeout 300s";
pub const DEFINITIONS: &str = "apply --server-side --force-conflicts --field-manager fusionlab -f /opt/fusionlab/gateway-api/standard-install.yaml";

pub async fn cilium(world: &World, values: &Value) {
    put(world, "k8s-master1", "/etc/fusionlab/cilium-values.yaml", "0644", &format!("{values:#}\n")).await;
    world.good("k8s-master1", HELM).await;
}

pub async fn rollouts(world: &World) {
    for object in ["daemonset/cilium", "daemonset/cilium-envoy", "deployment/cilium-operator"] {
        world
            .good("k8s-master1", &format!("{KUBECTL} rollout status {object} -n kube-system --timeout=600s"))
            .await;
    }
}

pub fn ingress(identity: &Identity) -> String {
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
pub async fn from_lan(world: &World, port: u16, trust: Option<&Pair>, host: &str) -> (u16, Value) {
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
