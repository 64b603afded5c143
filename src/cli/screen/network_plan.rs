//! A change of Fusion's networks on screen: the file, the lines that change, what restarts for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::plan;
use crate::cli::calls::NetworkVerb;
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::engine::verbs::Outlook;
use crate::formats::networking::{Document, Remark, Scope};
use crate::plan::step::{Action, Step};
use crate::plan::survey::NetworkSeen;

/// Columns before the lines that change.
const INDENT: usize = 2;

/// What is shown of a change.
pub struct Change<'a> {
    file: PathBuf,
    vmnet: u8,
    /// None if nothing is to be done.
    pub step: Option<&'a Step>,
    /// What is said then.
    nothing: &'static str,
    diff: &'a str,
    scope: Scope,
    /// Worth telling of the file as it is.
    pub remarks: Vec<Remark>,
}

impl<'a> Change<'a> {
    /// Takes the change out of a plan that has only the networks' step.
    pub fn of(outlook: &'a Outlook, file: &Path, vmnet: u8, verb: NetworkVerb<'_>) -> Self {
        let step = outlook.plan.steps.first();
        let (diff, scope) = step.and_then(|step| step.action.of_networks()).unwrap_or(("", Scope::Nothing));
        let document = outlook.facts.networking.as_deref().and_then(|bytes| Document::parse(bytes).ok());
        let remarks = document.map(|document| document.remarks()).unwrap_or_default();
        let nothing = match verb {
            NetworkVerb::Apply => "Nothing to do: Fusion's networks are what the lab needs.",
            NetworkVerb::Undo => "Nothing to do: Fusion's networking file has no lines of the lab's.",
            NetworkVerb::PutBack(_) => "Nothing to do: Fusion's networking file is what the backup has.",
        };
        Self { file: file.to_owned(), vmnet, step, nothing, diff, scope, remarks }
    }

    /// Returns the JSON form; null if nothing is to be done.
    pub fn json(&self) -> Value {
        self.step.map_or(
            Value::Null,
            |step| json!({ "text": step.text, "why": step.why, "scope": self.scope, "diff": self.diff }),
        )
    }
}

/// Returns the change as a reader understands it at once.
pub fn lines(change: &Change<'_>, pen: &Pen) -> Vec<String> {
    let mut lines = Vec::new();
    let Some(step) = change.step else {
        lines.extend(words::wrap(change.nothing, pen.prose_width()));
        lines.extend(remarks(change, pen));
        return lines;
    };
    lines.extend(words::wrap(&capital(&step.text), pen.prose_width()));
    lines.extend(
        words::wrap(&format!("({})", step.why), pen.prose_width())
            .iter()
            .map(|line| pen.paint(Ink::Dim, line)),
    );
    lines.push(String::new());
    if !change.diff.is_empty() {
        lines.push(pen.paint(Ink::Strong, &change.file.display().to_string()));
        // The file was just named; the two lines of the diff that name it again are left out.
        let changed = change.diff.lines().skip_while(|line| !line.starts_with('@'));
        lines.extend(changed.map(|line| plan::changed(line, INDENT, pen)));
        lines.push(String::new());
    }
    let restarts = restarts(change.scope, change.vmnet);
    let warning = match step.action {
        Action::PutBackNetwork { .. } => " Whatever was changed in it since that backup is lost.",
        _ => "",
    };
    lines.extend(words::wrap(&format!("{restarts}{warning}"), pen.prose_width()));
    lines.extend(remarks(change, pen));
    lines
}

/// Returns in a sentence what restarts for a change.
pub fn restarts(scope: Scope, vmnet: u8) -> String {
    match scope {
        Scope::Nothing => "The file stays as it is; Fusion's networks are started.".to_owned(),
        Scope::Text => "Nothing restarts: no service reads what changes.".to_owned(),
        Scope::Reservations => format!("Only the DHCP service of vmnet{vmnet} restarts."),
        Scope::Networks => {
            "All of Fusion's networks restart: machines on them are cut off for some seconds.".to_owned()
        }
    }
}

