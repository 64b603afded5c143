//! Where the time of a run went: each step with its start, its length and a bar on a common scale.

use std::time::Duration;

use super::table::{Cell, Table};
use crate::cli::report::summary::{End, Summary};
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
    use crate::cli::report::examples::{done, plan, start};

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
}
