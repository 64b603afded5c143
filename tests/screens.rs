//! Every verb's words at three widths, in colour and without: as they were agreed on, nothing runs over the edge, and colour
//! adds nothing but colour.

mod golden;
mod picture;
mod typed;

use std::collections::BTreeMap;

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

/// How a sentence of its is broken depends on how large a bundle is, but where the size begins a line.
const SIZED: &str = "support";
const SIZED_AT: u16 = 80;

/// Runs a verb in a terminal of some width and returns how it ended, and all that it wrote there.
fn run(session: &Session, verb: &str, width: u16, colour: bool) -> (Option<i32>, String) {
    let session = if colour { session.clone() } else { session.clone().env("NO_COLOR", "1") };
    let (status, written, _) = Dialogue::begin(session, verb, ROWS, width).end();
    (status, written)
}

fn written(session: &Session, verb: &str, width: u16, colour: bool) -> String {
    run(session, verb, width, colour).1
}

/// The same, drawn, of a verb that has to end so.
fn ended(session: &Session, verb: &str, width: u16, colour: bool, with: i32) -> Picture {
    let (status, written) = run(session, verb, width, colour);
    assert_eq!(status, Some(with), "{written}");
    if !colour && !is_live(verb) {
        assert_eq!(faults(verb, width, &written.replace('\r', "")), Vec::<String>::new());
    }
    // Where the log lies has the process in it, and decides where the line is broken.
    let log = |line: &&str| line.contains("/logs/") && with != 0;
    let written = written.split_inclusive('\n').filter(|line| !log(line)).collect::<String>();
    Picture::of(&named(&written, session), ROWS, width)
}

/// What verbs wrote that do what they say, and so cannot be run twice in one place: for each width there is another.
#[derive(Default)]
struct Deeds(BTreeMap<&'static str, Vec<Screen>>);

impl Deeds {
    /// Takes in what a verb wrote there, which has to succeed. What draws rows is seen in colour alone.
    fn done(&mut self, session: &Session, verb: &'static str, width: u16) {
        self.see(verb, width, ended(session, verb, width, true, 0));
    }

    fn see(&mut self, verb: &'static str, width: u16, coloured: Picture) {
        self.0.entry(verb).or_default().push(Screen { width, coloured, plain: None });
    }

    /// Takes in what the verb that was seen last at this width writes without colours, elsewhere.
    fn without_colour(&mut self, session: &Session, verb: &'static str, width: u16) {
        let plain = ended(session, verb, width, false, 0);
        let seen = self.0.get_mut(verb).and_then(|all| all.iter_mut().find(|one| one.width == width));
        seen.expect("it was seen in colour").plain = (!is_live(verb)).then_some(plain);
    }

    /// Returns what differs from what was agreed on.
    fn compare(self, session: &Session, place: &str) -> Vec<String> {
        let compared = |(verb, all)| Screens { place, verb, all }.compare(session.root());
        self.0.into_iter().flat_map(compared).collect()
    }
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
    let live =
        ["up", "verify", "template build", "destroy", "network apply", "network restore", "image convert"];
    live.iter().any(|live| verb.starts_with(live))
}

fn with_typo() -> Session {
    Session::new().file("typo.yaml", "version: 1\nlan:\n  vip: 192.168.68.300\nworkers: {cuont: 2}\n")
}

/// A disk of 1 MiB with nothing on it but the signature that a partition table ends with.
fn raw_disk() -> Vec<u8> {
    let mut disk = vec![0; 1 << 20];
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

/// What verbs of images work on.
fn with_files() -> Session {
    Session::new()
        .file("user-data", "#cloud-config\n{}\n")
        .file("meta-data", "instance-id: one\n")
        .file("disk.raw", raw_disk())
        .file("machine.vmx", "displayName = \"machine\"\nmemsize = \"2048\"\n")
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
fn watched(session: &Session, verb: &str, said: &str, (rows, width): (u16, u16), end: &str) -> Picture {
    let mut dialogue = Dialogue::begin(session.clone(), verb, rows, width);
    let shown = dialogue.until(said).seen.clone();
    let (status, written, _) = {
        dialogue.press(end);
        dialogue.end()
    };
    assert_eq!(status, Some(0), "{written}");
    Picture::of(&named(&shown, session), rows, width)
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
    let session = with_typo();
    let mut wrong = look(&session, WITHOUT_A_LAB, NOTHING);
    let mut deeds = Deeds::default();
    for width in WIDTHS {
        let [here, elsewhere] = [with_files(), with_files()];
        for verb in ONCE {
            deeds.done(&here, verb, width);
            deeds.without_colour(&elsewhere, verb, width);
        }
        deeds.see(ASKED, width, asked(width));
    }
    wrong.extend(deeds.compare(&session, NOTHING));
    assert_eq!(wrong.join("\n"), "");
}

#[test]
fn a_run_that_fails_says_so_as_agreed_and_the_next_one_goes_on() {
    let mut deeds = Deeds::default();
    for width in WIDTHS {
        let session = Session::new().file("fusionlab.yaml", "version: 1\npreset: solo\n");
        let sim = |words: &[&str]| drop(session.clone().arg("sim").args(words).run().exits(0));
        sim(&["fault", "start-unknown", "--on", "k8s-master1"]);
        deeds.see("up, one that fails", width, ended(&session, "up --yes", width, true, 6));
        sim(&["fault", "--clear"]);
        deeds.see("up, after one that failed", width, ended(&session, "up --yes", width, true, 0));
        session.args(["destroy", "--yes", "--all"]).run().exits(0);
    }
    assert_eq!(deeds.compare(&Session::new(), LAB).join("\n"), "");
}

#[test]
fn screens_are_as_agreed_and_nothing_runs_over_the_edge_where_a_lab_stands() {
    let (mut deeds, mut wrong) = (Deeds::default(), Vec::new());
    for width in WIDTHS {
        let session = with_typo().file("fusionlab.yaml", "version: 1\npreset: solo\n");
        deeds.see(FIRST_UP, width, ended(&session, "up --yes", width, true, 0));
        // All widths at once, where nothing is made.
        if width == WIDTHS[0] {
            wrong = look(&session, WITH_A_LAB, LAB);
        }
        deeds.see(READ_ALONG, width, watched(&session, READ_ALONG, "login:", (ROWS, width), CTRL_C));
        deeds.done(&session, LAST, width);
    }
    wrong.extend(deeds.compare(&Session::new(), LAB));
    assert_eq!(wrong.join("\n"), "");
}

#[test]
fn screens_of_the_documents_lab_are_as_agreed() {
    let session = Session::new().file("fusionlab.yaml", "version: 1\n");
    session.clone().args(["up", "--yes"]).run().exits(0);
    first_gateway_holds_the_vips(&session);
    let mut wrong = look(&session, WITH_THE_DOCUMENTS_LAB, DOCUMENT);
    let mut deeds = Deeds::default();
    for width in WIDTHS {
        deeds.see(WATCHED, width, watched(&session, WATCHED, "again every", (24, width), "q"));
        for verb in WITH_THE_DOCUMENTS_LAB_ONCE {
            let seen = named(&written(&session, verb, width, true), &session);
            if verb == SIZED && width != SIZED_AT {
                wrong.extend(faults(verb, width, &console::strip_ansi_codes(&seen).replace('\r', "")));
            } else {
                deeds.see(verb, width, Picture::of(&seen, ROWS, width));
            }
        }
    }
    wrong.extend(deeds.compare(&session, DOCUMENT));
    session.clone().args(["destroy", "--yes"]).run().exits(0);
    assert_eq!(wrong.join("\n"), "");
}
