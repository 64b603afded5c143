//! Whoever is asked is told what about: also with `--quiet`, which leaves out words, and no reasons to say no.

use crate::support::dialogue::{Dialogue, ENTER};
use crate::support::session::Session;

/// Asks in a terminal with `--quiet`, answers, and returns the exit status with what was on the screen.
fn asked(session: &Session, verb: &str, question: &str, answer: &str) -> (Option<i32>, String) {
    let mut dialogue = Dialogue::begin(session.clone(), &format!("--sim --quiet {verb}"), 60, 100);
    dialogue.until(question).press(answer);
    let (code, screen, _) = dialogue.end();
    (code, console::strip_ansi_codes(&screen).into_owned())
}

#[test]
fn a_quiet_verb_that_asks_shows_what_it_asks_about() {
    let session = Session::new().file("fusionlab.yaml", "version: 1\nname: attic\npreset: solo\n");
    let (code, screen) = asked(&session, "up", "Do this?", "n");
    assert_eq!(code, Some(130), "{screen}");
    for part in ["attic", "(simulated)", "k8s-master1", "answer VNET_2_NAT yes"] {
        assert!(screen.contains(part), "{part}: {screen}");
    }
    let (_, screen) = asked(&session, "network apply", "Do this?", "y");
    assert!(screen.contains("attic") && screen.contains("answer VNET_2_NAT yes"), "{screen}");
    let (code, screen) = asked(&session, "destroy", "Type the lab's name", &format!("other{ENTER}"));
    assert_eq!(code, Some(130), "{screen}");
    assert!(screen.contains("lab \"attic\"") && screen.contains("(simulated)"), "{screen}");
}

#[test]
fn quiet_without_a_question_says_nothing() {
    let session = Session::new().file("fusionlab.yaml", "version: 1\npreset: solo\n");
    let mut dialogue = Dialogue::begin(session, "--sim --quiet network apply --yes", 40, 100);
    dialogue.noted();
    let (code, screen, _) = dialogue.end();
    assert_eq!((code, screen.trim()), (Some(0), ""), "{screen}");
}

#[test]
fn a_quiet_init_says_that_it_asks() {
    let (code, screen, session) = Dialogue::begin(Session::new(), "--sim --quiet init", 40, 100).end();
    assert_eq!(code, Some(2), "{screen}");
    assert!(screen.contains("--quiet leaves the questions out"), "{screen}");
    assert!(!session.work().join("fusionlab.yaml").exists());
}
