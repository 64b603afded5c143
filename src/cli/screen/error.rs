//! The error screen: what, where, why, the last words of a guest, what to do.

use console::measure_text_width as width_of;
use serde_json::{Value, json};

use super::problems;
use crate::cli::error::{Failure, Fix, Kind, LabFileProblems, Report};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
pub const SCHEMA: &str = "fusionlab.error/1";

/// Labels stand in a column of this width.
const LABEL: usize = 8;

/// Returns the lines for a failure.
pub fn lines(failure: &Failure, pen: &Pen) -> Vec<String> {
    match failure {
        Failure::Report(report) => report_lines(report, pen),
        Failure::LabFile(problems) => problems::lines(problems, pen),
        Failure::Told(_) | Failure::OutputClosed => Vec::new(),
    }
}

fn report_lines(report: &Report, pen: &Pen) -> Vec<String> {
    if report.kind == Kind::Interrupted {
        let advice = report.fix.iter().map(fix_text).collect::<Vec<_>>().join("; ");
        let text = if advice.is_empty() { report.what.clone() } else { format!("{}; {advice}", report.what) };
        return words::wrap(&text, pen.prose_width());
    }
    let mut lines: Vec<String> = Vec::new();
    let head = words::wrap(&report.what, pen.prose_width().saturating_sub("error: ".len()).max(20));
    for (index, line) in head.iter().enumerate() {
        let label = if index == 0 { pen.paint(Ink::Bad, "error:") } else { " ".repeat("error:".len()) };
        lines.push(format!("{label} {}", pen.paint(Ink::Strong, line)));
    }
    lines.push(String::new());
    let mut labelled = |label: &str, text: &str| lines.extend(hanging(label, text, pen));
    if let Some(place) = &report.place {
        labelled("where", place);
    }
    if let Some(why) = &report.why {
        labelled("why", why);
    }
    if !report.tail.is_empty() {
        labelled("said", "");
        let bar = if pen.unicode { "│" } else { "|" };
        for line in &report.tail {
            // Guests print what they like; escape sequences must not reach the user's terminal.
            let clean: String =
                console::strip_ansi_codes(line).chars().filter(|char| !char.is_control()).collect();
            let text = pen.fit(&clean, pen.width.saturating_sub(LABEL + 4));
            let line = format!("{}{} {text}", " ".repeat(LABEL + 2), pen.paint(Ink::Dim, bar));
            lines.push(line.trim_end().to_owned());
        }
    }
    // Steps that failed in the same way are only named; the others say how.
    let (others, same): (Vec<&String>, Vec<&String>) =
        report.also.iter().partition(|also| also.contains(": "));
    let same = same.iter().map(|step| step.as_str()).collect::<Vec<_>>().join(", ");
    let also = std::iter::once(&same).chain(others).filter(|also| !also.is_empty());
    for (index, also) in also.enumerate() {
        lines.extend(hanging(if index == 0 { "also" } else { "" }, also, pen));
    }
    let mut label = "do";
    for fix in &report.fix {
        match fix {
            Fix::Say(words) => lines.extend(hanging(label, words, pen)),
            // A command stays on one line, so that it can be copied.
            Fix::Run(command) => {
                lines.push(format!("  {}{}", pad_label(label, pen), pen.paint(Ink::Accent, command)))
            }
        }
        label = "";
    }
    let more = format!("fusionlab explain {}", report.id);
    lines.push(format!("  {}{}", pad_label("more", pen), pen.paint(Ink::Accent, &more)));
    lines
}

fn fix_text(fix: &Fix) -> String {
    match fix {
        Fix::Say(words) => words.clone(),
        Fix::Run(command) => format!("`{command}`"),
    }
}

fn pad_label(label: &str, pen: &Pen) -> String {
    format!("{}{}", pen.paint(Ink::Dim, label), " ".repeat(LABEL - width_of(label)))
}

/// Returns text wrapped beside its label.
fn hanging(label: &str, text: &str, pen: &Pen) -> Vec<String> {
    let width = pen.prose_width().saturating_sub(LABEL + 2).max(20);
    let mut wrapped = words::wrap(text, width);
    if wrapped.is_empty() {
        wrapped.push(String::new());
    }
    wrapped
        .iter()
        .enumerate()
        .map(|(index, line)| {
            let label = pad_label(if index == 0 { label } else { "" }, pen);
            format!("  {label}{line}").trim_end().to_owned()
        })
        .collect()
}

/// Returns the JSON form of the same.
pub fn json(failure: &Failure) -> Value {
    let error = match failure {
        Failure::Report(report) => {
            let mut value = serde_json::to_value(report).expect("a report has string keys");
            value["exit_code"] = report.kind.exit_code().into();
            value
        }
        Failure::LabFile(problems) => lab_file(problems),
        Failure::Told(_) | Failure::OutputClosed => Value::Null,
    };
    json!({ "schema": SCHEMA, "error": error })
}

fn lab_file(problems: &LabFileProblems) -> Value {
    json!({
        "id": "lab-file-invalid",
        "kind": Kind::LabFile,
        "exit_code": Kind::LabFile.exit_code(),
        "what": "the lab file is not accepted",
        "place": problems.file,
        "problems": problems.problems,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report::new("guest-not-right", Kind::Guest, "cloud-init ended with an error")
            .at("k8s-worker1, step guest.await/k8s-worker1")
            .because(
                "a package could not be installed: the guest has no way to the internet through 10.10.0.2",
            )
            .with_tail(["E: Unable to locate package", "\u{1b}[31mred\u{1b}[0m\u{7}"])
            .advise("mend the cause and go on with the same command")
            .run("fusionlab status")
    }

    #[test]
    fn it_says_what_where_why_and_what_to_do() {
        let text = lines(&report().into(), &Pen::plain(70)).join("\n");
        assert_eq!(
            text,
            "error: cloud-init ended with an error

  where   k8s-worker1, step guest.await/k8s-worker1
  why     a package could not be installed: the guest has no way to
          the internet through 10.10.0.2
  said
          │ E: Unable to locate package
          │ red
  do      mend the cause and go on with the same command
          fusionlab status
  more    fusionlab explain guest-not-right"
        );
    }

    #[test]
    fn an_interruption_is_not_dressed_up_as_an_error() {
        let lines = lines(&Report::interrupted().into(), &Pen::plain(100));
        assert_eq!(lines, ["interrupted; what was finished stands; the same command goes on from there"]);
    }

    #[test]
    fn the_json_form_carries_the_same() {
        let value = json(&report().into());
        assert_eq!(value["schema"], SCHEMA);
        assert_eq!(value["error"]["id"], "guest-not-right");
        assert_eq!(value["error"]["kind"], "guest");
        assert_eq!(value["error"]["exit_code"], 8);
        assert_eq!(value["error"]["fix"][1]["run"], "fusionlab status");
    }
}
