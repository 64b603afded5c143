//! What befalls one Mac: who lives there already, which verbs are run, what goes wrong while they are, and what people do
//! between them.

use std::time::Duration;

use fusionlab::engine::error::EngineError;
use fusionlab::lab::Lab;
use fusionlab::sim::hazards;
use fusionlab::sim::inside::Lived;
use tokio_util::sync::CancellationToken;

use super::beside::{self, Second};
use super::chance::Chance;
use super::hands;
use super::invariants::{Before, Found, Violation, lab_is_whole};
use super::mac::{Mac, Verb};
use super::mishaps::Mishaps;
use super::second::{self, Bystander};
use super::{lab_file, neighbours, users};

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

/// Verbs, those that people use most, most often.
const VERBS: &[(u64, Verb)] = &[
    (56, Verb::Up),
    (17, Verb::Destroy),
    (15, Verb::Verify),
    (3, Verb::Drill),
    (3, Verb::NetworkApply),
    (3, Verb::NetworkRestore),
    (2, Verb::TemplateBuild),
    (1, Verb::TemplateRebuild),
    (2, Verb::TemplatePrune),
    (3, Verb::DestroyAll),
    (3, Verb::KubeconfigMerge),
    (3, Verb::NamesResolver),
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

/// What `up` says of a cluster whose etcd cannot answer any more.
const MAJORITY_GONE: &str = "etcd needs more than half of its members";

/// No verb takes longer than this, whatever befalls it.
pub const LONGEST_VERB: Duration = Duration::from_secs(48 * 3600);
const MOST_ROUNDS: u64 = 3;

/// Draws the lab of a story.
pub fn lab(chance: &mut Chance) -> &'static str {
    weighted(chance, LABS)
}

fn weighted<T: Copy>(chance: &mut Chance, from: &[(u64, T)]) -> T {
    let mut drawn = chance.below(from.iter().map(|(weight, _)| weight).sum());
    for (weight, one) in from {
        if drawn < *weight {
            return *one;
        }
        drawn -= weight;
    }
    from[0].1
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
    if chance.percent(6) {
        mac.add(second::lab(chance));
        mac.inside.note("there is a second lab");
    }
    let before = Before::of(mac);
    if chance.percent(8) {
        neighbours::in_the_way(mac, chance, &before).await?;
    }
    if chance.percent(5) && mac.second().is_none() {
        // Of a lab that is up, another one is made.
        before.strangers_shut_down(mac).await;
        comes_up(mac, &before).await?;
        lab_file::changes(mac, chance);
    }
    for number in 1..=1 + chance.below(MOST_ROUNDS) {
        if chance.percent(3) {
            lab_file::changes(mac, chance);
        }
        if chance.percent(10) {
            hands::meddle(mac, chance).await;
        }
        if chance.percent(3) {
            neighbours::leases_an_address(mac, chance);
        }
        if chance.percent(3) {
            neighbours::reserves_an_address(mac, &before).await?;
        }
        let lab = if chance.percent(40) { mac.second().unwrap_or(mac.lab()) } else { mac.lab() };
        let verb = weighted(chance, VERBS);
        mac.inside.note(format!("--- {number}: {} of {}", verb.name(), lab.name));
        round(mac, chance, lab, verb, &before).await?;
        before.still_holds(mac, lab, verb)?;
    }
    mac.inside.note("--- no more faults");
    mac.inside.end_hanging_programs();
    before.strangers_shut_down(mac).await;
    neighbours::leases_end(mac).await;
    let ended = ends_well(mac, chance, &before).await;
    // What was asked for that must not be says more than what came of it.
    before.looks_at_the_trace(mac)?;
    ended
}

