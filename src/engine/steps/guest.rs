//! Steps in one guest: wait until it is ours to use, and put its files in place.

use std::io::ErrorKind;
use std::net::Ipv4Addr;

use serde_json::Value;

use crate::engine::context::{command_failed, tail};
use crate::engine::error::{EngineError, Requirement, Result};
use crate::engine::observe;
use crate::engine::run::StepContext;
use crate::engine::wait::{Probe, waited};
use crate::formats::command::Command;
use crate::formats::dhcp;
use crate::host::{HostError, clock, files};
use crate::lab::limits::LimitName;
use crate::lab::{Nic, Node};
use crate::plan::drift;
use crate::plan::facts::GuestFacts;
use crate::plan::step::Phase;
use crate::plan::up::services;
use crate::stack::file::GuestFile;
use crate::stack::identity::Identity;
use crate::stack::node as nodes;

use super::upkeep::kubelet_runs;
use super::vm;

/// Waits for a login, then for cloud-init, then looks whether the guest is the one it should be. Says whether it had to wait.
pub async fn ready(context: &StepContext, name: &str) -> Result<bool> {
    let engine = &context.engine;
    let node = engine.node(name)?;
    let came_late = match comes_up(context, node).await {
        Ok(came_late) => came_late,
        Err(error) => {
            power_anew(context, node, error).await?;
            comes_up(context, node).await?;
            true
        }
    };
    let facts = observe::guest(engine, node).await?;
    let mut wrong = Vec::new();
    if facts.hostname != node.name {
        wrong.push(format!("its host name is {:?}", facts.hostname));
    }
    wrong.extend(
        node.nics
            .iter()
            .filter(|nic| !facts.holds(nic.address))
            .map(|nic| format!("{} does not hold {}", nic.guest_name(), nic.address)),
    );
    wrong.extend(misnamed(node, &facts));
    if wrong.is_empty() {
        engine.identities.must_be_its_own(&node.name, &facts)?;
        return Ok(came_late);
    }
    let held: Vec<String> =
        facts.addresses.iter().map(|(name, address)| format!("{name} {address}")).collect();
    let reason =
        format!("it is not configured as it should be: {}; it has {}", wrong.join(", "), held.join(", "));
    Err(EngineError::Guest { node: node.name.clone(), reason, tail: context.console_tail() })
}

/// Waits for a login, then for cloud-init; says whether it had to.
async fn comes_up(context: &StepContext, node: &Node) -> Result<bool> {
    let came_late = login(context, node).await?;
    context.reached(&node.name, Phase::Net);
    let was_at_work = cloud_init_done(context, node).await?;
    Ok(came_late || was_at_work)
}

/// Says which cards have other names than their places in the VMX lead to: Keepalived is told them by name.
fn misnamed(node: &Node, facts: &GuestFacts) -> Vec<String> {
    let told = |nic: &Nic| {
        let (name, _) = facts.addresses.iter().find(|(_, address)| *address == nic.address)?;
        (*name != nic.guest_name())
            .then(|| format!("its card with {} is called {name}, not {}", nic.address, nic.guest_name()))
    };
    node.nics.iter().filter_map(told).collect()
}

/// So often in a row a Mac finds no way only to what a program may not reach: else it says so now and then, while it looks for who
/// has an address (XNU's `in_arp.c`).
const DENIED: u32 = 10;

async fn login(context: &StepContext, node: &Node) -> Result<bool> {
    let engine = &context.engine;
    let requirement = Requirement {
        what: format!("{} takes our SSH key at {}", node.name, node.address()),
        limit: engine.lab.limits.guest_ssh(),
        hint: "look at its console: does it boot, does it have its address? `fusionlab status` shows the rest",
    };
    let limit = engine.lab.limits.guest_connect;
    let mut power = Power::of(context, node);
    let mut no_way = 0_u32;
    let came = waited(context, requirement, async || {
        let answer = engine.run(node, &Command::new(["true"]), limit).await;
        no_way = if answer.as_ref().is_err_and(finds_no_way) { no_way + 1 } else { 0 };
        match answer {
            Ok(output) if output.success() => Ok(Probe::Met(())),
            Ok(output) => Ok(Probe::NotYet(format!("the login answers, but {:?}", tail(&output)))),
            // A stranger at its address is not a matter of waiting.
            Err(error @ EngineError::Host(HostError::HostKey { .. } | HostError::Interrupted)) => Err(error),
            Err(error) => {
                power.must_be_on().await?;
                Ok(Probe::NotYet(match leased_elsewhere(context, node) {
                    Some(address) => {
                        format!("{error}; Fusion's DHCP server has leased {address} to its card")
                    }
                    // It may be allowed while we wait.
                    None if no_way >= DENIED => "macOS may deny this terminal the local network".to_owned(),
                    None => error.to_string(),
                }))
            }
        }
    })
    .await;
    match came {
        Err(EngineError::Requirement { .. }) if no_way >= DENIED => {
            Err(EngineError::LocalNetworkDenied { node: node.name.clone(), address: node.address() })
        }
        came => came,
    }
}

