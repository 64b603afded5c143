//! The words of a new lab file's questions: what was found, what is asked, what is about to be written.

use std::time::Duration;

use console::measure_text_width as width_of;

use super::table::labelled;
use crate::cli::init::answers::{LanAnswer, Question, Seen, Takes};
use crate::cli::init::{check, defaults};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::formats::printable;
use crate::host::surroundings::LanInterface;
use crate::lab::presets::Preset;
use crate::lab::resolve::LAN;

/// Marks a size that does not fit.
const TOO_MUCH: char = '!';

/// Returns what was found before the first question.
/// `live` says whether single keys are heard: where they are not, only whole lines are.
pub fn found(seen: &Seen, live: bool, pen: &Pen) -> Vec<String> {
    let around = &seen.around;
    let fusion = match &seen.fusion {
        Some(fusion) => super::opening::fusion_name(fusion, pen),
        None => pen.paint(Ink::Warn, "not found; the lab file can be written all the same"),
    };
    let mut machine = vec![words::count(around.cpus as usize, "processor")];
    if around.memory_mib > 0 {
        machine.push(format!("{} of memory", words::bytes(around.memory_mib << 20)));
    }
    if let Some(free) = around.disk_free_mib {
        machine.push(format!("{} of disk free", words::bytes(free << 20)));
    }
    let lan: Vec<String> = check::ways_in(seen).map(way).collect();
    let lan = if lan.is_empty() { "none found".to_owned() } else { lan.join("\n") };
    let mut lines = vec![pen.paint(Ink::Strong, "Found here")];
    lines
        .extend(labelled([("Fusion", fusion), ("this Mac", machine.join(", ")), ("home network", lan)], pen));
    lines.push(String::new());
    let keys = if live {
        "Enter takes what is proposed, Tab lets you change it, Escape leaves. Nothing is written before the end."
    } else {
        "An empty line takes what is proposed, Ctrl-C leaves. Nothing is written before the end."
    };
    lines.extend(words::wrap(keys, pen.prose_width()).iter().map(|line| pen.paint(Ink::Dim, line)));
    lines
}

/// Returns one way into a home network: `en0 (Ethernet): 192.168.68.0/24, router 192.168.68.1, DNS 192.168.68.1`.
pub fn way(way: &LanInterface) -> String {
    let mut text = format!("{} ({}): {}", way.interface, way.name, way.subnet);
    if let Some(router) = way.router {
        text.push_str(&format!(", router {router}"));
    }
    if !way.dns.is_empty() {
        let dns: Vec<String> = way.dns.iter().map(ToString::to_string).collect();
        text.push_str(&format!(", DNS {}", dns.join(" and ")));
    }
    // The name is whatever its owner typed.
    printable::printable(&text).into_owned()
}

/// Returns a size with what it takes, marked if that is too much here.
pub fn size(preset: Preset, takes: &Takes, fits: bool) -> String {
    let (name, memory) = (preset.to_string(), words::bytes(takes.memory_mib << 20));
    let much = if fits { ' ' } else { TOO_MUCH };
    format!("{name:<5} {much} {memory:>8}, {:>2} CPUs  {}", takes.cpus, machines(preset))
}

/// Returns a size's machines in words.
pub fn machines(preset: Preset) -> &'static str {
    preset.summary().split(':').next().unwrap_or_default()
}

/// Returns the head of a question: its number, its name, and what there is to know.
pub fn head(question: Question, seen: &Seen, pen: &Pen) -> Vec<String> {
    let number = Question::ALL.iter().position(|other| *other == question).unwrap_or_default() + 1;
    let (title, about) = match question {
        Question::Size => ("Size", "How many machines. The lab file can change each of them."),
        Question::Lan => ("Home network", "The gateways are bridged to it."),
        Question::Vip => (
            "VIP",
            "The address that you will use; the gateways pass it to each other. Take one that your router does not give \
             away by DHCP.",
        ),
        Question::Gateways => ("Gateways", "Their own addresses on the home network, outside of DHCP, too."),
        Question::Internal => (
            "Internal network",
            "The cluster's own, made in Fusion: a number and a subnet that nothing else uses, such as vmnet3 10.20.0.0/24.",
        ),
        Question::Keys => (
            "SSH key",
            "Public keys that may log in to the machines, besides the lab's own; several with commas, or the word none.",
        ),
        Question::Domain => ("Domain", "What names of published applications end in."),
        Question::Name => ("Name", "The lab's own; VMs and the kubeconfig's context bear it."),
    };
    let count = format!("{number}/{}", Question::ALL.len());
    let mut lines =
        vec![String::new(), format!("{} {}", pen.paint(Ink::Dim, &count), pen.paint(Ink::Strong, title))];
    let is_much = seen.sizes.iter().any(|(_, takes)| !defaults::fits(takes, seen));
    let more = match question {
        Question::Size if is_much => format!(" {TOO_MUCH} is more than this Mac has to spare."),
        Question::Vip | Question::Gateways if !seen.asked.is_empty() => {
            " Nobody answers at what is proposed.".to_owned()
        }
        _ => String::new(),
    };
    let about = format!("{about}{more}");
    lines.extend(words::wrap(&about, pen.prose_width()).iter().map(|line| pen.paint(Ink::Dim, line)));
    lines
}

