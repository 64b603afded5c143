//! Live rows on a terminal: the board, redrawn in place; notes scroll above it.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::board::Board;
use super::{Reporter, layout};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::engine::event::Event;
use crate::host::clock;
use crate::stack::judge::Outcome;

/// Redraws in one second at most; more only flickers.
const REDRAWS: u8 = 15;

/// Draws on standard error.
pub struct Bars {
    board: Board,
    pen: Pen,
    started: clock::Instant,
    multi: MultiProgress,
    /// What the rows are drawn on.
    term: Box<dyn TermLike>,
    rows: Vec<ProgressBar>,
    /// What is to be said once the terminal is ours again; none while it is.
    held: Option<Vec<Note>>,
    /// Whether anything was said, which stands apart from the rows.
    has_spoken: bool,
}

/// A line above the rows.
struct Note {
    ink: Ink,
    symbol: &'static str,
    text: String,
}

impl Bars {
    pub fn new(pen: Pen) -> Self {
        Self::on(ProgressDrawTarget::stderr_with_hz(REDRAWS), console::Term::stderr(), pen)
    }

    fn on(target: ProgressDrawTarget, term: impl TermLike + 'static, pen: Pen) -> Self {
        let multi = MultiProgress::with_draw_target(target);
        Self {
            board: Board::default(),
            pen,
            started: clock::monotonic(),
            multi,
            term: Box::new(term),
            rows: Vec::new(),
            held: None,
            has_spoken: false,
        }
    }

    fn draw(&mut self) {
        if self.board.rows.is_empty() || self.held.is_some() {
            return;
        }
        let pen = Pen { width: self.width(), ..self.pen };
        let now = self.started.elapsed();
        self.board.ahead.tick(now);
        let lines = layout::lines(&self.board, now, &pen);
        while self.rows.len() < lines.len() {
            self.rows.push(self.multi.add(ProgressBar::no_length().with_style(style("{msg}"))));
        }
        if let Some(first) = self.rows.first().filter(|_| self.has_spoken) {
            first.set_style(style("\n{msg}"));
        }
        for (row, line) in self.rows.iter().zip(lines) {
            if row.message() != line {
                row.set_message(line);
            }
        }
        // The cursor is left behind the last column: there the `^C` that a terminal shows of a key would take it to the next
        // line, and each row would be drawn a line too low. Drawing is best effort.
        let _ = self.term.write_str("\r");
    }

    /// Returns the window's columns; it may have been resized since the start.
    fn width(&self) -> usize {
        match console::Term::stderr().size_checked() {
            Some((_, columns)) if columns > 0 => columns.into(),
            _ => self.pen.width,
        }
    }

