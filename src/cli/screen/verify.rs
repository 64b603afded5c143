//! The proof: one line for each check.

use std::time::Duration;

use console::measure_text_width as width_of;
use serde::Serialize;

use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;

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

/// Returns `✓ https://192.168.68.200:6443/version  answers 200 as v1.36.4   12 ms` for each check, aligned, and a count.
pub fn lines(checks: &[CheckLine], pen: &Pen) -> Vec<String> {
    let took: Vec<String> =
        checks.iter().map(|check| check.took.map(words::duration).unwrap_or_default()).collect();
    let took_width = took.iter().map(|took| width_of(took)).max().unwrap_or(0);
    let name_width = checks.iter().map(|check| width_of(&check.check)).max().unwrap_or(0);
    let detail_width = checks.iter().map(|check| width_of(&check.detail)).max().unwrap_or(0);
    let symbol_and_gaps = 2 + 2 + 3;
    let name_width = name_width.min(pen.width / 2);
    let detail_width = detail_width.min(pen.width.saturating_sub(symbol_and_gaps + name_width + took_width));
    let mut lines: Vec<String> = checks
        .iter()
        .zip(&took)
        .map(|(check, took)| {
            let (ink, symbol) = if check.passed { (Ink::Good, pen.tick()) } else { (Ink::Bad, pen.cross()) };
            let name = pad(&pen.fit(&check.check, name_width), name_width);
            // A failed check is told in full, even if it wraps.
            let detail =
                if check.passed { pen.fit(&check.detail, detail_width) } else { check.detail.clone() };
            let detail = pad(&detail, detail_width);
            let line = format!("{} {name}  {detail}   {took:>took_width$}", pen.paint(ink, symbol));
            line.trim_end().to_owned()
        })
        .collect();
    let failed = checks.iter().filter(|check| !check.passed).count();
    lines.push(String::new());
    lines.push(match failed {
        0 => pen.paint(Ink::Good, &format!("{} passed", words::count(checks.len(), "check"))),
        _ => pen.paint(Ink::Bad, &format!("{failed} of {} failed", words::count(checks.len(), "check"))),
    });
    lines
}

fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(width_of(text))))
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
    fn checks_align_and_are_counted() {
        assert_eq!(
            lines(&checks(), &Pen::plain(100)),
            [
                "✓ https://192.168.68.200:6443/version  answers 200 as v1.36.4   12 ms",
                "✗ k8s-worker1 holds 10.10.0.141        holds 10.10.0.197        1.2 s",
                "",
                "1 of 2 checks failed",
            ]
        );
    }

    #[test]
    fn narrow_terminals_cut_what_passed() {
        let lines = lines(&checks(), &Pen::plain(60));
        assert!(width_of(&lines[0]) <= 60, "{}", lines[0]);
        assert!(lines[1].contains("holds 10.10.0.197"), "{}", lines[1]);
    }
}
