//! The error screen: what, where, why, the last words of a guest, what to do.

use console::measure_text_width as width_of;
use serde_json::{Value, json};

use super::problems;
use crate::cli::error::{Failure, Fix, Kind, LabFileProblems, Report};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::formats::printable;

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
    let report = &shown(report);
    if report.kind == Kind::Interrupted {
        return interrupted(report, pen);
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
            let text = pen.fit(line, pen.width.saturating_sub(LABEL + 4));
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
    lines.extend(standing(report, pen));
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
    if let Some(log) = &report.log {
        lines.push(format!("  {}{log}", pad_label("log", pen)));
    }
    let more = format!("fusionlab explain {}", report.id);
    lines.push(format!("  {}{}", pad_label("more", pen), pen.paint(Ink::Accent, &more)));
    lines
}

/// Returns a report without what a terminal would obey: guests print what they like, and it may be in any of its texts.
fn shown(report: &Report) -> Report {
    let text = |text: &String| printable::printable(text).into_owned();
    let line = |text: &String| printable::line(text);
    Report {
        what: text(&report.what),
        place: report.place.as_ref().map(text),
        why: report.why.as_ref().map(text),
        tail: report.tail.iter().map(line).collect(),
        also: report.also.iter().map(line).collect(),
        stands: report.stands.iter().map(line).collect(),
        fix: report
            .fix
            .iter()
            .map(|fix| match fix {
                Fix::Say(words) => Fix::Say(text(words)),
                Fix::Run(command) => Fix::Run(line(command)),
            })
            .collect(),
        log: report.log.as_ref().map(line),
        ..report.clone()
    }
}

/// Returns what stands, a line for all that came equally far.
fn standing(report: &Report, pen: &Pen) -> Vec<String> {
    let labelled =
        |(index, line): (usize, &String)| hanging(if index == 0 { "stands" } else { "" }, line, pen);
    report.stands.iter().enumerate().flat_map(labelled).collect()
}

/// An interruption was wished for: it is told in a sentence, with what stands and the command that goes on.
fn interrupted(report: &Report, pen: &Pen) -> Vec<String> {
    let (mut sentence, mut commands) = (report.what.clone(), Vec::new());
    for fix in &report.fix {
        match fix {
            Fix::Say(words) => sentence = format!("{sentence}; {words}"),
            Fix::Run(command) => commands.push(command),
        }
    }
    let mut lines = words::wrap(&sentence, pen.prose_width());
    lines.extend(standing(report, pen));
    let command = |command: &String| format!("  {}{}", pad_label("do", pen), pen.paint(Ink::Accent, command));
    lines.extend(commands.into_iter().map(command));
    lines
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
            .at("k8s-worker1, step guest.ready/k8s-worker1")
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

  where   k8s-worker1, step guest.ready/k8s-worker1
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
    fn no_text_of_a_report_is_obeyed_by_a_terminal() {
        let evil = "a\u{1b}[2Jb\u{9d}0;t\u{9c}c\u{7}\0\u{202e}d";
        let report = Report::new("guest-not-right", Kind::Guest, evil)
            .at(evil)
            .because(evil)
            .with_tail([evil])
            .advise(evil)
            .run(evil);
        let report = Report { also: vec![evil.to_owned()], log: Some(evil.to_owned()), ..report };
        let text = lines(&report.into(), &Pen::plain(80)).join("\n");
        assert_eq!(text.matches("abcd").count(), 8, "{text}");
        assert!(text.chars().all(|char| char == '\n' || !char.is_control()), "{text:?}");
    }

    #[test]
    fn an_interruption_is_not_dressed_up_as_an_error() {
        let lines = lines(&Report::interrupted().into(), &Pen::plain(100));
        assert_eq!(lines, ["interrupted; what was finished stands; the same command goes on from there"]);
    }

    #[test]
    fn what_stands_is_listed_between_the_causes_and_the_remedies() {
        let stands = vec!["host: done".to_owned(), "gateway1: up to vm.clone; vm.start failed".to_owned()];
        let text = lines(&Report { stands: stands.clone(), ..report() }.into(), &Pen::plain(70)).join("\n");
        let listed = "
  stands  host: done
          gateway1: up to vm.clone; vm.start failed
  do      mend the cause";
        assert!(text.contains(listed), "{text}");
        let stopped = Report { stands, ..Report::interrupted() };
        let lines = lines(&stopped.into(), &Pen::plain(100));
        assert_eq!(
            lines[1..],
            ["  stands  host: done", "          gateway1: up to vm.clone; vm.start failed"]
        );
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
