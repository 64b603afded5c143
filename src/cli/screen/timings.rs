//! Where the time of a run went: each step with its start, its length and a bar on a common scale.

use std::cmp::Reverse;
use std::time::Duration;

use super::table::{Cell, Table};
use crate::cli::report::summary::{End, StepRun, Summary};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;

/// Columns of the bar; drawn only where there is room for it.
const BAR: usize = 30;
/// From this width on, bars are drawn.
const ROOM_FOR_BARS: usize = 110;

/// Returns the table, in the order in which the steps began, and a total.
pub fn lines(summary: &Summary, pen: &Pen) -> Vec<String> {
    let mut steps: Vec<_> =
        summary.steps.iter().filter_map(|step| Some((step.started?, step.took?, step))).collect();
    steps.sort_by_key(|(started, ..)| *started);
    let bars = pen.width >= ROOM_FOR_BARS;
    let mut table = if bars {
        Table::new([">AT", ">TOOK", "STEP", "", "WHAT"])
    } else {
        Table::new([">AT", ">TOOK", "STEP", "WHAT"])
    };
    for (started, took, step) in &steps {
        let ink = match step.end {
            End::Failed { .. } => Ink::Bad,
            End::Done { changed: false } => Ink::Dim,
            _ => Ink::Strong,
        };
        let mut cells = vec![
            Cell::inked(Ink::Dim, words::lap(*started)),
            Cell::plain(words::duration(*took)),
            Cell::inked(ink, step.planned.id.to_string()),
        ];
        if bars {
            cells.push(Cell::inked(Ink::Accent, bar(*started, *took, summary.took, pen)));
        }
        cells.push(Cell::inked(Ink::Dim, step.planned.text.clone()));
        table.row(cells);
    }
    let mut lines = table.lines(pen);
    let sum: Duration = steps.iter().map(|(_, took, _)| *took).sum();
    lines.push(String::new());
    lines.push(format!(
        "{} in {}; one after the other they would take {}",
        words::count(steps.len(), "step"),
        words::duration(summary.took),
        words::duration(sum)
    ));
    lines.push(String::new());
    lines.extend(way_lines(&way(summary), summary.took, pen));
    lines
}

/// What a part of a run is put down to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cause<'a> {
    Step(&'a StepRun),
    /// No step that ended then: a gate was shut, or the run began or ended.
    Between,
    /// The checks after the last step.
    Proof,
}

/// Puts every moment of a run down to one cause: from the end back, to the step that ended last before it, from that one's
/// start to the one that ended last before, and so on. The parts add up to the whole: the steps in the order of time, then all that
/// lay between them, then the proof.
fn way(summary: &Summary) -> Vec<(Cause<'_>, Duration)> {
    let span = |run: &'_ StepRun| {
        // By the clock that also told of the others, so that a step that follows another does not begin before its end.
        Some((run.started?.min(summary.took), run.ended?.min(summary.took)))
    };
    let (mut parts, mut between, mut proof) = (Vec::new(), Duration::ZERO, Duration::ZERO);
    let (mut at, mut is_end) = (summary.took, true);
    while !at.is_zero() {
        // Of several that ended at once, the one that began first explains most. What took no time explains nothing.
        let before = summary.steps.iter().filter_map(|run| Some((span(run)?, run)));
        let before = before.filter(|((started, ended), _)| *ended <= at && started < ended);
        let last = before.max_by_key(|((started, ended), _)| (*ended, Reverse(*started)));
        let (started, ended) = last.map_or((Duration::ZERO, Duration::ZERO), |(span, _)| span);
        let is_proof = is_end && !summary.checks.is_empty();
        *(if is_proof { &mut proof } else { &mut between }) += at - ended;
        parts.extend(last.map(|(_, run)| (Cause::Step(run), ended - started)));
        (at, is_end) = (started, false);
    }
    parts.reverse();
    let rest = [(Cause::Between, between), (Cause::Proof, proof)];
    parts.extend(rest.into_iter().filter(|(_, took)| !took.is_zero()));
    parts
}

