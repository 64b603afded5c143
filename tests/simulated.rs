//! The simulated Mac from outside: its hazards by the program's own verb, and the fault that kills a caller.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use crate::support::session::Session;

const KILLED: i32 = 9;

/// Lays a simulated Mac out.
fn laid_out() -> Session {
    Session::new().args(["sim", "start"]).run().exits(0).session
}

/// Lets a shell call one of the simulated Fusion's programs, and say so if it lives to do it.
fn called_by_shell(session: &Session, line: &str) -> Output {
    let programs = session.simulated_mac().join("Applications/VMware Fusion.app/Contents/Library");
    let script = format!("'{}'/{line}; echo lived on", programs.display());
    Command::new("sh").args(["-c", &script]).output().expect("sh runs")
}

fn fault(session: &Session, arguments: &[&str]) {
    session.clone().args(["sim", "fault"]).args(arguments).run().exits(0);
}

fn status(session: &Session) -> String {
    let output = called_by_shell(session, "vmnet-cli --status");
    String::from_utf8(output.stdout).expect("it speaks plain text")
}

#[test]
fn hazards_are_listed_seeded_and_named_when_unknown() {
    let listed = Session::new().args(["sim", "hazard", "--output", "json"]).run().exits(0);
    let listed = listed.json();
    assert_eq!(listed["schema"], "fusionlab.sim/1");
    let names: Vec<_> =
        listed["hazards"].as_array().expect("a list").iter().map(|one| &one["name"]).collect();
    assert!(names.iter().any(|name| *name == "window-open") && names.len() > 12, "{names:?}");

    let seeded =
        Session::new().args(["sim", "hazard", "crlf", "vmnet2-bridged", "old-fusion"]).run().exits(0);
    let networking = seeded.session.simulated_mac().join("Library/Preferences/VMware Fusion/networking");
    let text = fs::read_to_string(networking).expect("it is text");
    assert!(text.ends_with("add_bridge_mapping en0 2\r\n"), "{text}");
    // The verb goes on working on a Mac whose Fusion is too old for every other.
    let session = seeded.session.args(["sim", "hazard", "window-open"]).run().exits(0).session;
    let refused = session.args(["sim", "hazard", "nonsense"]).run().exits(2);
    assert!(refused.stderr.contains("there is no hazard nonsense"), "{}", refused.shown());
}

#[test]
fn a_link_is_cut_by_its_card_and_mended_by_the_same_words() {
    let session = laid_out();
    let said = |arguments: &[&str], code: i32| {
        let ended = session.clone().args(["sim", "fault"]).args(arguments).run().exits(code);
        ended.stdout + &ended.stderr
    };
    let cut = ["link-silent", "--on", "gateway1/ens160"];
    assert!(said(&cut, 0).contains("until: fusionlab sim fault link-silent --on gateway1/ens160 --clear"));
    let mend = [&cut[..], &["--clear"]].concat();
    assert_eq!(said(&mend, 0), "no link-silent on gateway1/ens160 any more\n");
    assert_eq!(said(&mend, 0), "there was no link-silent on gateway1/ens160\n");
    assert!(said(&["link-down"], 2).contains("link-down takes a machine and its card"));
    assert!(said(&["link-down", "--on", "gateway1"], 2).contains("--on gateway1/ens160"));
    let counted = ["link-down", "--on", "gateway1/ens160", "--times", "2"];
    assert!(said(&counted, 2).contains("lasts until it is cleared"));
    assert!(said(&["link-dwn", "--clear"], 2).contains("there is no fault link-dwn"));
}

#[test]
fn a_caller_dies_before_the_effect_or_after_it() {
    let session = laid_out();
    fault(&session, &["caller-dies", "--on", "vmnet-cli --stop before", "--times", "1"]);
    let output = called_by_shell(&session, "vmnet-cli --stop");
    assert_eq!(output.status.signal(), Some(KILLED));
    assert_eq!(output.stdout, b"", "the caller lives no longer, and nothing was done");
    assert!(status(&session).contains("DHCP service on vmnet8 is running\n"));

    fault(&session, &["caller-dies", "--on", "vmnet-cli --stop after", "--times", "1"]);
    let output = called_by_shell(&session, "vmnet-cli --stop");
    assert_eq!(output.status.signal(), Some(KILLED));
    assert!(output.stdout.ends_with(b"Stopped all configured services on all networks\n"));
    assert!(status(&session).contains("DHCP service on vmnet8 is not running\n"));
}

#[test]
fn a_caller_dies_in_the_call_that_was_chosen() {
    let session = laid_out();
    fault(
        &session,
        &["caller-dies", "--on", "vmnet-cfgcli servicestop after", "--after", "1", "--times", "1"],
    );
    let survives = |line: &str| called_by_shell(&session, line).stdout.ends_with(b"lived on\n");
    assert!(survives("vmnet-cfgcli servicestop vmnet8 dhcp"), "one occasion passes");
    assert!(survives("vmnet-cfgcli servicestart vmnet8 dhcp"), "another call");
    assert!(!survives("vmnet-cfgcli servicestop vmnet8 dhcp"));
    assert!(survives("vmnet-cfgcli servicestop vmnet8 dhcp"), "once is once");
}
