//! Verdicts on answers as they come from real programs.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::*;
use crate::stack::facts::GuestFacts;

fn said(stdout: &str) -> Answer {
    Answer::Command(Said { status: Some(0), stdout: stdout.to_owned(), stderr: String::new() })
}

fn machine(node: &str, last: &[u8], skew_ms: i64) -> Observed {
    let address = |last: &u8| ("ens160".to_owned(), Ipv4Addr::new(10, 10, 0, *last));
    let facts = GuestFacts { addresses: last.iter().map(address).collect(), ..Default::default() };
    Observed { node: node.to_owned(), facts, skew_ms }
}

fn facts_of(machines: Vec<Observed>) -> Answer {
    Answer::Facts { machines, silent: Vec::new() }
}

fn heard(label: &str, said: Said) -> Heard {
    Heard { label: label.to_owned(), about: label.to_owned(), said }
}

fn passes(expect: &Expect, answer: &Answer) -> bool {
    judge(expect, answer).passed()
}

#[test]
fn a_status_line_is_found_whatever_its_gaps() {
    let status = "KVStore: Disabled\nKubeProxyReplacement:    True   [ens160 10.10.0.131]\nRouting:  Network: Native   Host: BPF\n";
    let expect = Expect::Contains(vec!["KubeProxyReplacement: True".into(), "Network: Native".into()]);
    assert!(passes(&expect, &said(status)));
    let verdict = judge(&expect, &said(&status.replace("Native", "Tunnel")));
    assert_eq!(verdict, Verdict { outcome: Outcome::Failed, detail: "without Network: Native".into() });
}

#[test]
fn etcd_wants_all_members_one_leader_and_no_learner() {
    let row = |id: u64, learner: bool| json!({ "Status": { "header": { "member_id": id }, "leader": 1, "isLearner": learner } });
    let answer = |rows: Vec<Value>| said(&Value::from(rows).to_string());
    let expect = Expect::Etcd { members: 3 };
    assert!(passes(&expect, &answer(vec![row(1, false), row(2, false), row(3, false)])));
    assert!(!passes(&expect, &answer(vec![row(1, false), row(2, false)])));
    assert!(!passes(&expect, &answer(vec![row(1, false), row(2, false), row(3, true)])));
    assert!(!passes(&expect, &answer(vec![row(4, false), row(2, false), row(3, false)])));
}

#[test]
fn both_vips_belong_to_one_gateway() {
    let vips = vec![Ipv4Addr::new(10, 10, 0, 200), Ipv4Addr::new(10, 10, 0, 10)];
    let expect = Expect::OneHolder { nodes: vec!["g1".into(), "g2".into()], addresses: vips };
    let facts = |one: &[u8], two: &[u8]| facts_of(vec![machine("g1", one, 0), machine("g2", two, 0)]);
    assert_eq!(judge(&expect, &facts(&[11], &[12, 200, 10])).detail, "g2");
    for (one, two, wrong) in [
        (&[11][..], &[12][..], "no gateway holds them"),
        (&[11, 10], &[12, 200], "g1 and g2 hold them"),
        (&[11, 10], &[12], "g1 lacks 10.10.0.200"),
    ] {
        assert_eq!(
            judge(&expect, &facts(one, two)),
            Verdict { outcome: Outcome::Failed, detail: wrong.into() }
        );
    }
}

#[test]
fn clocks_are_compared_with_one_another() {
    let answer = facts_of(vec![machine("a", &[], -4_000), machine("b", &[], -3_500)]);
    assert_eq!(judge(&Expect::ClocksWithin(1000), &answer).detail, "500 ms apart");
    let answer = facts_of(vec![machine("a", &[], -600), machine("b", &[], 600)]);
    assert_eq!(judge(&Expect::ClocksWithin(1000), &answer).detail, "b is 1200 ms ahead of a");
    assert!(!passes(&Expect::ClocksWithin(1000), &facts_of(vec![])));
}

#[test]
fn the_pods_answer_proves_the_whole_way() {
    let expect = Expect::Application { host: "echo.lab.test".into() };
    let body = r#"{"pod":"echo-1","node":"k8s-worker1","host":"echo.lab.test","path":"/"}"#;
    let reply = |status, body: &str| {
        Answer::Replies(vec![("/".into(), Ok(Reply { status, body: body.to_owned(), ..Reply::default() }))])
    };
    assert_eq!(judge(&expect, &reply(200, body)).detail, "echo-1 on k8s-worker1");
    assert!(!passes(&expect, &reply(404, "")));
    assert!(!passes(&expect, &reply(200, "<html>")));
    assert!(!passes(&expect, &reply(200, &body.replace("echo.lab", "other.lab"))));
}

