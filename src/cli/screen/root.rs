//! What is said before `sudo` asks for a password: what will change, what restarts, and which command will do it.

use std::ffi::OsString;
use std::path::Path;

use super::{network_plan, plan};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::formats::command::Command;
use crate::formats::networking::Scope;
use crate::plan::step::{Action, Plan};

/// Columns before the lines that change.
const INDENT: usize = 6;

/// The change of Fusion's networks that a plan makes.
pub struct RootChange<'a> {
    diff: &'a str,
    scope: Scope,
    /// Whether it puts a whole file back.
    pub whole: bool,
}

impl<'a> RootChange<'a> {
    /// Takes the change out of a plan; none if it makes none.
    pub fn of(plan: &'a Plan) -> Option<Self> {
        plan.steps.iter().find_map(|step| {
            let (diff, scope) = step.action.of_networks()?;
            Some(Self { diff, scope, whole: matches!(step.action, Action::PutBackNetwork { .. }) })
        })
    }
}

/// Returns what is said of the root step: the file, the change unless it was shown already, what restarts, the command.
pub fn lines(
    file: &Path,
    vmnet: u8,
    change: &RootChange<'_>,
    shown: bool,
    command: &[OsString],
    pen: &Pen,
) -> Vec<String> {
    let width = pen.prose_width().saturating_sub(2);
    let words_of = |text: &str| words::wrap(text, width);
    let what = if change.diff.is_empty() {
        "One step needs root: it starts Fusion's networks.".to_owned()
    } else {
        format!("One step needs root: it replaces {}.", file.display())
    };
    let mut lines = words::marked(&pen.paint(Ink::Warn, "!"), &what, width);
    if !shown {
        lines.extend(change.diff.lines().map(|line| plan::changed(line, INDENT, pen)));
        let restarts = network_plan::restarts(change.scope, vmnet);
        lines.extend(words_of(&restarts).iter().map(|line| format!("  {line}")));
    }
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

    fn said(diff: &str, scope: Scope, shown: bool) -> String {
        let command = ["/usr/bin/sudo", "/opt/fusion lab", "network"].map(OsString::from);
        let file = Path::new("/Library/Preferences/VMware Fusion/networking");
        let change = RootChange { diff, scope, whole: false };
        lines(file, 2, &change, shown, &command, &Pen::plain(100)).join("\n")
    }

    #[test]
    fn the_file_the_change_what_restarts_and_the_command_are_named() {
        assert_eq!(
            said("+answer VNET_2_NAT yes", Scope::Networks, false),
            "! One step needs root: it replaces /Library/Preferences/VMware Fusion/networking.
      +answer VNET_2_NAT yes
  All of Fusion's networks restart: machines on them are cut off for some seconds.
  The command is this one; it checks the change again before it makes it:
    /usr/bin/sudo '/opt/fusion lab' network\n"
        );
    }

    #[test]
    fn what_was_shown_is_not_said_again() {
        let said = said("+answer VNET_2_NAT yes", Scope::Reservations, true);
        assert!(!said.contains("VNET_2") && !said.contains("restarts"), "{said}");
    }

    #[test]
    fn a_start_alone_replaces_nothing() {
        assert!(self::said("", Scope::Nothing, true).starts_with("! One step needs root: it starts"));
    }
}
