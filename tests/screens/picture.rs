//! What stands on a terminal's screen once a program has written to it: letters, each in its colour.

use std::num::NonZeroU16;

use regex::Regex;
use vt100::{Cell, Color, Parser};

/// A terminal's screen without the empty lines at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture(Vec<Line>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Line {
    text: String,
    /// The style of each letter.
    styles: Vec<Style>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Style {
    /// One of the sixteen that every terminal has.
    colour: Option<u8>,
    bold: bool,
    dim: bool,
    underline: bool,
}

impl Picture {
    /// Draws what a program wrote to a terminal of this size.
    pub fn of(written: &str, rows: u16, columns: u16) -> Self {
        let size = |length| NonZeroU16::new(length).expect("a terminal has rows and columns");
        let mut terminal = Parser::new(size(rows), size(columns), 0);
        terminal.process(written.as_bytes());
        let screen = terminal.screen();
        let row = |row| (0..columns).filter_map(move |column| screen.cell(row, column));
        let mut lines: Vec<Line> = (0..rows).map(|number| Line::of(row(number))).collect();
        let used = lines.iter().rposition(|line| !line.text.is_empty()).map_or(0, |last| last + 1);
        lines.truncate(used);
        Self(lines)
    }

    /// Puts a word in the place of what a pattern finds, as [`Regex::replace_all`] does, line by line.
    pub fn replace(&mut self, pattern: &Regex, with: &str) {
        self.0.iter_mut().for_each(|line| line.replace(pattern, with));
    }

    /// Takes away what a pattern finds in lines that begin in one of these ways.
    pub fn cut(&mut self, begins: &[&str], pattern: &Regex) {
        let lines = self.0.iter_mut().filter(|line| begins.iter().any(|begin| line.text.starts_with(begin)));
        lines.for_each(|line| line.replace(pattern, ""));
    }

    /// Leaves out the line that begins so, and its continuation, which is indented.
    pub fn leave_out(&mut self, begin: &str) {
        let Some(at) = self.0.iter().position(|line| line.text.starts_with(begin)) else { return };
        let continued = self.0[at + 1..].iter().take_while(|line| line.text.starts_with(' ')).count();
        self.0.drain(at..=at + continued);
    }

    /// Returns the letters alone.
    pub fn bare(&self) -> String {
        self.0.iter().map(|line| format!("{}\n", line.text)).collect()
    }

    /// Returns it as a terminal shows it: `cat` draws it anew.
    pub fn coloured(&self) -> String {
        self.0.iter().map(|line| line.coloured() + "\n").collect()
    }
}

impl Line {
    fn of<'a>(cells: impl Iterator<Item = &'a Cell>) -> Self {
        let mut line = Self::default();
        for cell in cells.filter(|cell| !cell.is_wide_continuation()) {
            line.push(if cell.has_contents() { cell.contents() } else { " " }, Style::of(cell));
        }
        let kept = line.text.trim_end().len();
        line.text.truncate(kept);
        line.styles.truncate(line.text.chars().count());
        line
    }

    fn push(&mut self, text: &str, style: Style) {
        self.text.push_str(text);
        self.styles.extend(text.chars().map(|_| style));
    }

    /// Returns the style of the letter that begins at this byte.
    fn style_at(&self, byte: usize) -> Style {
        self.styles.get(self.text[..byte].chars().count()).copied().unwrap_or_default()
    }

    fn replace(&mut self, pattern: &Regex, with: &str) {
        let (mut replaced, mut at) = (Self::default(), 0);
        for found in pattern.captures_iter(&self.text) {
            let whole = found.get_match();
            let mut words = String::new();
            found.expand(with, &mut words);
            replaced.keep(self, at, whole.start());
            replaced.push(&words, self.style_at(whole.start()));
            at = whole.end();
        }
        replaced.keep(self, at, self.text.len());
        *self = replaced;
    }

    /// Appends part of another line as it is.
    fn keep(&mut self, line: &Self, from: usize, to: usize) {
        for (byte, letter) in line.text[from..to].char_indices() {
            self.push(letter.encode_utf8(&mut [0; 4]), line.style_at(from + byte));
        }
    }

    fn coloured(&self) -> String {
        let (mut text, mut last) = (String::new(), Style::default());
        for (letter, style) in self.text.chars().zip(&self.styles) {
            // The colour of a blank is not seen, unless it is underlined.
            if *style != last && (letter != ' ' || style.underline || last.underline) {
                text.push_str(&style.sequence());
                last = *style;
            }
            text.push(letter);
        }
        if last != Style::default() {
            text.push_str(&Style::default().sequence());
        }
        text
    }
}

impl Style {
    fn of(cell: &Cell) -> Self {
        let colour = match cell.fgcolor() {
            Color::Idx(colour @ 0..16) => Some(colour),
            _ => None,
        };
        Self { colour, bold: cell.bold(), dim: cell.dim(), underline: cell.underline() }
    }

    /// Returns the control sequence that sets it, whatever was set before.
    fn sequence(self) -> String {
        let mut codes = vec![0];
        codes.extend(
            [(self.bold, 1), (self.dim, 2), (self.underline, 4)]
                .into_iter()
                .filter(|(is, _)| *is)
                .map(|(_, code)| code),
        );
        codes.extend(self.colour.map(|colour| if colour < 8 { 30 + colour } else { 82 + colour }));
        let codes: Vec<String> = codes.iter().map(u8::to_string).collect();
        format!("\u{1b}[{}m", codes.join(";"))
    }
}

#[test]
fn the_last_of_what_was_drawn_is_kept_with_its_colours() {
    let written = "old\r\u{1b}[K\u{1b}[1;32m✓\u{1b}[0m done in \u{1b}[2m3.2 s\u{1b}[0m\r\n\r\n";
    let mut picture = Picture::of(written, 5, 20);
    assert_eq!(picture.bare(), "✓ done in 3.2 s\n");
    let coloured = "\u{1b}[0;1;32m✓ \u{1b}[0mdone in \u{1b}[0;2m3.2 s\u{1b}[0m\n";
    assert_eq!(picture.coloured(), coloured);
    assert_eq!(Picture::of(&coloured.replace('\n', "\r\n"), 5, 20).coloured(), coloured, "it draws itself");
    let mut two = Picture::of("disk  1 GiB\r\n      free\r\ncluster  5\r\n", 5, 20);
    two.leave_out("disk  ");
    assert_eq!(two.bare(), "cluster  5\n");
    picture.replace(&Regex::new(r"\d+\.\d s").expect("it is well-formed"), "[TIME]");
    assert_eq!(picture.coloured(), "\u{1b}[0;1;32m✓ \u{1b}[0mdone in \u{1b}[0;2m[TIME]\u{1b}[0m\n");
}