fn way_lines(parts: &[(Cause<'_>, Duration)], whole: Duration, pen: &Pen) -> Vec<String> {
    let mut table = Table::new([">TOOK", ">SHARE", "WHAT THE END WAITED FOR"]);
    for (cause, took) in parts {
        let what = match cause {
            Cause::Step(run) => Cell::inked(Ink::Strong, run.planned.id.to_string()),
            Cause::Between => Cell::inked(Ink::Dim, "between steps"),
            Cause::Proof => Cell::inked(Ink::Strong, "proof"),
        };
        let share = took.as_nanos() * 100 / whole.as_nanos().max(1);
        table.row([Cell::plain(words::duration(*took)), Cell::plain(format!("{share} %")), what]);
    }
    let mut lines = table.lines(pen);
    lines.push(format!("{:>8} in all", words::duration(whole)));
    lines
}

fn bar(started: Duration, took: Duration, whole: Duration, pen: &Pen) -> String {
    if whole.is_zero() {
        return String::new();
    }
    let column = |at: Duration| {
        let share = at.as_secs_f64() / whole.as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 30 columns")]
        let column = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
        column
    };
    let start = column(started).min(BAR - 1);
    let length = column(started + took).saturating_sub(start).max(1);
    let block = if pen.unicode { "━" } else { "=" };
    format!("{}{}", " ".repeat(start), block.repeat(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::examples::{checked, done, plan, start};

    #[test]
    fn steps_stand_in_the_order_of_their_start_with_bars_on_one_scale() {
        let mut summary = Summary::default();
        summary.event(&plan(), Duration::ZERO);
        summary.event(&start("cilium.install"), Duration::from_secs(5));
        summary.event(&start("network.apply"), Duration::ZERO);
        summary.event(&done("network.apply", 5000), Duration::from_secs(5));
        summary.event(&done("cilium.install", 5000), Duration::from_secs(10));
        summary.took = Duration::from_secs(10);
        let lines = lines(&summary, &Pen::plain(120));
        assert!(lines[1].contains("network.apply") && lines[2].contains("cilium.install"));
        let first = lines[1].find('━').unwrap();
        assert_eq!(lines[1].matches('━').count(), 15);
        assert_eq!(lines[2].find('━').unwrap(), first + 15, "the second begins where the first ends");
        assert_eq!(lines[4], "2 steps in 10 s; one after the other they would take 10 s");
        assert_eq!(
            super::lines(&summary, &Pen::plain(80)).iter().filter(|line| line.contains('━')).count(),
            0
        );
    }

    /// A run of these steps: when each began and how long it took, in milliseconds.
    fn run(steps: &[(u64, u64)], took: u64, proved: bool) -> Summary {
        let names =
            ["network.apply", "image.fetch", "vm.clone/gateway1", "vm.start/gateway1", "cilium.install"];
        let mut summary = Summary::default();
        summary.event(&plan(), Duration::ZERO);
        for (name, (began, took)) in names.iter().zip(steps) {
            summary.event(&start(name), Duration::from_millis(*began));
            summary.event(&done(name, *took), Duration::from_millis(began + took));
        }
        if proved {
            summary.event(&checked("it answers", true), Duration::from_millis(took));
        }
        summary.took = Duration::from_millis(took);
        summary
    }

    #[test]
    fn every_moment_is_put_down_to_what_the_end_waited_for() {
        let summary = run(&[(100, 900), (0, 3000), (1000, 500), (3200, 1800)], 6000, true);
        let lines = way_lines(&way(&summary), summary.took, &Pen::plain(80));
        assert_eq!(
            lines,
            [
                "  TOOK  SHARE  WHAT THE END WAITED FOR",
                " 3.0 s   50 %  image.fetch",
                " 1.8 s   30 %  vm.start/gateway1",
                "200 ms    3 %  between steps",
                " 1.0 s   16 %  proof",
                "   6.0 s in all",
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn the_parts_add_up_to_the_whole(
            steps in proptest::collection::vec((0_u64..5000, 0_u64..5000), 0..5),
            took in 0_u64..12_000,
            proved: bool,
        ) {
            let summary = run(&steps, took, proved);
            let parts = way(&summary);
            let sum: Duration = parts.iter().map(|(_, took)| *took).sum();
            proptest::prop_assert_eq!(sum, summary.took);
            proptest::prop_assert!(parts.iter().all(|(_, took)| !took.is_zero()));
        }
    }
}
