//! Lines that machines wrote down: the time, the machine where there are several, the source, the text.

use console::measure_text_width as width_of;
use serde_json::{Value, json};

use crate::cli::error::Failure;
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::host::clock;
use crate::lab::Node;
use crate::stack::logs::{Entry, Source};

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.logs/1";
/// The width of a time of day.
const TIME: usize = 8;
const GAP: &str = "  ";
/// Texts are not broken into pieces of fewer columns than this: the terminal does it no worse.
const LEAST_ROOM: usize = 20;
const MS: u64 = 1000;

/// How wide the columns are that stand before each text.
pub struct Columns {
    /// None where all lines are one machine's.
    node: Option<usize>,
    source: usize,
}

impl Columns {
    pub fn of(nodes: &[Node], sources: &[Source]) -> Self {
        let widest = nodes.iter().map(|node| node.name.len()).max().unwrap_or_default();
        let source = sources.iter().map(|source| source.name().len()).max().unwrap_or_default();
        Self { node: (nodes.len() > 1).then_some(widest), source }
    }

    /// Returns an entry's lines: one, but on a terminal on which its text goes on below itself.
    pub fn lines(&self, node: &str, entry: &Entry, pen: &Pen) -> Vec<String> {
        let column = self.column();
        let room = pen.width.saturating_sub(column);
        let by = entry.by.as_ref().map_or_else(String::new, |by| format!("{by}: "));
        let mut pieces = pieces(&format!("{by}{}", entry.text), if pen.wraps() { room } else { usize::MAX });
        let first = pieces.remove(0);
        let first = match &entry.by {
            Some(by) if first.starts_with(by.as_str()) => pen.paint(Ink::Strong, by) + &first[by.len()..],
            _ => first,
        };
        let mut lines = vec![self.head(node, entry, pen) + &first];
        lines.extend(pieces.into_iter().map(|piece| " ".repeat(column) + &piece));
        lines
    }

    /// The column in which texts begin.
    fn column(&self) -> usize {
        TIME + self.node.map_or(0, |width| GAP.len() + width) + GAP.len() + self.source + GAP.len()
    }

    fn head(&self, node: &str, entry: &Entry, pen: &Pen) -> String {
        let time = entry.at_ms.map_or_else(|| pen.none().to_owned(), |ms| clock::moment(ms / MS));
        let mut line = pen.paint(Ink::Dim, &format!("{time:TIME$}"));
        if let Some(width) = self.node {
            line += &format!("{GAP}{}", pen.paint(Ink::Accent, &format!("{node:width$}")));
        }
        let source = format!("{:width$}", entry.source.name(), width = self.source);
        line + &format!("{GAP}{}{GAP}", pen.paint(Ink::Dim, &source))
    }
}

/// Breaks a text into pieces of so many columns, between words where there are any; all of it stays, in its order.
fn pieces(text: &str, room: usize) -> Vec<String> {
    if room < LEAST_ROOM || width_of(text) <= room {
        return vec![text.to_owned()];
    }
    let (mut pieces, mut piece, mut width) = (Vec::new(), String::new(), 0);
    for letter in text.chars() {
        let wide = width_of(letter.encode_utf8(&mut [0; 4]));
        if width + wide > room {
            // A word that is more than half a line is broken.
            let at = piece.rfind(' ').filter(|at| *at > piece.len() / 2).map(|at| at + 1);
            let rest = at.map_or_else(String::new, |at| piece.split_off(at));
            pieces.push(std::mem::replace(&mut piece, rest).trim_end().to_owned());
            width = width_of(&piece);
        }
        piece.push(letter);
        width += wide;
    }
    pieces.push(piece);
    pieces
}

/// Says that a machine is not reached just now.
pub fn waits(node: &str, failure: &Failure, pen: &Pen) -> Vec<String> {
    let why = match failure {
        Failure::Report(report) => report.what.as_str(),
        _ => "not reached",
    };
    let who = if why.starts_with(node) { String::new() } else { format!("{node}: ") };
    let text = format!("{who}{why}; it is asked again");
    words::wrap(&text, pen.prose_width()).iter().map(|line| pen.paint(Ink::Warn, line)).collect()
}

pub fn json(lab: &str, simulated: bool, node: &str, entry: &Entry) -> Value {
    json!({
        "schema": SCHEMA,
        "lab": lab,
        "simulated": simulated,
        "node": node,
        "source": entry.source,
        "at": entry.at_ms.map(|ms| clock::rfc3339(ms / MS)),
        "by": entry.by,
        "text": entry.text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::screen::status::tests::lab;

    #[test]
    fn columns_align_whatever_they_hold() {
        let lab = lab();
        let columns = Columns::of(&lab.nodes, &Source::ALL);
        let entry = |source, by: Option<&str>| Entry {
            at_ms: None,
            source,
            by: by.map(str::to_owned),
            text: "text".to_owned(),
        };
        let pen = Pen::plain(80);
        let lines = [
            columns.lines("gateway1", &entry(Source::Console, None), &pen),
            columns.lines("k8s-master1", &entry(Source::Journal, Some("nginx")), &pen),
        ];
        assert_eq!(
            lines.concat(),
            ["–         gateway1     console     text", "–         k8s-master1  journal     nginx: text"]
        );
        let one = Columns::of(&lab.nodes[..1], &[Source::Journal]);
        assert_eq!(one.lines("gateway1", &entry(Source::Journal, None), &pen), ["–         journal  text"]);
    }

    #[test]
    fn a_long_text_goes_on_below_itself_on_a_terminal_and_nowhere_else() {
        let lab = lab();
        let columns = Columns::of(&lab.nodes[..1], &[Source::Journal]);
        let text = "failed to load /var/lib/kubelet/config.yaml: no such file".to_owned();
        let entry = Entry { at_ms: None, source: Source::Journal, by: Some("kubelet".to_owned()), text };
        let lines = |pen: &Pen| columns.lines("gateway1", &entry, pen);
        assert_eq!(
            lines(&Pen::plain(50)),
            [
                "–         journal  kubelet: failed to load",
                "                   /var/lib/kubelet/config.yaml:",
                "                   no such file",
            ]
        );
        let colored = lines(&Pen { color: true, ..Pen::plain(50) });
        let plain: Vec<_> = colored.iter().map(|line| console::strip_ansi_codes(line).into_owned()).collect();
        assert_eq!(plain, lines(&Pen::plain(50)), "colours take no room");
        assert_eq!(lines(&Pen::plain(crate::cli::terminal::PIPE_WIDTH)).len(), 1);
        assert_eq!(lines(&Pen::plain(30)).len(), 1, "too narrow to be broken");
    }

    #[test]
    fn a_machine_that_is_not_reached_is_named_once() {
        let pen = Pen::plain(80);
        let off = Failure::from(crate::cli::error::Report::off("gateway1"));
        assert_eq!(waits("gateway1", &off, &pen), ["gateway1 is off; it is asked again"]);
        assert_eq!(
            waits("gateway1", &Failure::OutputClosed, &pen),
            ["gateway1: not reached; it is asked again"]
        );
    }

    #[test]
    fn nothing_of_a_text_is_lost_where_it_is_broken() {
        let text = "one two  three äöü 日本語 ".repeat(9);
        for room in LEAST_ROOM..60 {
            let pieces = pieces(&text, room);
            assert!(pieces.iter().all(|piece| width_of(piece) <= room), "{pieces:?}");
            let letters = |text: &str| text.chars().filter(|letter| *letter != ' ').collect::<String>();
            assert_eq!(letters(&pieces.concat()), letters(&text));
        }
    }
}
