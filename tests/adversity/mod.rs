//! What can go wrong from outside, one row each of `docs/adversity.md`: it ends with the exit and the words of that page,
//! loses nothing, and the next run goes on from there.

mod clock;
mod disk;
mod rows;

use std::fs;
use std::path::PathBuf;

use crate::support::session::{Ended, Session};
use crate::up::{Journal, planned};
use rows::{APPLY, BORNE, BY_HAND, DESTROY, LAB, MACHINES, NETWORKS, REMOVALS, REST, RESTORE, Row, UP};

const PAGE: &str = include_str!("../../docs/adversity.md");

fn plant(session: &Session, row: &Row) {
    session.clone().args(["sim", "fault"]).args(row.fault).run().exits(0);
}

fn clear(session: &Session) {
    session.clone().args(["sim", "fault", "--clear"]).run().exits(0);
}

/// Returns what was said as one line: the screen may break it anywhere.
fn words(ended: &Ended) -> String {
    ended.stderr.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn ends_as_told(ended: &Ended, row: &Row) {
    assert_eq!(ended.status.code(), Some(row.exit), "{}:\n{}", row.happens, ended.shown());
    assert!(words(ended).contains(row.says), "{}: lacks {:?}:\n{}", row.happens, row.says, ended.shown());
    let is_shown = |char: char| char == '\n' || !char.is_control();
    assert!(
        ended.stderr.chars().all(is_shown) && ended.stdout.chars().all(is_shown),
        "{}: {:?}",
        row.happens,
        ended.stderr
    );
}

fn run(session: &Session, row: &Row) {
    plant(session, row);
    let ended = session.clone().args(row.verb).run();
    ends_as_told(&ended, row);
    clear(session);
}

fn networking(session: &Session) -> PathBuf {
    session.simulated_mac().join("Library/Preferences/VMware Fusion/networking")
}

fn solo() -> Session {
    let session = Session::new().file("fusionlab.yaml", LAB);
    session.clone().args(["sim", "start"]).run().exits(0);
    session
}

/// Proves that the next `up` makes all of it, and that nothing is left to do.
fn comes_up(session: &Session) {
    session.clone().args(UP).run().exits(0);
    session.clone().args(["plan", "--detailed-exitcode"]).run().exits(0);
}

#[test]
fn every_row_of_the_page_is_tested_and_every_test_has_its_row() {
    let rows: Vec<Vec<&str>> = PAGE
        .lines()
        .filter(|line| line.starts_with('|') && !line.contains("---"))
        .skip(1)
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let mut tested: Vec<(&str, String, &str)> = [NETWORKS, MACHINES, BORNE, REMOVALS, REST]
        .into_iter()
        .flatten()
        .map(|row| (row.happens, row.exit.to_string(), row.says))
        .collect();
    tested.extend(BY_HAND.iter().map(|(happens, exit)| (*happens, (*exit).to_owned(), "")));
    for (happens, exit, says) in &tested {
        let row = rows.iter().find(|row| row[0] == *happens).unwrap_or_else(|| panic!("no row: {happens}"));
        assert_eq!(row[1], exit, "{happens}");
        assert!(row[2].contains(says), "{happens}: {:?} lacks {says:?}", row[2]);
    }
    assert_eq!(rows.len(), tested.len(), "a row of the page is not tested");
}

#[test]
fn networks_tools_that_hang_are_left_and_fusions_file_is_as_it_was() {
    let session = solo();
    let before = fs::read(networking(&session)).expect("there is a networking file");
    for row in NETWORKS {
        run(&session, row);
        if row.exit != 0 {
            let after = fs::read(networking(&session)).expect("there is a networking file");
            assert_eq!(after, before, "{}", row.happens);
            session.clone().args(APPLY).run().exits(0);
        }
        session.clone().args(RESTORE).run().exits(0);
        assert_eq!(fs::read(networking(&session)).expect("it stays"), before, "{}", row.happens);
    }
}

#[test]
fn vmrun_hanging_on_any_verb_stops_only_that_and_the_next_up_goes_on() {
    let session = solo();
    let journal = Journal::of(&session);
    for row in MACHINES {
        let others = "node.prepare/k8s-master1";
        let before = journal.starts_of(others);
        run(&session, row);
        if row.fault[0] == "guest-stalls" {
            assert!(before == 0 && journal.starts_of(others) > 0, "another machine's steps go on meanwhile");
        }
    }
    comes_up(&session);
    for row in REMOVALS {
        run(&session, row);
        if row.exit == 0 {
            assert!(
                !session.simulated_mac().join("Virtual Machines.localized/lab").exists(),
                "{}",
                row.happens
            );
            session.clone().args(UP).run().exits(0);
        }
    }
    session.args(DESTROY).run().exits(0);
}

#[test]
fn what_is_borne_ends_in_a_lab_that_is_up() {
    let session = solo();
    for row in BORNE {
        plant(&session, row);
    }
    let ended = session.clone().args(UP).run();
    for row in BORNE {
        ends_as_told(&ended, row);
    }
    clear(&session);
    session.clone().args(["plan", "--detailed-exitcode"]).run().exits(0);
    session.args(DESTROY).run().exits(0);
}

#[test]
fn vmrest_that_hangs_or_refuses_is_left_at_its_limit_and_the_next_up_goes_on() {
    // Its password costs time to check.
    let lab = LAB.replace("fusion_query: 4", "fusion_query: 10");
    let session = solo().file("fusionlab.yaml", format!("{lab}driver: rest\n"));
    REST.iter().for_each(|row| run(&session, row));
    comes_up(&session);
    session.args(DESTROY).run().exits(0);
}

/// Steps on the whole lab that give commands, and the machine on which they do.
const OF_THE_LAB: [(&str, &str); 6] = [
    ("gateway.vips", "gateway1"),
    ("kube.endpoint", "k8s-master1"),
    ("gateway-api.install", "k8s-master1"),
    ("cilium.install", "k8s-master1"),
    ("kube.nodes", "k8s-master1"),
    ("ingress.configure", "k8s-master1"),
];

/// Returns the node on which a step gives commands, if it does.
fn guest_of(step: &str) -> Option<&str> {
    let Some((verb, node)) = step.split_once('/') else {
        return OF_THE_LAB.iter().find(|(of_the_lab, _)| *of_the_lab == step).map(|(_, node)| *node);
    };
    let in_guests = ["guest.", "node.", "gateway.", "lan.", "kube."];
    in_guests.iter().any(|kind| verb.starts_with(kind)).then_some(node)
}

#[test]
fn ssh_that_breaks_in_the_middle_of_any_guest_step_is_told_and_the_next_up_goes_on() {
    let session = solo();
    let steps = planned(&session);
    let journal = Journal::of(&session);
    let (mut broken, mut told) = (0, 0);
    for step in steps.iter().filter(|step| guest_of(step).is_some()) {
        let node = guest_of(step).expect("it is a guest's");
        let before = journal.starts_of(step);
        let mut up = session.clone().args(UP).start();
        up.wait_until(|| journal.starts_of(step) > before);
        session.clone().args(["sim", "fault", "ssh-drops", "--on", node]).run().exits(0);
        let ended = up.wait();
        clear(&session);
        broken += 1;
        match ended.status.code() {
            // What is looked at again bears it.
            Some(0) => {}
            // In a wait for the cluster (9), or the step was quicker than we were, and it broke in the proof (10).
            Some(9 | 10) => assert!(
                words(&ended).contains(&format!("the connection to {node} broke")),
                "{step}: {}",
                ended.shown()
            ),
            Some(8) => {
                told += 1;
                let says = ["connection-lost", "takes our SSH key"];
                assert!(says.iter().any(|says| words(&ended).contains(says)), "{step}: {}", ended.shown());
            }
            _ => panic!("{step}: {}", ended.shown()),
        }
        // Some steps are done by now, and would not be there to be broken.
        session.clone().args(DESTROY).run().exits(0);
    }
    assert!(broken > 4 && told > 0, "{told} of {broken}");
    comes_up(&session);
    session.args(DESTROY).run().exits(0);
}

#[test]
fn every_wish_to_stop_says_what_stands_and_the_next_up_goes_on() {
    let session = solo();
    let journal = Journal::of(&session);
    for signal in ["TERM", "HUP", "INT"] {
        let before = journal.starts_of("vm.start/gateway1");
        let mut up = session.clone().args(UP).start();
        up.wait_until(|| journal.starts_of("vm.start/gateway1") > before);
        up.signal(signal);
        let ended = up.wait().exits(130);
        assert!(words(&ended).contains("what was finished stands"), "{signal}: {}", ended.shown());
        session.clone().args(DESTROY).run().exits(0);
    }
    session.args(UP).run().exits(0);
}

#[test]
fn who_was_made_deaf_to_the_end_of_the_terminal_goes_on() {
    let session = solo().under(["nohup"]);
    let journal = Journal::of(&session);
    let mut up = session.clone().args(UP).start();
    up.wait_until(|| journal.starts_of("vm.start/gateway1") > 0);
    up.signal("HUP");
    up.wait().exits(0);
}

#[test]
fn a_process_that_was_stopped_for_a_while_goes_on_as_if_nothing_had_been() {
    let session = solo();
    let journal = Journal::of(&session);
    let mut up = session.clone().args(UP).start();
    for step in ["template.bake", "guest.ready/gateway1", "kube.init/k8s-master1"] {
        up.wait_until(|| journal.starts_of(step) > 0);
        up.signal("STOP");
        // Longer than any single question of the run, and shorter than its limits.
        std::thread::sleep(std::time::Duration::from_secs(2));
        up.signal("CONT");
    }
    up.wait().exits(0);
    session.clone().args(["plan", "--detailed-exitcode"]).run().exits(0);
}

#[test]
fn a_disk_that_is_full_while_a_vm_is_cloned_is_named() {
    let session = solo();
    session.clone().args(["sim", "fault", "disk-full"]).run().exits(0);
    let ended = session.clone().args(UP).run().exits(6);
    assert!(words(&ended).contains("disk"), "{}", ended.shown());
    clear(&session);
    comes_up(&session);
}
