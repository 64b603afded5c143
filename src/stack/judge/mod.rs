//! What was seen against what was expected: a verdict with the figure that decided it.
//!
//! ```text
//! mod.rs       answers as they come, and which of them an expectation is about
//! text.rs      what a command printed          curl.rs      how each of several requests ended
//! objects.rs   Kubernetes' objects as JSON     machines.rs  the machines' facts
//! routes.rs    what `ip route` prints          vmnet.rs     the network as the host has it
//! ```

mod curl;
mod machines;
mod objects;
mod routes;
mod text;
mod vmnet;

use std::collections::BTreeSet;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

pub use machines::Observed;
pub use vmnet::VmnetSeen;

use crate::stack::checks::Expect;
use crate::stack::validity::Validity;

/// What a probe saw.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A command's end.
    Command(Said),
    /// Each command's end.
    Each(Vec<Heard>),
    /// What each machine told; of who did not, why.
    Facts {
        machines: Vec<Observed>,
        silent: Vec<(String, String)>,
    },
    /// What each request brought, by what was asked for.
    Replies(Vec<(String, Result<Reply, String>)>),
    Vmnet(Box<VmnetSeen>),
    /// When certificates end and whose they are; all in seconds since 1970.
    Ends {
        ends: Vec<(String, Validity)>,
        now: u64,
    },
    /// Nothing was heard, and why: a lower-case fragment.
    Unheard(String),
    /// Nobody was there who could be asked, and why: a lower-case fragment.
    NotAsked(String),
}

/// One command's end among several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub label: String,
    /// The machine that it is about.
    pub about: String,
    pub said: Said,
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
    /// The `Server` header.
    pub server: String,
    pub body: String,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    /// Whoever knows does not answer, so that what the check is about may be right or wrong. Another check fails by it.
    NotAsked,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// What was seen, in a few words; if it did not pass, what is wrong.
    pub detail: String,
}

impl Outcome {
    pub fn passed(self) -> bool {
        self == Self::Passed
    }

    pub fn asked(self) -> bool {
        self != Self::NotAsked
    }
}

impl Serialize for Outcome {
    /// Two answers, `passed` and `asked`, since most who read it want only the first.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("passed", &self.passed())?;
        map.serialize_entry("asked", &self.asked())?;
        map.end()
    }
}

impl Verdict {
    pub fn passed(&self) -> bool {
        self.outcome.passed()
    }
}

/// What was found, or what is wrong.
type Finding = Result<String, String>;

/// Compares an answer with an expectation.
pub fn judge(expect: &Expect, answer: &Answer) -> Verdict {
    let finding = match answer {
        Answer::NotAsked(why) => return Verdict { outcome: Outcome::NotAsked, detail: why.clone() },
        Answer::Unheard(why) => Err(why.clone()),
        Answer::Facts { machines, silent } => machines::judge(expect, machines, silent),
        Answer::Vmnet(seen) => vmnet::judge(expect, seen),
        Answer::Ends { ends, now } => lasting(ends.iter().map(|(whose, ends)| (whose.clone(), *ends, *now))),
        Answer::Replies(all) => of_replies(expect, all),
        Answer::Command(said) => of_said(expect, said),
        Answer::Each(all) => of_each(expect, all),
    };
    match finding {
        Ok(detail) => Verdict { outcome: Outcome::Passed, detail },
        Err(detail) => Verdict { outcome: Outcome::Failed, detail },
    }
}

/// Judges certificates, each by whose it is, its validity, and what time it was then.
fn lasting(all: impl Iterator<Item = (String, Validity, u64)>) -> Finding {
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|(_, validity, now)| validity.good_until(*now));
    let due = all.iter().filter(|(_, validity, now)| validity.is_due(*now));
    let due: Vec<String> =
        due.map(|(whose, validity, now)| format!("{whose} {}", validity.told(*now))).collect();
    match (due.as_slice(), all.first()) {
        (_, None) => Err("nobody told of a certificate".to_owned()),
        ([], Some((_, first, now))) => Ok(format!("the first {}", first.told(*now))),
        (due, _) => Err(due.join("; ")),
    }
}

