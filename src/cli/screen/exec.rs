//! A command in guests: lines behind their machine's name, who failed, and each end as JSON.

use serde_json::{Value, json};

use crate::cli::calls::Ended;
use crate::cli::error::{Failure, Fix, Report};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words::count;
use crate::formats::printable::printable;
use crate::host::{Output, Pipe};

use super::error;
use crate::formats::figures::seconds;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.exec/1";

/// What a shell adds to a signal's number.
const BY_SIGNAL: u8 = 128;
/// The status of an end that has none.
const WITHOUT_STATUS: u8 = 255;
/// A line without an end is shown in pieces of this size.
const LONGEST_LINE: usize = 64 * 1024;

/// Signals as SSH names them (RFC 4254 §6.10), with the numbers that all systems share.
const SIGNALS: [(&str, u8); 12] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("FPE", 8),
    ("KILL", 9),
    ("SEGV", 11),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
];

/// Returns what stands before each line of a machine. Standard error is told apart by colour, where there is any.
pub fn prefix(node: &str, width: usize, pipe: Pipe, pen: &Pen) -> String {
    let ink = if pipe == Pipe::Stdout { Ink::Accent } else { Ink::Warn };
    let bar = if pen.unicode { "│" } else { "|" };
    format!(
        "{}{} {} ",
        pen.paint(ink, node),
        " ".repeat(width.saturating_sub(node.len())),
        pen.paint(Ink::Dim, bar)
    )
}

/// Makes lines of bytes as they come, each behind a prefix, without what a terminal would obey.
pub struct Lines {
    prefix: String,
    line: Vec<u8>,
}

impl Lines {
    pub fn new(prefix: String) -> Self {
        Self { prefix, line: Vec::new() }
    }

    /// Returns the lines that are whole by now, each with its end.
    pub fn take(&mut self, bytes: &[u8]) -> String {
        let mut shown = String::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() > LONGEST_LINE {
                shown.push_str(&self.rest());
            }
        }
        shown
    }

    /// Returns what is left of a line whose end never came.
    pub fn rest(&mut self) -> String {
        if self.line.is_empty() {
            return String::new();
        }
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        format!("{}{}\n", self.prefix, printable(text.trim_end_matches(['\r', '\n'])))
    }
}

/// Returns an end as an exit status: the command's own, 128 and the number of its signal, or that of our error.
pub fn status(end: &Ended) -> u8 {
    let output = match &end.outcome {
        Ok(output) => output,
        Err(failure) => return failure.kind().exit_code(),
    };
    let number =
        |signal: &String| SIGNALS.iter().find(|(name, _)| name == signal).map_or(0, |(_, number)| *number);
    match (&output.signal, output.status) {
        (Some(signal), _) => BY_SIGNAL + number(signal),
        (None, Some(status)) => u8::try_from(status).unwrap_or(WITHOUT_STATUS),
        (None, None) => WITHOUT_STATUS,
    }
}

/// Returns by which signal a command ended, in words.
pub fn signal(output: &Output) -> Option<String> {
    output.signal.as_ref().map(|signal| format!("ended by signal {}", printable(signal)))
}

/// Returns who failed and why, if anybody did, and what to do about those that were not reached: by commands with the options
/// that find the same lab.
pub fn summary(ends: &[Ended], options: &str, pen: &Pen) -> Vec<String> {
    let failed: Vec<_> = ends.iter().filter(|end| status(end) != 0).collect();
    if failed.is_empty() {
        return Vec::new();
    }
    let width = failed.iter().map(|end| end.node.len()).max().unwrap_or_default();
    let head = format!("{} of {} failed", failed.len(), count(ends.len(), "machine"));
    let mut lines = vec![String::new(), pen.paint(Ink::Bad, &head)];
    let mut commands = Vec::new();
    for end in failed {
        let why = match &end.outcome {
            Ok(output) => signal(output).unwrap_or_else(|| format!("exit status {}", status(end))),
            Err(Failure::Report(report)) => {
                commands.extend(first_command((**report).clone().with_options(options)));
                report.what.clone()
            }
            Err(_) => "not known".to_owned(),
        };
        lines.push(format!("  {} {:width$}  {why}", pen.cross(), end.node));
    }
    commands.dedup();
    lines.extend(commands.iter().map(|command| format!("  {}", pen.paint(Ink::Accent, command))));
    lines
}

