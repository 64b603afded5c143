//! What was seen against what was expected: a verdict with the figure that decided it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::Value;

use crate::stack::checks::Expect;
use crate::stack::facts::{GuestFacts, condition, items, kube_node, name_of, node_ports};

/// What a probe saw.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A command's end.
    Command(Said),
    /// Each command's end, by its label.
    Each(Vec<(String, Said)>),
    Facts(Vec<Observed>),
    Http(Reply),
    /// Nothing was heard, and why: a lower-case fragment.
    Unheard(String),
}

/// What a guest command left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The exit status; none if the command's end is unknown.
    pub status: Option<i32>,
    pub stdout: String,
    /// Standard error, or why the end is unknown.
    pub stderr: String,
}

/// An HTTP response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub body: String,
}

/// One machine's facts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    pub node: String,
    pub facts: GuestFacts,
    /// The guest's clock minus the host's at the middle of the round trip, in milliseconds.
    pub skew_ms: i64,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub passed: bool,
    /// What was seen, in a few words; if failed, what is wrong.
    pub detail: String,
}

/// What was found, or what is wrong.
type Finding = Result<String, String>;

/// Compares an answer with an expectation.
pub fn judge(expect: &Expect, answer: &Answer) -> Verdict {
    let finding = match answer {
        Answer::Unheard(why) => Err(why.clone()),
        Answer::Facts(machines) => of_machines(expect, machines),
        Answer::Http(reply) => match reply.status {
            200 => of_text(expect, &reply.body),
            status => Err(format!("HTTP status {status}: {}", short(&reply.body))),
        },
        Answer::Command(said) => of_said(expect, said),
        Answer::Each(all) => of_each(expect, all),
    };
    match finding {
        Ok(detail) => Verdict { passed: true, detail },
        Err(detail) => Verdict { passed: false, detail },
    }
}

fn of_each(expect: &Expect, all: &[(String, Said)]) -> Finding {
    let failed: Vec<_> = all
        .iter()
        .filter_map(|(label, said)| of_said(expect, said).err().map(|wrong| format!("{label}: {wrong}")))
        .collect();
    match failed.as_slice() {
        [] if all.is_empty() => Err("nothing was asked".to_owned()),
        [] => Ok(format!("{} of {}", all.len(), all.len())),
        failed => Err(failed.join("; ")),
    }
}

fn of_said(expect: &Expect, said: &Said) -> Finding {
    match said.status {
        Some(0) => of_text(expect, &said.stdout),
        Some(status) => {
            let words = if said.stderr.trim().is_empty() { &said.stdout } else { &said.stderr };
            Err(format!("exit status {status}: {}", short(words)))
        }
        None => Err(short(&said.stderr)),
    }
}

fn of_text(expect: &Expect, text: &str) -> Finding {
    match expect {
        Expect::Success => Ok("ok".to_owned()),
        Expect::Text(wanted) if text.trim() == wanted => Ok(wanted.clone()),
        Expect::Text(wanted) => Err(format!("{:?} instead of {wanted:?}", short(text))),
        Expect::Contains(wanted) => contains(wanted, text),
        Expect::Nothing if text.trim().is_empty() => Ok("none".to_owned()),
        Expect::Nothing => Err(format!(
            "there is {}",
            json(text).map_or_else(|_| short(text), |found| name_of(&found).to_owned())
        )),
        Expect::AnyHttpStatus => match text.trim().parse::<u16>() {
            Ok(status @ 100..) => Ok(format!("HTTP status {status}")),
            _ => Err(format!("no HTTP status: {:?}", short(text))),
        },
        Expect::Application { host } => application(host, &json(text)?),
        Expect::Etcd { members } => etcd(*members, &json(text)?),
        Expect::Nodes { addresses, version } => nodes(addresses, version, &json(text)?),
        Expect::Condition(kind) => {
            let object = json(text)?;
            if condition(&object, kind) { Ok((*kind).to_owned()) } else { Err(not_so(&object, kind)) }
        }
        Expect::NodePorts(wanted) => {
            let found = node_ports(&json(text)?);
            if &found == wanted {
                Ok(arrows(&found))
            } else {
                Err(format!("{} instead of {}", arrows(&found), arrows(wanted)))
            }
        }
        Expect::Addresses(_)
        | Expect::NoneWithin { .. }
        | Expect::OneHolder { .. }
        | Expect::ClocksWithin(_) => Err("the machines' facts are needed".to_owned()),
    }
}

fn contains(wanted: &[String], text: &str) -> Finding {
    let text = gaps_closed(text);
    let missing: Vec<_> =
        wanted.iter().filter(|wanted| !text.contains(&gaps_closed(wanted))).cloned().collect();
    if missing.is_empty() { Ok(wanted.join(", ")) } else { Err(format!("without {}", missing.join(", "))) }
}

