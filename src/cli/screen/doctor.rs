//! The doctor's findings: one line for each check, and what to do about those that are not well.

use std::path::PathBuf;

use console::measure_text_width as width_of;
use serde_json::{Value, json};

use crate::cli::error::Fix;
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::formats::command::quote;
use crate::host::fusion::Fusion;
use crate::plan::health::{Check, Remedy, State};

/// Columns of `✓ `.
const INDENT: usize = 2;
/// Between a check and what was seen.
const GAP: usize = 2;
/// What was seen stands below its check if it would have fewer columns than this beside it.
const LEAST_WIDTH: usize = 28;

/// Checks that belong together.
pub struct Group {
    pub title: &'static str,
    pub checks: Vec<Check>,
}

/// What remedies need to know to be worded.
pub struct Place<'a> {
    /// None if there is none.
    pub fusion: Option<&'a Fusion>,
    /// Our own options, for commands that are to find the same lab and Fusion.
    pub options: &'a str,
}

/// Returns every group's checks with what was seen, aligned, and below those that are not well what to do.
pub fn lines(groups: &[Group], place: &Place<'_>, pen: &Pen) -> Vec<String> {
    let checks = || groups.iter().flat_map(|group| &group.checks);
    let column = INDENT + GAP + checks().map(|check| width_of(&check.title)).max().unwrap_or(0);
    let mut lines = Vec::new();
    for group in groups {
        lines.push(pen.paint(Ink::Strong, group.title));
        for check in &group.checks {
            lines.extend(check_lines(check, column, pen));
            lines.extend(
                check.fix.iter().flat_map(|remedy| fix(remedy, place)).flat_map(|fix| fix_lines(&fix, pen)),
            );
        }
        lines.push(String::new());
    }
    lines.push(total(&counts(groups), pen));
    lines
}

/// Returns a headed list of what `--fix` will do, or has done.
pub fn repairs(heading: &str, repairs: &[String], pen: &Pen) -> Vec<String> {
    let width = pen.width.saturating_sub(2 * INDENT);
    let sign = if pen.unicode { "•" } else { "-" };
    let item = |text: &String| words::marked(sign, text, width).into_iter().map(|line| format!("  {line}"));
    std::iter::once(pen.paint(Ink::Strong, heading)).chain(repairs.iter().flat_map(item)).collect()
}

/// Returns the JSON form of the same.
pub fn json(groups: &[Group], place: &Place<'_>) -> Vec<Value> {
    let check = |group: &str, check: &Check| {
        json!({
            "group": group,
            "id": check.id,
            "title": check.title,
            "state": check.state,
            "detail": check.detail,
            "fix": check.fix.iter().flat_map(|remedy| fix(remedy, place)).collect::<Vec<_>>(),
        })
    };
    groups.iter().flat_map(|group| group.checks.iter().map(|one| check(group.title, one))).collect()
}

/// How many checks ended in each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub all: usize,
    /// What this system does not tell: neither passed nor failed.
    pub unknown: usize,
    pub warned: usize,
    pub failed: usize,
}

pub fn counts(groups: &[Group]) -> Counts {
    let mut counts = Counts::default();
    for check in groups.iter().flat_map(|group| &group.checks) {
        counts.all += 1;
        match check.state {
            State::Ok => {}
            State::Unknown => counts.unknown += 1,
            State::Warn => counts.warned += 1,
            State::Fail => counts.failed += 1,
        }
    }
    counts
}

fn total(counts: &Counts, pen: &Pen) -> String {
    let all = words::count(counts.all, "check");
    let warned = words::count(counts.warned, "warning");
    let passed = words::count(counts.all - counts.unknown, "check");
    let unknown = if counts.unknown == 0 { String::new() } else { format!(", {} unknown", counts.unknown) };
    match (counts.failed, counts.warned) {
        (0, 0) => pen.paint(Ink::Good, &format!("{passed} passed{unknown}")),
        (0, _) => pen.paint(Ink::Warn, &format!("{all}, none failed, {warned}{unknown}")),
        (failed, 0) => pen.paint(Ink::Bad, &format!("{failed} of {all} failed{unknown}")),
        (failed, _) => pen.paint(Ink::Bad, &format!("{failed} of {all} failed, {warned}{unknown}")),
    }
}

