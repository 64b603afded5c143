//! What the list of checks promises.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::stack::{fixture, kubeadm};

fn check(id: &str) -> Check {
    all(&fixture::lab()).into_iter().find(|check| check.id == id).unwrap()
}

fn lines(id: &str) -> Vec<String> {
    let commands = match check(id).probe {
        Probe::GuestEach { commands } | Probe::ControlPlane { commands } => commands,
        other => panic!("{id} runs no command: {other:?}"),
    };
    commands.iter().map(|each| format!("{}: {}", each.node, each.command.shell_line())).collect()
}

fn request(id: &str) -> Request {
    let Probe::Host { requests } = check(id).probe else { panic!("{id} is no request") };
    requests[0].clone()
}

#[test]
fn the_checks_follow_the_packets_journey() {
    let checks = all(&fixture::lab());
    assert!(checks.is_sorted_by_key(|check| check.hop));
    assert_eq!(checks.iter().filter(|check| check.id == "api.livez").count(), 3);
    let hops: BTreeSet<Hop> = checks.iter().map(|check| check.hop).collect();
    assert_eq!(hops.into_iter().collect::<Vec<_>>(), Hop::ALL);
}

#[test]
fn every_check_says_where_to_look() {
    for check in all(&fixture::lab()) {
        let Hint { look, command } = check.hint;
        assert!(!look.is_empty() && !look.ends_with('.') && !command.is_empty(), "{}", check.id);
        assert!(!check.title.ends_with('.') && !check.expect.words().is_empty(), "{}", check.id);
    }
}

#[test]
fn an_id_is_of_one_hop_and_no_hop_is_called_as_a_check() {
    let mut hops: BTreeMap<&str, Hop> = BTreeMap::new();
    for check in all(&fixture::lab()) {
        assert_eq!(*hops.entry(check.id).or_insert(check.hop), check.hop, "{}", check.id);
        assert!(Hop::ALL.iter().all(|hop| hop.id() != check.id));
    }
}

#[test]
fn each_worker_is_asked_from_each_gateway() {
    let lines = lines("worker.https");
    assert_eq!(lines.len(), 4);
    assert_eq!(
        lines[1],
        "gateway1: curl -sS --max-time 10 --resolve echo.lab.test:30443:10.10.0.142 \
         --cacert /etc/fusionlab/lab-ca.crt https://echo.lab.test:30443/"
    );
}

#[test]
fn every_name_in_the_certificate_is_used() {
    let lab = fixture::lab();
    let lines = lines("api.certificate").join("\n");
    for name in kubeadm::certificate_names(&lab) {
        let proven = lines.contains(&format!("https://{name}:6443/livez")) || name == "192.168.68.200";
        assert!(proven, "{name}");
    }
    assert_eq!(request("gateway.api").host, "192.168.68.200");
}

#[test]
fn the_documents_vips_and_ports_are_what_is_proven() {
    let Request { address, host, authority, .. } = request("lan.https");
    assert_eq!((address.to_string().as_str(), host.as_str()), ("192.168.68.200:443", "echo.lab.test"));
    assert_eq!(authority, Some(Authority::Lab));
    let ports = BTreeMap::from([(80, 30080), (443, 30443)]);
    assert_eq!(check("gateway-api.node-ports").expect, Expect::NodePorts(ports));
}

#[test]
fn every_member_is_knocked_at_from_the_lan_and_none_through_its_own_network() {
    let lines = lines("lan.isolation");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("gateway1: sudo -n curl ") && lines[0].contains(" --interface ens160 "));
    for door in ["10.10.0.131:6443", "10.10.0.133:2379", "10.10.0.142:30443", "10.10.0.132:10250"] {
        assert!(lines[1].contains(door), "{door}: {}", lines[1]);
    }
}

#[test]
fn etcd_is_asked_by_whichever_control_plane_answers() {
    let lines = lines("etcd.members");
    assert_eq!(lines.len(), 3);
    assert!(lines[2].starts_with("k8s-master3: ") && lines[2].contains(" exec etcd-k8s-master3 -- etcdctl "));
}

#[test]
fn the_smallest_lab_has_all_checks_too() {
    let mut lab = fixture::lab();
    let ids = |lab: &Lab| all(lab).iter().map(|check| check.id).collect::<BTreeSet<_>>();
    let whole = ids(&lab);
    lab.nodes.retain(|node| node.number == 1);
    assert_eq!(ids(&lab), whole);
}

/// The page that maps the document's rows to checks.
const PAGE: &str = include_str!("../../../docs/verification.md");
const BEGIN: &str = "<!-- checks -->\n";
const END: &str = "<!-- end -->\n";

/// Returns the table of every check, by hop.
fn table() -> String {
    let mut lines = vec![
        "| Check | What is proven | Where to look when it fails |".to_owned(),
        "|---|---|---|".to_owned(),
    ];
    let mut seen = BTreeSet::new();
    for check in all(&fixture::lab()) {
        if seen.insert(check.id) {
            let Hint { look, command } = check.hint;
            let command = command.replace('|', "\\|");
            lines.push(format!("| `{}` | {} | {look}: `{command}` |", check.id, check.title));
        }
    }
    lines.join("\n") + "\n"
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test brings the page up to date on request")]
fn the_page_lists_every_check_as_it_is() {
    let (before, rest) = PAGE.split_once(BEGIN).expect("the page has a place for the table");
    let (listed, after) = rest.split_once(END).expect("the table has an end");
    if std::env::var_os("UPDATE_VERIFICATION").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verification.md");
        let page = format!("{before}{BEGIN}\n{}\n{END}{after}", table());
        return std::fs::write(path, page).expect("the page can be written");
    }
    assert_eq!(
        listed.trim(),
        table().trim(),
        "UPDATE_VERIFICATION=1 cargo test --lib stack::checks writes it anew"
    );
}

#[test]
fn every_check_has_a_row_of_the_document_or_of_the_facts_and_no_row_names_another() {
    let ids: BTreeSet<&str> = all(&fixture::lab()).iter().map(|check| check.id).collect();
    let (rows, _) = PAGE.split_once("## Every check").expect("the table is the last chapter");
    let (_, rows) = rows.split_once("## The hops").expect("the rows come after the introduction");
    let named: BTreeSet<&str> = rows
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.rsplit('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|word| !word.contains('*') && !word.contains(' '))
        .collect();
    assert_eq!(named, ids);
}
