//! `--plain`: what a screen reader is given, whole lines in the order in which things happen, without colours and symbols. And
//! which of an option, the environment and the lab file wins.

use crate::support::dialogue::Dialogue;
use crate::support::session::Session;

const LAB: &str = "version: 1\npreset: small\n";

/// What is typed one after the other, in a terminal that could do more.
const VERBS: [&str; 18] = [
    "plan",
    "topology",
    "doctor",
    "up --yes",
    "up --yes",
    "status",
    "topology --live",
    "verify",
    "names",
    "network show",
    "network plan",
    "template list",
    "drill --list",
    "logs gateway1 -n 3",
    "exec --all -- hostname",
    "plan --lab typo.yaml",
    "ssh gatewya1",
    "explain vip-taken",
];

/// Runs a verb in a terminal that knows UTF-8 and colours, and returns what it wrote there.
fn shown(session: &Session, verb: &str) -> String {
    let session = session.clone().env("LANG", "C.UTF-8").env("CLICOLOR_FORCE", "1");
    let (_, screen, _) = Dialogue::begin(session, &format!("--plain {verb}"), 40, 80).end();
    screen.replace('\r', "")
}

#[test]
fn plain_is_whole_lines_of_plain_letters() {
    let session = Session::new().file("fusionlab.yaml", LAB).file("typo.yaml", "version: 1\nlan: {vpi: x}\n");
    let mut wrong = Vec::new();
    for verb in VERBS {
        let said = shown(&session, verb);
        assert!(!said.trim().is_empty(), "{verb} says nothing");
        assert!(!said.contains("+--"), "{verb} draws:\n{said}");
        let odd = |line: &&str| line.chars().any(|letter| !letter.is_ascii() || letter.is_ascii_control());
        wrong.extend(said.lines().filter(odd).map(|line| format!("{verb}: {line:?}")));
    }
    assert_eq!(wrong, Vec::<String>::new());
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn an_option_comes_before_the_environment_and_that_before_the_file_that_lies_there() {
    let name = |name: &str| format!("version: 1\nname: {name}\npreset: solo\n");
    let session = Session::new()
        .file("fusionlab.yaml", name("lying"))
        .file("b.yaml", name("environment"))
        .file("c.yaml", name("option"))
        .args(["status", "--output", "json"]);
    let lab = |session: Session| session.run().exits(0).json()["lab"].as_str().map(str::to_owned);
    assert_eq!(lab(session.clone()).as_deref(), Some("lying"));
    assert_eq!(lab(session.clone().env("FUSIONLAB_LAB", "b.yaml")).as_deref(), Some("environment"));
    let both = session.env("FUSIONLAB_LAB", "b.yaml").args(["--lab", "c.yaml"]);
    assert_eq!(lab(both).as_deref(), Some("option"));
}
