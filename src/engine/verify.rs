//! The proof: asks the lab every check's question and judges the answer, one event each.
//!
//! Checks that ask the same at the same time share the answer: see `Shared`.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::formats::dhcp;
use crate::formats::dns::Code;
use crate::formats::networking::Document;
use crate::host::Output;
use crate::host::clock::{self, Instant};
use crate::host::dial::Dial;
use crate::host::fusion::networks::Service;
use crate::lab::Node;
use crate::stack::checks::pods::{self, PodQuery, PodQuestion};
use crate::stack::checks::{Check, Labelled, Probe, Request};
use crate::stack::judge::{Answer, Heard, Observed, Outcome, Reply, Said, Verdict, VmnetSeen, judge};
use crate::stack::{dns, kubectl};

use super::access::names;
use super::context::Engine;
use super::error::{EngineError, Result};
use super::event::{Event, Proven};
use super::observe;
use super::observe::ask::{self, ALL, in_order};

/// Checks at once: each may hold SSH sessions or connections through the gateways.
const CHECKS_AT_ONCE: usize = 12;
/// Pause between two tries of one check.
const PAUSE: Duration = Duration::from_millis(300);
/// For how long an answer also serves another check that asks the same.
const FRESH: Duration = Duration::from_secs(1);
/// For how long a control plane that could answer counts as one that can.
const READY: Duration = Duration::from_secs(5);

/// Runs checks; each is tried again until it passes or its limit is over. Where no API server is ready for as long as that,
/// what would have to be asked of one is not waited for any more.
///
/// # Errors
/// [`EngineError::Verification`] with the checks that failed, and those that could not be asked.
pub async fn verify(engine: &Arc<Engine>, checks: Vec<Check>) -> Result<usize> {
    let total = checks.len();
    let shared = Arc::new(Shared::default());
    let results = in_order(checks, CHECKS_AT_ONCE, |check| {
        let (engine, shared) = (engine.clone(), shared.clone());
        async move {
            let started = clock::monotonic();
            let verdict = prove(&engine, &shared, &check).await;
            (check, verdict, started.elapsed())
        }
    })
    .await;
    let (mut failed, mut not_asked) = (Vec::new(), Vec::new());
    for (check, verdict, took) in results {
        let told = || format!("{}: {}", check.title, verdict.detail);
        match verdict.outcome {
            Outcome::Passed => {}
            Outcome::Failed => failed.push(told()),
            Outcome::NotAsked => not_asked.push(told()),
        }
        engine.send(Event::Checked(Box::new(Proven {
            id: check.id,
            hop: check.hop,
            check: check.title,
            outcome: verdict.outcome,
            expected: check.expect.words(),
            detail: verdict.detail,
            hint: check.hint,
            took,
        })));
    }
    if failed.is_empty() && not_asked.is_empty() {
        return Ok(total);
    }
    Err(EngineError::Verification { failed, not_asked, total })
}

/// Returns how many checks failed and how many could not be asked: `2 of 45 checks failed, 34 could not be asked`.
pub fn unproven(failed: usize, not_asked: usize, total: usize) -> String {
    let checks = if total == 1 { "check" } else { "checks" };
    match (failed, not_asked) {
        (failed, 0) => format!("{failed} of {total} {checks} failed"),
        (0, not_asked) => format!("{not_asked} of {total} {checks} could not be asked"),
        (failed, not_asked) => format!("{failed} of {total} {checks} failed, {not_asked} could not be asked"),
    }
}

/// Asks one question, once.
pub async fn ask(engine: &Arc<Engine>, probe: &Probe) -> Answer {
    Shared::default().look(engine, probe).await
}

async fn prove(engine: &Arc<Engine>, shared: &Shared, check: &Check) -> Verdict {
    let started = clock::monotonic();
    loop {
        let answer = shared.ask(engine, &check.probe).await;
        let verdict = judge(&check.expect, &answer);
        let mut is_over = started.elapsed() >= engine.lab.limits.verify_check;
        if verdict.outcome == Outcome::NotAsked {
            // One check has waited for all: the others end with it.
            is_over |= shared.nobody_ready.fetch_or(is_over, Ordering::Relaxed);
        }
        if verdict.passed() || is_over || engine.cancel.is_cancelled() {
            return verdict;
        }
        clock::pause(PAUSE).await;
    }
}

/// An answer with the moment at which it was there.
type Kept = Arc<tokio::sync::Mutex<Option<(Instant, Answer)>>>;

/// What checks that run beside one another need not ask again.
#[derive(Default)]
struct Shared {
    /// Answers of the last moment, by what was asked: several checks read the same facts, and ask the same agents.
    answers: Mutex<HashMap<String, Kept>>,
    /// Whether each control plane's API server was ready, and when that was.
    ready: tokio::sync::Mutex<Option<(Instant, Vec<Heard>)>>,
    /// Whether a check has waited for one in vain for as long as a check may.
    nobody_ready: AtomicBool,
    /// Spreads the questions over the control planes that can answer.
    turn: AtomicUsize,
}

