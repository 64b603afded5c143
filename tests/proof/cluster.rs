//! What makes checks of the pod network and of the cluster's entry fail.

use serde_json::json;

use super::bench::Bench;
use super::causes::Cause;

const SERVICES: (&str, &str) = ("lab-gateway", "services");
const SYSTEM_MAP: (&str, &str) = ("kube-system", "configmaps");
/// Whatever goes through the Gateway.
const THROUGH: &[&str] = &[
    "worker.http",
    "worker.https",
    "worker.cross-node",
    "lan.http",
    "lan.https",
    "lan.spread",
    "lan.routing",
    "lan.neighbour",
    "gateway.forwards-web",
    "cilium.bpf",
];

pub const CAUSES: &[Cause] = &[
    Cause {
        what: "kube-proxy is back",
        must: &["cilium.kube-proxy", "cilium.iptables"],
        may: &[],
        bring: |bench| bench.apply(&kube_proxy()),
        mend: |bench| {
            bench.kubectl(&["-n", "kube-system", "delete", "daemonset", "kube-proxy"]);
            for node in bench.lab.members() {
                bench.guest(&node.name, "iptables-restore");
            }
        },
    },
    Cause {
        what: "Cilium tunnels",
        must: &["cilium.datapath"],
        may: &[],
        bring: |bench| setting(bench, "routing-mode", "tunnel"),
        mend: |bench| setting(bench, "routing-mode", "native"),
    },
    Cause {
        what: "a node has no route to another's pods",
        must: &["cilium.routes", "pods.pod", "policy.blocks"],
        may: &[
            "worker.https",
            "worker.cross-node",
            "lan.http",
            "lan.https",
            "lan.spread",
            "lan.neighbour",
            "gateway.forwards-web",
            "pods.dns",
            "pods.internet",
        ],
        bring: |bench| {
            let routes = bench.guest("k8s-worker1", "ip -4 route");
            let lost = routes.lines().find(|line| line.contains("via 10.10.0.142 ")).expect("it has one");
            let part = lost.split(' ').next().expect("a route has a destination");
            bench.guest("k8s-worker1", &format!("ip route del {part}"));
        },
        mend: |bench| restart(bench, "daemonset/cilium"),
    },
    Cause {
        what: "Hubble's relay has no image",
        must: &["cilium.hubble"],
        may: &[],
        bring: |bench| containers(bench, "hubble-relay", "none.test/none:1"),
        mend: |bench| containers(bench, "hubble-relay", "quay.io/cilium/hubble-relay:v1.20.3"),
    },
    Cause {
        what: "Hubble's UI has no image",
        must: &["hubble.ui"],
        may: &[],
        bring: |bench| containers(bench, "hubble-ui", "none.test/none:1"),
        mend: |bench| containers(bench, "hubble-ui", "quay.io/cilium/hubble-ui:v0.13.5"),
    },
    Cause {
        what: "Hubble is off",
        must: &["hubble.flows"],
        may: &[],
        bring: |bench| setting(bench, "enable-hubble", "false"),
        mend: |bench| setting(bench, "enable-hubble", "true"),
    },
    Cause {
        what: "a pod has an address of Cilium's own pool",
        must: &["pods.addresses"],
        may: &[],
        bring: |bench| pod_address(bench, "10.0.1.7"),
        mend: |bench| pod_address(bench, "10.244.3.77"),
    },
    Cause {
        what: "a Service has an address of another range",
        must: &["services.addresses"],
        may: &[],
        bring: |bench| {
            bench.patch(("kube-system", "services"), "hubble-ui", r#"{"spec":{"clusterIP":"172.20.0.9"}}"#)
        },
        mend: |bench| {
            bench.patch(("kube-system", "services"), "hubble-ui", r#"{"spec":{"clusterIP":"10.96.7.7"}}"#)
        },
    },
    Cause {
        what: "the API has no Service",
        must: &["pods.service"],
        may: &[],
        bring: |bench| drop(bench.kubectl(&["-n", "default", "delete", "service", "kubernetes"])),
        mend: |bench| {
            let service = json!({
                "apiVersion": "v1", "kind": "Service", "metadata": { "name": "kubernetes", "namespace": "default" },
                "spec": { "clusterIP": "10.96.0.1", "ports": [{ "name": "https", "port": 443, "targetPort": 6443 }] },
            });
            bench.apply(&service.to_string());
        },
    },
    Cause {
        what: "CoreDNS does not run",
        must: &["pods.dns", "pods.internet"],
        may: &[],
        bring: |bench| bench.patch(("kube-system", "deployments"), "coredns", r#"{"spec":{"replicas":0}}"#),
        mend: |bench| bench.patch(("kube-system", "deployments"), "coredns", r#"{"spec":{"replicas":2}}"#),
    },
    Cause {
        what: "Cilium does not masquerade",
        must: &["cilium.datapath", "pods.internet"],
        may: &[],
        bring: |bench| setting(bench, "enable-ipv4-masquerade", "false"),
        mend: |bench| setting(bench, "enable-ipv4-masquerade", "true"),
    },
    Cause {
        what: "the policy is gone",
        must: &["policy.blocks"],
        may: &[],
        bring: |bench| drop(bench.kubectl(&["-n", "lab-gateway", "delete", "networkpolicies", "echo"])),
        mend: Bench::apply_ingress,
    },
    Cause {
        what: "the class is gone",
        must: &["gateway-api.class"],
        may: &[],
        bring: |bench| drop(bench.kubectl(&["delete", "gatewayclasses", "cilium-nodeport"])),
        mend: Bench::apply_ingress,
    },
    Cause {
        what: "the Gateway is gone, and its Service with it",
        must: &[
            "gateway-api.gateway",
            "gateway-api.node-ports",
            "cilium.envoy-config",
            "cilium.bpf",
            "worker.http",
            "worker.https",
            "worker.cross-node",
            "lan.http",
            "lan.https",
            "lan.spread",
            "lan.routing",
            "lan.neighbour",
            "gateway.forwards-web",
        ],
        may: &["gateway-api.routes"],
        bring: |bench| drop(bench.kubectl(&["-n", "lab-gateway", "delete", "gateways", "lab"])),
        mend: Bench::apply_ingress,
    },
    Cause {
        what: "a route names a backend that is not there",
        must: &[
            "gateway-api.routes",
            "worker.https",
            "worker.cross-node",
            "lan.https",
            "lan.spread",
            "lan.neighbour",
            "gateway.forwards-web",
        ],
        may: &[],
        bring: |bench| {
            let patch = r#"{"spec":{"rules":[{"backendRefs":[{"name":"nobody","port":80}]}]}}"#;
            bench.patch(("lab-gateway", "httproutes"), "echo-https", patch);
        },
        mend: Bench::apply_ingress,
    },
    Cause {
        what: "the Gateway's Service was made anew",
        must: &["gateway-api.node-ports"],
        may: THROUGH,
        bring: |bench| drop(bench.kubectl(&["-n", SERVICES.0, "delete", SERVICES.1, "cilium-gateway-lab"])),
        mend: Bench::put_right,
    },
    Cause {
        what: "Envoy's configuration is gone while no operator runs",
        must: &["cilium.envoy-config", "cilium.bpf"],
        may: THROUGH,
        bring: |bench| {
            bench.patch(("kube-system", "deployments"), "cilium-operator", r#"{"spec":{"replicas":0}}"#);
            bench.kubectl(&["-n", "lab-gateway", "delete", "ciliumenvoyconfigs", "cilium-gateway-lab"]);
        },
        mend: |bench| {
            bench.patch(("kube-system", "deployments"), "cilium-operator", r#"{"spec":{"replicas":2}}"#)
        },
    },
    Cause {
        what: "the operator found definitions that are too old",
        must: &["cilium.operator-log"],
        may: &[],
        bring: |bench| bundle(bench, "v1.2.0"),
        mend: |bench| bundle(bench, "v1.6.1"),
    },
    Cause {
        what: "one node's Envoy refuses its configuration",
        must: &["cilium.agent-log", "worker.http", "worker.https", "worker.cross-node"],
        may: &[],
        bring: |bench| {
            bench.run(&["sim", "fault", "envoy-nack", "--on", "k8s-worker1"]).exits(0);
            restart(bench, "daemonset/cilium");
        },
        mend: |bench| {
            bench.run(&["sim", "fault", "--clear"]).exits(0);
            restart(bench, "daemonset/cilium");
        },
    },
    Cause {
        what: "a route takes every host",
        must: &["lan.routing"],
        may: &[],
        bring: |bench| {
            bench.patch(("lab-gateway", "httproutes"), "echo-http", r#"{"spec":{"hostnames":[]}}"#)
        },
        mend: Bench::apply_ingress,
    },
    Cause {
        what: "the router leads the LAN into the lab's network",
        must: &["lan.isolation"],
        may: &[],
        bring: |bench| drop(bench.run(&["sim", "fault", "lan-routed"]).exits(0)),
        mend: |bench| drop(bench.run(&["sim", "fault", "--clear"]).exits(0)),
    },
];

fn setting(bench: &Bench, name: &str, value: &str) {
    bench.patch(SYSTEM_MAP, "cilium-config", &json!({ "data": { name: value } }).to_string());
}

/// Lets a workload's pods start anew, and waits until they have.
fn restart(bench: &Bench, workload: &str) {
    bench.kubectl(&["-n", "kube-system", "rollout", "restart", workload]);
    bench.kubectl(&["-n", "kube-system", "rollout", "status", workload, "--timeout=120s"]);
}

fn containers(bench: &Bench, name: &str, image: &str) {
    let containers = json!([{ "name": name, "image": image, "imagePullPolicy": "Never" }]);
    let patch = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
    bench.patch(("kube-system", "deployments"), name, &patch.to_string());
}

fn pod_address(bench: &Bench, address: &str) {
    let text = bench.kubectl(&["-n", "kube-system", "get", "pods", "-l", "k8s-app=hubble-ui", "-o", "json"]);
    let pods: serde_json::Value = serde_json::from_str(&text).expect("kubectl prints JSON");
    let name = pods["items"][0]["metadata"]["name"].as_str().expect("there is one").to_owned();
    bench.patch(("kube-system", "pods"), &name, &json!({ "status": { "podIP": address } }).to_string());
}

fn kube_proxy() -> String {
    let labels = json!({ "k8s-app": "kube-proxy" });
    let container = json!({ "name": "kube-proxy", "image": "registry.k8s.io/kube-proxy:v1.36.4" });
    let template = json!({
        "metadata": { "labels": labels },
        "spec": { "hostNetwork": true, "tolerations": [{ "operator": "Exists" }], "containers": [container] },
    });
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": { "name": "kube-proxy", "namespace": "kube-system" },
        "spec": { "selector": { "matchLabels": labels }, "template": template },
    })
    .to_string()
}

/// Lets the definitions be of a release, and the operator look at them anew.
fn bundle(bench: &Bench, release: &str) {
    let annotation = format!("gateway.networking.k8s.io/bundle-version={release}");
    let name = "gateways.gateway.networking.k8s.io";
    bench.kubectl(&["annotate", "customresourcedefinitions", name, &annotation, "--overwrite"]);
    restart(bench, "deployment/cilium-operator");
}
