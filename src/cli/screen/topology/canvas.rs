//! A sheet of characters that is drawn on in any order and then told as lines.

use crate::cli::terminal::{Ink, Pen};

/// A character and its colour.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Spot {
    sign: char,
    ink: Option<Ink>,
}

const EMPTY: Spot = Spot { sign: ' ', ink: None };

/// A rectangle of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    pub left: usize,
    pub top: usize,
    pub width: usize,
    pub height: usize,
}

/// A sheet that grows downwards.
pub struct Canvas {
    width: usize,
    rows: Vec<Vec<Spot>>,
}

impl Canvas {
    pub fn new(width: usize) -> Self {
        Self { width, rows: Vec::new() }
    }

    /// Writes a text. What does not fit on the sheet is left out.
    pub fn text(&mut self, left: usize, top: usize, text: &str, ink: Option<Ink>) {
        for (at, sign) in text.chars().enumerate() {
            self.spot(left + at, top, sign, ink);
        }
    }

    /// Draws a frame with round corners.
    pub fn frame(&mut self, area: Area, ink: Option<Ink>) {
        let Area { left, top, width, height } = area;
        let (right, bottom) = (left + width - 1, top + height - 1);
        self.across(left, right, top, ink);
        self.across(left, right, bottom, ink);
        self.down(left, top, bottom, ink);
        self.down(right, top, bottom, ink);
        for (at, line, sign) in
            [(left, top, '╭'), (right, top, '╮'), (left, bottom, '╰'), (right, bottom, '╯')]
        {
            self.spot(at, line, sign, ink);
        }
    }

    pub fn across(&mut self, left: usize, right: usize, top: usize, ink: Option<Ink>) {
        (left..=right).for_each(|at| self.spot(at, top, '─', ink));
    }

    pub fn down(&mut self, left: usize, top: usize, bottom: usize, ink: Option<Ink>) {
        (top..=bottom).for_each(|line| self.spot(left, line, '│', ink));
    }

    pub fn spot(&mut self, left: usize, top: usize, sign: char, ink: Option<Ink>) {
        while self.rows.len() <= top {
            self.rows.push(vec![EMPTY; self.width]);
        }
        if let Some(spot) = self.rows[top].get_mut(left) {
            *spot = Spot { sign, ink };
        }
    }

    /// Empties a rectangle, whatever was drawn there.
    pub fn clear(&mut self, area: Area) {
        for top in area.top..area.top + area.height {
            self.text(area.left, top, &" ".repeat(area.width), None);
        }
    }

    /// Returns the sheet's lines, without spaces at their ends.
    pub fn lines(&self, pen: &Pen) -> Vec<String> {
        self.rows.iter().map(|row| line(row, pen)).collect()
    }
}

fn line(row: &[Spot], pen: &Pen) -> String {
    let end = row.iter().rposition(|spot| *spot != EMPTY).map_or(0, |last| last + 1);
    let mut line = String::new();
    for run in row[..end].chunk_by(|one, other| one.ink == other.ink) {
        let text: String =
            run.iter().map(|spot| if pen.unicode { spot.sign } else { plain(spot.sign) }).collect();
        match run[0].ink {
            Some(ink) => line.push_str(&pen.paint(ink, &text)),
            None => line.push_str(&text),
        }
    }
    line
}

/// Returns a sign that every terminal has.
fn plain(sign: char) -> char {
    match sign {
        '─' => '-',
        '│' => '|',
        '▶' => '>',
        '●' => '*',
        '○' => 'o',
        sign if sign.is_ascii() => sign,
        _ => '+',
    }
}
