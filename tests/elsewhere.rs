//! A Mac that is not in the lab's home network: said before anything is made, and refused where nobody chose that network.

use std::fs;

use crate::fake_fusion::FakeFusion;
use crate::support::session::{Ended, Session};

/// A network that the networking document's lab is not for, by the first numbers of its addresses.
const OTHER: &str = "192.168.1";
/// A lab that fits the small machines that tests run on.
const SMALL: &str = "control_planes: {memory: 2GiB}\ngateways: {memory: 512MiB}\n";

fn told(session: &Session, fusion: &FakeFusion, words: &[&str]) -> Ended {
    session.clone().args(words).arg("--fusion").arg(fusion.root()).run()
}

#[test]
fn without_a_lab_file_up_refuses_and_changes_nothing() {
    let (session, fusion) = (Session::new(), FakeFusion::new("13.6.3").in_lan(OTHER));
    let before = fs::read(fusion.networking()).expect("there is a networking file");
    let refused = told(&session, &fusion, &["up", "--yes", "--preset", "solo"]).exits(4);
    for part in [
        "lan-elsewhere",
        "en0 is in 192.168.1.0/24, the lab wants 192.168.68.0/24",
        "192.168.68.200",
        "fusionlab init --yes --preset solo",
    ] {
        assert!(refused.stderr.contains(part), "no {part:?}:\n{}", refused.shown());
    }
    assert_eq!(fs::read(fusion.networking()).expect("it stays"), before);
    assert!(!session.fusionlab_home().join("labs/lab").exists(), "the lab was not begun");
    let asked_only =
        |call: &Vec<String>| call.contains(&"list".to_owned()) || call.contains(&"--status".to_owned());
    assert!(fusion.calls().iter().all(asked_only), "{:?}", fusion.calls());
    let json = told(&session, &fusion, &["up", "--yes", "--preset", "solo", "--output", "json"]).exits(4);
    assert!(json.stdout.contains(r#""id":"lan-elsewhere""#), "{}", json.shown());

    let plan = told(&session, &fusion, &["plan", "--preset", "solo"]).exits(0);
    assert!(plan.stderr.contains("warning[other-lan]"), "{}", plan.shown());
    assert!(plan.stderr.contains("the built-in lab"), "where is said:\n{}", plan.shown());
}

#[test]
fn a_lan_that_the_lab_file_names_is_warned_of_with_its_place() {
    let lab = format!("version: 1\npreset: solo\nlan:\n  subnet: 192.168.7.0/24\n{SMALL}");
    let (session, fusion) =
        (Session::new().file("fusionlab.yaml", lab), FakeFusion::new("13.6.3").in_lan(OTHER));
    let plan = told(&session, &fusion, &["plan"]).exits(0);
    for part in ["warning[other-lan]", "fusionlab.yaml:4:11", "answer to nobody", "help:", "fusionlab init"] {
        assert!(plan.stderr.contains(part), "no {part:?}:\n{}", plan.shown());
    }
    let json = told(&session, &fusion, &["plan", "--output", "json"]).exits(0).json();
    let warnings = json["warnings"].as_array().expect("a list of warnings");
    let lan = warnings.iter().find(|warning| warning["rule"] == "other-lan");
    assert_eq!(lan.expect("it is told to programs")["span"]["line"], 4, "{warnings:#?}");
    let at_home = FakeFusion::new("13.6.3").in_lan("192.168.7");
    let plan = told(&session, &at_home, &["plan"]).exits(0);
    assert!(!plan.stderr.contains("other-lan"), "{}", plan.shown());
}
