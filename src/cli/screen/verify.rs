//! The proof: every check under its hop, and what to look at below those that failed.

use std::time::Duration;

use console::measure_text_width as width_of;
use serde::{Serialize, Serializer};
use serde_json::json;

use super::table::labelled;
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::engine::event::Proven;
use crate::engine::verify::unproven;
use crate::formats::figures;
use crate::stack::checks::{Check, Hop};
use crate::stack::judge::Outcome;

/// Columns of `✓ `.
const INDENT: usize = 2;
/// Between a check and its duration.
const GAP: usize = 2;
/// Columns of a duration: `48.1 s`.
const DURATION: usize = 6;
/// A check that took less is shown without a duration.
const NOTEWORTHY: Duration = Duration::from_millis(100);
/// Words are not wrapped to fewer columns than this.
const LEAST_WIDTH: usize = 20;

/// One check's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckLine(pub Proven);

impl Serialize for CheckLine {
    /// `check`, `detail` and `took` are what `title`, `seen` and `seconds` were called first.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Proven { id, hop, check, outcome, expected, detail, hint, took } = &self.0;
        let seconds = figures::seconds(*took);
        json!({
            "id": id,
            "hop": hop,
            "title": check,
            "passed": outcome.passed(),
            "asked": outcome.asked(),
            "expected": expected,
            "seen": detail,
            "hint": hint,
            "seconds": seconds,
            "check": check,
            "detail": detail,
            "took": seconds,
        })
        .serialize(serializer)
    }
}

/// Returns the checks hop by hop, each with its duration, and a count, with why those were not asked that were not. `flags` is
/// what a command needs to find the same lab.
pub fn lines(checks: &[CheckLine], flags: &str, pen: &Pen) -> Vec<String> {
    let flags = if flags.is_empty() { String::new() } else { format!(" {flags}") };
    let mut lines = Vec::new();
    for hop in Hop::ALL {
        let of_hop: Vec<&Proven> = checks.iter().map(|check| &check.0).filter(|one| one.hop == hop).collect();
        if of_hop.is_empty() {
            continue;
        }
        lines.push(pen.paint(Ink::Strong, hop.title()));
        lines.extend(of_hop.into_iter().flat_map(|check| check_lines(check, &flags, pen)));
        lines.push(String::new());
    }
    let Tally { failed, not_asked } = Tally::of(checks);
    if failed.is_empty() && not_asked.is_empty() {
        lines.push(pen.paint(Ink::Good, &format!("{} passed", words::count(checks.len(), "check"))));
        return lines;
    }
    lines.push(pen.paint(Ink::Bad, &unproven(failed.len(), not_asked.len(), checks.len())));
    if let Some(first) = not_asked.first() {
        lines.extend(labelled([("why", first.detail.clone())], pen));
    }
    lines
}

/// What did not pass.
pub struct Tally<'a> {
    pub failed: Vec<&'a Proven>,
    pub not_asked: Vec<&'a Proven>,
}

impl<'a> Tally<'a> {
    pub fn of(checks: &'a [CheckLine]) -> Self {
        let that = |outcome| checks.iter().map(|check| &check.0).filter(move |one| one.outcome == outcome);
        Self { failed: that(Outcome::Failed).collect(), not_asked: that(Outcome::NotAsked).collect() }
    }
}

/// Returns a check with its duration; below one that failed, what was expected, what was seen and where to look. For one that
/// could not be asked there is nothing to look at: whoever was to be asked is another check's business.
fn check_lines(check: &Proven, flags: &str, pen: &Pen) -> Vec<String> {
    let (ink, symbol) = match check.outcome {
        Outcome::Passed => (Ink::Good, pen.tick()),
        Outcome::Failed => (Ink::Bad, pen.cross()),
        Outcome::NotAsked => (Ink::Dim, "?"),
    };
    let room = pen.prose_width().saturating_sub(INDENT + GAP + DURATION).max(LEAST_WIDTH);
    let indent = " ".repeat(INDENT);
    let mut lines = Vec::new();
    for (index, text) in words::wrap(&check.check, room).iter().enumerate() {
        if index > 0 {
            lines.push(format!("{indent}{text}"));
            continue;
        }
        // What took no time to speak of says nothing of where it went, nor does waiting for somebody to ask.
        let is_told = check.took >= NOTEWORTHY && check.outcome.asked();
        let took = if is_told { words::lap(check.took) } else { String::new() };
        let space = " ".repeat((room + GAP + DURATION).saturating_sub(width_of(text) + width_of(&took)));
        let line = format!("{} {text}{space}{}", pen.paint(ink, symbol), pen.paint(Ink::Dim, &took));
        lines.push(if took.is_empty() { line.trim_end().to_owned() } else { line });
    }
    if check.outcome == Outcome::Failed {
        let narrow = Pen { width: pen.prose_width().saturating_sub(2 * INDENT), ..*pen };
        let pairs = [
            ("expected", check.expected.clone()),
            ("seen", check.detail.clone()),
            ("look", check.hint.look.to_owned()),
            ("", check.hint.command.to_owned()),
            ("again", format!("fusionlab{flags} verify --only {}", check.id)),
        ];
        let below = labelled(pairs, &narrow);
        lines.extend(below.into_iter().map(|line| format!("{indent}{indent}{line}")));
    }
    lines
}

