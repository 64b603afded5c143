//! Tables whose columns align whatever they hold, and that shrink to the terminal.

use console::measure_text_width as width_of;

use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::formats::printable;

/// Between two columns.
const GAP: usize = 2;
/// A column is not cut shorter than this.
const LEAST_COLUMN: usize = 6;
/// Text beside a label is not wrapped to fewer columns than this.
const LEAST_TEXT: usize = 20;

/// One cell: its text and its colour, if any. The text may come from a guest: a terminal gets nothing of it to obey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    ink: Option<Ink>,
}

impl Cell {
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: printable::line(&text.into()), ink: None }
    }

    pub fn inked(ink: Ink, text: impl Into<String>) -> Self {
        Self { text: printable::line(&text.into()), ink: Some(ink) }
    }
}

/// Text in parts, each in its colour. It is broken between words, also within a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(Vec<Cell>);

impl Text {
    fn painted(&self, pen: &Pen) -> String {
        let paint = |ink: Ink, text: &str| -> String {
            // Word by word, so that no colour runs on where a line ends.
            text.split(' ').map(|word| pen.paint(ink, word)).collect::<Vec<_>>().join(" ")
        };
        self.0
            .iter()
            .map(|part| part.ink.map_or_else(|| part.text.clone(), |ink| paint(ink, &part.text)))
            .collect()
    }
}

impl From<String> for Text {
    /// Takes text of several lines as it is.
    fn from(text: String) -> Self {
        Self(vec![Cell { text: printable::printable(&text).into_owned(), ink: None }])
    }
}

impl<const N: usize> From<[Cell; N]> for Text {
    fn from(parts: [Cell; N]) -> Self {
        Self(parts.into())
    }
}

impl FromIterator<Cell> for Text {
    fn from_iter<I: IntoIterator<Item = Cell>>(parts: I) -> Self {
        Self(parts.into_iter().collect())
    }
}

/// Rows under a header.
#[derive(Clone, Debug)]
pub struct Table {
    header: Vec<&'static str>,
    right: Vec<bool>,
    rows: Vec<Vec<Cell>>,
    /// Columns that can be left out, the first one first.
    spare: Vec<&'static str>,
    /// Whether what stands in the last column goes on below, rather than being cut.
    breaks: bool,
}

impl Table {
    /// A header that begins with `>` makes its column right-aligned, as numbers are.
    pub fn new(header: impl IntoIterator<Item = &'static str>) -> Self {
        let header: Vec<&'static str> = header.into_iter().collect();
        let right = header.iter().map(|name| name.starts_with('>')).collect();
        let header = header.into_iter().map(|name| name.trim_start_matches('>')).collect();
        Self { header, right, rows: Vec::new(), spare: Vec::new(), breaks: false }
    }

    /// Names the columns that are left out where the terminal is too narrow for all, the first one first.
    pub fn leaving_out(mut self, spare: impl IntoIterator<Item = &'static str>) -> Self {
        self.spare = spare.into_iter().collect();
        self
    }

    /// Has what stands in the last column go on below, where there is too little room beside the others: for prose.
    pub fn breaking(mut self) -> Self {
        self.breaks = true;
        self
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let cells: Vec<Cell> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.header.len(), "a row has a cell for each column");
        self.rows.push(cells);
    }

    /// Returns the lines. Where the terminal is too narrow, columns are left out, then the widest ones cut.
    pub fn lines(&self, pen: &Pen) -> Vec<String> {
        let mut table = self.clone();
        for name in &self.spare {
            if !table.fits(pen) {
                table.leave_out(name);
            }
        }
        table.cut_lines(pen)
    }

    /// Says whether nothing need be left out or cut.
    pub fn fits(&self, pen: &Pen) -> bool {
        self.full_width() <= pen.width
    }

    fn leave_out(&mut self, name: &str) {
        if let Some(index) = self.header.iter().position(|header| *header == name) {
            self.header.remove(index);
            self.right.remove(index);
            self.rows.iter_mut().for_each(|row| drop(row.remove(index)));
        }
    }

    fn full_width(&self) -> usize {
        self.widths(usize::MAX).iter().sum::<usize>() + GAP * self.header.len().saturating_sub(1)
    }

    fn cut_lines(&self, pen: &Pen) -> Vec<String> {
        if self.breaks && !self.fits(pen) {
            return self.broken_lines(pen);
        }
        let widths = self.widths(pen.width);
        let header = self.header.iter().map(|name| Cell::inked(Ink::Dim, *name)).collect::<Vec<_>>();
        std::iter::once(&header).chain(&self.rows).map(|row| self.line(row, &widths, pen)).collect()
    }

    fn broken_lines(&self, pen: &Pen) -> Vec<String> {
        let mut widths = self.widths(usize::MAX);
        let Some(last) = widths.len().checked_sub(1) else { return Vec::new() };
        let others = widths[..last].iter().sum::<usize>() + GAP * last;
        widths[last] = pen.width.saturating_sub(others).max(LEAST_COLUMN);
        let header = self.header.iter().map(|name| Cell::inked(Ink::Dim, *name)).collect::<Vec<_>>();
        let mut lines = Vec::new();
        for row in std::iter::once(&header).chain(&self.rows) {
            for (index, text) in words::wrap(&row[last].text, widths[last]).into_iter().enumerate() {
                let other = |cell: &Cell| if index == 0 { cell.clone() } else { Cell::plain("") };
                let mut cells: Vec<Cell> = row[..last].iter().map(other).collect();
                cells.push(Cell { text, ink: row[last].ink });
                lines.push(self.line(&cells, &widths, pen));
            }
        }
        lines
    }

    fn line(&self, row: &[Cell], widths: &[usize], pen: &Pen) -> String {
        let gap = " ".repeat(GAP);
        let cells = row.iter().zip(widths).zip(&self.right).map(|((cell, width), right)| {
            let text = pen.fit(&cell.text, *width);
            let space = " ".repeat(width.saturating_sub(width_of(&text)));
            let text = cell.ink.map_or_else(|| text.clone(), |ink| pen.paint(ink, &text));
            if *right { format!("{space}{text}") } else { format!("{text}{space}") }
        });
        let line = cells.collect::<Vec<_>>().join(&gap);
        pen.fit(line.trim_end(), pen.width)
    }

    fn widths(&self, available: usize) -> Vec<usize> {
        let column = |index: usize| {
            let cells = self.rows.iter().map(|row| width_of(&row[index].text)).max().unwrap_or(0);
            cells.max(width_of(self.header[index]))
        };
        let mut widths: Vec<usize> = (0..self.header.len()).map(column).collect();
        let gaps = GAP * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > available {
            let Some(widest) = widths.iter_mut().max().filter(|width| **width > LEAST_COLUMN) else { break };
            *widest -= 1;
        }
        widths
    }
}

