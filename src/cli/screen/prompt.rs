//! One question on the terminal: a list to choose from, or a line to type. Escape and Ctrl-C leave.
//!
//! Lists are dialoguer's. Its line of text takes no notice of Escape (`Input::interact_text` of dialoguer 0.12), so that a
//! line is read here, by the same terminal, key by key. Where lines cannot be redrawn (TERM=dumb, as with many screen
//! readers), a list is numbered, and each answer is a line that the terminal itself reads.
//!
//! A question that is interrupted ends as it stands, and writes no more: who asked may have gone on already, and leaves the
//! terminal in order (`Context::answered`).

use std::io::{self, BufRead};

use console::{Key, Term, measure_text_width as width_of};

use crate::cli::terminal::{Pen, Terminal};
use crate::cli::words;

/// The room for an answer below which it is typed on a line of its own.
const LEAST_ROOM: usize = 22;
/// What rubs out the whole line on every terminal, and what ends all input.
const CTRL_U: char = '\u{15}';
const CTRL_D: char = '\u{4}';

/// Asks to choose one of the items, and leaves none of them on the screen; none for Escape. `prompt` is for terminals that
/// take a number.
pub fn choice(
    prompt: &str,
    items: &[String],
    usual: usize,
    terminal: &Terminal,
) -> io::Result<Option<usize>> {
    if !terminal.live {
        return number(prompt, items, usual, terminal);
    }
    let pen = &terminal.err;
    // Two columns are the mark's.
    let fitting: Vec<String> = items.iter().map(|item| pen.fit(item, pen.width.saturating_sub(3))).collect();
    let select = dialoguer::Select::new().items(&fitting).default(usual).report(false);
    select.interact_opt().map_err(|dialoguer::Error::IO(error)| error)
}

/// Asks for the number of one of the items, until it is one.
fn number(prompt: &str, items: &[String], usual: usize, terminal: &Terminal) -> io::Result<Option<usize>> {
    let term = Term::stderr();
    for (index, item) in items.iter().enumerate() {
        term.write_line(&format!("{}) {item}", index + 1))?;
    }
    loop {
        let Some(typed) = line(prompt, &(usual + 1).to_string(), terminal)? else { return Ok(None) };
        match typed.trim().parse::<usize>() {
            Ok(number) if (1..=items.len()).contains(&number) => return Ok(Some(number - 1)),
            _ => term.write_line(&format!("say a number from 1 to {}", items.len()))?,
        }
    }
}

/// Asks for a line; an empty one is the usual answer, which Tab puts into the line to be changed. None for Escape. What was
/// answered is the caller's to show: the question itself goes away.
pub fn line(prompt: &str, usual: &str, terminal: &Terminal) -> io::Result<Option<String>> {
    let (term, pen) = (Term::stderr(), &terminal.err);
    let (above, label) = label(prompt, usual, pen);
    for line in &above {
        term.write_line(line)?;
    }
    let typed = match terminal.live {
        true => keys(&term, &label, usual, pen.width)?,
        false => whole_line(&term, &label)?,
    };
    if terminal.live && typed.is_some() {
        term.clear_last_lines(above.len())?;
    }
    Ok(typed.map(|typed| if typed.trim().is_empty() { usual.to_owned() } else { typed }))
}

/// Returns what stands before the answer: lines of its own where there is too little room beside it, and the rest.
fn label(prompt: &str, usual: &str, pen: &Pen) -> (Vec<String>, String) {
    let label = if usual.is_empty() { format!("{prompt}:") } else { format!("{prompt} [{usual}]:") };
    match width_of(&label) + 1 + LEAST_ROOM <= pen.width {
        true => (Vec::new(), format!("{label} ")),
        false => (words::wrap(&label, pen.width), "> ".to_owned()),
    }
}

/// Reads a line key by key; none for Escape.
fn keys(term: &Term, label: &str, usual: &str, width: usize) -> io::Result<Option<String>> {
    let room = width.saturating_sub(width_of(label) + 1).max(1);
    let mut typed = String::new();
    loop {
        term.clear_line()?;
        term.write_str(&format!("{label}{}", end_of(&typed, room)))?;
        term.flush()?;
        match term.read_key() {
            Ok(Key::Enter) => {
                term.clear_line()?;
                return Ok(Some(typed));
            }
            Ok(Key::Escape) => break,
            Ok(Key::Char(CTRL_D)) if typed.is_empty() => break,
            Ok(Key::Tab) if typed.is_empty() => usual.clone_into(&mut typed),
            Ok(Key::Backspace) => drop(typed.pop()),
            Ok(Key::Char(CTRL_U)) => typed.clear(),
            Ok(Key::Char(char)) if !char.is_control() => typed.push(char),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
    term.write_line("")?;
    Ok(None)
}

/// Lets the terminal read a line; none at the end of input.
fn whole_line(term: &Term, label: &str) -> io::Result<Option<String>> {
    term.write_str(label)?;
    term.flush()?;
    let mut typed = String::new();
    let count = io::stdin().lock().read_line(&mut typed)?;
    Ok((count > 0).then(|| typed.trim_end_matches('\n').to_owned()))
}

/// Asks yes or no, with yes for Enter; none for Escape.
pub fn yes(prompt: &str, terminal: &Terminal) -> io::Result<Option<bool>> {
    if !terminal.live {
        let answer = line(prompt, "yes", terminal)?;
        return Ok(answer.map(|answer| ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())));
    }
    let confirm = dialoguer::Confirm::new().with_prompt(prompt).default(true);
    confirm.interact_opt().map_err(|dialoguer::Error::IO(error)| error)
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

    #[test]
    fn an_answer_has_room_beside_its_label_or_below_it() {
        let usual = "192.168.68.56,192.168.68.57";
        let wide = label("Addresses", usual, &Pen::plain(80));
        assert_eq!(wide, (Vec::new(), format!("Addresses [{usual}]: ")));
        let (above, beside) = label("Addresses", usual, &Pen::plain(38));
        assert_eq!((above, beside.as_str()), (vec!["Addresses".to_owned(), format!("[{usual}]:")], "> "));
        assert_eq!(label("Subnet", "", &Pen::plain(40)).1, "Subnet: ");
    }
}
