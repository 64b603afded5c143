//! Problems in a lab file: each with its place, the line itself underlined, and help.

use console::measure_text_width as width_of;

use crate::cli::error::LabFileProblems;
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::lab::problem::{Problem, Severity, Span};

/// Returns the lines for all problems, in the order of the file, and a count. Beside errors no warning is told: what it is
/// about may be another once they are mended.
pub fn lines(file: &LabFileProblems, pen: &Pen) -> Vec<String> {
    let mut problems = told(file);
    // Those without a place come last; among equals the order of the rules stays.
    problems.sort_by_key(|problem| (problem.span.is_none(), problem.span));
    let mut lines: Vec<String> = Vec::new();
    for problem in problems {
        lines.extend(one(problem, file, pen));
        lines.push(String::new());
    }
    lines.extend(count(file, pen));
    lines
}

/// Returns the errors, or where there are none the warnings.
fn told(file: &LabFileProblems) -> Vec<&Problem> {
    let worst = if file.counts().0 > 0 { Severity::Error } else { Severity::Warning };
    file.problems.iter().filter(|problem| problem.severity == worst).collect()
}

/// Returns how many there are and what says more: one line if there is room.
fn count(file: &LabFileProblems, pen: &Pen) -> Vec<String> {
    let (errors, warnings) = match file.counts() {
        (0, warnings) => (0, warnings),
        (errors, _) => (errors, 0),
    };
    let counted = [(Ink::Bad, errors, "error"), (Ink::Warn, warnings, "warning")];
    let counted = counted.iter().filter(|(_, number, _)| *number > 0);
    let rule = told(file).first().map_or("RULE", |problem| problem.rule);
    let worded = |pen: &Pen| {
        let parts = counted.clone().map(|(ink, number, noun)| pen.paint(*ink, &words::count(*number, noun)));
        let parts: Vec<String> = parts.collect();
        let command = pen.paint(Ink::Accent, &format!("fusionlab explain {rule}"));
        (format!("{} in {};", parts.join(", "), file.file), format!("{command} says more"))
    };
    let (plain, (there, more)) = (worded(&Pen::plain(pen.width)), worded(pen));
    let room = plain.0.chars().count() + 1 + plain.1.chars().count();
    if room <= pen.width { vec![format!("{there} {more}")] } else { vec![there, more] }
}

/// Returns a problem without its place and help, for warnings that do not stop what was asked for.
pub fn brief(problem: &Problem, pen: &Pen) -> Vec<String> {
    let (ink, head) = head(problem);
    let width = pen.prose_width().saturating_sub(2).max(30);
    words::headed(&head, &pen.paint(ink, &head), &problem.message, width)
}

/// Returns a line for a problem that was told before.
pub fn reminder(problem: &Problem, pen: &Pen) -> Vec<String> {
    brief(&Problem { message: "as before; fusionlab plan says more".to_owned(), ..problem.clone() }, pen)
}

/// Returns `error[rule]:` with its colour.
fn head(problem: &Problem) -> (Ink, String) {
    let (ink, word) = match problem.severity {
        Severity::Error => (Ink::Bad, "error"),
        Severity::Warning => (Ink::Warn, "warning"),
    };
    (ink, format!("{word}[{}]:", problem.rule))
}

/// Returns one problem with its place, the line itself, and help.
pub fn one(problem: &Problem, file: &LabFileProblems, pen: &Pen) -> Vec<String> {
    let (ink, head) = head(problem);
    let mut lines = Vec::new();
    let width = pen.prose_width().saturating_sub(2).max(30);
    for (index, line) in words::wrap(&format!("{head} {}", problem.message), width).iter().enumerate() {
        // The head has no blank in it, so it stands whole on the first line.
        lines.push(match (index, line.strip_prefix(&head)) {
            (0, Some(rest)) => format!("{}{}", pen.paint(ink, &head), pen.paint(Ink::Strong, rest)),
            _ => format!("  {}", pen.paint(Ink::Strong, line)),
        });
    }
    let number = problem.span.map_or_else(String::new, |span| span.line.to_string());
    let gutter = " ".repeat(number.len());
    let (arrow, bar) = if pen.unicode { ("╭─", "│") } else { ("-->", "|") };
    let dim = |text: &str| pen.paint(Ink::Dim, text);
    match problem.span {
        Some(span) => {
            let place = format!("{}:{}:{}", file.file, span.line, span.column);
            lines.push(format!("{gutter} {} {place}", dim(arrow)));
            if let Some(text) = file.text.lines().nth(span.line.saturating_sub(1)) {
                let room = pen.width.saturating_sub(number.len() + 4).max(20);
                let (shown, before, under) = window(text, &span, room, pen);
                lines.push(format!("{} {} {shown}", dim(&number), dim(bar)));
                let carets = pen.paint(ink, &"^".repeat(under));
                lines.push(format!("{gutter} {} {}{carets}", dim(bar), " ".repeat(before)));
            }
        }
        None => lines.push(format!(" {} {}", dim(arrow), file.file)),
    }
    if let Some(help) = &problem.help {
        let width = pen.prose_width().saturating_sub(gutter.len() + "  help: ".len()).max(30);
        for (index, line) in words::wrap(help, width).iter().enumerate() {
            let label = if index == 0 { pen.paint(Ink::Good, "help:") } else { " ".repeat("help:".len()) };
            lines.push(format!("{gutter}   {label} {line}"));
        }
    }
    lines
}