#[test]
fn one_failure_among_many_is_named() {
    let failed = Said { status: Some(7), stdout: String::new(), stderr: "curl: (7) refused\n".into() };
    let fine = Said { status: Some(0), stdout: "ok\n".into(), stderr: String::new() };
    let expect = Expect::Text("ok".into());
    let answer = Answer::Each(vec![heard("a -> b", fine.clone()), heard("a -> c", failed)]);
    assert_eq!(judge(&expect, &answer).detail, "a -> c: exit status 7: curl: (7) refused");
    assert_eq!(judge(&expect, &Answer::Each(vec![heard("a", fine)])).detail, "ok");
    assert!(!passes(&expect, &Answer::Each(vec![])));
}

#[test]
fn nothing_heard_is_never_a_pass() {
    let silent = Answer::Unheard("connection refused".into());
    let empty = Answer::Command(Said { status: None, stderr: "timed out".into(), ..Default::default() });
    for expect in [Expect::Success, Expect::Nothing, Expect::ClocksWithin(1000), Expect::AnyHttpStatus] {
        assert!(!passes(&expect, &silent) && !passes(&expect, &empty), "{expect:?}");
    }
    assert!(!passes(&Expect::AnyHttpStatus, &said("000")));
    assert!(!passes(&Expect::Nothing, &said(r#"{"metadata":{"name":"kube-proxy"}}"#)));
}

#[test]
fn nodes_must_be_the_labs_ready_and_of_one_version() {
    let node = |name: &str, last: u8, ready: &str| {
        json!({
            "metadata": { "name": name },
            "status": {
                "conditions": [{ "type": "Ready", "status": ready }],
                "addresses": [{ "type": "InternalIP", "address": format!("10.10.0.{last}") }],
                "nodeInfo": { "kubeletVersion": "v1.36.4" },
            },
        })
    };
    let expect = Expect::Nodes {
        addresses: BTreeMap::from([("a".into(), Ipv4Addr::new(10, 10, 0, 1))]),
        version: "v1.36.4".into(),
    };
    let answer = |nodes: Vec<Value>| said(&json!({ "items": nodes }).to_string());
    assert_eq!(judge(&expect, &answer(vec![node("a", 1, "True")])).detail, "1 Ready, v1.36.4");
    assert_eq!(judge(&expect, &answer(vec![node("a", 1, "False")])).detail, "a is not Ready");
    assert_eq!(
        judge(&expect, &answer(vec![node("a", 9, "True")])).detail,
        "a is at 10.10.0.9 instead of 10.10.0.1"
    );
    let both = judge(&expect, &answer(vec![node("a", 1, "True"), node("b", 2, "True")]));
    assert_eq!(both.detail, "b is not of this lab");
    assert_eq!(judge(&expect, &answer(vec![])).detail, "a is absent");
}

/// curl's lines for several URLs, and the status of the last.
fn curled(lines: &[&str], status: i32) -> Answer {
    let stdout = lines.iter().map(|line| format!("{line}\n")).collect();
    Answer::Command(Said { status: Some(status), stdout, stderr: String::new() })
}

#[test]
fn each_url_of_one_curl_counts_whatever_its_last_status() {
    let lines = ["0 200 https://a:6443/livez", "7 000 https://b:6443/livez"];
    let verdict = judge(&Expect::Statuses(Some(200)), &curled(&lines, 7));
    assert_eq!(
        verdict,
        Verdict { outcome: Outcome::Failed, detail: "https://b:6443/livez is not reached".into() }
    );
    assert_eq!(judge(&Expect::Statuses(None), &curled(&lines[..1], 0)).detail, "1 of 1");
    let denied = ["0 401 https://a:10250/healthz"];
    assert!(passes(&Expect::Statuses(None), &curled(&denied, 0)));
    assert!(!passes(&Expect::Statuses(Some(200)), &curled(&denied, 0)));
}

#[test]
fn a_door_is_shut_only_if_nothing_was_reached_behind_it() {
    let shut = ["7 000 https://a:6443/", "28 000 http://a:30080/"];
    assert_eq!(judge(&Expect::NoneReached, &curled(&shut, 28)).detail, "none of 2");
    // TLS that was refused, and a status, are both somebody who answered.
    for open in ["35 000 https://a:2379/", "0 404 http://a:30080/"] {
        assert!(!passes(&Expect::NoneReached, &curled(&[shut[0], open], 0)), "{open}");
    }
    let unknown =
        Said { status: Some(2), stderr: "curl: option --interfac: is unknown".into(), ..Said::default() };
    assert!(
        !passes(&Expect::NoneReached, &Answer::Command(unknown)),
        "a curl that did not try proves nothing"
    );
    let order = Expect::Reached(vec![true, true, false]);
    let policy =
        ["0 200 http://127.0.0.1:8081/", "0 200 http://10.244.5.5:80/", "28 000 http://10.244.5.5:8081/"];
    assert_eq!(judge(&order, &curled(&policy, 28)).detail, "2 reached, 1 not");
    assert!(!passes(&order, &curled(&[policy[0], policy[1], "0 200 http://10.244.5.5:8081/"], 0)));
    assert!(!passes(&order, &curled(&policy[..2], 0)), "a door that nobody knocked at is not shut");
}

#[test]
fn routes_are_read_as_the_kernel_prints_them() {
    let nat = Ipv4Addr::new(10, 10, 0, 2);
    let leased = "default via 10.10.0.2 dev ens160 proto dhcp src 10.10.0.131 metric 100 \n";
    assert_eq!(judge(&Expect::DefaultRoute(nat), &said(leased)).detail, "via 10.10.0.2");
    let two = format!("{leased}default via 192.168.68.1 dev ens192 proto static\n");
    assert!(judge(&Expect::DefaultRoute(nat), &said(&two)).detail.starts_with("2 default routes"));
    assert_eq!(judge(&Expect::DefaultRoute(nat), &said("")).detail, "no default route");

    let members = (1..=3u8).map(|n| (format!("n{n}"), Ipv4Addr::new(10, 10, 0, n))).collect();
    let expect = Expect::PodRoutes { pods: "10.244.0.0/16".parse().unwrap(), members };
    let of = |text: &str| {
        let fine = Said { status: Some(0), stdout: text.to_owned(), stderr: String::new() };
        judge(&expect, &Answer::Each(vec![heard("n1", fine)]))
    };
    let own = "10.244.0.0/24 via 10.244.0.7 dev cilium_host proto kernel src 10.244.0.7 \n";
    let (two, three) = (
        "10.244.1.0/24 via 10.10.0.2 dev ens160 proto kernel \n",
        "10.244.2.0/24 via 10.10.0.3 dev ens160\n",
    );
    assert_eq!(of(&format!("{two}{three}10.10.0.0/24 dev ens160 scope link\n")).detail, "2 of 2");
    assert_eq!(of(two).detail, "none to n3's pods via 10.10.0.3");
    assert!(of(&format!("{own}{two}{three}")).passed(), "a node's own part is led to its own interface");
    assert!(!of(&format!("{two}{three}10.244.9.0/24 via 10.10.0.99 dev ens160\n")).passed());
}

#[test]
fn answers_are_wanted_from_every_node() {
    let expect = Expect::Spread { host: "e.test".into(), nodes: ["w1", "w2"].map(String::from).into() };
    let from = |node: &str| format!(r#"{{"pod":"echo-{node}","node":"{node}","host":"e.test","path":"/"}}"#);
    let both = format!("{}\n{}\n{}\n", from("w1"), from("w2"), from("w1"));
    assert_eq!(judge(&expect, &said(&both)).detail, "3 answers from w1, w2");
    assert_eq!(judge(&expect, &said(&from("w1"))).detail, "1 answer from w1, none from w2");
    assert!(!passes(&expect, &said("")));
    let reply =
        |node: &str| ("/".to_owned(), Ok(Reply { status: 200, body: from(node), ..Reply::default() }));
    assert!(passes(&expect, &Answer::Replies(vec![reply("w1"), reply("w2")])));
    assert!(!passes(&expect, &Answer::Replies(vec![reply("w1"), ("/".into(), Err("refused".into()))])));
}

#[test]
fn several_who_take_turns_at_one_place_are_heard_together() {
    let expect = Expect::Spread { host: "e.test".into(), nodes: ["w1", "w2"].map(String::from).into() };
    let asked = |gateway: &str, about: &str, node: &str| Heard {
        label: format!("{gateway} -> {about}"),
        about: about.to_owned(),
        said: Said {
            status: Some(0),
            stdout: format!(r#"{{"pod":"echo-{node}","node":"{node}","host":"e.test","path":"/"}}"#),
            stderr: String::new(),
        },
    };
    let (first, second) = (asked("g1", "w1", "w1"), asked("g2", "w1", "w2"));
    assert!(passes(&expect, &Answer::Each(vec![first.clone(), second.clone()])));
    let apart = judge(&expect, &Answer::Each(vec![first.clone(), asked("g2", "w2", "w2")]));
    let wrong = "w1: 1 answer from w1, none from w2; w2: 1 answer from w2, none from w1";
    assert_eq!(apart.detail, wrong, "what two places say is not taken together");
    let silent = Heard { said: Said { status: Some(7), ..Said::default() }, ..second };
    assert!(!passes(&expect, &Answer::Each(vec![first, silent])), "everybody must be answered");
}

#[test]
fn what_is_said_of_each_machine_is_its_own_and_none_may_be_silent() {
    let wanted = ["a", "b"].map(|node| (node.to_owned(), vec![format!("own {node}")])).into();
    let expect = Expect::ContainsEach(wanted);
    let says = |node: &str, text: &str| {
        heard(node, Said { status: Some(0), stdout: text.to_owned(), stderr: String::new() })
    };
    assert!(passes(&expect, &Answer::Each(vec![says("a", "own a"), says("b", "own b"), says("c", "")])));
    assert!(!passes(&expect, &Answer::Each(vec![says("a", "own a"), says("b", "own a")])));
    let silent = judge(&expect, &Answer::Each(vec![says("a", "own a")]));
    assert_eq!(silent.detail, "nobody answered for b");
}

#[test]
fn a_route_that_no_controller_looked_at_is_not_well() {
    let expect = Expect::Routes(["r".to_owned()].into());
    let list = |status: Value| {
        said(&json!({ "items": [{ "metadata": { "name": "r" }, "status": status }] }).to_string())
    };
    let conditions = |resolved: &str| {
        json!({ "parents": [{ "conditions": [
            { "type": "Accepted", "status": "True" },
            { "type": "ResolvedRefs", "status": resolved, "message": "service x not found" },
        ] }] })
    };
    assert!(passes(&expect, &list(conditions("True"))));
    assert_eq!(
        judge(&expect, &list(conditions("False"))).detail,
        "r is not ResolvedRefs: service x not found"
    );
    assert_eq!(judge(&expect, &list(Value::Null)).detail, "no controller looked at r");
    assert_eq!(judge(&expect, &said(r#"{"items":[]}"#)).detail, "r is absent");
}

#[test]
fn an_unknown_host_is_turned_away_by_envoy_and_by_nobody_else() {
    let reply = |status, server: &str| {
        let reply = Reply { status, server: server.to_owned(), body: String::new() };
        Answer::Replies(vec![("/".into(), Ok(reply))])
    };
    assert!(passes(&Expect::NoRoute, &reply(404, "envoy")));
    assert!(
        !passes(&Expect::NoRoute, &reply(404, "nginx")) && !passes(&Expect::NoRoute, &reply(200, "envoy"))
    );
}

#[test]
fn addresses_of_pods_and_services_are_of_their_ranges() {
    let pods = |ip: &str, host: bool| {
        said(&json!({ "items": [{ "metadata": { "name": "p" }, "spec": { "hostNetwork": host }, "status": { "podIP": ip } }] }).to_string())
    };
    let expect = Expect::PodsWithin("10.244.0.0/16".parse().unwrap());
    assert_eq!(judge(&expect, &pods("10.244.1.2", false)).detail, "1 in 10.244.0.0/16");
    assert_eq!(judge(&expect, &pods("10.0.1.2", false)).detail, "p has 10.0.1.2");
    assert_eq!(judge(&expect, &pods("10.10.0.131", true)).detail, "no pod has an address");
    let services = json!({ "items": [{ "metadata": { "name": "headless" }, "spec": { "clusterIP": "None" } },
        { "metadata": { "name": "s" }, "spec": { "clusterIP": "10.97.0.1" } }] });
    let expect = Expect::ServicesWithin("10.96.0.0/12".parse().unwrap());
    assert!(passes(&expect, &said(&services.to_string())));
}

#[test]
fn the_network_on_the_host_is_compared_with_every_row() {
    use crate::formats::dhcp::{Lease, Subnet};
    use crate::formats::networking::Vmnet;
    use crate::stack::checks::VmnetExpect;

    let (mac, other): (crate::formats::mac::Mac, _) =
        ("00:50:56:00:00:01".parse().unwrap(), "00:50:56:00:00:02".parse().unwrap());
    let (net, address) = ("10.10.0.0/24".parse().unwrap(), Ipv4Addr::new(10, 10, 0, 131));
    let pool = (Ipv4Addr::new(10, 10, 0, 128), Ipv4Addr::new(10, 10, 0, 254));
    let seen = VmnetSeen {
        vmnet: Vmnet {
            exists: true,
            subnet: Some(net),
            nat: true,
            dhcp: true,
            adapter: true,
            ..Vmnet::default()
        },
        reserved: vec![(mac, address)],
        fixed: Some(vec![(mac, address)]),
        subnets: vec![Subnet { net, pools: vec![pool] }],
        leases: Vec::new(),
        services: vec![("NAT", Some(true)), ("DHCP", Some(true))],
        now: 50,
    };
    let card = || vec![("m1".to_owned(), mac, address)];
    let wishes = [
        VmnetExpect::Configured(net),
        VmnetExpect::Pool(pool.0, pool.1),
        VmnetExpect::Reserved(card()),
        VmnetExpect::NotLeasedAway(card()),
        VmnetExpect::Running,
    ];
    let verdict = |expect: &VmnetExpect, seen: &VmnetSeen| {
        judge(&Expect::Vmnet(expect.clone()), &Answer::Vmnet(Box::new(seen.clone())))
    };
    for expect in &wishes {
        assert!(verdict(expect, &seen).passed(), "{expect:?}");
    }
    let lease = |mac, ends| Lease { address, mac, starts: 0, ends, hostname: None };
    let bad = [
        (
            0,
            VmnetSeen { vmnet: Vmnet { nat: false, ..seen.vmnet.clone() }, ..seen.clone() },
            "10.10.0.0/24 without NAT",
        ),
        (1, VmnetSeen { subnets: Vec::new(), ..seen.clone() }, "none: its file has no range"),
        (2, VmnetSeen { fixed: Some(Vec::new()), ..seen.clone() }, "dhcpd.conf lacks 10.10.0.131 of m1"),
        (
            3,
            VmnetSeen { leases: vec![lease(other, 99)], ..seen.clone() },
            "10.10.0.131 of m1 is leased to 00:50:56:00:00:02",
        ),
        (4, VmnetSeen { services: vec![("NAT", Some(false))], ..seen.clone() }, "NAT does not run"),
    ];
    for (index, seen, words) in bad {
        assert_eq!(
            verdict(&wishes[index], &seen),
            Verdict { outcome: Outcome::Failed, detail: words.into() }
        );
    }
    let over = VmnetSeen { leases: vec![lease(other, 40)], ..seen.clone() };
    assert!(verdict(&wishes[3], &over).passed(), "a lease that has ended takes nothing");
    let untold = VmnetSeen { services: vec![("NAT", None), ("DHCP", None)], ..seen };
    assert_eq!(verdict(&wishes[4], &untold).detail, "Fusion does not tell");
}

#[test]
fn a_silent_machine_fails_what_wants_its_answer_and_nothing_else() {
    let answer = Answer::Facts {
        machines: vec![machine("a", &[11], 0)],
        silent: vec![("b".into(), "no route to host".into())],
    };
    let both = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(judge(&Expect::Answering(both), &answer).detail, "b: no route to host");
    let addresses =
        [("a", 11), ("b", 12)].map(|(name, last)| (name.to_owned(), vec![Ipv4Addr::new(10, 10, 0, last)]));
    assert!(passes(&Expect::Addresses(addresses.into()), &answer));
    assert!(!passes(
        &Expect::Addresses([("a".to_owned(), vec![Ipv4Addr::new(10, 10, 0, 99)])].into()),
        &answer
    ));
}