impl Shared {
    async fn ask(&self, engine: &Arc<Engine>, probe: &Probe) -> Answer {
        let kept = self.kept(format!("{probe:?}"));
        // Whoever asks the same meanwhile waits for this answer.
        let mut kept = kept.lock().await;
        if let Some((at, answer)) = kept.as_ref()
            && at.elapsed() < FRESH
        {
            return answer.clone();
        }
        let answer = self.look(engine, probe).await;
        *kept = Some((clock::monotonic(), answer.clone()));
        answer
    }

    fn kept(&self, question: String) -> Kept {
        let mut all = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(question).or_default())
    }

    /// Asks one question; that nobody answers is an answer too.
    async fn look(&self, engine: &Arc<Engine>, probe: &Probe) -> Answer {
        let asked = match probe {
            Probe::ControlPlane { commands } => self.cluster(engine, commands).await,
            Probe::GuestEach { commands } => Ok(Answer::Each(each(engine, commands).await)),
            Probe::Pods { query, question } => self.in_pods(engine, *query, *question).await,
            Probe::Facts => Ok(facts(engine).await),
            Probe::Identity => identity(engine),
            Probe::Vmnet => vmnet(engine).await,
            Probe::Host { requests } => Ok(Answer::Replies(replies(engine, requests).await)),
            Probe::Name { name, servers } => resolved(engine, name, servers).await.map(Answer::Each),
        };
        asked.unwrap_or_else(|error| Answer::Unheard(error.to_string()))
    }

    /// Returns the names of the control planes whose API server is ready; if none is, why the last one is not.
    async fn ready(&self, engine: &Arc<Engine>) -> std::result::Result<Vec<String>, String> {
        let mut known = self.ready.lock().await;
        let is_fresh = |(at, answers): &(Instant, Vec<Heard>)| {
            at.elapsed() < if able(answers).next().is_some() { READY } else { FRESH }
        };
        if !known.as_ref().is_some_and(is_fresh) {
            let ask = |node: &Node| Labelled {
                label: node.name.clone(),
                node: node.name.clone(),
                about: node.name.clone(),
                command: kubectl::get_raw("/readyz"),
            };
            let asked: Vec<Labelled> = engine.lab.control_planes().map(ask).collect();
            let answers = each(engine, &asked).await;
            *known = Some((clock::monotonic(), answers));
        }
        let answers = known.as_ref().map(|(_, answers)| answers.as_slice()).unwrap_or_default();
        let names: Vec<String> = able(answers).map(|heard| heard.about.clone()).collect();
        if names.is_empty() {
            let why = answers.last().map(|heard| heard.said.stderr.trim().to_owned()).unwrap_or_default();
            return Err(format!("no API server is ready: {why}"));
        }
        Ok(names)
    }

    /// Runs the own command of a control plane whose API server is ready.
    async fn cluster(&self, engine: &Arc<Engine>, commands: &[Labelled]) -> Result<Answer> {
        let ready = match self.ready(engine).await {
            Ok(ready) => ready,
            Err(why) => return Ok(Answer::NotAsked(why)),
        };
        let able: Vec<&Labelled> = commands.iter().filter(|one| ready.contains(&one.node)).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let Some(Labelled { node, command, .. }) = able.get(turn % able.len().max(1)) else {
            return Ok(Answer::Unheard("no control plane can ask".to_owned()));
        };
        let limit = engine.lab.limits.guest_command;
        Ok(Answer::Command(said(engine.run(engine.node(node)?, command, limit).await)))
    }

    /// Lists the pods that run, and asks each of them through whichever control planes can.
    async fn in_pods(&self, engine: &Arc<Engine>, query: PodQuery, question: PodQuestion) -> Result<Answer> {
        let list = |node: &Node| Labelled {
            label: node.name.clone(),
            node: node.name.clone(),
            about: node.name.clone(),
            command: query.list(),
        };
        let lists: Vec<Labelled> = engine.lab.control_planes().map(list).collect();
        let listed = match self.cluster(engine, &lists).await? {
            Answer::Command(listed) if listed.status == Some(0) => listed.stdout,
            Answer::Command(said) => return Ok(Answer::Unheard(said.stderr)),
            other => return Ok(other),
        };
        let ready = self.ready(engine).await.unwrap_or_default();
        let askers: Vec<&Node> =
            engine.lab.control_planes().filter(|node| ready.contains(&node.name)).collect();
        let commands = pods::parse(&listed)
            .and_then(|pods| pods::commands(&engine.lab, (query, question), &pods, &askers));
        Ok(match commands {
            Ok(commands) => Answer::Each(each(engine, &commands).await),
            Err(why) => Answer::Unheard(why),
        })
    }
}

/// Returns the answers of those that can be asked more.
fn able(answers: &[Heard]) -> impl Iterator<Item = &Heard> {
    answers.iter().filter(|heard| heard.said.status == Some(0))
}

