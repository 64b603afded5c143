//! What goes well is told in the documented lines and no other: no warning, no debugging, nothing of another program's.

use crate::support::session::Session;

/// Who has lines in the plain report of this lab, besides its machines.
const WHOLE: [&str; 2] = ["Mac", "cluster"];
const MACHINES: [&str; 2] = ["gateway1", "k8s-master1"];

/// What a line says after its step, by its beginning; any other is the step's own words, said once as it begins.
const NEWS: [&str; 6] =
    ["done in ", "as it should be, seen in ", "not yet: ", "waits for ", "waits until ", "note: "];
/// Notes of an `up` to which nothing happens.
const NOTES: [&str; 2] = ["gateway1 holds ", "no pod of the test application serves on "];
/// What the closing words name, each before its value or its explanation.
const CLOSING: [&str; 10] = [
    "VIP",
    "API",
    "HTTP",
    "HTTPS",
    "names",
    "kubeconfig",
    "proof",
    "fusionlab verify",
    "fusionlab status",
    "fusionlab destroy",
];

/// Reads one run's standard error, line by line.
struct Reader<'a> {
    begun: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    /// Says whether a line is a documented one (docs/json.md has the same events for programs).
    fn expects(&mut self, line: &'a str) -> bool {
        let timed = line.split_once(' ').filter(|(time, _)| is_time(time)).map(|(_, rest)| rest);
        match timed {
            Some(rest) => rest.ends_with(" steps") || self.of_a_step(rest),
            None => line.is_empty() || is_head(line) || is_closing(line),
        }
    }

    fn of_a_step(&mut self, rest: &'a str) -> bool {
        let mut words = rest.splitn(2, ' ');
        let who = words.next().unwrap_or_default();
        let rest = words.next().unwrap_or_default().trim_start();
        let (step, said) = rest.split_once(' ').unwrap_or((rest, ""));
        let said = said.trim_start();
        let is_step = step.split('.').count() == 2
            && step.chars().all(|letter| letter.is_ascii_lowercase() || ".-".contains(letter));
        if !is_step || (!WHOLE.contains(&who) && !MACHINES.contains(&who)) {
            return false;
        }
        if let Some(note) = said.strip_prefix("note: ") {
            return NOTES.iter().any(|known| note.starts_with(known));
        }
        if NEWS.iter().any(|news| said.starts_with(news)) || is_progress(said) {
            return true;
        }
        let is_first = !self.begun.contains(&rest);
        self.begun.push(rest);
        is_first
    }
}

fn is_time(word: &str) -> bool {
    word.len() == 8
        && word.split(':').count() == 3
        && word.chars().all(|letter| letter.is_ascii_digit() || letter == ':')
}

/// Says whether a line tells how much is done, such as `448.0 of 448.0 KiB`.
fn is_progress(said: &str) -> bool {
    said.starts_with(|letter: char| letter.is_ascii_digit()) && said.contains(" of ")
}

fn is_head(line: &str) -> bool {
    line.starts_with("lab  ·  ") && line.ends_with("(simulated)")
}

fn is_closing(line: &str) -> bool {
    line.starts_with("✓ lab is ") || CLOSING.iter().any(|name| line.starts_with(&format!("  {name} ")))
}

fn unexpected(stderr: &str) -> Vec<&str> {
    let mut reader = Reader { begun: Vec::new() };
    stderr.lines().filter(|line| !reader.expects(line)).collect()
}

#[test]
fn what_goes_well_says_the_documented_lines_and_no_other() {
    // Addresses below the pool, so that no lab file's rule has anything to say.
    let lab = "version: 1\npreset: solo\nnodes: {k8s-master1: {address: 10.10.0.31}}\n";
    let session = Session::new().file("fusionlab.yaml", lab);
    let run = |arguments: &[&str]| session.clone().args(arguments).run().exits(0);
    for arguments in [&["up", "--yes"][..], &["up", "--yes"], &["verify"], &["destroy", "--yes"]] {
        let ended = run(arguments);
        assert_eq!(unexpected(&ended.stderr), Vec::<&str>::new(), "{arguments:?}: {}", ended.stderr);
        if arguments == ["up", "--yes"] {
            assert_eq!(run(&["status"]).stderr, "");
        }
    }
}

#[test]
fn what_is_not_documented_is_noticed() {
    let good = "22:27:51 gateway1     vm.start             start gateway1";
    let bad = [
        "warning: something",
        "22:27:51 gateway1     vm.start             note: somebody is here",
        "22:27:51 stranger     vm.start             start gateway1",
        "thread 'main' panicked at src/main.rs",
        "vmrun: nothing",
    ];
    let all = [&[good], &bad[..], &[good]].concat().join("\n");
    assert_eq!(unexpected(&all), [&bad[..], &[good]].concat(), "a step's own words come once");
}
