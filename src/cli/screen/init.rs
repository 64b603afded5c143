//! The words of a new lab file's questions: what was found, what is asked, what is about to be written.

use super::table::labelled;
use crate::cli::init::answers::{LanAnswer, Question, Seen, Takes};
use crate::cli::init::check;
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::host::surroundings::LanInterface;
use crate::lab::presets::Preset;

/// Returns what was found before the first question.
pub fn found(seen: &Seen, pen: &Pen) -> Vec<String> {
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
    lines.extend(labelled(
        [("Fusion", fusion), ("this machine", machine.join(", ")), ("home network", lan)],
        pen,
    ));
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
    text
}

/// Returns a size with what it takes.
pub fn size(preset: Preset, takes: &Takes, fits: bool) -> String {
    let memory = words::bytes(takes.memory_mib << 20);
    let much = if fits { "" } else { ", more than this machine has to spare" };
    let summary = preset.summary().split(':').next().unwrap_or_default().to_owned();
    format!("{:<6} {memory}, {} CPUs{much}: {summary}", preset.to_string(), takes.cpus)
}

/// Returns the head of a question: its number, its name, and what there is to know.
pub fn head(question: Question, pen: &Pen) -> Vec<String> {
    let number = Question::ALL.iter().position(|other| *other == question).unwrap_or_default() + 1;
    let (title, about) = match question {
        Question::Size => ("Size", "How many machines. The lab file can change each of them."),
        Question::Lan => ("Home network", "The gateways are bridged to it."),
        Question::Vip => (
            "VIP",
            "The address that you will use; the gateways pass it to each other. Nobody answered at the one that is proposed; \
             it should also lie outside what your router gives away by DHCP.",
        ),
        Question::Gateways => ("Gateways", "Their own addresses on the home network, likewise."),
        Question::Internal => (
            "Internal network",
            "The cluster's own, made in Fusion: a number and a subnet that nothing else uses.",
        ),
        Question::Keys => (
            "SSH key",
            "Public keys that may log in to the machines, besides the lab's own; several with commas, or none.",
        ),
        Question::Domain => ("Domain", "What names of published applications end in."),
        Question::Name => ("Name", "The lab's own; VMs and the kubeconfig's context bear it."),
    };
    let count = format!("{number}/{}", Question::ALL.len());
    let mut lines =
        vec![String::new(), format!("{} {}", pen.paint(Ink::Dim, &count), pen.paint(Ink::Strong, title))];
    lines.extend(words::wrap(about, pen.prose_width()).iter().map(|line| pen.paint(Ink::Dim, line)));
    lines
}

/// Returns the reason against an answer.
pub fn refused(reason: &str, pen: &Pen) -> Vec<String> {
    marked(pen.cross(), Ink::Bad, reason, pen)
}

/// Returns an answer that stands.
pub fn taken(answer: &str, pen: &Pen) -> Vec<String> {
    marked(pen.tick(), Ink::Good, answer, pen)
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
    let lines = words::wrap(text, pen.prose_width().saturating_sub(2).max(1));
    let first = |index: usize| if index == 0 { pen.paint(ink, mark) } else { " ".to_owned() };
    lines.iter().enumerate().map(|(index, line)| format!("{} {line}", first(index))).collect()
}

/// Returns a long command on lines that fit, to be pasted as they are.
pub fn command(line: &str, pen: &Pen) -> Vec<String> {
    const INDENT: &str = "  ";
    let room = pen.prose_width().saturating_sub(INDENT.len() + 2).max(1);
    // An option stays with its value.
    let mut parts: Vec<String> = Vec::new();
    for word in line.split(' ') {
        match parts.last_mut() {
            Some(last) if !word.starts_with("--") => *last = format!("{last} {word}"),
            _ => parts.push(word.to_owned()),
        }
    }
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(last) if console::measure_text_width(last) + 1 + part.len() <= room => {
                *last = format!("{last} {part}");
            }
            Some(_) => lines.push(format!("{INDENT}{part}")),
            None => lines.push(part),
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
        let line =
            "fusionlab init --preset ha --lan 192.168.68.0/24 --gateways 192.168.68.56,192.168.68.57 --yes";
        for width in [30, 60, 80] {
            let lines = command(line, &Pen::plain(width));
            let whole = lines.join("\n").replace(" \\\n", " ");
            assert_eq!(whole.split_whitespace().collect::<Vec<_>>().join(" "), line);
            assert!(width == 30 || lines.iter().all(|line| line.len() <= width), "{lines:?}");
        }
    }

    #[test]
    fn every_question_has_a_head_of_few_words() {
        for question in Question::ALL {
            let lines = head(question, &Pen::plain(40));
            assert!(lines.iter().all(|line| console::measure_text_width(line) <= 40), "{lines:?}");
            assert!(lines.len() <= 8, "there is room for the answer on a small terminal: {lines:?}");
        }
    }
}
