//! What the model guests refuse, as the real programs do (facts/kubernetes-cilium.md, facts/test-bench.md §6).

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::fake::World;
use super::lab::*;
use super::lock;

const UNIT: &str = "/usr/local/sbin/fusionlab-kubeadm";
const INIT: &str =
    "sudo -n /usr/local/sbin/fusionlab-kubeadm init --config /etc/kubernetes/fusionlab/kubeadm.yaml";
const MANIFEST: &str = "/opt/fusionlab/gateway-api/standard-install.yaml";

async fn lab() -> (Arc<World>, Identity) {
    let world = World::new();
    bake(&world).await;
    gateways(&world).await;
    (world, Identity::new())
}

/// A prepared first control plane with the program that runs kubeadm as a unit.
async fn prepared(world: &Arc<World>, identity: &Identity) {
    node(world, "k8s-master1", 131).await;
    identity.put(world, "k8s-master1").await;
    put(world, "k8s-master1", "/etc/kubernetes/fusionlab/kubeadm.yaml", "0600", &init_config()).await;
    put(world, "k8s-master1", UNIT, "0755", "#!/bin/sh\n").await;
}

#[tokio::test(start_paused = true)]
async fn kubeadm_outlives_whoever_called_and_the_same_call_follows_it() {
    let (world, identity) = lab().await;
    prepared(&world, &identity).await;
    let began = || world.machine("k8s-master1").live(|live| live.unit_active("fusionlab-kubeadm"));
    {
        let gone = world.run("k8s-master1", INIT);
        tokio::pin!(gone);
        tokio::select! {
            ended = &mut gone => panic!("it ended before anybody could leave: {ended:?}"),
            () = world.until("kubeadm works", began) => {}
        }
    }
    let other = "sudo -n /usr/local/sbin/fusionlab-kubeadm reset --force";
    let (status, text) = world.run("k8s-master1", other).await;
    assert_eq!(status, 75, "another kubeadm is not begun beside it: {text}");
    let text = world.good("k8s-master1", INIT).await;
    assert!(text.contains("initialized successfully"), "{text}");
    assert_eq!(
        text.matches("[init] Using Kubernetes version").count(),
        1,
        "one init, told from its beginning"
    );
    let log = world.good("k8s-master1", "sudo -n cat /var/log/fusionlab-kubeadm.log").await;
    assert!(log.contains("initialized successfully"));
    world.bad("k8s-master1", "cat /var/log/fusionlab-kubeadm.log").await;

    world.good("k8s-master1", other).await;
    let left = world.machine("k8s-master1").disk(|disk| disk.under("/etc/kubernetes/pki").len());
    assert_eq!(left, 0, "what kubeadm leaves behind goes too");
}

#[tokio::test(start_paused = true)]
async fn a_token_whose_day_is_over_is_refused_until_the_phase_puts_it_back() {
    let (world, identity) = lab().await;
    prepared(&world, &identity).await;
    let short = init_config().replace("24h0m0s", "1s");
    put(&world, "k8s-master1", "/etc/kubernetes/fusionlab/kubeadm.yaml", "0600", &short).await;
    world.good("k8s-master1", INIT).await;
    prepare_join(&world, &identity, "k8s-worker1", 141, false).await;
    let refused = world.bad("k8s-worker1", JOIN).await;
    assert!(refused.contains("could not find a JWS signature"), "{refused}");
    put(&world, "k8s-master1", "/etc/kubernetes/fusionlab/kubeadm.yaml", "0600", &init_config()).await;
    let phase = "sudo -n kubeadm init phase bootstrap-token --config /etc/kubernetes/fusionlab/kubeadm.yaml";
    world.good("k8s-master1", phase).await;
    world.good("k8s-worker1", JOIN).await;
}