/// Returns a check with what was seen beside it, or below it where there is no room.
fn check_lines(check: &Check, column: usize, pen: &Pen) -> Vec<String> {
    let (ink, symbol) = match check.state {
        State::Ok => (Ink::Good, pen.tick()),
        State::Unknown => (Ink::Dim, "?"),
        State::Warn => (Ink::Warn, "!"),
        State::Fail => (Ink::Bad, pen.cross()),
    };
    let seen = |text: &str| pen.paint(if check.state == State::Ok { Ink::Dim } else { ink }, text);
    let beside = pen.width.saturating_sub(column);
    let head = format!("{} {}", pen.paint(ink, symbol), check.title);
    if beside >= LEAST_WIDTH {
        let space = " ".repeat(column - INDENT - width_of(&check.title));
        let detail = words::wrap(&check.detail, beside);
        let begin = |index| if index == 0 { format!("{head}{space}") } else { " ".repeat(column) };
        return detail
            .iter()
            .enumerate()
            .map(|(index, line)| format!("{}{}", begin(index), seen(line)))
            .collect();
    }
    if INDENT + width_of(&check.title) + GAP + width_of(&check.detail) <= pen.width {
        return vec![format!("{head}{}{}", " ".repeat(GAP), seen(&check.detail))];
    }
    let inner = 2 * INDENT;
    let room = |indent: usize| pen.width.saturating_sub(indent).max(LEAST_WIDTH);
    let titles = words::marked(&pen.paint(ink, symbol), &check.title, room(INDENT));
    let details = words::wrap(&check.detail, room(inner));
    let details = details.iter().map(|line| format!("{}{}", " ".repeat(inner), seen(line)));
    titles.into_iter().chain(details).collect()
}

fn fix_lines(fix: &Fix, pen: &Pen) -> Vec<String> {
    const ARROW: usize = 2;
    let indent = " ".repeat(2 * INDENT);
    match fix {
        Fix::Say(text) => {
            let width = pen.width.saturating_sub(indent.len() + ARROW).max(LEAST_WIDTH);
            let sign = if pen.unicode { "→" } else { ">" };
            let lines = words::marked(&pen.paint(Ink::Dim, sign), text, width);
            lines.iter().map(|line| format!("{indent}{line}")).collect()
        }
        // A command stays on one line, so that it can be copied.
        Fix::Run(command) => vec![format!("{indent}  {}", pen.paint(Ink::Accent, command))],
    }
}

/// Returns a remedy in words, and the command for it if there is one.
pub fn fix(remedy: &Remedy, place: &Place<'_>) -> Vec<Fix> {
    std::iter::once(Fix::Say(said(remedy))).chain(command(remedy, place).map(Fix::Run)).collect()
}