fn gaps_closed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

fn application(host: &str, answer: &Value) -> Finding {
    let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
    let (pod, node, heard) = (text("pod"), text("node"), text("host"));
    if pod.is_empty() || node.is_empty() {
        return Err(format!("not the test application's answer: {}", short(&answer.to_string())));
    }
    // A client may say the port with the host.
    if heard.split(':').next() != Some(host) {
        return Err(format!("the pod heard host {heard:?} instead of {host:?}"));
    }
    Ok(format!("{pod} on {node}"))
}

fn etcd(members: usize, answer: &Value) -> Finding {
    let rows = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    let id = |row: &Value| row["Status"]["header"]["member_id"].as_u64();
    let leaders = rows.iter().filter(|row| id(row).is_some() && id(row) == row["Status"]["leader"].as_u64());
    let learners = rows.iter().filter(|row| row["Status"]["isLearner"] == true);
    let (leaders, learners) = (leaders.count(), learners.count());
    let seen = format!("{} members, {leaders} leader, {learners} learners", rows.len());
    if rows.len() == members && leaders == 1 && learners == 0 { Ok(seen) } else { Err(seen) }
}

fn nodes(addresses: &BTreeMap<String, Ipv4Addr>, version: &str, answer: &Value) -> Finding {
    let found: BTreeMap<_, _> = items(answer).map(|node| (name_of(node), kube_node(node))).collect();
    let mut wrong = Vec::new();
    for (name, address) in addresses {
        match found.get(name.as_str()) {
            None => wrong.push(format!("{name} is absent")),
            Some(node) if !node.ready => wrong.push(format!("{name} is not Ready")),
            Some(node) if node.internal_ip != Some(*address) => {
                let at = node.internal_ip.map_or_else(|| "no address".to_owned(), |ip| ip.to_string());
                wrong.push(format!("{name} is at {at} instead of {address}"));
            }
            Some(node) if node.kubelet_version != version => {
                wrong.push(format!("{name} has {} instead of {version}", node.kubelet_version));
            }
            Some(_) => {}
        }
    }
    let strangers = found.keys().filter(|name| !addresses.contains_key(**name));
    wrong.extend(strangers.map(|name| format!("{name} is not of this lab")));
    if wrong.is_empty() { Ok(format!("{} Ready, {version}", found.len())) } else { Err(wrong.join("; ")) }
}

fn of_machines(expect: &Expect, machines: &[Observed]) -> Finding {
    let find = |name: &String| machines.iter().find(|machine| machine.node == *name);
    match expect {
        Expect::Addresses(wanted) => {
            let lacking = |(name, addresses): (&String, &Vec<Ipv4Addr>)| match find(name) {
                None => Some(format!("{name} is silent")),
                Some(machine) => {
                    let gone = addresses.iter().filter(|address| !machine.facts.holds(**address));
                    let gone: Vec<_> = gone.map(Ipv4Addr::to_string).collect();
                    (!gone.is_empty()).then(|| format!("{name} lacks {}", gone.join(", ")))
                }
            };
            let wrong: Vec<_> = wanted.iter().filter_map(lacking).collect();
            if wrong.is_empty() {
                Ok(format!("{} of {}", wanted.len(), wanted.len()))
            } else {
                Err(wrong.join("; "))
            }
        }
        Expect::NoneWithin { nodes, subnet } => {
            let inside: Vec<_> = nodes
                .iter()
                .filter_map(find)
                .filter(|machine| machine.facts.addresses.iter().any(|(_, address)| subnet.contains(address)))
                .map(|machine| machine.node.clone())
                .collect();
            if inside.is_empty() {
                Ok(format!("none in {subnet}"))
            } else {
                Err(format!("{} in {subnet}", inside.join(", ")))
            }
        }
        Expect::OneHolder { nodes, addresses } => {
            let held = |machine: &&Observed| addresses.iter().any(|address| machine.facts.holds(*address));
            let holders: Vec<_> = nodes.iter().filter_map(find).filter(held).collect();
            match holders.as_slice() {
                [] => Err("no gateway holds them".to_owned()),
                [one] => match addresses.iter().find(|address| !one.facts.holds(**address)) {
                    None => Ok(one.node.clone()),
                    Some(lacking) => Err(format!("{} lacks {lacking}", one.node)),
                },
                several => {
                    let names: Vec<_> = several.iter().map(|machine| machine.node.as_str()).collect();
                    Err(format!("{} hold them", names.join(" and ")))
                }
            }
        }
        Expect::ClocksWithin(limit_ms) => clocks(*limit_ms, machines),
        _ => Err("a command's answer is needed".to_owned()),
    }
}