/// Runs commands in several guests at once.
async fn each(engine: &Arc<Engine>, commands: &[Labelled]) -> Vec<Heard> {
    let one = |Labelled { label, node, about, command }| {
        let engine = engine.clone();
        async move {
            let limit = engine.lab.limits.guest_command;
            let output = match engine.node(&node) {
                Ok(node) => engine.run(node, &command, limit).await,
                Err(error) => Err(error),
            };
            Heard { label, about, said: said(output) }
        }
    };
    in_order(commands.iter().cloned(), ALL, one).await
}

/// Asks every machine for its facts, and reads its clock against ours at the middle of the round trip.
async fn facts(engine: &Arc<Engine>) -> Answer {
    let one = |node: Node| {
        let engine = engine.clone();
        async move {
            let outcome = observed(&engine, &node).await;
            (node.name, outcome)
        }
    };
    let (mut machines, mut silent) = (Vec::new(), Vec::new());
    for (node, outcome) in in_order(engine.lab.nodes.iter().cloned(), ALL, one).await {
        match outcome {
            Ok(observed) => machines.push(observed),
            Err(error) => silent.push((node, error.to_string())),
        }
    }
    Answer::Facts { machines, silent }
}

async fn observed(engine: &Engine, node: &Node) -> Result<Observed> {
    let asked = clock::now_ms();
    let facts = observe::guest(engine, node).await?;
    let middle = asked.midpoint(clock::now_ms());
    // A guest may say any number.
    let skew_ms = facts.clock_ms.cast_signed().saturating_sub(middle.cast_signed());
    Ok(Observed { node: node.name.clone(), facts, skew_ms })
}

fn identity(engine: &Engine) -> Result<Answer> {
    let ends = engine.need_identity()?.validities()?;
    let ends = ends.into_iter().map(|(leaf, validity)| (leaf.words().to_owned(), validity)).collect();
    Ok(Answer::Ends { ends, now: clock::now() })
}

/// Reads the lab's network off Fusion's files, and asks whether its services run.
async fn vmnet(engine: &Engine) -> Result<Answer> {
    let (networks, number) = (&engine.networks, engine.lab.internal.vmnet);
    let Some(bytes) = networks.read()? else {
        return Ok(Answer::Unheard("there is no networking file".to_owned()));
    };
    let document = match Document::parse(&bytes) {
        Ok(document) => document,
        Err(refusal) => {
            let why = format!("the networking file, line {}: {}", refusal.line, refusal.reason);
            return Ok(Answer::Unheard(why));
        }
    };
    let conf = networks.dhcpd_conf(number)?;
    let services = networks.services(engine.lab.limits.fusion_query).await?;
    let runs = |name, service| (name, services.runs(number, service));
    Ok(Answer::Vmnet(Box::new(VmnetSeen {
        vmnet: document.vmnet(number),
        reserved: document.reservations(number),
        fixed: conf
            .as_deref()
            .map(|text| dhcp::hosts(text).into_iter().map(|host| (host.mac, host.address)).collect()),
        subnets: conf.as_deref().map(dhcp::subnets).unwrap_or_default(),
        leases: networks.leases(number)?,
        services: vec![runs("NAT", Service::Nat), runs("DHCP", Service::Dhcp)],
        now: clock::now(),
    })))
}

/// Asks name servers for a name, one after the other: each answers in milliseconds or not at all.
async fn resolved(engine: &Engine, name: &str, servers: &[Ipv4Addr]) -> Result<Vec<Heard>> {
    let dial = Dial::of(&engine.fusion)?;
    let mut heard = Vec::new();
    for server in servers {
        let at = SocketAddrV4::new(*server, dns::PORT);
        let said = match names::ask(&dial, at, name, engine.lab.limits.dns_answer).await {
            Ok(answer) if answer.code == Code::Good => {
                let addresses: Vec<String> = answer.addresses.iter().map(Ipv4Addr::to_string).collect();
                Said { status: Some(0), stdout: addresses.join(" "), stderr: String::new() }
            }
            Ok(answer) => Said { stderr: format!("{:?}", answer.code), ..Said::default() },
            Err(error) => Said { stderr: error.to_string(), ..Said::default() },
        };
        heard.push(Heard { label: server.to_string(), about: server.to_string(), said });
    }
    Ok(heard)
}

/// Sends requests from the host, all at once.
async fn replies(engine: &Arc<Engine>, requests: &[Request]) -> Vec<(String, Result<Reply, String>)> {
    let one = |wanted: Request| {
        let engine = engine.clone();
        async move { (wanted.label(), reply(&engine, &wanted).await.map_err(|error| error.to_string())) }
    };
    in_order(requests.iter().cloned(), ALL, one).await
}

async fn reply(engine: &Engine, wanted: &Request) -> Result<Reply> {
    let probe = ask::probe(engine, wanted, engine.lab.limits.guest_connect)?;
    let answer = ask::send(engine, &probe).await?;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    Ok(Reply { status: answer.status, server: answer.server_header.unwrap_or_default(), body })
}

fn said(output: Result<Output>) -> Said {
    match output {
        Ok(output) => Said {
            status: if output.signal.is_some() { None } else { output.status },
            stdout: output.text(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        },
        Err(error) => Said { status: None, stdout: String::new(), stderr: error.to_string() },
    }
}