/// Returns the ids and titles of checks, hop by hop.
pub fn listed(checks: &[Check], pen: &Pen) -> Vec<String> {
    let narrow = Pen { width: pen.width.saturating_sub(INDENT), ..*pen };
    let column = checks.iter().map(|check| check.id.len()).max().unwrap_or_default();
    let mut lines = Vec::new();
    for hop in Hop::ALL {
        let of_hop: Vec<&Check> = checks.iter().filter(|check| check.hop == hop).collect();
        if of_hop.is_empty() {
            continue;
        }
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let title = if hop.title() == hop.id().replace('-', " ") { "" } else { hop.title() };
        let head = format!("{}  {}", pen.paint(Ink::Accent, hop.id()), pen.paint(Ink::Strong, title));
        lines.push(head.trim_end().to_owned());
        // One column for all hops.
        let labels: Vec<String> = of_hop.iter().map(|check| format!("{:<column$}", check.id)).collect();
        let pairs = labels.iter().map(String::as_str).zip(of_hop.iter().map(|check| check.title.clone()));
        lines
            .extend(labelled(pairs, &narrow).into_iter().map(|line| format!("{}{line}", " ".repeat(INDENT))));
    }
    lines
}

/// Returns a duration's seconds for reports that count them.
pub fn seconds(took: Duration) -> String {
    format!("{:.3}", took.as_secs_f64())
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::stack::checks::Hint;

    pub fn checks() -> Vec<CheckLine> {
        let check = |id, hop, title: &str, outcome, detail: &str, millis| {
            CheckLine(Proven {
                id,
                hop,
                check: title.to_owned(),
                outcome,
                expected: "the addresses of 7 machines".to_owned(),
                detail: detail.to_owned(),
                hint: Hint {
                    look: "what it was given: all of it",
                    command: "journalctl -u systemd-networkd -n 30",
                },
                took: Duration::from_millis(millis),
            })
        };
        vec![
            check(
                "machine.address",
                Hop::Machines,
                "every machine holds its own addresses",
                Outcome::Failed,
                "k8s-worker1 lacks <10.10.0.141> & more",
                61_200,
            ),
            check(
                "lan.https",
                Hop::EndToEnd,
                "https://echo.lab.test reaches a pod",
                Outcome::Passed,
                "echo-1 on k8s-worker1",
                12,
            ),
        ]
    }

    /// The same and one that nobody could be asked about.
    pub fn with_one_not_asked() -> Vec<CheckLine> {
        let mut all = checks();
        let mut check = all[0].clone();
        check.0.id = "nodes.ready";
        check.0.hop = Hop::ControlPlane;
        "all 5 nodes are Ready".clone_into(&mut check.0.check);
        check.0.outcome = Outcome::NotAsked;
        "no API server is ready: dial tcp 192.168.68.200:6443: no route to host"
            .clone_into(&mut check.0.detail);
        all.insert(1, check);
        all
    }

    #[test]
    fn checks_stand_under_their_hop_and_a_failed_one_says_where_to_look() {
        assert_eq!(
            lines(&checks(), "--sim", &Pen::plain(72)),
            [
                "machines and their networks",
                "✗ every machine holds its own addresses                             1:01",
                "    expected  the addresses of 7 machines",
                "    seen      k8s-worker1 lacks <10.10.0.141> & more",
                "    look      what it was given: all of it",
                "              journalctl -u systemd-networkd -n 30",
                "    again     fusionlab --sim verify --only machine.address",
                "",
                "end to end",
                "✓ https://echo.lab.test reaches a pod",
                "",
                "1 of 2 checks failed",
            ]
        );
    }

    #[test]
    fn what_nobody_could_be_asked_about_is_told_once_and_leads_nowhere() {
        let lines = lines(&with_one_not_asked(), "", &Pen::plain(72));
        assert!(lines.contains(&"? all 5 nodes are Ready".to_owned()), "{lines:#?}");
        assert_eq!(lines.iter().filter(|line| line.contains("again ")).count(), 1, "of the one that failed");
        assert_eq!(
            lines[lines.len() - 3..],
            [
                "1 of 3 checks failed, 1 could not be asked",
                "why  no API server is ready: dial tcp 192.168.68.200:6443: no route to",
                "     host",
            ]
        );
        let value = serde_json::to_value(&with_one_not_asked()[1]).unwrap();
        assert_eq!((&value["passed"], &value["asked"]), (&json!(false), &json!(false)));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let lab = crate::cli::screen::status::tests::lab();
        let all = crate::stack::checks::all(&lab);
        for width in [60, 80, 120] {
            let pen = Pen::plain(width);
            for line in lines(&with_one_not_asked(), "", &pen).iter().chain(&listed(&all, &pen)) {
                assert!(width_of(line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn json_has_the_names_of_before_as_well() {
        let value = serde_json::to_value(&checks()[0]).unwrap();
        assert_eq!(
            (&value["title"], &value["seen"], &value["seconds"]),
            (&value["check"], &value["detail"], &value["took"])
        );
        assert_eq!((&value["hop"], &value["passed"]), (&json!("machines"), &json!(false)));
    }
}
