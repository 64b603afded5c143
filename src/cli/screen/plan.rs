//! A plan on screen: its own text, coloured, and wrapped to the terminal except where it stands verbatim.

use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::formats::printable;
use crate::lab::Lab;
use crate::plan::step::Plan;
use crate::plan::text::{self, Detail};

/// Columns before a step's words: `  + `.
const SIGN: usize = 4;
/// Columns before a step's id, or a line of the networking file's change.
const INNER: usize = 6;
/// Words are not wrapped to fewer columns than this.
const LEAST_WIDTH: usize = 20;

/// Returns the plan's lines.
pub fn lines(plan: &Plan, lab: &Lab, detail: Detail, pen: &Pen) -> Vec<String> {
    let text = text::text(plan, lab, detail);
    printable::printable(&text).lines().flat_map(|line| shown(line, pen)).collect()
}

fn shown(line: &str, pen: &Pen) -> Vec<String> {
    let inner = line.strip_prefix(&" ".repeat(INNER));
    match (inner, line.chars().nth(2)) {
        (Some(change), _) if change.starts_with(['+', '-', '@', ' ']) => vec![changed(change, INNER, pen)],
        (Some(reason), _) => {
            let width = pen.prose_width().saturating_sub(INNER).max(LEAST_WIDTH);
            let lines = words::wrap(reason, width);
            lines.iter().map(|line| format!("{}{}", " ".repeat(INNER), pen.paint(Ink::Dim, line))).collect()
        }
        (None, Some(sign)) if line.starts_with("  ") => step(line, sign, pen),
        _ if line.ends_with('.') => words::wrap(line, pen.prose_width()),
        _ => vec![pen.paint(Ink::Strong, line)],
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
fn step(line: &str, sign: char, pen: &Pen) -> Vec<String> {
    let (ink, symbol) = match sign {
        '+' => (Ink::Good, "+"),
        '-' => (Ink::Bad, "-"),
        '=' => (Ink::Dim, "="),
        '?' => (Ink::Warn, "?"),
        _ => (Ink::Dim, pen.pending()),
    };
    let rest: String = line.chars().skip(SIGN).collect();
    let column = rest.rfind("  ").map_or(0, |gap| gap + 2);
    let (fixed, words) = rest.split_at(column);
    let indent = SIGN + console::measure_text_width(fixed);
    let first = format!("  {} {fixed}", pen.paint(ink, symbol));
    let width = pen.width.saturating_sub(indent);
    if column > 0 && width < LEAST_WIDTH {
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

    #[test]
    fn a_machines_steps_go_on_below_themselves() {
        let line = "  + k8s-master1  10.10.0.131  clone, set up, start, await, prepare, kubeadm init";
        assert_eq!(shown(line, &Pen::plain(80)), [line]);
        assert_eq!(
            shown(line, &Pen::plain(60)),
            [
                "  + k8s-master1  10.10.0.131  clone, set up, start, await,",
                "                              prepare, kubeadm init",
            ]
        );
        assert_eq!(
            shown(line, &Pen::plain(40)),
            [
                "  + k8s-master1  10.10.0.131",
                "      clone, set up, start, await,",
                "      prepare, kubeadm init",
            ]
        );
    }

    #[test]
    fn the_networks_change_is_never_wrapped() {
        let line = "      +answer VNET_2_HOSTONLY_NETMASK 255.255.255.0";
        assert_eq!(shown(line, &Pen::plain(30)), [line]);
        let reason = "      vm.clone/gateway1: there is no such VM";
        assert_eq!(shown(reason, &Pen::plain(30)), ["      vm.clone/gateway1: there", "      is no such VM"]);
    }

    #[test]
    fn colours_change_no_text() {
        for line in ["Machines", "  - gateway1  stop, delete", "      -answer VNET_2_NAT yes", "16 steps."] {
            let shown = shown(line, &Pen { color: true, ..Pen::plain(80) });
            assert_eq!(console::strip_ansi_codes(&shown.join("\n")), line);
        }
    }
}