/// A control plane and a worker, with Cilium rolled out.
async fn small_cluster() -> (Arc<World>, Identity) {
    let (world, identity) = lab().await;
    first_master(&world, &identity).await;
    prepare_join(&world, &identity, "k8s-worker1", 141, false).await;
    world.good("k8s-worker1", JOIN).await;
    world.good("k8s-master1", &format!("{KUBECTL} {DEFINITIONS}")).await;
    cilium(&world, &values()).await;
    rollouts(&world).await;
    (world, identity)
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_under_the_name_of_a_node_that_is_ready() {
    let (world, _) = small_cluster().await;
    let ready = format!("{KUBECTL} wait --for=condition=Ready nodes/k8s-worker1 --timeout=300s");
    world.good("k8s-master1", &ready).await;
    world.good("k8s-worker1", "sudo -n kubeadm reset --force").await;
    let refused = world.bad("k8s-worker1", JOIN).await;
    assert!(refused.contains("status \"Ready\" already exists"), "{refused}");
    world.good("k8s-master1", &format!("{KUBECTL} delete nodes k8s-worker1 --ignore-not-found")).await;
    world.good("k8s-worker1", "sudo -n kubeadm reset --force").await;
    world.good("k8s-worker1", JOIN).await;
}

#[tokio::test(start_paused = true)]
async fn definitions_of_an_old_bundle_leave_the_operator_dead_until_it_starts_again() {
    let (world, identity) = lab().await;
    first_master(&world, &identity).await;
    let whole = world.good("k8s-master1", &format!("cat {MANIFEST}")).await;
    put(&world, "k8s-master1", MANIFEST, "0644", &whole.replace("v1.6.1", "v1.5.0")).await;
    world.good("k8s-master1", &format!("{KUBECTL} {DEFINITIONS}")).await;
    let mut alone = values();
    alone["operator"]["replicas"] = 1.into();
    cilium(&world, &alone).await;
    rollouts(&world).await;
    let accepted = format!("{KUBECTL} wait --for=condition=Accepted gatewayclasses/cilium --timeout=20s");
    world.bad("k8s-master1", &accepted).await;
    put(&world, "k8s-master1", MANIFEST, "0644", &whole).await;
    world.good("k8s-master1", &format!("{KUBECTL} {DEFINITIONS}")).await;
    world.bad("k8s-master1", &accepted).await;
    // The annotation that our values give the operator's pods makes Helm do it.
    alone["operator"]["podAnnotations"] = serde_json::json!({ "fusionlab.dev/gateway-api": "1.6.1" });
    cilium(&world, &alone).await;
    rollouts(&world).await;
    world.good("k8s-master1", &accepted).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_made_anew_has_other_ports_until_ours_is_applied_again() {
    let (world, identity) = small_cluster().await;
    put(&world, "k8s-master1", "/etc/fusionlab/ingress.yaml", "0600", &ingress(&identity)).await;
    let apply = format!(
        "{KUBECTL} apply --server-side --force-conflicts --field-manager fusionlab -f /etc/fusionlab/ingress.yaml"
    );
    world.good("k8s-master1", &apply).await;
    let programmed =
        format!("{KUBECTL} wait --for=condition=Programmed gateways/lab -n lab-gateway --timeout=180s");
    world.good("k8s-master1", &programmed).await;
    assert_eq!(node_ports(&world).await, Some([30080, 30443]));
    world.good("k8s-master1", &format!("{KUBECTL} delete services cilium-gateway-lab -n lab-gateway")).await;
    let mut found = node_ports(&world).await;
    for _ in 0..200 {
        if found.is_some() {
            break;
        }
        world.machine("k8s-master1").look_again(Duration::from_secs(1)).await;
        found = node_ports(&world).await;
    }
    assert!(
        found.is_some_and(|ports| ports != [30080, 30443]),
        "Cilium's own has ports of its own: {found:?}"
    );
    world.good("k8s-master1", &apply).await;
    assert_eq!(node_ports(&world).await, Some([30080, 30443]));
}

/// Returns the NodePorts of the Gateway's Service, while there is one.
async fn node_ports(world: &World) -> Option<[u64; 2]> {
    let get = format!("{KUBECTL} get services cilium-gateway-lab -n lab-gateway -o json --ignore-not-found");
    let service: Value = serde_json::from_str(&world.good("k8s-master1", &get).await).ok()?;
    let port = |wanted: u64| {
        let ports = service["spec"]["ports"].as_array()?;
        ports.iter().find(|port| port["port"] == wanted)?["nodePort"].as_u64()
    };
    Some([port(80)?, port(443)?])
}

#[tokio::test(start_paused = true)]
async fn gateways_that_do_not_hear_each_other_part_and_agree_again() {
    let (world, _) = lab().await;
    let first = world.holders(VIP).remove(0);
    lock(&world.cut).insert(first.clone());
    let other = if first == "gateway1" { "gateway2" } else { "gateway1" };
    world
        .until("the one that is not cut off takes the VIP", || world.holders(VIP).contains(&other.to_owned()))
        .await;
    lock(&world.cut).remove(&first);
    world.machine(&first).commons.announce();
    world
        .until("one of them holds both VIPs again", || {
            world.holders(VIP).len() == 1 && world.holders(VIP) == world.holders(LAN_VIP)
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_machine_uses_follows_what_runs_in_it_and_a_script_is_plain_commands() {
    let world = World::new();
    bake(&world).await;
    node(&world, "k8s-master1", 131).await;
    // As `status` asks.
    let question = "sh -c 'cat /proc/loadavg /proc/meminfo && df -Pk /'";
    let ask = async |name: &str| {
        let text = world.good("k8s-master1", question).await;
        let line = text.lines().find(|line| line.starts_with(name)).expect("it is told");
        let number = line.split_whitespace().nth(if name == "/dev/" { 2 } else { 1 });
        number.and_then(|number| number.parse::<u64>().ok()).expect("a number") * 1024
    };
    let (total, available, taken) = (ask("MemTotal").await, ask("MemAvailable").await, ask("/dev/").await);
    let machine = world.machine("k8s-master1");
    let all = u64::from(machine.hardware.memory_mib) << 20;
    assert!((all / 10 * 9..all).contains(&total) && available < total, "{available} of {total}");
    machine.live(|live| live.static_pods.insert("kube-apiserver".into()));
    machine.change_disk(|disk| disk.put("/var/log/much", 0o644, vec![b'x'; 3 << 20]));
    assert!(ask("MemAvailable").await < available, "what runs takes memory");
    let more = ask("/dev/").await - taken;
    assert!((3 << 20..4 << 20).contains(&more), "what lies there takes room: {more}");
    assert!(world.good("k8s-master1", question).await.starts_with("0.00 "), "nothing is at work");

    world.good("k8s-master1", "sh -c 'true && echo one'").await;
    for bad in ["sh -c 'false && echo one'", "sh -c 'echo $HOME'", "sh -c ''", "sh -c 'true; true'", "df -h"]
    {
        world.bad("k8s-master1", bad).await;
    }
}