/// Says whether the Mac knew no way to a machine. Of one that boots, or is down, it says that nobody answers.
fn finds_no_way(error: &EngineError) -> bool {
    matches!(error, EngineError::Host(HostError::Connect { source, .. }) if source.kind() == ErrorKind::HostUnreachable)
}

/// Switches a machine off and on that runs and whose login was waited for in vain: one that hung while it booted, or that the DHCP
/// server passed over then, does not get better by waiting. One that lost its power is started again: it was shutting down when we
/// came, as a killed `destroy` leaves it. Any other error is passed on.
async fn power_anew(context: &StepContext, node: &Node, error: EngineError) -> Result<()> {
    match &error {
        EngineError::Requirement { requirement, .. } if requirement.limit.name() == LimitName::GuestSsh => {
            let limit = requirement.limit.duration().as_secs();
            let text =
                format!("{} has not answered for {limit} s; it is switched off and on, once", node.name);
            context.note(text);
            vm::stop(context, &node.name).await?;
        }
        EngineError::PowerLost { .. } => context.note(format!("{error}; it is started again, once")),
        _ => return Err(error),
    }
    vm::start(context, &node.name).await?;
    Ok(())
}

/// Whether a machine that does not answer runs at all: one without power is not waited for.
struct Power<'a> {
    context: &'a StepContext,
    node: &'a Node,
    /// How often in a row Fusion did not know it as running.
    missed: u32,
}

impl<'a> Power<'a> {
    /// Fusion's list is believed the second time: a machine that is being started may not be in it yet.
    const BELIEVED: u32 = 2;

    fn of(context: &'a StepContext, node: &'a Node) -> Self {
        Self { context, node, missed: 0 }
    }

    async fn must_be_on(&mut self) -> Result<()> {
        let engine = &self.context.engine;
        let vmx = files::canonicalize(&engine.vmx(&self.node.name))?;
        // A list that cannot be had tells nothing.
        let missed = engine.vms.running().await.is_ok_and(|running| !running.contains(&vmx));
        self.missed = if missed { self.missed + 1 } else { 0 };
        if self.missed < Self::BELIEVED {
            return Ok(());
        }
        Err(EngineError::PowerLost { node: self.node.name.clone(), tail: self.context.console_tail() })
    }
}

/// Returns the address that Fusion's DHCP server has given to a node's card in place of the reserved one.
fn leased_elsewhere(context: &StepContext, node: &Node) -> Option<Ipv4Addr> {
    let engine = &context.engine;
    let leases = engine.networks.leases(engine.lab.internal.vmnet).ok()?;
    let lease = dhcp::newest_valid(&leases, node.internal().mac, clock::now())?;
    (lease.address != node.address()).then_some(lease.address)
}

async fn cloud_init_done(context: &StepContext, node: &Node) -> Result<bool> {
    let engine = &context.engine;
    let requirement = Requirement {
        what: format!("cloud-init is done on {}", node.name),
        limit: engine.lab.limits.guest_cloud_init(),
        hint: "log in and read /var/log/cloud-init-output.log",
    };
    let limit = engine.lab.limits.guest_command;
    let status = Command::new(["cloud-init", "status", "--format", "json"]);
    let mut power = Power::of(context, node);
    waited(context, requirement, async || {
        // sshd restarts once while cloud-init works: a lost connection here is only "not yet".
        let output = match engine.run(node, &status, limit).await {
            Ok(output) if output.left_out > 0 => return Err(command_failed(&node.name, &status, &output)),
            Ok(output) => output,
            Err(EngineError::Host(error @ (HostError::Connect { .. } | HostError::Ssh { .. }))) => {
                power.must_be_on().await?;
                return Ok(Probe::NotYet(error.to_string()));
            }
            Err(error) => return Err(error),
        };
        judge(context, node, &serde_json::from_slice(&output.stdout).unwrap_or_default())
    })
    .await
}

