//! A drill on screen: what will be lost, and afterwards who felt it and for how long.

use crate::cli::screen::table::{Cell, Table, labelled};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::lab::Lab;
use crate::plan::step::{Action, Plan, Step};
use crate::stack::drill::{Fared, Outcome, Scenario};

/// Columns of `✓ `.
const INDENT: usize = 2;

/// Returns what will be lost, in order, and what is left out with the reason.
pub fn plan(plan: &Plan, holder: Option<&str>, spared: &[(Scenario, String)], pen: &Pen) -> Vec<String> {
    let mut lines = Vec::new();
    if plan.is_empty() {
        lines.push("Nothing is lost: this lab needs each of its machines.".to_owned());
    } else {
        let mut text =
            "This breaks the lab, one thing at a time, and puts it back. Each way into the lab is asked ten \
                        times a second meanwhile."
                .to_owned();
        if let Some(holder) = holder {
            text.push_str(&format!(" Now {holder} holds the VIPs."));
        }
        lines.extend(words::wrap(&text, pen.prose_width()));
        lines.push(String::new());
        let name = |step: &Step| match &step.action {
            Action::Drill { scenario, .. } => scenario.name(),
            _ => "restore",
        };
        lines.extend(pairs(plan.steps.iter().map(|step| (name(step), step.text.clone())), pen));
    }
    if !spared.is_empty() {
        lines.push(String::new());
        lines.push(pen.paint(Ink::Strong, "Left out"));
        lines.extend(pairs(spared.iter().map(|(scenario, why)| (scenario.name(), why.clone())), pen));
    }
    lines.push(String::new());
    lines
}

fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>, pen: &Pen) -> Vec<String> {
    let narrower = Pen { width: pen.prose_width().saturating_sub(INDENT), ..*pen };
    labelled(pairs, &narrower).into_iter().map(|line| format!("{}{line}", " ".repeat(INDENT))).collect()
}

/// Returns every scenario with what it loses, its limit, and whether this lab can do without.
pub fn list(lab: &Lab, pen: &Pen) -> Vec<String> {
    let text = |scenario: Scenario| {
        let who = match scenario {
            Scenario::WorkerVm => "a worker",
            Scenario::ControlPlaneVm => "a control plane",
            _ => "the gateway that holds the VIPs",
        };
        let limit = scenario.limit(&lab.limits).duration();
        let limit = words::duration(limit);
        match scenario.spared(lab) {
            None => format!("{who} {}; at most {limit} without an answer", scenario.loses()),
            Some(why) => format!("{who} {}; not here: {why}", scenario.loses()),
        }
    };
    let texts = Scenario::ALL.map(|scenario| (scenario.name(), text(scenario)));
    labelled(texts, &Pen { width: pen.prose_width(), ..*pen })
}

/// Returns a row for each way in each scenario, and what they add up to.
pub fn report(outcomes: &[Outcome], pen: &Pen) -> Vec<String> {
    let header = ["", "SCENARIO", "LOST ON", "WAY", ">OUTAGE", ">LIMIT", ">UNANSWERED"];
    let mut table = Table::new(header).leaving_out(["LOST ON", "LIMIT"]);
    for outcome in outcomes {
        for (index, way) in outcome.ways.iter().enumerate() {
            table.row(row(outcome, way, index == 0, pen));
        }
    }
    let mut lines = table.lines(pen);
    lines.push(String::new());
    let over = outcomes.iter().filter(|outcome| !outcome.passed()).count();
    let worst =
        outcomes.iter().flat_map(|outcome| &outcome.ways).map(|way| way.outage).max().unwrap_or_default();
    let scenarios = words::count(outcomes.len(), "scenario");
    lines.push(match over {
        0 if worst.is_zero() => pen.paint(Ink::Good, &format!("{scenarios} passed; nobody felt anything")),
        0 => {
            let text = format!("{scenarios} passed; the longest outage was {}", words::duration(worst));
            pen.paint(Ink::Good, &text)
        }
        _ => pen.paint(Ink::Bad, &format!("{over} of {scenarios} over the limit")),
    });
    lines
}

fn row(outcome: &Outcome, way: &Fared, is_first: bool, pen: &Pen) -> [Cell; 7] {
    let is_over = way.outage > outcome.limit;
    let (ink, symbol) = if is_over { (Ink::Bad, pen.cross()) } else { (Ink::Good, pen.tick()) };
    let once = |text: &str| Cell::plain(if is_first { text } else { "" });
    let outage = if way.outage.is_zero() { "none".to_owned() } else { words::duration(way.outage) };
    [
        Cell::inked(ink, symbol),
        once(outcome.scenario.name()),
        once(&outcome.node),
        Cell::plain(way.way),
        if is_over { Cell::inked(Ink::Bad, outage) } else { Cell::plain(outage) },
        Cell::plain(words::duration(outcome.limit)),
        Cell::plain(format!("{} of {}", way.lost, way.sent)),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn outcome(scenario: Scenario, outage: u64, lost: u32) -> Outcome {
        let way = |way, address: &str, outage, lost| Fared {
            way,
            address: address.parse().unwrap(),
            sent: 84,
            lost,
            outage: Duration::from_millis(outage),
        };
        Outcome {
            scenario,
            node: "gateway1".to_owned(),
            limit: Duration::from_secs(5),
            took: Duration::from_secs(9),
            ways: vec![
                way("lan-api", "192.168.68.200:6443", outage, lost),
                way("lan-http", "192.168.68.200:80", 0, 0),
            ],
        }
    }

    #[test]
    fn each_way_has_its_row_and_the_worst_is_summed_up() {
        let outcomes = [outcome(Scenario::GatewayNginx, 1840, 17), outcome(Scenario::GatewayVm, 6100, 60)];
        assert_eq!(
            report(&outcomes, &Pen::plain(80)),
            [
                "   SCENARIO       LOST ON   WAY       OUTAGE  LIMIT  UNANSWERED",
                "✓  gateway-nginx  gateway1  lan-api    1.8 s  5.0 s    17 of 84",
                "✓                           lan-http    none  5.0 s     0 of 84",
                "✗  gateway-vm     gateway1  lan-api    6.1 s  5.0 s    60 of 84",
                "✓                           lan-http    none  5.0 s     0 of 84",
                "",
                "1 of 2 scenarios over the limit",
            ]
        );
        let last = |outcomes: &[Outcome]| report(outcomes, &Pen::plain(80)).pop().unwrap();
        assert_eq!(last(&outcomes[..1]), "1 scenario passed; the longest outage was 1.8 s");
        let quiet = [outcome(Scenario::GatewayNginx, 0, 0)];
        assert_eq!(last(&quiet), "1 scenario passed; nobody felt anything");
    }

    #[test]
    fn narrow_terminals_keep_what_was_felt() {
        let lines = report(&[outcome(Scenario::GatewayKeepalived, 840, 7)], &Pen::plain(65));
        assert_eq!(lines[1], "✓  gateway-keepalived  lan-api   840 ms  5.0 s     7 of 84");
        assert!(lines.iter().all(|line| console::measure_text_width(line) <= 65), "{lines:?}");
    }
}
