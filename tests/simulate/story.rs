//! What befalls one Mac: who lives there already, which verbs are run, what goes wrong while they are, and what people do
//! between them.

use std::time::Duration;

use fusionlab::engine::error::EngineError;
use fusionlab::host::HostError;
use fusionlab::lab::Lab;
use fusionlab::sim::hazards;
use fusionlab::sim::inside::Lived;
use tokio_util::sync::CancellationToken;

use super::chance::Chance;
use super::hands;
use super::invariants::{Before, Found, Violation, lab_is_whole};
use super::mac::{Mac, Verb};
use super::mishaps::{MIDDLE, Mishaps};
use super::neighbours;
use super::second::{self, Bystander};

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

/// No verb takes longer than this, whatever befalls it.
const LONGEST_VERB: Duration = Duration::from_secs(48 * 3600);
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
    for number in 1..=1 + chance.below(MOST_ROUNDS) {
        if chance.percent(10) {
            hands::meddle(mac, chance).await;
        }
        if chance.percent(3) {
            neighbours::leases_an_address(mac, chance);
        }
        if chance.percent(3) {
            neighbours::reserves_an_address(mac, &before).await?;
        }
        let lab = if chance.percent(40) { mac.second().unwrap_or(&mac.lab) } else { &mac.lab };
        let verb = weighted(chance, VERBS);
        mac.inside.note(format!("--- {number}: {} of {}", verb.name(), lab.name));
        round(mac, chance, lab, verb, &before).await?;
        before.still_holds(mac, if lab.name == mac.lab.name { verb } else { Verb::Up })?;
    }
    mac.inside.note("--- no more faults");
    before.strangers_shut_down(mac).await;
    neighbours::leases_end(mac).await;
    ends_well(mac, chance, &before).await
}

/// Nothing goes wrong any more, and whatever was done by hand is mended: everything comes up, and goes without a trace.
async fn ends_well(mac: &Mac, chance: &mut Chance, before: &Before) -> Result<(), Violation> {
    if let Some(second) = mac.second() {
        return second::end_well(mac, second, chance, before).await;
    }
    if chance.percent(12) {
        calm(mac, &mac.lab, Verb::Up).await?;
        hands::meddle(mac, chance).await;
    }
    calm(mac, &mac.lab, Verb::Up).await?;
    is_whole(mac, &mac.lab).await?;
    before.still_holds(mac, Verb::Up)?;
    calm(mac, &mac.lab, Verb::Destroy).await?;
    before.is_back(mac)
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
    for _ in 0..1 + chance.below(2) {
        if !mishaps.draw(mac, chance) {
            let other = *chance.pick(&[Verb::Up, Verb::Destroy]);
            let beside = if chance.percent(50) { mac.second().unwrap_or(lab) } else { lab };
            let after = Duration::from_secs(chance.below(MIDDLE));
            let ended = together(mac, (lab, verb), (beside, other), after, before).await;
            mishaps.end(mac).await;
            return ended;
        }
    }
    let bystander = mac.labs().find(|other| other.name != lab.name).map(|other| Bystander::of(mac, other));
    let work = mac.inside.live(mac.run_on(lab, verb, &mishaps.cancel), mishaps.death);
    let ended = tokio::time::timeout(LONGEST_VERB, work).await;
    mishaps.end(mac).await;
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

/// Two verbs at once. While one lab is worked on, a second run on it is told so and changes nothing; another lab's goes
/// its way.
async fn together(
    mac: &Mac,
    (lab, first): (&Lab, Verb),
    (beside, second): (&Lab, Verb),
    after: Duration,
    before: &Before,
) -> Found {
    mac.inside.note(format!(
        "{} of {} begins {} s later in another window",
        second.name(),
        beside.name,
        after.as_secs()
    ));
    let cancel = CancellationToken::new();
    let at_work = std::cell::Cell::new(false);
    let one = async {
        at_work.set(first.changes());
        let ended = mac.run_on(lab, first, &cancel).await;
        at_work.set(false);
        ended
    };
    let other = async {
        tokio::time::sleep(after).await;
        let was_at_work = at_work.get();
        let ended = mac.run_on(beside, second, &cancel).await;
        (was_at_work, ended)
    };
    let both = mac.inside.live(async { tokio::join!(one, other) }, None);
    let destroys = |(lab, verb): (&Lab, Verb)| verb == Verb::Destroy && lab.name == mac.lab.name;
    let (one, (was_at_work, other)) = match tokio::time::timeout(LONGEST_VERB, both).await {
        Ok(Lived::Done(both)) => both,
        Ok(Lived::Killed) => {
            if destroys((lab, first)) || destroys((beside, second)) {
                before.lab_may_be_gone();
            }
            return Ok(());
        }
        Err(_) => return Err(Violation::of("ends", "two verbs at once")),
    };
    for (verb, ended) in [(first, &one), (second, &other)] {
        let told = ended.as_ref().err().map_or_else(|| "is done".to_owned(), words);
        mac.inside.note(format!("{}: {told}", verb.name()));
    }
    let refused = matches!(other, Err(EngineError::Host(HostError::Locked { .. })));
    let same = lab.name == beside.name;
    if same && was_at_work && !refused {
        return Err(Violation::of("one at a time", format!("the second verb was let in: {other:?}")));
    }
    if !same && refused {
        return Err(Violation::of("two labs", format!("{} was kept from its own lab", second.name())));
    }
    if destroys((lab, first)) || (destroys((beside, second)) && !refused) {
        before.lab_may_be_gone();
    }
    if one.is_ok() && refused { before.after_success(mac, lab, first) } else { Ok(()) }
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
