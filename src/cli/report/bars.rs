//! Live rows on a terminal: the board, redrawn in place; notes scroll above it.

use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::board::Board;
use super::{Reporter, layout};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::engine::event::Event;

/// Redraws in one second at most; more only flickers.
const REDRAWS: u8 = 15;

/// Draws on standard error.
pub struct Bars {
    board: Board,
    pen: Pen,
    started: Instant,
    multi: MultiProgress,
    rows: Vec<ProgressBar>,
}

impl Bars {
    pub fn new(pen: Pen) -> Self {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS));
        Self { board: Board::default(), pen, started: Instant::now(), multi, rows: Vec::new() }
    }

    fn draw(&mut self) {
        if self.board.rows.is_empty() {
            return;
        }
        let pen = Pen { width: self.width(), ..self.pen };
        let lines = layout::lines(&self.board, self.started.elapsed(), &pen);
        while self.rows.len() < lines.len() {
            let style = ProgressStyle::with_template("{msg}").expect("the template is a plain placeholder");
            self.rows.push(self.multi.add(ProgressBar::no_length().with_style(style)));
        }
        for (row, line) in self.rows.iter().zip(lines) {
            if row.message() != line {
                row.set_message(line);
            }
        }
    }

    /// Returns the window's columns; it may have been resized since the start.
    fn width(&self) -> usize {
        match console::Term::stderr().size_checked() {
            Some((_, columns)) if columns > 0 => columns.into(),
            _ => self.pen.width,
        }
    }

    fn say(&self, ink: Ink, symbol: &str, text: &str) {
        for (index, line) in
            words::wrap(&format!("{symbol} {text}"), self.width().saturating_sub(3)).iter().enumerate()
        {
            let line = match line.strip_prefix(symbol) {
                Some(rest) if index == 0 => format!("{}{rest}", self.pen.paint(ink, symbol)),
                _ => format!("  {line}"),
            };
            // Drawing is best effort: a terminal that went away must not stop the run.
            let _ = self.multi.println(line);
        }
    }
}

impl Reporter for Bars {
    fn event(&mut self, event: &Event) {
        self.board.event(event, self.started.elapsed());
        match event {
            Event::Note { text, .. } => self.say(Ink::Accent, "note:", text),
            // What passed is counted in its row; `verify` lists it.
            Event::Checked { check, passed: false, detail, .. } => {
                self.say(Ink::Bad, self.pen.cross(), &format!("{check}: {detail}"));
            }
            // Output is kept for failures, not shown; it can come in thousands of lines.
            Event::Line { .. } => return,
            _ => {}
        }
        self.draw();
    }

    fn tick(&mut self) {
        self.draw();
    }

    fn finish(&mut self) {
        self.draw();
        for row in &self.rows {
            row.abandon();
        }
        if !self.rows.is_empty() {
            // The last row is left without an end of line; what comes next stands apart.
            let _ = console::Term::stderr().write_line("\n");
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // The cursor is hidden while bars are drawn only if somebody asked; showing it twice costs nothing.
        let _ = console::Term::stderr().show_cursor();
    }
}
