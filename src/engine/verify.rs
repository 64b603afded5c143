//! The proof: asks the lab every check's question and judges the answer, one event each.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::formats::command::Command;
use crate::host::dial::Dial;
use crate::host::http::{self, Tls};
use crate::host::{Output, clock};
use crate::lab::Node;
use crate::stack::checks::{self, Authority, Check, Labelled, Probe};
use crate::stack::judge::{Answer, Observed, Reply, Said, Verdict, judge};
use crate::stack::kubectl;

use super::context::Engine;
use super::error::{EngineError, Result};
use super::event::Event;
use super::observe;

/// Checks at once: each may hold an SSH session or a connection through the gateways.
const CHECKS_AT_ONCE: usize = 8;
/// Pause between two tries of one check.
const PAUSE: Duration = Duration::from_millis(300);

/// Runs all checks; each is tried again until it passes or its limit is over.
///
/// # Errors
/// [`EngineError::Verification`] with the failed checks.
pub async fn verify(engine: &Arc<Engine>) -> Result<usize> {
    let checks = checks::all(&engine.lab);
    let total = checks.len();
    let gate = Arc::new(Semaphore::new(CHECKS_AT_ONCE));
    let mut running = JoinSet::new();
    for (index, check) in checks.into_iter().enumerate() {
        let (engine, gate) = (engine.clone(), gate.clone());
        running.spawn(async move {
            let _permit = gate.acquire_owned().await.expect("the gate is never closed");
            let started = clock::monotonic();
            let verdict = prove(&engine, &check).await;
            (index, check, verdict, started.elapsed())
        });
    }
    let mut results = running.join_all().await;
    results.sort_by_key(|(index, ..)| *index);
    let mut failed = Vec::new();
    for (_, check, verdict, took) in results {
        if !verdict.passed {
            failed.push(format!("{}: {}", check.title, verdict.detail));
        }
        engine.send(Event::Checked {
            check: check.title,
            passed: verdict.passed,
            detail: verdict.detail,
            took,
        });
    }
    if failed.is_empty() { Ok(total) } else { Err(EngineError::Verification { failed, total }) }
}

async fn prove(engine: &Arc<Engine>, check: &Check) -> Verdict {
    let started = clock::monotonic();
    loop {
        let answer = ask(engine, &check.probe).await;
        let verdict = judge(&check.expect, &answer);
        if verdict.passed
            || started.elapsed() >= engine.lab.limits.verify_check
            || engine.cancel.is_cancelled()
        {
            return verdict;
        }
        clock::pause(PAUSE).await;
    }
}

/// Asks one question; that nobody answers is an answer too.
async fn ask(engine: &Arc<Engine>, probe: &Probe) -> Answer {
    let asked = match probe {
        Probe::Cluster { command } => cluster(engine, command).await,
        Probe::GuestEach { commands } => Ok(Answer::Each(each(engine, commands).await)),
        Probe::Facts => facts(engine).await,
        Probe::Http { address, host, path } => request(engine, *address, host, path, None).await,
        Probe::Https { address, host, path, authority } => {
            request(engine, *address, host, path, Some(*authority)).await
        }
    };
    asked.unwrap_or_else(|error| Answer::Unheard(error.to_string()))
}

/// Runs a command on the first control plane whose API server answers.
async fn cluster(engine: &Engine, command: &Command) -> Result<Answer> {
    let limit = engine.lab.limits.guest_command;
    let mut last = Said::default();
    for node in engine.lab.control_planes() {
        match engine.run(node, &kubectl::get_raw("/readyz"), limit, None).await {
            Ok(ready) if ready.success() => {
                return Ok(Answer::Command(said(engine.run(node, command, limit, None).await)));
            }
            answer => last = said(answer),
        }
    }
    Ok(Answer::Unheard(format!("no API server is ready: {}", last.stderr)))
}

/// Runs commands in several guests at once.
async fn each(engine: &Arc<Engine>, commands: &[Labelled]) -> Vec<(String, Said)> {
    let mut running = JoinSet::new();
    for (index, Labelled { label, node, command }) in commands.iter().cloned().enumerate() {
        let engine = engine.clone();
        running.spawn(async move {
            let limit = engine.lab.limits.guest_command;
            let output = match engine.node(&node) {
                Ok(node) => engine.run(node, &command, limit, None).await,
                Err(error) => Err(error),
            };
            (index, label, said(output))
        });
    }
    let mut answers = running.join_all().await;
    answers.sort_by_key(|(index, ..)| *index);
    answers.into_iter().map(|(_, label, said)| (label, said)).collect()
}

/// Asks every machine for its facts, and reads its clock against ours at the middle of the round trip.
async fn facts(engine: &Arc<Engine>) -> Result<Answer> {
    let mut running = JoinSet::new();
    for (index, node) in engine.lab.nodes.iter().cloned().enumerate() {
        let engine = engine.clone();
        running.spawn(async move { (index, observed(&engine, &node).await) });
    }
    let mut machines = running.join_all().await;
    machines.sort_by_key(|(index, _)| *index);
    Ok(Answer::Facts(machines.into_iter().map(|(_, observed)| observed).collect::<Result<_>>()?))
}

async fn observed(engine: &Engine, node: &Node) -> Result<Observed> {
    let asked = clock::now_ms();
    let facts = observe::guest(engine, node).await?;
    let middle = asked.midpoint(clock::now_ms());
    let skew_ms = facts.clock_ms.cast_signed() - middle.cast_signed();
    Ok(Observed { node: node.name.clone(), facts, skew_ms })
}

async fn request(
    engine: &Engine,
    address: SocketAddrV4,
    host: &str,
    path: &str,
    authority: Option<Authority>,
) -> Result<Answer> {
    let identity = engine.need_identity()?;
    let tls = authority.map(|authority| Tls {
        server_name: host.to_owned(),
        ca_pem: match authority {
            Authority::Lab => identity.lab_ca.certificate.clone(),
            Authority::Cluster => identity.cluster_ca.certificate.clone(),
        },
    });
    let probe = http::Probe {
        address: *address.ip(),
        port: address.port(),
        tls,
        host_header: host.to_owned(),
        path: path.to_owned(),
        limit: engine.lab.limits.guest_connect,
    };
    let answer = http::probe(&Dial::of(&engine.fusion)?, &probe).await?;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    Ok(Answer::Http(Reply { status: answer.status, body }))
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