    fn say(&mut self, note: Note) {
        if let Some(held) = &mut self.held {
            held.push(note);
            return;
        }
        self.has_spoken = true;
        let Note { ink, symbol, text } = note;
        let painted = self.pen.paint(ink, symbol);
        for line in words::headed(symbol, &painted, &text, self.width().saturating_sub(3)) {
            // Drawing is best effort: a terminal that went away must not stop the run.
            let _ = self.multi.println(line);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a plain placeholder")
}

impl Reporter for Bars {
    fn event(&mut self, event: &Event) {
        self.board.event(event, self.started.elapsed());
        match event {
            Event::Note { text, .. } => {
                self.say(Note { ink: Ink::Accent, symbol: "note:", text: text.clone() });
            }
            // What passed is counted in its row; `verify` lists it.
            Event::Checked(proven) if proven.outcome == Outcome::Failed => {
                let text = format!("{}: {}", proven.check, proven.detail);
                self.say(Note { ink: Ink::Bad, symbol: self.pen.cross(), text });
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

    fn suspend(&mut self) {
        self.held.get_or_insert_default();
        for row in self.rows.drain(..) {
            row.finish_and_clear();
            self.multi.remove(&row);
        }
        // Drawing is best effort; so is undoing it.
        let _ = self.multi.clear();
    }

    fn resume(&mut self) {
        for note in self.held.take().unwrap_or_default() {
            self.say(note);
        }
        self.draw();
    }

    fn finish(&mut self) {
        self.resume();
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::super::examples::{plan, start};
    use super::*;

    const WIDTH: usize = 80;

    /// A terminal that keeps what stands on it.
    #[derive(Clone, Debug, Default)]
    struct Paper(Arc<Mutex<Grid>>);

    #[derive(Debug, Default)]
    struct Grid {
        lines: Vec<Vec<char>>,
        row: usize,
        column: usize,
    }

    impl Grid {
        fn put(&mut self, character: char) {
            // As terminals do, the next line begins only with the character that has no room.
            if character == '\n' || (self.column == WIDTH && character != '\r') {
                (self.row, self.column) = (self.row + 1, 0);
            }
            match character {
                '\n' => {}
                '\r' => self.column = 0,
                _ => {
                    let line = self.line();
                    line.resize(line.len().max(WIDTH), ' ');
                    let column = self.column;
                    self.line()[column] = character;
                    self.column += 1;
                }
            }
        }

        fn line(&mut self) -> &mut Vec<char> {
            self.lines.resize(self.lines.len().max(self.row + 1), Vec::new());
            &mut self.lines[self.row]
        }
    }

    impl Paper {
        fn lines(&self) -> Vec<String> {
            let grid = self.0.lock().unwrap();
            let lines = grid.lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned());
            lines.filter(|line| !line.is_empty()).collect()
        }

        fn edit(&self, change: impl FnOnce(&mut Grid)) -> io::Result<()> {
            change(&mut self.0.lock().unwrap());
            Ok(())
        }
    }

    impl TermLike for Paper {
        fn width(&self) -> u16 {
            WIDTH as u16
        }

        fn move_cursor_up(&self, n: usize) -> io::Result<()> {
            self.edit(|grid| grid.row = grid.row.saturating_sub(n))
        }

        fn move_cursor_down(&self, n: usize) -> io::Result<()> {
            self.edit(|grid| grid.row += n)
        }

        fn move_cursor_right(&self, n: usize) -> io::Result<()> {
            self.edit(|grid| grid.column = (grid.column + n).min(WIDTH))
        }

        fn move_cursor_left(&self, n: usize) -> io::Result<()> {
            self.edit(|grid| grid.column = grid.column.saturating_sub(n))
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)?;
            self.write_str("\n")
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.edit(|grid| {
                console::strip_ansi_codes(text).chars().for_each(|character| grid.put(character))
            })
        }

        fn clear_line(&self) -> io::Result<()> {
            self.edit(|grid| {
                grid.line().clear();
                grid.column = 0;
            })
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn bars(paper: &Paper) -> Bars {
        // As fast as possible, so that nothing is left out for having come too soon.
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(paper.clone()), u8::MAX);
        Bars::on(target, paper.clone(), Pen::plain(WIDTH))
    }

    #[test]
    fn a_key_that_the_terminal_shows_moves_no_row() {
        let paper = Paper::default();
        let mut bars = bars(&paper);
        bars.event(&plan());
        bars.event(&start("network.apply"));
        bars.tick();
        paper.write_str("^C").unwrap();
        bars.event(&Event::Note { step: None, text: "stopping".to_owned() });
        bars.finish();
        let lines = paper.lines();
        assert_eq!(lines[0], "note: stopping");
        assert_eq!(lines.iter().filter(|line| line.contains("Clone")).count(), 1, "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("^C")), "{lines:#?}");
    }

    #[test]
    fn while_the_terminal_is_anothers_nothing_stands_on_it_and_nothing_is_lost() {
        let paper = Paper::default();
        let mut bars = bars(&paper);
        let note = |text: &str| Event::Note { step: None, text: text.to_owned() };
        bars.event(&plan());
        bars.event(&start("network.apply"));
        bars.tick();
        assert!(paper.lines().iter().any(|line| line.contains("gateway1")), "{:?}", paper.lines());
        bars.suspend();
        assert_eq!(paper.lines(), [""; 0]);
        bars.event(&note("said meanwhile"));
        bars.tick();
        assert_eq!(paper.lines(), [""; 0]);
        bars.resume();
        bars.finish();
        let lines = paper.lines();
        assert_eq!(lines[0], "note: said meanwhile");
        assert!(lines.iter().any(|line| line.contains("gateway1")), "{lines:?}");
    }
}