fn of_replies(expect: &Expect, all: &[(String, Result<Reply, String>)]) -> Finding {
    if let Expect::Spread { host, nodes } = expect {
        let bodies: Result<Vec<&str>, String> =
            all.iter().map(|(label, reply)| Ok(good(label, reply)?.body.as_str())).collect();
        return text::spread(host, nodes, bodies?.into_iter());
    }
    let of = |(label, reply): &(String, Result<Reply, String>)| {
        let reply = match reply {
            Ok(reply) => reply,
            Err(why) => return Err(why.clone()),
        };
        match (expect, reply.status) {
            (Expect::NoRoute, 404) if reply.server.eq_ignore_ascii_case("envoy") => {
                Ok("HTTP status 404 from Envoy".to_owned())
            }
            (Expect::NoRoute, status) => Err(format!("HTTP status {status} from {:?}", reply.server)),
            (_, 200) => text::judge(expect, &reply.body),
            (_, _) => good(label, &Ok(reply.clone())).map(|_| String::new()),
        }
    };
    together(all.iter().map(|one| (one.0.clone(), of(one))))
}

/// Returns a reply that is one, of status 200.
fn good<'a>(label: &str, reply: &'a Result<Reply, String>) -> Result<&'a Reply, String> {
    match reply {
        Ok(reply) if reply.status == 200 => Ok(reply),
        Ok(reply) => Err(format!("HTTP status {}: {}", reply.status, text::short(&reply.body))),
        Err(why) => Err(format!("{label}: {why}")),
    }
}

fn of_each(expect: &Expect, all: &[Heard]) -> Finding {
    if let Expect::ContainsEach(wanted) = expect {
        let heard: BTreeSet<&str> = all.iter().map(|one| one.about.as_str()).collect();
        if let Some(silent) = wanted.keys().find(|node| !heard.contains(node.as_str())) {
            return Err(format!("nobody answered for {silent}"));
        }
    }
    if let Expect::Spread { host, nodes } = expect {
        let asked: BTreeSet<&str> = all.iter().map(|one| one.about.as_str()).collect();
        let of = |about| spread_over(host, nodes, all.iter().filter(|one| one.about == about));
        return together(asked.into_iter().map(|about| (about.to_owned(), of(about))));
    }
    let of = |one: &Heard| match expect {
        Expect::ContainsEach(wanted) => match wanted.get(&one.about) {
            Some(words) => of_said(&Expect::Contains(words.clone()), &one.said),
            None => Ok("not asked for".to_owned()),
        },
        Expect::PodRoutes { pods, members } => {
            successful(&one.said).and_then(|text| routes::pods(*pods, members, &one.about, text))
        }
        _ => of_said(expect, &one.said),
    };
    together(all.iter().map(|one| (one.label.clone(), of(one))))
}

/// Judges what several were told by one place together: who takes turns with others sees a part of its pods only.
fn spread_over<'a>(host: &str, nodes: &BTreeSet<String>, all: impl Iterator<Item = &'a Heard>) -> Finding {
    let said: Result<Vec<&str>, String> =
        all.map(|one| successful(&one.said).map_err(|wrong| format!("{}: {wrong}", one.label))).collect();
    text::spread(host, nodes, said?.into_iter().flat_map(str::lines))
}

/// Puts findings together: all that is wrong, or how many are right; what was seen itself if it is one.
fn together(findings: impl Iterator<Item = (String, Finding)>) -> Finding {
    let all: Vec<_> = findings.collect();
    let failed: Vec<String> = all
        .iter()
        .filter_map(|(label, finding)| finding.as_ref().err().map(|wrong| (label, wrong)))
        .map(|(label, wrong)| if all.len() == 1 { wrong.clone() } else { format!("{label}: {wrong}") })
        .collect();
    match (failed.as_slice(), all.as_slice()) {
        ([], []) => Err("nothing was asked".to_owned()),
        ([], [(_, one)]) => one.clone(),
        ([], all) => Ok(format!("{} of {}", all.len(), all.len())),
        (failed, _) => Err(failed.join("; ")),
    }
}

fn of_said(expect: &Expect, said: &Said) -> Finding {
    if said.status.is_some()
        && let Some(finding) = curl::judge(expect, said)
    {
        return finding;
    }
    successful(said).and_then(|text| text::judge(expect, text))
}

/// Returns what a command that succeeded printed; else why it did not.
fn successful(said: &Said) -> Result<&str, String> {
    match said.status {
        Some(0) => Ok(&said.stdout),
        Some(status) => {
            let words = if said.stderr.trim().is_empty() { &said.stdout } else { &said.stderr };
            Err(format!("exit status {status}: {}", text::short(words)))
        }
        None => Err(text::short(&said.stderr)),
    }
}

#[cfg(test)]
mod tests;
