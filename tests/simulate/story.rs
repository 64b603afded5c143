//! What befalls one Mac: who lives there already, which verbs are run, and what goes wrong while they are.

use std::time::Duration;

use fusionlab::engine::error::EngineError;
use fusionlab::host::HostError;
use fusionlab::sim::faults::{self, Fault};
use fusionlab::sim::hazards;
use fusionlab::sim::inside::{Death, FileFault, Lived, When};
use tokio_util::sync::CancellationToken;

use super::chance::Chance;
use super::invariants::{Before, Violation};
use super::mac::{Mac, Verb};
use super::neighbours;

/// Labs, the smallest most often: what depends on size is rarer than what does not.
const LABS: &[(u64, &str)] = &[
    (46, "version: 1\npreset: solo\n"),
    (10, "version: 1\npreset: solo\nclone: full\n"),
    (12, "version: 1\npreset: solo\nclone: cow\n"),
    (12, "version: 1\npreset: small\n"),
    (12, "version: 1\ngateways: {count: 1}\ncontrol_planes: {count: 3}\nworkers: {count: 0}\n"),
    (4, "version: 1\ngateways: {count: 2}\ncontrol_planes: {count: 1}\nworkers: {count: 1}\n"),
    (4, "version: 1\n"),
];

/// States of a stranger's Mac with which a lab gets along.
const HAZARDS: &[&str] = &[
    "stranger-runs",
    "two-digit-vnets",
    "unknown-keys",
    "empty-value",
    "descriptions",
    "comments",
    "no-last-newline",
    "crlf",
    "wifi",
];

/// Faults of Fusion's and of guests', and whether they are meant for one machine.
const FAULTS: &[(&str, bool)] = &[
    (faults::START_HANGS, true),
    (faults::START_LIES, true),
    (faults::START_SILENT, true),
    (faults::START_CANCELED, true),
    (faults::START_UNKNOWN, true),
    (faults::HOST_UNREACHABLE, true),
    (faults::STOP_SOFT_HANGS, true),
    (faults::STOP_HARD_HANGS, true),
    (faults::STOP_SILENT, true),
    (faults::SNAPSHOT_EXISTS, false),
    (faults::PARENT_BUSY, true),
    (faults::CLONE_CANCELED, true),
    (faults::DISK_FULL, true),
    (faults::DELETE_SILENT, true),
    (faults::NOISE_LINES, false),
    (faults::LIST_MISCOUNTS, false),
    (faults::WRONG_ADDRESS, true),
    (faults::UNKNOWN_ADDRESS, true),
    (faults::NETWORK_START_LIES, false),
    (faults::NETWORK_CONFIGURE_FAILS, false),
    (faults::NETWORK_EXIT_LIES, false),
    (faults::STATUS_SILENT, false),
    (faults::LEASES_LOST, false),
    (faults::DHCP_SILENT, true),
    (faults::BOOT_HANGS, true),
    (faults::SSH_DROPS, true),
    (faults::POWER_LOST, true),
    (faults::GUEST_DISK_FULL, true),
    (faults::HELM_KILLED, false),
    (faults::KUBEADM_INIT_FAILS, false),
    (faults::API_SERVER_CRASHES, true),
];

/// Ends of kubeadm's phases at which it may be killed.
const PHASES: &[&str] = &[
    "control-plane",
    "etcd-join",
    "kubelet-start",
    "kubelet-wait-bootstrap",
    "etcd-promote",
    "control-plane-prepare",
];

/// Calls of Fusion's programs whose caller may be killed.
const CALLS: &[&str] = &[
    "vmnet-cli --stop",
    "vmnet-cli --configure",
    "vmnet-cli --start",
    "vmrun start",
    "vmrun stop",
    "vmrun clone",
    "vmrun snapshot",
    "vmrun deleteVM",
];

/// No verb takes longer than this, whatever befalls it.
const LONGEST_VERB: Duration = Duration::from_secs(48 * 3600);
const MOST_ROUNDS: u64 = 3;
/// A verb's length in seconds, as far as what comes in its middle is concerned.
const MIDDLE: u64 = 420;

/// Draws the lab of a story.
pub fn lab(chance: &mut Chance) -> &'static str {
    let mut drawn = chance.below(LABS.iter().map(|(weight, _)| weight).sum());
    for (weight, lab) in LABS {
        if drawn < *weight {
            return lab;
        }
        drawn -= weight;
    }
    LABS[0].1
}

