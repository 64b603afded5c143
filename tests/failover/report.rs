//! What was measured, and the tables it is shown in.

use std::time::{Duration, Instant};

use super::load::{Request, SPACING};
use super::watch::Holders;

/// How one target fared between two moments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fared {
    /// The longest time without an answer.
    pub gap: Duration,
    /// Requests without an answer in time.
    pub lost: usize,
    pub sent: usize,
    /// It answered again before the end.
    pub recovered: bool,
}

impl Fared {
    /// Counts the requests that were sent within a span. A gap lasts from one answer to the next, whatever it began with.
    pub fn between(requests: &[Request], from: Instant, to: Instant) -> Self {
        let sent: Vec<&Request> =
            requests.iter().filter(|request| (from..to).contains(&request.sent)).collect();
        let mut answers: Vec<Instant> =
            sent.iter().filter(|request| request.answered).map(|request| request.ended).collect();
        answers.sort();
        let first = requests
            .iter()
            .filter(|request| request.answered && request.ended <= from)
            .map(|request| request.ended)
            .max();
        let last = sent.last().map_or(to, |request| request.sent);
        // The end is no answer, but a gap that lasts until then is at least that long.
        let points: Vec<Instant> =
            [first.unwrap_or(from)].into_iter().chain(answers.iter().copied()).chain([last]).collect();
        let gaps = points.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0]));
        Self {
            gap: gaps.max().unwrap_or_default(),
            lost: sent.iter().filter(|request| !request.answered).count(),
            sent: sent.len(),
            recovered: sent.iter().rev().take(RECOVERED).all(|request| request.answered),
        }
    }
}

/// So many answers in a row, and a target has recovered: half a second.
const RECOVERED: usize = 25;

/// One run of a fault: every target while it lasted and after it was put right, and who held the VIPs.
#[derive(Clone, Debug)]
pub struct Run {
    pub struck: Vec<Fared>,
    pub healed: Vec<Fared>,
    pub while_struck: Holders,
    pub while_healed: Holders,
}

impl Run {
    /// The longest time that a target was away.
    pub fn outage(&self) -> Duration {
        self.struck.iter().map(|fared| fared.gap).max().unwrap_or_default()
    }

    fn back(&self) -> usize {
        self.healed.iter().map(|fared| fared.lost).max().unwrap_or_default()
    }
}

/// The heading of the faults' table.
pub const HEADING: &str = "\
| Fault | outage: median | worst | lost of the LAN VIP's API: median | worst | lost on the way back | two holders | no holder | column D |
|---|---|---|---|---|---|---|---|---|";

/// Returns a fault's row: medians and worst of all runs; an outage is the worst of the three targets.
pub fn row(name: &str, column_d: &str, runs: &[Run]) -> String {
    let outages: Vec<f64> = runs.iter().map(|run| run.outage().as_secs_f64()).collect();
    let lost: Vec<f64> = runs.iter().map(|run| run.struck[0].lost as f64).collect();
    let most = |of: fn(&Run) -> f64| runs.iter().map(of).fold(0.0, f64::max);
    format!(
        "| {name} | {:.2} s | {:.2} s | {:.0} | {:.0} | {:.0} | {:.2} s | {:.2} s | {column_d} |",
        median(&outages),
        worst(&outages),
        median(&lost),
        worst(&lost),
        most(|run| run.back() as f64),
        most(|run| run.while_struck.two + run.while_healed.two),
        most(|run| run.while_struck.none + run.while_healed.none),
    )
}

fn worst(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(0.0, f64::max)
}

/// Returns the middle one, or the better of the two in the middle.
fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// Returns how many requests failed in each span of this length.
pub fn failed_per(requests: &[Request], from: Instant, to: Instant, span: Duration) -> Vec<usize> {
    let mut counts = Vec::new();
    let mut begin = from;
    while begin < to {
        let inside = |request: &&Request| (begin..begin + span).contains(&request.sent) && !request.answered;
        counts.push(requests.iter().filter(inside).count());
        begin += span;
    }
    counts
}

#[test]
fn a_gap_lasts_from_answer_to_answer() {
    let began = Instant::now();
    let request = |number: u32, answered: bool| {
        let sent = began + SPACING * number;
        Request { sent, ended: sent + SPACING / 4, answered }
    };
    let requests: Vec<Request> =
        (0..100).map(|number| request(number, !(20..40).contains(&number))).collect();
    let fared = Fared::between(&requests, began + SPACING * 10, began + SPACING * 100);
    assert_eq!((fared.lost, fared.sent, fared.recovered), (20, 90, true));
    assert_eq!(fared.gap, SPACING * 21);
    let never = Fared::between(&requests[..40], began + SPACING * 10, began + SPACING * 40);
    assert!(!never.recovered && never.gap >= SPACING * 19, "{never:?}");
    let spans = failed_per(&requests, began, began + SPACING * 100, SPACING * 50);
    assert_eq!(spans, [20, 0]);
}

#[test]
fn the_median_is_one_of_the_figures() {
    assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.0);
    assert_eq!(median(&[]), 0.0);
}
