//! The proof: every check under its hop, and what to look at below those that failed.

use std::time::Duration;

use console::measure_text_width as width_of;
use serde::{Serialize, Serializer};
use serde_json::json;

use super::table::labelled;
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::engine::event::Proven;
use crate::stack::checks::{Check, Hop};

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
        let Proven { id, hop, check, passed, expected, detail, hint, took } = &self.0;
        let seconds = super::closing::seconds(*took);
        json!({
            "id": id,
            "hop": hop,
            "title": check,
            "passed": passed,
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

/// Returns the checks hop by hop, each with its duration, and a count. `flags` is what a command needs to find the same
/// lab.
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
    let failed = checks.iter().filter(|check| !check.0.passed).count();
    lines.push(match failed {
        0 => pen.paint(Ink::Good, &format!("{} passed", words::count(checks.len(), "check"))),
        _ => pen.paint(Ink::Bad, &format!("{failed} of {} failed", words::count(checks.len(), "check"))),
    });
    lines
}

/// Returns a check with its duration; below one that failed, what was expected, what was seen and where to look.
fn check_lines(check: &Proven, flags: &str, pen: &Pen) -> Vec<String> {
    let (ink, symbol) = if check.passed { (Ink::Good, pen.tick()) } else { (Ink::Bad, pen.cross()) };
    let room = pen.prose_width().saturating_sub(INDENT + GAP + DURATION).max(LEAST_WIDTH);
    let indent = " ".repeat(INDENT);
    let mut lines = Vec::new();
    for (index, text) in words::wrap(&check.check, room).iter().enumerate() {
        if index > 0 {
            lines.push(format!("{indent}{text}"));
            continue;
        }
        // What took no time to speak of says nothing of where it went.
        let took = if check.took < NOTEWORTHY { String::new() } else { words::lap(check.took) };
        let space = " ".repeat((room + GAP + DURATION).saturating_sub(width_of(text) + width_of(&took)));
        let line = format!("{} {text}{space}{}", pen.paint(ink, symbol), pen.paint(Ink::Dim, &took));
        lines.push(if took.is_empty() { line.trim_end().to_owned() } else { line });
    }
    if !check.passed {
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
        let check = |id, hop, title: &str, passed, detail: &str, millis| {
            CheckLine(Proven {
                id,
                hop,
                check: title.to_owned(),
                passed,
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
                false,
                "k8s-worker1 lacks <10.10.0.141> & more",
                61_200,
            ),
            check(
                "lan.https",
                Hop::EndToEnd,
                "https://echo.lab.test reaches a pod",
                true,
                "echo-1 on k8s-worker1",
                12,
            ),
        ]
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
    fn no_line_is_wider_than_the_terminal() {
        let lab = crate::cli::screen::status::tests::lab();
        let all = crate::stack::checks::all(&lab);
        for width in [60, 80, 120] {
            let pen = Pen::plain(width);
            for line in lines(&checks(), "", &pen).iter().chain(&listed(&all, &pen)) {
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
