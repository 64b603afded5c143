//! Before the gateways take the VIP: who else on the LAN has it, or their VRRP router id; and Wi-Fi, which is no LAN for it.

use serde_json::Value;

use crate::support::session::Session;

/// The smallest lab: the LAN has nothing to do with its size.
const SOLO: &str = "version: 1\npreset: solo\n";

fn solo() -> Session {
    Session::new().file("fusionlab.yaml", SOLO)
}

/// Returns the ids of the steps that are still to be done.
fn planned(session: &Session) -> Vec<String> {
    let plan = session.clone().args(["plan", "--output", "json"]).run().exits(0).json();
    let steps = plan["steps"].as_array().expect("a list of steps");
    steps.iter().map(|step| step["id"].as_str().expect("a step has an id").to_owned()).collect()
}

#[test]
fn a_vip_that_somebody_has_is_not_taken_and_another_one_goes_on_from_there() {
    let session = solo();
    session.clone().args(["sim", "hazard", "vip-taken"]).run().exits(0);
    let refused = session.clone().args(["up", "--yes"]).run().exits(7);
    for part in [
        "192.168.68.200 is taken: 3c:2a:f4:0b:1d:2e answers for it on the LAN",
        "nothing was configured",
        "lan: {vip: …}",
        "explain vip-taken",
    ] {
        let flat = refused.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(part), "{part:?} is not in:\n{}", refused.stderr);
    }
    let steps = planned(&session);
    for id in ["lan.probe/gateway1", "gateway.configure/gateway1", "gateway.vips"] {
        assert!(steps.iter().any(|step| step == id), "{id} is still to be done: {steps:?}");
    }
    let facts = session.clone().args(["status", "--output", "json"]).run().exits(0).json();
    assert!(
        facts["vips"].as_array().is_some_and(|vips| vips.iter().all(|vip| vip["holder"].is_null())),
        "{facts:#}"
    );

    let moved = session.clone().file("fusionlab.yaml", format!("{SOLO}lan: {{vip: 192.168.68.201}}\n"));
    moved.clone().args(["up", "--yes"]).run().exits(0);
    assert_eq!(planned(&moved), Vec::<String>::new(), "a VIP that is held is not asked for again");
}

#[test]
fn a_terminal_that_macos_keeps_from_the_machines_is_told_so_and_no_machine_pays_for_it() {
    let lab = format!("{SOLO}limits: {{guest_ssh: 12}}\n");
    let session = Session::new().file("fusionlab.yaml", lab);
    session.clone().args(["sim", "fault", "local-network-denied"]).run().exits(0);
    let denied = session.clone().args(["up", "--yes"]).run().exits(4);
    let flat = denied.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["this Mac finds no way to gateway1 at", "Local Network", "explain local-network-denied"] {
        assert!(flat.contains(part), "{part:?} is not in:\n{}", denied.stderr);
    }
    assert!(!flat.contains("switched off"), "{}", denied.stderr);
    let doctor = session.clone().args(["doctor", "--output", "json"]).run().exits(4).first_json();
    let mut checks = doctor["checks"].as_array().expect("a list of checks").iter();
    let check = checks.find(|check| check["id"] == "mac.local-network").expect("it is among them");
    assert_eq!(check["state"], "fail", "{check:#}");
    session.clone().args(["sim", "fault", "--clear"]).run().exits(0);
    session.clone().args(["up", "--yes"]).run().exits(0);
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn a_gateways_own_address_that_somebody_has_is_told_before_it_is_used_for_anything() {
    let session = solo();
    session.clone().args(["sim", "hazard", "gateway-address-taken"]).run().exits(0);
    let refused = session.clone().args(["up", "--yes"]).run().exits(7);
    let flat = refused.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "192.168.68.56, which is to be gateway1's, is taken: 3c:2a:f4:0b:1d:2e answers for it on the LAN",
        "explain lan-address-taken",
    ] {
        assert!(flat.contains(part), "{part:?} is not in:\n{}", refused.stderr);
    }
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn a_router_id_that_somebody_has_is_not_used() {
    let session = solo();
    session.clone().args(["sim", "hazard", "vrrp-stranger"]).run().exits(0);
    let refused = session.clone().args(["up", "--yes", "--output", "json"]).run().exits(7);
    let last: Value =
        refused.stdout.lines().last().map(serde_json::from_str).expect("a line").expect("of JSON");
    assert_eq!(last["error"]["id"], "router-id-taken", "{last:#}");
    let what = last["error"]["what"].as_str().unwrap_or_default();
    assert!(
        what.contains("id 51") && what.contains("38:94:ed:56:6f:8e") && what.contains("ens160"),
        "{what}"
    );
    let other = session.file("fusionlab.yaml", format!("{SOLO}gateways: {{router_id: 52}}\n"));
    other.args(["up", "--yes"]).run().exits(0);
}

#[test]
fn wifi_is_warned_of_with_its_reason_and_stops_nothing() {
    let session = solo();
    session.clone().args(["sim", "start"]).run().exits(0);
    let quiet = session.clone().arg("plan").run().exits(0);
    assert!(!quiet.stderr.contains("Wi-Fi"), "{}", quiet.stderr);
    session.clone().args(["sim", "hazard", "wifi"]).run().exits(0);
    let plan = session.clone().arg("plan").run().exits(0);
    assert!(plan.stderr.contains("en0, which is Wi-Fi"), "{}", plan.stderr);
    let json = session.clone().args(["plan", "--output", "json"]).run().exits(0).json();
    let warnings = json["warnings"].as_array().expect("a list of warnings");
    assert!(warnings.iter().any(|warning| warning["rule"] == "wifi-bridge"), "{warnings:#?}");
    let doctor = session.clone().arg("doctor").run().exits(0).stdout;
    assert!(doctor.contains("explain wifi-bridge"), "{doctor}");
    let explained = session.clone().args(["explain", "wifi-bridge"]).run().exits(0).stdout;
    assert!(explained.contains("gratuitous ARP") && explained.contains("own MAC"), "{explained}");
    let wired = session.file("fusionlab.yaml", format!("{SOLO}lan: {{interface: en4}}\n"));
    assert!(!wired.arg("plan").run().exits(0).stderr.contains("Wi-Fi"));
}
