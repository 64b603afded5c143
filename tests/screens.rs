//! Every verb's words at three widths, in colour and without: as they were agreed on, nothing runs over the edge, and colour
//! adds nothing but colour.

mod golden;
mod picture;
mod typed;

use crate::support::dialogue::{CTRL_C, Dialogue};
use crate::support::session::Session;
use crate::wizard;
use golden::{Screen, Screens};
use picture::Picture;
use typed::{
    ASKED, COLOURED, DOCUMENT, FIRST_UP, LAB, LAST, NOTHING, ONCE, READ_ALONG, WATCHED, WITH_A_LAB,
    WITH_THE_DOCUMENTS_LAB, WITH_THE_DOCUMENTS_LAB_ONCE, WITHOUT_A_LAB,
};

const WIDTHS: [u16; 3] = [60, 80, 120];
/// More than any verb writes.
const ROWS: u16 = 400;
/// What no two runs say alike: the end of a machine's log, and where the program lies.
const NEVER_THE_SAME: [(&str, &str); 2] = [(LAB, "logs gateway1 -n 3"), (NOTHING, "network sudoers")];

/// Runs a verb in a terminal of some width and returns all that it wrote there.
fn written(session: &Session, verb: &str, width: u16, colour: bool) -> String {
    let session = if colour { session.clone() } else { session.clone().env("NO_COLOR", "1") };
    Dialogue::begin(session, verb, ROWS, width).end().1
}

/// The same of a verb that has to get to its end.
fn done(session: &Session, verb: &str, width: u16) -> Picture {
    let (status, written, _) = Dialogue::begin(session.clone(), verb, ROWS, width).end();
    assert_eq!(status, Some(0), "{written}");
    Picture::of(&written, ROWS, width)
}

/// Says whether a line could have been broken before the edge: it has a blank there behind its indentation, and is no command or
/// path to be copied, no fingerprint, and no line of Fusion's file.
fn could_be_broken(line: &str, width: usize) -> bool {
    const AS_IT_IS: [&str; 12] = [
        "answer VNET_",
        "add_dhcp_mac_to_ip",
        "/Library/Preferences/VMware Fusion/",
        "/Virtual Machines.localized/",
        "SHA-256  ",
        "    curl ",
        "    security ",
        "    sudo ",
        "      fusionlab ",
        " | sudo tee ",
        " NOPASSWD:",
        "    export ",
    ];
    let inside: String = line.chars().take(width).collect();
    !AS_IT_IS.iter().any(|word| line.contains(word)) && inside.trim_start().contains(' ')
}

/// Returns what is wrong with the screens of these verbs.
fn look(session: &Session, verbs: &[&str], place: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for verb in verbs {
        let mut screens = Screens { place, verb, all: Vec::new() };
        for width in WIDTHS {
            let plain = written(session, verb, width, false);
            wrong.extend(faults(verb, width, &plain.replace('\r', "")));
            let in_colour = written(session, verb, width, true);
            if COLOURED.contains(verb) {
                assert!(in_colour.contains("\u{1b}["), "{verb} has colours");
                assert_eq!(console::strip_ansi_codes(&in_colour), plain, "{verb} at {width}");
            }
            let picture = |text: &str| Picture::of(&golden::without_digests(text), ROWS, width);
            let coloured = picture(&in_colour);
            let plain = (!is_live(verb)).then(|| picture(&plain));
            screens.all.push(Screen { width, coloured, plain });
        }
        if !NEVER_THE_SAME.contains(&(place, verb)) {
            wrong.extend(screens.compare(session.root()));
        }
    }
    wrong
}

/// Returns what is wrong with a screen without colours.
fn faults(verb: &str, width: u16, plain: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut say = |what: &str, line: &str| wrong.push(format!("{verb} at {width}: {what}: {line:?}"));
    for line in plain.lines().map(console::strip_ansi_codes) {
        let line = line.as_ref();
        if line.chars().count() > width.into() && could_be_broken(line, width.into()) {
            say("over the edge", line);
        }
        if line.ends_with(' ') {
            say("ends with blanks", line);
        }
    }
    if plain.contains("\u{1b}[") && !is_live(verb) {
        say("a control sequence in spite of NO_COLOR", plain);
    }
    if plain.trim().is_empty() {
        say("nothing is said", "");
    }
    wrong
}

/// Says whether a verb draws rows while it works, which takes a cursor.
fn is_live(verb: &str) -> bool {
    ["up", "verify", "template build", "destroy"].iter().any(|live| verb.starts_with(live))
}

fn with_typo() -> Session {
    Session::new().file("typo.yaml", "version: 1\nlan:\n  vip: 192.168.68.300\nworkers: {cuont: 2}\n")
}

/// Compares what single runs wrote at 80 columns, which did not do the same a second time.
fn once(session: &Session, place: &str, pictures: Vec<(&str, Picture)>) -> Vec<String> {
    pictures.into_iter().flat_map(|(verb, picture)| once_at(80, session, place, verb, picture)).collect()
}

fn once_at(width: u16, session: &Session, place: &str, verb: &str, picture: Picture) -> Vec<String> {
    let all = vec![Screen { width, coloured: picture, plain: None }];
    Screens { place, verb, all }.compare(session.root())
}

