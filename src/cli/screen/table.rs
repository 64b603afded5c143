//! Tables whose columns align whatever they hold, and that shrink to the terminal.

use console::measure_text_width as width_of;

use crate::cli::terminal::{Ink, Pen};

/// Between two columns.
const GAP: usize = 2;
/// A column is not cut shorter than this.
const LEAST_COLUMN: usize = 6;

/// One cell: its text and its colour, if any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    ink: Option<Ink>,
}

impl Cell {
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), ink: None }
    }

    pub fn inked(ink: Ink, text: impl Into<String>) -> Self {
        Self { text: text.into(), ink: Some(ink) }
    }
}

/// Rows under a header.
#[derive(Clone, Debug)]
pub struct Table {
    header: Vec<&'static str>,
    right: Vec<bool>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A header that begins with `>` makes its column right-aligned, as numbers are.
    pub fn new(header: impl IntoIterator<Item = &'static str>) -> Self {
        let header: Vec<&'static str> = header.into_iter().collect();
        let right = header.iter().map(|name| name.starts_with('>')).collect();
        let header = header.into_iter().map(|name| name.trim_start_matches('>')).collect();
        Self { header, right, rows: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let cells: Vec<Cell> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.header.len(), "a row has a cell for each column");
        self.rows.push(cells);
    }

    /// Returns the lines. Where the terminal is too narrow, the widest columns are cut first.
    pub fn lines(&self, pen: &Pen) -> Vec<String> {
        let widths = self.widths(pen.width);
        let header = self.header.iter().map(|name| Cell::inked(Ink::Dim, *name)).collect::<Vec<_>>();
        std::iter::once(&header).chain(&self.rows).map(|row| self.line(row, &widths, pen)).collect()
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

/// Returns pairs of label and text with the texts aligned, as in the closing block.
pub fn labelled<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>, pen: &Pen) -> Vec<String> {
    let pairs: Vec<(&str, String)> = pairs.into_iter().collect();
    let width = pairs.iter().map(|(label, _)| width_of(label)).max().unwrap_or(0);
    pairs
        .into_iter()
        .map(|(label, text)| {
            let space = " ".repeat(width - width_of(label) + GAP);
            format!("{}{space}{text}", pen.paint(Ink::Dim, label))
        })
        .collect()
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
    fn narrow_terminals_cut_the_widest_column() {
        let lines = table().lines(&Pen::plain(30));
        assert_eq!(lines[2], "✓ k8s     1200 ms  a much lon…");
        assert!(table().lines(&Pen::plain(12)).iter().all(|line| width_of(line) <= 12));
    }
}