fn remarks(change: &Change<'_>, pen: &Pen) -> Vec<String> {
    const LABEL: &str = "note:";
    let remark = |remark: &Remark| {
        // Line 0 is the file as a whole.
        let place = if remark.line == 0 { String::new() } else { format!(" line {}:", remark.line) };
        let text = format!("{LABEL}{place} {}", remark.text);
        let wrapped = words::wrap(&text, pen.prose_width().saturating_sub(LABEL.len() + 1));
        let shown = wrapped.iter().map(|line| match line.strip_prefix(LABEL) {
            Some(rest) => format!("{}{rest}", pen.paint(Ink::Accent, LABEL)),
            None => format!("{}{line}", " ".repeat(LABEL.len() + 1)),
        });
        shown.collect::<Vec<_>>()
    };
    change.remarks.iter().flat_map(remark).collect()
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Returns what was seen of the lab's network after a change.
pub fn stands(seen: Option<&NetworkSeen>, vmnet: u8, pen: &Pen) -> Vec<String> {
    let Some(seen) = seen.filter(|seen| seen.vmnet.exists) else {
        return vec![format!("{} there is no vmnet{vmnet}", pen.paint(Ink::Bad, pen.cross()))];
    };
    let running: Vec<&str> = seen.services.iter().filter(|(_, runs)| *runs).map(|(name, _)| *name).collect();
    let subnet = seen.vmnet.subnet.map(|subnet| format!(" {subnet}")).unwrap_or_default();
    let runs = match running.as_slice() {
        [] => "no service runs".to_owned(),
        [one] => format!("{one} runs"),
        more => format!("{} run", more.join(" and ")),
    };
    let text =
        format!("vmnet{vmnet}{subnet}: {runs}, {}", words::count(seen.reservations.len(), "reservation"));
    ticked(&text, pen)
}

/// Returns what is said once the file is what it was.
pub fn is_back(backup: Option<&str>, took: Duration, pen: &Pen) -> Vec<String> {
    let what = match backup {
        Some(_) => "Fusion's networking file is the backup's",
        None => "the lab's lines are out of Fusion's networking file",
    };
    ticked(&format!("{what}, in {}", words::duration(took)), pen)
}

/// Returns a sentence behind a tick; what does not fit goes on below its first word.
fn ticked(text: &str, pen: &Pen) -> Vec<String> {
    words::marked(&pen.paint(Ink::Good, pen.tick()), text, pen.prose_width().saturating_sub(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::networking::Vmnet;

    fn step(diff: &str, scope: Scope) -> Step {
        let action = Action::ApplyNetwork { diff: diff.to_owned(), scope };
        Step::new(action, "set up vmnet2 10.10.0.0/24", "it is not there")
    }

    fn change<'a>(step: Option<&'a Step>) -> Change<'a> {
        let (diff, scope) = step.and_then(|step| step.action.of_networks()).unwrap_or(("", Scope::Nothing));
        let text = "is a comment, which Fusion may drop".to_owned();
        let remarks = vec![Remark { line: 3, text }];
        let nothing = "Nothing to do: all is well.";
        Change { file: "/Library/networking".into(), vmnet: 2, step, nothing, diff, scope, remarks }
    }

    #[test]
    fn the_file_its_lines_and_what_restarts_are_told() {
        let step = step(
            "--- networking\n+++ networking\n@@ -1 +1,2 @@\n VERSION=1,0\n+answer VNET_2_NAT yes\n",
            Scope::Networks,
        );
        assert_eq!(
            lines(&change(Some(&step)), &Pen::plain(80)),
            [
                "Set up vmnet2 10.10.0.0/24",
                "(it is not there)",
                "",
                "/Library/networking",
                "  @@ -1 +1,2 @@",
                "   VERSION=1,0",
                "  +answer VNET_2_NAT yes",
                "",
                "All of Fusion's networks restart: machines on them are cut off for some seconds.",
                "note: line 3: is a comment, which Fusion may drop",
            ]
        );
    }

    #[test]
    fn nothing_to_do_is_said_and_remarks_stay() {
        assert_eq!(
            lines(&change(None), &Pen::plain(40)),
            ["Nothing to do: all is well.", "note: line 3: is a comment, which", "      Fusion may drop",]
        );
        assert_eq!(change(None).json(), Value::Null);
    }

    #[test]
    fn a_start_alone_shows_no_file() {
        let step = step("", Scope::Nothing);
        let lines = lines(&change(Some(&step)), &Pen::plain(80));
        assert_eq!(lines[3], "The file stays as it is; Fusion's networks are started.");
    }

    #[test]
    fn what_stands_is_what_was_seen() {
        let vmnet = Vmnet {
            number: 2,
            exists: true,
            subnet: Some("10.10.0.0/24".parse().unwrap()),
            ..Vmnet::default()
        };
        let mut seen =
            NetworkSeen { vmnet, services: vec![("DHCP", true), ("NAT", true)], ..NetworkSeen::default() };
        let told = |seen: &NetworkSeen| stands(Some(seen), 2, &Pen::plain(80)).remove(0);
        assert_eq!(told(&seen), "✓ vmnet2 10.10.0.0/24: DHCP and NAT run, 0 reservations");
        seen.services[1].1 = false;
        assert_eq!(told(&seen), "✓ vmnet2 10.10.0.0/24: DHCP runs, 0 reservations");
        assert_eq!(stands(None, 2, &Pen::plain(80)), ["✗ there is no vmnet2"]);
    }
}