/// A disk of 1 MiB with nothing on it but the signature that a partition table ends with.
fn raw_disk() -> Vec<u8> {
    let mut disk = vec![0; 1 << 20];
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

/// Answers each of the wizard's questions as it proposes.
fn asked(width: u16) -> Picture {
    let mut dialogue = Dialogue::begin(wizard::with_key(), "init --sim", ROWS, width);
    let last = wizard::PROMPTS.len() - 1;
    for question in 0..last {
        dialogue.accept(question);
    }
    dialogue.until(wizard::PROMPTS[last]).press("y");
    let (status, written, session) = dialogue.end();
    assert_eq!(status, Some(0), "{written}");
    Picture::of(&named(&written, &session), ROWS, width)
}

/// Names the run's folder before its path is broken at the edge, which depends on how long it is.
fn named(written: &str, session: &Session) -> String {
    written.replace(&*session.root().to_string_lossy(), "[LAB]")
}

/// Looks at a verb that goes on until somebody ends it, once it has said this.
fn watched(session: &Session, verb: &str, said: &str, rows: u16, end: &str) -> Picture {
    let mut dialogue = Dialogue::begin(session.clone(), verb, rows, 80);
    let shown = dialogue.until(said).seen.clone();
    let (status, written, _) = {
        dialogue.press(end);
        dialogue.end()
    };
    assert_eq!(status, Some(0), "{written}");
    Picture::of(&named(&shown, session), rows, 80)
}

/// Lets the first gateway hold the VIPs, whichever of the two came up first.
fn first_gateway_holds_the_vips(session: &Session) {
    let status = session.clone().args(["status", "--output", "json"]).run().exits(0).json();
    if status["vips"][0]["holders"] != serde_json::json!(["gateway1"]) {
        session.clone().args(["drill", "gateway-vm", "--yes"]).run().exits(0);
    }
}

#[test]
fn screens_are_as_agreed_and_nothing_runs_over_the_edge_where_no_lab_stands() {
    let session = with_typo()
        .file("user-data", "#cloud-config\n{}\n")
        .file("meta-data", "instance-id: one\n")
        .file("disk.raw", raw_disk())
        .file("machine.vmx", "displayName = \"machine\"\nmemsize = \"2048\"\n");
    let mut wrong = look(&session, WITHOUT_A_LAB, NOTHING);
    wrong.extend(once(&session, NOTHING, ONCE.map(|verb| (verb, done(&session, verb, 80))).into()));
    let all = WIDTHS.map(|width| Screen { width, coloured: asked(width), plain: None }).into();
    wrong.extend(Screens { place: NOTHING, verb: ASKED, all }.compare(session.root()));
    assert_eq!(wrong.join("\n"), "");
}

#[test]
fn a_run_that_fails_says_so_as_agreed_and_the_next_one_goes_on() {
    let session = with_typo().file("fusionlab.yaml", "version: 1\npreset: solo\n");
    let sim = |words: &[&str]| drop(session.clone().arg("sim").args(words).run().exits(0));
    sim(&["fault", "start-unknown", "--on", "k8s-master1"]);
    let (status, written, _) = Dialogue::begin(session.clone(), "up --yes", ROWS, 80).end();
    assert_eq!(status, Some(6), "{written}");
    // Where the log lies has the process in it, and decides where the line is broken.
    let log = |line: &&str| line.contains("/logs/");
    let written = written.split_inclusive('\n').filter(|line| !log(line)).collect::<String>();
    let failed = vec![("up, one that fails", Picture::of(&written, ROWS, 80))];
    let mut wrong = once(&session, LAB, failed);
    sim(&["fault", "--clear"]);
    let rest = done(&session, "up --yes", 60);
    wrong.extend(once_at(60, &session, LAB, "up, after one that failed", rest));
    session.args(["destroy", "--yes", "--all"]).run().exits(0);
    assert_eq!(wrong.join("\n"), "");
}

#[test]
fn screens_are_as_agreed_and_nothing_runs_over_the_edge_where_a_lab_stands() {
    let session = with_typo().file("fusionlab.yaml", "version: 1\npreset: solo\n");
    let first = done(&session, "up --yes", 80);
    let mut wrong = look(&session, WITH_A_LAB, LAB);
    let console = watched(&session, READ_ALONG, "login:", ROWS, CTRL_C);
    let last = done(&session, LAST, 80);
    wrong.extend(once(&session, LAB, vec![(FIRST_UP, first), (READ_ALONG, console), (LAST, last)]));
    assert_eq!(wrong.join("\n"), "");
}

#[test]
fn screens_of_the_documents_lab_are_as_agreed() {
    let session = Session::new().file("fusionlab.yaml", "version: 1\n");
    session.clone().args(["up", "--yes"]).run().exits(0);
    first_gateway_holds_the_vips(&session);
    let mut wrong = look(&session, WITH_THE_DOCUMENTS_LAB, DOCUMENT);
    let watched = watched(&session, WATCHED, "again every", 24, "q");
    wrong.extend(once(&session, DOCUMENT, vec![(WATCHED, watched)]));
    let picture = |verb: &'static str| (verb, Picture::of(&written(&session, verb, 80, true), ROWS, 80));
    wrong.extend(once(&session, DOCUMENT, WITH_THE_DOCUMENTS_LAB_ONCE.map(picture).into()));
    session.clone().args(["destroy", "--yes"]).run().exits(0);
    assert_eq!(wrong.join("\n"), "");
}
