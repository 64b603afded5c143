//! The proof: one line for each check.

use std::time::Duration;

use console::measure_text_width as width_of;
use serde::Serialize;

use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;

/// Columns of `✓ `.
const INDENT: usize = 2;
/// Between a check and what was seen.
const GAP: usize = 2;
/// Words are not wrapped to fewer columns than this.
const LEAST_WIDTH: usize = 20;

/// One check's outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckLine {
    /// What was asked: `https://192.168.68.200:6443/version`.
    pub check: String,
    pub passed: bool,
    /// What was seen: `answers 200 as v1.36.4`.
    pub detail: String,
    /// Seconds in JSON.
    #[serde(serialize_with = "seconds")]
    pub took: Option<Duration>,
}

fn seconds<S: serde::Serializer>(took: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    took.map(super::closing::seconds).serialize(serializer)
}

/// Returns `✓ https://192.168.68.200:6443/version  answers 200 as v1.36.4` for each check, and a count. Times are in
/// the JSON form.
pub fn lines(checks: &[CheckLine], pen: &Pen) -> Vec<String> {
    let mut lines: Vec<String> = checks.iter().flat_map(|check| check_lines(check, pen)).collect();
    let failed = checks.iter().filter(|check| !check.passed).count();
    lines.push(String::new());
    lines.push(match failed {
        0 => pen.paint(Ink::Good, &format!("{} passed", words::count(checks.len(), "check"))),
        _ => pen.paint(Ink::Bad, &format!("{failed} of {} failed", words::count(checks.len(), "check"))),
    });
    lines
}

/// Returns a check with what was seen beside it, or below it where there is no room.
fn check_lines(check: &CheckLine, pen: &Pen) -> Vec<String> {
    let (ink, symbol) = if check.passed { (Ink::Good, pen.tick()) } else { (Ink::Bad, pen.cross()) };
    let seen = |text: &str| pen.paint(if check.passed { Ink::Dim } else { Ink::Bad }, text);
    let room = pen.prose_width().saturating_sub(INDENT).max(LEAST_WIDTH);
    let head = format!("{} {}", pen.paint(ink, symbol), check.check);
    if width_of(&check.check) + GAP + width_of(&check.detail) <= room {
        return vec![format!("{head}{}{}", " ".repeat(GAP), seen(&check.detail)).trim_end().to_owned()];
    }
    let indent = " ".repeat(INDENT);
    let mut lines: Vec<String> = words::wrap(&check.check, room)
        .iter()
        .enumerate()
        .map(|(index, line)| {
            if index == 0 { format!("{} {line}", pen.paint(ink, symbol)) } else { format!("{indent}{line}") }
        })
        .collect();
    let inner = format!("{indent}{indent}");
    let below = words::wrap(&check.detail, room.saturating_sub(INDENT));
    lines.extend(below.iter().map(|line| format!("{inner}{}", seen(line))));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks() -> Vec<CheckLine> {
        vec![
            CheckLine {
                check: "https://192.168.68.200:6443/version".into(),
                passed: true,
                detail: "answers 200 as v1.36.4".into(),
                took: Some(Duration::from_millis(12)),
            },
            CheckLine {
                check: "k8s-worker1 holds 10.10.0.141".into(),
                passed: false,
                detail: "holds 10.10.0.197".into(),
                took: Some(Duration::from_millis(1200)),
            },
        ]
    }

    #[test]
    fn checks_stand_with_what_was_seen_and_are_counted() {
        assert_eq!(
            lines(&checks(), &Pen::plain(100)),
            [
                "✓ https://192.168.68.200:6443/version  answers 200 as v1.36.4",
                "✗ k8s-worker1 holds 10.10.0.141  holds 10.10.0.197",
                "",
                "1 of 2 checks failed",
            ]
        );
    }

    #[test]
    fn narrow_terminals_show_below_what_was_seen() {
        assert_eq!(
            lines(&checks(), &Pen::plain(60))[..3],
            [
                "✓ https://192.168.68.200:6443/version",
                "    answers 200 as v1.36.4",
                "✗ k8s-worker1 holds 10.10.0.141  holds 10.10.0.197",
            ]
        );
    }
}