/// Lets a whole story happen.
///
/// # Errors
/// What was found to be wrong.
pub async fn happen(mac: &Mac, chance: &mut Chance) -> Result<(), Violation> {
    for hazard in HAZARDS {
        // A VM of somebody else's that runs forbids every change of networks.
        let likely = if *hazard == "stranger-runs" { 5 } else { 12 };
        if chance.percent(likely) {
            mac.inside.note(format!("there is: {hazard}"));
            hazards::seed(&mac.inside.places, hazard).await.expect("a Mac takes it");
        }
    }
    if chance.percent(30) {
        neighbours::in_our_folder(mac);
    }
    let before = Before::of(mac);
    if chance.percent(6) {
        neighbours::with_our_mac(mac, &before).await?;
    }
    for number in 1..=1 + chance.below(MOST_ROUNDS) {
        let verb = *chance.pick(&[Verb::Up, Verb::Up, Verb::Up, Verb::Destroy, Verb::Verify]);
        mac.inside.note(format!("--- {number}: {}", verb.name()));
        round(mac, chance, verb, &before).await?;
        before.still_holds(mac, verb)?;
    }
    mac.inside.note("--- no more faults");
    before.strangers_shut_down(mac).await;
    calm(mac, Verb::Up).await?;
    before.lab_is_whole(mac)?;
    let missing = mac.missing().await.map_err(|error| Violation::of("converges", error))?;
    if !missing.is_empty() {
        return Err(Violation::of("converges", format!("plan after up: {}", missing.join("; "))));
    }
    before.still_holds(mac, Verb::Up)?;
    calm(mac, Verb::Destroy).await?;
    before.is_back(mac)
}

/// Runs a verb that nothing disturbs, and that must come to its end.
async fn calm(mac: &Mac, verb: Verb) -> Result<(), Violation> {
    let cancel = CancellationToken::new();
    match tokio::time::timeout(LONGEST_VERB, mac.inside.live(mac.run(verb, &cancel), None)).await {
        Ok(Lived::Done(Ok(()))) => Ok(()),
        Ok(Lived::Done(Err(error))) => Err(Violation::of("converges", words(&error))),
        Ok(Lived::Killed) => Err(Violation::of("converges", "killed by nobody")),
        Err(_) => Err(Violation::of("ends", format!("{} after the faults", verb.name()))),
    }
}

/// Runs a verb while something goes wrong.
async fn round(mac: &Mac, chance: &mut Chance, verb: Verb, before: &Before) -> Result<(), Violation> {
    let mut death = None;
    let cancel = CancellationToken::new();
    let mut timers = Vec::new();
    for _ in 0..1 + chance.below(2) {
        match chance.below(20) {
            0..=4 => {
                death =
                    Some(Death { when: When::Poll(chance.of_any_size(13)), power_cut: chance.percent(30) })
            }
            5..=9 => {
                death =
                    Some(Death { when: When::Effect(chance.of_any_size(9)), power_cut: chance.percent(40) })
            }
            10..=13 => plant(mac, chance),
            14 => kubeadm_dies(mac, chance),
            15 => caller_dies(mac, chance),
            16 => files_fail(mac, chance),
            17 => {
                let (at, cancel, inside) = (chance.below(MIDDLE), cancel.clone(), mac.inside.clone());
                timers.push(tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(at)).await;
                    inside.note("Ctrl-C");
                    cancel.cancel();
                }));
            }
            18 => timers.push(clock_jumps(mac, chance)),
            _ => {
                let other = *chance.pick(&[Verb::Up, Verb::Destroy]);
                return together(mac, verb, other, Duration::from_secs(chance.below(MIDDLE)), before).await;
            }
        }
    }
    if let Some(death) = death {
        mac.inside.note(format!("to be killed: {death:?}"));
    }
    let ended = tokio::time::timeout(LONGEST_VERB, mac.inside.live(mac.run(verb, &cancel), death)).await;
    timers.iter().for_each(tokio::task::JoinHandle::abort);
    mac.inside.refuse_files(None);
    faults::clear(&mac.inside.places).expect("settings can be written");
    match ended {
        Ok(Lived::Done(Ok(()))) => {
            mac.inside.note(format!("{} is done", verb.name()));
            before.after_success(mac, verb)
        }
        Ok(Lived::Done(Err(error))) => {
            mac.inside.note(format!("{} fails: {}", verb.name(), words(&error)));
            before.after_failure(mac, verb, &error)
        }
        Ok(Lived::Killed) => Ok(()),
        Err(_) => Err(Violation::of("ends", format!("{} under faults", verb.name()))),
    }
}