fn said(remedy: &Remedy) -> String {
    let words = match remedy {
        Remedy::InstallFusion => "install VMware Fusion 12.2 or newer, or try the lab on the simulated one:",
        Remedy::UpdateFusion { fixed } => {
            return format!(
                "update Fusion to {fixed} or newer, and let nobody into a machine meanwhile whom you do not trust"
            );
        }
        Remedy::UpdateMacos { least } => return format!("update macOS to {least} or newer"),
        Remedy::SmallerLab => {
            "ask for fewer or smaller machines in the lab file, or begin with a smaller lab, which this asks for:"
        }
        Remedy::StopOthers => "shut down or suspend VMs that are not the lab's",
        Remedy::CloseProgrammes => "close what takes memory: a Mac that swaps makes every machine wait",
        Remedy::FreeDisk => {
            "make room on the disk, or ask for smaller disks in the lab file; this frees what no lab uses:"
        }
        Remedy::StayAwake => {
            "keep it awake while the lab works, as this does until you end it; the lab also comes back after sleep by `fusionlab up`:"
        }
        Remedy::Init => "begin with a lab file for the network that is here; this asks and writes it:",
        Remedy::AllowLocalNetwork => {
            "allow it: System Settings, Privacy & Security, Local Network; then start the terminal anew"
        }
        Remedy::SetClock => "set the clock, and let macOS keep it right:",
        Remedy::Fix => "nobody works with it any more; this puts it away:",
        Remedy::GoOn => "the lab's next `up` makes it anew, its `destroy` takes it away:",
        Remedy::RemoveResolver { .. } => "nobody answers for these names any more; remove the file:",
        Remedy::OtherLan => {
            "go to that network, or give the lab file the one that is here: `lan: {subnet: …}`, with addresses in it"
        }
        Remedy::ReinstallFusion => {
            "root runs only what nobody else can change: install Fusion anew, or give that path back to root"
        }
        Remedy::StartFusion => {
            "start Fusion once, so that it sets up its networks, and quit it; else fusionlab begins the file"
        }
        Remedy::QuitFusion => "quit Fusion before its networks change; running machines may go on",
        Remedy::ApplyNetwork => "let the lab's network be put right:",
        Remedy::StartServices => "start Fusion's networks; those that run go on:",
        Remedy::Reconfigure => {
            "let Fusion read its networking file again, while no machine runs on its networks:"
        }
        Remedy::OtherVmnet { free } => {
            return format!("choose another network in the lab file: `internal: {{vmnet: {free}}}`");
        }
        Remedy::OtherSubnet => "choose another subnet in the lab file: `internal: {subnet: …}`",
        Remedy::EndRoute { interface } => {
            return format!(
                "end what that route comes from, such as a VPN on {interface}, or have it spare the subnet"
            );
        }
        Remedy::AddressesBelow { first, last } => {
            return format!(
                "keep other VMs off this network, or choose addresses from {first} to {last} in the lab file"
            );
        }
        Remedy::ReleaseAddress { mac } => {
            return format!("shut down the VM with {mac}, or let it ask for another address; this names it:");
        }
        Remedy::SeeRemarks => "this shows each such line:",
        Remedy::MendFile => "mend that line, or put an older file back; these are there:",
        Remedy::OwnFile => "give the file back to root:",
        Remedy::RenewCertificates => "with that lab's file; it renews whatever ends soon:",
        Remedy::UseCable => {
            "use a cable, and name its card in the lab file: `lan: {interface: …}`; this says why Wi-Fi is no good:"
        }
        Remedy::DropForwards { .. } => {
            "Fusion takes them up again with each restart; take their lines out of this file:"
        }
    };
    words.to_owned()
}

