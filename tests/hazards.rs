//! What a stranger's Mac may be like, hazard by hazard: one clear message each, and nothing foreign is lost.
//!
//! A row for each of facts/fusion-networking.md §7.5, and for the ways in which Fusion's programs lie.

use std::fs;
use std::path::PathBuf;

use crate::support::session::Session;

/// A hazard that keeps us from going on.
struct Refused {
    hazard: &'static str,
    exit: i32,
    /// What the one report holds.
    says: &'static [&'static str],
}

const fn refused(hazard: &'static str, exit: i32, says: &'static [&'static str]) -> Refused {
    Refused { hazard, exit, says }
}

const REFUSED: &[Refused] = &[
    refused("vmnet2-bridged", 7, &["vmnet2 is taken by the bridge to en0", "internal: {vmnet: 3}"]),
    refused(
        "vmnet2-taken",
        7,
        &["vmnet2 is taken by another network (172.16.2.0/24)", "internal: {vmnet: 3}"],
    ),
    refused(
        "reserved-by-another",
        7,
        &["10.10.0.131 on vmnet2 is reserved for 00:0c:29:4b:1d:2e", "another address for that machine"],
    ),
    refused("window-open", 4, &["VMware Fusion's window is open", "quit Fusion"]),
    refused("stranger-runs", 4, &["is not this lab's", "shut down or suspend", ".vmx"]),
    refused(
        "subnet-routed",
        7,
        &["10.10.0.0/24 is routed to utun4 (10.0.0.0/8)", "disconnect what holds utun4"],
    ),
    refused("old-fusion", 4, &["12.1.2 cannot be used", "Apple's DHCP server", "newer Fusion"]),
    refused("binary", 7, &["networking file, line", "binary data"]),
    refused("wrong-version", 7, &["networking file, line 1", "VERSION=1,0"]),
];

/// A hazard that is gone through: what `network plan` or `doctor` tells of it.
struct Passed {
    hazard: &'static str,
    verb: &'static [&'static str],
    says: &'static str,
    /// What Fusion itself writes into the file when it applies it: that is not ours to take out.
    fusion_adds: &'static str,
}

const PLAN: &[&str] = &["network", "plan"];
const DOCTOR: &[&str] = &["doctor"];

const fn passed(hazard: &'static str, verb: &'static [&'static str], says: &'static str) -> Passed {
    Passed { hazard, verb, says, fusion_adds: "" }
}

const PASSED: &[Passed] = &[
    passed("husk", DOCTOR, "what a deleted network left"),
    passed("two-digit-vnets", DOCTOR, "compared with 4 other networks"),
    passed("unknown-keys", PLAN, "add_link_quality"),
    passed("empty-value", PLAN, "VNET_1_DISPLAY_NAME"),
    passed("descriptions", PLAN, "description"),
    passed("glued", PLAN, "add_dhcp_mac_to_ip"),
    passed("comments", PLAN, "comment"),
    passed("crlf", PLAN, "CRLF"),
    passed("no-last-newline", PLAN, "last line"),
    Passed {
        fusion_adds: "add_nat_portfwd 8 tcp 2222 192.168.215.31 22\n",
        ..passed("stale-nat-forwards", DOCTOR, "port 2222 in vmnet8/nat.conf")
    },
];

/// A way in which Fusion's programs lie, and how `network apply` ends.
struct Lie {
    fault: &'static str,
    exit: i32,
    says: &'static str,
}

const LIES: &[Lie] = &[
    Lie { fault: "network-start-fails-and-lies", exit: 7, says: "Failed to start DHCP service on vmnet" },
    Lie { fault: "network-configure-fails", exit: 7, says: "vmnet-cli" },
    Lie { fault: "ui-overwrites-networking", exit: 7, says: "Fusion rewrote its networking file" },
    Lie { fault: "network-exit-lies", exit: 0, says: "" },
    Lie { fault: "status-silent", exit: 0, says: "" },
    Lie { fault: "compacts", exit: 0, says: "" },
];

fn networking(session: &Session) -> PathBuf {
    session.simulated_mac().join("Library/Preferences/VMware Fusion/networking")
}

fn read(session: &Session) -> String {
    String::from_utf8_lossy(&fs::read(networking(session)).expect("there is a networking file")).into_owned()
}

fn with_hazard(hazard: &str) -> Session {
    let session = Session::new();
    session.clone().args(["sim", "hazard", hazard]).run().exits(0);
    session
}

#[test]
fn what_stands_in_the_way_is_one_clear_message_and_nothing_is_changed() {
    for row in REFUSED {
        let session = with_hazard(row.hazard);
        let before = read(&session);
        for verb in [&["network", "apply", "--yes"][..], &["up", "--yes"]] {
            let ended = session.clone().args(verb).run();
            assert_eq!(ended.status.code(), Some(row.exit), "{}:\n{}", row.hazard, ended.shown());
            // The screen may break a line anywhere.
            let words = ended.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
            for part in row.says {
                assert!(words.contains(part), "{}: lacks {part:?}:\n{}", row.hazard, ended.shown());
            }
            assert_eq!(ended.stderr.matches("error:").count(), 1, "{}:\n{}", row.hazard, ended.shown());
        }
        assert_eq!(read(&session), before, "{}", row.hazard);
        let doctor = session.clone().arg("doctor").run();
        assert_ne!(doctor.status.code(), Some(1), "{}:\n{}", row.hazard, doctor.shown());
    }
}

#[test]
fn what_does_not_stand_in_the_way_is_told_kept_and_undone() {
    for row in PASSED {
        let session = with_hazard(row.hazard);
        let before = read(&session);
        let told = session.clone().args(row.verb).run().exits(0);
        let words = format!("{} {}", told.stdout, told.stderr);
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(row.says), "{}: lacks {:?}:\n{}", row.hazard, row.says, told.shown());

        session.clone().args(["network", "apply", "--yes"]).run().exits(0);
        let applied = read(&session);
        let mut lines = applied.lines();
        // What a deleted vmnet2 left is in its network's place; everything else is somebody else's.
        for line in before.lines().filter(|line| !line.contains("VNET_2_")) {
            assert!(lines.any(|other| other == line), "{}: {line:?} is lost or moved", row.hazard);
        }
        session.clone().args(["network", "plan", "--detailed-exitcode"]).run().exits(0);
        session.clone().args(["network", "restore", "--yes"]).run().exits(0);
        let expected = before + row.fusion_adds;
        assert_eq!(read(&session), expected, "{}: not the bytes of before", row.hazard);
    }
}

#[test]
fn lies_of_fusions_programs_are_seen_through() {
    for row in LIES {
        let session = Session::new();
        session.clone().args(["sim", "start"]).run().exits(0);
        let before = read(&session);
        session.clone().args(["sim", "fault", row.fault, "--times", "1"]).run().exits(0);
        let ended = session.clone().args(["network", "apply", "--yes"]).run();
        assert_eq!(ended.status.code(), Some(row.exit), "{}:\n{}", row.fault, ended.shown());
        assert!(ended.stderr.contains(row.says), "{}:\n{}", row.fault, ended.shown());
        if row.exit == 0 {
            session.clone().args(["network", "plan", "--detailed-exitcode"]).run().exits(0);
            session.clone().args(["network", "restore", "--yes"]).run().exits(0);
        }
        assert_eq!(read(&session), before, "{}: not the bytes of before", row.fault);
    }
}
