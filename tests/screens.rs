//! Every verb's words at three widths, in colour and without: as they were agreed on, nothing runs over the edge, and colour
//! adds nothing but colour.

mod golden;
mod picture;

use crate::support::dialogue::Dialogue;
use crate::support::session::Session;
use golden::{Screen, Screens};
use picture::Picture;

const WIDTHS: [u16; 3] = [60, 80, 120];
/// More than any verb writes.
const ROWS: u16 = 400;
/// What no two runs say alike: the end of a machine's log, and when something was last done.
const NEVER_THE_SAME: [(&str, &str); 2] = [(LAB, "logs gateway1 -n 3"), (LAB, "list")];

/// What stands while verbs run; the folders of their screens.
const NOTHING: &str = "nothing";
const LAB: &str = "lab";
const DOCUMENT: &str = "document";

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
    "list",
    "rm",
    "stop",
    "up --yess",
    "network restore nosuch",
    "image info nope.qcow2",
    "image fetch debain-13",
    "topology --svg no/such/lab.svg",
    "--plain topology",
    "init --yes --out - >/dev/null",
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
    "list",
    "topology --live",
    "verify",
    "names",
    "trust",
    "logs gateway1 -n 3",
    "exec gateway1 -- hostname",
    "network show",
    "doctor",
    "kubeconfig",
    "cp nope.txt gateway1:",
    "cp gateway1:/nope .",
    "exec --all gateway1 -- hostname",
    "drill gateway-vm --yes",
    "template build",
    "network plan",
];

/// What is typed once, at 80 columns, while the networking document's own lab stands.
const WITH_THE_DOCUMENTS_LAB: [&str; 5] =
    ["plan", "logs k8s-master1 --source console -n 3", "logs", "drill gateway-nginx --yes", "support"];

/// What has colours, and says the same to the letter each time.
const COLOURED: [&str; 7] =
    ["topology", "plan", "explain vip-taken", "plan --lab typo.yaml", "help up", "stauts", "verify --list"];

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
    const AS_IT_IS: [&str; 9] = [
        "answer VNET_",
        "add_dhcp_mac_to_ip",
        "/Library/Preferences/VMware Fusion/",
        "/Virtual Machines.localized/",
        "SHA-256  ",
        "    curl ",
        "    security ",
        "    sudo ",
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
    for line in plain.lines() {
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
    ["up", "verify", "template build"].iter().any(|live| verb.starts_with(live))
}

fn with_typo() -> Session {
    Session::new().file("typo.yaml", "version: 1\nlan:\n  vip: 192.168.68.300\nworkers: {cuont: 2}\n")
}

/// Compares what single runs wrote at 80 columns, which did not do the same a second time.
fn once(session: &Session, place: &str, pictures: Vec<(&str, Picture)>) -> Vec<String> {
    let compare = |(verb, picture)| {
        let all = vec![Screen { width: 80, coloured: picture, plain: None }];
        Screens { place, verb, all }.compare(session.root())
    };
    pictures.into_iter().flat_map(compare).collect()
}

#[test]
fn screens_are_as_agreed_and_nothing_runs_over_the_edge_where_no_lab_stands() {
    let session = with_typo();
    let mut wrong = look(&session, WITHOUT_A_LAB, NOTHING);
    let (apply, restore) = ("network apply --yes", "network restore --yes");
    let pictures = [apply, restore].map(|verb| (verb, done(&session, verb, 80)));
    wrong.extend(once(&session, NOTHING, pictures.into()));
    assert_eq!(wrong.join("\n"), "");
}

#[test]
fn a_run_that_fails_says_so_as_agreed() {
    let session = with_typo().file("fusionlab.yaml", "version: 1\npreset: solo\n");
    let sim = |words: &[&str]| drop(session.clone().arg("sim").args(words).run().exits(0));
    sim(&["fault", "start-unknown", "--on", "k8s-master1"]);
    let (status, written, _) = Dialogue::begin(session.clone(), "up --yes", ROWS, 80).end();
    assert_eq!(status, Some(6), "{written}");
    // Where the log lies has the process in it, and decides where the line is broken.
    let log = |line: &&str| line.contains("/logs/");
    let written = written.split_inclusive('\n').filter(|line| !log(line)).collect::<String>();
    let failed = vec![("up, one that fails", Picture::of(&written, ROWS, 80))];
    let wrong = once(&session, LAB, failed);
    sim(&["fault", "--clear"]);
    session.args(["destroy", "--yes", "--all"]).run().exits(0);
    assert_eq!(wrong.join("\n"), "");
}

#[test]
fn screens_are_as_agreed_and_nothing_runs_over_the_edge_where_a_lab_stands() {
    let session = with_typo().file("fusionlab.yaml", "version: 1\npreset: solo\n");
    let (up, down) = ("up --yes", "destroy --yes");
    let first = done(&session, up, 80);
    let mut wrong = look(&session, WITH_A_LAB, LAB);
    let last = done(&session, down, 80);
    wrong.extend(once(&session, LAB, vec![("up, the first one", first), (down, last)]));
    assert_eq!(wrong.join("\n"), "");
}

#[test]
fn screens_of_the_documents_lab_are_as_agreed() {
    let session = Session::new().file("fusionlab.yaml", "version: 1\n");
    session.clone().args(["up", "--yes"]).run().exits(0);
    let picture = |verb: &'static str| {
        let mut written = written(&session, verb, 80, true);
        if verb.starts_with("drill") {
            // Which of the two came up first, and so holds the VIPs, no two runs agree on.
            written = written.replace("gateway2", "gateway1");
        }
        (verb, Picture::of(&written, ROWS, 80))
    };
    let wrong = once(&session, DOCUMENT, WITH_THE_DOCUMENTS_LAB.map(picture).into());
    session.clone().args(["destroy", "--yes"]).run().exits(0);
    assert_eq!(wrong.join("\n"), "");
}
