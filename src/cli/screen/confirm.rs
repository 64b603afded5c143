//! Questions before something is changed.

use std::io;

use crate::cli::terminal::{Ink, Pen};

/// Asks a yes-or-no question on standard error; no answer is no.
pub fn go_on(question: &str) -> io::Result<bool> {
    let answer = dialoguer::Confirm::new().with_prompt(question).default(false).interact();
    answer.map_err(|dialoguer::Error::IO(error)| error)
}

/// Asks for a name to be typed; anything else is no.
pub fn typed(prompt: &str, name: &str) -> io::Result<bool> {
    let answer: Result<String, _> =
        dialoguer::Input::new().with_prompt(prompt).allow_empty(true).interact_text();
    answer.map(|typed| typed.trim() == name).map_err(|dialoguer::Error::IO(error)| error)
}

/// Returns what is said before the lab's name is asked for.
pub fn destroy_warning(lab: &str, machines: &[String], pen: &Pen) -> Vec<String> {
    let mut lines = vec![format!(
        "{} This deletes the lab {} with everything in it:",
        pen.paint(Ink::Warn, "!"),
        pen.paint(Ink::Strong, lab)
    )];
    lines.extend(machines.iter().map(|machine| format!("    {machine}")));
    lines
}
