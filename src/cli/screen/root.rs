//! What is said before `sudo` asks for a password: what will change, and which command will do it.

use std::ffi::OsString;
use std::path::Path;

use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::formats::command::Command;
use crate::plan::step::Plan;

/// Returns the change to Fusion's networking file that a plan makes; none if it makes none.
pub fn change(plan: &Plan) -> Option<&str> {
    plan.steps.iter().find_map(|step| step.action.of_networks()).map(|(diff, _)| diff)
}

/// Returns what is said of the root step: the file, the change unless it was shown already, the command.
pub fn lines(file: &Path, diff: Option<&str>, command: &[OsString], pen: &Pen) -> Vec<String> {
    let words_of = |text: &str| words::wrap(text, pen.prose_width().saturating_sub(2));
    let what = format!("One step needs root: it replaces {} and restarts Fusion's networks.", file.display());
    let mut lines = Vec::new();
    for (index, line) in words_of(&what).iter().enumerate() {
        let sign = if index == 0 { pen.paint(Ink::Warn, "!") } else { " ".to_owned() };
        lines.push(format!("{sign} {line}"));
    }
    lines.extend(diff.unwrap_or_default().lines().map(|line| format!("      {}", pen.paint(Ink::Dim, line))));
    let how = "The command is this one; it checks the change again before it makes it:";
    lines.extend(words_of(how).iter().map(|line| format!("  {line}")));
    let command = Command::new(command.iter().map(|word| word.to_string_lossy().into_owned())).shell_line();
    lines.push(format!("    {}", pen.paint(Ink::Accent, &command)));
    lines.push(String::new());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_the_change_and_the_command_are_named() {
        let command = ["/usr/bin/sudo", "/opt/fusion lab", "network"].map(OsString::from);
        let file = Path::new("/Library/Preferences/VMware Fusion/networking");
        let text = lines(file, Some("+answer VNET_2_NAT yes"), &command, &Pen::plain(100)).join("\n");
        assert_eq!(
            text,
            "! One step needs root: it replaces /Library/Preferences/VMware Fusion/networking and restarts
  Fusion's networks.
      +answer VNET_2_NAT yes
  The command is this one; it checks the change again before it makes it:
    /usr/bin/sudo '/opt/fusion lab' network\n"
        );
    }
}