/// Returns pairs of label and text with the texts aligned, as in the closing block; long ones go on below.
pub fn labelled<'a>(pairs: impl IntoIterator<Item = (&'a str, impl Into<Text>)>, pen: &Pen) -> Vec<String> {
    let pairs: Vec<(&str, Text)> = pairs.into_iter().map(|(label, text)| (label, text.into())).collect();
    let column = GAP + pairs.iter().map(|(label, _)| width_of(label)).max().unwrap_or(0);
    let room = pen.width.saturating_sub(column).max(LEAST_TEXT);
    let mut lines = Vec::new();
    for (label, text) in pairs {
        for (index, line) in words::wrap(&text.painted(pen), room).iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            let space = " ".repeat(column - width_of(label));
            lines.push(format!("{}{space}{line}", pen.paint(Ink::Dim, label)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["NAME", ">TOOK", "TEXT"]);
        table.row([Cell::plain("gateway1"), Cell::plain("9 ms"), Cell::plain("short")]);
        table.row([
            Cell::inked(Ink::Good, "✓ k8s"),
            Cell::plain("1200 ms"),
            Cell::plain("a much longer text here"),
        ]);
        table
    }

    #[test]
    fn prose_goes_on_below_and_nothing_of_it_is_cut() {
        let mut table = Table::new(["ID", "MEANING"]).breaking();
        table.row([Cell::plain("file-failed"), Cell::plain("a file operation failed, and why")]);
        table.row([Cell::plain("usage"), Cell::plain("wrong")]);
        assert_eq!(
            table.lines(&Pen::plain(32)),
            [
                "ID           MEANING",
                "file-failed  a file operation",
                "             failed, and why",
                "usage        wrong",
            ]
        );
        assert_eq!(table.lines(&Pen::plain(80)).len(), 3);
    }

    #[test]
    fn columns_align_with_symbols_and_colours() {
        for color in [false, true] {
            let lines = table().lines(&Pen { color, ..Pen::plain(80) });
            let lines: Vec<_> = lines.iter().map(|line| console::strip_ansi_codes(line)).collect();
            assert_eq!(
                lines,
                [
                    "NAME         TOOK  TEXT",
                    "gateway1     9 ms  short",
                    "✓ k8s     1200 ms  a much longer text here",
                ]
            );
        }
    }

    #[test]
    fn a_guests_words_are_shown_and_not_obeyed() {
        let mut table = Table::new(["NAME"]);
        table.row([Cell::plain("\u{1b}[31mred\u{7}\nline")]);
        assert_eq!(table.lines(&Pen::plain(80)), ["NAME", "red line"]);
        let pairs = [("seen", "a\u{1b}]0;title\u{7}b\r".to_owned())];
        assert_eq!(labelled(pairs, &Pen::plain(80)), ["seen  ab"]);
    }

    #[test]
    fn a_part_keeps_its_colour_where_its_line_is_broken() {
        let text = || [Cell::plain("held by "), Cell::inked(Ink::Bad, "gateway1, gateway2 and gateway3")];
        let lines = labelled([("VIP", Text::from(text()))], &Pen { color: true, ..Pen::plain(30) });
        let bare: Vec<_> = lines.iter().map(|line| console::strip_ansi_codes(line)).collect();
        assert_eq!(bare, ["VIP  held by gateway1,", "     gateway2 and gateway3"]);
        let red = |word: &str| Pen { color: true, ..Pen::plain(30) }.paint(Ink::Bad, word);
        assert!(lines[0].ends_with(&red("gateway1,")) && lines[1].contains(&red("gateway3")), "{lines:?}");
        let lines = labelled([("VIP", Text::from(text()))], &Pen::plain(80));
        assert_eq!(lines, ["VIP  held by gateway1, gateway2 and gateway3"]);
    }

    #[test]
    fn narrow_terminals_cut_the_widest_column() {
        let lines = table().lines(&Pen::plain(30));
        assert_eq!(lines[2], "✓ k8s     1200 ms  a much lon…");
        assert!(table().lines(&Pen::plain(12)).iter().all(|line| width_of(line) <= 12));
    }
}
