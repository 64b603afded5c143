//! What shells propose: the scripts ask the program, and the program answers from files alone.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::programs::present;
use crate::support::dialogue::Dialogue;
use crate::support::session::Session;

/// Ctrl-U: takes away what was typed.
const KILL_LINE: &str = "\u{15}";

/// Asks as fish does, whose protocol is the words typed so far; returns what is proposed, without its explanation.
fn proposed(session: &Session, typed: &[&str]) -> BTreeSet<String> {
    let asked = session.clone().env("FUSIONLAB_COMPLETE", "fish").args(["--", "fusionlab"]).args(typed);
    let ended = asked.run().exits(0);
    assert_eq!(ended.stderr, "", "nobody reads words at a Tab");
    ended.stdout.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn machines_are_those_of_the_lab_file_here() {
    let lab = "version: 1\npreset: solo\nnodes: {k8s-master1: {address: 10.10.0.31}}\n";
    let session = Session::new().file("fusionlab.yaml", lab);
    for verb in [&["ssh", ""][..], &["console", ""], &["logs", ""], &["exec", ""], &["drill", "--on", ""]] {
        let names = proposed(&session, verb);
        let machines: BTreeSet<String> = names.into_iter().filter(|name| !name.starts_with('-')).collect();
        assert_eq!(machines, set(&["gateway1", "k8s-master1"]), "{verb:?}");
    }
    assert_eq!(proposed(&session, &["ssh", "k8s"]), set(&["k8s-master1"]));
    assert_eq!(proposed(&session, &["cp", "gate"]), set(&["gateway1:"]));
    assert!(session.processes().is_empty(), "no Fusion is asked");
}

#[test]
fn where_there_is_no_lab_file_the_machines_are_the_built_in_labs_and_a_broken_one_proposes_none() {
    let session = Session::new();
    assert_eq!(proposed(&session, &["ssh", "k8s-w"]), set(&["k8s-worker1", "k8s-worker2"]));
    let broken = session.file("fusionlab.yaml", "version: one\n");
    assert_eq!(proposed(&broken, &["ssh", "k8s-w"]), set(&[]));
}

#[test]
fn verbs_options_ids_scenarios_and_checks_are_proposed() {
    let session = Session::new();
    assert!(proposed(&session, &["sta"]).contains("status"));
    assert!(proposed(&session, &["up", "--pre"]).contains("--preset"));
    assert_eq!(proposed(&session, &["explain", "vm-r"]), set(&["vm-runs"]));
    assert_eq!(proposed(&session, &["drill", "gateway-v"]), set(&["gateway-vm"]));
    assert!(proposed(&session, &["verify", "--only", "lan."]).contains("lan.https"));
    let hidden = proposed(&session, &[""]);
    assert!(!hidden.iter().any(|verb| verb.contains("as-root")), "{hidden:?}");
}

/// Returns what is proposed for the words typed so far, without options.
pub fn values(session: &Session, typed: &[&str]) -> BTreeSet<String> {
    proposed(session, typed).into_iter().filter(|value| !value.starts_with('-')).collect()
}

#[test]
fn what_was_typed_before_decides_which_lab_and_which_home_are_meant() {
    let solo = "version: 1\npreset: solo\n";
    let session = Session::new().file("solo.yaml", solo).file("other/network/backups/20260801-abc", "");
    let both = set(&["gateway1", "k8s-master1"]);
    assert_eq!(values(&session, &["--lab", "solo.yaml", "ssh", ""]), both);
    assert_eq!(values(&session, &["ssh", "--lab=solo.yaml", ""]), both);
    assert_eq!(values(&session.clone().env("FUSIONLAB_LAB", "solo.yaml"), &["ssh", ""]), both);
    assert_eq!(values(&session, &["--lab", "missing.yaml", "ssh", ""]), set(&[]));
    let backups = values(&session, &["--home", "other", "network", "restore", ""]);
    assert_eq!(backups, set(&["20260801-abc"]));
    assert_eq!(values(&session, &["network", "restore", ""]), set(&[]));
}

#[test]
fn files_here_are_proposed_where_files_are_meant() {
    let session = Session::new().file("notes.txt", "").file("mine.pub", "").file("site/index.html", "");
    assert_eq!(proposed(&session, &["cp", "n"]), set(&["notes.txt"]));
    assert_eq!(proposed(&session, &["cp", "si"]), set(&["site/"]));
    assert!(values(&session, &["cp", ""]).is_superset(&set(&["gateway1:", "notes.txt", "site/"])));
    assert_eq!(proposed(&session, &["init", "--ssh-key", "m"]), set(&["mine.pub"]));
    assert_eq!(proposed(&session, &["init", "--ssh-key", "non"]), set(&["none"]));
}

#[test]
fn interfaces_are_those_of_the_mac_that_is_meant() {
    let session = Session::new();
    session.clone().args(["sim", "start"]).run().exits(0);
    assert!(values(&session, &["init", "--interface", ""]).contains("en0"), "of the simulated Mac");
    assert_eq!(proposed(&session, &["init", "--interface", "nosuch"]), set(&[]));
    session.args(["sim", "wipe"]).run().exits(0);
}

#[test]
fn names_of_tables_are_proposed() {
    let session = Session::new();
    assert!(values(&session, &["image", "fetch", ""]).contains("debian-13"));
    assert_eq!(proposed(&session, &["sim", "fault", "start-l"]), set(&["start-lies"]));
    assert_eq!(proposed(&session, &["sim", "fault", "link-silent", "--on", "gateway2"]), set(&["gateway2"]));
    assert_eq!(proposed(&session, &["sim", "hazard", "hus"]), set(&["husk"]));
    let parts = values(&session, &["support", "--without", ""]);
    assert!(
        parts.is_superset(&set(&["guests", "fusion", "machines/gateway1", "guests/gateway1.log"])),
        "{parts:?}"
    );
    assert!(!parts.contains("contents.txt"), "{parts:?}");
    assert_eq!(proposed(&session, &["man", "netw"]), set(&["network"]));
    let below = values(&session, &["man", "network", ""]);
    assert!(
        below.contains("restore") && !below.contains("apply-as-root") && !below.contains("up"),
        "{below:?}"
    );
}

#[test]
fn a_form_is_proposed_to_verbs_that_have_it() {
    let session = Session::new();
    assert_eq!(proposed(&session, &["status", "--output", ""]), set(&["json", "text"]));
    assert_eq!(proposed(&session, &["verify", "--output", ""]), set(&["json", "junit", "text"]));
}

#[test]
fn every_shells_script_asks_the_program() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Session::new().args(["completions", shell]).run().exits(0).stdout;
        assert!(script.contains("FUSIONLAB_COMPLETE"), "{shell}: {script}");
    }
}