fn clocks(limit_ms: u64, machines: &[Observed]) -> Finding {
    let earliest = machines.iter().min_by_key(|machine| machine.skew_ms);
    let latest = machines.iter().max_by_key(|machine| machine.skew_ms);
    let (Some(earliest), Some(latest)) = (earliest, latest) else {
        return Err("no machine told its time".to_owned());
    };
    let spread = latest.skew_ms.abs_diff(earliest.skew_ms);
    if spread <= limit_ms {
        Ok(format!("{spread} ms apart"))
    } else {
        Err(format!("{} is {spread} ms ahead of {}", latest.node, earliest.node))
    }
}

fn json(text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Err("it does not exist".to_owned());
    }
    serde_json::from_str(text).map_err(|_| format!("not JSON: {}", short(text)))
}

fn not_so(object: &Value, kind: &str) -> String {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let message = conditions.into_iter().find(|condition| condition["type"] == kind);
    let message = message.and_then(|condition| condition["message"].as_str()).unwrap_or("no such condition");
    format!("not {kind}: {message}")
}

fn arrows(ports: &BTreeMap<u16, u16>) -> String {
    let arrows: Vec<_> = ports.iter().map(|(port, node_port)| format!("{port} -> {node_port}")).collect();
    if arrows.is_empty() { "none".to_owned() } else { arrows.join(", ") }
}

/// One line, and not a long one.
fn short(text: &str) -> String {
    const MOST: usize = 160;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MOST {
        line
    } else {
        format!("{}…", line.chars().take(MOST).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(stdout: &str) -> Answer {
        Answer::Command(Said { status: Some(0), stdout: stdout.to_owned(), stderr: String::new() })
    }

    fn machine(node: &str, last: &[u8], skew_ms: i64) -> Observed {
        let address = |last: &u8| ("ens160".to_owned(), Ipv4Addr::new(10, 10, 0, *last));
        let facts = GuestFacts { addresses: last.iter().map(address).collect(), ..Default::default() };
        Observed { node: node.to_owned(), facts, skew_ms }
    }

    fn passes(expect: &Expect, answer: &Answer) -> bool {
        judge(expect, answer).passed
    }

    #[test]
    fn a_status_line_is_found_whatever_its_gaps() {
        let status = "KVStore: Disabled\nKubeProxyReplacement:    True   [ens160 10.10.0.131]\nRouting:  Network: Native   Host: BPF\n";
        let expect = Expect::Contains(vec!["KubeProxyReplacement: True".into(), "Network: Native".into()]);
        assert!(passes(&expect, &said(status)));
        let verdict = judge(&expect, &said(&status.replace("Native", "Tunnel")));
        assert_eq!(verdict, Verdict { passed: false, detail: "without Network: Native".into() });
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
        let facts =
            |one: &[u8], two: &[u8]| Answer::Facts(vec![machine("g1", one, 0), machine("g2", two, 0)]);
        assert_eq!(judge(&expect, &facts(&[11], &[12, 200, 10])).detail, "g2");
        for (one, two, wrong) in [
            (&[11][..], &[12][..], "no gateway holds them"),
            (&[11, 10], &[12, 200], "g1 and g2 hold them"),
            (&[11, 10], &[12], "g1 lacks 10.10.0.200"),
        ] {
            assert_eq!(judge(&expect, &facts(one, two)), Verdict { passed: false, detail: wrong.into() });
        }
    }

    #[test]
    fn clocks_are_compared_with_one_another() {
        let answer = Answer::Facts(vec![machine("a", &[], -4_000), machine("b", &[], -3_500)]);
        assert_eq!(judge(&Expect::ClocksWithin(1000), &answer).detail, "500 ms apart");
        let answer = Answer::Facts(vec![machine("a", &[], -600), machine("b", &[], 600)]);
        assert_eq!(judge(&Expect::ClocksWithin(1000), &answer).detail, "b is 1200 ms ahead of a");
        assert!(!passes(&Expect::ClocksWithin(1000), &Answer::Facts(vec![])));
    }

    #[test]
    fn the_pods_answer_proves_the_whole_way() {
        let expect = Expect::Application { host: "echo.lab.test".into() };
        let body = r#"{"pod":"echo-1","node":"k8s-worker1","host":"echo.lab.test","path":"/"}"#;
        let reply = |status, body: &str| Answer::Http(Reply { status, body: body.to_owned() });
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
        let answer = Answer::Each(vec![("a -> b".into(), fine.clone()), ("a -> c".into(), failed)]);
        assert_eq!(judge(&expect, &answer).detail, "a -> c: exit status 7: curl: (7) refused");
        assert_eq!(judge(&expect, &Answer::Each(vec![("a".into(), fine)])).detail, "1 of 1");
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
}