/// Returns the first command that a report advises.
fn first_command(report: Report) -> Option<String> {
    report.fix.into_iter().find_map(|fix| if let Fix::Run(command) = fix { Some(command) } else { None })
}

/// Returns one machine's end.
pub fn json(lab: &str, simulated: bool, end: &Ended) -> Value {
    let output = end.outcome.as_ref().ok();
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    json!({
        "schema": SCHEMA,
        "lab": lab,
        "simulated": simulated,
        "node": end.node,
        "status": output.and_then(|output| output.status),
        "signal": output.and_then(|output| output.signal.clone()),
        "stdout": output.map(|output| text(&output.stdout)),
        "stderr": output.map(|output| text(&output.stderr)),
        "left_out": output.map(|output| output.left_out),
        "took": seconds(end.took),
        "error": end.outcome.as_ref().err().map(|failure| error::json(failure)["error"].clone()),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn end(node: &str, outcome: Result<Output, Failure>) -> Ended {
        Ended { node: node.to_owned(), outcome, took: Duration::from_micros(1_500_499) }
    }

    fn ended(status: Option<i32>, signal: Option<&str>) -> Result<Output, Failure> {
        Ok(Output { status, signal: signal.map(str::to_owned), ..Output::default() })
    }

    #[test]
    fn a_signal_a_status_of_255_and_an_error_of_ours_are_told_apart() {
        let codes = [
            status(&end("a", ended(Some(255), None))),
            status(&end("a", ended(None, Some("KILL")))),
            status(&end("a", ended(None, Some("of another world")))),
            status(&end("a", ended(None, None))),
            status(&end("a", Err(Report::off("a").into()))),
        ];
        assert_eq!(codes, [255, 137, 128, 255, 8]);
    }

    #[test]
    fn lines_stand_behind_names_of_one_width_however_the_bytes_arrive() {
        let pen = Pen::plain(80);
        let mut lines = Lines::new(prefix("gateway1", 11, Pipe::Stdout, &pen));
        assert_eq!(lines.take(b"one\r\ntw"), "gateway1    │ one\n");
        assert_eq!(lines.take(b"o\x1b[2J\n"), "gateway1    │ two\n");
        assert_eq!(lines.take(b"three"), "");
        assert_eq!(lines.rest(), "gateway1    │ three\n");
        assert_eq!(lines.rest(), "");
    }

    #[test]
    fn who_failed_is_said_once_with_what_to_do() {
        let ends = [
            end("gateway1", ended(Some(0), None)),
            end("k8s-worker1", ended(Some(3), None)),
            end("k8s-worker2", Err(Report::off("k8s-worker2").into())),
            end("k8s-worker3", Err(Report::off("k8s-worker3").into())),
        ];
        let shown = summary(&ends, "--sim", &Pen::plain(80));
        assert_eq!(
            shown,
            [
                "",
                "3 of 4 machines failed",
                "  ✗ k8s-worker1  exit status 3",
                "  ✗ k8s-worker2  k8s-worker2 is off",
                "  ✗ k8s-worker3  k8s-worker3 is off",
                "  fusionlab --sim up",
            ]
        );
        assert!(summary(&ends[..1], "", &Pen::plain(80)).is_empty());
        let told = json("lab", true, &ends[2]);
        assert_eq!((&told["error"]["id"], &told["took"]), (&"guest-off".into(), &1.5.into()));
    }
}