/// Returns a shell's lines that find the program and take its completion script.
fn taken(session: &Session, shell: &str, path: &str) -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_fusionlab")).parent().expect("it lies in a folder");
    let script = session.clone().args(["completions", shell]).run().exits(0).stdout;
    format!("{}\n{script}\n", path.replace("FOLDER", &folder.display().to_string()))
}

/// Runs a shell's lines and returns what they print.
fn printed(session: Session, shell: &str, lines: &str) -> Vec<String> {
    let session = session.file("driver", lines);
    let output = Command::new(shell)
        .arg(session.work().join("driver"))
        .current_dir(session.work())
        .env("HOME", session.root())
        .output()
        .unwrap_or_else(|error| panic!("{shell} does not run: {error}"));
    assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn bash_completes_a_machine() {
    let session = Session::new();
    // What readline does: it calls the registered function with the words and takes COMPREPLY.
    let driver = "function=$(complete -p fusionlab | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n\
         COMP_WORDS=(fusionlab ssh k8s-worker) COMP_CWORD=2 COMP_TYPE=9\n\
         $function fusionlab k8s-worker ssh\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n";
    let lines = taken(&session, "bash", "PATH=FOLDER:$PATH") + driver;
    assert_eq!(printed(session, "bash", &lines), ["k8s-worker1", "k8s-worker2"]);
}

#[test]
fn fish_completes_a_machine_with_its_address() {
    if !present("fish", false) {
        return;
    }
    let session = Session::new();
    let lines =
        taken(&session, "fish", "set -x PATH FOLDER $PATH") + "complete -C 'fusionlab ssh k8s-worker'\n";
    assert_eq!(printed(session, "fish", &lines), ["k8s-worker1\t10.10.0.141", "k8s-worker2\t10.10.0.142"]);
}

#[test]
fn zsh_completes_a_machine_at_a_tab() {
    if !present("zsh", false) {
        return;
    }
    let session = Session::new();
    let lines = taken(&session, "zsh", "PATH=FOLDER:$PATH; autoload -Uz compinit && compinit -u -D");
    let mut zsh = Dialogue::run(session.file("driver", lines), "exec zsh -f -i", 24, 80);
    // The prompt is another than the words that set it.
    zsh.press("source ./driver; PS1=rea'dy> '\r").until("ready> ");
    zsh.press("fusionlab ssh k8s-w\t").until("orker");
    zsh.press("\t").until("k8s-worker1  -- 10.10.0.141").until("k8s-worker2  -- 10.10.0.142");
    zsh.press(KILL_LINE).press("exit 0\r");
    assert_eq!(zsh.end().0, Some(0));
}
