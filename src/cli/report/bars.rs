//! Live rows on a terminal: the board, redrawn in place; notes scroll above it.

use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::board::Board;
use super::{Reporter, layout};
use crate::cli::terminal::{Ink, Pen};
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
        // The window may have been resized since.
        let width = match console::Term::stderr().size_checked() {
            Some((_, columns)) if columns > 0 => columns.into(),
            _ => self.pen.width,
        };
        let pen = Pen { width, ..self.pen };
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

    fn say(&self, ink: Ink, symbol: &str, text: &str) {
        let line = format!("{} {text}", self.pen.paint(ink, symbol));
        // Drawing is best effort: a terminal that went away must not stop the run.
        let _ = self.multi.println(line);
    }
}

impl Reporter for Bars {
    fn event(&mut self, event: &Event) {
        self.board.event(event, self.started.elapsed());
        match event {
            Event::Note { text, .. } => self.say(Ink::Warn, "!", text),
            Event::Checked { check, passed, detail, .. } => {
                let (ink, symbol) =
                    if *passed { (Ink::Good, self.pen.tick()) } else { (Ink::Bad, self.pen.cross()) };
                self.say(ink, symbol, format!("{check}  {detail}").trim_end());
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
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // The cursor is hidden while bars are drawn only if somebody asked; showing it twice costs nothing.
        let _ = console::Term::stderr().show_cursor();
    }
}