/// Returns the part of a line that fits, with the columns before the span and under it. A tab counts as one column.
fn window(text: &str, span: &Span, room: usize, pen: &Pen) -> (String, usize, usize) {
    let chars: Vec<char> = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    let start = span.column.saturating_sub(1).min(chars.len());
    let end = (start + span.length.max(1)).min(chars.len());
    let columns = |from: usize, to: usize| width_of(&chars[from..to].iter().collect::<String>());
    // The window begins at the line's start if the span is within it, else a third of the room before the span.
    let first = if columns(0, end) <= room { 0 } else { start.saturating_sub(room / 3) };
    let cut = if first > 0 { pen.ellipsis() } else { "" };
    let rest: String = chars[first..].iter().collect();
    let shown = pen.fit(&format!("{cut}{rest}"), room);
    let before = width_of(cut) + columns(first, start);
    // An empty span, such as at the end of a line, still gets one caret.
    let under = columns(start, end).max(1).min(room.saturating_sub(before).max(1));
    (shown, before, under)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problem(rule: &'static str, span: Option<(usize, usize, usize)>, severity: Severity) -> Problem {
        let span = span.map(|(line, column, length)| Span { line, column, length });
        Problem {
            rule,
            severity,
            span,
            message: "address 10.10.0.11 is used twice".into(),
            help: Some("give gateway2 another one".into()),
        }
    }

    fn file(problems: Vec<Problem>) -> LabFileProblems {
        let text = "version: 1\nname: zürich\ngateways: { gateway2: 10.10.0.11 }\n".to_owned();
        LabFileProblems { file: "fusionlab.yaml".into(), text, problems }
    }

    #[test]
    fn the_offending_words_are_underlined_and_warnings_wait_until_no_error_is_left() {
        let file = file(vec![
            problem("dhcp-pool-overlap", None, Severity::Warning),
            problem("address-used-twice", Some((3, 23, 10)), Severity::Error),
        ]);
        assert_eq!(
            lines(&file, &Pen::plain(80)).join("\n"),
            "error[address-used-twice]: address 10.10.0.11 is used twice
  ╭─ fusionlab.yaml:3:23
3 │ gateways: { gateway2: 10.10.0.11 }
  │                       ^^^^^^^^^^
    help: give gateway2 another one

1 error in fusionlab.yaml; fusionlab explain address-used-twice says more"
        );
        let warned = super::tests::file(vec![problem("dhcp-pool-overlap", None, Severity::Warning)]);
        let lines = lines(&warned, &Pen::plain(80));
        assert_eq!(lines[0], "warning[dhcp-pool-overlap]: address 10.10.0.11 is used twice");
        assert_eq!(
            lines.last().unwrap(),
            "1 warning in fusionlab.yaml; fusionlab explain dhcp-pool-overlap says more"
        );
    }

    #[test]
    fn columns_are_characters_not_bytes() {
        let file = file(vec![problem("name", Some((2, 7, 6)), Severity::Error)]);
        let lines = lines(&file, &Pen::plain(80));
        assert_eq!(lines[2], "2 │ name: zürich");
        assert_eq!(lines[3], "  │       ^^^^^^");
    }

    #[test]
    fn long_lines_are_shown_around_the_place() {
        let text = format!("{}BAD{}", "x".repeat(300), "y".repeat(300));
        let span = Span { line: 1, column: 301, length: 3 };
        let (shown, before, under) = window(&text, &span, 60, &Pen::plain(80));
        assert!(width_of(&shown) <= 60 && shown.starts_with('…') && shown.ends_with('…'));
        let under_carets: String = shown.chars().skip(before).take(under).collect();
        assert_eq!(under_carets, "BAD");
    }

    proptest! {
        #[test]
        fn any_span_in_any_file_can_be_drawn(
            text in "\\PC{0,40}\n?\\PC{0,40}",
            line in 0usize..5,
            column in 0usize..100,
            length in 0usize..200,
            width in 1usize..100,
        ) {
            let mut file = file(vec![problem("any", Some((line, column, length)), Severity::Error)]);
            file.text = text;
            prop_assert!(lines(&file, &Pen::plain(width)).len() > 3);
        }
    }
}
