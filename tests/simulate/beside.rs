//! Two verbs at once, each in a window of its own: either may be killed while the other goes on.

use std::cell::Cell;
use std::time::Duration;

use fusionlab::engine::error::EngineError;
use fusionlab::host::HostError;
use fusionlab::host::lock::{Life, Occupant};
use fusionlab::lab::Lab;
use fusionlab::sim::inside::{Death, Lived, When};
use tokio_util::sync::CancellationToken;

use super::chance::Chance;
use super::invariants::{Before, Found, Violation};
use super::mac::{Mac, Verb, in_virtual_time};
use super::mishaps::{self, MIDDLE, Mishaps};
use super::story::{LONGEST_VERB, words};

/// A verb that somebody begins while another one runs.
pub struct Second<'a> {
    lab: &'a Lab,
    verb: Verb,
    after: Duration,
    death: Option<Death>,
}

impl<'a> Second<'a> {
    /// Draws one beside a verb on this lab.
    pub fn draw(mac: &'a Mac, chance: &mut Chance, lab: &'a Lab) -> Self {
        Self {
            lab: if chance.percent(50) { mac.second().unwrap_or(lab) } else { lab },
            verb: *chance.pick(&[Verb::Up, Verb::Destroy]),
            after: Duration::from_secs(chance.below(MIDDLE)),
            death: chance.percent(25).then(|| mishaps::death(chance)),
        }
    }
}

/// What became of a window's verb.
#[derive(Debug)]
enum Ended {
    NeverBegun,
    Killed,
    Done(Result<(), EngineError>),
}

impl Ended {
    fn of(lived: Lived<Result<(), EngineError>>) -> Self {
        match lived {
            Lived::Done(ended) => Self::Done(ended),
            Lived::Killed => Self::Killed,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::NeverBegun => "was never begun".to_owned(),
            Self::Killed => "was killed".to_owned(),
            Self::Done(Ok(())) => "is done".to_owned(),
            Self::Done(Err(error)) => words(error),
        }
    }

    fn is_ok(&self) -> bool {
        matches!(self, Self::Done(Ok(())))
    }

    fn is_refused(&self) -> bool {
        matches!(self, Self::Done(Err(EngineError::Host(HostError::Locked { .. }))))
    }

    /// Refused because of another run, and not of what a killed one of the same lab has left at work.
    fn is_kept_out(&self) -> bool {
        let outlived = |by: &Occupant| by.life == Life::Outlived;
        matches!(self, Self::Done(Err(EngineError::Host(HostError::Locked { by, .. }))) if !outlived(by))
    }
}

/// Says no once it is gone, however that comes.
struct AtWork<'a>(&'a Cell<bool>);

impl<'a> AtWork<'a> {
    fn begins(is: &'a Cell<bool>, verb: Verb) -> Self {
        // What keeps all labs out at its end lets go of its own just before.
        is.set(verb.holds_its_lab() && !verb.holds_all_labs());
        Self(is)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Two verbs at once. While one lab is worked on, a second run on it is told so and changes nothing; once the first run is
/// over or was killed, it is let in. Another lab's goes its way.
pub async fn two(
    mac: &Mac,
    (lab, first): (&Lab, Verb),
    second: &Second<'_>,
    mishaps: &Mishaps,
    before: &Before,
) -> Found {
    mac.inside.note(format!(
        "{} of {} begins {} s later in another window; to be killed: {:?}",
        second.verb.name(),
        second.lab.name,
        second.after.as_secs(),
        second.death,
    ));
    let at_work = Cell::new(false);
    let power = mac.inside.power();
    let one = async {
        let work = async {
            let _at_work = AtWork::begins(&at_work, first);
            mac.run_on(lab, first, &mishaps.cancel).await
        };
        Ended::of(mac.inside.live(work, mishaps.death).await)
    };
    let other = async {
        tokio::time::sleep(second.after).await;
        let was_at_work = at_work.get();
        if power.is_cancelled() {
            return (was_at_work, Ended::NeverBegun);
        }
        let nobody_stops_it = CancellationToken::new();
        let work = mac.run_on(second.lab, second.verb, &nobody_stops_it);
        (was_at_work, Ended::of(mac.inside.live(work, second.death).await))
    };
    let both = tokio::time::timeout(LONGEST_VERB, async { tokio::join!(one, other) }).await;
    let Ok((one, (was_at_work, other))) = both else {
        return Err(Violation::of("ends", "two verbs at once"));
    };
    for (verb, ended) in [(first, &one), (second.verb, &other)] {
        mac.inside.note(format!("{} {}", verb.name(), ended.words()));
    }
    for (lab, verb, ended) in [(lab, first, &one), (second.lab, second.verb, &other)] {
        if verb.destroys() && !ended.is_refused() {
            before.lab_may_be_gone(lab);
        }
    }
    let same = lab.name == second.lab.name;
    if same && was_at_work && matches!(other, Ended::Done(_)) && !other.is_refused() {
        return Err(Violation::of("one at a time", format!("the second verb was let in: {other:?}")));
    }
    if !same && other.is_kept_out() && !first.holds_all_labs() {
        return Err(Violation::of("two labs", format!("{} was kept from its own lab", second.verb.name())));
    }
    match (one.is_ok(), other.is_ok()) {
        (true, _) if other.is_refused() => before.after_success(mac, lab, first),
        // The first was over, or dead: what the second says of the lab is so.
        (_, true) if same && !was_at_work && first.holds_its_lab() => {
            before.after_success(mac, second.lab, second.verb)
        }
        _ => Ok(()),
    }
}

/// Lets `up` and another verb run on one lab, the second so many seconds later; returns what happened.
fn both(first: Death, verb: Verb, after: u64, death: Option<Death>) -> Vec<String> {
    in_virtual_time(async {
        let mac = Mac::new("version: 1\npreset: solo\n", 1);
        let before = Before::of(&mac);
        let second = Second { lab: mac.lab(), verb, after: Duration::from_secs(after), death };
        let ended = two(&mac, (mac.lab(), Verb::Up), &second, &Mishaps::of(first), &before).await;
        ended.expect("no rule is broken");
        mac.inside.trace().into_iter().map(|(_, text)| text).collect()
    })
}

#[test]
fn the_second_run_is_let_in_once_the_first_was_killed() {
    let told = both(death(20, false), Verb::Up, 900, None);
    assert_eq!(told[told.len() - 2..], ["up was killed", "up is done"]);
}

#[test]
fn the_second_run_is_killed_and_the_first_goes_on() {
    let told = both(death(u64::MAX, false), Verb::Verify, 100, Some(death(0, false)));
    assert_eq!(told[told.len() - 2..], ["up is done", "verify was killed"]);
}

#[test]
fn without_power_no_run_goes_on_and_none_begins() {
    let told = both(death(100, true), Verb::Destroy, 600, None);
    assert_eq!(told[told.len() - 2..], ["up was killed", "destroy was never begun"]);
}

fn death(poll: u64, power_cut: bool) -> Death {
    Death { when: When::Poll(poll), power_cut }
}
