//! A plan on screen: the lines of its text, coloured, and wrapped to the terminal except where it stands verbatim.

use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::formats::printable::printable;
use crate::lab::Lab;
use crate::plan::step::Plan;
use crate::plan::text::{self, Detail, Line};

/// Columns before a step's words: `  + `.
const SIGN: usize = 4;
/// Columns before a step's id, or a line of the networking file's change.
const INNER: usize = 6;
/// Words are not wrapped to fewer columns than this.
const LEAST_WIDTH: usize = 20;

/// Returns the plan's lines.
pub fn lines(plan: &Plan, lab: &Lab, detail: Detail, pen: &Pen) -> Vec<String> {
    text::lines(plan, lab, detail).iter().flat_map(|line| shown(line, pen)).collect()
}

fn shown(line: &Line, pen: &Pen) -> Vec<String> {
    match line {
        Line::Blank => vec![String::new()],
        Line::Heading(heading) => vec![pen.paint(Ink::Strong, heading)],
        Line::Sentence(text) => words::wrap(&printable(text), pen.prose_width()),
        Line::Item { sign, columns, words } => item(*sign, &printable(columns), &printable(words), pen),
        Line::Below(text) => {
            let width = pen.prose_width().saturating_sub(INNER).max(LEAST_WIDTH);
            let lines = words::wrap(&printable(text), width);
            lines.iter().map(|line| format!("{}{}", " ".repeat(INNER), pen.paint(Ink::Dim, line))).collect()
        }
        Line::Changed(line) => vec![changed(&printable(line), INNER, pen)],
    }
}

/// Returns a line of the networking file's change, never wrapped: it is what will stand in the file.
pub fn changed(line: &str, indent: usize, pen: &Pen) -> String {
    let ink = match line.chars().next() {
        Some('+') => Ink::Good,
        Some('-') => Ink::Bad,
        Some('@') => Ink::Accent,
        _ => Ink::Dim,
    };
    format!("{}{}", " ".repeat(indent), pen.paint(ink, line))
}

/// Returns a step's or a machine's line; what does not fit goes on below its last column, and where that leaves too little
/// room, all the words stand below the line.
fn item(sign: char, columns: &str, words: &str, pen: &Pen) -> Vec<String> {
    let (ink, symbol) = match sign {
        '+' => (Ink::Good, "+"),
        '-' => (Ink::Bad, "-"),
        '=' => (Ink::Dim, "="),
        '?' => (Ink::Warn, "?"),
        _ => (Ink::Dim, pen.pending()),
    };
    let indent = SIGN + console::measure_text_width(columns);
    let first = format!("  {} {columns}", pen.paint(ink, symbol));
    let width = pen.width.saturating_sub(indent);
    if !columns.is_empty() && width < LEAST_WIDTH {
        let below = words::wrap(words, pen.width.saturating_sub(INNER).max(LEAST_WIDTH));
        let below = below.iter().map(|line| format!("{}{line}", " ".repeat(INNER)));
        return std::iter::once(first.trim_end().to_owned()).chain(below).collect();
    }
    let wrapped = words::wrap(words, width.max(LEAST_WIDTH));
    let begin = |index| if index == 0 { first.clone() } else { " ".repeat(indent) };
    wrapped.iter().enumerate().map(|(index, line)| format!("{}{line}", begin(index))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(sign: char, words: &str) -> Line {
        Line::Item { sign, columns: "k8s-master1  10.10.0.131  ".to_owned(), words: words.to_owned() }
    }

    #[test]
    fn a_machines_steps_go_on_below_themselves() {
        let line = machine('+', "clone, set up, start, await, prepare, kubeadm init");
        assert_eq!(shown(&line, &Pen::plain(80)), [line.to_string()]);
        assert_eq!(
            shown(&line, &Pen::plain(60)),
            [
                "  + k8s-master1  10.10.0.131  clone, set up, start, await,",
                "                              prepare, kubeadm init",
            ]
        );
        assert_eq!(
            shown(&line, &Pen::plain(40)),
            [
                "  + k8s-master1  10.10.0.131",
                "      clone, set up, start, await,",
                "      prepare, kubeadm init",
            ]
        );
    }

    #[test]
    fn the_networks_change_is_never_wrapped() {
        let line = Line::Changed("+answer VNET_2_HOSTONLY_NETMASK 255.255.255.0".to_owned());
        assert_eq!(shown(&line, &Pen::plain(30)), ["      +answer VNET_2_HOSTONLY_NETMASK 255.255.255.0"]);
        let reason = Line::Below("vm.clone/gateway1: there is no such VM".to_owned());
        assert_eq!(
            shown(&reason, &Pen::plain(30)),
            ["      vm.clone/gateway1: there", "      is no such VM"]
        );
    }

    #[test]
    fn colours_change_no_text() {
        for line in [
            Line::Blank,
            Line::Heading("Machines"),
            machine('-', "stop, delete"),
            Line::Changed("-answer VNET_2_NAT yes".to_owned()),
            Line::Sentence("16 steps.".to_owned()),
        ] {
            let shown = shown(&line, &Pen { color: true, ..Pen::plain(80) });
            assert_eq!(console::strip_ansi_codes(&shown.join("\n")), line.to_string());
        }
    }
}
