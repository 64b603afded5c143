//! Questions before something is changed.

use std::io;

use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;

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
pub fn destroy_warning(lab: &str, machines: &[&str], pen: &Pen) -> Vec<String> {
    let text = match machines {
        [] => format!("This removes what is left of the lab \"{lab}\"; it has no machines."),
        _ => format!(
            "This deletes the lab \"{lab}\" for good: {} with all that is in them, {}.",
            words::count(machines.len(), "machine"),
            machines.join(", ")
        ),
    };
    words::headed("!", &pen.paint(Ink::Warn, "!"), &text, pen.prose_width().saturating_sub(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warning_names_every_machine_in_the_width_there_is() {
        let lines = destroy_warning("lab", &["gateway1", "k8s-master1"], &Pen::plain(50));
        assert!(lines.iter().all(|line| line.len() <= 50), "{lines:?}");
        let text = lines.join(" ");
        assert!(
            text.contains("\"lab\"") && text.contains("gateway1,") && text.contains("k8s-master1."),
            "{text}"
        );
        assert!(destroy_warning("lab", &[], &Pen::plain(80))[0].contains("no machines"));
    }
}