/// Returns what is going on while nobody is asked.
pub fn looking(addresses: usize, most: Duration, pen: &Pen) -> Vec<String> {
    let noun = if addresses == 1 { "address" } else { "addresses" };
    let line = format!(
        "looking for somebody at {addresses} {noun} of the home network, at most {}",
        words::duration(most)
    );
    words::wrap(&line, pen.prose_width()).iter().map(|line| pen.paint(Ink::Dim, line)).collect()
}

/// Returns why the plan cannot be shown before the file is written.
pub fn no_plan(reason: &str, pen: &Pen) -> Vec<String> {
    marked("!", Ink::Warn, &format!("that cannot be told yet: {reason}"), pen)
}

/// Returns the reason against an answer.
pub fn refused(reason: &str, pen: &Pen) -> Vec<String> {
    marked(pen.cross(), Ink::Bad, reason, pen)
}

/// Returns an answer that stands.
pub fn taken(answer: &str, pen: &Pen) -> Vec<String> {
    marked(pen.tick(), Ink::Good, answer, pen)
}

/// Returns the note of a home network that is not the networking document's; nothing where it is.
pub fn other_lan(lan: &LanAnswer, pen: &Pen) -> Vec<String> {
    if lan.subnet == LAN {
        return Vec::new();
    }
    let text = format!(
        "this is not {LAN}, the networking document's home network: the VIP and the gateways get addresses of {} in \
         place of the document's",
        lan.subnet
    );
    marked("!", Ink::Warn, &text, pen)
}

/// Returns the warning of a bridge to Wi-Fi; nothing where there is none.
pub fn wifi(lan: &LanAnswer, pen: &Pen) -> Vec<String> {
    let Some(interface) = &lan.wifi else { return Vec::new() };
    let text = format!(
        "{interface} is Wi-Fi: many access points pass on no other machine's frames, so the VIP may not be reached from \
         elsewhere at home. A cable is better."
    );
    marked("!", Ink::Warn, &text, pen)
}

fn marked(mark: &str, ink: Ink, text: &str, pen: &Pen) -> Vec<String> {
    words::marked(&pen.paint(ink, mark), text, pen.prose_width().saturating_sub(2))
}

/// Returns a long command on lines that fit, to be pasted as they are; no part of it is broken.
pub fn command(parts: &[String], pen: &Pen) -> Vec<String> {
    const INDENT: &str = "  ";
    let room = pen.prose_width().saturating_sub(INDENT.len() + 2).max(1);
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(last) if width_of(last) + 1 + width_of(part) <= room => {
                *last = format!("{last} {part}");
            }
            Some(_) => lines.push(format!("{INDENT}{part}")),
            None => lines.push(part.clone()),
        }
    }
    let last = lines.len().saturating_sub(1);
    let shown = lines.iter().enumerate().map(|(index, line)| {
        let more = if index < last { " \\" } else { "" };
        format!("{INDENT}{}{more}", pen.paint(Ink::Accent, line))
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_pasted_at_any_width() {
        let parts = [
            "fusionlab init",
            "--preset ha",
            "--lan 192.168.68.0/24",
            "--gateways 192.168.68.56,192.168.68.57",
            "--ssh-key 'a --b  c.pub'",
            "--yes",
        ];
        let (parts, line) = (parts.map(str::to_owned), parts.join(" "));
        for width in [30, 60, 80] {
            let lines = command(&parts, &Pen::plain(width));
            let whole: Vec<&str> =
                lines.iter().map(|line| line.trim_end_matches(" \\").trim_start()).collect();
            assert_eq!(whole.join(" "), line);
            assert!(lines[..lines.len() - 1].iter().all(|line| line.ends_with(" \\")), "{lines:?}");
            assert!(width == 30 || lines.iter().all(|line| line.len() <= width), "{lines:?}");
        }
    }

    #[test]
    fn sizes_stand_in_columns_and_one_that_is_too_much_says_so() {
        let sizes = [(Preset::Ha, 22, 12, false), (Preset::Small, 9, 5, true)]
            .map(|(preset, gib, cpus, fits)| size(preset, &Takes { memory_mib: gib << 10, cpus }, fits));
        assert_eq!(
            sizes,
            [
                "ha    !   22 GiB, 12 CPUs  2 gateways, 3 control planes, 2 workers",
                "small      9 GiB,  5 CPUs  1 gateway, 1 control plane, 1 worker",
            ]
        );
        let all = Seen { sizes: vec![(Preset::Ha, Takes { memory_mib: 0, cpus: 12 })], ..Seen::default() };
        assert!(head(Question::Size, &all, &Pen::plain(80)).concat().contains("! is more than"));
        assert!(!head(Question::Size, &Seen::default(), &Pen::plain(80)).concat().contains('!'));
    }

    #[test]
    fn that_nobody_answers_is_said_only_where_somebody_was_looked_for() {
        let told =
            |seen: &Seen| head(Question::Vip, seen, &Pen::plain(80)).join(" ").contains("Nobody answers");
        let asked = [(std::net::Ipv4Addr::LOCALHOST, None)].into();
        assert!(told(&Seen { asked, ..Seen::default() }) && !told(&Seen::default()));
    }

    #[test]
    fn every_question_has_a_head_of_few_words() {
        for question in Question::ALL {
            let asked = [(std::net::Ipv4Addr::LOCALHOST, None)].into();
            let lines = head(question, &Seen { asked, ..Seen::default() }, &Pen::plain(40));
            assert!(lines.iter().all(|line| width_of(line) <= 40), "{lines:?}");
            assert!(lines.len() <= 8, "there is room for the answer on a small terminal: {lines:?}");
        }
    }
}
