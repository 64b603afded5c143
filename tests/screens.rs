//! Every verb's words at three widths, in colour and without: nothing runs over the edge, and colour adds nothing but colour.

use crate::support::dialogue::Dialogue;
use crate::support::session::Session;

const WIDTHS: [u16; 3] = [60, 80, 120];

/// What is typed while no lab stands: plans, pictures, explanations, and what goes wrong.
const WITHOUT_A_LAB: &[&str] = &[
    "plan",
    "plan --verbose",
    "topology",
    "doctor",
    "status",
    "verify --list",
    "drill --list",
    "network show",
    "network plan",
    "network backups",
    "template list",
    "explain",
    "explain vip-taken",
    "explain reservation-in-dhcp-pool",
    "sim fault",
    "sim hazard",
    "help",
    "help up",
    "stauts",
    "ssh k8s-master9",
    "ssh gateway1",
    "plan --lab missing.yaml",
    "plan --lab typo.yaml",
    "kubeconfig",
    "explain nothing-known",
];

/// What is typed while one does.
const WITH_A_LAB: &[&str] = &[
    "plan",
    "up --yes",
    "status",
    "topology --live",
    "verify",
    "names",
    "trust",
    "logs gateway1 -n 3",
    "exec gateway1 -- hostname",
    "network show",
    "doctor",
    "kubeconfig",
];

/// Runs a verb in a terminal of some width and returns what it wrote there.
fn shown(session: &Session, verb: &str, width: u16, colour: bool) -> String {
    let session = if colour { session.clone() } else { session.clone().env("NO_COLOR", "1") };
    let (_, screen, _) = Dialogue::begin(session, verb, 400, width).end();
    screen.replace('\r', "")
}

/// Returns a text without what a terminal obeys.
fn bare(text: &str) -> String {
    let mut kept = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\u{1b}' {
            kept.push(letter);
            continue;
        }
        // A control sequence ends with a letter; what else begins so is one character long.
        if letters.next() == Some('[') {
            let _ = letters.by_ref().find(|letter| letter.is_ascii_alphabetic());
        }
    }
    kept
}

/// Says whether a line could have been broken before the edge: it has a blank there behind its indentation, and is no command or
/// path to be copied, no fingerprint, and no line of Fusion's file.
fn could_be_broken(line: &str, width: usize) -> bool {
    const AS_IT_IS: [&str; 8] = [
        "answer VNET_",
        "add_dhcp_mac_to_ip",
        "/Library/Preferences/VMware Fusion/",
        "SHA-256 ",
        "    curl ",
        "    security ",
        "    sudo ",
        "    export ",
    ];
    let inside: String = line.chars().take(width).collect();
    !AS_IT_IS.iter().any(|word| line.contains(word)) && inside.trim_start().contains(' ')
}

fn look(session: &Session, verbs: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    for verb in verbs {
        for width in WIDTHS {
            let plain = shown(session, verb, width, false);
            let mut say = |what: &str, line: &str| wrong.push(format!("{verb} at {width}: {what}: {line:?}"));
            for line in plain.lines() {
                if line.chars().count() > width.into() && could_be_broken(line, width.into()) {
                    say("over the edge", line);
                }
                if line.ends_with(' ') {
                    say("ends with blanks", line);
                }
            }
            if plain.contains("\u{1b}[") && !is_live(verb) {
                say("a control sequence in spite of NO_COLOR", &plain);
            }
            if plain.trim().is_empty() {
                say("nothing is said", "");
            }
        }
    }
    wrong
}

/// Says whether a verb draws rows while it works, which takes a cursor.
fn is_live(verb: &str) -> bool {
    verb.starts_with("up") || verb.starts_with("verify")
}

fn with_typo() -> Session {
    Session::new().file("typo.yaml", "version: 1\nlan:\n  vip: 192.168.68.300\nworkers: {cuont: 2}\n")
}

#[test]
fn nothing_runs_over_the_edge_where_no_lab_stands() {
    assert_eq!(look(&with_typo(), WITHOUT_A_LAB), Vec::<String>::new());
}

#[test]
fn nothing_runs_over_the_edge_where_a_lab_stands() {
    let session = with_typo().file("fusionlab.yaml", "version: 1\npreset: solo\n");
    session.clone().args(["up", "--yes"]).run().exits(0);
    let wrong = look(&session, WITH_A_LAB);
    session.args(["destroy", "--yes"]).run().exits(0);
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn colour_adds_nothing_but_colour() {
    let session = with_typo();
    let still = [
        "topology",
        "plan",
        "explain vip-taken",
        "plan --lab typo.yaml",
        "help up",
        "stauts",
        "verify --list",
    ];
    for verb in still {
        for width in WIDTHS {
            let coloured = shown(&session, verb, width, true);
            assert!(coloured.contains("\u{1b}["), "{verb} has colours");
            assert_eq!(bare(&coloured), shown(&session, verb, width, false), "{verb} at {width}");
        }
    }
}
