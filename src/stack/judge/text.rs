//! What a command printed, or a body said.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Finding, objects, routes};
use crate::stack::checks::Expect;
use crate::stack::facts::name_of;

/// Longest piece of a text that a verdict quotes, in characters.
const MOST: usize = 160;

/// Compares a text that a successful command printed.
pub fn judge(expect: &Expect, text: &str) -> Finding {
    match expect {
        Expect::Success => Ok("ok".to_owned()),
        Expect::Text(wanted) if text.trim() == wanted => Ok(wanted.clone()),
        Expect::Text(wanted) => Err(format!("{:?} instead of {wanted:?}", short(text))),
        Expect::Contains(wanted) => contains(wanted, text),
        Expect::Lacks(unwanted) => lacks(unwanted, text),
        Expect::Nothing if text.trim().is_empty() => Ok("none".to_owned()),
        Expect::Nothing => Err(format!(
            "there is {}",
            json(text).map_or_else(|_| short(text), |found| name_of(&found).to_owned())
        )),
        Expect::AnyHttpStatus => match text.trim().parse::<u16>() {
            Ok(status @ 100..) => Ok(format!("HTTP status {status}")),
            _ => Err(format!("no HTTP status: {:?}", short(text))),
        },
        Expect::Application { host } => application(Some(host), text).map(|(pod, node)| on(&pod, &node)),
        Expect::AnyPod => application(None, text).map(|(pod, node)| on(&pod, &node)),
        Expect::Spread { host, nodes } => spread(host, nodes, text.lines()),
        Expect::DefaultRoute(router) => routes::default(*router, text),
        _ => objects::judge(expect, text),
    }
}

fn contains(wanted: &[String], text: &str) -> Finding {
    let text = gaps_closed(text);
    let missing: Vec<_> =
        wanted.iter().filter(|wanted| !text.contains(&gaps_closed(wanted))).cloned().collect();
    if missing.is_empty() { Ok(wanted.join(", ")) } else { Err(format!("without {}", missing.join(", "))) }
}

/// Shows the first line that should not be there.
fn lacks(unwanted: &[String], text: &str) -> Finding {
    let bad = |line: &&str| unwanted.iter().any(|word| line.contains(word.as_str()));
    match text.lines().find(bad) {
        None => Ok("nothing against it was found".to_owned()),
        Some(line) => Err(short(line)),
    }
}

fn gaps_closed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

fn on(pod: &str, node: &str) -> String {
    format!("{pod} on {node}")
}

/// Returns the pod that answered and its node.
fn application(host: Option<&str>, text: &str) -> Result<(String, String), String> {
    let answer = json(text)?;
    let field = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
    let (pod, node, heard) = (field("pod"), field("node"), field("host"));
    if pod.is_empty() || node.is_empty() {
        return Err(format!("not the test application's answer: {}", short(&answer.to_string())));
    }
    // A client may say the port with the host.
    match host {
        Some(host) if heard.split(':').next() != Some(host) => {
            Err(format!("the pod heard host {heard:?} instead of {host:?}"))
        }
        _ => Ok((pod, node)),
    }
}

/// Compares the nodes whose pods answered.
pub fn spread<'a>(host: &str, nodes: &BTreeSet<String>, replies: impl Iterator<Item = &'a str>) -> Finding {
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for answer in replies.filter(|answer| !answer.trim().is_empty()) {
        seen.insert(application(Some(host), answer)?.1);
        count += 1;
    }
    let names = |nodes: &BTreeSet<String>| nodes.iter().cloned().collect::<Vec<_>>().join(", ");
    match nodes.difference(&seen).next() {
        None => Ok(format!("{} from {}", answers(count), names(&seen))),
        Some(_) if seen.is_empty() => Err("no answer".to_owned()),
        Some(silent) => Err(format!("{} from {}, none from {silent}", answers(count), names(&seen))),
    }
}

fn answers(count: usize) -> String {
    if count == 1 { "1 answer".to_owned() } else { format!("{count} answers") }
}

pub fn json(text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Err("it does not exist".to_owned());
    }
    serde_json::from_str(text).map_err(|_| format!("not JSON: {}", short(text)))
}

/// One line, and not a long one; what is said several times over is said once.
pub fn short(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.dedup();
    let line = lines.iter().flat_map(|line| line.split_whitespace()).collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MOST {
        line
    } else {
        format!("{}…", line.chars().take(MOST).collect::<String>())
    }
}