/// Two verbs on one lab: while the first is at work, the second is told so and changes nothing.
async fn together(
    mac: &Mac,
    first: Verb,
    second: Verb,
    after: Duration,
    before: &Before,
) -> Result<(), Violation> {
    mac.inside.note(format!("{} begins {} s later in another window", second.name(), after.as_secs()));
    let cancel = CancellationToken::new();
    let at_work = std::cell::Cell::new(false);
    let one = async {
        at_work.set(first != Verb::Verify);
        let ended = mac.run(first, &cancel).await;
        at_work.set(false);
        ended
    };
    let other = async {
        tokio::time::sleep(after).await;
        let was_at_work = at_work.get();
        let ended = mac.run(second, &cancel).await;
        (was_at_work, ended)
    };
    let both = mac.inside.live(async { tokio::join!(one, other) }, None);
    let Ok(Lived::Done((one, (was_at_work, other)))) = tokio::time::timeout(LONGEST_VERB, both).await else {
        return Err(Violation::of("ends", "two verbs at once"));
    };
    faults::clear(&mac.inside.places).expect("settings can be written");
    mac.inside.refuse_files(None);
    let refused = matches!(other, Err(EngineError::Host(HostError::Locked { .. })));
    if was_at_work && !refused {
        return Err(Violation::of("one at a time", format!("the second verb was let in: {other:?}")));
    }
    if second == Verb::Destroy && !refused {
        before.lab_may_be_gone();
    }
    if one.is_ok() && refused { before.after_success(mac, first) } else { Ok(()) }
}

fn plant(mac: &Mac, chance: &mut Chance) {
    let (name, of_machine) = *chance.pick(FAULTS);
    let target = of_machine.then(|| machine(mac, chance)).flatten();
    put(mac, Fault { name: name.to_owned(), target, times: Some(times(chance)), after: after(chance) });
}

fn kubeadm_dies(mac: &Mac, chance: &mut Chance) {
    let Some(machine) = machine(mac, chance) else { return };
    let target = Some(format!("{machine}:{}", chance.pick(PHASES)));
    put(mac, Fault { name: faults::KUBEADM_DIES.to_owned(), target, times: Some(times(chance)), after: 0 });
}

fn caller_dies(mac: &Mac, chance: &mut Chance) {
    let moment = if chance.percent(50) { "before" } else { "after" };
    let target = Some(format!("{} {moment}", chance.pick(CALLS)));
    let name = faults::CALLER_DIES.to_owned();
    put(mac, Fault { name, target, times: Some(1), after: after(chance) });
}

fn put(mac: &Mac, fault: Fault) {
    mac.inside.note(format!(
        "planted: {} on {}, after {}, {} times",
        fault.name,
        fault.target.as_deref().unwrap_or("any"),
        fault.after,
        fault.times.unwrap_or_default(),
    ));
    faults::plant(&mac.inside.places, fault).expect("settings can be written");
}

/// Draws a machine of the lab, the template's, or none in particular.
fn machine(mac: &Mac, chance: &mut Chance) -> Option<String> {
    if chance.percent(15) {
        return None;
    }
    if chance.percent(15) {
        return Some("template".to_owned());
    }
    Some(chance.pick(&mac.lab.nodes).name.clone())
}

fn times(chance: &mut Chance) -> u32 {
    1 + u32::try_from(chance.of_any_size(3)).expect("it is small")
}

fn after(chance: &mut Chance) -> u32 {
    if chance.percent(60) { 0 } else { u32::try_from(chance.of_any_size(4)).expect("it is small") }
}

fn files_fail(mac: &Mac, chance: &mut Chance) {
    let errno = *chance.pick(&[libc::ENOSPC, libc::EROFS, libc::EIO]);
    let (after, times) = (chance.of_any_size(9), 1 + chance.of_any_size(5));
    mac.inside.note(format!("file operation {after} and {times} more fail: error {errno}"));
    mac.inside.refuse_files(Some(FileFault { errno, after, times }));
}

fn clock_jumps(mac: &Mac, chance: &mut Chance) -> tokio::task::JoinHandle<()> {
    const HOUR_MS: i64 = 3_600_000;
    let at = chance.below(MIDDLE);
    let hours = i64::try_from(1 + chance.below(48)).expect("it is small");
    let by = if chance.percent(50) { hours * HOUR_MS } else { -hours.min(24) * HOUR_MS };
    let inside = mac.inside.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(at)).await;
        inside.set_clock(by);
    })
}

/// Returns an error with all that it is made of.
pub fn words(error: &EngineError) -> String {
    match error {
        EngineError::Steps { failures, .. } => {
            let each = failures.iter().map(|failure| format!("{}: {}", failure.step, words(&failure.error)));
            each.collect::<Vec<_>>().join("; ")
        }
        EngineError::Verification { failed, .. } => failed.join("; "),
        EngineError::Obstacles(obstacles) => format!("{obstacles:?}"),
        other => format!("{other} {:?}", tail(other)),
    }
}

fn tail(error: &EngineError) -> &[String] {
    match error {
        EngineError::Cluster { tail, .. }
        | EngineError::Guest { tail, .. }
        | EngineError::Command { tail, .. } => tail,
        _ => &[],
    }
}
