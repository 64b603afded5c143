//! One question on the terminal: a list to choose from, or a line to type. Escape and Ctrl-C leave.
//!
//! Lists are dialoguer's. Its line of text takes no notice of Escape (`Input::interact_text` of dialoguer 0.12), so that a
//! line is read here, by the same terminal, key by key.

use std::io;

use console::{Key, Term, measure_text_width as width_of};

use crate::cli::terminal::Pen;

/// The room for an answer below which it is typed on a line of its own.
const LEAST_ROOM: usize = 22;
/// What rubs out the whole line on every terminal.
const CTRL_U: char = '\u{15}';

/// Asks to choose one of the items; none for Escape.
pub fn choice(prompt: &str, items: &[String], usual: usize, pen: &Pen) -> io::Result<Option<usize>> {
    // Two columns are the mark's.
    let fitting: Vec<String> = items.iter().map(|item| pen.fit(item, pen.width.saturating_sub(3))).collect();
    let select = dialoguer::Select::new().with_prompt(prompt).items(&fitting).default(usual).report(false);
    let chosen = select.interact_opt().map_err(|dialoguer::Error::IO(error)| error);
    leave_cursor(&chosen);
    chosen
}

/// Asks for a line; an empty one is the usual answer. None for Escape.
pub fn line(prompt: &str, usual: &str, pen: &Pen) -> io::Result<Option<String>> {
    let term = Term::stderr();
    let label = if usual.is_empty() { format!("{prompt}: ") } else { format!("{prompt} [{usual}]: ") };
    let label = match width_of(&label) + LEAST_ROOM <= pen.width {
        true => label,
        false => {
            term.write_line(label.trim_end())?;
            "> ".to_owned()
        }
    };
    let room = pen.width.saturating_sub(width_of(&label) + 1).max(1);
    let mut typed = String::new();
    loop {
        term.clear_line()?;
        term.write_str(&format!("{label}{}", end_of(&typed, room)))?;
        term.flush()?;
        let key = term.read_key();
        match key {
            Ok(Key::Enter) => {
                term.write_line("")?;
                return Ok(Some(if typed.trim().is_empty() { usual.to_owned() } else { typed }));
            }
            Ok(Key::Escape) => {
                term.write_line("")?;
                return Ok(None);
            }
            Ok(Key::Backspace) => drop(typed.pop()),
            Ok(Key::Char(CTRL_U)) => typed.clear(),
            Ok(Key::Char(char)) if !char.is_control() => typed.push(char),
            Ok(_) => {}
            Err(error) => {
                term.write_line("")?;
                return Err(error);
            }
        }
    }
}

/// Asks yes or no, with yes for Enter; none for Escape.
pub fn yes(prompt: &str) -> io::Result<Option<bool>> {
    let confirm = dialoguer::Confirm::new().with_prompt(prompt).default(true);
    let answer = confirm.interact_opt().map_err(|dialoguer::Error::IO(error)| error);
    leave_cursor(&answer);
    answer
}

/// dialoguer hides the cursor, and leaves it so where it is interrupted.
fn leave_cursor<T>(answer: &io::Result<T>) {
    if answer.is_err() {
        // A terminal that is gone needs no cursor.
        let _ = Term::stderr().show_cursor();
    }
}

/// Returns the last characters that fit.
fn end_of(text: &str, room: usize) -> String {
    let count = text.chars().count();
    text.chars().skip(count.saturating_sub(room)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_line_the_end_is_seen() {
        assert_eq!(end_of("10.10.0.0/24", 5), ".0/24");
        assert_eq!(end_of("10", 5), "10");
    }
}