/// Returns the command line, ready to be pasted.
fn command(remedy: &Remedy, place: &Place<'_>) -> Option<String> {
    let flags = if place.options.is_empty() { String::new() } else { format!(" {}", place.options) };
    let ours = |rest: &str| Some(format!("fusionlab{flags} {rest}"));
    let quoted = |path: PathBuf| quote(&path.display().to_string());
    let vmnet_cli = |orders: &[&str]| {
        let program = quoted(place.fusion?.program("vmnet-cli"));
        Some(orders.iter().map(|order| format!("sudo {program} {order}")).collect::<Vec<_>>().join("; "))
    };
    match remedy {
        Remedy::InstallFusion => Some("fusionlab up --sim".to_owned()),
        Remedy::ApplyNetwork => ours("network apply"),
        Remedy::SmallerLab | Remedy::Init => ours("init"),
        Remedy::FreeDisk => ours("template prune"),
        Remedy::SetClock => Some("sudo sntp -sS time.apple.com".to_owned()),
        Remedy::Fix => ours("doctor --fix"),
        Remedy::GoOn => ours("up"),
        Remedy::RemoveResolver { path } => Some(format!("sudo rm {}", quoted(path.clone()))),
        Remedy::StayAwake => Some("caffeinate -i -s".to_owned()),
        Remedy::StartServices => vmnet_cli(&["--start"]),
        Remedy::Reconfigure => vmnet_cli(&["--stop", "--configure", "--start"]),
        Remedy::ReleaseAddress { .. } => ours("network show"),
        Remedy::SeeRemarks => ours("network plan"),
        Remedy::MendFile => ours("network backups"),
        Remedy::RenewCertificates => ours("up"),
        Remedy::UseCable => Some("fusionlab explain wifi-bridge".to_owned()),
        Remedy::OwnFile => {
            let file = quoted(place.fusion?.networking());
            Some(format!("sudo chown root:wheel {file} && sudo chmod 644 {file}"))
        }
        Remedy::DropForwards { vmnet } => {
            let file = quoted(place.fusion?.preferences().join(format!("vmnet{vmnet}/nat.conf")));
            Some(format!("sudo nano {file}"))
        }
        Remedy::ReinstallFusion
        | Remedy::UpdateFusion { .. }
        | Remedy::UpdateMacos { .. }
        | Remedy::StopOthers
        | Remedy::CloseProgrammes
        | Remedy::OtherLan
        | Remedy::AllowLocalNetwork
        | Remedy::StartFusion
        | Remedy::QuitFusion
        | Remedy::OtherVmnet { .. }
        | Remedy::OtherSubnet
        | Remedy::EndRoute { .. }
        | Remedy::AddressesBelow { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups() -> Vec<Group> {
        let check = |id, title: &str, state, detail: &str, fix| Check {
            id,
            title: title.to_owned(),
            state,
            detail: detail.to_owned(),
            fix,
        };
        let checks = vec![
            check("network.window", "Fusion's window is closed", State::Ok, "it is", vec![]),
            check(
                "network.vmnet",
                "vmnet2 is free or the lab's",
                State::Fail,
                "it is the bridge to en0",
                vec![Remedy::OtherVmnet { free: 3 }],
            ),
            check("network.services", "all run", State::Warn, "NAT of vmnet8", vec![Remedy::ApplyNetwork]),
        ];
        vec![Group { title: "Networks", checks }]
    }

    const PLACE: Place<'_> = Place { fusion: None, options: "--sim" };

    #[test]
    fn findings_are_aligned_and_each_bad_one_says_what_to_do() {
        assert_eq!(
            lines(&groups(), &PLACE, &Pen::plain(80)),
            [
                "Networks",
                "✓ Fusion's window is closed    it is",
                "✗ vmnet2 is free or the lab's  it is the bridge to en0",
                "    → choose another network in the lab file: `internal: {vmnet: 3}`",
                "! all run                      NAT of vmnet8",
                "    → let the lab's network be put right:",
                "      fusionlab --sim network apply",
                "",
                "1 of 3 checks failed, 1 warning",
            ]
        );
    }

    #[test]
    fn narrow_terminals_show_below_what_was_seen() {
        assert_eq!(
            lines(&groups(), &PLACE, &Pen::plain(40))[1..4],
            [
                "✓ Fusion's window is closed  it is",
                "✗ vmnet2 is free or the lab's",
                "    it is the bridge to en0"
            ]
        );
    }

    #[test]
    fn json_has_the_same_with_the_advice_in_words() {
        let checks = json(&groups(), &PLACE);
        assert_eq!(checks[2]["state"], "warn");
        assert_eq!(checks[2]["fix"][1]["run"], "fusionlab --sim network apply");
    }

    #[test]
    fn what_remains_is_counted() {
        assert_eq!(counts(&groups()), Counts { all: 3, unknown: 0, warned: 1, failed: 1 });
        let total = |all, warned, failed| total(&Counts { all, unknown: 0, warned, failed }, &Pen::plain(80));
        assert_eq!(total(2, 0, 0), "2 checks passed");
        assert_eq!(total(2, 1, 0), "2 checks, none failed, 1 warning");
        assert_eq!(total(1, 0, 1), "1 of 1 check failed");
    }

    #[test]
    fn what_is_unknown_has_not_passed() {
        let said =
            |warned, failed| super::total(&Counts { all: 4, unknown: 3, warned, failed }, &Pen::plain(80));
        assert_eq!(said(0, 0), "1 check passed, 3 unknown");
        assert_eq!(said(1, 0), "4 checks, none failed, 1 warning, 3 unknown");
        assert_eq!(said(0, 1), "1 of 4 checks failed, 3 unknown");
        let mut groups = groups();
        groups[0].checks[0].state = State::Unknown;
        assert_eq!(counts(&groups).unknown, 1);
        assert_eq!(lines(&groups, &PLACE, &Pen::plain(80))[1], "? Fusion's window is closed    it is");
        assert_eq!(json(&groups, &PLACE)[0]["state"], "unknown");
    }
}
