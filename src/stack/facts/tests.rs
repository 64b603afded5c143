use serde_json::json;

use super::*;

const GUEST: &str = "hostname=k8s-master1
boot_id=9c677b70-ead6-42ba-9893-da31513e9ac9
machine_id=3d1219c7c4c5404aaa1f6d2a48adfda4
product_uuid=564d0000-0000-0000-0000-000000000000
cloud_init=not run
clock_ms=1795444824113
address=ens160 10.10.0.131
unit=containerd active
unit=kubelet activating
file=6ddf9e4f40a00c9c803fc850c98175fc269762f22bc2d0e4112b65ec1efba16a /etc/my hosts
version=kubeadm v1.36.4
kubernetes=admin.conf
kubernetes=manifest-etcd
enabled=kubelet disabled
certificate=1795358424 1953124824 /etc/kubernetes/pki/apiserver.crt
api_name=10.10.0.10
";

#[test]
fn a_guests_lines_become_facts() {
    let facts = parse_guest(GUEST).unwrap();
    assert!(facts.holds(Ipv4Addr::new(10, 10, 0, 131)) && facts.unit_active("containerd"));
    assert_eq!((facts.cloud_init.as_str(), facts.clock_ms), ("not run", 1_795_444_824_113));
    assert!(facts.files.contains_key("/etc/my hosts"));
    assert_eq!(facts.versions["kubeadm"], "v1.36.4");
    assert_eq!(facts.kubernetes, ["admin.conf", "manifest-etcd"]);
    assert!(facts.unit_off_at_boot("kubelet") && !facts.unit_off_at_boot("containerd"));
    let validity = Validity { begins: 1_795_358_424, ends: 1_953_124_824 };
    assert_eq!(facts.certificates["/etc/kubernetes/pki/apiserver.crt"], validity);
    assert_eq!(facts.api_names, ["10.10.0.10"]);
}

#[test]
fn a_clock_is_off_by_no_more_than_the_way_there_and_back_cannot_explain() {
    let off = |clock_ms, sent, received| {
        let mut facts = GuestFacts { clock_ms, ..GuestFacts::default() };
        facts.compare_clock(sent, received);
        facts.clock_off_ms
    };
    assert_eq!(off(5_000, 4_000, 6_000), 0);
    assert_eq!(off(1_000, 4_000, 6_000), -3_000);
    assert_eq!(off(9_000, 4_000, 6_000), 3_000);
    assert_eq!(off(5_000, 6_000, 4_000), -1_000, "this machine's own clock was set back meanwhile");
}

#[test]
fn what_was_not_agreed_is_said_with_its_line() {
    let noise = GUEST.replace("unit=kubelet activating", "Warning: unit file changed");
    let error = parse_guest(&noise).unwrap_err();
    assert_eq!(error, BadFacts::Line { line: 9, text: "Warning: unit file changed".into() });
    assert_eq!(parse_guest(""), Err(BadFacts::Missing("hostname")));
    assert_eq!(parse_guest("hostname=a\nboot_id=b\n"), Err(BadFacts::Missing("clock_ms")));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_parsing_panic(text in "(hostname|address|unit|file|clock_ms|x)?=?[ a-z0-9.]{0,12}\n?") {
        let _ = parse_guest(&text);
        let _ = parse_cluster("x", &BTreeMap::from([(Question::Nodes, text)]));
    }
}

#[test]
fn an_empty_cluster_is_one_with_nothing_installed() {
    let answers = BTreeMap::from([(Question::Nodes, r#"{"items":[]}"#.to_owned())]);
    let facts = parse_cluster("k8s-master1", &answers).unwrap();
    assert_eq!(facts, ClusterFacts { asked: "k8s-master1".into(), ..Default::default() });
    assert_eq!(parse_cluster("k8s-master1", &BTreeMap::new()), Err(BadFacts::Unanswered(Question::Nodes)));
}

#[test]
fn a_whole_cluster_is_recognised() {
    let node = json!({
        "metadata": { "name": "k8s-master1", "labels": { "node-role.kubernetes.io/control-plane": "" } },
        "status": {
            "conditions": [{ "type": "Ready", "status": "True" }],
            "addresses": [{ "type": "Hostname", "address": "k8s-master1" }, { "type": "InternalIP", "address": "10.10.0.131" }],
            "nodeInfo": { "kubeletVersion": "v1.36.4" },
        },
    });
    let definition = json!({
        "metadata": {
            "name": "gateways.gateway.networking.k8s.io",
            "annotations": { "gateway.networking.k8s.io/bundle-version": "v1.6.1" },
        },
        "status": { "conditions": [{ "type": "Established", "status": "True" }] },
    });
    let cilium = json!({
        "metadata": { "name": "cilium", "generation": 2 },
        "status": { "observedGeneration": 2, "desiredNumberScheduled": 5, "updatedNumberScheduled": 5, "numberAvailable": 5 },
    });
    let mut late = cilium.clone();
    late["metadata"] = json!({ "name": "cilium-envoy", "generation": 3 });
    let answers = BTreeMap::from([
        (Question::Nodes, json!({ "items": [node] }).to_string()),
        (Question::Definitions, json!({ "items": [definition] }).to_string()),
        (Question::DaemonSets, json!({ "items": [cilium, late] }).to_string()),
        (
            Question::HelmList,
            json!([{ "name": "cilium", "status": "deployed", "chart": "cilium-1.20.3" }]).to_string(),
        ),
        (
            Question::HelmStatus,
            json!({ "info": { "status": "deployed", "description": "fusionlab:abc" } }).to_string(),
        ),
        (
            Question::Namespace,
            json!({ "metadata": { "annotations": { "fusionlab.dev/ingress": "def" } } }).to_string(),
        ),
        (
            Question::Gateway,
            json!({ "status": { "conditions": [{ "type": "Programmed", "status": "True" }] } }).to_string(),
        ),
        (Question::Service, json!({ "spec": { "ports": [{ "port": 443, "nodePort": 30443 }] } }).to_string()),
    ]);
    let facts = parse_cluster("k8s-master1", &answers).unwrap();
    let node = &facts.nodes["k8s-master1"];
    assert!(node.ready && node.control_plane && node.internal_ip == Some([10, 10, 0, 131].into()));
    assert_eq!(facts.gateway_api.as_deref(), Some("1.6.1"));
    assert_eq!(facts.rollouts, BTreeMap::from([("cilium".into(), true), ("cilium-envoy".into(), false)]));
    assert_eq!(facts.cilium.unwrap().values.as_deref(), Some("abc"));
    assert_eq!(facts.ingress.as_deref(), Some("def"));
    assert!(facts.gateway_programmed && !facts.kube_proxy_present);
    assert_eq!(facts.node_ports, BTreeMap::from([(443, 30443)]));
}
