//! Every reader of what guests print, put before any text at all: for the property tests and the fuzz target.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::lab::Lab;
use crate::stack::checks::pods::{PodQuery, PodQuestion};
use crate::stack::checks::{self, pods};
use crate::stack::drill::{Seen, ailments};
use crate::stack::judge::{Answer, Heard, Observed, Reply, Said, judge};
use crate::stack::kubectl::EtcdMember;
use crate::stack::{bake, facts, kubeadm, lan, runtime};

/// Lets every reader have the text; whatever it is, each ends and returns.
pub fn read_all(lab: &Lab, text: &str) {
    let guest = facts::parse_guest(text).unwrap_or_default();
    for node in &lab.nodes {
        let _ = kubeadm::state(node.role, &guest);
        let _ = runtime::workload(text, &node.name);
    }
    let answers: BTreeMap<_, _> =
        facts::cluster_commands().into_iter().map(|(question, _)| (question, text.to_owned())).collect();
    let cluster = facts::parse_cluster("k8s-master1", &answers).ok();
    let _ = cluster.as_ref().map(|cluster| kubeadm::init_complete(cluster, "k8s-master1"));
    let guests = lab.nodes.iter().map(|node| (node.name.clone(), guest.clone())).collect();
    ailments(lab, &Seen { guests, cluster, ..Seen::default() });
    let _ = facts::is_established(text);
    let _ = facts::owner_of_node_port(text, &[30_080, 30_443], "cilium-gateway-lab");
    let _ = facts::one_node(text);
    let _ = lan::parse(text);
    let _ = runtime::newest(text);
    let _ = bake::outcome(text);
    let _ = kubeadm::told_server(text);
    let at = Ipv4Addr::new(10, 10, 0, 131);
    let _ = EtcdMember::parse_list(text).map(|all| all.iter().any(|member| member.is_at(at)));
    pods_asked(lab, text);
    judged(lab, text, guest);
}

fn pods_asked(lab: &Lab, text: &str) {
    let Ok(pods) = pods::parse(text) else { return };
    let askers: Vec<_> = lab.control_planes().collect();
    for query in [PodQuery::Agents, PodQuery::Application] {
        for question in [PodQuestion::Status, PodQuestion::OtherPods, PodQuestion::Policy] {
            let _ = pods::commands(lab, (query, question), &pods, &askers);
        }
    }
}

/// Judges the text as every kind of answer to every check.
fn judged(lab: &Lab, text: &str, guest: facts::GuestFacts) {
    let said = Said { status: Some(0), stdout: text.to_owned(), stderr: String::new() };
    let failed = Said { status: Some(1), stdout: String::new(), stderr: text.to_owned() };
    let heard =
        |said: &Said| Heard { label: "one".to_owned(), about: "k8s-master1".to_owned(), said: said.clone() };
    let reply = Reply { status: 200, server: text.to_owned(), body: text.to_owned() };
    let machines = [i64::MIN, 0, i64::MAX].map(|skew_ms| Observed {
        node: "gateway1".to_owned(),
        facts: guest.clone(),
        skew_ms,
    });
    let answers = [
        Answer::Command(said.clone()),
        Answer::Command(failed.clone()),
        Answer::Each(vec![heard(&said), heard(&failed)]),
        Answer::Replies(vec![("one".to_owned(), Ok(reply))]),
        Answer::Facts { machines: machines.to_vec(), silent: Vec::new() },
    ];
    for check in checks::all(lab) {
        for answer in &answers {
            judge(&check.expect, answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;
    use crate::stack::fixture;

    /// Words that our readers look for.
    const KEYS: [&str; 24] = [
        "items",
        "metadata",
        "name",
        "namespace",
        "annotations",
        "status",
        "conditions",
        "type",
        "addresses",
        "address",
        "spec",
        "ports",
        "nodePort",
        "port",
        "members",
        "ID",
        "peerURLs",
        "containers",
        "createdAt",
        "id",
        "data",
        "kubeconfig",
        "podIP",
        "nodeName",
    ];
    const LINES: [&str; 12] = [
        "hostname=",
        "clock_ms=",
        "address=",
        "unit=",
        "file=",
        "version=",
        "router=",
        "done=",
        "default via ",
        "fusionlab-bake: ",
        "HTTP/1.1 ",
        "10.244.1.0/24 via ",
    ];

    fn word() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{0,12}",
            "[\\x00-\\x1f\u{7f}-\u{9f}\u{1b}]{0,6}",
            Just("18446744073709551615".to_owned()),
            Just("-9223372036854775809".to_owned()),
            Just("Ready".to_owned()),
            Just("True".to_owned()),
            Just("255.255.255.255".to_owned()),
            Just("1e999999".to_owned()),
        ]
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            word().prop_map(Value::String),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(6, 48, 5, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::Array),
                vec((proptest::sample::select(&KEYS[..]), inner), 0..5).prop_map(|pairs| {
                    Value::Object(
                        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>(),
                    )
                }),
            ]
        })
    }

    fn lines() -> impl Strategy<Value = String> {
        let line = (proptest::sample::select(&LINES[..]), word(), word());
        vec(line.prop_map(|(key, one, two)| format!("{key}{one} {two}\n")), 0..12)
            .prop_map(|lines| lines.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn any_bytes_are_borne(bytes in vec(any::<u8>(), 0..400)) {
            read_all(&fixture::lab(), &String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn any_json_is_borne_and_any_piece_of_it(value in json(), cut in 0_usize..400) {
            let text = value.to_string();
            let lab = fixture::lab();
            read_all(&lab, &text);
            let end = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            read_all(&lab, &text[..end]);
        }

        #[test]
        fn any_lines_are_borne(text in lines()) {
            read_all(&fixture::lab(), &text);
        }
    }

    /// A reader that goes over its text again and again would not come back.
    #[test]
    fn long_lines_and_many_lines_are_read_in_one_go() {
        const LONG: usize = 128 * 1024;
        let lab = crate::lab::resolve::resolve(
            Some("version: 1\npreset: solo\n"),
            None,
            crate::lab::catalogue::Arch::Arm64,
        )
        .unwrap()
        .lab;
        for piece in ["x", "[", "{\"items\":", "y\n", "default via ", "\u{1b}]\0"] {
            read_all(&lab, &piece.repeat(LONG / piece.len()));
        }
    }
}
