//! What the model guests promise, brought up the way fusionlab brings them up: seed, files, commands.

use std::sync::Arc;

use serde_json::{Value, json};

use super::fake::World;
use super::lab::*;
use super::lock;
use crate::sim::seam::{Machine, Segment};

#[tokio::test(start_paused = true)]
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
        "enabled=kubelet enabled\n",
        " /etc/kubernetes/kubelet.conf\n",
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
    let internet = "curl -sS --max-time 10 -o /dev/null -w %{http_code} -I https://google.com";
    assert_eq!(world.good("k8s-worker1", internet).await, "301");
    world.internet.store(false, std::sync::atomic::Ordering::Relaxed);
    assert!(world.bad("k8s-worker1", internet).await.contains("Could not resolve host"));
    let entry = world.good("gateway2", "curl -sS --max-time 10 -I http://10.10.0.142:30080/").await;
    assert!(entry.starts_with("HTTP/1.1 404") && entry.contains("server: envoy"), "{entry}");
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

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
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

/// Units with what their drop-ins say of a restart.
const RESTARTS: [(&str, &str); 2] = [("nginx", "100ms"), ("keepalived", "1.5")];

#[tokio::test(start_paused = true)]
async fn what_is_killed_comes_back_as_its_drop_in_says_and_leaves_its_addresses_until_then() {
    let world = World::new();
    bake(&world).await;
    gateways(&world).await;
    let holder = world.holders(VIP).remove(0);
    let other = if holder == "gateway1" { "gateway2" } else { "gateway1" };
    let kill = |unit: &str| format!("sudo -n systemctl kill --signal=SIGKILL {unit}");
    assert!(world.bad(&holder, "systemctl kill --signal=SIGKILL nginx").await.contains("authentication"));
    assert!(world.bad(&holder, &kill("fridge")).await.contains("not loaded"));
    assert!(world.bad(&holder, "sudo -n systemctl kill nginx").await.contains("SIGKILL only"));
    // Without a drop-in nobody starts it again, and a killed Keepalived keeps what it held.
    world.good(&holder, &kill("keepalived")).await;
    assert!(world.bad(&holder, "systemctl is-active keepalived").await.contains("failed"));
    world.until("both hold the VIP", || world.holders(VIP).len() == 2).await;
    assert!(world.good(&holder, "ip -4 addr").await.contains("10.10.0.10/24"));
    world.good(&holder, "sudo -n systemctl start keepalived").await;
    world.until("the other alone holds it", || world.holders(VIP) == [other]).await;
    for (unit, pause) in RESTARTS {
        let text = format!("[Service]\nRestart=always\nRestartSec={pause}\n");
        let path = format!("/etc/systemd/system/{unit}.service.d/fusionlab.conf");
        put(&world, other, &path, "0644", &text).await;
        world.good(other, &kill(unit)).await;
        let active = || world.machine(other).live(|live| live.unit_active(unit));
        world.until("it is back", active).await;
    }
    world
        .until("one holds the VIPs", || world.holders(VIP).len() == 1 && world.holders(LAN_VIP).len() == 1)
        .await;
    // What was stopped stays down, though it was to start again.
    world.good(other, &kill("nginx")).await;
    world.good(other, "sudo -n systemctl stop nginx").await;
    assert!(world.bad(other, "systemctl is-active nginx").await.contains("inactive"));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_set_down_carries_nothing_and_the_other_gateway_takes_over() {
    let world = World::new();
    bake(&world).await;
    gateways(&world).await;
    let holder = world.holders(LAN_VIP).remove(0);
    let other = if holder == "gateway1" { "gateway2" } else { "gateway1" };
    assert!(world.bad(&holder, "ip link set dev ens160 down").await.contains("not permitted"));
    assert!(world.bad(&holder, "sudo -n ip link set dev ens999 down").await.contains("Cannot find device"));
    world.good(&holder, "ping -n -q -c 1 -W 1 -I ens160 192.168.68.1").await;
    world.good(&holder, "sudo -n ip link set dev ens160 down").await;
    world
        .until("the other takes both", || world.holders(LAN_VIP) == [other] && world.holders(VIP) == [other])
        .await;
    let addresses = world.good(&holder, "ip -4 addr").await;
    assert!(!addresses.contains("192.168.68."), "{addresses}");
    assert!(!world.good(&holder, "ip -4 route").await.contains("ens160"));
    world.bad(&holder, "ping -n -q -c 1 -W 1 -I ens160 192.168.68.1").await;
    world.good(&holder, "sudo -n ip link set dev ens160 up").await;
    assert!(world.good(&holder, "ip -4 addr").await.contains("192.168.68."));
    world.good(&holder, "ping -n -q -c 1 -W 1 -I ens160 192.168.68.1").await;
    assert_eq!(world.holders(VIP), [other], "equal priority takes nothing back");
}

#[tokio::test(start_paused = true)]
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