/// Nothing goes wrong any more, and whatever was done by hand is mended: everything comes up, and goes without a trace.
async fn ends_well(mac: &Mac, chance: &mut Chance, before: &Before) -> Result<(), Violation> {
    if let Some(second) = mac.second() {
        return second::end_well(mac, second, chance, before).await;
    }
    if chance.percent(12) {
        comes_up(mac, before).await?;
        hands::meddle(mac, chance).await;
    }
    comes_up(mac, before).await?;
    is_whole(mac, mac.lab()).await?;
    before.still_holds(mac, mac.lab(), Verb::Up)?;
    calm(mac, mac.lab(), Verb::Destroy).await?;
    before.is_back(mac)
}

/// `up`; where most control planes were taken away, it says so, and a person who reads it begins anew.
async fn comes_up(mac: &Mac, before: &Before) -> Found {
    let taken = |(_, text): &(Duration, String)| {
        (text.contains("destroy of") || text.contains("destroy --all of")) || text.ends_with(": Finder")
    };
    match calm(mac, mac.lab(), Verb::Up).await {
        Err(said) if said.what.contains(MAJORITY_GONE) && mac.inside.trace().iter().any(taken) => {
            before.lab_may_be_gone(mac.lab());
            calm(mac, mac.lab(), Verb::Destroy).await?;
            calm(mac, mac.lab(), Verb::Up).await
        }
        ended => ended,
    }
}

/// Looks whether a lab that came up lacks nothing.
pub async fn is_whole(mac: &Mac, lab: &Lab) -> Result<(), Violation> {
    lab_is_whole(mac, lab)?;
    let missing = mac.missing(lab).await.map_err(|error| Violation::of("converges", words(&error)))?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(Violation::of("converges", format!("plan after up of {}: {}", lab.name, missing.join("; "))))
}

/// Runs a verb that nothing disturbs, and that must come to its end.
pub async fn calm(mac: &Mac, lab: &Lab, verb: Verb) -> Result<(), Violation> {
    let cancel = CancellationToken::new();
    mac.inside.note(format!("--- {} of {}", verb.name(), lab.name));
    let ended = mac.inside.live(mac.run_on(lab, verb, &cancel), None);
    match tokio::time::timeout(LONGEST_VERB, ended).await {
        Ok(Lived::Done(Ok(()))) => Ok(()),
        Ok(Lived::Done(Err(error))) => Err(Violation::of("converges", words(&error))),
        Ok(Lived::Killed) => Err(Violation::of("converges", "killed by nobody")),
        Err(_) => Err(Violation::of("ends", format!("{} after the faults", verb.name()))),
    }
}

/// Runs a verb while something goes wrong.
async fn round(mac: &Mac, chance: &mut Chance, lab: &Lab, verb: Verb, before: &Before) -> Found {
    let mut mishaps = Mishaps::default();
    let mut others = None;
    for _ in 0..1 + chance.below(2) {
        if !mishaps.draw(mac, chance) {
            others = Some(Second::draw(mac, chance, lab));
        }
    }
    if let Some(second) = others {
        if chance.percent(50) {
            mishaps.draw(mac, chance);
        }
        let ended = beside::two(mac, (lab, verb), &second, &mishaps, before).await;
        mishaps.end(mac).await;
        users::locks_are_left_behind(mac);
        return ended;
    }
    let bystander = mac.labs().find(|other| other.name != lab.name).map(|other| Bystander::of(mac, other));
    let work = mac.inside.live(mac.run_on(lab, verb, &mishaps.cancel), mishaps.death);
    let ended = tokio::time::timeout(LONGEST_VERB, work).await;
    mishaps.end(mac).await;
    users::locks_are_left_behind(mac);
    if let Some(bystander) = bystander {
        bystander.is_untouched(mac)?;
    }
    match ended {
        Ok(Lived::Done(Ok(()))) => {
            mac.inside.note(format!("{} is done", verb.name()));
            before.after_success(mac, lab, verb)
        }
        Ok(Lived::Done(Err(error))) => {
            mac.inside.note(format!("{} fails: {}", verb.name(), words(&error)));
            before.after_failure(mac, verb, &error)
        }
        Ok(Lived::Killed) => Ok(()),
        Err(_) => Err(Violation::of("ends", format!("{} under faults", verb.name()))),
    }
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