/// Judges `cloud-init status`: only errors are failures; a deprecated key is said and passed over
/// (facts/vm-images-cloudinit.md §4.8).
fn judge(context: &StepContext, node: &Node, status: &Value) -> Result<Probe<()>> {
    let word = status.get("status").and_then(Value::as_str).unwrap_or("unknown");
    let errors: Vec<String> = status
        .get("errors")
        .and_then(Value::as_array)
        .map(|errors| {
            errors
                .iter()
                .map(|error| error.as_str().map_or_else(|| error.to_string(), str::to_owned))
                .collect()
        })
        .unwrap_or_default();
    match word {
        "done" if errors.is_empty() => {
            for (level, messages) in
                status.get("recoverable_errors").and_then(Value::as_object).into_iter().flatten()
            {
                context.note(format!("{}: cloud-init {}: {messages}", node.name, level.to_lowercase()));
            }
            Ok(Probe::Met(()))
        }
        "done" | "error" | "disabled" => Err(EngineError::Guest {
            node: node.name.clone(),
            reason: format!("cloud-init ended with status {word:?}"),
            tail: errors,
        }),
        _ => Ok(Probe::NotYet(format!("status {word:?}"))),
    }
}

/// Prepares a member of the cluster: files, services, versions, clock.
pub async fn prepare(context: &StepContext, name: &str) -> Result<bool> {
    let engine = &context.engine;
    let node = engine.node(name)?;
    let identity = engine.need_identity()?;
    let settled = settle_files(context, node, &identity).await?;
    let facts = observe::guest(engine, node).await?;
    kubelet_runs(context, node, &facts).await?;
    engine.identities.must_be_its_own(&node.name, &facts)?;
    let wished = format!("v{}", engine.lab.versions.kubernetes);
    for program in ["kubeadm", "kubelet"] {
        let found = facts.versions.get(program).map_or("not installed", String::as_str);
        if found != wished {
            let reason = format!(
                "{program} is {found}, but the lab wants {wished}: the template is of another version"
            );
            return Err(EngineError::guest(&node.name, reason));
        }
    }
    // A certificate made by a clock ahead is refused by one behind: all clocks agree before kubeadm runs.
    let limit = engine.lab.limits.clock_sync;
    engine.must_within(node, &nodes::await_clock(limit), limit + engine.lab.limits.guest_connect).await?;
    Ok(settled.changed())
}

/// What was not as it should be in a guest, and is now.
pub struct Settled {
    /// The paths of what was written.
    pub written: Vec<String>,
    /// Whether a service of the node's did not run, or would not have after the next boot.
    was_down: bool,
}

impl Settled {
    /// Says whether anything was changed.
    pub fn changed(&self) -> bool {
        self.was_down || !self.written.is_empty()
    }
}

/// Puts the files of a node in their places that are missing or differ, and makes its services follow. A mark in the
/// guest stands from before the first file until the services have followed: a run that is cut off in between leaves
/// files that are right, and services that do not know of it.
pub async fn settle_files(context: &StepContext, node: &Node, identity: &Identity) -> Result<Settled> {
    let engine = &context.engine;
    let files = nodes::files_of(&engine.lab, identity, node);
    let facts = observe::guest(engine, node).await?;
    let was_down = drift::of_units(&facts, &services(node, &facts)).is_some();
    if files.iter().all(|file| is_there(file, &facts)) {
        activate(context, node, &[]).await?;
        return Ok(Settled { written: Vec::new(), was_down });
    }
    engine.must(node, &nodes::mark_pending()).await?;
    let written = install_missing(context, node, &files, &facts).await?;
    activate(context, node, &written).await?;
    engine.must(node, &nodes::settle_pending()).await?;
    Ok(Settled { written, was_down })
}

/// Makes the services follow the files that changed.
async fn activate(context: &StepContext, node: &Node, written: &[String]) -> Result<()> {
    let changed: Vec<&str> = written.iter().map(String::as_str).collect();
    for command in nodes::activate(node.role, &changed) {
        context.engine.must(node, &command).await?;
    }
    Ok(())
}

/// Installs the files that are missing or differ; returns their paths.
pub async fn install(context: &StepContext, node: &Node, files: &[GuestFile]) -> Result<Vec<String>> {
    let facts = observe::guest(&context.engine, node).await?;
    install_missing(context, node, files, &facts).await
}

fn is_there(file: &GuestFile, facts: &GuestFacts) -> bool {
    facts.files.get(&file.path) == Some(&file.digest())
}

async fn install_missing(
    context: &StepContext,
    node: &Node,
    files: &[GuestFile],
    facts: &GuestFacts,
) -> Result<Vec<String>> {
    let mut written = Vec::new();
    for file in files.iter().filter(|file| !is_there(file, facts)) {
        put(context, node, file).await?;
        written.push(file.path.clone());
    }
    Ok(written)
}

/// Puts one file in its place: written beside it, tested there where its program can, then renamed.
pub async fn put(context: &StepContext, node: &Node, file: &GuestFile) -> Result<()> {
    let engine = &context.engine;
    let [write, rename] = file.install();
    engine.must(node, &write).await?;
    if let Some(test) = nodes::test(file) {
        engine.must(node, &test).await?;
    }
    engine.must(node, &rename).await?;
    Ok(())
}
